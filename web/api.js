// Requests to the server: `get` for JSON, `events` for its stream of server-sent events.
//
// The stream is read with fetch, because EventSource can send neither a token nor a `Last-Event-ID` of our choice.

import { askForToken, token } from './token.js';

// An error that the server reports, with its message.
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

// The id is a parameter, because browsers treat `.` and `..` in a path as folders, even if they are encoded.
export const trackApi = (id) => url('/v1/tracks', { id });
export const artistApi = (name, limit) => url('/v1/artists', { name, limit });

export const chartUrl = (chart, parameters) => url(`/v1/charts/${encodeURIComponent(chart)}`, parameters);

// `cache` is as in fetch: answers change with every play, so by default they are not cached.
export async function get(path, signal, cache) {
  const response = await ask(path, {}, signal, cache);
  return response.json();
}

// Calls `ask` every `ms`, first after `ms`, until `signal` is aborted, and passes each answer that is not null to `draw`. A failed
// request is ignored: the status strip reports a lost connection, and the old content stays. A hidden tab sends no requests.
export async function repeat(ms, signal, ask, draw = () => {}) {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, ms));
    if (signal.aborted) return;
    const answer = document.hidden ? null : await ask().catch(() => null);
    if (answer && !signal.aborted) draw(answer);
  }
}

// Like `get`, but returns null for 404: a scope without plays is no error.
export async function find(path, signal) {
  try {
    return await get(path, signal);
  } catch (problem) {
    if (problem.status === 404) return null;
    throw problem;
  }
}

// Returns `{ answer, tag }`, or null if the answer still has the ETag `tag`.
export async function getChanged(path, tag) {
  const response = await ask(path, tag ? { 'If-None-Match': tag } : {});
  if (response.status === 304) return null;
  return { answer: await response.json(), tag: response.headers.get('etag') };
}

// The most pages to request: no reader looks at more.
const PAGES_MAX = 50;

// Passes `answer` and the pages after it to `add`.
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

// Yields `{ type, id, data }` for each event. `onBytes` is called for all bytes, also those of comments, which distinguish a quiet
// stream from a dead one.
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
