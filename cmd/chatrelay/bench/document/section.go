package document

import (
	"fmt"
	"slices"
	"strings"
)

// demand is a bound of the worker's, in words, and whether it was kept.
type demand struct {
	bound string
	met   bool
}

// judge fills the cells under target and met, where one word stands for all if all came out alike.
func judge(demands ...demand) []string {
	var bounds, met []string
	for _, d := range demands {
		bounds = append(bounds, d.bound)
		if d.met {
			met = append(met, "yes")
		} else {
			met = append(met, "**no**")
		}
	}
	return []string{strings.Join(bounds, ", "), strings.Join(slices.Compact(met), ", ")}
}

// section is what stands between two markers, and the plot that belongs to it.
type section struct {
	strings.Builder
	above   []string
	plot    string
	lacking []string // what there are no records of
}

func (s *section) lacks(format string, args ...any) {
	s.lacking = append(s.lacking, fmt.Sprintf(format, args...))
}

// head is written above the first row, if there is one.
func (s *section) head(cells ...string) { s.above = cells }

// row writes cells, which come in groups.
func (s *section) row(groups ...[]string) {
	if head := s.above; head != nil {
		s.WriteString("\n")
		s.above = nil
		s.row(head)
		s.row(slices.Repeat([]string{"---"}, len(head)))
	}
	fmt.Fprintf(s, "| %s |\n", strings.Join(slices.Concat(groups...), " | "))
}
