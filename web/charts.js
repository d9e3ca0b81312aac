// The charts by calendar: one list of a chart, for a scope and a period.
//
// The newest period is followed live, and the next one when it ends. An older one is polled: late plays can still change it.

import { chartUrl, find, repeat } from './api.js';
import { chartList, onCharts, refreshQuietly } from './catalogue.js';
import { el, setText } from './dom.js';
import { RankedList, notice, placeFor, put, ranksOf } from './list.js';
import { follow, listen } from './live.js';
import { nothingYet, otherPlaces } from './nothing.js';
import { around, isTrending, periodStepper, scopeFor, scopePicker } from './pickers.js';
import { saves } from './saves.js';
import { GLOBAL, days, period as periodName, scope as scopeName, sentence } from './words.js';

const ASK_AGAIN_MS = 15_000;
const ROWS = 20;

export function address(name, { scope = GLOBAL, period } = {}) {
  const query = new URLSearchParams();
  if (scope !== GLOBAL) query.set('scope', scope);
  if (period) query.set('period', period);
  return `#/charts/${encodeURIComponent(name)}${query.size ? `?${query}` : ''}`;
}

export async function show(main, { path, query, signal, announce, again }) {
  const view = new Chart(path[1], query, signal, announce, placeFor(main, again, ROWS));
  main.replaceChildren(view.element);
  const update = (charts) => view.update(charts.filter((chart) => !isTrending(chart)));
  onCharts(signal, update);
  update(await chartList());
  return view.chart ? `${sentence(view.chart.name)}, ${scopeName(view.scope)}` : 'Charts';
}

class Chart {
  chart = null;
  scope = null;
  shown = null;
  status = null;
  // What is followed, as a text, and the function that ends it.
  watched = null;
  leave = null;

  constructor(name, query, signal, announce, place) {
    Object.assign(this, { name, query, signal, place });
    this.heading = el('h1', { id: 'heading', tabindex: '-1' }, 'Charts');
    this.sub = el('p', { class: 'sub' }, 'Weekly and longer');
    this.note = el('p', { class: 'note' });
    this.tabs = el('nav', { class: 'tabs', 'aria-label': 'Charts' });
    const go = (change) => (location.hash = this.address(change));
    this.where = scopePicker((scope) => go({ scope }));
    this.when = periodStepper((period) => go({ period: this.named(period) }));
    const pickers = el('div', { class: 'pickers tall wide' }, this.where.element, this.when.element);
    const shown = () => ({
      // The link names the period, so that it always shows the same one.
      link: new URL(this.address({ period: this.shown?.period }), location.href).href,
      name: [this.chart?.name, this.shown?.period, this.scope].join('-'),
      cell: this.shown,
    });
    this.element = el(
      'section',
      { class: 'narrow', 'aria-labelledby': 'heading' },
      el('header', { class: 'head' }, el('div', {}, this.heading, this.sub), pickers),
      this.tabs,
      place,
      el('div', { class: 'foot' }, this.note, saves(shown, announce)),
    );
    const stopListening = listen('status', (status) => {
      this.status = status;
      if (this.shown && !this.shown.entries.length) this.draw(this.shown);
    });
    signal.addEventListener('abort', stopListening);
  }

  address(change) {
    return address(this.chart.name, { scope: this.scope, period: this.query.get('period'), ...change });
  }

  // The newest period is not named, so that the page moves on to the next one.
  named(period) {
    return period === this.chart.with_entries.newest ? undefined : period;
  }

  // The list of charts has changed.
  update(charts) {
    if (this.signal.aborted) return;
    const chart = charts.find(({ name }) => name === this.name) ?? (this.name ? null : charts[0]);
    const wanted = this.query.get('scope') ?? GLOBAL;
    this.showTabs(charts, chart, wanted);
    if (!chart) {
      const links = charts.map(({ name }) => [address(name), sentence(name)]);
      put(
        this.place,
        notice('There is no such chart', 'The charts are defined by the charts file of the server.', links),
      );
      return;
    }
    this.chart = chart;
    this.scope = scopeFor(chart, wanted);
    const { periods, newest, scopes } = chart.with_entries;
    this.chosen = this.query.get('period') ?? newest ?? null;
    setText(this.heading, sentence(chart.name));
    this.where.show(scopes, this.scope);
    if (this.chosen) this.when.show(periods, this.chosen);
    const isNewest = !this.query.get('period') || this.chosen === newest;
    const what = JSON.stringify([chart.name, this.scope, isNewest ? null : this.chosen]);
    // A list that was missing may exist now.
    if (what !== this.watched || this.refused) this.watch(what, isNewest);
  }

