// One WebSocket: text in, text out, and a watch over its silence.

import { timer } from './promises.js';

/** As much of the WebSocket interface as is used here; browsers, `ws`, Deno and Bun have it. */
export interface WebSocketLike {
  addEventListener(type: 'open', listener: () => void): void;
  addEventListener(type: 'message', listener: (event: { data: unknown }) => void): void;
  addEventListener(
    type: 'close',
    listener: (event: { code: number; reason: string }) => void,
  ): void;
  addEventListener(type: 'error', listener: (event: { message?: string }) => void): void;
  send(data: string): void;
  close(code?: number): void;
  /** Where there is one: ends it without waiting for the other side. */
  terminate?(): void;
}

export type WebSocketConstructor = new (url: string) => WebSocketLike;

/** What a connection tells. Nothing is told after `lost`, or once it was dropped or closed. */
export interface ConnectionEvents {
  opened(): void;
  received(data: unknown): void;
  lost(code: number, why: string): void;
}

export class Connection {
  readonly #socket: WebSocketLike;
  readonly #events: ConnectionEvents;
  #over = false;
  #fault = '';
  #silenceMs: number;
  #heardAt = performance.now();
  #watch: ReturnType<typeof setTimeout> | undefined;

  /** Connects. Whatever comes, it must come within `silenceMs`. */
  constructor(
    socketType: WebSocketConstructor,
    url: string,
    silenceMs: number,
    events: ConnectionEvents,
  ) {
    this.#events = events;
    this.#silenceMs = silenceMs;
    this.#socket = new socketType(url);
    this.#socket.addEventListener('open', () => {
      if (this.#over) return;
      this.#heardAt = performance.now();
      events.opened();
    });
    this.#socket.addEventListener('message', ({ data }) => {
      if (this.#over) return;
      this.#heardAt = performance.now();
      events.received(data);
    });
    this.#socket.addEventListener('error', ({ message }) => {
      this.#fault = message ?? '';
    });
    this.#socket.addEventListener('close', ({ code, reason }) =>
      this.#lose(code, reason || this.#fault),
    );
    this.#watchSilence();
  }

  send(text: string): void {
    this.#socket.send(text);
  }

  /** From now on, the silence may last so long. */
  expectWithin(silenceMs: number): void {
    this.#silenceMs = silenceMs;
    this.#watchSilence();
  }

  /** Ends it in order; nothing is told any more. */
  close(): void {
    this.#end();
    this.#socket.close(1000);
  }

  /** Ends it at once; nothing is told any more. */
  drop(): void {
    this.#end();
    if (this.#socket.terminate) this.#socket.terminate();
    else this.#socket.close();
  }

  #watchSilence(): void {
    clearTimeout(this.#watch);
    const left = this.#heardAt + this.#silenceMs - performance.now();
    if (left <= 0) {
      this.drop();
      this.#events.lost(1006, `nothing was heard for ${this.#silenceMs} ms`);
    } else {
      this.#watch = timer(left, () => this.#watchSilence());
    }
  }

  #lose(code: number, why: string): void {
    if (this.#over) return;
    this.#end();
    this.#events.lost(code, why || `closed with ${code}`);
  }

  #end(): void {
    this.#over = true;
    clearTimeout(this.#watch);
  }
}
