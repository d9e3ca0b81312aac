// A page that stays open follows the server, from before the first play into the next week.

import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { DESKTOP, open, rows } from './browser.mjs';
import { play } from './produce.mjs';
import { GIVEN, Server, eventually } from './server.mjs';
import { browser, opened, over, useBrowser } from './setup.mjs';

const DAY_MS = 86_400_000;

useBrowser();

let folder;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'reprise-charts-'));
});

after(() => rm(folder, { recursive: true, force: true }));

const many = (number, change) => Array.from({ length: number }, (_, user) => play({ user_id: `U${user}`, ...change }));
const choices = (page, label) =>
  page.$$eval(`select[aria-label="${label}"] option`, (options) => options.map((option) => option.value));

test('a page opened before the first play gets its places, periods and list', { skip: GIVEN }, async () => {
  await over(await Server.empty(), async (server) => {
    await opened('', async (page) => {
      await opened('#/charts/weekly', async (charts) => {
        await page.waitForSelector('.notice');
        await charts.waitForSelector('.notice');
        await server.produce([...many(5, { country: 'JP' }), ...many(4, { country: 'BR', timestamp: new Date(Date.now() - 8 * DAY_MS).toISOString() })]);
        for (const one of [page, charts]) {
          await eventually('the list', async () => (await rows(one)).length > 0);
          await eventually('the places', async () => (await choices(one, 'Where')).includes('JP'));
        }
        await eventually('both weeks', async () => (await choices(charts, 'When')).length === 2);
      }, { from: server });
    }, { from: server });
  });
});

test('a chart without a worldwide list is shown for one of its places', { skip: GIVEN }, async () => {
  const charts = join(folder, 'places.toml');
  await writeFile(charts, '[trending]\nscopes = ["country"]\n[[chart]]\nname = "daily-places"\nperiod = "day"\nscopes = ["country"]\n');
  await over(await Server.empty({ charts }), async (server) => {
    const page = await open(browser, 'about:blank', DESKTOP);
    page.ignore((text) => /404/.test(text));
    await page.goto(server.url);
    await page.waitForSelector('.notice');
    await server.produce(many(5, { country: 'JP' }));
    await eventually('the list', async () => (await rows(page)).length === 1);
    await page.goto(`${server.url}/#/charts/daily-places`);
    await eventually('the list by day', async () => (await rows(page)).length === 1);
    await page.finish();
  });
});

test('a page that is open across the end of a week shows the new week', { skip: GIVEN }, async () => {
  await over(await Server.empty(), async (server) => {
    const lastWeek = new Date(Date.now() - 8 * DAY_MS).toISOString();
    await server.produce(many(5, { song_id: 'OLD', timestamp: lastWeek }));
    await opened('#/charts/weekly', async (page) => {
      await eventually('last week', async () => (await rows(page))[0]?.key === 'OLD');
      const [old] = (await server.get('/v1/charts')).charts.find(({ name }) => name === 'weekly').with_entries.periods;
      await server.produce(many(5, { song_id: 'NEW' }));
      await eventually('this week', async () => (await rows(page))[0]?.key === 'NEW');
      await eventually('both weeks to choose from', async () => (await choices(page, 'When')).length === 2);
      await eventually('the way to last week', () => page.isEnabled('button[aria-label="Earlier"]'));
      await eventually('a mark for the new entry', async () => (await page.textContent('.row .move')).includes('new'));
      await page.click('button[aria-label="Earlier"]');
      await page.waitForURL(new RegExp(`period=${old}`));
      await eventually('last week again', async () => (await rows(page))[0]?.key === 'OLD');
    }, { from: server });
  });
});

// The text of a chart's tile on a track's or an artist's page: the rank or a number, and the plays.
const tile = (page, name) =>
  page.$$eval('.tiles li', (all, wanted) => {
    const found = all.find((one) => one.firstChild.textContent === wanted);
    return [...found.children].slice(1).map((part) => part.textContent).join(', ');
  }, name);
const weeks = (page) =>
  page.$$eval('.over-time .spoken', (all) => all.map((one) => one.textContent.replace(/^.*: /, '')).join(', '));

test('the pages of a track and of an artist show the new week', { skip: GIVEN }, async () => {
  const charts = join(folder, 'weekly.toml');
  const weekly = (name, rest) => `[[chart]]\nname = "${name}"\nperiod = "week"\n${rest}\n`;
  await writeFile(charts, weekly('tracks', 'scopes = ["global", "country"]') + weekly('artists', 'item = "artist"\nscopes = ["global"]'));
  await over(await Server.empty({ charts }), async (server) => {
    const old = { song_id: 'OLD', title: 'Old', artist: 'Elder' };
    await server.produce(many(5, { ...old, timestamp: new Date(Date.now() - 8 * DAY_MS).toISOString() }));
    await eventually('the plays', async () => (await server.get('/v1/status')).accepted === 5);
    await opened('#/tracks/OLD', async (track) => {
      await opened('#/artists/Elder', async (artist) => {
        const is = (page, name, wanted) =>
          eventually(`${name}: ${wanted}`, async () => {
            const found = await tile(page, name);
            if (found !== wanted) throw new Error(`it is ${found}`);
            return true;
          }, 30_000);
        await is(track, 'Tracks', 'No. 1, 5 plays');
        await is(artist, 'Tracks', '5, plays');
        await is(artist, 'Artists', 'No. 1, 5 plays');
        await track.waitForSelector('path.played[data-country="DE"]');
        await server.produce(many(7, { song_id: 'NEW', artist: 'Younger', country: 'JP' }));
        await is(track, 'Tracks', 'Not in the list, no plays');
        await is(artist, 'Tracks', '0, plays');
        await is(artist, 'Artists', 'Not in the list, no plays');
        for (const page of [track, artist]) assert.equal(await weeks(page), '5 plays, 0 plays');
        await eventually('a map of the new week', async () => (await track.locator('path.played').count()) === 0);
        await server.produce(many(3, { ...old, country: 'BR' }));
        await is(track, 'Tracks', 'No. 2, 3 plays');
        await is(artist, 'Artists', 'No. 2, 3 plays');
        for (const page of [track, artist]) assert.equal(await weeks(page), '5 plays, 3 plays');
        await track.waitForSelector('path.played[data-country="BR"]');
      }, { from: server });
    }, { from: server });
  });
});

