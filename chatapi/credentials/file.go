package credentials

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/google/uuid"
	"go.yaml.in/yaml/v3"
)

// credential is what a project calls the Chat API with.
type credential struct{ id, secret string }

// readFile reads a credentials file and the secret files that it names, by project:
//
//	0f8fad5b-d9cb-469f-a165-70867728950e:
//	  client_id: cafe
//	  client_secret_file: cafe.secret    # relative to this file
//
// A file that names no project is an error as well: most likely it is just being written. Errors
// name the file and the line, and hold no secret, not even one that stands where none belongs.
func readFile(file string) (map[string]credential, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	f := credentialsFile(file)
	root, err := f.parse(text)
	if err != nil {
		return nil, err
	}
	projects, err := f.members(root, "the file must name projects, each with client_id and client_secret_file")
	if err != nil {
		return nil, err
	}
	if len(projects) == 0 {
		return nil, fmt.Errorf("%s names no project", file)
	}
	found := make(map[string]credential, len(projects))
	for _, p := range projects {
		id := strings.ToLower(p.name) // upper and lower case name the same project
		if len(id) != 36 || uuid.Validate(id) != nil {
			return nil, f.wrong(p.key, "project %.40q must be a UUID such as 0f8fad5b-d9cb-469f-a165-70867728950e", p.name)
		}
		if _, twice := found[id]; twice {
			return nil, f.wrong(p.key, "project %s is named twice", id)
		}
		if found[id], err = f.credential(p); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// credentialsFile is the name of a file, for what is said about its content.
type credentialsFile string

func (f credentialsFile) wrong(at *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %w", string(f), at.Line, fmt.Errorf(format, args...))
}

// credential reads what stands under one project.
func (f credentialsFile) credential(project member) (credential, error) {
	var c credential
	members, err := f.members(project.value, "project "+project.name+" must have client_id and client_secret_file")
	if err != nil {
		return c, err
	}
	secretFile := ""
	for _, m := range members {
		var into *string
		switch m.name {
		case "client_id":
			into = &c.id
		case "client_secret_file":
			into = &secretFile
		default:
			return c, f.wrong(m.key, "unknown key %.40q: a project has client_id and client_secret_file", m.name)
		}
		if m.value.Kind != yaml.ScalarNode || m.value.Tag == "!!null" || m.value.Value == "" {
			return c, f.wrong(m.key, "%s is not text, or empty", m.name)
		}
		*into = m.value.Value
		if m.name == "client_secret_file" {
			if c.secret, err = f.secret(secretFile); err != nil {
				return c, f.wrong(m.key, "client_secret_file: %w", err)
			}
		} else if err := CheckClientID(c.id); err != nil {
			return c, f.wrong(m.value, "client_id: %w", err)
		}
	}
	switch {
	case c.id == "":
		return c, f.wrong(project.key, "project %s lacks client_id", project.name)
	case secretFile == "":
		return c, f.wrong(project.key, "project %s lacks client_secret_file", project.name)
	}
	return c, nil
}

// secret reads a secret file; its path is relative to the credentials file.
func (f credentialsFile) secret(path string) (string, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(string(f)), path)
	}
	return ReadSecret(path)
}

// yamlLine is how the YAML library begins its errors.
var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// parse returns the one document in text. Of an empty file it is an empty mapping.
func (f credentialsFile) parse(text []byte) (*yaml.Node, error) {
	var doc, next yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(text))
	err := d.Decode(&doc)
	if err == nil {
		if err = d.Decode(&next); err == nil {
			return nil, f.wrong(&next, "a second YAML document begins: put all projects into one")
		}
	}
	switch {
	case !errors.Is(err, io.EOF):
		near, what := "", err.Error()
		if m := yamlLine.FindStringSubmatch(what); m != nil {
			what = what[len(m[0]):]
			if m[1] != "" {
				near = " near line " + m[1] // it may be that of what began before
			}
		}
		if strings.HasPrefix(what, "unknown anchor") {
			what = "unknown anchor" // a secret that begins with an asterisk would be quoted
		}
		return nil, fmt.Errorf("%s: not YAML%s: %s", string(f), near, what)
	case len(doc.Content) == 0:
		return &yaml.Node{Kind: yaml.MappingNode}, nil
	}
	return doc.Content[0], nil
}

// member is a name and a value of a mapping.
type member struct {
	name       string
	key, value *yaml.Node
}

// members returns what a mapping holds, in order; otherwise is what to say of anything else.
// Aliases are resolved.
func (f credentialsFile) members(n *yaml.Node, otherwise string) ([]member, error) {
	if n.Kind != yaml.MappingNode {
		return nil, f.wrong(n, "%s", otherwise)
	}
	var list []member
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		m := member{key: n.Content[i], value: n.Content[i+1]}
		if m.value.Kind == yaml.AliasNode {
			m.value = m.value.Alias
		}
		if m.key.Kind != yaml.ScalarNode {
			return nil, f.wrong(m.key, "a key must be plain text")
		}
		m.name = m.key.Value
		if seen[m.name] {
			return nil, f.wrong(m.key, "%.40q is named twice", m.name)
		}
		seen[m.name] = true
		list = append(list, m)
	}
	return list, nil
}
