package plant

import (
	"context"
	"fmt"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/planted"
	"github.com/twinlog/twinlog/domain/settings"
)

// Settings is what is set for the whole site at a cut.
type Settings struct {
	settings.Settings
	Revision *eventlog.Revision // nil: nobody has set anything
}

// Settings are those at the plant's cut.
func (p *Plant) Settings(ctx context.Context) (*Settings, error) { return p.scope.settings(ctx) }

// settings reads what is set at the cut, once for each scope: a handful of
// events with a stream of their own.
func (s *scope) settings(ctx context.Context) (*Settings, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.set != nil {
		return s.set, nil
	}
	set := &Settings{Settings: settings.Standard()}
	for rec, err := range s.r.Log.Read(ctx, settings.Stream(s.r.Log.Origin()), 0, eventlog.Forwards) {
		if err != nil {
			return nil, fmt.Errorf("settings: %w", err)
		}
		if rec.Position > s.cut.Through() && planted.Bug != planted.SettingsNow {
			break
		}
		if changed, err := set.Evolve(rec.Data); err == nil { // else it changed nothing, as in the folds
			set.Settings = changed
		}
		set.Revision = &rec.Revision
	}
	s.set = set
	return set, nil
}
