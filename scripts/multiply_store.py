#!/usr/bin/env python3
"""Makes a large store out of the rows of another one, to see what assembling costs at scale.

    scripts/multiply_store.py STORE OUT --copies 4 --files-per-mille 1000 --bytes-max 8192

Takes the rows of STORE with contents of at most so many bytes on each side, of so many files in a thousand (whole histories of
files, drawn by a checksum of the path), as often as there are to be copies. In the copy number k each letter of contents, diffs and
messages is the one k places behind it in the alphabet, and each digit of an id likewise: a copy has no n-gram in common with another
one, and among its own rows the same duplicates and similarities as the rows that it was made of. A repository becomes one for each
copy. The same arguments give the same store. Needs pyarrow and blake3."""

import argparse
import json
import pathlib
import re
import string
import sys
import zlib

import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

TEXTS = ["old_contents", "new_contents", "diff", "subject", "message", "reverts_subject"]
ROWS_PER_SEGMENT = 40_000


def rotated(alphabet, by):
    by %= len(alphabet)
    return alphabet[by:] + alphabet[:by]


def tables(copy):
    lower, digits = string.ascii_lowercase, "0123456789abcdef"
    letters = (lower + lower.upper(), rotated(lower, copy) + rotated(lower, copy).upper())
    return [bytes.maketrans(*(text.encode() for text in pair)) for pair in (letters, (digits, rotated(digits, copy)))]


def translated(column, table):
    """The column with its bytes exchanged; where texts begin and end stays."""
    if column.offset != 0:
        column = pa.concat_arrays([column])
    *others, data = column.buffers()
    data = pa.py_buffer(data.to_pybytes().translate(table) if data else b"")
    return pa.Array.from_buffers(column.type, len(column), [*others, data], null_count=column.null_count)


def chosen(batch, bytes_max, per_mille):
    fits = [pc.fill_null(pc.binary_length(batch.column(name)), 0) for name in ("old_contents", "new_contents")]
    paths = pc.coalesce(batch.column("new_file"), batch.column("old_file")).to_pylist()
    drawn = pa.array([zlib.crc32(path.encode()) % 1000 < per_mille for path in paths])
    small = pc.and_(*(pc.less_equal(length, bytes_max) for length in fits))
    return batch.filter(pc.and_(small, drawn))


def altered(batch, copy):
    letters, digits = tables(copy)
    columns = [
        translated(column, letters) if name in TEXTS else translated(column, digits) if name == "id" else column
        for name, column in zip(batch.schema.names, batch.columns)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def key(identity):
    readable = "".join(c if c.isascii() and (c.isalnum() or c in ".-") else "_" for c in identity)[-60:]
    return f"{readable.lstrip('.-_')}-{blake3(identity.encode()).hexdigest()[:12]}"


def digest(record):
    text = json.dumps({**record, "blake3": None}, separators=(",", ":"), ensure_ascii=False, sort_keys=True)
    return blake3(text.encode()).hexdigest()


class Repository:
    """A repository of the new store: one batch."""

    def __init__(self, root, checkpoint, copy):
        self.record = json.loads(json.dumps(checkpoint))
        self.record["repository"]["identity"] += f"#{copy}"
        self.record["repository"]["name"] += f"-{copy}"
        self.record.update(generation=1, batch=0, reversals=[], segments=[])
        self.identity = self.record["repository"]["identity"]
        self.directory = root / "repositories" / key(self.identity)
        self.directory.mkdir(parents=True)
        self.rows = 0
        self.commits = set()
        self.stream = None

    def write(self, batch):
        if self.stream is None:
            self.path = self.directory / f"0001-000000-{len(self.record['segments']):06}.arrow"
            options = pa.ipc.IpcWriteOptions(compression="zstd")
            self.stream = pa.ipc.new_stream(str(self.path), batch.schema, options=options)
            self.rows_of_segment = 0
        self.stream.write_batch(batch)
        self.commits.update(batch.column("commit").to_pylist())
        self.rows_of_segment += len(batch)
        if self.rows_of_segment >= ROWS_PER_SEGMENT:
            self.seal()

    def seal(self):
        if self.stream is None:
            return
        self.stream.close()
        self.stream = None
        content, rows = self.path.read_bytes(), self.rows_of_segment
        number = len(self.record["segments"])
        manifest = {
            "file": self.path.name,
            "repository": self.identity,
            "batch_digest": "0" * 64,
            "schema": self.record["schema"],
            "block_from": number,
            "block_to": number + 1,
            "rows": rows,
            "bytes": len(content),
            "blake3": blake3(content).hexdigest(),
            "changes": {"candidates": rows, "kept": rows, "dropped": {}, "skipped": {}},
        }
        self.path.with_suffix(".json").write_text(json.dumps(manifest, indent=2))
        self.record["segments"].append(manifest)
        self.rows += rows

    def finish(self):
        self.seal()
        counts = lambda n: {"candidates": n, "kept": n, "dropped": {}, "skipped": {}}
        self.record.update(early=counts(0), funnel={"commits": counts(len(self.commits)), "changes": counts(self.rows)})
        self.record["blake3"] = digest(self.record)
        (self.directory / "0001-000000.json").write_text(json.dumps(self.record, indent=2))


def checkpoints(directory):
    """Those of the newest generation, in order."""
    paths = sorted(path for path in directory.glob("*.json") if re.fullmatch(r"\d{4}-\d{6}\.json", path.name))
    return [path for path in paths if path.name[:4] == paths[-1].name[:4]]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--first", type=int, default=0, help="number of the first copy")
    parser.add_argument("--copies", type=int, default=4)
    parser.add_argument("--files-per-mille", type=int, default=1000)
    parser.add_argument("--bytes-max", type=int, default=8192)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "store.json").write_bytes((args.store / "store.json").read_bytes())
    rows = 0
    for directory in sorted((args.store / "repositories").iterdir()):
        records = [json.loads(path.read_text()) for path in checkpoints(directory)]
        if not records:
            continue
        numbers = range(args.first, args.first + args.copies)
        copies = [(copy, Repository(args.out, records[-1], copy)) for copy in numbers]
        for segment in (segment for record in records for segment in record["segments"]):
            with pa.ipc.open_stream(str(directory / segment["file"])) as stream:
                for batch in stream:
                    batch = chosen(batch, args.bytes_max, args.files_per_mille)
                    for copy, repository in copies if len(batch) else []:
                        repository.write(altered(batch, copy))
        for _, repository in copies:
            repository.finish()
            rows += repository.rows
    print(f"{rows} rows", file=sys.stderr)


if __name__ == "__main__":
    main()
