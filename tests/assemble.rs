//! Assembling: which rows go is a function of the set of rows, whatever the order in which they were mined.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::Path,
    process::Command,
    sync::atomic::AtomicBool,
};

use gitlode::{
    classify::license::{Class, Licenses},
    dedup::words,
    pipeline::{
        assemble::{change_set, contents_set},
        read::for_each,
    },
    store::{Store, ledger},
};
use serde_json::{Value, json};
use support::{Lab, git};

/// Two repositories with a file that is a copy, changed in the same way with other words around, and one change of their
/// own each.
const COPY: &str = r#"
    seq 1 120 | sed 's/^/the line of the file number /' > a.txt; echo OWN >> a.txt; git add .; git commit -qm 'Add the file'
    sed -i 's/^the line of the file number 7$/the line that somebody changed for good and all of us/' a.txt
    git commit -qam 'SUBJECT'
    echo "own words of NAME only, which no other repository has" >> a.txt; git commit -qam 'Add the words of NAME'
"#;

fn copy(lab: &Lab, name: &str, subject: &str) {
    let script = COPY.replace("OWN", &format!("{name} {name}")).replace("NAME", name).replace("SUBJECT", subject);
    lab.repository(name, "sha1", &script);
}

fn assemble(lab: &Lab, store: &str, more: &[&str]) -> Value {
    serde_json::from_str(&lab.ok(&[&["assemble", store, "--json", "-q"], more].concat())).expect("JSON")
}

/// What goes, as ledger rows.
fn decisions(store: &Path, assembly: &Value) -> Vec<ledger::Dropped> {
    let Some(file) = assembly["ledger"]["file"].as_str() else { return Vec::new() };
    ledger::read(&store.join("assembly").join(file)).expect("a ledger")
}

#[test]
fn rows_that_say_the_same_go_but_for_one() {
    let lab = Lab::new();
    copy(&lab, "a", "Change the seventh line");
    copy(&lab, "b", "Change line seven");
    git(&lab.path(""), &["clone", "-q", "a", "fork"]);
    // The same contents and subject as in `a`, in a commit of its own.
    let script = COPY.replace("OWN", "a a").replace("NAME", "a").replace("SUBJECT", "Change the seventh line");
    lab.repository("again", "sha1", &script.replace("Add the file", "Add that file"));
    lab.mine("a", "store", &["b", "fork", "again", "--filter", "none"]);
    let assembly = assemble(&lab, "store", &[]);
    let dropped = decisions(&lab.path("store"), &assembly);
    let by: BTreeMap<&str, usize> = dropped.iter().fold(BTreeMap::new(), |mut by, row| {
        *by.entry(row.rule.as_str()).or_default() += 1;
        by
    });
    assert_eq!(assembly["changes"]["dropped"], json!(by), "{dropped:?}");
    assert_eq!(assembly["changes"]["dropped"]["near_duplicate"], 1, "{dropped:?}");
    let kept = assembly["changes"]["kept"].as_u64().expect("a count");
    let candidates = assembly["changes"]["candidates"].as_u64().expect("a count");
    assert_eq!(candidates - kept, dropped.len() as u64);
    // Who stays for another one, stays.
    let gone: BTreeSet<&str> = dropped.iter().filter_map(|row| row.id.as_deref()).collect();
    for row in &dropped {
        let keeper = row.bound.strip_prefix("keeper ").expect("a keeper");
        assert!(!gone.contains(keeper), "{row:?}");
    }
    lab.ok(&["export", "store", "out", "--assembled"]);
    let manifest: Value = serde_json::from_slice(&fs::read(lab.path("out/manifest.json")).expect("one")).expect("JSON");
    assert_eq!((&manifest["rows"], &manifest["dropped"]), (&json!(kept), &assembly["changes"]["dropped"]));
    lab.ok(&["verify", "store"]);
    let off = assemble(&lab, "store", &["--near-duplicates", "off"]);
    assert_eq!(off["changes"]["dropped"]["near_duplicate"], Value::Null);
    // A damaged ledger is noticed.
    let whole = assemble(&lab, "store", &[]);
    let file = lab.path("store/assembly").join(whole["ledger"]["file"].as_str().expect("a ledger"));
    fs::write(&file, b"cut").expect("it can be written");
    assert_eq!(lab.gitlode(&["verify", "store"]).status.code(), Some(5));
}

