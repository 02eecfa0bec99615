// Package asset holds the roles of a plant: the containment hierarchy of
// ISA-95 part 1 and ISO 14224, the classes that say which tags a role has, the
// relationships between roles, and which device signal feeds which tag.
//
// Every fact has an effective time, the instant from which it is true, and may
// be told late: the log's order decides between two facts about the same
// instant, never which one is "newest". The rules (no cycle, no two siblings
// of one name, no child outside its parent's life) hold at every instant, not
// only now, because a question can be asked as of any of them.
//
// It does not know devices: a point is a name, and whether anything speaks
// under that name is none of its business.
package asset

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// The rules that a command can break. Each comes wrapped with the asset, the
// offending value and what was expected.
var (
	ErrNoAsset     = errors.New("no such asset")
	ErrNoClass     = errors.New("no such asset class")
	ErrNoTag       = errors.New("no such tag")
	ErrBadName     = errors.New("invalid name")
	ErrBadTime     = errors.New("invalid effective time")
	ErrBadClass    = errors.New("invalid asset class")
	ErrBadPatch    = errors.New("invalid nameplate patch")
	ErrBadPoint    = errors.New("invalid point")
	ErrLevel       = errors.New("level does not fit its parent")
	ErrCycle       = errors.New("asset would lie below itself")
	ErrDuplicate   = errors.New("name is taken among its siblings")
	ErrNotThen     = errors.New("asset does not exist at that time")
	ErrHasChildren = errors.New("asset still has children")
)

// Level is a place in the role hierarchy.
type Level string

// The levels, from the top.
const (
	Enterprise Level = "ENTERPRISE"
	Site       Level = "SITE"
	Area       Level = "AREA"
	Line       Level = "LINE"
	WorkCell   Level = "WORK_CELL"
	Equipment  Level = "EQUIPMENT"
	Component  Level = "COMPONENT"
)

var levels = []Level{Enterprise, Site, Area, Line, WorkCell, Equipment, Component}

// rank is 0 for Enterprise and rises downwards; -1 for no level at all.
func (l Level) rank() int { return slices.Index(levels, l) }

// fits reports whether an asset of level l may lie in a parent. It must be at a
// lower level, and levels may be left out. The one exception is a component in
// a component: ISO 14224 has three levels (subunit, maintainable item, part)
// where ISA-95 has none.
func (l Level) fits(parent Level) bool {
	return parent.rank() < l.rank() || l == Component && parent == Component
}

// maxName keeps a path of seven names readable and a stream name legal.
const maxName = 120

// checkName refuses what cannot be one segment of a path.
func checkName(what, name string) error {
	switch {
	case name == "" || len(name) > maxName:
		return fmt.Errorf("%s of %d bytes, expected 1 to %d: %w", what, len(name), maxName, ErrBadName)
	case !utf8.ValidString(name):
		return fmt.Errorf("%s %q is not UTF-8: %w", what, name, ErrBadName)
	case strings.ContainsRune(name, '/'):
		return fmt.Errorf("%s %q: a slash separates the names of a path: %w", what, name, ErrBadName)
	case strings.TrimSpace(name) != name:
		return fmt.Errorf("%s %q begins or ends with white space: %w", what, name, ErrBadName)
	case strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("%s %q holds a control character: %w", what, name, ErrBadName)
	}
	return nil
}

// The years between which an effective time may lie: int64 nanoseconds, in
// which timelines count, reach from 1678 to 2261.
const firstYear, lastYear = 1700, 2200

func checkTime(t time.Time) error {
	if y := t.UTC().Year(); t.IsZero() || y < firstYear || y > lastYear {
		return fmt.Errorf("effective %s, expected a year from %d to %d: %w", t.UTC().Format(time.RFC3339), firstYear, lastYear, ErrBadTime)
	}
	return nil
}
