package modbus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/edge/acquire"
)

var _ acquire.Polled = (*Source)(nil)

// A Source reads and writes one connection's items. Write and ReadBack may be
// called by other goroutines than the one that reads.
type Source struct {
	client client
	config Config
	items  []Item

	taught  lessons
	relearn time.Time      // when taught is forgotten
	silent  map[uint8]bool // units that did not answer the last time
}

// New returns the Source of items at the device that config names. Items are
// read by their index.
func New(config Config, items []Item) (*Source, error) {
	if (config.Address == "") == (config.Serial == "") {
		return nil, errors.New("modbus: expected one of an address (host:port) and a serial line")
	}
	config.RTU = config.RTU || config.Serial != ""
	var errs []error
	for i, it := range items {
		if err := it.Check(); err != nil {
			errs = append(errs, fmt.Errorf("item %d: %w", i, err))
		}
		if err := it.checkUnit(config.RTU); err != nil {
			errs = append(errs, fmt.Errorf("item %d: %w", i, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	config = config.withDefaults()
	s := &Source{client: client{config: config}, config: config, items: slices.Clone(items), silent: map[uint8]bool{}}
	s.taught.forget()
	return s, nil
}

// Connect opens the connection and forgets what the device has taught: it may
// be another one now.
func (s *Source) Connect(ctx context.Context) error {
	s.taught.forget()
	s.relearn = time.Now().Add(s.config.Relearn)
	clear(s.silent)
	return s.client.open(ctx)
}

// Close closes the connection.
func (s *Source) Close() error {
	s.client.close()
	return nil
}

// Read reads items, joined into as few requests as the plan allows. Its error
// is returned when no unit answered at all.
//
// A unit that is silent is asked for one block and not for its others: the
// three tries of every block would hold up the units beside it, which share the
// line, for as long as the unit is dead.
func (s *Source) Read(ctx context.Context, items []int) ([]acquire.Reading, error) {
	if now := time.Now(); now.After(s.relearn) {
		s.taught.forget()
		s.relearn = now.Add(s.config.Relearn)
	}
	v := visit{s: s, found: make(map[int]acquire.Reading, len(items)), dead: map[uint8]quality.Code{}}
	for _, b := range s.plan(s.sorted(items)) {
		v.read(ctx, b)
	}
	out := make([]acquire.Reading, len(items))
	for i, item := range items {
		r, ok := v.found[item]
		if !ok { // left out of the plan: its address was refused
			code := quality.BadConfigurationError
			if silent, dead := v.dead[s.items[item].Unit]; dead {
				code = silent // of a device that is not there nothing else is known
			}
			r = bad(code, time.Time{})
		}
		r.Item = item
		out[i] = r
	}
	if v.answered || v.lost == nil {
		return out, nil
	}
	return out, v.lost
}

// A visit is one Read under way.
type visit struct {
	s        *Source
	found    map[int]acquire.Reading
	dead     map[uint8]quality.Code // units that were silent in this visit
	answered bool                   // somebody said something
	lost     error                  // the last failure that was no answer
}

// read makes the request of a block. Where the device refuses its address, the
// block is halved until what is refused is one item or the gap between two.
func (v *visit) read(ctx context.Context, b block) (refused bool) {
	if code, ok := v.dead[b.unit]; ok || ctx.Err() != nil {
		if !ok {
			code = quality.BadCommunicationError
		}
		v.fail(b, code)
		return false
	}
	data, err := v.s.client.ask(ctx, b.request, v.tries(b.unit))
	at := time.Now().UTC()
	exception, answered := errors.AsType[Exception](err)
	switch {
	case err == nil:
		v.hear(b.unit)
		v.decode(b, data, at)
	case answered && refusesAddress(exception) && len(b.items) > 1:
		v.hear(b.unit)
		v.halve(ctx, b)
		return true
	case answered:
		v.hear(b.unit)
		v.fail(b, codeOf(exception))
		if refusesAddress(exception) {
			v.s.taught.illegal[b.items[0]] = true
			return true
		}
	default:
		v.s.silent[b.unit] = true
		v.lost = err
		v.dead[b.unit] = silenceCode(err)
		v.fail(b, v.dead[b.unit])
	}
	return false
}

// halve reads both halves of a refused block. If neither is refused, the device
// refused what lies between them, and the two are not joined again.
func (v *visit) halve(ctx context.Context, b block) {
	left, right := v.s.halves(b)
	refused := v.read(ctx, left)
	refused = v.read(ctx, right) || refused
	if !refused {
		v.s.taught.fence(b.region(), int(right.start))
	}
}

// tries is how often a unit is asked: once if it was silent the last time, or a
// dead unit would cost its neighbours three timeouts in every cycle.
func (v *visit) tries(unit uint8) int {
	if v.s.silent[unit] {
		return 1
	}
	return v.s.config.Tries
}

func (v *visit) hear(unit uint8) {
	v.answered = true
	delete(v.s.silent, unit)
}

func (v *visit) decode(b block, data []byte, at time.Time) {
	for _, item := range b.items {
		it := v.s.items[item]
		from, n := int(it.Address)-int(b.start), it.registers()
		if !it.Table.bits() {
			from, n = 2*from, 2*n
		}
		value, ok := it.decode(data[from : from+n])
		if !ok {
			v.found[item] = bad(quality.BadOutOfRange, at)
			continue
		}
		// Modbus says nothing of quality: Good is assumed, and said to be.
		v.found[item] = acquire.Reading{Value: value, Quality: quality.AssumedGood, At: at}
	}
}

func (v *visit) fail(b block, code quality.Code) {
	at := time.Now().UTC()
	for _, item := range b.items {
		v.found[item] = bad(code, at)
	}
}

// bad is the reading of what was not read.
func bad(code quality.Code, at time.Time) acquire.Reading {
	return acquire.Reading{Quality: quality.Of(code), At: at}
}

// refusesAddress reports whether the device says that it does not have what was
// asked for. Devices differ in which of two codes they use for it.
func refusesAddress(e Exception) bool { return e == IllegalAddress || e == IllegalValue }

// codeOf is what an exception says of the value that was asked for.
func codeOf(e Exception) quality.Code {
	switch e {
	case IllegalFunction, IllegalAddress, IllegalValue:
		return quality.BadConfigurationError // the device is well, it was asked for what it has not
	case ServerFailure, MemoryParity:
		return quality.BadDeviceFailure
	case Acknowledge, ServerBusy:
		return quality.BadResourceUnavailable
	case GatewayPath, GatewayTargetSilent:
		return quality.BadNoCommunication // the gateway lives, the device behind it does not answer
	}
	return quality.BadDeviceFailure
}

// silenceCode tells a device that cannot be reached from one that is reached
// and does not answer in a way that could be understood.
func silenceCode(err error) quality.Code {
	if errors.Is(err, errSilence) || errors.Is(err, ErrReply) || errors.Is(err, ErrFrame) {
		return quality.BadCommunicationError
	}
	return quality.BadNoCommunication
}
