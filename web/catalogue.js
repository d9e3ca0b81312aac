// The charts of the server, with the scopes and periods that have entries, kept up to date.
//
// The list is polled, because a run that starts has no charts at first, and because weeks end while a tab is open. The server
// answers 304 while nothing has changed, which is cheap.

import { getChanged, withPages } from './api.js';
import { listen } from './live.js';

const EVERY_MS = 10_000;
// While the server reads its lake or history, the list changes often.
const SOON_MS = 2000;

const listeners = new Set();
let charts = null;
let tag = null;
let asking = null;
let timer;
let settled = false;

// Resolves to the current list.
export async function chartList() {
  if (!charts) await refresh();
  return charts;
}

// Calls `listener` with the list whenever it has changed, until `signal` is aborted.
export function onCharts(signal, listener) {
  // The list is not polled without listeners, so the known one may be old.
  const wasUnwatched = listeners.size === 0;
  listeners.add(listener);
  signal.addEventListener('abort', () => listeners.delete(listener));
  if (wasUnwatched && charts) refreshQuietly();
  plan();
}

// Requests the list now. Concurrent calls share one request.
function refresh() {
  asking ??= ask().finally(() => (asking = null));
  return asking;
}

async function ask() {
  const changed = await getChanged('/v1/charts', charts && tag);
  if (!changed) return;
  charts = (await withPages(changed.answer, addScopes)).charts;
  tag = changed.tag;
  for (const listener of listeners) listener(charts);
}

// Each page of the answer has the next scopes of each chart.
function addScopes({ charts: all }, { charts: more }) {
  for (const { name, with_entries: found } of more)
    all.find((chart) => chart.name === name)?.with_entries.scopes.push(...found.scopes);
}

function plan() {
  clearTimeout(timer);
  if (!listeners.size) return;
  timer = setTimeout(
    async () => {
      if (!document.hidden) await refresh().catch(() => {});
      plan();
    },
    settled ? EVERY_MS : SOON_MS,
  );
}

// Requests the list now, for the listeners. After a failure the list stays as it was: the status strip reports a lost connection.
export function refreshQuietly() {
  if (listeners.size) refresh().catch(() => {});
}

// After a reconnect it may be another server, or the server may have become ready.
listen('state', (state) => state === 'live' && refreshQuietly());
listen('status', (status) => {
  const now = status.phase ? status.phase === 'live' : Boolean(status.caught_up && status.ready !== false);
  if (now === settled) return;
  settled = now;
  refreshQuietly();
});
document.addEventListener('visibilitychange', () => !document.hidden && refreshQuietly());
