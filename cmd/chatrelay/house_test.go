package main

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// packages parses every package of the module, without tests.
func packages(t *testing.T) (map[string]map[string]*ast.File, *token.FileSet) {
	t.Helper()
	root := filepath.Join("..", "..")
	found := map[string]map[string]*ast.File{}
	fset := token.NewFileSet()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && path != root {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		if found[dir] == nil {
			found[dir] = map[string]*ast.File{}
		}
		found[dir][path] = file
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"queue", "chatapi", "worker", "ops", "cmd/chatrelay"} {
		if len(found[dir]) == 0 {
			t.Fatalf("package %s not found", dir)
		}
	}
	return found, fset
}

func TestNoPackageForEverything(t *testing.T) {
	found, _ := packages(t)
	for dir := range found {
		switch filepath.Base(dir) {
		case "util", "utils", "common", "models", "pkg", "helpers":
			t.Errorf("package %s: name it after what it knows", dir)
		}
	}
}

// Every package says what it is, and every exported name what it means.
func TestEveryExportedNameIsDocumented(t *testing.T) {
	found, fset := packages(t)
	for dir, files := range found {
		list := make([]*ast.File, 0, len(files))
		for _, f := range files {
			list = append(list, f)
		}
		pkg, err := doc.NewFromFiles(fset, list, module+"/"+dir)
		if err != nil {
			t.Fatal(err)
		}
		if pkg.Doc == "" {
			t.Errorf("%s: no package comment", dir)
		}
		check := func(name, text string) {
			if strings.TrimSpace(text) == "" {
				t.Errorf("%s: %s is not documented", dir, name)
			}
		}
		funcs := func(list []*doc.Func, of string) {
			for _, f := range list {
				check(of+f.Name, f.Doc)
			}
		}
		values := func(list []*doc.Value) {
			for _, v := range list {
				if v.Doc != "" {
					continue
				}
				for _, spec := range v.Decl.Specs {
					s := spec.(*ast.ValueSpec)
					check(s.Names[0].Name, s.Doc.Text()+s.Comment.Text())
				}
			}
		}
		funcs(pkg.Funcs, "")
		values(pkg.Consts)
		values(pkg.Vars)
		for _, typ := range pkg.Types {
			check(typ.Name, typ.Doc)
			funcs(typ.Funcs, typ.Name+".")
			funcs(typ.Methods, typ.Name+".")
			values(typ.Consts)
			values(typ.Vars)
		}
	}
}

// A file has one reason to change; one that grows beyond this has more.
func TestFilesAreShort(t *testing.T) {
	const most = 260
	found, _ := packages(t)
	for dir, files := range found {
		for path := range files {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(text), "\n"); n > most {
				t.Errorf("%s/%s has %d lines, more than %d: split it", dir, filepath.Base(path), n, most)
			}
		}
	}
}
