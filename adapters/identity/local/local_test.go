package local_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/memlog"
	"github.com/twinlog/twinlog/adapters/identity/local"
	"github.com/twinlog/twinlog/domain/access"
	"github.com/twinlog/twinlog/domain/eventlog"
)

func open(t *testing.T, dir string, log eventlog.Log) *local.People {
	t.Helper()
	p, err := local.Open(t.Context(), dir, log)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func identify(t *testing.T, p *local.People, name string) string {
	t.Helper()
	subject, err := p.Identify(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return subject
}

func TestPeople(t *testing.T) {
	t.Run("a name is the same subject, also after a restart", func(t *testing.T) {
		dir, log := t.TempDir(), memlog.New("test", time.Now)
		ada := identify(t, open(t, dir, log), "Ada")
		again := open(t, dir, log)
		if got, ok := again.Known("Ada"); !ok || got != ada {
			t.Errorf("Ada is known as %q", got)
		}
		if _, ok := again.Known("Bob"); ok {
			t.Error("Bob is known before he was ever named")
		}
		if got := identify(t, again, " Ada "); got != ada {
			t.Errorf("Ada was %s and is %s", ada, got)
		}
		if got := identify(t, again, "Bob"); got == ada {
			t.Error("Bob is Ada")
		}
	})
	t.Run("one new name at the same moment is one subject", func(t *testing.T) {
		p := open(t, t.TempDir(), memlog.New("test", time.Now))
		subjects := make([]string, 16)
		var wg sync.WaitGroup
		for i := range subjects {
			wg.Go(func() { subjects[i], _ = p.Identify(context.Background(), "Ada") })
		}
		wg.Wait()
		for _, s := range subjects {
			if s == "" || s != subjects[0] {
				t.Fatalf("subjects %q", subjects)
			}
		}
	})
	t.Run("no name stands in the log", func(t *testing.T) {
		log := memlog.New("test", time.Now)
		p := open(t, t.TempDir(), log)
		subject := identify(t, p, "Ada Lovelace")
		n := 0
		for rec, err := range log.ReadAll(t.Context(), 0, eventlog.Forwards, eventlog.Filter{}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
			for _, b := range [][]byte{rec.RawEnvelope, rec.Data, []byte(rec.Stream)} {
				if bytes.Contains(b, []byte("Lovelace")) {
					t.Errorf("%s says who: %s", rec.Stream, b)
				}
			}
			env, err := rec.Envelope()
			if err != nil {
				t.Fatal(err)
			}
			if name, err := p.Reveal(env.Private[0]); err != nil || name != "Ada Lovelace" || env.Actor.Subject != subject {
				t.Errorf("revealed %q, %v of %s", name, err, env.Actor.Subject)
			}
		}
		if n != 1 {
			t.Errorf("%d events, want 1", n)
		}
	})
	t.Run("a forgotten person can't be read, not even after a restart, and the others can", func(t *testing.T) {
		dir, log := t.TempDir(), memlog.New("test", time.Now)
		p := open(t, dir, log)
		ada, bob := identify(t, p, "Ada"), identify(t, p, "Bob")
		said, err := p.Seal(t.Context(), ada, access.FieldReason, "because Bob told me")
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Forget(ada); err != nil {
			t.Fatal(err)
		}
		p = open(t, dir, log)
		if text, err := p.Reveal(said); !errors.Is(err, local.ErrForgotten) {
			t.Errorf("revealed %q, %v", text, err)
		}
		if got := identify(t, p, "Bob"); got != bob {
			t.Error("Bob was forgotten too")
		}
		if got := identify(t, p, "Ada"); got == ada {
			t.Error("Ada was not forgotten")
		}
	})
	t.Run("a sealed text is bound to its field and key", func(t *testing.T) {
		p := open(t, t.TempDir(), memlog.New("test", time.Now))
		ada, bob := identify(t, p, "Ada"), identify(t, p, "Bob")
		said, err := p.Seal(t.Context(), ada, access.FieldReason, "x")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Seal(t.Context(), bob, access.FieldReason, "y"); err != nil {
			t.Fatal(err)
		}
		other := said
		other.Field = "address"
		moved := said
		moved.Key = bob + "/activity"
		for _, s := range []eventlog.Sealed{other, moved, {Field: "x", Key: "../../etc/passwd"}} {
			if text, err := p.Reveal(s); err == nil {
				t.Errorf("%s under %s revealed %q", s.Field, s.Key, text)
			}
		}
	})
	t.Run("keys are their owner's alone", func(t *testing.T) {
		dir := t.TempDir()
		identify(t, open(t, dir, memlog.New("test", time.Now)), "Ada")
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil || len(files) != 1 {
			t.Fatalf("files %v, %v", files, err)
		}
		info, err := os.Stat(files[0])
		if err != nil || info.Mode().Perm() != 0o600 || info.Size() != 32 {
			t.Errorf("%v, %v", info, err)
		}
	})
}
