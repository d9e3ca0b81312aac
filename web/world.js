// The map of the world, and the list of countries beside it.
//
// The list has the same numbers and links, so whoever doesn't see the map, or uses a keyboard, misses nothing: the map
// itself is a picture with a label, and its clicks are a shortcut.

import { find, get, repeat, url, withPages } from './api.js';
import { bar, el, setText, svg } from './dom.js';
import { notice } from './list.js';
import { compact, country, count, countryOf, countryScope, isoCode, plays, share } from './words.js';

let shapes = null;

// The shapes are the same for every map, so one answer is kept. A failure is forgotten, or one restart of the server would
// leave the tab without a map for good.
function loadShapes() {
  shapes ??= get('/web/world.json', undefined, 'default').catch((problem) => {
    shapes = null;
    throw problem;
  });
  return shapes;
}

// `linkTo(scope)` is where a country leads, and `chosen` the scope that is marked. `by` is "plays", or "share": what part of a country's plays is the track's.
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

  // Called again with each `show` until the shapes have come. Without them the list still has all numbers.
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
    // Plays begin at none. Shares differ by little, and only what they differ by is worth a colour.
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

  // In percent, by the square root: few countries have most plays, and the others should differ from each other too.
  shade(value) {
    const span = this.most - this.least;
    return span > 0 ? Math.round(Math.sqrt((value - this.least) / span) * 100) : 100;
  }

  colour() {
    // Several may go by one shape: the one with most is the first of `values`, and wins.
    const codes = new Map([...this.values.keys()].reverse().map((code) => [isoCode(code), code]));
    for (const [shape, path] of this.paths) {
      const code = codes.get(shape);
      const value = this.values.get(code);
      path.dataset.country = code ?? shape;
      path.classList.toggle('played', value !== undefined);
      const isChosen = this.chosen !== null && shape === isoCode(countryOf(this.chosen));
      path.classList.toggle('chosen', isChosen);
      // Its outline would be below those of its neighbours.
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

  // The first of them, and the chosen one, wherever it is.
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

// Asks for the countries now and every `everyMs` until `signal` is aborted, and says in `place` when there are none. Without
// `period` it is the newest one, also when another begins.
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
      // A lost connection is told by the strip, a busy server has time later, and what is seen stays.
      if (signal.aborted || !(problem.status < 500)) return;
      message.replaceChildren(notice('No countries', problem.message));
      shown = null;
    }
  };
  await ask();
  await repeat(everyMs, signal, ask);
}
