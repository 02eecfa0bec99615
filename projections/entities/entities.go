// Package entities folds the streams of one category into a row for each: what
// the domain's own Evolve makes of its events. The alarms and the commands are
// such rows.
//
// A row has a version for every event, under the position that made it, so that
// it can be read as it was known at any position. The newest are in memory too.
package entities

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/projections"
)

// A Row is one entity as known at a cut. Rows are shared: do not change them.
type Row[S any] struct {
	ID       string            `json:"id"` // what its stream is named after
	State    S                 `json:"state"`
	Revision eventlog.Revision `json:"revision"` // of the last event about it, and Position
	Position eventlog.Position `json:"position"`
}

// Kind is what is particular to one kind of entity.
type Kind[S any] struct {
	Name     string // of the rows and the checkpoint
	Version  int
	Category string // of the streams
	Decode   func(typ string, data []byte) (eventlog.Event, error)
	Evolve   func(S, eventlog.Event) S // it must not change the S in place
}

// Projection is the fold; it implements projections.Fold and answers.
type Projection[S any] struct {
	kind Kind[S]
	rows projections.Store

	mu     sync.RWMutex // guards the two below; held for writing while a batch is applied
	newest map[string]*Row[S]
	ids    []string // in order
}

// New returns an empty fold whose past versions are read from rows. The Runner
// opens it.
func New[S any](rows projections.Store, kind Kind[S]) *Projection[S] {
	return &Projection[S]{kind: kind, rows: rows, newest: map[string]*Row[S]{}}
}

// Name implements projections.Fold.
func (p *Projection[S]) Name() string { return p.kind.Name }

// Version implements projections.Fold.
func (p *Projection[S]) Version() int { return p.kind.Version }

// Filter implements projections.Fold.
func (p *Projection[S]) Filter() eventlog.Filter {
	return eventlog.Filter{Categories: []string{p.kind.Category}, NoTelemetry: true}
}

// Open implements projections.Fold.
func (p *Projection[S]) Open(s projections.Snapshot, _ eventlog.Position) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.newest, p.ids = map[string]*Row[S]{}, nil
	for v, err := range projections.VersionsAt(s, nil, nil, eventlog.End) {
		if err != nil {
			return err
		}
		row, err := decode[S](v.Value)
		if err != nil {
			return err
		}
		p.put(row)
	}
	return nil
}

func decode[S any](value []byte) (*Row[S], error) {
	var row Row[S]
	if err := json.Unmarshal(value, &row); err != nil {
		return nil, fmt.Errorf("row of %d bytes: %w", len(value), err)
	}
	return &row, nil
}

func (p *Projection[S]) put(row *Row[S]) {
	if p.newest[row.ID] == nil {
		i, _ := slices.BinarySearch(p.ids, row.ID)
		p.ids = slices.Insert(p.ids, i, row.ID)
	}
	p.newest[row.ID] = row
}

// Fold implements projections.Fold. An event that cannot be read changes nothing.
func (p *Projection[S]) Fold(b eventlog.Batch, w *projections.Writes) (eventlog.Position, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, rec := range b.Records {
		event, err := p.kind.Decode(rec.Type, rec.Data)
		if err != nil || event == nil {
			continue
		}
		row := Row[S]{ID: rec.Stream.Entity(), Revision: rec.Revision, Position: rec.Position}
		if old := p.newest[row.ID]; old != nil {
			row.State = old.State
		}
		row.State = p.kind.Evolve(row.State, event)
		value, err := json.Marshal(row)
		if err != nil {
			return 0, fmt.Errorf("%s %s: %w", p.kind.Category, row.ID, err)
		}
		p.put(&row)
		projections.PutVersion(w, projections.AppendText(nil, row.ID), rec.Position, value)
	}
	return b.Through, nil
}

// ByIDs returns the rows in the order of ids; nil where none was known.
func (p *Projection[S]) ByIDs(ctx context.Context, ids []string, c projections.Cut) ([]*Row[S], error) {
	list, changed := make([]*Row[S], len(ids)), []int(nil)
	p.mu.RLock()
	for i, id := range ids {
		switch row := p.newest[id]; {
		case row == nil:
		case row.Position <= c.Through():
			list[i] = row
		default:
			changed = append(changed, i)
		}
	}
	p.mu.RUnlock()
	if len(changed) == 0 {
		return list, nil
	}
	s, err := p.rows.Snapshot(ctx, p.kind.Name)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	for _, i := range changed {
		value, _, err := projections.VersionAt(s, projections.AppendText(nil, ids[i]), c.Through())
		if err == nil && value != nil {
			list[i], err = decode[S](value)
		}
		if err != nil {
			return nil, fmt.Errorf("%s %s at %v: %w", p.kind.Category, ids[i], c.Through(), err)
		}
	}
	return list, nil
}

// List returns the rows that pass by id, the first after the given id ("": from
// the start), and whether there are more.
func (p *Projection[S]) List(ctx context.Context, passes func(*Row[S]) bool, c projections.Cut, after string, first int) ([]*Row[S], bool, error) {
	p.mu.RLock()
	i, found := slices.BinarySearch(p.ids, after)
	if found {
		i++
	}
	ids := slices.Clone(p.ids[i:])
	p.mu.RUnlock()
	list, err := p.ByIDs(ctx, ids, c)
	if err != nil {
		return nil, false, err
	}
	list = slices.DeleteFunc(list, func(row *Row[S]) bool { return row == nil || !passes(row) })
	if len(list) > first {
		return list[:first], true, nil
	}
	return list, false, nil
}
