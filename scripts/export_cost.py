#!/usr/bin/env python3
"""What an export costs, and what others make of the same rows.

    target/tools/python/bin/python scripts/export_cost.py target/release/gitlode STORE

STORE is best mined with --filter none. Exports every format once, and writes the same rows with pyarrow in the order of
commits, as a script that goes through `git log` would, and with `datasets`. Everything goes to a temporary directory.
"""

import glob
import os
import resource
import subprocess
import sys
import tempfile
import time

gitlode, store = sys.argv[1:]
scratch = tempfile.mkdtemp(prefix="export-cost-")
os.environ.update(HF_HUB_OFFLINE="1", HF_HOME=scratch, HF_DATASETS_DISABLE_PROGRESS_BARS="1")


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
    print(f"{what:36} {wall:7.2f} s {usage.ru_utime + usage.ru_stime:7.2f} CPU {usage.ru_maxrss / 1024:6.0f} MiB "
          f"{written / 1e6:9.1f} MB {rate}", flush=True)
    return wall, written


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


def main():
    export = [gitlode, "export", store]
    _, memory = timed("arrow", [*export, f"{scratch}/arrow", "--format", "arrow"], "arrow/**/*.arrow", 0)
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
        out = f"{scratch}/{what.replace(' ', '-').replace(',', '')}.parquet"
        begin = f"""
import glob, pyarrow as pa
out, arrow = {out!r}, {scratch + "/arrow"!r}
def rows():
    files = sorted(glob.glob(arrow + "/train/*.arrow"))
    return pa.concat_tables(pa.ipc.open_stream(pa.memory_map(f)).read_all() for f in files)
"""
        wall, written = timed(what, [sys.executable, "-c", begin + script], os.path.basename(out), memory)
        print(f"{'':36} {wall / ours['2'][0]:.1f} times the wall, {written / ours['2'][1]:.1f} times the size of hf")
    subprocess.run(["rm", "-r", scratch], check=True)


main()
