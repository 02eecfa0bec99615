package access_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/twinlog/twinlog/domain/access"
	"github.com/twinlog/twinlog/domain/eventlog"
)

func TestNamedOnDisk(t *testing.T) {
	want, err := os.ReadFile("testdata/events/person.named.v1.json")
	if err != nil {
		t.Fatal(err)
	}
	got, err := eventlog.CanonicalJSON(access.Named{Subject: "0d9cbb6e-6a59-4f53-9d19-3b7c1f7d3a10"})
	if err != nil || string(got) != string(want) {
		t.Errorf("got %s, %v; on disk %s: an old log would read differently", got, err, want)
	}
}

func TestCheckName(t *testing.T) {
	for name, c := range map[string]struct {
		in, want string
		ok       bool
	}{
		"a name stays as it is":                {"Ada Lovelace", "Ada Lovelace", true},
		"space around it does not count":       {"  Ada ", "Ada", true},
		"other alphabets are names":            {"Ольга 李", "Ольга 李", true},
		"nothing is no name":                   {" \t", "", false},
		"a control character is no name":       {"a\x00b", "", false},
		"bytes that are not UTF-8 are no name": {"a\xff", "", false},
		"a book is no name":                    {strings.Repeat("x", 201), "", false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := access.CheckName(c.in)
			if got != c.want || (err == nil) != c.ok || (err != nil && !errors.Is(err, access.ErrBadName)) {
				t.Errorf("CheckName(%q) = %q, %v", c.in, got, err)
			}
		})
	}
}
