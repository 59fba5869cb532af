#!/usr/bin/env python3
"""Compares the time and memory of gitlode with those of `git log -p`.

usage: bench.py GITLODE REPOSITORY... [--runs N] [--pydriller]

Runs the peer and gitlode in turn, N times, and prints medians: CPU and wall seconds, the peer's divided by ours, and the
highest peak of anonymous memory (RssAnon, looked at 50 times a second; packs that are mapped are not in it). The peer is
`git log -p --no-merges --no-renames --diff-filter=M`. With --pydriller also PyDriller's CPU time for a commit, of
every tenth, which must be installed in the Python that runs this. Needs Linux, git and Python 3.11.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time

PEER = ["log", "-p", "--no-merges", "--no-renames", "--diff-filter=M", "--full-index", "HEAD"]
PYDRILLER = """
import itertools, resource, sys
from pydriller import Repository
commits = Repository(sys.argv[1], skip_whitespaces=False).traverse_commits()
n = 0
for commit in itertools.islice((c for c in commits if not c.merge), 0, None, 10):
    n += 1
    for file in commit.modified_files:
        file.source_code, file.source_code_before, file.diff
usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(sum(u.ru_utime + u.ru_stime for u in usage) / n)
"""


def run(command: list[str]) -> tuple[float, float, float]:
    """CPU seconds, wall seconds, and the peak of anonymous memory in MB."""
    peak = 0
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        status = pathlib.Path(f"/proc/{process.pid}/status")
        while not done.wait(0.02):
            try:
                lines = status.read_text().splitlines()
            except OSError:
                return
            peak = max([peak, *(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))])

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - started
    done.set()
    watcher.join()
    if status != 0:
        sys.exit(f"{' '.join(command)} ended with {status}")
    return usage.ru_utime + usage.ru_stime, wall, peak / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("gitlode")
    parser.add_argument("repositories", nargs="+")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--pydriller", action="store_true")
    args = parser.parse_args()
    for repository in args.repositories:
        with tempfile.TemporaryDirectory() as lab:
            mine = [args.gitlode, "mine", repository]
            # Settings of one store can't change, so each job and each run has its own.
            jobs = {
                "git log -p": lambda n: ["git", "-C", repository, *PEER],
                "dry run": lambda n: [*mine, "--dry-run", "--filter", "none"],
                "with the store": lambda n: [*mine, "--store", f"{lab}/none{n}", "--filter", "none"],
                "commitpackft": lambda n: [*mine, "--store", f"{lab}/ft{n}", "--filter", "commitpackft"],
                "nothing new": lambda n: [*mine, "--store", f"{lab}/none{n}", "--filter", "none"],
            }
            results = {name: [] for name in jobs}
            for number in range(args.runs):
                for name, command in jobs.items():
                    results[name].append(run(command(number)))
            print(f"{repository}, medians of {args.runs}")
            peer = [statistics.median(values) for values in zip(*results["git log -p"])]
            for name, runs in results.items():
                cpu, wall, _ = [statistics.median(values) for values in zip(*runs)]
                memory = max(peak for _, _, peak in runs)
                ratios = f"peer / ours: CPU {peer[0] / cpu:5.2f}, wall {peer[1] / wall:5.2f}" if name != "git log -p" else ""
                print(f"  {name:15} CPU {cpu:7.3f} s  wall {wall:7.3f} s  peak {memory:5.0f} MB  {ratios}")
            if args.pydriller:
                count = ["git", "-C", repository, "rev-list", "--no-merges", "--count", "HEAD"]
                commits = int(subprocess.run(count, capture_output=True, check=True).stdout)
                theirs = float(subprocess.run([sys.executable, "-c", PYDRILLER, repository], capture_output=True, check=True).stdout)
                ours = statistics.median(cpu for cpu, _, _ in results["dry run"]) / commits
                print(f"  CPU for a commit: PyDriller {1000 * theirs:.2f} ms, gitlode {1000 * ours:.3f} ms: {theirs / ours:.0f} times")


if __name__ == "__main__":
    main()
