//! Exports for trainers: read back by `datasets`, TRL's checks of data and parsers that know only the documentation
//! (`tests/read_trainers.py`), byte-identical, with every row that is left out counted.

mod support;

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};
use support::{Lab, git, manifest, python, same_bytes};

/// Columns that `tests/read_trainers.py` compares with.
const COLUMNS: &str = "id,subject,message,old_blob,new_blob,old_encoding,new_encoding";

/// Files whose contents look like what stands around them, and what became of changes.
const FILES: &str = r#"
    commit() { git add .; git commit -qm "$1"; }
    long() { seq 60 | sed 's/^.$/same/'; }
    printf 'one\ntwo\nthree\n' > plain.txt
    printf 'a\r\nb\r\n' > crlf.txt
    printf 'no end' > end.txt
    : > empty.txt
    printf 'Title\n=======\ntext\n\n=======\n' > heading.rst
    printf 'See\n```\ncode\n```\nand `that`\n' > fence.md
    printf '<<<<<<< SEARCH\nx\n=======\ny\n>>>>>>> REPLACE\n' > marks.txt
    printf 'usage: prog <filename>\n' > usage.txt
    printf 'x\n\nAnswer: \ny\n' > answer.txt
    printf '@@ -1 +1 @@\n-x\n+y\n\\ No newline at end of file\n' > hunk.diff
    printf 'caf\351\n' | iconv -f latin1 -t utf-16 > wide.txt
    long > long.txt
    commit 'Add files'
    printf 'one\n2\nthree\n' > plain.txt; commit 'Fix the second line'
    printf 'a\r\nb\nc\r\n' > crlf.txt; commit 'Mix the ends of lines'
    printf 'no end\n' > end.txt; commit 'End the last line'
    printf 'no end' > end.txt; commit 'Take the end away: "again", and `that`'
    printf 'now\n' > empty.txt; commit 'Fill the empty file'
    : > empty.txt; commit 'Empty the file'
    printf 'Title\n=======\nother\n\n=======\n' > heading.rst; commit 'Change between headings'
    printf 'See\n```\nother\n```\nand ````that````\n' > fence.md; commit 'Change what is fenced'
    printf '<<<<<<< SEARCH\nx\n=======\nz\n>>>>>>> REPLACE' > marks.txt; commit 'Change what is marked'
    printf 'usage: prog <filename> <mode>\n' > usage.txt; commit 'Name the mode'
    printf 'x\n\nAnswer: \nz\n\nAnswer: ' > answer.txt; commit 'Answer otherwise'
    printf '@@ -1 +1 @@\n-x\n+z\n' > hunk.diff; commit 'Change a hunk'
    printf 'caf\351s\n' | iconv -f latin1 -t utf-16 > wide.txt; commit 'Widen it'
    long | sed '5s/$/ changed/; 40d; 41s/^/x/' > long.txt; commit 'Change a repeating file in places'
    printf 'one\n2\n3\n' > plain.txt; commit 'Count to three'
    git revert --no-edit HEAD
    printf 'one\n2\nIII\n' > plain.txt
    commit "Reapply \"Count to three\"

This reapplies commit $(git rev-parse HEAD~1)."
    printf 'one\ntwo\n4\n' > plain.txt; commit 'Count to four'
    printf 'one\n2\n4\n' > plain.txt
    commit "Keep the second line

