//! Rulesets at work: against the published rules, against each other, and in every way in which they can be asked.

#[path = "support/reference.rs"]
mod reference;
mod support;

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use gitlode::{
    filter::{Layer, load, tokens},
    pipeline::{
        candidate::{Origin, RowView},
        read::for_each,
        recipe::Recipe,
        trial,
    },
    sample::ChangeKind,
    store::{Store, ledger},
};
use reference::Candidate;
use serde_json::Value;
use support::Lab;

const MESSAGES: &str = include_str!("../fixtures/messages.sh");
const PRESETS: [&str; 7] = [
    "commitpack",
    "commitpack-strict",
    "commitpackft",
    "commitpackft-multilingual",
    "instruct",
    "multilingual",
    "none",
];

/// The verdicts that were compared, and how many rows each preset keeps.
#[derive(Debug, Default, PartialEq)]
struct Compared {
    rows: usize,
    kept: BTreeMap<&'static str, usize>,
}

/// Compares the verdicts of the CommitPack presets over all rows of a store, which was mined without rules, with those
/// of the reference. CommitPackFT is compared with its rule of tokens and without.
fn compare(store: &Path) -> Compared {
    let store = Store::open(store).expect("a store");
    let [pack, strict, ft] =
        ["commitpack", "commitpack-strict", "commitpackft"].map(|name| load(name).expect("a preset"));
    let mut compared = Compared::default();
    for_each(&store, &AtomicBool::new(false), |row| {
        let sample = row.sample;
        let expression = row.checkpoint.license.clone().unwrap_or_default();
        // The reference takes one name; of a choice it gets the first one that it takes.
        let names = expression.split(" OR ").map(|name| name.trim_matches(['(', ')']).to_lowercase());
        let names: Vec<String> = names.map(|n| n.replace("-only", "").replace("-or-later", "")).collect();
        let taken =
            names.iter().find(|name| ["mit", "apache-2.0", "bsd-3-clause", "unlicense"].contains(&name.as_str()));
        let candidate = Candidate {
            commit: sample.commit.into(),
            message: sample.message.into(),
            old_file: sample.old_file.map(Into::into),
            new_file: sample.new_file.map(Into::into),
            old_contents: sample.old_contents.unwrap_or("").into(),
            new_contents: sample.new_contents.unwrap_or("").into(),
            files_modified: sample.files_modified.expect("a count").into(),
            files_changed: sample.files_changed.into(),
            repository_license: taken.or(names.first()).cloned(),
        };
        let judge = |rules| trial::judge_row(rules, &row);
        let context = || format!("{} {:?} {}", sample.commit, sample.new_file, sample.subject);
        let in_pack = reference::commitpack(&candidate);
        assert_eq!(judge(&pack).is_ok(), in_pack.is_ok(), "{in_pack:?} {:?} {}", judge(&pack).err(), context());
        assert_eq!(judge(&strict).is_ok(), reference::commitpack_strict(&candidate).is_ok(), "{}", context());
        let count = tokens::count(&candidate.old_contents, &candidate.new_contents);
        let thin = |commit: &str| {
            // As documented: the first 8 bytes of the hash of the id and a zero byte, modulo 1000.
            let hash = blake3::hash(format!("{commit}\0").as_bytes());
            u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("8 bytes")) % 1000 < 100
        };
        let origin =
            Origin { license: row.checkpoint.license.as_deref(), scope: ft.license_scope, ..Origin::default() };
        let view = RowView::new(&origin, sample);
        let texts = ft.texts(sample.subject, sample.message);
        for counted in [Some(count), None] {
            let expected = in_pack.and_then(|()| reference::commitpackft(&candidate, counted, &thin));
            let objects = ft
                .rules()
                .iter()
                .find(|rule| (counted.is_some() || rule.id != "tokens") && rule.objects(&view, &texts));
            let ours = objects.map_or(Ok(texts.last_subject()), |rule| Err(rule.id.as_str()));
            assert_eq!(ours.is_ok(), expected.is_ok(), "{ours:?} {expected:?} {}", context());
            if let (Ok(ours), Ok(expected)) = (ours, &expected) {
                assert_eq!(ours, expected, "{}", context());
            }
            let name = if counted.is_some() { "commitpackft" } else { "commitpackft without tokens" };
            *compared.kept.entry(name).or_default() += usize::from(expected.is_ok());
        }
        compared.rows += 1;
        *compared.kept.entry("commitpack").or_default() += usize::from(in_pack.is_ok());
        Ok(())
    })
    .expect("the store can be read");
    compared
}

