//! Mining as a user does it, on repositories made by scripts; `git` is the reference.

mod support;

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use support::{Lab, edit, git};

const KINDS: &str = include_str!("../fixtures/kinds.sh");

fn text<'v>(row: &'v Value, column: &str) -> &'v str {
    row[column].as_str().unwrap_or_default()
}

/// Commits of one file each, `n` of them, with messages that are fine.
fn history(n: usize) -> String {
    format!(
        "for i in $(seq {n}); do for f in a b c; do seq $i $((i + 40)) > $f.py; done; git add -A; \
         GIT_COMMITTER_DATE=\"$((1700000000 + i)) +0000\" git commit -q -m \"Count up to the number $i\"; done"
    )
}

#[test]
fn kinds_are_kept_or_skipped_with_a_reason() {
    let lab = Lab::new();
    lab.repository("kinds", "sha1", KINDS);
    let funnel = lab.mine("kinds", "store", &[]);
    let skipped = json!({"kind_added": 10, "kind_deleted": 2, "symlink": 2, "mode_only": 1, "lfs_pointer": 1, "binary": 1, "path_not_utf8": 1, "undecodable_text": 1});
    assert_eq!(funnel["changes"]["skipped"], skipped);
    assert_eq!(funnel["changes"]["kept"], 5);
    assert_eq!(funnel["commits"]["skipped"], json!({"merge": 1, "no_change": 1, "no_change_kept": 2}));
    let rows = lab.rows("store");
    let files: Vec<&str> = rows.iter().map(|row| text(row, "new_file")).collect();
    assert_eq!(files, ["latin.txt", "main.rs", "main.rs", "new\nline \"q\" é.txt", "plain.txt"]);
    assert_eq!(
        (text(&rows[0], "new_encoding"), text(&rows[0], "new_contents")),
        ("windows-1252", "Ce fichier a été changé à la main.\n")
    );
    assert_eq!(
        (&rows[1]["author_time"], &rows[1]["author_zone"], &rows[1]["commit_zone"]),
        (&json!(1_700_000_100), &json!(90), &json!(-420))
    );
    assert_eq!(
        (text(&rows[1], "lang"), text(&rows[1], "repos"), &rows[1]["files_changed"]),
        ("rust", "kinds", &json!(6))
    );
    assert!(rows.iter().all(|row| row["author_name"].is_null() && row["author_email"].is_null()));
}

#[test]
fn rows_and_diffs_equal_those_of_git() {
    let lab = Lab::new();
    for format in ["sha1", "sha256"] {
        let repository = lab.repository(format, format, KINDS);
        lab.mine(format, &format!("store-{format}"), &["--kinds", "modified,added,deleted"]);
        let rows = lab.rows(&format!("store-{format}"));
        assert_eq!(rows.len(), 13, "{format}");
        for row in rows {
            let blobs = [("old_blob", "old_contents", "old_encoding"), ("new_blob", "new_contents", "new_encoding")];
            for (blob, contents, _) in blobs.iter().filter(|(_, _, encoding)| row[*encoding] == "utf-8") {
                let expected = git(&repository, &["cat-file", "blob", text(&row, blob)]);
                assert_eq!(text(&row, contents).as_bytes(), expected, "{row}");
            }
            if row["new_encoding"] == "windows-1252" {
                continue;
            }
            let path = row["new_file"].as_str().or(row["old_file"].as_str()).expect("a path");
            let path = format!(":(top,literal){path}");
            // A file that became a directory matches what is in the directory, too.
            let inside = format!(":(top,exclude,glob){}/**", &path[":(top,literal)".len()..]);
            let parent = row["parent"].as_str();
            let arguments = ["diff-tree", "-p", "--full-index", "--no-renames", "--root", "--no-commit-id"];
            let sides = [parent, Some(text(&row, "commit"))].into_iter().flatten().collect();
            let expected = git(&repository, &[arguments.to_vec(), sides, vec!["--", &path, &inside]].concat());
            assert_eq!(text(&row, "diff"), String::from_utf8_lossy(&expected), "{row}");
        }
    }
}

#[test]
fn rows_do_not_depend_on_threads_packs_or_steps() {
    let lab = Lab::new();
    let repository = lab.repository("r", "sha1", &history(60));
    lab.mine("r", "one", &["--threads", "1"]);
    let expected = lab.export("one");
    assert_eq!(expected.iter().filter(|byte| **byte == b'\n').count(), 177);
    lab.mine("r", "five", &["--threads", "5", "--segment-bytes-max", "2000"]);
    assert_eq!(lab.export("five"), expected);
    git(&repository, &["gc", "-q"]);
    lab.mine("r", "packed", &[]);
    assert_eq!(lab.export("packed"), expected);
    git(&repository, &["branch", "old", "HEAD~30"]);
    git(&repository, &["symbolic-ref", "HEAD", "refs/heads/old"]);
    lab.mine("r", "steps", &[]);
    git(&repository, &["symbolic-ref", "HEAD", "refs/heads/main"]);
    let second = lab.mine("r", "steps", &[]);
    assert_eq!(second["changes"]["kept"], 90);
    assert_eq!(lab.export("steps"), expected);
    assert_eq!(lab.mine("r", "steps", &[])["changes"]["candidates"], 0);
    lab.ok(&["verify", "steps"]);
}

#[test]
fn rewritten_history_replaces_the_rows() {
    let lab = Lab::new();
    let repository = lab.repository("r", "sha1", &history(10));
    lab.mine("r", "store", &[]);
    git(&repository, &["commit", "-q", "--amend", "-m", "Say it in other words now"]);
    let report: Value = serde_json::from_str(&lab.ok(&["mine", "r", "--store", "store", "--json"])).expect("JSON");
    assert_eq!(report["repositories"][0]["report"]["replaced"], true);
    git(&repository, &["commit", "-q", "--amend", "-m", "Say it in yet other words now"]);
    let said = lab.ok(&["mine", "r", "--store", "store"]);
    assert!(said.contains("mined from the start: 1 repository, in place of 27 earlier rows"), "{said}");
    lab.mine("r", "fresh", &[]);
    assert_eq!(lab.export("store"), lab.export("fresh"));
}

#[test]
fn other_settings_do_not_replace_rows_unasked() {
    let lab = Lab::new();
    lab.repository("r", "sha1", &history(5));
    lab.mine("r", "store", &[]);
    let before = lab.export("store");
    let refused = lab.gitlode(&["mine", "r", "--store", "store", "--kinds", "added"]);
    assert_eq!(refused.status.code(), Some(3));
    let message = String::from_utf8_lossy(&refused.stderr);
    assert!(message.contains("other settings (kinds)") && message.contains("--replace"), "{message}");
    assert_eq!(lab.export("store"), before);
    assert_eq!(lab.mine("r", "store", &["--kinds", "added", "--replace"])["changes"]["kept"], 3);
}

#[test]
fn killed_runs_resume_without_loss() {
    let lab = Lab::new();
    for name in ["a", "b"] {
        lab.repository(&format!("many/{name}"), "sha1", &history(150));
    }
    lab.mine("many", "calm", &["--segment-bytes-max", "3000"]);
    let expected = lab.export("calm");
    for round in 0..12u64 {
        let mut child = lab
            .program()
            .args(["mine", "many", "--store", "rough", "-q", "-j", "1", "--segment-bytes-max", "3000"])
            .current_dir(lab.dir.path())
            .spawn()
            .expect("gitlode runs");
        std::thread::sleep(std::time::Duration::from_millis(13 + 17 * round));
        let _it_may_have_ended = child.kill();
        child.wait().expect("the child ends");
    }
    lab.mine("many", "rough", &["--segment-bytes-max", "3000"]);
    assert_eq!(lab.export("rough"), expected);
    lab.ok(&["verify", "rough"]);
    let files = |store: &str| -> BTreeSet<String> {
        let repositories = fs::read_dir(lab.path(store).join("repositories")).expect("a store");
        let directories = repositories.map(|entry| entry.expect("an entry").path());
        directories
            .flat_map(|d| fs::read_dir(d).expect("a directory"))
            .map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect()
    };
    assert_eq!(files("rough"), files("calm"), "no orphans");
}

