// The client and the real server: every observation durable once and in order, whatever happens to
// the connection.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import {
  InvalidObservationError,
  InvalidRequestError,
  QueueFullError,
  SessionClosedError,
  SessionLostError,
  SessionTakenOverError,
  open,
} from 'engram-client';
import { Server } from '../../../../tests/node/server.js';
import { Proxy } from './proxy.js';
import { observations, row, vector } from './rows.js';

const COUNT = 1000;
const SOON = { reconnect: { firstDelayMs: 5, maxDelayMs: 50 } };

let server;
before(async () => {
  server = await Server.start();
});
after(() => server?.stop());

const url = (port) => `ws://127.0.0.1:${port}`;

// Rows `from` to `to`, observed without waiting; the promises of their acks.
function observeAll(session, from, to) {
  return Array.from({ length: to - from + 1 }, (_, i) => session.observe(row(from + i)));
}

// That rows 1 to COUNT are the session's observations 1 to COUNT, and that there is nothing else.
async function assertWhole(session, acks) {
  acks.forEach((ack, index) => {
    assert.deepEqual([ack.sequence, ack.memoryId], [index + 1, `mem_${session.id}_${index + 1}`]);
  });
  assert.equal(acks.length, COUNT);
  for (let n = 1; n <= COUNT; n += 37) {
    const { memories, snapshotSequence } = await session.recall(vector(n), { maxResults: 1 });
    assert.equal(snapshotSequence, COUNT, 'as many as were observed, none twice');
    assert.deepEqual([memories[0].id, memories[0].content], [`mem_${session.id}_${n}`, `row ${n}`]);
  }
  assert.equal(await session.close(), COUNT);
  assert.equal(session.state, 'closed');
}

test('events are told from the subscription on, and after a cut', async () => {
  const proxy = await Proxy.start(server.port);
  const session = await open(proxy.url, { space: 'listened-to', ...SOON });
  const heard = [];
  let waiting;
  const next = async () => {
    while (heard.length === 0) await new Promise((resolve) => (waiting = resolve));
    return heard.shift();
  };
  const listener = (event) => {
    heard.push(event);
    waiting?.();
  };
  const observe = (id, importance) => session.observe({ ...row(1), id, importance });
  await session.subscribe(listener, { kinds: ['stored'], minImportance: 0.5 });
  await Promise.all([observe('m1', 0.9), observe('m2', 0.1), observe('m3', 0.5)]);
  await session.recall(vector(1));
  for (const [memoryId, importance] of [['m1', 0.9], ['m3', 0.5]]) {
    const event = await next();
    assert.deepEqual([event.kind, event.memoryId], ['stored', memoryId]);
    assert.ok(Math.abs(event.importance - importance) < 1e-6 && event.at instanceof Date);
  }
  proxy.cut();
  assert.deepEqual(await next(), { kind: 'interrupted' });
  await observe('m4', 1);
  assert.equal((await next()).memoryId, 'm4');
  session.unsubscribe();
  await observe('m5', 1);
  await session.recall(vector(1));
  assert.deepEqual(heard, []);
  await session.close();
  proxy.stop();
});

test('a recall is filtered', async () => {
  const session = await open(url(server.port), { space: 'filtered' });
  const places = ['lab', 'field', 'lab'];
  await Promise.all(
    places.map((where, n) => session.observe({ ...row(n), where, who: ['all', `${n}`] })),
  );
  const found = async (filter) => {
    const { memories } = await session.recall(vector(0), { filter });
    return memories.map(({ content }) => content).sort();
  };
  assert.deepEqual(await found({ where: 'lab' }), ['row 0', 'row 2']);
  assert.deepEqual(await found({ who: ['all', '1'] }), ['row 1']);
  assert.deepEqual(await found({ to: new Date(0) }), []);
  await session.close();
});

test('acks are durable and in order, and a recall finds what they tell', async () => {
  const session = await open(url(server.port), { space: 'plain', window: 32 });
  assert.equal(session.state, 'open');
  const acks = await Promise.all(observeAll(session, 1, COUNT));
  assert.ok(acks.every(({ committedAt }) => !Number.isNaN(committedAt.getTime())));
  assert.equal(await observations(server, 'plain'), COUNT);
  await assertWhole(session, acks);
  await assert.rejects(session.observe(row(1)), SessionClosedError);
});

test('all that an observation says is kept', async () => {
  const session = await open(`http://127.0.0.1:${server.port}/`, {
    space: 'fields',
    priority: 'high',
  });
  const when = new Date('2026-11-21T17:00:00.250Z');
  const said = { where: 'the kitchen', who: ['Ada', 'Böb'], why: 'hunger', how: 'by hand' };
  const ack = await session.observe({
    ...said,
    id: 'cake',
    what: 'a cake: 🎂',
    embedding: Array.from(vector(1)),
    when,
    confidence: 0.5,
    importance: 1,
  });
  assert.deepEqual([ack.sequence, ack.memoryId], [1, 'cake']);
  const {
    memories: [cake],
  } = await session.recall(vector(1), { snapshotIsolation: true });
  assert.deepEqual(
    [cake.id, cake.content, cake.durability, cake.when],
    ['cake', 'a cake: 🎂', 'durable', when],
  );
  assert.ok(cake.activation > 0.999);
  assert.equal(cake.metadata.where, 'the kitchen');
  assert.equal(await session.close({ drain: 'indexed' }), 1);
});

