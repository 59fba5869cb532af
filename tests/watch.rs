//! The daemon: what it makes of repositories that change, of servers that misbehave, and of its own death.

mod support;

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use support::{
    Draw, Lab, git, hermetic,
    server::{Manner, Server},
};

/// Longest wait for something that is going to happen.
const PATIENCE: Duration = Duration::from_secs(90);

/// A work tree that is pushed to the bare repository `served/NAME.git`.
struct Pushed {
    work: PathBuf,
    name: String,
    commits: usize,
}

impl Pushed {
    fn new(lab: &Lab, name: &str) -> Pushed {
        let bare = lab.path(&format!("served/{name}.git"));
        fs::create_dir_all(&bare).expect("a directory");
        git(&bare, &["init", "-q", "--bare", "-b", "main"]);
        let work = lab.repository(&format!("work/{name}"), "sha1", "");
        git(&work, &["remote", "add", "origin", bare.to_str().expect("UTF-8")]);
        let mut pushed = Pushed { work, name: name.to_owned(), commits: 0 };
        pushed.commit();
        pushed.commit();
        pushed.push();
        pushed
    }

    /// With three commits more.
    fn longer(lab: &Lab, name: &str) -> Pushed {
        let mut pushed = Pushed::new(lab, name);
        (0..3).for_each(|_| pushed.commit());
        pushed.push();
        pushed
    }

    fn git(&self, args: &[&str]) -> String {
        String::from_utf8(git(&self.work, args)).expect("UTF-8").trim().to_owned()
    }

    /// Changes one of three files, at a time of its own.
    fn commit(&mut self) {
        self.commits += 1;
        let (n, name) = (self.commits, &self.name);
        let file = format!("file{}.py", n % 3);
        let lines: String =
            (0..20).map(|line| format!("{name} = {}\n", if line == n % 20 { n + 1000 } else { line })).collect();
        fs::write(self.work.join(&file), lines).expect("a file");
        self.git(&["add", "."]);
        let date = format!("{} +0000", 1_700_000_000 + n);
        let message = format!("Set a number of {name} to {n}");
        let mut commit = Command::new("git");
        hermetic(&mut commit).arg("-C").arg(&self.work).args(["commit", "-q", "--allow-empty", "-m", &message]);
        let status = commit.envs(["GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"].map(|name| (name, &date))).status();
        assert!(status.expect("git runs").success());
    }

    fn push(&self) {
        self.git(&[
            "push",
            "-q",
            "--force",
            "--prune",
            "origin",
            "refs/heads/*:refs/heads/*",
            "refs/tags/*:refs/tags/*",
        ]);
    }

    /// Something that people do, as a number below 8 says.
    fn step(&mut self, what: usize, draw: &mut Draw) {
        match what {
            0 | 1 => (0..=draw.below(3)).for_each(|_| self.commit()),
            2 => {
                let branch = format!("side{}", self.commits);
                self.git(&["checkout", "-q", "-b", &branch]);
                self.commit();
                self.git(&["checkout", "-q", "main"]);
            }
            3 => {
                let branch = format!("topic{}", self.commits);
                self.git(&["checkout", "-q", "-b", &branch, "HEAD~1"]);
                self.commit();
                self.git(&["checkout", "-q", "main"]);
                self.git(&["merge", "-q", "--no-ff", "-s", "ours", "-m", "Merge a topic of some length", &branch]);
                self.git(&["branch", "-q", "-D", &branch]);
            }
            4 => {
                self.git(&["branch", "-f", "before"]);
                self.git(&["reset", "-q", "--hard", "HEAD~1"]);
                self.commit();
            }
            // There, and back again to what was rewritten before.
            5 if !self.git(&["branch", "--list", "before"]).is_empty() => {
                _ = self.git(&["reset", "-q", "--hard", "before"])
            }
            5 | 6 => _ = self.git(&["tag", "-f", &format!("v{}", draw.below(3))]),
            _ => {
                self.commit();
                self.git(&[
                    "commit",
                    "-q",
                    "--amend",
                    "--allow-empty",
                    "-m",
                    "Say something else about the last number",
                ]);
            }
        }
        self.push();
    }
}

/// A configuration file that watches `sources` into STORE/`store`; its name.
fn configure(lab: &Lab, store: &str, sources: &str, more: &str) -> String {
    let name = format!("{store}.toml");
    let text = format!(
        "[watch]\nstore = \"{store}\"\nsources = {sources}\ninterval-min = 1\ninterval-max = 3600\nallow-private = true\n{more}\n\
         [mine]\nfilter = \"none\"\nfetch-retries = 0\nfetch-low-speed-seconds = 2\nfetch-connect-seconds = 2\n"
    );
    fs::write(lab.path(&name), text).expect("it can be written");
    name
}

fn once(lab: &Lab, configuration: &str) -> (Option<i32>, String) {
    let output = lab.gitlode(&["watch", "--config", configuration, "--once"]);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stderr) + &text(&output.stdout))
}

/// A daemon, killed at the end of the test at the latest.
struct Daemon(Child);

