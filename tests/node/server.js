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
  // Starts a server of one core and waits until it is ready.
  static async start() {
    const server = new Server();
    server.folder = mkdtempSync(path.join(tmpdir(), 'engram-node-'));
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('ENGRAM_')));
    const flags = ['serve', '--listen', '127.0.0.1:0', '--cores', '1', '--data-dir', server.folder];
    server.process = spawn(BINARY, flags, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    server.errors = '';
    server.process.stderr.on('data', (bytes) => (server.errors += bytes));
    server.port = await server.#listening();
    while ((await server.status('/health/ready')) !== 200);
    return server;
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
    const ended = once(this.process, 'close');
    this.process.kill('SIGKILL');
    await ended;
    rmSync(this.folder, { recursive: true, force: true });
    if (this.errors.includes('panicked at')) throw new Error(`the server panicked:\n${this.errors}`);
  }
}