#[test]
fn verdicts_equal_those_of_the_published_rules() {
    let lab = Lab::new();
    lab.repository("r", "sha1", MESSAGES);
    lab.mine("r", "store", &["--kinds", "modified,added,deleted"]);
    let compared = compare(&lab.path("store"));
    assert!(
        compared.rows >= 50 && compared.kept["commitpack"] > 20 && compared.kept["commitpackft"] > 0,
        "{compared:?}"
    );
    // Stores of real repositories, mined with --filter none, can be compared as well.
    for store in std::env::var("VERDICT_STORES").unwrap_or_default().split(':').filter(|path| !path.is_empty()) {
        println!("{store}: {:?}", compare(Path::new(store)));
    }
}

#[test]
fn planned_and_written_order_keep_the_same() {
    let lab = Lab::new();
    lab.repository("r", "sha1", MESSAGES);
    lab.mine("r", "store", &["--kinds", "modified,added,deleted"]);
    let store = Store::open(&lab.path("store")).expect("a store");
    for name in PRESETS {
        let rules = load(name).expect("a preset");
        let (mut kept, mut dropped) = (0, 0);
        for_each(&store, &AtomicBool::new(false), |row| {
            let origin =
                Origin { license: row.checkpoint.license.as_deref(), scope: rules.license_scope, ..Origin::default() };
            let view = RowView::new(&origin, row.sample);
            let texts = rules.texts(row.sample.subject, row.sample.message);
            let planned = Layer::ALL.iter().find_map(|layer| rules.judge(*layer, &view, &texts)).is_some();
            assert_eq!(planned, rules.judge_unplanned(&view, &texts).is_some(), "{name}: {}", row.sample.subject);
            *(if planned { &mut dropped } else { &mut kept }) += 1;
            Ok(())
        })
        .expect("the store can be read");
        assert!(kept > 0 && (dropped > 0) == (name != "none"), "{name}: {kept} kept, {dropped} dropped");
    }
}

#[test]
fn filtering_a_store_equals_mining_with_the_filter() {
    let lab = Lab::new();
    lab.repository("r", "sha1", MESSAGES);
    lab.mine("r", "wide", &["--kinds", "modified,added,deleted"]);
    for name in PRESETS {
        let store = format!("narrow-{name}");
        let funnel = lab.mine("r", &store, &["--kinds", "modified,added,deleted", "--filter", name]);
        let narrow = lab.export(&store);
        let out = format!("out-{name}");
        let summary: Value =
            serde_json::from_str(&lab.ok(&["export", "wide", &out, "--filter", name, "--json"])).expect("JSON");
        let wide = fs::read(lab.path(&out).join("data/train-00000-of-00001.jsonl")).expect("a shard");
        assert!(narrow == wide, "{name}");
        assert_eq!(summary["changes"]["kept"], funnel["changes"]["kept"], "{name}");
        assert!(name == "none" || !narrow.is_empty(), "{name}");
        lab.ok(&["verify", &store]);
    }
}

