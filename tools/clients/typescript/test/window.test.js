// The window by itself: what goes next, in which order, and when, by a clock that the test sets.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ProtocolError } from 'engram-client';
import { Window } from '../dist/window.js';

const IDLE = { kind: 'idle' };

function windowOf(count, size = 4) {
  const window = new Window({ size, acked: 0 });
  for (let n = 1; n <= count; n++) window.push(`item ${n}`);
  window.handleAttached(0);
  return window;
}

// Sends all that may be sent at `now`; what that was.
function send(window, now = 0) {
  const sent = [];
  for (let next = window.next(now); next.kind === 'send'; next = window.next(now)) {
    sent.push([next.sequence, next.item]);
    window.handleSent(now);
  }
  return sent;
}

const later = (delayMs) => ({ kind: 'later', delayMs });
const follows = { kind: 'follows', why: 'a gap' };

test('no more than its size is under way', () => {
  const window = windowOf(6);
  assert.deepEqual(
    send(window).map(([sequence]) => sequence),
    [1, 2, 3, 4],
  );
  assert.deepEqual(window.handleAck(1, 2), ['item 1', 'item 2']);
  assert.deepEqual(
    send(window).map(([sequence]) => sequence),
    [5, 6],
  );
  assert.deepEqual(window.handleAck(3, 6).length, 4);
  assert.deepEqual([window.acked, window.length, window.waiting], [6, 0, 0]);
});

test('acks out of turn are a fault', () => {
  for (const [first, last] of [
    [2, 2],
    [1, 5],
    [0, 1],
    [1, 0],
  ]) {
    const window = windowOf(6);
    send(window);
    assert.throws(() => window.handleAck(first, last), ProtocolError, `${first} to ${last}`);
  }
});

test('a refused one and all behind it go again, in order, after the time to come back', () => {
  const window = windowOf(5);
  send(window);
  window.handleAck(1, 1);
  assert.deepEqual(send(window), [[5, 'item 5']]);
  assert.equal(window.handleRefused(2, later(50), 100), undefined);
  for (const sequence of [3, 4]) {
    assert.deepEqual(window.next(1000), IDLE, 'until all that is under way is answered');
    window.handleRefused(sequence, follows, 101);
  }
  window.handleRefused(5, later(80), 110);
  assert.deepEqual(window.next(189), { kind: 'wait', until: 190 }, 'the longest time counts');
  assert.deepEqual(
    send(window, 190).map(([sequence]) => sequence),
    [2, 3, 4, 5],
  );
});

test('one of bad content is given up and the next takes its number', () => {
  const window = windowOf(3);
  send(window);
  assert.equal(window.handleRefused(1, { kind: 'content' }, 0), 'item 1');
  window.handleRefused(2, follows, 0);
  window.handleRefused(3, follows, 0);
  assert.deepEqual(send(window), [
    [1, 'item 2'],
    [2, 'item 3'],
  ]);
  assert.deepEqual(window.handleAck(1, 2), ['item 2', 'item 3']);
});

test('refusals out of turn are a fault', () => {
  const cases = [
    [2, later(1)],
    [0, later(1)],
    [9, later(1)],
    [1, follows],
  ];
  for (const [sequence, refusal] of cases) {
    const window = windowOf(3);
    send(window);
    assert.throws(() => window.handleRefused(sequence, refusal, 0), ProtocolError, `${sequence}`);
  }
  assert.throws(() => windowOf(3).handleRefused(1, later(1), 0), ProtocolError, 'nothing was sent');
});

test('after a lost connection it goes on behind what is durable', () => {
  const window = windowOf(6);
  send(window);
  window.handleAck(1, 1);
  window.handleLost();
  assert.deepEqual(window.next(0), IDLE);
  assert.deepEqual(window.handleAttached(3), ['item 2', 'item 3']);
  assert.deepEqual(send(window), [
    [4, 'item 4'],
    [5, 'item 5'],
    [6, 'item 6'],
  ]);
});

test('a mark below what was acked, or above what was sent, is a fault', () => {
  for (const durable of [1, 5]) {
    const window = windowOf(6);
    send(window);
    window.handleAck(1, 2);
    window.handleLost();
    assert.throws(() => window.handleAttached(durable), ProtocolError, `${durable}`);
  }
});

test('what the server says of its load is kept to', () => {
  const window = windowOf(400, 400);
  window.handleLoad({ state: 'paused' }, 0);
  assert.deepEqual(window.next(0), IDLE);
  window.handleLoad({ state: 'overloaded', delayMs: 30 }, 0);
  assert.deepEqual(window.next(0), { kind: 'wait', until: 30 });
  window.handleLoad({ state: 'backpressure', ratePerSecond: 1000 }, 40);
  let sent = 0;
  for (let now = 40; now < 140; now++) sent += send(window, now).length;
  assert.ok(sent >= 100 && sent <= 125, `${sent} in a tenth of a second`);
  window.handleLoad({ state: 'backpressure', ratePerSecond: undefined }, 140);
  assert.deepEqual(send(window, 140), [], 'more than a quarter is under way');
  window.handleAck(1, sent);
  assert.equal(send(window, 140).length, 100);
  window.handleLoad({ state: 'active' }, 141);
  assert.equal(window.waiting, 400 - sent - 100);
  assert.equal(send(window, 141).length, 400 - sent - 100);
});

test('what was not sent may be withdrawn', () => {
  const window = windowOf(4, 2);
  send(window);
  assert.equal(window.withdraw('item 2'), false);
  assert.equal(window.withdraw('item 3'), true);
  window.handleAck(1, 2);
  assert.deepEqual(send(window), [[3, 'item 4']]);
});

test('a pause here outlives the connection', () => {
  const window = windowOf(2);
  window.hold(true);
  window.handleLost();
  window.handleAttached(0);
  assert.deepEqual(window.next(0), IDLE);
  window.hold(false);
  assert.equal(send(window).length, 2);
});

test('what the server said of its load ends with the connection', () => {
  for (const load of [{ state: 'paused' }, { state: 'backpressure', ratePerSecond: undefined }]) {
    const window = windowOf(4);
    window.handleLoad(load, 0);
    window.handleLost();
    window.handleAttached(0);
    assert.equal(send(window).length, 4, load.state);
  }
});
