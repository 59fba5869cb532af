#!/usr/bin/env python3
"""Times finding near-duplicates with datasketch on the rows of a store, with the parameters that `gitlode assemble` has.

    gitlode export STORE rows --columns id,diff,new_contents,old_contents
    scripts/compare_with_datasketch.py rows/data/*.jsonl

256 permutations, 25 bands of 10, 5-grams of words of the changed lines, candidates compared in full in changed lines and in
new contents, 0.7. Reading JSON is not timed. Prints the time of each step, candidates and pairs that are alike, as JSON.
Needs datasketch and numpy."""

import argparse
import json
import re
import time

from datasketch import MinHash, MinHashLSH

WORDS = re.compile(r"[A-Za-z0-9_\u0080-\U0010ffff]+")
NGRAM_WORDS = 5
SIMILARITY_MIN = 0.7


def ngrams(words):
    if not words:
        return set()
    n = min(NGRAM_WORDS, len(words))
    return {" ".join(words[at : at + n]) for at in range(len(words) - n + 1)}


def change_set(diff):
    words = []
    in_hunk = False
    for line in diff.split("\n"):
        in_hunk = in_hunk or line.startswith("@@")
        if in_hunk and line[:1] in ("+", "-"):
            words += [line[0] + word.lower() for word in WORDS.findall(line[1:])]
    return ngrams(words)


def jaccard(a, b):
    union = len(a | b)
    return len(a & b) / union if union else 1.0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="+")
    args = parser.parse_args()
    rows = []
    for path in args.rows:
        with open(path, encoding="utf-8") as lines:
            rows += [json.loads(line) for line in lines]
    started, cpu = time.perf_counter(), time.process_time()
    seconds = {}

    def step(name):
        nonlocal started
        seconds[name] = round(time.perf_counter() - started, 2)
        started = time.perf_counter()

    sets = [change_set(row["diff"]) for row in rows]
    step("n-grams")
    sketches = []
    for members in sets:
        sketch = MinHash(num_perm=256)
        if members:
            sketch.update_batch([member.encode() for member in members])
        sketches.append(sketch)
    step("signatures")
    index = MinHashLSH(num_perm=256, params=(25, 10))
    pairs = set()
    for at, sketch in enumerate(sketches):
        if sets[at]:
            pairs.update((other, at) for other in index.query(sketch))
            index.insert(at, sketch)
    step("candidates")
    contents = {}

    def contents_set(at):
        if at not in contents:
            text = rows[at]["new_contents"] or rows[at]["old_contents"] or ""
            contents[at] = ngrams([word.lower() for word in WORDS.findall(text)])
        return contents[at]

    alike = sum(
        jaccard(sets[a], sets[b]) >= SIMILARITY_MIN and jaccard(contents_set(a), contents_set(b)) >= SIMILARITY_MIN
        for a, b in pairs
    )
    step("comparing")
    cpu = time.process_time() - cpu
    print(json.dumps({
        "rows": len(rows), "cpu_seconds": round(cpu, 2), "seconds": seconds, "candidates": len(pairs), "alike": alike,
    }))


if __name__ == "__main__":
    main()