impl Daemon {
    fn new(lab: &Lab, args: &[&str]) -> Daemon {
        let mut program = lab.program();
        Daemon(program.arg("watch").args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs"))
    }

    /// One with a server, and the server's address.
    fn serving(lab: &Lab, args: &[&str]) -> (Daemon, String) {
        let mut program = lab.program();
        program.arg("watch").args(args).args(["--listen", "127.0.0.1:0"]);
        let mut child = program.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it runs");
        let mut said = BufReader::new(child.stderr.take().expect("piped"));
        let mut line = String::new();
        while !line.starts_with("listening on ") {
            line.clear();
            assert!(said.read_line(&mut line).expect("text") > 0, "it listens");
        }
        // Whoever writes to a pipe that nobody reads may block.
        thread::spawn(move || _ = std::io::copy(&mut said, &mut std::io::sink()));
        (Daemon(child), line.trim_start_matches("listening on ").trim().to_owned())
    }

    fn terminate(&mut self) -> Option<i32> {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill runs").success());
        self.0.wait().expect("it ends").code()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// Waits until `is_so`.
#[track_caller]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// What is remembered of all repositories; nothing of a store that is not made yet.
fn status(lab: &Lab, store: &str) -> Vec<Value> {
    if !lab.path(store).join("store.json").exists() {
        return Vec::new();
    }
    let status: Value = serde_json::from_str(&lab.ok(&["status", store, "--json"])).expect("JSON");
    status["repositories"].as_array().expect("a list").clone()
}

fn condition(lab: &Lab, store: &str, name: &str) -> String {
    let status = status(lab, store);
    let one = status.iter().find(|one| one["name"].as_str().is_some_and(|text| text.ends_with(name)));
    one.map(|one| one["condition"].as_str().expect("a word").to_owned()).unwrap_or_default()
}

fn list(names: &[String]) -> String {
    serde_json::json!(names).to_string()
}

#[test]
fn sources_are_lists_directories_and_names_below_a_base() {
    let lab = Lab::new();
    for name in ["a", "b"] {
        Pushed::new(&lab, name);
    }
    lab.repository(
        "mirrors/c",
        "sha1",
        "for i in 1 2; do echo $i > f; git add f; git commit -qm \"Set it to $i\"; done",
    );
    lab.repository("d", "sha1", "for i in 1 2 3; do echo $i > f; git add f; git commit -qm \"Put $i there\"; done");
    let server = Server::http(&lab.path("served"), Manner::Git);
    fs::write(lab.path("names"), "# all of them\na.git\nb.git\n").expect("a file");
    fs::write(lab.path("list"), "name,path,stars\nd,d,7\n").expect("a file");
    let sources = list(&[format!("http://127.0.0.1:{}/@names", server.port), "mirrors".into(), "@list".into()]);
    let configuration = configure(&lab, "store", &sources, "");
    let (code, said) = once(&lab, &configuration);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("b: fetched") && said.contains("4 repositories, 0 failed"), "{said}");
    let rows = lab.rows("store");
    let of_list = rows.iter().filter(|row| row["repos"] == "d").count();
    assert_eq!((rows.len(), of_list), (3, 2), "{rows:?}");
    // Nothing is new: looks are all that servers get, and no mirror is fetched into.
    let before = server.requests.load(std::sync::atomic::Ordering::SeqCst);
    let (code, said) = once(&lab, &configuration);
    assert_eq!((code, said.trim()), (Some(0), "0 rows from 4 repositories, 0 failed"));
    assert_eq!(server.requests.load(std::sync::atomic::Ordering::SeqCst) - before, 4, "two small requests each");
    let status = status(&lab, "store");
    assert_eq!(status.len(), 4);
    assert!(status.iter().all(|one| one["condition"] == "current" && one["state"]["changed"].is_u64()), "{status:?}");
    let table = lab.ok(&["status", "store"]);
    assert!(table.contains("last change") && table.lines().count() > 5, "{table}");
    // Other rules make all of them due, mirrors that went away included.
    fs::remove_dir_all(lab.path("store/mirrors")).expect("mirrors");
    let text = fs::read_to_string(lab.path(&configuration)).expect("a file");
    fs::write(lab.path(&configuration), text.replace("[mine]", "[mine]\ncommit-changes-max = 1000")).expect("a file");
    let (code, said) = once(&lab, &configuration);
    assert!(code == Some(0) && said.matches("mined from the start").count() == 4, "{said}");
    assert_eq!(lab.rows("store"), rows, "a bound that nothing reaches");
    let text = fs::read_to_string(lab.path(&configuration)).expect("a file");
    fs::write(lab.path(&configuration), text.replace("[mine]", "[mine]\nkinds = \"added,modified\"")).expect("a file");
    let (code, said) = once(&lab, &configuration);
    assert_eq!(code, Some(0), "{said}");
    assert!(lab.rows("store").len() > rows.len(), "other kinds of changes have more rows");
    lab.ok(&["verify", "store"]);
}

#[test]
fn any_sequence_of_steps_ends_as_a_bulk_run_does() {
    let lab = Lab::new();
    let mut draw = Draw(0x2545_f491_4f6c_dd1d);
    let mut repositories: Vec<Pushed> = ["one", "two", "three"].iter().map(|name| Pushed::new(&lab, name)).collect();
    let server = Server::http(&lab.path("served"), Manner::Git);
    fs::write(lab.path("names"), "one.git\ntwo.git\nthree.git\n").expect("a file");
    let sources = list(&[format!("http://127.0.0.1:{}/@names", server.port)]);
    let configuration = configure(&lab, "store", &sources, "batches-max = 2");
    let (mut replaced, mut killed) = (0, 0);
    for round in 0..20 {
        for repository in &mut repositories {
            let what = if round < 8 { round } else { draw.below(8) };
            repository.step(what, &mut draw);
        }
        if draw.below(4) == 0 {
            let mirrors = lab.path(&format!("store/mirrors/127.0.0.1%3a{}", server.port));
            _ = fs::remove_dir_all(mirrors.join(format!("{}.git", ["one", "two", "three"][draw.below(3)])));
        }
        if draw.below(2) == 0 {
            let mut daemon = Daemon::new(&lab, &["--config", &configuration, "--once"]);
            thread::sleep(Duration::from_millis(10 * draw.below(12) as u64));
            killed += usize::from(daemon.0.try_wait().expect("a state").is_none());
            drop(daemon);
        }
        if draw.below(3) > 0 {
            let (code, said) = once(&lab, &configuration);
            assert_eq!(code, Some(0), "{said}");
            replaced += said.matches("mined from the start").count();
        }
    }
    let (code, said) = once(&lab, &configuration);
    assert_eq!(code, Some(0), "{said}");
    assert!(replaced > 5 && killed > 3, "{replaced} rewritten histories were seen, {killed} runs killed");
    lab.ok(&["verify", "store"]);
    let bulk: Vec<String> =
        ["one", "two", "three"].iter().map(|name| format!("http://127.0.0.1:{}/{name}.git", server.port)).collect();
    let bulk: Vec<&str> = bulk.iter().map(String::as_str).collect();
    lab.ok(&[&["mine"], &bulk[..], &["--store", "bulk"]].concat());
    let rows = lab.rows("bulk").len();
    assert!(rows > 30, "{rows}");
    assert!(lab.export("store") == lab.export("bulk"), "the same bytes");
}

#[test]
fn many_ticks_leave_few_files_and_the_rows_of_a_bulk_run() {
    let lab = Lab::new();
    let mut repository = Pushed::new(&lab, "a");
    let configuration = configure(&lab, "store", &list(&["served".into()]), "batches-max = 5");
    let rules = "id = \"r\"\nwhy = \"A test.\"\n[[rule]]\nid = \"subject\"\nwhy = \"A test.\"\nfield = \"subject\"\n\
                 chars = { min = 4 }\n[[rule]]\nid = \"contents\"\nwhy = \"A test.\"\n\
                 not = { field = \"new_contents\", contains = \"a = 104\" }\n";
    fs::write(lab.path("rules.toml"), rules).expect("a file");
    let rule = |name: &str, more: &str| {
        let text = fs::read_to_string(lab.path(name)).expect("a file");
        let ruled = text.replace("filter = \"none\"", &format!("filter = \"./rules.toml\"\n{more}"));
        fs::write(lab.path(name), ruled).expect("a file");
    };
    rule(&configuration, "segment-bytes-max = 20000");
    let tick = |name: &str| {
        let output = lab.program().env_remove("GITLODE_FILTER").args(["watch", "--once", "--config", name]).output();
        assert_eq!(output.as_ref().map(|output| output.status.code()).ok(), Some(Some(0)), "{output:?}");
    };
    let files = |store: &str| -> Vec<String> {
        let mut directories = fs::read_dir(lab.path(store).join("repositories")).expect("a store");
        let directory = directories.next().expect("a repository").expect("an entry").path();
        let names = fs::read_dir(directory).expect("files").map(|entry| entry.expect("an entry").file_name());
        names.map(|name| name.to_string_lossy().into_owned()).collect()
    };
    let mut most = 0;
    for n in 0..60 {
        repository.commit();
        if n % 3 == 0 {
            // Rules drop it before a blob is read.
            repository.git(&["commit", "-q", "--amend", "-m", "WIP"]);
            repository.commit();
        }
        repository.push();
        tick(&configuration);
        most = most.max(files("store").len());
    }
    let bulk = configure(&lab, "bulk", &list(&["served".into()]), "");
    rule(&bulk, "");
    tick(&bulk);
    // Five batches of up to five files, and up to six large segments with theirs.
    assert!(most <= 60 && files("store").len() <= 50, "{most}: {:?}", files("store"));
    lab.ok(&["verify", "store"]);
    assert!(lab.rows("bulk").len() > 40);
    assert!(lab.export("store") == lab.export("bulk"), "the same bytes");
    let stats = |store: &str| -> Value { serde_json::from_str(&lab.ok(&["stats", store, "--json"])).expect("JSON") };
    assert_eq!(stats("store")["funnel"], stats("bulk")["funnel"], "the same account");
    let dropped = &stats("store")["funnel"];
    assert!(dropped["commits"]["dropped"]["subject"].as_u64() > Some(9), "{dropped}");
    assert!(dropped["changes"]["dropped"]["contents"].as_u64() > Some(5), "{dropped}");
    lab.ok(&["reindex", "store"]);
    assert_eq!(stats("store")["funnel"], stats("bulk")["funnel"]);
}

#[test]
fn mirrors_stay_within_their_budget_and_exports_follow_the_store() {
    let lab = Lab::new();
    let mut repositories: Vec<Pushed> = ["one", "two"].iter().map(|name| Pushed::new(&lab, name)).collect();
    let server = Server::http(&lab.path("served"), Manner::Git);
    fs::write(lab.path("names"), "one.git\ntwo.git\n").expect("a file");
    let sources = list(&[format!("http://127.0.0.1:{}/@names", server.port)]);
    let more = "mirror-bytes-max = 1\nexport-to = \"out\"\nexport-every = 0\nexport-keep = 2";
    let configuration = configure(&lab, "store", &sources, more);
    let text = fs::read_to_string(lab.path(&configuration)).expect("a file");
    let sections = "[export]\nassembled = true\nshard-bytes-max = 1000000\n[assemble]\nnear-duplicates = \"off\"\n";
    fs::write(lab.path(&configuration), format!("{text}{sections}")).expect("a file");
    let mut seen = Vec::new();
    for _ in 0..4 {
        for repository in &mut repositories {
            (0..2).for_each(|_| repository.commit());
            repository.push();
        }
        let (code, said) = once(&lab, &configuration);
        assert!(code == Some(0) && said.matches(": fetched").count() == 2, "{said}");
        let mirrors = lab.path(&format!("store/mirrors/127.0.0.1%3a{}", server.port));
        let left = fs::read_dir(mirrors).expect("a directory").flatten().filter(|entry| entry.path().is_dir()).count();
        assert_eq!(left, 0, "{said}");
        let _absent_the_first_time = fs::remove_dir_all(lab.path("by-hand"));
        lab.ok(&["export", "store", "by-hand", "--assembled"]);
        let names = fs::read_dir(lab.path("by-hand/data")).expect("shards").flatten().map(|entry| entry.file_name());
        let names: Vec<_> = names.collect();
        let of = |export: &str| -> Vec<Vec<u8>> {
            names.iter().map(|name| fs::read(lab.path(export).join("data").join(name)).unwrap_or_default()).collect()
        };
        assert!(of("out/current") == of("by-hand"), "{said}");
        seen.push(fs::read_link(lab.path("out/current")).expect("a link"));
        // The next one has another name.
        thread::sleep(Duration::from_millis(1100));
    }
    seen.dedup();
    let mut left: Vec<_> = fs::read_dir(lab.path("out")).expect("exports").flatten().map(|e| e.file_name()).collect();
    left.sort();
    assert_eq!((seen.len(), left.len()), (4, 3), "two exports and the link: {left:?}");
    assert!(lab.rows("store").len() > 8);
}

#[test]
fn exports_say_which_rows_came_and_went_and_why() {
    let lab = Lab::new();
    let grown = |name: &str| {
        let mut pushed = Pushed::new(&lab, name);
        (0..4).for_each(|_| pushed.commit());
        pushed.push();
        pushed
    };
    let mut repositories: Vec<Pushed> = ["a", "b", "c"].iter().map(|name| grown(name)).collect();
    let more = "gone = \"drop\"\ngone-after = 1\nexport-to = \"out\"\nexport-every = 0\nexport-keep = 9";
    let configuration = configure(&lab, "store", &list(&["served".into()]), more);
    let tick = |export: &str| {
        thread::sleep(Duration::from_millis(1100));
        let text = fs::read_to_string(lab.path(&configuration)).expect("a file");
        let text = text.split("[export]").next().expect("a part").to_owned();
        fs::write(lab.path(&configuration), format!("{text}[export]\n{export}")).expect("a file");
        let mut program = lab.program();
        program.env_remove("GITLODE_FILTER").args(["watch", "--once", "--config", &configuration]);
        String::from_utf8(program.output().expect("it runs").stderr).expect("UTF-8")
    };
    let changes = || -> Value {
        let text = fs::read(lab.path("out/current/changes.json")).expect("changes");
        serde_json::from_slice(&text).expect("JSON")
    };
    // What the list says: which rows came, which went.
    let listed = || {
        let text = fs::read_to_string(lab.path("out/current/changes.jsonl")).expect("a list");
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let of = |change: &str| {
            let lines = lines.iter().filter(|line| line["change"] == change);
            lines.map(|line| line["id"].as_str().expect("an id").to_owned()).collect::<BTreeSet<_>>()
        };
        (of("added"), of("removed"))
    };
    let exported = || -> BTreeSet<String> {
        let text = fs::read_to_string(lab.path("out/current/data/train-00000-of-00001.jsonl")).unwrap_or_default();
        let ids = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["id"].clone());
        ids.map(|id| id.as_str().expect("an id").to_owned()).collect()
    };
    let said = tick("");
    assert!(said.contains("; the first one") && !lab.path("out/current/changes.json").exists(), "{said}");
    let mut before = exported();
    assert_eq!(before.len(), 9);
    let mut check = |said: &str, expected: Value| {
        let changes = changes();
        assert_eq!(serde_json::json!([changes["added"], changes["removed"]]), expected, "{said}");
        let now = exported();
        let difference = (&now - &before, &before - &now);
        assert_eq!(listed(), difference, "the list has what two exports differ by");
        before = now;
    };
    // New commits in one, another history of the second, the third gone, and a fourth.
    repositories[0].commit();
    repositories[0].push();
    repositories[1].step(4, &mut Draw(1));
    fs::remove_dir_all(lab.path("served/c.git")).expect("it is there");
    repositories.push(grown("d"));
    let said = tick("");
    check(&said, serde_json::json!([{"new_commits": 2, "new_repository": 3}, {"history_rewritten": 1, "gone": 3}]));
    assert!(said.contains("; 5 added (new_commits 2, new_repository 3), 4 removed (history_rewritten 1, gone 3)"));
    let of = changes()["repositories"].as_array().expect("a list").clone();
    let of = |name: &str| of.iter().find(|one| one["repository"] == name).expect(name).clone();
    assert_eq!((&of("b")["added"]["new_commits"], &of("c")["removed"]["gone"]), (&1.into(), &3.into()));
    // Purged, and rules of the export.
    lab.ok(&["purge", "store", "--repo", "a"]);
    repositories[3].commit();
    repositories[3].push();
    let rules = "id = \"r\"\nwhy = \"A test.\"\n[[rule]]\nid = \"subject\"\nwhy = \"A test.\"\n\
                 not = { field = \"subject\", contains = \"of b to\" }\n";
    fs::write(lab.path("rules.toml"), rules).expect("a file");
    let said = tick("filter = \"./rules.toml\"\n");
    check(&said, serde_json::json!([{"new_commits": 1}, {"opted_out": 4, "settings": 3}]));
    repositories[3].commit();
    repositories[3].push();
    let said = tick("");
    check(&said, serde_json::json!([{"new_commits": 1, "settings": 3}, {}]));
    // What was purged is a reason to export, and so are other settings; neither is none.
    lab.ok(&["purge", "store", "--repo", "b"]);
    let said = tick("");
    check(&said, serde_json::json!([{}, {"opted_out": 3}]));
    let said = tick("columns = \"id,subject,repos\"\n");
    check(&said, serde_json::json!([{}, {}]));
    assert!(!tick("columns = \"id,subject,repos\"\n").contains("rows in"), "nothing changed");
    // One that can't be read is no reason not to export.
    fs::write(lab.path("out/current/rows.ids"), "{}").expect("a file");
    repositories[3].commit();
    repositories[3].push();
    let said = tick("");
    assert!(said.contains("it can't be compared with export-"), "{said}");
    assert!(!lab.path("out/current/changes.json").exists() && exported().len() == 6, "{said}");
}

#[test]
fn a_daemon_sees_pushes_survives_its_death_and_stops_when_told() {
    let lab = Lab::new();
    let mut repository = Pushed::new(&lab, "a");
    let configuration = configure(&lab, "store", &list(&["served".into()]), "interval-max = 1");
    let rows = |lab: &Lab| if lab.path("store/store.json").exists() { lab.rows("store").len() } else { 0 };
    let text = fs::read_to_string(lab.path(&configuration)).expect("a file");
    fs::write(lab.path(&configuration), text.replace("interval-max = 3600\n", "")).expect("a file");
    let mut daemon = Daemon::new(&lab, &["--config", &configuration]);
    until("it is current", || lab.path("store/index.sqlite").exists() && condition(&lab, "store", "a") == "current");
    assert_eq!(rows(&lab), 0, "two files were added");
    (0..4).for_each(|_| repository.commit());
    repository.push();
    until("the rows come", || rows(&lab) == 3);
    assert_eq!(lab.gitlode(&["mine", "served", "--store", "store"]).status.code(), Some(5), "it holds the lock");
    drop(daemon);
    repository.commit();
    repository.push();
    daemon = Daemon::new(&lab, &["--config", &configuration]);
    until("the row comes", || rows(&lab) == 4);
    assert_eq!(daemon.terminate(), Some(0));
    lab.ok(&["verify", "store"]);
}

#[test]
fn lists_are_read_anew_and_what_they_say_changes_with_them() {
    let lab = Lab::new();
    for name in ["a", "b"] {
        Pushed::longer(&lab, name);
    }
    let server = Server::http(&lab.path("served"), Manner::Git);
    let line = |name: &str, stars: u32| format!("http://127.0.0.1:{}/{name}.git,{stars}\n", server.port);
    let write = |lines: &[String]| {
        fs::write(lab.path("new"), format!("url,stars\n{}", lines.concat())).expect("a file");
        fs::rename(lab.path("new"), lab.path("list")).expect("it can be moved");
    };
    write(&[line("a", 1)]);
    let configuration = configure(&lab, "store", &list(&["@list".into()]), "reread-seconds = 1");
    let mut daemon = Daemon::new(&lab, &["--config", &configuration]);
    // What the newest checkpoint of each repository says, and how many rows there are.
    let stars = || -> (Vec<String>, usize) {
        let mut stars = Vec::new();
        for directory in fs::read_dir(lab.path("store/repositories")).into_iter().flatten().flatten() {
            let files = fs::read_dir(directory.path()).into_iter().flatten().flatten().map(|entry| entry.path());
            let newest = files.filter(|path| path.extension().is_some_and(|end| end == "json"));
            let of_batch =
                |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().matches('-').count() == 1);
            let newest = newest.filter(of_batch).max();
            let checkpoint = newest.and_then(|path| fs::read(path).ok()).unwrap_or_default();
            let checkpoint: Value = serde_json::from_slice(&checkpoint).unwrap_or_default();
            stars.extend(checkpoint["repository"]["columns"]["stars"].as_str().map(str::to_owned));
        }
        stars.sort();
        let is_there = lab.path("store/store.json").exists();
        (stars, if is_there { lab.rows("store").len() } else { 0 })
    };
    let are = |expected: &[&str], rows: usize| {
        let (stars, found) = stars();
        stars == expected && found == rows
    };
    until("the first is mined", || are(&["1"], 2));
    write(&[line("a", 5), line("b", 7)]);
    until("both are mined, and the first has its new column", || are(&["5", "7"], 4));
    write(&[line("b", 7)]);
    until("the first is watched no more", || status(&lab, "store").len() == 1);
    assert!(are(&["5", "7"], 4), "its rows stay");
    assert_eq!(daemon.terminate(), Some(0));
}

