//go:build linux

package badgerlog_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/badgerlog"
	"github.com/twinlog/twinlog/domain/eventlog"
)

// smallDisk mounts a file system of its own.
func smallDisk(t *testing.T, bytes int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("twinlog-test", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)); err != nil {
		t.Skipf("a disk that can be filled needs the right to mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}

func freeOf(t *testing.T, dir string) int64 {
	t.Helper()
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		t.Fatal(err)
	}
	return int64(s.Bavail) * s.Bsize
}

// ballast takes or gives back space until so much is free.
func ballast(t *testing.T, disk string, free int64) {
	t.Helper()
	path := filepath.Join(disk, "ballast")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	size := info.Size() + freeOf(t, disk) - free
	if size < info.Size() {
		err = f.Truncate(max(size, 0))
	} else {
		err = syscall.Fallocate(int(f.Fd()), 0, 0, size)
	}
	if err != nil {
		t.Fatalf("ballast of %d bytes: %v", size, err)
	}
}

// TestFullFileSystem fills a real file system: with events, beside a stranger
// who takes space, and to the last byte. Appends are refused at the reserve,
// reads, subscriptions, sealing and merging go on, nobody dies of SIGBUS, and
// when there is room again it goes on by itself; twice.
func TestFullFileSystem(t *testing.T) {
	disk := smallDisk(t, 300<<20)
	const reserve = 64 << 20 // the least that the log takes
	dir := filepath.Join(disk, "log")
	cfg := badgerlog.Config{Window: 2000, Reserve: reserve, RecentBytes: 1 << 20}
	l, err := badgerlog.Open(t.Context(), dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	closed := false
	defer func() {
		if !closed {
			l.Close()
		}
	}()
	sub, err := l.Subscribe(t.Context(), 0, eventlog.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() { // a subscriber all the time
		var at eventlog.Position
		for {
			b, err := sub.Next(ctx)
			if err != nil {
				return
			}
			for _, r := range b.Records {
				if at++; r.Position != at {
					t.Errorf("the subscriber is given %v after %v", r.Position, at-1)
				}
			}
		}
	}()
	next := map[eventlog.StreamID]uint64{}
	total := 0
	appendTo := func(w int) error {
		id := crashStream(w)
		_, err := l.Append(t.Context(), id, expect(next[id]), facts(id, next[id], 40)...)
		if err == nil {
			next[id] += 40
			total += 40
		}
		return err
	}
	until := func(what string, done func() bool) {
		t.Helper()
		for end := time.Now().Add(60 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: not within a minute; %d MB are free", what, freeOf(t, disk)>>20)
			}
		}
	}
	for round := range 2 {
		ballast(t, disk, reserve+60<<20)
		var refusal error
		for w := 0; refusal == nil; w++ {
			refusal = appendTo(w % 4)
		}
		left := freeOf(t, disk)
		if !errors.Is(refusal, eventlog.ErrStorageFull) || left < reserve/2 {
			t.Fatalf("round %d: refused with %v at %d free bytes", round, refusal, left)
		}
		ballast(t, disk, reserve-4<<20) // whatever merging gives back is taken
		until("the guard sees it", func() bool { return errors.Is(appendTo(0), eventlog.ErrStorageFull) })
		if err := l.Seal(t.Context()); err != nil {
			t.Errorf("round %d: seal: %v", round, err)
		}
		if err := l.Collect(t.Context()); err != nil {
			t.Errorf("round %d: merge: %v", round, err)
		}
		check := func(what string) {
			t.Helper()
			if n := count(t, l.ReadAll(t.Context(), 0, eventlog.Forwards, eventlog.Filter{})); n != total {
				t.Errorf("round %d, %s: %d events are read, %d were acknowledged", round, what, n, total)
			}
			until("the subscriber is at the end", func() bool { return sub.Lag() == 0 })
		}
		check("at the reserve")
		ballast(t, disk, 0)
		until("not a byte is free", func() bool { return freeOf(t, disk) == 0 })
		if err := appendTo(1); !errors.Is(err, eventlog.ErrStorageFull) {
			t.Errorf("round %d: an append on a full disk: %v", round, err)
		}
		check("without a free byte")
		ballast(t, disk, reserve+100<<20)
		until("appends are taken again", func() bool { return appendTo(2) == nil })
	}
	if l.Sealed() == 0 {
		t.Error("nothing was sealed")
	}
	closed = true
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l, err = badgerlog.Open(t.Context(), dir, cfg); err != nil {
		t.Fatal(err)
	}
	if n := count(t, l.ReadAll(t.Context(), 0, eventlog.Forwards, eventlog.Filter{})); n != total {
		t.Errorf("%d events after a restart, %d were acknowledged", n, total)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d events", total)
}
