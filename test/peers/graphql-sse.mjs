// Subscribes with the npm client graphql-sse (distinct connections) and prints
// one JSON line for each thing that happens: {next}, {error}, {complete}.
// usage: node graphql-sse.mjs URL REQUEST-JSON [COUNT] [OPERATOR]
// After COUNT answers (0: never) it unsubscribes by itself.
import { createClient } from 'graphql-sse';

const [url, request, count = '0', operator = ''] = process.argv.slice(2);
const client = createClient({
  url, singleConnection: false, retryAttempts: 0,
  headers: operator ? { 'X-Twinlog-Operator': operator } : undefined,
});
const say = (what) => console.log(JSON.stringify(what));

let seen = 0;
await new Promise((done) => {
  const stop = client.subscribe(JSON.parse(request), {
    next: (answer) => {
      say({ next: answer });
      if (++seen === Number(count)) stop();
    },
    error: (error) => {
      say({ error: { message: String(error.message ?? error) } });
      done();
    },
    complete: () => {
      say({ complete: true });
      done();
    },
  });
});
client.dispose();
