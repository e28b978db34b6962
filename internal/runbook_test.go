package internal_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// Whoever asks for the runbook's tests, in the words of docs/runbook.md, gets its
// seven groups and nothing else.
func TestNamesOfTheSevenGroupsAreTheirsAlone(t *testing.T) {
	name := regexp.MustCompile(`(?m)^func (Test\w*Runbook\w*)\(`)
	var found []string
	err := fs.WalkDir(os.DirFS(".."), ".", func(file string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if ok, err := filepath.Match("*_test.go", filepath.Base(file)); !ok || err != nil {
			return err
		}
		text, err := os.ReadFile(filepath.Join("..", file))
		for _, m := range name.FindAllStringSubmatch(string(text), -1) {
			found = append(found, m[1])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	want := []string{
		"TestRunbook1WebhookSignatureVerification", "TestRunbook2EventFiltering", "TestRunbook3KnowledgeRetrieval", "TestRunbook4DraftGeneration",
		"TestRunbook5PrivateNoteCreation", "TestRunbook6ApprovalQueueInsertion", "TestRunbook7EndToEndWebhookFlow",
	}
	if !slices.Equal(found, want) {
		t.Errorf("the names are %q, want %q", found, want)
	}
}
