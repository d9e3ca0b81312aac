// Keeps one stream from the server for the current view, and reconnects after restarts, sleep and lost networks.
//
// Only one, because a browser opens six connections to a server at most, in all tabs. For the same reason a hidden tab closes its
// stream after a while.

import { events, url } from './api.js';

const RETRY_MS = [250, 500, 1000, 2000, 4000];
// The server sends something every second. After this much silence the connection counts as lost, even if TCP has not noticed.
const SILENCE_MS = 8000;
// The least time between two redraws: readers see no more.
const DRAW_EVERY_MS = 200;
const LET_GO_AFTER_MS = 60_000;

const listeners = { status: new Set(), state: new Set() };
let current = null;
let state = 'connecting';
let newestStatus = null;

export function listen(what, listener) {
  listeners[what].add(listener);
  if (what === 'state') listener(state);
  if (what === 'status' && newestStatus) listener(newestStatus);
  return () => listeners[what].delete(listener);
}

const notify = (what, value) => listeners[what].forEach((listener) => listener(value));

function setState(next) {
  if (state === next) return;
  state = next;
  notify('state', next);
}

const streamUrl = (parameters) => url('/v1/stream', { ...parameters, status: 'true' });

const STATUS_ONLY = streamUrl({ limit: 1 });

// Calls `onCell` with whole cells of `chart` for `scope`, first soon and then when they change, and `onProblem` if the server
// refuses. The next call of `follow` takes the stream over; without a chart it is for the status alone.
export function follow({ chart, scope, limit } = { limit: 1 }, onCell = () => {}, onProblem = () => {}) {
  current?.end();
  const stream = new Stream(streamUrl({ chart, scope, limit }), onCell, onProblem);
  current = stream;
  stream.run();
  return () => stream.quiet();
}

class Stream {
  constructor(path, onCell, onProblem) {
    Object.assign(this, { path, onCell, onProblem, ended: false, cell: null, lastEventId: '', failures: 0 });
    this.wake = () => {};
  }

  // Status events continue until the next call of `follow`.
  quiet() {
    this.onCell = this.onProblem = () => {};
  }

  end() {
    this.ended = true;
    this.abort?.abort();
    this.wake();
  }

  async run() {
    while (!this.ended) {
      if (document.hidden && this.letGo) await this.sleep(Infinity);
      this.letGo = false;
      try {
        await this.read();
        this.starting = false;
      } catch (problem) {
        if (this.ended) return;
        if (this.refuses(problem)) continue;
        // A run that has not opened its lake yet answers 503.
        this.starting = problem.status === 503;
      }
      if (this.ended) return;
      if (!this.letGo) {
        setState(this.starting ? 'starting' : 'lost');
        await this.sleep(RETRY_MS[Math.min(this.failures++, RETRY_MS.length - 1)] * (0.8 + 0.4 * Math.random()));
      }
    }
  }

  // The list does not exist, and will not later; status events still work.
  refuses(problem) {
    if (![400, 404].includes(problem.status) || this.path === STATUS_ONLY) return false;
    this.onProblem(problem);
    this.quiet();
    this.path = STATUS_ONLY;
    return true;
  }

  async read() {
    this.abort = new AbortController();
    let watch;
    const onBytes = () => {
      clearTimeout(watch);
      watch = setTimeout(() => this.abort.abort(), SILENCE_MS);
    };
    onBytes();
    try {
      const options = { lastEventId: this.lastEventId, signal: this.abort.signal, onBytes };
      for await (const event of events(this.path, options)) {
        if (this.ended) return;
        this.failures = 0;
        setState('live');
        if (!this.take(event)) return;
      }
    } finally {
      clearTimeout(watch);
      this.abort.abort();
    }
  }

  // Returns whether to read on.
  take({ type, id, data }) {
    if (type === 'status') {
      newestStatus = data;
      notify('status', data);
    }
    if (type === 'reload') this.lastEventId = '';
    if (id) this.lastEventId = id;
    if (type === 'cell') this.draw(data);
    if (type === 'change') {
      // A change without the whole cell before it cannot be applied.
      if (!this.cell) this.lastEventId = '';
      else this.draw(changed(this.cell, data));
    }
    return type !== 'reload' && (type !== 'change' || this.cell !== null);
  }

  draw(cell) {
    this.cell = cell;
    if (this.drawing) return;
    const now = performance.now();
    const wait = Math.max(0, DRAW_EVERY_MS - (now - (this.drawnAt ?? -Infinity)));
    this.drawing = true;
    const drawNow = () => {
      this.drawing = false;
      this.drawnAt = performance.now();
      if (!this.ended) this.onCell(this.cell);
    };
    if (wait) setTimeout(drawNow, wait);
    else drawNow();
  }

  sleep(milliseconds) {
    return new Promise((resolve) => {
      const timer = milliseconds === Infinity ? 0 : setTimeout(resolve, milliseconds);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

function changed(cell, change) {
  const entries = cell.entries.slice();
  for (const entry of change.entries) entries[entry.rank - 1] = entry;
  const { length, ...rest } = change;
  return { ...rest, entries: entries.slice(0, length) };
}

addEventListener('online', () => current?.wake());
let letGoTimer;
document.addEventListener('visibilitychange', () => {
  clearTimeout(letGoTimer);
  if (!document.hidden) return current?.wake();
  letGoTimer = setTimeout(() => {
    if (!current) return;
    current.letGo = true;
    current.abort?.abort();
  }, LET_GO_AFTER_MS);
});
