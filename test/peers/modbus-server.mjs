// A Modbus TCP server made with npm modbus-serial. It is told what to hold over
// stdin, one JSON command a line, and answers each on stdout with one line:
//
//   {"set": {"table": "holding", "address": 7, "type": "float32", "order": "CDAB", "value": "12.5"}}
//   {"refuse": {"table": "holding", "address": 9, "code": 2}}
//   {"slow": 300}                 every answer takes 300 ms
//   {"count": true}               -> {"requests": n}, counted on the socket since the last count
//
// The first line is {"port": n}. Numbers are written with DataView, and words
// and bytes put in order here, so that nothing is taken from the reader under
// test.
import readline from "node:readline";
import ModbusRTU from "modbus-serial";

const tables = { coil: new Map(), discrete: new Map(), holding: new Map(), input: new Map() };
const refused = { coil: new Map(), discrete: new Map(), holding: new Map(), input: new Map() };
let slow = 0;
let requests = 0;

function get(table, address) {
  if (refused[table].has(address)) {
    throw { modbusErrorCode: refused[table].get(address) };
  }
  const value = tables[table].get(address) ?? 0;
  if (slow === 0) return value;
  return new Promise((resolve) => setTimeout(() => resolve(value), slow));
}

const writers = {
  uint16: [2, (d, v) => d.setUint16(0, Number(v))],
  int16: [2, (d, v) => d.setInt16(0, Number(v))],
  uint32: [4, (d, v) => d.setUint32(0, Number(v))],
  int32: [4, (d, v) => d.setInt32(0, Number(v))],
  uint64: [8, (d, v) => d.setBigUint64(0, BigInt(v))],
  int64: [8, (d, v) => d.setBigInt64(0, BigInt(v))],
  float32: [4, (d, v) => d.setFloat32(0, Number(v))],
  float64: [8, (d, v) => d.setFloat64(0, Number(v))],
};

function set({ table, address, type, order = "ABCD", value }) {
  if (type === "bool") {
    tables[table].set(address, value === "true");
    return;
  }
  const [size, write] = writers[type];
  const view = new DataView(new ArrayBuffer(size));
  write(view, value);
  const words = [];
  for (let i = 0; i < size; i += 2) {
    words.push([view.getUint8(i), view.getUint8(i + 1)]);
  }
  if (order === "CDAB" || order === "DCBA") words.reverse();
  words.forEach(([high, low], i) => {
    if (order === "BADC" || order === "DCBA") [high, low] = [low, high];
    tables[table].set(address + i, high * 256 + low);
  });
}

// Port "0" as text: the number would be taken for "none given", which is 502.
const server = new ModbusRTU.ServerTCP(
  {
    getCoil: (a) => get("coil", a),
    getDiscreteInput: (a) => get("discrete", a),
    getHoldingRegister: (a) => get("holding", a),
    getInputRegister: (a) => get("input", a),
  },
  { host: "127.0.0.1", port: "0", unitID: 255 },
);

// Requests are counted as they come off the wire, by the length in their header.
server._server.on("connection", (socket) => {
  let rest = Buffer.alloc(0);
  socket.on("data", (data) => {
    rest = Buffer.concat([rest, data]);
    while (rest.length >= 6 && rest.length >= 6 + rest.readUInt16BE(4)) {
      requests++;
      rest = rest.subarray(6 + rest.readUInt16BE(4));
    }
  });
  socket.on("error", () => {});
});
server.on("socketError", () => {});

server.on("initialized", () => console.log(JSON.stringify({ port: server._server.address().port })));

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const command = JSON.parse(line);
  let answer = {};
  if (command.set) set(command.set);
  if (command.refuse) refused[command.refuse.table].set(command.refuse.address, command.refuse.code);
  if (command.slow !== undefined) slow = command.slow;
  if (command.count) {
    answer = { requests };
    requests = 0;
  }
  console.log(JSON.stringify(answer));
}).on("close", () => process.exit(0));
