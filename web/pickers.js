// The pickers for scope, chart and period, with the values that the server lists.

import { el, picker } from './dom.js';
import { GLOBAL, device, isCountry, isDevice, period as periodName, scope as scopeName, scopeKind, sentence } from './words.js';

export function scopeGroups(scopes, chosen) {
  // The scope of the address is an option even if it has no plays yet.
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

// Dimensions without a translation here.
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

// Newest first.
export function periodPicker(onPick) {
  const { element, show } = picker('When', onPick);
  const named = (periods) => [...periods].reverse().map((period) => [period, periodName(period)]);
  return { element, show: (periods, chosen) => show([['', named(periods)]], chosen) };
}

// A picker of periods with buttons for the previous and the next one.
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

// The neighbours of a period, which may itself have no plays.
export function around(periods, chosen) {
  const before = periods.filter((period) => period < chosen).at(-1);
  return [before, periods.find((period) => period > chosen)];
}

export const isTrending = (chart) => chart.window_ms !== undefined;
export const hasCountries = (chart) => chart.scopes.includes('country');
export const isGlobal = (chart) => chart.scopes.includes('global');

// The chart with the longest period, which has the most plays by country.
export function longest(charts) {
  const length = (chart) => ['day', 'week', 'month', 'year', 'all'].indexOf(chart.period);
  return [...charts].sort((one, other) => length(other) - length(one))[0];
}

// `wanted` if the chart has lists for this kind of scope, otherwise its widest scope.
export function scopeFor(chart, wanted) {
  if (chart.scopes.includes(scopeKind(wanted))) return wanted;
  return isGlobal(chart) ? GLOBAL : (chart.with_entries.scopes[0] ?? wanted);
}
