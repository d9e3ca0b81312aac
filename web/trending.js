// The trending window, updated live, beside the map of its plays.

import { chartList, onCharts, refreshQuietly } from './catalogue.js';
import { el, setText } from './dom.js';
import { RankedList, keyOf, notice, placeFor, put, ranksOf } from './list.js';
import { follow, listen } from './live.js';
import { nothingYet, otherPlaces } from './nothing.js';
import { isTrending, scopeFor, scopePicker } from './pickers.js';
import { rewinder } from './rewind.js';
import { saves } from './saves.js';
import { GLOBAL, duration, moment, scope as scopeName } from './words.js';
import { World, watchWorld } from './world.js';

const ROWS = 20;
const MINUTE_MS = 60_000;
const COUNTRIES = 6;
const MAP_EVERY_MS = 5000;
// The least time between two announcements: two tracks that alternate at the first rank would fill a screen reader's time.
const ANNOUNCE_EVERY_MS = 20_000;

const here = (scope, { all } = {}) => {
  const query = new URLSearchParams({ ...(scope === GLOBAL ? {} : { scope }), ...(all ? { all: 1 } : {}) });
  return query.size ? `#/?${query}` : '#/';
};

export async function show(main, { query, signal, announce, again }) {
  const view = new Trending(query, signal, announce, placeFor(main, again, ROWS));
  main.replaceChildren(view.element);
  view.begin(query.get('scope') ?? GLOBAL);
  const update = (charts) => view.update(charts.find(isTrending));
  onCharts(signal, update);
  update(await chartList());
  return `Trending${view.scope === GLOBAL ? '' : `, ${scopeName(view.scope)}`}`;
}

class Trending {
  memory = new Memory();
  chart = null;
  newest = null;
  status = null;
  scope = null;

  constructor(query, signal, announce, place) {
    Object.assign(this, { query, signal, announce, place, showsAll: query.has('all') });
    this.leader = new Leader(announce);
    this.heading = el('h1', { id: 'heading', tabindex: '-1' }, 'Trending now');
    this.sub = el('p', { class: 'sub' }, 'The plays of the last minutes');
    this.where = scopePicker((scope) => (location.hash = here(scope, { all: this.showsAll })));
    this.more = el('p', { class: 'more' });
    this.rewind = rewinder({
      parameters: () => ({ scope: this.scope, limit: this.showsAll ? undefined : ROWS }),
      now: () => (this.newest?.as_of.clock ? Date.parse(this.newest.as_of.clock) : Date.now()),
      slideMs: () => this.chart?.slide_ms ?? MINUTE_MS,
      onPast: (cell, minutes) => this.drawPast(cell, minutes),
      onLive: () => this.drawNewest(),
      signal,
    });
    const pickers = el('div', { class: 'pickers' }, this.where.element);
    const head = el('header', { class: 'head' }, el('div', {}, this.heading, this.sub), pickers);
    const note = el('p', { class: 'note' }, 'Arrows compare with the ranks of a minute ago, if the page was open then.');
    const shown = () => ({ link: location.href, name: `trending-${this.scope}`, cell: this.shown });
    const foot = el('div', { class: 'foot' }, note, this.more, saves(shown, announce));
    const list = el('section', { 'aria-labelledby': 'heading' }, head, this.rewind.element, place, foot);
    this.world = el('div', {});
    this.element = el('div', { class: 'columns' }, list, this.world);
    signal.addEventListener(
      'abort',
      listen('status', (status) => {
        this.status = status;
        if (!this.shown?.entries.length && this.newest) this.drawNewest();
      }),
    );
  }

  // Follows the list for `scope`, and marks it on the map.
  begin(scope) {
    if (scope === this.scope) return;
    this.scope = scope;
    this.list = new RankedList(`Trending, ${scopeName(scope)}`);
    [this.newest, this.refused] = [null, false];
    this.leaveMap?.abort();
    this.leaveMap = new AbortController();
    this.world.replaceChildren(whereItPlays(scope, AbortSignal.any([this.signal, this.leaveMap.signal])));
    this.follow();
  }

