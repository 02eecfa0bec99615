package quality

// FromRaw maps a code as it came to the canonical quality. It never fails: a
// code that its scheme does not define keeps its severity and loses only the
// sub-code, and a code of a scheme that is not known here is Bad.
func FromRaw(s Scheme, raw uint32) Quality {
	q := Quality{Raw: raw, Scheme: s}
	switch s {
	case Assumed:
		q.Code = Good
	case OPCDA:
		q.Code = fromByte(&opcDA, raw)
	case AppendixB:
		q.Code = fromByte(&appendixB, raw)
	case OPCUA:
		q.Code = Code(raw)
	default:
		q.Code = Bad
	}
	return q
}

// fromByte maps QQSSSSLL. An OPC DA quality is 16 bits wide, the upper byte
// being the vendor's own and without meaning here (OPC 10000-8 §A.3.2.3); a
// number beyond that is no quality at all.
func fromByte(table *[64]Code, raw uint32) Code {
	if raw > 0xFFFF {
		return Bad
	}
	return table[raw&0xFF>>2].WithLimit(Limit(raw & 3))
}

// opcDA maps the quality and sub-status bits of OPC DA 3.0 as table A.61 of
// OPC 10000-8 §A.3.2.3 does; there LAST_KNOWN is Bad_OutOfService as well.
var opcDA = bytes(map[byte]Code{
	192: Good,
	216: GoodLocalOverride,
	0:   Bad,
	4:   BadConfigurationError,
	8:   BadNotConnected,
	12:  BadDeviceFailure,
	16:  BadSensorFailure,
	20:  BadOutOfService,
	24:  BadNoCommunication,
	28:  BadOutOfService,
	32:  BadWaitingForInitialData,
	64:  Uncertain,
	68:  UncertainLastUsableValue,
	80:  UncertainSensorNotAccurate,
	84:  UncertainEngineeringUnitsExceeded,
	88:  UncertainSubNormal,
})

// appendixB maps the other byte table in use in the field. It gives OPC DA's
// numbers other meanings, which is why a contract names the one it speaks. Its
// "last known value" is Bad: OPC UA has no Bad code with a value that is still
// worth showing, and Bad_OutOfService is what OPC UA makes of OPC DA's.
var appendixB = bytes(map[byte]Code{
	192: Good,
	216: GoodLocalOverride,
	0:   Bad,
	24:  BadDeviceFailure,
	28:  BadSensorFailure,
	32:  BadOutOfService,
	64:  Uncertain,
	68:  UncertainSensorNotAccurate,
	80:  UncertainLastUsableValue,
})

// bytes spreads a table over all 64 sub-statuses: those that it does not name
// keep their severity. The reserved quality bits 10 count as Bad.
func bytes(named map[byte]Code) [64]Code {
	var all [64]Code
	for i := range all {
		switch i >> 4 {
		case 3:
			all[i] = Good
		case 1:
			all[i] = Uncertain
		default:
			all[i] = Bad
		}
	}
	for b, c := range named {
		all[b>>2] = c
	}
	return all
}