#[test]
fn damage_is_counted_and_the_rest_is_mined() {
    let lab = Lab::new();
    let repository = lab.repository("r", "sha1", &history(10));
    let blob = String::from_utf8(git(&repository, &["rev-parse", "HEAD~3:a.py"])).expect("hex");
    let loose = repository.join(".git/objects").join(&blob[..2]).join(blob[2..].trim());
    fs::remove_file(&loose).expect("the blob is loose");
    // The three files of a commit are one blob, which two commits read.
    let funnel = lab.mine("r", "missing", &[]);
    assert_eq!((&funnel["changes"]["skipped"]["missing_object"], &funnel["changes"]["kept"]), (&json!(6), &json!(21)));
    fs::write(&loose, b"not zlib").expect("it can be written");
    let funnel = lab.mine("r", "corrupt", &[]);
    assert_eq!((&funnel["changes"]["skipped"]["corrupt_object"], &funnel["changes"]["kept"]), (&json!(6), &json!(21)));
    let tree = String::from_utf8(git(&repository, &["rev-parse", "HEAD~6^{tree}"])).expect("hex");
    fs::remove_file(repository.join(".git/objects").join(&tree[..2]).join(tree[2..].trim()))
        .expect("the tree is loose");
    let funnel = lab.mine("r", "trees", &[]);
    assert_eq!(funnel["commits"]["skipped"]["missing_object"], 2);
    let commit = String::from_utf8(git(&repository, &["rev-parse", "HEAD~1"])).expect("hex");
    fs::remove_file(repository.join(".git/objects").join(&commit[..2]).join(commit[2..].trim()))
        .expect("the commit is loose");
    let funnel = lab.mine("r", "commits", &[]);
    assert_eq!(
        (&funnel["commits"]["candidates"], &funnel["commits"]["skipped"]["missing_object"]),
        (&json!(2), &json!(2))
    );
}

#[test]
fn corrupt_packs_lose_only_what_they_hold() {
    let lab = Lab::new();
    let repository = lab.repository("r", "sha1", &history(30));
    git(&repository, &["gc", "-q"]);
    let pack = fs::read_dir(repository.join(".git/objects/pack")).expect("packs").map(|e| e.expect("an entry").path());
    let pack = { pack }.find(|path| path.extension().is_some_and(|e| e == "pack")).expect("a pack");
    let whole = fs::read(&pack).expect("a pack");
    let _read_only = Command::new("chmod").arg("u+w").arg(&pack).status().expect("chmod runs");
    for (case, at) in [1usize, 3, 5, 7].into_iter().enumerate() {
        let mut bytes = whole.clone();
        let from = whole.len() * at / 8;
        bytes[from..from + 40].fill(0xff);
        fs::write(&pack, bytes).expect("the pack can be written");
        let funnel = lab.mine("r", &format!("store-{case}"), &[]);
        let kept = funnel["changes"]["kept"].as_u64().expect("a count");
        assert!(kept < 87, "case {case}: {funnel}");
        lab.ok(&["verify", &format!("store-{case}")]);
    }
    fs::write(&pack, &whole[..whole.len() / 2]).expect("the pack can be written");
    let cut = lab.gitlode(&["mine", "r", "--store", "cut", "--json"]);
    let said = String::from_utf8_lossy(&cut.stderr).into_owned();
    assert!(cut.status.code() == Some(0) && said.contains("not tried again without --replace"), "{said}");
    let tried = lab.gitlode(&["mine", "r", "--dry-run"]);
    let said = String::from_utf8_lossy(&tried.stderr).into_owned();
    assert!(tried.status.success() && said.contains("missing or corrupt objects"), "{said}");
    assert!(!said.contains("--replace"), "a dry run leaves nothing behind: {said}");
    fs::write(&pack, &whole).expect("the pack can be written");
    let mended = lab.gitlode(&["mine", "r", "--store", "cut", "--replace"]);
    let said = String::from_utf8_lossy(&mended.stderr).into_owned();
    assert!(mended.status.success() && !said.contains("warning"), "{said}");
    assert_eq!(lab.rows("cut").len(), 87);
}

