// Package assets remembers what people have said about the plant: hierarchy,
// classes, nameplates, relationships and bindings, with their whole past on
// both clocks.
//
// Every fact is a row under its entity, its effective time and its position, so
// a late fact is one more row and never a rewritten one. All of them are kept
// in memory too: facts that people tell are few (a hundred thousand take some
// tens of megabytes), and so no question about any moment reads the store.
//
// It does not judge. The rules were held to by domain/asset when the facts were
// accepted; an event that cannot be read, or that is about nothing, stays
// without effect.
package assets

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twinlog/twinlog/domain/asset"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/planted"
	"github.com/twinlog/twinlog/projections"
)

// Projection is the fold; it implements projections.Fold.
type Projection struct {
	// mu guards what follows against queries: held for writing while a batch
	// is applied, for reading during a query.
	mu        sync.RWMutex
	structure *asset.Structure
	plates    map[string]*asset.Timeline[json.RawMessage] // merge patches, by asset
	classes   map[string]*class
	serves    map[string]map[string]bool // device to all assets that it ever fed
	positions []eventlog.Position        // of all facts, rising
	instants  []int64                    // at which anything begins or ends, rising

	// cache guards moments: those asked for last, the newest use at the end.
	cache   sync.Mutex
	moments []*moment
}

// class is all versions of one class.
type class struct {
	inForce asset.Timeline[int]
	defined map[int]version
	known   []eventlog.Position // of all definitions, rising
}

type version struct {
	asset.ClassDefined
	at eventlog.Position
}

// New returns an empty fold. The Runner opens it.
func New() *Projection {
	p := &Projection{}
	p.reset()
	return p
}

// View returns the questions that can be asked of it.
func (p *Projection) View() *View { return &View{p} }

// Name implements projections.Fold.
func (p *Projection) Name() string { return "assets" }

// Version implements projections.Fold.
func (p *Projection) Version() int { return 1 }

// The codes of event types in rows. They are on disk and never change.
var codes = map[byte]string{
	1:  asset.TypeRegistered,
	2:  asset.TypeMoved,
	3:  asset.TypeRenamed,
	4:  asset.TypeRetired,
	5:  asset.TypeRelated,
	6:  asset.TypeUnrelated,
	7:  asset.TypeTagBound,
	8:  asset.TypeTagUnbound,
	9:  asset.TypeNameplateUpdated,
	10: asset.TypeClassDefined,
}

var codeOf = func() map[string]byte {
	m := map[string]byte{}
	for code, typ := range codes {
		m[typ] = code
	}
	return m
}()

// Filter implements projections.Fold: telemetry is never read.
func (p *Projection) Filter() eventlog.Filter {
	f := eventlog.Filter{Categories: []string{"structure", "asset", "class"}, NoTelemetry: true}
	for _, typ := range codes {
		f.Types = append(f.Types, typ)
	}
	slices.Sort(f.Types)
	return f
}

func (p *Projection) reset() {
	p.structure = asset.NewStructure()
	p.plates, p.classes = map[string]*asset.Timeline[json.RawMessage]{}, map[string]*class{}
	p.serves = map[string]map[string]bool{}
	p.positions, p.instants = nil, nil
	p.cache.Lock()
	p.moments = nil
	p.cache.Unlock()
}

// Open implements projections.Fold.
func (p *Projection) Open(s projections.Snapshot, _ eventlog.Position) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reset()
	for w, err := range s.Scan(nil, nil, false) {
		if err != nil {
			return err
		}
		f, err := readRow(w)
		if err != nil {
			return fmt.Errorf("row %x: %w", w.Key, err)
		}
		if planted.Bug == planted.PlateLostAtRestart && codes[f.code] == asset.TypeNameplateUpdated {
			continue
		}
		p.apply(f)
	}
	slices.Sort(p.positions) // rows come by entity
	return nil
}

