//! Exports in every format: read back by the programs that they are for, byte-identical, with exact counts.
//!
//! `scripts/python.sh` makes the environment with those programs, as `scripts/test.sh` does. Without it these tests fail,
//! since what was not read back was not tested; who can't have it says so with GITLODE_WITHOUT_PYTHON=1.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use support::{Lab, SPLITS, files, four, git, manifest, python, tokenizer};

/// Languages with names that file names, patterns and YAML take for something else, and a file without one.
const FILES: &str = r#"
    for f in a.c a.cs a.cpp a.mm b/deep.rs a.py no.json README.md LICENSE; do
        mkdir -p $(dirname $f); seq 40 | sed "s|^|NAME $f line |" > $f; git add .; git commit -qm "Add $f of NAME"
        for n in 1 2 3; do
            sed -i "s/line $n\$/line $n changed/" $f
            git commit -qam "Change line $n of $f: ünï «quoted» \"text\" and $(printf 'tab\there')"
        done
    done
"#;

/// Reads the export or the store at `out` back with `tests/read_back.py`.
fn read_back(lab: &Lab, form: &str, out: &str, rows: &Path) {
    let (directory, rows) = (lab.path(out), rows.to_string_lossy().into_owned());
    if let Some(said) = python(lab, "tests/read_back.py", &[form, &directory.to_string_lossy(), &rows]) {
        assert!(said.contains(&format!("{form}: ")), "{said}");
    }
}

/// Shards are listed with what they are, and nothing else is there.
fn check_manifest(lab: &Lab, out: &str, others: &[&str]) {
    let manifest = manifest(lab, out);
    let mut files = files(&lab.path(out));
    let mut rows: BTreeMap<String, u64> = BTreeMap::new();
    for shard in manifest["shards"].as_array().expect("shards") {
        let name = shard["file"].as_str().expect("a name");
        let bytes = files.remove(name).unwrap_or_else(|| panic!("{out}: {name} is not there"));
        assert_eq!(shard["bytes"], bytes.len(), "{name}");
        assert_eq!(shard["blake3"], blake3::hash(&bytes).to_hex().to_string(), "{name}");
        *rows.entry(shard["split"].as_str().expect("a split").to_owned()).or_default() +=
            shard["rows"].as_u64().expect("rows");
    }
    let of_splits = manifest["splits"].as_object().expect("splits");
    for (name, split) in of_splits {
        assert_eq!(split["rows"], rows.remove(name).unwrap_or(0), "{out}: {name}");
    }
    let total: u64 = of_splits.values().map(|split| split["rows"].as_u64().expect("rows")).sum();
    assert_eq!(manifest["rows"], total);
    for document in manifest["documents"].as_array().expect("documents") {
        let name = document["file"].as_str().expect("a name");
        let bytes = files.get(name).unwrap_or_else(|| panic!("{out}: {name} is not there"));
        assert_eq!(document["bytes"], bytes.len(), "{name}");
        assert_eq!(document["blake3"], blake3::hash(bytes).to_hex().to_string(), "{name}");
        if let Some(figure) = name.strip_prefix("figures/") {
            files.remove(name);
            let card = String::from_utf8(files["README.md"].clone()).expect("a card");
            assert!(card.contains(&format!("](figures/{figure})")), "the card shows {figure}");
        }
    }
    let names: Vec<_> = files.into_keys().collect();
    let others: BTreeSet<_> = others.iter().chain(&["manifest.json"]).map(|name| (*name).to_owned()).collect();
    assert_eq!(names.into_iter().collect::<BTreeSet<_>>(), others, "{out}");
}

/// Table and figure of languages have the counts of the files.
fn check_languages(lab: &Lab, out: &str) {
    let manifest = manifest(lab, out);
    let card = fs::read_to_string(lab.path(out).join("README.md")).expect("a card");
    let mut rows: BTreeMap<String, u64> = BTreeMap::new();
    for shard in manifest["shards"].as_array().expect("shards") {
        *rows.entry(shard["config"].as_str().expect("a config").to_owned()).or_default() +=
            shard["rows"].as_u64().expect("rows");
    }
    let figure = fs::read_to_string(lab.path(out).join("figures/languages.svg")).expect("a figure");
    let texts: Vec<&str> =
        figure.split("</text>").filter_map(|text| text.rsplit_once('>')).map(|(_, text)| text.trim()).collect();
    let drawn = texts[1..].chunks_exact(3).map(|bar| (bar[0].to_owned(), bar[1].parse().expect("a number")));
    assert_eq!(drawn.collect::<BTreeMap<_, u64>>(), rows);
    for (name, rows) in &rows {
        assert!(card.contains(&format!("| `{name}` | {rows} |")), "{name}: {card}");
    }
}

