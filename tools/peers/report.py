"""What the results of all rounds say: medians, ratios of the same round, a table and a plot."""

import json
from statistics import median

SETTLED = "engram, settled"
YARDSTICK = "hnswlib:16:64:f32"
WIDTH = 100
COLOURS = {"engram": "#d62728", "hnswlib": "#1f77b4", "usearch": "#2ca02c", "faiss": "#7f7f7f"}
NOT_REACHED = "–"


def read(path):
    if not path.exists():
        return []
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def with_settled(lines):
    """What engram answers once it has refined its rows stands beside, as one more contestant."""
    for line in lines:
        yield line
        if line["figures"].get("settled"):
            yield line | {"name": SETTLED, "figures": line["figures"] | line["figures"]["settled"]}


def summarise(lines):
    """Medians over the rounds by name, and how many times as fast engram was in the same round."""
    rounds = {}
    for line in with_settled(lines):
        rounds.setdefault(line["name"], {})[line["round"]] = line["figures"]
    engram = rounds["engram"]
    first = next(iter(engram.values()))
    summary = {key: first[key] for key in ("rows", "queries", "machine")}
    # More than one where an interrupted run went on with another.
    summary["commit"] = ", ".join(sorted({figures["commit"] for figures in engram.values()}))
    summary["rounds"] = len(engram)
    summary["contestants"] = {name: contestant(figures, engram) for name, figures in rounds.items()}
    summary["ratios"] = ratios(rounds)
    return summary


def contestant(rounds, engram):
    every = list(rounds.values())
    speeds = [figures["inserts_per_s"] for figures in every]
    at = {width["width"]: width for width in every[0]["widths"]}[WIDTH]
    both = [turn for turn in rounds if turn in engram]
    return {
        "inserts_per_s": median(speeds),
        "inserts_per_s_min": min(speeds),
        "inserts_per_s_max": max(speeds),
        "inserts_per_s_first_10000": median(figures["inserts_per_s_first_10000"] for figures in every),
        "last_to_first_100000": median(map(last_to_first, every)),
        "recall_at_10": at["recall_at_10"],
        "recall_at_100": at["recall_at_100"],
        "harder_recall_at_10": at["harder_recall_at_10"],
        "width_at_95": every[0]["width_at_95"],
        "queries_per_s_at_95": every[0]["width_at_95"] and median(f["queries_per_s_at_95"] for f in every),
        "curve": curve(every),
        "cpu_share_min": min(figures["cpu_share"] for figures in every),
        "kernels": every[0].get("kernels"),
        "inserts_ratio": median(engram[turn]["inserts_per_s"] / rounds[turn]["inserts_per_s"] for turn in both),
        "queries_ratio": queries_ratio([(engram[turn], rounds[turn]) for turn in both]),
    }


def last_to_first(figures):
    stretches = figures["inserts_per_s_by_100000"]
    return stretches[-1]["inserts_per_s"] / stretches[0]["inserts_per_s"]


def curve(every):
    """Recall and speed by width; recall is the first round's, as the graphs of all are built alike."""
    return [
        width | {"queries_per_s": median(figures["widths"][at]["queries_per_s"] for figures in every)}
        for at, width in enumerate(every[0]["widths"])
    ]


def queries_ratio(pairs):
    """Of the speeds at a recall of 0.95; None where one of the two does not reach it."""
    speeds = [[figures["queries_per_s_at_95"] for figures in pair] for pair in pairs]
    reached = [one / other for one, other in speeds if one is not None and other is not None]
    return median(reached) if reached else None


def ratios(rounds):
    """What engram is held to."""
    engram = rounds["engram"]
    peers = {name: rounds[name] for name in rounds if not name.startswith("engram")}
    found = {}
    if YARDSTICK in peers:
        pairs = [(engram[turn], peers[YARDSTICK][turn]) for turn in engram if turn in peers[YARDSTICK]]
        found["inserts_per_s"] = median(one["inserts_per_s"] / other["inserts_per_s"] for one, other in pairs)
        # A small space against what the yardstick does over all rows.
        found["inserts_per_s_first_10000"] = median(
            one["inserts_per_s_first_10000"] / other["inserts_per_s"] for one, other in pairs
        )
    found["last_to_first_100000"] = median(map(last_to_first, engram.values()))
    found["queries_per_s_at_95"] = against_fastest(engram, peers)
    found["queries_per_s_at_95_settled"] = against_fastest(rounds.get(SETTLED, {}), peers)
    return found


