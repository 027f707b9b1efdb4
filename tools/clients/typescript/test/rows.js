// Observations by number, and how many of them a server has.

const DIMENSION = 768;

// The vector of row `number`: far from all others, and the same in every run.
export function vector(number) {
  const numbers = new Float32Array(DIMENSION);
  let state = Math.imul(number + 1, 0x9e37_79b1) | 1;
  for (let i = 0; i < DIMENSION; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    numbers[i] = state / 2 ** 31;
  }
  return numbers;
}

export function row(number) {
  return { what: `row ${number}`, embedding: vector(number) };
}

// How many observations of a space are durable.
export async function observations(server, space) {
  const answer = await fetch(`http://127.0.0.1:${server.port}/api/v1/spaces`);
  return (await answer.json()).spaces.find(({ id }) => id === space).observations;
}
