"""The rows and queries of a data folder, as tests/data/README.md tells; the same that engram-bench takes."""

import pathlib

import numpy

HALF_DIMENSION = 384
DIMENSION = 2 * HALF_DIMENSION
QUERIES = 1_000
CONTEXT_SHIFT = 9_973


class Rows:
    def __init__(self, folder):
        halves = [numpy.fromfile(pathlib.Path(folder) / name, dtype="<f2") for name in ("gloss.f16", "words.f16")]
        self.gloss, self.words = (half.reshape(-1, HALF_DIMENSION) for half in halves)
        self.base_rows = len(self.gloss) - QUERIES

    def base(self, first, end):
        """Vectors of the base rows `first` to `end`."""
        rows = numpy.arange(first, end)
        gloss = rows % self.base_rows
        return self._join(gloss, (gloss + rows // self.base_rows * CONTEXT_SHIFT) % self.base_rows)

    def queries(self):
        """Texts that no base row shows."""
        rows = numpy.arange(self.base_rows, self.base_rows + QUERIES)
        return self._join(rows, rows)

    def harder(self, rows):
        """Texts of the first `rows` base rows, in a context that these lack."""
        context = -(-rows // self.base_rows)
        texts = numpy.arange(QUERIES) * min(rows, self.base_rows) // QUERIES
        return self._join(texts, (texts + context * CONTEXT_SHIFT) % self.base_rows)

    def _join(self, gloss, words):
        vectors = numpy.concatenate([self.gloss[gloss], self.words[words]], axis=1).astype(numpy.float32)
        return vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)
