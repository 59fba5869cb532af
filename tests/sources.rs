//! Sources that are not plain paths: URLs with mirrors, servers that misbehave, lists, retries, settings.

mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    process::Output,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use support::{Lab, git};

const THREE_COMMITS: &str =
    "for i in 1 2 3; do echo $i > f.txt; git add f.txt; git commit -q -m \"Set the number to $i\"; done";

fn text(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

fn outcomes(output: &Output) -> Vec<Value> {
    let summary: Value = serde_json::from_slice(&output.stdout).expect("a JSON summary");
    summary["repositories"].as_array().expect("a list").clone()
}

/// A server that answers every connection with `answer`, or with nothing at all; its port.
fn server(answer: Option<&'static str>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        let mut silent = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            match answer {
                Some(answer) => {
                    let mut request = [0; 4096];
                    let _a_client_may_go = stream.read(&mut request).and_then(|_| stream.write_all(answer.as_bytes()));
                }
                None => silent.push(stream),
            }
        }
    });
    port
}

#[test]
fn mirrors_are_cloned_once_fetched_then_and_discarded_on_request() {
    let lab = Lab::new();
    let remote = lab.repository("remote", "sha1", THREE_COMMITS);
    let url = format!("file://{}", remote.display());
    let mine = |more: &[&str]| {
        let output = lab.gitlode(&[&["mine", &url, "--store", "store", "-v"], more].concat());
        assert!(output.status.success(), "{:?}", text(&output));
        text(&output).1
    };
    assert!(mine(&[]).contains("cloned"));
    assert_eq!(lab.rows("store").len(), 2);
    assert!(mine(&[]).contains("nothing new"));
    lab.script(&remote, "echo 4 > f.txt; git commit -q -a -m 'Set the number to 4'");
    let second = mine(&[]);
    assert!(second.contains("fetched, 1 refs changed") && second.contains("1 row from 1 commit"), "{second}");
    let rows = lab.rows("store");
    assert_eq!((rows.len(), &rows[0]["repos"]), (3, &Value::from("remote")));
    let expected = lab.export("store");
    fs::remove_dir_all(lab.path("store")).expect("the store can be removed");
    mine(&["--mirrors", "elsewhere", "--discard-mirrors"]);
    assert_eq!(lab.export("store"), expected);
    let files = walk(&lab.path("elsewhere"));
    assert_eq!(files, Vec::<String>::new(), "nothing of a discarded mirror is left");
}

fn walk(directory: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path.display().to_string()] }).collect()
}

#[test]
fn one_bad_server_never_stops_the_others() {
    let lab = Lab::new();
    let good = lab.repository("good", "sha1", THREE_COMMITS);
    let head = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let locked =
        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("an address").port()
    };
    let url = |port: u16| format!("http://127.0.0.1:{port}/o/n.git");
    let cases = [
        (url(server(Some(head))), "doesn't exist"),
        (url(server(Some(locked))), "refuses access"),
        (url(server(None)), "stopped sending"),
        (url(closed), "can't reach"),
        (format!("file://{}", lab.path("nowhere").display()), "doesn't exist"),
        ("gopher://127.0.0.1/x".to_owned(), "scheme is not supported"),
        ("neither/a path/nor a URL".to_owned(), "no such file or directory"),
    ];
    let mut list: Vec<&str> = cases.iter().map(|(url, _)| url.as_str()).collect();
    list.push(good.to_str().expect("UTF-8"));
    fs::write(lab.path("list.txt"), list.join("\n")).expect("the list can be written");
    let started = Instant::now();
    let options = ["--fetch-retries", "0", "--fetch-low-speed-seconds", "1", "--fetch-connect-seconds", "1"];
    let output = lab.gitlode(&[&["mine", "@list.txt", "--store", "store", "--json"], &options[..]].concat());
    assert!(started.elapsed() < Duration::from_secs(60), "a silent server is given up");
    assert_eq!(output.status.code(), Some(3), "{:?}", text(&output));
    let outcomes = outcomes(&output);
    let failures: Vec<&str> = outcomes.iter().filter_map(|outcome| outcome["error"].as_str()).collect();
    assert_eq!((outcomes.len(), failures.len()), (8, 7), "{failures:?}");
    for (_, reason) in &cases {
        assert!(failures.iter().any(|failure| failure.contains(reason)), "{reason}: {failures:?}");
    }
    assert_eq!(lab.rows("store").len(), 2);
    assert!(text(&output).1.contains("7 of 8 repositories failed"));
}

