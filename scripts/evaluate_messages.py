#!/usr/bin/env python3
"""Measures how well the language of commit messages is told, against labels given by hand.

usage: evaluate_messages.py GITLODE CLONES [--judge fast|lingua] [--part tuned|later] [--errors]

fixtures/message_languages.tsv names the commits and their languages; CLONES is a directory with a clone of each
repository, `CLONES/OWNER/NAME` or `CLONES/OWNER+NAME` (bare or not). Commits that are not there are counted and left out.
Needs git and Python 3.11.
"""

import argparse
import collections
import csv
import json
import pathlib
import subprocess

LABELS = pathlib.Path(__file__).parent.parent / "fixtures/message_languages.tsv"


def git_dir(clones: pathlib.Path, repository: str) -> pathlib.Path | None:
    for name in (repository, repository.replace("/", "+")):
        for inner in ("", "repo"):
            path = clones / name / inner
            if (path / "HEAD").exists():
                return path
            if (path / ".git").exists():
                return path / ".git"
    return None


def message(path: pathlib.Path, commit: str) -> str | None:
    show = ["git", f"--git-dir={path}", "log", "-1", "--format=%B", commit]
    shown = subprocess.run(show, capture_output=True)
    return shown.stdout.decode("utf-8", "replace").replace("\0", " ") if shown.returncode == 0 else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("gitlode")
    parser.add_argument("clones", type=pathlib.Path)
    parser.add_argument("--judge", default="fast")
    parser.add_argument("--part")
    parser.add_argument("--errors", action="store_true")
    args = parser.parse_args()
    with LABELS.open(encoding="utf-8", newline="") as file:
        labels = list(csv.DictReader((line for line in file if not line.startswith("#")), delimiter="\t"))
    labels = [label for label in labels if args.part in (None, label["part"])]
    found, missing = [], 0
    for label in labels:
        path = git_dir(args.clones, label["repository"])
        text = message(path, label["commit"]) if path else None
        if text is None:
            missing += 1
        else:
            found.append((label, text))
    command = [args.gitlode, "languages", "message", "--judge", args.judge]
    texts = "".join(text + "\0" for _, text in found)
    answers = subprocess.run(command, input=texts.encode(), capture_output=True, check=True).stdout.splitlines()
    assert len(answers) == len(found)
    right, given, wanted = (collections.Counter() for _ in range(3))
    for (label, text), answer in zip(found, answers):
        language = json.loads(answer)["language"]
        wanted[label["language"]] += 1
        given[language] += 1
        if language == label["language"]:
            right[language] += 1
        elif args.errors:
            print(label["language"], answer.decode(), repr(text[:90]))
    print(f"{len(found)} messages, {missing} not at hand")
    print("language  messages  precision  recall")
    for language in sorted(wanted, key=lambda one: -wanted[one]):
        precision = right[language] / given[language] if given[language] else 0
        print(f"{language:8} {wanted[language]:9} {precision:10.3f} {right[language] / wanted[language]:7.3f}")
    print(f"accuracy {sum(right.values()) / len(found):.3f}; named and not among the labels: {sum(given[one] for one in given if one not in wanted)}")


if __name__ == "__main__":
    main()