#[test]
fn the_ledger_has_every_drop_and_explain_agrees() {
    let lab = Lab::new();
    let repository = lab.repository("r", "sha1", MESSAGES);
    for name in ["commitpackft", "instruct"] {
        let funnel = lab.mine("r", name, &["--filter", name, "--kinds", "modified,added", "--segment-bytes-max", "1"]);
        let rules = load(name).expect("a preset");
        let recipe = Recipe { kinds: vec![ChangeKind::Modified, ChangeKind::Added], ..Recipe::default() };
        let directory =
            fs::read_dir(lab.path(name).join("repositories")).expect("a store").next().expect("one").expect("one");
        let mut counts: BTreeMap<(bool, String), u64> = BTreeMap::new();
        let mut explained = BTreeMap::new();
        for entry in fs::read_dir(directory.path()).expect("a directory") {
            let path = entry.expect("an entry").path();
            if !path.to_string_lossy().ends_with(".ledger.arrow") {
                continue;
            }
            for drop in ledger::read(&path).expect("a ledger") {
                *counts.entry((drop.id.is_some(), drop.rule.clone())).or_default() += 1;
                let explained = explained.entry(drop.commit.clone()).or_insert_with(|| {
                    trial::explain(&repository, &drop.commit, &rules, &recipe).expect("it is a commit")
                });
                let file = |path: &str| explained.files.iter().find(|file| file.path == path).expect("a file");
                let file = match &drop.new_file {
                    Some(path) => file(path),
                    None => explained.files.first().expect("a file"),
                };
                let rule = file.rules.iter().find(|rule| rule.drops == Some(true)).expect("a rule objects");
                assert_eq!(file.verdict, format!("dropped by {}", drop.rule), "{drop:?}");
                let ours = (&drop.rule, drop.layer, &drop.value, &drop.bound);
                assert_eq!(ours, (&rule.rule, rule.layer, &rule.value, &rule.bound), "{drop:?}");
            }
        }
        for (unit, is_change) in [("commits", false), ("changes", true)] {
            let dropped = funnel[unit]["dropped"].as_object().expect("counts");
            let expected: BTreeMap<_, _> =
                dropped.iter().map(|(rule, n)| ((is_change, rule.clone()), n.as_u64().expect("a number"))).collect();
            let found: BTreeMap<_, _> = counts.iter().filter(|((change, _), _)| *change == is_change).collect();
            assert_eq!(found, expected.iter().collect(), "{name} {unit}");
            assert!(!expected.is_empty(), "{name} {unit}");
        }
        lab.ok(&["verify", name]);
        let without = format!("{name}-without");
        let same = lab.mine("r", &without, &["--filter", name, "--kinds", "modified,added", "--no-ledger"]);
        assert_eq!(same, funnel, "{name}");
        lab.ok(&["verify", &without]);
    }
}

#[test]
fn rules_save_the_objects_that_they_do_not_need() {
    let lab = Lab::new();
    lab.repository("r", "sha1", MESSAGES);
    let rule =
        |text: &str| format!("id = \"x\"\nwhy = \"A test.\"\n\n[[rule]]\nid = \"r\"\nwhy = \"A test.\"\n{text}\n");
    fs::write(lab.path("message.toml"), rule("field = \"message\"\nequals = \"no such message\""))
        .expect("it is written");
    fs::write(lab.path("path.toml"), rule("field = \"path\"\nglob = \"no/such/path\"")).expect("it is written");
    let read = |filter: &str| {
        let args = ["mine", "r", "--dry-run", "--json", "--filter", filter];
        let summary: Value = serde_json::from_str(&lab.ok(&args)).expect("JSON");
        let report = &summary["repositories"][0]["report"];
        assert_eq!(report["funnel"]["changes"]["kept"], if filter == "none" { 40 } else { 0 });
        let of = |kind: &str| report["objects_read"][kind].as_u64().expect("a number");
        (of("trees"), of("blobs"))
    };
    // The tip's tree and its licence are read to know the repository's licence.
    let (none, message, path) = (read("none"), read("message.toml"), read("path.toml"));
    assert_eq!(message, (1, 1), "a commit that its message drops has its tree left alone");
    assert_eq!(path.1, 1, "a change that its path drops has its blobs left alone");
    assert!(path.0 > 40 && none.0 == path.0 && none.1 > 40, "{none:?} {path:?}");
}

