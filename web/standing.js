// Shared by tracks and artists: their ranks in the charts, and their plays over time.

import { chartUrl, find } from './api.js';
import { address } from './charts.js';
import { el, setText } from './dom.js';
import { chartPicker, isGlobal, isTrending } from './pickers.js';
import { GLOBAL, compact, count, period as periodName, plays, sentence, shortPeriod } from './words.js';

// The most columns: as many periods as the server returns for an artist.
const COLUMNS_MAX = 366;
// How often to request a rank: it needs the whole list, so less often than plays.
const RANK_AGAIN_MS = 15_000;

// A tile for each chart that has a worldwide list. `isMine(chart)` gives a test of its entries, or null if the chart lists
// other items. Returns a function that draws the plays with the current charts.
export function standing(tiles, signal, isMine) {
  const made = new Map();
  return (cells, charts) => {
    const elements = charts.filter(isGlobal).map((chart) => {
      if (!made.has(chart.name)) made.set(chart.name, new Tile(chart, isMine(chart), signal));
      const tile = made.get(chart.name);
      tile.show(chart, cells);
      return tile.element;
    });
    const isSame = elements.length === tiles.children.length && elements.every((one, at) => one === tiles.children[at]);
    if (!isSame) tiles.replaceChildren(...elements);
  };
}

class Tile {
  // The period of the shown rank, and when it was requested.
  ranked = { newest: null, at: -Infinity };

  constructor(chart, isMine, signal) {
    Object.assign(this, { isMine, signal });
    this.rank = el('span', { class: 'big-rank' }, isMine ? '–' : '');
    this.number = el('span', { class: 'tile-plays' }, '');
    const href = isTrending(chart) ? '#/' : address(chart.name);
    this.element = el('li', {}, el('a', { href }, sentence(chart.name)), this.rank, this.number);
  }

  show(chart, cells) {
    const { newest } = chart.with_entries;
    const last = cells.filter((cell) => cell.chart === chart.name && cell.scope === GLOBAL).at(-1);
    // Plays of an ended period are not those of the newest one. The trending window has a new name every minute.
    const isOver = last && !isTrending(chart) && last.period < newest;
    const now = last && !isOver ? last.plays : 0;
    if (!this.isMine) {
      setText(this.rank, count(now));
      setText(this.number, 'plays');
      return;
    }
    setText(this.number, now ? plays(now) : 'no plays');
    const isOld = performance.now() - this.ranked.at > RANK_AGAIN_MS;
    if (isOld || newest !== this.ranked.newest) this.askRank(chart);
  }

  // A failed request is repeated at the next drawing.
  async askRank(chart) {
    if (this.asking) return;
    this.asking = true;
    const cell = await find(chartUrl(chart.name, { scope: GLOBAL }), this.signal).catch(() => undefined);
    this.asking = false;
    if (cell === undefined) return;
    this.ranked = { newest: chart.with_entries.newest, at: performance.now() };
    showRank(this.rank, cell, this.isMine);
  }
}

function showRank(place, cell, isMine) {
  const entry = cell?.entries.find(isMine);
  setText(place, entry ? `No. ${count(entry.rank)}` : 'Not in the list');
  place.classList.toggle('none', !entry);
}

// A column for each period of a chart by calendar, and a picker of such charts. Returns a function that draws the plays with the
// current charts.
export function timeline(card, wanted = null) {
  const columns = el('ol', { class: 'over-time', tabindex: '0', 'aria-label': 'Plays by period' });
  const head = el('header', { class: 'card-head' }, el('h2', { id: 'time' }, 'Over time'));
  card.append(head, columns);
  let cells = [];
  // The charts with plays of this item, and the name of the shown one.
  let those = [];
  let chosen = wanted;
  let atEnd = true;
  const draw = () => {
    const chart = those.find((one) => one.name === chosen);
    // Periods without plays are shown as gaps.
    const mine = new Map(
      cells.filter((one) => one.chart === chosen && one.scope === GLOBAL).map((one) => [one.period, one.plays]),
    );
    const all = [...new Set([...chart.with_entries.periods, ...mine.keys()])].sort().slice(-COLUMNS_MAX);
    const most = Math.max(1, ...mine.values());
    columns.replaceChildren(...all.map((period) => column(period, mine.get(period) ?? 0, most)));
    // Show the newest first.
    if (atEnd) columns.scrollLeft = columns.scrollWidth;
  };
  columns.addEventListener('scroll', () => {
    atEnd = columns.scrollLeft + columns.clientWidth >= columns.scrollWidth - 40;
  });
  const choose = chartPicker((name) => {
    chosen = name;
    atEnd = true;
    draw();
  });
  return (next, charts) => {
    cells = next;
    const has = (chart) => cells.some((cell) => cell.chart === chart.name && cell.scope === GLOBAL);
    those = charts.filter((one) => isGlobal(one) && !isTrending(one) && one.period !== 'all' && has(one));
    if (!those.length) return columns.replaceChildren(el('li', { class: 'nothing' }, 'No chart by calendar has plays of it.'));
    if (!those.some(({ name }) => name === chosen)) chosen = those[0].name;
    choose.show(those, chosen);
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
