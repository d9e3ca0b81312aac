// What everybody who looks at the charts should know: a clock that is wrong, records that wait, plays that come too late.

import { el } from './dom.js';
import { hear } from './live.js';
import { count, duration, moment, several, share } from './words.js';

// The sentences that a status gives cause for. Fields that an older server does not have say nothing.
export function told(status) {
  const { clock_ahead_ms: ahead, open_transaction: open, window_misses: misses } = status;
  return [
    status.paused && `Nothing can be committed: ${status.paused}`,
    status.kafka_silent && `Kafka does not answer: ${status.kafka_silent}`,
    ahead && `The charts’ clock is ${duration(ahead)} ahead of the wall clock, so new plays may be too old for the trending window.`,
    open &&
      `${several(open.records, 'record waits', 'records wait')} behind a transaction that nobody has ended${open.since ? `, since ${moment(open.since)}` : ''}.`,
    misses?.plays > 0 &&
      misses.missed * 2 > misses.plays &&
      `${share(misses.missed / misses.plays)} of the plays of the last five minutes came too late for the trending window (${count(misses.missed)} of ${count(misses.plays)}).`,
    status.no_plays,
  ].filter(Boolean);
}

// Shows them in `place`, on every page.
export function showAlerts(place) {
  let shown = '';
  hear('status', (status) => {
    const sentences = told(status);
    const text = sentences.join('\n');
    place.hidden = !text;
    if (text === shown) return;
    shown = text;
    place.replaceChildren(...sentences.map((sentence) => el('p', {}, sentence)));
  });
}
