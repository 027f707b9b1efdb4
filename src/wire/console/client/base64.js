const PIECE_BYTES = 8_192;
const LITTLE_ENDIAN = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;
export function littleEndian(numbers, platformIs = LITTLE_ENDIAN) {
    if (platformIs)
        return new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
    const view = new DataView(new ArrayBuffer(numbers.byteLength));
    numbers.forEach((number, index) => view.setFloat32(index * 4, number, true));
    return new Uint8Array(view.buffer);
}
export function toBase64(bytes) {
    const own = bytes.toBase64;
    if (own !== undefined)
        return own.call(bytes);
    const { Buffer } = globalThis;
    if (Buffer !== undefined)
        return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
    return toBase64ByPieces(bytes);
}
export function toBase64ByPieces(bytes) {
    let binary = '';
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
        binary += String.fromCharCode(...bytes.subarray(at, at + PIECE_BYTES));
    }
    return btoa(binary);
}
