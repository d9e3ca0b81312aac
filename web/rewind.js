// A slider that goes back in time, to past windows of what is trending, as far as the server knows them.

import { find, repeat, url } from './api.js';
import { el, setText } from './dom.js';

const MINUTE_MS = 60_000;
// While a finger is still moving there is no need to ask.
const PAUSE_MS = 120;
// What is known begins later as it is forgotten.
const ASK_EARLIEST_MS = 60_000;

// `now()` is the clock of the charts, and `slideMs` how far one window is from the next. `onPast` gets the cell of a past
// window, null if it is forgotten, and `onLive` says that the present is wanted again.
export function rewinder({ parameters, now, slideMs, onPast, onLive, signal }) {
  const says = el('span', { 'aria-hidden': 'true' }, 'Rewind');
  const slider = el('input', {
    id: 'rewind',
    type: 'range',
    min: 0,
    max: 0,
    value: 0,
    disabled: true,
    'aria-label': 'Go back in time, in minutes',
    'aria-valuetext': 'Now',
  });
  const live = el('button', { type: 'button', class: 'to-live', disabled: true }, 'Now');
  let earliestMs = null;
  let timer;
  const ask = async (minutes) => {
    const at = new Date(now() - minutes * MINUTE_MS).toISOString();
    const cell = await find(url('/v1/trending', { ...parameters(), at }), signal).catch(() => undefined);
    // Meanwhile the slider may have gone elsewhere; and of a lost connection nothing can be said.
    if (cell === undefined || minutes !== -slider.value) return;
    onPast(cell, minutes);
    if (!cell) askEarliest();
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
  // Only what is known is offered: nothing right after a start, and later as much as the server keeps.
  const offer = () => {
    const known = earliestMs === null ? 0 : Math.max(0, Math.floor((now() - earliestMs) / MINUTE_MS));
    if (Number(slider.min) !== -known && -slider.value <= known) slider.min = -known;
    slider.disabled = slider.min === '0';
    slider.title = slider.disabled ? 'No earlier window is known yet' : `${-slider.min} minutes are known`;
  };
  const askEarliest = async () => {
    const cell = await find(url('/v1/trending', { scope: parameters().scope, at: 'earliest', limit: 1 }), signal);
    if (cell?.end) earliestMs = Date.parse(cell.end) - slideMs();
    offer();
  };
  repeat(ASK_EARLIEST_MS, signal, askEarliest);
  signal.addEventListener('abort', () => clearTimeout(timer));
  slider.addEventListener('input', move);
  live.addEventListener('click', () => {
    slider.value = 0;
    move();
    slider.focus();
  });
  const element = el('div', { class: 'rewind' }, says, slider, live);
  return { element, isBack: () => slider.value < 0, offer, askEarliest: () => askEarliest().catch(() => {}) };
}
