// Streams observations and recalls one of them:  node examples/observe.js [ws://127.0.0.1:7432]

import { InvalidObservationError, open } from 'engram-client';

const DIMENSION = 768;
const COUNT = 1000;

/** Stands for the embedding of a text by some model. @param {number} seed */
function embedding(seed) {
  return Float32Array.from({ length: DIMENSION }, (_, i) => Math.sin(seed * (i + 1)));
}

const session = await open(process.argv[2] ?? 'ws://127.0.0.1:7432', {
  space: 'example',
  onStateChange: (state, cause) => console.log(`now ${state}${cause ? `: ${cause.message}` : ''}`),
});

/** @type {Promise<unknown>[]} */
const acks = [];
for (let n = 1; n <= COUNT; n++) {
  await session.ready;
  acks.push(
    session.observe({ what: `observation ${n}`, embedding: embedding(n), when: new Date() }),
  );
}
await Promise.all(acks);
console.log(`${session.acked} observations are durable`);

await session.observe({ what: 'too short', embedding: [1, 2, 3] }).catch((why) => {
  if (!(why instanceof InvalidObservationError)) throw why;
  console.log(`refused, as it should be: ${why.message}`);
});

const { memories } = await session.recall(embedding(500), { maxResults: 3 });
for (const { content, activation } of memories) console.log(`${activation.toFixed(3)}  ${content}`);

console.log(`closed at ${await session.close()}`);
