package telemetry

// Interner numbers points from 0 in the order in which it meets them. A fold
// keeps its state in a slice under that number and touches no string per
// sample. It belongs to one goroutine.
type Interner struct {
	devices map[string]*internedDevice
	points  []Point
}

type internedDevice struct {
	name    string
	signals map[string]uint32
	rows    map[string][]uint32 // by View.Names: the row's points at once
}

// maxRows bounds the lists of signals that are remembered for one device. One
// that sends by deadband could make 2^signals of them; it then costs a look-up
// per sample.
const maxRows = 64

// NewInterner returns an empty one.
func NewInterner() *Interner { return &Interner{devices: map[string]*internedDevice{}} }

// Len is the number of points met so far.
func (in *Interner) Len() int { return len(in.points) }

// Point returns the point with this number, which must be below Len.
func (in *Interner) Point(n uint32) Point { return in.points[n] }

// Number returns the number of a point, giving it one if it is new.
func (in *Interner) Number(p Point) uint32 {
	d, ok := in.devices[p.Device]
	if !ok {
		d = in.add(p.Device)
	}
	if n, ok := d.signals[p.Signal]; ok {
		return n
	}
	return in.addSignal(d, p.Signal)
}

// Find returns the number of a point that has one.
func (in *Interner) Find(p Point) (uint32, bool) {
	d, ok := in.devices[p.Device]
	if !ok {
		return 0, false
	}
	n, ok := d.signals[p.Signal]
	return n, ok
}

// Row returns the numbers of the row's points, in order. The slice is shared:
// read it, and do not keep it. It fails on a row that Iter would fail on.
func (in *Interner) Row(v *View) ([]uint32, error) {
	d, ok := in.devices[string(v.Device)]
	if !ok {
		d = in.add(string(v.Device))
	}
	if row, ok := d.rows[string(v.Names)]; ok && len(row) == v.Len {
		return row, nil
	}
	row := make([]uint32, 0, v.Len)
	c := cursor{b: v.Names}
	for range v.Len {
		name := c.string()
		n, ok := d.signals[string(name)]
		if !ok && !c.bad {
			n = in.addSignal(d, string(name))
		}
		row = append(row, n)
	}
	if c.bad || len(c.b) != 0 {
		return nil, ErrBadRow
	}
	if len(d.rows) < maxRows {
		d.rows[string(v.Names)] = row
	}
	return row, nil
}

func (in *Interner) add(device string) *internedDevice {
	d := &internedDevice{name: device, signals: map[string]uint32{}, rows: map[string][]uint32{}}
	in.devices[device] = d
	return d
}

func (in *Interner) addSignal(d *internedDevice, signal string) uint32 {
	n := uint32(len(in.points))
	in.points = append(in.points, Point{d.name, signal})
	d.signals[signal] = n
	return n
}
