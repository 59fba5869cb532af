//! Exports for programs that train embeddings, pretrain and account for data: read back by their own code or their published
//! rules (`tests/read_consumers.py`), byte-identical, with every row that is left out counted.

mod support;

use std::{fs, path::Path};

use serde_json::{Value, json};
use support::{Lab, SPLITS, files, four, manifest, python, same_bytes, tokenizer};

/// Changes of several languages, some of them alike, some without a partner.
const FILES: &str = r#"
    commit() { git add .; git commit -qm "$1"; }
    for f in a.py b.py c.c d.rs e.js; do seq 30 | sed "s|^|$f of NAME line |" > $f; done
    printf 'alone\n' > alone.hs
    commit 'Add files'
    for n in 1 2 3; do
        for f in a.py b.py c.c d.rs; do
            sed -i "s/line $n\$/line $n which says ${f}_$n of NAME now/" $f
            commit "Say more in line $n of $f in NAME"
        done
    done
    printf 'still alone\n' > alone.hs; commit 'Change what is alone in its language'
    sed -i '$a the same line is added to both files of NAME' a.py b.py; commit 'Add a line to both'
    printf 'added later\n' > late.py; commit 'Add a file later'
    sed -i 's/line 9$/<|endoftext|> line 9/' c.c; commit 'Hold a token of a model'
"#;

/// Exports, and reads back what was written; the manifest.
fn read_back(lab: &Lab, rows: &Path, form: &str, out: &str, more: &[&str]) -> Value {
    lab.ok(&[&["export", "store", out, "--format", form], more].concat());
    let manifest = manifest(lab, out);
    check_files(lab, out, &manifest);
    let (directory, rows) = (lab.path(out).to_string_lossy().into_owned(), rows.to_string_lossy().into_owned());
    if let Some(said) = python(lab, "tests/read_consumers.py", &[form, &directory, &rows]) {
        assert!(said.contains(" comparisons: "), "{said}");
    }
    manifest
}

/// Every file is in the manifest, with its checksum.
fn check_files(lab: &Lab, out: &str, manifest: &Value) {
    let mut found = files(&lab.path(out));
    found.remove("manifest.json");
    for listed in ["shards", "documents"].map(|list| manifest[list].as_array().expect("a list")).into_iter().flatten() {
        let name = listed["file"].as_str().expect("a name");
        let bytes = found.remove(name).unwrap_or_else(|| panic!("{out}: {name} is not there"));
        assert_eq!(listed["blake3"], blake3::hash(&bytes).to_hex().to_string(), "{out}: {name}");
        assert_eq!(listed["bytes"], bytes.len(), "{out}: {name}");
    }
    assert_eq!(found.keys().collect::<Vec<_>>(), Vec::<&String>::new(), "{out}: not in the manifest");
}

