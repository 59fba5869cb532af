//! The daemon: what it makes of repositories that change, of servers that misbehave, and of its own death.

mod support;

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use support::{
    Lab, git, hermetic,
    server::{Manner, Server},
};

/// Longest wait for something that is going to happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A sequence of numbers that a seed decides.
struct Draw(u64);

impl Draw {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % n as u64).expect("small")
    }
}

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

    fn git(&self, args: &[&str]) -> String {
        String::from_utf8(git(&self.work, args)).expect("UTF-8").trim().to_owned()
    }

    /// Changes one of three files, at a time of its own.
    fn commit(&mut self) {
        self.commits += 1;
        let (n, name) = (self.commits, &self.name);
        let file = format!("file{}.py", n % 3);
        let lines: String =
            (0..20).map(|line| format!("{name} = {}\n", if line == n % 20 { n + 100 } else { line })).collect();
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
        "[watch]\nstore = \"{store}\"\nsources = {sources}\ninterval-min = 1\ninterval-max = 3600\n{more}\n\
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

fn status(lab: &Lab, store: &str) -> Vec<Value> {
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
    let stars: Vec<&Value> = rows.iter().filter(|row| row["repos"] == "d").map(|row| &row["columns"]).collect();
    assert_eq!((rows.len(), stars.len()), (3, 2), "{rows:?}");
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
    assert!(code == Some(3) && said.matches("other settings (commit_changes_max)").count() == 4, "{said}");
}

#[test]
fn any_sequence_of_steps_ends_as_a_bulk_run_does() {
    let lab = Lab::new();
    let mut draw = Draw(0x2545_f491_4f6c_dd1d);
    let mut repositories: Vec<Pushed> = ["one", "two", "three"].iter().map(|name| Pushed::new(&lab, name)).collect();
    let server = Server::http(&lab.path("served"), Manner::Git);
    fs::write(lab.path("names"), "one.git\ntwo.git\nthree.git\n").expect("a file");
    let sources = list(&[format!("http://127.0.0.1:{}/@names", server.port)]);
    let configuration = configure(&lab, "store", &sources, "");
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
            thread::sleep(Duration::from_millis(20 * draw.below(12) as u64));
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
fn what_is_gone_or_emptied_is_recorded_and_dropped_by_policy() {
    let lab = Lab::new();
    for name in ["a", "b", "c"] {
        let mut pushed = Pushed::new(&lab, name);
        (0..3).for_each(|_| pushed.commit());
        pushed.push();
    }
    fs::create_dir(lab.path("here")).expect("a directory");
    fs::rename(lab.path("served/c.git"), lab.path("here/c.git")).expect("it can be moved");
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
    for (configuration, store) in [(&keep, "keep"), (&drops, "drop")] {
        let (code, said) = once(&lab, configuration);
        assert_eq!(code, Some(3), "{said}");
        assert_eq!(condition(&lab, store, "/a"), "gone", "{said}");
        assert_eq!(condition(&lab, store, "/b"), "emptied", "{said}");
        assert!(lab.export(store) == before, "once may be a slip");
    }
    once(&lab, &keep);
    assert!(lab.export("keep") == before);
    let (_, said) = once(&lab, &drops);
    assert!(said.matches("its rows are removed").count() >= 3, "{said}");
    assert_eq!((condition(&lab, "drop", "/a"), lab.rows("drop").len()), ("dropped".into(), 0));
    lab.ok(&["verify", "drop"]);
    fs::rename(&away, lab.path("here/c.git")).expect("it can be moved");
    server.serve("a.git", Manner::Git);
    once(&lab, &drops);
    assert_eq!(lab.rows("drop").len(), 4, "what comes back is mined anew");
}
