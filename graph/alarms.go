package graph

import (
	"context"

	"github.com/twinlog/twinlog/domain/alarm"
	"github.com/twinlog/twinlog/graph/gen"
	"github.com/twinlog/twinlog/graph/plant"
)

// alarm executes a command on an alarm and reads it back.
func (m mutations) alarm(ctx context.Context, q *request, id string, cmd alarm.Command) (*gen.AlarmPayload, error) {
	call, err := m.call(ctx, q)
	if err != nil {
		return nil, err
	}
	stream := alarm.Stream(id)
	done, err := m.r.alarms.Execute(ctx, stream, call, cmd)
	if err != nil {
		return nil, err
	}
	payload := &gen.AlarmPayload{Position: done.Last, EventIds: m.eventIDs(stream, done), Repeated: done.Repeated}
	m.written(ctx, q, done, "alarm", func(p *plant.Plant) (err error) {
		payload.Alarm, err = p.AlarmByOwnID(ctx, id)
		return err
	})
	return payload, nil
}

// AcknowledgeAlarm implements gen.MutationResolver.
func (m mutations) AcknowledgeAlarm(ctx context.Context, in gen.AcknowledgeAlarmInput) (*gen.AlarmPayload, error) {
	q := m.request("acknowledgeAlarm", in.Reason, in.IdempotencyKey, nil)
	id := q.id(m.r.Read, plant.AlarmID, "alarm", in.Alarm)
	at := q.now
	if in.UpTo != nil {
		if at = *in.UpTo; at.After(q.now) {
			q.bad.Add("input.upTo", at, "up to now: nobody has seen what comes")
		}
	}
	return m.alarm(ctx, q, id, alarm.Acknowledge{At: at})
}

// ShelveAlarm implements gen.MutationResolver.
func (m mutations) ShelveAlarm(ctx context.Context, in gen.ShelveAlarmInput) (*gen.AlarmPayload, error) {
	q := m.request("shelveAlarm", in.Reason, in.IdempotencyKey, nil)
	id := q.id(m.r.Read, plant.AlarmID, "alarm", in.Alarm)
	var cmd alarm.Command = alarm.Unshelve{At: q.now}
	if in.Until != nil {
		cmd = alarm.Shelve{At: q.now, Until: *in.Until}
	}
	return m.alarm(ctx, q, id, cmd)
}
