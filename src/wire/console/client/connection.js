import { timer } from './promises.js';
export class Connection {
    #socket;
    #events;
    #over = false;
    #fault = '';
    #silenceMs;
    #heardAt = performance.now();
    #watch;
    constructor(socketType, url, silenceMs, events) {
        this.#events = events;
        this.#silenceMs = silenceMs;
        this.#socket = new socketType(url);
        this.#socket.addEventListener('open', () => {
            if (this.#over)
                return;
            this.#heardAt = performance.now();
            events.opened();
        });
        this.#socket.addEventListener('message', ({ data }) => {
            if (this.#over)
                return;
            this.#heardAt = performance.now();
            events.received(data);
        });
        this.#socket.addEventListener('error', ({ message }) => {
            this.#fault = message ?? '';
        });
        this.#socket.addEventListener('close', ({ code, reason }) => this.#lose(code, reason || this.#fault));
        this.#watchSilence();
    }
    send(text) {
        this.#socket.send(text);
    }
    expectWithin(silenceMs) {
        this.#silenceMs = silenceMs;
        this.#watchSilence();
    }
    close() {
        this.#end();
        this.#socket.close(1000);
    }
    drop() {
        this.#end();
        if (this.#socket.terminate)
            this.#socket.terminate();
        else
            this.#socket.close();
    }
    #watchSilence() {
        clearTimeout(this.#watch);
        const left = this.#heardAt + this.#silenceMs - performance.now();
        if (left <= 0) {
            this.drop();
            this.#events.lost(1006, `nothing was heard for ${this.#silenceMs} ms`);
        }
        else {
            this.#watch = timer(left, () => this.#watchSilence());
        }
    }
    #lose(code, why) {
        if (this.#over)
            return;
        this.#end();
        this.#events.lost(code, why || `closed with ${code}`);
    }
    #end() {
        this.#over = true;
        clearTimeout(this.#watch);
    }
}
