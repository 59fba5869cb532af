"""Reads exports back for the programs that they are for, with their own code where it can be installed without torch, and else
with the rules that they publish, written anew here. Compares with the rows as JSON lines.

    read_consumers.py FORMAT DIRECTORY ROWS

Ends with an error at the first difference; prints what was compared.
"""

import collections
import csv
import glob
import gzip
import importlib.metadata
import importlib.util
import json
import math
import os
import random
import re
import sys
import tempfile

HOME = tempfile.mkdtemp()
os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", HF_HOME=HOME, HF_DATASETS_DISABLE_PROGRESS_BARS="1", TMPDIR=HOME)

import datasets

CHECKS = collections.Counter()


def same(what, found, expected):
    if found != expected:
        sys.exit(f"{what}: found {str(found)[:2000]!r}\nexpected {str(expected)[:2000]!r}")
    CHECKS[what] += 1


def hunks(row):
    found = re.search(r"^@@ ", row["diff"], re.MULTILINE)
    return row["diff"][found.start() :] if found else ""


def grams(change):
    """5-grams of words in changed lines, each word with the sign of its line."""
    words = []
    for line in change.split("\n"):
        if line[:1] in ("+", "-"):
            words += [line[0] + word.lower() for word in re.findall(r"(?:[A-Za-z0-9_]|[^\x00-\x7f])+", line[1:])]
    if not words:
        return set()
    return {tuple(words[at : at + 5]) for at in range(max(1, len(words) - 4))}


def all_grams(change):
    """5-grams of the words of each line, context and all, without signs."""
    found = set()
    for line in change.split("\n"):
        words = [word.lower() for word in re.findall(r"(?:[A-Za-z0-9_]|[^\x00-\x7f])+", line)]
        if words and not line.startswith("@@"):
            found |= {tuple(words[at : at + 5]) for at in range(max(1, len(words) - 4))}
    return found


def jaccard(one, two):
    return len(one & two) / len(one | two) if one | two else 1.0


def check_triples(triples, rows):
    """The positive is the subject's own change, the negative another one of the same language that differs."""
    by_change = collections.defaultdict(list)
    for row in rows:
        by_change[hunks(row)].append(row)
    for lang, subject, positive, negative in triples:
        of_language = lambda change: [row for row in by_change[change] if row["lang"] == lang]
        same("the positive is the subject's", any(row["subject"] == subject for row in of_language(positive)), True)
        same("the negative is in the same language", len(of_language(negative)) > 0, True)
        same("the negative is not empty", bool(negative.strip()), True)
        same("the negative has another subject", any(row["subject"] != subject for row in of_language(negative)), True)
        same("the negative differs", jaccard(grams(positive), grams(negative)) < 0.7, True)
        same("the negative differs without signs", jaccard(all_grams(positive), all_grams(negative)) < 0.7, True)


def gritlm_item(row, group_size):
    """As gritlm/training/data.py (CustomDataset.__getitem__) makes passages of a row."""
    positive, negatives = random.choice(row["pos"]), row["neg"]
    wanted = group_size - 1
    times = math.ceil(wanted / len(negatives)) if len(negatives) < wanted else 1
    return row["query"], [positive, *random.sample(negatives * times, wanted)]


def gritlm_texts(row):
    """As gritlm/training/data.py (CustomCollator) joins instruction and text."""
    def joined(pair):
        instruction = pair[0].strip("\t\n :")
        return f"<|user|>\n{instruction}\n<|embed|>\n{pair[1]}" if instruction else f"<|embed|>\n{pair[1]}"

    query, passages = gritlm_item(row, 4)
    return joined(query), [joined(passage) for passage in passages]


