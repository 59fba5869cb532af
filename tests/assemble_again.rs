//! Assembling again: whatever was kept of earlier assemblies, the outcome is that of a store that is assembled first.

mod support;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use support::{Lab, git};

/// Rows that are alike, rows that are the same in several repositories, and rows that are like nothing else.
fn repositories(lab: &Lab) {
    let script = r#"
        for i in 1 2 3 4 5 6; do
            seq 1 40 | sed "s/^/the line of the file number /" > f$i.txt
            for k in 1 2 3 4 5; do echo "own words $i of NAME in line $k of file $i that differ" >> f$i.txt; done
        done
        cp f1.txt g.py; git add .; git commit -qm 'Add the files of NAME'
        for i in 1 2 3 4 5 6; do
            sed -i "s/^the line of the file number 7$/the line that somebody changed for good and all of us in EXTRA/" f$i.txt
            git commit -qam "SUBJECT"
        done
        echo "print('one of NAME only, with words of its own that nobody else has')" >> g.py
        git commit -qam 'Add the words of NAME'
        for i in 1 2 3; do
            echo "return the largest number $i that divides n evenly and that is smaller, says NAME" >> f$i.txt
            git commit -qam "Add line $i of a text to the file"
        done
    "#;
    for (name, subject, extra) in [
        ("a", "Change the seventh line", "there"),
        ("b", "Change line seven", "there"),
        ("c", "Change the seventh line", "here"),
        ("d", "Change a line", "that place"),
    ] {
        let script = script.replace("NAME", name).replace("SUBJECT", subject).replace("EXTRA", extra);
        lab.repository(name, "sha1", &script);
    }
    git(&lab.path(""), &["clone", "-q", "a", "fork"]);
    lab.script(&lab.path("fork"), "echo fork >> f1.txt; git commit -qam 'Add a line of the fork to the file'");
    fs::write(lab.path("out.txt"), "repository:b\npath:f3*\nowner:nobody\n").expect("it can be written");
    let text = "{\"text\": \"return the largest number 2 that divides n evenly and that is smaller\"}\n";
    fs::write(lab.path("bench.jsonl"), text).expect("it can be written");
}

const NAMES: [&str; 5] = ["a", "b", "c", "d", "fork"];

const OPTIONS: [&[&str]; 8] = [
    &[],
    &["--cap-per-repository", "2", "--cap-per-language", "3"],
    &["--opt-out", "out.txt"],
    &["--weight", "lang:text=0.5", "--weight", "license_class:unknown or own terms=0.8", "--cap-per-file", "1"],
    &["--near-duplicates", "change", "--decontaminate", "bench.jsonl"],
    &["--similarity-min", "0.8", "--filter", "commitpack"],
    &["--opt-out", "out.txt", "--keep-shared", "--cap-per-language", "9"],
    &["--near-duplicates", "off", "--cap-per-file", "1"],
];

fn mine(lab: &Lab, name: &str, store: &str) {
    lab.mine(name, store, &["--filter", "none", "--segment-bytes-max", "1", "--kinds", "modified,added"]);
}

fn assemble(lab: &Lab, store: &str, more: &[&str]) -> Value {
    serde_json::from_str(&lab.ok(&[&["assemble", store, "--json", "-q"], more].concat())).expect("JSON")
}

/// The bytes of manifest and ledger, which are the outcome.
fn outcome(lab: &Lab, store: &str) -> (Vec<u8>, Vec<u8>) {
    let directory = lab.path(store).join("assembly");
    let manifest = fs::read(directory.join("manifest.json")).expect("a manifest");
    let value: Value = serde_json::from_slice(&manifest).expect("JSON");
    let ledger = value["ledger"]["file"].as_str().map(|file| fs::read(directory.join(file)).expect("a ledger"));
    (manifest, ledger.unwrap_or_default())
}

/// Makes `to` a store with the rows of `from` that was never assembled.
fn copy_rows(lab: &Lab, from: &str, to: &str) {
    let _absent_the_first_time = fs::remove_dir_all(lab.path(to));
    lab.script(&lab.path(""), &format!("cp -r {from} {to}; rm -rf {to}/assembly"));
}

