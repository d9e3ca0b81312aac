// Asks the server: JSON by `get`, and its stream of server-sent events by `events`.
//
// The stream is read with fetch, because EventSource can send neither a token nor an id of ours to resume from.

import { askForToken, token } from './token.js';

// What the server says is wrong, in its own words.
export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

// Parameters without a value are left out.
export function url(path, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== '');
  const query = new URLSearchParams(given).toString();
  return query ? `${path}?${query}` : path;
}

// The id is a parameter, since browsers take `.` and `..` in a path for folders, encoded or not.
export const trackApi = (id) => url('/v1/tracks', { id });
export const artistApi = (name, limit) => url('/v1/artists', { name, limit });

export const chartUrl = (chart, parameters) => url(`/v1/charts/${encodeURIComponent(chart)}`, parameters);

// `cache` is as in fetch: answers change with every play, so by default they are not kept.
export async function get(path, signal, cache) {
  const response = await ask(path, {}, signal, cache);
  return response.json();
}

// Calls `ask` every `ms`, first after `ms`, until `signal` is aborted, and gives `draw` each answer that is not null. A failed
// request is dropped: the strip tells of a lost connection, and what is seen stays. A tab that nobody looks at does not ask.
export async function repeat(ms, signal, ask, draw = () => {}) {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, ms));
    if (signal.aborted) return;
    const answer = document.hidden ? null : await ask().catch(() => null);
    if (answer && !signal.aborted) draw(answer);
  }
}

// Like `get`, but what is not there is null: a place without plays is an answer, not a fault.
export async function find(path, signal) {
  try {
    return await get(path, signal);
  } catch (problem) {
    if (problem.status === 404) return null;
    throw problem;
  }
}

// Gives `{ answer, tag }`, or null if the server still says what it said under `tag`.
export async function getChanged(path, tag) {
  const response = await ask(path, tag ? { 'If-None-Match': tag } : {});
  if (response.status === 304) return null;
  return { answer: await response.json(), tag: response.headers.get('etag') };
}

// More of these a reader cannot look at, and a server should not be asked for.
const PAGES_MAX = 50;

// Gives `answer` to `add` together with the pages that come after it.
export async function withPages(answer, add, signal) {
  let { next } = answer;
  for (let page = 1; next && page < PAGES_MAX; page++) {
    const more = await get(next, signal);
    add(answer, more);
    next = more.next;
  }
  return answer;
}

async function ask(path, headers, signal, cache = 'no-store') {
  for (;;) {
    const sent = token();
    if (sent) headers.Authorization = `Bearer ${sent}`;
    const response = await fetch(path, { headers, signal, cache });
    if (response.ok || response.status === 304) return response;
    if (response.status !== 401) throw await problemOf(response);
    await askForToken(sent);
  }
}

async function problemOf(response) {
  try {
    const { detail, title } = await response.json();
    return new Problem(response.status, detail ?? title);
  } catch {
    return new Problem(response.status, `the server answered ${response.status}`);
  }
}

// Yields `{ type, id, data }` for each event. `onBytes` is called for whatever comes, comments too: they are how a quiet
// stream differs from a dead one.
export async function* events(path, { lastEventId, signal, onBytes }) {
  const headers = { Accept: 'text/event-stream' };
  if (lastEventId) headers['Last-Event-ID'] = lastEventId;
  const response = await ask(path, headers, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  let event = { type: 'message', id: '', data: [] };
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      onBytes();
      const lines = (rest + value).split('\n');
      rest = lines.pop();
      for (const line of lines) {
        const text = line.replace(/\r$/, '');
        if (text) take(event, text);
        else {
          if (event.data.length) yield { ...event, data: JSON.parse(event.data.join('\n')) };
          event = { type: 'message', id: '', data: [] };
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function take(event, line) {
  const colon = line.indexOf(':');
  if (colon === 0) return;
  const field = colon < 0 ? line : line.slice(0, colon);
  const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
  if (field === 'event') event.type = value;
  else if (field === 'id') event.id = value;
  else if (field === 'data') event.data.push(value);
}
