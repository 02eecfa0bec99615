package logurl_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/twinlog/twinlog/cmd/logurl"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		text string
		want logurl.Place
		bad  bool
	}{
		{text: "", bad: true},
		{text: "plant/log", want: logurl.Place{Dir: "plant/log"}},
		{text: "/plant/log", want: logurl.Place{Dir: "/plant/log"}},
		{text: "badger:///a%20b/log", want: logurl.Place{Dir: "/a b/log"}},
		{text: "badger://", bad: true},
		{text: "badger:///%zz", bad: true},
		{text: "esdb://h:2113?tls=false", want: logurl.Place{Server: "esdb://h:2113?tls=false"}},
		{text: "esdb+discover://h", want: logurl.Place{Server: "esdb+discover://h"}},
		{text: "http://h", bad: true},
	} {
		got, err := logurl.Parse(c.text)
		if got != c.want || c.bad != errors.Is(err, logurl.ErrURL) {
			t.Errorf("%q: %+v, %v", c.text, got, err)
		}
	}
}

func TestOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a log")
	l, err := logurl.Open(t.Context(), "badger://"+dir, logurl.Config{Origin: "site-7"})
	if err != nil {
		t.Fatal(err)
	}
	if l.Origin() != "site-7" {
		t.Errorf("origin %q", l.Origin())
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := logurl.Open(t.Context(), dir, logurl.Config{Origin: "site-8"}); err == nil {
		t.Error("a log of another origin was opened")
	}
}
