// What users do on the page: go back, look at an artist, open missing pages, save a list.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';

import { rows } from './browser.mjs';
import { play } from './produce.mjs';
import { GIVEN, Server, eventually } from './server.mjs';
import { opened, over, server, shows, useServer } from './setup.mjs';

useServer();

const heading = (page, text) => eventually(`the heading ${text}`, async () => (await page.textContent('h1')) === text);
const hasRows = (page, number) => eventually(`${number} rows`, async () => (await rows(page)).length === number);
const top = (page) => page.evaluate(() => scrollY);

shows('going back restores the scroll position', '#/charts/weekly', async (page) => {
  await hasRows(page, (await server.get('/v1/charts/weekly')).entries.length);
  const link = page.locator('.row .title').nth(18);
  await link.scrollIntoViewIfNeeded();
  await page.evaluate(() => scrollBy(0, 150));
  const was = await eventually('a place down the page', () => top(page));
  await link.click();
  await page.waitForURL(/#\/tracks\//);
  await eventually('the top of another page', async () => (await top(page)) === 0);
  await page.goBack();
  await eventually('the place where it was', async () => Math.abs((await top(page)) - was) <= 2);
  await page.goForward();
  await eventually('the top again', async () => (await top(page)) === 0);
  // The same after a reload in the middle of the history.
  await page.goBack();
  await eventually('the place once more', async () => Math.abs((await top(page)) - was) <= 2);
  await page.reload();
  await eventually('the place after a reload', async () => Math.abs((await top(page)) - was) <= 2);
});

const MINUTE_MS = 60_000;

// The test has its own server, whose windows begin ten minutes ago, so none expires during the
// test.
test('the slider offers exactly the windows that the server has', { skip: GIVEN }, async () => {
  await over(await Server.empty(), async (from) => {
    const minutes = Array.from({ length: 11 }, (_, index) => 10 - index);
    const timestamp = (ago) => new Date(Date.now() - ago * MINUTE_MS).toISOString();
    // One at a time, because plays that are read together move the window only once.
    for (const [index, ago] of minutes.entries()) {
      await from.produce([play({ song_id: `S${ago}`, timestamp: timestamp(ago) })]);
      await eventually('the play', async () => (await from.get('/v1/status')).accepted === index + 1);
    }
    await opened('', async (page) => {
      await page.waitForSelector('.row[data-key]');
      const { end } = await from.get('/v1/trending?at=earliest');
      const { as_of: asOf } = await from.get('/v1/trending');
      const knownMinutes = Math.floor((Date.parse(asOf.clock) - Date.parse(end)) / MINUTE_MS) + 1;
      assert.ok(knownMinutes >= 9, `${knownMinutes} minutes are known`);
      const far = async () => -(await page.getAttribute('#rewind', 'min'));
      const offered = await eventually('its far end', far);
      // A minute may begin between the two requests.
      assert.ok(Math.abs(offered - knownMinutes) <= 1, `${offered} minutes are offered, and ${knownMinutes} known`);
      const answered = page.waitForResponse(/[?&]at=\d/);
      await page.fill('#rewind', String(-offered));
      assert.equal((await answered).status(), 200);
      await heading(page, 'Trending then');
    }, { from });
  });
});

shows('a click on an artist leads to the plays over time, the tracks and the countries', '', async (page) => {
  await page.waitForSelector('.row[data-key]');
  const name = await page.textContent('.row a.artist');
  await page.click('.row a.artist');
  await page.waitForURL(/#\/artists\//);
  await heading(page, name);
  const artist = await server.get(`/v1/artists?name=${encodeURIComponent(name)}&limit=10`);
  await eventually('the tracks', async () => (await page.locator('[aria-labelledby="tracks"] .hits li').count()) === artist.tracks.length);
  const first = await page.textContent('.hits .title');
  assert.equal(first, artist.tracks[0].title);
  const weeks = artist.plays.filter((cell) => cell.chart === 'weekly' && cell.scope === 'global');
  const text = await page.textContent('.over-time li:last-child .spoken');
  assert.ok(text.endsWith(`: ${weeks.at(-1).plays.toLocaleString('en-GB')} plays`), text);
  const countries = artist.plays.filter((cell) => cell.scope !== 'global');
  assert.ok(countries.length > 0);
  assert.equal(await page.locator('path.played').count(), countries.length);
  await page.click('.hits .title');
  await heading(page, first);
  await page.click('.head a[href^="#/artists/"]');
  await heading(page, name);
});

shows('the map marks the country that is chosen, and it stays chosen on other pages', '#/?scope=JP', async (page) => {
  await page.waitForSelector('path.chosen[data-country="JP"]');
  assert.equal(await page.locator('.chosen').count(), 1);
  await eventually('the country in the list', async () => (await page.textContent('.countries [aria-current]')) === 'Japan');
  await page.click('.places a:has-text("Map")');
  await page.waitForURL(/#\/map\?scope=JP/);
  await page.waitForSelector('path.chosen[data-country="JP"]');
  await page.click('.places a:has-text("Charts")');
  await page.waitForURL(/#\/charts\?scope=JP/);
  await eventually('the list of the country', async () => (await page.textContent('.sub')).startsWith('Japan'));
});

shows('an id that looks like a folder is an id', '#/tracks/..', async (page) => {
  await server.produce([play({ song_id: '..', title: 'Up' }), play({ song_id: '.', title: 'Here' })]);
  await heading(page, 'Up');
  await page.goto(`${server.url}/#/tracks/.`);
  await heading(page, 'Here');
}, { refuses: true, skip: GIVEN });

shows('a page that does not exist says so', '#/nowhere/at-all', async (page) => {
  await heading(page, 'There is no such page');
  assert.match(await page.textContent('.notice'), /nowhere\/at-all/);
  await page.click('.notice a:has-text("Charts")');
  await page.waitForURL(/#\/charts$/);
});

shows('a period without plays links to periods that have some', '#/charts/weekly?period=2020-W03', async (page) => {
  await eventually('the notice', async () => (await page.textContent('.notice-title')) === 'No plays in Week 3, 2020');
  const { periods } = (await server.get('/v1/charts')).charts.find(({ name }) => name === 'weekly').with_entries;
  const links = await page.$$eval('.notice a', (all) => all.map((link) => link.getAttribute('href')));
  assert.ok(links.includes(`#/charts/weekly?period=${periods[0]}`), links.join());
  await page.click('.notice li:last-child a');
  await page.waitForSelector('.row[data-key]');
}, { refuses: true });

shows('an invalid place is reported with links to existing ones', '#/?scope=a:b', async (page) => {
  await eventually('the notice', async () => (await page.textContent('.notice-title')).includes('a:b'));
  await page.click('.notice a:has-text("Japan")');
  await page.waitForURL(/scope=JP/);
  await page.waitForSelector('.row[data-key]');
}, { refuses: true });

shows('a list can be shown completely', '', async (page) => {
  await hasRows(page, 20);
  const { entries } = await server.get('/v1/trending');
  assert.ok(entries.length > 20);
  await page.click(`text=Show all ${entries.length}`);
  await hasRows(page, entries.length);
  await page.goBack();
  await hasRows(page, 20);
});

shows('places, devices and charts have names', '#/charts/all-time', async (page) => {
  await page.waitForSelector('.row[data-key]');
  await eventually('the devices', async () => {
    const options = await page.$$eval('select[aria-label="Where"] option', (all) => all.map((one) => one.textContent));
    return options.includes('Smart speaker') && options.includes('Japan') && options.includes('Worldwide');
  });
  await page.selectOption('select[aria-label="Where"]', 'device:smart_speaker');
  await eventually('the device', async () => (await page.textContent('.sub')).startsWith('On smart speaker'));
});

shows('a search result names the chart of its plays', '#/search?q=a', async (page) => {
  await page.waitForSelector('.hits');
  assert.match(await page.textContent('.sub'), /Plays are those of all time/);
});

shows('dead letters are listed, with their reasons', '', async (page) => {
  await page.waitForSelector('.row[data-key]');
  await server.produce(['<b>no play</b>', JSON.stringify({ song: 1 })]);
  await page.click('.gauge.rejected a');
  await page.waitForURL(/#\/dead-letters/);
  await eventually('both', async () => (await page.locator('.letters li').count()) === 2);
  const letters = page.locator('.letters');
  assert.match(await letters.textContent(), /Not a JSON object/);
  assert.match(await letters.textContent(), /<b>no play<\/b>/);
  await page.click('.chips a:has-text("A field is missing")');
  await eventually('those of a reason', async () => (await page.locator('.letters li').count()) === 1);
}, { skip: GIVEN });

shows('the page of the server has its numbers since its start and in the lake', '#/server', async (page) => {
  const status = await server.get('/v1/status');
  await eventually('its plays', async () => (await page.textContent('tbody tr:first-child')) ===
    `Plays${status.accepted.toLocaleString('en-GB')}${(await server.get('/v1/status')).lake_plays.toLocaleString('en-GB')}`);
});

shows('a list is saved as CSV, without spreadsheet formulas', '', async (page) => {
  await page.waitForSelector('.row[data-key]');
  await server.produce(Array.from({ length: 3000 }, (_, number) => play({ song_id: 'EVIL', title: '=1+1,"x"', artist: '@SUM(A1)', user_id: `U${number}` })));
  await eventually('the title in the list', async () => (await page.textContent('.row .title')) === '=1+1,"x"');
  const began = page.waitForEvent('download');
  await page.click('text=Save as CSV');
  const text = await readFile(await (await began).path(), 'utf8');
  const [head, first] = text.split('\r\n');
  assert.equal(head, 'chart,period,scope,rank,track_id,title,artist,plays');
  assert.match(first, /^trending,[^,]+,global,1,EVIL,"'=1\+1,""x""",'@SUM\(A1\),3\d\d\d$/);
}, { skip: GIVEN });

shows(
  'a link to the current view is copied',
  '#/charts/weekly',
  async (page) => {
    await page.waitForSelector('.row[data-key]');
    await page.click('text=Copy link');
    await page.waitForSelector('text=Copied');
    const link = await page.evaluate(() => navigator.clipboard.readText());
    assert.equal(link, `${server.url}/#/charts/weekly?period=${(await server.get('/v1/charts/weekly')).period}`);
  },
  { context: { permissions: ['clipboard-read', 'clipboard-write'] } },
);

shows('moving rows leave no gaps and do not overlap', '', async (page) => {
  await hasRows(page, 20);
  // In each frame of the animation: whether each row ends where the next begins.
  await page.evaluate(() => {
    window.frames_ = { seen: 0, moving: 0, wrong: [] };
    const look = () => {
      const list = document.querySelector('.ranking');
      const boxes = [...list.children].map((row) => row.getBoundingClientRect()).sort((a, b) => a.top - b.top || a.bottom - b.bottom);
      const off = boxes.slice(1).map((box, index) => box.top - boxes[index].bottom);
      const { frames_ } = window;
      frames_.seen++;
      if (list.querySelector('.leaving')) frames_.moving++;
      const worst = off.find((distance) => Math.abs(distance) > 1.5);
      if (worst !== undefined) frames_.wrong.push(worst);
      requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  });
  for (let song = 3; song < 9; song++) await server.play({ count: 1500, songs: song, seed: 20 + song });
  await eventually('rows that have moved', () => page.evaluate(() => window.frames_.moving > 3));
  const { wrong } = await page.evaluate(() => window.frames_);
  assert.deepEqual(wrong, []);
}, { skip: GIVEN });

shows('failed requests are repeated later', '#/nowhere', async (page) => {
  page.mayLose = true;
  const failed = new Set();
  const once = (route) => {
    const { pathname } = new URL(route.request().url());
    if (failed.has(pathname)) return route.continue();
    failed.add(pathname);
    return route.fulfill({ status: 503, contentType: 'application/problem+json', body: '{"status":503,"title":"not yet"}' });
  };
  await page.route('**/web/world.json', once);
  await page.route('**/v1/charts/**', once);
  await page.goto(`${server.url}/#/tracks/${encodeURIComponent(server.track)}`);
  await page.waitForSelector('.track path.played');
  await eventually('each rank', async () => {
    const ranks = await page.$$eval('.tiles .big-rank', (all) => all.map((rank) => rank.textContent));
    return ranks.length === 3 && !ranks.includes('–');
  });
  assert.ok(failed.has('/web/world.json') && failed.has('/v1/charts/weekly'), [...failed].join());
});
