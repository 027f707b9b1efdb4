"""The bundled real memories, paired as tests/data/README.md tells."""

import json

import numpy

from server import ROOT

QUERIES = 1_000
CONTEXT_SHIFT = 9_973


class Dataset:
    def __init__(self):
        folder = ROOT / "tests/data"
        self.gloss = numpy.fromfile(folder / "gloss.f16", dtype="<f2").reshape(-1, 384).astype(numpy.float32)
        self.words = numpy.fromfile(folder / "words.f16", dtype="<f2").reshape(-1, 384).astype(numpy.float32)
        with open(folder / "text.jsonl", encoding="utf-8") as lines:
            self.texts = [json.loads(line) for line in lines]
        self.base_rows = len(self.texts) - QUERIES

    def base(self, count):
        """Vectors and texts of the first `count` base rows."""
        rows = numpy.arange(count)
        gloss = rows % self.base_rows
        words = (gloss + rows // self.base_rows * CONTEXT_SHIFT) % self.base_rows
        texts = [f"{self.texts[j]['words']}: {self.texts[i]['gloss']}" for i, j in zip(gloss, words)]
        return self._join(gloss, words), texts

    def queries(self):
        """Vectors of texts that no base row shows."""
        rows = numpy.arange(self.base_rows, self.base_rows + QUERIES)
        return self._join(rows, rows)

    def _join(self, gloss, words):
        vectors = numpy.concatenate([self.gloss[gloss], self.words[words]], axis=1)
        return vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)