def grit(directory, rows, manifest):
    """As gritlm/training/run.py: every file of a directory is loaded as JSON, and its columns say what it is."""
    kinds, triples = collections.Counter(), []
    for split in manifest["splits"]:
        if not os.path.isdir(f"{directory}/{split}"):
            continue
        samples = json.load(open(f"{directory}/num_samples-{split}.json", encoding="utf-8"))
        files = sorted(os.listdir(f"{directory}/{split}"))
        same("files with a number of samples", files, sorted(samples))
        for name in files:
            loaded = datasets.load_dataset("json", data_files=f"{directory}/{split}/{name}", split="train")
            same("number of samples", samples[name], loaded.num_rows)
            lang, kind = re.fullmatch(r"(.+)-(embedding|generative)(?:-\d+)?\.jsonl", name).groups()
            kinds[kind] += loaded.num_rows
            if kind == "generative":
                same("fields", loaded.column_names, ["text"])
                same("turns", {len(row["text"]) for row in loaded}, {2})
                continue
            same("fields", loaded.column_names, ["query", "pos", "neg"])
            for row in loaded:
                query, passages = gritlm_texts(row)
                same("passages", (len(passages), all(passages)), (4, True))
                same("query", query.startswith("<|user|>\n" + manifest["embedding"]["instruction"].strip("\t\n :")), True)
                same("no instruction", (row["pos"][0][0], row["neg"][0][0]), ("", ""))
                triples.append((lang, row["query"][1], row["pos"][0][1], row["neg"][0][1]))
    same("embedding rows", kinds["embedding"], manifest["rows"])
    same("conversations", kinds["generative"], manifest["embedding"]["generative"]["rows"])
    same("rows", kinds["embedding"] + sum(manifest["dropped"].values()), len(rows))
    without = sum(manifest["embedding"]["generative"]["dropped"].values())
    same("rows without a conversation", kinds["generative"] + without, kinds["embedding"])
    for kind in ("embedding", "generative"):
        same(f"{kind} by the card", sum(of.num_rows for of in datasets.load_dataset(directory, kind).values()), kinds[kind])
    check_triples(triples, rows)


def sentence_transformers(directory, rows, manifest):
    """Sentence Transformers takes all columns but label, labels, score and scores for inputs, in their order."""
    triples = []
    for lang in sorted({shard["config"] for shard in manifest["shards"]}):
        for split in datasets.load_dataset(directory, lang).values():
            inputs = [name for name in split.column_names if name not in ("label", "labels", "score", "scores")]
            same("inputs, in order", inputs, ["anchor", "positive", "negative"])
            same("types", {str(feature.dtype) for feature in split.features.values()}, {"large_string"})
            triples += [(lang, row["anchor"], row["positive"], row["negative"]) for row in split]
    same("rows", len(triples) + sum(manifest["dropped"].values()), len(rows))
    same("rows in the manifest", len(triples), manifest["rows"])
    same("all languages", sum(of.num_rows for of in datasets.load_dataset(directory).values()), len(triples))
    check_triples(triples, rows)


def part_of(package, name, pattern):
    """A module of a package whose `__init__` asks for more than is needed."""
    root = str(importlib.metadata.distribution(package).locate_file(package))
    spec = importlib.util.spec_from_file_location(name, glob.glob(f"{root}/{pattern}")[0])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def gzip_lines(file):
    return [line for line in gzip.open(file, "rb").read().split(b"\n") if line]


def mixed(mixer, directory, include):
    """Ids that Dolma's mixer selects."""
    work = tempfile.mkdtemp()
    for name in ("input", "output", "mixed"):
        os.makedirs(f"{work}/{name}")
    mixer.mixer_entrypoint(json.dumps({
        "streams": [{
            "name": "mixed", "documents": [f"{directory}/documents/*.gz"], "attributes": ["gitlode"],
            "output": {"path": f"{work}/mixed", "max_size_in_bytes": 10**9}, "filter": {"include": [include], "exclude": []},
        }],
        "processes": 1, "work_dir": {"input": f"{work}/input", "output": f"{work}/output"},
    }))
    return sorted(json.loads(line)["id"] for file in glob.glob(f"{work}/mixed/*") for line in gzip_lines(file))


