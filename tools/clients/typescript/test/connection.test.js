// How a connection watches over the server's silence, by a clock that the test sets.

import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { Connection } from '../dist/connection.js';

// A WebSocket without a network.
class Socket {
  static last;
  listeners = {};
  ended = [];

  constructor() {
    Socket.last = this;
  }

  addEventListener(type, listener) {
    this.listeners[type] = listener;
  }

  close(code) {
    this.ended.push(['close', code]);
  }
}

class Terminable extends Socket {
  terminate() {
    this.ended.push(['terminate']);
  }
}

// A connection over `socketType` that may be silent for 100 ms, what it told, and a way to let time
// pass.
function connect(context, socketType) {
  let now = 1000;
  mock.method(performance, 'now', () => now);
  mock.timers.enable({ apis: ['setTimeout'] });
  context.after(() => mock.reset());
  context.after(() => mock.timers.reset());
  const told = [];
  const connection = new Connection(socketType, 'ws://example', 100, {
    opened: () => told.push('opened'),
    received: (data) => told.push(data),
    lost: (code, why) => told.push([code, why]),
  });
  const pass = (ms) => {
    now += ms;
    mock.timers.tick(ms);
  };
  return { connection, socket: Socket.last, told, pass };
}

test('whatever is heard breaks the silence, which ends the connection', (context) => {
  const { socket, told, pass } = connect(context, Terminable);
  pass(99);
  socket.listeners.open();
  pass(99);
  socket.listeners.message({ data: 'beat' });
  pass(99);
  assert.deepEqual(told, ['opened', 'beat']);
  pass(1);
  assert.deepEqual(told.slice(2), [[1006, 'nothing was heard for 100 ms']]);
  assert.deepEqual(socket.ended, [['terminate']]);
  socket.listeners.message({ data: 'late' });
  socket.listeners.close({ code: 1006, reason: '' });
  assert.equal(told.length, 3, 'nothing is told after the end');
});

test('the silence may be made longer', (context) => {
  const { connection, told, pass } = connect(context, Socket);
  connection.expectWithin(1000);
  pass(999);
  assert.deepEqual(told, []);
  pass(1);
  assert.equal(told.length, 1);
});

test('what was lost says why; what was closed or dropped here says nothing', (context) => {
  const lost = connect(context, Socket);
  lost.socket.listeners.error({ message: 'refused' });
  lost.socket.listeners.close({ code: 1006, reason: '' });
  assert.deepEqual(lost.told, [[1006, 'refused']]);
  mock.reset();
  mock.timers.reset();
  const closed = connect(context, Socket);
  closed.connection.close();
  closed.socket.listeners.close({ code: 1000, reason: '' });
  closed.pass(1000);
  assert.deepEqual([closed.told, closed.socket.ended], [[], [['close', 1000]]]);
});
