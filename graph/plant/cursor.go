package plant

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/graph/fault"
	"github.com/twinlog/twinlog/projections"
)

// cursor is a place in a list. It carries the cut of its first page, so that
// the pages of a list fit together whatever happens meanwhile, and a hash of
// which list it is. Clients see base64url.
type cursor struct {
	list uint32 // hash over the list's name, parent and filter
	cut  projections.Cut
	key  string // the last row seen
}

const cursorHead = 4 + 8 + 8 + 8

func (c cursor) String() string {
	b := binary.BigEndian.AppendUint32(nil, c.list)
	b = binary.BigEndian.AppendUint64(b, uint64(c.cut.Known))
	for _, t := range []time.Time{c.cut.AsOf, c.cut.Now} {
		var nanos int64 // 0 for no time
		if !t.IsZero() {
			nanos = t.UnixNano()
		}
		b = binary.BigEndian.AppendUint64(b, uint64(nanos))
	}
	return base64.RawURLEncoding.EncodeToString(append(b, c.key...))
}

func parseCursor(path, s string) (cursor, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) < cursorHead {
		return cursor{}, fault.Bad(path, s, "a cursor that this API gave")
	}
	c := cursor{list: binary.BigEndian.Uint32(b), key: string(b[cursorHead:])}
	c.cut.Known = eventlog.Position(binary.BigEndian.Uint64(b[4:]))
	for i, t := range []*time.Time{&c.cut.AsOf, &c.cut.Now} {
		if nanos := int64(binary.BigEndian.Uint64(b[12+8*i:])); nanos != 0 {
			*t = time.Unix(0, nanos).UTC()
		}
	}
	return c, nil
}

// listHash tells lists apart: a cursor of another list is refused, not misread.
func listHash(parts ...any) uint32 {
	h := fnv.New32a()
	for _, p := range parts {
		_, _ = fmt.Fprintf(h, "%v\x00", deref(p)) // a hash never fails
	}
	return h.Sum32()
}

// page is what one page of a list needs to know.
type page struct {
	scope *scope // at the cut of the first page
	list  uint32
	first int
	after string // key; "" from the start
}

// maxPage bounds the pages of ordinary lists.
const maxPage = 1000

// page reads the arguments of a list. Without a moment of its own, a plant that
// is asked with a cursor answers at the cursor's cut; with one, the two must be
// the same.
func (s *scope) page(first *int, after *string, most int, list ...any) (page, error) {
	p := page{scope: s, list: listHash(list...), first: most}
	if first != nil {
		p.first = *first
	}
	if p.first < 0 {
		return p, fault.Bad("first", p.first, "0 or more")
	}
	if p.first > most {
		return p, fmt.Errorf("first: given %d, expected at most %d: %w", p.first, most, fault.ErrTooManyRows)
	}
	if after == nil || *after == "" {
		return p, nil
	}
	c, err := parseCursor("after", *after)
	if err != nil {
		return p, err
	}
	switch {
	case c.list != p.list:
		return p, &fault.Coded{
			Err:      fmt.Errorf("after: %w: of another list or filter", fault.ErrCursorCut),
			Problems: []fault.Problem{{Path: []string{"after"}, Given: *after, Expected: "a cursor of this list, with this filter"}},
		}
	case s.pinned && (c.cut.Known != s.cut.Known || !c.cut.AsOf.Equal(s.cut.AsOf)):
		return p, &fault.Coded{
			Err: fmt.Errorf("after: %w", fault.ErrCursorCut),
			Problems: []fault.Problem{{
				Path: []string{"after"}, Given: *after,
				Expected: "a cursor at known " + s.cut.Known.String() + ", this one is at " + c.cut.Known.String(),
			}},
		}
	case !s.pinned:
		if log, ok := s.r.Log.(eventlog.Standing); ok {
			if err := log.Stands(c.cut.Known); err != nil {
				return p, fmt.Errorf("after: %w", err)
			}
		}
		p.scope = &scope{r: s.r, cut: c.cut, pinned: true}
	}
	p.after = c.key
	return p, nil
}

func (p page) cursor(key string) string {
	return cursor{list: p.list, cut: p.scope.cut, key: key}.String()
}

// PageInfo says where a page stands in its list.
type PageInfo struct {
	HasNextPage, HasPreviousPage bool
	StartCursor, EndCursor       *string
}

func (p page) info(cursors []string, more bool) *PageInfo {
	info := &PageInfo{HasNextPage: more, HasPreviousPage: p.after != ""}
	if n := len(cursors); n > 0 {
		info.StartCursor, info.EndCursor = &cursors[0], &cursors[n-1]
	}
	return info
}

// window cuts a page out of a whole list whose keys are unique.
func window[T any](p page, all []T, key func(T) string) (rows []T, more bool) {
	if p.after != "" {
		for i, row := range all {
			if key(row) == p.after {
				all = all[i+1:]
				break
			}
		}
	}
	if len(all) > p.first {
		return all[:p.first], true
	}
	return all, false
}
