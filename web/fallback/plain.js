// The plain query page: one request or one subscription at a time, to /graphql
// of the origin that served it. Written by hand, no library, no build step.
'use strict';

const $ = (id) => document.getElementById(id);
const endpoint = '/graphql';
const maxFrames = 50;           // shown of a subscription; older ones are dropped
const maxHistory = 40;
const maxColoured = 400_000;    // characters; more would make the page slow

let running = null;             // {stop()} of the request or subscription under way
let answered = '';              // what Copy copies

// ---- the query's operations -------------------------------------------------

// operations lists {kind, name} of a document: what stands outside all braces.
function operations(text) {
  const found = [];
  let depth = 0;
  const token = /#[^\n\r]*|"""[\s\S]*?"""|"(?:\\.|[^"\\\n])*"|[{}()[\]]|[A-Za-z_]\w*/g;
  let last = '', open = null;
  for (const [t] of text.matchAll(token)) {
    if (t[0] === '#' || t[0] === '"') continue;
    if (t === '{' || t === '(' || t === '[') {
      if (depth === 0 && t === '{') {
        if (open === null && last !== 'fragment') found.push({ kind: 'query', name: '' });
        open = null;
        last = '';
      }
      depth++;
    } else if (t === '}' || t === ')' || t === ']') {
      depth--;
    } else if (depth === 0) {
      if (open === null && /^(query|mutation|subscription)$/.test(t) && last !== 'fragment') {
        open = { kind: t, name: '' };
        found.push(open);
      } else if (open && open.name === '' && last === open.kind) {
        open.name = t;
      } else if (t === 'fragment' && open === null) {
        last = 'fragment';
        continue;
      }
      if (last !== 'fragment') last = t;
    }
  }
  return found;
}

function chosen() {
  const all = operations($('query').value);
  const name = $('operation').value;
  return all.find((o) => o.name === name) ?? all[0] ?? { kind: 'query', name: '' };
}

function listOperations() {
  const all = operations($('query').value).filter((o) => o.name !== '');
  const select = $('operation');
  const before = select.value;
  select.replaceChildren(...all.map((o) => new Option(`${o.kind} ${o.name}`, o.name)));
  if (all.some((o) => o.name === before)) select.value = before;
  select.hidden = all.length < 2;
}

function variables() {
  const text = $('variables').value.trim();
  $('variablesFault').textContent = '';
  if (text === '') return {};
  try {
    const v = JSON.parse(text);
    if (v === null || typeof v !== 'object' || Array.isArray(v)) throw new Error('expected an object');
    return v;
  } catch (e) {
    $('variablesFault').textContent = e.message;
    throw e;
  }
}

// ---- showing JSON -----------------------------------------------------------

// paint writes a value as JSON into a node, coloured. Lists of scalars stay on
// one line as long as they are short: columns are the usual answer here.
function paint(node, value) {
  const plain = JSON.stringify(value, null, 2);
  if (plain.length > maxColoured) {
    node.append(plain);
    return plain;
  }
  const put = (cls, text) => {
    if (!cls) { node.append(text); return; }
    const s = document.createElement('span');
    s.className = cls;
    s.textContent = text;
    node.append(s);
  };
  const write = (v, pad) => {
    if (v === null || typeof v === 'boolean') return put('w', String(v));
    if (typeof v === 'number') return put('n', JSON.stringify(v));
    if (typeof v === 'string') return put('s', JSON.stringify(v));
    const list = Array.isArray(v);
    const keys = list ? v.map((_, i) => i) : Object.keys(v);
    if (keys.length === 0) return put('', list ? '[]' : '{}');
    const flat = list && v.every((x) => x === null || typeof x !== 'object') && JSON.stringify(v).length < 100;
    const inner = pad + '  ';
    put('', list ? '[' : '{');
    keys.forEach((k, i) => {
      put('', (i ? ',' : '') + (flat ? (i ? ' ' : '') : '\n' + inner));
      if (!list) {
        put(k === 'errors' && pad === '' ? 'errors' : 'k', JSON.stringify(k));
        put('', ': ');
      }
      write(v[k], inner);
    });
    put('', (flat ? '' : '\n' + pad) + (list ? ']' : '}'));
  };
  write(value, '');
  return plain;
}

function say(text, fault = false) {
  $('status').textContent = text;
  $('status').className = fault ? 'fault' : '';
}

