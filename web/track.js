// A track: its ranks, its plays over time, by country and by device.

import { find, repeat, trackApi, url } from './api.js';
import { chartList, onCharts } from './catalogue.js';
import { address } from './charts.js';
import { bar, el, setText } from './dom.js';
import { artistUrl, notice, put } from './list.js';
import { follow } from './live.js';
import { hasCountries, isTrending, longest } from './pickers.js';
import { standing, timeline } from './standing.js';
import { chartName, count, device, isDevice, period as periodName, sentence, share } from './words.js';
import { World, watchWorld } from './world.js';

const AGAIN_MS = 5000;

export async function show(main, { path, query, signal }) {
  const id = path[1] ?? '';
  const heading = el('h1', { id: 'heading', tabindex: '-1', class: 'long', dir: 'auto' }, id);
  const artist = el('p', { class: 'sub', dir: 'auto' });
  const body = el('div', { class: 'track' });
  main.replaceChildren(
    el(
      'section',
      { 'aria-labelledby': 'heading' },
      el('header', { class: 'head' }, el('div', {}, el('p', { class: 'eyebrow' }, 'Track'), heading, artist)),
      body,
    ),
  );
  follow();
  const read = () => find(trackApi(id), signal);
  let [charts, drawn, parts] = [null, null, null];
  const draw = (track) => {
    drawn = track;
    const title = track.title || id;
    setText(heading, title);
    if (track.artist && !parts) artist.replaceChildren(el('a', { href: artistUrl(track.artist) }, track.artist));
    parts ??= sections(body, id, title, query, signal);
    const ofTracks = charts.filter((chart) => chart.item === 'track');
    parts.forEach((part) => part(track.plays, ofTracks));
  };
  // The list of charts changes when a period ends; redraw the parts that depend on it.
  onCharts(signal, (changed) => {
    charts = changed;
    if (drawn) draw(drawn);
  });
  const [first] = await Promise.all([read(), chartList()]);
  if (signal.aborted) return '';
  charts ??= await chartList();
  if (first) draw(first);
  else put(body, notice('This track has no plays', 'Or none of them counts for a chart.'));
  // The track may be played later.
  repeat(AGAIN_MS, signal, read, draw);
  return first?.artist ? `${heading.textContent}, ${first.artist}` : heading.textContent;
}

// Each part draws the plays of the track with the current charts of tracks.
function sections(body, id, title, query, signal) {
  const tiles = el('ul', { class: 'tiles', 'aria-label': 'Where it stands, worldwide' });
  const time = el('section', { class: 'card', 'aria-labelledby': 'time' });
  const devices = el('section', { class: 'card', 'aria-labelledby': 'devices' });
  const where = el('section', { class: 'card', 'aria-labelledby': 'where' });
  body.replaceChildren(tiles, el('div', { class: 'halves' }, el('div', { class: 'stack' }, time, devices), where));
  return [
    standing(tiles, signal, () => (entry) => entry.track_id === id),
    timeline(time, query.get('chart')),
    byDevice(devices),
    whereItPlays(where, id, title, signal),
  ];
}

function byDevice(card) {
  const list = el('ol', { class: 'countries' });
  const note = el('p', { class: 'note' });
  card.append(el('h2', { id: 'devices' }, 'By device'), list, note);
  return (cells, charts) => {
    const chart = longest(
      charts.filter((one) => cells.some((cell) => cell.chart === one.name && isDevice(cell.scope))),
    );
    const mine = cells.filter((cell) => cell.chart === chart?.name && isDevice(cell.scope));
    const newest = mine.filter((cell) => cell.period === mine.at(-1).period).sort((a, b) => b.plays - a.plays);
    const all = newest.reduce((sum, cell) => sum + cell.plays, 0);
    list.replaceChildren(
      ...newest.map((cell) =>
        el(
          'li',
          {},
          el('span', {}, device(cell.scope)),
          bar(cell.plays / newest[0].plays),
          el('span', { class: 'plays' }, count(cell.plays)),
          el('span', { class: 'part' }, share(cell.plays / all)),
        ),
      ),
    );
    setText(
      note,
      chart
        ? `${sentence(chart.name)}${chart.period === 'all' ? '' : `, ${periodName(newest[0].period)}`}`
        : 'No chart of this server counts by device. One with scopes = ["device"] in the charts file would.',
    );
  };
}

// The map does not name the newest period, so that it moves on to the next one.
function whereItPlays(card, id, title, signal) {
  let watched = null;
  let leave = null;
  return (cells, charts) => {
    const chart = longest(charts.filter(hasCountries));
    if (chart?.name === watched) return;
    watched = chart?.name;
    leave?.abort();
    leave = new AbortController();
    const head = el('header', { class: 'card-head' }, el('h2', { id: 'where' }, 'By country'));
    card.replaceChildren(head);
    if (!chart) return card.append(notice('No chart counts by country'));
    head.append(el('a', { href: url('#/map', { chart: chart.name, track: id }) }, 'Share of all plays'));
    const linkTo = (scope) => (isTrending(chart) ? url('#/', { scope }) : address(chart.name, { scope }));
    const world = new World({ label: `Plays of ${title} by country`, linkTo, rows: 8 });
    const note = el('p', { class: 'note' }, `Plays of ${chartName(chart.name)}.`);
    card.append(world.picture, world.legend, world.list, note);
    const until = AbortSignal.any([signal, leave.signal]);
    watchWorld(world, card, { chart: chart.name, track: id, everyMs: AGAIN_MS, signal: until });
  };
}
