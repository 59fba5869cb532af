"""Reads exports back with the programs that they are for, and compares every row with the export as JSON lines.

    read_back.py hf|arrow|commitpack|jsonl|store DIRECTORY ROWS.jsonl

A store is read by its segments. ROWS.jsonl has all rows in the order of the export. Ends with an error at the first difference; prints what was compared.
"""

import collections
import glob
import json
import os
import subprocess
import sys
import tempfile

HOME = tempfile.mkdtemp()
os.environ.update(
    HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", HF_HOME=HOME, HF_DATASETS_DISABLE_PROGRESS_BARS="1", TMPDIR=HOME
)

import datasets
import duckdb
import mlcroissant
import polars
import pyarrow.parquet
import yaml

CHECKS = []


def same(what, found, expected):
    if found != expected:
        sys.exit(f"{what}: found {str(found)[:2000]}\nexpected {str(expected)[:2000]}")
    CHECKS.append(what)


def by_id(rows):
    return sorted(rows, key=lambda row: row["id"])


def front_matter(directory):
    text = open(f"{directory}/README.md", encoding="utf-8").read()
    return yaml.safe_load(text.split("---\n")[1])


def by_config(manifest, rows):
    """Expected rows by (config, split), and by ("default", split); the split of a row is what the files say."""
    expected = collections.defaultdict(list)
    for row in rows:
        for config in ("default", row["lang"]):
            expected[config, SPLITS[row["repos"].split(",")[0]]].append(row)
    return expected


SPLITS = {}


def note_splits(rows_by_split):
    for split, rows in rows_by_split.items():
        for row in rows:
            first = row["repos"].split(",")[0]
            same(f"{first} is in one split", SPLITS.setdefault(first, split), split)


def hf(directory, rows, manifest):
    whole = datasets.load_dataset(directory)
    note_splits(whole)
    expected = by_config(manifest, rows)
    card = front_matter(directory)
    configs = datasets.get_dataset_config_names(directory)
    same("configs", sorted(configs), sorted({config for config, _ in expected}))
    same("configs of the card", [entry["config_name"] for entry in card["dataset_info"]], configs)
    for config in configs:
        loaded = datasets.load_dataset(directory, config)
        streamed = datasets.load_dataset(directory, config, streaming=True)
        few = datasets.load_dataset(directory, config, columns=["id", "subject"])
        same(f"splits of {config}", {(config, split) for split in loaded}, {key for key in expected if key[0] == config})
        info = next(entry for entry in card["dataset_info"] if entry["config_name"] == config)
        counts = {split["name"]: split for split in info["splits"]}
        same(f"splits in the card of {config}", set(counts), set(loaded))
        for split in loaded:
            what = f"{config}/{split}"
            want = expected[config, split]
            if config == "default":
                want = by_id(want)
                same(f"{what} loaded", by_id(loaded[split]), want)
                same(f"{what} streamed", by_id(streamed[split]), want)
            else:
                # Within a language the order of the files is that of the rows.
                same(f"{what} loaded", list(loaded[split]), want)
                same(f"{what} streamed", list(streamed[split]), want)
            same(f"{what} by columns", few[split].column_names, ["id", "subject"])
            same(f"{what} rows", few[split].num_rows, len(want))
            same(f"{what} count in the card", counts[split]["num_examples"], len(want))
            shards = [s for s in manifest["shards"] if s["split"] == split and config in ("default", s["config"])]
            same(f"{what} bytes in the card", counts[split]["num_bytes"], sum(s["bytes_in_memory"] for s in shards))
            # Bitmaps of nulls are counted per batch, so a few bytes may differ.
            near = loaded[split].data.nbytes
            same(f"{what} bytes {counts[split]['num_bytes']}, {near}", abs(counts[split]["num_bytes"] - near) <= 0.05 * near, True)
        filters = [("kind", "==", "added")]
        for split in loaded:
            added = sum(row["kind"] == "added" for row in expected[config, split])
            streamed = datasets.load_dataset(directory, config, split=split, streaming=True, filters=filters)
            same(f"{config}/{split} filtered, streamed", sum(1 for _ in streamed), added)
            if config != "default":
                continue
            filtered = datasets.load_dataset(
                directory, config, split=split, filters=filters, verification_mode="no_checks"
            )
            same(f"{config}/{split} filtered", filtered.num_rows, added)
    pattern = f"{directory}/data/*/*.parquet"
    same("rows in polars", polars.scan_parquet(pattern).select(polars.len()).collect().item(), len(rows))
    added = polars.scan_parquet(pattern).filter(polars.col("kind") == "added").select("id").collect()
    same("rows in polars with a filter", sorted(added["id"]), sorted(r["id"] for r in rows if r["kind"] == "added"))
    query = f"select count(*), count(*) filter (kind = 'added') from read_parquet('{pattern}')"
    same("rows in duckdb", duckdb.sql(query).fetchall(), [(len(rows), sum(r["kind"] == "added" for r in rows))])
    for shard in manifest["shards"]:
        file = pyarrow.parquet.ParquetFile(f"{directory}/{shard['file']}")
        metadata = file.metadata
        same(f"rows of {shard['file']}", metadata.num_rows, shard["rows"])
        chunking = json.loads(metadata.metadata[b"content_defined_chunking"])
        same("chunking", chunking, {"min_chunk_size": 2 << 20, "max_chunk_size": 8 << 20, "norm_level": 0})
        for group in range(metadata.num_row_groups):
            for at in range(metadata.num_columns):
                column = metadata.row_group(group).column(at)
                indexed = (column.has_column_index, column.has_offset_index, column.compression)
                same(f"{shard['file']} {group} {column.path_in_schema}", indexed, (True, True, "ZSTD"))
        same("types", file.schema_arrow.types, datasets.Features.from_arrow_schema(file.schema_arrow).arrow_schema.types)
    croissant(directory, rows, manifest)


