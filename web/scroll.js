// Restores the scroll position on Back and Forward.
//
// The browser would restore it before the lists are loaded, while the page is still short. So each entry of the history gets a
// key, and the position is kept under that key until the tab is closed.

const KEPT_MAX = 200;
const STORE = 'reprise-scroll';
// How long to wait for the lists, which come from the server.
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

// Call it when the address has changed. Returns whether this entry of the history was visited before.
export function enter() {
  const known = history.state?.key;
  key = known ?? crypto.getRandomValues(new Uint32Array(2)).join('-');
  if (!known) history.replaceState({ ...history.state, key }, '');
  stopWaiting();
  return known !== undefined && positions.has(known);
}

// Scrolls to the kept position, as soon as the page is long enough.
export function restore() {
  const top = positions.get(key);
  const reached = () => {
    scrollTo(0, top);
    return Math.abs(scrollY - top) < 2;
  };
  if (reached()) return;
  const observer = new ResizeObserver(() => reached() && stopWaiting());
  const timer = setTimeout(() => stopWaiting(), WAIT_MS);
  // Give up if the reader scrolls meanwhile.
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

// A view that is rebuilt is short for a moment; ignore the position then.
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
    // Without storage, positions hold until the page is left.
  }
});
