// Searches tracks and artists while the reader types.

import { get, url } from './api.js';
import { el, setText } from './dom.js';
import { artistUrl, hits, notice, searchUrl, trackUrl } from './list.js';
import { follow } from './live.js';
import { chartName, period as periodName, plays, several } from './words.js';

const PAUSE_MS = 150;
const LIMIT = 30;
const LIMIT_MAX = 200;

// The search field in the header opens the page of results, and keeps the focus.
export function wireSearch(field) {
  let timer;
  const go = () => {
    const query = field.value.trim();
    const target = query ? searchUrl(query) : '#/';
    const typing = location.hash.startsWith('#/search');
    if (!query && !typing) return;
    // Otherwise every letter would be an entry of the history.
    if (typing) location.replace(target);
    else location.hash = target;
  };
  field.addEventListener('input', () => {
    clearTimeout(timer);
    timer = setTimeout(go, PAUSE_MS);
  });
  field.form.addEventListener('submit', (event) => {
    event.preventDefault();
    clearTimeout(timer);
    go();
  });
  addEventListener('keydown', (event) => {
    if (event.key !== '/' || event.ctrlKey || event.metaKey || event.target.closest?.('input, select, dialog')) return;
    event.preventDefault();
    field.focus();
    field.select();
  });
}

export async function show(main, { query, signal, announce, again }) {
  const wanted = query.get('q') ?? '';
  // While the reader types, the heading and the old results stay until new ones arrive.
  if (!again) {
    main.replaceChildren(
      el(
        'section',
        { class: 'narrow', 'aria-labelledby': 'heading' },
        el(
          'header',
          { class: 'head' },
          el('div', {}, el('h1', { id: 'heading', tabindex: '-1' }, 'Search'), el('p', { class: 'sub' })),
        ),
        el('div', { class: 'results' }),
      ),
    );
    follow();
  }
  const sub = main.querySelector('.sub');
  const results = main.querySelector('.results');
  // Fill in the query of a link.
  const field = document.querySelector('#search');
  if (document.activeElement !== field) field.value = wanted;
  if (!wanted) {
    setText(sub, 'Type a part of a title or of an artist’s name above.');
    return 'Search';
  }
  const limit = query.has('all') ? LIMIT_MAX : LIMIT;
  const found = await get(url('/v1/search', { q: wanted, limit }), signal);
  const { tracks, artists, chart, period } = found;
  // The server returns at most `limit` results, so there may be more.
  const listed = (number, name) => several(number, number >= limit ? `or more ${name}` : name);
  const said = `${listed(tracks.length, 'track')}, ${listed(artists.length, 'artist')}`;
  const of = period === 'all' || chart === 'trending' ? '' : `, ${periodName(period)}`;
  setText(sub, `“${wanted}”: ${said}. Plays are those of ${chartName(chart)}${of}.`);
  announce(said);
  const isShort = limit < LIMIT_MAX && Math.max(tracks.length, artists.length) >= limit;
  const more = el('a', { class: 'button', href: url('#/search', { q: wanted, all: 1 }) }, 'Show more');
  results.replaceChildren(
    ...(tracks.length + artists.length
      ? lists(found)
      : [notice('Nothing found', 'Only what has been played can be found.')]),
    ...(isShort ? [el('p', { class: 'more' }, more)] : []),
  );
  return `Search: ${wanted}`;
}

function lists({ tracks, artists }) {
  const section = (name, items) =>
    items.length ? [el('h2', {}, name), el('ul', { class: 'hits', 'aria-label': name }, ...hits(items))] : [];
  const track = ({ track_id: id, title, artist, plays: number }) => ({
    href: trackUrl(id),
    name: title || id,
    detail: artist,
    number: plays(number),
  });
  const artist = ({ artist: name, tracks: number, plays: all }) => ({
    href: artistUrl(name),
    name,
    detail: several(number, 'track'),
    number: plays(all),
  });
  return [...section('Tracks', tracks.map(track)), ...section('Artists', artists.map(artist))];
}
