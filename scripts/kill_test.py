#!/usr/bin/env python3
"""Kills `gitlode mine` again and again and demands the rows of an undisturbed run.

usage: kill_test.py GITLODE SOURCE... [--filter F] [--kills N] [--seed N] [--segment-bytes-max BYTES]

Mines all sources once undisturbed. Then mines them into another store, ended by SIGKILL after a random part of the time
that the undisturbed run took, over and over, until N runs were killed; a store that got complete before is compared and
begun anew. Demands each time that the export is the same, byte for byte, that `verify` is content, that the account is
the same, and that the store, its mirrors included, holds the same files as the undisturbed one. (Packs of mirrors may
have other names: what was fetched in other steps is packed in other packs.) Exit code 0 if all of it holds.
"""

import argparse
import hashlib
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gitlode")
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--filter", default="none")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--segment-bytes-max", default="1000000")
    args = parser.parse_args()
    dice = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)

        def command(store):
            options = ["--store", str(root / store), "--quiet", "--filter", args.filter]
            options += ["--segment-bytes-max", args.segment_bytes_max]
            return [args.gitlode, "mine", *args.sources, *options]

        def state(store):
            out = root / "out"
            shutil.rmtree(out, ignore_errors=True)
            subprocess.run([args.gitlode, "verify", root / store], check=True, capture_output=True)
            subprocess.run([args.gitlode, "export", root / store, out], check=True, capture_output=True)
            digest = hashlib.sha256()
            for shard in sorted((out / "data").iterdir()):
                digest.update(shard.read_bytes())
            stats = subprocess.run([args.gitlode, "stats", root / store, "--json"], check=True, capture_output=True)
            files = (path.relative_to(root / store) for path in (root / store).rglob("*"))
            is_pack = re.compile(r"objects/pack/pack-[0-9a-f]{40}\.(pack|idx|rev)$").search
            return digest.hexdigest(), sorted(str(file) for file in files if not is_pack(str(file))), stats.stdout

        started = time.monotonic()
        subprocess.run(command("calm"), check=True)
        seconds = time.monotonic() - started
        expected = state("calm")
        print(f"undisturbed: {seconds:.1f} s, {len(expected[1])} files, export {expected[0][:16]}")
        kills, complete = 0, 0
        while kills < args.kills:
            run = subprocess.Popen(command("rough"))
            try:
                run.wait(timeout=dice.uniform(0.01, 1.0) * seconds)
            except subprocess.TimeoutExpired:
                run.send_signal(signal.SIGKILL)
            code = run.wait()
            if code == -signal.SIGKILL:
                kills += 1
            elif code != 0:
                sys.exit(f"FAIL: a run after {kills} kills ended with {code}")
            else:
                complete += 1
                if state("rough") != expected:
                    sys.exit(f"FAIL: other rows or files after {kills} kills")
                shutil.rmtree(root / "rough")
        subprocess.run(command("rough"), check=True)
        if state("rough") != expected:
            sys.exit(f"FAIL: other rows or files after {kills} kills")
        print(f"ok: {kills} kills, {complete + 1} times complete, each time the same rows and files")


if __name__ == "__main__":
    main()
