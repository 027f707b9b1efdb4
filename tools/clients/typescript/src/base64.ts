// Numbers as the base64 of little-endian 32-bit floats: half of what they take as JSON, and nothing
// to parse.

interface WithBase64 {
  toBase64?(): string;
}

interface BufferLike {
  from(
    memory: ArrayBufferLike,
    offset: number,
    length: number,
  ): { toString(encoding: 'base64'): string };
}

/** Arguments of one call are on the stack, so long arrays go in pieces. */
const PIECE_BYTES = 8_192;
const LITTLE_ENDIAN = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;

/** The bytes of `numbers`, least significant first. */
export function littleEndian(numbers: Float32Array, platformIs = LITTLE_ENDIAN): Uint8Array {
  if (platformIs) return new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
  const view = new DataView(new ArrayBuffer(numbers.byteLength));
  numbers.forEach((number, index) => view.setFloat32(index * 4, number, true));
  return new Uint8Array(view.buffer);
}

/** Base64 by whatever this platform has for it. */
export function toBase64(bytes: Uint8Array): string {
  const own = (bytes as WithBase64).toBase64;
  if (own !== undefined) return own.call(bytes);
  const { Buffer } = globalThis as { Buffer?: BufferLike };
  if (Buffer !== undefined)
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
  return toBase64ByPieces(bytes);
}

/** The same where there is only `btoa`. */
export function toBase64ByPieces(bytes: Uint8Array): string {
  let binary = '';
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
    binary += String.fromCharCode(...bytes.subarray(at, at + PIECE_BYTES));
  }
  return btoa(binary);
}