#[test]
fn failed_sources_can_be_tried_again() {
    let lab = Lab::new();
    let good = lab.repository("good", "sha1", THREE_COMMITS);
    let url = format!("file://someone:secret@{}", lab.path("later").display());
    let first = lab.gitlode(&["mine", good.to_str().expect("UTF-8"), &url, "soon", "--store", "store", "-q"]);
    assert_eq!(first.status.code(), Some(3));
    let index = fs::read(lab.path("store/index.sqlite")).expect("an index");
    assert!(!index.windows(6).any(|bytes| bytes == b"secret"), "no password is written down");
    let stats: Value = serde_json::from_str(&lab.ok(&["stats", "store", "--json"])).expect("JSON");
    assert_eq!(stats["failed"].as_array().map(Vec::len), Some(2), "{stats}");
    let set_recipe = |to: &str| {
        let index = rusqlite::Connection::open(lab.path("store/index.sqlite")).expect("an index");
        let set = format!("UPDATE source SET recipe = {to} WHERE identity LIKE '%soon'");
        assert_eq!(index.execute(&set, []).expect("one source"), 1);
    };
    set_recipe("substr(recipe, 2)");
    lab.repository("soon", "sha1", THREE_COMMITS);
    let retried = lab.gitlode(&["mine", "--retry-failed", "--store", "store", "--json"]);
    assert_eq!((retried.status.code(), outcomes(&retried).len()), (Some(3), 1), "other settings would be others");
    assert!(text(&retried).1.contains("soon: the settings of its last run can't be read"), "{:?}", text(&retried));
    set_recipe("'{' || recipe");
    let retried = lab.gitlode(&["mine", "--retry-failed", "--store", "store", "--json"]);
    assert_eq!((retried.status.code(), outcomes(&retried).len()), (Some(3), 2));
    lab.repository("later", "sha1", THREE_COMMITS);
    lab.script(&lab.path("later"), "echo other > f.txt; git commit -q -a -m 'Say something other than numbers'");
    let retried = lab.gitlode(&["mine", "--retry-failed", "--store", "store", "--json"]);
    assert_eq!((retried.status.code(), outcomes(&retried).len()), (Some(0), 1), "{:?}", text(&retried));
    let none = lab.gitlode(&["mine", "--retry-failed", "--store", "store", "--json"]);
    assert_eq!((none.status.code(), outcomes(&none).len()), (Some(0), 0));
    lab.ok(&["verify", "store"]);
}

#[test]
fn a_retry_has_the_settings_of_the_run_that_failed() {
    let lab = Lab::new();
    lab.repository("good", "sha1", THREE_COMMITS);
    let args = ["mine", "good", "later", "--store", "store", "--kinds", "added", "--authors", "-q"];
    assert_eq!(lab.gitlode(&args).status.code(), Some(3));
    lab.repository("later", "sha1", THREE_COMMITS);
    let refused = lab.gitlode(&["mine", "--retry-failed", "--store", "store", "--kinds", "modified"]);
    assert_eq!(refused.status.code(), Some(2), "{:?}", text(&refused));
    assert!(text(&refused).1.contains("leave out --kinds"), "{:?}", text(&refused));
    let typo = lab.gitlode(&["mine", "--retry-failed", "--store", "sotre"]);
    assert!(typo.status.code() == Some(5) && !lab.path("sotre").exists(), "{:?}", text(&typo));
    lab.ok(&["mine", "--retry-failed", "--store", "store", "-q"]);
    let rows = lab.rows("store");
    assert!(rows.iter().all(|row| row["kind"] == "added" && row["author_name"] == "A U Thor"), "{rows:?}");
    // The same settings as ever: nothing to do, and no refusal.
    lab.ok(&args);
    // What the list said, and that rows were to be replaced, counts too; a line that is no source is not tried again.
    fs::rename(lab.path("good"), lab.path("away")).expect("it can be moved");
    fs::write(lab.path("list.csv"), "repo,stars\ngood,5\n,9\n").expect("the file can be written");
    let run = lab.gitlode(&["mine", "@list.csv", "--store", "store", "--kinds", "modified", "--replace", "--json"]);
    assert_eq!((run.status.code(), outcomes(&run).len()), (Some(3), 2), "{:?}", text(&run));
    fs::rename(lab.path("away"), lab.path("good")).expect("it can be moved");
    let retried = lab.gitlode(&["mine", "--retry-failed", "--store", "store", "--json"]);
    assert_eq!((retried.status.code(), outcomes(&retried).len()), (Some(0), 1), "{:?}", text(&retried));
    assert_eq!(outcomes(&retried)[0]["report"]["replaced"], true);
    let dir = fs::read_dir(lab.path("store/repositories")).expect("a store").map(|e| e.expect("an entry").path());
    let dir = dir.into_iter().find(|path| path.to_string_lossy().contains("good")).expect("one");
    let checkpoint: Value =
        serde_json::from_slice(&fs::read(dir.join("0002-000000.json")).expect("one")).expect("JSON");
    assert_eq!(checkpoint["repository"]["columns"]["stars"], "5");
}

