// A slider for past trending windows, as far back as the server keeps them.

import { find, repeat, url } from './api.js';
import { el, setText } from './dom.js';

const MINUTE_MS = 60_000;
// The pause after the last movement before a request is sent.
const PAUSE_MS = 120;
// How often to ask for the earliest known window, which moves as older ones are forgotten.
const ASK_EARLIEST_MS = 60_000;

// `now()` is the clock of the charts, and `slideMs` how far one window is from the next. `onPast` gets the cell of a past
// window, or null if it is forgotten; `onLive` is called for the present.
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
    // Ignore the answer if the slider has moved since, or the connection was lost.
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
  // Offers the known windows only: none after a start, later as many as the server keeps.
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
