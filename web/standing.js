// What a track and an artist have in common: where they stand in the charts, and how they went over time.

import { chartUrl, find } from './api.js';
import { address } from './charts.js';
import { el, setText } from './dom.js';
import { chartPicker, isGlobal, isTrending } from './pickers.js';
import { GLOBAL, compact, count, period as periodName, plays, sentence, shortPeriod } from './words.js';

// As many as the server counts for an artist.
const COLUMNS_MAX = 366;

// A tile for each chart. `isMine(chart)` gives a test of its entries, or null if the chart lists something else. Ranks are asked
// for once: they are what brought the reader here, and the lists show them live. Gives what draws new plays.
export function standing(tiles, charts, signal, isMine) {
  const made = charts.filter(isGlobal).map((chart) => {
    const test = isMine(chart);
    const rank = el('span', { class: 'big-rank' }, test ? '–' : '');
    const number = el('span', { class: 'tile-plays' }, '');
    const href = isTrending(chart) ? '#/' : address(chart.name);
    if (test) find(chartUrl(chart.name, { scope: GLOBAL }), signal).then((cell) => showRank(rank, cell, test), () => {});
    tiles.append(el('li', {}, el('a', { href }, sentence(chart.name)), rank, number));
    return { chart, rank, number, test };
  });
  return (cells) => {
    for (const { chart, rank, number, test } of made) {
      const mine = cells.filter((cell) => cell.chart === chart.name && cell.scope === GLOBAL);
      const newest = mine.find((cell) => cell.period === chart.with_entries.newest) ?? mine.at(-1);
      const text = newest ? plays(newest.plays) : 'no plays';
      if (test) setText(number, text);
      else setText(rank, newest ? count(newest.plays) : '0');
      if (!test) setText(number, 'plays');
    }
  };
}

function showRank(place, cell, isMine) {
  const entry = cell?.entries.find(isMine);
  setText(place, entry ? `No. ${count(entry.rank)}` : 'Not in the list');
  place.classList.toggle('none', !entry);
}

// A column for each period of a chart by calendar, and a choice of such charts. Gives what draws new plays.
export function timeline(card, charts, wanted) {
  const dated = charts.filter((one) => isGlobal(one) && !isTrending(one) && one.period !== 'all');
  const columns = el('ol', { class: 'over-time', tabindex: '0', 'aria-label': 'Plays by period' });
  const head = el('header', { class: 'card-head' }, el('h2', { id: 'time' }, 'Over time'));
  card.append(head, columns);
  let cells = [];
  let chart = null;
  let atEnd = true;
  const draw = () => {
    // Periods without plays of it are gaps, and gaps are part of the story.
    const mine = new Map(
      cells.filter((one) => one.chart === chart.name && one.scope === GLOBAL).map((one) => [one.period, one.plays]),
    );
    const all = [...new Set([...chart.with_entries.periods, ...mine.keys()])].sort().slice(-COLUMNS_MAX);
    const most = Math.max(1, ...mine.values());
    columns.replaceChildren(...all.map((period) => column(period, mine.get(period) ?? 0, most)));
    // The newest is what most want to see first.
    if (atEnd) columns.scrollLeft = columns.scrollWidth;
  };
  columns.addEventListener('scroll', () => {
    atEnd = columns.scrollLeft + columns.clientWidth >= columns.scrollWidth - 40;
  });
  const choose = chartPicker((name) => {
    chart = dated.find((one) => one.name === name);
    atEnd = true;
    draw();
  });
  return (next) => {
    cells = next;
    const those = dated.filter((one) => cells.some((cell) => cell.chart === one.name && cell.scope === GLOBAL));
    chart ??= those.find(({ name }) => name === wanted) ?? those[0] ?? null;
    if (!chart) return columns.replaceChildren(el('li', { class: 'nothing' }, 'No chart by calendar has it.'));
    choose.show(those, chart.name);
    if (those.length > 1 && !choose.element.isConnected) head.append(choose.element);
    draw();
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