#[test]
fn what_can_mine_nothing_is_refused() {
    let lab = Lab::new();
    lab.repository("r", "sha1", THREE_COMMITS);
    for args in [
        &["mine", "--retry-failed=false", "--dry-run"][..],
        &["mine", "r", "--dry-run", "--since", "2024-02-01", "--until", "2024-01-31"],
    ] {
        assert_eq!(lab.gitlode(args).status.code(), Some(2), "{args:?}");
    }
    let mut program = lab.program();
    let output = program.args(["mine", "r", "--dry-run"]).env("GITLODE_KIND", "added").output().expect("it runs");
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output).1.contains("GITLODE_KIND: there is no such setting"), "{:?}", text(&output));
}

#[test]
fn an_index_is_made_again_from_the_manifests() {
    let lab = Lab::new();
    lab.repository("a", "sha1", THREE_COMMITS);
    lab.repository("b", "sha1", THREE_COMMITS);
    lab.ok(&["mine", "a", "b", "--store", "store", "-q"]);
    let rows = || -> Vec<(String, i64)> {
        let index = rusqlite::Connection::open(lab.path("store/index.sqlite")).expect("an index");
        let mut query = index
            .prepare(
                "SELECT r.name, sum(s.rows) FROM repository r JOIN segment s ON s.repository = r.identity GROUP BY 1",
            )
            .expect("the tables are there");
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("a query");
        rows.map(|row| row.expect("a row")).collect()
    };
    let expected = vec![("a".to_owned(), 2), ("b".to_owned(), 2)];
    assert_eq!(rows(), expected);
    for damage in [&b"no database at all"[..], b""] {
        fs::write(lab.path("store/index.sqlite"), damage).expect("the index can be written");
        lab.ok(&["reindex", "store"]);
        assert_eq!(rows(), expected);
        fs::write(lab.path("store/index.sqlite"), damage).expect("the index can be written");
        lab.ok(&["mine", "a", "--store", "store", "-q"]);
        assert_eq!(rows(), expected);
    }
    fs::remove_file(lab.path("store/index.sqlite")).expect("the index can be removed");
    lab.ok(&["stats", "store"]);
}

