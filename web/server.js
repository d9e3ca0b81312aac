// The state of the server in numbers: since its start, and in the lake.

import { el, setText } from './dom.js';
import { follow, listen } from './live.js';
import { warnings } from './alerts.js';
import { count, duration, moment, plays, several } from './words.js';

export async function show(main, { signal }) {
  const sub = el('p', { class: 'sub' }, ' ');
  const words = el('ul', { class: 'words' });
  const numbers = el('tbody', {});
  const partitions = el('tbody', {});
  const heads = (...names) => el('thead', {}, el('tr', {}, ...names.map((name) => el('th', { scope: 'col' }, name))));
  const section = el(
    'section',
    { class: 'narrow', 'aria-labelledby': 'heading' },
    el(
      'header',
      { class: 'head steady' },
      el('div', {}, el('h1', { id: 'heading', tabindex: '-1' }, 'The server'), sub),
      el('a', { class: 'button', href: '#/dead-letters' }, 'Dead letters'),
    ),
  );
  // The sentences come last: their number changes, and would move the elements below them.
  const body = [
    table('Records', heads('Kind', 'Since the start', 'In the lake'), numbers),
    table('Partitions', heads('Partition', 'Next offset', 'Committed', 'End', 'Lag'), partitions),
    words,
  ];
  main.replaceChildren(section);
  follow();
  const draw = (status) => {
    setText(sub, `Topic ${status.topic}${status.started_at ? `, since ${moment(status.started_at)}` : ''}`);
    fill(words, 'li', sentences(status).map((text) => [text]));
    fill(numbers, 'tr', rows(status));
    fill(partitions, 'tr', status.partitions.map(partition));
    // Fill it before it is shown, so that nothing moves.
    if (!words.isConnected) section.append(...body);
  };
  signal.addEventListener('abort', listen('status', draw));
  return 'The server';
}

const table = (caption, ...parts) =>
  el('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': caption }, el('table', {}, el('caption', {}, caption), ...parts));

const known = (number) => (number === null || number === undefined ? '–' : count(number));

function rows(status) {
  const letters = Object.values(status.dead_letters).reduce((sum, number) => sum + number, 0);
  return [
    ['Plays', known(status.accepted), known(status.lake_plays)],
    ['Dead letters', count(letters), known(status.lake_dead_letters)],
    ['Offsets without a record', known(status.holes), ''],
    ['Offsets that Kafka had deleted', '', known(status.missing)],
  ];
}

const partition = ({ partition: number, next_offset, committed_offset, end_offset, lag }) => [
  count(number),
  known(next_offset),
  known(committed_offset),
  known(end_offset),
  known(lag),
];

function sentences(status) {
  const { uncommitted_plays: waiting, next_commit_ms: next, window_misses: misses } = status;
  return [
    ...warnings(status),
    `Lake ${status.lake}, version ${known(status.lake_version)}`,
    waiting ? `${plays(waiting)} not in the lake yet${next === null || next === undefined ? '' : `; next commit in ${duration(next)}`}` : '',
    misses ? `Of ${plays(misses.plays)} in the last five minutes, ${count(misses.missed)} arrived too late for the trending window` : '',
    status.clock ? `The charts’ clock says ${moment(status.clock)}` : 'The charts have no clock before the first play',
    several(status.workers, 'worker') + (status.processes > 1 ? ` in ${count(status.processes)} processes` : ''),
  ].filter(Boolean);
}

// Writes rows of texts, only those that have changed.
function fill(place, name, texts) {
  while (place.children.length > texts.length) place.lastChild.remove();
  texts.forEach((cells, index) => {
    let row = place.children[index];
    if (!row) place.append((row = el(name, {}, ...(name === 'tr' ? cells.map((_, at) => el(at ? 'td' : 'th', at ? {} : { scope: 'row' })) : []))));
    cells.forEach((text, at) => setText(name === 'tr' ? row.children[at] : row, text));
  });
}
