#!/usr/bin/env python3
"""Measures how well licence files are told, against what packages say of themselves.

usage: evaluate_licenses.py GITLODE [--crates DIR] [--npm DIR]

DIR of --crates has unpacked crates (the default is cargo's own cache): each licence file by itself against the licence
that its name gives, out of those in `license` of Cargo.toml, or against the only one there; and all files of a crate
together. DIR of --npm has npm packages, as `npm pack` makes them, unpacked: `DIR/NAME/package.json`, with or without a
`package` between. Prints how many are right, and each that is not. Needs Python 3.11.
"""

import argparse
import json
import pathlib
import re
import subprocess
import tomllib

FILE = re.compile(r"(?i)^(un)?licen[sc]e|^copying|[-_]licen[sc]e(\.(txt|md))?$")
# What a part of a file's name stands for.
NAMED = {
    "mit": "MIT", "apache": "Apache-2.0", "apache2": "Apache-2.0", "unlicense": "Unlicense", "zlib": "Zlib",
    "bsl": "BSL-1.0", "boost": "BSL-1.0", "isc": "ISC", "0bsd": "0BSD", "cc0": "CC0-1.0",
}
RESTRICTED = re.compile(r"GPL-|MPL-|EPL-|CDDL-|SSPL-|BUSL-|Sleepycat|CC-BY-(SA|NC|ND)")


def parts(expression: str | None) -> frozenset:
    """The sides of each AND and OR as sets, so that the order doesn't count. A text does not say whether later versions may
    be used."""
    if not expression:
        return frozenset()
    tokens = re.findall(r"[()]|[^\s()]+", re.sub(r"-(only|or-later)\b", "", expression.replace("/", " OR ")))
    at = 0

    def group(word: str | None):
        nonlocal at
        items, words = [], set()
        while at < len(tokens) and tokens[at] != ")":
            token, at = tokens[at], at + 1
            if token == "(":
                items.append(group(None))
                at += 1
            elif token in ("AND", "OR"):
                words.add(token)
            elif token == "WITH":
                items[-1], at = f"{items[-1]} WITH {tokens[at]}", at + 1
            else:
                items.append(token)
        if len(set(map(str, items))) == 1:
            return items[0]
        # Without brackets, AND and OR do not come together in what packages say.
        return (" ".join(sorted(words)), frozenset(items))

    return frozenset([group(None)])


def licences(expression: str) -> set[str]:
    return set(re.sub(r"[()]|\b(AND|OR)\b|/", "\n", expression).replace(" WITH ", "_WITH_").split())


def files_of(directory: pathlib.Path) -> list[pathlib.Path]:
    return sorted(path for path in directory.iterdir() if FILE.match(path.name) and path.is_file())


def expected_of(path: pathlib.Path, stated: set[str]) -> str | None:
    stated = {side.replace("_WITH_", " WITH ") for side in stated}
    if len(stated) == 1:
        return next(iter(stated))
    for word in re.split(r"[^a-z0-9]+", path.name.lower()):
        known = NAMED.get(word)
        matching = [side for side in stated if side.split(" WITH ")[0] == known]
        if len(matching) == 1:
            return matching[0]
        if word == "bsd":
            matching = [side for side in stated if side.startswith("BSD-")]
            if len(matching) == 1:
                return matching[0]
    return None


class Tally:
    def __init__(self, gitlode: str, name: str) -> None:
        self.gitlode, self.name, self.asked = gitlode, name, []

    def ask(self, path: pathlib.Path, expected: str) -> None:
        self.asked.append((path, expected))

    def tell(self) -> None:
        right, wrong, permissive = 0, [], []
        for at in range(0, len(self.asked), 200):
            some = self.asked[at : at + 200]
            command = [self.gitlode, "licenses", "check", "--json", *(str(path) for path, _ in some)]
            lines = subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()
            assert len(lines) == len(some)
            for (path, expected), line in zip(some, lines):
                answer = json.loads(line)
                if parts(answer["license"]) == parts(expected):
                    right += 1
                    continue
                wrong.append(f"  {path.parent.name}/{path.name}: {answer['license']}, should be {expected}")
                if answer["permissive"] and all(RESTRICTED.search(side) for side in licences(expected)):
                    permissive.append(str(path))
        asked = len(self.asked)
        share = 100 * right / asked if asked else 0.0
        print(f"{self.name}: {right} of {asked} right ({share:.1f} %), copyleft called permissive: {len(permissive)}")
        print("".join(line + "\n" for line in wrong), end="")


def crates(gitlode: str, directory: pathlib.Path) -> None:
    files, together = Tally(gitlode, "crates, each file"), Tally(gitlode, "crates, all files of one")
    for manifest in sorted([*directory.glob("*/Cargo.toml"), *directory.glob("*/*/Cargo.toml")]):
        with manifest.open("rb") as file:
            try:
                stated = tomllib.load(file).get("package", {}).get("license")
            except tomllib.TOMLDecodeError:
                continue
        if not isinstance(stated, str):
            continue
        found = files_of(manifest.parent)
        for path in found:
            expected = expected_of(path, licences(stated))
            if expected:
                files.ask(path, expected)
        # Where a side has no file of its own, files can't say it.
        if found and len(licences(stated)) in (1, len(found)):
            together.ask(manifest.parent, stated)
    files.tell()
    together.tell()


def npm(gitlode: str, directory: pathlib.Path) -> None:
    tally = Tally(gitlode, "npm packages")
    for manifest in sorted([*directory.glob("*/package.json"), *directory.glob("*/package/package.json")]):
        stated = json.loads(manifest.read_text(encoding="utf-8")).get("license")
        if isinstance(stated, str) and not stated.upper().startswith(("SEE ", "UNLICENSED")) and files_of(manifest.parent):
            tally.ask(manifest.parent, stated)
    tally.tell()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("gitlode")
    parser.add_argument("--crates", type=pathlib.Path, default=pathlib.Path.home() / ".cargo/registry/src")
    parser.add_argument("--npm", type=pathlib.Path)
    args = parser.parse_args()
    crates(args.gitlode, args.crates)
    if args.npm:
        npm(args.gitlode, args.npm)


if __name__ == "__main__":
    main()