/// The directory of the repository `name` in `store`.
fn directory(lab: &Lab, store: &str, name: &str) -> PathBuf {
    let directories = fs::read_dir(lab.path(store).join("repositories")).expect("repositories");
    let mut paths = directories.map(|entry| entry.expect("an entry").path());
    let is_its = |path: &PathBuf| path.to_string_lossy().contains(&format!("_{name}-"));
    paths.find(is_its).expect("its directory")
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

/// Numbers that look drawn and are the same every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits fit") % most
    }
}

#[test]
fn whatever_happened_before_the_outcome_is_that_of_a_new_store() {
    let lab = Lab::new();
    repositories(&lab);
    let (mut numbers, mut there) = (Numbers(7), BTreeSet::from(["a", "b"]));
    there.iter().for_each(|name| mine(&lab, name, "store"));
    assemble(&lab, "store", &[]);
    let (mut turn, mut options) = (0, OPTIONS[0]);
    let (mut rules, mut rounds) = (BTreeSet::new(), BTreeSet::new());
    for step in 0..32 {
        let done = match numbers.below(5) {
            0 | 1 => {
                let name = NAMES[numbers.below(NAMES.len())];
                mine(&lab, name, "store");
                there.insert(name);
                format!("adding {name}")
            }
            2 if there.len() > 1 => {
                let name = *there.iter().nth(numbers.below(there.len())).expect("one of them");
                there.remove(name);
                lab.ok(&["remove", "store", name]);
                format!("removing {name}")
            }
            3 => {
                let kept = files(&lab.path("store/assembly"));
                let kept: Vec<_> = kept.iter().filter(|path| !path.ends_with("manifest.json")).collect();
                let file = kept[numbers.below(kept.len())];
                let mut bytes = fs::read(file).expect("it can be read");
                let at = numbers.below(bytes.len().max(1));
                match numbers.below(3) {
                    0 => fs::remove_file(file).expect("it can be removed"),
                    1 => fs::write(file, &bytes[..at]).expect("it can be written"),
                    _ => {
                        bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 0x40);
                        fs::write(file, bytes).expect("it can be written");
                    }
                }
                format!("damaging {} at {at}", file.display())
            }
            _ => "nothing".to_owned(),
        };
        if numbers.below(2) == 0 {
            // All of them in turn, so that none is left to chance.
            turn += 1;
            options = OPTIONS[turn % OPTIONS.len()];
        }
        let memory = ["30K", "100K", "1G"][numbers.below(3)];
        let threads = ["1", "2"][numbers.below(2)];
        let assembly = assemble(&lab, "store", &[options, &["--memory", memory, "-j", threads]].concat());
        copy_rows(&lab, "store", "fresh");
        assemble(&lab, "fresh", options);
        let said = format!("step {step}: {done}, {there:?}, {options:?}, {memory}, {threads}");
        assert_eq!(outcome(&lab, "store"), outcome(&lab, "fresh"), "{said}");
        let left = fs::read_dir(lab.path("store/assembly")).expect("a directory");
        let names: Vec<_> = left.map(|entry| entry.expect("an entry").file_name()).collect();
        assert!(!names.iter().any(|name| name.to_string_lossy().contains("spill")), "{said}: {names:?}");
        rules.extend(assembly["changes"]["dropped"].as_object().expect("rules").keys().cloned());
        rounds.insert(assembly["pairs"][0].as_u64() > Some(0));
    }
    // All that decides had something to decide on.
    for rule in [
        "opt_out",
        "contamination",
        "exact_duplicate",
        "near_duplicate",
        "weight_lang",
        "weight_license_class",
        "cap_per_file",
        "cap_per_repository",
        "cap_per_language",
    ] {
        assert!(rules.contains(rule), "{rule} is not among {rules:?}");
    }
    assert_eq!(rounds.len(), 2, "with pairs and without");
}

