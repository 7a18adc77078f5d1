// Package document writes the page about speed, with its tables and plots, from what was measured.
//
//	docs/performance.jsonl ──▶ sections of docs/performance.md, docs/performance-*.svg
//	(lines that the bench      (each between two markers; what stands outside of them
//	 printed as JSON)           is written by hand, and kept)
package document

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// sections are written from the records, in this order, each between two markers.
var sections = []struct {
	name  string
	write func(*section, records)
}{
	{"machine", writeMachine},
	{"workloads", writeWorkloads},
	{"latency", writeLatency},
	{"jobs", func(s *section, all records) { s.scaling("jobs", jobsAxis, all.runs) }},
	{"projects", func(s *section, all records) { s.scaling("projects", projectsAxis, all.runs) }},
	{"replicas", writeReplicas},
	{"memory", writeMemory},
}

// Write writes the sections of path.md and the plots path-*.svg from path.jsonl. A section for which
// records are lacking says so.
func Write(path string) error {
	files, _, err := render(path)
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := os.WriteFile(f.path, []byte(f.text), 0o644); err != nil { //nolint:gosec // a page of the documents, which are public
			return err
		}
	}
	return nil
}

// Check returns an error that names every file that is not what [Write] would write, and every
// section for which records are lacking.
func Check(path string) error {
	files, lacking, err := render(path)
	if err != nil {
		return err
	}
	var errs []error
	for _, what := range lacking {
		errs = append(errs, fmt.Errorf("%s.jsonl has no records for the section %s", path, what))
	}
	for _, f := range files {
		if was, err := os.ReadFile(f.path); err != nil || string(was) != f.text {
			errs = append(errs, fmt.Errorf("%s is not what %s.jsonl says", f.path, path))
		}
	}
	return errors.Join(errs...)
}

// file is one that belongs to the page, with the text that it should have.
type file struct{ path, text string }

// render makes the page and its plots from the records, and lists what there are no records of.
func render(path string) (files []file, lacking []string, err error) {
	all, err := readRecords(path + ".jsonl")
	if err != nil {
		return nil, nil, err
	}
	doc, err := os.ReadFile(path + ".md")
	if err != nil {
		return nil, nil, err
	}
	page, rest := "", string(doc)
	for _, part := range sections {
		begin, end := "<!-- begin "+part.name+" -->\n", "<!-- end "+part.name+" -->"
		before, after, begins := strings.Cut(rest, begin)
		_, after, ends := strings.Cut(after, end)
		if !begins || !ends {
			return nil, nil, fmt.Errorf("%s.md must have %q and %q, after the sections before", path, begin, end)
		}
		var s section
		part.write(&s, all)
		for _, what := range s.lacking {
			fmt.Fprintf(&s, "\nno records yet: %s\n", what)
			lacking = append(lacking, part.name+": "+what)
		}
		if s.plot != "" {
			files = append(files, file{path + "-" + part.name + ".svg", s.plot})
		}
		page, rest = page+before+begin+s.String()+"\n"+end, after
	}
	return append(files, file{path + ".md", page + rest}), lacking, nil
}
