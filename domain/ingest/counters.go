package ingest

import "sync/atomic"

// Counters are read at any time, for metrics. Each counts since the Ingester
// was made and never falls.
type Counters struct {
	Messages           atomic.Uint64 // submitted
	Bytes              atomic.Uint64 // of their payloads
	Recorded           atomic.Uint64 // telemetry messages stored
	Samples            atomic.Uint64 // in these
	AssumedQuality     atomic.Uint64 // samples that came without a quality
	Duplicates         atomic.Uint64 // acknowledged and not stored again
	PossibleDuplicates atomic.Uint64 // stored, but older than what is remembered of their source
	WithoutID          atomic.Uint64 // stored, with neither msg_id nor a durable seq
	Gaps               atomic.Uint64 // telemetry.gap.v1 stored
	Reordered          atomic.Uint64 // telemetry.reordered.v1 stored
	Lost               atomic.Uint64 // messages that sources said they dropped
	Refused            atomic.Uint64 // telemetry.refused.v1 stored
	DeadLetters        atomic.Uint64 // telemetry.deadlettered.v1 stored
	Cloned             atomic.Uint64 // deliveries that say something else under a known number
	Ahead              atomic.Uint64 // not acknowledged, because one before them is missing
	Status             atomic.Uint64 // status messages, changes or not
	Ignored            atomic.Uint64 // members of messages that mean nothing here
	Registered         atomic.Uint64 // devices seen for the first time
	Conflicts          atomic.Uint64 // appends that another writer had overtaken
	Retries            atomic.Uint64 // appends tried again because the log could not take them
	Deep               atomic.Uint64 // windows read back from the log whole
}