#[test]
fn a_mirror_that_is_pushed_to_by_force_shrinks_again_and_rows_stay() {
    let lab = Lab::new();
    let mut repository = Pushed::longer(&lab, "a");
    let server = Server::http(&lab.path("served"), Manner::Git);
    let configuration = configure(&lab, "store", &list(&[format!("http://127.0.0.1:{}/a.git", server.port)]), "");
    assert_eq!(once(&lab, &configuration).0, Some(0));
    let mirror = lab.path(&format!("store/mirrors/127.0.0.1%3a{}/a.git", server.port));
    let packed = || -> u64 {
        let files = fs::read_dir(mirror.join("objects/pack")).expect("packs").flatten();
        files.map(|file| file.metadata().expect("a file").len()).sum()
    };
    let has = |commit: &str| {
        let mut git = Command::new("git");
        hermetic(&mut git).arg("-C").arg(&mirror).args(["cat-file", "-e", commit]).stderr(Stdio::null());
        git.status().expect("git runs").success()
    };
    let mut draw = Draw(7);
    let (mut first, mut most) = (String::new(), 0);
    for n in 0..12 {
        let noise: Vec<u8> = (0..200_000).map(|_| u8::try_from(draw.below(256)).expect("a byte")).collect();
        fs::write(repository.work.join("noise.bin"), noise).expect("a file");
        repository.commit();
        repository.push();
        if n == 0 {
            first = repository.git(&["rev-parse", "HEAD"]);
        }
        let (code, said) = once(&lab, &configuration);
        assert!(code == Some(0) && !said.contains("can't be tidied"), "{said}");
        most = most.max(packed());
        if n < 11 {
            repository.git(&["reset", "-q", "--hard", "HEAD~1"]);
        }
    }
    assert!(most < 900_000, "2.4 MB were fetched, and {most} bytes are the most");
    assert!(!has(&first) && mirror.join("objects/info/commit-graph").exists());
    // Back to what was removed, which is fetched once more.
    repository.git(&["reset", "-q", "--hard", &first]);
    repository.push();
    let (code, said) = once(&lab, &configuration);
    assert!(code == Some(0) && has(&first), "{said}");
    lab.ok(&["verify", "store"]);
    lab.ok(&["mine", &format!("http://127.0.0.1:{}/a.git", server.port), "--store", "bulk"]);
    assert_eq!(lab.rows("bulk").len(), 3);
    assert!(lab.export("store") == lab.export("bulk"), "the same bytes");
}

