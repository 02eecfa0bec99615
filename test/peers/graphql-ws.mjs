// Subscribes with the npm client graphql-ws and prints one JSON line for each
// thing that happens: {next}, {error}, {complete}, {closed}.
// usage: node graphql-ws.mjs WS-URL REQUEST-JSON [COUNT] [OPERATOR]
// After COUNT answers (0: never) it unsubscribes by itself.
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';

const [url, request, count = '0', operator = ''] = process.argv.slice(2);
const client = createClient({
  url, webSocketImpl: WebSocket, retryAttempts: 0,
  connectionParams: operator ? { 'X-Twinlog-Operator': operator } : undefined,
  on: { closed: (event) => say({ closed: { code: event.code, reason: event.reason } }) },
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
      say({ error: error instanceof Error || 'code' in error ? { message: String(error.message ?? error.reason) } : error });
      done();
    },
    complete: () => {
      say({ complete: true });
      done();
    },
  });
});
await client.dispose();
