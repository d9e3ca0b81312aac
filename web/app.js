// Starts the page: selects the view by the address, and holds the state that all views share.

import { showAlerts } from './alerts.js';
import * as artist from './artist.js';
import * as charts from './charts.js';
import * as deadLetters from './dead-letters.js';
import { el, setText } from './dom.js';
import { notice } from './list.js';
import { follow } from './live.js';
import * as map from './map.js';
import * as scroll from './scroll.js';
import * as search from './search.js';
import * as server from './server.js';
import { showStatus } from './status.js';
import * as track from './track.js';
import * as trending from './trending.js';

const unknown = { show: showUnknown };

const VIEWS = new Map(
  Object.entries({
    '': trending,
    charts,
    map,
    tracks: track,
    artists: artist,
    search,
    server,
    'dead-letters': deadLetters,
  }),
);

const main = document.querySelector('main');
const speaker = document.querySelector('#speaker');
let leave = null;
let shown = null;

const announce = (text) => setText(speaker, text);

function parse(hash) {
  const [path, query = ''] = hash.replace(/^#\/?/, '').split(/\?(.*)/s);
  return { path: path.split('/').map(decode), query: new URLSearchParams(query) };
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

async function route() {
  const { path, query } = parse(location.hash);
  const view = VIEWS.get(path[0]) ?? unknown;
  const wasHere = scroll.enter();
  const again = view === shown;
  leave?.abort();
  leave = new AbortController();
  const { signal } = leave;
  const isFirst = shown === null;
  const control = controlName(document.activeElement);
  shown = view;
  markPlace(path[0], query.get('scope'));
  scroll.hold();
  try {
    const title = await view.show(main, { path, query, signal, announce, again });
    if (signal.aborted) return;
    document.title = `${title} · reprise`;
  } catch (problem) {
    if (signal.aborted) return;
    failed(problem, signal);
  }
  scroll.release();
  if (again && control) controlNamed(control)?.focus({ preventScroll: true });
  if (wasHere) scroll.restore();
  if (isFirst || again) return;
  // A new page starts at its top, also for screen readers.
  if (!wasHere) scrollTo(0, 0);
  if (!document.activeElement?.matches('input')) main.querySelector('h1')?.focus({ preventScroll: true });
}

// When a view is rebuilt, the control that had the focus gets it again.
const controlName = (element) =>
  main.contains(element) && (element.getAttribute('aria-label') ?? element.closest('a')?.textContent);
const controlNamed = (name) =>
  [...main.querySelectorAll('select, button, a')].find((element) => controlName(element) === name);

// A view that could not load is retried, because the server may be restarting.
function failed(problem, signal) {
  const reached = problem.status !== undefined;
  const text = reached ? problem.message : 'The server does not answer. This page reconnects by itself.';
  main.querySelector('.place, .atlas, .track, .results')?.replaceChildren(notice('The page cannot be shown', text));
  if (reached && problem.status < 500) return;
  setTimeout(() => signal.aborted || route(), 2000);
}

async function showUnknown(place, { path }) {
  follow();
  const links = [
    ['#/', 'Trending'],
    ['#/charts', 'Charts'],
    ['#/map', 'Map'],
    ['#/server', 'The server'],
  ];
  place.replaceChildren(
    el(
      'section',
      { class: 'narrow', 'aria-labelledby': 'heading' },
      el(
        'header',
        { class: 'head' },
        el('h1', { id: 'heading', class: 'long', tabindex: '-1' }, 'There is no such page'),
      ),
      notice(`Nothing is called “${path.join('/')}”`, 'These pages exist:', links),
    ),
  );
  return 'No such page';
}

// Keeps the chosen scope in the links to the other pages.
function markPlace(name, scope) {
  for (const link of document.querySelectorAll('.places a')) {
    const here = link.dataset.place === name;
    link.href = `#/${link.dataset.place}${scope ? `?${new URLSearchParams({ scope })}` : ''}`;
    if (here) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
}

function wireTheme(button) {
  const root = document.documentElement;
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const isDark = () => (root.dataset.theme ? root.dataset.theme === 'dark' : dark.matches);
  const name = () => button.setAttribute('aria-label', isDark() ? 'Use light colours' : 'Use dark colours');
  button.addEventListener('click', () => {
    root.dataset.theme = isDark() ? 'light' : 'dark';
    try {
      localStorage.setItem('reprise-theme', root.dataset.theme);
    } catch {
      // Without storage, the choice holds until the page is closed.
    }
    name();
  });
  dark.addEventListener('change', name);
  name();
}

wireTheme(document.querySelector('#theme'));
search.wireSearch(document.querySelector('#search'));
showAlerts(document.querySelector('#alerts'));
showStatus(document.querySelector('#strip'), announce);
addEventListener('hashchange', route);
document.querySelector('.skip').addEventListener('click', (event) => {
  // The router would take its address for a view.
  event.preventDefault();
  main.querySelector('h1')?.focus();
});
route();