#[test]
fn what_is_left_out_is_said_and_counted() {
    let lab = Lab::new();
    for name in ["a", "b", "c"] {
        Pushed::new(&lab, name);
    }
    fs::write(lab.path("list"), "path,license\nserved/a.git,MIT\nserved/b.git,GPL-3.0\nserved/c.git,MIT\n")
        .expect("a file");
    fs::write(lab.path("opt-out"), "repository:c\n").expect("a file");
    let configuration = configure(&lab, "store", &list(&["@list".into()]), "");
    let text = fs::read_to_string(lab.path(&configuration)).expect("a file");
    let more = "opt-out = \"opt-out\"\nskip-by-declared-license = \"permissive\"\n";
    fs::write(lab.path(&configuration), format!("{text}{more}")).expect("a file");
    let (code, said) = once(&lab, &configuration);
    assert!(said.contains("b: left out: its declared licence is left out"), "{said}");
    assert!(said.contains("c: left out: its owner opted out"), "{said}");
    assert!(code == Some(0) && said.contains("rows from 1 repository, 0 failed, 2 left out"), "{said}");
    assert_eq!(status(&lab, "store").len(), 1);
}

#[test]
fn what_is_gone_or_emptied_is_recorded_and_dropped_by_policy() {
    let lab = Lab::new();
    for name in ["a", "b", "c", "d"] {
        Pushed::longer(&lab, name);
    }
    fs::create_dir(lab.path("here")).expect("a directory");
    for name in ["c", "d"] {
        fs::rename(lab.path(&format!("served/{name}.git")), lab.path(&format!("here/{name}.git")))
            .expect("it can be moved");
    }
    let server = Server::http(&lab.path("served"), Manner::Git);
    let url = |name: &str| format!("http://127.0.0.1:{}/{name}.git", server.port);
    let keep = configure(&lab, "keep", &list(&[url("a"), url("b"), "here/c.git".into()]), "gone-after = 2");
    let drops = configure(&lab, "drop", &list(&[url("a"), url("b"), "here".into()]), "gone = \"drop\"\ngone-after = 2");
    for configuration in [&keep, &drops] {
        let (code, said) = once(&lab, configuration);
        assert_eq!(code, Some(0), "{said}");
    }
    let before = lab.export("keep");
    assert_eq!(before.iter().filter(|byte| **byte == b'\n').count(), 6);
    server.serve("a.git", Manner::Status(451));
    git(&lab.path("served/b.git"), &["update-ref", "-d", "refs/heads/main"]);
    let away = lab.path("away");
    fs::rename(lab.path("here/c.git"), &away).expect("it can be moved");
    for (configuration, store, rows) in [(&keep, "keep", 6), (&drops, "drop", 8)] {
        let (code, said) = once(&lab, configuration);
        assert_eq!(code, Some(3), "{said}");
        assert_eq!(condition(&lab, store, "/a"), "gone", "{said}");
        assert_eq!(condition(&lab, store, "/b"), "emptied", "{said}");
        assert_eq!(lab.rows(store).len(), rows, "once may be a slip");
    }
    once(&lab, &keep);
    assert!(lab.export("keep") == before);
    let (_, said) = once(&lab, &drops);
    assert!(said.matches("its rows are removed").count() >= 3, "{said}");
    assert_eq!((condition(&lab, "drop", "/a"), lab.rows("drop").len()), ("dropped".into(), 2), "{said}");
    lab.ok(&["verify", "drop"]);
    fs::rename(&away, lab.path("here/c.git")).expect("it can be moved");
    server.serve("a.git", Manner::Git);
    once(&lab, &drops);
    assert_eq!(lab.rows("drop").len(), 6, "what comes back is mined anew");
}

#[test]
fn what_is_relicensed_or_moved_is_recorded_and_dropped_by_policy() {
    let lab = Lab::new();
    let mut repositories: Vec<Pushed> = ["a", "b", "c"].iter().map(|name| Pushed::new(&lab, name)).collect();
    let license = |repository: &mut Pushed, expression: Option<&str>| {
        let path = repository.work.join("package.json");
        match expression {
            Some(expression) => {
                fs::write(path, format!("{{\"license\": \"{expression}\"}}\n")).expect("a file");
            }
            None => fs::remove_file(path).expect("it is there"),
        }
        repository.commit();
        repository.commit();
        repository.push();
    };
    for repository in &mut repositories {
        license(repository, Some("MIT"));
    }
    let server = Server::http(&lab.path("served"), Manner::Git);
    let url = |name: &str| format!("http://127.0.0.1:{}/{name}.git", server.port);
    let sources = list(&["a", "b", "c"].map(url));
    let keep = configure(&lab, "keep", &sources, "gone-after = 2");
    let policies = "moved = \"drop\"\nrelicensed = \"drop\"\ngone-after = 2";
    let drops = configure(&lab, "drop", &sources, policies);
    let rows = |store: &str, name: &str| -> usize {
        let rows = lab.rows(store);
        rows.iter().filter(|row| row["repos"].as_str().is_some_and(|repos| repos.ends_with(name))).count()
    };
    for (configuration, store) in [(&keep, "keep"), (&drops, "drop")] {
        let (code, said) = once(&lab, configuration);
        assert_eq!((code, rows(store, "/a"), rows(store, "/b")), (Some(0), 1, 1), "{said}");
    }
    let state = |store: &str, name: &str| -> Value {
        let all = status(&lab, store);
        all.iter().find(|one| one["name"].as_str().is_some_and(|text| text.ends_with(name))).expect("it is watched")["state"].clone()
    };
    let of_one = state("drop", "/a");
    assert!(of_one["license"] == "MIT" && of_one["relicensed"].is_null(), "{of_one}");
    // One comes under the GPL, one has no licence any more, and one has another name.
    license(&mut repositories[0], Some("GPL-3.0-only"));
    license(&mut repositories[1], None);
    server.serve("c.git", Manner::Renamed("other.git"));
    fs::rename(lab.path("served/c.git"), lab.path("served/other.git")).expect("it can be moved");
    let (code, said) = once(&lab, &keep);
    assert_eq!((code, rows("keep", "/a"), rows("keep", "/b"), rows("keep", "/c")), (Some(0), 4, 3, 1), "{said}");
    let (code, said) = once(&lab, &drops);
    assert!(code == Some(3) && said.contains("relicensed: its licence was MIT and is GPL-3.0-only"), "{said}");
    assert!(
        said.contains("relicensed: its licence was MIT and is NONE") && said.contains("moved: the server has it at"),
        "{said}"
    );
    assert_eq!((rows("drop", "/a"), rows("drop", "/b"), rows("drop", "/c")), (1, 1, 1), "once may be a slip: {said}");
    for store in ["keep", "drop"] {
        let change = state(store, "/a")["relicensed"].clone();
        assert_eq!((&change["from"], &change["to"]), (&"MIT".into(), &"GPL-3.0-only".into()), "{store}");
        assert!(change["at"].is_u64() && state(store, "/b")["relicensed"]["to"] == "NONE", "{store}");
        assert!(state(store, "/c")["moved_to"].as_str().is_some_and(|to| to.ends_with("/other.git")), "{store}");
    }
    let table = lab.ok(&["status", "keep"]);
    assert!(table.contains("licence GPL-3.0-only, MIT until") && table.contains("is at http://"), "{table}");
    // Each row has the licence of its own commit.
    let of_rows: BTreeSet<String> = lab.rows("keep").iter().map(|row| row["license_spdx"].to_string()).collect();
    assert_eq!(of_rows.into_iter().collect::<Vec<_>>(), ["\"GPL-3.0-only\"", "\"MIT\"", "null"]);
    // So has the manifest of an export, the same each time.
    let change = |repository: &Pushed, from: &str, to: &str| {
        let tip = repository.git(&["rev-parse", "HEAD"]);
        let time: i64 = repository.git(&["show", "-s", "--format=%ct"]).parse().expect("a number");
        serde_json::json!({"from": from, "to": to, "tip": tip, "time": time})
    };
    let inputs = |out: &str, name: &str| -> Vec<Value> {
        lab.ok(&["export", "keep", out]);
        let all = support::manifest(&lab, out)["inputs"].as_array().expect("a list").clone();
        let is_of = |input: &Value| input["repository"].as_str().is_some_and(|text| text.ends_with(name));
        all.into_iter().filter(is_of).collect()
    };
    let mut changes = vec![change(&repositories[0], "MIT", "GPL-3.0-only")];
    let (a, b, c) = (inputs("first", "/a").pop(), inputs("second", "/b").pop(), inputs("third", "/c").pop());
    let (a, b, c) = (a.expect("one"), b.expect("one"), c.expect("one"));
    assert_eq!((&a["license"], a["relicensed"].as_array()), (&"GPL-3.0-only".into(), Some(&changes)));
    assert!(b["license"].is_null() && b["relicensed"][0]["to"].is_null() && b["relicensed"][0]["from"] == "MIT", "{b}");
    assert!(c["license"] == "MIT" && c["relicensed"].is_null(), "{c}");
    let bytes = |out: &str| fs::read(lab.path(out).join("manifest.json")).expect("a manifest");
    assert!(bytes("first") == bytes("second"));
    let (_, said) = once(&lab, &drops);
    assert_eq!((said.matches("its rows are removed").count(), said.matches(": fetched").count()), (3, 0), "{said}");
    let (code, said) = once(&lab, &drops);
    assert_eq!((code, lab.rows("drop").len(), said.matches(": fetched").count()), (Some(0), 0, 0), "{said}");
    // What is taken back is mined anew; another licence that is permissive is no reason to drop anything.
    license(&mut repositories[0], Some("Apache-2.0"));
    fs::rename(lab.path("served/other.git"), lab.path("served/c.git")).expect("it can be moved");
    server.serve("c.git", Manner::Git);
    let (code, said) = once(&lab, &drops);
    assert_eq!((code, rows("drop", "/a"), rows("drop", "/b"), rows("drop", "/c")), (Some(0), 7, 0, 1), "{said}");
    assert_eq!(state("drop", "/a")["relicensed"]["to"], "Apache-2.0");
    // A policy that is another one holds from the next look on.
    let text = fs::read_to_string(lab.path(&drops)).expect("a file");
    fs::write(lab.path(&drops), text.replace("relicensed = \"drop\"", "relicensed = \"keep\"")).expect("a file");
    let (code, said) = once(&lab, &drops);
    assert_eq!((code, rows("drop", "/b")), (Some(0), 3), "{said}");
    lab.ok(&["verify", "drop"]);
    // Batches that are joined forget none of it.
    let text = fs::read_to_string(lab.path(&keep)).expect("a file");
    fs::write(lab.path(&keep), text.replace("[mine]", "batches-max = 1\n[mine]")).expect("a file");
    let (code, said) = once(&lab, &keep);
    changes.push(change(&repositories[0], "GPL-3.0-only", "Apache-2.0"));
    let inputs = inputs("fourth", "/a");
    assert_eq!((code, inputs.len(), inputs[0]["relicensed"].as_array()), (Some(0), 1, Some(&changes)), "{said}");
}

