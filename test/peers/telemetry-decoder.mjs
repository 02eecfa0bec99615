// Reads one telemetry.recorded.v1 row, from docs/formats/telemetry.md and nothing
// else, and prints it as JSON: numbers as text, a double as the 16 hexadecimal
// digits of its bits, a text as its bytes in hexadecimal.
import { readFileSync } from "node:fs";

const data = readFileSync(process.argv[2]);
let at = 0;

const u8 = () => {
  if (at >= data.length) throw new Error("row ends too early");
  return data[at++];
};
const take = (n) => {
  if (at + n > data.length) throw new Error("row ends too early");
  return data.subarray(at, (at += n));
};
const uvarint = () => {
  for (let n = 0n, shift = 0n; ; shift += 7n) {
    const b = u8();
    n |= BigInt(b & 0x7f) << shift;
    if (b < 0x80) return n;
  }
};
const varint = () => {
  const n = uvarint();
  return n & 1n ? -(n >> 1n) - 1n : n >> 1n;
};
const text = () => take(Number(uvarint())).toString("hex");
const instant = () => varint() * 1_000_000_000n + uvarint();

const ULID = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const ulid = () => {
  let n = BigInt("0x" + take(16).toString("hex"));
  let s = "";
  for (let i = 0; i < 26; i++, n >>= 5n) s = ULID[Number(n & 31n)] + s;
  return Buffer.from(s).toString("hex");
};
const bits = (f) => {
  const b = Buffer.alloc(8);
  b.writeDoubleBE(f);
  return b.toString("hex");
};
const value = () => {
  const tag = u8();
  if (tag >= 16 && tag <= 25) return ["float64", bits(Number(varint()) / 10 ** (tag - 16))];
  switch (tag) {
    case 0: return ["null", ""];
    case 1: return ["bool", "false"];
    case 2: return ["bool", "true"];
    case 3: return ["int64", String(varint())];
    case 4: return ["string", text()];
    case 5: return ["float64", Buffer.from(take(8)).reverse().toString("hex")];
    default: throw new Error(`tag ${tag}`);
  }
};

const flags = u8() | (u8() << 8);
const flag = (n) => (flags & (1 << n)) !== 0;
const form = (flags >> 1) & 3, basis = (flags >> 3) & 3, fine = flag(5);
const arrival = basis === 2 ? instant() : null;
const codes = Array.from({ length: Number(uvarint()) }, uvarint);
const row = { Seq: flag(0) ? String(uvarint()) : "" };
row.MsgID = form === 1 ? text() : form === 2 ? ulid() : form === 3 ? "derived" : "";
row.Device = text();
row.DeviceType = flag(9) ? text() : "";
row.Gateway = flag(8) ? text() : "";
row.Firmware = flag(10) ? text() : "";
row.SchemaVersion = flag(11) ? text() : "";
row.Basis = ["source_ts", "ts", "arrival"][basis];
const ms = 1_000_000n;
const source = arrival ?? (fine ? instant() : varint() * ms);
row.SourceTime = String(source);
row.ServerTime = flag(6) ? String(fine ? instant() : varint() * ms + (basis === 2 ? 0n : source)) : "";
row.Latency = flag(7) ? String(fine ? varint() : varint() * ms) : "";
const count = Number(uvarint());
row.Samples = Array.from({ length: count }, () => ({}));
if (count > 0) {
  let i = 0;
  for (const code of codes) {
    const n = Number(uvarint()), scheme = String(u8()), raw = String(uvarint());
    for (let k = 0; k < n; k++) Object.assign(row.Samples[i++], { Scheme: scheme, Raw: raw, Code: String(code) });
  }
  uvarint(); // the length of the names
  for (const s of row.Samples) s.Signal = text();
  for (const s of row.Samples) [s.Kind, s.Value] = value();
}
if (at !== data.length) throw new Error(`${data.length - at} bytes too many`);
console.log(JSON.stringify(row));