def dolma(directory, rows, manifest):
    """With Dolma's own types and its own mixer."""
    import msgspec

    types = part_of("dolma", "data_types", "core/data_types.py")
    mixer = part_of("dolma", "dolma", "dolma*.so")
    by_id, seen, attributes = {row["id"]: row for row in rows}, set(), {}
    documents = sorted(glob.glob(f"{directory}/documents/*.jsonl.gz"))
    same("files of attributes", [os.path.basename(f) for f in sorted(glob.glob(f"{directory}/attributes/gitlode/*"))],
         [os.path.basename(f) for f in documents])
    for file in documents:
        beside = gzip_lines(file.replace("/documents/", "/attributes/gitlode/"))
        lines = gzip_lines(file)
        same("rows of a file", len(lines), len(beside))
        for line, other in zip(lines, beside):
            document = msgspec.json.decode(line, type=types.InputSpecWithMetadata)
            tags = msgspec.json.decode(other, type=types.OutputSpec)
            row = by_id[document.id]
            same("ids", document.id, tags.id)
            same("sources", (document.source, tags.source), ("gitlode", "gitlode"))
            same("text", document.text, row["message"].rstrip() + "\n\n" + row["diff"])
            same("metadata", {key: row[key] for key in document.metadata}, document.metadata)
            same("spans", {span[:2] for spans in tags.attributes.values() for span in spans}, {(0, len(document.text))})
            same("names", all(re.fullmatch(r"gitlode__[a-z_]+__\w+", name) for name in tags.attributes), True)
            same("size", tags.attributes["gitlode__size__additions"][0][2], row["additions"])
            seen.add(document.id)
            attributes[document.id] = tags.attributes
    same("rows", (len(seen), len(attributes)), (manifest["rows"], manifest["rows"]))
    for name in sorted({name for tags in attributes.values() for name in tags}):
        wanted = sorted(id for id, tags in attributes.items() if name in tags and tags[name][0][2] >= 0.5)
        if not name.startswith("gitlode__size__"):
            same("selected by the mixer", mixed(mixer, directory, f"$@.attributes[?(@.{name} && @.{name}[0][2] >= 0.5)]"), wanted)
    verdicts = collections.Counter(name for tags in attributes.values() for name in tags if "__verdict__" in name)
    same("verdicts", {name: count for name, count in verdicts.items() if name != "gitlode__verdict__kept"},
         {"gitlode__verdict__" + rule.replace("-", "_"): count for rule, count in manifest["dolma"]["verdicts"].items()})
    loaded = datasets.load_dataset(directory)
    same("documents by the card", sorted(row["id"] for split in loaded.values() for row in split), sorted(seen))


def tokens(directory, rows, manifest):
    """As OLMo-core maps the files into memory; texts are what jinja2 makes of the same rows as prompts and completions."""
    import jinja2.sandbox
    import numpy
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(f"{directory}/tokenizer/tokenizer.json")
    config = json.load(open(f"{directory}/tokenizer/tokenizer_config.json", encoding="utf-8"))
    statistics = json.load(open(f"{directory}/dataset_statistics.json", encoding="utf-8"))
    settings, overall = statistics["configuration"], statistics["overall_statistics"]
    # OLMo-core's NumpyDatasetDType: the narrowest type for the size of the vocabulary.
    width = next(kind for kind in (numpy.uint8, numpy.uint16, numpy.uint32) if settings["vocab_size"] - 1 <= numpy.iinfo(kind).max)
    same("type of ids", numpy.dtype(width).name, settings["dtype"])
    end, chat, counts = tokenizer.token_to_id(settings["eos_token"]), None, collections.Counter()
    same("id of the end", end, settings["eos_token_id"])
    if "chat_template" in config:
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        chat = environment.from_string(config["chat_template"])
    by_id, numbers = {row["id"]: row for row in rows}, {}
    for file in sorted(glob.glob(f"{directory}/*/token_ids_part_*.npy")):
        ids = numpy.memmap(file, dtype=width, mode="r")
        labels = numpy.memmap(file.replace("token_ids", "labels_mask"), dtype=numpy.bool_, mode="r")
        same("labels", (len(labels), set(labels.view(numpy.uint8).tolist()) <= {0, 1}), (len(ids), True))
        boundaries = list(csv.reader(gzip.open(file.replace(".npy", ".csv.gz"), "rt", encoding="utf-8", newline="")))
        same("ends", (numpy.flatnonzero(ids == end) + 1).tolist(), [int(line[1]) for line in boundaries])
        same("starts", [int(line[0]) for line in boundaries], [0, *(int(line[1]) for line in boundaries[:-1])])
        for start, stop, id, source, number in boundaries:
            row, start, stop, split = by_id.pop(id), int(start), int(stop), file.split("/")[-2]
            numbers[split] = numbers.get(split, 0) + 1
            same("number", int(number), numbers[split])
            same("repository", source, row["repos"].split(",")[0])
            text = row["prompt"] + row["completion"]
            if chat:
                messages = [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["completion"]}]
                text = chat.render(messages=messages, add_generation_prompt=False, eos_token=settings["eos_token"])
            text = text.rstrip().removesuffix(settings["eos_token"]) if text.rstrip().endswith(settings["eos_token"]) else text
            document = ids[start : stop - 1].tolist()
            same("ids", document, tokenizer.encode(text, add_special_tokens=False).ids)
            mask = labels[start:stop].tolist()
            first = mask.index(True)
            same("mask", mask, [False] * first + [True] * (len(mask) - first))
            said = tokenizer.decode(document[first:], skip_special_tokens=False)
            same("what is trained on", said.startswith(row["completion"].strip()[:50] if chat else row["completion"]), True)
            same("what is not", tokenizer.decode(document[:first], skip_special_tokens=False) + said, text)
            counts["tokens"] += len(mask)
            counts["trained"] += sum(mask)
            counts["rows"] += 1
    same("rows", (counts["rows"], manifest["rows"]), (overall["num_instances"],) * 2)
    same("tokens", (counts["tokens"], counts["trained"]), (overall["num_tokens"], overall["trainable_tokens"]))
    same("rows left out", overall["instances_filtered"], sum(manifest["dropped"].values()))
    of = statistics["per_dataset_statistics"]
    same("tokens by repository", sum(one["num_tokens"] for one in of), counts["tokens"])


