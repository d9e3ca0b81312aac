// The status strip at the foot of the page, updated once a second: the state of the server, and plays per second as a waveform of
// the last minute.

import { el, setText, svg } from './dom.js';
import { listen } from './live.js';
import { compact, count, duration, plays } from './words.js';

const SAMPLES = 60;
const BAR = 4;
const HEIGHT = 28;

const STATES = {
  connecting: { text: 'Connecting', spoken: 'Connecting to the server' },
  starting: { text: 'Starting', spoken: 'The server is starting' },
  lost: { text: 'Reconnecting', spoken: 'The connection is lost; trying again' },
  live: { text: 'Live', spoken: 'Live' },
  opening: { text: 'Opening', spoken: 'The server opens its lake' },
  rebuilding: { text: 'Reading lake', spoken: 'The server reads its lake' },
  catching: { text: 'Catching up', spoken: 'The server reads the history of its topic' },
  paused: { text: 'Paused', spoken: 'The server cannot commit now' },
  silent: { text: 'No Kafka', spoken: 'Kafka does not answer the server; no plays arrive' },
  waiting: { text: 'Held up', spoken: 'Records wait behind a transaction that has not ended' },
  wrong: { text: 'No plays', spoken: 'Records arrived, but none is a valid play' },
};

export function showStatus(strip, announce) {
  const parts = build(strip);
  const samples = [];
  let connection = 'connecting';
  let status = null;
  let announced = '';

  const show = () => {
    const name = connection === 'live' ? running(status) : connection;
    const { text, spoken } = STATES[name];
    strip.dataset.state = document.documentElement.dataset.live = name;
    setText(parts.state, text);
    // "Live" is announced only after another state.
    if (name !== announced && !(name === 'live' && ['', 'connecting'].includes(announced)) && name !== 'connecting')
      announce(spoken);
    announced = name;
  };

  listen('state', (next) => {
    connection = next;
    show();
  });
  listen('status', (next) => {
    status = next;
    samples.push(next.plays_per_second);
    if (samples.length > SAMPLES) samples.shift();
    read(parts, next, samples);
    show();
  });
}

// The name of the server's state. A phase other than `live` is shown, because the charts are those of the past then.
function running(status) {
  if (!status) return 'connecting';
  if (status.paused) return 'paused';
  if (status.kafka_silent) return 'silent';
  if (status.phase && status.phase !== 'live') return PHASES[status.phase] ?? 'catching';
  if (!status.caught_up || status.ready === false) return 'catching';
  if (status.open_transaction) return 'waiting';
  return status.no_plays ? 'wrong' : 'live';
}

const PHASES = { opening: 'opening', rebuilding: 'rebuilding', catching_up: 'catching' };

const isKnown = (number) => number !== null && number !== undefined;

function read(parts, status, samples) {
  const rejected = Object.values(status.dead_letters).reduce((sum, number) => sum + number, 0);
  setText(parts.rate, compact(Math.round(status.plays_per_second)));
  setText(parts.freshness, isKnown(status.freshness_ms) ? duration(status.freshness_ms) : '–');
  setText(parts.lag, isKnown(status.lag) ? compact(status.lag) : '–');
  setText(parts.rejected, compact(rejected));
  const titled = (part, title) => (part.closest('.gauge').title = title);
  parts.rejected.closest('.gauge').classList.toggle('warn', rejected > 0);
  titled(parts.rejected, `Since the start: ${reasons(status.dead_letters)}${inLake(status.lake_dead_letters)}`);
  setText(parts.lake, isKnown(status.lake_version) ? `v${count(status.lake_version)}` : '–');
  const lag = isKnown(status.lag) ? 'Records that wait to be read' : 'Unknown until Kafka returns the end of the topic';
  titled(parts.lag, status.kafka_silent ?? lag);
  titled(parts.rate, `${plays(status.accepted)} since the start${inLake(status.lake_plays)}`);
  titled(parts.lake, status.paused ?? `${plays(status.lake_plays)} in ${status.lake}`);
  wave(parts.bars, samples);
}

const inLake = (number) => (isKnown(number) ? `; ${count(number)} in the lake` : '');

const reasons = (letters) =>
  Object.entries(letters)
    .map(([reason, number]) => `${count(number)} × ${reason}`)
    .join(', ') || 'none';

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
  // A gauge with `href` is a link.
  const gauge = (label, name, href) => {
    const value = el('dd', {}, '–');
    const id = `gauge-${name}`;
    const holder = href ? el('a', { href, id: `${id}-now`, 'aria-labelledby': `${id} ${id}-now` }, '–') : null;
    if (holder) value.replaceChildren(holder);
    return [holder ?? value, el('div', { class: `gauge ${name}` }, el('dt', { id }, label), value)];
  };
  const [rate, rateGauge] = gauge('Plays/s', 'rate');
  const [freshness, freshnessGauge] = gauge('Freshness', 'freshness');
  const [lag, lagGauge] = gauge('Lag', 'lag');
  const [rejected, rejectedGauge] = gauge('Dead letters', 'rejected', '#/dead-letters');
  const [lake, lakeGauge] = gauge('Lake', 'lake', '#/server');
  strip.replaceChildren(
    el('a', { class: 'state', href: '#/server' }, el('span', { class: 'dot', 'aria-hidden': 'true' }), state),
    picture,
    el('dl', { class: 'gauges' }, rateGauge, freshnessGauge, lagGauge, rejectedGauge, lakeGauge),
  );
  return { state, bars, rate, freshness, lag, rejected, lake };
}
