// Properties of every view: accessible, stable layout, no foreign requests, and no text treated as
// HTML.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { DESKTOP, PHONE, open, violations } from './browser.mjs';
import { eventually } from './server.mjs';
import { browser, opened as shown, server, useServer } from './setup.mjs';

const WEIGHT_MAX = 250_000;
const SHIFT_MAX = 0.01;
const VIEWS = [
  '',
  '#/?scope=JP',
  '#/charts',
  '#/charts/weekly?scope=JP',
  '#/map',
  '#/map?chart=all-time&track=TRACK',
  '#/tracks/TRACK',
  '#/search?q=a',
  '#/tracks/none',
  '#/artists/ARTIST',
  '#/dead-letters',
  '#/server',
  '#/nowhere',
];

useServer();

// A missing track is a 404, which the browser logs as an error.
const opened = (hash, context, check) =>
  shown(hash, async (page) => (await settled(page), check(page)), { context, refuses: hash.endsWith('/none') });

// Waits until the view shows its content.
async function settled(page) {
  await page.waitForSelector('#strip[data-state="live"]');
  await page.waitForSelector('.row[data-key], .played, .tiles, .hits, .notice, .letters, tbody');
  await page.waitForLoadState('load');
  await page.waitForTimeout(400);
}

for (const [device, size] of Object.entries({ desktop: DESKTOP, phone: PHONE })) {
  for (const colorScheme of ['light', 'dark']) {
    test(`axe finds nothing wrong, ${device}, ${colorScheme}`, async () => {
      for (const view of VIEWS) {
        await opened(view, { ...size, colorScheme }, async (page) => {
          assert.deepEqual(await violations(page), [], view);
        });
      }
    });
  }

  test(`the layout does not shift, and nothing is wider than the screen, ${device}`, async () => {
    for (const view of VIEWS) {
      await opened(view, size, async (page) => {
        const { shifted, movers, wide } = await page.evaluate(() => ({
          shifted: window.shifted,
          movers: window.movers,
          wide: document.documentElement.scrollWidth - innerWidth,
        }));
        assert.ok(shifted <= SHIFT_MAX, `${view} has shifted by ${shifted}:\n${movers.join('\n')}`);
        assert.ok(wide <= 0, `${view} is ${wide} px too wide`);
      });
    }
  });
}

test('light and dark follow the system, or the button, whose choice is remembered', async () => {
  const ground = (page) => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await opened('', { ...DESKTOP, colorScheme: 'light' }, ground);
  const dark = await opened('', { ...DESKTOP, colorScheme: 'dark' }, ground);
  assert.notEqual(light, dark);
  await opened('', { ...DESKTOP, colorScheme: 'light' }, async (page) => {
    await page.click('#theme');
    assert.equal(await ground(page), dark);
    await page.reload();
    assert.equal(await ground(page), dark);
    assert.equal(await page.getAttribute('#theme', 'aria-label'), 'Use light colours');
  });
});

test('the page is small, and measures when its first chart is shown', async () => {
  await opened('', DESKTOP, async (page) => {
    const resources = await page.evaluate(() =>
      performance
        .getEntriesByType('resource')
        .concat(performance.getEntriesByType('navigation'))
        .filter((one) => !one.name.includes('/v1/'))
        .map((one) => [one.name, one.decodedBodySize]),
    );
    const weight = resources.reduce((sum, [, bytes]) => sum + bytes, 0);
    assert.ok(weight > 50_000 && weight < WEIGHT_MAX, `${weight} bytes: ${JSON.stringify(resources)}`);
    const firstMs = await page.evaluate(() => performance.getEntriesByName('first-chart')[0].startTime);
    console.log(`# ${weight} bytes; first chart after ${Math.round(firstMs)} ms`);
    assert.ok(firstMs > 0);
  });
});

test('the page can be used with a keyboard alone', async () => {
  await opened('', DESKTOP, async (page) => {
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate(() => document.activeElement.className), 'skip');
    await page.keyboard.press('Enter');
    assert.equal(await page.evaluate(() => document.activeElement.tagName), 'H1');
    const reached = [];
    for (let presses = 0; presses < 3; presses++) {
      await page.keyboard.press('Tab');
      reached.push(await page.evaluate(() => document.activeElement.className || document.activeElement.tagName));
    }
    assert.deepEqual(reached, ['SELECT', 'INPUT', 'title']);
    await page.keyboard.press('Enter');
    await page.waitForURL(/#\/tracks\//);
    await eventually(
      'the focus at the new heading',
      () => page.evaluate(() => document.activeElement.tagName === 'H1'),
      5000,
    );
  });
});

test('HTML in a title is shown as text', async () => {
  const page = await open(browser, 'about:blank', DESKTOP);
  const hostile = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>';
  await page.route('**/v1/search**', (route) =>
    route.fulfill({
      json: {
        as_of: {},
        query: 'x',
        chart: 'weekly',
        period: '2026-W49',
        tracks: [{ track_id: '"><b>', title: hostile, artist: hostile, plays: 1 }],
        artists: [{ artist: hostile, plays: 1, tracks: 1 }],
      },
    }),
  );
  await page.goto(`${server.url}/#/search?q=${encodeURIComponent(hostile)}`);
  await page.waitForSelector('.hits');
  assert.equal(await page.textContent('.hits .title'), hostile);
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  assert.equal(await page.locator('main img, main script, main b').count(), 0);
  await page.finish();
});

test('the page asks for a required token, and keeps it in this tab only', async () => {
  const page = await open(browser, 'about:blank', DESKTOP);
  // The browser logs each 401, whatever the page does.
  page.ignore((text) => /401/.test(text));
  const guarded = async (route) => {
    if (route.request().headers().authorization === 'Bearer the-right-one') return route.continue();
    return route.fulfill({
      status: 401,
      contentType: 'application/problem+json',
      body: '{"status":401,"title":"Unauthorized","detail":"no"}',
    });
  };
  await page.route('**/v1/**', guarded);
  await page.goto(`${server.url}/`);
  await page.waitForSelector('dialog[open]');
  assert.equal(await page.locator('dialog').count(), 1);
  assert.deepEqual(await violations(page), []);
  await page.fill('#token', 'the-wrong-one');
  await page.keyboard.press('Enter');
  await page.waitForSelector('dialog[open] >> text=did not accept');
  await page.fill('#token', 'the-right-one');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.row[data-key]');
  assert.deepEqual(await page.evaluate(() => Object.values(localStorage)), []);
  await page.finish();
});