  follow() {
    this.refused = false;
    const onCell = (cell) => this.take(cell);
    const refused = (problem) => this.refuse(problem);
    this.signal.addEventListener('abort', follow({ chart: 'trending', scope: this.scope }, onCell, refused));
  }

  // The list of charts has changed: a list that was missing may exist now.
  update(chart) {
    if (!chart || this.signal.aborted) return;
    this.chart = chart;
    // If the address has no scope, take the widest.
    this.begin(this.query.get('scope') ?? scopeFor(chart, GLOBAL));
    this.where.show(chart.with_entries.scopes, this.scope);
    if (this.refused) this.follow();
    this.showMore();
  }

  take(cell) {
    if (cell.scope !== this.scope) return;
    const isFirst = !this.newest?.as_of.clock;
    this.newest = cell;
    if (isFirst && cell.as_of.clock) this.rewind.askEarliest();
    this.rewind.offer();
    if (cell.entries.length && this.chart && !this.chart.with_entries.scopes.includes(cell.scope)) refreshQuietly();
    if (this.rewind.isBack()) return;
    this.drawNewest();
    this.leader.tell(cell.entries[0]);
  }

  refuse(problem) {
    this.refused = true;
    const scopes = this.chart?.with_entries.scopes ?? [];
    put(
      this.place,
      notice(`No list for “${this.scope}”`, problem.message, otherPlaces(scopes, this.scope, here)),
    );
  }

  drawNewest() {
    const isHistory = this.status && this.status.phase && this.status.phase !== 'live';
    setText(this.heading, isHistory ? 'Trending, so far' : 'Trending now');
    if (this.newest) this.draw(this.newest, this.memory.ranksBefore(this.newest.entries));
  }

  drawPast(cell, minutes) {
    setText(this.heading, 'Trending then');
    if (cell) this.draw(cell, null);
    else
      put(
        this.place,
        notice('Not kept', `This server no longer has the window of ${minutes} minutes ago.`),
      );
  }

  draw(cell, before) {
    this.shown = cell;
    setText(this.sub, windowText(cell));
    this.showMore();
    if (!cell.entries.length) {
      const scopes = this.chart?.with_entries.scopes ?? [];
      put(
        this.place,
        nothingYet(this.status) ?? notice('Quiet', 'Nothing was played in this window.', otherPlaces(scopes, this.scope, here)),
      );
      return;
    }
    if (!this.list.element.isConnected) this.place.replaceChildren(this.list.element);
    this.list.show(this.showsAll ? cell.entries : cell.entries.slice(0, ROWS), before);
  }

  // A link, so that Back returns to the short list.
  showMore() {
    const all = Math.max(this.newest?.entries.length ?? 0, this.shown?.entries.length ?? 0);
    const text = this.showsAll ? `Show the first ${ROWS}` : all > ROWS ? `Show all ${all}` : '';
    if (this.more.textContent === text) return;
    const address = here(this.scope, { all: !this.showsAll });
    this.more.replaceChildren(...(text ? [el('a', { class: 'button', href: address }, text)] : []));
  }
}

function whereItPlays(scope, signal) {
  const world = new World({
    label: 'Plays of the trending window by country',
    linkTo: (chosen) => here(chosen),
    rows: COUNTRIES,
    chosen: scope,
  });
  const card = el(
    'section',
    { class: 'card', 'aria-labelledby': 'where' },
    el(
      'header',
      { class: 'card-head' },
      el('h2', { id: 'where' }, 'Where it plays'),
      el('a', { href: '#/map?chart=trending' }, 'All countries'),
    ),
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
  return `The ${duration(Date.parse(end) - Date.parse(start))} until ${moment(end)}`;
}

// The ranks that this page has seen in about the last minute, to compare with.
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

// Announces a new first rank to screen readers, but not too often.
class Leader {
  announced = null;
  at = -Infinity;

  constructor(announce) {
    this.announce = announce;
  }

  tell(entry) {
    const now = performance.now();
    if (!entry || keyOf(entry) === this.announced || now - this.at < ANNOUNCE_EVERY_MS) return;
    if (this.announced !== null) this.announce(`New number one: ${entry.title ?? keyOf(entry)}, ${entry.artist}`);
    this.announced = keyOf(entry);
    this.at = now;
  }
}
