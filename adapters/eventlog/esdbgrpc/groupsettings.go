package esdbgrpc

import (
	"fmt"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"

	"github.com/twinlog/twinlog/domain/eventlog"
)

const ticksPerMS = 10_000

// wireSettings is what the settings of both requests have in common.
type wireSettings interface {
	GetResolveLinks() bool
	GetExtraStatistics() bool
	GetMaxRetryCount() int32
	GetMinCheckpointCount() int32
	GetMaxCheckpointCount() int32
	GetMaxSubscriberCount() int32
	GetHistoryBufferSize() int32
	GetMessageTimeoutMs() int32
	GetMessageTimeoutTicks() int64
	GetCheckpointAfterMs() int32
	GetCheckpointAfterTicks() int64
}

const standardBuffer = 500

func settingsOf(w wireSettings) settings {
	s := settings{
		TimeoutMS: int64(w.GetMessageTimeoutMs()), MaxRetries: int(max(w.GetMaxRetryCount(), 0)),
		MinCheckpoint: int(max(w.GetMinCheckpointCount(), 1)), MaxCheckpoint: int(w.GetMaxCheckpointCount()),
		CheckpointMS: int64(w.GetCheckpointAfterMs()), MaxSubscribers: int(max(w.GetMaxSubscriberCount(), 0)),
		Buffer: int(w.GetHistoryBufferSize()), Strategy: strategyRobin,
		ResolveLinks: w.GetResolveLinks(), ExtraStatistics: w.GetExtraStatistics(),
	}
	if t := w.GetMessageTimeoutTicks(); t > 0 {
		s.TimeoutMS = t / ticksPerMS
	}
	if t := w.GetCheckpointAfterTicks(); t > 0 {
		s.CheckpointMS = t / ticksPerMS
	}
	if s.Buffer < 1 {
		s.Buffer = standardBuffer
	}
	return s
}

// created reads a Create request, in today's fields and in those that some
// clients still use.
func created(o *persistent.CreateReq_Options) (k groupKey, s settings, begin origin, err error) {
	s = settingsOf(o.GetSettings())
	k.name = o.GetGroupName()
	switch name := o.GetSettings().GetConsumerStrategy(); name {
	case strategyRobin, strategySingle, strategyPinned:
		s.Strategy = name
	case "":
		s.Strategy = []string{strategySingle, strategyRobin, strategyPinned}[o.GetSettings().GetNamedConsumerStrategy()%3] //nolint:staticcheck // older clients
	case "PinnedByCorrelation":
		return k, s, begin, badRequest("consumer strategy %q, expected one of %s, %s, %s", name, strategyRobin, strategySingle, strategyPinned)
	default:
		return k, s, begin, badRequest("consumer strategy %q is not known", name)
	}
	if all := o.GetAll(); all != nil {
		k.source = allStreams
		begin.end, begin.position = all.GetEnd() != nil, all.GetPosition().GetCommitPosition()
		if f := all.GetFilter(); f != nil {
			e := f.GetStreamIdentifier()
			if f.GetEventType() != nil {
				e, s.ByType = f.GetEventType(), true
			}
			s.Regex, s.Prefixes = e.GetRegex(), e.GetPrefix()
		}
		return k, s, begin, nil
	}
	if st := o.GetStream(); st != nil {
		k.source = sourceName(st.GetStreamIdentifier(), false)
		begin.end, begin.revision = st.GetEnd() != nil, st.GetRevision()
		return k, s, begin, nil
	}
	k.source = sourceName(o.GetStreamIdentifier(), false)                  //nolint:staticcheck // one client still fills it
	begin.revision, begin.end = legacyBegin(o.GetSettings().GetRevision()) //nolint:staticcheck // and this
	return k, s, begin, nil
}

// legacyBegin: the largest number is the end.
func legacyBegin(revision uint64) (uint64, bool) { return revision, revision == 1<<64-1 }

// updated reads an Update request; named says whether it has a beginning.
func updated(o *persistent.UpdateReq_Options) (k groupKey, s settings, begin origin, named bool) {
	s = settingsOf(o.GetSettings())
	s.Strategy = []string{strategySingle, strategyRobin, strategyPinned}[o.GetSettings().GetNamedConsumerStrategy()%3]
	k.name = o.GetGroupName()
	if all := o.GetAll(); all != nil {
		k.source = allStreams
		begin.end, begin.position = all.GetEnd() != nil, all.GetPosition().GetCommitPosition()
		return k, s, begin, all.GetAllOption() != nil
	}
	if st := o.GetStream(); st != nil {
		k.source = sourceName(st.GetStreamIdentifier(), false)
		begin.end, begin.revision = st.GetEnd() != nil, st.GetRevision()
		return k, s, begin, st.GetRevisionOption() != nil
	}
	k.source = sourceName(o.GetStreamIdentifier(), false) //nolint:staticcheck // one client still fills it
	return k, s, begin, false
}

// info is what a group says of itself.
func (g *group) info() *persistent.SubscriptionInfo {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := &persistent.SubscriptionInfo{
		EventSource: g.source, GroupName: g.name, Status: "Live", TotalItems: g.total,
		MessageTimeoutMilliseconds: int32(g.cfg.TimeoutMS), MaxRetryCount: int32(g.cfg.MaxRetries), BufferSize: int32(g.cfg.Buffer),
		CheckPointAfterMilliseconds: int32(g.cfg.CheckpointMS), MinCheckPointCount: int32(g.cfg.MinCheckpoint),
		MaxCheckPointCount: int32(g.cfg.MaxCheckpoint), ReadBufferCount: int32(len(g.ready)), TotalInFlightMessages: int32(len(g.flying)),
		OutstandingMessagesCount: int32(len(g.window)), NamedConsumerStrategy: g.cfg.Strategy, MaxSubscriberCount: int32(g.cfg.MaxSubscribers),
		ParkedMessageCount: int64(len(g.parked)), ResolveLinkTos: g.cfg.ResolveLinks, ExtraStatistics: g.cfg.ExtraStatistics, StartFrom: "0",
	}
	if g.source == allStreams {
		i.StartFrom = allPosition(0)
		i.LastCheckpointedEventPosition, i.LastKnownEventPosition = allPosition(g.afterAt), allPosition(g.lastAt)
	} else if g.isAfter {
		i.LastCheckpointedEventPosition = fmt.Sprint(uint64(g.after.Revision))
	}
	if g.source != allStreams && g.last.Stream != "" {
		i.LastKnownEventPosition = fmt.Sprint(uint64(g.last.Revision))
	}
	for _, c := range g.consumers {
		i.Connections = append(i.Connections, &persistent.SubscriptionInfo_ConnectionInfo{
			AvailableSlots: int32(c.slots - c.inFlight), InFlightMessages: int32(c.inFlight),
		})
	}
	return i
}

func allPosition(p eventlog.Position) string { return fmt.Sprintf("C:%d/P:%d", uint64(p), uint64(p)) }
