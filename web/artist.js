// An artist: the plays over time, the tracks, and the countries.

import { artistApi, find, repeat, url } from './api.js';
import { chartList, onCharts } from './catalogue.js';
import { address } from './charts.js';
import { el, setText } from './dom.js';
import { hits, notice, put, trackUrl } from './list.js';
import { follow } from './live.js';
import { hasCountries, isTrending } from './pickers.js';
import { saves } from './saves.js';
import { standing, timeline } from './standing.js';
import { GLOBAL, chartName, countryOf, isCountry, period as periodName, plays, sentence, several } from './words.js';
import { World } from './world.js';

const AGAIN_MS = 10_000;
const TRACKS = 10;
const TRACKS_MAX = 200;

export async function show(main, { path, query, signal, announce }) {
  const name = path[1] ?? '';
  const showsAll = query.has('all');
  const heading = el('h1', { id: 'heading', tabindex: '-1', class: 'long', dir: 'auto' }, name);
  const sub = el('p', { class: 'sub' }, ' ');
  const body = el('div', { class: 'track' });
  const title = el('div', {}, el('p', { class: 'eyebrow' }, 'Artist'), heading, sub);
  main.replaceChildren(
    el('section', { 'aria-labelledby': 'heading' }, el('header', { class: 'head' }, title), body),
  );
  follow();
  const read = () => find(artistApi(name, showsAll ? TRACKS_MAX : TRACKS), signal);
  let [charts, drawn, parts] = [null, null, null];
  const draw = (artist) => {
    drawn = artist;
    parts ??= sections(body, { name, showsAll, announce, signal });
    setText(sub, several(artist.track_count, 'track'));
    parts.forEach((part) => part(artist, charts));
  };
  // The list of charts changes when a period ends; redraw the parts that depend on it.
  onCharts(signal, (changed) => {
    charts = changed;
    if (drawn) draw(drawn);
  });
  const [first] = await Promise.all([read(), chartList()]);
  if (signal.aborted) return '';
  charts ??= await chartList();
  if (first) draw(first);
  else put(body, notice('This artist has no plays', 'Or none of them counts for a chart.'));
  // The artist may be played later.
  repeat(AGAIN_MS, signal, read, draw);
  return name;
}

// Each part draws the artist with the current list of charts.
function sections(body, { name, showsAll, announce, signal }) {
  const tiles = el('ul', { class: 'tiles', 'aria-label': 'Where the artist stands, worldwide' });
  const time = el('section', { class: 'card', 'aria-labelledby': 'time' });
  const tracks = el('section', { class: 'card', 'aria-labelledby': 'tracks' });
  const where = el('section', { class: 'card', 'aria-labelledby': 'where' });
  const left = el('div', { class: 'stack' }, time, tracks);
  body.replaceChildren(tiles, el('div', { class: 'halves' }, left, where));
  const ofArtists = (chart) => chart.item === 'artist';
  const stands = standing(tiles, signal, (chart) => (ofArtists(chart) ? (entry) => entry.artist === name : null));
  const over = timeline(time);
  const byTrack = theirTracks(tracks, { name, showsAll, announce });
  const byCountry = whereItPlays(where, name);
  return [({ plays: cells }, charts) => stands(cells, charts), ({ plays: cells }, charts) => over(cells, charts), byTrack, byCountry];
}

function theirTracks(card, { name, showsAll, announce }) {
  let newest = null;
  const list = el('ul', { class: 'hits', 'aria-label': 'Tracks' });
  const note = el('p', { class: 'note' });
  const more = el('p', { class: 'more' });
  const rows = () => [
    ['track_id', 'title', 'artist', 'plays'],
    ...newest.tracks.map((track) => [track.track_id, track.title, track.artist, track.plays]),
  ];
  const shown = () => ({ link: location.href, name: `artist-${name}`, rows: rows() });
  card.append(el('h2', { id: 'tracks' }, 'Tracks'), list, more, note, saves(shown, announce));
  return (artist) => {
    newest = artist;
    list.replaceChildren(
      ...hits(artist.tracks.map((track) => ({ href: trackUrl(track.track_id), name: track.title || track.track_id, number: plays(track.plays) }))),
    );
    const over = artist.chart === 'trending' || artist.period === 'all' ? '' : `, ${periodName(artist.period)}`;
    setText(note, `Plays of ${chartName(artist.chart)}${over}.`);
    const hasMore = artist.track_count > artist.tracks.length && !showsAll;
    const href = url(`#/artists/${encodeURIComponent(name)}`, { all: 1 });
    const text = `Show ${artist.track_count > TRACKS_MAX ? `the first ${TRACKS_MAX}` : `all ${artist.track_count}`}`;
    if (hasMore && !more.firstChild) more.append(el('a', { class: 'button', href }, text));
  };
}

function whereItPlays(card, name) {
  const head = el('h2', { id: 'where' }, 'By country');
  card.append(head);
  let chart = null;
  const linkTo = (scope) => (chart && !isTrending(chart) ? address(chart.name, { scope }) : url('#/', { scope }));
  const world = new World({ label: `Plays of ${name} by country`, linkTo, rows: 12 });
  const note = el('p', { class: 'note' });
  card.append(world.picture, world.legend, world.list, note);
  return (artist, charts) => {
    const cells = artist.plays.filter((cell) => cell.scope !== GLOBAL && isCountry(cell.scope));
    chart = charts.find((one) => one.name === cells[0]?.chart) ?? null;
    world.show(cells.map((cell) => ({ country: countryOf(cell.scope), plays: cell.plays })));
    if (chart) setText(note, `${sentence(chart.name)}${cells[0].period === 'all' ? '' : `, ${periodName(cells[0].period)}`}`);
    else setText(note, charts.some(hasCountries) ? 'No plays from any country yet.' : 'No chart counts by country.');
  };
}
