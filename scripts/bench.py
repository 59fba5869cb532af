#!/usr/bin/env python3
"""Compares the time and memory of gitlode with those of other ways to the same, and writes Markdown.

usage: bench.py GITLODE REPOSITORY... [--runs N] [--output FILE] [--decode-all PROGRAM] [--pydriller [--pydriller-every N]]
                [--fetch [--fetched N]]

Runs the peers and gitlode in turn, N times, and prints medians: CPU and wall seconds, the peer's divided by ours, and the
highest peak of anonymous memory (RssAnon of the process, looked at 50 times a second; packs that are mapped are not in it; –
where it ended before the first look). The peer is `git log -p --no-merges --no-renames --diff-filter=M`. Others, where they are
asked for:

--decode-all  `cargo build --release --example decode_all`: each object of the packs decoded once, by gix, on one thread and
              on two. Beside it `mine` with a rule that reads both sides of every change and takes none, so that there are
              neither diffs nor labels
--pydriller   PyDriller going through all commits that are no merges, as its users do, and touching those columns of ours that
              it has, of files that are there before and after, in every Nth one (10); its walk and its start are measured by
              themselves, and count for all commits. Once with `Commit.files`, for which it runs git again, and once without,
              since a script can count the files that it has seen. Submodules, which it can't read, are passed over.
              scripts/python.sh installs it in the project's Python environment; it sets `blame.markUnblamableLines` in the
              configuration of what it reads
--fetch       each of N commits (50) fetched by itself from a `git daemon` on loopback into an empty repository, with its
              parent, and its diff: how the commits of CommitPack were read. The server's CPU is counted as well

Those two are compared by commit: their time for a commit, with one worker, divided by the dry run's time for one, with all
threads. Contents are the bytes of both sides of all changes that `git log --numstat` takes for text. Needs Linux, git and Python
3.11.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from typing import NoReturn

ROOT = pathlib.Path(__file__).resolve().parent.parent
PYTHON = ROOT / "target/tools/python/bin/python"
PYDRILLER_PACKAGE = "pydriller==2.12"
CHANGES = ["--no-merges", "--no-renames", "--diff-filter=M"]
PEER = "`git log -p`"
DRY = "`mine --dry-run --filter none`"
STORE = "`mine --filter none`, with the store"
ALONE = "`mine --dry-run`, contents alone"
# Reads contents, and nothing that is made of them.
ALONE_RULES = """
id = "contents-alone"
why = "Reads both sides of every change, and takes none."

[[rule]]
id = "nothing"
why = "No text begins so."
field = "new_contents"
starts_with = ["\\u0000 no text"]
"""
# Takes a repository, N of which every Nth commit is looked at (0: none), and whether `Commit.files` is one of the fields.
PYDRILLER = """
import sys
from pydriller import Repository
repository, every, files = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "files"
for number, commit in enumerate(Repository(repository, only_no_merge=True).traverse_commits()):
    if not every or number % every:
        continue
    commit.hash, commit.parents, commit.msg
    commit.author.name, commit.author.email, commit.author_date, commit.author_timezone
    commit.committer.name, commit.committer.email, commit.committer_date, commit.committer_timezone
    if files:
        commit.files
    for file in commit.modified_files:
        if file.change_type.name != "MODIFY":
            continue
        file.old_path, file.new_path, file.diff, file.added_lines, file.deleted_lines
        try:
            file.source_code, file.source_code_before
        except ValueError as error:
            # A submodule's commit is not in the repository, and is read as if it were a blob of it.
            if "could not be resolved" not in str(error):
                raise
"""
WALK = "PyDriller's walk"
# Takes a directory, a URL and the ids of commits.
FETCH = """
set -e
directory=$1 url=$2
shift 2
for commit; do
    rm -rf "$directory"
    git init --quiet --bare "$directory"
    git -C "$directory" remote add origin "$url"
    git -C "$directory" -c maintenance.auto=false fetch --quiet --depth 2 origin "$commit"
    git -C "$directory" log -p -1 --no-renames --diff-filter=M --full-index "$commit"