#[test]
fn orders_increments_threads_and_removals_do_not_show() {
    let lab = Lab::new();
    repositories(&lab);
    let mine = |name: &str, store: &str, threads: &str| {
        let more = ["--filter", "none", "--rev", "step", "--kinds", "modified,added", "--threads", threads];
        lab.mine(name, store, &more);
    };
    let step = |back: usize| {
        for name in NAMES {
            git(&lab.path(name), &["branch", "-f", "step", &format!("HEAD~{back}")]);
        }
    };
    for back in [9, 6, 3, 0] {
        step(back);
        for name in NAMES {
            mine(name, "increments", "2");
            assemble(&lab, "increments", &["--memory", "60K"]);
        }
    }
    let mut stores = vec!["increments".to_owned()];
    for turn in 0..NAMES.len() {
        let (store, threads) = (format!("order{turn}"), ["1", "2"][turn % 2]);
        for at in 0..NAMES.len() {
            // Some turned, some turned and backwards.
            let at = if turn % 2 == 0 { at } else { NAMES.len() - 1 - at };
            mine(NAMES[(at + turn) % NAMES.len()], &store, threads);
            assemble(&lab, &store, &["-j", threads]);
        }
        stores.push(store);
    }
    lab.mine("a", "one-go", &["b", "c", "d", "fork", "--filter", "none", "--rev", "step", "--kinds", "modified,added"]);
    stores.push("one-go".to_owned());
    // Two that share rows, one of them with increments behind it.
    lab.script(&lab.path(""), "cp -r increments removed");
    for name in ["a", "fork"] {
        let is_there = || {
            let rows = lab.rows("removed");
            rows.iter().any(|row| row["repos"].as_str().is_some_and(|repos| repos.split(',').any(|one| one == name)))
        };
        assert!(is_there());
        lab.ok(&["remove", "removed", name]);
        assert!(!is_there(), "{name} is gone");
        lab.ok(&["verify", "removed"]);
        assemble(&lab, "removed", &[]);
        mine(name, "removed", "1");
    }
    stores.push("removed".to_owned());

    let mut outcomes = BTreeSet::new();
    for store in &stores {
        for threads in ["1", "2"] {
            assemble(&lab, store, &["-j", threads]);
            let ledger = outcome(&lab, store).1;
            assert!(!ledger.is_empty());
            let mut files = vec![(String::new(), ledger)];
            for (format, more) in [("jsonl", &["--assembled"] as &[&str]), ("hf", &["--assembled"]), ("jsonl", &[])] {
                let _absent_the_first_time = fs::remove_dir_all(lab.path("out"));
                let splits = ["-j", threads, "--split", support::SPLITS, "--shuffle", "3"];
                lab.ok(&[&["export", store, "out", "--format", format], &splits as &[&str], more].concat());
                files
                    .extend(support::files(&lab.path("out")).into_iter().filter(|(name, _)| name.starts_with("data/")));
            }
            assert!(files.len() > 3, "{store}");
            outcomes.insert(files);
        }
    }
    assert_eq!(outcomes.len(), 1, "{stores:?}");
}

