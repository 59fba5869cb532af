#!/usr/bin/env python3
"""Measures which share of the CPU time of `gitlode mine --filter none` the labels take, or the rules of a ruleset.

usage: label_cost.py GITLODE REPOSITORY [RULESET]

Mines REPOSITORY under `perf record` and counts the samples that have a function of `classify` (languages, licences,
authors, messages) or of `pipeline::license` on their stack, or what notes evidence in trees and keeps labels of
commits. Writing their columns is not among them. With RULESET also mines with it, and counts the samples in `filter`
that are not in a label or a diff that a rule asked for. Needs Linux' perf, and a program with line tables.
"""

import collections
import re
import subprocess
import sys
import tempfile

LABELS = {
    "languages": re.compile(r"gitlode::classify::language"),
    "licences": re.compile(r"gitlode::(classify|pipeline)::license|gitlode::git::trees::\S*notable"),
    "message language": re.compile(r"gitlode::classify::natural"),
    "authors, reverts, trailers": re.compile(r"gitlode::classify::(author|message)|extract::CommitLabels"),
}


# What a rule asks for and a row has anyway.
FACTS = re.compile(r"gitlode::git::diff::")
RULES = re.compile(r"gitlode::(filter::|pipeline::(candidate|trial))")


def stacks_of(mine: list[str]) -> list[str]:
    """The stacks that perf finds while `mine` runs; it gets a store that is thrown away, unless it is a dry run."""
    with tempfile.TemporaryDirectory() as lab:
        store = [] if "--dry-run" in mine else ["--store", f"{lab}/store"]
        record = ["perf", "record", "-q", "-F", "999", "--call-graph", "dwarf,16384", "-o", f"{lab}/perf.data"]
        subprocess.run([*record, *mine, *store, "--quiet"], check=True)
        script = ["perf", "script", "-i", f"{lab}/perf.data", "-F", "ip,sym"]
        stacks = subprocess.run(script, capture_output=True, text=True, check=True).stdout.split("\n\n")
    return list(filter(str.strip, stacks))


def main() -> None:
    gitlode, repository, *ruleset = sys.argv[1:]
    mine = [gitlode, "mine", repository, "--filter"]
    stacks = stacks_of([*mine, "none"])
    counts = collections.Counter()
    for stack in stacks:
        found = [name for name, pattern in LABELS.items() if pattern.search(stack)]
        counts[found[0] if found else "other"] += 1
    labels = sum(counts[name] for name in LABELS)
    for name in LABELS:
        print(f"{100 * counts[name] / len(stacks):5.1f} %  {name}")
    print(f"{100 * labels / len(stacks):5.1f} %  labels together, of {len(stacks):,} samples")
    for name in ruleset:
        with_rules = stacks_of([*mine, name])
        of_rules = [
            stack
            for stack in with_rules
            if RULES.search(stack) and not any(pattern.search(stack) for pattern in [*LABELS.values(), FACTS])
        ]
        print(f"{100 * len(of_rules) / len(stacks):5.1f} %  rules of {name}, {len(with_rules):,} samples in all")


if __name__ == "__main__":
    main()