test('results of many pages are one answer', async () => {
  const session = await open(url(server.port), { space: 'pages' });
  await Promise.all(observeAll(session, 1, 250));
  const { memories } = await session.recall(vector(7), { maxResults: 240 });
  assert.equal(memories.length, 240);
  assert.equal(new Set(memories.map(({ id }) => id)).size, 240);
  const recalls = Array.from({ length: 20 }, (_, n) =>
    session.recall(vector(n + 1), { maxResults: 1 }),
  );
  const found = await Promise.all(recalls);
  assert.deepEqual(
    found.map(({ memories }) => memories[0].content),
    found.map((_, n) => `row ${n + 1}`),
  );
  await session.close();
});

test('a connection that is cut in the middle loses nothing and doubles nothing', async () => {
  const proxy = await Proxy.start(server.port);
  const states = [];
  const session = await open(proxy.url, {
    space: 'cut',
    window: 64,
    ...SOON,
    onStateChange: (state) => states.push(state),
  });
  const acks = observeAll(session, 1, COUNT);
  for (const at of [100, 500, 501, 900]) {
    await acks[at];
    proxy.cut();
  }
  await assertWhole(session, await Promise.all(acks));
  assert.ok(
    proxy.connections >= 4 && states.includes('reconnecting'),
    `${proxy.connections} connections`,
  );
  proxy.stop();
});

test('what became durable while its acks were lost is not sent again', async () => {
  const proxy = await Proxy.start(server.port);
  const session = await open(proxy.url, { space: 'muted', window: 100, ...SOON });
  proxy.mute();
  const acks = observeAll(session, 1, COUNT);
  while ((await observations(server, 'muted')) < 100);
  assert.deepEqual([session.acked, session.pending], [0, COUNT]);
  assert.equal(await observations(server, 'muted'), 100, 'no more than the window is under way');
  proxy.cut();
  await acks[0];
  assert.equal((await acks[0]).committedAt, undefined, 'only the mark told of it');
  await assertWhole(session, await Promise.all(acks));
  proxy.stop();
});

test('a server killed in the middle and started again has everything once', async () => {
  const own = await Server.start();
  try {
    const proxy = await Proxy.start(own.port);
    const session = await open(proxy.url, { space: 'killed', window: 64, ...SOON });
    const acks = observeAll(session, 1, COUNT);
    await acks[400];
    await own.restart('SIGKILL');
    proxy.target = own.port;
    await acks[700];
    await own.restart('SIGTERM');
    proxy.target = own.port;
    await assertWhole(session, await Promise.all(acks));
    proxy.stop();
  } finally {
    await own.stop();
  }
});

test('what is refused for overload is sent again when the server said', async () => {
  const own = await Server.start(['--capacity', '8']);
  try {
    const session = await open(url(own.port), { space: 'crowded', window: 256 });
    const acks = await Promise.all(observeAll(session, 1, COUNT));
    const metrics = await (await fetch(`http://127.0.0.1:${own.port}/metrics`)).text();
    const refused = /rejected_total\{memory_space="crowded",reason="over_capacity"\} (\d+)/.exec(
      metrics,
    );
    assert.ok(Number(refused[1]) > 0, 'nothing was refused, so nothing was tried');
    await assertWhole(session, acks);
  } finally {
    await own.stop();
  }
});

test('a bad observation is told by its field, and those behind it go on', async () => {
  const session = await open(url(server.port), { space: 'bad' });
  const bad = [
    [{ ...row(1), embedding: [1, 2, 3] }, 'embedding', 'Embedding must be exactly 768 dimensions'],
    [{ ...row(1), embedding: vector(1).fill(NaN, 3, 4) }, 'embedding', 'Embedding must be finite'],
    [{ ...row(1), embedding: new Float32Array(768) }, 'embedding', 'Embedding must not be zero'],
    [{ ...row(1), embedding: 'none' }, 'embedding', /Invalid observation request/],
    [{ embedding: vector(1) }, 'what', /Invalid observation request/],
    [{ ...row(1), what: 'half \ud83c' }, 'what', /lone surrogate/],
    [{ ...row(1), what: 'é'.repeat((32 << 10) + 1) }, 'what', 'Field too large: what'],
    [{ ...row(1), id: 'x'.repeat(257) }, 'id', 'Field too large: id'],
    [{ ...row(1), where: 'x'.repeat(4097) }, 'where_location', 'Field too large: where_location'],
    [{ ...row(1), who: Array(65).fill('a') }, 'who', 'Field too large: who'],
    [{ ...row(1), when: new Date(NaN) }, 'when', /Invalid observation request/],
    [{ ...row(1), confidence: Infinity }, 'confidence', /Invalid observation request/],
  ];
  const good = [];
  const told = [];
  for (const [observation] of bad) {
    good.push(session.observe(row(good.length)));
    told.push(
      assert.rejects(session.observe(observation), (why) => {
        assert.ok(why instanceof InvalidObservationError, `${why}`);
        const [, field, message] = bad.find(([other]) => other === observation);
        assert.equal(why.field, field);
        if (message instanceof RegExp) assert.match(why.message, message);
        else assert.equal(why.message, message);
        assert.equal(why.code, 'invalid_argument');
        return true;
      }),
    );
  }
  good.push(session.observe({ ...row(99), what: 'é'.repeat(32 << 10) }));
  const acks = await Promise.all(good);
  assert.deepEqual(
    acks.map(({ sequence }) => sequence),
    acks.map((_, index) => index + 1),
  );
  await Promise.all(told);
  assert.equal(await session.close(), bad.length + 1);
});

