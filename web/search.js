// Finds tracks and artists while they are typed.

import { get, url } from './api.js';
import { el, setText } from './dom.js';
import { notice, searchUrl, trackUrl } from './list.js';
import { follow } from './live.js';
import { count, plays } from './words.js';

const PAUSE_MS = 150;
const LIMIT = 30;

// The field of the header leads to the page of results, and stays where it is while one types.
export function wireSearch(field) {
  let timer;
  const go = () => {
    const query = field.value.trim();
    const target = query ? searchUrl(query) : '#/';
    const typing = location.hash.startsWith('#/search');
    if (!query && !typing) return;
    // Every letter would be a step back otherwise.
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
  // While one types, the heading and the old results stay until there are new ones.
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
  // Who comes by a link sees what was asked for.
  const field = document.querySelector('#search');
  if (document.activeElement !== field) field.value = wanted;
  if (!wanted) {
    setText(sub, 'Type a part of a title or of an artist’s name above.');
    return 'Search';
  }
  const { tracks, artists } = await get(url('/v1/search', { q: wanted, limit: LIMIT }), signal);
  const found = `${several(tracks.length, 'track')}, ${several(artists.length, 'artist')}`;
  setText(sub, `“${wanted}”: ${found}`);
  announce(found);
  results.replaceChildren(
    ...(tracks.length + artists.length
      ? lists(tracks, artists)
      : [notice('Nothing found', 'Only what has been played can be found.')]),
  );
  return `Search: ${wanted}`;
}

function lists(tracks, artists) {
  const section = (name, items) =>
    items.length ? [el('h2', {}, name), el('ul', { class: 'hits', 'aria-label': name }, ...items)] : [];
  return [
    ...section(
      'Tracks',
      tracks.map((track) =>
        hit(trackUrl(track.track_id), track.title ?? track.track_id, track.artist ?? '', plays(track.plays)),
      ),
    ),
    ...section(
      'Artists',
      artists.map((one) =>
        hit(
          searchUrl(one.artist),
          one.artist,
          `${count(one.tracks)} ${one.tracks === 1 ? 'track' : 'tracks'}`,
          plays(one.plays),
        ),
      ),
    ),
  ];
}

const several = (number, name) =>
  `${count(number)}${number >= LIMIT ? ' or more' : ''} ${name}${number === 1 ? '' : 's'}`;

const hit = (href, name, detail, number) =>
  el(
    'li',
    {},
    el(
      'span',
      { class: 'name' },
      el('a', { class: 'title', href, dir: 'auto' }, name),
      el('span', { class: 'artist', dir: 'auto' }, detail),
    ),
    el('span', { class: 'plays' }, number),
  );