#[test]
fn files_that_their_path_gives_away_have_no_blob_decoded() {
    let lab = Lab::new();
    let script = "mkdir -p node_modules/a
        for i in 1 2 3 4 5; do
            for f in Cargo.lock x.min.js node_modules/a/x.js a.rs; do echo \"let value_$i of $f\" >> $f; git add -A; git commit -qm \"Change $f\"; done
            (cat x.go 2> /dev/null || echo '// Code generated by x. DO NOT EDIT.'; echo \"var v$i = $i\") > t; mv t x.go; git add -A; git commit -qm 'Change x.go'
        done";
    let repository = lab.repository("r", "sha1", script);
    let rule = "id = \"g\"\nwhy = \"w\"\n[[rule]]\nid = \"g\"\nwhy = \"w\"\nfield = \"generated\"\npresent = false\n";
    fs::write(lab.path("g.toml"), rule).expect("it is written");
    let blobs = |filter: &str| {
        let summary: Value =
            serde_json::from_str(&lab.ok(&["mine", "r", "--dry-run", "--json", "--filter", filter])).expect("JSON");
        let report = &summary["repositories"][0]["report"];
        (report["funnel"]["changes"]["kept"].clone(), report["objects_read"]["blobs"].as_u64().expect("a number"))
    };
    // Five versions each of five files, and four changes of each. What only contents tell is decoded.
    assert_eq!((blobs("none"), blobs("./g.toml")), ((20.into(), 25), (4.into(), 10)));
    lab.mine("r", "narrow", &["--filter", "./g.toml"]);
    lab.mine("r", "wide", &[]);
    let narrow = lab.export("narrow");
    lab.ok(&["export", "wide", "out", "--filter", "./g.toml"]);
    assert!(narrow == fs::read(lab.path("out/data/train-00000-of-00001.jsonl")).expect("a shard"));
    let layer = |commit: &str| {
        let rules = load(lab.path("g.toml").to_str().expect("UTF-8")).expect("it is valid");
        let explained = trial::explain(&repository, commit, &rules, &Recipe::default()).expect("it is a commit");
        let rule = explained.files[0].rules.first().expect("a rule");
        (rule.layer, rule.drops)
    };
    assert_eq!(layer("HEAD~4"), ("tree", Some(true)), "x.min.js");
    assert_eq!(layer("HEAD"), ("blob", Some(true)), "x.go");
    assert_eq!(layer("HEAD~1"), ("blob", Some(false)), "a.rs");
}

#[test]
fn filters_can_be_listed_checked_planned_and_tried() {
    let lab = Lab::new();
    lab.repository("r", "sha1", MESSAGES);
    lab.mine("r", "store", &[]);
    for name in PRESETS {
        assert!(lab.ok(&["filters"]).contains(name));
        assert!(lab.ok(&["filters", "check", name]).contains(" 0 of them fail"));
        let planned: Value = serde_json::from_str(&lab.ok(&["filters", "plan", name, "--json"])).expect("JSON");
        let layers: Vec<&str> =
            planned.as_array().expect("a list").iter().filter_map(|rule| rule["layer"].as_str()).collect();
        let order = ["commit", "tree", "header", "blob"];
        assert!(layers.is_sorted_by_key(|layer| order.iter().position(|known| known == layer)), "{layers:?}");
        let of = |on: &str| -> Value {
            serde_json::from_str(&lab.ok(&["filters", "try", name, on, "--json"])).expect("JSON")
        };
        let (store, repository) = (of("store"), of("r"));
        assert_eq!(store["funnel"]["changes"]["kept"], repository["funnel"]["changes"]["kept"], "{name}");
        assert_eq!(store["kept"], repository["kept"], "{name}");
    }
    assert!(lab.ok(&["filters", "plan", "instruct"]).contains("rewrite message-trailers"));
    assert!(lab.ok(&["filters", "fields"]).contains("files_modified"));
    fs::write(lab.path("f.toml"), "id = \"f\"\nwhy = \"w\"\n[[rule]]\nid = \"r\"\nwhy = \"w\"\nfield = \"subject\"\nequals = \"a\"\ndrop = [\"a\"]\n")
        .expect("it is written");
    let failed = lab.gitlode(&["filters", "check", "./f.toml"]);
    assert_eq!(failed.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&failed.stderr).contains("f.toml:3: rule r: keeps what it must drop"));
    let unknown = lab.gitlode(&["mine", "r", "--dry-run", "--filter", "nothing"]);
    assert_eq!(unknown.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("there is no ruleset nothing: there are commitpack"));
}

