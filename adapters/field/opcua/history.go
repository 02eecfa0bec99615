package opcua

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/gopcua/opcua"
	"github.com/gopcua/opcua/ua"

	"github.com/twinlog/twinlog/edge/acquire"
)

const (
	historyPage  = 1000      // values in one answer: what is held at a time
	historyPages = 1_000_000 // of one item: a server that never ends is not believed
)

// backfill reads what was missed of the items that a new subscription has just
// told the first value of: from the last value heard to that one.
func (s *Source) backfill(ctx context.Context, c *opcua.Client, readings []acquire.Reading, hear func([]acquire.Reading)) error {
	for _, r := range readings {
		i := r.Item
		if !s.missed[i] {
			continue
		}
		s.missed[i] = false
		from := s.last[i]
		if r.SourceTime.After(from) {
			s.last[i] = r.SourceTime
		}
		if s.settings.Text("history") == "off" || s.historyless[i] || s.items[i].events || !r.SourceTime.After(from) {
			continue
		}
		n, err := s.history(ctx, c, i, from, r.SourceTime, hear)
		switch {
		case err == nil:
			s.log.LogAttrs(ctx, slog.LevelInfo, "history read", slog.Int("item", i), slog.Int("values", n), slog.Time("from", from))
		case ctx.Err() != nil:
			return ctx.Err()
		case isOneOf(err, ua.StatusBadHistoryOperationUnsupported, ua.StatusBadHistoryOperationInvalid, ua.StatusBadServiceUnsupported,
			ua.StatusBadUserAccessDenied, ua.StatusBadNotReadable, ua.StatusBadNotSupported, ua.StatusBadNodeIDUnknown, ua.StatusBadNotImplemented):
			s.historyless[i] = true
			s.log.LogAttrs(ctx, slog.LevelDebug, "no history", slog.Int("item", i), slog.Any("error", err))
		default:
			return err
		}
	}
	return nil
}

// history hands on the values of one item after from and before to, both
// exclusive, page by page, and returns how many there were.
func (s *Source) history(ctx context.Context, c *opcua.Client, i int, from, to time.Time, hear func([]acquire.Reading)) (n int, err error) {
	node, err := s.items[i].node.resolve(c.Namespaces())
	if err != nil {
		return 0, err
	}
	details := &ua.ReadRawModifiedDetails{StartTime: from, EndTime: to, NumValuesPerNode: historyPage}
	var point []byte
	for range historyPages {
		answer, err := c.HistoryReadRawModified(ctx, []*ua.HistoryReadValueID{{NodeID: node, DataEncoding: &ua.QualifiedName{}, ContinuationPoint: point}}, details)
		if err != nil {
			return n, err
		}
		if len(answer.Results) != 1 {
			return n, ua.StatusBadUnknownResponse
		}
		result := answer.Results[0]
		if bad(result.StatusCode) { // Bad; GoodNoData and the like go on
			return n, result.StatusCode
		}
		page := s.page(i, result.HistoryData, from, to)
		n += len(page)
		if len(page) > 0 {
			hear(page)
		}
		if point = result.ContinuationPoint; len(point) == 0 || ctx.Err() != nil {
			return n, ctx.Err()
		}
	}
	return n, fmt.Errorf("history without end: %w", ua.StatusBadUnknownResponse)
}

// page returns the readings of one answer.
func (s *Source) page(i int, data *ua.ExtensionObject, from, to time.Time) []acquire.Reading {
	if data == nil {
		return nil
	}
	history, ok := data.Value.(*ua.HistoryData)
	if !ok || history == nil {
		return nil
	}
	var out []acquire.Reading
	for _, dv := range history.DataValues {
		if dv == nil {
			continue
		}
		r := s.reading(i, dv)
		if r.Cause = acquire.Historic; r.SourceTime.After(from) && r.SourceTime.Before(to) {
			out = append(out, r)
		}
	}
	return out
}
