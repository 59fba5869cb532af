#!/usr/bin/env python3
"""Checks hard negatives of an export without gitlode's code.

    check_negatives.py EXPORT ROWS [N]

EXPORT is one of `--format sentence-transformers` or `grit`; ROWS is the same choice of rows as JSON lines
(`gitlode export STORE ROWS --columns id,lang,subject,diff,repos,old_file,new_file`). Of N rows (1,000), drawn by a hash, it looks up
whose change positive and negative are, and counts: the positive is the subject's own change; the negative is in the same
language, not empty, never with the same subject, and no near-duplicate of the positive by an own Jaccard over 5-grams of
words, in changed lines with their signs and in all lines without; and where it was found. Ends with 1 if anything is wrong.
"""

import collections
import glob
import hashlib
import json
import re
import sys

SIMILAR = 0.7


def hunks(diff):
    found = re.search(r"^@@ ", diff, re.MULTILINE)
    return diff[found.start() :] if found else ""


def grams(change):
    words = []
    for line in change.split("\n"):
        if line[:1] in ("+", "-"):
            words += [line[0] + word.lower() for word in re.findall(r"(?:[A-Za-z0-9_]|[^\x00-\x7f])+", line[1:])]
    return {tuple(words[at : at + 5]) for at in range(max(1, len(words) - 4))} if words else set()


def all_grams(change):
    """5-grams of the words of each line, context and all, without signs."""
    found = set()
    for line in change.split("\n"):
        words = [word.lower() for word in re.findall(r"(?:[A-Za-z0-9_]|[^\x00-\x7f])+", line)]
        if words and not line.startswith("@@"):
            found |= {tuple(words[at : at + 5]) for at in range(max(1, len(words) - 4))}
    return found


def jaccard(one, two):
    return len(one & two) / len(one | two) if one | two else 1.0


def similarity(one, two):
    """Of changed lines with their signs, or of all words without signs, whichever is more."""
    return max(jaccard(grams(one), grams(two)), jaccard(all_grams(one), all_grams(two)))


def key(text):
    return hashlib.sha256(text.encode()).digest()


def records(directory):
    """Language, subject, positive, negative."""
    for file in sorted(glob.glob(f"{directory}/data/*/*.jsonl") + glob.glob(f"{directory}/*/*-embedding*.jsonl")):
        lang = file.split("/")[-2] if "/data/" in file else re.sub(r"-embedding(-\d+)?\.jsonl$", "", file.split("/")[-1])
        for line in open(file, encoding="utf-8"):
            row = json.loads(line)
            if "anchor" in row:
                yield lang, row["anchor"], row["positive"], row["negative"]
            else:
                yield lang, row["query"][1], row["pos"][0][1], row["neg"][0][1]


def main():
    directory, rows, count = sys.argv[1], sys.argv[2], int((sys.argv[3:] or ["1000"])[0])
    owners = collections.defaultdict(list)
    for file in sorted(glob.glob(f"{rows}/data/*.jsonl")):
        for line in open(file, encoding="utf-8"):
            row = json.loads(line)
            path = row["new_file"] or row["old_file"]
            owners[key(hunks(row["diff"]))].append((row["lang"], row["subject"], row["repos"].split(",")[0], path))
    total, drawn = 0, []
    for record in records(directory):
        total += 1
        drawn.append((hashlib.sha256("\0".join(record).encode()).digest(), record))
        if len(drawn) > 4 * count:
            drawn = sorted(drawn)[:count]
    found, wrong = collections.Counter(), collections.Counter()
    similarities = []
    for _, (lang, subject, positive, negative) in sorted(drawn)[:count]:
        own = [owner for owner in owners[key(positive)] if owner[:2] == (lang, subject)]
        other = [owner for owner in owners[key(negative)] if owner[0] == lang and owner[1] != subject]
        similar = similarity(positive, negative)
        similarities.append(similar)
        wrong["the positive is not the subject's change"] += not own
        wrong["the negative is not in the language, or has the same subject"] += not other
        wrong["the negative is empty"] += not negative.strip()
        wrong["the negative is a near-duplicate"] += similar >= SIMILAR
        near = lambda parts: any(one[2:parts] == two[2:parts] for one in own for two in other)
        found["same file" if near(4) else "same repository" if near(3) else "same language"] += 1
    similarities.sort()
    middle, most = similarities[len(similarities) // 2], similarities[-1]
    print(f"{len(similarities)} of {total} records; negatives: {dict(found)}; similarity: median {middle:.3f}, most {most:.3f}")
    print(f"wrong: {dict(wrong)}")
    sys.exit(any(wrong.values()))


main()