done
"""

Measured = tuple[float, float, float]


def git(repository: str, *arguments: str, text: str = "") -> str:
    return output(["git", "-C", repository, *arguments], text)


def output(command: list[str], text: str = "") -> str:
    done = subprocess.run(command, input=text.encode(), capture_output=True)
    if done.returncode != 0:
        fail(command, done.returncode, done.stderr)
    return done.stdout.decode(errors="surrogateescape")


def fail(command: list[str], status: int, said: bytes) -> NoReturn:
    sys.exit(f"`{' '.join(command[:4])}` ended with {status}: {said.decode(errors='replace').strip()}")


def run(command: list[str]) -> Measured:
    """CPU seconds, wall seconds, and the peak of anonymous memory in MB."""
    peak = 0
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        status = pathlib.Path(f"/proc/{process.pid}/status")
        while not done.wait(0.02):
            try:
                lines = status.read_text().splitlines()
            except OSError:
                return
            peak = max([peak, *(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))])

    watcher = threading.Thread(target=watch)
    watcher.start()
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    done.set()
    watcher.join()
    if process.returncode != 0:
        fail(command, process.returncode, said)
    return usage.ru_utime + usage.ru_stime, wall, peak / 1024


def run_pydriller(repository: str, every: int, fields: str = "") -> Measured:
    return run([str(PYTHON), "-c", PYDRILLER, repository, str(every), fields])


def run_alone(mine: list[str], lab: str, threads: int) -> Measured:
    rules = pathlib.Path(lab, "alone.toml")
    rules.write_text(ALONE_RULES)
    return run([*mine, "--dry-run", "--filter", str(rules), "--threads", str(threads)])


def run_with_server(repository: str, lab: str, commits: list[str]) -> Measured:
    """Fetches these commits one by one, from a server that is started and ended here and whose CPU time is added."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = str(pathlib.Path(repository).resolve())
    settings = {"uploadpack.allowAnySHA1InWant": "true", "safe.directory": path}
    environment = os.environ | {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings.items()):
        environment |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    # `git daemon` would be a process between this one and the server.
    program = f"{git('.', '--exec-path').strip()}/git-daemon"
    listen = ["--listen=127.0.0.1", f"--port={port}", "--reuseaddr", "--export-all", path]
    server = subprocess.Popen([program, *listen], env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_for(port)
        cpu, wall, _ = run(["sh", "-c", FETCH, "sh", f"{lab}/fetched", f"git://127.0.0.1:{port}{path}", *commits])
        # What served the last fetch may end after it, and only then the server knows of its time.
        time.sleep(0.5)
    finally:
        server.terminate()
        # With what it waited for itself, so with all that served a fetch.
        _, status, usage = os.wait4(server.pid, 0)
        server.returncode = os.waitstatus_to_exitcode(status)
    return cpu + usage.ru_utime + usage.ru_stime, wall, 0


def wait_for(port: int) -> None:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.05)
    sys.exit("git-daemon does not listen")


def contents_bytes(repository: str) -> int:
    """Bytes of both sides of all changes between regular files that git takes for text."""
    log = git(repository, "log", *CHANGES, "--raw", "--numstat", "--no-abbrev", "--format=%x00", "HEAD")
    blobs = []
    for commit in log.split("\0"):
        lines = [line.split("\t", 2) for line in commit.splitlines() if "\t" in line]
        binary = {path for _, deletions, path in (line for line in lines if len(line) == 3) if deletions == "-"}
        for raw, path in (line for line in lines if line[0].startswith(":")):
            old_mode, new_mode, old, new, _ = raw.split(" ")
            is_regular = old_mode.startswith(":100") and new_mode.startswith("100")
            if is_regular and old != new and path not in binary:
                blobs += [old, new]
    sizes = git(repository, "cat-file", "--batch-check=%(objectsize)", text="".join(f"{blob}\n" for blob in blobs))
    return sum(int(size) for size in sizes.split("\n") if size.isdigit())


def name_of(repository: str) -> str:
    path = pathlib.Path(repository).resolve()
    return path.name.removesuffix(".git") or path.parent.name


