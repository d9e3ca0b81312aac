// A real browser whose pages are watched: an error on the console, or a request to another machine,
// fails the test in which it happens.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';

// scripts/page installs the packages into a cache, not beside the sources.
const from = process.env.REPRISE_PAGE_MODULES;
const require = createRequire(from ? `${from}/package.json` : import.meta.url);
const { chromium } = require('playwright-core');
const axe = require('axe-core').source;

const CHROMIUM =
  process.env.CHROMIUM ?? ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
// These also keep the browser itself from sending requests.
const FLAGS = [
  '--headless=new',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export const DESKTOP = { viewport: { width: 1280, height: 800 } };
export const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 };

export const launch = () => chromium.launch({ executablePath: CHROMIUM, args: FLAGS });

// Opens a page in a fresh profile and records its errors. `mayLose` allows errors about a server
// that is unreachable or not ready; `ignore` takes a predicate for expected messages.
export async function open(browser, url, options = DESKTOP) {
  const context = await browser.newContext({ locale: 'en-GB', ...options });
  const page = await context.newPage();
  const wrong = [];
  let expected = () => false;
  page.mayLose = false;
  page.ignore = (test) => (expected = test);
  page.on('console', (message) => {
    if (message.type() !== 'error' && message.type() !== 'warning') return;
    if (expected(message.text()) || (page.mayLose && /net::ERR_|status of 503/.test(message.text()))) return;
    wrong.push(`${message.type()}: ${message.text()}`);
  });
  page.on('pageerror', (error) => wrong.push(`error: ${error.stack}`));
  page.on('request', (request) => {
    const { hostname, protocol } = new URL(request.url());
    if (hostname !== '127.0.0.1' && protocol !== 'data:') wrong.push(`asked ${request.url()}`);
  });
  page.on('response', (response) => {
    if (response.status() >= 400 && !page.mayLose && !expected(String(response.status())))
      wrong.push(`${response.status()} of ${response.url()}`);
  });
  page.finish = async () => {
    await context.close();
    assert.deepEqual(wrong, []);
  };
  await page.addInitScript(watchShifts);
  await page.goto(url);
  return page;
}

// Measures how much of the visible page has shifted, by the browser's own metric.
function watchShifts() {
  window.shifted = 0;
  window.movers = [];
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      if (entry.hadRecentInput) continue;
      window.shifted += entry.value;
      for (const { node, previousRect: from, currentRect: to } of entry.sources) {
        const name = node?.outerHTML ?? node?.textContent ?? 'a removed node';
        window.movers.push(`${name.slice(0, 80)} from ${from.x},${from.y} to ${to.x},${to.y}`);
      }
    }
  });
  observer.observe({ type: 'layout-shift', buffered: true });
}

// The violations that axe finds on the page as it is now, with their locations.
export async function violations(page) {
  // Elements that fade in have low contrast for a moment.
  await page.evaluate(() =>
    Promise.all(document.getAnimations().map((animation) => animation.finished.catch(() => {}))),
  );
  await page.evaluate(axe);
  const { violations: found, passes } = await page.evaluate(() =>
    window.axe.run(document, { resultTypes: ['violations'] }),
  );
  assert.ok(passes.length > 20, 'axe has checked hardly anything');
  return found.flatMap(({ id, nodes }) =>
    nodes.map((node) => `${id}: ${node.target.join(' ')}: ${node.failureSummary}`),
  );
}

// The rows of the list that is shown, in the terms of the API.
export const rows = (page) =>
  page.$$eval('.ranking .row[data-key]', (elements) =>
    elements.map((row) => ({
      key: row.dataset.key,
      rank: Number(row.querySelector('.rank').textContent),
      title: row.querySelector('.title').textContent,
      plays: Number(row.querySelector('.plays').textContent.replaceAll(',', '')),
    })),
  );

export const asRows = (cell) =>
  cell.entries.map(({ rank, track_id: id, title, artist, plays }) => ({
    key: id ?? artist,
    rank,
    title: id ? (title ?? id) : artist,
    plays,
  }));
