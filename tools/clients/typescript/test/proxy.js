// A TCP proxy that a test can cut, mute, and lead elsewhere.

import { once } from 'node:events';
import net from 'node:net';

export class Proxy {
  // A proxy to `port` of this host, on a port of its own.
  static async start(port) {
    const proxy = new Proxy();
    proxy.target = port;
    proxy.pairs = new Set();
    // How often it was connected to.
    proxy.connections = 0;
    proxy.server = net.createServer((client) => proxy.#join(client)).listen(0, '127.0.0.1');
    await once(proxy.server, 'listening');
    proxy.port = proxy.server.address().port;
    proxy.url = `ws://127.0.0.1:${proxy.port}`;
    return proxy;
  }

  #join(client) {
    this.connections += 1;
    const server = net.connect(this.target, '127.0.0.1');
    const pair = { client, server };
    this.pairs.add(pair);
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ]) {
      socket.on('error', () => {});
      socket.on('close', () => {
        other.destroy();
        this.pairs.delete(pair);
      });
      socket.pipe(other);
    }
  }

  // Cuts every connection, as a cable would.
  cut() {
    for (const { client, server } of this.pairs) {
      client.destroy();
      server.destroy();
    }
  }

  // From now on, what the server says on the present connections is lost.
  mute() {
    for (const { client, server } of this.pairs) {
      server.unpipe(client);
      server.resume();
    }
  }

  stop() {
    this.cut();
    this.server.close();
  }
}
