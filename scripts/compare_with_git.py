#!/usr/bin/env python3
"""Compares a mined repository with git itself, and applies diffs.

usage: compare_with_git.py GITLODE REPOSITORY [--renames] [--apply N] [--bytes N] [--no-diffs]

Mines REPOSITORY with --filter none, then demands that
- the set of (commit, path, old blob, new blob) equals what `git log --raw` lists as M between regular files with
  different blobs (with --renames also as R), less the changes that the funnel counts as skipped, each of which must have its stated cause;
- the funnel counts as many skips by each reason as there are changes with that cause;
- N rows (spread by id; 0: all) have contents equal to `git cat-file`, byte for byte, or once decoded from the encoding
  that the row names, where Python knows it;
- the diff of every row whose sides are UTF-8 is what `git log -p` prints, byte for byte;
- the diff of N rows (0: all) applied with `git apply` to the old contents gives the new ones;
- the funnel adds up, and its totals are git's.
Needs git and Python 3.11, nothing else. Exit code 0 if all of it holds.
"""

import argparse
import codecs
import concurrent.futures
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ENV = {**os.environ, "GIT_NO_REPLACE_OBJECTS": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
BLOB_BYTES_MAX = 1 << 20
PATH_BYTES_MAX = 4096


def git(repository, *args):
    return subprocess.run(["git", "-C", repository, *args], check=True, capture_output=True, env=ENV).stdout


def raw_changes(repository, renames):
    """Every raw line of the history, as (commit, old mode, new mode, old, new, status, old path, new path)."""
    detect = ["-M", "-l1000"] if renames else ["--no-renames"]
    out = git(repository, "log", "HEAD", "--no-merges", "--root", "--raw", *detect, "--no-abbrev", "-z", "--format=commit %H")
    commit, changes, fields = None, [], iter(out.split(b"\0"))
    for field in fields:
        field = field.lstrip(b"\n")
        while field.startswith(b"commit "):
            commit, _, field = field[7:].partition(b"\n")
            field = field.lstrip(b"\n")
        if field.startswith(b":"):
            old_mode, new_mode, old, new, status = field[1:].split(b" ")
            old_path = next(fields)
            new_path = next(fields) if status.startswith(b"R") else old_path
            changes.append((commit, old_mode, new_mode, old, new, status[:1], old_path, new_path))
    return changes


def diffs_of_git(repository, renames):
    """The digest of every diff of the history, by commit and first line."""
    detect = ["-M", "-l1000"] if renames else ["--no-renames"]
    # Attributes choose other patterns for the functions in hunk headers, so none are read.
    empty = git(repository, "hash-object", "-t", "tree", "/dev/null").strip().decode()
    command = [
        "git", f"--attr-source={empty}", "-C", repository, "log", "HEAD", "-p", "--no-merges", "--root", *detect, "--full-index",
        "--diff-filter=MR", "--no-color", "--no-ext-diff", "--no-textconv", "--format=\x01%H",
    ]
    digests, commit, first, digest = {}, None, None, None
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=ENV) as process:
        for line in process.stdout:
            if line.startswith((b"\x01", b"diff --git ")) and first:
                digests[commit, first] = digest.digest()
                first = None
            if line.startswith(b"\x01"):
                commit = line[1:].strip().decode()
            elif line.startswith(b"diff --git "):
                first, digest = line.rstrip(b"\n"), hashlib.sha1(line)
            elif first:
                digest.update(line)
    if first:
        digests[commit, first] = digest.digest()
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return digests


def regular(mode):
    return mode.startswith(b"100")


