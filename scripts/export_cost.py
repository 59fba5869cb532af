#!/usr/bin/env python3
"""What an export costs, and what others make of the same rows.

    target/tools/python/bin/python scripts/export_cost.py target/release/gitlode STORE

STORE is best mined with --filter none. Exports every format once, and writes the same rows with pyarrow in the order of
commits, as a script that goes through `git log` would, and with `datasets`. Then `hf` and `to_parquet` of `datasets` take turns, and
medians are compared. Everything goes to a temporary directory.
"""

import glob
import os
import statistics
import subprocess
import sys
import tempfile
import time

gitlode, store = sys.argv[1:]
scratch = tempfile.mkdtemp(prefix="export-cost-")
os.environ.update(HF_HUB_OFFLINE="1", HF_HOME=scratch, HF_DATASETS_DISABLE_PROGRESS_BARS="1")

# How often the two take turns.
PAIRS = 7


def size(pattern):
    return sum(os.path.getsize(file) for file in glob.glob(f"{scratch}/{pattern}", recursive=True) if os.path.isfile(file))


def timed(what, command, out, memory):
    """Runs `command`; its wall time, CPU time and the peak of its memory."""
    start = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.monotonic() - start
    if status != 0:
        sys.exit(f"{what} failed")
    written = size(out)
    rate = f"{memory / wall / 1e6:7.0f} MB/s" if memory else ""
    cpu = usage.ru_utime + usage.ru_stime
    print(f"{what:36} {wall:7.2f} s {cpu:7.2f} CPU {usage.ru_maxrss / 1024:6.0f} MiB "
          f"{written / 1e6:9.1f} MB {rate}", flush=True)
    return wall, written, cpu


WRITERS = {
    "pyarrow, commits, snappy": """
import pyarrow.parquet as pq
t = rows().sort_by([("commit_time", "ascending"), ("commit", "ascending"), ("new_file", "ascending")])
pq.write_table(t, out, row_group_size=10_000)""",
    "pyarrow, commits, zstd": """
import pyarrow.parquet as pq
t = rows().sort_by([("commit_time", "ascending"), ("commit", "ascending"), ("new_file", "ascending")])
pq.write_table(t, out, row_group_size=10_000, compression="zstd", compression_level=3)""",
    "datasets, to_parquet": """
import datasets
datasets.load_from_disk(arrow)["train"].to_parquet(out)""",
}


def python(what, script, memory):
    """Runs `script` on the rows that the export as Arrow wrote."""
    out = f"{scratch}/{what.replace(' ', '-').replace(',', '')}.parquet"
    begin = f"""
import glob, pyarrow as pa
out, arrow = {out!r}, {scratch + "/arrow"!r}
def rows():
    files = sorted(glob.glob(arrow + "/train/*.arrow"))
    return pa.concat_tables(pa.ipc.open_stream(pa.memory_map(f)).read_all() for f in files)
"""
    return timed(what, [sys.executable, "-c", begin + script], os.path.basename(out), memory)


def pairs(export, memory):
    """`hf` against `to_parquet`, in turn, so that both see the same machine."""
    ours, theirs = [], []
    for _ in range(PAIRS):
        ours.append(timed("hf", [*export, f"{scratch}/out", "--format", "hf"], "out/**/*.parquet", memory))
        subprocess.run(["rm", "-r", f"{scratch}/out"], check=True)
        theirs.append(python("datasets, to_parquet", WRITERS["datasets, to_parquet"], memory))
    wall, cpu = (statistics.median(b[at] / a[at] for a, b in zip(ours, theirs)) for at in (0, 2))
    print(f"median of {PAIRS} pairs: to_parquet takes {wall:.2f} times the wall and {cpu:.2f} times the CPU of hf")


def main():
    export = [gitlode, "export", store]
    _, memory, _ = timed("arrow", [*export, f"{scratch}/arrow", "--format", "arrow"], "arrow/**/*.arrow", 0)
    ours = {}
    for threads in ["1", "2"]:
        out = f"hf{threads}"
        command = [*export, f"{scratch}/{out}", "--format", "hf", "-j", threads]
        ours[threads] = timed(f"hf, encoding threads: {threads}", command, f"{out}/**/*.parquet", memory)
    more = {"jsonl": [], "jsonl, shuffled": ["--shuffle", "1"]}
    for template in ["octocoder", "line-diff", "unified-diff", "search-replace"]:
        more[f"sft, {template}"] = ["--format", "sft", "--template", template]
    more["sft, search-replace, shuffled"] = [*more["sft, search-replace"], "--shuffle", "1"]
    more["sft, octocoder, 2048 tokens, estimated"] = ["--format", "sft", "--tokens-max", "2048"]
    for form in ["grit", "sentence-transformers", "dolma", "aya", "provenance"]:
        more[form] = ["--format", form]
    for what, options in more.items():
        timed(what, [*export, f"{scratch}/out", *options], "out/**/*", memory)
        subprocess.run(["rm", "-r", f"{scratch}/out"], check=True)
    for what, script in WRITERS.items():
        wall, written, _ = python(what, script, memory)
        print(f"{'':36} {wall / ours['2'][0]:.1f} times the wall, {written / ours['2'][1]:.1f} times the size of hf")
    pairs(export, memory)
    subprocess.run(["rm", "-r", scratch], check=True)


main()
