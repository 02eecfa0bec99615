// Walks a log, sealed and not, from docs/formats/log.md, columns.md and
// telemetry.md and nothing else. It reads a dump of the store's pairs in the
// order of keys (4 bytes length and key, 1 byte user meta, 4 bytes length and
// value) and prints a line for each event: position, stream, revision, type,
// content type, SHA-256 of envelope and of data.
import { readFileSync } from "node:fs";
import { createHash } from "node:crypto";

const sha = (b) => createHash("sha256").update(b).digest("hex");
const range = (n, f) => Array.from({ length: n }, (_, i) => f(i));
class Reader {
  constructor(b) { this.b = b; this.at = 0; }
  take(n) {
    if (this.at + n > this.b.length) throw new Error(`${n} bytes at ${this.at} of ${this.b.length}`);
    return this.b.subarray(this.at, (this.at += n));
  }
  u8() { return this.take(1)[0]; }
  be(n) { return BigInt("0x" + this.take(n).toString("hex")); }
  big() { for (let n = 0n, s = 0n; ; s += 7n) { const b = this.u8(); n |= BigInt(b & 127) << s; if (b < 128) return n; } }
  uv() { return Number(this.big()); }
  zig() { const n = this.big(); return n & 1n ? -(n >> 1n) - 1n : n >> 1n; }
  text() { return this.take(this.uv()); }
  short() { return this.take(this.u8()).toString(); }
  rest() { return this.take(this.b.length - this.at); }
}
const wrap = (n) => BigInt.asIntN(64, n);
const uvarint = (n) => { const out = []; for (n = BigInt.asUintN(64, BigInt(n)); n > 127n; n >>= 7n) out.push(Number(n & 127n) | 128); return Buffer.from([...out, Number(n)]); };
const varint = (n) => uvarint(n < 0n ? (-n << 1n) - 1n : n << 1n);
const text = (b) => Buffer.concat([uvarint(b.length), b]);
const le64 = (n) => { const b = Buffer.alloc(8); b.writeBigUInt64LE(BigInt.asUintN(64, n)); return b; };

function snappy(b) { // the Snappy block format
  const r = new Reader(b), out = Buffer.alloc(r.uv());
  for (let at = 0; at < out.length; ) {
    const tag = r.u8(), kind = tag & 3, le = (n) => range(n, () => r.u8()).reduceRight((sum, x) => sum * 256 + x, 0);
    if (kind === 0) {
      const n = (tag >> 2 < 60 ? tag >> 2 : le((tag >> 2) - 59)) + 1;
      r.take(n).copy(out, at); at += n;
      continue;
    }
    const n = kind === 1 ? ((tag >> 2) & 7) + 4 : (tag >> 2) + 1;
    const back = kind === 1 ? (tag >> 5) * 256 + r.u8() : le(kind === 2 ? 2 : 4);
    for (let i = 0; i < n; i++, at++) out[at] = out[at - back];
  }
  return out;
}

