// The map: plays of a chart by country, or the share of one track in them.

import { get, trackApi, url } from './api.js';
import { chartList, onCharts } from './catalogue.js';
import { address } from './charts.js';
import { el, picker, setText } from './dom.js';
import { notice, trackUrl } from './list.js';
import { follow } from './live.js';
import { chartPicker, hasCountries, isTrending, periodPicker } from './pickers.js';
import { sentence } from './words.js';
import { World, watchWorld } from './world.js';

const EVERY_MS = 4000;

const mapUrl = (parameters) => url('#/map', parameters);

const COLOURS = [
  ['share', 'Share of plays'],
  ['plays', 'Plays'],
];

export async function show(main, { query, signal }) {
  const track = query.get('track');
  const scope = query.get('scope');
  const sub = el('p', { class: 'sub' }, 'Plays by country');
  const pickers = el('div', { class: track ? 'pickers tall' : 'pickers' });
  let linkTo = () => '#/';
  const label = 'Map of the world by plays';
  const world = new World({ label, linkTo: (chosen) => linkTo(chosen), chosen: scope });
  const list = el('div', { class: 'card' }, el('h2', {}, 'Countries'), world.list);
  const place = el('div', { class: 'atlas' }, el('div', { class: 'card' }, world.picture, world.legend), list);
  const heading = el('h1', { id: 'heading', tabindex: '-1' }, 'The world');
  const title = el('div', {}, heading, sub, track ? about(track, signal) : null);
  main.replaceChildren(
    el('section', { 'aria-labelledby': 'heading' }, el('header', { class: 'head' }, title, pickers), place),
  );
  follow();
  const choose = new Choice(pickers, query);
  let leave = null;
  let watched = '';
  const update = (all) => {
    if (signal.aborted) return;
    const charts = all.filter((chart) => hasCountries(chart) && (!track || chart.item === 'track'));
    const chart = charts.find(({ name }) => name === query.get('chart')) ?? charts[0];
    if (!chart) return place.replaceChildren(notice('No chart counts by country', 'A chart with scopes = ["country"] in the charts file would.'));
    const chosen = choose.among(charts, chart);
    const what = chosen.by === 'share' ? 'Share of each country’s plays' : 'Plays by country';
    setText(sub, `${what} · ${sentence(chart.name)}`);
    linkTo = (other) =>
      isTrending(chart) ? url('#/', { scope: other }) : address(chart.name, { scope: other, period: query.get('period') });
    const { period, by } = chosen;
    if (watched === `${chart.name} ${period}`) return;
    watched = `${chart.name} ${period}`;
    leave?.abort();
    leave = new AbortController();
    const until = AbortSignal.any([signal, leave.signal]);
    watchWorld(world, list, { chart: chart.name, period, track, by, everyMs: EVERY_MS, signal: until });
  };
  onCharts(signal, update);
  update(await chartList());
  return 'The world';
}

// The pickers, and the values of the address that exist.
class Choice {
  constructor(place, query) {
    this.query = query;
    const track = query.get('track');
    const scope = query.get('scope');
    const go = (change) => (location.hash = mapUrl({ ...this.now, track, scope, ...change }));
    this.charts = chartPicker((chart) => go({ chart, period: null }));
    this.periods = periodPicker((period) => go({ period }));
    this.colours = picker('Colour', (by) => go({ by }));
    this.all = el('a', { class: 'button' }, 'All tracks');
    this.place = place;
    this.parts = [this.charts.element, this.periods.element, ...(track ? [this.colours.element, this.all] : [])];
  }

  among(charts, chart) {
    const { query } = this;
    // The trending window moves: only charts by calendar have periods to choose.
    const { periods, newest } = isTrending(chart) ? { periods: [] } : chart.with_entries;
    const period = periods.includes(query.get('period')) ? query.get('period') : newest;
    const by = query.has('track') && query.get('by') !== 'plays' ? 'share' : 'plays';
    this.now = { chart: chart.name, period: query.get('period'), by: query.get('by') };
    this.charts.show(charts, chart.name);
    this.periods.element.hidden = periods.length < 2;
    if (periods.length > 1) this.periods.show(periods, period);
    this.colours.show([['', COLOURS]], by);
    this.all.href = mapUrl({ chart: chart.name, period: query.get('period') });
    // Insert pickers when they are filled: they are narrower before, and the elements beside them would move.
    if (!this.place.hasChildNodes()) this.place.append(...this.parts);
    return { period, by };
  }
}

// One line of fixed height, so that nothing below it moves when the title arrives.
function about(track, signal) {
  const link = el('a', { href: trackUrl(track), dir: 'auto' }, track);
  const line = el('p', { class: 'sub one-line' }, link);
  get(trackApi(track), signal).then(
    ({ title, artist }) => {
      setText(link, title ?? track);
      if (artist) line.append(`, ${artist}`);
    },
    // Without a title, the id stays.
    () => {},
  );
  return line;
}
