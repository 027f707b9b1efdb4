// A server process for the tests: the real binary, a free port, a temporary folder.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';

const ROOT = path.resolve(import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname), '../..');
const BINARY = process.env.ENGRAM_TEST_BINARY ?? path.join(ROOT, 'target/release/engram');

export class Server {
  // Starts a server of one core, with `flags` beside those that are needed, and waits until it is ready.
  static async start(flags = []) {
    const server = new Server();
    server.folder = mkdtempSync(path.join(tmpdir(), 'engram-node-'));
    server.flags = ['serve', '--listen', '127.0.0.1:0', '--cores', '1', '--data-dir', server.folder, ...flags];
    server.errors = '';
    await server.#begin();
    return server;
  }

  async #begin() {
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('ENGRAM_')));
    this.process = spawn(BINARY, this.flags, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.process.stderr.on('data', (bytes) => (this.errors += bytes));
    this.port = await this.#listening();
    while ((await this.status('/health/ready')) !== 200);
  }

  // Ends it by `signal`, and starts it again with the same folder, on another port.
  async restart(signal = 'SIGKILL') {
    await this.#end(signal);
    await this.#begin();
  }

  async #end(signal) {
    const ended = once(this.process, 'close');
    this.process.kill(signal);
    await ended;
  }

  async #listening() {
    for await (const line of createInterface({ input: this.process.stdout })) {
      if (line.startsWith('listening ')) {
        // Nobody reads what it prints from here on, but it must never wait for us.
        this.process.stdout.resume();
        return Number(line.slice(line.lastIndexOf(':') + 1));
      }
    }
    throw new Error(`the server ended before it listened:\n${this.errors}`);
  }

  // The status of a GET.
  status(path) {
    return new Promise((resolve, reject) => {
      const options = { host: '127.0.0.1', port: this.port, path, agent: false };
      http.get(options, (answer) => resolve(answer.resume().statusCode)).on('error', reject);
    });
  }

  // Ends it; fails where it panicked.
  async stop() {
    await this.#end('SIGKILL');
    rmSync(this.folder, { recursive: true, force: true });
    if (this.errors.includes('panicked at')) throw new Error(`the server panicked:\n${this.errors}`);
  }
}
