"""Runs engram and the libraries in turns, round by round, each in a process of its own, and reports."""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

import report
from libraries import NAMES

HERE = pathlib.Path(__file__).resolve().parent
TARGET = HERE.parents[1] / "target"
# glibc keeps what was freed, so that a library gets memory that was touched before: see `touch` in measure.py.
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}


def main():
    arguments = parse()
    folder = TARGET / "peers" / str(arguments.rows)
    folder.mkdir(parents=True, exist_ok=True)
    results = folder / "results.jsonl"
    if not arguments.resume:
        results.unlink(missing_ok=True)
    names = ["engram"] + [name for name in NAMES if chosen(name, arguments.only)]
    done = {(line["round"], line["name"]) for line in report.read(results)}
    for turn in range(arguments.rounds):
        for name in names:
            if (turn, name) not in done:
                record(results, turn, name, command(name, arguments, folder / "truth.json"))
    lines = report.read(results)
    summary = report.summarise(lines)
    (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    (folder / "table.md").write_text(report.table(summary), encoding="utf-8")
    report.plot(summary, folder / "recall-speed.svg")
    print(report.table(summary), f"in {folder}", sep="\n")


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="data folder (gloss.f16, words.f16, text.jsonl)")
    parser.add_argument("--rows", type=int, default=100_000, help="rows of the base (default 100,000)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds; medians are told (default 3)")
    parser.add_argument(
        "--only",
        action="append",
        metavar="LIBRARY[:M[:EFC[:CODES]]]",
        help=f"libraries to measure beside engram; all by default: {', '.join(NAMES)}",
    )
    parser.add_argument("--resume", action="store_true", help="keep what an interrupted run has measured")
    parser.add_argument(
        "--keep", metavar="DIR", help="keep what the libraries loaded there, and take what was kept there before"
    )
    return parser.parse_args()


def chosen(name, only):
    """Whether one of `only` is `name` or its first parts."""
    return only is None or any(f"{name}:".startswith(f"{start}:") for start in only)


def command(name, arguments, truth):
    if name == "engram":
        program = TARGET / "release" / "engram-bench"
        asked = ["--data", arguments.data, "--rows", str(arguments.rows), "--truth", truth]
        return [program, "index", "--json", "--settle", *asked]
    kept = [arguments.keep] if arguments.keep else []
    return [sys.executable, HERE / "measure.py", name, arguments.data, str(arguments.rows), truth, *kept]


def record(results, turn, name, arguments):
    """Runs one program, and adds what it printed to the results. A library that fails is told and left out."""
    start = time.monotonic()
    ended = subprocess.run(arguments, stdout=subprocess.PIPE, check=name == "engram", env=os.environ | KEEP_MEMORY)
    seconds = time.monotonic() - start
    if ended.returncode != 0:
        print(f"round {turn}: {name} failed after {seconds:.0f} s", file=sys.stderr)
        return
    figures = json.loads(ended.stdout)
    with open(results, "a", encoding="utf-8") as file:
        file.write(json.dumps({"round": turn, "name": name, "figures": figures}) + "\n")
    print(f"round {turn}: {name}: {figures['inserts_per_s']:.0f} inserts/s ({seconds:.0f} s in all)", flush=True)


if __name__ == "__main__":
    main()