#[test]
fn parquet_loads_by_config_and_split() {
    let lab = Lab::new();
    let rows = four(&lab, FILES);
    for (out, more) in [("hf", &["--split", SPLITS][..]), ("cut", &["--shard-bytes-max", "9000"])] {
        lab.ok(&[&["export", "store", out, "--format", "hf"], more].concat());
        check_manifest(&lab, out, &["README.md", "croissant.json"]);
        check_languages(&lab, out);
        read_back(&lab, "hf", out, &rows);
    }
    let shards = |out: &str| manifest(&lab, out)["shards"].as_array().map_or(0, Vec::len);
    assert_eq!(shards("hf"), 27, "nine languages in three splits");
    assert!(shards("cut") > 9, "{} shards", shards("cut"));
    let splits = &manifest(&lab, "hf")["splits"];
    assert_eq!(splits["train"], json!({"fraction": 0.5, "rows": 72}));
    assert_eq!((&splits["validation"]["rows"], &splits["test"]["rows"]), (&json!(36), &json!(36)));
    assert!(lab.path("hf/data/c++/validation-00000-of-00001.parquet").exists());
}

#[test]
fn segments_of_a_store_are_arrow_streams_for_others() {
    let lab = Lab::new();
    let rows = four(&lab, FILES);
    read_back(&lab, "store", "store", &rows);
}

#[test]
fn arrow_loads_from_disk() {
    let lab = Lab::new();
    let rows = four(&lab, FILES);
    lab.ok(&["export", "store", "whole", "--format", "arrow"]);
    let others = ["dataset_dict.json", "train/state.json", "train/dataset_info.json", "README.md"];
    check_manifest(&lab, "whole", &others);
    let card = fs::read_to_string(lab.path("whole/README.md")).expect("a card");
    assert!(card.contains("load_from_disk(\"DIR\")") && !card.contains("configs:"), "{card}");
    read_back(&lab, "arrow", "whole", &rows);
    lab.ok(&["export", "store", "cut", "--format", "arrow", "--split", SPLITS, "--shard-bytes-max", "1"]);
    read_back(&lab, "arrow", "cut", &rows);
}

#[test]
fn json_lines_load_however_they_are_compressed() {
    let lab = Lab::new();
    let rows = four(&lab, FILES);
    for compression in ["none", "gzip", "zstd"] {
        let out = format!("jsonl-{compression}");
        let more = ["--compression", compression, "--split", SPLITS, "--shard-bytes-max", "40000"];
        lab.ok(&[&["export", "store", &out], &more[..]].concat());
        check_manifest(&lab, &out, &["README.md"]);
        read_back(&lab, "jsonl", &out, &rows);
        let out = format!("commitpack-{compression}");
        lab.ok(&["export", "store", &out, "--format", "commitpack", "--compression", compression]);
        check_manifest(&lab, &out, &["README.md"]);
        read_back(&lab, "commitpack", &out, &rows);
    }
    assert!(lab.path("commitpack-none/data/objective-c++/data.jsonl").exists());
    lab.ok(&["export", "store", "cut", "--format", "commitpack", "--shard-bytes-max", "9000"]);
    assert!(lab.path("cut/data/rust/data-0001.jsonl").exists());
    read_back(&lab, "commitpack", "cut", &rows);
}

