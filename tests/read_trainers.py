"""Reads sft, kto and dpo exports back with `datasets` and with TRL's own checks of data, and applies every completion to the
code in its prompt with parsers of its own, which know docs/export.md and nothing of gitlode's code.

    read_trainers.py DIRECTORY[=CHAT_TEMPLATE=MESSAGES_DIRECTORY]...

An export has the columns id, subject, message, old_blob, new_blob, old_encoding and new_encoding behind its fields: what is
found in prompt and completion has to have these names in git. With a chat template, texts have to be what jinja2 makes of
the messages in the other export. Ends with an error at the first difference; prints what was compared.
"""

import collections
import glob
import hashlib
import json
import os
import re
import sys
import tempfile

HOME = tempfile.mkdtemp()
os.environ.update(
    HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", HF_HOME=HOME, HF_DATASETS_DISABLE_PROGRESS_BARS="1", TMPDIR=HOME,
    TRANSFORMERS_VERBOSITY="error",
)

# What is in front of fenced code; `find_parts` looks for its end.
FENCED = r"(?P<subject>[^\n]*)\n\n[^\n]+?:\n(?P<fence>`{3,})\n"
# What stands where in a prompt, by template. A completion is the edit, behind a line feed where the question ends in "Answer:", in a fence of
# those that have one.
PROMPTS = {
    "octocoder": r"Question: (?P<subject>[^\n]*)\n(?P<old>.*)\n\nAnswer: ",
    "santacoder": r"(?:<filename>[^<]*)?<commit_before>(?P<old>.*)<commit_msg>(?P<subject>[^\n]*)<commit_after>",
    "starcoder": r"<commit_before>(?P<old>.*)<commit_msg>(?P<subject>[^\n]*)<commit_after>",
    "starcoder2": r"<pr>Title: (?P<subject>[^\n]*)\n<pr_status>opened\n<repo_name>[^\n]*\n\n<pr_base>\n<pr_file>[^\n]*\n"
    r"<pr_base_code>(?P<old>.*)\n\n<pr_diff>\n<pr_file>[^\n]*\n<pr_diff_hunk>",
    "humanevalpack-fix": r"Question: Fix bugs in [^\n]*\.\n(?P<old>.*)\n\nAnswer:",
    "humanevalpack-explain": r"Question: Provide a concise natural language description of the change using at most "
    r"(?P<chars>\d+) characters\.\n(?P<diff>@@ .*)\n\nAnswer:",
    "commit-message": r"Write the message of the commit that makes this change to [^\n]*\.\n\n(?P<fence>`{3,})diff\n(?P<diff>.*)(?P=fence)\n",
    "line-diff": FENCED,
    "unified-diff": FENCED,
    "search-replace": FENCED,
}
CHECKS = collections.Counter()


def same(what, found, expected, row=""):
    if found != expected:
        sys.exit(f"{what} of {row}: found {str(found)[:2000]!r}\nexpected {str(expected)[:2000]!r}")
    CHECKS[what] += 1


