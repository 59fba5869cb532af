//! Forks that are attached to their root: what both have is mined once, and nothing is missing, whatever happened in which order.

mod support;

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;
use support::{
    Draw, Lab, git, hermetic,
    server::{Manner, Server},
};

/// A root and its forks: a work tree with a branch for each, which is pushed to `served/OWNER/x.git` as `main`.
struct Family {
    work: PathBuf,
    commits: usize,
}

const OWNERS: [&str; 3] = ["root", "alice", "zoe"];

impl Family {
    fn new(lab: &Lab) -> Family {
        let work = lab.repository(
            "work",
            "sha1",
            "echo '{\"license\": \"MIT\"}' > package.json; git add .; git commit -q -m 'Begin with a licence'",
        );
        let mut family = Family { work, commits: 0 };
        for owner in OWNERS {
            let bare = lab.path(&format!("served/{owner}/x.git"));
            fs::create_dir_all(&bare).expect("a directory");
            git(&bare, &["init", "-q", "--bare", "-b", "main"]);
            family.git(&["remote", "add", owner, bare.to_str().expect("UTF-8")]);
        }
        family.git(&["branch", "-q", "-m", "main", "root"]);
        (0..12).for_each(|_| family.commit("root"));
        family.git(&["branch", "alice"]);
        family.git(&["branch", "zoe", "HEAD~1"]);
        ["alice", "zoe", "zoe"].iter().for_each(|owner| family.commit(owner));
        family.push();
        family
    }

    fn git(&self, args: &[&str]) {
        git(&self.work, args);
    }

    fn commit(&mut self, owner: &str) {
        self.git(&["checkout", "-q", owner]);
        self.commits += 1;
        let n = self.commits;
        let file = format!("file{}.py", n % 5);
        let lines: String =
            (0..30).map(|line| format!("x = {}\n", if line == n % 30 { n + 1000 } else { line })).collect();
        fs::write(self.work.join(&file), lines).expect("a file");
        self.git(&["add", "."]);
        let (date, message) = (format!("{} +0000", 1_700_000_000 + n), format!("Set a number of {file} to {n}"));
        let mut commit = Command::new("git");
        hermetic(&mut commit).arg("-C").arg(&self.work).args(["commit", "-q", "--allow-empty", "-m", &message]);
        let status = commit.envs(["GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"].map(|name| (name, &date))).status();
        assert!(status.expect("git runs").success());
    }

    fn merge(&self, into: &str, from: &str) {
        self.git(&["checkout", "-q", into]);
        self.git(&["merge", "-q", "-s", "ours", "-m", "Merge what the others did", from]);
    }

    fn push(&self) {
        for owner in OWNERS {
            self.git(&["push", "-q", "--force", owner, &format!("{owner}:main")]);
        }
    }

    /// Something that people do, as a number below 9 says.
    fn step(&mut self, what: usize, draw: &mut Draw) {
        let fork = OWNERS[1 + draw.below(2)];
        match what {
            0 => self.commit("root"),
            1 | 2 => self.commit(fork),
            // A pull request is merged; a fork catches up.
            3 => self.merge("root", fork),
            4 => self.merge(fork, "root"),
            5 => self.merge(fork, if fork == "zoe" { "alice" } else { "zoe" }),
            // A history is rewritten: of the root, or of a fork.
            6 | 7 => {
                let owner = if what == 6 { "root" } else { fork };
                self.git(&["checkout", "-q", owner]);
                self.git(&["reset", "-q", "--hard", &format!("HEAD~{}", 1 + draw.below(2))]);
                self.commit(owner);
            }
            _ => self.git(&["branch", "-f", if fork == "zoe" { "alice" } else { "zoe" }, fork]),
        }
        self.git(&["checkout", "-q", "--detach"]);
        self.push();
    }
}

/// Writes a list of all of them: with what they are forks of, or without.
fn list(lab: &Lab, server: &Server, name: &str, is_attached: bool, owners: &[&str]) {
    let line = |owner: &&str| {
        let url = format!("http://127.0.0.1:{}/{owner}/x.git", server.port);
        let root = if is_attached && *owner != "root" { ",\"root\":\"root/x\"" } else { "" };
        format!("{{\"url\":\"{url}\"{root}}}\n")
    };
    fs::write(lab.path(name), owners.iter().map(line).collect::<String>()).expect("a file");
}

fn configure(lab: &Lab, more: &str) {
    let text = format!(
        "[watch]\nstore = \"store\"\nsources = [\"@attached\"]\nallow-private = true\ninterval-min = 1\n{more}\n[mine]\nfilter = \"none\"\n"
    );
    fs::write(lab.path("gitlode.toml"), text).expect("a file");
}

