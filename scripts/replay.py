#!/usr/bin/env python3
"""Replays histories of real repositories to a watch, and demands the export of a bulk run.

    scripts/replay.py PROGRAM REPOSITORY... [--steps 20] [--commits 2000] [--seed 1]

Serves each repository with its default branch at some commit of its first-parent history, and moves it in drawn steps: forward,
back (a force-push), forward again, to and fro with branches and tags. Between the steps, `watch --once` runs; some of those
are killed at a drawn moment, and some mirrors are removed. At the end the export has to have the bytes of the export
of a store that was mined once, with either set of references: HEAD alone, and all branches.
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fleet import serve


class Served:
    """Real repositories of which only some references are shown."""

    def __init__(self, root, paths, commits):
        self.root, self.heads, self.histories = root, {}, {}
        for path in paths:
            name = Path(path).name.removesuffix(".git") + ".git"
            subprocess.run(["git", "clone", "-q", "--bare", "--no-tags", "--single-branch", path, root / name], check=True)
            listed = self.git(name, "rev-list", "--first-parent", "--reverse", "HEAD").split()
            self.histories[name] = listed[:commits]
            branch = self.git(name, "symbolic-ref", "HEAD")
            # What was shown is what the references name; the rest of the objects waits for its step.
            self.git(name, "update-ref", branch, listed[0])
            self.git(name, "config", "gc.auto", "0")
            self.heads[name] = listed[0]

    def git(self, name, *args):
        return subprocess.run(["git", "-C", self.root / name, *args], check=True, capture_output=True, text=True).stdout.strip()

    def step(self, name, at, draw):
        history = self.histories[name]
        branch = self.git(name, "symbolic-ref", "HEAD")
        what = draw.random()
        if what < 0.25:
            at = max(0, at - draw.randrange(1, max(2, len(history) // 10)))
        else:
            at = min(len(history) - 1, at + draw.randrange(1, max(2, len(history) // 8)))
        self.git(name, "update-ref", branch, history[at])
        self.git(name, "update-ref", f"refs/heads/side{draw.randrange(3)}", history[draw.randrange(at + 1)])
        self.git(name, "update-ref", f"refs/tags/v{draw.randrange(3)}", history[draw.randrange(at + 1)])
        self.heads[name] = history[at]
        return at


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("repositories", nargs="+")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--commits", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    program, draw = Path(args.program).resolve(), random.Random(args.seed)
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        (root / "served").mkdir()
        served = Served(root / "served", [Path(path).resolve() for path in args.repositories], args.commits)
        server = serve(served)
        url = f"http://127.0.0.1:{server.server_port}"
        (root / "names").write_text("".join(f"{name}\n" for name in served.heads))

        def run(*command, codes=(0,)):
            done = subprocess.run([program, *command], cwd=root, capture_output=True, text=True)
            if done.returncode not in codes:
                sys.exit(f"{command}: {done.returncode}\n{done.stderr}")
            return done.stderr

        for branches in ("false", "true"):
            (root / f"{branches}.toml").write_text(
                f'[watch]\nstore = "{branches}"\nsources = ["{url}/@names"]\nbatches-max = 4\nallow-private = true\n'
                f'[mine]\nfilter = "none"\nall-branches = {branches}\n'
            )
        places = {name: 0 for name in served.heads}
        killed = removed = rewritten = 0
        for step in range(args.steps):
            for name in places:
                places[name] = served.step(name, places[name], draw)
            for branches in ("false", "true"):
                if draw.random() < 0.3:
                    for mirror in (root / branches).glob("mirrors/*/*.git"):
                        if draw.random() < 0.5:
                            shutil.rmtree(mirror)
                            removed += 1
                watch = ["watch", "--config", f"{branches}.toml", "--once"]
                if draw.random() < 0.5:
                    with subprocess.Popen([program, *watch], cwd=root, stdout=-3, stderr=-3) as process:
                        time.sleep(draw.random())
                        killed += process.poll() is None
                        process.kill()
                if draw.random() < 0.7:
                    rewritten += run(*watch).count("mined from the start")
            print(f"step {step + 1}: {killed} killed, {removed} mirrors removed, {rewritten} times from the start", flush=True)
        for branches in ("false", "true"):
            run("watch", "--config", f"{branches}.toml", "--once")
            run("verify", branches)
            more = ["--all-branches"] if branches == "true" else []
            urls = [f"{url}/{name}" for name in served.heads]
            run("mine", *urls, "--store", f"bulk-{branches}", "--filter", "none", *more)
            shards = []
            for store in (branches, f"bulk-{branches}"):
                run("export", store, f"export-{store}")
                data = sorted((root / f"export-{store}/data").iterdir())
                shards.append([(shard.name, shard.read_bytes()) for shard in data])
            if shards[0] != shards[1]:
                sys.exit(f"all branches {branches}: the exports differ")
            rows = sum(text.count(b"\n") for _, text in shards[0])
            print(f"all branches {branches}: {rows} rows, the same bytes")
        server.shutdown()


if __name__ == "__main__":
    main()
