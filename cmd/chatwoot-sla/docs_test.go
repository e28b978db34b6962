package main

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/alecthomas/kong"
)

func TestReadmeListsTheCommands(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed, there []string
	for _, m := range regexp.MustCompile("(?m)^\\| `chatwoot-sla ([a-z]+)").FindAllSubmatch(text, -1) {
		listed = append(listed, string(m[1]))
	}
	for _, c := range kong.Must(&commands{}).Model.Children {
		if !c.Hidden {
			there = append(there, c.Name)
		}
	}
	slices.Sort(listed)
	slices.Sort(there)
	if !slices.Equal(listed, there) {
		t.Errorf("README.md lists the commands %v, there are %v", listed, there)
	}
}
