package broker

import (
	"encoding/binary"
	"strconv"

	"github.com/mochi-mqtt/server/v2/packets"
)

// The user properties that twinlog adds (MQTT 5 §3.4.2.2.3, §3.14.2.2.4).
const (
	// PropertyRefused on a PUBACK says where a refused message is: "stream@revision".
	PropertyRefused = "twinlog-refused"
	// PropertyExpected on a DISCONNECT says which sequence number is wanted next.
	PropertyExpected = "twinlog-expected"
)

const (
	userProperty  = 0x26 // MQTT 5 §2.2.2.2
	quotaExceeded = 0x97 // MQTT 5 §2.4
)

// appendAck appends PUBACK for QoS 1, PUBREC for QoS 2, and nothing for QoS 0 or a will.
func (e *entry) appendAck(buf []byte) []byte {
	if e.qos == 0 || e.will {
		return buf
	}
	kind := packets.Puback << 4
	if e.qos == 2 {
		kind = packets.Pubrec << 4
	}
	if e.ack.Refused == "" || !e.s.details {
		return append(buf, kind, 2, byte(e.id>>8), byte(e.id)) // reason code 0 may be left out
	}
	props := appendUser(nil, PropertyRefused, e.ack.Refused)
	if most := e.s.cl.Properties.Props.MaximumPacketSize; most > 0 && uint32(len(props))+10 > most {
		return append(buf, kind, 2, byte(e.id>>8), byte(e.id)) // MQTT 5 §3.4.2.2.3: rather without it
	}
	body := appendLength([]byte{byte(e.id >> 8), byte(e.id), 0}, len(props))
	body = append(body, props...)
	return append(appendLength(append(buf, kind), len(body)), body...)
}

// disconnect returns a DISCONNECT that makes the client send again.
func disconnect(a Ack, details bool) []byte {
	var props []byte
	if a.Expected > 0 && details {
		props = appendUser(nil, PropertyExpected, strconv.FormatUint(a.Expected, 10))
	}
	body := append(appendLength([]byte{quotaExceeded}, len(props)), props...)
	return append(appendLength([]byte{packets.Disconnect << 4}, len(body)), body...)
}

func appendUser(buf []byte, key, value string) []byte {
	buf = append(buf, userProperty)
	buf = append(binary.BigEndian.AppendUint16(buf, uint16(len(key))), key...)
	value = value[:min(len(value), 1<<16-1)]
	return append(binary.BigEndian.AppendUint16(buf, uint16(len(value))), value...)
}

// appendLength appends a variable byte integer (MQTT 5 §1.5.5).
func appendLength(buf []byte, n int) []byte {
	for n >= 0x80 {
		buf = append(buf, byte(n)|0x80)
		n >>= 7
	}
	return append(buf, byte(n))
}
