//! The store under damage, and under a machine that fails.

mod support;

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::{Value, json};
use support::{Lab, edit, git};

const STEP: &str = "for i in 1 2 3; do echo $RANDOM_STEP $i >> f.txt; git add f.txt; git commit -qm \"Say step $RANDOM_STEP line $i\"; done";

/// A store with three batches of the repository `a` and one of `b`.
fn three_batches(lab: &Lab) {
    lab.repository("a", "sha1", "");
    lab.repository("b", "sha1", &STEP.replace("$RANDOM_STEP", "b"));
    for step in ["one", "two", "three"] {
        lab.script(&lab.path("a"), &STEP.replace("$RANDOM_STEP", step));
        lab.ok(&["mine", "a", "--store", "store", "-q"]);
    }
    lab.ok(&["mine", "b", "--store", "store", "-q"]);
}

/// The directory in the store that has so many checkpoints.
fn directory(store: &Path, checkpoints: usize) -> PathBuf {
    let directories = fs::read_dir(store.join("repositories")).expect("a store");
    let count = |path: &PathBuf| (0..9).filter(|n| path.join(format!("0001-{n:06}.json")).exists()).count();
    directories
        .map(|entry| entry.expect("an entry").path())
        .find(|path| count(path) == checkpoints)
        .expect("one of them")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

type Damage = fn(&Path);

#[test]
fn every_damage_is_found_and_mended_without_touching_what_is_whole() {
    let cases: &[(&str, usize, &str, Damage)] = &[
        ("a manifest that is gone", 1, "No such file", |dir| {
            fs::remove_file(dir.join("0001-000001-000000.json")).expect("it is there");
        }),
        ("a manifest that is none", 1, "is no valid manifest", |dir| {
            fs::write(dir.join("0001-000001-000000.json"), "oops").expect("it can be written");
        }),
        ("a manifest of something else", 0, "differs from what its batch says", |dir| {
            fs::copy(dir.join("0001-000001-000000.json"), dir.join("0001-000000-000000.json")).expect("it is copied");
        }),
        ("a count of commits", 1, "it counts 9 commits, its rows have 3", |dir| {
            edit(&dir.join("0001-000001.json"), &|checkpoint| {
                checkpoint["funnel"]["commits"]["kept"] = 9.into();
                checkpoint["funnel"]["commits"]["candidates"] = 9.into();
            });
        }),
        ("a checkpoint under another name", 2, "the checkpoint of another batch", |dir| {
            fs::copy(dir.join("0001-000001.json"), dir.join("0001-000002.json")).expect("it is copied");
        }),
        ("a checkpoint behind the last one", 3, "the checkpoint of another batch", |dir| {
            fs::copy(dir.join("0001-000001.json"), dir.join("0001-000003.json")).expect("it is copied");
        }),
        ("a gap in history", 2, "does not begin where the batch before it ends", |dir| {
            edit(&dir.join("0001-000002.json"), &|checkpoint| checkpoint["hidden"] = serde_json::json!([]));
        }),
        ("tips that are gone", 2, "its checksum does not match", |dir| {
            let path = dir.join("0001-000002.json");
            let mut checkpoint: Value = serde_json::from_slice(&fs::read(&path).expect("one")).expect("JSON");
            checkpoint["tips"] = serde_json::json!([]);
            fs::write(path, checkpoint.to_string()).expect("it can be written");
        }),
        ("a checkpoint that is gone", 1, "the batch is missing", |dir| {
            fs::remove_file(dir.join("0001-000001.json")).expect("it is there");
        }),
        ("the last checkpoint gone", 2, "of 3 batches of", |dir| {
            fs::remove_file(dir.join("0001-000002.json")).expect("it is there");
        }),
        ("a checkpoint that is none", 0, "is no valid manifest", |dir| {
            fs::write(dir.join("0001-000000.json"), "").expect("it can be written");
        }),
        ("a byte of a segment", 1, "its checksum is wrong", |dir| {
            let path = dir.join("0001-000001-000000.arrow");
            let mut bytes = fs::read(&path).expect("a segment");
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
            fs::write(path, bytes).expect("it can be written");
        }),
        ("a segment that is gone", 2, "it is missing", |dir| {
            fs::remove_file(dir.join("0001-000002-000000.arrow")).expect("it is there");
        }),
    ];
    let lab = Lab::new();
    three_batches(&lab);
    let whole = lab.export("store");
    lab.ok(&["verify", "store"]);
    for (name, left, message, damage) in cases {
        let copied = Command::new("cp").args(["-r", "store", "copy"]).current_dir(lab.dir.path()).status();
        assert!(copied.expect("cp runs").success());
        let directory = directory(&lab.path("copy"), 3);
        damage(&directory);
        let found = lab.gitlode(&["verify", "copy"]);
        assert_eq!(found.status.code(), Some(5), "{name}: {}", text(&found));
        assert!(text(&found).contains(message), "{name}: {}", text(&found));
        let found = lab.gitlode(&["verify", "copy", "--json"]);
        let json: Value = serde_json::from_slice(&found.stdout).expect("JSON");
        assert!(json.to_string().contains(message) && found.stderr.is_empty(), "{name}: {json}");
        // The other repository goes on as if nothing were.
        lab.ok(&["mine", "b", "--store", "copy", "-q"]);
        let mended = lab.gitlode(&["verify", "copy", "--repair"]);
        assert_eq!(mended.status.code(), Some(0), "{name}: {}", text(&mended));
        lab.ok(&["verify", "copy"]);
        let checkpoints = (0..9).filter(|n| directory.join(format!("0001-{n:06}.json")).exists()).count();
        assert_eq!(checkpoints, *left, "{name}");
        lab.ok(&["mine", "a", "--store", "copy", "-q"]);
        assert!(lab.export("copy") == whole, "{name}: other rows than before");
        fs::remove_dir_all(lab.path("copy")).expect("it can be removed");
    }
}

#[test]
fn stray_files_are_nobodys_business() {
    let lab = Lab::new();
    three_batches(&lab);
    let whole = lab.export("store");
    fs::write(lab.path("store/repositories/.DS_Store"), "x").expect("it can be written");
    let dir = directory(&lab.path("store"), 3);
    fs::create_dir(dir.join("notes")).expect("a directory");
    fs::write(dir.join("notes.txt"), "mine").expect("it can be written");
    for args in [&["verify", "store"][..], &["stats", "store"], &["reindex", "store"], &["show", "store"]] {
        lab.ok(args);
    }
    lab.script(&lab.path("a"), &STEP.replace("$RANDOM_STEP", "four"));
    lab.ok(&["mine", "a", "b", "--store", "store", "-q"]);
    assert!(dir.join("notes.txt").exists() && dir.join("notes").exists());
    assert!(lab.export("store").len() > whole.len());
}

#[test]
fn mining_notices_segments_that_are_gone_or_cut() {
    let lab = Lab::new();
    three_batches(&lab);
    let segment = directory(&lab.path("store"), 3).join("0001-000001-000000.arrow");
    let whole = fs::read(&segment).expect("a segment");
    let mine = || lab.gitlode(&["mine", "a", "b", "--store", "store", "-q"]);
    fs::write(&segment, &whole[..100]).expect("it can be written");
    assert!(text(&mine()).contains("it has 100 bytes and should have"), "{}", text(&mine()));
    fs::remove_file(&segment).expect("it is there");
    let output = mine();
    assert!(output.status.code() == Some(3) && text(&output).contains("it is missing"), "{}", text(&output));
    assert!(text(&output).contains("verify STORE --repair"), "{}", text(&output));
    let stats = lab.gitlode(&["stats", "store"]);
    assert!(stats.status.code() == Some(5) && text(&stats).contains("it is missing"), "{}", text(&stats));
    // Only what is damaged is blamed, and only what is whole is counted.
    let verified = lab.gitlode(&["verify", "store", "--json"]);
    let verified: Value = serde_json::from_slice(&verified.stdout).expect("JSON");
    let a = verified["repositories"].as_array().expect("a list").iter().find(|one| one["damage"] != json!([]));
    let a = a.expect("one is damaged");
    assert_eq!((a["damage"].as_array().map(Vec::len), &a["identity"]), (Some(1), &json!(lab.path("a"))), "{a}");
    assert_eq!(a["rows"], 5, "3 of the 8 rows are in that segment: {a}");
    fs::write(&segment, &whole).expect("it can be written");
    assert_eq!(mine().status.code(), Some(0));
    fs::remove_file(&segment).expect("it is there");
    assert!(lab.ok(&["verify", "store", "--repair"]).contains(&format!("mine {} again", lab.path("a").display())));
    assert_eq!(mine().status.code(), Some(0));
    lab.ok(&["verify", "store"]);
}

#[test]
fn links_to_directories_are_followed_by_every_command() {
    let lab = Lab::new();
    three_batches(&lab);
    let whole = lab.export("store");
    let dir = directory(&lab.path("store"), 3);
    fs::rename(&dir, lab.path("elsewhere")).expect("it can be moved");
    std::os::unix::fs::symlink(lab.path("elsewhere"), &dir).expect("a link");
    assert!(lab.export("store") == whole);
    lab.script(&lab.path("a"), &STEP.replace("$RANDOM_STEP", "four"));
    lab.ok(&["mine", "a", "--store", "store", "-q"]);
    assert!(lab.ok(&["verify", "store"]).starts_with("2 repositories with 13 rows"));
    assert!(lab.path("elsewhere/0001-000003.json").exists());
    // Removing takes what is behind the link, also where a process was killed that had moved the link away.
    lab.script(&lab.path(""), "cp -r store killed; cp -r elsewhere aside");
    lab.ok(&["remove", "store", "a"]);
    assert!(!lab.path("elsewhere").exists());
    fs::create_dir_all(lab.path("killed/removed")).expect("a directory");
    let link = lab.path("killed/repositories").join(dir.file_name().expect("a name"));
    fs::remove_file(&link).expect("it is a link");
    std::os::unix::fs::symlink(lab.path("aside"), lab.path("killed/removed/a")).expect("a link");
    lab.ok(&["purge", "killed", "--owner", "nobody"]);
    assert!(!lab.path("aside").exists() && !lab.path("killed/removed").exists());
}

#[test]
fn what_is_in_the_way_is_named() {
    let lab = Lab::new();
    three_batches(&lab);
    let dir = directory(&lab.path("store"), 3);
    let cases = [dir.join("0001-000002.json"), dir.join("0001-000002-000000.arrow"), dir.join("0001-000003.json")];
    for path in cases {
        let kept = path.exists().then(|| fs::read(&path).expect("a file"));
        let _none_where_it_is_new = fs::remove_file(&path);
        fs::create_dir(&path).expect("a directory");
        for args in [&["verify", "store"][..], &["verify", "store", "--repair"]] {
            let output = lab.gitlode(args);
            assert_eq!(output.status.code(), Some(5), "{args:?}");
            assert!(text(&output).contains("is in the place of a file of the store"), "{}", text(&output));
        }
        fs::remove_dir(&path).expect("it can be removed");
        kept.iter().for_each(|bytes| fs::write(&path, bytes).expect("it can be written"));
        lab.ok(&["verify", "store"]);
    }
    fs::rename(&dir, lab.path("elsewhere")).expect("it can be moved");
    fs::write(&dir, "").expect("a file");
    for args in [&["verify", "store"][..], &["export", "store", "out"], &["mine", "b", "--store", "store"]] {
        let output = lab.gitlode(args);
        assert_eq!(output.status.code(), Some(5), "{args:?}");
        assert!(text(&output).contains("is in the place of a directory of the store"), "{}", text(&output));
    }
}

#[test]
fn one_damaged_repository_stops_no_other() {
    let lab = Lab::new();
    three_batches(&lab);
    let dir = directory(&lab.path("store"), 3);
    fs::write(dir.join("0001-000001.json"), "oops").expect("it can be written");
    lab.script(&lab.path("b"), &STEP.replace("$RANDOM_STEP", "c"));
    let mined = lab.gitlode(&["mine", "a", "b", "--store", "store", "--json"]);
    let summary: Value = serde_json::from_slice(&mined.stdout).expect("JSON");
    assert_eq!(mined.status.code(), Some(3));
    assert_eq!((&summary["repositories"][1]["report"]["rows"], &summary["interrupted"]), (&3.into(), &false.into()));
    // What leaves rows out must not look like success.
    for args in [&["stats", "store"][..], &["reindex", "store"], &["export", "store", "out"], &["show", "store"]] {
        let output = lab.gitlode(args);
        assert_eq!(output.status.code(), Some(5), "{args:?}");
        assert!(text(&output).contains("verify STORE --repair"), "{args:?}: {}", text(&output));
    }
    assert!(!lab.path("out").exists());
}

#[test]
fn remains_of_killed_runs_go_away() {
    let lab = Lab::new();
    three_batches(&lab);
    let dir = directory(&lab.path("store"), 3);
    // A run that was killed behind the checkpoint of a new generation leaves the old one.
    fs::write(dir.join("0000-000000-000000.arrow"), "old").expect("it can be written");
    // Whatever is in its checkpoint: nobody goes by it any more.
    let stats = lab.ok(&["stats", "store"]);
    fs::write(dir.join("0000-000000.json"), "{cut").expect("it can be written");
    let verified = lab.ok(&["verify", "store"]);
    assert!(verified.contains("2 files are of a run that was stopped"), "{verified}");
    assert_eq!(lab.ok(&["stats", "store"]), stats);
    lab.ok(&["mine", "a", "--store", "store", "-q"]);
    assert!(!dir.join("0000-000000-000000.arrow").exists() && !dir.join("0000-000000.json").exists());
    // A killed export, and one that still writes.
    for name in ["out.gitlode-1", "out.gitlode-2"] {
        fs::create_dir(lab.path(name)).expect("a directory");
        fs::write(lab.path(name).join(".gitlode-unfinished"), "").expect("it can be written");
    }
    let writing = fs::File::open(lab.path("out.gitlode-2/.gitlode-unfinished")).expect("it is there");
    writing.lock().expect("it can be locked");
    fs::create_dir(lab.path("out.gitlode-mine")).expect("a directory");
    lab.ok(&["export", "store", "out"]);
    let there = |name: &str| lab.path(name).exists();
    assert!(!there("out.gitlode-1") && there("out.gitlode-2") && there("out.gitlode-mine"));
    assert!(!there("out/.gitlode-unfinished") && there("out/manifest.json"));
}

/// Runs gitlode as somebody who may not read everything.
fn as_another_user(lab: &Lab, args: &[&str]) -> Output {
    let program = lab.path("gitlode-copy");
    if !program.exists() {
        fs::copy(env!("CARGO_BIN_EXE_gitlode"), &program).expect("it can be copied");
    }
    let is_root = fs::metadata(lab.dir.path()).expect("it is there").uid() == 0;
    let mut command = if is_root {
        for path in [lab.dir.path(), &lab.path("stores")] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("they can be set");
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command
        .args(args)
        .current_dir(lab.dir.path())
        .env("XDG_CONFIG_HOME", lab.dir.path())
        .env("GITLODE_FILTER", "none")
        .output()
        .expect("it runs")
}

#[test]
fn what_the_machine_can_not_read_is_not_missing() {
    let lab = Lab::new();
    fs::create_dir(lab.path("stores")).expect("a directory");
    let packed = lab.repository("packed", "sha1", &STEP.replace("$RANDOM_STEP", "p"));
    git(&packed, &["repack", "-adq"]);
    lab.script(&packed, &(STEP.replace("$RANDOM_STEP", "q") + "; git repack -dq"));
    let pack = |end: &str| {
        let files = fs::read_dir(packed.join(".git/objects/pack")).expect("packs").map(|e| e.expect("an entry").path());
        let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == end)).collect();
        files.sort();
        files.remove(0)
    };
    let close = |path: &Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("they can be set");
    };
    let loose = lab.repository("loose", "sha1", &STEP.replace("$RANDOM_STEP", "l"));
    let blob = String::from_utf8(git(&loose, &["rev-parse", "HEAD~1:f.txt"])).expect("an id");
    let blob = loose.join(format!(".git/objects/{}/{}", &blob[..2], blob[2..].trim()));
    let cases = [
        ("packed", pack("pack")),
        ("packed", pack("idx")),
        ("packed", packed.join(".git/objects/pack")),
        ("loose", blob),
    ];
    for (number, (name, path)) in cases.iter().enumerate() {
        let store = format!("stores/{number}");
        let mode = fs::metadata(path).expect("it is there").mode();
        close(path, 0);
        let args = ["mine", name, "--store", &store, "--json"];
        let output = as_another_user(&lab, &args);
        close(path, mode);
        assert_eq!(output.status.code(), Some(3), "{}: {}", path.display(), text(&output));
        let said = text(&output);
        assert!(said.contains("can't be read") || said.contains("Could not read"), "{}: {said}", path.display());
        // The cause is gone: now it is mined, all of it.
        let output = as_another_user(&lab, &args);
        let summary: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(summary["funnel"]["changes"]["skipped"]["missing_object"], Value::Null, "{summary}");
        let rows = if *name == "packed" { 5 } else { 2 };
        assert_eq!(summary["funnel"]["changes"]["kept"], rows, "{}", path.display());
    }
}
