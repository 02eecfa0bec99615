package eventlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"testing"
)

// The numbers are RFC 8785 Appendix B.
func TestCanonicalNumbers(t *testing.T) {
	for bits, want := range map[uint64]string{
		0x0000000000000000: "0",
		0x8000000000000000: "0",
		0x0000000000000001: "5e-324",
		0x8000000000000001: "-5e-324",
		0x7fefffffffffffff: "1.7976931348623157e+308",
		0xffefffffffffffff: "-1.7976931348623157e+308",
		0x4340000000000000: "9007199254740992",
		0xc340000000000000: "-9007199254740992",
		0x4430000000000000: "295147905179352830000",
		0x44b52d02c7e14af5: "9.999999999999997e+22",
		0x44b52d02c7e14af6: "1e+23",
		0x44b52d02c7e14af7: "1.0000000000000001e+23",
		0x444b1ae4d6e2ef4e: "999999999999999700000",
		0x444b1ae4d6e2ef4f: "999999999999999900000",
		0x444b1ae4d6e2ef50: "1e+21",
		0x3eb0c6f7a0b5ed8c: "9.999999999999997e-7",
		0x3eb0c6f7a0b5ed8d: "0.000001",
		0x41b3de4355555553: "333333333.3333332",
		0x41b3de4355555554: "333333333.33333325",
		0x41b3de4355555555: "333333333.3333333",
		0x41b3de4355555556: "333333333.3333334",
		0x41b3de4355555557: "333333333.33333343",
		0xbecbf647612f3696: "-0.0000033333333333333333",
		0x43143ff3c1cb0959: "1424953923781206.2",
	} {
		if got := string(appendFloat(nil, math.Float64frombits(bits))); got != want {
			t.Errorf("%016x is %s, want %s", bits, got, want)
		}
	}
}

func TestCanonicalText(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"RFC 8785 section 3.2.2", `{
		  "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
		  "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
		  "literals": [null, true, false]
		}`, `{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}`},
		{"RFC 8785 section 3.2.3, sorted by UTF-16", `{
		  "\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh",
		  "1": "One", "\ud83d\ude00": "Emoji: Grinning Face", "\u0080": "Control", "\u00f6": "Latin Small Letter O With Diaeresis"
		}`, "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u0080\":\"Control\",\"ö\":\"Latin Small Letter O With Diaeresis\"," +
			"\"€\":\"Euro Sign\",\"😀\":\"Emoji: Grinning Face\",\"\ufb33\":\"Hebrew Letter Dalet With Dagesh\"}"},
		{"nested and empty", ` { "b" : [ ] , "a" : { } } `, `{"a":{},"b":[]}`},
		{"an escaped replacement character in given text is itself", `"\ufffd"`, "\"\ufffd\""},
		{"escaped backslash before ufffd", `"\\ufffd"`, `"\\ufffd"`},
	} {
		got, err := CanonicalJSON(json.RawMessage(c.in))
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %v\n got %s\nwant %s", c.name, err, got, c.want)
		}
	}
}

func TestCanonicalGoValues(t *testing.T) {
	type v struct {
		B string `json:"b"`
		A int64  `json:"a"`
	}
	got, err := CanonicalJSON(v{B: "<&>\u2028\ufffd\\ufffd", A: 1 << 53})
	if want := "{\"a\":9007199254740992,\"b\":\"<&>\u2028\ufffd\\\\ufffd\"}"; err != nil || string(got) != want {
		t.Errorf("%v\n got %s\nwant %s", err, got, want)
	}
}

func TestCanonicalRefusals(t *testing.T) {
	deep := bytes.Repeat([]byte("["), maxDepth+2)
	for name, in := range map[string]any{
		"an integer that rounds":      int64(1<<53 + 1),
		"a string that is not UTF-8":  "a\xffb",
		"raw text that is not UTF-8":  json.RawMessage("\"\xff\""),
		"a name twice":                json.RawMessage(`{"a":1,"\u0061":2}`),
		"a lone high surrogate":       json.RawMessage(`"\ud800x"`),
		"a lone low surrogate":        json.RawMessage(`"\udc00"`),
		"a number beyond a double":    json.RawMessage(`1e999`),
		"two values":                  json.RawMessage(`1 2`),
		"nesting that eats the stack": json.RawMessage(deep),
	} {
		if got, err := CanonicalJSON(in); !errors.Is(err, ErrNotCanonical) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for name, in := range map[string]any{"not JSON": json.RawMessage(`{`), "a channel": make(chan int), "NaN": math.NaN()} {
		if got, err := CanonicalJSON(in); err == nil {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// FuzzCanonicalJSON holds the transformation to three promises: no panic, the
// same value as encoding/json reads, and nothing left to change a second time.
func FuzzCanonicalJSON(f *testing.F) {
	for _, s := range []string{`{"b":[1,2.50,-0,1e21,"\u0000é\ud83d\ude00"],"a":{"":null}}`, `"\ud800"`, `9007199254740993`, `[[]]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		once, err := CanonicalJSON(json.RawMessage(text))
		if err != nil {
			return
		}
		twice, err := CanonicalJSON(json.RawMessage(once))
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%q became %q and then %q (%v)", text, once, twice, err)
		}
		var a, b any
		if json.Unmarshal(text, &a) != nil || json.Unmarshal(once, &b) != nil {
			t.Fatalf("%q became %q, which encoding/json refuses", text, once)
		}
		x, _ := json.Marshal(a)
		y, _ := json.Marshal(b)
		if !bytes.Equal(bytes.ReplaceAll(x, []byte("-0"), []byte("0")), bytes.ReplaceAll(y, []byte("-0"), []byte("0"))) {
			t.Fatalf("%q became %q: other values", text, once)
		}
	})
}