def against_fastest(engram, peers):
    """Queries/s at a recall of 0.95 against the fastest peer that reaches it; None where nobody or engram does not."""
    found = []
    for turn, figures in engram.items():
        speeds = [peer[turn]["queries_per_s_at_95"] for peer in peers.values() if turn in peer]
        speeds = [speed for speed in speeds if speed is not None]
        if speeds and figures["queries_per_s_at_95"] is not None:
            found.append(figures["queries_per_s_at_95"] / max(speeds))
    return median(found) if found else None


def table(summary):
    lines = [
        f"{summary['rows']:,} rows, {summary['queries']:,} queries, {summary['machine']}, commit {summary['commit']}; "
        f"medians (min–max) of {summary['rounds']} rounds in turns, one thread each; settled: inserts/s with the time "
        "until nothing is left to refine. "
        f"Recall and its queries/s at width (ef) {WIDTH}; × is engram against this one in the same round.",
        "",
        "| library:M:efC:codes | inserts/s | × | of the first 10,000 | recall@10 | @100 | harder @10 | queries/s "
        "| width for 0.95 | queries/s there | × |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, figures in summary["contestants"].items():
        at = {width["width"]: width for width in figures["curve"]}[WIDTH]
        cells = [
            name,
            f"{figures['inserts_per_s']:,.0f} "
            f"({figures['inserts_per_s_min']:,.0f}–{figures['inserts_per_s_max']:,.0f})",
            f"{figures['inserts_ratio']:.1f}",
            f"{figures['inserts_per_s_first_10000']:,.0f}",
            f"{figures['recall_at_10']:.4f}",
            f"{figures['recall_at_100']:.4f}",
            f"{figures['harder_recall_at_10']:.4f}",
            f"{at['queries_per_s']:,.0f}",
            shown(figures["width_at_95"], ",.0f"),
            shown(figures["queries_per_s_at_95"], ",.0f"),
            shown(figures["queries_ratio"], ".1f"),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    texts = {
        "inserts_per_s": f"inserts/s against {YARDSTICK}: {{:.1f}}×",
        "inserts_per_s_first_10000": f"inserts/s over the first 10,000 rows (which engram finds without a graph) against {YARDSTICK} over all: {{:.1f}}×",
        "last_to_first_100000": "inserts/s over the last 100,000 rows against the first: {:.2f}",
        "queries_per_s_at_95": "queries/s at recall@10 0.95 against the fastest that reaches it: {:.1f}×",
        "queries_per_s_at_95_settled": "the same once engram has settled: {:.1f}×",
    }
    said = [f"- {texts[key].format(ratio)}" for key, ratio in summary["ratios"].items() if ratio is not None]
    cpu_share = min(figures["cpu_share_min"] for figures in summary["contestants"].values())
    said.append(f"- CPU time over wall time of the load that was disturbed most: {cpu_share:.2f}")
    kernels = {(name.split(":")[0], figures["kernels"]) for name, figures in summary["contestants"].items()}
    said += [f"- {library}'s kernels: {built}" for library, built in sorted(pair for pair in kernels if pair[1])]
    return "\n".join([*lines, "", *said, ""])


def shown(value, form):
    return NOT_REACHED if value is None else format(value, form)


def plot(summary, path):
    """Queries/s by recall@10; equal figures give equal bytes."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "engram", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 5.5), layout="constrained")
    for name, figures in summary["contestants"].items():
        library, *rest = name.replace(",", ":").split(":")
        axes.plot(
            [width["recall_at_10"] for width in figures["curve"]],
            [width["queries_per_s"] for width in figures["curve"]],
            color=COLOURS[library],
            linewidth=2.5 if library == "engram" else 1,
            linestyle="--" if rest[2:] == ["i8"] else ":" if name == SETTLED else "-",
            marker="s" if rest[:1] == ["32"] else "o",
            markersize=4,
            fillstyle="none" if rest[1:2] == ["200"] else "full",
            label=name,
        )
    axes.axvline(0.95, color="black", linewidth=0.5, linestyle=":")
    axes.set(yscale="log", xlabel="recall@10", ylabel="queries/s, one thread", xlim=(0.8, 1.0))
    axes.set_title(f"{summary['rows']:,} rows, 768 numbers each: up and to the right is better")
    axes.grid(which="both", linewidth=0.3)
    figure.legend(loc="outside right center", fontsize=8, title="library:M:efC:codes")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