#[test]
fn the_same_rows_are_the_same_bytes() {
    let lab = Lab::new();
    four(&lab, FILES);
    // Another store with the same rows, mined in another order and in steps.
    lab.mine("ripgrep", "other", &["--kinds", "modified,added", "-j", "1"]);
    lab.mine("git", "other", &["tokio", "redis", "--kinds", "modified,added"]);
    let formats: [&[&str]; 5] = [
        &["--format", "hf", "--split", SPLITS, "--shard-bytes-max", "20000"],
        &["--format", "arrow"],
        &["--compression", "gzip"],
        &["--compression", "zstd", "--split", SPLITS],
        &["--format", "commitpack"],
    ];
    for (number, format) in formats.iter().enumerate() {
        let mut first: Option<BTreeMap<String, Vec<u8>>> = None;
        for (store, threads) in [("store", "1"), ("store", "1"), ("store", "5"), ("other", "2")] {
            let out = format!("out{number}");
            lab.ok(&[&["export", store, &out, "-j", threads], *format].concat());
            let mut found = files(&lab.path(&out));
            if store == "other" {
                // It names the batches in which rows were mined.
                for name in ["manifest.json", "README.md"] {
                    let expected = first.as_ref().and_then(|first| first.get(name)).cloned();
                    expected.map(|bytes| found.insert(name.into(), bytes));
                }
            }
            fs::remove_dir_all(lab.path(&out)).expect("it can be removed");
            let first = first.get_or_insert_with(|| found.clone());
            assert!(*first == found, "{format:?}, {store}, {threads} threads");
        }
    }
}

/// The split of each row by its id, of an export to `out` with three splits.
fn splits_of(lab: &Lab, store: &str) -> BTreeMap<String, String> {
    let _absent_the_first_time = fs::remove_dir_all(lab.path("out"));
    lab.ok(&["export", store, "out", "--split", SPLITS]);
    let mut ids = BTreeMap::new();
    for (name, bytes) in files(&lab.path("out/data")) {
        let split = name.split('-').next().expect("a split").to_owned();
        for line in String::from_utf8(bytes).expect("text").lines() {
            let row: Value = serde_json::from_str(line).expect("JSON");
            let before = ids.insert(row["id"].as_str().expect("an id").to_owned(), split.clone());
            assert_eq!(before, None, "a row is in one split");
        }
    }
    ids
}

/// Demands that the rows of `before` are where they were.
fn unmoved(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>, what: &str) {
    let moved: Vec<_> = before.iter().filter(|(id, split)| after.get(*id) != Some(split)).collect();
    assert!(moved.is_empty(), "{what}: {moved:?}");
}

/// Makes what was mined into `store` look as versions did that noted no roots.
fn forget_roots(lab: &Lab, store: &str) {
    for repository in fs::read_dir(lab.path(store).join("repositories")).expect("repositories") {
        for entry in fs::read_dir(repository.expect("an entry").path()).expect("files") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|ending| ending == "json") {
                support::edit(&path, &|manifest| {
                    manifest.as_object_mut().expect("an object").remove("roots");
                });
            }
        }
    }
    lab.ok(&["verify", store]);
}

/// A root of test, one of validation and one of train, and forks of the first with commits of their own, under its name and
/// under others.
fn forks(lab: &Lab) -> [&'static str; 6] {
    for (name, root) in [("m/tokio", "Begin tokio 5"), ("m/redis", "Begin redis 1"), ("m/git", "Begin git 1")] {
        let script = format!("git commit -q --allow-empty -m '{root}'\n{}", FILES.replace("NAME", name));
        lab.repository(name, "sha1", &script);
    }
    for fork in ["a/git", "z/tokio", "z/redis"] {
        git(&lab.path(""), &["clone", "-q", "m/tokio", fork]);
        lab.script(&lab.path(fork), &format!("echo {fork} >> b.txt; git add .; git commit -qm 'Add a file of {fork}'"));
    }
    ["m/tokio", "m/redis", "m/git", "a/git", "z/tokio", "z/redis"]
}

#[test]
fn no_repository_that_is_added_moves_a_row() {
    let lab = Lab::new();
    let names = forks(&lab);
    // The name of a repository is what its path ends in; these have the owner in front.
    let mine = |name: &str, store: &str| {
        fs::write(lab.path("list.csv"), format!("path,name\n{name},{name}\n")).expect("a list");
        lab.mine("@list.csv", store, &["--kinds", "modified,added"]);
    };
    let mut last = Vec::new();
    for turn in 0..4 {
        let (store, mut before) = (format!("store{turn}"), BTreeMap::new());
        for at in 0..names.len() {
            let at = if turn % 2 == 0 { at } else { names.len() - 1 - at };
            let name = names[(at + turn) % names.len()];
            mine(name, &store);
            let after = splits_of(&lab, &store);
            assert!(after.len() >= before.len(), "{name}");
            unmoved(&before, &after, &format!("{store}, {name}"));
            assert_eq!(manifest(&lab, "out")["rows_of_several_splits"], 0, "forks go together");
            before = after;
        }
        last.push(before);
    }
    assert!(last.iter().all(|splits| *splits == last[0]));
    assert_eq!(last[0].values().collect::<BTreeSet<_>>().len(), 3);
    let card = fs::read_to_string(lab.path("out/README.md")).expect("a card");
    assert!(card.contains("; 0 rows are in a repository that is mostly in another split."), "{card}");
}

