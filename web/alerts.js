// Warnings on every page: a wrong clock, records that wait, plays that arrive too late.

import { el } from './dom.js';
import { listen } from './live.js';
import { count, duration, moment, several, share } from './words.js';

// The warnings that apply to `status`. Fields that an older server does not send give none.
export function warnings(status) {
  const { clock_ahead_ms: ahead, open_transaction: open, window_misses: misses } = status;
  return [
    status.paused && `Nothing can be committed: ${status.paused}`,
    status.kafka_silent && `Kafka does not answer: ${status.kafka_silent}`,
    ahead && `The charts’ clock is ${duration(ahead)} ahead of the wall clock, so new plays may be too old for the trending window.`,
    open &&
      `${several(open.records, 'record waits', 'records wait')} behind a transaction that has not ended${open.since ? `, since ${moment(open.since)}` : ''}.`,
    misses?.plays > 0 &&
      misses.missed * 2 > misses.plays &&
      `${share(misses.missed / misses.plays)} of the plays of the last five minutes arrived too late for the trending window (${count(misses.missed)} of ${count(misses.plays)}).`,
    status.no_plays,
  ].filter(Boolean);
}

// Shows them in `place`, on every page.
export function showAlerts(place) {
  let shown = '';
  listen('status', (status) => {
    const sentences = warnings(status);
    const text = sentences.join('\n');
    place.hidden = !text;
    if (text === shown) return;
    shown = text;
    place.replaceChildren(...sentences.map((sentence) => el('p', {}, sentence)));
  });
}