test('a bad recall and bad options are told', async () => {
  await assert.rejects(open(url(server.port), { space: 'No Such Name!' }), InvalidRequestError);
  await assert.rejects(open('not a URL', { space: 'bad' }), InvalidRequestError);
  await assert.rejects(open(url(server.port), { space: 'bad', window: 0 }), InvalidRequestError);
  await assert.rejects(
    open(url(server.port), { resume: '0190b1c2-0000-4000-8000-000000000000' }),
    SessionLostError,
  );
  const session = await open(url(server.port), { space: 'bad' });
  await assert.rejects(session.recall([1, 2, 3]), InvalidRequestError);
  await assert.rejects(session.recall(new Float32Array(768).fill(Infinity)), /finite/);
  await assert.rejects(session.recall(vector(1), { maxResults: -1 }), InvalidRequestError);
  await session.recall(vector(1));
  await session.close();
});

test('a session goes on from elsewhere, and the one it was taken from is told', async () => {
  const first = await open(url(server.port), { space: 'taken', ...SOON });
  await Promise.all(observeAll(first, 1, 10));
  const second = await open(url(server.port), { resume: first.id });
  assert.deepEqual([second.id, second.acked], [first.id, 10]);
  await assert.rejects(first.observe(row(11)), SessionTakenOverError);
  assert.equal(first.state, 'closed');
  assert.equal((await second.observe(row(11))).sequence, 11);
  assert.equal(await second.close(), 11);
  const third = await open(url(server.port), { resume: first.id, space: 'taken' });
  assert.equal(third.acked, 11, 'a closed session can be resumed as well');
  third.abort();
  await assert.rejects(third.observe(row(12)), SessionClosedError);
});

test('aborts end what they can', async () => {
  const session = await open(url(server.port), { space: 'aborted', window: 1 });
  session.pause();
  const controller = new AbortController();
  const kept = session.observe(row(1));
  const withdrawn = session.observe(row(2), { signal: controller.signal });
  const behind = session.observe(row(3));
  controller.abort(new Error('changed my mind'));
  await assert.rejects(withdrawn, /changed my mind/);
  await assert.rejects(session.recall(vector(1), { signal: controller.signal }), /changed my mind/);
  await assert.rejects(
    open(url(server.port), { space: 'aborted', signal: controller.signal }),
    /changed my mind/,
  );
  session.resume();
  assert.deepEqual(
    (await Promise.all([kept, behind])).map(({ sequence }) => sequence),
    [1, 2],
  );
  session.pause();
  const never = assert.rejects(session.observe(row(4)), /enough/);
  const room = assert.rejects(session.ready, /enough/);
  session.abort(new Error('enough'));
  await Promise.all([never, room]);
  await assert.rejects(session.ready, /enough/);
});

test('what waits is bounded, and room is told', async () => {
  const session = await open(url(server.port), { space: 'bounded', window: 4, queue: 8 });
  session.pause();
  const acks = observeAll(session, 1, 8);
  await assert.rejects(session.observe(row(9)), QueueFullError);
  const { ready } = session;
  session.resume();
  await ready;
  for (let n = 9; n <= 200; n++) {
    await session.ready;
    acks.push(session.observe(row(n)));
    assert.ok(session.pending <= 8 + 1, `${session.pending} are kept`);
  }
  assert.equal((await Promise.all(acks)).length, 200);
  await session.close();
});

// [over which WebSocket, Node's flags]
const EXAMPLES = [
  ['ws', []],
  [
    'the platform\u2019s own, by the browser\u2019s entry',
    ['--experimental-websocket', '--conditions=browser'],
  ],
];

for (const [over, flags] of EXAMPLES) {
  test(`the example runs over ${over}`, async () => {
    const example = path.join(
      path.dirname(fileURLToPath(import.meta.url)),
      '../examples/observe.js',
    );
    const { stdout } = await promisify(execFile)(process.execPath, [
      ...flags,
      example,
      url(server.port),
    ]);
    assert.match(stdout, /1000 observations are durable/);
    assert.match(stdout, /refused, as it should be: Embedding must be exactly 768 dimensions/);
    assert.match(stdout, /1\.000 {2}observation 500\n/);
    assert.match(stdout, /closed at 1000/);
  });
}
