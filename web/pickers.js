// What a reader can choose: a place, a chart and a period, of those that `/v1/charts` says there are; and for what is
// trending, a moment of the last hours.

import { find, get, url } from './api.js';
import { el, picker, setText } from './dom.js';
import { GLOBAL, device, isCountry, isDevice, period as periodName, scope as scopeName, sentence } from './words.js';

const MINUTE_MS = 60_000;
// What a server remembers unless it is told otherwise.
const BACK_MAX_MINUTES = 120;
// While a finger is still moving there is no need to ask.
const PAUSE_MS = 120;

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
  ].filter(([, choices]) => choices.length);
}

export const scopePicker = (scopes, chosen, onPick) => picker('Where', scopeGroups(scopes, chosen), chosen, onPick);

export function chartPicker(charts, chosen, onPick) {
  return picker('Chart', [['', charts.map((chart) => [chart.name, sentence(chart.name)])]], chosen, onPick);
}

// The newest first, since that is what most want.
export function periodPicker(periods, chosen, onPick) {
  const choices = [...periods].reverse().map((period) => [period, periodName(period)]);
  return picker('When', [['', choices]], chosen, onPick);
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
  const kind = isDevice(wanted) ? 'device' : wanted === GLOBAL ? 'global' : 'country';
  if (chart.scopes.includes(kind)) return wanted;
  return isGlobal(chart) ? GLOBAL : (chart.with_entries.scopes[0] ?? wanted);
}

// What charts there are changes by the day, and several views ask within a second.
const FRESH_MS = 5000;
let asked = null;

export function chartList() {
  const now = performance.now();
  if (!asked || now - asked.at > FRESH_MS) {
    const answer = get('/v1/charts').then(({ charts }) => charts);
    asked = { at: now, answer };
    answer.catch(() => (asked = null));
  }
  return asked.answer;
}

// A slider that goes back in time, to past windows of what is trending. `now()` is the clock of the charts. `onPast` gets the cell of a past window, null if it is forgotten, and `onLive` says
// that the present is wanted again.
export function rewinder({ parameters, now, onPast, onLive, signal }) {
  const says = el('span', { 'aria-hidden': 'true' }, 'Rewind');
  const slider = el('input', {
    id: 'rewind',
    type: 'range',
    min: -BACK_MAX_MINUTES,
    max: 0,
    value: 0,
    'aria-label': 'Go back in time, in minutes',
    'aria-valuetext': 'Now',
  });
  const live = el('button', { type: 'button', class: 'to-live', disabled: true }, 'Now');
  let timer;
  const ask = async (minutes) => {
    const at = new Date(now() - minutes * MINUTE_MS).toISOString();
    const cell = await find(url('/v1/trending', { ...parameters, at }), signal).catch(() => undefined);
    // Meanwhile the slider may have gone elsewhere; and of a lost connection nothing can be said.
    if (cell !== undefined && minutes === -slider.value) onPast(cell, minutes);
  };
  const move = () => {
    const minutes = -slider.value;
    const text = minutes ? `${minutes} min ago` : 'Now';
    setText(says, minutes ? text : 'Rewind');
    slider.setAttribute('aria-valuetext', text);
    live.disabled = !minutes;
    clearTimeout(timer);
    if (minutes) timer = setTimeout(() => ask(minutes), PAUSE_MS);
    else onLive();
  };
  slider.addEventListener('input', move);
  live.addEventListener('click', () => {
    slider.value = 0;
    move();
    slider.focus();
  });
  signal.addEventListener('abort', () => clearTimeout(timer));
  const element = el('div', { class: 'rewind' }, says, slider, live);
  return { element, isBack: () => slider.value < 0 };
}