fn once(lab: &Lab) -> String {
    let output = lab.gitlode(&["watch", "--config", "gitlode.toml", "--once"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    said
}

/// The account of each repository in a store: rows by name.
fn rows_of(lab: &Lab, store: &str, owner: &str) -> u64 {
    // It ends with an error where another one is damaged.
    let output = lab.gitlode(&["stats", store, "--json"]);
    let repositories: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let all = repositories["repositories"].as_array().expect("repositories");
    let of = all.iter().find(|one| one["name"].as_str().is_some_and(|name| name.contains(owner))).expect("it is there");
    of["funnel"]["changes"]["kept"].as_u64().expect("a number")
}

/// Ids of rows, with the repositories that they are said to be of.
fn ids(rows: &[Value]) -> BTreeSet<(String, String)> {
    let text = |row: &Value, name: &str| row[name].as_str().expect("a text").to_owned();
    rows.iter().map(|row| (text(row, "id"), text(row, "repos"))).collect()
}

#[test]
fn what_a_fork_shares_with_its_root_is_mined_once() {
    let lab = Lab::new();
    Family::new(&lab);
    let server = Server::http(&lab.path("served"), Manner::Git);
    list(&lab, &server, "separate", false, &OWNERS);
    lab.ok(&["mine", "@separate", "--store", "alone"]);
    let mut all = Vec::new();
    for (at, owners) in
        [["root", "alice", "zoe"], ["zoe", "root", "alice"], ["alice", "zoe", "root"]].iter().enumerate()
    {
        let store = format!("store{at}");
        list(&lab, &server, "attached", true, owners);
        lab.ok(&["mine", "@attached", "--store", &store]);
        lab.ok(&["verify", &store]);
        assert_eq!(["alice", "zoe"].map(|owner| rows_of(&lab, &store, owner)), [1, 2]);
        all.push(lab.export(&store));
    }
    assert!(all.iter().all(|bytes| *bytes == all[0]), "whatever order they were named in");
    let rows = |store: &str| ids(&lab.rows(store));
    let (attached, alone) = (rows("store0"), rows("alone"));
    let only = |rows: &BTreeSet<(String, String)>| rows.iter().map(|(id, _)| id.clone()).collect::<BTreeSet<_>>();
    assert_eq!(only(&attached), only(&alone), "no row is missing");
    assert!(alone.iter().any(|(_, repos)| repos.contains(',')));
    assert!(attached.iter().all(|(_, repos)| !repos.contains(',')), "{attached:?}");
    // All go back to one commit, and so to one split: also what a fork has that was mined without its beginning.
    let parts: Vec<String> = (0..8).map(|part| format!("part{part}=0.125")).collect();
    let splits = |store: &str| {
        let out = format!("{store}-split");
        let arguments = parts.iter().flat_map(|part| ["--split", part.as_str()]);
        lab.ok(&["export", store, &out].into_iter().chain(arguments).collect::<Vec<_>>());
        let of_splits = support::manifest(&lab, &out)["splits"].as_object().expect("splits").clone();
        let filled = of_splits.into_iter().filter(|(_, split)| split["rows"] != 0);
        filled.map(|(name, split)| (name, split["rows"].as_u64())).collect::<Vec<_>>()
    };
    let of_attached = splits("store0");
    assert_eq!(of_attached.len(), 1, "{of_attached:?}");
    assert_eq!(of_attached, splits("alone"));
    // The fork alone, and then its root: what is in both is the root's as well.
    for owner in ["alice", "root", "zoe"] {
        list(&lab, &server, "one", true, &[owner]);
        lab.ok(&["mine", "@one", "--store", "piecemeal"]);
    }
    assert!(rows_of(&lab, "piecemeal", "alice") > 1 && rows_of(&lab, "piecemeal", "zoe") == 2);
    assert!(lab.export("piecemeal") == all[0], "the same bytes");
    // What is attached no more is whole, and the other way round.
    lab.ok(&["mine", "@separate", "--store", "store1"]);
    assert!(lab.export("store1") == lab.export("alone"));
    lab.ok(&["mine", "@attached", "--store", "store1"]);
    assert!(lab.export("store1") == all[0]);
    // A root whose rows are damaged takes none of its forks along.
    let files = support::files(&lab.path("store2/repositories")).into_keys();
    for file in files.filter(|file| file.contains("_root_x-") && file.ends_with(".json")) {
        fs::write(lab.path("store2/repositories").join(file), "{").expect("a file");
    }
    list(&lab, &server, "one", true, &["alice"]);
    lab.ok(&["mine", "@one", "--store", "store2"]);
    assert!(rows_of(&lab, "store2", "alice") > 1);
    // Repositories of this machine are attached by their paths.
    let path = |owner: &str| lab.path(&format!("served/{owner}/x.git")).display().to_string();
    let line = |owner: &&str| match *owner {
        "root" => format!("{{\"path\":\"{}\"}}\n", path(owner)),
        _ => format!("{{\"path\":\"{}\",\"root\":\"{}\",\"name\":\"{owner}\"}}\n", path(owner), path("root")),
    };
    fs::write(lab.path("paths"), ["alice", "zoe", "root"].iter().map(line).collect::<String>()).expect("a file");
    lab.ok(&["mine", "@paths", "--store", "local"]);
    assert_eq!(["alice", "zoe"].map(|owner| rows_of(&lab, "local", owner)), [1, 2]);
    assert_eq!(only(&rows("local")), only(&attached));
    // Who takes a fork out takes out what is the fork's.
    for store in ["store0", "piecemeal"] {
        fs::create_dir(lab.path("copy")).expect("a directory");
        let copied = Command::new("cp").arg("-r").arg(lab.path(store)).arg(lab.path("copy/store")).status();
        assert!(copied.expect("cp runs").success());
        lab.ok(&["purge", "copy/store", "--repo", &format!("127.0.0.1:{}/alice/x", server.port)]);
        let left = ids(&lab.rows("copy/store"));
        let expected: BTreeSet<_> = attached.iter().filter(|(_, repos)| !repos.contains("alice")).cloned().collect();
        assert_eq!(left, expected, "{store}");
        fs::remove_dir_all(lab.path("copy")).expect("a directory");
    }
    for store in ["store0", "piecemeal"] {
        lab.ok(&["assemble", store]);
        lab.ok(&["export", store, &format!("{store}-assembled"), "--assembled"]);
    }
    let files = |store: &str| {
        let mut files = support::files(&lab.path(&format!("{store}-assembled")));
        // It names the batches in which rows were mined.
        files.retain(|name, _| name != "manifest.json" && name != "README.md");
        files
    };
    assert!(files("store0") == files("piecemeal") && files("store0").len() > 3, "figures too");
}

#[test]
fn what_the_licence_of_a_whole_repository_decides_is_shared_where_that_is_the_same() {
    let lab = Lab::new();
    let mut family = Family::new(&lab);
    let server = Server::http(&lab.path("served"), Manner::Git);
    let rules = "id = \"whole\"\nwhy = \"Takes what is permissive as a whole.\"\nlicense_scope = \"repository\"\n[[rule]]\n\
                 id = \"license\"\nwhy = \"Nobody objects.\"\nlicense = \"permissive\"\n";
    fs::write(lab.path("whole.toml"), rules).expect("a file");
    list(&lab, &server, "attached", true, &OWNERS);
    list(&lab, &server, "separate", false, &OWNERS);
    // Under another licence in alice's fork, then in the root as well, then in both forks.
    for (owner, expected) in [(None, [1, 2]), (Some("alice"), [0, 2]), (Some("root"), [0, 8]), (Some("zoe"), [0, 0])] {
        if let Some(owner) = owner {
            family.git(&["checkout", "-q", owner]);
            fs::write(family.work.join("package.json"), "{\"license\": \"GPL-3.0-only\"}\n").expect("a file");
            family.commit(owner);
            family.push();
        }
        lab.ok(&["mine", "@attached", "--store", "store", "--filter", "./whole.toml"]);
        lab.ok(&["mine", "@separate", "--store", "alone", "--filter", "./whole.toml"]);
        let of = |store: &str| ids(&lab.rows(store)).into_iter().map(|(id, _)| id).collect::<BTreeSet<_>>();
        assert_eq!(of("store"), of("alone"), "{owner:?}");
        assert_eq!(["alice", "zoe"].map(|owner| rows_of(&lab, "store", owner)), expected, "{owner:?}");
    }
}

#[test]
fn a_clone_of_a_fork_takes_from_the_mirror_of_its_root() {
    let lab = Lab::new();
    let family = Family::new(&lab);
    let server = Server::http(&lab.path("served"), Manner::Git);
    list(&lab, &server, "attached", true, &OWNERS);
    lab.ok(&["mine", "@attached", "--store", "store"]);
    let mirrors = lab.path(&format!("store/mirrors/127.0.0.1%3a{}", server.port));
    let objects = |owner: &str| {
        let packs = git(&mirrors.join(owner).join("x.git"), &["count-objects", "-v"]);
        let text = String::from_utf8(packs).expect("UTF-8");
        assert!(text.contains("packs: 2\n"), "{text}");
        git(&mirrors.join(owner).join("x.git"), &["fsck", "--full", "--strict"]);
        let refs = git(&mirrors.join(owner).join("x.git"), &["for-each-ref", "--format=%(refname)"]);
        assert_eq!(String::from_utf8_lossy(&refs), "refs/heads/main\n");
    };
    ["alice", "zoe"].iter().for_each(|owner| objects(owner));
    // One that has nothing of its own, and one whose root's mirror is damaged.
    family.git(&["branch", "-f", "alice", "root~2"]);
    family.push();
    let pack = fs::read_dir(mirrors.join("root/x.git/objects/pack")).expect("packs").flatten();
    let pack = pack.map(|entry| entry.path()).find(|path| path.extension().is_some_and(|end| end == "pack"));
    fs::remove_dir_all(mirrors.join("alice")).expect("a mirror");
    lab.ok(&["mine", "@attached", "--store", "other", "--mirrors", "store/mirrors"]);
    git(&mirrors.join("alice/x.git"), &["fsck", "--full", "--strict"]);
    let pack = pack.expect("a pack");
    let mut bytes = fs::read(&pack).expect("a pack");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    fs::remove_file(&pack).expect("it can be removed");
    fs::write(&pack, bytes).expect("a file");
    fs::remove_dir_all(mirrors.join("zoe")).expect("a mirror");
    list(&lab, &server, "attached", true, &["zoe"]);
    lab.ok(&["mine", "@attached", "--store", "third", "--mirrors", "store/mirrors"]);
    git(&mirrors.join("zoe/x.git"), &["fsck", "--full", "--strict"]);
}

#[test]
fn any_sequence_of_steps_of_root_and_forks_ends_as_a_bulk_run_does() {
    let lab = Lab::new();
    let mut draw = Draw(0x9e37_79b9_7f4a_7c15);
    let mut family = Family::new(&lab);
    let server = Server::http(&lab.path("served"), Manner::Git);
    list(&lab, &server, "attached", true, &OWNERS);
    list(&lab, &server, "separate", false, &OWNERS);
    configure(&lab, "batches-max = 2");
    let (mut anew, mut killed) = (0, 0);
    for round in 0..24 {
        let what = if round < 9 { round } else { draw.below(9) };
        family.step(what, &mut draw);
        if draw.below(4) == 0 {
            let mirrors = lab.path(&format!("store/mirrors/127.0.0.1%3a{}", server.port));
            _ = fs::remove_dir_all(mirrors.join(OWNERS[draw.below(3)]));
        }
        if draw.below(2) == 0 {
            let mut program = lab.program();
            program.args(["watch", "--config", "gitlode.toml", "--once"]);
            let mut child = program.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
            thread::sleep(Duration::from_millis(10 * draw.below(14) as u64));
            killed += usize::from(child.try_wait().expect("a state").is_none());
            _ = child.kill();
            child.wait().expect("it ends");
        }
        if draw.below(3) > 0 {
            anew += once(&lab).matches("mined from the start").count();
            let manifest = lab.ok(&["export", "store", "look"]) + &lab.ok(&["verify", "store"]);
            assert!(!manifest.contains("may be missing"), "round {round}: {manifest}");
            fs::remove_dir_all(lab.path("look")).expect("an export");
            lab.ok(&["mine", "@separate", "--store", &format!("alone{round}"), "--mirrors", "mirrors"]);
            let of = |store: &str| ids(&lab.rows(store)).into_iter().map(|(id, _)| id).collect::<BTreeSet<_>>();
            assert_eq!(of("store"), of(&format!("alone{round}")), "round {round}: no row is missing, none too many");
            fs::remove_dir_all(lab.path(&format!("alone{round}"))).expect("a store");
        }
    }
    anew += once(&lab).matches("mined from the start").count();
    assert!(anew > 5 && killed > 3, "{anew} histories were mined anew, {killed} runs killed");
    lab.ok(&["mine", "@attached", "--store", "bulk"]);
    assert!(lab.export("store") == lab.export("bulk"), "the same bytes");
    let figures = |store: &str| {
        lab.ok(&["export", store, "out"]);
        let figures = support::files(&lab.path("out/figures"));
        fs::remove_dir_all(lab.path("out")).expect("an export");
        figures
    };
    assert!(figures("store") == figures("bulk"), "the same figures");
}
