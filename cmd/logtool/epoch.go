package logtool

import (
	"context"
	"crypto/rand"
	"errors"

	"github.com/twinlog/twinlog/adapters/eventlog/badgerlog"
	"github.com/twinlog/twinlog/domain/eventlog"
)

// ErrDiffer is returned where two logs that should be equal are not.
var ErrDiffer = errors.New("the logs differ")

// newEpoch opens an epoch that is later than last and than all of the log's.
func newEpoch(ctx context.Context, l *badgerlog.Log, last uint16, why string, lost ...eventlog.LostRange) (eventlog.Position, error) {
	head, _, err := l.Head(ctx)
	if err != nil {
		return 0, err
	}
	random := make([]byte, 33)
	if _, err := rand.Read(random); err != nil {
		return 0, err
	}
	event := eventlog.EpochOpened{Why: why}
	event.Epoch, err = eventlog.NextEpoch(max(last, head.Epoch()), random[32])
	if err != nil {
		return 0, err
	}
	for _, e := range l.Epochs() {
		switch {
		case e.First > head && head > 0: // prepared by an attempt that was cut short
			event.Epoch = e.Number
			continue
		case e.Last == 0:
			e.Last = head
		}
		if head > 0 {
			event.Kept = append(event.Kept, eventlog.KeptRange{Epoch: e.Number, First: e.First.Order(), Last: e.Last.Order()})
		}
	}
	for _, r := range lost {
		if r.First <= r.Last {
			event.Lost = append(event.Lost, r)
		}
	}
	id := eventlog.FreshKey([16]byte(random[:16])).Event(0)
	e, err := eventlog.NewJSONEvent(id, event, eventlog.Envelope{Actor: eventlog.Actor{Kind: eventlog.Admin, Subject: "twinlog " + why}})
	if err != nil {
		return 0, err
	}
	app, err := l.OpenEpoch(ctx, event.Epoch, eventlog.EpochStream(l.Origin(), event.Epoch), e)
	return app.First, err
}