// columns.md
function residuals(r, n) {
  const out = [];
  let bit = 0, byte = 0;
  const bits = (k) => { let v = 0n; for (let i = 0n; i < k; i++) { if (bit === 0) byte = r.u8(); v |= BigInt((byte >> bit) & 1) << i; bit = (bit + 1) & 7; } return v; };
  if (n === 0) return out;
  if (r.u8() === 0) {
    while (out.length < n) { const w = r.u8(); bit = 0; for (let i = Math.min(128, n - out.length); i > 0; i--) out.push(bits(w)); }
  } else {
    const lengths = [], used = r.uv();
    let half = -1;
    const nibble = () => { if (half >= 0) { const h = half; half = -1; return h; } const b = r.u8(); half = b >> 4; return b & 15; };
    while (lengths.length < used) { const l = nibble(); if (l < 15) lengths.push(l); else for (let k = nibble() + 2; k > 0; k--) lengths.push(0); }
    const codes = new Map();
    for (let l = 1, code = 0; l <= 11; l++, code <<= 1) lengths.forEach((x, s) => { if (x === l) codes.set(l * 65536 + code++, s); });
    while (out.length < n) {
      let code = 0, l = 0, s;
      do { code = code * 2 + Number(bits(1)); s = codes.get(++l * 65536 + code); } while (s === undefined && l < 11);
      if (s === undefined) throw new Error("no such Huffman code");
      out.push(s < 128 ? BigInt(s) : (1n << BigInt(s - 121)) | bits(s - 121));
    }
  }
  return out.map((u) => (u & 1n ? -(u >> 1n) - 1n : u >> 1n));
}
function ints(r, n) {
  if (n === 0) return [];
  const mode = r.u8();
  if (mode === 0) { const v = r.zig(); return range(n, () => v); }
  if (mode === 1) {
    const out = [];
    for (let k = r.uv(); k > 0; k--) { const v = r.zig(), l = k > 1 ? r.uv() : n - out.length; for (let i = 0; i < l; i++) out.push(v); }
    return out;
  }
  const first = r.zig(), step = mode === 5 ? r.zig() : 0n, out = [first];
  let d = 0n;
  for (const x of residuals(r, n - 1)) {
    const before = out[out.length - 1];
    if (mode === 4) d = wrap(d + x);
    out.push(wrap([0n, 0n, first + x, before + x, before + d, first + (wrap(BigInt(out.length) * step) >> 17n) + x][mode]));
  }
  return out;
}
const ints0 = (r, n) => (n === 0 ? [] : ints(r, n + 1).slice(1));
const nums = (r, n) => ints(r, n).map(Number);
function floats(r, n) { // as bits
  const mode = r.u8();
  if (mode > 1) {
    return ints(r, n).map((v) => {
      if (mode === 3) return v < 0n ? v ^ 0x7fffffffffffffffn : v;
      const b = Buffer.alloc(8);
      b.writeInt32LE(Number(v < 0n ? v ^ 0x7fffffffn : v));
      b.writeDoubleLE(b.readFloatLE());
      return b.readBigUInt64LE();
    });
  }
  const e = r.u8(), odd = new Map();
  for (let k = r.uv(), at = 0; k > 0; k--) odd.set((at += r.uv()), r.take(8).readBigUInt64LE());
  return ints(r, n).map((m, i) => {
    const b = Buffer.alloc(8), v = Number(m) / 10 ** e;
    b.writeDoubleLE(mode === 1 ? Math.fround(v) : v);
    return odd.get(i) ?? b.readBigUInt64LE();
  });
}
function bools(r, n) {
  if (r.u8() === 1) { const b = r.take((n + 7) >> 3); return range(n, (i) => (b[i >> 3] >> (i & 7)) & 1); }
  const out = [];
  for (let v = 0; out.length < n; v ^= 1) for (let k = r.uv(); k > 0; k--) out.push(v);
  return out;
}
function strings(r, n) { if (n === 0) return []; const all = range(r.uv(), () => r.text()); return nums(r, n).map((i) => all[i]); }

