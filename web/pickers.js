// What a reader can choose: a place, a chart and a period, of those that the server says there are.

import { el, picker } from './dom.js';
import { GLOBAL, device, isCountry, isDevice, period as periodName, scope as scopeName, scopeKind, sentence } from './words.js';

export function scopeGroups(scopes, chosen) {
  // What the address asks for can be chosen even if it has no plays yet.
  const all = [...new Set([...scopes, chosen])];
  const byName = (one, other) => scopeName(one).localeCompare(scopeName(other));
  const pick = (test, name) =>
    all
      .filter(test)
      .sort(byName)
      .map((scope) => [scope, name(scope)]);
  return [
    ['', pick((scope) => scope === GLOBAL, scopeName)],
    ['Countries', pick(isCountry, scopeName)],
    ['Devices', pick(isDevice, device)],
    ...otherKinds(all).map((kind) => [sentence(kind), pick((scope) => scopeKind(scope) === kind, scopeName)]),
  ].filter(([, choices]) => choices.length);
}

// The dimensions that have no words of their own here.
function otherKinds(scopes) {
  const kinds = new Set(scopes.map(scopeKind));
  return [...kinds].filter((kind) => ![GLOBAL, 'country', 'device'].includes(kind)).sort();
}

export function scopePicker(onPick) {
  const { element, show } = picker('Where', onPick);
  return { element, show: (scopes, chosen) => show(scopeGroups(scopes, chosen), chosen) };
}

export function chartPicker(onPick) {
  const { element, show } = picker('Chart', onPick);
  const named = (charts) => charts.map((chart) => [chart.name, sentence(chart.name)]);
  return { element, show: (charts, chosen) => show([['', named(charts)]], chosen) };
}

// The newest first, since that is what most want.
export function periodPicker(onPick) {
  const { element, show } = picker('When', onPick);
  const named = (periods) => [...periods].reverse().map((period) => [period, periodName(period)]);
  return { element, show: (periods, chosen) => show([['', named(periods)]], chosen) };
}

// A period with the one before it and the one after it.
export function periodStepper(onPick) {
  const select = periodPicker(onPick);
  const step = (label, sign) => el('button', { class: 'step', type: 'button', 'aria-label': label }, sign);
  const [earlier, later] = [step('Earlier', '‹'), step('Later', '›')];
  let [before, after] = [];
  earlier.addEventListener('click', () => onPick(before));
  later.addEventListener('click', () => onPick(after));
  const element = el('div', { class: 'stepper', hidden: true }, earlier, select.element, later);
  const show = (periods, chosen) => {
    [before, after] = around(periods, chosen);
    [earlier.disabled, later.disabled] = [!before, !after];
    element.hidden = periods.length < 2 && periods.includes(chosen);
    select.show(periods.includes(chosen) ? periods : [...periods, chosen].sort(), chosen);
  };
  return { element, show };
}

// The periods next to one that may itself have no plays.
export function around(periods, chosen) {
  const before = periods.filter((period) => period < chosen).at(-1);
  return [before, periods.find((period) => period > chosen)];
}

export const isTrending = (chart) => chart.window_ms !== undefined;
export const hasCountries = (chart) => chart.scopes.includes('country');
export const isGlobal = (chart) => chart.scopes.includes('global');

// The one that counts for the longest time, which says most about where something is played.
export function longest(charts) {
  const length = (chart) => ['day', 'week', 'month', 'year', 'all'].indexOf(chart.period);
  return [...charts].sort((one, other) => length(other) - length(one))[0];
}

// `wanted` if the chart has lists for such a place, or else the widest that it has.
export function scopeFor(chart, wanted) {
  if (chart.scopes.includes(scopeKind(wanted))) return wanted;
  return isGlobal(chart) ? GLOBAL : (chart.with_entries.scopes[0] ?? wanted);
}
