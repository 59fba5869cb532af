//! Exports for programs that train embeddings, pretrain and account for data: read back by their own code or their published
//! rules (`tests/read_consumers.py`), byte-identical, with every row that is left out counted.

mod support;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use support::{Lab, python};

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

const SPLITS: &str = "train=0.5,validation=0.25,test=0.25";

/// A store of four repositories, and its rows as JSON lines.
fn four(lab: &Lab) -> PathBuf {
    // `tokio` is of test, `redis` of validation, `git` and `ripgrep` of train.
    for name in ["tokio", "redis", "git", "ripgrep"] {
        lab.repository(name, "sha1", &FILES.replace("NAME", name));
    }
    lab.mine("tokio", "store", &["redis", "git", "ripgrep", "--kinds", "modified,added"]);
    lab.ok(&["export", "store", "plain"]);
    lab.path("plain/data/train-00000-of-00001.jsonl")
}

fn manifest(lab: &Lab, out: &str) -> Value {
    serde_json::from_slice(&fs::read(lab.path(out).join("manifest.json")).expect("a manifest")).expect("JSON")
}

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

/// Every file below `directory`, by its path there.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(directory).expect("it is below").to_string_lossy().into_owned();
                files.insert(name, fs::read(&path).expect("a file"));
            }
        }
    }
    files
}

#[test]
fn hard_negatives_are_of_the_same_language_and_differ() {
    let lab = Lab::new();
    let rows = four(&lab);
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
    let rows = four(&lab);
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
    assert!(lab.path("all/documents/train-00007-of-00008.jsonl.gz").exists());
    // Who opted out has no attribute.
    let one = lab.rows("store")[0]["commit"].as_str().expect("an id").to_owned();
    fs::write(lab.path("out.txt"), format!("commit:{one}\n")).expect("a list");
    lab.ok(&["assemble", "store", "-q", "--opt-out", "out.txt"]);
    let without = read_back(&lab, &rows, "dolma", "without", &["--assembled", "--tag-dropped"]);
    assert!(without["dropped"]["opt_out"].as_u64() > Some(0), "{without}");
    assert_eq!(lab.gitlode(&["export", "store", "no", "--tag-dropped"]).status.code(), Some(2));
}

#[test]
fn the_same_rows_are_the_same_bytes() {
    let lab = Lab::new();
    four(&lab);
    lab.mine("ripgrep", "other", &["--kinds", "modified,added", "-j", "1"]);
    lab.mine("git", "other", &["tokio", "redis", "--kinds", "modified,added"]);
    let formats: [&[&str]; 6] = [
        &["--format", "dolma", "--split", SPLITS],
        &["--format", "dolma", "--shuffle", "7", "--shard-bytes-max", "9000"],
        &["--format", "grit", "--split", SPLITS],
        &["--format", "grit", "--shuffle", "7", "--compression", "gzip"],
        &["--format", "sentence-transformers"],
        &["--format", "sentence-transformers", "--shuffle", "7", "--compression", "zstd"],
    ];
    for format in formats {
        let mut first: Option<BTreeMap<String, Vec<u8>>> = None;
        for (store, threads) in [("store", "1"), ("store", "3"), ("other", "2")] {
            lab.ok(&[&["export", store, "out", "-j", threads], format].concat());
            let mut found = files(&lab.path("out"));
            // They name the batches in which rows were mined.
            found.retain(|name, _| !name.ends_with("manifest.json") && !name.ends_with("README.md"));
            assert!(!found.is_empty());
            fs::remove_dir_all(lab.path("out")).expect("it can be removed");
            assert!(*first.get_or_insert_with(|| found.clone()) == found, "{format:?}, {store}, {threads} threads");
        }
    }
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