Fixes: $(git rev-parse --short=12 HEAD) (\"Count to four\")"
    printf 'bad\n' > end.txt; commit 'Spoil the end'
    git revert --no-edit HEAD
"#;

fn store(lab: &Lab) {
    lab.repository("r", "sha1", FILES);
    lab.mine("r", "store", &[]);
}

fn records(lab: &Lab, out: &str) -> Vec<Value> {
    let mut records = Vec::new();
    for shard in manifest(lab, out)["shards"].as_array().expect("shards") {
        let path = lab.path(out).join(shard["file"].as_str().expect("a name"));
        let text = fs::read_to_string(path).expect("text");
        records.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")));
    }
    records
}

/// Exports each, checks that nothing is lost, and reads all of them back; the shape is `messages` where it says so.
fn read_back(lab: &Lab, exports: &[(&str, &[&str])]) {
    let mut directories = Vec::new();
    for (out, args) in exports {
        lab.ok(&[&["export", "store", out, "--columns", COLUMNS], *args].concat());
        let manifest = manifest(lab, out);
        let dropped: u64 = manifest["dropped"].as_object().expect("rules").values().filter_map(Value::as_u64).sum();
        let kept = manifest["rows"].as_u64().expect("rows");
        assert_eq!(kept + dropped, lab.rows("store").len() as u64, "{out}");
        assert!(kept > 0, "{out}: {manifest}");
        directories.push(lab.path(out).to_string_lossy().into_owned());
    }
    let directories: Vec<&str> = directories.iter().map(String::as_str).collect();
    if let Some(said) = python(lab, "tests/read_trainers.py", &directories) {
        assert_eq!(said.lines().filter(|line| line.contains(" comparisons: ")).count(), exports.len(), "{said}");
    }
}

#[test]
fn every_template_is_read_back() {
    let lab = Lab::new();
    store(&lab);
    let sft = |template: &'static str| (template, ["--format", "sft", "--template", template]);
    let templates = [
        "commit-message",
        "humanevalpack-explain",
        "humanevalpack-fix",
        "line-diff",
        "octocoder",
        "santacoder",
        "search-replace",
        "starcoder",
        "starcoder2",
        "unified-diff",
    ]
    .map(sft);
    read_back(&lab, &templates.iter().map(|(name, args)| (*name, &args[..])).collect::<Vec<_>>());
    let dropped = |out: &str| manifest(&lab, out)["dropped"].clone();
    for edits in ["line-diff", "search-replace", "unified-diff"] {
        assert_eq!(dropped(edits), json!({}), "{edits}");
    }
    assert_eq!(dropped("octocoder"), json!({"special_token": 1}), "<filename> is one");
    assert_eq!(dropped("santacoder"), json!({"special_token": 1}));
    let fixes: Vec<Value> = records(&lab, "humanevalpack-fix");
    assert_eq!(fixes.iter().map(|row| &row["subject"]).collect::<Vec<_>>(), ["Fix the second line"]);
    let with_name = |row: &&Value| row["prompt"].as_str().is_some_and(|prompt| prompt.starts_with("<filename>"));
    let rows = records(&lab, "santacoder");
    let half = rows.iter().filter(with_name).count();
    assert!(half > 3 && half < rows.len() - 3, "{half} of {}", rows.len());
}

#[test]
fn every_shape_is_read_back() {
    let lab = Lab::new();
    store(&lab);
    read_back(
        &lab,
        &[
            ("messages", &["--format", "sft", "--shape", "messages", "--template", "search-replace"]),
            ("text", &["--format", "sft", "--shape", "text", "--split", "train=0.5,test=0.5"]),
            ("kto", &["--format", "kto"]),
            ("kto-messages", &["--format", "kto", "--shape", "messages"]),
            ("kto-halos", &["--format", "kto", "--shape", "halos"]),
            ("dpo", &["--format", "dpo", "--template", "unified-diff"]),
            ("dpo-messages", &["--format", "dpo", "--shape", "messages", "--template", "line-diff"]),
            ("dpo-halos", &["--format", "dpo", "--shape", "halos", "--template", "search-replace"]),
            ("sft-gzip", &["--format", "sft", "--compression", "gzip", "--shuffle", "1"]),
        ],
    );
    // As one text, the answer begins at the first place that looks like one.
    assert_eq!(manifest(&lab, "text")["dropped"]["no_round_trip"], 1);
    for subject in ["Count to three", "Count to four"] {
        assert!(records(&lab, "dpo").iter().any(|row| row["subject"] == subject), "{subject}");
    }
    assert_eq!(manifest(&lab, "dpo")["training"]["pairs"], json!({"fixed": 1, "relanded": 1}));
    let kto = records(&lab, "kto");
    let label = |subject: &str| kto.iter().find(|row| row["subject"] == subject).map(|row| row["label"].clone());
    assert_eq!(label("Spoil the end"), Some(json!(false)));
    assert_eq!(label("Count to four"), Some(json!(true)), "it was mended, not taken back");
    assert_eq!(label("Count to three"), None, "landed again: neither");
    assert_eq!(manifest(&lab, "kto")["dropped"], json!({"relanded": 1, "special_token": 1}));
    let card = fs::read_to_string(lab.path("kto/README.md")).expect("a card");
    let classes = &manifest(&lab, "kto")["training"]["classes"];
    let weight = format!("undesirable_weight={}", classes["undesirable_weight"]);
    assert!(classes["undesirable"] == 1 && card.contains(&weight), "{classes} {card}");
}

#[test]
fn texts_are_what_a_models_template_makes_of_messages() {
    let lab = Lab::new();
    store(&lab);
    let chatml = "{% for message in messages %}\n  <|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}";
    fs::write(lab.path("chatml.jinja"), chatml).expect("a file");
    // As Llama's: what is around a message is trimmed.
    let llama = "{{ bos_token }}{% for m in messages %}<|h|>{{ m.role }}<|/h|>\n\n{{ m.content | trim }}{{ eos_token }}{% endfor %}";
    let config = json!({"chat_template": llama, "bos_token": "<s>", "eos_token": {"content": "</s>"}});
    fs::write(lab.path("tokenizer_config.json"), config.to_string()).expect("a file");
    let mut read = Vec::new();
    for (chat, template, kept) in [
        ("chatml.jinja", "octocoder", 19),
        ("chatml.jinja", "search-replace", 21),
        ("tokenizer_config.json", "octocoder", 1),
        ("tokenizer_config.json", "line-diff", 21),
        ("tokenizer_config.json", "search-replace", 21),
        ("tokenizer_config.json", "commit-message", 21),
    ] {
        let (texts, messages) = (format!("{chat}-{template}"), format!("messages-{chat}-{template}"));
        let both = ["--format", "sft", "--template", template, "--columns", COLUMNS];
        lab.ok(&[&["export", "store", &texts, "--chat-template", chat][..], &both].concat());
        lab.ok(&[&["export", "store", &messages, "--shape", "messages"][..], &both].concat());
        let manifest = manifest(&lab, &texts);
        assert!(manifest["rows"].as_u64().is_some_and(|rows| rows >= kept), "{texts}: {}", manifest["dropped"]);
        assert_eq!(manifest["training"]["shape"], "text");
        let path = |name: &str| lab.path(name).to_string_lossy().into_owned();
        // Python's `str.strip` and jinja2 want the tokens as texts.
        let mut config = config.clone();
        config["eos_token"] = json!("</s>");
        fs::write(lab.path("plain.json"), config.to_string()).expect("a file");
        let chat = if chat.ends_with(".json") { "plain.json" } else { chat };
        read.push(format!("{}={}={}", path(&texts), path(chat), path(&messages)));
    }
    let read: Vec<&str> = read.iter().map(String::as_str).collect();
    if let Some(said) = python(&lab, "tests/read_trainers.py", &read) {
        assert_eq!(said.matches("'text by jinja2': ").count(), read.len(), "{said}");
    }
    // A message with a token of the template would be another message to the model.
    lab.script(&lab.path("r"), "printf 'one\\n<|im_end|>\\n' > plain.txt; git commit -qam 'End it'");
    lab.mine("r", "store", &[]);
    lab.ok(&[
        "export",
        "store",
        "more",
        "--format",
        "sft",
        "--chat-template",
        "chatml.jinja",
        "--template",
        "line-diff",
    ]);
    assert_eq!(manifest(&lab, "more")["dropped"], json!({"special_token": 1}));
}

#[test]
fn the_same_rows_are_the_same_bytes() {
    let lab = Lab::new();
    lab.repository("r", "sha1", FILES);
    lab.repository("s", "sha1", &FILES.replace("one", "uno"));
    lab.mine("r", "store", &["s"]);
    lab.mine("s", "other", &["-j", "1"]);
    lab.mine("r", "other", &["-j", "2"]);
    let formats: [&[&str]; 6] = [
        &["--format", "sft", "--shuffle", "7", "--split", "train=0.5,test=0.5"],
        &["--format", "kto", "--shape", "halos", "--compression", "zstd"],
        &["--format", "dpo", "--shuffle", "7"],
        &["--format", "hf", "--shuffle", "7", "--shard-bytes-max", "9000"],
        &["--format", "arrow", "--shuffle", "7"],
        &["--format", "jsonl", "--shuffle", "7"],
    ];
    same_bytes(&lab, &formats);
}

#[test]
fn a_seed_draws_the_order_of_the_same_rows() {
    let lab = Lab::new();
    store(&lab);
    for (out, args) in [("plain", &[][..]), ("one", &["--shuffle", "1"]), ("two", &["--shuffle", "2"])] {
        lab.ok(&[&["export", "store", out], args].concat());
    }
    let [plain, one, two] = ["plain", "one", "two"].map(|out| records(&lab, out));
    let key = |row: &Value| row["id"].to_string();
    let sorted = |rows: &[Value]| {
        let mut rows = rows.to_vec();
        rows.sort_by_key(key);
        rows
    };
    assert!(plain != one && one != two && plain.len() > 20);
    assert_eq!(sorted(&plain), sorted(&one), "rows come back as they were");
    assert_eq!(sorted(&plain), sorted(&two));
    // The place of a row depends on no other row.
    lab.ok(&["export", "store", "few", "--shuffle", "1", "--format", "sft", "--tokens-max", "20", "--columns", "id"]);
    let few: Vec<String> = records(&lab, "few").iter().map(key).collect();
    let left: BTreeSet<&String> = few.iter().collect();
    assert!(!few.is_empty() && few.len() < one.len());
    assert_eq!(few, one.iter().map(key).filter(|id| left.contains(id)).collect::<Vec<_>>());
    assert_eq!(manifest(&lab, "one")["shuffle"], 1);
    let card = |out: &str| fs::read_to_string(lab.path(out).join("README.md")).expect("a card");
    assert!(card("one").contains("drawn by the seed 1") && card("plain").contains("shuffle before training"));
}

#[test]
fn what_is_over_the_budget_is_counted() {
    let lab = Lab::new();
    store(&lab);
    let said = lab.ok(&["export", "store", "short", "--format", "sft", "--tokens-max", "60", "--columns", "id"]);
    let manifest = manifest(&lab, "short");
    let over = manifest["dropped"]["tokens_max"].as_u64().expect("some are over");
    assert!(over > 0 && said.contains(&format!("dropped: tokens_max {over}")), "{said}");
    assert!(said.contains("tokens were estimated"), "{said}");
    assert_eq!(
        (&manifest["training"]["tokens_max"], &manifest["training"]["tokenizer"]),
        (&json!(60), &json!("estimate"))
    );
    let card = fs::read_to_string(lab.path("short/README.md")).expect("a card");
    assert!(card.contains("by an estimate, since no tokenizer was given"), "{card}");
    // Words are its tokens, and one is no text.
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [{"id": 1, "content": "three", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
        "normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": {"?": 0, "three": 1}, "unk_token": "?"},
    });
    fs::write(lab.path("tokenizer.json"), tokenizer.to_string()).expect("a file");
    let with = ["--tokenizer", "tokenizer.json", "--format", "sft", "--tokens-max", "8", "--columns", "id"];
    lab.ok(&[&["export", "store", "counted"][..], &with].concat());
    let rows = records(&lab, "counted");
    assert!(!rows.is_empty());
    for row in rows {
        let text = [&row["prompt"], &row["completion"]].map(|text| text.as_str().expect("text").to_owned()).concat();
        assert!(text.split_whitespace().count() <= 8 && !text.contains("three"), "{text}");
    }
    let manifest = support::manifest(&lab, "counted");
    assert!(manifest["dropped"]["special_token"].as_u64().is_some_and(|rows| rows > 2), "{}", manifest["dropped"]);
    assert_eq!(manifest["training"]["tokenizer"].as_str().map(str::len), Some(16));
}

