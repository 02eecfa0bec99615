// Drives one of the official Node clients against a served log:
//   node client.mjs @eventstore/db-client CONNECTION IDLE_MS
// It prints the SHA-256 of each event that is there (envelope, then data), and
// "RESTART" where it wants the server stopped and started, and waits for a
// line; any error ends it with status 1.
import assert from "node:assert/strict";
import { createInterface } from "node:readline";
import { createHash, randomUUID } from "node:crypto";

const [name, connection, idle] = process.argv.slice(2);
const lib = await import(name);
const Client = lib.KurrentDBClient ?? lib.EventStoreDBClient;
const expecting = lib.KurrentDBClient ? "streamState" : "expectedRevision";
const client = Client.connectionString([connection]);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const stream = "order-node";
const event = (n) => lib.jsonEvent({ id: randomUUID(), type: "order.placed.v1", data: { n }, metadata: { n } });
const append = (at, events, to = stream) => client.appendToStream(to, events, { [expecting]: at });

// These clients hand JSON out parsed. Written again it is the same to the byte,
// because the log's JSON is canonical (RFC 8785).
const bytes = (v) => (v instanceof Uint8Array ? v : Buffer.from(JSON.stringify(v)));
for await (const { event } of client.readAll({ direction: lib.FORWARDS, fromPosition: lib.START, maxCount: 1000 })) {
  const sum = createHash("sha256").update(bytes(event.metadata)).update(bytes(event.data)).digest("hex");
  console.log(`SHA ${event.streamId}@${event.revision} ${sum}`);
}

const first = [event(0), event(1)];
const a = await append(lib.NO_STREAM, first);
assert.equal(a.nextExpectedRevision, 1n);
const again = await append(lib.NO_STREAM, first);
assert.equal(again.nextExpectedRevision, 1n);
assert.deepEqual(again.position, a.position);
await append(1n, [event(2)]);
await assert.rejects(append(0n, [event(9)]), (e) => e instanceof lib.WrongExpectedVersionError);
await append(lib.ANY, [event(3)]);
await append(lib.STREAM_EXISTS, [event(4)]);
console.log("appended");

const read = async (options) => {
  const got = [];
  for await (const { event } of client.readStream(stream, options)) got.push(event.data.n);
  return got;
};
assert.deepEqual(await read({ direction: lib.FORWARDS, fromRevision: lib.START }), [0, 1, 2, 3, 4]);
assert.deepEqual(await read({ direction: lib.BACKWARDS, fromRevision: lib.END, maxCount: 2 }), [4, 3]);
assert.deepEqual(await read({ direction: lib.FORWARDS, fromRevision: 3n }), [3, 4]);
const all = [];
for await (const { event } of client.readAll({ direction: lib.BACKWARDS, fromPosition: lib.END, maxCount: 3 })) all.push(event.data.n);
assert.deepEqual(all, [4, 3, 2]);
await assert.rejects(async () => { for await (const e of client.readStream("order-none")) void e; }, (e) => e instanceof lib.StreamNotFoundError);
console.log("read");

// A filtered subscription that goes on behind a restart from what it saw last.
let position = lib.START;
const seen = [];
const follow = async (until) => {
  const sub = client.subscribeToAll({
    fromPosition: position,
    filter: lib.streamNameFilter({ prefixes: ["order-"], checkpointInterval: 1, checkpointReached: (_, p) => { position = p; } }),
  });
  try {
    for await (const { event, commitPosition } of sub) {
      seen.push(event.data.n);
      position = event.position ?? { commit: commitPosition, prepare: commitPosition };
      if (event.data.n === until) break;
    }
  } finally {
    await sub.unsubscribe();
  }
};
await follow(4);
console.log("RESTART");
await lines.next();
for (let tries = 0; ; tries++) {
  try {
    await append(4n, [event(5)]);
    break;
  } catch (e) {
    if (e instanceof lib.WrongExpectedVersionError) break; // it was there before the connection broke
    if (tries > 50) throw e;
    await new Promise((r) => setTimeout(r, 100));
  }
}
await append(lib.NO_STREAM, [event(7)], "bill-node");
await follow(5);
assert.deepEqual(seen, [0, 1, 2, 3, 4, 5]);
console.log("followed");

// Two consumers share a persistent subscription; one event is parked.
await client.createPersistentSubscriptionToStream(stream, "workers", lib.persistentSubscriptionToStreamSettingsFromDefaults({ startFrom: lib.START }));
const worked = [];
const consumers = [0, 1].map(() => client.subscribeToPersistentSubscriptionToStream(stream, "workers", { bufferSize: 2 }));
await Promise.race([
  Promise.all(consumers.map(async (sub) => {
    for await (const resolved of sub) {
      worked.push(resolved.event.data.n);
      if (resolved.event.data.n === 2) await sub.nack(lib.PARK, "look into it", resolved);
      else await sub.ack(resolved);
      if (worked.length === 6) {
        await new Promise((r) => setTimeout(r, 200));
        for (const c of consumers) await c.unsubscribe();
        return;
      }
    }
  })),
  new Promise((_, reject) => setTimeout(() => reject(new Error(`only ${worked} came`)), 10000)),
]);
assert.deepEqual(worked.sort(), [0, 1, 2, 3, 4, 5]);
const info = await client.getPersistentSubscriptionToStreamInfo(stream, "workers");
assert.equal(Number(info.stats?.parkedMessagesCount ?? info.stats?.parkedMessageCount), 1);
console.log("worked");

// Nothing is said for a while over an open subscription, which must live.
const quiet = client.subscribeToStream(stream, { fromRevision: 5n });
const heard = (async () => { for await (const { event } of quiet) return event.data.n; })();
await new Promise((r) => setTimeout(r, Number(idle)));
await append(5n, [event(6)]);
assert.equal(await Promise.race([heard, new Promise((_, reject) => setTimeout(() => reject(new Error("nothing came")), 10000).unref())]), 6);
console.log("idled");
await client.dispose();
console.log("DONE");
process.exit(0);
