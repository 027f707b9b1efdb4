"""Measures one library on one thread and prints one JSON object: measure.py NAME DATA ROWS TRUTH [KEPT].

The figures have the names of `engram-bench index`; queries go in one call of all of them, which is fastest. KEPT is a
folder for what was loaded: a library that is found there is not loaded again, and its load is told as it was then.
"""

import json
import pathlib
import statistics
import sys
import time

import numpy

from libraries import open_library
from rows import Rows

BLOCK_ROWS = 10_000
WIDTHS = [16, 24, 32, 48, 64, 100, 128, 200, 400]
WIDTH_MAX = 4_096
# About what the libraries take of a row; those with int8 codes take less.
ROW_BYTES = 3_400
RECALL_WANTED = 0.95
ROUNDS = 5


def main(name, data, rows, truth, kept=None):
    rows = int(rows)
    vectors = Rows(data)
    touch(rows * ROW_BYTES)
    with open(truth, encoding="utf-8") as file:
        truth = json.load(file)
    assert truth["rows"] == rows
    library = open_library(name, rows)
    load = loaded(library, vectors, rows, kept and pathlib.Path(kept) / f"{name.replace(':', '-')}.{rows}")
    plain = Queries(library, vectors.queries(), truth["plain"]["answers"])
    harder = Queries(library, vectors.harder(rows), truth["harder"]["answers"])
    width_at_95 = plain.width_for(RECALL_WANTED)
    report = load | {
        "kernels": library.kernels,
        "widths": [at_width(plain, harder, width) for width in WIDTHS],
        "width_at_95": width_at_95,
        "queries_per_s_at_95": width_at_95 and plain.queries_per_s(width_at_95),
    }
    print(json.dumps(report))


def touch(size):
    """Uses so much memory, and frees it. On a virtual machine the first use can take long, as `engram-bench` tells."""
    numpy.ones(size, dtype=numpy.uint8)


def loaded(library, vectors, rows, kept):
    """Adds the rows, or takes the library as it was kept after that."""
    told = kept and kept.with_suffix(f"{kept.suffix}.json")
    if kept and told.exists():
        library.prepare(vectors.base(0, BLOCK_ROWS))
        library.load(str(kept))
        return json.loads(told.read_text(encoding="utf-8"))
    load = fill(library, vectors, rows)
    if kept:
        kept.parent.mkdir(parents=True, exist_ok=True)
        library.save(str(kept))
        told.write_text(json.dumps(load), encoding="utf-8")
    return load


def fill(library, vectors, rows):
    """Adds the rows in blocks, timed; they are made outside of what is timed."""
    seconds, cpu_seconds = [0.0], 0.0
    for first in range(0, rows, BLOCK_ROWS):
        block = library.prepare(vectors.base(first, min(first + BLOCK_ROWS, rows)))
        start, cpu_start = time.perf_counter(), time.process_time()
        library.add(block, first)
        seconds.append(seconds[-1] + time.perf_counter() - start)
        cpu_seconds += time.process_time() - cpu_start

    def inserts_per_s(first, end):
        return (end - first) / (seconds[-(-end // BLOCK_ROWS)] - seconds[first // BLOCK_ROWS])

    firsts = range(0, rows, 10 * BLOCK_ROWS)
    stretches = [(first, min(first + 10 * BLOCK_ROWS, rows)) for first in firsts]
    return {
        "cpu_share": cpu_seconds / seconds[-1],
        "inserts_per_s": inserts_per_s(0, rows),
        "inserts_per_s_first_10000": inserts_per_s(0, min(rows, BLOCK_ROWS)),
        "inserts_per_s_by_100000": [
            {"from": first, "to": end, "inserts_per_s": inserts_per_s(first, end)} for first, end in stretches
        ],
    }


class Queries:
    """Some queries with their exact answers."""

    def __init__(self, library, vectors, answers):
        self.library = library
        self.vectors = library.prepare(vectors[: len(answers)])
        self.answers = numpy.array(answers)

    def recall(self, width, count):
        found = self.library.search(self.vectors, count, width)
        hits = (found[:, :, None] == self.answers[:, None, :count]).sum()
        return float(hits) / (count * len(self.answers))

    def queries_per_s(self, width):
        """The median of some rounds, each query for ten."""
        speeds = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            self.library.search(self.vectors, 10, width)
            speeds.append(len(self.vectors) / (time.perf_counter() - start))
        return statistics.median(speeds)

    def width_for(self, wanted):
        """The smallest width at which recall@10 is `wanted`, by bisection; None if even the widest misses it."""
        high = 10
        while self.recall(high, 10) < wanted:
            high *= 2
            if high > WIDTH_MAX:
                return None
        low = high // 2
        while high - low > 1 and high > 10:
            middle = (low + high) // 2
            low, high = (low, middle) if self.recall(middle, 10) >= wanted else (middle, high)
        return high


def at_width(plain, harder, width):
    return {
        "width": width,
        "recall_at_10": plain.recall(width, 10),
        "recall_at_100": plain.recall(width, 100) if width >= 100 else None,
        "harder_recall_at_10": harder.recall(width, 10),
        "queries_per_s": plain.queries_per_s(width),
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
