// The client in a real browser: a page observes and recalls while its connection is cut.
//
// It takes a Chromium that is installed here. The page tells this process over HTTP how far it is,
// so nothing but the browser itself is needed.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Server } from '../../../../tests/node/server.js';
import { CHROMIUM, Chromium } from './chromium.js';
import { Proxy } from './proxy.js';
import { observations } from './rows.js';

const HERE = path.dirname(fileURLToPath(import.meta.url));
const COUNT = 1000;

// Serves the page and the built client, and takes what the page tells at `/told/NAME`.
class Site {
  static async start(handlers) {
    const site = new Site();
    site.server = http.createServer((request, answer) => {
      const { pathname } = new URL(request.url, 'http://127.0.0.1');
      const told = /^\/told\/(\w+)$/.exec(pathname);
      if (told) return site.#take(request, answer, handlers[told[1]]);
      const file =
        pathname === '/' ? path.join(HERE, 'page.html') : path.join(HERE, '..', pathname);
      if (!/^\/(dist\/\w+\.js|test\/rows\.js)?$/.test(pathname)) return answer.writeHead(404).end();
      const type = file.endsWith('.js') ? 'text/javascript' : 'text/html; charset=utf-8';
      return answer.writeHead(200, { 'content-type': type }).end(readFileSync(file));
    });
    site.server.listen(0, '127.0.0.1');
    await once(site.server, 'listening');
    site.origin = `http://127.0.0.1:${site.server.address().port}`;
    return site;
  }

  async #take(request, answer, handler) {
    const parts = [];
    for await (const part of request) parts.push(part);
    await handler(JSON.parse(Buffer.concat(parts).toString()));
    answer.writeHead(204).end();
  }

  stop() {
    this.server.closeAllConnections();
    this.server.close();
  }
}

test(
  'a page observes, pauses, is cut off, and recalls',
  {
    skip: CHROMIUM === undefined && 'no Chromium is installed here: not tried in a browser',
    timeout: 120_000,
  },
  async () => {
    let proxy;
    let end;
    const ended = new Promise((resolve) => {
      end = resolve;
    });
    let server;
    const site = await Site.start({
      mute: () => proxy.mute(),
      cut: async ({ durable }) => {
        while ((await observations(server, 'browser')) < durable);
        proxy.cut();
      },
      end,
    });
    server = await Server.start(['--origin', site.origin]);
    proxy = await Proxy.start(server.port);
    const page = `${site.origin}/?server=${encodeURIComponent(proxy.url)}&count=${COUNT}`;
    const chromium = Chromium.start(page);
    try {
      const told = await Promise.race([
        ended,
        chromium.gone.then(() => ({ error: `Chromium ended:\n${chromium.errors}` })),
      ]);
      assert.equal(told.error, undefined);
      assert.deepEqual(
        told.sequences,
        Array.from({ length: COUNT }, (_, index) => index + 1),
      );
      assert.equal(told.pausedAt, told.resumedAt, 'nothing was sent while it was paused');
      assert.deepEqual(told.states, ['open', 'reconnecting', 'open', 'closing', 'closed']);
      assert.equal(told.ackedWhenCut, COUNT / 2, 'acks of what was durable were lost');
      assert.equal(told.snapshotSequence, COUNT, 'as many as were observed, none twice');
      assert.deepEqual(told.found, told.expected);
      assert.equal(told.final, COUNT);
    } finally {
      await chromium.stop();
      proxy.stop();
      site.stop();
      await server.stop();
    }
  },
);