#[test]
fn what_held_repositories_and_is_out_of_sight_takes_no_rows_along() {
    let lab = Lab::new();
    for name in ["a", "b"] {
        Pushed::longer(&lab, name);
    }
    let configuration = configure(&lab, "store", &list(&["served".into()]), "gone = \"drop\"\ngone-after = 1");
    assert_eq!(once(&lab, &configuration).0, Some(0));
    // As where a disk is not mounted, as where its place is not even there, and as where something else is in it.
    fs::rename(lab.path("served"), lab.path("away")).expect("it can be moved");
    for place in [None, Some("served"), Some("served/lost+found")] {
        if let Some(place) = place {
            fs::create_dir(lab.path(place)).expect("a directory");
        }
        for _ in 0..2 {
            let (code, said) = once(&lab, &configuration);
            assert!(code == Some(3) && said.matches("perhaps it is not mounted").count() == 2, "{said}");
        }
        assert_eq!((condition(&lab, "store", "a"), lab.rows("store").len()), ("local".into(), 4));
    }
    fs::remove_dir_all(lab.path("served")).expect("it is there");
    fs::rename(lab.path("away"), lab.path("served")).expect("it can be moved");
    let (code, said) = once(&lab, &configuration);
    assert_eq!((code, said.trim()), (Some(0), "0 rows from 2 repositories, 0 failed"));
}

#[test]
fn a_list_that_cannot_be_read_takes_nothing_along_and_keeps_nothing_back() {
    let lab = Lab::new();
    for name in ["a", "b"] {
        Pushed::longer(&lab, name);
    }
    let server = Server::http(&lab.path("served"), Manner::Git);
    let url = |name: &str| format!("http://127.0.0.1:{}/{name}.git", server.port);
    fs::write(lab.path("list"), format!("{}\n", url("a"))).expect("a file");
    let configuration = configure(&lab, "store", &list(&["@list".into(), url("b")]), "");
    assert_eq!(once(&lab, &configuration).0, Some(0));
    let mirror = lab.path(&format!("store/mirrors/127.0.0.1%3a{}/a.git", server.port));
    fs::rename(lab.path("list"), lab.path("other")).expect("it can be moved");
    let before = server.requests.load(std::sync::atomic::Ordering::SeqCst);
    let (code, said) = once(&lab, &configuration);
    assert!(
        code == Some(3) && said.contains("can't read the list") && said.contains("2 repositories, 1 failed"),
        "{said}"
    );
    assert_eq!(server.requests.load(std::sync::atomic::Ordering::SeqCst) - before, 4, "both are looked at");
    assert!(status(&lab, "store").len() == 2 && mirror.is_dir());
    // A list that can be read and does not name it any more is another thing; rows stay, the mirror does not.
    fs::write(lab.path("list"), "").expect("a file");
    assert_eq!(once(&lab, &configuration).0, Some(0));
    assert!(status(&lab, "store").len() == 1 && lab.rows("store").len() == 4);
    until("its mirror goes", || !mirror.exists());
}

#[test]
fn mistakes_in_settings_are_told_where_they_are() {
    let lab = Lab::new();
    for (line, expected) in [
        ("connections = 0", "watch.connections can't be 0"),
        ("mines = 0", "watch.mines can't be 0"),
        ("batches-max = 0", "watch.batches-max can't be 0"),
        ("export-keep = 0", "watch.export-keep can't be 0"),
        ("look-seconds = 0", "watch.look-seconds can't be 0"),
        ("webhook-secret-file = \"secret\"", "--listen is missing"),
    ] {
        let configuration = configure(&lab, "store", "[\"served\"]", line);
        let output = lab.gitlode(&["watch", "--config", &configuration]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() > Some(1) && said.contains(expected) && !said.contains("help mine"), "{said}");
    }
    let configuration = configure(&lab, "store", "[]", "");
    let said = once(&lab, &configuration);
    assert!(said.0 == Some(2) && said.1.contains("what to watch"), "{said:?}");
    // Passwords in it are nobody's business.
    let configuration = configure(&lab, "store", "[\"https://me:s3cret@h/a.git\", \"ftp://me:s3cret@h/a\"]", "");
    for more in [&["--json"][..], &[]] {
        let shown = lab.ok(&[&["config", "show", "watch", "--config", &configuration], more].concat());
        assert!(shown.contains("https://h/a.git") && !shown.contains("s3cret"), "{shown}");
    }
    let (_, said) = once(&lab, &configuration);
    assert!(said.contains("a URL is like https://"), "{said}");
    assert!(said.contains("ftp://h/a: failed") && !said.contains("s3cret"), "{said}");
}

#[test]
fn damaged_mirrors_are_cloned_anew_and_no_row_is_missing() {
    let lab = Lab::new();
    let mut repository = Pushed::new(&lab, "a");
    (0..9).for_each(|_| repository.commit());
    repository.push();
    let server = Server::http(&lab.path("served"), Manner::Git);
    let sources = list(&[format!("http://127.0.0.1:{}/a.git", server.port)]);
    let configuration = configure(&lab, "store", &sources, "");
    assert_eq!(once(&lab, &configuration).0, Some(0));
    // Of each pack, all bytes behind so many.
    let spoil = |from: usize| {
        let packs = lab.path(&format!("store/mirrors/127.0.0.1%3a{}/a.git/objects/pack", server.port));
        let paths = fs::read_dir(packs).expect("packs").flatten().map(|entry| entry.path());
        for path in paths.filter(|path| path.extension().is_some_and(|end| end == "pack")) {
            let mut bytes = fs::read(&path).expect("a pack");
            let from = from.min(bytes.len() / 2);
            bytes[from..].iter_mut().for_each(|byte| *byte ^= 0x55);
            fs::remove_file(&path).expect("it is there");
            fs::write(&path, bytes).expect("a file");
        }
    };
    spoil(12);
    repository.commit();
    repository.push();
    let (code, said) = once(&lab, &configuration);
    assert!(code == Some(0) && said.contains("its mirror was damaged; cloned anew"), "{said}");
    assert_eq!(lab.rows("store").len(), 9);
    // Nothing is new on the server, and all is mined anew, of which the mirror lacks a part.
    spoil(usize::MAX);
    let text = fs::read_to_string(lab.path(&configuration)).expect("a file");
    fs::write(lab.path(&configuration), text.replace("[mine]", "[mine]\nkinds = \"added,modified\"")).expect("a file");
    let (code, said) = once(&lab, &configuration);
    assert!(code == Some(3) && said.contains("its mirror is damaged; it is cloned and mined anew"), "{said}");
    let (code, said) = once(&lab, &configuration);
    assert_eq!(code, Some(0), "{said}");
    lab.ok(&["mine", "served", "--store", "bulk", "--kinds", "added,modified"]);
    let ids = |store: &str| -> BTreeSet<String> {
        lab.rows(store).iter().map(|row| format!("{}{}", row["commit"], row["new_file"])).collect()
    };
    assert_eq!((ids("store"), lab.rows("store").len()), (ids("bulk"), 12));
    lab.ok(&["verify", "store"]);
}

