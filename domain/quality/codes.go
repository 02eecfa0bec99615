package quality

// The codes that this product sets or that plants are known to send, by their
// names in OPC 10000-4 §7.39.2, OPC 10000-8 §6.3.2 and OPC 10000-11; numbers
// from OPC 10000-6 Annex A.2.
const (
	Good                                    Code = 0x00000000
	GoodLocalOverride                       Code = 0x00960000
	GoodClamped                             Code = 0x00300000
	GoodOverload                            Code = 0x002F0000
	GoodNoData                              Code = 0x00A50000
	GoodEdited                              Code = 0x00DC0000
	GoodEntryInserted                       Code = 0x00A20000
	GoodEntryReplaced                       Code = 0x00A30000
	Uncertain                               Code = 0x40000000
	UncertainNoCommunicationLastUsableValue Code = 0x408F0000
	UncertainLastUsableValue                Code = 0x40900000
	UncertainSubstituteValue                Code = 0x40910000
	UncertainInitialValue                   Code = 0x40920000
	UncertainSensorNotAccurate              Code = 0x40930000
	UncertainEngineeringUnitsExceeded       Code = 0x40940000
	UncertainSubNormal                      Code = 0x40950000
	UncertainDataSubNormal                  Code = 0x40A40000
	UncertainSimulatedValue                 Code = 0x42090000
	UncertainSensorCalibration              Code = 0x420A0000
	UncertainConfigurationError             Code = 0x420F0000
	UncertainTransducerInManual             Code = 0x42080000
	UncertainDominantValueChanged           Code = 0x40DE0000
	UncertainDependentValueChanged          Code = 0x40E20000
	Bad                                     Code = 0x80000000
	BadUnexpectedError                      Code = 0x80010000
	BadInternalError                        Code = 0x80020000
	BadResourceUnavailable                  Code = 0x80040000
	BadCommunicationError                   Code = 0x80050000
	BadEncodingError                        Code = 0x80060000
	BadDecodingError                        Code = 0x80070000
	BadUnknownResponse                      Code = 0x80090000
	BadTimeout                              Code = 0x800A0000
	BadServiceUnsupported                   Code = 0x800B0000
	BadShutdown                             Code = 0x800C0000
	BadServerNotConnected                   Code = 0x800D0000
	BadUserAccessDenied                     Code = 0x801F0000
	BadNoCommunication                      Code = 0x80310000
	BadWaitingForInitialData                Code = 0x80320000
	BadNodeIDInvalid                        Code = 0x80330000
	BadNodeIDUnknown                        Code = 0x80340000
	BadDataEncodingInvalid                  Code = 0x80380000
	BadNotReadable                          Code = 0x803A0000
	BadNotWritable                          Code = 0x803B0000
	BadOutOfRange                           Code = 0x803C0000
	BadNotSupported                         Code = 0x803D0000
	BadNotFound                             Code = 0x803E0000
	BadTypeMismatch                         Code = 0x80740000
	BadConfigurationError                   Code = 0x80890000
	BadNotConnected                         Code = 0x808A0000
	BadDeviceFailure                        Code = 0x808B0000
	BadSensorFailure                        Code = 0x808C0000
	BadOutOfService                         Code = 0x808D0000
	BadNoData                               Code = 0x809B0000
	BadBoundNotFound                        Code = 0x80D70000
	BadBoundNotSupported                    Code = 0x80D80000
	BadDataLost                             Code = 0x809D0000
	BadDataUnavailable                      Code = 0x809E0000
	BadNoEntryExists                        Code = 0x80A00000
	BadAggregateNotSupported                Code = 0x80D50000
	BadAggregateInvalidInputs               Code = 0x80D60000
	BadAggregateConfigurationRejected       Code = 0x80DA0000
	BadConnectionClosed                     Code = 0x80AE0000
	BadSecurityChecksFailed                 Code = 0x80130000
	BadCertificateInvalid                   Code = 0x80120000
	BadDeadbandFilterInvalid                Code = 0x808E0000
	BadDominantValueChanged                 Code = 0x80E10000
	BadDependentValueChanged                Code = 0x80E30000
	BadInvalidState                         Code = 0x80AF0000
	BadObjectDeleted                        Code = 0x803F0000
)