// Fold implements projections.Fold.
func (p *Projection) Fold(b eventlog.Batch, w *projections.Writes) (eventlog.Position, error) {
	if len(b.Records) == 0 {
		return b.Through, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, rec := range b.Records {
		if f, ok := readRecord(rec); ok {
			p.apply(f)
			w.Put(f.row(rec.Data))
		}
	}
	return b.Through, nil
}

// fact is one event with what its row's key says.
type fact struct {
	code   byte
	entity string // an asset's id, or a class's name
	at     eventlog.Position
	event  eventlog.Dated
}

func readRecord(rec eventlog.Record) (fact, bool) {
	event, err := asset.Decode(rec.Type, rec.Data)
	if err != nil || event == nil {
		return fact{}, false
	}
	dated, ok := event.(eventlog.Dated)
	if !ok || !countable(dated.EffectiveTime()) {
		return fact{}, false
	}
	f := fact{codeOf[rec.Type], rec.Stream.Entity(), rec.Position, dated}
	switch e := event.(type) {
	case asset.Registered:
		f.entity = e.Asset
	case asset.Moved:
		f.entity = e.Asset
	case asset.Renamed:
		f.entity = e.Asset
	case asset.Retired:
		f.entity = e.Asset
	case asset.Related:
		f.entity = e.From
	case asset.Unrelated:
		f.entity = e.From
	case asset.TagBound:
		f.entity = e.Asset
	case asset.TagUnbound:
		f.entity = e.Asset
	}
	return f, true
}

// countable: nanoseconds since 1970 fit into 64 bits from 1678 to 2261.
func countable(t time.Time) bool { return t.Year() >= 1700 && t.Year() <= 2200 }

// The keys' first bytes; docs/formats/views.md draws the rows.
const (
	factPrefix  = 'f'
	classPrefix = 'c'
)

func (f fact) row(data []byte) (key, value []byte) {
	key = []byte{factPrefix}
	if f.code == codeOf[asset.TypeClassDefined] {
		key[0] = classPrefix
	}
	key = projections.AppendText(key, f.entity)
	key = projections.AppendTime(key, f.event.EffectiveTime().UnixNano())
	return projections.AppendPosition(key, f.at), append([]byte{f.code}, data...)
}

func readRow(w projections.Write) (fact, error) {
	if len(w.Key) < 1 || len(w.Value) < 1 {
		return fact{}, fmt.Errorf("empty key or value")
	}
	entity, rest, err := projections.CutText(w.Key[1:])
	if err != nil {
		return fact{}, err
	}
	if len(rest) != 16 {
		return fact{}, fmt.Errorf("%d bytes behind the entity, expected 16", len(rest))
	}
	event, err := asset.Decode(codes[w.Value[0]], w.Value[1:])
	if err != nil {
		return fact{}, err
	}
	dated, ok := event.(eventlog.Dated)
	if !ok {
		return fact{}, fmt.Errorf("event code %d", w.Value[0])
	}
	return fact{w.Value[0], entity, projections.CutPosition(rest[8:]), dated}, nil
}

// apply brings a fact into memory. Facts may come in any order.
func (p *Projection) apply(f fact) {
	p.positions = append(p.positions, f.at)
	from := f.event.EffectiveTime().UnixNano()
	if i, found := slices.BinarySearch(p.instants, from); !found {
		p.instants = slices.Insert(p.instants, i, from)
	}
	switch e := f.event.(type) {
	case asset.NameplateUpdated:
		p.structure.Count(f.entity, f.at)
		line := p.plates[f.entity]
		if line == nil {
			line = &asset.Timeline[json.RawMessage]{}
			p.plates[f.entity] = line
		}
		line.Add(asset.Fact[json.RawMessage]{From: from, Known: f.at, Value: e.Patch})
	case asset.ClassDefined:
		c := p.classes[f.entity]
		if c == nil {
			c = &class{defined: map[int]version{}}
			p.classes[f.entity] = c
		}
		c.inForce.Add(asset.Fact[int]{From: from, Known: f.at, Value: e.Version})
		c.defined[e.Version] = version{e, f.at}
		i, _ := slices.BinarySearch(c.known, f.at)
		c.known = slices.Insert(c.known, i, f.at)
	case asset.TagBound:
		p.structure.Apply(e, f.at)
		if p.serves[e.Device] == nil {
			p.serves[e.Device] = map[string]bool{}
		}
		p.serves[e.Device][e.Asset] = true
	default:
		p.structure.Apply(f.event, f.at)
	}
}