#[test]
fn settings_come_from_file_environment_and_flags_in_this_order() {
    let lab = Lab::new();
    fs::write(
        lab.path("c.toml"),
        "[mine]\nthreads = 3\nblob_bytes_max = 7\nkinds = [\"added\", \"modified\"]\nauthors = true\n",
    )
    .expect("the file can be written");
    let show = |more: &[(&str, &str)], flags: &[&str]| -> Vec<(String, String)> {
        let output = lab
            .program()
            .args(["config", "show", "--json", "--config", "c.toml"])
            .args(flags)
            .envs(more.iter().copied())
            .current_dir(lab.dir.path())
            .output()
            .expect("gitlode runs");
        assert!(output.status.success(), "{:?}", text(&output));
        let shown: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let text = |value: &Value| value.as_str().unwrap_or("none").to_owned();
        let setting = |name: &str| {
            let all = shown["settings"].as_array().expect("a list");
            let one = all.iter().find(|one| one["name"] == name).expect("the setting");
            (text(&one["value"]), text(&one["origin"]))
        };
        ["threads", "blob-bytes-max", "kinds", "authors", "segment-bytes-max"].map(setting).to_vec()
    };
    let pair = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
    let expected = vec![
        pair("5", "GITLODE_THREADS"),
        pair("7", "c.toml"),
        pair("added,modified", "c.toml"),
        pair("true", "c.toml"),
        pair("67108864", "default"),
    ];
    assert_eq!(show(&[("GITLODE_THREADS", "5")], &[]), expected);
    lab.repository("r", "sha1", THREE_COMMITS);
    let kept = |flags: &[&str]| {
        let mut args = vec!["mine", "r", "--dry-run", "--json", "--config", "c.toml"];
        args.extend(flags);
        let summary: Value = serde_json::from_str(&lab.ok(&args)).expect("JSON");
        summary["funnel"]["changes"]["kept"].clone()
    };
    assert_eq!((kept(&[]), kept(&["--kinds", "added"])), (Value::from(3), Value::from(1)));
    for (bad, reason) in [
        ("[mine]\nrev = \"x\"\n", "one run only"),
        ("[mine]\nthread = 3\n", "no setting mine.thread"),
        ("[dig]\nthreads = 3\n", "no subcommand dig"),
        ("threads = 3\n", "no subcommand threads"),
        ("[mine\n", "c.toml"),
    ] {
        fs::write(lab.path("c.toml"), bad).expect("the file can be written");
        let output = lab.gitlode(&["mine", "r", "--dry-run", "--config", "c.toml"]);
        assert_eq!(output.status.code(), Some(4), "{bad}");
        assert!(text(&output).1.contains(reason), "{bad}: {:?}", text(&output));
    }
    // A bad value is blamed on where it stands.
    for (bad, reason) in
        [("threads = \"many\"", "mine.threads can't be many"), ("kinds = [\"new\"]", "mine.kinds can't be new")]
    {
        fs::write(lab.path("c.toml"), format!("[mine]\n{bad}\n")).expect("the file can be written");
        let output = lab.gitlode(&["mine", "r", "--dry-run", "--config", "c.toml"]);
        assert!(text(&output).1.contains(reason), "{bad}: {:?}", text(&output));
        assert_eq!(output.status.code(), Some(4), "{bad}");
    }
    let mut command = lab.program();
    let command = command.args(["mine", "r", "--dry-run"]).env("GITLODE_KINDS", "new").current_dir(lab.dir.path());
    let output = command.output().expect("gitlode runs");
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output).1.contains("GITLODE_KINDS: new is no value of --kinds"), "{:?}", text(&output));
    assert_eq!(lab.gitlode(&["mine", "r", "--dry-run", "--kinds", "new"]).status.code(), Some(2));
    // A flag turns off what the file turned on.
    fs::write(lab.path("c.toml"), "[mine]\nquiet = true\njson = true\n").expect("the file can be written");
    let with =
        |flags: &[&str]| text(&lab.gitlode(&[&["mine", "r", "--dry-run", "--config", "c.toml"], flags].concat()));
    assert!(with(&[]).0.starts_with('{') && with(&[]).1.is_empty());
    assert!(with(&["--json=false"]).0.is_empty());
    assert!(with(&["--quiet=false", "--json=false"]).0.contains("candidates"));
    assert!(with(&["--verbose"]).1.contains("listing commits"));
    let missing = lab.gitlode(&["mine", "r", "--dry-run", "--config", "gone.toml"]);
    assert_eq!(missing.status.code(), Some(4));
}

#[test]
fn the_second_writer_waits_or_says_so() {
    let lab = Lab::new();
    lab.repository("r", "sha1", THREE_COMMITS);
    fs::create_dir_all(lab.path("store")).expect("a directory");
    let lock = fs::File::create(lab.path("store/lock")).expect("a lock file");
    lock.lock().expect("the lock");
    let refused = lab.gitlode(&["mine", "r", "--store", "store"]);
    assert_eq!(refused.status.code(), Some(5));
    assert!(text(&refused).1.contains("another gitlode is writing"));
    thread::scope(|scope| {
        let waiting = scope.spawn(|| lab.gitlode(&["mine", "r", "--store", "store", "--wait"]));
        thread::sleep(Duration::from_millis(500));
        assert!(!waiting.is_finished(), "it waits");
        drop(lock);
        let output = waiting.join().expect("it ends");
        assert!(output.status.success(), "{:?}", text(&output));
        assert!(text(&output).1.contains("waiting for another gitlode"));
    });
}

