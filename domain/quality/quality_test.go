package quality

import (
	"encoding/json"
	"os/exec"
	"testing"

	"github.com/twinlog/twinlog/test/peer"
)

// TestFromRaw is the platform's table, row by row, with the limit bits.
func TestFromRaw(t *testing.T) {
	for _, c := range []struct {
		scheme Scheme
		raw    uint32
		name   string
		status Status
		limit  Limit
	}{
		{Assumed, 0, "Good", IsGood, Free},
		{OPCDA, 192, "Good", IsGood, Free},
		{OPCDA, 193, "Good", IsGood, Low},
		{OPCDA, 194, "Good", IsGood, High},
		{OPCDA, 195, "Good", IsGood, Constant},
		{OPCDA, 216, "GoodLocalOverride", IsGood, Free},
		{OPCDA, 219, "GoodLocalOverride", IsGood, Constant},
		{OPCDA, 0, "Bad", IsBad, Free},
		{OPCDA, 4, "BadConfigurationError", IsBad, Free},
		{OPCDA, 8, "BadNotConnected", IsBad, Free},
		{OPCDA, 12, "BadDeviceFailure", IsBad, Free},
		{OPCDA, 16, "BadSensorFailure", IsBad, Free},
		{OPCDA, 17, "BadSensorFailure", IsBad, Low},
		{OPCDA, 20, "BadOutOfService", IsBad, Free},
		{OPCDA, 24, "BadNoCommunication", IsBad, Free},
		{OPCDA, 28, "BadOutOfService", IsBad, Free},
		{OPCDA, 32, "BadWaitingForInitialData", IsBad, Free},
		{OPCDA, 64, "Uncertain", IsUncertain, Free},
		{OPCDA, 68, "UncertainLastUsableValue", IsUncertain, Free},
		{OPCDA, 80, "UncertainSensorNotAccurate", IsUncertain, Free},
		{OPCDA, 84, "UncertainEngineeringUnitsExceeded", IsUncertain, Free},
		{OPCDA, 86, "UncertainEngineeringUnitsExceeded", IsUncertain, High},
		{OPCDA, 88, "UncertainSubNormal", IsUncertain, Free},
		{OPCDA, 128, "Bad", IsBad, Free},        // the reserved quality
		{OPCDA, 200, "Good", IsGood, Free},      // a sub-status without meaning
		{OPCDA, 0x0AC0, "Good", IsGood, Free},   // the vendor's byte is not ours
		{OPCDA, 0x100C0, "Bad", IsBad, Free},    // more than 16 bits is no quality
		{OPCDA, 0xFFFFFFFF, "Bad", IsBad, Free}, //
		{AppendixB, 192, "Good", IsGood, Free},  //
		{AppendixB, 216, "GoodLocalOverride", IsGood, Free},
		{AppendixB, 0, "Bad", IsBad, Free},
		{AppendixB, 4, "Bad", IsBad, Free},
		{AppendixB, 24, "BadDeviceFailure", IsBad, Free},
		{AppendixB, 28, "BadSensorFailure", IsBad, Free},
		{AppendixB, 32, "BadOutOfService", IsBad, Free},
		{AppendixB, 64, "Uncertain", IsUncertain, Free},
		{AppendixB, 68, "UncertainSensorNotAccurate", IsUncertain, Free},
		{AppendixB, 80, "UncertainLastUsableValue", IsUncertain, Free},
		{AppendixB, 83, "UncertainLastUsableValue", IsUncertain, Constant},
		{OPCUA, 0, "Good", IsGood, Free},
		{OPCUA, 0x808C0500, "BadSensorFailure", IsBad, Low},
		{OPCUA, 0x408F0000, "UncertainNoCommunicationLastUsableValue", IsUncertain, Free},
		{OPCUA, 0x80FF0000, "Bad(0x80FF0000)", IsBad, Free},
		{OPCUA, 0xC0000000, "Bad(0xC0000000)", IsBad, Free},
		{Scheme(99), 192, "Bad", IsBad, Free},
	} {
		q := FromRaw(c.scheme, c.raw)
		if q.Code.Name() != c.name || q.Code.Status() != c.status || q.Code.Limit() != c.limit {
			t.Errorf("%s %d is %s (%s, %s), want %s (%s, %s)", c.scheme, c.raw,
				q.Code.Name(), q.Code.Status(), q.Code.Limit(), c.name, c.status, c.limit)
		}
		if q.Raw != c.raw || q.Scheme != c.scheme {
			t.Errorf("%s %d is kept as %s %d", c.scheme, c.raw, q.Scheme, q.Raw)
		}
	}
}

// TestLimitBits holds the numbers of OPC 10000-4: InfoType 01 in bits 10 and
// 11, limit in bits 8 and 9.
func TestLimitBits(t *testing.T) {
	for l, want := range map[Limit]Code{Free: 0x808C0000, Low: 0x808C0500, High: 0x808C0600, Constant: 0x808C0700} {
		if got := BadSensorFailure.WithLimit(Constant).WithLimit(l); got != want || got.Limit() != l {
			t.Errorf("%s: 0x%08X with limit %s, want 0x%08X", l, uint32(got), got.Limit(), uint32(want))
		}
	}
	if l := Code(0x00000300).Limit(); l != Free {
		t.Errorf("limit bits without the InfoType mean %s", l)
	}
}

func TestSchemeNames(t *testing.T) {
	for _, s := range []Scheme{OPCDA, AppendixB, OPCUA} {
		if got, ok := ParseScheme(s.String()); !ok || got != s {
			t.Errorf("ParseScheme(%q) = %v, %v", s, got, ok)
		}
	}
	for _, name := range []string{"", "assumed", "OPC-DA"} {
		if s, ok := ParseScheme(name); ok {
			t.Errorf("ParseScheme(%q) = %v", name, s)
		}
	}
}

// TestNumbersAgainstPeer compares every name and number with those of
// node-opcua, which generates them from the OPC Foundation's table.
func TestNumbersAgainstPeer(t *testing.T) {
	cmd := exec.Command("node", "--input-type=module", "-e", `
		import pkg from "node-opcua-status-code";
		const out = {};
		for (const [k, v] of Object.entries(pkg.StatusCodes)) if (v && typeof v.value === "number") out[k] = v.value >>> 0;
		console.log(JSON.stringify(out));`)
	cmd.Dir = peer.Node(t)
	text, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	peers := map[string]uint32{}
	if err := json.Unmarshal(text, &peers); err != nil {
		t.Fatal(err)
	}
	for code, name := range names {
		want, ok := peers[name]
		if !ok || Code(want) != code {
			t.Errorf("%s is 0x%08X here, 0x%08X (%v) there", name, uint32(code), want, ok)
		}
	}
}
