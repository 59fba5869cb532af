#!/usr/bin/env python3
"""Measures which share of the CPU time of `gitlode mine --filter none` the labels take.

usage: label_cost.py GITLODE REPOSITORY

Mines REPOSITORY under `perf record` and counts the samples that have a function of `classify` (languages, licences,
authors, messages) or of `pipeline::license` on their stack. Needs Linux' perf, and a program with line tables.
"""

import collections
import re
import subprocess
import sys
import tempfile

LABELS = {
    "languages": re.compile(r"gitlode::classify::language"),
    "licences": re.compile(r"gitlode::(classify|pipeline)::license"),
    "message language": re.compile(r"gitlode::classify::natural"),
    "authors, reverts, trailers": re.compile(r"gitlode::classify::(author|message)"),
}


def main() -> None:
    gitlode, repository = sys.argv[1:]
    with tempfile.TemporaryDirectory() as lab:
        mine = [gitlode, "mine", repository, "--store", f"{lab}/store", "--filter", "none", "--quiet"]
        record = ["perf", "record", "-q", "-F", "999", "--call-graph", "dwarf,16384", "-o", f"{lab}/perf.data"]
        subprocess.run(record + mine, check=True)
        script = ["perf", "script", "-i", f"{lab}/perf.data", "-F", "ip,sym"]
        stacks = subprocess.run(script, capture_output=True, text=True, check=True).stdout.split("\n\n")
    counts = collections.Counter()
    for stack in filter(str.strip, stacks):
        counts["all"] += 1
        found = [name for name, pattern in LABELS.items() if pattern.search(stack)]
        counts[found[0] if found else "other"] += 1
    labels = sum(counts[name] for name in LABELS)
    for name in LABELS:
        print(f"{100 * counts[name] / counts['all']:5.1f} %  {name}")
    print(f"{100 * labels / counts['all']:5.1f} %  labels together, of {counts['all']:,} samples")


if __name__ == "__main__":
    main()