#[test]
fn directories_lists_and_names_find_repositories() {
    let lab = Lab::new();
    lab.repository("many/deep/x", "sha1", THREE_COMMITS);
    lab.repository("many/y", "sha1", THREE_COMMITS);
    git(&lab.path("many"), &["clone", "-q", "--bare", "y", "bare.git"]);
    lab.repository("many/1/2/3/4/5/6/7/8/z", "sha1", THREE_COMMITS);
    lab.repository("elsewhere/linked", "sha1", THREE_COMMITS);
    std::os::unix::fs::symlink(lab.path("elsewhere/linked"), lab.path("many/link")).expect("a link");
    std::os::unix::fs::symlink(lab.path("many"), lab.path("many/deep/circle")).expect("a link");
    fs::create_dir_all(lab.path("none/inside")).expect("a directory");
    lab.ok(&["mine", "many", "many/y", "--store", "store", "-q"]);
    let stats: Value = serde_json::from_str(&lab.ok(&["stats", "store", "--json"])).expect("JSON");
    let names: Vec<&str> =
        stats["repositories"].as_array().expect("a list").iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(names, ["bare", "linked", "x", "y", "z"]);
    fs::create_dir_all(lab.path("many/y/inside")).expect("a directory");
    fs::write(lab.path("id.csv"), "id,licence\n5,MIT\n").expect("it can be written");
    for (source, said) in [
        ("none", "neither a git repository"),
        ("many/y/inside", "it is inside of the repository"),
        ("id.csv", "write @id.csv"),
        ("@id.csv", "its first line must name a column"),
        // A slip in a path is no repository of GitHub's.
        ("many/yy", "write https://github.com/many/yy"),
    ] {
        let empty = lab.gitlode(&["mine", source, "--store", "store2"]);
        let shown = text(&empty).1.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(empty.status.code(), Some(3));
        let plain = shown.replace(" │ ", " ");
        assert!(said.split(' ').all(|word| plain.contains(word)), "{source}: {shown}");
    }
}

