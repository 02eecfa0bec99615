// Runs the audit suite of the npm package graphql-http against a server and
// prints one JSON line for each audit: {id, name, status, reason}.
// usage: node graphql-audit.mjs URL
import { serverAudits } from 'graphql-http';

const url = process.argv[2];
for (const audit of serverAudits({ url, fetchFn: fetch })) {
  const result = await audit.fn();
  console.log(JSON.stringify({
    id: audit.id, name: audit.name, status: result.status, reason: result.reason ?? '',
  }));
}