class Blobs:
    """One `git cat-file --batch` process."""

    def __init__(self, repository):
        self.process = subprocess.Popen(
            ["git", "-C", repository, "cat-file", "--batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENV
        )

    def get(self, blob):
        self.process.stdin.write(blob + b"\n")
        self.process.stdin.flush()
        header = self.process.stdout.readline().split()
        if header[-1] == b"missing":
            return None
        body = self.process.stdout.read(int(header[2]))
        self.process.stdout.read(1)
        return body


def skip_reasons(contents):
    """The reasons for which gitlode may skip a side, decided here independently; none for plain UTF-8 text."""
    if contents is None:
        return {"missing_object"}
    reasons = set()
    if len(contents) > BLOB_BYTES_MAX:
        reasons.add("too_large")
    if len(contents) <= 1024 and contents.startswith(b"version https://git-lfs.github.com/spec/v1\n"):
        reasons.add("lfs_pointer")
    if b"\0" in contents[:8000]:
        reasons.add("binary")
    if not is_utf8(contents):
        reasons.add("undecodable_text")
    return reasons


def skip_reasons_of_path(path):
    return ({"path_too_long"} if len(path) > PATH_BYTES_MAX else set()) | (set() if is_utf8(path) else {"path_not_utf8"})


def is_utf8(text):
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def accounts_agree(possible, skipped):
    """Whether the funnel's counts by reason fit the reasons that each missing change could have."""
    # What git lists as no modification of a regular file.
    counted = {r: n for r, n in skipped.items() if not r.startswith("kind_") and r not in ("mode_only", "symlink", "submodule")}
    for reason in set(counted).union(*possible):
        least, most = sum(p == {reason} for p in possible), sum(reason in p for p in possible)
        if not least <= counted.get(reason, 0) <= most:
            return False
    return sum(counted.values()) == len(possible)


def codec(encoding):
    """Whether Python knows the encoding of that name."""
    try:
        codecs.lookup(encoding)
    except LookupError:
        return False
    return True


def decoded(contents, encoding):
    """Contents as UTF-8; none where the object is missing, or not in that encoding."""
    if contents is None or encoding == "utf-8":
        return contents
    try:
        return contents.decode(encoding).encode()
    except UnicodeDecodeError:
        return None


def applies(row):
    """Whether `git apply` of the row's diff turns old contents into new ones."""
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, row["old_file"])
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(row["old_contents"].encode())
        done = subprocess.run(
            ["git", "apply", "--whitespace=nowarn", "-"], cwd=directory, input=row["diff"].encode(), capture_output=True,
            env={**ENV, "GIT_CEILING_DIRECTORIES": os.path.dirname(directory)},
        )
        if done.returncode != 0:
            return False
        with open(os.path.join(directory, row["new_file"]), "rb") as file:
            contents = file.read()
    if row["new_encoding"] == "utf-8":
        digest = hashlib.sha1 if len(row["new_blob"]) == 40 else hashlib.sha256
        if digest(b"blob %d\0" % len(contents) + contents).hexdigest() != row["new_blob"]:
            return False
    return contents == row["new_contents"].encode()


