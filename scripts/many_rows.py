#!/usr/bin/env python3
"""Makes many repositories with small rows out of real ones, to see what assembling costs at scale.

    gitlode export STORE rows --columns old_contents,new_contents,subject,new_file
    scripts/many_rows.py rows/data/*.jsonl REPOSITORIES --first 0 --repositories 100

Each repository has 10,000 rows: a commit adds the old contents as files, further ones change 20 of them each to the new
contents. The words of a row are exchanged for others by a generator with a fixed seed, so that rows of one origin are not
alike; a fifth are near-duplicates of the row before (the same words, and another line at the end), one in fifty is an exact
duplicate but for its path. The same arguments give the same repositories, and one repository has its rows whatever the others
are."""

import argparse
import json
import pathlib
import re
import subprocess
import sys

ROWS = 10_000
FILES_PER_COMMIT = 20
BYTES_MAX = 1_500
WORDS = 24


def origins(paths):
    """Small rows with the words that are exchanged in them."""
    found = []
    for path in paths:
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                old, new = row["old_contents"], row["new_contents"]
                if not old or not new or max(len(old), len(new)) > BYTES_MAX or len(new) < 200:
                    continue
                words = exchangeable(old, new)
                if words and len(words) >= 8:
                    ending = pathlib.PurePath(row["new_file"]).suffix or ".txt"
                    found.append((old, new, row["subject"], ending, words))
    return found


def exchangeable(old, new):
    """Words of all changed lines, then the longest others; none where a changed line has no word to exchange."""
    lines = set(old.split("\n")) ^ set(new.split("\n"))
    by_length = lambda text: sorted(set(re.findall(r"[A-Za-z_]{3,}", text)), key=lambda word: (-len(word), word))
    of_lines = [by_length(line) for line in sorted(lines) if re.search(r"\w", line)]
    if not of_lines or len(of_lines) > WORDS or not all(of_lines):
        return None
    first = {words[0] for words in of_lines}
    others = [word for word in by_length(new) if word not in first]
    return sorted([*first, *others[: WORDS - len(first)]], key=lambda word: (-len(word), word))


def mix(number):
    """SplitMix64."""
    mask = (1 << 64) - 1
    number = (number + 0x9E3779B97F4A7C15) & mask
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & mask
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & mask
    return number ^ (number >> 31)


def exchanged(origin, seed):
    old, new, subject, ending, words = origin
    for at, word in enumerate(words):
        other = f"{word[:2]}{mix(seed * 64 + at) % 2_000_003:x}"
        old, new = old.replace(word, other), new.replace(word, other)
    return old, new, subject, ending


def rows(found, repository):
    before = None
    for at in range(ROWS):
        seed = repository * ROWS + at
        drawn = mix(seed) % 100
        if before is not None and drawn < 20:
            old, new, subject, ending = before
            yield f"{old}\n// {seed:x} of many\n", f"{new}\n// {seed:x} of many\n", subject, ending
        elif before is not None and drawn < 22:
            yield before
        else:
            before = exchanged(found[mix(seed + 1) % len(found)], seed)
            yield before


def write(found, directory, repository):
    path = directory / f"r{repository:06}"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", path], check=True)
    made = list(rows(found, repository))
    process = subprocess.Popen(["git", "-C", path, "fast-import", "--quiet"], stdin=subprocess.PIPE)
    out = process.stdin

    def commit(number, subject, files):
        text = subject.encode()
        who = b"A U Thor <author@example.com> %d +0000\n" % (1_600_000_000 + 100_000 * repository + number)
        out.write(b"commit refs/heads/main\nauthor " + who + b"committer " + who)
        out.write(b"data %d\n%s\n" % (len(text), text))
        for name, contents in files:
            contents = contents.encode()
            out.write(b"M 100644 inline %s\ndata %d\n%s\n" % (name.encode(), len(contents), contents))

    names = [f"d{at % 100:02}/{at:05}{row[3]}" for at, row in enumerate(made)]
    commit(0, "Add the files", [(name, row[0]) for name, row in zip(names, made)])
    for number, at in enumerate(range(0, ROWS, FILES_PER_COMMIT)):
        part = range(at, at + FILES_PER_COMMIT)
        commit(number + 1, made[at][2], [(names[n], made[n][1]) for n in part])
    out.close()
    if process.wait() != 0:
        sys.exit(f"git fast-import failed for {path}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="+", help="JSON lines; the last argument is the directory of repositories")
    parser.add_argument("--first", type=int, default=0, help="number of the first repository")
    parser.add_argument("--repositories", type=int, default=10)
    args = parser.parse_args()
    *paths, directory = args.rows
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    found = origins(paths)
    if not found:
        sys.exit("no row is small enough")
    print(f"{len(found)} rows of origin", file=sys.stderr)
    for repository in range(args.first, args.first + args.repositories):
        write(found, directory, repository)


if __name__ == "__main__":
    main()