function size(n) {
  return n < 1000 ? `${n} B` : n < 1e6 ? `${(n / 1e3).toFixed(1)} kB` : `${(n / 1e6).toFixed(1)} MB`;
}

// ---- asking -----------------------------------------------------------------

// operator returns the name as it travels. A header holds bytes, so a name
// beyond ASCII, or with a percent sign, is percent-encoded.
function operator() {
  const name = $('operator').value.trim();
  return /^[\x20-\x24\x26-\x7e]*$/.test(name) ? name : encodeURIComponent(name);
}

function headers() {
  const h = { 'content-type': 'application/json', accept: 'application/graphql-response+json, application/json' };
  if (operator() !== '') h['x-twinlog-operator'] = operator();
  return h;
}

async function ask(request) {
  const abort = new AbortController();
  running = { stop: () => abort.abort() };
  const began = performance.now();
  try {
    const r = await fetch(endpoint, { method: 'POST', headers: headers(), body: JSON.stringify(request), signal: abort.signal });
    const text = await r.text();
    const took = performance.now() - began;
    $('answer').replaceChildren();
    let faults = 0;
    try {
      const body = JSON.parse(text);
      faults = body.errors?.length ?? 0;
      answered = paint($('answer'), body);
    } catch {
      answered = text;
      $('answer').append(text);
    }
    const what = [`${took.toFixed(0)} ms`, size(text.length)];
    if (!r.ok) what.unshift(`HTTP ${r.status}`);
    if (faults) what.push(faults === 1 ? '1 error' : `${faults} errors`);
    say(what.join(' · '), !r.ok || faults > 0);
  } catch (e) {
    say(e.name === 'AbortError' ? 'Stopped.' : `No answer: ${e.message}`, e.name !== 'AbortError');
  }
}

// subscribe speaks graphql-transport-ws, the protocol of npm's graphql-ws.
function subscribe(request) {
  return new Promise((done) => {
    const url = (location.protocol === 'https:' ? 'wss://' : 'ws://') + location.host + endpoint;
    const socket = new WebSocket(url, 'graphql-transport-ws');
    const began = performance.now();
    let frames = 0, ended = '';
    const rate = () => `${frames} frames · ${(frames / Math.max(1, (performance.now() - began) / 1000)).toFixed(1)}/s`;
    const end = (why) => { ended ||= why; socket.close(1000, 'done'); };
    running = { stop: () => { if (socket.readyState === WebSocket.OPEN) send({ id: '1', type: 'complete' }); end('Stopped'); } };
    const send = (m) => socket.send(JSON.stringify(m));

    $('answer').replaceChildren();
    say('Connecting …');
    socket.onopen = () => send({ type: 'connection_init', payload: operator() ? { 'X-Twinlog-Operator': operator() } : {} });
    socket.onmessage = ({ data }) => {
      const m = JSON.parse(data);
      switch (m.type) {
        case 'connection_ack':
          send({ id: '1', type: 'subscribe', payload: request });
          say('Waiting for the first frame …');
          break;
        case 'ping':
          send({ type: 'pong' });
          break;
        case 'next':
          frames++;
          frame(m.payload);
          say(rate());
          break;
        case 'error':
          frame({ errors: m.payload });
          end('Refused');
          break;
        case 'complete':
          end('Complete');
          break;
      }
    };
    socket.onclose = (e) => {
      const why = ended || `Closed by the server: ${e.code}${e.reason ? ' ' + e.reason : ''}`;
      say(`${why} · ${rate()}`, !ended || ended === 'Refused');
      done();
    };
  });
}

// frame shows the newest on top.
function frame(payload) {
  const box = document.createElement('div');
  box.className = 'frame';
  const when = document.createElement('div');
  when.className = 'when';
  when.textContent = new Date().toISOString().slice(11, 23);
  box.append(when);
  answered = paint(box, payload);
  const answer = $('answer');
  answer.prepend(box);
  while (answer.childElementCount > maxFrames) answer.lastElementChild.remove();
}

async function run() {
  if (running) running.stop();
  let request;
  try {
    request = { query: $('query').value, variables: variables() };
  } catch {
    return say('The variables are not a JSON object.', true);
  }
  if (request.query.trim() === '') return say('There is no query.', true);
  const op = chosen();
  if (op.name) request.operationName = op.name;
  remember();
  $('stop').disabled = false;
  say('Asking …');
  const mine = op.kind === 'subscription' ? subscribe(request) : ask(request);
  const me = running;
  await mine;
  if (running === me) {
    running = null;
    $('stop').disabled = true;
  }
}

