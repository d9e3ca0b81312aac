// What a track and an artist have in common: where they stand in the charts, and how they went over time.

import { chartUrl, find } from './api.js';
import { address } from './charts.js';
import { el, setText } from './dom.js';
import { chartPicker, isGlobal, isTrending } from './pickers.js';
import { GLOBAL, compact, count, period as periodName, plays, sentence, shortPeriod } from './words.js';

// As many as the server counts for an artist.
const COLUMNS_MAX = 366;
// A rank is found in the whole list, so it is asked for less often than the plays beside it.
const RANK_AGAIN_MS = 15_000;

// A tile for each chart that has a worldwide list. `isMine(chart)` gives a test of its entries, or null if the chart lists
// something else. Gives what draws plays, by the charts as they are now.
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
  // Of which period, and when, the rank that is shown was asked for.
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
    // Plays of a period that has ended are not those of the newest. The window has a new name with every minute.
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

  // A rank that could not be asked for is asked for again at the next drawing.
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

// A column for each period of a chart by calendar, and a choice of such charts. Gives what draws plays, by the charts as they
// are now.
export function timeline(card, wanted = null) {
  const columns = el('ol', { class: 'over-time', tabindex: '0', 'aria-label': 'Plays by period' });
  const head = el('header', { class: 'card-head' }, el('h2', { id: 'time' }, 'Over time'));
  card.append(head, columns);
  let cells = [];
  // The charts that have it, and the name of the one that is shown.
  let those = [];
  let chosen = wanted;
  let atEnd = true;
  const draw = () => {
    const chart = those.find((one) => one.name === chosen);
    // Periods without plays of it are gaps, and gaps are part of the story.
    const mine = new Map(
      cells.filter((one) => one.chart === chosen && one.scope === GLOBAL).map((one) => [one.period, one.plays]),
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
    chosen = name;
    atEnd = true;
    draw();
  });
  return (next, charts) => {
    cells = next;
    const has = (chart) => cells.some((cell) => cell.chart === chart.name && cell.scope === GLOBAL);
    those = charts.filter((one) => isGlobal(one) && !isTrending(one) && one.period !== 'all' && has(one));
    if (!those.length) return columns.replaceChildren(el('li', { class: 'nothing' }, 'No chart by calendar has it.'));
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