#[test]
fn rows_of_before_roots_were_noted_stay_where_they_are() {
    let lab = Lab::new();
    forks(&lab);
    let mine = |name: &str, store: &str, more: &[&str]| {
        fs::write(lab.path("list.csv"), format!("path,name\n{name},{name}\n")).expect("a list");
        lab.mine("@list.csv", store, &[&["--kinds", "modified,added"], more].concat());
    };
    mine("z/redis", "store", &[]);
    let by_root = splits_of(&lab, "store");
    forget_roots(&lab, "store");
    let by_name = splits_of(&lab, "store");
    let is_all = |splits: &BTreeMap<String, String>, split: &str| splits.values().all(|other| other == split);
    assert!(is_all(&by_root, "test") && is_all(&by_name, "validation"), "{by_root:?} {by_name:?}");
    // Neither a fork with an earlier name moves them, nor new commits of their own.
    mine("a/git", "store", &[]);
    let with_fork = splits_of(&lab, "store");
    unmoved(&by_name, &with_fork, "a fork is added");
    assert_eq!(manifest(&lab, "out")["rows_of_several_splits"], by_name.len() - 1, "of two ways to tell, it is said");
    lab.script(&lab.path("z/redis"), "echo more >> b.txt; git commit -qam 'Add a line to the file'");
    mine("z/redis", "store", &[]);
    let with_commits = splits_of(&lab, "store");
    unmoved(&with_fork, &with_commits, "a commit is added");
    assert_eq!(with_commits.values().filter(|split| *split == "validation").count(), by_name.len() + 1);
    // Mined anew, it goes with its root for good.
    mine("z/redis", "store", &["--replace"]);
    assert!(is_all(&splits_of(&lab, "store"), "test"));
}

#[test]
fn each_history_in_a_repository_has_its_split() {
    let lab = Lab::new();
    forks(&lab);
    // What `m/redis` and `m/git` are is merged into a fork, in a directory and beside it.
    git(&lab.path(""), &["clone", "-q", "m/tokio", "joined"]);
    let step = |name: &str, line: &str| {
        lab.script(&lab.path(name), &format!("echo {line} >> b.txt; git add .; git commit -qm 'Add the line {line}'"));
    };
    lab.mine("joined", "store", &["--kinds", "modified,added"]);
    let alone = splits_of(&lab, "store");
    for (name, tree) in [("m/redis", "git read-tree --prefix=lib/ -u FETCH_HEAD"), ("m/git", "true")] {
        let merge = format!(
            "git fetch -q ../{name} main; git merge -q -s ours --no-commit --allow-unrelated-histories FETCH_HEAD; {tree}; \
             git commit -qm 'Merge {name}'"
        );
        lab.script(&lab.path("joined"), &merge);
        step("joined", "behind");
        step("joined", "further");
        // Some of it in an increment of its own.
        lab.mine("joined", "store", &["--kinds", "modified,added"]);
    }
    let all = splits_of(&lab, "store");
    unmoved(&alone, &all, "histories are merged into it");
    let several = manifest(&lab, "out")["rows_of_several_splits"].clone();
    let count = |split: &str| all.values().filter(|other| *other == split).count();
    assert_eq!(several, count("validation") + count("train"), "the rows of what was merged");
    assert!(count("validation") > 0 && count("train") > 0 && count("test") == alone.len() + 4, "{all:?}");
    // The merged repository, mined too, moves nothing, and in one go it is the same.
    lab.mine("m/redis", "store", &["--kinds", "modified,added"]);
    unmoved(&all, &splits_of(&lab, "store"), "what was merged is added");
    lab.mine("joined", "one-go", &["--kinds", "modified,added"]);
    assert_eq!(splits_of(&lab, "one-go"), all);
    assert_eq!(manifest(&lab, "out")["rows_of_several_splits"], several);
}

