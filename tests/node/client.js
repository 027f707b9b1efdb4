// A WebSocket whose messages are taken one by one, and messages made of real memories.

import { readFileSync } from 'node:fs';
import path from 'node:path';
import WebSocket from 'ws';

const DATA = path.resolve(import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname), '../data');
const HALF = 384;

export class Client {
  // Connects to `/v1/stream`.
  static connect(server, options = {}) {
    const client = new Client();
    client.socket = new WebSocket(`ws://127.0.0.1:${server.port}/v1/stream`, options);
    client.arrived = [];
    client.waiting = [];
    client.closed = new Promise((resolve) => {
      client.socket.on('close', (code) => {
        resolve(code);
        for (const { reject } of client.waiting.splice(0)) reject(new Error(`closed with ${code}`));
      });
    });
    client.socket.on('message', (data) => {
      const message = JSON.parse(data.toString());
      if (message.type === 'heartbeat') return;
      const waiting = client.waiting.shift();
      if (waiting) waiting.resolve(message);
      else client.arrived.push(message);
    });
    return new Promise((resolve, reject) => {
      client.socket.on('open', () => resolve(client));
      client.socket.on('unexpected-response', (_, answer) => {
        client.socket.terminate();
        reject(new Error(`refused with ${answer.resume().statusCode}`));
      });
      // After the handshake an error is followed by `close`, which tells.
      client.socket.on('error', reject);
    });
  }

  // Connects and begins a session, or resumes one.
  static async begin(server, space, init = {}) {
    const client = await Client.connect(server);
    client.init = await client.ask({ type: 'init', memory_space_id: space, ...init });
    client.session = client.init.session_id;
    return client;
  }

  // Sends an object as JSON, or text as it is.
  send(message) {
    this.socket.send(typeof message === 'string' ? message : JSON.stringify(message));
  }

  // The next message that is no heartbeat.
  next() {
    if (this.arrived.length > 0) return Promise.resolve(this.arrived.shift());
    return new Promise((resolve, reject) => this.waiting.push({ resolve, reject }));
  }

  // Sends, and takes the next message.
  ask(message) {
    this.send(message);
    return this.next();
  }

  // An observation of this session.
  observation(sequence, episode) {
    return { type: 'observation', session_id: this.session, sequence_number: sequence, episode };
  }
}

function halfToNumber(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

function row(name, number) {
  const bytes = readFileSync(path.join(DATA, name));
  return Array.from({ length: HALF }, (_, i) => halfToNumber(bytes.readUInt16LE((number * HALF + i) * 2)));
}

const texts = readFileSync(path.join(DATA, 'text.jsonl'), 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line));

// The vector of base row `number`, of the first context.
export function vector(number) {
  const joined = [...row('gloss.f16', number), ...row('words.f16', number)];
  const length = Math.hypot(...joined);
  return joined.map((x) => x / length);
}

// Base row `number` as an episode.
export function episode(number, id = `row-${number}`) {
  return { id, what: `${texts[number].words}: ${texts[number].gloss}`, embedding: vector(number) };
}
