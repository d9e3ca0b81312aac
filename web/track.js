// A track: where it stands, how it went over time, in which countries and on which devices.

import { chartUrl, find, url } from './api.js';
import { address } from './charts.js';
import { bar, el, setText } from './dom.js';
import { notice, searchUrl } from './list.js';
import { follow } from './live.js';
import { chartList, chartPicker, hasCountries, isGlobal, isTrending, longest } from './pickers.js';
import {
  GLOBAL,
  compact,
  count,
  device,
  isDevice,
  period as periodName,
  plays,
  sentence,
  share,
  shortPeriod,
} from './words.js';
import { World, watchWorld } from './world.js';

const AGAIN_MS = 5000;
const COLUMNS_MAX = 53;

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
  const read = () => find(`/v1/tracks/${encodeURIComponent(id)}`, signal);
  const [charts, track] = await Promise.all([chartList(), read()]);
  if (signal.aborted) return '';
  if (!track) {
    body.replaceChildren(notice('Nobody has played this track', 'Or none of its plays counts for a chart.'));
    return id;
  }
  const title = track.title ?? id;
  setText(heading, title);
  if (track.artist) artist.replaceChildren(el('a', { href: searchUrl(track.artist) }, track.artist));
  const parts = sections(body, charts, id, title, query, signal);
  parts.draw(track);
  again(read, parts, signal);
  return track.artist ? `${title}, ${track.artist}` : title;
}

async function again(read, parts, signal) {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    if (signal.aborted) return;
    if (document.hidden) continue;
    // What is seen stays while the connection is lost.
    const track = await read().catch(() => null);
    if (track && !signal.aborted) parts.draw(track);
  }
}

function sections(body, charts, id, title, query, signal) {
  const counted = charts.filter((chart) => chart.item === 'track');
  const global = counted.filter(isGlobal);
  const dated = global.filter(
    (chart) => chart.with_entries.periods.length > 0 && !isTrending(chart) && chart.period !== 'all',
  );
  const tiles = el('ul', { class: 'tiles', 'aria-label': 'Where it stands, worldwide' });
  const time = el('section', { class: 'card', 'aria-labelledby': 'time' });
  const devices = el('section', { class: 'card', 'aria-labelledby': 'devices' });
  const where = el('section', { class: 'card', 'aria-labelledby': 'where' });
  body.replaceChildren(tiles, el('div', { class: 'halves' }, el('div', { class: 'stack' }, time, devices), where));

  const standing = stand(tiles, global, id, signal);
  const over = overTime(time, dated, query.get('chart'));
  const onDevices = byDevice(devices, counted);
  whereItPlays(where, counted, id, title, signal);
  const draw = (track) => [standing, over, onDevices].forEach((part) => part(track.plays));
  return { draw };
}

// Ranks are asked for once: they are what brought the reader here, and the lists show them live.
function stand(tiles, charts, id, signal) {
  const made = charts.map((chart) => {
    const rank = el('span', { class: 'big-rank' }, '–');
    const number = el('span', { class: 'tile-plays' }, '');
    const href = isTrending(chart) ? '#/' : address(chart.name);
    find(chartUrl(chart.name, { scope: GLOBAL }), signal).then(
      (cell) => {
        const entry = cell?.entries.find((one) => one.track_id === id);
        setText(rank, entry ? `No. ${count(entry.rank)}` : 'Not in the list');
        rank.classList.toggle('none', !entry);
      },
      () => {},
    );
    tiles.append(el('li', {}, el('a', { href }, sentence(chart.name)), rank, number));
    return { chart, number };
  });
  return (cells) => {
    for (const { chart, number } of made) {
      const mine = cells.filter((cell) => cell.chart === chart.name && cell.scope === GLOBAL);
      const newest = mine.find((cell) => cell.period === chart.with_entries.newest) ?? mine.at(-1);
      setText(number, newest ? plays(newest.plays) : 'no plays');
    }
  };
}

function overTime(card, charts, wanted) {
  let chart = charts.find(({ name }) => name === wanted) ?? charts[0];
  const columns = el('ol', { class: 'over-time', tabindex: '0', 'aria-label': 'Plays by period' });
  const head = el('header', { class: 'card-head' }, el('h2', { id: 'time' }, 'Over time'));
  card.append(head, columns);
  let cells = [];
  const draw = () => {
    // Periods without plays of it are gaps, and gaps are part of the story.
    const periods = chart?.with_entries.periods ?? [];
    const mine = new Map(
      cells.filter((one) => one.chart === chart?.name && one.scope === GLOBAL).map((one) => [one.period, one.plays]),
    );
    const all = [...new Set([...periods, ...mine.keys()])].sort().slice(-COLUMNS_MAX);
    const most = Math.max(1, ...mine.values());
    columns.replaceChildren(...all.map((period) => column(period, mine.get(period) ?? 0, most)));
  };
  if (charts.length > 1) {
    const choose = (name) => {
      chart = charts.find((one) => one.name === name);
      draw();
    };
    head.append(chartPicker(charts, chart.name, choose));
  }
  return (next) => {
    cells = next;
    if (chart) draw();
    else columns.replaceChildren(el('li', { class: 'nothing' }, 'No chart by calendar has it.'));
  };
}

function column(period, number, most) {
  const fill = el('span', { class: 'column', 'aria-hidden': 'true' });
  fill.style.height = `${(number / most) * 100}%`;
  return el(
    'li',
    { title: `${periodName(period)}: ${plays(number)}` },
    el('span', { class: 'value', 'aria-hidden': 'true' }, compact(number)),
    el('span', { class: 'shaft', 'aria-hidden': 'true' }, fill),
    el('span', { class: 'when', 'aria-hidden': 'true' }, shortPeriod(period)),
    el('span', { class: 'spoken' }, `${periodName(period)}: ${plays(number)}`),
  );
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
    el('a', { href: url('#/map', { chart: chart.name, period, track: id }) }, 'As a share of all plays'),
  );
  card.append(world.picture, world.legend, world.list, el('p', { class: 'note' }, sentence(chart.name)));
  watchWorld(world, card, { chart: chart.name, period, track: id, everyMs: AGAIN_MS, signal });
}
