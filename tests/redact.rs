//! Redaction: nothing that was planted leaves with a row, and rows stay whole.

mod support;

use std::{collections::BTreeMap, fs, io::Read as _, path::Path};

use gitlode::store::ledger;
use serde_json::{Value, json};
use support::{Lab, edit, git};

/// The secret key of the first test in RFC 8032, section 7.1.
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----";

/// The first example of each rule of `filters/secrets.toml`, by id.
fn examples() -> Vec<(String, String)> {
    let table: toml::Table = fs::read_to_string("filters/secrets.toml").expect("rules").parse().expect("TOML");
    let rules = table["secret"].as_array().expect("rules");
    let text = |value: &toml::Value| value.as_str().expect("text").replace('|', "");
    rules.iter().map(|rule| (text(&rule["id"]), text(&rule["find"][0]))).collect()
}

/// The part of an example that is drawn by lot.
fn needle(example: &str) -> String {
    let runs = example.split(|c: char| !c.is_ascii_alphanumeric());
    runs.max_by_key(|run| run.len()).expect("a run").to_owned()
}

fn commit(repository: &Path, message: &str) {
    git(repository, &["add", "."]);
    git(repository, &["commit", "-q", "-m", message]);
}

fn assemble(lab: &Lab, store: &str, more: &[&str]) -> Value {
    serde_json::from_str(&lab.ok(&[&["assemble", store, "--json", "-q"], more].concat())).expect("JSON")
}

/// Rows of an export as JSON lines, with its manifest.
fn export(lab: &Lab, store: &str, out: &str) -> (Vec<Value>, Value) {
    lab.ok(&["export", store, out, "--assembled"]);
    let shard = fs::read_to_string(lab.path(out).join("data/train-00000-of-00001.jsonl")).expect("a shard");
    let manifest = fs::read(lab.path(out).join("manifest.json")).expect("a manifest");
    let rows = shard.lines().map(|line| serde_json::from_str(line).expect("a row")).collect();
    (rows, serde_json::from_slice(&manifest).expect("JSON"))
}

fn text<'a>(row: &'a Value, column: &str) -> &'a str {
    row[column].as_str().unwrap_or_default()
}

/// Demands that git turns the old contents of `row` into the new ones by its diff, and that its lines are counted.
fn applies(lab: &Lab, row: &Value) {
    let directory = lab.path("apply");
    let _first_time = fs::remove_dir_all(&directory);
    fs::create_dir(&directory).expect("a directory");
    let file = directory.join(text(row, "new_file"));
    fs::write(&file, text(row, "old_contents")).expect("it can be written");
    fs::write(directory.join("patch"), text(row, "diff")).expect("it can be written");
    git(&directory, &["apply", "patch"]);
    assert_eq!(fs::read_to_string(&file).expect("a file"), text(row, "new_contents"));
    let hunks = text(row, "diff").lines().skip_while(|line| !line.starts_with("@@"));
    let (added, removed) = hunks.fold((0, 0), |(added, removed), line| {
        (added + i32::from(line.starts_with('+')), removed + i32::from(line.starts_with('-')))
    });
    assert_eq!((&row["additions"], &row["deletions"]), (&json!(added), &json!(removed)), "{row}");
}