var names = map[Code]string{
	Good:                                    "Good",
	GoodLocalOverride:                       "GoodLocalOverride",
	GoodClamped:                             "GoodClamped",
	GoodOverload:                            "GoodOverload",
	GoodNoData:                              "GoodNoData",
	GoodEdited:                              "GoodEdited",
	GoodEntryInserted:                       "GoodEntryInserted",
	GoodEntryReplaced:                       "GoodEntryReplaced",
	Uncertain:                               "Uncertain",
	UncertainNoCommunicationLastUsableValue: "UncertainNoCommunicationLastUsableValue",
	UncertainLastUsableValue:                "UncertainLastUsableValue",
	UncertainSubstituteValue:                "UncertainSubstituteValue",
	UncertainInitialValue:                   "UncertainInitialValue",
	UncertainSensorNotAccurate:              "UncertainSensorNotAccurate",
	UncertainEngineeringUnitsExceeded:       "UncertainEngineeringUnitsExceeded",
	UncertainSubNormal:                      "UncertainSubNormal",
	UncertainDataSubNormal:                  "UncertainDataSubNormal",
	UncertainSimulatedValue:                 "UncertainSimulatedValue",
	UncertainSensorCalibration:              "UncertainSensorCalibration",
	UncertainConfigurationError:             "UncertainConfigurationError",
	UncertainTransducerInManual:             "UncertainTransducerInManual",
	UncertainDominantValueChanged:           "UncertainDominantValueChanged",
	UncertainDependentValueChanged:          "UncertainDependentValueChanged",
	Bad:                                     "Bad",
	BadUnexpectedError:                      "BadUnexpectedError",
	BadInternalError:                        "BadInternalError",
	BadResourceUnavailable:                  "BadResourceUnavailable",
	BadCommunicationError:                   "BadCommunicationError",
	BadEncodingError:                        "BadEncodingError",
	BadDecodingError:                        "BadDecodingError",
	BadUnknownResponse:                      "BadUnknownResponse",
	BadTimeout:                              "BadTimeout",
	BadServiceUnsupported:                   "BadServiceUnsupported",
	BadShutdown:                             "BadShutdown",
	BadServerNotConnected:                   "BadServerNotConnected",
	BadUserAccessDenied:                     "BadUserAccessDenied",
	BadNoCommunication:                      "BadNoCommunication",
	BadWaitingForInitialData:                "BadWaitingForInitialData",
	BadNodeIDInvalid:                        "BadNodeIdInvalid",
	BadNodeIDUnknown:                        "BadNodeIdUnknown",
	BadDataEncodingInvalid:                  "BadDataEncodingInvalid",
	BadNotReadable:                          "BadNotReadable",
	BadNotWritable:                          "BadNotWritable",
	BadOutOfRange:                           "BadOutOfRange",
	BadNotSupported:                         "BadNotSupported",
	BadNotFound:                             "BadNotFound",
	BadTypeMismatch:                         "BadTypeMismatch",
	BadConfigurationError:                   "BadConfigurationError",
	BadNotConnected:                         "BadNotConnected",
	BadDeviceFailure:                        "BadDeviceFailure",
	BadSensorFailure:                        "BadSensorFailure",
	BadOutOfService:                         "BadOutOfService",
	BadNoData:                               "BadNoData",
	BadBoundNotFound:                        "BadBoundNotFound",
	BadBoundNotSupported:                    "BadBoundNotSupported",
	BadDataLost:                             "BadDataLost",
	BadDataUnavailable:                      "BadDataUnavailable",
	BadNoEntryExists:                        "BadNoEntryExists",
	BadAggregateNotSupported:                "BadAggregateNotSupported",
	BadAggregateInvalidInputs:               "BadAggregateInvalidInputs",
	BadAggregateConfigurationRejected:       "BadAggregateConfigurationRejected",
	BadConnectionClosed:                     "BadConnectionClosed",
	BadSecurityChecksFailed:                 "BadSecurityChecksFailed",
	BadCertificateInvalid:                   "BadCertificateInvalid",
	BadDeadbandFilterInvalid:                "BadDeadbandFilterInvalid",
	BadDominantValueChanged:                 "BadDominantValueChanged",
	BadDependentValueChanged:                "BadDependentValueChanged",
	BadInvalidState:                         "BadInvalidState",
	BadObjectDeleted:                        "BadObjectDeleted",
}
