// The page that the server brings: in a real browser, it observes, is paused, is cut off and
// recalls, and what the server has in the end is asked by another client.
//
// The page comes through a proxy, as does its session, so that it is of one origin with the server.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { open } from 'engram-client';
import { Server } from '../../../../tests/node/server.js';
import { embedding } from '../../../../src/wire/console/embedding.js';
import { CHROMIUM, Page } from './chromium.js';
import { Proxy } from './proxy.js';
import { observations } from './rows.js';

const CLIENT = path.join(path.dirname(fileURLToPath(import.meta.url)), '..');
const SERVED = path.join(CLIENT, '../../../src/wire/console/client');
const COUNT = 1000;
const HALF = COUNT / 2;
const DIMENSION = 768;
const WINDOW = 256;
const OPTIONS = {
  skip: CHROMIUM === undefined && 'no Chromium is installed here: not tried in a browser',
  timeout: 120_000,
};

test('the client that the page loads is the one that is built from these sources', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'engram-console-'));
  try {
    const asked = ['--project', 'tsconfig.console.json', '--outDir', folder];
    const built = spawnSync('node_modules/.bin/tsc', asked, { cwd: CLIENT, encoding: 'utf8' });
    assert.equal(built.status, 0, built.stdout);
    const files = (at) =>
      readdirSync(at).sort().map((name) => [name, readFileSync(path.join(at, name), 'utf8')]);
    assert.deepEqual(files(SERVED), files(folder), 'make it anew: npm run console');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('texts have vectors of their own, and those that are alike are near', () => {
  const similarity = (a, b) => {
    const [u, v] = [embedding(a, DIMENSION), embedding(b, DIMENSION)];
    const dot = (x, y) => x.reduce((sum, number, i) => sum + number * y[i], 0);
    return dot(u, v) / Math.sqrt(dot(u, u) * dot(v, v));
  };
  assert.ok(similarity('a red door', 'the red door') > 0.6);
  assert.ok(similarity('a red door', 'blue windows') < 0.3);
  for (const text of ['', '   ', 'x']) assert.ok(embedding(text, 8).some((number) => number !== 0));
});

test('the page observes, is paused and cut off, nothing is lost or twice', OPTIONS, async () => {
  const server = await Server.start();
  const proxy = await Proxy.start(server.port);
  const origin = proxy.url.replace('ws:', 'http:');
  let page;
  let reader;
  try {
    page = await Page.open(`${origin}/console/observe`);
    await page.fill('space', 'browser');
    await page.press('#open button');
    await page.until(`!document.getElementById('streaming').disabled`);

    const shows = (id, text) => `document.getElementById('${id}').textContent === '${text}'`;
    await page.fill('text', 'row #');
    await page.fill('count', HALF);
    await page.press('#stream button');
    await page.until(shows('acked', HALF));
    await page.press('#pause');
    await page.press('#stream button');
    await page.until(shows('pending', WINDOW));
    // The answer to a recall comes behind whatever was sent before it.
    await page.fill('cue', 'row 7');
    await page.press('#recall button');
    await page.until(`document.getElementById('recalled').textContent !== ''`);
    assert.match(await page.text('recalled'), new RegExp(`^5 of ${HALF} durable`));
    const best = await page.value(`document.querySelector('#found li').textContent`);
    assert.equal(best, '1.000 row 7');
    assert.equal(await observations(server, 'browser'), HALF, 'nothing came while it was paused');

    // From here on no ack arrives. Once a window of observations is durable, the connection is cut.
    proxy.mute();
    await page.press('#resume');
    while ((await observations(server, 'browser')) < HALF + WINDOW);
    assert.equal(await page.text('acked'), String(HALF));
    proxy.cut();
    await page.until(shows('acked', COUNT));
    assert.equal(await page.text('reconnects'), '1');
    assert.equal(await page.text('refused'), '0');

    // Not by the page's word: every row is there, once.
    reader = await open(`ws://127.0.0.1:${server.port}`, { space: 'browser' });
    const recalled = await reader.recall(embedding('row 1', DIMENSION), { maxResults: 2 * COUNT });
    assert.equal(recalled.snapshotSequence, COUNT);
    assert.deepEqual(
      recalled.memories.map(({ content }) => content).sort(),
      Array.from({ length: COUNT }, (_, index) => `row ${index + 1}`).sort(),
    );
    await page.press('#close');
    await page.until(`document.getElementById('log').textContent.includes('closed at ${COUNT}')`);

    const own = new RegExp(`^(data:|${origin}/|${proxy.url}/)`);
    const elsewhere = page.requests.filter((url) => !own.test(url));
    assert.deepEqual(elsewhere, [], 'it spoke to its own server alone');
    assert.deepEqual(page.complaints, [], 'its policy lets it do all that it does');
  } finally {
    reader?.abort();
    await page?.close();
    proxy.stop();
    await server.stop();
  }
});

test('the page goes on with a session after the server was killed', OPTIONS, async () => {
  const server = await Server.start();
  const proxy = await Proxy.start(server.port);
  let page;
  try {
    page = await Page.open(`${proxy.url.replace('ws:', 'http:')}/console/observe`);
    await page.press('#open button');
    await page.until(`!document.getElementById('streaming').disabled`);
    await page.fill('count', 10);
    await page.press('#stream button');
    await page.until(`document.getElementById('acked').textContent === '10'`);
    await server.restart('SIGKILL');
    proxy.target = server.port;
    await page.press('#stream button');
    await page.until(`document.getElementById('acked').textContent === '20'`);
    assert.equal(await observations(server, 'console'), 20);
  } finally {
    await page?.close();
    proxy.stop();
    await server.stop();
  }
});