#[test]
fn subjects_of_all_languages_pass_the_whole_multilingual_preset() {
    let keep = [
        "更新文档",
        "修复登录错误",
        "添加搜索功能",
        "ログイン時のエラーを修正",
        "検索機能を追加する",
        "로그인 오류 수정",
        "검색 기능 추가",
        "문서 수정",
        "Corrige le calcul de la page",
        "Добавить поиск по всем страницам",
        "Füge eine Suche über alle Seiten hinzu",
        "Add a search over all of the pages",
    ];
    let drop = [
        "更新",
        "登录错误的原因",
        "ログイン画面のエラー",
        "エラーを修正しました",
        "로그인 화면의 오류",
        "오류를 수정했습니다",
        "Nouvelle page de la recherche avancée",
        "Corrige la page",
        "Search over all of the pages",
    ];
    let lab = Lab::new();
    let license = "Permission is hereby granted, free of charge, to any person obtaining a copy of this software and \
                   associated documentation files (the \"Software\"), to deal in the Software without restriction, including \
                   without limitation the rights to use. The above copyright notice and this permission notice shall \
                   be included.";
    let repository = lab.repository("r", "sha1", &format!("echo '{license}' > LICENSE"));
    let commit = |subject: &str, line: usize| {
        let script = format!(
            "for i in $(seq 20); do echo \"let value_$i = compute($i, {line})\"; done > x.rs; git add -A; git commit -qm '{subject}'"
        );
        lab.script(&repository, &script);
    };
    commit("Start", 0);
    keep.iter().chain(&drop).enumerate().for_each(|(at, subject)| commit(subject, at + 1));
    lab.mine("r", "store", &["--filter", "commitpackft-multilingual"]);
    let rows = lab.rows("store");
    let mut kept: Vec<&str> = rows.iter().map(|row| row["subject"].as_str().expect("text")).collect();
    kept.sort_unstable();
    let mut expected = keep;
    expected.sort_unstable();
    assert_eq!(kept, expected);
}

