// The console: GraphiQL at this origin's /graphql. Queries and mutations go by
// POST, subscriptions over graphql-transport-ws; the operator named in the
// headers editor goes along with both.
import { createElement } from 'react'
import { createRoot } from 'react-dom/client'
import { GraphiQL } from 'graphiql'
import { createGraphiQLFetcher } from '@graphiql/toolkit'
import { createClient } from 'graphql-ws'
import 'graphiql/style.css'
import './console.css'

const OPERATOR = 'X-Twinlog-Operator'
const socketURL = `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/graphql`

// A socket for each operator: who asks is said when it opens.
const sockets = new Map()
function socket(operator) {
  if (!sockets.has(operator)) {
    sockets.set(operator, createClient({ url: socketURL, connectionParams: operator ? { [OPERATOR]: operator } : {} }))
  }
  return sockets.get(operator)
}

// A header holds no more than Latin-1, a name may be written in any alphabet:
// it goes percent-encoded.
function fetcher(params, options) {
  const operator = encodeURIComponent(options?.headers?.[OPERATOR] ?? '')
  const headers = { ...options?.headers, ...(operator && { [OPERATOR]: operator }) }
  return createGraphiQLFetcher({ url: '/graphql', wsClient: socket(operator) })(params, { ...options, headers })
}

// What the browser keeps (tabs, history) is kept for each log: the ids in it are
// that log's.
function keptFor(log) {
  const prefix = `twinlog:${log}:`
  return {
    getItem: (key) => localStorage.getItem(prefix + key),
    setItem: (key, value) => localStorage.setItem(prefix + key, value),
    removeItem: (key) => localStorage.removeItem(prefix + key),
    clear: () => Object.keys(localStorage).filter((k) => k.startsWith(prefix)).forEach((k) => localStorage.removeItem(k)),
    get length() { return localStorage.length },
  }
}

// Nobody, until somebody says who they are: a made-up name would be a person in
// the log for ever.
const headers = JSON.stringify({ [OPERATOR]: '' }, null, 2)

const json = (response) => (response.ok ? response.json() : undefined)
const where = '{ system { origin } plant { assets(filter: { level: ENTERPRISE }, first: 1) { nodes { id } } } }'
const [examples, here] = await Promise.all([
  fetch('/examples.json').then(json).catch(() => undefined),
  fetch('/graphql', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ query: where }) }).then(json).catch(() => undefined),
])
const under = here?.data?.plant?.assets?.nodes?.[0]?.id ?? ''

createRoot(document.getElementById('console')).render(
  createElement(
    GraphiQL,
    {
      fetcher,
      storage: keptFor(here?.data?.system?.origin ?? ''),
      defaultTabs: (examples ?? []).map(({ title, query }) => ({
        query: `# ${title}.\n${query.trim()}\n`,
        variables: query.includes('$under') ? JSON.stringify({ under }, null, 2) : '',
        headers,
      })),
      defaultHeaders: headers,
      isHeadersEditorEnabled: true,
      shouldPersistHeaders: true,
      defaultEditorToolsVisibility: false,
      forcedTheme: 'light',
    },
    createElement(GraphiQL.Logo, null, createElement('a', { href: '/plain', className: 'twinlog', title: 'The plain page' }, 'twinlog')),
  ),
)
