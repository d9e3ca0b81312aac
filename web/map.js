// The world by a chart's plays, or by the share that one track has of them.

import { get, url } from './api.js';
import { address } from './charts.js';
import { el, picker, setText } from './dom.js';
import { notice, trackUrl } from './list.js';
import { follow } from './live.js';
import { chartList, chartPicker, hasCountries, isTrending, periodPicker } from './pickers.js';
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
  const sub = el('p', { class: 'sub' }, 'Plays by country');
  const pickers = el('div', { class: track ? 'pickers tall' : 'pickers' });
  let linkTo = () => '#/';
  const world = new World({ label: 'Map of the world by plays', linkTo: (scope) => linkTo(scope) });
  const list = el('div', { class: 'card' }, el('h2', {}, 'Countries'), world.list);
  const place = el('div', { class: 'atlas' }, el('div', { class: 'card' }, world.picture, world.legend), list);
  const heading = el('h1', { id: 'heading', tabindex: '-1' }, 'The world');
  const title = el('div', {}, heading, sub, track ? about(track, signal) : null);
  main.replaceChildren(
    el('section', { 'aria-labelledby': 'heading' }, el('header', { class: 'head' }, title, pickers), place),
  );
  follow();
  const charts = (await chartList()).filter(hasCountries);
  if (signal.aborted) return '';
  const chart = charts.find(({ name }) => name === query.get('chart')) ?? charts[0];
  if (!chart) {
    place.replaceChildren(notice('No chart counts by country', 'The charts file of the server decides that.'));
    return 'The world';
  }
  const chosen = choice(chart, track, query);
  fillPickers(pickers, charts, chosen);
  const what = chosen.by === 'share' ? 'Share of each country’s plays' : 'Plays by country';
  setText(sub, `${what} · ${sentence(chart.name)}`);
  linkTo = (scope) =>
    isTrending(chart) ? url('#/', { scope }) : address(chart.name, { scope, period: query.get('period') });
  watchWorld(world, list, { ...chosen, chart: chart.name, everyMs: EVERY_MS, signal });
  return 'The world';
}

// What the address asks for, as far as there is such a thing.
function choice(chart, track, query) {
  // The window moves on, and its period with it: only charts by calendar have periods to choose.
  const { periods, newest } = isTrending(chart) ? { periods: [] } : chart.with_entries;
  const period = periods.includes(query.get('period')) ? query.get('period') : newest;
  const by = track && query.get('by') !== 'plays' ? 'share' : 'plays';
  return { chart, track, periods, period, by };
}

function fillPickers(pickers, charts, { chart, track, periods, period, by }) {
  const now = { chart: chart.name, period, track, by: track ? by : null };
  const go = (change) => (location.hash = mapUrl({ ...now, ...change }));
  pickers.append(chartPicker(charts, chart.name, (next) => go({ chart: next, period: null })));
  if (periods.length > 1) pickers.append(periodPicker(periods, period, (next) => go({ period: next })));
  if (!track) return;
  pickers.append(
    picker('Colour', [['', COLOURS]], by, (next) => go({ by: next })),
    el('a', { class: 'button', href: mapUrl({ chart: chart.name, period }) }, 'All tracks'),
  );
}

// A line of its own, of one line's height whatever the title is, so that nothing below it moves when the title comes.
function about(track, signal) {
  const link = el('a', { href: trackUrl(track), dir: 'auto' }, track);
  const line = el('p', { class: 'sub one-line' }, link);
  get(`/v1/tracks/${encodeURIComponent(track)}`, signal).then(
    ({ title, artist }) => {
      setText(link, title ?? track);
      if (artist) line.append(`, ${artist}`);
    },
    // Then it goes by its id.
    () => {},
  );
  return line;
}
