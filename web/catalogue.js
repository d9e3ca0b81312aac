// What charts there are, and which places and periods have entries: the list of the server, kept up to date.
//
// The server is asked again and again, because a run that starts has nothing at first, and because weeks end while a tab
// is open. It answers with 304 while nothing has changed, which is cheap.

import { getChanged, withPages } from './api.js';
import { hear } from './live.js';

const EVERY_MS = 10_000;
// While the server reads its lake or history, there is something new all the time.
const SOON_MS = 2000;

const listeners = new Set();
let charts = null;
let tag = null;
let asking = null;
let timer;
let settled = false;

// Resolves to the list as it is now.
export async function chartList() {
  if (!charts) await refresh();
  return charts;
}

// Calls `listener` with the list whenever it has changed, until `signal` is aborted.
export function onCharts(signal, listener) {
  // The list is not asked for while nobody listens, so what is known may be old.
  const wasUnwatched = listeners.size === 0;
  listeners.add(listener);
  signal.addEventListener('abort', () => listeners.delete(listener));
  if (wasUnwatched && charts) refreshQuietly();
  plan();
}

// Asks at once. Requests at the same time share one answer.
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

// A page has the next scopes of each chart.
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

// Asks at once, for the listeners. A failure leaves the list as it was: the strip tells of a lost connection.
export function refreshQuietly() {
  if (listeners.size) refresh().catch(() => {});
}

// After a break the server may be another, or have become ready.
hear('state', (state) => state === 'live' && refreshQuietly());
hear('status', (status) => {
  const now = status.phase ? status.phase === 'live' : Boolean(status.caught_up && status.ready !== false);
  if (now === settled) return;
  settled = now;
  refreshQuietly();
});
document.addEventListener('visibilitychange', () => !document.hidden && refreshQuietly());
