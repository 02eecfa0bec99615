package mqttload

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"time"
)

// message is a PUBLISH whose numbers change from one to the next: packet id,
// msg_id, times, sequence and values; everything else is written once.
type message struct {
	device  string
	samples int
	seq     uint64
	walk    []int64 // tenths of a unit
	rnd     uint64
	buf     []byte
}

func newMessage(device string, samples int) *message {
	m := &message{device: device, samples: samples, walk: make([]int64, samples), rnd: 0x9e3779b97f4a7c15}
	for _, c := range device {
		m.rnd = m.rnd*31 + uint64(c)
	}
	for i := range m.walk {
		m.walk[i] = int64(200 + 50*i)
	}
	return m
}

// next returns the whole packet; it is valid until the next call.
func (m *message) next(id uint16) []byte {
	m.seq++
	topic := "acme/north/pumping/line-1/pump/" + m.device + "/telemetry"
	body := m.buf[:0]
	body = append(body, 0x32, 0, 0, 0) // PUBLISH, QoS 1; three bytes for the length
	body = binary.BigEndian.AppendUint16(body, uint16(len(topic)))
	body = append(body, topic...)
	body = binary.BigEndian.AppendUint16(body, id)
	body = m.json(body, time.Now().UnixMilli())
	n := len(body) - 4
	body[1], body[2], body[3] = byte(n&0x7f)|0x80, byte(n>>7&0x7f)|0x80, byte(n>>14)
	m.buf = body
	return body
}

func (m *message) json(b []byte, now int64) []byte {
	b = append(b, `{"schema_version":"2.1","msg_id":"`...)
	b = fmt.Appendf(b, "01J%08X%015d", uint32(m.rnd>>32)^uint32(len(m.device)), m.seq)
	b = append(b, `","device_id":"`...)
	b = append(b, m.device...)
	b = append(b, `","device_type":"centrifugal_pump","ts":`...)
	b = strconv.AppendInt(b, now, 10)
	b = append(b, `,"seq":`...)
	b = strconv.AppendUint(b, m.seq, 10)
	b = append(b, `,"d":{`...)
	for i := range m.samples {
		m.rnd ^= m.rnd << 13
		m.rnd ^= m.rnd >> 7
		m.rnd ^= m.rnd << 17
		m.walk[i] += int64(m.rnd>>32%5) - 2
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `"signal_`...)
		b = strconv.AppendInt(b, int64(i), 10)
		b = append(b, `":{"v":`...)
		b = strconv.AppendInt(b, m.walk[i]/10, 10)
		b = append(b, '.', byte('0'+(m.walk[i]%10+10)%10))
		b = append(b, `,"q":192}`...)
	}
	b = append(b, `},"meta":{"fw_version":"2.3.1","source_ts":`...)
	b = strconv.AppendInt(b, now-143, 10)
	return append(b, `}}`...)
}
