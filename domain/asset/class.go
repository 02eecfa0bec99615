package asset

import (
	"fmt"
	"math"
	"reflect"
	"slices"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// Class is the state of a class's stream: its versions, in the order defined.
type Class struct{ Versions []ClassDefined }

// Classes are all classes by name.
type Classes map[string]*Class

// ClassDecider is the behaviour of a class's stream.
func ClassDecider() eventlog.Decider[Class, DefineClass] {
	return eventlog.Decider[Class, DefineClass]{Decode: Decode, Decide: decideClass, Evolve: evolveClass}
}

func evolveClass(c Class, event eventlog.Event) Class {
	if e, ok := event.(ClassDefined); ok {
		// A new slice, because readers may hold the old one.
		c.Versions = append(slices.Clip(c.Versions), e)
	}
	return c
}

// has reports whether a version of a class is defined; 0 is any.
func (c Classes) has(class string, version int) bool {
	cl := c[class]
	return cl != nil && version >= 0 && version <= len(cl.Versions)
}

// hasTag reports whether a version has a tag. For version 0 any version may:
// which one is in force depends on when one asks.
func (c Classes) hasTag(class string, version int, tag string) bool {
	cl := c[class]
	return cl != nil && slices.ContainsFunc(cl.Versions, func(v ClassDefined) bool {
		return (version == 0 || v.Version == version) && slices.ContainsFunc(v.Tags, func(d TagDef) bool { return d.Name == tag })
	})
}

func decideClass(c Class, cmd DefineClass) ([]eventlog.Event, error) {
	e := ClassDefined{
		Class: cmd.Class, Description: cmd.Description, Effective: cmd.Effective.UTC(),
		Nameplate: cmd.Nameplate, Tags: slices.Clone(cmd.Tags), Version: len(c.Versions) + 1,
	}
	if e.Tags == nil {
		e.Tags = []TagDef{}
	}
	if len(e.Nameplate) == 0 {
		e.Nameplate = nil // as it is read back
	}
	if err := e.check(); err != nil {
		return nil, fmt.Errorf("class %q: %w", cmd.Class, err)
	}
	if n := len(c.Versions); n > 0 {
		same := c.Versions[n-1]
		same.Effective, same.Version = e.Effective, e.Version
		if reflect.DeepEqual(same, e) {
			return nil, nil
		}
	}
	return []eventlog.Event{e}, nil
}

func (e *ClassDefined) check() error {
	if err := checkName("class", e.Class); err != nil {
		return err
	}
	if err := ClassStream(e.Class).Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrBadName, err)
	}
	if err := checkTime(e.Effective); err != nil {
		return err
	}
	seen := map[string]bool{}
	for i := range e.Tags {
		d := &e.Tags[i]
		if err := d.check(); err != nil {
			return err
		}
		if seen[d.Name] {
			return fmt.Errorf("tag %q twice: %w", d.Name, ErrBadClass)
		}
		seen[d.Name] = true
	}
	clear(seen)
	for _, a := range e.Nameplate {
		if err := checkName("nameplate attribute", a.Name); err != nil {
			return err
		}
		if seen[a.Name] {
			return fmt.Errorf("nameplate attribute %q twice: %w", a.Name, ErrBadClass)
		}
		seen[a.Name] = true
	}
	return nil
}

func (d *TagDef) check() error {
	if err := checkName("tag", d.Name); err != nil {
		return err
	}
	if d.DataType == "" {
		d.DataType = Float64
	}
	if !slices.Contains([]DataType{Float64, Int64, Bool, String}, d.DataType) {
		return fmt.Errorf("tag %q: data type %q, expected FLOAT64, INT64, BOOL or STRING: %w", d.Name, d.DataType, ErrBadClass)
	}
	for what, r := range map[string]*Range{"EURange": d.EURange, "InstrumentRange": d.InstrumentRange} {
		if r != nil && (!(r.Low < r.High) || math.IsInf(r.High-r.Low, 0)) {
			return fmt.Errorf("tag %q: %s %v to %v, expected finite low < high: %w", d.Name, what, r.Low, r.High, ErrBadClass)
		}
	}
	if d.ExpectedIntervalMS < 0 {
		return fmt.Errorf("tag %q: expected interval of %d ms: %w", d.Name, d.ExpectedIntervalMS, ErrBadClass)
	}
	return nil
}