#[test]
fn the_order_of_mining_does_not_matter() {
    let lab = Lab::new();
    for (name, subject) in
        [("a", "Change the seventh line"), ("b", "Change line seven"), ("c", "Change the seventh line")]
    {
        copy(&lab, name, subject);
    }
    let mut outcomes = BTreeSet::new();
    for (number, order) in [["a", "b", "c"], ["c", "b", "a"], ["b", "c", "a"]].iter().enumerate() {
        for threads in ["1", "2"] {
            let store = format!("store{number}{threads}");
            for name in order {
                lab.mine(name, &store, &["--filter", "none", "-j", threads]);
                assemble(&lab, &store, &[]);
            }
            let out = format!("out{number}{threads}");
            lab.ok(&["export", &store, &out, "--assembled"]);
            let file = lab.path(&out).join("data/train-00000-of-00001.jsonl");
            outcomes.insert(fs::read(file).expect("a shard"));
        }
    }
    assert_eq!(outcomes.len(), 1);
    assert!(lab.gitlode(&["export", "a", "x", "--assembled"]).status.code() == Some(5), "no store");
    lab.mine("a", "plain", &["--filter", "none"]);
    let output = lab.gitlode(&["export", "plain", "x", "--assembled"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("run `gitlode assemble plain` first"));
    // What was mined since is decided on as well.
    assemble(&lab, "plain", &[]);
    lab.mine("b", "plain", &["--filter", "none"]);
    lab.mine("c", "plain", &["--filter", "none"]);
    lab.ok(&["export", "plain", "y", "--assembled"]);
    assert!(outcomes.contains(&fs::read(lab.path("y/data/train-00000-of-00001.jsonl")).expect("a shard")));
}

#[test]
fn rows_with_text_of_a_benchmark_go() {
    let lab = Lab::new();
    let script = r#"
        echo 'fn other() {}' > a.rs; echo x > b.txt; git add .; git commit -qm 'Add two files'
        printf '// Return the largest number that\n// divides n evenly, and that is smaller than n itself\nfn f() {}\n' > a.rs
        git commit -qam 'Add the largest divisor'
        echo y > b.txt; git commit -qam 'Change the letter in the file'
    "#;
    lab.repository("r", "sha1", script);
    lab.mine("r", "store", &["--filter", "none"]);
    let bench = "{\"task_id\": \"x/1\", \"text\": [{\"doc\": \"return the largest number that divides n evenly and that is smaller\"}]}\n";
    // Some editors begin a file with a mark of their own.
    fs::write(lab.path("bench.jsonl"), format!("\u{feff}{bench}")).expect("it can be written");
    let assembly = assemble(&lab, "store", &["--decontaminate", "bench.jsonl"]);
    assert_eq!(assembly["changes"]["dropped"], json!({"contamination": 1}));
    assert_eq!(assembly["contamination"], json!({"bench.jsonl": 1}));
    let dropped = decisions(&lab.path("store"), &assembly);
    assert_eq!(
        (dropped[0].value.as_str(), dropped[0].new_file.as_deref()),
        ("bench.jsonl:1 (x/1) in new_contents", Some("a.rs"))
    );
    assert_eq!(assembly.get("not_searched"), None);
    assert_eq!(
        assembly["texts_not_searched"],
        json!({"bench.jsonl": {"short": 1, "common": 0, "in_part": 0}}),
        "the name of the task"
    );
    fs::write(lab.path("more.jsonl"), format!("{bench}{{\"text\": \"too short\"}}\n")).expect("it can be written");
    let output = lab.gitlode(&["assemble", "store", "--decontaminate", "more.jsonl", "--json"]);
    let assembly: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(assembly["not_searched"], json!({"more.jsonl": 1}));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("1 rows of more.jsonl are not looked for"), "{said}");
    for (text, reason) in [
        ("{\"a\": \"too short\"}\n", "would never be found"),
        ("no JSON\n", "line 1"),
        ("", "never be found"),
        ("{}\n{\"base_commit\": \"0123abc\"}\n", "line 2: base_commit `0123abc` is no commit id in full"),
    ] {
        fs::write(lab.path("bench.jsonl"), text).expect("it can be written");
        let output = lab.gitlode(&["assemble", "store", "--decontaminate", "bench.jsonl"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(4) && said.contains(reason), "{said}");
    }
    // A filter is part of it, and its drops take no other row with them.
    let filtered = assemble(&lab, "store", &["--filter", "commitpack"]);
    assert!(filtered["changes"]["dropped"].as_object().is_some_and(|rules| !rules.contains_key("contamination")));
}

#[test]
fn tasks_about_repositories_are_found_or_counted() {
    let lab = Lab::new();
    let script = r#"
        printf 'a = 1\nb = 2\nc = 3\nd = 4\n' > m.py; git add .; git commit -qm 'Add the module'
        sed -i 's/b = 2/b = 5/' m.py; git commit -qam 'Fix the second number'
        sed -i 's/d = 4/d = 9/' m.py; git commit -qam 'Change the last number'
    "#;
    lab.repository("tasks", "sha1", script);
    lab.mine("tasks", "store", &["--filter", "none"]);
    let patch = git(&lab.path("tasks"), &["diff", "HEAD~2", "HEAD~1"]);
    let base = git(&lab.path("tasks"), &["rev-parse", "HEAD~1"]);
    let [patch, base] = [patch, base].map(|text| String::from_utf8(text).expect("text"));
    let other = "1".repeat(40);
    let text = "a statement of the problem with more than ten different words that says something about behaviour";
    for (repository, base, hits, elsewhere) in [
        ("owner/tasks", &other, 1, Value::Null),
        ("Owner/Tasks", &other, 1, Value::Null),
        ("owner/others", &other, 0, json!({"swe.jsonl": [1, 1]})),
        ("owner/others", &base.trim().to_owned(), 1, Value::Null),
    ] {
        let task = json!({"repo": repository, "base_commit": base, "patch": patch, "problem_statement": text});
        fs::write(lab.path("swe.jsonl"), format!("{task}\n")).expect("it can be written");
        let output = lab.gitlode(&["assemble", "store", "--decontaminate", "swe.jsonl", "--json"]);
        let assembly: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(assembly["contamination"]["swe.jsonl"].as_u64().unwrap_or_default(), hits, "{task}");
        assert_eq!(assembly["tasks_elsewhere"]["swe.jsonl"], elsewhere["swe.jsonl"], "{task}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let is_told = said.contains("1 of 1 tasks of swe.jsonl name repositories that are not in the store");
        assert_eq!(is_told, !elsewhere.is_null(), "{said}");
    }
}

#[test]
fn a_benchmark_that_is_compiled_in_is_found() {
    let lab = Lab::new();
    // Words of HumanEval's second task. One comes last into a line that has the others, so that no changed line has a run of them.
    let script = r#"
        printf 'Input to this function\nis a string that contains\nmultiple groups of nested\nparentheses. Your goal is to\n' > a.txt
        seq 1 50 > b.txt; git add .; git commit -qm 'Add two files'
        sed -i 's/that contains/containing/' a.txt; git commit -qam 'Say it in fewer words'
        echo 'one more' >> a.txt; git commit -qam 'Say one more word'
        sed -i 's/^7$/seven/' b.txt; git commit -qam 'Write the seventh number as a word'
        git rm -q a.txt; git commit -qm 'Take the text away'
    "#;
    lab.repository("r", "sha1", script);
    lab.mine("r", "store", &["--filter", "none", "--kinds", "modified,added,deleted"]);
    let assembly = assemble(&lab, "store", &[]);
    assert_eq!(assembly["contamination"], json!({"humaneval": 3}));
    let dropped = decisions(&lab.path("store"), &assembly);
    let said: Vec<(&str, Option<&str>)> =
        dropped.iter().map(|row| (row.value.as_str(), row.new_file.as_deref())).collect();
    let (in_new, in_old) = ("humaneval:HumanEval/1 in new_contents", "humaneval:HumanEval/1 in old_contents");
    assert_eq!(said.len(), 3);
    for row in [(in_new, Some("a.txt")), (in_old, None)] {
        assert!(said.contains(&row), "{said:?}");
    }
    assert!(dropped.iter().all(|row| row.rule == "contamination"));
    let none = assemble(&lab, "store", &["--benchmark", "none"]);
    assert_eq!(none["contamination"], json!({}));
    let output = lab.gitlode(&["assemble", "store", "--benchmark", "humanevil"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && said.contains("there are humaneval, and none"), "{said}");
}

#[test]
fn files_are_not_open_all_at_once() {
    let lab = Lab::new();
    let script = r#"
        for i in $(seq 4000); do echo $i > f$i; done; git add .; git commit -qm 'Add many files'
        for i in $(seq 4000); do echo $i of many > f$i; done; git commit -qam 'Change many files'
    "#;
    lab.repository("r", "sha1", script);
    lab.mine("r", "store", &["--filter", "none", "--segment-bytes-max", "1"]);
    let script = format!("ulimit -n 40; exec {} assemble store --json -q", env!("CARGO_BIN_EXE_gitlode"));
    let output = Command::new("sh").args(["-c", &script]).current_dir(lab.path("")).output().expect("a shell");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let assembly: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(assembly["changes"]["candidates"], 4000);
    let kept = fs::read_dir(lab.path("store/assembly/facts")).expect("a directory").count();
    assert!(kept > 60, "facts and verdicts of {kept} files, more than may be open");
}

#[test]
fn what_can_not_be_meant_is_refused() {
    let lab = Lab::new();
    copy(&lab, "a", "Change the seventh line");
    lab.mine("a", "store", &["--filter", "none"]);
    let at_least = "it has to be 1 at least; leave the option out";
    for (args, reason) in [
        (["--cap-per-file", "0"], at_least),
        (["--cap-per-repository", "0"], at_least),
        (["--cap-per-language", "0"], at_least),
        (["-j", "0"], at_least),
        (["-j", "1025"], "it can be 1024 at most"),
        (["--weight=lang:text=0.5", "--weight=lang:text=0.6"], "has two shares"),
        (["--memory", "0G"], "there has to be some"),
        (["--ngram-words", "0"], "3..=100"),
        (["--similarity-min", "0.69"], "few are ever compared"),
        (["--similarity-min", "1.5"], "a number from 0.7 to 1"),
    ] {
        let output = lab.gitlode(&[&["assemble", "store"][..], &args].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(reason), "{args:?}: {said}");
    }
    for args in [
        ["export", "store", "out", "--shard-bytes-max", "0"],
        ["export", "store", "out", "--threads", "0"],
        ["mine", "a", "--store=store", "--threads", "0"],
        ["mine", "a", "--store=store", "--segment-bytes-max", "0"],
    ] {
        let output = lab.gitlode(&args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(at_least), "{args:?}: {said}");
    }
    // What waits is only named where there is such an option.
    let lock = fs::File::create(lab.path("store/lock")).expect("it can be opened");
    lock.try_lock().expect("nobody has it");
    for (args, waits) in [(&["assemble", "store"][..], false), (&["mine", "a", "--store", "store"], true)] {
        let output = lab.gitlode(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(5) && said.contains("hint: wait"), "{said}");
        assert_eq!(said.contains("--wait"), waits, "{said}");
    }
}

#[test]
fn who_opted_out_is_left_out() {
    let lab = Lab::new();
    copy(&lab, "a", "Change the seventh line");
    copy(&lab, "b", "Change line seven");
    fs::write(lab.path("list.csv"), "path,name\na,Ann/one\nb,bob/two\n").expect("it can be written");
    lab.mine("@list.csv", "store", &["--filter", "none"]);
    fs::write(lab.path("out.txt"), "owner:ann\n").expect("it can be written");
    let assembly = assemble(&lab, "store", &["--opt-out", "out.txt"]);
    assert_eq!(assembly["changes"]["dropped"], json!({"opt_out": 2}), "and no row of bob's goes for one of ann's");
    let dropped = decisions(&lab.path("store"), &assembly);
    assert!(dropped.iter().all(|row| row.value == "owner:ann"), "{dropped:?}");
    // A fork that did not opt out keeps what it has in common with one that did, where that is asked for.
    git(&lab.path(""), &["clone", "-q", "a", "fork"]);
    fs::write(lab.path("forks.csv"), "path,name\na,Ann/one\nfork,eve/one\n").expect("it can be written");
    lab.mine("@forks.csv", "forks", &["--filter", "none"]);
    for (more, expected) in [(&[][..], json!({"opt_out": 2})), (&["--keep-shared"], json!({}))] {
        let assembly = assemble(&lab, "forks", &[&["--opt-out", "out.txt"], more].concat());
        assert_eq!(assembly["changes"]["dropped"], expected);
    }
    // The list is read again when it changed.
    fs::write(lab.path("out.txt"), "owner:ann\nrepository:bob/two\n").expect("it can be written");
    lab.ok(&["export", "store", "out", "--assembled"]);
    assert_eq!(fs::read(lab.path("out/data/train-00000-of-00001.jsonl")).expect("a shard"), b"");
    fs::write(lab.path("out.txt"), "owner:ann\nbob\n").expect("it can be written");
    let output = lab.gitlode(&["assemble", "store", "--opt-out", "out.txt"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(4) && said.contains("out.txt:2: a line is owner:NAME"), "{said}");
}

#[test]
fn caps_keep_the_same_sample_whatever_else_there_is() {
    let lab = Lab::new();
    for name in ["a", "b"] {
        let one = format!("echo '{name} '$i > $f; git add .; git commit -qm \"Set {name} $f to $i\"");
        lab.repository(name, "sha1", &format!("for i in 1 2 3 4 5 6; do for f in x.py y.c; do {one}; done; done"));
    }
    lab.mine("a", "store", &["--filter", "none"]);
    let kept = |more: &[&str]| -> (Vec<(String, String)>, Value) {
        let assembly = assemble(&lab, "store", &[&["--near-duplicates", "off"], more].concat());
        let _first_time = fs::remove_dir_all(lab.path("out"));
        lab.ok(&["export", "store", "out", "--assembled"]);
        let shard = fs::read_to_string(lab.path("out/data/train-00000-of-00001.jsonl")).expect("a shard");
        let rows = shard.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let text = |row: &Value, column: &str| row[column].as_str().expect("text").to_owned();
        let rows = rows.map(|row| (format!("{}/{}", text(&row, "repos"), text(&row, "new_file")), text(&row, "id")));
        (rows.collect(), assembly["changes"]["dropped"].clone())
    };
    let of_a =
        |rows: &[(String, String)]| rows.iter().filter(|row| row.0.starts_with("a/")).cloned().collect::<Vec<_>>();
    let (alone, dropped) = kept(&["--cap-per-file", "2"]);
    assert_eq!((alone.len(), &dropped), (4, &json!({"cap_per_file": 6})), "of two files with five rows each");
    lab.mine("b", "store", &["--filter", "none"]);
    let (both, _) = kept(&["--cap-per-file", "2"]);
    assert_eq!((both.len(), of_a(&both)), (8, alone));
    let (capped, dropped) = kept(&["--cap-per-file", "3", "--cap-per-repository", "4", "--cap-per-language", "3"]);
    assert_eq!(dropped["cap_per_file"], 8);
    assert_eq!(dropped["cap_per_repository"], 4);
    assert!(capped.len() <= 6 && of_a(&capped).len() <= 4, "{capped:?}");
}

/// Compares with brute force over all pairs: `NEAR_STORE=DIR cargo test --release --test assemble brute -- --nocapture`,
/// where DIR is a store that was assembled with the defaults.
#[test]
fn brute_force_finds_the_same_near_duplicates() {
    let lab = Lab::new();
    let directory = match std::env::var_os("NEAR_STORE") {
        Some(directory) => directory.into(),
        None => {
            copy(&lab, "a", "Change the seventh line");
            copy(&lab, "b", "Change line seven");
            copy(&lab, "c", "Change that line");
            lab.mine("a", "store", &["b", "c", "--filter", "none"]);
            assemble(&lab, "store", &[]);
            lab.path("store")
        }
    };
    let store = Store::open(&directory).expect("a store");
    let assembly: Value =
        serde_json::from_slice(&fs::read(directory.join("assembly/manifest.json")).expect("one")).expect("JSON");
    let rules: HashMap<String, String> =
        decisions(&directory, &assembly).into_iter().filter_map(|row| Some((row.id?, row.rule))).collect();
    type Row = ((Class, i64, String), Vec<u32>, Vec<u32>);
    let mut rows: Vec<Row> = Vec::new();
    for_each(&store, &AtomicBool::new(false), |row| {
        let sample = row.sample;
        let change = change_set(sample);
        if !change.is_empty() && rules.get(sample.id).is_none_or(|rule| rule == "near_duplicate") {
            let class = sample.license_spdx.map_or(Class::UNKNOWN, |text| Licenses::in_use().class(text));
            let keeper = (class, sample.author_time.unwrap_or(i64::MAX), sample.id.to_owned());
            rows.push((keeper, change, contents_set(sample)));
        }
        Ok(())
    })
    .expect("rows");
    rows.sort();
    let mut kept: Vec<usize> = Vec::new();
    let (mut both, mut missed, mut wrong) = (0, 0, 0);
    for (at, (keeper, change, contents)) in rows.iter().enumerate() {
        let alike = |other: &usize| {
            let (_, other_change, other_contents) = &rows[*other];
            let fits = |a: usize, b: usize| a.min(b) as f64 >= 0.7 * a.max(b) as f64;
            fits(change.len(), other_change.len())
                && fits(contents.len(), other_contents.len())
                && words::jaccard(change, other_change) >= 0.7
                && words::jaccard(contents, other_contents) >= 0.7
        };
        let goes = kept.iter().any(alike);
        if !goes {
            kept.push(at);
        }
        match (goes, rules.contains_key(&keeper.2)) {
            (true, true) => both += 1,
            (true, false) => missed += 1,
            (false, true) => wrong += 1,
            (false, false) => {}
        }
    }
    let (recall, precision) = (f64::from(both) / f64::from(both + missed), f64::from(both) / f64::from(both + wrong));
    println!(
        "{} rows: {both} by both, {missed} missed, {wrong} wrong: recall {recall:.3}, precision {precision:.3}",
        rows.len()
    );
    assert!(both > 0 && recall >= 0.95 && precision >= 0.99, "recall {recall:.3}, precision {precision:.3}");
}

/// One header in very many files: all of them share all bands, and each has one copy among them.
#[test]
fn copies_are_found_in_large_groups() {
    let lab = Lab::new();
    let script = r#"
        mkdir a b
        awk 'BEGIN { for (i = 1; i <= 300; i++) { lines = 20 + i % 13; for (k = 0; k < lines + i % 3; k++) {
            line = "w" i "_" k " says" i " x" i * k " y" i + k " of" i " it" k " z" i * 31 + k
            if (k < lines) print line > "a/f" i ".c"; print line > "b/f" i ".c" } } }'
        git add .; git commit -qm 'Add two directories'
        awk 'BEGIN { for (k = 0; k < 14; k++) print "// line " k " of the terms" k " that" k " all files" k " are under" k }' > header
        for d in a b; do
            for f in $d/*; do cat header $f > new; mv new $f; done
            git add $d; git commit -qm "Add a header to $d"
        done
    "#;
    lab.repository("a", "sha1", script);
    lab.mine("a", "store", &["--filter", "none"]);
    let outcome = |more: &[&str]| {
        let assembly = assemble(&lab, "store", more);
        (assembly["changes"]["dropped"]["near_duplicate"].clone(), assembly["rows_cut_short"].clone())
    };
    assert_eq!(outcome(&["-j", "1"]), (300.into(), 0.into()));
    // What is kept of sketches says the same, and so do files in place of memory.
    assert_eq!(outcome(&["-j", "2", "--cap-per-file", "1"]), (300.into(), 0.into()));
    fs::remove_dir_all(lab.path("store/assembly")).expect("it is there");
    assert_eq!(outcome(&["-j", "2", "--memory", "1M"]), (300.into(), 0.into()));
}

/// Ann's repository and bob's fork of it with a commit of his own, and one that is nobody's.
fn ann_and_bob(lab: &Lab) {
    copy(lab, "a", "Change the seventh line");
    git(&lab.path(""), &["clone", "-q", "a", "b"]);
    lab.script(&lab.path("b"), "echo bob >> a.txt; git commit -qam 'Add a line of bob to the file'");
    copy(lab, "c", "Change line seven");
    lab.script(
        &lab.path("c"),
        "echo x >> a.txt; git commit -q --author 'Eve <Eve@example.com>' -am 'Add a line of Eve'",
    );
    fs::write(lab.path("list.csv"), "path,name\na,Ann/one\nb,bob/one\nc,carl/two\n").expect("it can be written");
    fs::write(lab.path("without.csv"), "path,name\nb,bob/one\nc,carl/two\n").expect("it can be written");
}

fn subjects(lab: &Lab, store: &str) -> BTreeSet<String> {
    lab.rows(store).iter().map(|row| row["subject"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn what_was_purged_is_gone_from_forks_and_does_not_come_back() {
    let lab = Lab::new();
    ann_and_bob(&lab);
    // Segments of a few rows, so that some are rewritten and some are not.
    let mine = |store: &str, list: &str, more: &[&str]| {
        let more = [&["--filter", "none", "--segment-bytes-max", "1", "--authors"], more].concat();
        lab.mine(list, store, &more)
    };
    mine("store", "@list.csv", &[]);
    let before = lab.rows("store");
    lab.ok(&["assemble", "store"]);
    let receipt: Value = serde_json::from_str(&lab.ok(&["purge", "store", "--owner", "ann", "--json"])).expect("JSON");
    let of: Vec<(&str, bool, u64)> = receipt["repositories"]
        .as_array()
        .expect("repositories")
        .iter()
        .map(|r| (r["name"].as_str().unwrap_or(""), r["whole"] == true, r["rows"].as_u64().unwrap_or(0)))
        .collect();
    assert_eq!(of, [("Ann/one", true, 2), ("bob/one", false, 2)]);
    let bobs = "Add a line of bob to the file";
    assert_eq!(
        subjects(&lab, "store"),
        BTreeSet::from([bobs, "Add a line of Eve", "Add the words of c", "Change line seven"].map(str::to_owned))
    );
    assert!(!lab.path("store/assembly").exists(), "its ledger names rows that are gone");
    lab.ok(&["verify", "store"]);
    let stats: Value = serde_json::from_str(&lab.ok(&["stats", "store", "--json"])).expect("JSON");
    assert_eq!(stats["funnel"]["changes"]["dropped"], json!({"opt_out": 2}), "bob's account knows what went: {stats}");
    // Nothing of ann's is in any file of the store.
    let shared: BTreeSet<&str> = before
        .iter()
        .filter(|row| row["repos"] == "Ann/one,bob/one")
        .filter_map(|row| row["new_contents"].as_str())
        .collect();
    assert_eq!(shared.len(), 2);
    assert!(lab.rows("store").iter().all(|row| !shared.contains(row["new_contents"].as_str().unwrap_or_default())));
    // Neither her repository nor the fork brings it back, mined again or from the start.
    let again = lab.ok(&[
        "mine",
        "@list.csv",
        "--store",
        "store",
        "--filter",
        "none",
        "--segment-bytes-max",
        "1",
        "--authors",
        "--replace",
        "--json",
    ]);
    let again: Value = serde_json::from_str(&again).expect("JSON");
    assert_eq!(again["repositories"][0]["report"]["opted_out"], true, "{again}");
    assert_eq!(subjects(&lab, "store").len(), 4);
    lab.ok(&["verify", "store"]);
    // What the fork gives is the same, whether it was purged or mined after that.
    lab.ok(&["export", "store", "after"]);
    mine("other", "@list.csv", &[]);
    lab.ok(&["purge", "other", "--owner", "ann"]);
    lab.ok(&["export", "other", "purged"]);
    let shard = "data/train-00000-of-00001.jsonl";
    assert_eq!(
        fs::read(lab.path("after").join(shard)).expect("one"),
        fs::read(lab.path("purged").join(shard)).expect("one")
    );
    // A second purge finds nothing more; a receipt that was changed shows.
    let second: Value = serde_json::from_str(&lab.ok(&["purge", "store", "--owner", "ann", "--json"])).expect("JSON");
    assert_eq!((&second["rows"], &second["number"]), (&json!(0), &json!(2)));
    support::edit(&lab.path("store/opt-out/000001.json"), &|receipt| receipt["rows"] = json!(1));
    let output = lab.gitlode(&["verify", "store"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(5) && said.contains("from a copy") && !said.contains("--repair"), "{said}");
}

#[test]
fn a_purged_name_leaves_the_index() {
    let lab = Lab::new();
    for name in ["soleone", "other"] {
        lab.repository(
            name,
            "sha1",
            "echo x > a; git add .; git commit -qm 'Add a file'; echo y > a; git commit -qam 'Change a file'",
        );
    }
    lab.mine("soleone", "store", &["other", "--filter", "none"]);
    let index = lab.path("store/index.sqlite");
    let names = |name: &str| String::from_utf8_lossy(&fs::read(&index).expect("an index")).contains(name);
    assert!(names("soleone") && names("other"));
    lab.ok(&["purge", "store", "--repo", "soleone"]);
    assert!(!names("soleone") && names("other") && names("(purged)"));
    lab.ok(&["verify", "store"]);
    let connection = rusqlite::Connection::open(&index).expect("an index");
    connection.execute("UPDATE run SET arguments = '[\"soleone\"]', started = 1", []).expect("it can be written");
    drop(connection);
    let output = lab.gitlode(&["verify", "store"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(5) && said.contains("1 arguments of runs"), "{said}");
    // What `verify` hints at mends it.
    lab.ok(&["purge", "store"]);
    lab.ok(&["verify", "store"]);
}

#[test]
fn purges_by_commit_path_and_author() {
    let lab = Lab::new();
    ann_and_bob(&lab);
    lab.mine("@list.csv", "store", &["--filter", "none", "--authors"]);
    let rows = lab.rows("store");
    let commit = rows.iter().find(|row| row["subject"] == "Change line seven").expect("a row")["commit"].clone();
    lab.ok(&["purge", "store", "--commit", &commit.as_str().expect("an id")[..9]]);
    assert!(!subjects(&lab, "store").contains("Change line seven"));
    lab.ok(&["purge", "store", "--author", "eve@EXAMPLE.com"]);
    assert!(!subjects(&lab, "store").contains("Add a line of Eve"));
    assert!(
        !fs::read_to_string(lab.path("store/opt-out/list")).expect("a list").contains("eve"),
        "only the hash is kept"
    );
    lab.ok(&["verify", "store"]);
    lab.mine("@list.csv", "store", &["--filter", "none", "--authors", "--replace"]);
    assert_eq!(subjects(&lab, "store").len(), 4, "{:?}", subjects(&lab, "store"));
    let receipts = || fs::read_dir(lab.path("store/opt-out")).expect("a directory").count();
    let before = receipts();
    let output = lab.gitlode(&["purge", "store"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && said.contains("nothing is named"), "{said}");
    for glob in ["[", "a{b,c}"] {
        let output = lab.gitlode(&["purge", "store", "--path", glob]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(4) && said.contains("which is all that globs know"), "{said}");
    }
    assert_eq!(receipts(), before, "a purge that was refused has none");
    lab.ok(&["purge", "store", "--path", "a.*"]);
    assert!(subjects(&lab, "store").is_empty());
    lab.ok(&["verify", "store"]);
    // Rows without authors can't be searched for one; who would think they were is told.
    lab.mine("@without.csv", "anonymous", &["--filter", "none"]);
    let output = lab.gitlode(&["purge", "anonymous", "--author", "eve@example.com"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && said.contains("name no authors"), "{said}");
    let output = lab.gitlode(&["purge", "anonymous", "--commit", "abc"]);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
}

#[test]
fn a_fork_of_what_was_never_mined_goes_with_it() {
    let lab = Lab::new();
    ann_and_bob(&lab);
    // As `discover --forks attach` lists a fork: whose it was is in the list alone.
    let list = "path,name,parent,root\nb,bob/one,dan/one,Ann/one\nc,carl/two,,\n";
    fs::write(lab.path("forks.csv"), list).expect("written");
    let left = BTreeSet::from(["Add a line of Eve", "Add the words of c", "Change line seven"].map(str::to_owned));
    lab.mine("@forks.csv", "store", &["--filter", "none"]);
    // Some editors begin a file with a mark of their own, which is no part of what is remembered.
    fs::write(lab.path("out.txt"), "\u{feff}owner:ann\n").expect("written");
    let assembly = assemble(&lab, "store", &["--opt-out", "out.txt", "--near-duplicates", "off"]);
    assert_eq!(assembly["changes"]["dropped"], json!({"opt_out": 3}), "{assembly}");
    assert_eq!(assembly.get("unmatched_opt_outs"), None);
    let assembly = assemble(&lab, "store", &["--opt-out", "out.txt", "--keep-shared", "--near-duplicates", "off"]);
    assert_eq!(assembly["changes"]["dropped"], json!({"opt_out": 3}), "{assembly}");
    // A run leaves it out, exports do, and a purge takes it for good.
    let mined = lab.mine("@forks.csv", "new", &["--filter", "none", "--opt-out", "out.txt"]);
    assert_eq!(mined["changes"]["kept"], 3, "{mined}");
    lab.mine("@forks.csv", "store", &["--filter", "none", "--opt-out", "out.txt"]);
    assert_eq!(subjects(&lab, "store"), left);
    assert_eq!(lab.gitlode(&["verify", "store"]).status.code(), Some(5));
    let receipt: Value = serde_json::from_str(&lab.ok(&["purge", "store", "--owner", "Ann", "--json"])).expect("JSON");
    assert_eq!((&receipt["rows"], &receipt["rows_by_line"]), (&json!(3), &json!({"owner:Ann": 3})));
    lab.ok(&["verify", "store"]);
    assert_eq!(subjects(&lab, "store"), left);
}

#[test]
fn who_names_nothing_is_told() {
    let lab = Lab::new();
    ann_and_bob(&lab);
    let rules = "id = 'x'\nwhy = 'x'\n[[rule]]\nid = 'eve'\nnot = { field = 'subject', contains = 'Eve' }\nwhy = 'x'\nkeep = ['a']\ndrop = ['Eve']\n";
    fs::write(lab.path("subject.toml"), rules).expect("written");
    lab.mine("@list.csv", "store", &["--filter", "subject.toml"]);
    lab.mine("@list.csv", "all", &["--filter", "none"]);
    let commit = |grep: &str| {
        let id = git(&lab.path("c"), &["log", "-1", "--format=%H", "--grep", grep]);
        String::from_utf8(id).expect("an id").trim().to_owned()
    };
    let eve = format!("commit:{}", commit("Eve"));
    let seven = format!("commit:{}", &commit("seven")[..9]);
    let lines = ["owner:nobody", "owner:ann", "path:a.*", "path:b.*", "commit:0123456789", &seven, &eve];
    fs::write(lab.path("out.txt"), format!("\u{feff}{}", lines.join("\n"))).expect("written");
    let unmatched = json!(["commit:0123456789", "owner:nobody", "path:b.*"]);
    let said = |args: &[&str]| {
        let output = lab.gitlode(args);
        assert!(output.status.success(), "{output:?}");
        let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        (json, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for more in [&[] as &[&str], &["--keep-shared"], &[]] {
        let args = [&["assemble", "all", "--opt-out", "out.txt", "--json"], more].concat();
        let (assembly, warned) = said(&args);
        assert_eq!(assembly["unmatched_opt_outs"], unmatched, "{more:?}");
        assert!(warned.contains("owner:nobody names nothing") && !warned.contains("ann"), "{warned}");
    }
    // A commit that rules dropped is known by the ledger; what names nothing is remembered all the same.
    let (receipt, warned) = said(&["purge", "store", "--opt-out", "out.txt", "--json"]);
    assert_eq!(receipt["unmatched"], unmatched, "{receipt}");
    let rows = &receipt["rows_by_line"];
    assert_eq!((&rows["owner:ann"], &rows["owner:nobody"], &rows[&eve]), (&json!(2), &json!(0), &json!(0)), "{rows}");
    assert!(warned.contains("path:b.* names nothing"), "{warned}");
    let list = fs::read_to_string(lab.path("store/opt-out/list")).expect("a list");
    assert!(list.contains("owner:nobody\n"), "{list}");
    // A run knows what repositories there are, and tells the first of many.
    let many: Vec<String> = (0..25).map(|number| format!("owner:nobody{number}")).collect();
    fs::write(lab.path("many.txt"), format!("owner:ann\nrepository:carl/two\npath:b.*\n{}\n", many.join("\n")))
        .expect("written");
    let output = lab.gitlode(&["mine", "@list.csv", "--store", "late", "--filter", "none", "--opt-out", "many.txt"]);
    let warned = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(warned.matches("names nothing in this run or this store").count(), 20, "{warned}");
    assert!(warned.contains("5 more opt-outs name nothing") && !warned.contains("carl/two names"), "{warned}");
    // What the store remembers was told when it came in.
    let (assembly, _) = said(&["assemble", "store", "--opt-out", "out.txt", "--json"]);
    assert_eq!(assembly.get("unmatched_opt_outs"), None);
}

#[test]
fn what_is_taken_from_the_record_of_purges_is_noticed() {
    let lab = Lab::new();
    ann_and_bob(&lab);
    lab.mine("@list.csv", "new", &["--filter", "none"]);
    for line in ["--owner=ann", "--path=*.c", "--repo=x/y"] {
        lab.ok(&["purge", "new", line]);
    }
    lab.ok(&["verify", "new"]);
    let receipt = |number: u32| format!("opt-out/00000{number}.json");
    let remove = |name: String| move |store: &Path| fs::remove_file(store.join(&name)).expect("it was there");
    let shorten = |store: &Path| fs::write(store.join("opt-out/list"), "owner:ann\n").expect("written");
    let clear = |store: &Path| fs::write(store.join("opt-out/commits"), "").expect("written");
    let all = |store: &Path| fs::remove_dir_all(store.join("opt-out")).expect("it was there");
    let swap = |store: &Path| {
        let path = store.join("opt-out/000002.json");
        let mut receipt: Value = serde_json::from_slice(&fs::read(&path).expect("a receipt")).expect("JSON");
        (receipt["lines"], receipt["blake3"]) = (json!([]), Value::Null);
        receipt.sort_all_objects();
        receipt["blake3"] = blake3::hash(receipt.to_string().as_bytes()).to_hex().to_string().into();
        fs::write(path, receipt.to_string()).expect("written");
    };
    let (first, second, last) = (remove(receipt(1)), remove(receipt(2)), remove(receipt(3)));
    type Take<'a> = &'a dyn Fn(&Path);
    let cases: [(&str, Take<'_>, &str); 7] = [
        ("the first receipt", &first, "000001.json is missing"),
        ("one in between", &second, "000002.json is missing"),
        ("the last one", &last, "000003.json is missing"),
        ("lines", &shorten, "are not as they were left"),
        ("commits", &clear, "are not as they were left"),
        ("everything", &all, "are not as they were left"),
        ("another receipt with a checksum of its own", &swap, "000002.json is another one"),
    ];
    for (what, take, expected) in cases {
        let store = lab.path("store");
        let _absent_the_first_time = fs::remove_dir_all(&store);
        lab.script(&lab.path(""), "cp -r new store");
        take(&store);
        let output = lab.gitlode(&["verify", "store"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(5) && said.contains(expected), "{what}: {said}");
        // Nobody goes on without those who opted out.
        let is_list = expected.contains("left");
        let output = lab.gitlode(&["export", "store", "out"]);
        assert_eq!(output.status.code(), Some(if is_list { 5 } else { 0 }), "{what}");
        assert_eq!(lab.gitlode(&["purge", "store", "--owner", "z"]).status.success(), !is_list, "{what}");
        // A further purge hides nothing.
        assert_eq!(lab.gitlode(&["verify", "store"]).status.code(), Some(5), "{what}");
        let _not_there_where_it_failed = fs::remove_dir_all(lab.path("out"));
    }
    // What a purge that was killed had moved away is not gone yet.
    fs::create_dir_all(lab.path("new/removed/some-repository")).expect("a directory");
    assert_eq!(lab.gitlode(&["verify", "new"]).status.code(), Some(5));
    lab.ok(&["purge", "new"]);
    lab.ok(&["verify", "new"]);
    // A process that was killed between the files of a purge leaves nothing wrong, and neither does an older version.
    let mark: Value = serde_json::from_slice(&fs::read(lab.path("new/store.json")).expect("a mark")).expect("JSON");
    assert_eq!(mark["opt_outs"]["receipts"], 4, "{mark}");
    fs::write(lab.path("new/opt-out/list.tmp"), "owner:").expect("written");
    support::edit(&lab.path("new/store.json"), &|mark| {
        mark["opt_outs"]["lists"].as_array_mut().expect("digests").push(json!("of what was to be written"));
    });
    lab.ok(&["verify", "new"]);
    support::edit(&lab.path("new/store.json"), &|mark| *mark = json!({"gitlode_store": 1}));
    lab.ok(&["verify", "new"]);
    lab.ok(&["purge", "new", "--owner", "y"]);
    lab.ok(&["verify", "new"]);
    lab.ok(&["export", "new", "out"]);
}

#[test]
fn an_address_is_gone_wherever_a_row_names_it() {
    let lab = Lab::new();
    copy(&lab, "a", "Change the seventh line");
    let script = "echo x >> a.txt; GIT_COMMITTER_EMAIL=Fay@example.com git commit -qam 'Add a line that Fay commits'
        echo y >> a.txt; git commit -qam $'Add a line that Fay signs\\n\\nSigned-off-by: Fay <fay@example.com>'
        echo z >> a.txt; git commit -qam $'Add a line that gay signs\\n\\nSigned-off-by: G <gay@example.com>'";
    lab.script(&lab.path("a"), script);
    let expected = BTreeSet::from(
        ["Add the words of a", "Change the seventh line", "Add a line that gay signs"].map(str::to_owned),
    );
    for more in [&[] as &[&str], &["--replace"]] {
        lab.mine("a", "store", &[&["--filter", "none", "--authors"], more].concat());
        if more.is_empty() {
            assert_eq!(subjects(&lab, "store").len(), 5);
            lab.ok(&["purge", "store", "--author", "fay@example.com"]);
        }
        assert_eq!(subjects(&lab, "store"), expected);
        let rows = lab.rows("store");
        assert!(rows.iter().all(|row| !row.to_string().to_lowercase().contains("fay@example.com")), "{rows:?}");
        lab.ok(&["verify", "store"]);
    }
    // Of what was mined before there was such a line, `verify` says that it is there.
    lab.mine("a", "late", &["--filter", "none", "--authors"]);
    let line = format!("author:{}\n", gitlode::dedup::opt_out::author_hash("fay@example.com"));
    fs::write(lab.path("out.txt"), line).expect("written");
    lab.mine("a", "late", &["--filter", "none", "--authors", "--opt-out", "out.txt"]);
    let said = lab.gitlode(&["verify", "late", "--json"]);
    let said: Value = serde_json::from_slice(&said.stdout).expect("JSON");
    assert!(said["not_purged"][0].as_str().is_some_and(|wrong| wrong.starts_with("2 rows of a ")), "{said}");
}

#[test]
fn who_opted_out_is_not_mined() {
    let lab = Lab::new();
    ann_and_bob(&lab);
    let eve = lab.ok(&["mine", "c", "--filter", "none", "--dry-run", "--json"]);
    assert!(eve.contains("\"kept\": 3"), "{eve}");
    let commit = String::from_utf8(git(&lab.path("c"), &["log", "-1", "--format=%H", "--grep=seven"])).expect("an id");
    let hash = gitlode::dedup::opt_out::author_hash("eve@example.com");
    fs::write(lab.path("out.txt"), format!("# theirs\nowner:ann\nauthor:{hash}\ncommit:{commit}\n")).expect("written");
    let mined = lab.mine("@list.csv", "store", &["--filter", "none", "--opt-out", "out.txt"]);
    assert_eq!(mined["commits"]["dropped"], json!({"opt_out": 2}), "{mined}");
    // The store remembers it, and rows that were mined before are not exported.
    let expected = BTreeSet::from(
        ["Add a line of bob to the file", "Add the words of a", "Add the words of c", "Change the seventh line"]
            .map(str::to_owned),
    );
    assert_eq!(subjects(&lab, "store"), expected);
    lab.mine("@list.csv", "store", &["--filter", "none", "--replace"]);
    assert_eq!(subjects(&lab, "store"), expected);
    lab.ok(&["verify", "store"]);
    fs::write(lab.path("out.txt"), "repository:bob/one\n").expect("written");
    lab.mine("@list.csv", "store", &["--filter", "none", "--opt-out", "out.txt"]);
    assert_eq!(subjects(&lab, "store"), BTreeSet::from(["Add the words of c".to_owned()]));
    // They are in the store until they are purged, which `verify` says.
    let output = lab.gitlode(&["verify", "store"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(5) && said.contains("gitlode purge"), "{said}");
    lab.ok(&["purge", "store"]);
    lab.ok(&["verify", "store"]);
    fs::write(lab.path("out.txt"), "nobody\n").expect("written");
    assert_eq!(lab.gitlode(&["mine", "c", "--dry-run", "--opt-out", "out.txt"]).status.code(), Some(4));
}

#[test]
fn reverts_and_relands_are_linked_whatever_the_rules() {
    let lab = Lab::new();
    lab.repository(
        "a",
        "sha1",
        r#"
        seq 30 > f.txt; git add .; git commit -qm 'Add the numbers to the file'
        echo x >> f.txt; git commit -qam 'Add x to the file of numbers (#7)'
        git revert --no-edit HEAD >/dev/null
        git commit -q --allow-empty -m 'Do nothing at all for once'
        git revert --no-commit HEAD~1
        git commit -qm 'Reapply "Add x to the file of numbers (#7)"' -m "This reverts commit $(git rev-parse HEAD~1)."
        echo y >> f.txt; git commit -qam 'Add y to the file of numbers (#8)'
        sed -i '$d' f.txt; git commit -qam 'Revert "Add y to the file of numbers (#8)" (#9)' -m 'Reverts owner/name#8'
        git commit -q --allow-empty -m 'Revert "Add what nobody ever added"'
        "#,
    );
    lab.script(
        &lab.path("a"),
        r#"
        echo z >> f.txt; git commit -qam 'Add z to the file of numbers'
        git checkout -qb side; echo "This reverts commit $(git rev-parse --short=9 HEAD)." > ../said
        git revert --no-commit HEAD; git commit -qm 'Take back the z of the file' -m "$(cat ../said)"
        echo v >> f.txt; git commit -qam 'Add v to the file of numbers'
        git revert --no-commit HEAD; git commit -qm "Backout $(git rev-parse --short=12 HEAD) for failures"
        echo w >> f.txt; git commit -qam 'Add w to the file of numbers'
        git revert --no-commit HEAD; git commit -qm 'Back out w' -m "This reverts $(git rev-parse --short=9 HEAD) as it broke"
        git checkout -q -
        "#,
    );
    let subject = |id: &str| {
        let subject = git(&lab.path("a"), &["log", "-1", "--format=%s", id]);
        let subject = String::from_utf8(subject).expect("text").trim().to_owned();
        // Its subject has an id in it.
        if subject.starts_with("Backout ") { "Backout of v".to_owned() } else { subject }
    };
    let links = |store: &str| -> Vec<(String, String, String)> {
        let text = fs::read_to_string(lab.path(store).join("assembly/links.jsonl")).expect("links");
        let text_of = |link: &Value, name: &str| link[name].as_str().unwrap_or_default().to_owned();
        let links = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let mut links: Vec<_> = links
            .map(|l| (subject(&text_of(&l, "commit")), text_of(&l, "kind"), subject(&text_of(&l, "by"))))
            .collect();
        links.sort();
        links
    };
    // `instruct` drops reverts, and only the second run sees the branch.
    lab.mine("a", "store", &["--filter", "instruct", "--all-branches"]);
    let assembly = assemble(&lab, "store", &[]);
    let expected = [
        ("Add v to the file of numbers", "reverted", "Backout of v"),
        ("Add w to the file of numbers", "reverted", "Back out w"),
        ("Add x to the file of numbers (#7)", "relanded", "Reapply \"Add x to the file of numbers (#7)\""),
        ("Add x to the file of numbers (#7)", "reverted", "Revert \"Add x to the file of numbers (#7)\""),
        ("Add y to the file of numbers (#8)", "reverted", "Revert \"Add y to the file of numbers (#8)\" (#9)"),
        ("Add z to the file of numbers", "reverted", "Take back the z of the file"),
        ("Revert \"Add x to the file of numbers (#7)\"", "reverted", "Reapply \"Add x to the file of numbers (#7)\""),
    ]
    .map(|(commit, kind, by)| (commit.to_owned(), kind.to_owned(), by.to_owned()));
    assert_eq!(links("store"), expected);
    assert_eq!((&assembly["links"]["reverted"], &assembly["links"]["relanded"]), (&json!(6), &json!(1)));
    lab.ok(&["verify", "store"]);
    // Mined in two steps, the links are the same.
    git(&lab.path("a"), &["branch", "early", "HEAD~4"]);
    lab.mine("a", "steps", &["--filter", "none", "--rev", "early"]);
    git(&lab.path("a"), &["branch", "-f", "early", "side"]);
    lab.mine("a", "steps", &["--filter", "none", "--rev", "early"]);
    assemble(&lab, "steps", &[]);
    assert_eq!(links("steps"), expected);
    fs::write(lab.path("store/assembly/links.jsonl"), "").expect("it can be written");
    assert_eq!(lab.gitlode(&["verify", "store"]).status.code(), Some(5));
}