#[test]
fn what_is_removed_leaves_nothing_behind() {
    let lab = Lab::new();
    repositories(&lab);
    ["a", "b"].iter().for_each(|name| mine(&lab, name, "store"));
    ["b"].iter().for_each(|name| mine(&lab, name, "never"));
    let (both, one) = (lab.export("store"), lab.export("never"));
    // By the path that was mined, and by what it is called; a name that nothing has is an error.
    for name in ["./a", "a"] {
        assert!(lab.ok(&["remove", "store", name]).contains("rows of "), "{name}");
        assert_eq!(lab.export("store"), one, "{name}");
        let stats: Value = serde_json::from_str(&lab.ok(&["stats", "store", "--json"])).expect("JSON");
        assert!(!stats.to_string().contains("/a\""), "{stats}");
        lab.ok(&["verify", "store"]);
        let again = lab.gitlode(&["remove", "store", name]);
        let said = String::from_utf8_lossy(&again.stderr).into_owned();
        assert!(again.status.code() == Some(2) && said.contains("is not in this store"), "{said}");
        mine(&lab, "a", "store");
        assert_eq!(lab.export("store"), both, "{name}");
    }
    // A process that was killed had moved the rows away, and no more.
    fs::create_dir_all(lab.path("store/removed")).expect("a directory");
    let its = directory(&lab, "store", "a");
    fs::rename(&its, lab.path("store/removed").join(its.file_name().expect("a name"))).expect("it can be moved");
    assert_eq!(lab.export("store"), one);
    lab.gitlode(&["remove", "store", "a"]);
    assert!(!lab.path("store/removed").exists(), "what is on its way out goes");
    lab.ok(&["remove", "store", "b"]);
    lab.ok(&["verify", "store"]);
    // Several of one name are told apart by their paths, and none of them goes unasked.
    fs::write(lab.path("list.csv"), "path,name\na,x/y\nc,x/y\n").expect("written");
    mine(&lab, "@list.csv", "twins");
    let output = lab.gitlode(&["remove", "twins", "x/y"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && said.contains("several repositories are called x/y"), "{said}");
    let rows = lab.rows("twins").len();
    lab.ok(&["remove", "twins", lab.path("c").canonicalize().expect("a path").to_str().expect("a text")]);
    assert_eq!(2 * lab.rows("twins").len(), rows);
    assert_eq!(lab.gitlode(&["remove", "nowhere", "a"]).status.code(), Some(5));
}

#[test]
fn an_assembly_reads_what_is_new_and_forgets_what_is_gone() {
    let lab = Lab::new();
    repositories(&lab);
    mine(&lab, "a", "store");
    mine(&lab, "b", "store");
    let assemble =
        |options: &[&str]| assemble(&lab, "store", &[&["--redact", "off", "--benchmark", "none"], options].concat());
    assemble(&[]);
    let facts = lab.path("store/assembly/facts");
    let times = || -> Vec<_> {
        let time = |path: &PathBuf| fs::metadata(path).and_then(|file| file.modified()).expect("a time");
        files(&facts).iter().map(|path| (path.clone(), time(path))).collect()
    };
    let first = times();
    assert!(!first.is_empty());
    // Other rules leave the facts as they are, and their own verdicts go when nothing refers to them.
    assemble(&["--filter", "commitpack"]);
    let with_rules = times();
    assert!(first.iter().all(|kept| with_rules.contains(kept)), "{first:?} {with_rules:?}");
    assert_eq!(with_rules.len(), 2 * first.len());
    assemble(&["--near-duplicates", "change"]);
    assert_eq!(times(), first);
    // A repository more, and one less.
    mine(&lab, "c", "store");
    assemble(&[]);
    let with_c = times();
    assert!(first.iter().all(|kept| with_c.contains(kept)) && with_c.len() > first.len());
    lab.ok(&["remove", "store", "c"]);
    assemble(&[]);
    assert_eq!(times(), first);
    // What is masked changes what is known of a row, and what is said of it.
    assemble(&["--redact", "mask"]);
    let masked = times();
    assert!(masked.iter().all(|kept| !first.contains(kept)) && masked.len() == 2 * first.len());
    // What is purged is in no file that is kept.
    lab.ok(&["purge", "store", "--path", "f1.txt"]);
    assert!(!lab.path("store/assembly").exists());
}

#[test]
fn shares_of_rows_stay_by_weight() {
    let lab = Lab::new();
    repositories(&lab);
    mine(&lab, "a", "store");
    let near_off = ["--near-duplicates", "off"];
    let dropped = |more: &[&str]| assemble(&lab, "store", &[&near_off, more].concat())["changes"]["dropped"].clone();
    let none = dropped(&[]);
    assert_eq!(dropped(&["--weight", "license_class:permissive=0"]), none, "nobody says which licence it is");
    let all = dropped(&["--weight", "language:Python=0"]);
    assert!(all["weight_language"].as_u64() >= Some(2), "{all}");
    let of_text = |share: &str| dropped(&["--weight", &format!("lang:text={share}")])["weight_lang"].as_u64();
    assert_eq!(of_text("1"), None);
    assert!(of_text("0") > of_text("0.4") && of_text("0.4") > None);
    let assembly = assemble(&lab, "store", &["--weight", "lang:text=0.4", "--cap-per-language", "3"]);
    assert_eq!(assembly["options"]["weights"], json!([{"column": "lang", "value": "text", "share": 0.4}]));
    lab.ok(&["verify", "store"]);
    let output = lab.gitlode(&["assemble", "store", "--weight", "path:f1.txt=0.5"]);
    assert!(output.status.code() == Some(2), "{output:?}");
}

#[test]
fn explain_says_what_was_decided() {
    let lab = Lab::new();
    repositories(&lab);
    mine(&lab, "a", "store");
    mine(&lab, "b", "store");
    let explain = |more: &[&str]| {
        let args = [&["explain", "b", "HEAD~4", "--filter", "none", "--store", "store"], more].concat();
        lab.gitlode(&args)
    };
    let output = explain(&[]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("run `gitlode assemble store` first"), "{output:?}");
    let assembly = assemble(&lab, "store", &[]);
    let file = lab.path("store/assembly").join(assembly["ledger"]["file"].as_str().expect("a ledger"));
    let ledger = gitlode::store::ledger::read(&file).expect("a ledger");
    let rows = lab.rows("store");
    let mut seen = BTreeSet::new();
    for row in &rows {
        let commit = row["commit"].as_str().expect("an id");
        let name = row["repos"].as_str().expect("a name");
        let json = lab.ok(&["explain", name, commit, "--filter", "none", "--store", "store", "--json"]);
        let explained: Value = serde_json::from_str(&json).expect("JSON");
        let decided = explained["assembly"].as_array().expect("decisions");
        let own = decided.iter().find(|decided| decided["id"] == row["id"]).expect("a decision on the row");
        let entry = ledger.iter().find(|entry| entry.id.as_deref() == row["id"].as_str());
        assert_eq!(own["rule"].as_str(), entry.map(|entry| entry.rule.as_str()), "{own}");
        if let Some(entry) = entry {
            assert_eq!((&own["value"], &own["bound"]), (&json!(entry.value), &json!(entry.bound)));
            let keeper = own["keeper"]["id"].as_str().expect("a row that stays");
            assert_eq!(entry.bound, format!("keeper {keeper}"));
            let kept = rows.iter().find(|row| row["id"] == keeper).expect("the row that stays");
            assert_eq!((&own["keeper"]["commit"], &own["keeper"]["path"]), (&kept["commit"], &kept["new_file"]));
        }
        seen.insert(own["rule"].as_str().map(str::to_owned));
    }
    assert!(seen.contains(&None) && seen.contains(&Some("near_duplicate".to_owned())), "{seen:?}");
    let said = String::from_utf8(explain(&[]).stdout).expect("text");
    assert!(said.contains("assembly, f6.txt: dropped by near_duplicate"), "{said}");
    assert!(said.contains("the row that stays: commit "), "{said}");
    mine(&lab, "c", "store");
    let output = explain(&[]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("the store changed since"), "{output:?}");
}

#[test]
fn explain_says_what_is_masked() {
    let lab = Lab::new();
    let script = "echo x > a; git add .; git commit -qm 'Add a file'; echo 'mail someone.else@mailserver.org of it' > a
        git commit -qam 'Name somebody of the file' -m 'Told by another.one@mailserver.org'";
    lab.repository("a", "sha1", script);
    mine(&lab, "a", "store");
    for (more, expected) in [(&[][..], json!({"emails": 2})), (&["--redact", "off"], Value::Null)] {
        assemble(&lab, "store", more);
        let args = ["explain", "a", "HEAD", "--filter", "none", "--store", "store"];
        let explained: Value = serde_json::from_str(&lab.ok(&[&args[..], &["--json"]].concat())).expect("JSON");
        assert_eq!(explained["assembly"][0]["masked"], expected, "{explained}");
        assert_eq!(lab.ok(&args).contains("  masked: emails (2)"), !expected.is_null());
    }
}

#[test]
fn nothing_is_made_of_a_segment_that_is_not_what_was_written() {
    let lab = Lab::new();
    repositories(&lab);
    mine(&lab, "a", "store");
    copy_rows(&lab, "store", "scratch");
    assemble(&lab, "scratch", &[]);
    let segments: Vec<PathBuf> = files(&directory(&lab, "store", "a"))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|end| end == "arrow"))
        .collect();
    assert!(!segments.is_empty());
    for (at, path) in segments.iter().enumerate().take(6) {
        let whole = fs::read(path).expect("a segment");
        // Somewhere in a column, where a flipped bit may well leave a segment that can be read.
        let mut flipped = whole.clone();
        let place = whole.len() * (at + 2) / 9;
        flipped[place] ^= 1;
        fs::write(path, &flipped).expect("it is written");
        let export = lab.path("out");
        for command in [&["assemble", "store", "-q"][..], &["export", "store", "out"]] {
            let told = lab.gitlode(command);
            let said = String::from_utf8_lossy(&told.stderr);
            assert!(!told.status.success() && said.contains("its checksum is wrong"), "{command:?}: {said}");
        }
        assert!(!export.exists());
        fs::write(path, &whole).expect("it is written");
    }
    assemble(&lab, "store", &[]);
    assert_eq!(outcome(&lab, "store"), outcome(&lab, "scratch"));
}
