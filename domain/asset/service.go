package asset

import (
	"context"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// Service executes commands about assets. Its methods may be used concurrently.
//
// An asset's revision counts the facts about it in both of its streams, from 0:
// its structure (registered, moved, renamed, retired, its relationships, its
// bindings) and its nameplate. ifRevision, where not nil, refuses a command
// with a *eventlog.MovedError when the asset is at another one.
type Service struct{}

// NewService returns a Service on the log.
func NewService(log eventlog.Log) *Service { return &Service{} }

// Register makes a new asset and returns its id, which comes from the key: the
// same call, sent again, returns the same asset.
func (s *Service) Register(ctx context.Context, call eventlog.Call, cmd Register) (id string, done eventlog.Done, err error) {
	panic("soon")
}

// Do executes a command on the structure: Move, Rename, Retire, Relate,
// Unrelate, BindTag, UnbindTag.
func (s *Service) Do(ctx context.Context, call eventlog.Call, cmd Command, ifRevision *eventlog.Revision) (eventlog.Done, error) {
	panic("soon")
}

// DoAll executes many commands on the structure in order, in few appends:
// imports. Register commands without an Asset get their id from their key.
func (s *Service) DoAll(ctx context.Context, items []eventlog.Item[Command]) ([]eventlog.Result, error) {
	panic("soon")
}

// UpdateNameplate merges a patch into the asset's nameplate.
func (s *Service) UpdateNameplate(ctx context.Context, call eventlog.Call, cmd UpdateNameplate, ifRevision *eventlog.Revision) (eventlog.Done, error) {
	panic("soon")
}

// DefineClass adds a version to a class. ifRevision is the revision of the
// class's stream (its newest version less one). A definition equal to the
// newest changes nothing.
func (s *Service) DefineClass(ctx context.Context, call eventlog.Call, cmd DefineClass, ifRevision *eventlog.Revision) (eventlog.Done, error) {
	panic("soon")
}

// TagID names a tag among all tags of a log: the asset's id, a slash, the name.
func TagID(asset, tag string) string { return asset + "/" + tag }

// ParseTagID splits a tag's id; ErrNoTag if it is none.
func ParseTagID(id string) (asset, tag string, err error) { panic("soon") }
