// The map of the world, and the list of countries beside it.
//
// The list has the same numbers and links as the map, so readers without sight or mouse miss nothing: the map is an image with a
// label, and its clicks are a shortcut.

import { find, get, repeat, url, withPages } from './api.js';
import { bar, el, setText, svg } from './dom.js';
import { notice } from './list.js';
import { compact, country, count, countryOf, countryScope, isoCode, plays, share } from './words.js';

let shapes = null;

// All maps share one request for the shapes. A failure is not kept: otherwise the tab would have no map after one restart of the
// server.
function loadShapes() {
  shapes ??= get('/web/world.json', undefined, 'default').catch((problem) => {
    shapes = null;
    throw problem;
  });
  return shapes;
}

// `linkTo(scope)` is the link of a country, and `chosen` the scope that is marked. `by` is "plays", or "share" for the share of one
// track in the plays of a country.
export class World {
  constructor({ label, linkTo, rows = Infinity, chosen = null }) {
    Object.assign(this, { label, linkTo, rows, chosen, countries: new Map(), values: new Map() });
    this.paths = new Map();
    this.tip = el('p', { class: 'tip', hidden: true, 'aria-hidden': 'true' });
    this.picture = el('div', { class: 'world' }, this.tip);
    this.legend = el(
      'p',
      { class: 'legend', 'aria-hidden': 'true' },
      el('span', {}),
      el('span', { class: 'scale' }),
      el('span', {}),
    );
    this.list = el('ol', { class: 'countries', 'aria-label': `${label}: countries` });
    this.draw();
  }

  // Called with each `show` until the shapes are loaded. Without them the list still has all numbers.
  async draw() {
    if (this.svg || this.drawing) return;
    this.drawing = true;
    const world = await loadShapes().catch(() => null);
    this.drawing = false;
    if (!world) return;
    const shape = (code, element) => {
      this.paths.set(code, element);
      return element;
    };
    this.svg = svg(
      'svg',
      { viewBox: `0 0 ${world.width} ${world.height}`, role: 'img', 'aria-label': this.label },
      svg('path', { class: 'land', d: world.unnamed }),
      ...Object.entries(world.shapes).map(([code, d]) =>
        shape(code, svg('path', { class: 'land', d, 'data-country': code })),
      ),
      ...Object.entries(world.dots).map(([code, [cx, cy]]) =>
        shape(code, svg('circle', { class: 'land', cx, cy, r: 9, 'data-country': code })),
      ),
    );
    this.svg.addEventListener('click', (event) => {
      const code = event.target.dataset.country;
      if (this.countries.has(code)) location.hash = this.linkTo(countryScope(code));
    });
    this.svg.addEventListener('pointermove', (event) => this.point(event));
    this.svg.addEventListener('pointerleave', () => (this.tip.hidden = true));
    this.picture.prepend(this.svg);
    this.colour();
  }

  show(countries, by) {
    this.by = by;
    this.draw();
    const value =
      by === 'share'
        ? (one) => (one.plays ? (one.track_plays ?? 0) / one.plays : 0)
        : (one) => one.track_plays ?? one.plays;
    const known = countries
      .filter((one) => value(one) > 0)
      .sort((a, b) => value(b) - value(a) || (a.country < b.country ? -1 : 1));
    this.countries = new Map(known.map((one) => [one.country, one]));
    this.values = new Map(known.map((one) => [one.country, value(one)]));
    this.most = Math.max(0, ...this.values.values());
    // The scale of plays begins at zero. Shares differ by little, so their scale begins at the least one.
    this.least = by === 'share' && known.length > 1 ? Math.min(...this.values.values()) : 0;
    const [least, most] = this.legend.querySelectorAll('span:not(.scale)');
    setText(least, this.text(this.least, compact));
    setText(most, this.text(this.most, compact));
    this.colour();
    this.list.classList.toggle('shares', by === 'share');
    this.fillList(known);
  }

  text(value, number = count) {
    return this.by === 'share' ? share(value) : number(value);
  }

