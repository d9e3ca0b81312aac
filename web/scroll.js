// Where a reader was on each page of the history: Back and Forward lead there again.
//
// The browser would do that by itself, but before the lists are there, when the page is short. So it is done here: each
// entry of the history gets a key, and the position is kept under it for as long as the tab lives.

const KEPT_MAX = 200;
const STORE = 'reprise-scroll';
// Lists come from the server. After so long what was there does not come any more.
const WAIT_MS = 5000;

const positions = new Map(load());
let key = null;
let stopWaiting = () => {};

history.scrollRestoration = 'manual';

function load() {
  try {
    return JSON.parse(sessionStorage.getItem(STORE)) ?? [];
  } catch {
    return [];
  }
}

// To be called when the address has changed. Says whether this entry of the history was there before.
export function enter() {
  const known = history.state?.key;
  key = known ?? crypto.getRandomValues(new Uint32Array(2)).join('-');
  if (!known) history.replaceState({ ...history.state, key }, '');
  stopWaiting();
  return known !== undefined && positions.has(known);
}

// Goes to where the reader was, as soon as the page is long enough.
export function restore() {
  const top = positions.get(key);
  const reached = () => {
    scrollTo(0, top);
    return Math.abs(scrollY - top) < 2;
  };
  if (reached()) return;
  const observer = new ResizeObserver(() => reached() && stopWaiting());
  const timer = setTimeout(() => stopWaiting(), WAIT_MS);
  // Whoever scrolls meanwhile wants to be elsewhere.
  const signals = new AbortController();
  stopWaiting = () => {
    observer.disconnect();
    clearTimeout(timer);
    signals.abort();
    stopWaiting = () => {};
  };
  for (const event of ['wheel', 'touchstart', 'keydown', 'pointerdown'])
    addEventListener(event, stopWaiting, { signal: signals.signal, passive: true });
  observer.observe(document.body);
}

// What is made anew is short for a moment, and that is no place where anybody was.
let busy = false;
export const hold = () => (busy = true);
export const release = () => (busy = false);

addEventListener(
  'scroll',
  () => {
    if (busy || key === null) return;
    positions.delete(key);
    positions.set(key, scrollY);
    if (positions.size > KEPT_MAX) positions.delete(positions.keys().next().value);
  },
  { passive: true },
);
addEventListener('pagehide', () => {
  try {
    sessionStorage.setItem(STORE, JSON.stringify([...positions]));
  } catch {
    // Then it holds until the page is left.
  }
});
