// An OPC UA server made with npm node-opcua. It is told what to do over stdin,
// one JSON command a line, and answers each with one line on stdout:
//
//   {"set": "Flow", "value": 12.5, "status": "Good", "at": 1700000000000}
//   {"get": "Setpoint"}            -> {"value": 3}
//   {"level": 95}                  the input of the limit alarm
//   {"sessions": true}             -> {"sessions": n}
//   {"drop": true}                 closes all sessions and forgets subscriptions
//   {"calls": true}                -> {"calls": [7]}
//
// Arguments: FOLDER (for its certificates) and PORT (0 for a free one).
// The first line is {"port": n, "certificate": "<base64 DER>"}.
import path from "node:path";
import net from "node:net";
import readline from "node:readline";
import {
  OPCUAServer, OPCUACertificateManager, Variant, DataType, VariantArrayType, StatusCodes, SecurityPolicy,
  MessageSecurityMode, UserTokenType, DataValue, makeRoles, nodesets, LocalizedText,
} from "node-opcua";

const [folder, portArgument, strict] = process.argv.slice(2);

async function freePort() {
  if (portArgument && portArgument !== "0") return Number(portArgument);
  const server = net.createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const port = await freePort();
const serverCertificateManager = new OPCUACertificateManager({ rootFolder: path.join(folder, "pki"), automaticallyAcceptUnknownCertificate: strict !== "strict" });
const userCertificateManager = new OPCUACertificateManager({ rootFolder: path.join(folder, "users"), automaticallyAcceptUnknownCertificate: true });
await serverCertificateManager.initialize();
await userCertificateManager.initialize();
const server = new OPCUAServer({
  port, host: "127.0.0.1", hostname: "127.0.0.1", resourcePath: "/plant",
  nodeset_filename: [nodesets.standard], serverCertificateManager, userCertificateManager,
  securityPolicies: [SecurityPolicy.None, SecurityPolicy.Basic256Sha256, SecurityPolicy.Aes128_Sha256_RsaOaep, SecurityPolicy.Aes256_Sha256_RsaPss],
  securityModes: [MessageSecurityMode.None, MessageSecurityMode.Sign, MessageSecurityMode.SignAndEncrypt],
  allowAnonymous: true, maxConnectionsPerEndpoint: 100,
  serverCapabilities: { maxSessions: 100, minSupportedSampleRate: 0 },
  userManager: { isValidUser: (user, password) => user === "operator" && password === "secret", getUserRoles: () => makeRoles("AuthenticatedUser;Operator") },
  buildInfo: { productName: "peer" },
});
await server.initialize();
const space = server.engine.addressSpace;
const own = space.getOwnNamespace();
const pump = own.addObject({ organizedBy: space.rootFolder.objects, browseName: "Pump", nodeId: "s=Pump", eventNotifier: 1 });
space.rootFolder.objects.server.setEventNotifier(1);
pump.addReference({ referenceType: "HasNotifier", isForward: false, nodeId: space.rootFolder.objects.server });

const variables = new Map();
function add(name, dataType, value, options = {}) {
  const v = own.addVariable({
    componentOf: pump, browseName: name, nodeId: `s=${name}`, dataType: DataType[dataType], minimumSamplingInterval: 0,
    accessLevel: "CurrentRead | CurrentWrite | HistoryRead", userAccessLevel: "CurrentRead | CurrentWrite | HistoryRead",
    valueRank: Array.isArray(value) ? 1 : -1, ...options,
  });
  v.setValueFromSource(variant(dataType, value));
  variables.set(name, [v, dataType]);
  return v;
}
function variant(dataType, value) {
  // 64 bits are a pair of 32 here, the higher first.
  const wide = (x) => (dataType.endsWith("Int64") ? [Number((BigInt.asUintN(64, BigInt(x)) >> 32n)), Number(BigInt(x) & 0xffffffffn)] : x);
  if (dataType === "Float" || dataType === "Double") value = typeof value === "string" ? Number(value) : value;
  if (dataType === "DateTime") value = new Date(value);
  if (dataType === "ByteString") value = Buffer.from(value, "hex");
  if (dataType === "LocalizedText") value = new LocalizedText({ text: value, locale: "en" });
  if (Array.isArray(value)) return new Variant({ dataType: DataType[dataType], arrayType: VariantArrayType.Array, value });
  return new Variant({ dataType: DataType[dataType], arrayType: VariantArrayType.Scalar, value: wide(value) });
}
add("Boolean", "Boolean", true);
add("SByte", "SByte", -8);
add("Byte", "Byte", 200);
add("Int16", "Int16", -32768);
add("UInt16", "UInt16", 65535);
add("Int32", "Int32", -2147483648);
add("UInt32", "UInt32", 4294967295);
add("Int64", "Int64", "-9007199254740993");
add("UInt64", "UInt64", "9007199254740993");
add("Float", "Float", 0.5);
add("Double", "Double", 0.1);
add("NaN", "Double", NaN);
add("Inf", "Double", Infinity);
add("String", "String", "Süd");
add("DateTime", "DateTime", "2026-11-24T10:00:00.000Z");
add("Guid", "Guid", "72962B91-FA75-4AE6-8D28-B404DC7DAF63");
add("ByteString", "ByteString", "00ff10");
add("LocalizedText", "LocalizedText", "running");
add("Array", "Double", new Float64Array([1, 2.5, -3]).length ? [1, 2.5, -3] : []);
add("Setpoint", "Float", 0);
add("Locked", "Double", 1, { accessLevel: "CurrentRead", userAccessLevel: "CurrentRead" });

const flow = own.addAnalogDataItem({
  componentOf: pump, browseName: "Flow", nodeId: "s=Flow", dataType: DataType.Double, definition: "flow", valuePrecision: 0.01,
  engineeringUnitsRange: { low: 0, high: 200 }, instrumentRange: { low: -10, high: 250 }, minimumSamplingInterval: 0,
  engineeringUnits: { namespaceUri: "http://www.opcfoundation.org/UA/units/un/cefact", unitId: 5066068, displayName: "m³/h", description: "cubic metre per hour" },
  accessLevel: "CurrentRead | CurrentWrite | HistoryRead", userAccessLevel: "CurrentRead | CurrentWrite | HistoryRead",
});
flow.setValueFromSource(variant("Double", 10));
variables.set("Flow", [flow, "Double"]);
space.installHistoricalDataNode(flow, { maxOnlineValues: 100000 });

const level = own.addVariable({ componentOf: pump, browseName: "Level", nodeId: "s=Level", dataType: DataType.Double, eventSourceOf: pump });
level.setValueFromSource(variant("Double", 50));
const limits = { browseName: "LevelAlarm", conditionSource: level, inputNode: level, highHighLimit: 100, highLimit: 90, lowLimit: 10, lowLowLimit: 5, componentOf: pump };
const alarm = own.instantiateNonExclusiveLimitAlarm("NonExclusiveLimitAlarmType", limits);
alarm.setEnabledState(true);

const calls = [];
const method = own.addMethod(pump, {
  browseName: "Start", nodeId: "s=Start", inputArguments: [{ name: "speed", dataType: DataType.UInt16, description: { text: "" } }], outputArguments: [],
});
method.bindMethod((inputs, context, callback) => {
  calls.push(inputs[0].value);
  callback(null, { statusCode: inputs[0].value > 3000 ? StatusCodes.BadOutOfRange : StatusCodes.Good, outputArguments: [] });
});

await server.start();
console.log(JSON.stringify({ port, certificate: server.getCertificate().toString("base64"), namespace: own.namespaceUri }));

readline.createInterface({ input: process.stdin }).on("line", async (line) => {
  const c = JSON.parse(line);
  let answer = {};
  if (c.set) {
    const [v, dataType] = variables.get(c.set);
    const at = c.at ? new Date(c.at) : new Date();
    v.setValueFromSource(variant(dataType, c.value), StatusCodes[c.status ?? "Good"], at);
  }
  if (c.get) {
    const value = variables.get(c.get)[0].readValue().value.value;
    answer = { value };
  }
  if (c.level !== undefined) level.setValueFromSource(variant("Double", c.level));
  if (c.sessions) answer = { sessions: server.engine.currentSessionCount };
  if (c.calls) answer = { calls };
  if (c.drop) {
    for (const session of Object.values(server.engine._sessions)) {
      await server.engine.closeSession(session.authenticationToken, true, "Terminated");
    }
  }
  console.log(JSON.stringify(answer));
}).on("close", async () => {
  await server.shutdown(0);
  process.exit(0);
});