  // In percent, by the square root: a few countries have most plays, and the others should still be distinguishable.
  shade(value) {
    const span = this.most - this.least;
    return span > 0 ? Math.round(Math.sqrt((value - this.least) / span) * 100) : 100;
  }

  colour() {
    // Several codes may share one shape: the one with the most plays comes first in `values`, and wins.
    const codes = new Map([...this.values.keys()].reverse().map((code) => [isoCode(code), code]));
    for (const [shape, path] of this.paths) {
      const code = codes.get(shape);
      const value = this.values.get(code);
      path.dataset.country = code ?? shape;
      path.classList.toggle('played', value !== undefined);
      const isChosen = this.chosen !== null && shape === isoCode(countryOf(this.chosen));
      path.classList.toggle('chosen', isChosen);
      // Move it to the end, or its outline would be hidden by its neighbours.
      if (isChosen && path.nextElementSibling) path.parentNode.append(path);
      path.style.fill =
        value === undefined ? '' : `color-mix(in oklab, var(--map-high) ${this.shade(value)}%, var(--map-low))`;
    }
  }

  fillList(known) {
    const focused = document.activeElement?.closest?.('.countries a')?.dataset.country;
    const all = [...this.values.values()].reduce((sum, value) => sum + value, 0);
    this.list.replaceChildren(
      ...this.listed(known).map(({ country: code }) => {
        const value = this.values.get(code);
        const part = this.by === 'share' ? '' : share(value / all);
        return el(
          'li',
          {},
          el(
            'a',
            {
              href: this.linkTo(countryScope(code)),
              'data-country': code,
              'aria-current': countryScope(code) === this.chosen ? 'true' : null,
            },
            country(code),
          ),
          bar(value / this.most),
          el('span', { class: 'plays' }, this.text(value)),
          part ? el('span', { class: 'part' }, part) : null,
        );
      }),
    );
    if (focused)
      [...this.list.querySelectorAll('a')]
        .find((link) => link.dataset.country === focused)
        ?.focus({ preventScroll: true });
  }

  // The first rows, and the chosen one in any case.
  listed(known) {
    const first = known.slice(0, this.rows);
    const isChosen = (one) => countryScope(one.country) === this.chosen;
    const chosen = first.some(isChosen) ? undefined : known.find(isChosen);
    return chosen ? [...first.slice(0, -1), chosen] : first;
  }

  point(event) {
    const code = event.target.dataset.country;
    this.tip.hidden = !code;
    if (!code) return;
    const one = this.countries.get(code);
    const said = one
      ? this.by === 'share'
        ? `${share(this.values.get(code))} of its plays`
        : plays(this.values.get(code))
      : 'no plays';
    setText(this.tip, `${country(code)}: ${said}`);
    const box = this.picture.getBoundingClientRect();
    const x = Math.min(Math.max(event.clientX - box.left, 70), box.width - 70);
    this.tip.style.transform = `translate(${x}px, ${event.clientY - box.top}px) translate(-50%, calc(-100% - 12px))`;
  }
}

// Requests the countries now and every `everyMs` until `signal` is aborted, and shows a notice in `place` if there are none.
// Without `period` it is the newest one, also after the next has begun.
export async function watchWorld(world, place, { chart, period, track, by = 'plays', everyMs, signal }) {
  const message = el('div', {});
  place.append(message);
  let shown = null;
  const ask = async () => {
    try {
      const geo = await find(url('/v1/geo', { chart, period, track }), signal);
      if (geo) await withPages(geo, (all, more) => all.countries.push(...more.countries), signal);
      if (signal.aborted) return;
      world.show(geo?.countries ?? [], by);
      const empty = world.countries.size === 0;
      if (shown !== empty) message.replaceChildren(...(empty ? [notice('No plays from any country yet')] : []));
      shown = empty;
    } catch (problem) {
      // The status strip reports a lost connection; a busy server answers later; the old content stays.
      if (signal.aborted || !(problem.status < 500)) return;
      message.replaceChildren(notice('No countries', problem.message));
      shown = null;
    }
  };
  await ask();
  await repeat(everyMs, signal, ask);
}
