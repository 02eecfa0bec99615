// Package planted names mistakes of the kind that a bitemporal server makes, so
// that the tests can be held to finding them. Each stands in the code where it
// would be made, behind its name. In every ordinary build Bug is a constant, and
// the compiler leaves all of them out; with the build tag "planted" it is a
// variable, and a test makes one mistake after the other (test/planted.sh).
package planted

// Name is the name of a mistake.
type Name string

// The mistakes. The comment says what goes wrong.
const (
	KnownOffByOne       Name = "known-off-by-one"        // the fact behind the known position counts
	SampleKnownOffByOne Name = "sample-known-off-by-one" // the sample at the known position does not count
	KnownTimeEarly      Name = "known-time-early"        // what was recorded at the very time is not known
	AsOfExclusive       Name = "as-of-exclusive"         // what happened at the very instant has not happened
	TwinTie             Name = "twin-tie"                // of current values of one SourceTime the earlier known wins
	HistoryTie          Name = "history-tie"             // of past values of one SourceTime the earlier known wins
	AggregateTie        Name = "aggregate-tie"           // two samples of one SourceTime both count
	SkewedClock         Name = "skewed-clock"            // a sample from the future is current at once
	SkewForgotten       Name = "skew-forgotten"          // a sample from the future is as good as any
	SkewFrozen          Name = "skew-frozen"             // history never hears of another allowed skew
	MovedAsset          Name = "moved-asset"             // an asset lies where it was moved last
	RenamedEarly        Name = "renamed-early"           // a new name is known before it was told
	RetiredListed       Name = "retired-listed"          // tags of retired assets are among the current values
	RetiredFed          Name = "retired-fed"             // a retired asset goes on measuring
	RelatedToRetired    Name = "related-to-retired"      // a relationship outlives an end
	ForgottenBinding    Name = "forgotten-binding"       // only the last binding of a tag counts
	BindingEarly        Name = "binding-early"           // a binding is known before it was told
	BindingAhead        Name = "binding-ahead"           // a binding is in force before its time
	NewestClass         Name = "newest-class"            // the newest version of a class is in force always
	PlateOrder          Name = "plate-order"             // a late change of a nameplate overrules later ones
	PlateLostAtRestart  Name = "plate-lost-at-restart"   // changes of nameplates are gone after a restart
	CachedMoment        Name = "cached-moment"           // a moment is answered from another known one
	SummaryAcrossKnown  Name = "summary-across-known"    // a sum is used that holds what was not known
	SummaryOverlap      Name = "summary-overlap"         // two sums are joined although their times overlap
	SettingsNow         Name = "settings-now"            // a past moment has the settings of now
	StaleNow            Name = "stale-now"               // the age of a past value is counted up to now
	BoundAfterMoment    Name = "bound-after-moment"      // the bound before a range comes from after the moment
	DeviceNow           Name = "device-now"              // a device is as it is now
	CorrectedLater      Name = "corrected-later"         // a correction is about what comes after it as well
	CorrectedBefore     Name = "corrected-before"        // a correction is known before it was made
	UndoForgotten       Name = "undo-forgotten"          // what was undone is still in force
	DuplicateStored     Name = "duplicate-stored"        // a message that came twice is there twice
	EventsPast          Name = "events-past"             // a list of events ends one too early
)

// All are all of them.
var All = []Name{
	KnownOffByOne, SampleKnownOffByOne, KnownTimeEarly, AsOfExclusive, TwinTie, HistoryTie, AggregateTie, SkewedClock, SkewForgotten,
	SkewFrozen, MovedAsset, RenamedEarly, RetiredListed, RetiredFed, RelatedToRetired, ForgottenBinding, BindingEarly, BindingAhead,
	NewestClass, PlateOrder, PlateLostAtRestart, CachedMoment, SummaryAcrossKnown, SummaryOverlap, SettingsNow, StaleNow,
	BoundAfterMoment, DeviceNow, CorrectedLater, CorrectedBefore, UndoForgotten, DuplicateStored, EventsPast,
}
