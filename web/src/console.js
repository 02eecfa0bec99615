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

const examples = await fetch('/examples.json').then((r) => (r.ok ? r.json() : []))

createRoot(document.getElementById('console')).render(
  createElement(
    GraphiQL,
    {
      fetcher,
      defaultTabs: examples.map(({ query }) => ({ query: query.trim() + '\n' })),
      defaultHeaders: JSON.stringify({ [OPERATOR]: 'your name' }, null, 2),
      isHeadersEditorEnabled: true,
      shouldPersistHeaders: true,
      defaultEditorToolsVisibility: false,
      forcedTheme: 'light',
    },
    createElement(GraphiQL.Logo, null, createElement('a', { href: '/plain', className: 'twinlog', title: 'The plain page' }, 'twinlog')),
  ),
)
