#!/usr/bin/env python3
"""Measures where the CPU time of `gitlode mine --dry-run --filter none` goes, and writes a Markdown table.

usage: phases.py GITLODE REPOSITORY... [--store]

Runs on one thread under `perf record`. A sample counts for the first of PHASES that has a function on its stack, so what a
label reads is part of the label, and what is read for a walk part of the walk. With --store it mines into a store that is
thrown away, so that writing is among the phases. Needs Linux' perf, and a program with line tables. perf finds names a
hundred times faster where the addr2line of `cargo install addr2line --features bin` comes first in PATH.
"""

import argparse
import collections
import re
import shutil
import sys

from bench import name_of, table
from label_cost import stacks_of

# A frame is an address and a name. Names that only stand in another one's type arguments are not called.
PHASES = {
    name: re.compile(rf"^\s*[0-9a-f]+ {pattern}", re.MULTILINE)
    for name, pattern in {
        "writing: rows and their columns": r"<?gitlode::store::rows",
        "writing: compression and files": r"<?gitlode::store::",
        "labels: languages, generated": r"<?gitlode::classify::language",
        "labels: licences": r"<?gitlode::(classify|pipeline)::license",
        "labels: language of messages": r"<?gitlode::classify::natural",
        "labels: authors, reverts, trailers": r"<?gitlode::classify::",
        "walk": r"<?gitlode::git::walk",
        "comparing trees": r"<?gitlode::git::(trees|change)",
        "changed lines: Myers": r"<?(gitlode::git::myers|gix_imara_diff::myers)",
        "lines and their numbers": r"<?gitlode::git::lines::(Text|Lines|Comparer::know|common_(ends|prefix|suffix))",
        "changed lines: the rest": r"<?gitlode::git::lines",
        "text of diffs": r"<?gitlode::git::diff",
        "inflating": r".*(sirocco|zlib|decompress_entry)",
        "deltas, and what is remembered": r"<?gitlode::git::(packs|needs|decoder|delta)",
        "encodings": r"<?gitlode::git::text",
        "other reading of blobs": r"<?gitlode::git::blobs",
        "commits": r"<?gitlode::git::commit",
        "plan and rows": r"<?gitlode::pipeline",
        "start and end": "",
    }.items()
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gitlode")
    parser.add_argument("repositories", nargs="+")
    parser.add_argument("--store", action="store_true")
    args = parser.parse_args()
    if not shutil.which("perf"):
        sys.exit("perf is not there; it is in the package linux-perf or linux-tools")
    job = ["--filter", "none", "-j", "1"] + ([] if args.store else ["--dry-run"])
    shares = {}
    for repository in args.repositories:
        stacks = stacks_of([args.gitlode, "mine", repository, *job])
        counts = collections.Counter(next(name for name, frame in PHASES.items() if frame.search(stack)) for stack in stacks)
        shares[f"{name_of(repository)}, {len(stacks):,} samples"] = {phase: 100 * counts[phase] / len(stacks) for phase in PHASES}
    seen = [phase for phase in PHASES if any(of[phase] for of in shares.values())]
    rows = [[phase, *(f"{of[phase]:.1f}" for of in shares.values())] for phase in seen]
    print(table([f"% of the CPU of `mine {' '.join(job)}`", *shares], rows), end="")


if __name__ == "__main__":
    main()
