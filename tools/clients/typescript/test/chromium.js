// A headless Chromium that is installed here, and a page in it that a test can drive.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import WebSocket from 'ws';
import { deferred } from '../dist/promises.js';

export const CHROMIUM = ['chromium', 'chromium-browser', 'google-chrome'].find(
  (name) => spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0,
);
const FLAGS = [
  '--headless=new',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-dev-shm-usage',
  '--no-first-run',
  // It speaks to this host and to nobody else.
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-default-apps',
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
];

export class Chromium {
  // Starts one at `page`, with `flags` beside those that are needed.
  static start(page, flags = []) {
    const chromium = new Chromium();
    chromium.profile = mkdtempSync(path.join(tmpdir(), 'engram-chromium-'));
    const all = [...FLAGS, ...flags, `--user-data-dir=${chromium.profile}`, page];
    chromium.process = spawn(CHROMIUM, all, { stdio: ['ignore', 'ignore', 'pipe'] });
    chromium.errors = '';
    chromium.process.stderr.on('data', (bytes) => (chromium.errors += bytes));
    chromium.gone = once(chromium.process, 'close');
    return chromium;
  }

  async stop() {
    this.process.kill('SIGKILL');
    await this.gone;
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

// A page of a Chromium, by the DevTools protocol.
export class Page {
  static async open(url) {
    const page = new Page();
    page.chromium = Chromium.start('about:blank', ['--remote-debugging-port=0']);
    // What it asked for, and what it had to complain of.
    page.requests = [];
    page.complaints = [];
    page.calls = new Map();
    page.count = 0;
    try {
      page.socket = new WebSocket(await page.#address());
      page.socket.on('message', (text) => page.#take(JSON.parse(text)));
      page.socket.on('close', () => page.#lost());
      await once(page.socket, 'open');
      await page.#attach();
      const loaded = new Promise((resolve) => (page.loaded = resolve));
      await page.#call('Page.navigate', { url });
      await loaded;
    } catch (why) {
      await page.close();
      throw why;
    }
    return page;
  }

  // The value of an expression of the page, once its promise is kept.
  async value(expression) {
    const asked = { expression, awaitPromise: true, returnByValue: true };
    const { result, exceptionDetails } = await this.#call('Runtime.evaluate', asked);
    if (exceptionDetails !== undefined) {
      throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    }
    return result.value;
  }

  // Returns once the expression holds: it is looked at whenever the page changes.
  until(expression) {
    return this.value(`new Promise((resolve) => {
      const look = () => {
        if (!(${expression})) return;
        changes.disconnect();
        resolve();
      };
      const changes = new MutationObserver(look);
      const all = { subtree: true, childList: true, characterData: true, attributes: true };
      changes.observe(document, all);
      look();
    })`);
  }

  // Writes into a field, as its user would.
  fill(id, text) {
    return this.value(`{
      const field = document.getElementById(${JSON.stringify(id)});
      field.value = ${JSON.stringify(text)};
      field.dispatchEvent(new Event('input', { bubbles: true }));
    }`);
  }

  press(selector) {
    return this.value(`document.querySelector(${JSON.stringify(selector)}).click()`);
  }

  text(id) {
    return this.value(`document.getElementById(${JSON.stringify(id)}).textContent`);
  }

  async close() {
    this.socket?.terminate();
    await this.chromium.stop();
  }

  async #address() {
    const said = 'DevTools listening on ';
    while (!this.chromium.errors.includes(said)) {
      const more = once(this.chromium.process.stderr, 'data');
      const ended = this.chromium.gone.then(() => {
        throw new Error(`Chromium ended:\n${this.chromium.errors}`);
      });
      await Promise.race([more, ended]);
    }
    return this.chromium.errors.split(said)[1].split('\n')[0].trim();
  }

  async #attach() {
    const { targetInfos } = await this.#call('Target.getTargets');
    const { targetId } = targetInfos.find(({ type }) => type === 'page');
    const attached = await this.#call('Target.attachToTarget', { targetId, flatten: true });
    this.sessionId = attached.sessionId;
    for (const domain of ['Page', 'Runtime', 'Network', 'Log']) {
      await this.#call(`${domain}.enable`);
    }
  }

  #call(method, params = {}) {
    const id = ++this.count;
    const { promise, ...settle } = deferred();
    this.calls.set(id, settle);
    this.socket.send(JSON.stringify({ id, method, params, sessionId: this.sessionId }));
    return promise;
  }

  #take({ id, result, error, method, params }) {
    if (id !== undefined) {
      const { resolve, reject } = this.calls.get(id);
      this.calls.delete(id);
      if (error === undefined) resolve(result);
      else reject(new Error(error.message));
    } else if (method === 'Page.loadEventFired') this.loaded?.();
    else if (method === 'Network.requestWillBeSent') this.requests.push(params.request.url);
    else if (method === 'Network.webSocketCreated') this.requests.push(params.url);
    else if (method === 'Log.entryAdded') this.complaints.push(params.entry.text);
    else if (method === 'Runtime.exceptionThrown') {
      this.complaints.push(params.exceptionDetails.exception?.description);
    }
  }

  #lost() {
    const why = new Error(`Chromium is gone:\n${this.chromium.errors}`);
    for (const { reject } of this.calls.values()) reject(why);
    this.calls.clear();
  }
}
