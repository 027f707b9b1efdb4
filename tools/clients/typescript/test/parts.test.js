// Base64, waits, and what is published.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Backoff, withJitter } from '../dist/backoff.js';
import { littleEndian, toBase64, toBase64ByPieces } from '../dist/base64.js';

const ROOT = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

test('numbers become the same base64 on every platform', () => {
  const all = Float32Array.from({ length: 5000 }, (_, i) => Math.sin(i) * 10 ** ((i % 60) - 30));
  const part = all.subarray(7, 4101);
  const expected = Buffer.from(part.slice().buffer).toString('base64');
  assert.equal(toBase64(littleEndian(part)), expected);
  assert.equal(toBase64ByPieces(littleEndian(part)), expected);
  assert.equal(toBase64(littleEndian(part, false)), expected, 'on a big-endian processor');
});

test('waits grow, stay below their limit, and end', () => {
  const policy = { firstDelayMs: 100, maxDelayMs: 1000, giveUpAfterMs: 5000 };
  const longest = new Backoff(policy, () => 1);
  assert.deepEqual(
    [1, 2, 3, 4, 5].map(() => longest.next(0)),
    [100, 200, 400, 800, 1000],
  );
  assert.equal(longest.next(3999), 1000);
  assert.equal(longest.next(4500), undefined, 'it would be too late');
  longest.reset();
  assert.equal(longest.next(9000), 100);
  const shortest = new Backoff(policy, () => 0);
  assert.equal(shortest.next(0), 50);
  assert.equal(shortest.next(0, 700), 700, 'what the server asks for is kept');
});

test('a wait that the server asked for is never shortened', () => {
  assert.equal(
    withJitter(80, () => 0),
    80,
  );
  assert.equal(
    withJitter(80, () => 1),
    120,
  );
});

test('what is published is what package.json names, and no more', () => {
  const told = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const [{ files }] = JSON.parse(told);
  const paths = files.map((file) => file.path);
  for (const path of [
    'dist/index.js',
    'dist/index.d.ts',
    'dist/node.js',
    'README.md',
    'package.json',
  ]) {
    assert.ok(paths.includes(path), path);
  }
  const others = paths.filter(
    (path) => !/^(dist|src)\/|^(README\.md|LICENSE|package\.json)$/.test(path),
  );
  assert.deepEqual(others, []);
});