def plain(value):
    """A value as mlcroissant gives it, as JSON has it."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list):
        return [plain(one) for one in value]
    return value.item() if hasattr(value, "item") else value


def croissant(directory, rows, manifest):
    """The metadata is valid, and what it says of configs, splits and columns gives the rows."""
    file = f"{directory}/croissant.json"
    tool = os.path.join(os.path.dirname(sys.executable), "mlcroissant")
    checked = subprocess.run([tool, "validate", "--jsonld", file], capture_output=True, text=True)
    same(f"croissant.json is valid: {checked.stderr}", checked.returncode, 0)
    expected = by_config(manifest, rows)
    dataset = mlcroissant.Dataset(jsonld=file)
    # An export knows no clock; who publishes it adds the date.
    issues = dataset.metadata.ctx.issues
    same("warnings", [warning for warning in issues.warnings if "datePublished" not in warning], [])
    same("errors", list(issues.errors), [])
    sets = {record_set.uuid: record_set for record_set in dataset.metadata.record_sets}
    same("record sets", set(sets), {"splits"} | {config for config, _ in expected})
    same("splits", sorted(row["splits/name"] for row in dataset.records("splits")), sorted(manifest["splits"]))
    for config in sets.keys() - {"splits"}:
        found = collections.defaultdict(list)
        for record in dataset.records(config):
            row = {name.removeprefix(f"{config}/"): plain(value) for name, value in record.items()}
            found[row.pop("split")].append(row)
        for split, got in found.items():
            same(f"{config}/{split} by croissant.json", by_id(got), by_id(expected[config, split]))
        same(f"splits of {config} in croissant.json", {(config, split) for split in found}, {key for key in expected if key[0] == config})


def arrow(directory, rows, manifest):
    loaded = datasets.load_from_disk(directory)
    note_splits(loaded)
    same("splits", sorted(loaded), sorted({shard["split"] for shard in manifest["shards"]}))
    for split, of in loaded.items():
        same(f"{split} rows", list(of), [row for row in rows if SPLITS[row["repos"].split(",")[0]] == split])
        same(f"{split} in the info", of.info.splits[split].num_examples, of.num_rows)
        size = sum(os.path.getsize(file["filename"]) for file in of.cache_files)
        files = {os.path.relpath(file["filename"], directory) for file in of.cache_files}
        same(f"{split} files", files, {s["file"] for s in manifest["shards"] if s["split"] == split})
        same(f"{split} is mapped", type(of.data).__name__ in ("MemoryMappedTable", "ConcatenationTable"), True)
        same(f"{split} is as large as its files", size, sum(s["bytes"] for s in manifest["shards"] if s["split"] == split))


def commitpack(directory, rows, manifest):
    """As code that reads CommitPackFT has it: a file of JSON lines for each language, ten fields."""
    names = "commit old_file new_file old_contents new_contents subject message lang license repos".split()
    expected = collections.defaultdict(list)
    for row in rows:
        expected[row["lang"]].append({name: row[name] for name in names})
    same("languages", sorted(os.listdir(f"{directory}/data")), sorted(expected))
    for lang, want in expected.items():
        files = sorted(glob.glob(f"{directory}/data/{glob.escape(lang)}/*"))
        same(f"files of {lang}", len(files) >= 1 and all(".jsonl" in file for file in files), True)
        if files[0].endswith(".jsonl"):
            found = [json.loads(line) for file in files for line in open(file, encoding="utf-8")]
            same(f"rows of {lang}", found, want)
            same(f"fields of {lang}", [list(row) for row in found], [names] * len(want))
        loaded = datasets.load_dataset(directory, lang)
        same(f"{lang} loaded", [row for split in loaded.values() for row in split], want)
        loaded = datasets.load_dataset("json", data_files=files, features=loaded["train"].features, split="train")
        same(f"{lang} as JSON", list(loaded), want)
    whole = datasets.load_dataset(directory)
    same("all", sum(split.num_rows for split in whole.values()), len(rows))


def jsonl(directory, rows, manifest):
    loaded = datasets.load_dataset(directory)
    note_splits(loaded)
    same("rows", sum((list(of) for of in loaded.values()), start=[]), sorted(
        rows, key=lambda row: list(loaded).index(SPLITS[row["repos"].split(",")[0]])))
    streamed = datasets.load_dataset(directory, streaming=True)
    same("rows, streamed", {s: list(of) for s, of in streamed.items()}, {s: list(of) for s, of in loaded.items()})
    info = front_matter(directory)["dataset_info"]
    counts = {split["name"]: split["num_examples"] for split in info[0]["splits"]}
    same("counts in the card", counts, {split: of.num_rows for split, of in loaded.items()})


def store(directory, rows):
    found = collections.defaultdict(list)
    for segment in glob.glob(f"{directory}/repositories/*/*[0-9].arrow"):
        with pyarrow.ipc.open_stream(segment) as stream:
            table = stream.read_all()
        table.validate(full=True)
        found["pyarrow"] += table.to_pylist()
        found["polars"] += polars.read_ipc_stream(segment).to_dicts()
        found["datasets"] += list(datasets.Dataset.from_file(segment))
    for program, of_program in found.items():
        same(f"segments by {program}", by_id(of_program), by_id(rows))


def main():
    form, directory, file = sys.argv[1:]
    rows = [json.loads(line) for line in open(file, encoding="utf-8")]
    if form == "store":
        store(directory, rows)
        print(f"{form}: {len(rows)} rows, {len(CHECKS)} comparisons")
        return
    manifest = json.load(open(f"{directory}/manifest.json", encoding="utf-8"))
    same("rows in the manifest", sum(shard["rows"] for shard in manifest["shards"]), len(rows))
    {"hf": hf, "arrow": arrow, "commitpack": commitpack, "jsonl": jsonl}[form](directory, rows, manifest)
    print(f"{form}: {len(rows)} rows, {len(CHECKS)} comparisons")


main()