#[test]
fn a_shallow_clone_moves_no_row_of_a_whole_one() {
    let lab = Lab::new();
    let whole = forks(&lab)[4];
    let url = format!("file://{}", lab.path(whole).display());
    git(&lab.path(""), &["clone", "-q", "--depth", "2", &url, "a/redis"]);
    // Its root is not there, so it goes by its name.
    lab.mine("a/redis", "store", &["--kinds", "modified,added"]);
    let shallow = splits_of(&lab, "store");
    assert_eq!(shallow.values().collect::<Vec<_>>(), ["validation"]);
    lab.mine(whole, "both", &["--kinds", "modified,added"]);
    let before = splits_of(&lab, "both");
    assert!(before.values().all(|split| split == "test"), "{before:?}");
    lab.mine("a/redis", "both", &["--kinds", "modified,added"]);
    assert_eq!(splits_of(&lab, "both"), before);
    assert_eq!(manifest(&lab, "out")["rows_of_several_splits"], 1, "of the clone, whose name is of another one");
}

#[test]
fn an_export_without_rows_loads_as_well() {
    let lab = Lab::new();
    lab.repository("r", "sha1", "echo x > a.rs; git add .; git commit -qm 'Add a file that nobody changes'");
    lab.mine("r", "store", &[]);
    fs::write(lab.path("none.jsonl"), "").expect("it can be written");
    for format in ["hf", "arrow"] {
        lab.ok(&["export", "store", format, "--format", format, "--split", SPLITS]);
        assert_eq!(manifest(&lab, format)["rows"], 0);
    }
    assert!(lab.path("hf/data/unknown/train-00000-of-00001.parquet").exists());
    read_back(&lab, "arrow", "arrow", &lab.path("none.jsonl"));
}

#[test]
fn the_card_says_what_there_is() {
    let lab = Lab::new();
    four(&lab, FILES);
    lab.ok(&["assemble", "store", "-q"]);
    lab.ok(&["export", "store", "out", "--format", "hf", "--assembled", "--filter", "commitpack"]);
    let card = fs::read_to_string(lab.path("out/README.md")).expect("a card");
    let manifest = manifest(&lab, "out");
    assert_eq!(manifest["assembly"]["near"], "both");
    for part in ["\"near\":\"both\"", "filter_digest", "## Opting out", "## Citation", "| candidates |", "## Licences"]
    {
        assert!(card.contains(part), "{part}: {card}");
    }
    let settings = "\"shard_bytes_max\":500000000";
    assert!(card.contains(settings) && card.contains("**Mining** (gitlode 0."), "{card}");
    let dropped = manifest["dropped"].as_object().expect("rules");
    assert!(!dropped.is_empty());
    for (rule, rows) in dropped {
        assert!(card.contains(&format!("| dropped: `{rule}` | {rows} |")), "{rule}: {card}");
    }
}

#[test]
fn mining_and_exporting_is_one_command() {
    let lab = Lab::new();
    lab.repository("r", "sha1", &FILES.replace("NAME", "r"));
    fs::write(lab.path("settings.toml"), "[export]\nsplit = \"train=0.5,test=0.5\"\n").expect("settings");
    let one = [
        "mine",
        "r",
        "--store",
        "one",
        "--export",
        "hf:one-hf",
        "--export",
        "jsonl:one-jsonl",
        "--config",
        "settings.toml",
    ];
    let said = lab.ok(&one);
    assert!(said.contains("under one-hf") && said.contains("under one-jsonl"), "{said}");
    lab.ok(&["mine", "r", "--store", "two"]);
    for format in ["hf", "jsonl"] {
        let (one, two) = (format!("one-{format}"), format!("two-{format}"));
        lab.ok(&["export", "two", &two, "--format", format, "--split", "train=0.5,test=0.5"]);
        assert!(files(&lab.path(&one)) == files(&lab.path(&two)), "{format}");
    }
    // A repository that fails is told, and the others are exported.
    let output = lab.gitlode(&["mine", "r", "absent", "--store", "four", "--export", "commitpack:out"]);
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(manifest(&lab, "out")["rows"], lab.rows("four").len());
    // What can't work is said before anything is mined.
    for (export, reason) in [
        ("hf", "FORMAT:DIR"),
        ("hf:", "no directory"),
        ("csv:new", "no format csv"),
        ("hf:out", "out exists already"),
        ("tokens:new", "--tokenizer FILE"),
        ("jsonl:other", "two exports to other"),
        ("jsonl:other/deep", "two exports to other/deep"),
    ] {
        let output = lab.gitlode(&["mine", "r", "--store", "none", "--export", "hf:other", "--export", export]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(reason), "{export}: {said}");
        assert!(!lab.path("none").exists(), "{export}");
    }
    for (option, value, reason) in
        [("SHAPE", "halos", "text is a shape of sft"), ("FILTER", "nobody", "there is no ruleset nobody")]
    {
        let mut mine = lab.program();
        mine.args(["mine", "r", "--store", "none", "--export", "sft:new"]).env(format!("GITLODE_{option}"), value);
        let output = mine.env_remove("GITLODE_CONFIG").output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(reason), "{option}: {said}");
        assert!(!lab.path("none").exists(), "{option}");
    }
}

