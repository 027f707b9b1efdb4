// Random sessions against a model of the server: whatever is cut, refused or withdrawn, what the
// server keeps in the end is what was observed, in order, each once, and each is told its number.
//
// A failure names its seed, and the command that runs that one alone.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Window } from '../dist/window.js';

const SEED_FIRST = Number(process.env.ENGRAM_TEST_SEED ?? 0);
const SEEDS = Number(process.env.ENGRAM_TEST_SEEDS ?? 500);
const STEPS = 400;
const FILE = 'tools/clients/typescript/test/exactly-once.test.js';

function generator(seed) {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b_79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

// The server's rules of order, the slow and obvious way, over two queues that a cut empties.
class Model {
  // What is durable, in order.
  kept = [];
  // Taken and not durable yet, and refusals that wait for those before them.
  #turn = [];
  #toServer = [];
  toClient = [];

  send(sequence, item) {
    this.#toServer.push({ sequence, item });
  }

  // Takes one message.
  take(overloaded) {
    const message = this.#toServer.shift();
    if (message === undefined) return;
    const { sequence, item } = message;
    const expected = this.kept.length + this.#turn.filter(({ item }) => item).length + 1;
    assert.ok(sequence >= expected, `${sequence} was sent again on one connection`);
    if (sequence > expected) this.#turn.push({ sequence, refusal: { kind: 'follows', why: '' } });
    else if (item.bad) this.#turn.push({ sequence, refusal: { kind: 'content' } });
    else if (overloaded) this.#turn.push({ sequence, refusal: { kind: 'later', delayMs: 7 } });
    else this.#turn.push({ sequence, item });
  }

  // Makes one more durable, or tells one more refusal.
  sync() {
    const next = this.#turn.shift();
    if (next?.item) {
      this.kept.push(next.item);
      const last = this.toClient.at(-1);
      const run = last?.last === next.sequence - 1;
      if (run) last.last = next.sequence;
      else this.toClient.push({ first: next.sequence, last: next.sequence });
    } else if (next) {
      this.toClient.push(next);
    }
  }

  // What was taken is durable or dropped, what was under way is lost. Returns the mark.
  cut() {
    this.#turn = [];
    this.#toServer = [];
    this.toClient = [];
    return this.kept.length;
  }
}

function run(seed) {
  const random = generator(seed);
  const window = new Window({ size: 1 + random(8), acked: 0 });
  const model = new Model();
  const pushed = [];
  let now = 0;
  window.handleAttached(0);

  const told = (first, items) => {
    items.forEach((item, index) => {
      assert.equal(item.sequence, undefined, 'told twice');
      item.sequence = first + index;
    });
  };
  const hear = () => {
    const answer = model.toClient.shift();
    if (answer?.refusal) {
      const given = window.handleRefused(answer.sequence, answer.refusal, now);
      assert.equal(given?.bad, answer.refusal.kind === 'content' ? true : undefined);
      if (given) given.refused = true;
    } else if (answer) {
      told(answer.first, window.handleAck(answer.first, answer.last));
    }
  };
  const send = () => {
    const next = window.next(now);
    if (next.kind === 'wait') now = next.until;
    if (next.kind !== 'send') return;
    model.send(next.sequence, next.item);
    window.handleSent(now);
  };
  const actions = [
    () => {
      const item = { number: pushed.length, bad: random(8) === 0 };
      pushed.push(item);
      window.push(item);
    },
    send,
    send,
    send,
    () => model.take(random(12) === 0),
    () => model.take(false),
    () => model.sync(),
    () => model.sync(),
    hear,
    hear,
    () => {
      const item = pushed[random(pushed.length + 1)];
      if (item !== undefined && random(4) === 0) item.withdrawn ||= window.withdraw(item);
    },
    () => {
      if (random(6) > 0) return;
      window.handleLost();
      for (let more = random(4); more > 0; more--) model.sync();
      const first = window.acked + 1;
      told(first, window.handleAttached(model.cut()));
    },
  ];
  for (let step = 0; step < STEPS; step++) actions[random(actions.length)]();
  for (let turn = 0; window.length > 0; turn++) {
    assert.ok(turn < 10_000, 'it does not end');
    send();
    model.take(false);
    model.sync();
    hear();
  }

  const expected = pushed.filter((item) => !item.bad && !item.withdrawn);
  assert.deepEqual(
    model.kept.map(({ number }) => number),
    expected.map(({ number }) => number),
  );
  expected.forEach((item, index) => assert.equal(item.sequence, index + 1));
  pushed.forEach(({ refused, withdrawn, bad }) =>
    assert.equal(refused === true, bad && !withdrawn),
  );
}

test(`${SEEDS} random sessions keep each observation once and in order`, () => {
  for (let seed = SEED_FIRST; seed < SEED_FIRST + SEEDS; seed++) {
    try {
      run(seed);
    } catch (cause) {
      const replay = `ENGRAM_TEST_SEED=${seed} ENGRAM_TEST_SEEDS=1 node --test ${FILE}`;
      throw new Error(`seed ${seed}; again with: ${replay}`, { cause });
    }
  }
});
