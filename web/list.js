// A ranked list whose rows move to their new ranks.
//
// Each track keeps its element, so that the eye can follow it, and a link in it keeps the focus.

import { bar, el, fillBar, setText } from './dom.js';
import { plan, travel } from './travel.js';
import { count, plays } from './words.js';

const calm = matchMedia('(prefers-reduced-motion: reduce)');

export const keyOf = (entry) => entry.track_id ?? entry.artist ?? entry.title;
export const trackUrl = (id) => `#/tracks/${encodeURIComponent(id)}`;
export const artistUrl = (name) => `#/artists/${encodeURIComponent(name)}`;
export const searchUrl = (query) => `#/search?${new URLSearchParams({ q: query })}`;

// The movement of an entry: `before` maps keys to earlier ranks, or is null if these are unknown.
export function movement(entry, before) {
  if (!before) return null;
  const rank = before.get(keyOf(entry));
  if (rank === undefined) return { kind: 'new', text: 'new', spoken: 'new here' };
  const by = rank - entry.rank;
  if (by === 0) return { kind: 'same', text: '–', spoken: 'unmoved' };
  return by > 0
    ? { kind: 'up', text: `▲ ${by}`, spoken: `up ${by}` }
    : { kind: 'down', text: `▼ ${-by}`, spoken: `down ${-by}` };
}

export const ranksOf = (entries) => new Map(entries.map((entry) => [keyOf(entry), entry.rank]));

export class RankedList {
  constructor(label) {
    this.element = el('ol', { class: 'ranking', 'aria-label': label });
    this.rows = new Map();
  }

  // While rows move, a new list waits: a row that turned back would leave a hole.
  show(entries, before = null) {
    this.next = { entries, before };
    if (!this.travels) this.showNext();
  }

  showNext() {
    const { entries, before } = this.next;
    this.next = null;
    const was = [...this.rows.keys()];
    const focused = document.activeElement;
    const most = Math.max(1, ...entries.map((entry) => entry.plays));
    const rows = entries.map((entry) => this.rows.get(keyOf(entry)) ?? new Row(entry));
    const keys = entries.map(keyOf);
    const moves = this.isSeen() && was.length && was.join('\n') !== keys.join('\n') ? plan(was, keys) : null;
    const height = moves && this.rows.get(was[0]).element.offsetHeight;
    const ghosts = moves && new Map([...moves.folds.keys()].map((key) => [key, this.rows.get(key).ghost()]));
    const stay = new Set(rows);
    for (const row of this.rows.values()) if (!stay.has(row)) row.element.remove();
    this.order(rows);
    // After the move, because Chromium drops the styles of classes that are set before it.
    entries.forEach((entry, index) => rows[index].show(entry, most, movement(entry, before)));
    this.rows = new Map(rows.map((row) => [row.key, row]));
    // The time until the list was shown, for tests and measurements.
    if (!performance.getEntriesByName('first-chart').length) performance.mark('first-chart');
    if (focused !== document.activeElement && focused?.isConnected) focused.focus({ preventScroll: true });
    if (!moves) return;
    this.travels = true;
    travel(this.element, this.rows, moves, ghosts, height).then(() => {
      this.travels = false;
      if (this.next) this.showNext();
    });
  }

  isSeen() {
    return this.element.isConnected && !calm.matches && !document.hidden;
  }

  // The row with the focus is moved with moveBefore, if the browser has it, which keeps the focus. Other rows are not, because
  // Chromium would count the moves as layout shifts.
  order(rows) {
    let place = this.element.firstElementChild;
    for (const { element } of rows) {
      if (element === place) place = place.nextElementSibling;
      else if (element.contains(document.activeElement) && element.moveBefore) this.element.moveBefore(element, place);
      else this.element.insertBefore(element, place);
    }
  }
}

