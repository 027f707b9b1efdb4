"""tools/peers: its rows are those that all tools mean, and its report says what the results hold.

The libraries themselves are not needed here; `tools/peers/run` installs them.
"""

import pathlib
import py_compile
import subprocess
import sys
import tempfile
import unittest

import numpy

from dataset import Dataset
from server import ROOT

PEERS = ROOT / "tools/peers"
sys.path.insert(0, str(PEERS))

import report  # noqa: E402
from libraries import NAMES  # noqa: E402
from rows import Rows  # noqa: E402


def figures(inserts_per_s, queries_per_s_at_95):
    """What a program prints, with little in it."""
    at_100 = {"width": 100, "recall_at_10": 0.96, "recall_at_100": 0.9, "harder_recall_at_10": 0.8}
    return {
        "kernels": "some kernels",
        "rows": 10_000,
        "queries": 1_000,
        "machine": "a machine",
        "commit": "a commit",
        "cpu_share": 0.97,
        "inserts_per_s": inserts_per_s,
        "inserts_per_s_first_10000": 2 * inserts_per_s,
        "inserts_per_s_by_100000": [
            {"from": 0, "to": 100_000, "inserts_per_s": 4.0},
            {"from": 100_000, "to": 200_000, "inserts_per_s": 3.0},
        ],
        "width_at_95": queries_per_s_at_95 and 42,
        "queries_per_s_at_95": queries_per_s_at_95,
        "widths": [at_100 | {"queries_per_s": 500.0}],
    }


def results(of):
    """Lines of results: by name, the figures of each round."""
    return [
        {"round": turn, "name": name, "figures": figures(*each)}
        for name, rounds in of.items()
        for turn, each in enumerate(rounds)
    ]


class Peers(unittest.TestCase):
    def test_scripts_are_sound(self):
        with tempfile.TemporaryDirectory() as folder:
            for script in sorted(PEERS.glob("*.py")):
                py_compile.compile(script, cfile=pathlib.Path(folder) / "compiled", doraise=True)
        subprocess.run(["bash", "-n", PEERS / "run"], check=True)
        self.assertEqual(len(set(NAMES)), 20)

    def test_rows_are_those_of_all_tools(self):
        mine, known = Rows(ROOT / "tests/data"), Dataset()
        base, _ = known.base(9_001)
        for first, end in [(0, 10), (3_995, 4_005), (8_990, 9_001)]:
            numpy.testing.assert_allclose(mine.base(first, end), base[first:end], atol=1e-6)
        numpy.testing.assert_allclose(mine.queries(), known.queries(), atol=1e-6)
        # 9,001 rows take the contexts 0, 1 and 2: the harder texts are base rows of context 3.
        harder, (later, _) = mine.harder(9_001), known.base(16_000)
        numpy.testing.assert_allclose(harder, later[12_000:16_000:4], atol=1e-6)

    def test_ratios_are_of_one_round_and_leave_out_what_never_gets_there(self):
        summary = report.summarise(
            results(
                {
                    "engram": [(400.0, 1_000.0), (900.0, 3_000.0), (100.0, 800.0)],
                    "hnswlib:16:64:f32": [(100.0, 100.0), (100.0, 100.0), (100.0, 100.0)],
                    "usearch:16:64:i8": [(200.0, None), (200.0, None), (200.0, None)],
                    "faiss:32:64:i8": [(50.0, 500.0), (50.0, 300.0), (50.0, 400.0)],
                }
            )
        )
        self.assertEqual(
            summary["ratios"],
            {
                "inserts_per_s": 4.0,
                "inserts_per_s_first_10000": 8.0,
                "last_to_first_100000": 0.75,
                "queries_per_s_at_95": 2.0,
                "queries_per_s_at_95_settled": None,
            },
        )
        shown = report.table(summary)
        self.assertIn("| engram | 400 (100–900) | 1.0 | 800 | 0.9600 |", shown)
        self.assertIn("| usearch:16:64:i8 | 200 (200–200) | 2.0 |", shown)
        self.assertIn("| – | – | – |", shown)
        self.assertIn("disturbed most: 0.97", shown)
        self.assertIn("- usearch's kernels: some kernels", shown)
        self.assertIn("against the fastest that reaches it: 2.0×", shown)

    def test_a_settled_engram_stands_beside(self):
        lines = results({"engram": [(400.0, 1_000.0)], "hnswlib:16:64:f32": [(100.0, 100.0)]})
        lines[0]["figures"]["settled"] = figures(200.0, 1_500.0)
        summary = report.summarise(lines)
        self.assertEqual(summary["contestants"][report.SETTLED]["queries_per_s_at_95"], 1_500.0)
        self.assertEqual(summary["ratios"]["queries_per_s_at_95"], 10.0)
        self.assertEqual(summary["ratios"]["queries_per_s_at_95_settled"], 15.0)
        self.assertIn("| engram, settled | 200 (200–200) | 2.0 |", report.table(summary))

    def test_an_interrupted_run_is_reported_as_far_as_it_got(self):
        lines = results({"engram": [(400.0, None)], "hnswlib:16:64:f32": [(100.0, 100.0)]})
        self.assertIsNone(report.summarise(lines)["ratios"]["queries_per_s_at_95"])
        del lines[1]
        self.assertEqual(list(report.summarise(lines)["contestants"]), ["engram"])
        self.assertIn("| engram |", report.table(report.summarise(lines)))


if __name__ == "__main__":
    unittest.main()