# ISO 639-3, which Aya has, of the languages that have templates.
CODES = {"de": "deu", "en": "eng", "es": "spa", "fi": "fin", "fr": "fra", "ja": "jpn", "ko": "kor", "pt": "por", "ru": "rus", "zh": "zho"}
AYA = "id inputs targets dataset_name sub_dataset_name task_type template_id language split script".split()


def aya(directory, rows, manifest):
    """The columns of the Aya Collection; the language is the message's, and inputs hold what the task needs."""
    by_id, seen, templates = {row["id"]: row for row in rows}, set(), collections.Counter()
    languages = sorted({shard["config"] for shard in manifest["shards"]})
    for language in languages:
        for split, loaded in datasets.load_dataset(directory, language).items():
            same("columns", loaded.column_names, AYA)
            for record in loaded:
                row = by_id[record["id"]]
                same("language", (record["language"], record["script"]), (CODES[row["message_language"]], row["message_script"]))
                same("config and split", (language, split), (record["language"], record["split"]))
                same("programming language", record["sub_dataset_name"], row["lang"])
                same("file", (row["new_file"] or row["old_file"]) in record["inputs"], True)
                if record["task_type"] == "commit-message":
                    same("diff", hunks(row) in record["inputs"], True)
                    same("subject", record["targets"], row["subject"])
                else:
                    same("question", row["subject"] in record["inputs"] and row["old_contents"] in record["inputs"], True)
                    same("answer", record["targets"] in (row["new_contents"], hunks(row)), True)
                seen.add(record["id"])
                templates[record["template_id"]] += 1
    same("rows", len(seen), manifest["rows"])
    same("all rows", len(seen) + sum(manifest["dropped"].values()), len(rows))
    same("records by template", sorted(templates.values()), sorted(manifest["aya"]["templates"].values()))
    unknown = [row for row in rows if row["message_language"] is None]
    same("unknown languages", manifest["dropped"].get("message_language_unknown", 0), len(unknown))
    same("all languages", sum(of.num_rows for of in datasets.load_dataset(directory).values()), len(seen))


# Keys of data_summaries/_template_spec.yaml in order, and whether they have to say something.
SPEC = {
    "Unique Dataset Identifier": (str, True), "Dataset Name": (str, True), "Collection": (str, True), "Collection URL": (str, True),
    "Dataset URL": (str, True), "GitHub URL": (str, False), "Hugging Face URL": (str, False), "Paper Title": (str, False),
    "Papers with Code URL": (str, False), "ArXiv URL": (str, False), "Semantic Scholar Corpus ID": (str, False), "Bibtex": (str, False),
    "Languages": (list, True), "Task Categories": (list, True), "Format": (list, True), "Text Metrics": (dict, True),
    "Text Sources": (list, False), "Model Generated": (list, False), "Human Annotation": (str, True), "Derived from Datasets": (list, False),
    "Creators": (list, False), "Licenses": (list, False), "License Notes": (str, False), "License Verified By": (str, False),
    "Dataset Filter IDs": (list, True),
}


def resolved(summary, classes, custom):
    """As src/helpers/filters.py of the Data-Provenance-Collection classes licences, and lets the most restrictive win."""
    found = []
    for one in summary["Licenses"]:
        by_url = one["License"] == "Custom"
        use, attribution, share_alike = custom[one["License URL"]] if by_url else classes[one["License"]]
        found.append((use, *(int(flag) if flag.isnumeric() else 1 for flag in (attribution, share_alike))))
    uses = [use for use, _, _ in found]
    use = next(use for use in ("Acad", "NC", "Unspecified", "All") if use in uses)
    return use, max(flag for _, flag, _ in found), max(flag for _, _, flag in found)


