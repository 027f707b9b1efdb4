// The client and a server that plays a script: what the real one seldom says, or does not say yet.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { WebSocketServer } from 'ws';
import {
  ConnectionError,
  InvalidRequestError,
  NotServedError,
  OverloadedError,
  ProtocolError,
  SessionClosedError,
  SessionLostError,
  SessionTakenOverError,
  UnavailableError,
  open,
} from 'engram-client';
import { row, vector } from './rows.js';

const SOON = { reconnect: { firstDelayMs: 1, maxDelayMs: 5 } };
const ID = '0190b1c2-0000-4000-8000-000000000000';

// One connection as the server sees it: what it is sent is taken one by one.
class Peer {
  #arrived = [];
  #waiting = [];

  constructor(socket) {
    this.socket = socket;
    this.closed = once(socket, 'close');
    socket.on('message', (data) => {
      const message = { ...JSON.parse(data), at: performance.now() };
      const waiting = this.#waiting.shift();
      if (waiting) waiting(message);
      else this.#arrived.push(message);
    });
  }

  next() {
    if (this.#arrived.length > 0) return Promise.resolve(this.#arrived.shift());
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  // The next message, which is of this type.
  async take(type) {
    const message = await this.next();
    assert.equal(message.type, type, JSON.stringify(message).slice(0, 200));
    return message;
  }

  // Whether nothing has come, as far as the client has got with what it was told.
  async isQuiet() {
    this.socket.ping();
    await once(this.socket, 'pong');
    return this.#arrived.length === 0;
  }

  async takeNumbers(count) {
    const numbers = [];
    while (numbers.length < count) numbers.push((await this.take('observation')).sequence_number);
    return numbers;
  }

  say(message) {
    this.socket.send(JSON.stringify({ session_id: ID, ...message }));
  }

  ack(sequence) {
    this.say({
      type: 'ack',
      sequence_number: sequence,
      status: 'accepted',
      memory_id: `m${sequence}`,
    });
  }

  // An ack for all up to `sequence`.
  ackFrom(first, sequence) {
    this.say({
      type: 'ack',
      first_sequence: first,
      sequence_number: sequence,
      status: 'accepted',
      memory_id: 'm',
    });
  }

  async init(initial_sequence = 0) {
    const init = await this.take('init');
    this.say({ type: 'init_ack', initial_sequence, capabilities: {} });
    return init;
  }

  async found() {
    const { request_id } = await this.take('recall');
    this.say({
      type: 'recall_result',
      request_id,
      results: [],
      more_results: false,
      snapshot_sequence: 0,
    });
  }

  follows(sequence) {
    const message = `Sequence validation failed: expected 1, got ${sequence}`;
    this.say({ type: 'error', code: 'failed_precondition', sequence_number: sequence, message });
  }
}

// A server whose connections are taken one by one.
class Script {
  static async start() {
    const script = new Script();
    script.server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    script.peers = [];
    script.waiting = [];
    script.server.on('connection', (socket) => {
      const peer = new Peer(socket);
      const waiting = script.waiting.shift();
      if (waiting) waiting(peer);
      else script.peers.push(peer);
    });
    await once(script.server, 'listening');
    script.url = `ws://127.0.0.1:${script.server.address().port}`;
    return script;
  }

  peer() {
    if (this.peers.length > 0) return Promise.resolve(this.peers.shift());
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  // Opens a session; its two ends.
  async open(options = {}) {
    const opening = open(this.url, { space: 'scripted', ...SOON, ...options });
    const peer = await this.peer();
    await peer.init();
    return { session: await opening, peer };
  }

  stop() {
    for (const client of this.server.clients) client.terminate();
    this.server.close();
  }
}

// A test with a script, which ends with it.
function scripted(name, body) {
  test(name, async () => {
    const script = await Script.start();
    try {
      await body(script);
    } finally {
      script.stop();
    }
  });
}

const observed = (session, count) =>
  Array.from({ length: count }, (_, n) => session.observe(row(n + 1)));
const settled = async (promises) =>
  (await Promise.allSettled(promises)).map(({ status }) => status);

scripted('init says what is asked for', async (script) => {
  const opening = open(script.url, { space: 'scripted', priority: 'low' });
  const init = await (await script.peer()).init(7);
  const { memory_space_id, session_id, priority, ack_mode, enable_backpressure } = init;
  assert.deepEqual(
    [memory_space_id, session_id, priority, ack_mode],
    ['scripted', undefined, 'low', 'cumulative'],
  );
  assert.equal(enable_backpressure, true);
  const session = await opening;
  assert.deepEqual([session.id, session.acked], [ID, 7]);
  session.abort();
});

scripted('a time to come back is kept, and all behind it waits with it', async (script) => {
  const { session, peer } = await script.open();
  const acks = observed(session, 3);
  assert.deepEqual(await peer.takeNumbers(3), [1, 2, 3]);
  const retry_after_ms = 60;
  const refused = performance.now();
  peer.say({
    type: 'error',
    code: 'resource_exhausted',
    sequence_number: 1,
    message: 'Queue error',
    retry_after_ms,
  });
  peer.follows(2);
  peer.follows(3);
  const again = [
    await peer.take('observation'),
    await peer.take('observation'),
    await peer.take('observation'),
  ];
  assert.deepEqual(
    again.map(({ sequence_number }) => sequence_number),
    [1, 2, 3],
  );
  assert.ok(again[0].at - refused >= retry_after_ms, `after ${again[0].at - refused} ms`);
  peer.ackFrom(1, 3);
  assert.deepEqual(
    (await Promise.all(acks)).map(({ memoryId }) => memoryId),
    [`mem_${ID}_1`, `mem_${ID}_2`, 'm'],
  );
  session.abort();
});

for (const told of ['status', 'refusal']) {
  scripted(
    `a pause by ${told} holds observations until the server is active, and nothing else`,
    async (script) => {
      const { session, peer } = await script.open();
      const acks = told === 'status' ? [] : observed(session, 1);
      if (told === 'status') {
        peer.say({ type: 'status', state: 'paused' });
      } else {
        await peer.takeNumbers(1);
        peer.say({
          type: 'error',
          code: 'failed_precondition',
          sequence_number: 1,
          message: 'Session paused',
        });
      }
      // Its answer comes behind the pause, so by then the pause is known.
      const [recalled] = [session.recall(vector(1)), await peer.found()];
      await recalled;
      acks.push(session.observe(row(2)));
      const behind = session.recall(vector(1));
      await peer.found();
      await behind;
      peer.say({ type: 'status', state: 'active' });
      await peer.takeNumbers(acks.length);
      acks.forEach((_, index) => peer.ack(index + 1));
      await Promise.all(acks);
      session.abort();
    },
  );
}

scripted('a status of overload is kept for as long as it says', async (script) => {
  const { session, peer } = await script.open();
  const told = performance.now();
  peer.say({ type: 'status', state: 'overloaded', retry_after_ms: 60 });
  const recalled = session.recall(vector(1));
  await peer.found();
  await recalled;
  const ack = session.observe(row(1));
  const { at } = await peer.take('observation');
  assert.ok(at - told >= 60, `after ${at - told} ms`);
  peer.ack(1);
  await ack;
  session.abort();
});

scripted('a silent server is left and the session resumed on a new connection', async (script) => {
  const { session, peer } = await script.open({ silenceMs: 100, connectTimeoutMs: Infinity });
  const acks = observed(session, 3);
  await peer.takeNumbers(3);
  const next = await script.peer();
  const init = await next.init(2);
  assert.equal(init.session_id, ID);
  // What was durable is told by the mark; what was not comes again under its number.
  assert.deepEqual(await next.takeNumbers(1), [3]);
  next.ack(3);
  assert.deepEqual(
    (await Promise.all(acks)).map(({ sequence }) => sequence),
    [1, 2, 3],
  );
  session.abort();
});

scripted(
  'a lost connection takes recalls along to the next one, without the pages that had come',
  async (script) => {
    const { session, peer } = await script.open();
    const page = (request_id, more_results, ids) => ({
      type: 'recall_result',
      request_id,
      more_results,
      snapshot_sequence: 5,
      results: ids.map((id) => ({
        id,
        content: id,
        activation: 1,
        confidence: 1,
        durability: 'durable',
        metadata: {},
      })),
    });
    const recalled = session.recall(vector(1));
    const { request_id } = await peer.take('recall');
    peer.say(page(request_id, true, ['a', 'b']));
    peer.socket.close();
    const next = await script.peer();
    await next.init();
    const again = await next.take('recall');
    next.say(page(again.request_id, true, ['a', 'c']));
    next.say(page(again.request_id, false, ['d']));
    const { memories, snapshotSequence } = await recalled;
    assert.deepEqual([memories.map(({ id }) => id), snapshotSequence], [['a', 'c', 'd'], 5]);
    session.abort();
  },
);

scripted('a shard that failed is resumed', async (script) => {
  const { session, peer } = await script.open();
  const acks = observed(session, 2);
  await peer.takeNumbers(2);
  peer.say({
    type: 'error',
    code: 'unavailable',
    message: 'the shard is starting',
    retry_after_ms: 1,
  });
  await peer.closed;
  const starting = await script.peer();
  await starting.take('init');
  starting.say({
    type: 'error',
    session_id: null,
    code: 'unavailable',
    message: 'the shard is starting',
  });
  const next = await script.peer();
  await next.init(0);
  assert.deepEqual(await next.takeNumbers(2), [1, 2]);
  next.ackFrom(1, 2);
  assert.deepEqual(await settled(acks), ['fulfilled', 'fulfilled']);
  session.abort();
});

scripted('a close whose answer is lost is said again', async (script) => {
  const { session, peer } = await script.open();
  const closing = session.close({ drain: 'indexed' });
  const { drain_queue, last_sequence } = await peer.take('close');
  assert.deepEqual([drain_queue, last_sequence], [true, 0]);
  peer.socket.terminate();
  const next = await script.peer();
  await next.init(0);
  await next.take('close');
  next.say({ type: 'status', state: 'closed', message: 'drained', sequence_number: 0 });
  assert.equal(await closing, 0);
});

for (const last of ['observation', 'recall']) {
  scripted(`a close waits for the answer to the last ${last}`, async (script) => {
    const { session, peer } = await script.open();
    const ack = session.observe(row(1));
    const recalled = session.recall(vector(1));
    const closing = session.close();
    await peer.takeNumbers(1);
    const { request_id } = await peer.take('recall');
    const results = { results: [], more_results: false, snapshot_sequence: 1 };
    const answers = [
      () => peer.ack(1),
      () => peer.say({ type: 'recall_result', request_id, ...results }),
    ];
    if (last === 'observation') answers.reverse();
    answers[0]();
    assert.ok(await peer.isQuiet(), `the ${last} is not answered`);
    answers[1]();
    assert.equal((await peer.take('close')).last_sequence, 1);
    peer.say({ type: 'status', state: 'closed', sequence_number: 1 });
    assert.equal(await closing, 1);
    await Promise.all([ack, recalled]);
  });
}

scripted(
  'a recall is asked again when the server has room, and fails where it will not say when',
  async (script) => {
    const { session, peer } = await script.open();
    const first = session.recall(vector(1));
    const { request_id } = await peer.take('recall');
    peer.say({
      type: 'error',
      code: 'resource_exhausted',
      request_id,
      message: 'Too many recalls',
      retry_after_ms: 5,
    });
    await peer.found();
    await first;
    const second = session.recall(vector(1));
    const again = await peer.take('recall');
    peer.say({
      type: 'error',
      code: 'resource_exhausted',
      request_id: again.request_id,
      message: 'Too many recalls',
    });
    await assert.rejects(second, OverloadedError);
    session.abort();
  },
);

scripted('a close at another number than what was acked is a fault', async (script) => {
  const { session, peer } = await script.open();
  const rejected = assert.rejects(session.close(), ProtocolError);
  await peer.take('close');
  peer.say({ type: 'status', state: 'closed', sequence_number: 5 });
  await rejected;
});

scripted('no more recalls are under way than the server takes at once', async (script) => {
  const { session, peer } = await script.open();
  const recalls = Array.from({ length: 10 }, () => session.recall(vector(1)));
  const answer = ({ request_id }) => {
    const results = { results: [], more_results: false, snapshot_sequence: 0 };
    peer.say({ type: 'recall_result', request_id, ...results });
  };
  const first = [];
  while (first.length < 8) first.push(await peer.take('recall'));
  assert.ok(await peer.isQuiet(), 'eight are under way');
  answer(first.shift());
  first.push(await peer.take('recall'));
  assert.ok(await peer.isQuiet(), 'eight are under way again');
  first.forEach(answer);
  answer(await peer.take('recall'));
  assert.equal((await Promise.all(recalls)).length, 10);
  session.abort();
});

scripted('a session that is aborted while it is cut off stays away', async (script) => {
  let session;
  const onStateChange = (state) => state === 'reconnecting' && session.abort();
  const opened = await script.open({ onStateChange });
  session = opened.session;
  const rejected = assert.rejects(session.observe(row(1)), SessionClosedError);
  await opened.peer.takeNumbers(1);
  opened.peer.socket.terminate();
  await rejected;
  // Others come and go meanwhile; if it came back, it would be among them.
  for (let n = 0; n < 10; n++) {
    const other = await script.open();
    other.session.abort();
    await other.peer.closed;
  }
  assert.equal(script.peers.length, 0);
});

// [what the server says or does when two observations were sent, what becomes of the session]
const ENDS = [
  ['says that it was taken over', (peer) => peer.socket.close(4000), SessionTakenOverError],
  ['could not read a message', (peer) => peer.socket.close(1009), ProtocolError],
  ['acks what was not sent', (peer) => peer.ack(2), ProtocolError],
  [
    'acks twice',
    (peer) => {
      peer.ack(1);
      peer.ack(1);
    },
    ProtocolError,
  ],
  ['refuses for no known reason', (peer) => peer.follows(1), ProtocolError],
  ['speaks no JSON', (peer) => peer.socket.send('{'), ProtocolError],
  ['speaks in bytes', (peer) => peer.socket.send(Buffer.from([1])), ProtocolError],
  [
    'leaves out what is needed',
    (peer) => peer.say({ type: 'ack', status: 'accepted' }),
    ProtocolError,
  ],
  [
    'serves no such thing',
    (peer) => peer.say({ type: 'error', code: 'unimplemented', message: 'Not served: x' }),
    NotServedError,
  ],
];

for (const [name, act, expected] of ENDS) {
  scripted(`a server that ${name} ends the session with a ${expected.name}`, async (script) => {
    const { session, peer } = await script.open();
    const acks = observed(session, 2).map((ack) => ack.catch((why) => why));
    await peer.takeNumbers(2);
    act(peer);
    const last = (await Promise.all(acks))[1];
    assert.ok(last instanceof expected, `${last}`);
    await assert.rejects(session.observe(row(3)), expected);
    assert.equal(session.state, 'closed');
  });
}

// [how the session is answered when it is resumed, having one observation acked and one not; what
// it ends with]
const RESUMED = [
  [
    'was taken over meanwhile',
    (peer) => peer.say({ type: 'error', code: 'aborted', message: 'Session taken over' }),
    SessionTakenOverError,
  ],
  [
    'is unknown',
    (peer) => peer.say({ type: 'error', code: 'not_found', message: 'Session not found' }),
    SessionLostError,
  ],
  [
    'lost what was acked',
    (peer) => peer.say({ type: 'init_ack', initial_sequence: 0 }),
    ProtocolError,
  ],
  [
    'has what was never sent',
    (peer) => peer.say({ type: 'init_ack', initial_sequence: 3 }),
    ProtocolError,
  ],
];

for (const [name, act, expected] of RESUMED) {
  scripted(
    `a session that ${name} when it is resumed ends with a ${expected.name}`,
    async (script) => {
      const { session, peer } = await script.open();
      const acks = observed(session, 2);
      await peer.takeNumbers(2);
      peer.ack(1);
      await acks[0];
      const rejected = assert.rejects(acks[1], expected);
      peer.socket.terminate();
      const next = await script.peer();
      await next.take('init');
      act(next);
      await rejected;
    },
  );
}

scripted('a server that stays away is given up', async (script) => {
  const { session, peer } = await script.open({
    reconnect: { firstDelayMs: 1, maxDelayMs: 5, giveUpAfterMs: 50 },
  });
  const rejected = assert.rejects(session.observe(row(1)), ConnectionError);
  await peer.takeNumbers(1);
  script.stop();
  await rejected;
});

scripted(
  'an opening fails at once where there is no server, it is not ready, or it does not answer',
  async (script) => {
    const starting = open(script.url, { space: 'scripted' });
    const peer = await script.peer();
    peer.say({
      type: 'error',
      session_id: null,
      code: 'unavailable',
      message: 'the shard is starting',
    });
    await assert.rejects(starting, UnavailableError);
    await assert.rejects(
      open(script.url, { space: 'scripted', connectTimeoutMs: 50 }),
      ConnectionError,
    );
    script.stop();
    await assert.rejects(open(script.url, { space: 'scripted' }), ConnectionError);
  },
);

scripted('a type that a later server may say is passed over', async (script) => {
  const { session, peer } = await script.open();
  const ack = session.observe(row(1));
  await peer.takeNumbers(1);
  peer.say({ type: 'toString' });
  peer.say({ type: 'status', state: 'musing' });
  peer.say({ type: 'ack', sequence_number: 1, status: 'indexed', memory_id: 'm1' });
  peer.ack(1);
  assert.equal((await ack).memoryId, 'm1');
  session.abort();
});

const subscribed = { type: 'status', state: 'active', message: 'subscribed' };

scripted('a subscription says what is asked for, and hears of gaps', async (script) => {
  const { session, peer } = await script.open();
  const heard = [];
  const options = { kinds: ['stored', 'recalled'], minImportance: 0.25, bufferSize: 7 };
  const begun = session.subscribe((event) => heard.push(event), options);
  const asked = await peer.take('subscribe');
  assert.deepEqual(asked.event_types, ['storage', 'recall']);
  assert.deepEqual([asked.min_importance, asked.buffer_size], [0.25, 7]);
  peer.say(subscribed);
  await begun;
  const event = { type: 'event', timestamp: '2026-11-22T00:00:00Z', importance: 0 };
  peer.say({ ...event, event_type: 'unspecified', metadata: { missed: '3' } });
  peer.say({ ...event, event_type: 'recall', metadata: { memory_id: 'm1', results: '2' } });
  const recalled = session.recall(vector(1));
  await peer.found();
  await recalled;
  const at = new Date(event.timestamp);
  assert.deepEqual(heard, [
    { kind: 'missed', count: 3 },
    { kind: 'recalled', at, memoryId: 'm1', importance: 0, metadata: { results: '2' } },
  ]);
  await assert.rejects(session.subscribe(() => {}, { bufferSize: -1 }), InvalidRequestError);
  session.abort();
});

scripted('a subscription that is refused is all that fails', async (script) => {
  const { session, peer } = await script.open();
  const begun = session.subscribe(() => assert.fail('nothing is told'));
  await peer.take('subscribe');
  peer.say({ type: 'error', code: 'unimplemented', message: 'Not served: subscribe' });
  await assert.rejects(begun, NotServedError);
  const recalled = session.recall(vector(1));
  await peer.found();
  await recalled;
  const waiting = session.subscribe(() => {});
  await peer.take('subscribe');
  session.abort();
  await assert.rejects(waiting, SessionClosedError);
});

scripted('that a subscription stands says nothing of the load', async (script) => {
  const { session, peer } = await script.open({ window: 8 });
  peer.say({ type: 'status', state: 'backpressure' });
  const begun = session.subscribe(() => {});
  await peer.take('subscribe');
  peer.say(subscribed);
  await begun;
  const acks = observed(session, 8);
  acks.forEach((ack) => ack.catch(() => {}));
  assert.deepEqual(await peer.takeNumbers(2), [1, 2]);
  assert.ok(await peer.isQuiet(), 'a quarter of the window, as the server asked');
  session.abort();
});