test('places that cannot be fetched are fetched later', { skip: GIVEN }, async () => {
  await over(await Server.empty(), async (server) => {
    await opened('', async (page) => {
      await page.waitForSelector('.notice');
      page.mayLose = true;
      let refused = 0;
      await page.route('**/v1/charts', (route) => {
        refused++;
        return route.fulfill({ status: 503, contentType: 'application/problem+json', body: '{"status":503,"title":"busy"}' });
      });
      await server.produce(many(5, { country: 'JP' }));
      await eventually('the list', async () => (await rows(page)).length > 0);
      await eventually('refusals', () => refused > 1);
      await page.unroute('**/v1/charts');
      await eventually('the places', async () => (await choices(page, 'Where')).includes('JP'));
    }, { from: server });
  });
});

test('the days of a chart with the zone of Tokyo have the dates of Tokyo', { skip: GIVEN }, async () => {
  const charts = join(folder, 'tokyo.toml');
  const chart = (period) => `[[chart]]\nname = "${period}"\nperiod = "${period}"\nzone = "Asia/Tokyo"\nscopes = ["global"]\n`;
  await writeFile(charts, chart('day') + chart('week'));
  await over(await Server.empty({ charts }), async (server) => {
    await server.produce(many(3, { timestamp: '2026-11-20T16:00:00Z' }));
    const expected = { day: '21 Nov 2026', week: 'Week 47, 2026 · 16 – 22 Nov' };
    for (const [period, text] of Object.entries(expected)) {
      await opened(`#/charts/${period}`, async (page) => {
        await page.waitForSelector('.row[data-key]');
        assert.equal((await page.textContent('.sub')).replaceAll(/\s/g, ' '), `Worldwide · ${text} · days of Tokyo`);
      }, { from: server });
    }
  });
});

// Opens a page with a status that a run has only when something is wrong.
async function withStatus(server, change, hash, check) {
  const page = await open(browser, 'about:blank', DESKTOP);
  page.mayLose = true;
  // The stream ends after its events, so each state is shown only briefly.
  await page.addInitScript(() => {
    window.states = [];
    const note = ({ target, addedNodes }) => {
      if (target.className === 'state-text') window.states.push(...[...addedNodes].map((text) => text.data));
    };
    new MutationObserver((all) => all.forEach(note)).observe(document, { subtree: true, childList: true });
  });
  const status = { ...(await server.get('/v1/status')), ...change };
  await page.route('**/v1/stream**', async (route) => {
    const cell = await server.get('/v1/trending');
    const body = `event: status\ndata: ${JSON.stringify(status)}\n\nid: 1\nevent: cell\ndata: ${JSON.stringify(cell)}\n\n`;
    await route.fulfill({ contentType: 'text/event-stream', body });
  });
  try {
    await page.goto(`${server.url}/${hash}`);
    await check(page);
  } finally {
    await page.finish();
  }
}

const hasText = (page, selector, text) =>
  eventually(text, async () => (await page.textContent(selector)).includes(text));

test('problems are reported in words', { skip: GIVEN }, async () => {
  await over(await Server.empty(), async (server) => {
    const alert = (change, text) => withStatus(server, change, '', (page) => hasText(page, '#alerts', text));
    await alert({ clock_ahead_ms: 720_000 }, 'clock is 12 min ahead');
    await alert({ open_transaction: { records: 1204, since: '2026-11-30T14:02:00Z' } }, '1,204 records wait behind a transaction');
    await alert({ window_misses: { plays: 100, missed: 90 } }, '90% of the plays of the last five minutes');
    await alert({ kafka_silent: 'since noon' }, 'Kafka does not answer: since noon');
    const none = '900 records came, and none is a play';
    await withStatus(server, { no_plays: none }, '', async (page) => {
      await hasText(page, '.place .notice', none);
      await page.click('.notice a');
      await page.waitForURL(/#\/dead-letters/);
    });
  });
});

test('while history is read, the page does not say that it is live', { skip: GIVEN }, async () => {
  await over(await Server.empty(), async (server) => {
    for (const [phase, text] of [['opening', 'Opening'], ['rebuilding', 'Reading lake'], ['catching_up', 'Catching up'], ['live', 'Live']]) {
      await withStatus(server, { phase, lag: null }, '', async (page) => {
        const states = () => page.evaluate(() => window.states);
        await eventually(text, async () => (await states()).includes(text));
        assert.equal((await states()).includes('Live'), phase === 'live', String(await states()));
        await hasText(page, '.gauge.lag dd', '–');
      });
    }
  });
});

test('a CSV file contains no spreadsheet formulas', async () => {
  const source = await readFile(new URL('../../web/csv.js', import.meta.url));
  const { csv } = await import(`data:text/javascript;base64,${source.toString('base64')}`);
  // The program writes the same cells: its test in src/terminal/output/ reads the same cases.
  for (const [value, cell] of JSON.parse(await readFile(new URL('csv-cases.json', import.meta.url)))) {
    assert.equal(csv([[value, 1]]), `${cell},1\r\n`);
  }
  assert.equal(csv([[null, undefined, -1], ['x']]), ',,-1\r\nx\r\n');
});