// log.md
function texts(r, n) {
  let before = Buffer.alloc(0);
  return range(n, () => {
    const front = r.uv(), end = r.uv(), middle = r.text();
    return (before = Buffer.concat([before.subarray(0, front), middle, before.subarray(before.length - end)]));
  });
}
const types = (r) => range(r.uv(), () => [r.short(), r.short()]);
const envelopes = (r) => range(r.uv(), () => ({ json: r.text(), clk: r.uv(), gap: r.uv() }));
function envelope({ json, clk, gap }, stamp) {
  if (clk > json.length) return json;
  let out = "";
  const add = (s) => { if (s && out && !/[{,]$/.test(out) && s[0] !== "," && s[0] !== "}") out += ","; out += s; };
  for (const s of [json.toString("latin1", 0, clk), stamp.clk, json.toString("latin1", clk, clk + gap), stamp.rec, json.toString("latin1", clk + gap)]) add(s);
  return Buffer.from(out, "latin1");
}
const events = new Map();
function event(pos, stream, rev, [type, content], env, data) {
  events.set(pos, `${pos} ${stream} ${rev} ${type} ${content || "application/json"} ${sha(env)} ${sha(data)}`);
}
function part(b) {
  const r = new Reader(b.subarray(0, -4));
  const [format, flags, last, count, rows] = [r.u8(), r.u8(), r.be(8), r.be(4), r.be(4)];
  if (format !== 1) throw new Error(`format ${format}`);
  r.take(8 + 16 + 8);
  const stamp = { clk: r.text().toString("latin1"), rec: r.text().toString("latin1") };
  const body = new Reader(flags & 4 ? snappy(r.rest()) : r.rest());
  const streams = range(body.uv(), () => ({ name: body.short(), next: body.uv() })), kinds = types(body), envs = envelopes(body);
  let stream = 0, env = 0, kind = 0, pos = last - count + 1n;
  for (let i = 0n; i < rows; i++, pos++) {
    const f = body.u8();
    if (f & 1) stream = body.uv();
    if (f & 2) streams[stream].next += body.uv();
    if (f & 4) pos += body.big();
    if (f & 8) env = body.uv();
    if (f & 16) kind = body.uv();
    if (f & 32) body.take(16);
    event(pos, streams[stream].name, streams[stream].next++, kinds[kind], envelope(envs[env], stamp), body.text());
  }
}

function turns() { // of one queue: call what it returns with each symbol
  const queue = [];
  let made = 0;
  return (s) => {
    const n = s >= 64 ? s - 64 : s === 62 ? made++ : s === 63 ? queue[queue.length - 1] : queue[s];
    if (queue.includes(n)) queue.splice(queue.indexOf(n), 1);
    queue.push(n);
    return n;
  };
}
function skips(r) { const at = new Map(); for (let k = r.uv(), row = 0; k > 0; k--) at.set((row += r.uv()), r.uv()); return at; }

function sealed(last, pieces) {
  const parts = new Map([...pieces].map(([n, list]) => [n, Buffer.concat(list).subarray(0, -4)]));
  const head = new Reader(parts.get(0).subarray(14));
  const r = new Reader(head.u8() ? snappy(head.rest()) : head.rest());
  const first = r.big(); r.uv(); r.uv();
  const R = r.uv(), S = r.uv(), names = texts(r, S), revs = nums(r, S), G = r.uv(), partOf = nums(r, G);
  const turn = turns(), streamOf = ints0(r, R).map((s) => turn(Number(s)));
  const queues = range(S, () => turns()), numbers = range(S, () => []);
  let groups = 0;
  const groupOf = ints0(r, R).map((s, i) => {
    const mine = numbers[streamOf[i]], n = queues[streamOf[i]](Number(s));
    if (n === mine.length) mine.push(groups++);
    return mine[n];
  });
  const left = skips(r), revLeft = skips(r), C = r.uv(), ends = ints(r, C), sizes = ints(r, C), recorded = ints(r, C), clks = strings(r, C);
  const recs = r.u8() ? null : strings(r, C), kinds = types(r), kindOf = nums(r, R), envs = envelopes(r), envOf = nums(r, R);
  const next = [...revs], rev = streamOf.map((s, i) => (next[s] += revLeft.get(i) ?? 0, next[s]++));
  let at = first;
  const pos = range(R, (i) => { at += BigInt(left.get(i) ?? 0); return at++; });
  const rowsOf = range(G, () => []);
  groupOf.forEach((g, i) => rowsOf[g].push(i));
  for (const [n, b] of parts) {
    if (n === 0) continue;
    const mine = range(G, (g) => g).filter((g) => partOf[g] === n).map((g) => rowsOf[g]);
    const data = (b[1] === 1 ? columns : verbatim)(new Reader(b.subarray(14)), mine, rev);
    mine.flat().forEach((i, k) => {
      const c = ends.findIndex((e) => first + e >= pos[i]);
      const rec = recs ? recs[c].toString("latin1") : `"rec":"${instant(recorded[c])}"`;
      event(pos[i], names[streamOf[i]], rev[i], kinds[kindOf[i]], envelope(envs[envOf[i]], { clk: clks[c].toString("latin1"), rec }), data[k]);
    });
  }
}
function instant(us) { // RFC 3339 in UTC, no zeros at the end
  const s = new Date(Number(us / 1000n)).toISOString().slice(0, 19), f = String(us % 1000000n).padStart(6, "0").replace(/0+$/, "");
  return s + (f ? "." + f : "") + "Z";
}
function verbatim(r) {
  const rows = nums(r, r.uv()).reduce((a, b) => a + b, 0), lengths = nums(r, rows);
  const all = new Reader(r.u8() ? snappy(r.rest()) : r.rest());
  return lengths.map((n) => all.take(n));
}
function columns(r, groups, revs) {
  const flags = r.uv(), N = r.uv(), flag = (n) => (flags >> n) & 1, form = (flags >> 1) & 3, basis = (flags >> 3) & 3, fine = flag(5);
  const signals = r.text(), G = r.uv(), sizes = nums(r, G), devices = texts(r, G), quals = range(r.uv(), () => [r.text(), r.text()]);
  const order = groups.flat(), n = order.length, group = sizes.flatMap((k, g) => range(k, () => g)), nth = sizes.flatMap((k) => range(k, (i) => i));
  const arrival = basis === 2 && [ints(r, n), ints(r, n)], seq = flag(0) && ints(r, n).map((d, i) => wrap(d + BigInt(revs[order[i]])));
  let source, sourceNanos, server, serverNanos, latency;
  if (basis < 2) {
    const f = ints(r, G), s = ints(r, G);
    source = ints0(r, n).map((d, i) => wrap(f[group[i]] + (wrap(BigInt(nth[i]) * s[group[i]]) >> 12n) + d));
    if (fine) sourceNanos = ints(r, n);
  }
  if (flag(6)) { server = ints(r, n); if (fine) serverNanos = ints(r, n); }
  if (flag(7)) latency = ints(r, n).map((v, i) => (flag(6) && !fine && basis < 2 ? wrap(v + server[i]) : v));
  const qual = nums(r, n);
  let ids = [];
  if (form === 2) {
    const t = ints(r, n);
    ids = t.map((v, i) => Buffer.concat([Buffer.from(BigInt.asUintN(48, v + (fine || basis === 2 ? 0n : source[i])).toString(16).padStart(12, "0"), "hex"), r.take(10)]));
  } else if (form === 1) {
    const lengths = nums(r, n), all = r.u8() ? new Reader(snappy(r.text())) : r;
    ids = lengths.map((k) => text(all.take(k)));
  }
  const values = range(N, () => column(r, n)), time = (v, nanos, i) => (fine ? Buffer.concat([varint(v[i]), uvarint(nanos[i])]) : varint(v[i]));
  return range(n, (i) => Buffer.concat([
    Buffer.from([flags & 255, flags >> 8]), ...(arrival ? [varint(arrival[0][i]), uvarint(arrival[1][i])] : []), quals[qual[i]][0],
    ...(seq ? [uvarint(seq[i])] : []), ...(ids.length ? [ids[i]] : []), devices[group[i]], ...(source ? [time(source, sourceNanos, i)] : []),
    ...(server ? [time(server, serverNanos, i)] : []), ...(latency ? [varint(latency[i])] : []), uvarint(N),
    ...(N > 0 ? [quals[qual[i]][1], text(signals), ...values.map((c) => c[i])] : []),
  ]));
}
function column(r, n) { // a signal's values, as they stand in rows
  const c = r.u8(), classes = c === 255 ? ints0(r, n).map(Number) : range(n, () => c), out = Array(n);
  for (const k of [...new Set(classes)].sort((a, b) => a - b)) {
    const at = range(n, (i) => i).filter((i) => classes[i] === k);
    valuesOf(r, k, at.length).forEach((b, i) => (out[at[i]] = b));
  }
  return out;
}
function valuesOf(r, k, n) {
  const tag = (t, b) => Buffer.concat([Buffer.from([t]), b]);
  switch (k) {
    case 0: return range(n, () => Buffer.from([0]));
    case 1: return bools(r, n).map((v) => Buffer.from([1 + v]));
    case 2: return ints(r, n).map((v) => tag(3, varint(v)));
    case 3: return strings(r, n).map((b) => tag(4, text(b)));
    case 4: return floats(r, n).map((v) => tag(5, le64(v)));
    case 5: {
      const t = r.u8();
      if (t === 255) { const tags = nums(r, n); return ints(r, n).map((m, i) => tag(tags[i], varint(m))); }
      return ints(r, n).map((m) => { let e = t - 16; while (e > 0 && m % 10n === 0n) { m /= 10n; e--; } return tag(16 + e, varint(m)); });
    }
    default: throw new Error(`class ${k}`);
  }
}

const windows = new Map(), seals = new Set();
for (const r = new Reader(readFileSync(process.argv[2])); r.at < r.b.length; ) {
  const key = r.take(Number(r.be(4)));
  r.u8();
  const value = r.take(Number(r.be(4))), kind = String.fromCharCode(key[0]), last = key.length >= 9 ? key.readBigUInt64BE(1) : 0n;
  if (kind === "o" || kind === "t") part(value);
  if (kind === "x") seals.add(last);
  if (kind === "p") {
    const n = key.readUInt32BE(9), w = windows.get(last) ?? new Map();
    windows.set(last, w.set(n, [...(w.get(n) ?? []), value]));
  }
}
for (const last of seals) if (windows.has(last)) sealed(last, windows.get(last));
for (const pos of [...events.keys()].sort((a, b) => (a < b ? -1 : 1))) console.log(events.get(pos));