def every(count: int, commits: list[str]) -> list[str]:
    """So many of the commits, at equal distances."""
    return [commits[at * len(commits) // count] for at in range(min(count, len(commits)))]


def median(runs: list[Measured]) -> tuple[float, float]:
    return statistics.median(cpu for cpu, _, _ in runs), statistics.median(wall for _, wall, _ in runs)


def table(header: list[str], rows: list[list[str]]) -> str:
    marks = ["---", *["---:"] * (len(header) - 1)]
    return "".join(f"| {' | '.join(row)} |\n" for row in [header, marks, *rows])


def measure(args: argparse.Namespace, repository: str) -> tuple[str, float]:
    """The tables of a repository, and the dry run's CPU milliseconds for a MB of contents."""
    name = name_of(repository)
    say(f"{name}: counting")
    commits = git(repository, "rev-list", "--no-merges", "HEAD").split()
    megabytes = contents_bytes(repository) / 1e6
    mine = [args.gitlode, "mine", repository]
    dry = [*mine, "--dry-run", "--filter", "none"]
    account = json.loads(output([*dry, "--json"]))
    rows = account["funnel"]["changes"]["kept"]
    if rows == 0:
        sys.exit(f"{name} has no rows to measure")
    fetched = every(args.fetched, commits)
    visited = len(commits[:: args.pydriller_every])
    # Settings of one store can't change, so each job has its own.
    jobs = {
        PEER: lambda lab: run(["git", "-C", repository, "log", "-p", *CHANGES, "--full-index", "HEAD"]),
        DRY: lambda lab: run(dry),
        STORE: lambda lab: run([*mine, "--store", f"{lab}/none", "--filter", "none"]),
        "`mine --filter commitpackft`, with the store": lambda lab: run(
            [*mine, "--store", f"{lab}/commitpackft", "--filter", "commitpackft"]
        ),
        "`mine` again, nothing new": lambda lab: run([*mine, "--store", f"{lab}/none", "--filter", "none"]),
    }
    decoding = [f"every object decoded, {count}" for count in ("1 thread", "2 threads")] if args.decode_all else []
    alone = [f"{ALONE}, {count}" for count in ("1 thread", "2 threads")] if args.decode_all else []
    for threads, job in enumerate(decoding, 1):
        jobs[job] = lambda lab, threads=threads: run([args.decode_all, repository, str(threads)])
    for threads, job in enumerate(alone, 1):
        jobs[job] = lambda lab, threads=threads: run_alone(mine, lab, threads)
    by_commit = {}
    if args.pydriller:
        jobs[WALK] = lambda lab: run_pydriller(repository, 0)
        for job, fields in [("PyDriller", "files"), ("PyDriller without `files`", "")]:
            by_commit[job] = visited
            jobs[job] = lambda lab, fields=fields: run_pydriller(repository, args.pydriller_every, fields)
    if args.fetch:
        by_commit["one fetch for each commit"] = len(fetched)
        jobs["one fetch for each commit"] = lambda lab: run_with_server(repository, lab, fetched)
    results = {job: [] for job in jobs}
    for number in range(args.runs):
        with tempfile.TemporaryDirectory() as lab:
            for job, start in jobs.items():
                say(f"{name}: run {number + 1} of {args.runs}, {job}")
                results[job].append(start(lab))

    peer, ours = median(results[PEER]), median(results[DRY])
    lines = []
    for job in (job for job in jobs if job not in by_commit and job != WALK):
        cpu, wall = median(results[job])
        ratios = ["", ""] if job == PEER else [f"{peer[0] / cpu:.2f}", f"{peer[1] / wall:.2f}"]
        memory = max(peak for _, _, peak in results[job])
        seen = f"{memory:.0f}" if memory else "–"
        lines.append([job, f"{cpu:.3f}", f"{wall:.3f}", seen, *ratios, f"{1000 * cpu / megabytes:.2f}"])
    header = ["", "CPU s", "wall s", "peak MB", f"{PEER} ÷ it, CPU", "wall", "CPU ms for a MB of contents"]
    text = (
        f"## {name}\n\n{len(commits):,} commits without merges, {rows:,} rows, {megabytes:,.0f} MB of contents before and"
        f" after. Medians of {args.runs}, in turn.\n\n{table(header, lines)}"
    )
    if by_commit:
        lines = []
        for job, count in by_commit.items():
            walk = median(results[WALK]) if job.startswith("PyDriller") else (0, 0)
            once = [1000 * seconds / len(commits) for seconds in walk]
            touching = [1000 * (whole - walked) / count for whole, walked in zip(median(results[job]), walk)]
            theirs = [sum(both) for both in zip(once, touching)]
            own = [1000 * seconds / len(commits) for seconds in ours]
            ratios = [f"{their / our:.0f}" for their, our in zip(theirs, own)]
            lines.append([job, f"{count:,}", *(f"{ms:.3f}" for ms in [*theirs, *own]), *ratios])
        header = ["for a commit", "commits", "CPU ms", "wall ms", "dry run's CPU ms", "wall ms", "it ÷ dry run, CPU", "wall"]
        text += f"\n{table(header, lines)}"
    if decoding:
        shares = [f"{ours[0] / median(results[job])[0]:.2f}" for job in decoding]
        text += f"\nCPU of the dry run ÷ every object decoded once: {shares[0]} (1 thread), {shares[1]} (2 threads).\n"
        shares = [f"{median(results[by_alone])[0] / median(results[job])[0]:.2f}" for by_alone, job in zip(alone, decoding)]
        text += f"With contents alone, both on as many threads: {shares[0]} (1 thread), {shares[1]} (2 threads).\n"
    return text, 1000 * ours[0] / megabytes


def versions(args: argparse.Namespace) -> str:
    cpu = pathlib.Path("/proc/cpuinfo").read_text().partition("model name\t: ")[2].partition("\n")[0] or platform.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    lines = [
        f"{datetime.date.today()}, {os.cpu_count()} cores ({cpu}), {memory:.0f} GB.",
        f"{output([args.gitlode, '--version']).strip()}, {output(['git', '--version']).strip()}",
    ]
    if args.pydriller:
        find = "import importlib.metadata, platform; print(platform.python_version(), importlib.metadata.version('pydriller'))"
        python, pydriller = output([str(PYTHON), "-c", find]).split()
        lines[-1] += f", Python {python}, PyDriller {pydriller}"
    return "\n".join(lines) + ".\n"


def say(progress: str) -> None:
    print(progress, file=sys.stderr)


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 at least")
    return number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gitlode")
    parser.add_argument("repositories", nargs="+")
    parser.add_argument("--runs", type=positive, default=3)
    parser.add_argument("--output", type=pathlib.Path, metavar="FILE", help="also write the Markdown here")
    parser.add_argument("--decode-all", metavar="PROGRAM")
    parser.add_argument("--pydriller", action="store_true")
    parser.add_argument("--pydriller-every", type=positive, default=10, metavar="N")
    parser.add_argument("--fetch", action="store_true")
    parser.add_argument("--fetched", type=positive, default=50, metavar="N")
    args = parser.parse_args()
    if args.pydriller:
        subprocess.run([ROOT / "scripts/python.sh", PYDRILLER_PACKAGE], check=True)
    text, costs = versions(args), []
    print(text, end="")
    for repository in args.repositories:
        tables, cost = measure(args, repository)
        costs.append(cost)
        # At once: a repository that fails takes nothing of the ones before it along.
        text = tell(args, text, f"\n{tables}")
    if len(costs) > 1:
        range_of_costs = f"{min(costs):.2f} to {max(costs):.2f} ms, {max(costs) / min(costs):.2f} times"
        tell(args, text, f"\nCPU of the dry run for a MB of contents: {range_of_costs}.\n")


def tell(args: argparse.Namespace, before: str, text: str) -> str:
    """Prints `text` and writes it behind what was said before it; all of that."""
    print(text, end="", flush=True)
    if args.output:
        args.output.write_text(f"# {datetime.date.today()}\n\n{before}{text}")
    return before + text


if __name__ == "__main__":
    main()