#[test]
fn once_says_how_many_waited_for_a_server_that_failed() {
    let lab = Lab::new();
    let server = Server::http(lab.dir.path(), Manner::Status(500));
    let names: String = (0..30).map(|n| format!("{n}.git\n")).collect();
    fs::write(lab.path("names"), names).expect("a file");
    let sources = list(&[format!("http://127.0.0.1:{}/@names", server.port)]);
    let (code, said) = once(&lab, &configure(&lab, "store", &sources, "connections-per-host = 2"));
    let summary = said.lines().last().unwrap_or_default();
    let numbers: Vec<usize> = summary.split(' ').filter_map(|word| word.parse().ok()).collect();
    assert_eq!((code, numbers[1], numbers[2] + numbers[3]), (Some(3), 30, 30), "{said}");
    assert!(numbers[2] < 8 && summary.ends_with("not looked at to the end"), "{said}");
}

/// Status and body of the answer to a request.
fn ask(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("a connection");
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    // A server that refuses need not read all of it.
    _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    let mut answer = Vec::new();
    _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

fn get(address: &str, path: &str) -> (u16, String) {
    ask(address, "GET", path, &[], b"")
}

fn sign(secret: &str, body: &[u8]) -> String {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
    let tag = aws_lc_rs::hmac::sign(&key, body);
    format!("sha256={}", tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// The value of a metric.
fn metric(address: &str, name: &str) -> u64 {
    let (status, page) = get(address, "/metrics");
    assert_eq!(status, 200);
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_else(|| panic!("{name}: {page}"))
}

const HOUR: &str = "interval-min = 3600\ninterval-max = 36000\nwebhook-secret-file = \"secret\"";

/// As [`configure`], with looks an hour apart and webhooks.
fn configure_hooks(lab: &Lab, store: &str, sources: &str) -> String {
    let name = configure(lab, store, sources, HOUR);
    let text = fs::read_to_string(lab.path(&name)).expect("a file");
    fs::write(lab.path(&name), text.replace("interval-min = 1\ninterval-max = 3600\n", "")).expect("a file");
    fs::write(lab.path("secret"), "a secret\n").expect("a file");
    name
}

#[test]
fn genuine_webhooks_bring_rows_at_once_and_others_nothing() {
    let lab = Lab::new();
    let mut repository = Pushed::new(&lab, "a");
    let server = Server::http(&lab.path("served"), Manner::Git);
    let url = format!("http://127.0.0.1:{}/a.git", server.port);
    let configuration = configure_hooks(&lab, "store", &list(std::slice::from_ref(&url)));
    let (mut daemon, address) = Daemon::serving(&lab, &["--config", &configuration]);
    until("it is current", || get(&address, "/api/repositories?condition=current").1.contains("\"current\""));
    (0..4).for_each(|_| repository.commit());
    repository.push();
    let payload = serde_json::json!({"ref": "refs/heads/main", "repository": {"full_name": "o/a", "clone_url": url}});
    let payload = payload.to_string().into_bytes();
    let good = sign("a secret", &payload);
    let hook = |event: &str, kind: &str, signature: &str, body: &[u8]| {
        let headers = [("X-GitHub-Event", event), ("Content-Type", kind), ("X-Hub-Signature-256", signature)];
        ask(&address, "POST", "/webhook/github", &headers, body).0
    };
    let json = "application/json";
    assert_eq!(ask(&address, "POST", "/webhook/github", &[("X-GitHub-Event", "push")], &payload).0, 401);
    assert_eq!(hook("push", json, &sign("another secret", &payload), &payload), 401);
    assert_eq!(hook("push", json, &good, b"{}"), 401);
    assert_eq!(hook("push", json, "sha256=", &payload), 401);
    assert_eq!(hook("push", "application/x-www-form-urlencoded", &good, &payload), 415);
    assert_eq!(hook("push", json, &sign("a secret", b"{"), b"{"), 400);
    let huge = vec![b' '; (25 << 20) + 1];
    assert!([413, 0].contains(&hook("push", json, &good, &huge)), "the body has a bound");
    assert_eq!(hook("ping", json, &sign("a secret", b"{}"), b"{}"), 200);
    assert_eq!(hook("star", json, &good, &payload), 202);
    let other = br#"{"repository":{"full_name":"o/other"}}"#;
    assert_eq!(hook("push", json, &sign("a secret", other), other), 202);
    assert_eq!(lab.rows("store").len(), 0, "none of that was a reason to look");
    assert_eq!(hook("push", json, &good, &payload), 200);
    until("the rows come", || lab.rows("store").len() == 3);
    let before = lab.export("store");
    until("its lag is counted", || metric(&address, "gitlode_lag_seconds_count") == 1);
    for event in ["push", "push", "repository", "public"] {
        assert_eq!(hook(event, json, &good, &payload), 200, "again, in whatever order");
    }
    until("they are looked into", || metric(&address, "gitlode_stages{stage=\"resting\"}") == 1);
    assert!(lab.export("store") == before);
    assert_eq!(metric(&address, "gitlode_webhooks_total{event=\"push\"}"), 4);
    assert!(metric(&address, "gitlode_webhooks_total{event=\"refused\"}") >= 6);
    assert_eq!(daemon.terminate(), Some(0));
}

#[test]
fn a_burst_of_webhooks_is_taken_whatever_strangers_announce() {
    let lab = Lab::new();
    Pushed::new(&lab, "a");
    let server = Server::http(&lab.path("served"), Manner::Git);
    let url = format!("http://127.0.0.1:{}/a.git", server.port);
    let configuration = configure_hooks(&lab, "store", &list(std::slice::from_ref(&url)));
    let (mut daemon, address) = Daemon::serving(&lab, &["--config", &configuration]);
    let strangers: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut stream = TcpStream::connect(&address).expect("a connection");
            let tag = "0".repeat(64);
            let head = format!(
                "POST /webhook/github HTTP/1.1\r\nHost: {address}\r\nContent-Length: 26000000\r\nX-Hub-Signature-256: sha256={tag}\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).expect("it listens");
            stream
        })
        .collect();
    let payload = serde_json::json!({"repository": {"clone_url": url}, "text": "x".repeat(200_000)});
    let payload = payload.to_string().into_bytes();
    let signature = sign("a secret", &payload);
    let headers =
        [("X-GitHub-Event", "push"), ("Content-Type", "application/json"), ("X-Hub-Signature-256", &signature)];
    let statuses: Vec<u16> = thread::scope(|scope| {
        let hook = || ask(&address, "POST", "/webhook/github", &headers, &payload).0;
        let hooks: Vec<_> = (0..50).map(|_| scope.spawn(hook)).collect();
        hooks.into_iter().map(|hook| hook.join().expect("an answer")).collect()
    });
    assert_eq!(statuses, [200; 50]);
    drop(strangers);
    assert_eq!(daemon.terminate(), Some(0));
}

#[test]
fn a_push_that_was_acknowledged_survives_a_kill() {
    let lab = Lab::new();
    let mut repository = Pushed::new(&lab, "a");
    let server = Server::http(&lab.path("served"), Manner::Git);
    let url = format!("http://127.0.0.1:{}/a.git", server.port);
    let configuration = configure_hooks(&lab, "store", &list(std::slice::from_ref(&url)));
    let payload = serde_json::json!({"repository": {"clone_url": url}}).to_string().into_bytes();
    let signature = sign("a secret", &payload);
    repository.commit();
    repository.push();
    for n in 0..4 {
        let (daemon, address) = Daemon::serving(&lab, &["--config", &configuration]);
        until("it is current", || get(&address, "/api/repositories?condition=current").1.contains("\"current\""));
        until("the rows are there", || lab.rows("store").len() == n);
        repository.commit();
        repository.push();
        let headers =
            [("X-GitHub-Event", "push"), ("Content-Type", "application/json"), ("X-Hub-Signature-256", &signature)];
        assert_eq!(ask(&address, "POST", "/webhook/github", &headers, &payload).0, 200);
        drop(daemon);
    }
    let (mut daemon, _) = Daemon::serving(&lab, &["--config", &configuration]);
    until("the last row is there", || lab.rows("store").len() == 4);
    assert_eq!(daemon.terminate(), Some(0));
    lab.ok(&["verify", "store"]);
}

#[test]
fn the_server_tells_what_is_and_stops_when_told() {
    let lab = Lab::new();
    for name in ["a", "b"] {
        Pushed::new(&lab, name);
    }
    let configuration = configure_hooks(&lab, "store", &list(&["served".into(), "http://127.0.0.1:9/no.git".into()]));
    let (mut daemon, address) = Daemon::serving(&lab, &["--config", &configuration]);
    until("it is ready", || get(&address, "/readyz").0 == 200);
    assert_eq!(get(&address, "/healthz").0, 200);
    until("two are current, one fails", || {
        let page = get(&address, "/metrics").1;
        page.contains("gitlode_repositories{condition=\"current\"} 2")
            && page.contains("gitlode_repositories{condition=\"unreachable\"} 1")
    });
    let page = get(&address, "/metrics").1;
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        let family = name.split('{').next().unwrap_or_default();
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| family.strip_suffix(end)).unwrap_or(family);
        assert!(value.parse::<u64>().is_ok() && page.contains(&format!("# TYPE {family} ")), "{line}");
    }
    let all: Value = serde_json::from_str(&get(&address, "/api/repositories").1).expect("JSON");
    let all = all["repositories"].as_array().expect("a list").clone();
    assert_eq!(all.len(), 3);
    let of = |name: &str| all.iter().find(|one| one["identity"].as_str().expect("text").ends_with(name)).expect(name);
    for name in ["served/a.git", "127.0.0.1:9/no"] {
        let path = format!("/api/repositories/{}", of(name)["identity"].as_str().expect("text"));
        let (status, one) = get(&address, &path);
        let one: Value = serde_json::from_str(&one).expect("JSON");
        assert_eq!((status, &one["identity"]), (200, &of(name)["identity"]), "{path}");
    }
    assert_eq!(get(&address, "/api/repositories/nobody/knows").0, 404);
    let path = format!("/api/repositories/{}/look", of("served/a.git")["identity"].as_str().expect("text"));
    assert_eq!(ask(&address, "POST", &path, &[], b"").0, 403, "not unless that was asked for");
    assert_eq!(get(&address, "/api/repositories?after=x").0, 400);
    assert_eq!(get(&address, "/elsewhere").0, 404);
    assert_eq!(ask(&address, "POST", "/api/repositories", &[], b"").0, 405, "nothing can be changed");
    let _idle = TcpStream::connect(&address).expect("a connection that says nothing");
    assert_eq!(daemon.terminate(), Some(0));
}