/// Finnish has no list of verbs, so other rulesets drop all of it; here noise goes by the line heuristics, each counted.
#[test]
fn a_small_language_stays_and_its_noise_is_counted() {
    let keep = [
        "Korjaa virhe tyhjän tiedoston lukemisessa",
        "Lisää haku kaikille sivuille asetuksista",
        "Poista vanhentunut asetus palvelimen asetuksista",
        "Päivitä käännökset vastaamaan uutta käyttöliittymää",
        "Oprav chybu při čtení prázdného souboru",
        "Laga felet som uppstår när filen är tom",
        "Fix the error in an empty file",
    ];
    let drop = [
        ("line-digits", "Korjaa virhe tiedostossa 20241126 ja 12345678901"),
        ("line-punctuation", "Korjaa virhe >>>>>> ######## ;;;;;; [[[]]] tiedostossa"),
        ("line-capitals", "KORJAA VIRHE TYHJÄN TIEDOSTON LUKEMISESSA"),
        ("line-type-token", "Korjaa tiedoston tiedoston tiedoston virhe virhe virhe tiedoston"),
        ("line-foreign", "Korjaa virhe joka tapahtuu kun tiedosto ñandúñú on tyhjä"),
        ("line-words", "Se on nyt niin että ei se voi olla"),
        ("subject-verb", "Typo in the help of the pager"),
        ("language-known", "ᚠᚢᚦᚨᚱ ᚲᚷᚹᚺᚾ ᛁᛃᛇᛈᛉ"),
    ];
    let lab = Lab::new();
    let license = "Permission is hereby granted, free of charge, to any person obtaining a copy of this software and \
                   associated documentation files (the \"Software\"), to deal in the Software without restriction, including \
                   without limitation the rights to use. The above copyright notice and this permission notice shall \
                   be included.";
    let repository = lab.repository("r", "sha1", &format!("echo '{license}' > LICENSE"));
    let subjects = keep.iter().copied().chain(drop.iter().map(|(_, subject)| *subject));
    let repeated = "Korjaa virhe tyhjän kansion lukemisessa\n\nhaha haha haha haha haha haha";
    for (line, message) in std::iter::once("Start").chain(subjects).chain([repeated]).enumerate() {
        fs::write(lab.path("message"), message).expect("it is written");
        let script = format!(
            "for i in $(seq 20); do echo \"let value_$i = compute($i, {line}000)\"; done > x.rs; git add -A; git commit -qF ../message"
        );
        lab.script(&repository, &script);
    }
    let funnel = lab.mine("r", "store", &["--filter", "multilingual"]);
    let rows = lab.rows("store");
    let mut kept: Vec<&str> = rows.iter().map(|row| row["subject"].as_str().expect("text")).collect();
    let mut expected = keep;
    kept.sort_unstable();
    expected.sort_unstable();
    assert_eq!(kept, expected, "{funnel}");
    let dropped = |rule: &str| {
        ["commits", "changes"].iter().map(|unit| funnel[*unit]["dropped"][rule].as_u64().unwrap_or(0)).sum::<u64>()
    };
    for rule in drop.iter().map(|(rule, _)| *rule).chain(["line-repeats"]) {
        assert_eq!(dropped(rule), 1, "{rule}: {funnel}");
    }
    for ruleset in ["instruct", "commitpackft-multilingual"] {
        lab.mine("r", ruleset, &["--filter", ruleset]);
        let rows = lab.rows(ruleset);
        let finnish = rows.iter().filter(|row| row["message_language"] == "fi").count();
        assert_eq!(finnish, 0, "{ruleset}");
    }
}

#[test]
fn values_that_no_row_has_and_expressions_that_fail_are_named() {
    let lab = Lab::new();
    lab.repository("r", "sha1", MESSAGES);
    let write = |rule: &str| {
        let text = format!("id = \"f\"\nwhy = \"w\"\n[[rule]]\nid = \"r\"\nwhy = \"w\"\n{rule}\n");
        fs::write(lab.path("f.toml"), text).expect("it is written");
    };
    for (rule, reason) in [
        ("field = \"kind\"\nequals = \"modifed\"", "there is no kind \"modifed\"; there are modified, added, deleted"),
        ("not = { field = \"author_kind\", equals = [\"bot\", \"robot\"] }", "there is no author_kind \"robot\""),
        ("field = \"kind\"\nlower = true\nequals = \"modifed\"", "there is no kind \"modifed\""),
        ("field = \"lang\"\nequals = \"Rust\"", "there is no lang \"Rust\""),
        ("field = \"lang\"\nequals = \"rusty\"", "rust"),
        ("field = \"language\"\nequals = \"rust\"", "there is no language \"rust\""),
        ("field = \"message_language\"\nequals = \"english\"", "there is no message_language \"english\""),
        ("field = \"generated\"\nequals = \"lock\"", "there is no generated \"lock\""),
        ("any = [{ license = \"permisive\" }]", "there is no licence policy \"permisive\"; there are"),
    ] {
        write(rule);
        let refused = lab.gitlode(&["mine", "r", "--dry-run", "--filter", "./f.toml"]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(4), "{rule}: {said}");
        assert!(said.contains("f.toml:3: rule r: ") && said.contains(reason), "{rule}: {said}");
    }
    // `generated` has a value in a few rows only: on the others the expression fails, negated or not.
    for rule in ["expr = \"generated | matches('x')\"", "not = { expr = \"generated | matches('x')\" }"] {
        write(rule);
        let mined = lab.gitlode(&["mine", "r", "--store", rule, "--json", "--filter", "./f.toml"]);
        let said = String::from_utf8_lossy(&mined.stderr).into_owned();
        assert!(mined.status.success() && said.contains("f.toml:3: rule r: the expression failed 40 times"), "{said}");
        assert!(lab.rows(rule).is_empty());
        let explained = lab.ok(&["explain", "r", "HEAD", "--filter", "./f.toml", "--json"]);
        assert!(explained.contains("the expression fails: "), "{explained}");
    }
}

