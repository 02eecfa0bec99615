package telemetry

import (
	"bytes"
	"strings"
)

// AppendOrigin appends what a message said of where it comes from: the gateway,
// a zero byte, the firmware. CutOrigin takes it apart.
func (v *View) AppendOrigin(dst []byte) []byte {
	dst = append(dst, bytes.ReplaceAll(v.Gateway, []byte{0}, nil)...)
	return append(append(dst, 0), v.Firmware...)
}

// CutOrigin is the inverse of AppendOrigin. (A zero byte in a gateway's name,
// which no gateway has, is lost.)
func CutOrigin(s string) (gateway, firmware string) {
	gateway, firmware, _ = strings.Cut(s, "\x00")
	return gateway, firmware
}