#[test]
fn anomalies_are_clear() {
    let lab = Lab::new();
    lab.repository("good", "sha1", &history(3));
    fs::create_dir(lab.path("nothing")).expect("a directory");
    let empty = lab.path("empty.git");
    git(lab.dir.path(), &["init", "-q", "--bare", empty.to_str().expect("UTF-8")]);
    let borrowed = lab.path("borrowed");
    git(lab.dir.path(), &["clone", "-q", "--shared", "good", borrowed.to_str().expect("UTF-8")]);
    let circle = lab.repository("circle", "sha1", &history(2));
    fs::write(circle.join(".git/HEAD"), "ref: refs/heads/x\n").expect("HEAD can be written");
    fs::write(circle.join(".git/refs/heads/x"), "ref: refs/heads/x\n").expect("a ref can be written");
    let table = lab.repository("reftable", "sha1", &history(1));
    git(&table, &["config", "extensions.refStorage", "reftable"]);
    let output = lab.gitlode(&[
        "mine",
        "nothing",
        "empty.git",
        "borrowed",
        "circle",
        "reftable",
        "no/such/place",
        "good",
        "--store",
        "store",
        "--json",
    ]);
    assert_eq!(output.status.code(), Some(3));
    let summary: Value = serde_json::from_slice(&output.stdout).expect("a JSON summary");
    let failures: Vec<String> = summary["repositories"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|one| !one["error"].is_null())
        .map(|one| format!("{}: {} ({})", text(one, "name"), text(one, "error"), text(one, "hint")))
        .collect();
    assert_eq!(failures.len(), 5, "{failures:?}");
    for part in [
        "nothing: neither a git repository",
        "borrows objects from",
        "in circles",
        "ref storage `reftable`",
        "no/such/place: no such file or directory, and no URL (give the path",
    ] {
        assert!(failures.iter().any(|failure| failure.contains(part)), "{part}: {failures:?}");
    }
    assert_eq!(lab.rows("store").len(), 6, "the good one is mined all the same");
    // Whoever closes the pipe early is told of the failures by the code.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let again = writer.try_clone().expect("a second end");
    let mut deaf = lab.program();
    let code = deaf.args(["mine", "nothing", "good", "--store", "store"]).stdout(writer).stderr(again).status();
    assert_eq!(code.expect("gitlode runs").code(), Some(3));
    // Who can't be told says so.
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let args = ["mine", "nothing", "good", "--store", "store", "--json"];
    let output = lab.program().args(args).stdout(full).output().expect("gitlode runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("error: standard output: "), "{said}");
    assert!(said.contains("[1/2] nothing: failed: ") && said.contains("[2/2] good: nothing new"), "{said}");
    assert_eq!(lab.mine("empty.git", "store2", &[])["commits"]["candidates"], 0);
    assert_eq!(lab.gitlode(&["mine", "good", "--store", "store3", "--rev", "nope"]).status.code(), Some(3));
    assert_eq!(
        lab.gitlode(&["mine", "good", "--store", "good"]).status.code(),
        Some(5),
        "a store is not made over other files"
    );
    assert_eq!(lab.gitlode(&["stats", "nothing"]).status.code(), Some(5));
    assert_eq!(lab.gitlode(&["mine", "good", "--stoore", "x"]).status.code(), Some(2));
    assert_eq!(lab.gitlode(&["mine", "good", "--store", "x", "--since", "yesterday"]).status.code(), Some(2));
}

#[test]
fn shallow_clones_do_not_diff_against_nothing() {
    let lab = Lab::new();
    let repository = lab.repository("r", "sha1", &history(10));
    let url = format!("file://{}", repository.display());
    git(lab.dir.path(), &["clone", "-q", "--depth", "4", &url, "shallow"]);
    let funnel = lab.mine("shallow", "store", &["--kinds", "modified,added"]);
    assert_eq!(
        (&funnel["commits"]["candidates"], &funnel["commits"]["skipped"]),
        (&json!(4), &json!({"shallow_boundary": 1}))
    );
    assert_eq!(funnel["changes"]["kept"], 9);
    git(&lab.path("shallow"), &["fetch", "-q", "--unshallow"]);
    let deepened = lab.mine("shallow", "store", &["--kinds", "modified,added"]);
    assert_eq!((&deepened["commits"]["candidates"], &deepened["changes"]["kept"]), (&json!(10), &json!(30)));
    assert_eq!(lab.rows("store").len(), 30);
    let again = lab.mine("shallow", "store", &["--kinds", "modified,added"]);
    assert_eq!(again["commits"]["candidates"], 0);
    let replaced = lab.mine("shallow", "store", &["--kinds", "modified,added", "--replace"]);
    assert_eq!(replaced, deepened);
    // History that was cut away afterwards is no reason to lose its rows.
    git(&lab.path("shallow"), &["fetch", "-q", "--depth", "3"]);
    let shallower = lab.gitlode(&["mine", "shallow", "--store", "store", "--kinds", "modified,added"]);
    assert_eq!((shallower.status.code(), lab.rows("store").len()), (Some(3), 30));
    let replaced = lab.mine("shallow", "store", &["--kinds", "modified,added", "--replace"]);
    assert_eq!((&replaced["commits"]["candidates"], lab.rows("store").len()), (&json!(3), 6));
    // One that is deepened but not whole shows more, and no less.
    git(lab.dir.path(), &["clone", "-q", "--depth", "4", &url, "deeper"]);
    lab.mine("deeper", "deep", &[]);
    git(&lab.path("deeper"), &["fetch", "-q", "--deepen", "3"]);
    let deepened = lab.mine("deeper", "deep", &[]);
    assert_eq!((&deepened["commits"]["candidates"], &deepened["commits"]["kept"]), (&json!(7), &json!(6)));
    // With as many commits as before, but others, something is lost.
    lab.script(&repository, &history(2));
    git(&lab.path("deeper"), &["fetch", "-q", "--depth", "7"]);
    git(&lab.path("deeper"), &["reset", "-q", "--hard", "origin/main"]);
    assert_eq!(lab.gitlode(&["mine", "deeper", "--store", "deep"]).status.code(), Some(3));
}

#[test]
fn a_dry_run_counts_what_a_run_would_mine() {
    let lab = Lab::new();
    let repository = lab.repository("r", "sha1", &history(10));
    lab.mine("r", "store", &[]);
    lab.script(&repository, "echo more > more; git add more; git commit -qm 'Say more about it here'");
    let counted = lab.mine("r", "store", &["--dry-run"]);
    assert_eq!(counted["commits"]["candidates"], 1);
    assert_eq!(lab.mine("r", "store", &[]), counted);
    assert_eq!(lab.mine("r", "none", &["--dry-run"])["commits"]["candidates"], 11);
    assert!(!lab.path("none").exists());
    // Who opted out stands in a store: one that can't be opened is not taken for none.
    std::fs::create_dir(lab.path("empty")).expect("a directory");
    assert_eq!(lab.mine("r", "empty", &["--dry-run"])["commits"]["candidates"], 11);
    std::fs::write(lab.path("store/store.json"), "{cut").expect("it can be written");
    assert!(!lab.gitlode(&["mine", "r", "--store", "store", "--dry-run"]).status.success());
}

#[test]
fn a_name_that_comes_twice_in_a_tree_gives_one_row() {
    let lab = Lab::new();
    let script = r#"
        blob() { echo $1 | git hash-object -w --stdin; }
        raw() { printf '%b' "$(echo $1 | sed 's/../\\x&/g')"; }
        tree() { for n in "$@"; do printf '100644 f\0'; raw $(blob $n); done | git hash-object -t tree -w --stdin --literally; }
        c=$(git commit-tree -m 'Add two files of one name' $(tree 1 2))
        git update-ref refs/heads/main $(git commit-tree -p $c -m 'Change both of them at once' $(tree 3 4))
    "#;
    lab.repository("r", "sha1", script);
    let funnel = lab.mine("r", "store", &[]);
    assert_eq!(funnel["changes"]["skipped"], json!({"kind_added": 1, "corrupt_object": 3}), "{funnel}");
    assert_eq!(lab.rows("store").len(), 1);
}

#[test]
fn replace_refs_grafts_and_worktrees() {
    let lab = Lab::new();
    let repository = lab.repository("r", "sha1", &history(6));
    lab.mine("r", "plain", &[]);
    let expected = lab.export("plain");
    git(&repository, &["replace", "HEAD~2", "HEAD~4"]);
    fs::create_dir_all(repository.join(".git/info")).expect("a directory");
    let head = String::from_utf8(git(&repository, &["rev-parse", "HEAD"])).expect("hex");
    fs::write(repository.join(".git/info/grafts"), head).expect("grafts can be written");
    git(&repository, &["worktree", "add", "-q", "../r2/r", "--detach", "HEAD"]);
    for (number, source) in ["r", "r2/r"].iter().enumerate() {
        let store = format!("store{number}");
        lab.mine(source, &store, &[]);
        assert_eq!(lab.export(&store), expected, "{source}");
    }
}

#[test]
fn large_blobs_and_wide_commits() {
    let lab = Lab::new();
    let script = r#"
        git config core.bigFileThreshold 1m; git config core.compression 1
        head -c 300M /dev/zero | tr '\0' x > big.txt; git add -A; git commit -q -m 'Add a file of 300 MB'
        echo y >> big.txt; git commit -qam 'Grow the file of 300 MB'
        (
            printf 'commit refs/heads/main\ncommitter c <c@example.com> 1700000900 +0000\ndata 28\nAdd a hundred thousand files\n'
            printf 'from refs/heads/main^0\nD big.txt\n'
            seq 100000 | awk '{ printf "M 100644 inline w/%d\ndata %d\n%s\n\n", $1, length($1) + 1, $1 }'
        ) | git fast-import --quiet"#;
    lab.repository("r", "sha1", script);
    let funnel = lab.mine("r", "store", &["--kinds", "modified,added"]);
    assert_eq!(funnel["changes"]["skipped"], json!({"kind_deleted": 1, "too_large": 2}));
    assert_eq!(funnel["changes"]["kept"], 100_000);
    let narrow = lab.mine("r", "narrow", &["--commit-changes-max", "1000"]);
    assert_eq!(narrow["commits"]["skipped"], json!({"no_change_kept": 2, "too_many_changes": 1}));
}

#[test]
fn messages_in_other_encodings() {
    let lab = Lab::new();
    let script = "echo a > x; git add x; git commit -q -m 'Add a file for it'; \
                  echo b > x; GIT_AUTHOR_NAME=$(printf 'Ren\\351') git -c i18n.commitEncoding=ISO-8859-1 commit -q -a -F <(printf 'Corrige l\\351t\\351 du fichier\\n\\nThis reverts commit 0123456789.\\n')";
    lab.repository("r", "sha1", script);
    lab.mine("r", "store", &["--authors"]);
    let row = &lab.rows("store")[0];
    assert_eq!(text(row, "author_name"), "René");
    assert_eq!((text(row, "message_encoding"), text(row, "subject")), ("windows-1252", "Corrige lété du fichier"));
    assert_eq!(row["reverts"], json!(["0123456789"]));
}

#[test]
fn stores_are_guarded() {
    let lab = Lab::new();
    lab.repository("r", "sha1", &history(8));
    lab.mine("r", "store", &[]);
    let expected = lab.export("store");
    let lock = fs::File::open(lab.path("store/lock")).expect("a lock file");
    lock.lock().expect("the lock is free");
    let refused = lab.gitlode(&["mine", "r", "--store", "store"]);
    assert_eq!(refused.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("another gitlode is writing"));
    drop(lock);
    let directory = fs::read_dir(lab.path("store/repositories"))
        .expect("a store")
        .next()
        .expect("a repository")
        .expect("an entry")
        .path();
    let segment = directory.join("0001-000000-000000.arrow");
    let whole = fs::read(&segment).expect("a segment");
    for damaged in [whole[..whole.len() / 2].to_vec(), [&whole[..100], &[whole[100] ^ 1], &whole[101..]].concat()] {
        fs::write(&segment, damaged).expect("the segment can be written");
        assert_eq!(lab.gitlode(&["verify", "store"]).status.code(), Some(5));
    }
    lab.ok(&["verify", "store", "--repair"]);
    lab.mine("r", "store", &[]);
    assert_eq!(lab.export("store"), expected);
    fs::remove_file(&segment).expect("the segment can be removed");
    for command in [&["verify", "store"][..], &["export", "store", "lost"], &["show", "store"]] {
        let output = lab.gitlode(command);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(message.contains("it is missing") && message.contains("hint: "), "{command:?}: {message}");
        assert_eq!(output.status.code(), Some(5), "{command:?}");
    }
    assert!(!lab.path("lost").exists(), "no half of an export is left");
    lab.ok(&["verify", "store", "--repair"]);
    lab.mine("r", "store", &[]);
    assert_eq!(lab.export("store"), expected);
    let mark = lab.path("store/store.json");
    for damage in [&|| fs::remove_file(&mark), &|| fs::write(&mark, "oops")] as [&dyn Fn() -> std::io::Result<()>; 2] {
        damage().expect("the mark can be damaged");
        for command in [&["verify", "store"][..], &["mine", "r", "--store", "store"]] {
            let output = lab.gitlode(command);
            let message = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.code() == Some(5) && message.contains("verify STORE --repair"), "{message}");
        }
        lab.ok(&["verify", "store", "--repair"]);
        assert_eq!(lab.export("store"), expected);
    }
    fs::write(&mark, "{\"gitlode_store\": 99}").expect("the mark can be written");
    let newer = lab.gitlode(&["stats", "store"]);
    assert!(String::from_utf8_lossy(&newer.stderr).contains("newer gitlode"));
}

