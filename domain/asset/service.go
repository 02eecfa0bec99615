package asset

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// keptAssets is how many assets' own streams are kept in memory: a number each.
const keptAssets = 10_000

// Service executes commands about assets. Its methods may be used concurrently.
//
// An asset's revision counts the facts about it in both of its streams, from 0:
// its structure (registered, moved, renamed, retired, its relationships, its
// bindings) and its nameplate. ifRevision, where not nil, refuses a command
// with a *eventlog.MovedError when the asset is at another one. Two servers on
// one log can let a change of the structure and one of the nameplate pass side
// by side; they do not touch the same thing.
type Service struct {
	log        eventlog.Log
	structure  *eventlog.Handler[*Structure, Ordered]
	nameplates *eventlog.Handler[uint64, UpdateNameplate]
	definers   *eventlog.Handler[Class, DefineClass]

	// mu is held during a command, because a revision is the sum over two
	// streams, and guards what follows: all classes, up to a position.
	mu      sync.Mutex
	classes Classes
	through eventlog.Position
}

// NewService returns a Service on the log.
func NewService(log eventlog.Log) *Service {
	return &Service{
		log:        log,
		structure:  eventlog.NewHandler(log, Decider(), 1),
		nameplates: eventlog.NewHandler(log, NameplateDecider(), keptAssets),
		definers:   eventlog.NewHandler(log, ClassDecider(), keptAssets),
		classes:    Classes{},
	}
}

// Register makes a new asset and returns its id, which comes from the key: the
// same call, sent again, returns the same asset.
func (s *Service) Register(ctx context.Context, call eventlog.Call, cmd Register) (id string, done eventlog.Done, err error) {
	cmd.Asset = call.Key.Entity(0)
	done, err = s.Do(ctx, call, cmd, nil)
	return cmd.Asset, done, err
}

// Do executes a command on the structure: Move, Rename, Retire, Relate,
// Unrelate, BindTag, UnbindTag.
func (s *Service) Do(ctx context.Context, call eventlog.Call, cmd Command, ifRevision *eventlog.Revision) (eventlog.Done, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.readClasses(ctx); err != nil {
		return eventlog.Done{}, err
	}
	o := Ordered{Command: cmd, IfRevision: ifRevision, Classes: s.classes}
	if ifRevision != nil {
		err := s.nameplates.Look(ctx, Stream(cmd.about()), func(n uint64, _ eventlog.Expected) { o.Nameplates = n })
		if err != nil {
			return eventlog.Done{}, err
		}
	}
	return s.structure.Execute(ctx, StructureStream(s.log.Origin()), call, o)
}

// DoAll executes many commands on the structure in order, in few appends:
// imports. Register commands without an Asset get their id from their key.
func (s *Service) DoAll(ctx context.Context, items []eventlog.Item[Command]) ([]eventlog.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.readClasses(ctx); err != nil {
		return nil, err
	}
	ordered := make([]eventlog.Item[Ordered], len(items))
	for i, it := range items {
		if r, ok := it.Command.(Register); ok && r.Asset == "" {
			r.Asset = it.Call.Key.Entity(0)
			it.Command = r
		}
		ordered[i] = eventlog.Item[Ordered]{Call: it.Call, Command: Ordered{Command: it.Command, Classes: s.classes}}
	}
	return s.structure.ExecuteAll(ctx, StructureStream(s.log.Origin()), ordered)
}