def provenance(directory, rows, manifest):
    """The summary by the rules of the Data-Provenance-Collection; numbers by an own count over the rows."""
    read = lambda name: json.load(open(f"{directory}/{name}", encoding="utf-8"))
    summaries, classes, custom = read("data_summaries/gitlode.json"), read("license_classes.json"), read("custom_license_classes.json")
    by_lang = collections.defaultdict(list)
    for row in rows:
        by_lang[row["lang"]].append(row)
    same("datasets", sorted(summary["Dataset Filter IDs"][0] for summary in summaries.values()), sorted(by_lang))
    for key, summary in summaries.items():
        lang = summary["Dataset Filter IDs"][0]
        same("identifier", (summary["Unique Dataset Identifier"], key.split("-")[0], summary["Collection"]), (key, "gitlode", "gitlode"))
        same("keys, in order", list(summary), list(SPEC))
        for name, (kind, has_value) in SPEC.items():
            same("type", isinstance(summary[name], kind) and bool(summary[name] or not has_value), True)
        metrics, of = summary["Text Metrics"], by_lang[lang]
        inputs = [len(row["subject"]) + len(row["old_contents"] or "") for row in of]
        targets = [len(row["new_contents"] or "") for row in of]
        same("examples", metrics["Num Dialogs"], len(of))
        for name, lengths in (("Inputs", inputs), ("Targets", targets)):
            mean = metrics[f"Mean {name} Length"]
            same("lengths", (metrics[f"Min {name} Length"], metrics[f"Max {name} Length"]), (min(lengths), max(lengths)))
            same("mean", abs(mean - sum(lengths) / len(of)) < 0.001, True)
        use, attribution, share_alike = resolved(summary, classes, custom)
        same("use in the notes", f"use {use}," in summary["License Notes"], True)
        same("flags", {attribution, share_alike} <= {0, 1}, True)
    attribution = list(csv.DictReader(open(f"{directory}/data_attribution.csv", encoding="utf-8", newline="")))
    names = sorted({entry["repository"] for entry in manifest["inputs"]})
    same("every repository", sorted({line["repository"] for line in attribution}), names)
    wanted = collections.Counter()
    for row in rows:
        for repository in row["repos"].split(","):
            method = row["license_method"] or ""
            path = "in each file" if method in ("tag", "header") else row["license_path"] or ""
            wanted[repository, row["license_spdx"] or "unknown", method, path] += 1
    same("attribution", {(line["repository"], line["license"], line["evidence"], line["path"]): int(line["rows"])
                         for line in attribution if line["rows"] != "0"}, dict(wanted))
    for line in attribution:
        if line["rows"] != "0":
            known = custom.get(line["license"]) or custom.get(f"https://spdx.org/licenses/{line['license']}.html") or classes[line["license_name"]]
            same("class", known, [line["use"], line["attribution"], line["share_alike"]])
    bibliography = open(f"{directory}/bibliography.bib", encoding="utf-8").read()
    entries = re.findall(r"^@\w+\{([^,]+),\n((?:  .*\n)+)\}$", bibliography, re.MULTILINE)
    same("bibliography", len(entries), 2 + len(names))
    same("every entry", (bibliography.count("@"), len({key for key, _ in entries})), (len(entries), len(entries)))
    card = open(f"{directory}/data_card.md", encoding="utf-8").read()
    for title in ("Collections", "Languages", "Task Categories", "Licenses"):
        same("tables", f"\n### {title}\n\n|" in card, True)
    for lang, of in by_lang.items():
        same("line of a language", re.search(rf"^\| `{re.escape(lang)}` \| 1 \([\d.]+ %\) \| {len(of):,} \([\d.]+ %\) \|$", card, re.MULTILINE) is not None, True)
    same("rows in the manifest", manifest["rows"], len(rows))


def main():
    form, directory, file = sys.argv[1:]
    rows = [json.loads(line) for line in open(file, encoding="utf-8")]
    manifest = json.load(open(f"{directory}/manifest.json", encoding="utf-8"))
    same("format", manifest["format"], form)
    {"aya": aya, "dolma": dolma, "grit": grit, "provenance": provenance, "sentence-transformers": sentence_transformers, "tokens": tokens}[form](directory, rows, manifest)
    print(f"{form}: {manifest['rows']} of {len(rows)} rows, {sum(CHECKS.values())} comparisons: {dict(CHECKS)}")


main()
