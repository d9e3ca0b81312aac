// The strip at the foot of the page: how the server is doing, once a second.
//
// Where a player would show the song, this shows the pulse: plays a second as a waveform of the last minute.

import { el, setText, svg } from './dom.js';
import { hear } from './live.js';
import { compact, count, duration } from './words.js';

const SAMPLES = 60;
const BAR = 4;
const HEIGHT = 28;

const STATES = {
  connecting: { text: 'Connecting', spoken: 'Connecting to the server' },
  lost: { text: 'Reconnecting', spoken: 'The connection is lost; trying again' },
  live: { text: 'Live', spoken: 'Live' },
  catching: { text: 'Catching up', spoken: 'The server is catching up' },
  paused: { text: 'Paused', spoken: 'The server cannot commit for the moment' },
  silent: { text: 'No Kafka', spoken: 'Kafka does not answer the server; nothing new comes' },
};

export function showStatus(strip, announce) {
  const parts = build(strip);
  const samples = [];
  let connection = 'connecting';
  let status = null;
  let told = '';

  const show = () => {
    const name = connection === 'live' ? running(status) : connection;
    const { text, spoken } = STATES[name];
    strip.dataset.state = document.documentElement.dataset.live = name;
    setText(parts.state, text);
    // Everybody expects a page to be live, so that is news only after something else.
    if (name !== told && !(name === 'live' && told in { '': 1, connecting: 1 }) && name !== 'connecting')
      announce(spoken);
    told = name;
  };

  hear('state', (next) => {
    connection = next;
    show();
  });
  hear('status', (next) => {
    status = next;
    samples.push(next.plays_per_second);
    if (samples.length > SAMPLES) samples.shift();
    read(parts, next, samples);
    show();
  });
}

function running(status) {
  if (status?.paused) return 'paused';
  if (status?.kafka_silent) return 'silent';
  return status && !(status.caught_up && status.ready !== false) ? 'catching' : 'live';
}

function read(parts, status, samples) {
  const rejected = Object.values(status.dead_letters).reduce((sum, number) => sum + number, 0);
  setText(parts.rate, compact(Math.round(status.plays_per_second)));
  setText(
    parts.freshness,
    status.freshness_ms === null || status.freshness_ms === undefined ? '–' : duration(status.freshness_ms),
  );
  setText(parts.lag, status.lag === null ? '–' : compact(status.lag));
  setText(parts.rejected, compact(rejected));
  parts.rejected.parentElement.classList.toggle('warn', rejected > 0);
  parts.rejected.parentElement.title = reasons(status.dead_letters);
  setText(parts.lake, status.lake_version === null ? '–' : `v${count(status.lake_version)}`);
  parts.lag.parentElement.title = status.kafka_silent ?? '';
  parts.lake.parentElement.title = status.paused ?? `${count(status.lake_plays)} plays in ${status.lake}`;
  wave(parts.bars, samples);
}

const reasons = (letters) =>
  Object.entries(letters)
    .map(([reason, number]) => `${count(number)} × ${reason}`)
    .join('\n') || 'Every record was a play';

function wave(bars, samples) {
  const most = Math.max(1, ...samples);
  const offset = SAMPLES - samples.length;
  bars.forEach((bar, index) => {
    const sample = samples[index - offset] ?? 0;
    bar.style.transform = `scaleY(${Math.max(0.06, sample / most)})`;
  });
}

function build(strip) {
  const state = el('span', { class: 'state-text' }, STATES.connecting.text);
  const bars = Array.from({ length: SAMPLES }, (_, index) =>
    svg('rect', { x: index * BAR, y: 0, width: BAR - 1.5, height: HEIGHT, rx: 1 }),
  );
  const picture = svg(
    'svg',
    { class: 'wave', viewBox: `0 0 ${SAMPLES * BAR} ${HEIGHT}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    ...bars,
  );
  const gauge = (label, name) => {
    const value = el('dd', {}, '–');
    return [value, el('div', { class: `gauge ${name}` }, el('dt', {}, label), value)];
  };
  const [rate, rateGauge] = gauge('Plays/s', 'rate');
  const [freshness, freshnessGauge] = gauge('Freshness', 'freshness');
  const [lag, lagGauge] = gauge('Lag', 'lag');
  const [rejected, rejectedGauge] = gauge('Dead letters', 'rejected');
  const [lake, lakeGauge] = gauge('Lake', 'lake');
  strip.replaceChildren(
    el('p', { class: 'state' }, el('span', { class: 'dot', 'aria-hidden': 'true' }), state),
    picture,
    el('dl', { class: 'gauges' }, rateGauge, freshnessGauge, lagGauge, rejectedGauge, lakeGauge),
  );
  return { state, bars, rate, freshness, lag, rejected, lake };
}
