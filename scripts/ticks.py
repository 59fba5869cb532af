#!/usr/bin/env python3
"""Watches one repository for many ticks, and says how files, index and time grow.

    scripts/ticks.py PROGRAM [--ticks 1000]

Each tick is a commit and a `watch --once`. Prints a line of JSON for every fifty ticks: files of the store, bytes of segments and of
the index, and the median time of a tick and of opening all rows by `stats`. At the end the export has to have the bytes of
the export of a store that was mined once.
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
    parser.add_argument("program")
    parser.add_argument("--ticks", type=int, default=1000)
    args = parser.parse_args()
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
                print(json.dumps(figures), flush=True)
                times = []
        run("mine", "served/0.git", "--store", "bulk", "--filter", "none")
        exports = []
        for store in ("store", "bulk"):
            run("export", store, f"export-{store}")
            exports.append([path.read_bytes() for path in sorted((root / f"export-{store}/data").iterdir())])
        if exports[0] != exports[1]:
            sys.exit("the exports differ")
        print(json.dumps({"rows": sum(text.count(b"\n") for text in exports[0]), "same": True}))


if __name__ == "__main__":
    main()
