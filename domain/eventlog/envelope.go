package eventlog

import "time"

// Envelope is what is known of an event beside its data, from the first event
// on, because it can never be added later (21 CFR Part 11 §11.10(e); the list
// is reference part11 §1E). Personal data never stands here in clear: names,
// addresses and free text go into Private.
type Envelope struct {
	Effective              time.Time  // when it was true; zero: the same as Recorded
	Zone                   string     // IANA zone of the place, "" if none applies
	Recorded               time.Time  // stamped by the log at Append, whatever stands here; microseconds
	Clock                  ClockState // of the machine that stamped Recorded; stamped too
	Actor                  Actor
	Reason                 *Reason
	Terminal, Device       string // ids, not addresses
	Correlation, Causation EventID
	Policy                 *PolicyDecision
	Build                  string   // software build and configuration hash
	Private                []Sealed // personal data, encrypted
}

// ClockState says how far Recorded can be trusted.
type ClockState struct {
	State    string // "SYNCED", "HOLDOVER", "UNSYNCED", or "" when not known
	OffsetUS int64  // the raw clock minus Recorded, in microseconds
	Source   string // "ntp:…", "ptp:…"
}

// Actor is who did it: an opaque subject, never a name.
type Actor struct {
	Subject     string   // random id of a person, or the id of a device or service
	Kind        string   // HUMAN, DEVICE, SERVICE or ADMIN
	Role        string   // the role in use
	AuthMethods []string // "none" marks an unauthenticated actor
	OnBehalfOf  string
}

// The kinds of actor.
const (
	Human   = "HUMAN"
	Device  = "DEVICE"
	Service = "SERVICE"
	Admin   = "ADMIN"
)

// Reason is why a person did it. Its free text is in Private.
type Reason struct {
	Code     string
	Prompted bool // the system asked for it at the time
}

// PolicyDecision is the rule that allowed it.
type PolicyDecision struct{ Rule, Hash string }

// Sealed is a piece of personal data under a key of its own (AES-256-GCM), so
// that forgetting the key erases it while the hash over it stays.
type Sealed struct {
	Field             string // "reason.text", "name", "address"
	Key               string // key id: subject and retention class
	Nonce, Ciphertext []byte
}