#[test]
fn forks_share_rows() {
    let lab = Lab::new();
    lab.repository("two/a", "sha1", &history(4));
    git(&lab.path("two"), &["clone", "-q", "a", "b"]);
    lab.mine("two", "store", &[]);
    let rows = lab.rows("store");
    assert_eq!(rows.len(), 9);
    assert!(rows.iter().all(|row| row["repos"] == "a,b"));
}

#[test]
fn lists_come_from_standard_input() {
    let lab = Lab::new();
    lab.repository("r", "sha1", &history(2));
    let mut child = lab
        .program()
        .args(["mine", "-", "--store", "store", "-q"])
        .current_dir(lab.dir.path())
        .stdin(Stdio::piped())
        .spawn()
        .expect("gitlode runs");
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(b"path,name,license,stars\nr,owner/name,MIT,5\n")
        .expect("the pipe takes it");
    assert!(child.wait().expect("the child ends").success());
    let rows = lab.rows("store");
    assert_eq!((text(&rows[0], "repos"), text(&rows[0], "license")), ("owner/name", "mit"));
}

#[test]
fn an_interruption_keeps_what_is_sealed() {
    let lab = Lab::new();
    lab.repository("r", "sha1", &history(150));
    lab.mine("r", "calm", &[]);
    let mut child = lab
        .program()
        .args(["mine", "r", "--store", "store", "-q", "-j", "1", "--segment-bytes-max", "3000"])
        .current_dir(lab.dir.path())
        .stderr(Stdio::piped())
        .spawn()
        .expect("gitlode runs");
    // Only a process that catches the signal can seal what it has; it does before it writes the first repository.
    let has_begun = || fs::read_dir(lab.path("store/repositories")).is_ok_and(|mut found| found.next().is_some());
    let pause = || std::thread::sleep(std::time::Duration::from_millis(20));
    (0..3000).take_while(|_| !has_begun()).for_each(|_| pause());
    pause();
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(kill.success());
    let code = child.wait().expect("the child ends").code();
    assert!(matches!(code, Some(0 | 130)), "{code:?}");
    lab.mine("r", "store", &["--segment-bytes-max", "3000"]);
    assert_eq!(lab.export("store"), lab.export("calm"));
}

#[test]
fn an_interrupted_export_leaves_nothing() {
    let lab = Lab::new();
    lab.repository("r", "sha1", &history(150));
    lab.mine("r", "store", &[]);
    let mut interrupted = 0;
    for pause in [0, 2, 5, 10, 20] {
        let mut export = lab.program();
        // As many files as rows, so that there is time.
        export.args(["export", "store", "out", "--shard-bytes-max", "1"]);
        let mut child = export.stderr(Stdio::piped()).spawn().expect("it runs");
        // Only a process that catches the signal can clean up.
        let begun = |name: &str| name.starts_with("out");
        let names = || fs::read_dir(lab.dir.path()).expect("a directory").map(|e| e.expect("an entry").file_name());
        while child.try_wait().expect("a status").is_none() && !names().any(|name| begun(&name.to_string_lossy())) {}
        std::thread::sleep(std::time::Duration::from_millis(pause));
        let kill = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        kill.expect("kill runs");
        let code = child.wait().expect("the child ends").code();
        let left: Vec<_> = names().filter(|name| begun(&name.to_string_lossy())).collect();
        match code {
            Some(130) => assert!(left.is_empty(), "{left:?}"),
            _ => assert_eq!((code, left), (Some(0), vec!["out".into()])),
        }
        interrupted += usize::from(code == Some(130));
        let _none_where_it_was_interrupted = fs::remove_dir_all(lab.path("out"));
    }
    assert!(interrupted > 0, "it was never interrupted");
}

#[test]
fn a_repository_may_be_repacked_while_it_is_mined() {
    use gix::objs::Exists as _;
    let lab = Lab::new();
    let path = lab.repository("r", "sha1", &history(3));
    let repository = gitlode::git::repository::Repository::open(&path).expect("a repository");
    let objects = repository.objects();
    let ids = git(&path, &["rev-list", "--objects", "--no-object-names", "HEAD"]);
    let ids: Vec<gix::ObjectId> = String::from_utf8(ids)
        .expect("hex")
        .lines()
        .map(|line| gix::ObjectId::from_hex(line.as_bytes()).expect("an id"))
        .collect();
    assert!(objects.exists(&ids[0]));
    git(&path, &["gc", "-q", "--prune=now"]);
    let gone = ids.iter().filter(|id| !objects.exists(id)).count();
    assert_eq!((ids.len(), gone), (9, 0));
}

