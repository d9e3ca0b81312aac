// The charts by calendar: one list of a chart, for a place and a period.
//
// The newest period is followed live. An older one can still change, since late plays count where they belong, so it is
// asked for again now and then.

import { chartUrl, find, get } from './api.js';
import { el, setText } from './dom.js';
import { RankedList, notice, placeFor, ranksOf } from './list.js';
import { follow } from './live.js';
import { chartList, isTrending, periodPicker, scopeFor, scopePicker } from './pickers.js';
import { GLOBAL, days, period as periodName, scope as scopeName, sentence } from './words.js';

const ASK_AGAIN_MS = 15_000;
const ROWS = 20;

export function address(name, { scope = GLOBAL, period } = {}) {
  const query = new URLSearchParams();
  if (scope !== GLOBAL) query.set('scope', scope);
  if (period) query.set('period', period);
  return `#/charts/${encodeURIComponent(name)}${query.size ? `?${query}` : ''}`;
}

export async function show(main, { path, query, signal, again }) {
  const heading = el('h1', { id: 'heading', tabindex: '-1' }, 'Charts');
  const sub = el('p', { class: 'sub' }, 'Weekly and longer');
  const pickers = el('div', { class: 'pickers tall wide' });
  const tabs = el('nav', { class: 'tabs', 'aria-label': 'Charts' });
  const place = placeFor(main, again, ROWS);
  const note = el('p', { class: 'note' });
  main.replaceChildren(
    el(
      'section',
      { class: 'narrow', 'aria-labelledby': 'heading' },
      el('header', { class: 'head' }, el('div', {}, heading, sub), pickers),
      tabs,
      place,
      note,
    ),
  );
  const charts = (await chartList()).filter((chart) => !isTrending(chart));
  if (signal.aborted) return '';
  const chart = charts.find(({ name }) => name === path[1]) ?? charts[0];
  if (!chart || (path[1] && chart.name !== path[1])) {
    place.replaceChildren(notice('There is no such chart', 'The charts file of the server decides which there are.'));
    return 'Charts';
  }
  const wanted = query.get('scope') || GLOBAL;
  const scope = scopeFor(chart, wanted);
  const { periods, newest, scopes } = chart.with_entries;
  const chosen = query.get('period') || newest;
  const go = (change) => (location.hash = address(chart.name, { scope, period: query.get('period'), ...change }));
  setText(heading, sentence(chart.name));
  tabs.replaceChildren(...charts.map((one) => tab(one, one === chart, wanted)));
  pickers.replaceChildren(scopePicker(scopes, scope, (next) => go({ scope: next })));
  if (chosen) {
    const named = (period) => (period === newest ? undefined : period);
    if (periods.length > 1) pickers.append(steps(periods, chosen, (next) => go({ period: named(next) })));
  }
  const view = { chart, scope, chosen, sub, place, note, signal, isNewest: !chosen || chosen === newest };
  watch(view, periods);
  return `${sentence(chart.name)}, ${scopeName(scope)}`;
}

const tab = (chart, isCurrent, scope) =>
  el(
    'a',
    { href: address(chart.name, { scope: scopeFor(chart, scope) }), 'aria-current': isCurrent ? 'page' : null },
    sentence(chart.name),
  );

function steps(periods, chosen, go) {
  const at = periods.indexOf(chosen);
  const step = (label, sign, period) =>
    el(
      'button',
      { class: 'step', type: 'button', 'aria-label': label, disabled: !period, onclick: () => go(period) },
      sign,
    );
  return el(
    'div',
    { class: 'stepper' },
    step('Earlier', '‹', periods[at - 1]),
    periodPicker(periods, chosen, go),
    step('Later', '›', periods[at + 1]),
  );
}

async function watch(view, periods) {
  const { chart, scope, chosen, sub, place, note, signal } = view;
  const list = new RankedList(`${sentence(chart.name)}, ${scopeName(scope)}`);
  let before = null;
  const draw = (cell) => {
    if (cell.chart !== chart.name || cell.scope !== scope) return;
    setText(sub, [scopeName(scope), periodName(cell.period), days(cell.start, cell.end)].filter(Boolean).join(' · '));
    if (!cell.entries.length)
      return refuse('Nothing here yet', 'When somebody plays something, it will be here by itself.');
    if (!list.element.isConnected) place.replaceChildren(list.element);
    list.show(cell.entries, before);
  };
  const refuse = (title, text) => place.replaceChildren(notice(title, text));
  const refused = (problem) => refuse('No chart for this place and time', problem.message);

  const earlier = periods[periods.indexOf(chosen) - 1];
  if (earlier) {
    find(chartUrl(chart.name, { scope, period: earlier }), signal).then(
      (cell) => {
        if (!cell) return;
        before = ranksOf(cell.entries);
        setText(note, `Arrows compare with the period before: ${periodName(earlier)}.`);
      },
      () => {},
    );
  }
  if (view.isNewest) {
    const end = follow({ chart: chart.name, scope, limit: chart.top }, draw, refused);
    signal.addEventListener('abort', end);
    return;
  }
  follow();
  while (!signal.aborted) {
    try {
      draw(await get(chartUrl(chart.name, { scope, period: chosen }), signal));
    } catch (problem) {
      if (problem.status) refused(problem);
    }
    await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
  }
}