#[test]
fn what_a_list_said_stands_until_another_list_says_otherwise() {
    let lab = Lab::new();
    lab.repository("r", "sha1", THREE_COMMITS);
    let list = |text: &str| fs::write(lab.path("list.csv"), text).expect("the list can be written");
    let columns = |source: &str| {
        lab.ok(&["mine", source, "--store", "store", "-q"]);
        let index = rusqlite::Connection::open(lab.path("store/index.sqlite")).expect("an index");
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        index.query_row("SELECT name, columns FROM repository", [], row).expect("a repository")
    };
    let known = ("mine".to_owned(), r#"{"license":"MIT","stars":"5"}"#.to_owned());
    list("path,name,license,stars\nr,mine,MIT,5\n");
    assert_eq!(columns("@list.csv"), known);
    assert_eq!(columns("r"), known);
    // Also where the index knows no runs.
    fs::remove_file(lab.path("store/index.sqlite")).expect("it is there");
    assert_eq!(columns("r"), known);
    let counted: Value =
        serde_json::from_str(&lab.ok(&["mine", "r", "--store", "store", "--dry-run", "--json"])).expect("JSON");
    assert_eq!(counted["repositories"][0]["report"]["unchanged"], true, "{counted}");
    list("path,stars\nr,6\n");
    let refused = lab.gitlode(&["mine", "@list.csv", "--store", "store"]);
    assert!(text(&refused).1.contains("another licence now"), "{:?}", text(&refused));
    list("path,license,stars\nr,mit,6\n");
    assert_eq!(columns("@list.csv"), ("r".to_owned(), r#"{"license":"mit","stars":"6"}"#.to_owned()));
}

#[test]
fn failures_can_be_forgotten() {
    let lab = Lab::new();
    lab.repository("good", "sha1", THREE_COMMITS);
    let run = lab.gitlode(&["mine", "good", "bad", "worse", "file:///no/where.git", "--store", "store", "-q"]);
    assert_eq!(run.status.code(), Some(3));
    let again = lab.gitlode(&["mine", "good", "--retry-failed", "--store", "store"]);
    assert!(text(&again).1.contains("good did not fail in its last run"), "{:?}", text(&again));
    assert!(lab.ok(&["forget", "store", "bad", "file/no/where"]).contains("/bad is forgotten"));
    let failed = || -> Vec<Value> {
        let stats: Value = serde_json::from_str(&lab.ok(&["stats", "store", "--json"])).expect("JSON");
        stats["failed"].as_array().expect("a list").clone()
    };
    assert_eq!(failed().len(), 1, "{:?}", failed());
    assert_eq!(lab.gitlode(&["forget", "store", "good"]).status.code(), Some(2));
    lab.ok(&["forget", "store", "worse"]);
    assert_eq!(failed(), Vec::<Value>::new());
    let nothing = lab.gitlode(&["mine", "--retry-failed", "--store", "store"]);
    assert!(nothing.status.success() && text(&nothing).1.contains("no source failed"), "{:?}", text(&nothing));
    fs::write(lab.path("empty"), "# nothing\n").expect("it can be written");
    let nothing = lab.gitlode(&["mine", "@empty", "--store", "store"]);
    assert!(nothing.status.success() && text(&nothing).1.contains("has no sources"), "{:?}", text(&nothing));
}

#[test]
fn an_interrupted_replacement_goes_on() {
    let lab = Lab::new();
    lab.repository("a", "sha1", THREE_COMMITS);
    lab.repository("b", "sha1", THREE_COMMITS);
    let replaced = |sources: &[&str], more: &[&str]| -> Vec<bool> {
        let args = [&["mine"], sources, &["--store", "store", "--replace", "--json"], more].concat();
        let output = lab.gitlode(&args);
        assert!(output.status.success(), "{:?}", text(&output));
        outcomes(&output).iter().map(|one| one["report"]["replaced"] == true).collect()
    };
    lab.ok(&["mine", "a", "b", "--store", "store", "-q"]);
    assert_eq!(replaced(&["a"], &[]), [true]);
    // As if a kill had come before the second one.
    let interrupt = || {
        let index = rusqlite::Connection::open(lab.path("store/index.sqlite")).expect("an index");
        let newest = "UPDATE run SET finished = NULL WHERE number = (SELECT max(number) FROM run)";
        index.execute(newest, []).expect("the run is there")
    };
    interrupt();
    assert_eq!(replaced(&["a", "b"], &[]), [false, true]);
    interrupt();
    assert_eq!(replaced(&["a", "b"], &[]), [false, false]);
    assert_eq!(replaced(&["a", "b"], &[]), [true, true], "the last run came to its end");
    interrupt();
    assert_eq!(replaced(&["a", "b"], &["--kinds", "modified,added"]), [true, true], "other settings");
}

fn facts_of(lab: &Lab, commit: &str) -> Value {
    serde_json::from_str(&lab.ok(&["inspect", "r", commit, "--json"])).expect("JSON")
}

#[test]
fn a_commit_can_be_inspected() {
    let lab = Lab::new();
    let repository = lab.repository("r", "sha1", THREE_COMMITS);
    lab.script(
        &repository,
        "mkdir deps; printf 'int x;\nclass Y;\n' > deps/y.h; \
         ln -s f.txt link; echo '#!/bin/sh' > run; git add -A; git commit -q -m 'Add a script and a link'",
    );
    let id = String::from_utf8(git(&repository, &["rev-parse", "--short=8", "HEAD"])).expect("hex");
    for name in ["HEAD", "main", "HEAD~0", id.trim()] {
        let facts: Value = serde_json::from_str(&lab.ok(&["inspect", "r", name, "--json"])).expect("JSON");
        assert_eq!(facts["commit"]["subject"], "Add a script and a link");
        assert_eq!(
            (&facts["files"][1]["new_file"], &facts["files"][1]["language"]),
            (&Value::from("run"), &Value::from("Shell"))
        );
        assert_eq!(facts["skipped"]["changes"]["symlink"], 1);
        let header = &facts["files"][0];
        assert_eq!((&header["language"], &header["vendored_evidence"]), (&Value::from("C++"), &Value::from("^deps/")));
        assert!(header["language_evidence"].as_str().is_some_and(|said| said.ends_with("in line 2")), "{header}");
        let said = facts["commit"]["message_language_evidence"].as_str().expect("evidence");
        assert!(said.starts_with("en 0.") && said.ends_with("of: add a script and a link"), "{said}");
    }
    let first: Value = serde_json::from_str(&lab.ok(&["inspect", "r", "HEAD~3", "f.txt", "--json"])).expect("JSON");
    assert_eq!(first["commit"]["subject"], "Set the number to 1");
    for name in ["HEAD~4", "nope", "HEAD~x", "dead"] {
        assert_eq!(lab.gitlode(&["inspect", "r", name]).status.code(), Some(3), "{name}");
    }
    assert_eq!(facts_of(&lab, "HEAD")["files"][1]["language_method"], "shebang");
    for command in ["inspect", "explain"] {
        let absent = lab.gitlode(&[command, "r", "HEAD", "f.txt"]);
        let said = String::from_utf8_lossy(&absent.stderr).into_owned();
        assert_eq!(absent.status.code(), Some(2), "{command}: {said}");
        assert!(
            said.contains("f.txt is no regular file that the commit changes; it changes deps/y.h, run"),
            "{command}: {said}"
        );
    }
    lab.script(
        &repository,
        "echo 'Permission is hereby granted, free of charge, to any person obtaining a copy of this software and \
         associated documentation files (the \"Software\"), to deal in the Software without restriction. The above \
         copyright notice and this permission notice shall be included.' > LICENSE; git add -A
         git commit -q -m 'Add a licence' -m 'Co-authored-by: Claude <noreply@anthropic.com>'",
    );
    let commit = &facts_of(&lab, "HEAD")["commit"];
    assert_eq!(commit["author_evidence"], "trailer: <noreply@anthropic.com>");
    assert_eq!(commit["repository_license"]["license_spdx"], "MIT");
    assert_eq!(commit["repository_license"]["license_path"], "LICENSE");
    assert!(lab.ok(&["languages"]).contains("Rust"));
    assert!(lab.ok(&["licenses"]).contains("Apache-2.0"));
    fs::write(lab.path("LICENSE"), "Mozilla Public License Version 2.0: Covered Software").expect("a file");
    assert!(lab.ok(&["licenses", "check", "LICENSE"]).contains("MPL-2.0 (text), not permissive"));
}

#[test]
fn every_message_has_its_line_whatever_its_bytes() {
    use std::{io::Write as _, process::Stdio};
    let lab = Lab::new();
    for (input, expected) in [
        (&b""[..], &[][..]),
        (b"\0", &[None]),
        (b"Fix the \xff\xfe list of pages\0", &[Some("en")]),
        (
            b"Fix the list of pages\0K\xf6nnte der Fehler beim Laden sein\0\0Corrige le calcul de la page",
            &[Some("en"), Some("de"), None, Some("fr")],
        ),
    ] {
        let mut program = lab.program();
        program.args(["languages", "message"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = program.spawn().expect("gitlode runs");
        child.stdin.take().expect("a pipe").write_all(input).expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success());
        let lines = String::from_utf8(output.stdout).expect("plain text");
        let values = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let found: Vec<Option<String>> = values.map(|value| value["language"].as_str().map(str::to_owned)).collect();
        assert_eq!(found.iter().map(Option::as_deref).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn declared_licenses_leave_repositories_out_only_when_asked() {
    let lab = Lab::new();
    for name in ["a", "b", "c"] {
        lab.repository(name, "sha1", THREE_COMMITS);
    }
    fs::write(lab.path("list.csv"), "path,license\na,mit\nb,agpl-3.0\nc,\n").expect("it can be written");
    let mined = |more: &[&str]| {
        let args = [&["mine", "@list.csv", "--dry-run", "--json"], more].concat();
        let summary: Value = serde_json::from_str(&lab.ok(&args)).expect("JSON");
        let repositories = summary["repositories"].as_array().expect("a list").clone();
        let left_out = repositories.iter().filter(|one| one["report"]["skipped_by_license"] == true);
        let names: Vec<String> = left_out.map(|one| one["name"].as_str().unwrap_or_default().to_owned()).collect();
        (names, summary["funnel"]["changes"]["kept"].clone())
    };
    assert_eq!(mined(&[]), (vec![], 6.into()));
    assert_eq!(mined(&["--skip-by-declared-license"]), (vec!["b".to_owned()], 4.into()));
    assert_eq!(mined(&["--skip-by-declared-license", "commitpack"]), (vec![], 6.into()));
}

#[test]
fn tables_of_facts_can_be_replaced() {
    let lab = Lab::new();
    lab.repository("r", "sha1", THREE_COMMITS);
    lab.mine("r", "store", &[]);
    assert_eq!(lab.rows("store")[0]["author_kind"], "human");
    fs::create_dir(lab.path("tables")).expect("a directory");
    let write = |name: &str, text: &str| fs::write(lab.path("tables").join(name), text).expect("it can be written");
    write("README.md", "not a table");
    write("authors.toml", "[[author]]\nid = \"thor\"\nkind = \"bot\"\nnames = [\"A U Thor\"]\nsource = \"a test\"\n");
    lab.mine("r", "store", &["--tables", "tables"]);
    let rows = lab.rows("store");
    assert!(rows.iter().all(|row| row["author_label"] == "thor"), "other tables make a repository due: {rows:?}");
    assert_eq!(rows.len(), 2);
    for (name, text, reason) in
        [("authors.toml", "[[author]]\n", "authors.toml"), ("colours.toml", "", "is no table that gitlode knows")]
    {
        write(name, text);
        let output = lab.gitlode(&["mine", "r", "--dry-run", "--tables", "tables"]);
        assert_eq!(output.status.code(), Some(4), "{name}");
        assert!(text_of(&output).contains(reason), "{name}: {}", text_of(&output));
        fs::remove_file(lab.path("tables").join(name)).expect("it is there");
    }
}

fn text_of(output: &Output) -> String {
    text(output).1
}

#[test]
fn sources_that_are_none_are_named_without_their_passwords() {
    let lab = Lab::new();
    for source in ["ftp://me:s3cret@h.invalid/a", "https://me:s3cret@:x/a", "https://me:s3cret@127.0.0.1:9/a.git"] {
        for more in [&[][..], &["--json"], &["--retry-failed"]] {
            let args = [&["mine", source, "--store", "store", "--fetch-retries", "0"], more].concat();
            let output = lab.gitlode(&args);
            let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            assert!(output.status.code() != Some(0) && !said.contains("s3cret") && said.len() > 20, "{said}");
        }
        let output = lab.gitlode(&["watch", "--once", "--store", "watched", "--sources", source]);
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(!said.contains("s3cret") && said.contains("failed"), "{said}");
    }
}

#[test]
fn what_a_url_asks_for_is_refused_and_shown_nowhere() {
    let lab = Lab::new();
    let gone = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let (good, port) = (lab.repository("good", "sha1", THREE_COMMITS), server(Some(gone)));
    let bad = format!("http://127.0.0.1:{port}/o/r.git?private_token=s3cret");
    let list = |name: &str, text: &str| {
        fs::write(lab.path(name), text).expect("the list can be written");
        format!("@{name}")
    };
    let lists = [
        list("list.txt", &format!("{bad}\n{}\n", good.display())),
        list("list.csv", &format!("url,stars\n\"{bad}\",5\n{},5\n", good.display())),
        list("list.jsonl", &format!("{{\"url\":\"{bad}\"}}\n{{\"url\":\"{}\"}}\n", good.display())),
    ];
    let fragment = bad.replace('?', "#");
    let mined = [&lists[0], &lists[1], &lists[2], &bad, &fragment].map(|source| vec!["mine", source]);
    let others =
        [vec!["mine", "--retry-failed"], vec!["watch", "--once", "--sources", &lists[0]], vec!["stats", "store"]];
    for args in mined.into_iter().chain(others) {
        let more: &[&str] = match args[0] {
            "mine" => &["--store", "store", "--fetch-retries", "0", "-v"],
            "watch" => &["--store", "store"],
            _ => &[],
        };
        let output = lab.gitlode(&[&args[..], more].concat());
        let (out, err) = text(&output);
        assert!(!format!("{out}{err}").contains("s3cret"), "{args:?}: {out}{err}");
        if args[0] != "stats" && args[1] != "--retry-failed" {
            assert_eq!(output.status.code(), Some(3), "{args:?}: {err}");
            assert!(err.contains("has a query or a fragment") && err.contains("credential helper"), "{args:?}: {err}");
        }
    }
    assert_eq!(lab.rows("store").len(), 2, "the other lines of the lists are mined");
    for file in walk(&lab.path("store")) {
        let bytes = fs::read(&file).expect("a file");
        assert!(!file.contains("s3cret") && !bytes.windows(6).any(|part| part == b"s3cret"), "{file}");
    }
}

#[test]
fn histories_keep_to_their_memory() {
    let lab = Lab::new();
    lab.repository("small", "sha1", THREE_COMMITS);
    let script = r#"
        seq 2000 | awk '{
            printf "commit refs/heads/main\ncommitter c <c@example.com> %d +0000\ndata 32\nSet the number once more and on\n\n", 1700000000 + $1
            printf "M 100644 inline f.txt\ndata %d\n%s\n\n", length($1) + 1, $1
        }' | git fast-import --quiet"#;
    lab.repository("large", "sha1", script);
    let mine = |store: &str, more: &[&str]| {
        let args = [&["mine", "small", "large", "--store", store, "--json", "-j", "2"], more].concat();
        lab.gitlode(&args)
    };
    assert!(mine("store", &[]).status.success());
    let expected = lab.export("store");
    assert_eq!(expected.iter().filter(|byte| **byte == b'\n').count(), 2001);
    // Too much beside the other one, and little enough alone.
    let aside = mine("aside", &["--memory", "8M"]);
    assert!(aside.status.success(), "{:?}", text(&aside));
    assert_eq!(lab.export("aside"), expected);
    let refused = mine("refused", &["--memory", "1M"]);
    assert_eq!(refused.status.code(), Some(3), "{:?}", text(&refused));
    let failed: Vec<Value> = outcomes(&refused).into_iter().filter(|outcome| outcome["error"].is_string()).collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(failed[0].to_string().contains("more than the 1 MiB of memory"), "{failed:?}");
    assert!(failed[0].to_string().contains("--memory"), "{failed:?}");
    // What the other one gave is kept, and the rest comes with enough.
    assert_eq!(lab.rows("refused").len(), 2);
    assert!(mine("refused", &[]).status.success());
    assert_eq!(lab.export("refused"), expected);
}
