// The page as users see it: in a real browser, served by the real program, over a real Kafka.

import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import { test } from 'node:test';

import { asRows, rows } from './browser.mjs';
import { GIVEN, eventually } from './server.mjs';
import { server, shows, useServer } from './setup.mjs';

useServer();

const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);
const state = (page) => page.textContent('#strip .state-text');
const listIs = (page, path) =>
  eventually(
    `the list of ${path}`,
    async () => {
      const [seen, expected] = [await rows(page), asRows(await server.get(path))];
      if (!expected.length || !same(seen, expected))
        throw new Error(`${JSON.stringify(seen.slice(0, 3))} is not ${JSON.stringify(expected.slice(0, 3))}`);
      return true;
    },
    10_000,
  );

// Otherwise all other tests would be about another page.
test('the program serves the page of this checkout, with a strict content security policy', async () => {
  const folder = new URL('../../web/', import.meta.url);
  for (const name of await readdir(folder)) {
    const response = await fetch(`${server.url}/web/${name}`);
    assert.equal(response.status, 200, name);
    const isSame = Buffer.from(await response.arrayBuffer()).equals(await readFile(new URL(name, folder)));
    assert.ok(isSame, `${name} differs from the file in web/: build the program again`);
  }
  const { headers } = await fetch(server.url);
  assert.match(headers.get('content-type'), /^text\/html/);
  assert.match(headers.get('content-security-policy'), /default-src 'none'; script-src 'self'/);
});

shows('the trending list equals the answer of the API', '', async (page) => {
  await listIs(page, '/v1/trending?limit=20');
  await eventually('a live page', async () => (await state(page)) === 'Live', 5000);
  // It says "so far" while the server still catches up.
  await eventually('the heading', async () => (await page.textContent('h1')) === 'Trending now', 5000);
});

shows(
  'new plays are shown within a second, and a row keeps its element when its rank changes',
  '',
  async (page) => {
    await listIs(page, '/v1/trending?limit=20');
    const leader = await page.$eval('.row[data-key]', (row) => row.dataset.key);
    await page.evaluate(() => {
      window.rowsBefore = new Map([...document.querySelectorAll('.row')].map((row) => [row.dataset.key, row]));
    });
    await server.play({ count: 2000, songs: 1, seed: 9 });
    const began = Date.now();
    await page.waitForFunction(
      () => document.querySelector('.row .title')?.getAttribute('href') === '#/tracks/S000001',
      null,
      { polling: 20 },
    );
    const tookMs = Date.now() - began;
    assert.ok(tookMs < 1000, `${tookMs} ms`);
    const second = await page.$$eval('.row', (all) => ({
      key: all[1].dataset.key,
      isSame: window.rowsBefore.get(all[1].dataset.key) === all[1],
    }));
    assert.deepEqual(second, { key: leader, isSame: true });
    await eventually('a mark for the new entry', async () => (await page.textContent('.row .move')).includes('new'), 2000);
  },
  { skip: GIVEN },
);

shows('a list for a country', '', async (page) => {
  await page.focus('select[aria-label="Where"]');
  await page.selectOption('select[aria-label="Where"]', 'JP');
  await page.waitForURL(/scope=JP/);
  await listIs(page, '/v1/trending?limit=20&scope=JP');
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute('aria-label')), 'Where');
});

shows('the slider leads to a past window and back to the present', '', async (page) => {
  await listIs(page, '/v1/trending?limit=20');
  const requested = page.waitForRequest(/[?&]at=/);
  await page.fill('#rewind', '-40');
  const { pathname, search } = new URL((await requested).url());
  await listIs(page, pathname + search);
  assert.equal(await page.textContent('h1'), 'Trending then');
  await page.click('.to-live');
  await listIs(page, '/v1/trending?limit=20');
  assert.equal(await page.textContent('h1'), 'Trending now');
});

shows('calendar charts can be shown for a place and a period', '#/charts', async (page) => {
  const { charts } = await server.get('/v1/charts');
  const names = charts.filter((chart) => chart.period).map((chart) => chart.name);
  await page.waitForSelector('.tabs a');
  assert.equal(await page.locator('.tabs a').count(), names.length);
  await listIs(page, '/v1/charts/weekly');
  await page.selectOption('select[aria-label="Where"]', 'BR');
  await listIs(page, '/v1/charts/weekly?scope=BR');
  const { periods } = charts.find((chart) => chart.name === 'weekly').with_entries;
  assert.ok(periods.length > 1);
  await page.click('button[aria-label="Earlier"]');
  await listIs(page, `/v1/charts/weekly?scope=BR&period=${periods.at(-2)}`);
  await page.click('.tabs a:has-text("Artists monthly")');
  await page.waitForURL(/artists-monthly/);
  await page.goto(`${server.url}/#/charts/artists-monthly`);
  await listIs(page, '/v1/charts/artists-monthly');
});

