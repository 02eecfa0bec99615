package plant

import (
	"context"
	"slices"
	"time"

	"github.com/twinlog/twinlog/domain/alarm"
	"github.com/twinlog/twinlog/graph/fault"
	"github.com/twinlog/twinlog/projections"
	"github.com/twinlog/twinlog/projections/alarms"
)

// Alarms is what is asked of *alarms.Projection.
type Alarms interface {
	ByIDs(ctx context.Context, ids []string, c projections.Cut) ([]*alarms.Row, error)
	List(ctx context.Context, passes func(*alarms.Row) bool, c projections.Cut, after string, first int) ([]*alarms.Row, bool, error)
}

// Alarm is an alarm as known at the cut.
type Alarm struct {
	*alarms.Row
	scope *scope
}

// AlarmCondition is where an alarm stands; see schema.graphql.
type AlarmCondition string

// conditions are the domain's in the schema's words.
var conditions = map[alarm.Condition]AlarmCondition{
	alarm.Normal: "NORMAL", alarm.Unacked: "UNACKNOWLEDGED", alarm.Acked: "ACKNOWLEDGED", alarm.Returned: "RETURNED",
	alarm.Shelved: "SHELVED", alarm.Suppressed: "SUPPRESSED", alarm.OutOfService: "OUT_OF_SERVICE",
}

// AlarmPriority follows from the severity.
type AlarmPriority string

var priorities = map[alarm.Priority]AlarmPriority{
	alarm.Critical: "CRITICAL", alarm.High: "HIGH", alarm.Medium: "MEDIUM", alarm.Low: "LOW",
}

// AlarmFilter chooses alarms.
type AlarmFilter struct {
	Device     *string
	Active     *bool
	Conditions []AlarmCondition
	Priorities []AlarmPriority
}

// IsNode marks what has a global id.
func (a *Alarm) IsNode() {}

// ID is the global id.
func (a *Alarm) ID() string { return a.scope.r.global(AlarmID, a.Row.ID) }

// Name is the alarm's name at its device.
func (a *Alarm) Name() string { return a.State.What.Name }

// Kind is process, device or comms.
func (a *Alarm) Kind() string { return a.State.What.Kind }

// Signal is what it is about, nil where nobody said.
func (a *Alarm) Signal() *string { return optional(a.State.What.Tag) }

// Message is for a person, nil where there is none.
func (a *Alarm) Message() *string { return optional(a.State.What.Message) }

// Severity is from 1 to 1000.
func (a *Alarm) Severity() int { return a.State.What.Severity }

// Priority follows from the severity.
func (a *Alarm) Priority() AlarmPriority { return priorities[alarm.PriorityOf(a.Severity())] }

// Condition is where it stands at the cut.
func (a *Alarm) Condition() AlarmCondition { return conditions[a.State.Condition(a.scope.now())] }

// Active is whether its condition is true.
func (a *Alarm) Active() bool { return a.State.Active() }

// Since is when it became what Active says.
func (a *Alarm) Since() time.Time { return a.State.Since() }

// RaisedAt is when it was last raised.
func (a *Alarm) RaisedAt() time.Time { return a.State.RaisedAt() }

// AcknowledgedUpTo is nil for an alarm that nobody has seen.
func (a *Alarm) AcknowledgedUpTo() *time.Time { return optional(a.State.Seen) }

// ShelvedUntil is nil for an alarm that is not hidden.
func (a *Alarm) ShelvedUntil() *time.Time {
	if !a.State.Until.After(a.scope.now()) {
		return nil
	}
	return &a.State.Until
}

// Raises is how often it was raised.
func (a *Alarm) Raises() int { return int(a.State.Raises) } //nolint:gosec // a count of events

// Device is what raised it.
func (a *Alarm) Device(ctx context.Context) (*Device, error) {
	found, err := a.scope.devices(ctx, []string{a.State.What.Device})
	if err != nil {
		return nil, err
	}
	return found[0], nil
}

// Alarm finds one alarm.
func (p *Plant) Alarm(ctx context.Context, id string) (*Alarm, error) {
	own, err := p.scope.r.ID(AlarmID, "id", id)
	if err != nil {
		return nil, err
	}
	return p.AlarmByOwnID(ctx, own)
}

// AlarmByOwnID finds one alarm by the log's id.
func (p *Plant) AlarmByOwnID(ctx context.Context, id string) (*Alarm, error) {
	rows, err := p.scope.r.Alarms.ByIDs(ctx, []string{id}, p.scope.cut)
	if err != nil || rows[0] == nil || rows[0].State.Raises == 0 {
		return nil, err
	}
	return &Alarm{rows[0], p.scope}, nil
}

// AlarmConnection is a page of alarms.
type AlarmConnection struct {
	Edges    []AlarmEdge
	PageInfo *PageInfo
}

// AlarmEdge is an alarm and where it stands in the list.
type AlarmEdge struct {
	Cursor string
	Node   *Alarm
}

// Nodes are the page's alarms.
func (c *AlarmConnection) Nodes() []*Alarm {
	nodes := make([]*Alarm, len(c.Edges))
	for i, e := range c.Edges {
		nodes[i] = e.Node
	}
	return nodes
}

// Alarms lists alarms by device and name.
func (p *Plant) Alarms(ctx context.Context, filter *AlarmFilter, first *int, after *string) (*AlarmConnection, error) {
	var f AlarmFilter
	if filter != nil {
		f = *filter
	}
	device := ""
	if f.Device != nil {
		var err error
		if device, err = p.scope.r.DeviceID("filter.device", *f.Device); err != nil {
			return nil, err
		}
	}
	pg, err := p.scope.page(first, after, maxPage, "alarms", device, f.Active, f.Conditions, f.Priorities)
	if err != nil {
		return nil, err
	}
	if p.scope.r.Alarms == nil {
		return nil, fault.ErrUnavailable
	}
	passes := func(row *alarms.Row) bool {
		a := &Alarm{row, pg.scope}
		return row.State.Raises > 0 && (device == "" || row.State.What.Device == device) &&
			(f.Active == nil || *f.Active == a.Active()) && among(f.Conditions, a.Condition()) && among(f.Priorities, a.Priority())
	}
	rows, more, err := p.scope.r.Alarms.List(ctx, passes, pg.scope.cut, pg.after, pg.first)
	if err != nil {
		return nil, err
	}
	c, cursors := &AlarmConnection{}, make([]string, len(rows))
	for i, row := range rows {
		cursors[i] = pg.cursor(row.ID)
		c.Edges = append(c.Edges, AlarmEdge{cursors[i], &Alarm{row, pg.scope}})
	}
	c.PageInfo = pg.info(cursors, more)
	return c, nil
}

// among reports whether v is in list; an empty list has everything.
func among[T comparable](list []T, v T) bool { return len(list) == 0 || slices.Contains(list, v) }