/// All of them.
const FORMATS: [&str; 13] = [
    "hf",
    "arrow",
    "jsonl",
    "commitpack",
    "sft",
    "kto",
    "dpo",
    "grit",
    "sentence-transformers",
    "dolma",
    "tokens",
    "aya",
    "provenance",
];

#[test]
fn an_interrupted_export_leaves_nothing_that_looks_finished() {
    let lab = Lab::new();
    four(&lab, FILES);
    tokenizer(&lab, "small.json", 260);
    let names = || -> Vec<String> {
        let entries = fs::read_dir(lab.dir.path()).expect("a directory");
        let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with("out")).collect()
    };
    for format in FORMATS {
        let mut interrupted = 0;
        for (signal, pause) in
            [("TERM", 0), ("TERM", 2), ("TERM", 5), ("TERM", 10), ("TERM", 20), ("KILL", 0), ("KILL", 7)]
        {
            let mut export = lab.program();
            export.args(["export", "store", "out", "--format", format, "--shuffle", "1"]);
            match format {
                "tokens" => export.args(["--tokenizer", "small.json"]),
                // As many files as rows, so that there is time.
                _ => export.args(["--shard-bytes-max", "1"]),
            };
            let mut child = export.stderr(Stdio::null()).stdout(Stdio::null()).spawn().expect("it runs");
            // Only a process that catches the signal can clean up, and it does before it writes.
            while child.try_wait().expect("a status").is_none() && names().is_empty() {}
            std::thread::sleep(std::time::Duration::from_millis(pause));
            Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().expect("kill runs");
            let code = child.wait().expect("the child ends").code();
            match (code, signal) {
                (Some(130), "TERM") => assert!(names().is_empty(), "{format}: {:?}", names()),
                // It was killed after its last step, or before: then what is left has another name.
                (None, "KILL") if lab.path("out").exists() => check_whole(&lab, format),
                (None, "KILL") => {}
                _ => {
                    assert_eq!((code, names()), (Some(0), vec!["out".to_owned()]), "{format}");
                    check_whole(&lab, format);
                }
            }
            interrupted += usize::from(code != Some(0));
            for name in names() {
                fs::remove_dir_all(lab.path(&name)).expect("it can be removed");
            }
        }
        assert!(interrupted > 0, "{format} was never interrupted");
    }
}

/// Every file of an export is there, and nothing that is only there while it is written.
fn check_whole(lab: &Lab, format: &str) {
    let (manifest, files) = (manifest(lab, "out"), files(&lab.path("out")));
    for file in ["shards", "documents"].iter().flat_map(|list| manifest[*list].as_array().expect("a list")) {
        let bytes = &files[file["file"].as_str().expect("a name")];
        assert_eq!(file["blake3"], blake3::hash(bytes).to_hex().to_string(), "{format}: {file}");
    }
    for name in ["parts", "shuffle", ".gitlode-unfinished"] {
        assert!(!lab.path("out").join(name).exists(), "{format}: {name} is left");
    }
}