#[test]
fn a_full_disk_loses_nothing_that_was_sealed() {
    let lab = Lab::new();
    lab.repository("r", "sha1", &history(60));
    lab.mine("r", "calm", &[]);
    // No file may become larger than 60 KiB: writing fails as on a full disk.
    let script = format!(
        "trap '' XFSZ; ulimit -f 60; exec {} mine r --store store --segment-bytes-max 10000000 --json",
        env!("CARGO_BIN_EXE_gitlode")
    );
    lab.repository(
        "noise",
        "sha1",
        "head -c 400k /dev/urandom | base64 > x; git add x; git commit -qm 'Add some noise'; \
        head -c 400k /dev/urandom | base64 > x; git commit -qam 'Change all of the noise'",
    );
    let script = script.replace("mine r", "mine r noise");
    let full = Command::new("bash")
        .env("GITLODE_FILTER", "none")
        .args(["-c", &script])
        .current_dir(lab.dir.path())
        .output()
        .expect("bash runs");
    assert_eq!(full.status.code(), Some(3), "{}", String::from_utf8_lossy(&full.stderr));
    let summary: Value = serde_json::from_slice(&full.stdout).expect("a JSON summary");
    assert!(text(&summary["repositories"][1], "error").contains("File too large"), "{summary}");
    lab.ok(&["verify", "store"]);
    assert_eq!(lab.export("store"), lab.export("calm"), "the other repository is whole");
    lab.mine("noise", "store", &[]);
    assert_eq!(lab.rows("store").len(), 178);
}

#[test]
fn a_repository_keeps_its_rows_when_its_name_changes() {
    let lab = Lab::new();
    let repository = lab.repository("r", "sha1", &history(4));
    let list = |name: &str| fs::write(lab.path("list.csv"), format!("path,name,stars\nr,{name},{}\n", name.len()));
    list("first").expect("the list can be written");
    lab.mine("@list.csv", "store", &[]);
    list("renamed").expect("the list can be written");
    let funnel = lab.mine("@list.csv", "store", &[]);
    assert_eq!(funnel["changes"]["candidates"], 0, "nothing is mined twice for it");
    lab.script(&repository, "seq 7 > a.py; git commit -qam 'Count to seven only'");
    lab.mine("@list.csv", "store", &[]);
    lab.mine("@list.csv", "at-once", &[]);
    assert_eq!(lab.rows("store").len(), 10);
    assert!(lab.rows("store").iter().all(|row| row["repos"] == "renamed"));
    assert_eq!(lab.export("store"), lab.export("at-once"));
    lab.ok(&["verify", "store"]);
}

#[test]
fn older_stores_are_read_and_go_on() {
    let lab = Lab::new();
    let repository = lab.repository("r", "sha1", &history(5));
    git(&repository, &["branch", "old", "HEAD~2"]);
    git(&repository, &["symbolic-ref", "HEAD", "refs/heads/old"]);
    lab.mine("r", "store", &[]);
    let newest = lab.rows("store");
    // What a version before this one may have written: no labels but CommitPack's, no setting of today.
    let directory = fs::read_dir(lab.path("store/repositories")).expect("a store").next().expect("one").expect("one");
    let segment = directory.path().join("0001-000000-000000.arrow");
    let reader = arrow_ipc::reader::StreamReader::try_new(fs::File::open(&segment).expect("a segment"), None);
    let batches: Vec<_> = reader.expect("a stream").map(|batch| batch.expect("a batch")).collect();
    let schema = batches[0].schema();
    let keep: Vec<usize> =
        (0..schema.fields().len()).filter(|at| !schema.field(*at).name().contains("encoding")).collect();
    let keep: Vec<usize> = [keep, vec![schema.index_of("message_encoding").expect("a column")]].concat();
    let older = schema.project(&keep).expect("a schema");
    let mut writer = arrow_ipc::writer::StreamWriter::try_new(fs::File::create(&segment).expect("a segment"), &older)
        .expect("a writer");
    for batch in batches {
        writer.write(&batch.project(&keep).expect("a batch")).expect("it can be written");
    }
    writer.finish().expect("it can be written");
    let bytes = fs::read(&segment).expect("a segment");
    let as_older = |segment: &mut Value| {
        segment["schema"] = json!(0);
        segment["bytes"] = json!(bytes.len());
        segment["blake3"] = json!(blake3::hash(&bytes).to_hex().to_string());
    };
    edit(&directory.path().join("0001-000000-000000.json"), &as_older);
    edit(&directory.path().join("0001-000000.json"), &|checkpoint| {
        checkpoint["schema"] = json!(0);
        as_older(&mut checkpoint["segments"][0]);
        checkpoint["recipe"].as_object_mut().expect("an object").remove("commit_changes_max");
    });
    lab.ok(&["verify", "store"]);
    let mut expected = newest.clone();
    for row in &mut expected {
        row["old_encoding"] = Value::Null;
        row["new_encoding"] = Value::Null;
    }
    assert_eq!(lab.rows("store"), expected);
    git(&repository, &["symbolic-ref", "HEAD", "refs/heads/main"]);
    let funnel = lab.mine("r", "store", &[]);
    assert_eq!(funnel["commits"]["candidates"], 2, "an older schema is no reason to mine again");
    assert_eq!(lab.rows("store").len(), newest.len() + 6);
}

#[test]
fn renames_and_their_diffs_equal_those_of_git() {
    let lab = Lab::new();
    for format in ["sha1", "sha256"] {
        let repository = lab.repository(format, format, include_str!("../fixtures/renames.sh"));
        let store = format!("store-{format}");
        let funnel = lab.mine(format, &store, &["--kinds", "modified,added,deleted,renamed"]);
        let raw = git(&repository, &["log", "--root", "-M", "-l1000", "--raw", "-z", "--format=commit %H"]);
        let raw = String::from_utf8(raw).expect("UTF-8");
        let mut listed = BTreeSet::new();
        let (mut commit, mut fields) = ("", raw.split('\0').filter(|field| !field.is_empty()));
        while let Some(field) = fields.next() {
            let field = match field.trim_start().strip_prefix("commit ") {
                Some(rest) => {
                    let (id, rest) = rest.split_once('\n').unwrap_or((rest, ""));
                    commit = id;
                    rest.trim_start()
                }
                None => field.trim_start(),
            };
            if let Some(status) = field.rsplit(' ').next().filter(|_| field.starts_with(':')) {
                let old = fields.next().expect("a path");
                let new = if status.starts_with('R') { fields.next().expect("a path") } else { old };
                listed.insert((commit.to_owned(), status[..1].to_owned(), old.to_owned(), new.to_owned()));
            }
        }
        let renames = listed.iter().filter(|change| change.1 == "R").count();
        assert!(renames >= 10, "{listed:?}");
        assert_eq!(funnel["changes"]["candidates"], listed.len());
        let rows = lab.rows(&store);
        let mut mined = BTreeSet::new();
        for row in &rows {
            let (old, new) = (row["old_file"].as_str(), row["new_file"].as_str());
            let status = text(row, "kind")[..1].to_uppercase();
            let (from, to) = (old.or(new).expect("a path"), new.or(old).expect("a path"));
            mined.insert((text(row, "commit").to_owned(), status, from.to_owned(), to.to_owned()));
            let patch = git(&repository, &["show", "-M", "-l1000", "--full-index", "--format=", text(row, "commit")]);
            assert!(String::from_utf8_lossy(&patch).contains(text(row, "diff")), "{}", text(row, "diff"));
        }
        let missing: Vec<_> = listed.difference(&mined).collect();
        assert!(mined.is_subset(&listed), "{:?}", mined.difference(&listed));
        assert!(missing.iter().all(|change| change.2.ends_with("blob.bin")), "{missing:?}");
        assert_eq!(missing.len(), 2, "the binary file is added, then renamed");
    }
    let off = lab.mine("sha1", "off", &["--kinds", "renamed"]);
    assert!(off["changes"]["kept"].as_u64() > Some(9));
    let without = lab.mine("sha1", "without", &["--kinds", "added"]);
    let with = lab.mine("sha1", "with", &["--kinds", "added", "--detect-renames"]);
    assert!(without["changes"]["kept"].as_u64() > with["changes"]["kept"].as_u64());
    assert_eq!(
        with["changes"]["skipped"]["kind_renamed"].as_u64(),
        off["changes"]["kept"].as_u64().map(|kept| kept + 1)
    );
}