#[test]
fn templates_of_ones_own_are_checked() {
    let lab = Lab::new();
    store(&lab);
    let template = |prompt: &str, completion: &str| {
        let text = format!(
            "id = \"own\"\nwhy = \"For a test.\"\nedit = \"whole-file\"\nprompt = \"\"\"\n{prompt}\"\"\"\ncompletion = \"{completion}\"\n\
             [[example]]\nold_contents = \"a\"\nnew_contents = \"b\"\nsubject = \"s\"\nprompt = \"s\\na\"\ncompletion = \"b\"\n"
        );
        fs::write(lab.path("own.toml"), text).expect("a file");
    };
    template("{{ subject }}\n{{ old_contents }}", "{{ edit }}");
    lab.ok(&["export", "store", "own", "--format", "sft", "--template", "own.toml"]);
    assert_eq!(manifest(&lab, "own")["training"]["template"], "own");
    assert_eq!(manifest(&lab, "own")["dropped"], json!({}));
    // What fails for a row, or is not found again, is counted.
    template("{{ subject }}\n{{ old_contents }}", "{{ edit }}{% if subject == 'Widen it' %}{{ 1 // 0 }}{% endif %}");
    lab.ok(&["export", "store", "fails", "--format", "sft", "--template", "own.toml"]);
    assert_eq!(manifest(&lab, "fails")["dropped"], json!({"template_failed": 1}));
    template("{{ subject }}\n{{ old_contents }}", "{{ edit | trim }}");
    lab.ok(&["export", "store", "trims", "--format", "sft", "--template", "own.toml"]);
    assert!(manifest(&lab, "trims")["dropped"]["no_round_trip"].as_u64().is_some_and(|rows| rows > 10));
    template("{{ subject }}\n{{ oldcontents }}", "{{ edit }}");
    let output = lab.gitlode(&["export", "store", "wrong", "--format", "sft", "--template", "own.toml"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(4) && said.contains("own.toml, line 6: there is no oldcontents"), "{said}");
    assert!(!lab.path("wrong").exists());
}

#[test]
fn formats_and_templates_are_listed() {
    let lab = Lab::new();
    let said = lab.ok(&["export", "--list"]);
    for name in
        ["jsonl", "hf", "arrow", "commitpack", "sft", "kto", "dpo", "octocoder", "santacoder", "humanevalpack-fix"]
    {
        assert!(said.lines().any(|line| line.trim_start().split(' ').next() == Some(name)), "{name}: {said}");
    }
    assert!(said.lines().all(|line| line.chars().count() < 400), "{said}");
}

#[test]
fn what_can_not_be_is_refused() {
    let lab = Lab::new();
    store(&lab);
    for (args, reason) in [
        (
            &["--format", "jsonl", "--template", "octocoder"][..],
            "--template is for --format sft, kto, dpo, grit, tokens and aya",
        ),
        (&["--format", "hf", "--tokens-max", "9"], "--tokens-max is for --format sft"),
        (&["--format", "sft", "--shape", "halos"], "halos one of kto and dpo"),
        (&["--format", "dpo", "--shape", "text"], "text is a shape of sft"),
        (&["--format", "dpo", "--template", "commit-message"], "are no code"),
        (&["--format", "sft", "--columns", "prompt"], "there is no column prompt"),
        (&[], "exists already"),
    ] {
        fs::create_dir_all(lab.path("there")).expect("a directory");
        let out = if args.is_empty() { "there" } else { "out" };
        let output = lab.gitlode(&[&["export", "store", out], args].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(reason), "{args:?}: {said}");
        assert!(!lab.path("out").exists());
    }
    // Who opted out is in no pair.
    let fixer = String::from_utf8(git(&lab.path("r"), &["log", "--format=%H", "--grep=Fixes:"])).expect("an id");
    fs::write(lab.path("out.txt"), format!("commit:{}\n", fixer.trim())).expect("a list");
    lab.ok(&["assemble", "store", "-q", "--opt-out", "out.txt"]);
    lab.ok(&["export", "store", "dpo", "--format", "dpo", "--assembled"]);
    assert_eq!(manifest(&lab, "dpo")["training"]["pairs"], json!({"relanded": 1}));
}
