// Dead letters (records that are no valid plays): their number by reason, and the newest ones.

import { get, repeat, url } from './api.js';
import { el, setText } from './dom.js';
import { notice } from './list.js';
import { follow } from './live.js';
import { count, moment, several } from './words.js';

const AGAIN_MS = 3000;

const REASONS = {
  empty: 'No value at all',
  too_large: 'Larger than a play can be',
  not_utf8: 'Not UTF-8',
  too_deep: 'Nested too deep',
  not_json: 'Not a JSON object',
  missing_field: 'A field is missing',
  wrong_type: 'A field of another type',
  text_too_long: 'A text that is too long',
  bad_timestamp: 'A timestamp that cannot be read',
  too_old: 'Older than plays can be',
  too_far_ahead: 'Too far ahead of its time',
  bad_duration: 'A duration that cannot be',
};
const named = (reason) => REASONS[reason] ?? reason;

export async function show(main, { query, signal }) {
  const chosen = query.get('reason');
  const sub = el('p', { class: 'sub' }, 'Records that are no plays');
  const reasons = el('ul', { class: 'chips', 'aria-label': 'Reasons' });
  const list = el('ol', { class: 'letters', 'aria-label': 'The newest' });
  const place = el('div', { class: 'results' }, list);
  const head = el('div', {}, el('h1', { id: 'heading', tabindex: '-1' }, 'Dead letters'), sub);
  main.replaceChildren(
    el('section', { class: 'narrow', 'aria-labelledby': 'heading' }, el('header', { class: 'head' }, head), reasons, place),
  );
  follow();
  const read = () => get(url('/v1/dead-letters'), signal);
  const draw = ({ dead_letters: letters, counts }) => {
    const all = Object.values(counts).reduce((sum, number) => sum + number, 0);
    setText(sub, `${several(all, 'record')} since the start of the server ${all === 1 ? 'is no play' : 'are no plays'}`);
    showReasons(reasons, counts, chosen);
    const wanted = letters.filter(({ reason }) => !chosen || reason === chosen);
    if (!wanted.length) place.replaceChildren(none(all));
    else if (!list.isConnected) place.replaceChildren(list);
    showLetters(list, wanted);
  };
  draw(await read());
  repeat(AGAIN_MS, signal, read, draw);
  return 'Dead letters';
}

const none = (all) =>
  all
    ? notice('None of the newest', 'The lake has the older ones, in its table dead_letters.')
    : notice('Every record was a play', 'Since the start of the server. The lake may have older dead letters.');

function showReasons(place, counts, chosen) {
  const links = Object.entries(counts)
    .sort(([, one], [, other]) => other - one)
    .map(([reason, number]) => {
      const isChosen = reason === chosen;
      const href = isChosen ? '#/dead-letters' : url('#/dead-letters', { reason });
      return el('li', {}, el('a', { href, 'aria-current': isChosen ? 'true' : null }, `${named(reason)}: ${count(number)}`));
    });
  place.replaceChildren(...links);
}

function showLetters(list, letters) {
  const key = (one) => `${one.partition}/${one.offset}`;
  const known = new Map([...list.children].map((item) => [item.dataset.key, item]));
  list.replaceChildren(...letters.map((one) => known.get(key(one)) ?? letter(one, key(one))));
}

const letter = ({ topic, partition, offset, time, reason, detail, value }, key) =>
  el(
    'li',
    { 'data-key': key },
    el('h2', {}, named(reason)),
    el('p', { class: 'where' }, `${topic}/${partition} at ${count(offset)}${time ? `, ${moment(time)}` : ''}`),
    el('p', {}, detail),
    value === null || value === '' ? null : el('pre', { tabindex: '0', 'aria-label': 'How the record begins', dir: 'auto' }, value),
  );