def rows_of(gitlode, repository, directory, kinds):
    store, out = f"{directory}/store", f"{directory}/out"
    summary = subprocess.run([gitlode, "mine", repository, "--store", store, "--filter", "none", "--json", "--kinds", kinds], check=True, capture_output=True)
    subprocess.run([gitlode, "verify", store], check=True, capture_output=True)
    subprocess.run([gitlode, "export", store, out], check=True, capture_output=True)
    return json.loads(summary.stdout)["funnel"], sorted(pathlib.Path(out, "data").iterdir())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gitlode")
    parser.add_argument("repository")
    parser.add_argument("--renames", action="store_true")
    parser.add_argument("--apply", type=int, default=1000)
    parser.add_argument("--bytes", type=int, default=1000)
    parser.add_argument("--no-diffs", action="store_true")
    args = parser.parse_args()
    failures = []

    def check(name, good, detail=""):
        print(f"{'ok  ' if good else 'FAIL'} {name} {detail}")
        if not good:
            failures.append(name)

    raw = raw_changes(args.repository, args.renames)
    listed = {
        (c, old_path, new_path, old, new)
        for c, old_mode, new_mode, old, new, status, old_path, new_path in raw
        if regular(old_mode) and regular(new_mode) and (status == b"M" and old != new or status == b"R")
    }
    with tempfile.TemporaryDirectory() as directory:
        funnel, shards = rows_of(args.gitlode, args.repository, directory, "modified,renamed" if args.renames else "modified")
        mined, ids = set(), []
        diffs = {} if args.no_diffs else diffs_of_git(args.repository, args.renames)
        other_diffs, same_diffs = [], 0
        for shard in shards:
            with open(shard, "rb") as lines:
                for line in lines:
                    row = json.loads(line)
                    mined.add(tuple(row[k].encode() for k in ("commit", "old_file", "new_file", "old_blob", "new_blob")))
                    ids.append(row["id"])
                    if diffs and row["old_encoding"] == row["new_encoding"] == "utf-8":
                        diff = row["diff"].encode()
                        if diffs.get((row["commit"], diff.partition(b"\n")[0])) == hashlib.sha1(diff).digest():
                            same_diffs += 1
                        else:
                            other_diffs.append((row["commit"], row["new_file"]))
        blobs = Blobs(args.repository)
        check("no row that git does not list", not mined - listed, f"{len(mined):,} rows, {len(listed):,} listed, {sum(c[1] != c[2] for c in mined):,} of them renames {list(mined - listed)[:3]}")
        check("no row twice", len(mined) == len(ids) == len(set(ids)))
        if diffs:
            check("diffs are git's own", not other_diffs, f"{same_diffs:,} of {same_diffs + len(other_diffs):,} {other_diffs[:3]}")
        changes, commits = funnel["changes"], funnel["commits"]
        wrong, possible = [], []
        for change in listed - mined:
            _, *paths, old, new = change
            reasons = set().union(*map(skip_reasons_of_path, paths), skip_reasons(blobs.get(old)), skip_reasons(blobs.get(new)))
            possible.append(reasons)
            if not reasons:
                wrong.append(change)
        check("every missing change has its cause", not wrong, f"{len(possible):,} {wrong[:3]}")
        check("the counts by reason are those causes'", accounts_agree(possible, changes["skipped"]), f"{changes['skipped']}")
        for unit, counts in funnel.items():
            total = counts["kept"] + sum(counts["dropped"].values()) + sum(counts["skipped"].values())
            check(f"{unit} add up", total == counts["candidates"], f"{total:,}")
        check("kept changes are the rows", changes["kept"] == len(mined))
        if "missing_object" not in changes["skipped"] and "missing_object" not in commits["skipped"]:
            check("all changes of git are candidates", changes["candidates"] == len(raw), f"{len(raw):,}")
        commits_of_git = len(git(args.repository, "rev-list", "HEAD").split())
        check("all commits of git are candidates", commits["candidates"] == commits_of_git, f"{commits_of_git:,}")
        ids.sort()
        chosen_bytes = set(ids[: args.bytes or None])
        chosen_apply = set(ids[: args.apply or None])
        bad_bytes, equal, unknown, bad_apply, applied = [], 0, 0, [], 0
        pending = set()
        with concurrent.futures.ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as pool:

            def settle(done):
                nonlocal applied
                for future in done:
                    applied += 1
                    if not future.result():
                        bad_apply.append(future.row_id)

            for shard in shards:
                with open(shard, "rb") as lines:
                    for line in lines:
                        row = json.loads(line)
                        if row["id"] in chosen_bytes:
                            for side in ("old", "new"):
                                encoding = row[f"{side}_encoding"]
                                if not codec(encoding):
                                    unknown += 1
                                    continue
                                equal += 1
                                if decoded(blobs.get(row[f"{side}_blob"].encode()), encoding) != row[f"{side}_contents"].encode():
                                    bad_bytes.append(row["id"])
                        if row["id"] in chosen_apply:
                            future = pool.submit(applies, row)
                            future.row_id = row["id"]
                            pending.add(future)
                            if len(pending) >= 64:
                                done, pending = concurrent.futures.wait(pending, return_when="FIRST_COMPLETED")
                                settle(done)
            settle(concurrent.futures.wait(pending).done)
        check("contents equal git cat-file", not bad_bytes, f"{equal:,} sides of {len(chosen_bytes):,} rows, {unknown} more in encodings that Python does not know {bad_bytes[:3]}")
        check("diffs apply and give the new blob", not bad_apply, f"{applied:,} rows {bad_apply[:3]}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
