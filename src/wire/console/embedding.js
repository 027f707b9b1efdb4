// A vector of a text, where there is no model to make one: each word and each three letters in a row
// count for a place that their hash names. Texts that share many are near each other.

/** FNV-1a, and its bits mixed once more, since the last letters hardly reach the upper ones. */
function hash(text) {
  let state = 0x811c_9dc5;
  for (let i = 0; i < text.length; i++) {
    state = Math.imul(state ^ text.charCodeAt(i), 0x0100_0193);
  }
  state = Math.imul(state ^ (state >>> 16), 0x85eb_ca6b);
  return (state ^ (state >>> 13)) >>> 0;
}

/** The vector of `text`, of so many numbers. Never zero, which no space takes. */
export function embedding(text, dimension) {
  const numbers = new Float32Array(dimension);
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const count = (feature) => {
    const place = hash(feature);
    numbers[place % dimension] += place >>> 31 ? 1 : -1;
  };
  for (const word of words) {
    count(` ${word} `);
    const letters = ` ${word} `;
    for (let i = 0; i + 3 <= letters.length; i++) count(letters.slice(i, i + 3));
  }
  if (numbers.every((number) => number === 0)) numbers[0] = 1;
  return numbers;
}