#[test]
fn tokens_are_counted_by_the_tokenizer_that_is_given() {
    let lab = Lab::new();
    let script = "for i in 1 2 3 4; do echo one two >> f; git add f; git commit -qm \"Say more words, $i\"; done";
    lab.repository("r", "sha1", script);
    let rule = "id = \"t\"\nwhy = \"w\"\n[[rule]]\nid = \"t\"\nwhy = \"w\"\ntokens = { max = 9, exact = true }\n";
    fs::write(lab.path("t.toml"), rule).expect("it is written");
    let refused = lab.gitlode(&["mine", "r", "--store", "store", "--filter", "t.toml"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        refused.status.code() == Some(4) && said.contains("t.toml:3") && said.contains("--tokenizer FILE"),
        "{said}"
    );
    let tokenizer = |name: &str, kind: &str| {
        let text = format!(
            r#"{{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,
            "pre_tokenizer":{{"type":"{kind}"}},"post_processor":null,"decoder":null,
            "model":{{"type":"WordLevel","vocab":{{"[UNK]":0}},"unk_token":"[UNK]"}}}}"#
        );
        fs::write(lab.path(name), text).expect("it is written");
    };
    // Between white space there are 6, 10 and 14 words: the mark and the first word of the new contents are one.
    tokenizer("words.json", "WhitespaceSplit");
    let mine = |file: &str| lab.mine("r", "store", &["--filter", "t.toml", "--tokenizer", file])["changes"].clone();
    let mined = mine("words.json");
    assert_eq!((&mined["kept"], &mined["dropped"]["t"]), (&1.into(), &2.into()), "{mined}");
    // Another tokenizer makes the repository due. This one makes three tokens of the mark, and so 9 of the first change.
    tokenizer("classes.json", "Whitespace");
    let again = mine("classes.json");
    assert_eq!((&again["kept"], lab.rows("store").len()), (&1.into(), 1), "{again}");
    fs::write(lab.path("bad.json"), "{}").expect("it is written");
    let bad = lab.gitlode(&["mine", "r", "--store", "store", "--filter", "t.toml", "--tokenizer", "bad.json"]);
    let said = String::from_utf8_lossy(&bad.stderr).into_owned();
    assert!(bad.status.code() == Some(4) && said.contains("bad.json is no tokenizer"), "{said}");
}