#[test]
fn planted_secrets_of_all_kinds_are_masked_everywhere() {
    let lab = Lab::new();
    let with_needle = |(id, example): (String, String)| (id, needle(&example), example, "<SECRET_1>");
    let mut planted: Vec<(String, String, String, &str)> = examples().into_iter().map(with_needle).collect();
    assert!(planted.len() >= 20 && planted.iter().all(|(_, needle, ..)| needle.len() >= 12), "{planted:?}");
    for (id, needle, example, placeholder) in [
        ("key", "MC4CAQAw", KEY, "<PRIVATE_KEY_1>"),
        ("email", "ann.miller@corp.io", "write to ann.miller@corp.io", "<EMAIL_1>"),
        ("ip", "54.23.12.9", "listen 54.23.12.9", "<IP_1>"),
    ] {
        planted.push((id.into(), needle.into(), example.into(), placeholder));
    }
    let repository = lab.repository("r", "sha1", "");
    for (id, _, example, _) in &planted {
        let before = format!("# {id}\none\ntwo\n{example}\nthree of {id}\nfour\n");
        fs::write(repository.join(format!("{id}.txt")), before).expect("it can be written");
    }
    commit(&repository, "Add all of them");
    for (id, _, example, _) in &planted {
        let after = format!("# {id}\none\n2 of {id}\n{example}\nthree of {id}\nagain\n{example}\nfive\n");
        fs::write(repository.join(format!("{id}.txt")), after).expect("it can be written");
        commit(&repository, &format!("Write {id} twice\n\nIt was:\n{example}\n"));
    }
    lab.mine("r", "store", &["--filter", "none"]);
    let assembly = assemble(&lab, "store", &["--near-duplicates", "off"]);
    let (rows, manifest) = export(&lab, "store", "out");
    assert_eq!(rows.len(), planted.len());
    let by_file: BTreeMap<&str, &Value> = rows.iter().map(|row| (text(row, "new_file"), row)).collect();
    for (id, needle, _, placeholder) in &planted {
        let row = by_file[format!("{id}.txt").as_str()];
        assert!(!row.to_string().contains(needle), "{id}: {row}");
        for (column, count) in [("old_contents", 1), ("new_contents", 2), ("message", 1), ("diff", 2)] {
            assert_eq!(text(row, column).matches(placeholder).count(), count, "{id} in {column}: {row}");
        }
        applies(&lab, row);
    }
    // The account is the same in the record, the manifest and the card.
    let masked = &assembly["masked"];
    assert_eq!((&masked["rows"], &manifest["masked"]), (&json!(planted.len()), masked));
    let secrets = masked["secrets"].as_object().expect("rules");
    let ids: Vec<&String> = secrets.keys().collect();
    assert_eq!(ids, examples().iter().map(|(id, _)| id).collect::<Vec<_>>());
    assert_eq!(masked["kinds"]["private_keys"], json!({"rows": 1, "values": 1}));
    let card = fs::read_to_string(lab.path("out/README.md")).expect("a card");
    assert!(card.contains("## Redaction") && card.contains("| `secrets: npm-token` | 1 | 1 |"), "{card}");
    lab.ok(&["verify", "store"]);
    let said = lab.ok(&["assemble", "store"]);
    assert!(said.contains("secrets: npm-token") && said.contains("private_keys"), "{said}");
    // Every format has the masked rows, negatives included.
    for (format, file) in [
        ("commitpack", "data/text/data.jsonl"),
        ("arrow", "train/data-00000-of-00001.arrow"),
        ("grit", "train/text-embedding.jsonl"),
        ("sentence-transformers", "data/text/train-00000-of-00001.jsonl"),
        ("dolma", "documents/train-00000-of-00001.jsonl.gz"),
    ] {
        lab.ok(&["export", "store", format, "--assembled", "--format", format]);
        let mut bytes = fs::read(lab.path(format).join(file)).expect("a shard");
        if file.ends_with(".gz") {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut plain).expect("gzip");
            bytes = plain;
        }
        let bytes = String::from_utf8_lossy(&bytes);
        assert!(bytes.contains("<SECRET_1>") && bytes.contains("<PRIVATE_KEY_1>"), "{format}");
        for (id, needle, ..) in &planted {
            assert!(!bytes.contains(needle), "{id} in {format}");
        }
    }
    lab.ok(&["export", "store", "again", "--assembled"]);
    let shard = |out: &str| fs::read(lab.path(out).join("data/train-00000-of-00001.jsonl")).expect("a shard");
    assert_eq!(shard("again"), shard("out"));
    // Without --assembled nothing is masked.
    assert!(lab.rows("store").iter().any(|row| row.to_string().contains("ann.miller@corp.io")));
}

/// Two repositories that differ in a secret, and one change of nothing but a secret in each.
fn twins(lab: &Lab) {
    for (name, first, second) in
        [("a", "x7BWr2drgd1QsO7j", "Zt5Qp0LmVw83RbYc"), ("b", "Mq4XzT9bK2vHn6Lr", "u8JcDf3GyW1kSe5N")]
    {
        let repository = lab.repository(name, "sha1", "");
        let file = repository.join("a.py");
        let write = |text: &str, message: &str| {
            fs::write(&file, text).expect("it can be written");
            commit(&repository, message);
        };
        write(&format!("password = \"{first}\"\nname = 1\n"), &format!("Add the settings of {name}"));
        write(&format!("password = \"{first}\"\nname = 2\n"), "Change the name");
        write(&format!("password = \"{second}\"\nname = 2\n"), "Rotate the password");
        write("password = os.environ['A']\nname = 2\n", &format!("Read the password from elsewhere in {name}"));
    }
}

