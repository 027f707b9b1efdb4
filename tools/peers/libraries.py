"""The three libraries behind one interface, each on one thread and in the way that is fastest for it.

A name is LIBRARY:M:EFC:CODES, for example hnswlib:16:64:f32. All get unit vectors. For i8, usearch is given codes that
are scaled by each vector's largest number, which are made outside of what is timed; faiss makes its own (SQ8), and
learns how from the first rows, outside of what is timed too. hnswlib knows f32 only.
"""

import itertools

import numpy

from rows import DIMENSION

CODES = {"hnswlib": ["f32"], "usearch": ["f32", "i8"], "faiss": ["f32", "i8"]}
NAMES = [
    f"{library}:{m}:{ef}:{codes}"
    for m, ef in itertools.product((16, 32), (64, 200))
    for library in CODES
    for codes in CODES[library]
]


def open_library(name, rows_max):
    library, m, ef, codes = name.split(":")
    return {"hnswlib": Hnswlib, "usearch": Usearch, "faiss": Faiss}[library](int(m), int(ef), codes, rows_max)


class Hnswlib:
    def __init__(self, m, ef, _codes, rows_max):
        import hnswlib

        self.kernels = "compiled for this CPU"
        self.rows_max = rows_max
        self.index = hnswlib.Index(space="ip", dim=DIMENSION)
        self.index.init_index(max_elements=rows_max, M=m, ef_construction=ef, random_seed=1)
        self.index.set_num_threads(1)

    def prepare(self, vectors):
        return vectors

    def add(self, vectors, first):
        self.index.add_items(vectors, numpy.arange(first, first + len(vectors)), num_threads=1)

    def save(self, path):
        self.index.save_index(path)

    def load(self, path):
        self.index.load_index(path, max_elements=self.rows_max)
        self.index.set_num_threads(1)

    def search(self, queries, count, ef):
        self.index.set_ef(ef)
        return self.index.knn_query(queries, k=count, num_threads=1)[0]


class Usearch:
    def __init__(self, m, ef, codes, _rows_max):
        from usearch.index import Index

        # Of int8 codes with a scale each, only the angle can be compared.
        metric = {"f32": "ip", "i8": "cos"}[codes]
        self.codes = codes
        self.index = Index(ndim=DIMENSION, metric=metric, dtype=codes, connectivity=m, expansion_add=ef)
        self.kernels = self.index.hardware_acceleration

    def prepare(self, vectors):
        if self.codes == "f32":
            return vectors
        return numpy.rint(vectors * (127 / numpy.abs(vectors).max(axis=1, keepdims=True))).astype(numpy.int8)

    def add(self, vectors, first):
        self.index.add(numpy.arange(first, first + len(vectors)), vectors, threads=1)

    def save(self, path):
        self.index.save(path)

    def load(self, path):
        self.index.load(path)

    def search(self, queries, count, ef):
        self.index.expansion_search = ef
        return self.index.search(queries, count, threads=1).keys


class Faiss:
    def __init__(self, m, ef, codes, _rows_max):
        import faiss

        faiss.omp_set_num_threads(1)
        self.kernels = faiss.get_compile_options().strip()
        storage = {"f32": "Flat", "i8": "SQ8"}[codes]
        self.index = faiss.index_factory(DIMENSION, f"HNSW{m},{storage}", faiss.METRIC_INNER_PRODUCT)
        self.index.hnsw.efConstruction = ef

    def prepare(self, vectors):
        if not self.index.is_trained:
            self.index.train(vectors)
        return vectors

    def add(self, vectors, _first):
        self.index.add(vectors)

    def save(self, path):
        import faiss

        faiss.write_index(self.index, path)

    def load(self, path):
        import faiss

        self.index = faiss.read_index(path)

    def search(self, queries, count, ef):
        self.index.hnsw.efSearch = ef
        return self.index.search(queries, count)[1]