#[test]
fn licenses_are_those_of_the_commit_and_the_path() {
    let lab = Lab::new();
    let mit = "Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated \
               documentation files, to deal without restriction. The above copyright notice and this permission notice shall be included.";
    let script = format!(
        r#"
        commit() {{ git add -A; GIT_COMMITTER_DATE="$((1700000000 + $1)) +0000" git commit -q -m "Change everything once more $1"; }}
        mkdir -p src vendor/lib js
        printf '{{"license": "ISC"}}' > js/package.json
        for f in src/a.c src/b.c vendor/lib/c.c js/d.js; do echo 0 > $f; done; commit 0
        for f in src/a.c src/b.c vendor/lib/c.c js/d.js; do echo 1 > $f; done; commit 1
        echo '{mit}' > LICENSE; echo 'Mozilla Public License Version 2.0: Covered Software' > vendor/lib/COPYING
        for f in src/a.c src/b.c vendor/lib/c.c js/d.js; do echo 2 > $f; done; commit 2
        echo 'Business Source License 1.1' > LICENSE
        printf '// SPDX-License-Identifier: Apache-2.0\n3\n' > src/b.c
        echo 'SPDX-License-Identifier: CC0-1.0' > js/d.js.license
        for f in src/a.c vendor/lib/c.c js/d.js; do echo 3 > $f; done; commit 3
        mkdir -p new/LICENSES new/po .reuse; touch new/LICENSES/BSD-2-Clause.txt new/po/x; echo 3 > new/e.c; echo 3 > new/po/f.js
        printf '[[annotations]]\npath = "po/*.js"\nSPDX-License-Identifier = "CC0-1.0"\n' > new/REUSE.toml
        printf 'Files: src/a*\nLicense: ISC\n' > .reuse/dep5; commit 4
        for f in new/e.c new/po/f.js src/a.c src/b.c; do echo 5 >> $f; done; commit 5
        "#
    );
    lab.repository("r", "sha1", &script);
    lab.mine("r", "store", &[]);
    let rows = lab.rows("store");
    let found: BTreeSet<(i64, &str, &str, &str, &str)> = rows
        .iter()
        .filter(|row| ["c", "js"].contains(&text(row, "new_file").rsplit('.').next().expect("an ending")))
        .map(|row| {
            let commit = row["commit_time"].as_i64().expect("a time") - 1_700_000_000;
            (
                commit,
                text(row, "new_file"),
                text(row, "license_spdx"),
                text(row, "license_method"),
                text(row, "license_path"),
            )
        })
        .collect();
    let expected = BTreeSet::from([
        (1, "js/d.js", "ISC", "metadata", "js/package.json"),
        (1, "src/a.c", "", "", ""),
        (1, "src/b.c", "", "", ""),
        (1, "vendor/lib/c.c", "", "", ""),
        (2, "js/d.js", "MIT", "text", "LICENSE"),
        (2, "src/a.c", "MIT", "text", "LICENSE"),
        (2, "src/b.c", "MIT", "text", "LICENSE"),
        (2, "vendor/lib/c.c", "MPL-2.0", "text", "vendor/lib/COPYING"),
        (3, "js/d.js", "CC0-1.0", "tag", "js/d.js.license"),
        (3, "src/a.c", "BUSL-1.1", "text", "LICENSE"),
        (3, "src/b.c", "Apache-2.0", "tag", "src/b.c"),
        (3, "vendor/lib/c.c", "MPL-2.0", "text", "vendor/lib/COPYING"),
        (5, "new/e.c", "BSD-2-Clause", "reuse", "new/LICENSES/"),
        (5, "new/po/f.js", "CC0-1.0", "reuse", "new/REUSE.toml"),
        (5, "src/a.c", "ISC", "reuse", ".reuse/dep5"),
        (5, "src/b.c", "Apache-2.0", "tag", "src/b.c"),
    ]);
    assert_eq!(found, expected);
    fs::write(lab.path("list.csv"), "path,license\nr,GPLv9\n").expect("the list can be written");
    lab.mine("@list.csv", "declared", &[]);
    let declared = lab.rows("declared").iter().filter(|row| text(row, "license_spdx") == "LicenseRef-gplv9").count();
    assert_eq!(declared, 3, "what the list says comes last");
}

