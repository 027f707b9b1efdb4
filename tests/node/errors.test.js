// What is wrong is told in the words that clients match on; the connection stays open and its session goes on.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Client, episode } from './client.js';
import { Server } from './server.js';

let server;
before(async () => { server = await Server.start(); });
after(() => server?.stop());

const UNKNOWN = '0190b1c2-0000-4000-8000-000000000000';
const observation = (session_id, sequence_number, changed = {}) =>
  ({ type: 'observation', session_id, sequence_number, episode: { ...episode(1), ...changed } });
const without = (key) => {
  const { [key]: _, ...rest } = episode(1);
  return rest;
};
const base64 = (numbers) => Buffer.from(Float32Array.from(numbers).buffer).toString('base64');

// [what is sent, the answer's text or its beginning]
const BEFORE_INIT = [
  ['{', /^Invalid JSON: ./],
  ['', /^Invalid JSON: ./],
  ['{"type":"observation","episode":NaN}', /^Invalid JSON: ./],
  [{}, 'Missing \'type\' field'],
  [{ type: 7 }, 'Missing \'type\' field'],
  [{ type: 'dream' }, 'Unknown message type: dream'],
  [{ type: 'init' }, /^Invalid init request: ./],
  [{ type: 'init', memory_space_id: 7 }, /^Invalid init request: ./],
  [{ type: 'init', memory_space_id: 'No Such Name!' }, /^Invalid memory_space_id: ./],
  [{ type: 'init', memory_space_id: '' }, /^Invalid memory_space_id: ./],
  [{ type: 'init', memory_space_id: 'errors', session_id: UNKNOWN }, `Session error: Session not found: ${UNKNOWN}`],
  [observation(UNKNOWN, 1), 'Must send \'init\' before observations'],
  [{ type: 'flow_control', session_id: UNKNOWN, action: 'pause' }, 'Must send \'init\' before flow control'],
  [{ type: 'recall', request_id: 'r', embedding: episode(1).embedding }, 'Must send \'init\' before recall'],
];

// [what is sent, given the session, the answer's text or its beginning]; 1 is the number that is expected.
const AFTER_INIT = [
  [(id) => ({ type: 'observation', session_id: id, episode: episode(1) }), /^Invalid observation request: ./],
  [(id) => ({ type: 'observation', session_id: id, sequence_number: 1 }), /^Invalid observation request: ./],
  [(id) => ({ type: 'observation', session_id: id, sequence_number: 1, episode: without('id') }),
    /^Invalid observation request: missing field `?id/],
  [(id) => ({ type: 'observation', session_id: id, sequence_number: 1, episode: without('what') }),
    /^Invalid observation request: missing field `?what/],
  [() => observation(UNKNOWN, 1), (id) => `Session ID mismatch: expected ${id}, got ${UNKNOWN}`],
  [(id) => observation(id, 5),
    (id) => `Sequence validation failed: Sequence mismatch for session ${id}: expected 1, got 5`],
  [(id) => observation(id, 1, { embedding: [1, 2, 3] }), 'Embedding must be exactly 768 dimensions'],
  [(id) => observation(id, 1, { embedding: Array(768).fill(0) }), 'Embedding must not be zero'],
  [(id) => ({ ...observation(id, 1), episode: { ...without('embedding'), embedding_f32: base64([...Array(767).fill(1), NaN]) } }),
    'Embedding must be finite'],
  [(id) => observation(id, 1, { what: 'x'.repeat(64 * 1024 + 1) }), 'Field too large: what'],
  [(id) => observation(id, 1, { id: 'x'.repeat(257) }), 'Field too large: id'],
  [(id) => ({ type: 'flow_control', session_id: id }), /^Invalid flow control request: ./],
  [(id) => ({ type: 'flow_control', session_id: id, action: 'dance' }), 'Unknown flow control action: dance'],
  ['{', /^Invalid JSON: ./],
  [{ type: 'dream' }, 'Unknown message type: dream'],
];

function assertError(answer, expected, sent) {
  const about = JSON.stringify(sent).slice(0, 120);
  assert.equal(answer.type, 'error', about);
  if (expected instanceof RegExp) assert.match(answer.message, expected, about);
  else assert.equal(answer.message, expected, about);
  assert.ok('session_id' in answer, 'an error names its session, or null');
}

test('before init', async () => {
  const client = await Client.connect(server);
  for (const [sent, expected] of BEFORE_INIT) {
    const answer = await client.ask(sent);
    assertError(answer, expected, sent);
    assert.equal(answer.session_id, null);
  }
  const init = await client.ask({ type: 'init', memory_space_id: 'errors' });
  assert.equal(init.type, 'init_ack', 'the connection outlives its errors');
  client.socket.terminate();
});

test('after init', async () => {
  const client = await Client.begin(server, 'errors');
  for (const [make, expected] of AFTER_INIT) {
    const sent = typeof make === 'function' ? make(client.session) : make;
    const text = typeof expected === 'function' ? expected(client.session) : expected;
    assertError(await client.ask(sent), text, sent);
  }
  const ack = await client.ask(client.observation(1, episode(1)));
  assert.deepEqual([ack.type, ack.status, ack.sequence_number], ['ack', 'accepted', 1], 'a refusal consumed its number');
});

test('a refused observation names its number', async () => {
  const client = await Client.begin(server, 'numbered');
  const answer = await client.ask(observation(client.session, 1, { embedding: [1] }));
  assert.deepEqual([answer.type, answer.sequence_number, answer.session_id], ['error', 1, client.session]);
});

// [what is sent as a frame, how, the close code that it earns]
const FATAL = [
  ['a message over 4 MiB', (socket) => socket.send('x'.repeat((4 << 20) + 1)), 1009],
  ['a message of 100 MB', (socket) => socket.send(Buffer.alloc(100e6)), 1009],
  ['text that is not UTF-8', (socket) => socket.send(Buffer.from([0xc3, 0x28]), { binary: false }), 1007],
  ['an unmasked frame', (socket) => socket._socket.write(Buffer.from([0x81, 0x02, 0x7b, 0x7d])), 1002],
  ['a reserved opcode', (socket) => socket._socket.write(Buffer.from([0x83, 0x80, 0, 0, 0, 0])), 1002],
];

for (const [name, send, code] of FATAL) {
  test(`${name} closes with ${code}, and nobody else's connection`, async () => {
    const bystander = await Client.begin(server, 'bystander');
    const client = await Client.begin(server, 'fatal');
    send(client.socket);
    assert.equal(await client.closed, code);
    assert.equal((await bystander.ask(bystander.observation(1, episode(2)))).status, 'accepted');
    bystander.socket.terminate();
  });
}
