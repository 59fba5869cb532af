#!/usr/bin/env python3
"""Trains the tie-break between languages that share an ending, and measures the detection of languages.

usage: train_tie_break.py train SAMPLES        writes languages/tie_break.tsv
       train_tie_break.py report SAMPLES GITLODE

SAMPLES is the directory `samples` of a clone of GitHub Linguist: a directory for each language. Training uses the files
whose path hashes to 0, 1 or 2 modulo 5, two in five are kept for the report. Needs Python 3.11.
"""

import collections
import hashlib
import json
import math
import pathlib
import re
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORD = re.compile(rb"[A-Za-z_\x80-\xff]+|[!-/:-@\[-^`{-~][!-/:-@\[-^`{-~]{0,2}")
CONTENT_BYTES_MAX = 8 * 1024
WORDS_PER_LANGUAGE = 150
COST_UNIT = 10
# Names that can't be directories.
DIRECTORIES = {"Fstar": "F*", "ProC": "Pro*C"}
# The twenty most common languages of CommitPack by number of rows (its dataset card).
COMMON = """JavaScript PHP Python Ruby Markdown Java C# HTML C YAML JSON C++ CSS TypeScript Go Shell XML Kotlin Rust Scala
Objective-C Swift""".split()


def is_seen(path):
    return int(hashlib.sha256(path.encode()).hexdigest(), 16) % 5 < 3


def samples(root):
    for path in sorted(pathlib.Path(root).rglob("*")):
        if path.is_file() and not path.is_symlink():
            relative = str(path.relative_to(root))
            directory = relative.split("/")[0]
            yield DIRECTORIES.get(directory, directory), relative, path


def words(contents):
    return [word.decode() for word in WORD.findall(contents[:CONTENT_BYTES_MAX]) if len(word) <= 32 and is_text(word)]


def is_text(word):
    try:
        return bool(word.decode())
    except UnicodeDecodeError:
        return False


def train(root):
    table = tomllib.loads((ROOT / "languages/linguist.toml").read_text())
    sharing = collections.defaultdict(set)
    for language in table["language"]:
        for extension in language.get("extensions", []):
            sharing[extension.lower()].add(language["name"])
    ambiguous = set().union(*(names for names in sharing.values() if len(names) > 1)) | {"Roff", "Roff Manpage"}
    counts = collections.defaultdict(collections.Counter)
    for language, relative, path in samples(root):
        if language in ambiguous and is_seen(relative):
            counts[language].update(words(path.read_bytes()))
    vocabulary = len(set().union(*counts.values()))
    lines = [
        "# Costs of words in languages that share an ending with others; made by scripts/train_tie_break.py from the\n"
        "# sample files of GitHub Linguist (MIT, Copyright (c) 2017 GitHub, Inc.): counts of words, no text.\n"
    ]
    for language in sorted(counts):
        total = sum(counts[language].values())

        def cost(count):
            return round(-COST_UNIT * math.log((count + 0.5) / (total + 0.5 * vocabulary)))

        # A tab or a space can't be in a word, so they can separate them.
        groups = collections.defaultdict(list)
        for word, count in sorted(counts[language].items(), key=lambda item: (-item[1], item[0]))[:WORDS_PER_LANGUAGE]:
            groups[cost(count)].append(word)
        fields = [f"{price} {' '.join(sorted(group))}" for price, group in sorted(groups.items())]
        lines.append("\t".join([language, str(cost(0)), *fields]) + "\n")
    (ROOT / "languages/tie_break.tsv").write_text("".join(lines))


def report(root, gitlode):
    expected = {str(path): (language, is_seen(relative)) for language, relative, path in samples(root)}
    paths = list(expected)
    found = {}
    for start in range(0, len(paths), 500):
        done = subprocess.run([gitlode, "languages", "detect", "--json", *paths[start : start + 500]], check=True, capture_output=True)
        for line in done.stdout.splitlines():
            row = json.loads(line)
            found[row["path"]] = (row["language"], row["method"])
    methods = collections.defaultdict(lambda: [0, 0])
    languages = collections.defaultdict(lambda: [0, 0])
    unseen, wrong = [0, 0], collections.Counter()
    for path, (language, seen) in expected.items():
        got, method = found[path]
        good = got == language
        for count in (methods[method or "none"], languages[language]):
            # What the tie-break saw says nothing about it.
            if not (seen and method == "tie-break"):
                count[0] += good
                count[1] += 1
        if not seen:
            unseen[0] += good
            unseen[1] += 1
        if not good and not (seen and method == "tie-break"):
            wrong[(language, got, method, pathlib.Path(path).suffix)] += 1
    for method, (good, total) in sorted(methods.items()):
        print(f"{method:12} {good:5} of {total:5}  {100 * good / total if total else 0:.2f} %")
    good, total = map(sum, zip(*methods.values()))
    print(f"{'all':12} {good:5} of {total:5}  {100 * good / total:.2f} %")
    print(f"{'held out':12} {unseen[0]:5} of {unseen[1]:5}  {100 * unseen[0] / unseen[1]:.2f} %")
    good, total = map(sum, zip(*(languages[language] for language in COMMON[:20])))
    print(f"{'common 20':12} {good:5} of {total:5}  {100 * good / total:.2f} %")
    for (language, got, method, suffix), count in wrong.most_common(60):
        print(f"  {count} {language} taken for {got} by {method} ({suffix})")


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "train":
        train(sys.argv[2])
    elif len(sys.argv) == 4 and sys.argv[1] == "report":
        report(sys.argv[2], sys.argv[3])
    else:
        sys.exit(__doc__)