#[test]
fn changed_rules_make_a_repository_due_and_columns_reach_rules() {
    let lab = Lab::new();
    lab.repository("r", "sha1", MESSAGES);
    let rules = |min: u32| {
        let text = format!(
            "id = \"stars\"\nwhy = \"w\"\n[[rule]]\nid = \"r\"\nwhy = \"w\"\nfield = \"column.stars\"\nvalue = {{ min = {min} }}\n"
        );
        fs::write(lab.path("stars.toml"), text).expect("it is written");
    };
    fs::write(lab.path("list.csv"), "path,stars\nr,50\n").expect("it is written");
    let kept = || lab.mine("@list.csv", "store", &["--filter", "stars.toml"])["changes"]["kept"].clone();
    rules(10);
    assert_eq!(kept(), 40);
    assert_eq!(kept(), 0, "nothing new");
    rules(60);
    assert_eq!((kept(), lab.rows("store").len()), (Value::from(0), 0), "the rules changed, so it was mined again");
    rules(50);
    assert_eq!((kept(), lab.rows("store").len()), (Value::from(40), 40));
    // What the list says decides anew, where a rule asks for it.
    let list = |stars: u32| fs::write(lab.path("list.csv"), format!("path,stars\nr,{stars}\n")).expect("it is written");
    list(5);
    assert_eq!((kept(), lab.rows("store").len()), (Value::from(0), 0), "fewer stars than the rule demands");
    list(500);
    assert_eq!((kept(), lab.rows("store").len()), (Value::from(40), 40), "and now more");
    // Columns that were joined.
    let rows = lab.rows("store");
    let scores: Vec<String> = rows
        .iter()
        .enumerate()
        .map(|(at, row)| serde_json::json!({"id": row["id"], "score": at as f64 / 10.0}).to_string())
        .collect();
    fs::write(lab.path("scores.jsonl"), scores.join("\n")).expect("it is written");
    fs::write(
        lab.path("score.toml"),
        "id = \"score\"\nwhy = \"w\"\n[[rule]]\nid = \"r\"\nwhy = \"w\"\nfield = \"column.score\"\nvalue = { min = 3.0 }\n",
    )
    .expect("it is written");
    let joined = lab.ok(&["export", "store", "joined", "--filter", "score.toml", "--join", "scores.jsonl"]);
    assert!(joined.starts_with("10 of 40 rows"), "{joined}");
    let texts = |name: &str| StringArray::from_iter_values(rows.iter().map(|row| row[name].as_str().expect("text")));
    let numbers = Float64Array::from_iter_values((0..rows.len()).map(|at| at as f64 / 10.0));
    let columns: [(&str, ArrayRef); 2] = [("id", Arc::new(texts("id"))), ("score", Arc::new(numbers))];
    let batch = RecordBatch::try_from_iter(columns).expect("a batch");
    let file = fs::File::create(lab.path("scores.parquet")).expect("it can be made");
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("it is written");
    writer.close().expect("it is whole");
    let parquet = lab.ok(&["export", "store", "parquet", "--filter", "score.toml", "--join", "scores.parquet"]);
    assert!(parquet.starts_with("10 of 40 rows"), "{parquet}");
    // Expressions see them, too, as numbers where they are some.
    for (at, (expression, kept)) in [
        ("column.score >= 3", 10),
        ("column.score is number and column.score < 1.5", 15),
        ("column.score is none", 0),
        ("column.other is none and column.stars == 500", 40),
    ]
    .into_iter()
    .enumerate()
    {
        let rule = format!("id = \"e\"\nwhy = \"w\"\n[[rule]]\nid = \"r\"\nwhy = \"w\"\nexpr = \"{expression}\"\n");
        fs::write(lab.path("expr.toml"), rule).expect("it is written");
        let out = format!("expr-{at}");
        let exported = lab.ok(&["export", "store", &out, "--filter", "expr.toml", "--join", "scores.jsonl"]);
        assert!(exported.starts_with(&format!("{kept} of 40 rows")), "{expression}: {exported}");
    }
    let id = rows[0]["id"].as_str().expect("text");
    fs::write(lab.path("twice.jsonl"), format!("{{\"id\":\"{id}\",\"score\":1}}\n{{\"id\":\"{id}\",\"score\":2}}\n"))
        .expect("it is written");
    let twice = lab.gitlode(&["export", "store", "twice", "--join", "twice.jsonl"]);
    assert_eq!(twice.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&twice.stderr).contains("line 2: there are other values for"), "{twice:?}");
    fs::write(lab.path("bad.jsonl"), "{\"score\": 1}\n").expect("it is written");
    let bad = lab.gitlode(&["export", "store", "bad", "--join", "bad.jsonl"]);
    assert_eq!(bad.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&bad.stderr).contains("line 1: there is no \"id\""));
}