  showTabs(charts, current, scope) {
    const tabs = charts.map((one) =>
      el(
        'a',
        { href: address(one.name, { scope: scopeFor(one, scope) }), 'aria-current': one === current ? 'page' : null },
        sentence(one.name),
      ),
    );
    const holder = el('nav', {}, ...tabs);
    if (holder.innerHTML !== this.tabs.innerHTML) this.tabs.replaceChildren(...tabs);
  }

  watch(what, isNewest) {
    [this.watched, this.refused] = [what, false];
    this.leave?.abort();
    this.leave = new AbortController();
    const signal = AbortSignal.any([this.signal, this.leave.signal]);
    this.list = new RankedList(`${sentence(this.chart.name)}, ${scopeName(this.scope)}`);
    if (isNewest) {
      const draw = (cell) => this.draw(cell);
      const refused = (problem) => this.refuse(problem);
      const quiet = follow({ chart: this.chart.name, scope: this.scope, limit: this.chart.top }, draw, refused);
      signal.addEventListener('abort', quiet);
    } else {
      follow();
      this.askAgain(this.chosen, signal);
    }
  }

  async askAgain(period, signal) {
    const ask = async () => {
      try {
        const cell = await find(chartUrl(this.chart.name, { scope: this.scope, period }), signal);
        if (signal.aborted) return;
        if (cell) this.draw(cell);
        else this.refuse(null);
      } catch (problem) {
        if (problem.status && !signal.aborted) this.refuse(problem);
      }
    };
    await ask();
    await repeat(ASK_AGAIN_MS, signal, ask);
  }

  draw(cell) {
    if (cell.chart !== this.chart.name || cell.scope !== this.scope) return;
    this.shown = cell;
    const dates = this.chart.period === 'day' ? '' : days(cell.start, cell.end, this.chart.zone);
    const parts = [scopeName(this.scope), periodName(cell.period), dates, zoneText(this.chart)];
    setText(this.sub, parts.filter(Boolean).join(' · '));
    const { periods, scopes } = this.chart.with_entries;
    // A period has begun, or a scope has its first plays.
    const isNews = !periods.includes(cell.period) || !scopes.includes(cell.scope);
    if (cell.entries.length && isNews) refreshQuietly();
    this.compare(cell.period, periods);
    if (!cell.entries.length) return put(this.place, this.nothing(cell));
    if (!this.list.element.isConnected) this.place.replaceChildren(this.list.element);
    this.list.show(cell.entries, this.before?.ranks ?? null);
  }

  // Explains why a list is empty, and links to lists with entries.
  nothing(cell) {
    const { periods, scopes } = this.chart.with_entries;
    const said = periods.length ? null : nothingYet(this.status);
    if (said) return said;
    if (!periods.includes(cell.period) && periods.length) {
      const near = [...around(periods, cell.period), periods.at(-1)].filter(Boolean);
      const links = [...new Set(near)].map((period) => [this.address({ period: this.named(period) }), periodName(period)]);
      const range = periods.length > 1 ? `There are plays from ${periodName(periods[0])} to ${periodName(periods.at(-1))}.` : '';
      return notice(`No plays in ${periodName(cell.period)}`, range, links);
    }
    const places = otherPlaces(scopes, this.scope, (scope) => this.address({ scope }));
    return notice('Nothing here yet', 'New plays appear here by themselves.', places);
  }

  refuse(problem) {
    this.refused = true;
    const { periods, scopes } = this.chart.with_entries;
    const wrongPeriod = this.query.get('period') && !periods.includes(this.query.get('period'));
    const links = wrongPeriod
      ? periods.slice(-6).map((period) => [this.address({ period: this.named(period) }), periodName(period)])
      : otherPlaces(scopes, this.scope, (scope) => this.address({ scope }));
    put(this.place, notice('No chart for this place and time', problem?.message ?? '', links));
  }

  // Requests once the period before `period`, to compare the ranks.
  compare(period, periods) {
    const [earlier] = around(periods, period);
    if (!earlier || this.before?.of === `${period} ${earlier}`) return;
    const before = { of: `${period} ${earlier}`, ranks: null };
    this.before = before;
    find(chartUrl(this.chart.name, { scope: this.scope, period: earlier }), this.signal).then(
      (cell) => {
        if (!cell) return;
        before.ranks = ranksOf(cell.entries);
        setText(this.note, `Arrows compare with the period before: ${periodName(earlier)}.`);
        if (this.shown) this.draw(this.shown);
      },
      () => {},
    );
  }
}

const zoneText = ({ zone }) => (zone ? `days of ${zone.split('/').at(-1).replaceAll('_', ' ')}` : '');