#[test]
fn hard_negatives_are_of_the_same_language_and_differ() {
    let lab = Lab::new();
    let rows = four(&lab, FILES);
    let cases: [(&str, &str, &[&str]); 5] = [
        ("grit", "grit", &["--template", "unified-diff"]),
        ("grit", "grit-split", &["--split", SPLITS, "--shuffle", "3", "--instruction", "Find the change: "]),
        ("grit", "grit-cut", &["--shard-bytes-max", "2000"]),
        ("sentence-transformers", "st", &[]),
        ("sentence-transformers", "st-split", &["--split", SPLITS, "--shuffle", "3"]),
    ];
    for (form, out, more) in cases {
        let manifest = read_back(&lab, &rows, form, out, more);
        let negatives = &manifest["embedding"]["negatives"];
        let found: u64 = negatives.as_object().expect("counts").values().filter_map(Value::as_u64).sum();
        assert_eq!(manifest["rows"], found, "{out}");
        assert!(
            negatives["same_file"].as_u64() > Some(20) && negatives["same_repository"].as_u64() > Some(2),
            "{negatives}"
        );
        // One row of each repository is alone in its language; only where splits are apart it finds none in the others.
        let alone = manifest["dropped"]["no_negative"].as_u64().unwrap_or(0);
        assert!(alone > 0, "{out}: {manifest}");
    }
    assert!(lab.path("grit-cut/train/python-embedding-0002.jsonl").exists());
    let generative = &manifest(&lab, "grit-split")["embedding"]["generative"];
    assert_eq!(generative["dropped"]["special_token"], 4, "<|endoftext|> in a file of each: {generative}");
    assert!(generative["dropped"]["one_side_only"].as_u64() > Some(4), "{generative}");
    for args in [["--format", "grit", "--shape", "text"], ["--format", "sentence-transformers", "--columns", "id"]] {
        let output = lab.gitlode(&[&["export", "store", "refused"], &args[..]].concat());
        assert_eq!(output.status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn dolma_mixes_by_labels_and_verdicts() {
    let lab = Lab::new();
    let rows = four(&lab, FILES);
    lab.ok(&["assemble", "store", "-q"]);
    let rule = "[[rule]]\nid = \"no-line-3\"\nwhy = \"For a test.\"\nfield = \"subject\"\nregex = [\"line [12] \", \"^(Add|Change|Hold)\"]\nkeep = [\"Add it\"]\ndrop = [\"Say more in line 3 of it\"]\n";
    fs::write(lab.path("own.toml"), format!("id = \"own\"\nwhy = \"For a test.\"\n{rule}")).expect("a ruleset");
    let decided = ["--assembled", "--filter", "own.toml"];
    let few = read_back(&lab, &rows, "dolma", "few", &decided);
    let tagged = ["--split", SPLITS, "--shuffle", "5", "--shard-bytes-max", "9000", "--tag-dropped"];
    let all = read_back(&lab, &rows, "dolma", "all", &[&tagged[..], &decided].concat());
    assert_eq!(few["dolma"]["verdicts"], json!({}));
    let number = |manifest: &Value| manifest["rows"].as_u64().expect("a number");
    let dropped: u64 = few["dropped"].as_object().expect("rules").values().filter_map(Value::as_u64).sum();
    assert!(dropped > 4 && number(&few) > 4, "{few}");
    assert_eq!(number(&few) + dropped, number(&all));
    assert_eq!(all["dropped"], json!({}));
    for (rule, rows) in few["dropped"].as_object().expect("rules") {
        assert!(all["dolma"]["verdicts"][rule].as_u64() >= rows.as_u64(), "{rule}: {all}");
    }
    // Which split has most of them is a matter of the repositories' root commits.
    let shards = fs::read_dir(lab.path("all/documents")).expect("shards").count();
    assert!(shards >= 8, "{shards}");
    // Who opted out has no attribute.
    let one = lab.rows("store")[0]["commit"].as_str().expect("an id").to_owned();
    fs::write(lab.path("out.txt"), format!("commit:{one}\n")).expect("a list");
    lab.ok(&["assemble", "store", "-q", "--opt-out", "out.txt"]);
    let without = read_back(&lab, &rows, "dolma", "without", &["--assembled", "--tag-dropped"]);
    assert!(without["dropped"]["opt_out"].as_u64() > Some(0), "{without}");
    assert_eq!(lab.gitlode(&["export", "store", "no", "--tag-dropped"]).status.code(), Some(2));
}

const CHATML: &str = "{% for message in messages %}\n<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}";

#[test]
fn tokens_are_what_a_tokenizer_makes_of_texts() {
    let lab = Lab::new();
    four(&lab, FILES);
    tokenizer(&lab, "small.json", 260);
    tokenizer(&lab, "large.json", 100_277);
    fs::write(lab.path("chatml.jinja"), CHATML).expect("a file");
    // As Llama's, which trims what is said.
    let trims = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | trim }}{% endfor %}{{ eos_token }}";
    fs::write(lab.path("config.json"), json!({"chat_template": trims, "eos_token": "<|endoftext|>"}).to_string())
        .expect("a file");
    let cases: [(&str, &[&str]); 5] = [
        ("bytes", &["--tokenizer", "small.json"]),
        ("wide", &["--tokenizer", "large.json", "--template", "line-diff", "--split", SPLITS, "--shuffle", "2"]),
        ("chat", &["--tokenizer", "small.json", "--chat-template", "chatml.jinja", "--template", "line-diff"]),
        (
            "trims",
            &[
                "--tokenizer",
                "large.json",
                "--chat-template",
                "config.json",
                "--template",
                "line-diff",
                "--shard-bytes-max",
                "9000",
            ],
        ),
        ("short", &["--tokenizer", "small.json", "--template", "line-diff", "--tokens-max", "1000"]),
    ];
    for (out, more) in cases {
        let pairs = format!("pairs-{out}");
        let template = more.iter().position(|arg| *arg == "--template").map_or("octocoder", |at| more[at + 1]);
        lab.ok(&["export", "store", &pairs, "--format", "sft", "--columns", "id,repos", "--template", template]);
        let manifest = read_back(&lab, &lab.path(&pairs).join("data/train-00000-of-00001.jsonl"), "tokens", out, more);
        let dropped: u64 = manifest["dropped"].as_object().expect("rules").values().filter_map(Value::as_u64).sum();
        assert_eq!(manifest["rows"].as_u64().expect("rows") + dropped, lab.rows("store").len() as u64, "{out}");
        assert!(manifest["rows"].as_u64() > Some(8), "{out}: {manifest}");
    }
    assert_eq!(manifest(&lab, "bytes")["tokens"]["dtype"], "uint16");
    assert_eq!(manifest(&lab, "wide")["tokens"]["dtype"], "uint32");
    assert!(manifest(&lab, "short")["dropped"]["tokens_max"].as_u64() > Some(0));
    assert!(lab.path("trims/train/labels_mask_part_0001.npy").exists());
    // OLMo-core finds documents by their ends, so an end that is in all of them leaves none.
    let ends = ["--chat-template", "chatml.jinja", "--end-token", "<|im_end|>", "--tokenizer", "small.json"];
    lab.ok(&[&["export", "store", "ends", "--format", "tokens", "--template", "line-diff"], &ends[..]].concat());
    let of = manifest(&lab, "ends");
    assert!(of["rows"] == 0 && of["dropped"]["end_inside"].as_u64() > Some(20), "{of}");
    for (args, reason) in [
        (&["--template", "octocoder"][..], "--tokenizer FILE"),
        (&["--tokenizer", "small.json", "--end-token", "<eos>"], "no token <eos>"),
        (&["--tokenizer", "small.json", "--shape", "text"], "one text"),
        (&["--tokenizer", "small.json", "--compression", "gzip"], "--compression"),
    ] {
        let output = lab.gitlode(&[&["export", "store", "refused", "--format", "tokens"], args].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(reason), "{args:?}: {said}");
    }
}

/// A commit in each of twelve languages, one of them without templates, and one that nobody can tell.
const MESSAGES: [(&str, &str); 13] = [
    ("deu", "Behebe den Fehler beim Lesen der Datei, wenn sie leer ist"),
    ("eng", "Fix the error that is raised when the file is empty"),
    ("spa", "Corrige el error que aparece cuando el archivo está vacío"),
    ("fin", "Korjaa virhe, joka tapahtuu kun tiedosto on tyhjä eikä sitä voi lukea"),
    ("fra", "Corrige l'erreur qui apparaît lorsque le fichier est vide"),
    ("jpn", "ファイルが空のときに発生するエラーを修正する"),
    ("kor", "파일이 비어 있을 때 발생하는 오류를 수정한다"),
    ("por", "Corrige o erro que acontece quando o arquivo está vazio e não pode ser lido"),
    ("rus", "Исправить ошибку, которая возникает при чтении пустого файла"),
    ("zho", "修复文件为空时出现的错误"),
    ("zho", "修復檔案為空時出現的錯誤"),
    ("", "Popraw błąd, który pojawia się, gdy plik jest pusty"),
    ("", "1.2.3"),
];

#[test]
fn instructions_are_in_the_language_of_the_message() {
    let lab = Lab::new();
    let repository = lab.repository("r", "sha1", "seq 9 > a.py; git add .; git commit -qm 'Add a file'");
    for (number, (_, message)) in MESSAGES.iter().enumerate() {
        for file in ["a.py", "b.py", "c.py", "d.py"] {
            fs::write(lab.path("message"), message).expect("a file");
            let script = format!("echo {number} >> {file}; git add .; git commit -qF ../message");
            lab.script(&repository, &script);
        }
    }
    lab.mine("r", "store", &["--kinds", "modified,added"]);
    lab.ok(&["export", "store", "plain"]);
    let rows = lab.path("plain/data/train-00000-of-00001.jsonl");
    let whole = read_back(&lab, &rows, "aya", "whole", &[]);
    let cut = [
        "--split",
        SPLITS,
        "--shuffle",
        "4",
        "--shard-bytes-max",
        "900",
        "--compression",
        "gzip",
        "--tokens-max",
        "60",
    ];
    let cut = read_back(&lab, &rows, "aya", "cut", &cut);
    assert!(cut["dropped"]["tokens_max"].as_u64() > Some(0), "{cut}");
    let mut configs: Vec<&str> =
        whole["shards"].as_array().expect("shards").iter().filter_map(|shard| shard["config"].as_str()).collect();
    configs.sort_unstable();
    let mut expected: Vec<&str> = MESSAGES.iter().map(|(code, _)| *code).filter(|code| !code.is_empty()).collect();
    expected.sort_unstable();
    expected.dedup();
    assert_eq!(configs, expected);
    assert_eq!(whole["dropped"], json!({"message_language_unknown": 4, "no_template_in_language": 4}));
    let tasks = whole["aya"]["templates"].as_object().expect("templates");
    for task in ["-edit", "-message", "-diff"] {
        assert!(tasks.keys().any(|template| template.ends_with(task)), "{task}: {tasks:?}");
    }
    // A table of one's own.
    let table = fs::read_to_string("filters/templates/aya.toml").expect("templates");
    let (first, _) = table.split_once("\n[[language]]\nmessage_language = \"en\"").expect("two languages");
    fs::write(lab.path("own.toml"), first).expect("a file");
    let own = read_back(&lab, &rows, "aya", "own", &["--template", "own.toml"]);
    assert_eq!(own["rows"], 4);
    fs::write(lab.path("twice.toml"), format!("{first}{first}")).expect("a file");
    for (file, reason) in [("none.toml", "none.toml"), ("twice.toml", "sorted")] {
        let output = lab.gitlode(&["export", "store", "refused", "--format", "aya", "--template", file]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(reason), "{said}");
    }
}

#[test]
fn provenance_names_every_repository_licence_and_evidence() {
    let lab = Lab::new();
    for name in ["tokio", "redis", "a_b{c}"] {
        lab.repository(name, "sha1", &FILES.replace("NAME", "it"));
    }
    let mit = "Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation \
        files (the \"Software\"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, \
        publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, \
        subject to the following conditions: The above copyright notice and this permission notice shall be included in all copies or \
        substantial portions of the Software. THE SOFTWARE IS PROVIDED \"AS IS\", WITHOUT WARRANTY OF ANY KIND";
    fs::write(lab.path("redis/LICENSE"), mit).expect("a file");
    lab.script(
        &lab.path("redis"),
        "git add .; git commit -qm 'Add a licence'; sed -i 1d a.py; git commit -qam 'Change a file under it'
         mkdir own; echo 1 > own/x.c; echo '// SPDX-License-Identifier: GPL-3.0-only' > own/y.c; git add .; git commit -qm 'Add more'
         echo 2 >> own/x.c; echo 2 >> own/y.c; git commit -qam 'Change them'
         git -c user.name=Claude commit -q --allow-empty -m x; echo 3 >> own/x.c
         git commit -qam 'Change it again' -m 'Co-Authored-By: Claude <noreply@anthropic.com>'",
    );
    lab.repository("empty", "sha1", "echo x > a; git add .; git commit -qm 'Add what nobody changes'");
    lab.mine("tokio", "store", &["redis", "a_b{c}", "empty"]);
    lab.ok(&["export", "store", "plain"]);
    let rows = lab.path("plain/data/train-00000-of-00001.jsonl");
    let manifest = read_back(&lab, &rows, "provenance", "out", &[]);
    assert_eq!(manifest["shards"], json!([]));
    let read = |name: &str| fs::read_to_string(lab.path("out").join(name)).expect("a file");
    let attribution = read("data_attribution.csv");
    for line in [
        "redis,,MIT,MIT License,All,1,0,text,LICENSE,",
        "redis,,GPL-3.0-only,GNU General Public License v3.0,All,1,1,tag,in each file,1",
        "redis,,unknown,Unspecified,Unspecified,?,?,,,",
        "empty,,,,,,,,,0",
    ] {
        assert!(attribution.lines().any(|found| found.starts_with(line)), "{line}: {attribution}");
    }
    assert!(read("bibliography.bib").contains("title = {a\\_b-c-}"));
    let summary: Value = serde_json::from_str(&read("data_summaries/gitlode.json")).expect("JSON");
    assert_eq!(summary["gitlode-c"]["Model Generated"], json!(["claude"]), "{summary}");
}

#[test]
fn the_same_rows_are_the_same_bytes() {
    let lab = Lab::new();
    four(&lab, FILES);
    lab.mine("ripgrep", "other", &["--kinds", "modified,added", "-j", "1"]);
    lab.mine("git", "other", &["tokio", "redis", "--kinds", "modified,added"]);
    tokenizer(&lab, "small.json", 260);
    let formats: [&[&str]; 9] = [
        &["--format", "provenance"],
        &["--format", "aya", "--shuffle", "7", "--shard-bytes-max", "9000"],
        &[
            "--format",
            "tokens",
            "--tokenizer",
            "small.json",
            "--shuffle",
            "7",
            "--split",
            SPLITS,
            "--shard-bytes-max",
            "9000",
        ],
        &["--format", "dolma", "--split", SPLITS],
        &["--format", "dolma", "--shuffle", "7", "--shard-bytes-max", "9000"],
        &["--format", "grit", "--split", SPLITS],
        &["--format", "grit", "--shuffle", "7", "--compression", "gzip"],
        &["--format", "sentence-transformers"],
        &["--format", "sentence-transformers", "--shuffle", "7", "--compression", "zstd"],
    ];
    same_bytes(&lab, &formats);
}

#[test]
fn a_row_that_nothing_is_like_is_left_out_and_counted() {
    let lab = Lab::new();
    lab.repository("r", "sha1", "echo one > a.rs; git add .; git commit -qm one; echo two > a.rs; git commit -qam two");
    lab.mine("r", "store", &[]);
    for format in ["grit", "sentence-transformers"] {
        let said = lab.ok(&["export", "store", format, "--format", format]);
        assert!(said.contains("dropped: no_negative 1"), "{said}");
        let manifest = manifest(&lab, format);
        assert_eq!((&manifest["rows"], &manifest["dropped"]), (&json!(0), &json!({"no_negative": 1})));
        check_files(&lab, format, &manifest);
    }
}

#[test]
fn repositories_of_one_name_are_told_apart() {
    let lab = Lab::new();
    for owner in ["p1", "p2"] {
        let script =
            "echo x > a.py; git add .; git commit -qm 'Add it'; echo OWNER > a.py; git commit -qam 'Change it'";
        lab.repository(&format!("{owner}/same"), "sha1", &script.replace("OWNER", owner));
    }
    lab.mine("p1/same", "store", &["p2/same"]);
    lab.ok(&["export", "store", "out", "--format", "provenance"]);
    let read = |name: &str| fs::read_to_string(lab.path("out").join(name)).expect("a file");
    let (attribution, bibliography) = (read("data_attribution.csv"), read("bibliography.bib"));
    for name in ["p1/same", "p2/same"] {
        let lines: Vec<&str> = attribution.lines().filter(|line| line.starts_with(&format!("{name},"))).collect();
        assert!(matches!(lines[..], [line] if line.ends_with(",1")), "{attribution}");
        assert!(bibliography.contains(&format!("title = {{{name}}}")), "{bibliography}");
    }
}