class Row {
  constructor(entry) {
    this.key = keyOf(entry);
    this.rank = el('span', { class: 'rank' });
    this.move = el('span', { class: 'move' });
    // Only tracks and artists have pages.
    const ofArtist = entry.artist === undefined ? {} : { href: artistUrl(entry.artist) };
    const href = entry.track_id === undefined ? ofArtist : { href: trackUrl(entry.track_id) };
    this.link = el('a', { class: 'title', ...href, dir: 'auto' });
    this.artist = el('a', { class: 'artist', dir: 'auto' });
    this.bar = bar();
    this.plays = el('span', { class: 'plays' });
    this.element = el(
      'li',
      { class: 'row', 'data-key': this.key },
      this.rank,
      this.move,
      el('span', { class: 'name' }, this.link, this.artist),
      this.bar,
      this.plays,
    );
  }

  show(entry, most, move) {
    setText(this.rank, count(entry.rank));
    this.element.classList.toggle('first', entry.rank === 1);
    const isTrack = entry.track_id !== undefined;
    setText(this.link, entry.title ?? entry.track_id ?? entry.artist);
    const artist = isTrack ? (entry.artist ?? '') : '';
    setText(this.artist, artist);
    if (artist) this.artist.href = artistUrl(artist);
    else this.artist.removeAttribute('href');
    fillBar(this.bar, entry.plays / most);
    setText(this.plays, count(entry.plays));
    this.plays.title = plays(entry.plays);
    this.showMove(move);
  }

  // An inert copy of the row, hidden from screen readers.
  ghost() {
    const ghost = this.element.cloneNode(true);
    ghost.classList.add('leaving');
    ghost.removeAttribute('data-key');
    ghost.setAttribute('aria-hidden', 'true');
    ghost.setAttribute('inert', '');
    return ghost;
  }

  showMove(move) {
    const kind = `move ${move?.kind ?? ''}`;
    if (this.move.className === kind && this.move.dataset.text === (move?.text ?? '')) return;
    this.move.className = kind;
    this.move.dataset.text = move?.text ?? '';
    this.move.replaceChildren(
      ...(move ? [el('span', { 'aria-hidden': 'true' }, move.text), el('span', { class: 'spoken' }, move.spoken)] : []),
    );
  }
}

// The element for a list. If the same view is shown `again`, it keeps the old list until the new one is there, to avoid
// flicker.
export function placeFor(main, again, rows) {
  const old = again ? main.querySelector('.place')?.childNodes : null;
  return el('div', { class: 'place' }, ...(old?.length ? old : [skeleton(rows)]));
}

// Empty rows of the final height, so that nothing moves when the first chart arrives.
function skeleton(rows) {
  const lines = Array.from({ length: rows }, () => el('li', { class: 'row waiting' }, el('span', { class: 'ghost' })));
  return el('ol', { class: 'ranking', 'aria-hidden': 'true' }, ...lines);
}

// Shows a notice instead of a list. An equal notice is not replaced: its links could not be clicked, and screen readers would
// repeat it.
export function put(place, element) {
  if (place.childElementCount === 1 && place.firstElementChild.outerHTML === element.outerHTML) return;
  place.replaceChildren(element);
}

// `links` are `[address, text]`.
export const notice = (title, text, links = []) =>
  el(
    'div',
    { class: 'notice', role: 'status' },
    el('p', { class: 'notice-title' }, title),
    text ? el('p', {}, text) : null,
    links.length ? el('ul', { class: 'chips' }, ...links.map(([href, name]) => el('li', {}, el('a', { href }, name)))) : null,
  );

// Rows of search results: `{ href, name, detail, number }`.
export const hits = (found) =>
  found.map(({ href, name, detail, number }) =>
    el(
      'li',
      {},
      el(
        'span',
        { class: 'name' },
        el('a', { class: 'title', href, dir: 'auto' }, name),
        detail ? el('span', { class: 'artist', dir: 'auto' }, detail) : null,
      ),
      el('span', { class: 'plays' }, number),
    ),
  );