#[test]
fn what_can_not_be_is_refused() {
    let lab = Lab::new();
    lab.repository("r", "sha1", "echo x > a.rs; git add .; git commit -qm 'Add a file'");
    lab.mine("r", "store", &[]);
    for (args, reason) in [
        (&["--split", "train=0.5"][..], "add up to 0.5"),
        (&["--split", "train=0.5,train=0.5"], "named twice"),
        (&["--split", "a b=1"], "can't be the name"),
        (&["--format", "hf", "--compression", "gzip"], "--compression is for JSON lines"),
        (&["--format", "commitpack", "--columns", "id"], "has CommitPack's columns"),
        (&["--format", "csv"], "possible values"),
        (&["--format", "sft", "--end-token", "</s>"], "--end-token is for --format tokens"),
        (&["--format", "sft", "--instruction", "Find it"], "--instruction is for --format grit"),
        (&["--format", "sft", "--tokens-max", "0"], "it has to be 1 at least"),
        (&["--format", "kto", "--shape", "text"], "text is a shape of sft"),
        (&["--format", "hf", "--shape", "text"], "hint: see `gitlode help export`"),
    ] {
        let output = lab.gitlode(&[&["export", "store", "out"], args].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(reason), "{args:?}: {said}");
        assert!(!lab.path("out").exists());
    }
    fs::create_dir(lab.path("beside")).expect("a directory");
    let before = files(&lab.path("store"));
    for out in ["store/out", "./store/repositories/../deep/er", "beside/../store/out"] {
        let output = lab.gitlode(&["export", "store", out]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains("within the store"), "{out}: {said}");
    }
    assert!(files(&lab.path("store")) == before, "nothing was written there");
    lab.ok(&["export", "store", "beside/store/out"]);
}

#[test]
fn what_is_left_out_is_told_of_every_format() {
    let lab = Lab::new();
    four(&lab, FILES);
    for format in ["hf", "arrow", "jsonl", "commitpack", "sft"] {
        let said = lab.ok(&["export", "store", format, "--format", format, "--filter", "commitpack"]);
        let dropped = manifest(&lab, format)["dropped"].as_object().expect("rules").clone();
        assert!(!dropped.is_empty(), "{format}");
        for (rule, rows) in dropped {
            assert!(said.contains(&format!("dropped: {rule} {rows}\n")), "{format}, {rule}: {said}");
        }
    }
}

#[test]
fn a_card_shows_how_to_load_the_columns_that_there_are() {
    let lab = Lab::new();
    four(&lab, FILES);
    for (columns, first, has_filter) in [
        ("all", r#"columns=["subject","diff"]"#, true),
        ("id,message,lang", r#"columns=["id","message"]"#, false),
        ("kind,diff", r#"columns=["diff","kind"]"#, true),
        ("id", r#"columns=["id"]"#, false),
    ] {
        let out = columns.replace(',', "-");
        lab.ok(&["export", "store", &out, "--format", "hf", "--columns", columns]);
        let card = fs::read_to_string(lab.path(&out).join("README.md")).expect("a card");
        assert!(card.contains(first), "{columns}: {card}");
        assert_eq!(card.contains("filters=[("), has_filter, "{columns}: {card}");
    }
}

#[test]
fn one_recipe_is_demanded_of_all_repositories() {
    let lab = Lab::new();
    let names: Vec<String> = (0..23).map(|n| format!("r{n:02}")).collect();
    for name in &names {
        lab.repository(name, "sha1", "for i in 1 2; do echo $i > f; git add f; git commit -qm \"Set it to $i\"; done");
    }
    let export = |out: &str| {
        let output = lab.gitlode(&["export", "store", out, "--one-recipe"]);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    fs::write(lab.path("list"), "path,license\nr00,MIT\nr01,Apache-2.0\nr02,MIT\n").expect("a file");
    lab.ok(&["mine", "@list", "--store", "store"]);
    assert_eq!(export("same").0, Some(0), "what a list declares is no setting");
    lab.ok(&["mine", "r03", "--store", "store", "--commit-changes-max", "1000", "--filter", "instruct"]);
    let (code, said) = export("out");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("than most, which --one-recipe does not allow: 1 repository\n"), "{said}");
    assert!(said.contains("\n  r03: commit_changes_max, filter, filter_digest\n"), "{said}");
    assert!(said.contains("--replace") && !lab.path("out").exists(), "{said}");
    assert_eq!(lab.gitlode(&["export", "store", "out"]).status.code(), Some(0), "only where it is demanded");
    for (n, name) in names.iter().enumerate() {
        let max = (1000 + n).to_string();
        lab.ok(&["mine", name, "--store", "store", "--replace", "--commit-changes-max", &max]);
    }
    let (_, said) = export("other");
    assert!(
        said.contains("does not allow: 22 repositories\n") && said.contains("\n  r20: commit_changes_max\n"),
        "{said}"
    );
    assert!(said.contains("\n  and 2 more\n") && !said.contains("r21"), "{said}");
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    lab.ok(&[&["mine", "--store", "store", "--replace"], &all[..]].concat());
    assert_eq!(export("other").0, Some(0));
}
