// Shared by the tests of a file: one browser, one server with plays, and pages of it.

import { after, before, test } from 'node:test';

import { DESKTOP, launch, open } from './browser.mjs';
import { Server } from './server.mjs';

export let browser;
export let server;

// Each test file runs in its own process, so these hooks apply to the file that calls them.
export function useBrowser() {
  before(async () => {
    browser = await launch();
  });
  after(() => browser?.close());
}

export function useServer() {
  useBrowser();
  before(async () => {
    server = await Server.start();
  });
  after(() => server?.stop());
}

// Runs `check` with the server `other`, and stops that server.
export async function over(other, check) {
  try {
    await check(other);
  } finally {
    await other.stop();
  }
}

// Opens `hash`, in which TRACK and ARTIST stand for ones that are trending, and returns the result
// of `check`. Fails if the page has logged errors. `refuses`: the server answers 400 or 404, which
// browsers log as an error.
export async function opened(hash, check, { from = server, context = {}, refuses = false } = {}) {
  const page = await open(browser, 'about:blank', { ...DESKTOP, ...context });
  page.ignore((text) => refuses && /40[04]/.test(text));
  try {
    await page.goto(`${from.url}/${hash.replace('TRACK', from.track).replace('ARTIST', encodeURIComponent(from.artist))}`);
    return await check(page);
  } finally {
    await page.finish();
  }
}

// A test of one page.
export function shows(name, hash, check, { context, refuses, ...options } = {}) {
  test(name, options, () => opened(hash, check, { context, refuses }));
}