def lines(text):
    """Lines end with a line feed and nothing else."""
    parts = text.split("\n")
    return [part + "\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def signed(edit):
    """Lines of an edit, without the line feed where the next line says that there is none."""
    found = []
    for line in lines(edit):
        if line.startswith("\\ "):
            found[-1] = found[-1][:-1]
        else:
            found.append(line)
    return found


def unified(old, edit):
    before, after, at = lines(old), [], 0
    for line in signed(edit):
        header = re.match(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@", line)
        if header:
            start = int(header[1]) - (header[2] != "0")
            after += before[at:start]
            at = start
        elif line[0] == "+":
            after.append(line[1:])
        else:
            assert before[at] == line[1:], (before[at], line)
            after += [before[at]] if line[0] == " " else []
            at += 1
    return "".join(after + before[at:])


def line_diff(old, edit):
    gone, come = {}, {}
    for line in signed(edit):
        sign, number, text = line.split(" ", 2)
        {"-": gone, "+": come}[sign][int(number)] = text
    before = lines(old)
    assert all(before[number - 1] == text for number, text in gone.items())
    after = [text for number, text in enumerate(before, 1) if number not in gone]
    for number in sorted(come):
        after.insert(number - 1, come[number])
    return "".join(after)


def search_replace(old, edit):
    while edit:
        n = len(edit) - len(edit.lstrip("<"))
        block = re.match(r"<{%d} SEARCH\n(.*?)\n={%d}\n(.*?)\n>{%d} REPLACE\n" % (n, n, n), edit, re.DOTALL)
        search, replace = block.groups()
        assert n >= 7 and (old.find(search) == old.rfind(search) >= 0 if search else old == ""), search
        old, edit = old.replace(search, replace, 1), edit[block.end() :]
    return old


APPLY = {"whole-file": lambda old, edit: edit, "unified-diff": unified, "line-diff": line_diff, "search-replace": search_replace}


def git_name(text, encoding, like):
    raw = text.encode({"utf-16le": "utf-16-le", "utf-16be": "utf-16-be"}.get(encoding, encoding))
    blob = b"blob %d\0" % len(raw) + raw
    return (hashlib.sha256 if len(like) == 64 else hashlib.sha1)(blob).hexdigest()


def content(value):
    return value if isinstance(value, str) else value[0]["content"]


def answers(row, form, shape):
    """The prompt, and completions with whether they are the row's own."""
    if form == "sft" and shape == "messages":
        roles = [message["role"] for message in row["messages"]]
        same("roles", roles, ["user", "assistant"], row["id"])
        return row["messages"][0]["content"], [(row["messages"][1]["content"], True)]
    if form == "dpo" and shape == "halos":
        good, bad = ("A", "B") if row["label"] == 1 else ("B", "A")
        same("rewards", (row["reward_" + good], row["reward_" + bad], row["reward_difference"]), (1, 0, 1), row["id"])
        return content(row["prompt"]), [(content(row["output_" + good]), False), (content(row["output_" + bad]), True)]
    if form == "dpo":
        return content(row["prompt"]), [(content(row["chosen"]), False), (content(row["rejected"]), True)]
    return content(row["prompt"]), [(content(row.get("completion", row.get("output"))), True)]


def find_parts(template, prompt):
    """The parts of a prompt by name; none where it is no prompt of that template."""
    if PROMPTS[template] != FENCED:
        found = re.fullmatch(PROMPTS[template], prompt, re.DOTALL)
        return found and found.groupdict()
    begin = re.match(FENCED, prompt)
    if not begin:
        return None
    code, fence, question = prompt[begin.end() :].partition(f"\n{begin['fence']}\n\nAnswer with ")
    return {"subject": begin["subject"], "old": code} if fence and question and "\n" not in question else None


def check_row(row, form, shape, template, edit):
    prompt, completions = answers(row, form, shape)
    found = find_parts(template, prompt)
    same("prompt", found is not None, True, row["id"])
    if "subject" in found:
        same("subject", found["subject"], row["subject"], row["id"])
    for completion, is_own in completions:
        if template in ("octocoder", "humanevalpack-fix", "humanevalpack-explain"):
            same("line feed in front", completion[:1], "\n", row["id"])
            completion = completion[1:]
        if PROMPTS[template] == FENCED:
            fenced = re.fullmatch(r"(`{3,})\n(.*)\1", completion, re.DOTALL)
            same("fence", fenced is not None, True, row["id"])
            completion = fenced[2]
        if edit in ("message", "subject"):
            same(edit, completion, row[edit].rstrip(), row["id"])
            if "chars" in found:
                same("length", int(found["chars"]), len(completion), row["id"])
            continue
        same("old contents", git_name(found["old"], row["old_encoding"], row["old_blob"]), row["old_blob"], row["id"])
        name = git_name(APPLY[edit](found["old"], completion), row["new_encoding"], row["new_blob"])
        # The better answer is another commit's: it has to apply, and to say something else.
        same("new contents" if is_own else "better contents differ", name == row["new_blob"], is_own, row["id"])


def check_with_trl(loaded, form, shape):
    from trl.data_utils import is_conversational, maybe_extract_prompt, maybe_unpair_preference_dataset

    names = set(loaded.column_names)
    for row in loaded:
        same("TRL: conversational", is_conversational(row), shape == "messages", row["id"])
        if form == "dpo":
            same("TRL: the prompt is there", maybe_extract_prompt(row), row, row["id"])
    if form == "kto":
        same("TRL: labels", loaded.features["label"].dtype, "bool")
        same("TRL: unpaired already", maybe_unpair_preference_dataset(loaded) is loaded, True)
    if form == "dpo":
        unpaired = maybe_unpair_preference_dataset(loaded)
        same("TRL: as kto", (unpaired.num_rows, sum(unpaired["label"])), (2 * loaded.num_rows, loaded.num_rows))
    fields = {"sft": {"prompt", "completion"}, "kto": {"prompt", "completion", "label"}, "dpo": {"prompt", "chosen", "rejected"}}
    wanted = {"messages"} if (form, shape) == ("sft", "messages") else {"text"} if shape == "text" else fields[form]
    same("TRL: fields", wanted <= names, True)


def check_halos(directory, manifest, form):
    """HALOs reads a file with json.load and looks at these."""
    keys = {
        "kto": ["prompt_id", "prompt", "output", "label", "reward", "type"],
        "dpo": "prompt_id prompt output_A output_B label reward_A reward_B reward_difference type".split(),
    }[form]
    for shard in manifest["shards"]:
        feedback = json.load(open(f"{directory}/{shard['file']}", encoding="utf-8"))
        same("HALOs: rows", len(feedback), shard["rows"])
        for item in feedback:
            same("HALOs: fields", list(item)[: len(keys)], keys, item["prompt_id"])
            same("HALOs: label", item["label"] in (0, 1), True)
            same("HALOs: type", item["type"], {"kto": "binary_feedback", "dpo": "pairwise_feedback"}[form])


def check_texts(loaded, chat, messages):
    import jinja2.sandbox

    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    source, tokens = open(chat, encoding="utf-8").read(), {}
    if chat.endswith(".json"):
        tokens = json.loads(source)
        source = tokens["chat_template"]
    template = environment.from_string(source)
    for split in loaded:
        conversations = {row["id"]: row["messages"] for row in messages[split]}
        for row in loaded[split]:
            context = {name: tokens.get(name, "") for name in ("bos_token", "eos_token")}
            text = template.render(messages=conversations[row["id"]], add_generation_prompt=False, **context)
            same("text by jinja2", row["text"], text, row["id"])


def check(directory, chat="", messages=""):
    CHECKS.clear()
    manifest = json.load(open(f"{directory}/manifest.json", encoding="utf-8"))
    form, training = manifest["format"], manifest["training"]
    shape, template, edit = training["shape"], training["template"], training["edit"]
    files = [f"{directory}/{shard['file']}" for shard in manifest["shards"]]
    if os.environ.get("ONLY_PARSERS"):
        loaded = {"all": (json.loads(line) for file in files for line in open(file, encoding="utf-8"))}
    else:
        import datasets
        import yaml

        loaded = datasets.load_dataset(directory)
        same("rows", {split: of.num_rows for split, of in loaded.items()}, {
            name: split["rows"] for name, split in manifest["splits"].items() if split["rows"]})
        card = open(f"{directory}/README.md", encoding="utf-8").read()
        info = yaml.safe_load(card.split("---\n")[1])["dataset_info"][0]
        for split in info["splits"]:
            same("rows in the card", split["num_examples"], loaded[split["name"]].num_rows)
        same("fields in the card", [field["name"] for field in info["features"]], next(iter(loaded.values())).column_names)
        for of in loaded.values():
            if shape != "halos":
                check_with_trl(of, form, shape)
        if shape == "halos":
            check_halos(directory, manifest, form)
    if chat:
        check_texts(loaded, chat, datasets.load_dataset(messages))
    rows, labels = 0, collections.Counter()
    for of in loaded.values():
        for row in of:
            rows += 1
            labels[row.get("label")] += 1
            if shape != "text":
                check_row(row, form, shape, template, edit)
    same("rows in the manifest", rows, manifest["rows"])
    if form == "kto":
        classes = training["classes"]
        same("classes", (labels[True], labels[False]), (classes["desirable"], classes["undesirable"]))
    print(f"{directory}: {form}, {shape}, {template}: {rows} rows, {sum(CHECKS.values())} comparisons: {dict(CHECKS)}")


for argument in sys.argv[1:]:
    check(*argument.split("="))