#[test]
fn a_repository_is_looked_at_when_somebody_asks_for_it() {
    let lab = Lab::new();
    let mut repository = Pushed::new(&lab, "a");
    Pushed::new(&lab, "b");
    fs::write(lab.path("token"), "t0ken\n").expect("a file");
    let configuration = configure_hooks(&lab, "store", &list(&["served".into()]));
    let text = fs::read_to_string(lab.path(&configuration)).expect("a file");
    let more = "[watch]\nwritable = true\ntoken-file = \"token\"";
    fs::write(lab.path(&configuration), text.replace("[watch]", more)).expect("a file");
    let (mut daemon, address) = Daemon::serving(&lab, &["--config", &configuration]);
    let post = |path: &str, token: &str| {
        let headers = [("Authorization", format!("Bearer {token}"))];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        ask(&address, "POST", path, &headers, b"")
    };
    until("both are current", || {
        let all = status(&lab, "store");
        all.len() == 2 && all.iter().all(|one| one["condition"] == "current")
    });
    (0..4).for_each(|_| repository.commit());
    repository.push();
    let identity = status(&lab, "store")
        .iter()
        .find_map(|one| one["identity"].as_str().filter(|identity| identity.ends_with("a.git")).map(str::to_owned));
    let path = format!("/api/repositories/{}/look", identity.expect("it is watched"));
    assert_eq!((post(&path, "other").0, post("/api/repositories/nobody/look", "t0ken").0), (401, 404));
    assert_eq!(post(path.trim_end_matches("/look"), "t0ken").0, 404);
    assert_eq!(lab.rows("store").len(), 0, "none of that was a reason to look");
    let (status, answer) = post(&path, "t0ken");
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!(status, 200, "{answer}");
    assert!(answer["name"] == "a" && answer["state"]["due"].is_u64(), "{answer}");
    until("the rows come, though a look is due in an hour", || lab.rows("store").len() == 3);
    assert_eq!((post(&path, "t0ken").0, post(&path, "t0ken").0), (200, 200), "again");
    // Mined from the start, it has the same rows, and they were made once more.
    let before = lab.export("store");
    assert_eq!(post(&path.replace("/look", "/mine"), "t0ken").0, 200);
    let kept = || {
        let page = ask(&address, "GET", "/metrics", &[("Authorization", "Bearer t0ken")], b"").1;
        let value = page.lines().find_map(|line| line.strip_prefix("gitlode_changes_total{verdict=\"kept\"} "));
        value.and_then(|value| value.parse::<u64>().ok())
    };
    until("all of it is mined again", || kept() == Some(6));
    until("and once only", || {
        let page = ask(&address, "GET", "/metrics", &[("Authorization", "Bearer t0ken")], b"").1;
        page.contains("gitlode_stages{stage=\"resting\"} 2")
    });
    assert!(lab.export("store") == before && kept() == Some(6));
    assert_eq!(daemon.terminate(), Some(0));
}

#[test]
fn private_addresses_are_not_asked_unless_that_is_allowed() {
    let lab = Lab::new();
    Pushed::new(&lab, "a");
    let server = Server::http(&lab.path("served"), Manner::Git);
    let (port, file) = (server.port, lab.path("served/a.git"));
    let urls = [
        format!("http://127.0.0.1:{port}/a.git"),
        format!("http://localhost:{port}/a.git"),
        format!("http://0x7f.1:{port}/a.git"),
        format!("http://[::1]:{port}/a.git"),
        format!("http://[::ffff:127.0.0.1]:{port}/a.git"),
        format!("https://localhost:{port}/b.git"),
        format!("git://127.0.0.1:{port}/c.git"),
        format!("git://localhost:{port}/d.git"),
        format!("ssh://git@localhost:{port}/e.git"),
        format!("file://{}", file.display()),
    ];
    let sources = list(&[&urls[..], &[file.display().to_string()]].concat());
    let configuration = configure(&lab, "store", &sources, "");
    let text = fs::read_to_string(lab.path(&configuration)).expect("a file");
    let open = text.clone();
    fs::write(lab.path(&configuration), text.replace("allow-private = true\n", "")).expect("a file");
    let (code, said) = once(&lab, &configuration);
    assert_eq!((code, said.matches("private_address: ").count()), (Some(3), urls.len()), "{said}");
    assert!(said.contains("127.0.0.1 is not a public address (--allow-private allows it)"), "{said}");
    assert_eq!(server.requests.load(std::sync::atomic::Ordering::SeqCst), 0, "nobody was asked");
    let status = status(&lab, "store");
    let of = |condition: &str| status.iter().filter(|one| one["condition"] == condition).count();
    assert_eq!((of("private_address"), of("current")), (urls.len(), 1), "a path is no address: {status:?}");
    let (daemon, address) = Daemon::serving(&lab, &["--config", &configuration]);
    until("they are counted", || metric(&address, "gitlode_repositories{condition=\"private_address\"}") == 10);
    drop(daemon);
    fs::write(lab.path(&configuration), open.replace(&sources, &list(&urls[..2]))).expect("a file");
    let (code, said) = once(&lab, &configuration);
    assert!(code == Some(0) && said.matches(": fetched").count() == 2, "{said}");
}

#[test]
fn metrics_and_states_have_a_token_where_there_is_one() {
    let lab = Lab::new();
    Pushed::new(&lab, "a");
    fs::write(lab.path("token"), "t0ken\n").expect("a file");
    let configuration = configure(&lab, "store", &list(&["served".into()]), "token-file = \"token\"");
    let (_daemon, address) = Daemon::serving(&lab, &["--config", &configuration]);
    for path in ["/metrics", "/api/repositories", "/api/repositories/x"] {
        let with = |token: &str| ask(&address, "GET", path, &[("Authorization", token)], b"").0;
        let expected = if path.ends_with('x') { 404 } else { 200 };
        assert_eq!((get(&address, path).0, with("Bearer other"), with("t0ken")), (401, 401, 401), "{path}");
        assert_eq!((with("Bearer t0ken"), with("bearer t0ken")), (expected, expected), "{path}");
    }
    assert_eq!(get(&address, "/healthz").0, 200);
    assert_eq!(ask(&address, "POST", "/webhook/github", &[], b"").0, 404, "no secret, no webhooks");
    let open = ["watch", "--store", "other", "--sources", "served", "--listen", "0.0.0.0:0"];
    let refused = lab.gitlode(&open);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--token-file is missing"), "{refused:?}");
    assert_eq!(refused.status.code(), Some(2));
    assert!(!lab.path("other").exists(), "a mistake makes no store");
    // Whoever can't have the store does not take the address.
    let second = lab.gitlode(&["watch", "--config", &configuration, "--listen", &address]);
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(second.status.code() == Some(5) && said.contains("another gitlode is writing"), "{said}");
}

