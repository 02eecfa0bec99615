package logtool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/backup"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// Backup is what Save did.
type Backup struct {
	File    string // the new file, "" if there was nothing new
	From    backup.Place
	Through backup.Place
	Bytes   int64 // of the file
	Resumed bool  // an interrupted backup was finished
}

// Save adds to the backup in dir what the log has and the backup has not: all
// events after the last one there, up to the log's end when it begins. It can
// be killed at any time and run again.
func Save(ctx context.Context, src Source, dir string, p *Progress) (b Backup, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return b, err
	}
	about, err := src.About(ctx)
	if err != nil {
		return b, err
	}
	chain, err := readChain(dir)
	if err != nil {
		return b, err
	}
	if len(chain.Files) > 0 && chain.first.Origin != about.Origin {
		return b, fmt.Errorf("the backup in %s is of log %q, this one is %q", dir, chain.first.Origin, about.Origin)
	}
	b.From, b.Through = chain.End, chain.End
	if about.Head == chain.End.Position {
		return b, nil
	}
	file, w, err := openWriter(dir, chain, about, &b)
	if err != nil {
		return b, err
	}
	err = fill(ctx, src, w, about, p)
	if err == nil {
		b.Through, err = w.Close()
	}
	if err == nil {
		err = file.Sync()
	}
	if info, statErr := file.Stat(); statErr == nil {
		b.Bytes = info.Size()
	}
	if err = errors.Join(err, file.Close()); errors.Is(err, eventlog.ErrPositionLost) {
		return b, fmt.Errorf("the backup goes to position %v, which is not in the log (it was restored or repaired since): begin a new backup in another directory: %w", w.At().Position, err)
	}
	if err != nil {
		return b, fmt.Errorf("backup into %s (the same command goes on from here): %w", dir, err)
	}
	b.File = filepath.Join(dir, fileName(b.From.Position, b.Through.Position))
	if err := os.Rename(file.Name(), b.File); err != nil {
		return b, err
	}
	return b, syncDir(dir)
}

func openWriter(dir string, chain Chain, about About, b *Backup) (*os.File, *backup.Writer, error) {
	file, found, err := openPart(dir, chain)
	if err != nil {
		return nil, nil, err
	}
	if file != nil {
		b.Resumed = true
		w, err := backup.Resume(file, found, telemetry.DeriveID)
		return file, w, err
	}
	if file, err = os.OpenFile(filepath.Join(dir, partName), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return nil, nil, err
	}
	w, err := backup.NewWriter(file, backup.Header{
		Origin: about.Origin, After: chain.End, Head: about.Head, Made: time.Now().UTC(),
	}, telemetry.DeriveID)
	return file, w, err
}

// fill writes the events after the writer's place up to the log's end.
func fill(ctx context.Context, src Source, w *backup.Writer, about About, p *Progress) error {
	if w.At().Position == about.Head {
		return nil
	}
	for r, err := range src.Records(ctx, w.At().Position) {
		if err != nil {
			return err
		}
		if r.Position > about.Head {
			break
		}
		if err := w.Add(r); err != nil {
			return err
		}
		p.Step(r.Position, w.Bytes())
	}
	if at := w.At().Position; at < about.Head {
		return fmt.Errorf("the log gave events up to position %v, its end is %v", at, about.Head)
	}
	return nil
}

// Stream writes a whole backup of the log as one file to out.
func Stream(ctx context.Context, src Source, out io.Writer, p *Progress) (backup.Place, error) {
	about, err := src.About(ctx)
	if err != nil {
		return backup.Place{}, err
	}
	w, err := backup.NewWriter(out, backup.Header{Origin: about.Origin, Head: about.Head, Made: time.Now().UTC()}, telemetry.DeriveID)
	if err != nil {
		return backup.Place{}, err
	}
	if err := fill(ctx, src, w, about, p); err != nil {
		return w.At(), err
	}
	return w.Close()
}

// Check reads a whole backup and compares every sum.
func Check(dir string) (Chain, error) {
	c, err := readChain(dir)
	if err != nil {
		return c, err
	}
	return c, c.scan(func([]eventlog.Record) error { return nil })
}

// Progress says once a second how far a long work has come.
type Progress struct {
	out    io.Writer
	what   string
	head   eventlog.Position
	begun  time.Time
	told   time.Time
	events uint64
}

// NewProgress tells out of what is done; head is where it ends, if that is known.
func NewProgress(out io.Writer, what string, head eventlog.Position) *Progress {
	now := time.Now()
	return &Progress{out: out, what: what, head: head, begun: now, told: now}
}

// Step counts an event.
func (p *Progress) Step(at eventlog.Position, bytes int64) {
	if p == nil {
		return
	}
	if p.events++; p.events%1024 != 0 || time.Since(p.told) < time.Second {
		return
	}
	p.told = time.Now()
	share := ""
	if n := p.head.Order(); n > 0 {
		share = fmt.Sprintf(" of %d (%d %%)", n, 100*at.Order()/n)
	}
	fmt.Fprintf(p.out, "%s: at event %d%s, %.1f MB, %.0f events/s\n", p.what, at.Order(), share,
		float64(bytes)/1e6, float64(p.events)/time.Since(p.begun).Seconds())
}
