#!/usr/bin/env python3
"""Watches one repository for many ticks, and says how files, index and time grow.

    scripts/ticks.py PROGRAM [--ticks 1000]

Each tick is a commit and a `watch --once`. Prints a line of JSON for every fifty ticks: files of the store, bytes of segments and of
the index, and the median time of a tick and of opening all rows by `stats`. At the end the export has to have the bytes of
the export of a store that was mined once. With --plot, files, index and time are drawn as well:

    scripts/ticks.py PROGRAM --plot ticks.svg
    scripts/ticks.py --lines LINES --plot ticks.svg    # from the lines of an earlier run
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fleet import Fleet


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", nargs="?")
    parser.add_argument("--ticks", type=int, default=1000)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--lines", type=Path)
    args = parser.parse_args()
    if args.lines:
        lines = [json.loads(line) for line in args.lines.read_text().splitlines()]
    elif args.program:
        lines = measure(args)
    else:
        parser.error("give a program, or --lines")
    if args.plot:
        args.plot.write_text(plot([line for line in lines if "tick" in line]))


def plot(lines):
    """Three panels, one below the other, each from zero to its largest value."""
    panels = [("files", "files of the store", 1), ("index_bytes", "index, KiB", 1024), ("tick_ms", "a tick, ms (median of 50)", 1)]
    width, height, left, gap = 640, 130, 60, 40
    last = lines[-1]["tick"]
    total = len(panels) * (height + gap) + 20
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 20}" height="{total}" font-family="sans-serif" font-size="12">',
        f'<rect width="{left + width + 20}" height="{total}" fill="white"/>',
    ]
    for number, (key, title, unit) in enumerate(panels):
        top = number * (height + gap) + 25
        most = max(line[key] for line in lines)
        points = " ".join(
            f"{left + width * line['tick'] / last:.1f},{top + height - height * line[key] / most:.1f}" for line in lines
        )
        out += [
            f'<text x="{left}" y="{top - 8}">{title}</text>',
            f'<path d="M{left},{top} V{top + height} H{left + width}" fill="none" stroke="#888"/>',
            f'<text x="{left - 6}" y="{top + 8}" text-anchor="end">{most / unit:.0f}</text>',
            f'<text x="{left - 6}" y="{top + height}" text-anchor="end">0</text>',
            f'<polyline points="{points}" fill="none" stroke="#1f5fa8" stroke-width="1.5"/>',
        ]
    out += [f'<text x="{left + width}" y="{total - 6}" text-anchor="end">tick {last:,}</text>', "</svg>"]
    return "\n".join(out) + "\n"


def measure(args):
    lines = []

    def say(figures):
        lines.append(figures)
        print(json.dumps(figures), flush=True)

    program = Path(args.program).resolve()
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        (root / "served").mkdir()
        fleet = Fleet(root / "served", 1)
        (root / "gitlode.toml").write_text(
            '[watch]\nstore = "store"\nsources = ["served/0.git"]\n[mine]\nfilter = "none"\n'
        )

        def run(*command):
            begun = time.time()
            subprocess.run([program, *command], cwd=root, check=True, capture_output=True)
            return time.time() - begun

        times = []
        for tick in range(1, args.ticks + 1):
            fleet.push(0)
            times.append(run("watch", "--config", "gitlode.toml", "--once"))
            if tick % 50 == 0:
                # Each commit comes as a pack of its own, which is not what is measured here.
                fleet.git(fleet.root / "0.git", "repack", "-adq")
                files = [path for path in (root / "store/repositories").rglob("*") if path.is_file()]
                figures = {
                    "tick": tick,
                    "files": len(files),
                    "bytes": sum(path.stat().st_size for path in files),
                    "index_bytes": (root / "store/index.sqlite").stat().st_size,
                    "tick_ms": round(1000 * statistics.median(times)),
                    "stats_ms": round(1000 * run("stats", "store")),
                }
                say(figures)
                times = []
        run("mine", "served/0.git", "--store", "bulk", "--filter", "none")
        exports = []
        for store in ("store", "bulk"):
            run("export", store, f"export-{store}")
            exports.append([path.read_bytes() for path in sorted((root / f"export-{store}/data").iterdir())])
        if exports[0] != exports[1]:
            sys.exit("the exports differ")
        say({"rows": sum(text.count(b"\n") for text in exports[0]), "same": True})
    return lines


if __name__ == "__main__":
    main()
