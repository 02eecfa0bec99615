package badgerlog

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/test/peer"
)

// Dump writes the store's pairs in the order of keys, as test/peers/log-walker.mjs
// reads them: Badger's own files are Badger's.
func (l *Log) Dump(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	put := func(b []byte) { _, _ = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)) }
	err = l.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.DefaultIteratorOptions)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			b, err := it.Item().ValueCopy(nil)
			if err != nil {
				return err
			}
			put(it.Item().Key())
			_ = w.WriteByte(it.Item().UserMeta())
			put(b)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}

// Walk runs the Node decoder over a dump and compares each event with ReadAll.
func Walk(t *testing.T, l *Log) (events int) {
	t.Helper()
	peer.Need(t, "node")
	dump := filepath.Join(t.TempDir(), "dump")
	if err := l.Dump(dump); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "node", "../../../test/peers/log-walker.mjs", dump)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the walker: %v: %.2000s", err, said.String())
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	for r, err := range l.ReadAll(t.Context(), 0, eventlog.Forwards, eventlog.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("%d %s %d %s %s %x %x", uint64(r.Position), r.Stream, r.Revision, r.Type, r.ContentType, sha256.Sum256(r.RawEnvelope), sha256.Sum256(r.Data))
		if events >= len(lines) || lines[events] != want {
			t.Fatalf("event %d of the walker's %d is\n%s, want\n%s", events, len(lines), lines[min(events, len(lines)-1)], want)
		}
		events++
	}
	if events != len(lines) {
		t.Fatalf("the walker finds %d events, the log holds %d", len(lines), events)
	}
	return events
}