// UpdateNameplate merges a patch into the asset's nameplate.
func (s *Service) UpdateNameplate(ctx context.Context, call eventlog.Call, cmd UpdateNameplate, ifRevision *eventlog.Revision) (eventlog.Done, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok, err := s.nameplates.Find(ctx, Stream(cmd.Asset), call.Key); ok || err != nil {
		return s.nameplates.Execute(ctx, Stream(cmd.Asset), call, cmd) // done before, whatever is now
	}
	var facts int
	var refused error
	err := s.structure.Look(ctx, StructureStream(s.log.Origin()), func(st *Structure, _ eventlog.Expected) {
		if st == nil {
			st = NewStructure()
		}
		n, err := st.known(cmd.Asset)
		switch {
		case err != nil:
			refused = err
		case !cmd.Effective.IsZero() && !n.Alive(cmd.Effective.UnixNano(), all):
			refused = n.notThen(cmd.Effective)
		default:
			facts = len(n.Facts)
		}
	})
	if err == nil {
		err = refused
	}
	if err == nil && ifRevision != nil {
		err = s.nameplates.Look(ctx, Stream(cmd.Asset), func(own uint64, _ eventlog.Expected) {
			if actual := eventlog.Revision(uint64(facts) + own - 1); actual != *ifRevision {
				refused = &eventlog.MovedError{What: "asset " + cmd.Asset, Given: *ifRevision, Actual: actual}
			}
		})
		if err == nil {
			err = refused
		}
	}
	if err != nil {
		return eventlog.Done{}, err
	}
	return s.nameplates.Execute(ctx, Stream(cmd.Asset), call, cmd)
}

// DefineClass adds a version to a class. ifRevision is the revision of the
// class's stream (its newest version less one). A definition equal to the
// newest changes nothing.
func (s *Service) DefineClass(ctx context.Context, call eventlog.Call, cmd DefineClass, ifRevision *eventlog.Revision) (eventlog.Done, error) {
	if err := checkName("class", cmd.Class); err != nil {
		return eventlog.Done{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	stream := ClassStream(cmd.Class)
	_, repeated, err := s.definers.Find(ctx, stream, call.Key)
	if err != nil {
		return eventlog.Done{}, err
	}
	if ifRevision != nil && !repeated {
		var actual eventlog.Expected
		if err := s.definers.Look(ctx, stream, func(_ Class, at eventlog.Expected) { actual = at }); err != nil {
			return eventlog.Done{}, err
		}
		if actual == eventlog.NoStream {
			return eventlog.Done{}, fmt.Errorf("class %q at revision %d: %w", cmd.Class, *ifRevision, ErrNoClass)
		}
		if actual != eventlog.At(*ifRevision) {
			return eventlog.Done{}, &eventlog.MovedError{What: "class " + cmd.Class, Given: *ifRevision, Actual: actual.Next() - 1}
		}
	}
	return s.definers.Execute(ctx, stream, call, cmd)
}

// readClasses brings s.classes up to the log's end. Holders of the old map keep
// what they have.
func (s *Service) readClasses(ctx context.Context) error {
	filter := eventlog.Filter{Categories: []string{"class"}, Types: []string{TypeClassDefined}}
	next := Classes(nil)
	for rec, err := range s.log.ReadAll(ctx, s.through, eventlog.Forwards, filter) {
		if err != nil {
			return fmt.Errorf("read classes after %v: %w", s.through, err)
		}
		event, err := Decode(rec.Type, rec.Data)
		if err != nil {
			return fmt.Errorf("stream %s revision %d: %w", rec.Stream, rec.Revision, err)
		}
		if next == nil {
			next = make(Classes, len(s.classes)+1)
			maps.Copy(next, s.classes)
		}
		var c Class
		if old := next[rec.Stream.Entity()]; old != nil {
			c = *old
		}
		c = evolveClass(c, event)
		next[rec.Stream.Entity()] = &c
		s.through = rec.Position
	}
	if next != nil {
		s.classes = next
	}
	return nil
}

// TagID names a tag among all tags of a log: the asset's id, a slash, the name.
func TagID(asset, tag string) string { return asset + "/" + tag }

// ParseTagID splits a tag's id; ErrNoTag if it is none.
func ParseTagID(id string) (asset, tag string, err error) {
	asset, tag, ok := strings.Cut(id, "/")
	if !ok || asset == "" || tag == "" {
		return "", "", fmt.Errorf("tag id %.80q, expected an asset's id, a slash and a name: %w", id, ErrNoTag)
	}
	return asset, tag, nil
}
