// What is played now: the trending window, as it moves, beside the map of where it is played.

import { el, setText } from './dom.js';
import { RankedList, keyOf, notice, placeFor, ranksOf } from './list.js';
import { follow } from './live.js';
import { chartList, isTrending, rewinder, scopePicker } from './pickers.js';
import { GLOBAL, clock, duration, scope as scopeName } from './words.js';
import { World, watchWorld } from './world.js';

const ROWS = 20;
const MINUTE_MS = 60_000;
const COUNTRIES = 6;
const MAP_EVERY_MS = 5000;
// Two that fight for the first rank would leave no time to hear anything else.
const ANNOUNCE_EVERY_MS = 20_000;

const here = (scope) => (scope === GLOBAL ? '#/' : `#/?${new URLSearchParams({ scope })}`);

export async function show(main, { query, signal, announce, again }) {
  const scope = query.get('scope') || GLOBAL;
  const parts = {
    place: placeFor(main, again, ROWS),
    heading: el('h1', { id: 'heading', tabindex: '-1' }, 'Trending now'),
    sub: el('p', { class: 'sub' }, 'The plays of the last minutes'),
    pickers: el('div', { class: 'pickers' }),
  };
  const rewind = play(parts, scope, signal, announce);
  const where = showWhere(scope, signal);
  const head = el('header', { class: 'head' }, el('div', {}, parts.heading, parts.sub), parts.pickers);
  const note = el('p', { class: 'note' }, 'Arrows compare with a minute ago, as far as this page has seen it.');
  const list = el('section', { 'aria-labelledby': 'heading' }, head, rewind, parts.place, note);
  main.replaceChildren(el('div', { class: 'columns' }, list, where));
  await fillPicker(parts.pickers, scope, signal);
  return `Trending${scope === GLOBAL ? '' : `, ${scopeName(scope)}`}`;
}

// Follows the window, and returns the slider with which it is left.
function play({ place, heading, sub }, scope, signal, announce) {
  const list = new RankedList(`Trending, ${scopeName(scope)}`);
  const memory = new Memory();
  const leader = new Leader(announce);
  let newest = null;
  const draw = (cell, before) => {
    setText(sub, windowText(cell));
    if (!cell.entries.length) return place.replaceChildren(notice('Quiet', 'Nothing was played in this window.'));
    if (!list.element.isConnected) place.replaceChildren(list.element);
    list.show(cell.entries, before);
  };
  const drawNewest = () => {
    setText(heading, 'Trending now');
    if (newest) draw(newest, memory.ranksBefore(newest.entries));
  };
  const rewind = rewinder({
    parameters: { scope, limit: ROWS },
    now: () => (newest?.as_of.clock ? Date.parse(newest.as_of.clock) : Date.now()),
    onPast: (cell, minutes) => {
      setText(heading, 'Trending then');
      if (cell) draw(cell, null);
      else place.replaceChildren(notice('Forgotten', `This server does not remember what was ${minutes} minutes ago.`));
    },
    onLive: drawNewest,
    signal,
  });
  const hear = (cell) => {
    if (cell.scope !== scope) return;
    newest = cell;
    if (rewind.isBack()) return;
    drawNewest();
    leader.tell(cell.entries[0]);
  };
  const refused = (problem) => place.replaceChildren(notice('No list for this place', problem.message));
  signal.addEventListener('abort', follow({ chart: 'trending', scope, limit: ROWS }, hear, refused));
  return rewind.element;
}

async function fillPicker(pickers, scope, signal) {
  const trending = (await chartList()).find(isTrending);
  if (signal.aborted) return;
  const scopes = trending?.with_entries.scopes ?? [];
  pickers.replaceChildren(scopePicker(scopes, scope, (chosen) => (location.hash = here(chosen))));
}

function showWhere(scope, signal) {
  const world = new World({ label: 'Plays of the trending window by country', linkTo: here, rows: COUNTRIES });
  const card = el(
    'section',
    { class: 'card', 'aria-labelledby': 'where' },
    el('h2', { id: 'where' }, 'Where it plays'),
    world.picture,
    world.legend,
    world.list,
  );
  if (scope !== GLOBAL)
    card.append(el('p', { class: 'note' }, el('a', { href: here(GLOBAL) }, 'Back to the whole world')));
  watchWorld(world, card, { chart: 'trending', everyMs: MAP_EVERY_MS, signal });
  return card;
}

function windowText({ start, end, entries }) {
  if (!start || !end) return entries.length ? '' : 'Waiting for the first plays';
  return `The ${duration(Date.parse(end) - Date.parse(start))} until ${clock(end)}`;
}

// Ranks that this page has seen, for about a minute: the window is too young for a list of last time.
class Memory {
  seen = [];

  ranksBefore(entries) {
    const now = performance.now();
    while (this.seen.length > 1 && this.seen[1].at < now - MINUTE_MS) this.seen.shift();
    const newest = this.seen.at(-1);
    if (!newest || now - newest.at > MINUTE_MS / 12) this.seen.push({ at: now, ranks: ranksOf(entries) });
    return this.seen[0].ranks;
  }
}

// Tells who listens rather than looks that another leads, but not too often.
class Leader {
  told = null;
  at = -Infinity;

  constructor(announce) {
    this.announce = announce;
  }

  tell(entry) {
    const now = performance.now();
    if (!entry || keyOf(entry) === this.told || now - this.at < ANNOUNCE_EVERY_MS) return;
    if (this.told !== null) this.announce(`New number one: ${entry.title ?? keyOf(entry)}, ${entry.artist}`);
    this.told = keyOf(entry);
    this.at = now;
  }
}