#[test]
fn the_nearest_license_decides_even_where_it_is_unknown() {
    let lab = Lab::new();
    let mit = "Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated \
               documentation files, to deal without restriction. The above copyright notice and this permission notice shall be \
               included.";
    // Each directory has what its line says; the root is under MIT.
    let cases = [
        ("ee", "echo 'This may only be used in production if you have agreed to the Subscription Terms.' > ee/LICENSE"),
        ("beside", "cp LICENSE beside/LICENSE-MIT; echo 'You may not sell this.' > beside/LICENSE.md"),
        ("npm", r#"printf '{"license": "UNLICENSED"}' > npm/package.json"#),
        ("private", r#"printf '{"private": true}' > private/package.json"#),
        ("gpl", r#"printf '{"license": "GPL-3.0-or-later"}' > gpl/package.json"#),
        ("isc", r#"printf '{"license": "ISC"}' > isc/package.json"#),
        ("tag", "printf '// SPDX-License-Identifier: Proprietary\\n' > tag/a.c"),
        ("pointer", "echo 'See ../LICENSE' > pointer/LICENSE"),
        ("empty", ": > empty/COPYING"),
        ("link", "ln -s ../LICENSE link/LICENSE"),
        (
            "reuse",
            "mkdir reuse/LICENSES; echo 'Mozilla Public License Version 2.0: Covered Software' > reuse/LICENSES/MPL-2.0.txt; ln -s LICENSES/MPL-2.0.txt reuse/LICENSE",
        ),
        ("away", "ln -s /usr/share/LICENSE away/LICENSE"),
        ("named", "echo 'Mozilla Public License Version 2.0: Covered Software' > named/MPL-LICENSE.txt"),
        (
            "lgpl",
            "echo 'GNU General Public License Version 3, 29 June 2007. Conveying Verbatim Copies' > lgpl/COPYING; echo 'GNU Lesser General Public License Version 3, 29 June 2007' > lgpl/COPYING.LESSER",
        ),
    ];
    let names: Vec<&str> = cases.iter().map(|(name, _)| *name).collect();
    let (names, make) = (names.join(" "), cases.map(|(_, make)| make).join("\n"));
    let script = format!(
        "mkdir {names}; echo '{mit}' > LICENSE\n{make}\nfor d in {names}; do echo 0 >> $d/a.c; done; git add -A; git commit -qm 'Begin all of it here'\n\
         for d in {names}; do echo 1 >> $d/a.c; done; git add -A; git commit -qm 'Change all of it once more'"
    );
    lab.repository("r", "sha1", &script);
    lab.mine("r", "store", &["--filter", "none"]);
    let rows = lab.rows("store");
    let found: BTreeSet<(&str, &str, &str, &str)> = rows
        .iter()
        .filter(|row| !text(row, "old_contents").is_empty() && text(row, "new_file").ends_with(".c"))
        .map(|row| {
            let known = row["license_spdx"].is_string();
            assert_eq!(row["license_confidence"].is_number(), known);
            let [file, spdx, method, path] =
                ["new_file", "license_spdx", "license_method", "license_path"].map(|key| text(row, key));
            (file, spdx, method, path)
        })
        .collect();
    let expected = BTreeSet::from([
        ("away/a.c", "", "text", "away/LICENSE"),
        ("beside/a.c", "", "text", "beside/LICENSE.md"),
        ("ee/a.c", "", "text", "ee/LICENSE"),
        ("empty/a.c", "MIT", "text", "LICENSE"),
        ("gpl/a.c", "GPL-3.0-or-later", "metadata", "gpl/package.json"),
        ("isc/a.c", "MIT", "text", "LICENSE"),
        ("lgpl/a.c", "LGPL-3.0-only", "text", "lgpl/COPYING.LESSER"),
        ("link/a.c", "MIT", "text", "link/LICENSE"),
        ("named/a.c", "MPL-2.0", "text", "named/MPL-LICENSE.txt"),
        ("npm/a.c", "", "metadata", "npm/package.json"),
        ("pointer/a.c", "MIT", "text", "LICENSE"),
        ("private/a.c", "MIT", "text", "LICENSE"),
        ("reuse/a.c", "MPL-2.0", "text", "reuse/LICENSE"),
        ("tag/a.c", "", "tag", "tag/a.c"),
    ]);
    assert_eq!(found, expected);
    fs::write(lab.path("list.csv"), "path,license\nr,MIT\n").expect("the list can be written");
    lab.mine("@list.csv", "declared", &["--filter", "none"]);
    let declared = lab.rows("declared");
    assert!(declared.iter().filter(|row| text(row, "new_file") == "ee/a.c").all(|row| row["license_spdx"].is_null()));
}

#[test]
fn revisions_are_those_of_git() {
    let lab = Lab::new();
    let script = format!(
        "{}; git checkout -q -b side HEAD~2; echo s > s; git add s; git commit -qm 'Go aside once'; git checkout -q main; \
         git merge -q --no-ff -m 'Come together again' side",
        history(3)
    );
    let repository = lab.repository("r", "sha1", &script);
    let store = |rev: &str| {
        let name = format!("store{rev}");
        let output = lab.gitlode(&["mine", "r", "--store", &name, "--rev", rev, "-q"]);
        let index = rusqlite::Connection::open(lab.path(&name).join("index.sqlite")).ok()?;
        let tips = index.query_row("SELECT tips FROM repository", [], |row| row.get::<_, String>(0)).ok();
        tips.filter(|_| output.status.success())
    };
    for rev in ["HEAD", "main^", "HEAD~", "HEAD~2", "HEAD^2", "HEAD^2~1", "HEAD^^", "HEAD^0", "side~0"] {
        let id = String::from_utf8(git(&repository, &["rev-parse", rev])).expect("UTF-8");
        assert_eq!(store(rev), Some(format!("[\"{}\"]", id.trim())), "{rev}");
    }
    for rev in ["HEAD^3", "HEAD~99999999999", "HEAD~x", "HEAD^{tree}", "no^"] {
        assert_eq!(store(rev), None, "{rev}");
    }
}

#[test]
fn commits_that_only_git_can_read() {
    let lab = Lab::new();
    let script = r#"
        one=$(echo one | git hash-object -w --stdin); two=$(echo two | git hash-object -w --stdin)
        t1=$(printf "100644 blob $one\tf\n" | git mktree); t2=$(printf "100644 blob $two\tf\n" | git mktree)
        make() { git hash-object -t commit -w --stdin --literally; }
        good='author A <a@b> 1700000000 +0000\ncommitter A <a@b> 1700000000 +0000\n'
        c=$(printf "tree $t1\n$good\nfirst\n" | make)
        c=$(printf "tree $t2\nparent $c\nauthor \377\376 <x> 99999999999999999999 +9999\ncommitter \n\n" | make)
        c=$(printf "tree $t1\nparent $c\nauthor A <a@b> x -0000\ncommitter A\033[31m <a@b> abc\n\n\033[31mred\007\n" | make)
        c=$(printf "tree $t2\nparent $c\n\nno author at all\n" | make)
        c=$( (printf "tree $t1\nparent $c\n$good\n"; head -c 70000 /dev/zero | tr '\0' m) | make)
        c=$(printf "tree $t2\nparent $c\n$good" | make)
        c=$(printf "tree $t1\nparent $c\nauthor A <a> 5 +051800\ncommitter A <a> 6 +0530\n\nzone\n" | make)
        git update-ref refs/heads/main $c
    "#;
    let repository = lab.repository("r", "sha1", script);
    let funnel = lab.mine("r", "store", &[]);
    assert_eq!(funnel["changes"]["skipped"], json!({"kind_added": 1, "message_too_long": 1}));
    let listed = git(&repository, &["log", "--diff-filter=M", "--format=%H %s"]);
    let listed = String::from_utf8(listed).expect("UTF-8");
    let rows = lab.rows("store");
    assert_eq!((rows.len(), listed.lines().count()), (5, 6));
    let of = |subject: &str| {
        let row = rows.iter().find(|row| row["subject"] == subject).expect("the row is there");
        ["author_time", "author_zone", "commit_time", "commit_zone"].map(|column| row[column].as_i64())
    };
    assert_eq!(of("zone"), [Some(5), None, Some(6), Some(330)]);
    assert_eq!(of("no author at all"), [None; 4]);
    for row in &rows {
        assert!(listed.contains(&format!("{} {}\n", text(row, "commit"), text(row, "subject"))), "{row}");
    }
    let shown = lab.ok(&["show", "store", "--sample", "9"]);
    assert!(!shown.contains(['\u{1b}', '\u{7}']), "nothing in a commit steers the terminal");
}

#[test]
fn branches_are_mined_all_or_not_at_all() {
    let lab = Lab::new();
    let repository = lab.repository("r", "sha1", &history(3));
    lab.script(
        &repository,
        "git checkout -q -b side HEAD~1; echo 9 > a.py; git commit -q -a -m 'Count on another branch'",
    );
    assert_eq!(lab.mine("r", "all", &["--all-branches"])["commits"]["candidates"], 4);
    assert_eq!(lab.mine("r", "main", &["--rev", "main"])["commits"]["candidates"], 3);
    assert_eq!(lab.mine("r", "short", &["--rev", "main~1"])["commits"]["candidates"], 2);
    for (path, contents) in [("refs/heads/broken", "no id"), ("packed-refs", "no refs at all")] {
        let path = repository.join(".git").join(path);
        fs::write(&path, contents).expect("the ref can be written");
        let output = lab.gitlode(&["mine", "r", "--store", "broken", "--all-branches"]);
        assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
        fs::remove_file(path).expect("the ref can be removed");
    }
}

#[test]
fn exports_state_the_types_of_their_columns() {
    let lab = Lab::new();
    lab.repository("r", "sha1", &history(3));
    lab.mine("r", "store", &[]);
    lab.ok(&["export", "store", "out"]);
    let card = fs::read_to_string(lab.path("out/README.md")).expect("a card");
    let row = &lab.rows("store")[0];
    for name in row.as_object().expect("a row").keys() {
        assert!(card.contains(&format!("\n  - name: {name}\n")), "{name}");
    }
    for part in ["path: data/train-*", "- name: reverts\n    sequence: string", "- name: diff\n    dtype: large_string"]
    {
        assert!(card.contains(part), "{part}: {card}");
    }
    lab.ok(&["export", "store", "ten", "--columns", "commitpack"]);
    let card = fs::read_to_string(lab.path("ten/README.md")).expect("a card");
    assert_eq!(card.matches("- name: ").count(), 11, "and the split");
}

#[test]
fn rows_are_never_replaced_by_what_can_not_be_read() {
    let lab = Lab::new();
    let repository = lab.repository("r", "sha1", &history(4));
    lab.mine("r", "store", &[]);
    let expected = lab.export("store");
    git(&repository, &["symbolic-ref", "HEAD", "refs/heads/unborn"]);
    assert_eq!(lab.gitlode(&["mine", "r", "--store", "store"]).status.code(), Some(3));
    assert_eq!(lab.export("store"), expected);
    git(&repository, &["symbolic-ref", "HEAD", "refs/heads/main"]);
    lab.script(&repository, "seq 3 > a.py; git commit -q -a -m 'Count to three and no further'");
    let tip = String::from_utf8(git(&repository, &["rev-parse", "HEAD"])).expect("hex");
    let loose = repository.join(".git/objects").join(&tip[..2]).join(tip[2..].trim());
    let bytes = fs::read(&loose).expect("the commit is loose");
    fs::remove_file(&loose).expect("it can be removed");
    assert_eq!(lab.gitlode(&["mine", "r", "--store", "store"]).status.code(), Some(3));
    assert_eq!(lab.export("store"), expected);
    fs::write(&loose, bytes).expect("it can be written");
    lab.mine("r", "store", &[]);
    assert_eq!(lab.rows("store").len(), 10);
    let directory = fs::read_dir(lab.path("store/repositories")).expect("a store").next().expect("one").expect("one");
    fs::remove_file(directory.path().join("0001-000000.json")).expect("a checkpoint can be removed");
    assert_eq!(lab.gitlode(&["verify", "store"]).status.code(), Some(5), "a chain with a gap is damage");
}

#[test]
fn trees_without_end_are_skipped() {
    let lab = Lab::new();
    let script = r#"
        t=$(git hash-object -t tree -w --stdin </dev/null)
        for l in 1 2 3 4 5 6; do
            t=$(for i in 0 1 2 3 4 5 6 7 8 9 a b c d e f g h i j; do printf "040000 tree $t\t$i\n"; done | git mktree)
        done
        git update-ref refs/heads/main $(git commit-tree -m 'Spell out sixty-four million trees' $t </dev/null)
    "#;
    lab.repository("r", "sha1", script);
    assert_eq!(lab.mine("r", "store", &[])["commits"]["skipped"], json!({"too_many_changes": 1}));
}

#[test]
fn small_traps_stay_closed() {
    let lab = Lab::new();
    let script = r"printf 'a\177b\n' > f; git add f; git commit -q -m 'Add a file with a DEL'; printf 'a\177c\n' > f;
        git commit -q -a -m 'Change the file with a DEL'; git tag -a blob -m x $(git rev-parse HEAD:f)";
    let repository = lab.repository("r", "sha1", script);
    lab.mine("r", "store", &[]);
    let shown: Value = serde_json::from_str(&lab.ok(&["show", "store", "--json"])).expect("JSON");
    assert_eq!(text(&shown, "new_contents"), "a\u{7f}c\n");
    assert_eq!(lab.gitlode(&["mine", "r", "--store", "other", "--rev", "blob"]).status.code(), Some(3));
    assert_eq!(lab.gitlode(&["mine", "r", "--store", "other", "--since", "20240131"]).status.code(), Some(2));
    // A day ends at its end.
    lab.script(
        &repository,
        "GIT_COMMITTER_DATE='2024-01-31T23:59:59Z' git commit -q --allow-empty -m 'Say nothing at the end of a day'",
    );
    let until = |date: &str| {
        lab.mine("r", "none", &["--dry-run", "--until", date])["commits"]["skipped"]["outside_window"].clone()
    };
    assert_eq!(
        (until("2024-01-31"), until("2024-01-30"), until("2024-01-31T23:59:58Z")),
        (json!(null), json!(1), json!(1))
    );
    let both = lab.gitlode(&["mine", "r", "r/.git", "--dry-run", "--json"]);
    let both: Value = serde_json::from_slice(&both.stdout).expect("JSON");
    assert_eq!(both["repositories"].as_array().map(Vec::len), Some(1), "a repository and its .git are one: {both}");
    assert_eq!(lab.gitlode(&["export", "store", "twice", "--columns", "id,id"]).status.code(), Some(2));
    assert_eq!(lab.gitlode(&["show", "store", "--id", "none"]).status.code(), Some(1));
    lab.script(&repository, "cd ..; cp -r r $'\\e[31mr\\u202e'; for i in 1 2; do mkdir -p $'lost\\e[31m'; done");
    let shown = lab.gitlode(&["mine", "\u{1b}[31mr\u{202e}", "lost\u{1b}[31m", "--store", "odd"]);
    let said = [shown.stdout, shown.stderr].concat();
    assert!(said.len() > 100 && !said.contains(&0x1b) && !String::from_utf8_lossy(&said).contains('\u{202e}'));
    fs::create_dir(lab.path("out.tmp")).expect("a directory");
    lab.ok(&["export", "store", "out"]);
    assert!(lab.path("out.tmp").exists(), "what is not ours stays");
    for command in [&["verify", "none", "--repair"][..], &["reindex", "none"]] {
        assert_eq!(lab.gitlode(command).status.code(), Some(5));
        assert!(!lab.path("none").exists(), "no store is made by looking for one");
    }
    let url = format!("file://{}", repository.display());
    assert_eq!(lab.gitlode(&["mine", &url, "--dry-run", "--store", "none"]).status.code(), Some(2));
    for name in ["shallow", "packed-refs", "commondir", "objects/info/alternates"] {
        lab.script(&repository, &format!("mkdir -p .git/objects/info; mkfifo .git/{name}"));
        let output = lab.gitlode(&["mine", "r", "--dry-run"]);
        assert!(matches!(output.status.code(), Some(0 | 3)), "{name}");
        fs::remove_file(repository.join(".git").join(name)).expect("the pipe can be removed");
    }
    let script = format!("{} mine r --replace --store store -v 2>&1 >/dev/null | true", env!("CARGO_BIN_EXE_gitlode"));
    let mut piped = Command::new("bash");
    piped.env("GITLODE_FILTER", "none");
    let status = piped.args(["-c", &format!("set -o pipefail; {script}")]).current_dir(lab.dir.path()).status();
    assert_eq!(status.expect("bash runs").code(), Some(0), "a log that nobody reads stops nothing");
}

#[test]
fn diffs_that_take_shortcuts_equal_those_of_git() {
    let lab = Lab::new();
    // Texts of few different lines, rewritten so far that git settles for good places: long runs that stay among much that
    // does not, common lines between rare ones, blocks that move.
    let script = r#"
        for seed in 1 2 3 4 5 6 7 8 9 10 11 12; do
            for version in 1 2 3; do
                awk -v seed="$seed" -v version="$version" 'BEGIN {
                    srand(seed)
                    for (i = 0; i < 3000; i++) {
                        kind = rand(); line = int(rand() * (seed % 4 == 0 ? 7 : 400)); mixed = rand()
                        if (kind < 0.3 && seed % 3 == 0) text = "}"
                        else text = "line " line
                        if (int(i / 250) % 2 == 1 && seed % 2 == 0) mixed = 1
                        if (mixed < 0.25 * version) text = text " of " version (mixed < 0.1 ? " and " int(mixed * 100000) : "")
                        if (version == 2 && mixed > 0.97) print "one more"
                        if (!(version == 3 && mixed < 0.05)) print text
                    }
                }' > "$seed.txt"
                git add -A; git commit -q -m "Write version $version of text $seed"
            done
        done"#;
    let repository = lab.repository("r", "sha1", script);
    lab.mine("r", "store", &[]);
    let rows = lab.rows("store");
    assert_eq!(rows.len(), 24);
    for row in &rows {
        let commit = text(row, "commit");
        let expected = git(&repository, &["diff-tree", "-p", "--full-index", "--no-commit-id", commit]);
        let expected = String::from_utf8_lossy(&expected);
        assert!(text(row, "diff") == expected, "{} {commit}", text(row, "new_file"));
        assert!(expected.len() > 20_000, "{}", expected.len());
    }
}
