#!/usr/bin/env python3
"""Times finding near-duplicates with datasketch and with `gitlode assemble` on the rows of a store, with the same parameters, in
one run.

    scripts/compare_with_datasketch.py STORE target/release/gitlode

256 permutations, 25 bands of 10, 5-grams of words of the changed lines, candidates compared in full in changed lines and in
new contents, 0.7. Redaction and benchmarks are off.

datasketch (MinHash.update_batch, MinHashLSH with the same bands) makes sets, signatures and an index, and compares candidates: each
pair once. Reading its rows (JSON lines that gitlode wrote) is a step of its own, since another program would read them from
elsewhere. gitlode does what a user gets: it reads and decompresses the segments of the store, finds exact duplicates too, clusters,
chooses who stays and writes facts, ledger and manifest; the store has no assembly before. The rounds of gitlode come before and
behind datasketch in turns. Prints CPU and wall seconds of both as JSON. Needs datasketch and numpy."""

import argparse
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
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


class Steps:
    """CPU and wall seconds of the steps of this process."""

    def __init__(self):
        self.seconds = {}
        self.last = (time.process_time(), time.perf_counter())

    def end(self, name):
        now = (time.process_time(), time.perf_counter())
        self.seconds[name] = {"cpu": round(now[0] - self.last[0], 2), "wall": round(now[1] - self.last[1], 2)}
        self.last = now


def datasketch(paths):
    steps, rows = Steps(), []
    for path in paths:
        with open(path, encoding="utf-8") as lines:
            rows += [json.loads(line) for line in lines]
    steps.end("reading")
    sets = [change_set(row["diff"]) for row in rows]
    steps.end("n-grams")
    sketches = []
    # Permutations are drawn once: a sketch that is given none draws its own.
    drawn = MinHash(num_perm=256)
    for members in sets:
        sketch = MinHash(num_perm=256, permutations=drawn.permutations, scheme=drawn.scheme)
        if members:
            sketch.update_batch([member.encode() for member in members])
        sketches.append(sketch)
    steps.end("signatures")
    index = MinHashLSH(num_perm=256, params=(25, 10))
    pairs = set()
    for at, sketch in enumerate(sketches):
        if sets[at]:
            pairs.update((other, at) for other in index.query(sketch))
            index.insert(at, sketch)
    steps.end("candidates")
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
    steps.end("comparing")
    return {"rows": len(rows), "candidates": len(pairs), "alike": alike, "steps": steps.seconds}


def gitlode(program, store, threads):
    with tempfile.TemporaryDirectory(dir=store.parent) as directory:
        copy = pathlib.Path(directory) / "store"
        shutil.copytree(store, copy, copy_function=os.link, ignore=shutil.ignore_patterns("assembly", "lock", "index.sqlite*"))
        options = ["--redact", "off", "--benchmark", "none", "-q", "-j", str(threads)]
        started = time.perf_counter()
        process = subprocess.Popen([program, "assemble", copy, *options])
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        if status != 0:
            sys.exit("gitlode assemble failed")
        return used.ru_utime + used.ru_stime, wall


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=pathlib.Path)
    parser.add_argument("gitlode")
    parser.add_argument("--rounds", type=int, default=3, help="of gitlode, before datasketch and again behind it")
    args = parser.parse_args()
    threads = sorted({1, os.cpu_count() or 1})
    with tempfile.TemporaryDirectory() as directory:
        rows = pathlib.Path(directory) / "rows"
        columns = "id,diff,new_contents,old_contents"
        subprocess.run([args.gitlode, "export", args.store, rows, "--columns", columns], check=True, stdout=subprocess.DEVNULL)
        measured = {n: [gitlode(args.gitlode, args.store, n) for _ in range(args.rounds)] for n in threads}
        peer = datasketch(sorted(rows.rglob("*.jsonl")))
        for n in threads:
            measured[n] += [gitlode(args.gitlode, args.store, n) for _ in range(args.rounds)]
    total = {kind: round(sum(step[kind] for name, step in peer["steps"].items() if name != "reading"), 2) for kind in ("cpu", "wall")}
    own = {
        n: {kind: round(statistics.median(pair[at] for pair in pairs), 3) for at, kind in enumerate(("cpu", "wall"))}
        for n, pairs in measured.items()
    }
    times = {
        f"{kind}, {n} threads": {
            "without its reading": round(total[kind] / of[kind], 1),
            "with its reading": round((total[kind] + peer["steps"]["reading"][kind]) / of[kind], 1),
        }
        for n, of in own.items()
        for kind in ("cpu", "wall")
    }
    print(json.dumps({"datasketch": {**peer, "without reading": total}, "gitlode": own, "times faster": times}, indent=2))


if __name__ == "__main__":
    main()