#[test]
fn hostile_servers_are_told_apart_and_harm_nobody_else() {
    let lab = Lab::new();
    let mut good = Pushed::new(&lab, "good");
    Pushed::new(&lab, "bad");
    let elsewhere = Server::http(&lab.path("served"), Manner::Git);
    let limited = "X-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 1";
    let cases = [
        (Manner::Silent, "stalled"),
        (Manner::Reset, "unreachable"),
        (Manner::Drip, "stalled"),
        (Manner::Garbage, "garbage"),
        (Manner::Page, "garbage"),
        (Manner::Status(401), "refused"),
        (Manner::Status(403), "refused"),
        (Manner::Told(403, limited), "rate_limited"),
        (Manner::Status(404), "gone"),
        (Manner::Status(410), "gone"),
        (Manner::Told(429, "Retry-After: 2"), "rate_limited"),
        (Manner::Status(451), "gone"),
        (Manner::Status(500), "unreachable"),
        (Manner::Told(503, "Retry-After: 1"), "rate_limited"),
        (Manner::Elsewhere(elsewhere.port), "garbage"),
        (Manner::Cut(20), "unreachable"),
        (Manner::Endless, "limit"),
    ];
    let servers: Vec<Server> = cases.iter().map(|(manner, _)| Server::http(&lab.path("served"), *manner)).collect();
    let mut sources: Vec<String> =
        servers.iter().map(|server| format!("http://127.0.0.1:{}/bad.git", server.port)).collect();
    let kind = Server::http(&lab.path("served"), Manner::Git);
    sources.push(format!("http://127.0.0.1:{}/good.git", kind.port));
    let configuration =
        configure(&lab, "store", &list(&sources), "connections = 64\nlook-seconds = 3\ngone-after = 100");
    let text = fs::read_to_string(lab.path(&configuration)).expect("a file");
    fs::write(lab.path(&configuration), format!("{text}fetch-bytes-max = 2000000\n")).expect("a file");
    let (mut daemon, address) = Daemon::serving(&lab, &["--config", &configuration]);
    until("it is ready", || get(&address, "/readyz").0 == 200);
    let conditions = || -> Vec<String> {
        let all: Value = serde_json::from_str(&get(&address, "/api/repositories").1).expect("JSON");
        let of = |source: &String| {
            let identity = source.trim_start_matches("http://").trim_end_matches(".git");
            let one = all["repositories"].as_array()?.iter().find(|one| one["identity"] == identity)?;
            one["condition"].as_str().map(str::to_owned)
        };
        sources.iter().map(|source| of(source).expect("it is watched")).collect()
    };
    let expected: Vec<&str> = cases.iter().map(|(_, condition)| *condition).chain(["current"]).collect();
    until("each is what it is", || {
        let now = conditions();
        println!("{now:?}");
        now == expected
    });
    (0..4).for_each(|_| good.commit());
    good.push();
    until("the good one is none the worse", || lab.rows("store").len() == 3);
    for kind in ["stalled", "unreachable", "garbage", "refused", "rate_limited", "gone", "limit"] {
        assert!(metric(&address, &format!("gitlode_errors_total{{kind=\"{kind}\"}}")) > 0, "{kind}");
    }
    assert_eq!(elsewhere.requests.load(std::sync::atomic::Ordering::SeqCst), 0, "no redirect to another server");
    servers.iter().for_each(|server| server.serve("bad.git", Manner::Git));
    until("all of them recover", || {
        let now = conditions();
        println!("{now:?}");
        now.iter().all(|condition| condition == "current")
    });
    assert_eq!(daemon.terminate(), Some(0));
    lab.ok(&["verify", "store"]);
}

#[test]
fn an_export_that_fails_is_tried_again_and_what_killed_ones_left_goes() {
    let lab = Lab::new();
    Pushed::longer(&lab, "a");
    let configuration = configure(&lab, "store", &list(&["served".into()]), "export-to = \"out\"");
    // Neither a link nor a rename can be put where a directory is.
    fs::create_dir_all(lab.path("out/.current.new/in-the-way")).expect("a directory");
    let rest = "out/export-1000.gitlode-4711";
    fs::create_dir_all(lab.path(rest).join("data")).expect("a directory");
    let (code, said) = once(&lab, &configuration);
    assert!(code == Some(3) && said.contains("export: failed") && !lab.path(rest).exists(), "{said}");
    let daemon = Daemon::new(&lab, &["--config", &configuration]);
    let exports = || fs::read_dir(lab.path("out")).expect("exports").count();
    let before = exports();
    until("it tries", || exports() > before);
    fs::remove_dir_all(lab.path("out/.current.new")).expect("it is there");
    until("it tries again", || lab.path("out/current/manifest.json").exists());
    drop(daemon);
    // The next one is a day away, unless there are rows in this that are to be in none.
    let (code, said) = once(&lab, &configuration);
    assert!(code == Some(0) && !said.contains("rows in"), "{said}");
    thread::sleep(Duration::from_millis(1100));
    lab.ok(&["purge", "store", "--repo", "a"]);
    let (code, said) = once(&lab, &configuration);
    assert!(code == Some(0) && said.contains("export: 0 rows in "), "{said}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_log_that_cannot_be_written_ends_nothing() {
    let lab = Lab::new();
    let pushed = Pushed::new(&lab, "one");
    let configuration = configure(&lab, "store", &list(&[lab.path("served/one.git").display().to_string()]), "");
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    for args in [&["watch", "--config", &configuration, "--once"][..], &["mine", "served/one.git", "--store", "other"]]
    {
        let status = lab.program().args(args).stdout(Stdio::null()).stderr(full()).status().expect("it runs");
        assert_eq!(status.code(), Some(0), "{args:?}");
    }
    assert_eq!((lab.rows("store").len(), lab.rows("other").len(), pushed.commits), (0, 0, 2));
    let status = lab.program().args(["verify", "absent"]).stderr(full()).status().expect("it runs");
    assert_eq!(status.code(), Some(5), "what went wrong is told by the exit code all the same");
}

#[test]
fn an_export_has_all_that_came_until_it_began() {
    let lab = Lab::new();
    let names: Vec<String> = (0..2).map(|n| format!("r{n}")).collect();
    let mut repositories: Vec<Pushed> = names.iter().map(|name| Pushed::new(&lab, name)).collect();
    repositories.iter_mut().for_each(|repository| (0..3).for_each(|_| repository.commit()));
    let sources = list(&[lab.path("served").display().to_string()]);
    let configuration = configure(&lab, "store", &sources, "export-to = \"out\"\nexport-every = 1\nexport-keep = 99");
    let _daemon = Daemon::new(&lab, &["--config", &configuration]);
    let rows = || -> u64 {
        let manifest = fs::read(lab.path("out/current/manifest.json")).unwrap_or_default();
        serde_json::from_slice::<Value>(&manifest).map_or(0, |manifest| manifest["rows"].as_u64().expect("a number"))
    };
    let mut expected = 0;
    for _ in 0..6 {
        repositories.iter().for_each(Pushed::push);
        // Each file is added once, and modified from then on.
        expected = repositories.iter().map(|repository| repository.commits.saturating_sub(3) as u64).sum();
        until("the export has all rows", || rows() == expected);
        repositories.iter_mut().for_each(Pushed::commit);
    }
    assert_eq!(expected, 14);
    for export in fs::read_dir(lab.path("out")).expect("exports").flatten() {
        let Ok(changes) = fs::read(export.path().join("changes.json")) else { continue };
        let changes: Value = serde_json::from_slice(&changes).expect("JSON");
        let added = changes["added"].as_object().expect("by why").values();
        assert!(added.filter_map(Value::as_u64).sum::<u64>() > 0, "{changes}");
    }
}

#[test]
fn an_export_of_a_second_that_has_one_takes_the_next() {
    let lab = Lab::new();
    Pushed::new(&lab, "one");
    let sources = list(&[lab.path("served").display().to_string()]);
    let configuration = configure(&lab, "store", &sources, "export-to = \"out\"\nexport-every = 1\nexport-keep = 999");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is later").as_secs();
    for time in now..now + 300 {
        fs::create_dir_all(lab.path(&format!("out/export-{time}"))).expect("a directory");
    }
    let (code, said) = once(&lab, &configuration);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        lab.path(&format!("out/export-{}/manifest.json", now + 300)).exists()
            && lab.path("out/current/manifest.json").exists()
    );
}

#[test]
fn status_says_where_nothing_is_known_of_what_is_watched() {
    let lab = Lab::new();
    Pushed::new(&lab, "one");
    let status = |store: &str| {
        let output = lab.gitlode(&["status", store]);
        assert!(output.status.success());
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    lab.ok(&["mine", "served/one.git", "--store", "mined"]);
    assert_eq!(status("mined"), "nothing is watched into this store\n");
    let configuration = configure(&lab, "store", &list(&[lab.path("served").display().to_string()]), "");
    once(&lab, &configuration);
    assert!(status("store").contains("current"));
    for damage in [&b"no index at all"[..], b""] {
        let path = lab.path("store/index.sqlite");
        if damage.is_empty() { fs::remove_file(&path) } else { fs::write(&path, damage) }.expect("it can be changed");
        assert!(status("store").contains("warning: the index is not there or can't be read"), "{}", status("store"));
    }
    let (code, said) = once(&lab, &configuration);
    assert!(code == Some(0) && status("store").contains("current"), "{said}");
}

#[test]
fn a_round_that_is_told_to_stop_ends_at_once_and_says_so() {
    let lab = Lab::new();
    let server = Server::http(lab.dir.path(), Manner::Silent);
    let sources = list(&[format!("http://127.0.0.1:{}/a.git", server.port)]);
    let configuration = configure(&lab, "store", &sources, "");
    let text = fs::read_to_string(lab.path(&configuration)).expect("a file");
    let patient = text.replace("low-speed-seconds = 2", "low-speed-seconds = 600");
    fs::write(lab.path(&configuration), patient).expect("a file");
    let mut daemon = Daemon::new(&lab, &["--config", &configuration, "--once", "--stop-seconds", "1000"]);
    until("the server was asked", || server.requests.load(std::sync::atomic::Ordering::SeqCst) > 0);
    assert_eq!(daemon.terminate(), Some(130));
}
