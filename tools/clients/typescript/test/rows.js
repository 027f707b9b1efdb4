// Vectors and observations by number.

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