// ---- what the browser keeps: the last queries and the operator's name ------------

function kept(key, otherwise) {
  try { return JSON.parse(localStorage.getItem('twinlog.' + key)) ?? otherwise; } catch { return otherwise; }
}
function keep(key, value) {
  try { localStorage.setItem('twinlog.' + key, JSON.stringify(value)); } catch { /* private browsing: nothing is kept */ }
}

function remember() {
  const now = { query: $('query').value, variables: $('variables').value, at: new Date().toISOString() };
  const list = kept('history', []).filter((h) => h.query !== now.query || h.variables !== now.variables);
  keep('history', [now, ...list].slice(0, maxHistory));
  listHistory();
}

function listHistory() {
  const list = kept('history', []);
  const name = (h) => {
    const o = operations(h.query)[0];
    return o?.name || h.query.replace(/#.*|\s+/g, ' ').trim().slice(0, 40);
  };
  $('history').replaceChildren(new Option(list.length ? 'choose …' : 'nothing yet', ''),
    ...list.map((h, i) => new Option(`${h.at.slice(5, 16).replace('T', ' ')}  ${name(h)}`, i)));
}

// offer shows an example. One that needs an asset gets the top of the plant.
async function offer(query) {
  show(query);
  if (!query.includes('$under')) return;
  const top = '{ plant { assets(filter: { level: ENTERPRISE }, first: 1) { nodes { id } } } }';
  const answer = await fetch(endpoint, { method: 'POST', headers: headers(), body: JSON.stringify({ query: top }) }).then((r) => r.json()).catch(() => ({}));
  if ($('query').value === query) $('variables').value = JSON.stringify({ under: answer.data?.plant?.assets?.nodes?.[0]?.id ?? '' });
}

function show(query, vars = '') {
  $('query').value = query;
  $('variables').value = vars;
  listOperations();
  $('query').focus();
  $('query').setSelectionRange(0, 0);
  $('query').scrollTop = 0;
}

// ---- start ------------------------------------------------------------------

async function health() {
  try {
    const r = await fetch('/readyz', { cache: 'no-store' });
    $('light').className = 'light ' + (r.ok ? 'up' : 'down');
    $('light').textContent = r.ok ? 'ready' : 'catching up';
  } catch {
    $('light').className = 'light down';
    $('light').textContent = 'no server';
  }
}

async function start() {
  $('run').onclick = run;
  $('stop').onclick = () => running?.stop();
  $('copy').onclick = () => navigator.clipboard?.writeText(answered);
  $('query').oninput = listOperations;
  $('operator').value = kept('operator', '');
  $('operator').onchange = () => keep('operator', $('operator').value);
  document.addEventListener('keydown', (e) => {
    if (e.key === 'Enter' && (e.ctrlKey || e.metaKey)) { e.preventDefault(); run(); }
    if (e.key === 'Escape') running?.stop();
  });
  $('query').addEventListener('keydown', (e) => { // keep the indentation
    if (e.key !== 'Enter' || e.ctrlKey || e.metaKey || e.shiftKey) return;
    const { value, selectionStart: at } = e.target;
    const line = value.slice(value.lastIndexOf('\n', at - 1) + 1, at);
    const pad = line.match(/^\s*/)[0] + (/[{([]\s*$/.test(line) ? '  ' : '');
    e.preventDefault();
    e.target.setRangeText('\n' + pad, at, e.target.selectionEnd, 'end');
    listOperations();
  });

  const examples = await fetch('/examples.json').then((r) => r.json()).catch(() => []);
  $('examples').append(...examples.map((x, i) => new Option(x.title, i)));
  $('examples').onchange = (e) => { if (e.target.value !== '') offer(examples[e.target.value].query); e.target.value = ''; };
  $('history').onchange = (e) => {
    const h = kept('history', [])[e.target.value];
    if (h) show(h.query, h.variables);
    e.target.value = '';
  };
  listHistory();
  const last = kept('history', [])[0];
  if (last) show(last.query, last.variables);
  else if (examples[0]) offer(examples[0].query);

  const hint = document.createElement('div');
  hint.className = 'hint';
  hint.textContent = 'The answer appears here. A subscription shows its newest frame on top until it is stopped.';
  $('answer').append(hint);
  health();
  setInterval(health, 5000);
}

start();
