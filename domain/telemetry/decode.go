package telemetry

import "fmt"

// Decode reads one row whole: the inverse of AppendBinary. Every time comes
// back in UTC.
func Decode(data []byte) (Row, error) {
	var v View
	if err := v.Reset(data); err != nil {
		return Row{}, err
	}
	r := Row{
		Device: string(v.Device), DeviceType: string(v.DeviceType), Gateway: string(v.Gateway),
		MsgID: v.MsgID(), MsgIDDerived: v.MsgIDDerived, Seq: v.Seq, HasSeq: v.HasSeq,
		SourceTime: v.SourceTime, ServerTime: v.ServerTime, Basis: v.Basis,
		Firmware: string(v.Firmware), SchemaVersion: string(v.SchemaVersion), EdgeLatency: v.EdgeLatency,
	}
	if v.Len > 0 {
		r.Samples = make([]Sample, 0, v.Len)
	}
	it := v.Iter()
	for it.Next() {
		r.Samples = append(r.Samples, Sample{Signal: string(it.Name), Value: it.Value(), Quality: it.Quality})
	}
	if it.Err() != nil {
		return Row{}, it.Err()
	}
	if err := CheckSignals(r.Samples); err != nil {
		return Row{}, fmt.Errorf("row of device %q: %w: %w", r.Device, err, ErrBadRow)
	}
	return r, nil
}