shows('the map is coloured by country, and a click leads to its chart', '#/map?chart=weekly', async (page) => {
  const { countries } = await server.get('/v1/geo?chart=weekly');
  await page.waitForSelector('path.played');
  const coloured = await page.$$eval('.played', (shapes) => shapes.map((shape) => shape.dataset.country).sort());
  assert.deepEqual(
    coloured,
    countries
      .filter((one) => one.plays > 0)
      .map((one) => one.country)
      .sort(),
  );
  const listed = await page.$$eval('.countries a', (links) => links.map((link) => link.dataset.country));
  assert.equal(listed.length, coloured.length);
  await page.click('path[data-country="BR"]');
  await page.waitForURL(/charts\/weekly\?scope=BR/);
  await listIs(page, '/v1/charts/weekly?scope=BR');
});

shows('the map of a track shows its share by country', '#/map?chart=all-time&track=TRACK', async (page) => {
  const { countries } = await server.get(`/v1/geo?chart=all-time&track=${server.track}`);
  await page.waitForSelector('path.played');
  const best = countries.map((one) => one.track_plays / one.plays).sort((a, b) => b - a)[0];
  const shown = await page.textContent('.countries .plays');
  assert.ok(Math.abs(Number(shown.replace('%', '')) / 100 - best) < 0.006, `${shown} is not ${best}`);
  assert.match(await page.textContent('.sub'), /Share/);
});

shows('search results equal those of the API, and lead to the track', '', async (page) => {
  await listIs(page, '/v1/trending?limit=20');
  const { title } = (await server.get('/v1/trending')).entries[2];
  await page.keyboard.press('/');
  await page.keyboard.type(title.slice(0, 5), { delay: 30 });
  await page.waitForURL(/#\/search/);
  const found = async () =>
    (await server.get(`/v1/search?limit=30&q=${encodeURIComponent(title.slice(0, 5))}`)).tracks.map(
      (track) => track.title ?? track.track_id,
    );
  await eventually(
    'the results',
    async () =>
      same(
        await page.$$eval('[aria-label="Tracks"] .title', (links) => links.map((link) => link.textContent)),
        await found(),
      ),
    5000,
  );
  assert.equal(await page.evaluate(() => document.activeElement.id), 'search');
  await page.getByRole('list', { name: 'Tracks' }).getByRole('link', { name: title, exact: true }).first().click();
  await page.waitForURL(/#\/tracks\//);
  await eventually('its page', async () => (await page.textContent('h1')) === title, 5000);
});

shows('the page of a track shows its plays over time, by country and by device', '#/tracks/TRACK', async (page) => {
  const track = await server.get(`/v1/tracks/${server.track}`);
  await eventually('its title', async () => (await page.textContent('h1')) === track.title, 5000);
  const weeks = track.plays.filter((cell) => cell.chart === 'weekly' && cell.scope === 'global');
  await eventually('its weeks', async () => (await page.locator('.over-time li').count()) >= weeks.length, 5000);
  const text = await page.textContent('.over-time li:last-child .spoken');
  assert.ok(text.endsWith(`: ${weeks.at(-1).plays.toLocaleString('en-GB')} plays`), text);
  const devices = track.plays.filter((cell) => cell.chart === 'all-time' && cell.scope.startsWith('device:'));
  assert.equal(await page.locator('[aria-labelledby="devices"] li').count(), devices.length);
  await page.waitForSelector('.track path.played');
});

shows('a link to a chart that does not exist says so', '#/charts/none', async (page) => {
  await page.waitForSelector('.notice');
  assert.match(await page.textContent('.notice'), /no such chart/);
});

shows('the status equals the answer of the API', '', async (page) => {
  await eventually(
    'dead letters and lake',
    async () => {
      const status = await server.get('/v1/status');
      const seen = await page.$$eval('.gauge', (gauges) =>
        Object.fromEntries(gauges.map((gauge) => [gauge.firstChild.textContent, gauge.lastChild.textContent])),
      );
      return (
        seen.Lake === `v${status.lake_version}` &&
        seen.Lag === String(status.lag) &&
        seen['Dead letters'] === '0' &&
        (seen.Freshness === '–') === (status.freshness_ms === null)
      );
    },
    10_000,
  );
});

shows(
  'the page survives a kill and a restart of the server',
  '',
  async (page) => {
    await listIs(page, '/v1/trending?limit=20');
    page.mayLose = true;
    const seen = await rows(page);
    await server.kill();
    await eventually('a page that has noticed', async () => (await state(page)) === 'Reconnecting', 5000);
    assert.deepEqual(await rows(page), seen);
    await server.run();
    await eventually('a live page', async () => (await state(page)) === 'Live', 10_000);
    await server.play({ count: 5000, songs: 2, seed: 10 });
    await eventually('new plays', async () => (await rows(page)).some((row) => row.key === 'S000002'), 5000);
    await listIs(page, '/v1/trending?limit=20');
  },
  { skip: GIVEN },
);

shows('nothing is animated if reduced motion is preferred', '', async (page) => {
  await listIs(page, '/v1/trending?limit=20');
  await page.evaluate(() => {
    window.animations = 0;
    const animate = Element.prototype.animate;
    Element.prototype.animate = function (...what) {
      window.animations++;
      return animate.apply(this, what);
    };
  });
  await server.play({ count: 9000, songs: 4, seed: 11 });
  await eventually('new plays', async () => (await rows(page)).some((row) => row.key === 'S000004'), 5000);
  assert.equal(await page.evaluate(() => window.animations), 0);
}, { context: { reducedMotion: 'reduce' }, skip: GIVEN });
