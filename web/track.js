// A track: where it stands, how it went over time, in which countries and on which devices.

import { find, trackApi, url } from './api.js';
import { chartList } from './catalogue.js';
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
  const [charts, first] = await Promise.all([chartList(), read()]);
  if (signal.aborted) return '';
  let parts = null;
  const draw = (track) => {
    if (!track && !parts) put(body, notice('Nobody has played this track', 'Or none of its plays counts for a chart.'));
    if (!track) return;
    const title = track.title || id;
    setText(heading, title);
    if (track.artist && !parts) artist.replaceChildren(el('a', { href: artistUrl(track.artist) }, track.artist));
    parts ??= sections(body, charts, id, title, query, signal);
    parts.draw(track);
  };
  draw(first);
  again(read, draw, signal);
  return first?.artist ? `${heading.textContent}, ${first.artist}` : heading.textContent;
}

// A track that nobody has played may be played yet.
async function again(read, draw, signal) {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    if (signal.aborted) return;
    if (document.hidden) continue;
    // What is seen stays while the connection is lost.
    const track = await read().catch(() => null);
    if (track && !signal.aborted) draw(track);
  }
}

function sections(body, charts, id, title, query, signal) {
  const counted = charts.filter((chart) => chart.item === 'track');
  const tiles = el('ul', { class: 'tiles', 'aria-label': 'Where it stands, worldwide' });
  const time = el('section', { class: 'card', 'aria-labelledby': 'time' });
  const devices = el('section', { class: 'card', 'aria-labelledby': 'devices' });
  const where = el('section', { class: 'card', 'aria-labelledby': 'where' });
  body.replaceChildren(tiles, el('div', { class: 'halves' }, el('div', { class: 'stack' }, time, devices), where));

  const stands = standing(tiles, counted, signal, () => (entry) => entry.track_id === id);
  const over = timeline(time, counted, query.get('chart'));
  const onDevices = byDevice(devices, counted);
  whereItPlays(where, counted, id, title, signal);
  const draw = (track) => [stands, over, onDevices].forEach((part) => part(track.plays));
  return { draw };
}

function byDevice(card, charts) {
  const list = el('ol', { class: 'countries' });
  const note = el('p', { class: 'note' });
  card.append(el('h2', { id: 'devices' }, 'By device'), list, note);
  return (cells) => {
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

function whereItPlays(card, charts, id, title, signal) {
  const chart = longest(charts.filter(hasCountries));
  card.append(el('header', { class: 'card-head' }, el('h2', { id: 'where' }, 'By country')));
  if (!chart) return card.append(notice('No chart counts by country'));
  const period = isTrending(chart) ? undefined : chart.with_entries.newest;
  const linkTo = (scope) => (isTrending(chart) ? url('#/', { scope }) : address(chart.name, { scope }));
  const world = new World({ label: `Plays of ${title} by country`, linkTo, rows: 8 });
  card.firstElementChild.append(
    el('a', { href: url('#/map', { chart: chart.name, period, track: id }) }, 'Share of all plays'),
  );
  card.append(world.picture, world.legend, world.list, el('p', { class: 'note' }, `Plays of ${chartName(chart.name)}.`));
  watchWorld(world, card, { chart: chart.name, period, track: id, everyMs: AGAIN_MS, signal });
}
