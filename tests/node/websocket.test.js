// A session over WebSocket: begin, observe, recall, close, resume, takeover.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Client, episode, vector } from './client.js';
import { Server } from './server.js';

let server;
before(async () => { server = await Server.start(); });
after(() => server?.stop());

test('a session from init to close', async () => {
  const client = await Client.begin(server, 'whole');
  assert.equal(client.init.type, 'init_ack');
  assert.equal(client.init.initial_sequence, 0);
  assert.match(client.session, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  const { queue_capacity: capacity, supports_snapshot_isolation: isolation } = client.init.capabilities;
  assert.ok(capacity > 0);
  assert.equal(typeof isolation, 'boolean');

  const count = 300;
  for (let n = 1; n <= count; n++) client.send(client.observation(n, episode(n)));
  for (let n = 1; n <= count; n++) {
    const ack = await client.next();
    assert.deepEqual(
      [ack.type, ack.status, ack.session_id, ack.sequence_number, ack.memory_id],
      ['ack', 'accepted', client.session, n, `row-${n}`]);
    assert.ok(!Number.isNaN(Date.parse(ack.committed_at)), ack.committed_at);
  }
  for (let n = 1; n <= count; n += 7) {
    const recalled = await client.ask({ type: 'recall', request_id: `r${n}`, embedding: vector(n), max_results: 3 });
    assert.equal(recalled.type, 'recall_result');
    assert.equal(recalled.request_id, `r${n}`);
    assert.equal(recalled.snapshot_sequence, count);
    assert.equal(recalled.more_results, false);
    assert.equal(recalled.results.length, 3);
    assert.equal(recalled.results[0].id, `row-${n}`);
    assert.equal(recalled.results[0].content, episode(n).what);
    assert.ok(recalled.results[0].activation > 0.999);
    assert.ok(recalled.results[0].activation >= recalled.results[1].activation);
  }
  client.send({ type: 'close', session_id: client.session, last_sequence: count, drain_queue: false });
  assert.equal(await client.closed, 1000);
});

test('each acked observation is found at once', async () => {
  const client = await Client.begin(server, 'at-once');
  for (let n = 1; n <= 100; n++) {
    const ack = await client.ask(client.observation(n, episode(n)));
    assert.equal(ack.status, 'accepted');
    const recalled = await client.ask({ type: 'recall', request_id: 'r', embedding: vector(n), max_results: 1 });
    assert.deepEqual(recalled.results.map((found) => found.id), [`row-${n}`]);
  }
});

test('vectors come as base64 of floats too', async () => {
  const client = await Client.begin(server, 'base-sixty-four');
  const { embedding, ...rest } = episode(1);
  const embedding_f32 = Buffer.from(Float32Array.from(embedding).buffer).toString('base64');
  assert.equal((await client.ask(client.observation(1, { ...rest, embedding_f32 }))).status, 'accepted');
  const recalled = await client.ask({ type: 'recall', request_id: 'r', embedding, max_results: 1 });
  assert.ok(recalled.results[0].activation > 0.999);
});

test('a paused session refuses observations and withholds results until it resumes', async () => {
  const client = await Client.begin(server, 'paused');
  const flow = (action, rest = {}) =>
    client.ask({ type: 'flow_control', session_id: client.session, action, ...rest });
  assert.equal((await client.ask(client.observation(1, episode(1)))).status, 'accepted');
  const paused = await flow('pause');
  assert.deepEqual([paused.type, paused.state, paused.session_id], ['status', 'paused', client.session]);
  const refused = await client.ask(client.observation(2, episode(2)));
  assert.deepEqual(
    [refused.type, refused.message, refused.sequence_number], ['error', 'Session paused', 2]);
  client.send({ type: 'recall', request_id: 'r', embedding: vector(1), max_results: 1 });
  // With the recall of another client, which its shard answers later, the withheld one is answered too.
  const other = await Client.begin(server, 'paused');
  await other.ask({ type: 'recall', request_id: 'o', embedding: vector(1), max_results: 1 });
  assert.equal((await flow('buffer_status', { buffer_remaining: 5 })).state, 'paused');
  assert.equal((await flow('resume')).state, 'active');
  const recalled = await client.next();
  assert.deepEqual(recalled.results.map((found) => found.id), ['row-1']);
  assert.equal((await flow('slow_down', { preferred_rate: 100 })).state, 'active');
  assert.match((await flow('slow_down', { preferred_rate: -1 })).message, /preferred_rate/);
  assert.match((await flow('hurry')).message, /Unknown flow control action: hurry/);
  assert.equal((await client.ask(client.observation(2, episode(2)))).status, 'accepted');
});

test('a second ack tells that an observation is indexed, where it was asked for', async () => {
  const client = await Client.begin(server, 'indexed', { indexed_acks: true });
  for (let n = 1; n <= 20; n++) {
    const accepted = await client.ask(client.observation(n, episode(n)));
    const indexed = await client.next();
    assert.deepEqual(
      [accepted, indexed].map((ack) => [ack.type, ack.status, ack.sequence_number, ack.memory_id]),
      [['ack', 'accepted', n, `row-${n}`], ['ack', 'indexed', n, `row-${n}`]]);
  }
});

test('a dropped connection keeps its session, and a second one takes it over', async () => {
  const first = await Client.begin(server, 'resumed');
  assert.equal((await first.ask(first.observation(1, episode(1)))).status, 'accepted');
  first.socket.terminate();
  const second = await Client.begin(server, 'resumed', { session_id: first.session });
  assert.deepEqual([second.init.type, second.session, second.init.initial_sequence], ['init_ack', first.session, 1]);
  assert.equal((await second.ask(second.observation(2, episode(2)))).status, 'accepted');

  const third = await Client.begin(server, 'resumed', { session_id: first.session });
  assert.equal(third.init.initial_sequence, 2);
  assert.equal(await second.closed, 4000);
  assert.equal((await third.ask(third.observation(3, episode(3)))).status, 'accepted');
});

test('a stranger’s page is refused by its origin', async () => {
  await assert.rejects(Client.connect(server, { origin: 'https://stranger.example' }), /refused with 403/);
  const same = await Client.connect(server, { origin: `http://127.0.0.1:${server.port}` });
  same.socket.terminate();
});

test('plain requests are answered on the same port', async () => {
  for (const path of ['/health', '/health/live', '/health/ready', '/metrics', '/api/v1/spaces']) {
    assert.equal(await server.status(path), 200, path);
  }
});
