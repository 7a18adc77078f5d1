package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestConfigurationReferenceIsUpToDate(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", configurationPath))
	if err != nil {
		t.Fatal(err)
	}
	want, err := withFlags(string(page), (&app{}).rootCommand())
	if err != nil {
		t.Fatal(err)
	}
	if string(page) != want {
		t.Errorf("%s is not what the flags say; write it anew with: go run ./cmd/chatrelay configuration", configurationPath)
	}
}