#[test]
fn duplicates_are_told_by_masked_texts() {
    let lab = Lab::new();
    twins(&lab);
    lab.mine("a", "store", &["b", "--filter", "none"]);
    let dropped = |more: &[&str]| {
        let assembly = assemble(&lab, "store", &[&["--near-duplicates", "off"], more].concat());
        lab.ok(&["verify", "store"]);
        let file = assembly["ledger"]["file"].as_str().map(|file| lab.path("store/assembly").join(file));
        let rows = file.map_or(Vec::new(), |file| ledger::read(&file).expect("a ledger"));
        let ledger = fs::read(lab.path("store/assembly/manifest.json")).expect("a manifest");
        assert!(!String::from_utf8_lossy(&ledger).contains("x7BWr2drgd1QsO7j"));
        assert!(rows.iter().all(|row| !row.value.contains("x7BWr2drgd1QsO7j")), "{rows:?}");
        (assembly["changes"]["dropped"].clone(), rows)
    };
    let (counts, rows) = dropped(&[]);
    assert_eq!(counts, json!({"exact_duplicate": 1, "secret_only": 2}));
    assert!(rows.iter().any(|row| row.rule == "secret_only" && row.value == "secrets"), "{rows:?}");
    let (rows, manifest) = export(&lab, "store", "out");
    assert_eq!((rows.len(), &manifest["dropped"]), (3, &counts));
    rows.iter().for_each(|row| applies(&lab, row));
    assert_eq!(dropped(&["--redact", "off"]).0, json!({}));
    let (counts, rows) = dropped(&["--redact", "off,secrets=drop"]);
    assert_eq!(counts, json!({"redact_secrets": 6}));
    assert!(rows.iter().any(|row| row.value == "generic-secret in old_contents"), "{rows:?}");
    let output = lab.gitlode(&["assemble", "store", "--redact", "mails=off"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && said.contains("there is no kind `mails`"), "{said}");
}

#[test]
fn a_file_of_rules_takes_the_place_of_ours() {
    let lab = Lab::new();
    twins(&lab);
    lab.mine("a", "store", &["--filter", "none"]);
    let rule = |word: &str| {
        let regex = format!("'name = ({word})'");
        let rule = format!(
            "placeholders = ['example']\nharmless = ['next']\nweak = ['test']\n[[secret]]\nid = 'names'\nkeywords = ['name']\n\
             regex = {regex}\nwhy = 'A test.'\nfind = ['name = 1']\n"
        );
        fs::write(lab.path("mine.toml"), rule).expect("it can be written");
    };
    rule("1|2");
    let assembly = assemble(&lab, "store", &["--secrets", "mine.toml", "--near-duplicates", "off"]);
    assert_eq!(assembly["changes"]["dropped"], json!({"secret_only": 1}));
    assert_eq!(assembly["masked"]["secrets"], json!({"names": {"rows": 2, "values": 2}}));
    // Another file decides anew.
    rule("1");
    let (rows, manifest) = export(&lab, "store", "out");
    assert_eq!((rows.len(), &manifest["masked"]["rows"]), (3, &json!(1)));
    rule("1+");
    let output = lab.gitlode(&["assemble", "store", "--secrets", "mine.toml"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(4) && said.contains("the rule names of secrets: its expression"), "{said}");
    assert!(said.contains("mine.toml") && said.contains("hint"), "{said}");
    let output = lab.gitlode(&["assemble", "store", "--secrets", "none.toml"]);
    assert_eq!(output.status.code(), Some(4));
}

#[test]
fn an_older_record_redacts_nothing() {
    let lab = Lab::new();
    twins(&lab);
    lab.mine("a", "store", &["--filter", "none"]);
    assemble(&lab, "store", &["--near-duplicates", "off"]);
    edit(&lab.path("store/assembly/manifest.json"), &|manifest| {
        let manifest = manifest.as_object_mut().expect("an object");
        manifest.remove("masked");
        manifest["options"].as_object_mut().expect("options").remove("redact");
    });
    lab.ok(&["verify", "store"]);
    let (rows, manifest) = export(&lab, "store", "out");
    assert_eq!((rows.len(), &manifest["masked"], &manifest["dropped"]), (3, &Value::Null, &json!({})));
    assert!(rows.iter().any(|row| text(row, "old_contents").contains("x7BWr2drgd1QsO7j")));
    assert!(!fs::read_to_string(lab.path("out/README.md")).expect("a card").contains("## Redaction"));
}

#[test]
fn answers_for_trainers_are_masked_as_their_prompts() {
    let lab = Lab::new();
    let contents = |owner: &str, limit: u32| {
        format!("owner = {owner}\nbackup = second.person@mail-of-ours.de\nlimit = {limit}\nname = service\nport = 80\n")
    };
    let repository = lab.repository("made", "sha1", "true");
    let write = |owner: &str, limit: u32, message: &str| {
        fs::write(repository.join("a.conf"), contents(owner, limit)).expect("it can be written");
        commit(&repository, message);
    };
    write("first.person@mail-of-ours.de", 1, "Add the settings");
    write("first.person@mail-of-ours.de", 2, "Raise the limit");
    let first = String::from_utf8(git(&repository, &["rev-parse", "HEAD"])).expect("an id");
    write("third.person@mail-of-ours.de", 3, &format!("Raise it once more\n\nFixes: {first}"));
    lab.mine("made", "store", &["--filter", "none"]);
    assemble(&lab, "store", &["--near-duplicates", "off"]);
    lab.ok(&["export", "store", "pairs", "--format", "dpo", "--assembled"]);
    let text = fs::read_to_string(lab.path("pairs/data/train-00000-of-00001.jsonl")).expect("a file");
    assert!(!text.contains("person@"), "{text}");
    let pair: Value = serde_json::from_str(text.trim_end()).expect("one record");
    let [prompt, chosen, rejected] = ["prompt", "chosen", "rejected"].map(|field| self::text(&pair, field));
    // The same person has the same name in the question and in both answers.
    assert!(prompt.contains("owner = <EMAIL_1>\nbackup = <EMAIL_2>"), "{prompt}");
    assert!(rejected.contains("owner = <EMAIL_1>\nbackup = <EMAIL_2>\nlimit = 2"), "{rejected}");
    assert!(chosen.contains("owner = <EMAIL_3>\nbackup = <EMAIL_2>\nlimit = 3"), "{chosen}");
}
