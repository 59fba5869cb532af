//! Mirrors of repositories that are served on loopback, by servers that behave and by servers that don't.

mod support;

use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gitlode::git::mirror::{
    Error, ErrorKind, Outcome, Request,
    look::{Looker, Patience},
    maintain::{is_damaged, join_packs},
};
use gitlode::git::repository::{Repository, Revision};
use gitlode::git::supervise::{self, Limits};
use support::server::{Manner, Server};

static NEVER: AtomicBool = AtomicBool::new(false);
const PATIENCE: Patience =
    Patience { connect: Duration::from_secs(2), answer: Duration::from_secs(10), total: Duration::from_secs(60) };

/// A directory with a remote repository and a place for its mirror.
struct World {
    root: tempfile::TempDir,
    commits: std::cell::Cell<u32>,
}

impl World {
    fn new() -> Self {
        let world = World { root: tempfile::tempdir().expect("a directory"), commits: 0.into() };
        world.git(&["init", "-q", "-b", "main", "remote.git"], world.root.path());
        world
    }

    fn remote(&self) -> PathBuf {
        self.root.path().join("remote.git")
    }

    fn mirror(&self) -> PathBuf {
        self.root.path().join("mirrors/host/name.git")
    }

    fn git(&self, args: &[&str], directory: &Path) -> String {
        let seconds = 1_700_000_000 + self.commits.get();
        let output = Command::new("git")
            .args(["-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "commit.gpgSign=false"])
            .args(args)
            .current_dir(directory)
            .envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1")])
            .envs(["GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"].map(|name| (name, format!("{seconds} +0000"))))
            .output()
            .expect("git runs");
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
    }

    fn there(&self, args: &[&str]) -> String {
        self.git(args, &self.remote())
    }

    fn commit(&self) {
        self.commits.set(self.commits.get() + 1);
        let message = format!("commit {}", self.commits.get());
        std::fs::write(self.remote().join("file"), &message).expect("a file");
        self.there(&["add", "."]);
        self.there(&["commit", "-q", "-m", &message]);
    }

    /// A commit with a file that doesn't compress.
    fn commit_noise(&self, bytes: usize) {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        })
        .take(bytes)
        .collect();
        std::fs::write(self.remote().join("noise"), noise).expect("a file");
        self.commit();
    }

    fn sync_with(&self, url: &str, limits: &Limits) -> Result<Outcome, Error> {
        let started = Instant::now();
        let result = supervise::fetch(&program(), &self.request(url), limits, &AtomicBool::new(false), &|_| {});
        assert!(started.elapsed() < Duration::from_secs(20), "bounded");
        result
    }

    fn request(&self, url: &str) -> Request {
        Request {
            url: url.to_owned(),
            directory: self.mirror(),
            connect_seconds: 2,
            stall_seconds: 2,
            public_only: false,
            borrow: None,
        }
    }

    /// Without addresses that not everybody reaches.
    fn sync_public(&self, url: &str) -> Error {
        let request = Request { public_only: true, ..self.request(url) };
        let result = supervise::fetch(&program(), &request, &limits(), &AtomicBool::new(false), &|_| {});
        result.expect_err("a failure")
    }

    fn sync(&self, url: &str) -> Outcome {
        self.sync_with(url, &limits()).expect("a mirror")
    }

    fn sync_error(&self, url: &str) -> ErrorKind {
        let err = self.sync_with(url, &limits()).expect_err("a failure");
        println!("{err}");
        err.kind()
    }

    /// The mirror has the same branches, tags and HEAD as the remote, and all objects.
    #[track_caller]
    fn assert_same(&self) {
        let refs = ["for-each-ref", "--format=%(refname) %(objectname)", "refs/heads", "refs/tags"];
        assert_eq!(self.git(&refs, &self.mirror()), self.there(&refs));
        let head = ["symbolic-ref", "HEAD"];
        assert_eq!(self.git(&head, &self.mirror()), self.there(&head));
        self.git(&["fsck", "--full", "--strict"], &self.mirror());
        self.assert_no_debris();
    }

    #[track_caller]
    fn assert_no_debris(&self) {
        let mut names: Vec<_> = std::fs::read_dir(self.mirror().parent().expect("a parent"))
            .expect("a directory")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
            .collect();
        names.sort();
        names.retain(|name| name != "name.git");
        assert_eq!(names, ["name.git.lock"]);
        for entry in std::fs::read_dir(self.mirror().join("objects/pack")).into_iter().flatten() {
            let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
            assert!(name.ends_with(".pack") || name.ends_with(".idx"), "{name}");
        }
    }
}

fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_gitlode").into()
}

fn limits() -> Limits {
    Limits {
        bytes_max: None,
        objects_max: None,
        unpacked_bytes_max: None,
        seconds_max: Some(15),
        low_speed_bytes_per_second: 100,
        low_speed_seconds: 5,
        connect_seconds: 2,
        retries: 0,
    }
}

/// The life of a repository, over one transport.
fn live(scheme: &str) {
    let world = World::new();
    world.commit();
    let (url, _server) = match scheme {
        "file" => (format!("file://{}", world.remote().display()), None),
        "git" => {
            let server = Server::daemon(world.root.path());
            (server.url("git"), Some(server))
        }
        _ => {
            let server = Server::http(world.root.path(), Manner::Git);
            (server.url("http"), Some(server))
        }
    };
    world.there(&["tag", "-a", "-m", "tag", "v1"]);
    world.there(&["branch", "side"]);
    world.there(&["update-ref", "refs/pull/1/head", "HEAD"]);
    assert_eq!(world.sync(&url), Outcome::Cloned);
    world.assert_same();
    assert_eq!(world.git(&["for-each-ref", "refs/pull"], &world.mirror()), "", "only branches and tags");
    assert_eq!(world.sync(&url), Outcome::Unchanged);

    world.commit();
    world.commit();
    assert_eq!(world.sync(&url), Outcome::Fetched { updated_refs: 1 });
    world.assert_same();

    world.there(&["reset", "-q", "--hard", "HEAD~2"]);
    world.commit();
    assert_eq!(world.sync(&url), Outcome::Fetched { updated_refs: 1 }, "force push");
    world.assert_same();

    world.there(&["branch", "-D", "side"]);
    world.there(&["tag", "-f", "v1"]);
    assert_eq!(world.sync(&url), Outcome::Fetched { updated_refs: 2 }, "a branch is gone, a tag moved");
    world.assert_same();

    world.there(&["checkout", "-q", "-b", "side/below"]);
    world.there(&["branch", "main2"]);
    world.commit();
    assert_eq!(world.sync(&url), Outcome::Fetched { updated_refs: 3 }, "two branches, and HEAD");
    world.assert_same();

    world.there(&["checkout", "-q", "main2"]);
    world.there(&["branch", "-D", "side/below", "main"]);
    world.there(&["checkout", "-q", "-b", "side"]);
    world.there(&["symbolic-ref", "refs/heads/alias", "refs/heads/main2"]);
    world.commit();
    assert!(matches!(world.sync(&url), Outcome::Fetched { .. }), "a name that was a directory");
    world.assert_same();
    assert_eq!(world.sync(&url), Outcome::Unchanged);
}

#[test]
fn lives_over_file() {
    live("file");
}

#[test]
fn lives_over_git() {
    live("git");
}

#[test]
fn lives_over_http() {
    live("http");
}

// Boundary.

#[test]
fn an_empty_remote_gives_an_empty_mirror() {
    for scheme in ["file", "git", "http"] {
        let world = World::new();
        world.there(&["symbolic-ref", "HEAD", "refs/heads/trunk"]);
        let (daemon, http) = (Server::daemon(world.root.path()), Server::http(world.root.path(), Manner::Git));
        let url = match scheme {
            "file" => world.remote().display().to_string(),
            "git" => daemon.url("git"),
            _ => http.url("http"),
        };
        assert_eq!(world.sync(&url), Outcome::Cloned, "{scheme}");
        world.assert_same();
        assert_eq!(world.sync(&url), Outcome::Unchanged, "{scheme}");
        world.there(&["checkout", "-q", "--orphan", "first"]);
        world.commit();
        assert!(matches!(world.sync(&url), Outcome::Fetched { .. }), "{scheme}");
        world.assert_same();
    }
}

#[test]
fn a_sha256_remote_gives_a_sha256_mirror() {
    let world = World::new();
    std::fs::remove_dir_all(world.remote()).expect("removed");
    world.git(&["init", "-q", "-b", "main", "--object-format=sha256", "remote.git"], world.root.path());
    world.commit();
    assert_eq!(world.sync(&world.remote().display().to_string()), Outcome::Cloned);
    world.assert_same();
}

#[test]
fn a_detached_head_gives_the_branch_at_its_commit() {
    let world = World::new();
    world.commit();
    world.there(&["branch", "a"]);
    world.commit();
    world.there(&["branch", "b"]);
    world.there(&["checkout", "-q", "--detach", "main~1"]);
    let url = world.remote().display().to_string();
    assert_eq!(world.sync(&url), Outcome::Cloned);
    assert_eq!(world.git(&["symbolic-ref", "HEAD"], &world.mirror()), "refs/heads/a");
    assert_eq!(world.sync(&url), Outcome::Unchanged);
}

// Anomaly: the environment and the server.

#[test]
fn addresses_that_not_everybody_reaches_are_refused_before_they_are_asked() {
    let world = World::new();
    world.commit();
    let server = Server::http(world.root.path(), Manner::Git);
    let port = server.port;
    let file = format!("file://{}", world.remote().display());
    for url in [
        server.url("http"),
        server.url("http").replace("127.0.0.1", "localhost"),
        format!("git://localhost:{port}/remote.git"),
        format!("ssh://localhost:{port}/remote.git"),
        file,
    ] {
        let error = world.sync_public(&url);
        assert_eq!(error.kind(), ErrorKind::PrivateAddress, "{error}");
    }
    assert_eq!(world.sync_public("https://name.invalid/x").kind(), ErrorKind::Unreachable);
    assert_eq!(server.requests.load(std::sync::atomic::Ordering::SeqCst), 0);
    // A look asks for the addresses of a name itself, and connects to what it found.
    let looker = Looker::new(PATIENCE, true).expect("a client");
    for url in [server.url("http"), server.url("http").replace("127.0.0.1", "localhost")] {
        let refusal = looker.look(&url, &Revision::Head, &NEVER).expect_err("a refusal");
        assert_eq!(refusal.error.kind(), ErrorKind::PrivateAddress, "{}", refusal.error);
    }
    assert_eq!(server.requests.load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[test]
fn failures_have_kinds() {
    let world = World::new();
    world.commit_noise(200_000);
    let root = world.root.path().to_owned();
    let at = |manner| world.sync_error(&Server::http(&root, manner).url("http"));
    assert_eq!(at(Manner::Status(404)), ErrorKind::NotFound);
    assert_eq!(at(Manner::Status(403)), ErrorKind::Authentication);
    assert_eq!(at(Manner::Status(401)), ErrorKind::Authentication);
    assert_eq!(at(Manner::Status(500)), ErrorKind::Unreachable);
    assert_eq!(at(Manner::Status(429)), ErrorKind::Unreachable);
    assert_eq!(at(Manner::Locked), ErrorKind::Authentication);
    assert_eq!(at(Manner::Page), ErrorKind::Protocol);
    assert_eq!(at(Manner::Silent), ErrorKind::Stalled);
    assert_eq!(at(Manner::Cut(3)), ErrorKind::Disconnected);
    assert_eq!(at(Manner::Cut(100_000)), ErrorKind::Disconnected);
    let refused = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    for scheme in ["http", "git"] {
        let url = format!("{scheme}://127.0.0.1:{refused}/remote.git");
        assert_eq!(world.sync_error(&url), ErrorKind::Unreachable);
    }
    assert_eq!(world.sync_error("https://name.invalid/x"), ErrorKind::Unreachable);
    assert_eq!(world.sync_error("/no/such/directory"), ErrorKind::NotFound);
    assert_eq!(world.sync_error(&root.display().to_string()), ErrorKind::NotFound);
    assert_eq!(world.sync_error("ext::sh -c true"), ErrorKind::Unsupported);
    let missing = Server::daemon(&root).url("git").replace("remote", "missing");
    assert_eq!(world.sync_error(&missing), ErrorKind::NotFound);
    let missing = Server::http(&root, Manner::Git).url("http").replace("remote", "missing");
    assert_eq!(world.sync_error(&missing), ErrorKind::NotFound);
    assert!(!world.mirror().exists());
    world.assert_no_debris();
}

#[test]
fn a_redirect_of_the_first_request_is_followed() {
    let world = World::new();
    world.commit();
    assert_eq!(world.sync(&Server::http(world.root.path(), Manner::Redirect).url("http")), Outcome::Cloned);
    world.assert_same();
}

#[test]
fn a_password_is_never_sent_or_shown_in_the_clear() {
    let world = World::new();
    let url = Server::http(world.root.path(), Manner::Locked).url("http").replace("127", "user:s3cret@127");
    let err = world.sync_with(&url, &limits()).expect_err("a failure");
    assert_eq!(err.kind(), ErrorKind::Authentication);
    assert!(!err.to_string().contains("s3cret") && !format!("{err:?}").contains("s3cret"), "{err}");
}

#[test]
fn a_transient_failure_is_retried() {
    let world = World::new();
    world.commit();
    let server = Server::http(world.root.path(), Manner::FailOnce);
    assert_eq!(
        world.sync_with(&server.url("http"), &Limits { retries: 1, ..limits() }).expect("a mirror"),
        Outcome::Cloned
    );
    let gone = Server::http(world.root.path(), Manner::Status(404));
    world.sync_with(&gone.url("http"), &Limits { retries: 3, ..limits() }).expect_err("a failure");
    assert_eq!(gone.requests.load(Ordering::SeqCst), 1);
}

#[test]
fn bytes_time_and_speed_are_limited() {
    let world = World::new();
    world.commit();
    let limits = Limits { bytes_max: Some(4_000_000), ..limits() };
    let check = |manner, limits: &Limits, kind| {
        let started = Instant::now();
        let err = world.sync_with(&Server::http(world.root.path(), manner).url("http"), limits).expect_err("a failure");
        assert_eq!(err.kind(), kind, "{err}");
        assert!(!world.mirror().exists());
        world.assert_no_debris();
        started.elapsed()
    };
    check(Manner::Endless, &limits, ErrorKind::Limit);
    // It claims a million objects, each of which has 32 KiB.
    let unbounded = Limits { bytes_max: None, ..limits.clone() };
    for (limits, what) in [
        (Limits { objects_max: Some(999_999), ..unbounded.clone() }, "more than 999999 objects"),
        (Limits { unpacked_bytes_max: Some(3_000_000), ..unbounded }, "more than 3000000 bytes when it is unpacked"),
    ] {
        let url = Server::http(world.root.path(), Manner::Endless).url("http");
        let err = world.sync_with(&url, &limits).expect_err("a failure").to_string();
        assert!(err.contains(what) && !world.mirror().exists(), "{err}");
        world.assert_no_debris();
    }
    let slow = Limits { low_speed_seconds: 1, ..limits.clone() };
    assert!(check(Manner::Trickle, &slow, ErrorKind::Stalled) < Duration::from_secs(4));
    let short = Limits { seconds_max: Some(1), retries: 5, ..limits.clone() };
    assert!(check(Manner::Silent, &short, ErrorKind::Limit) < Duration::from_secs(2));
    world.sync(&world.remote().display().to_string());
    world.commit_noise(25_000_000);
    let err = world.sync_with(&world.remote().display().to_string(), &limits).expect_err("a failure");
    assert_eq!(err.kind(), ErrorKind::Limit, "growth of a mirror that is there: {err}");
    world.assert_no_debris();
    world.sync(&world.remote().display().to_string());
    world.assert_same();
}

#[test]
fn an_interrupt_ends_a_silent_connection_soon() {
    let world = World::new();
    let server = Server::http(world.root.path(), Manner::Silent);
    let interrupt = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let request = world.request(&server.url("http"));
        let interrupt = &interrupt;
        let fetch = scope.spawn(move || supervise::fetch(&program(), &request, &limits(), interrupt, &|_| {}));
        std::thread::sleep(Duration::from_millis(300));
        interrupt.store(true, Ordering::SeqCst);
        let asked = Instant::now();
        let err = fetch.join().expect("no panic").expect_err("a failure");
        assert!(asked.elapsed() < Duration::from_millis(400), "{:?}", asked.elapsed());
        assert_eq!(err.kind(), ErrorKind::Interrupted);
    });
}

#[test]
fn the_child_ends_with_its_parent() {
    let world = World::new();
    let server = Server::http(world.root.path(), Manner::Silent);
    let mut child =
        Command::new(program()).arg("mirror-child").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("runs");
    let mut stdin = child.stdin.take().expect("piped");
    writeln!(stdin, "{}", serde_json::to_string(&world.request(&server.url("http"))).expect("JSON")).expect("written");
    std::thread::sleep(Duration::from_millis(300));
    assert!(child.try_wait().expect("a status").is_none(), "it waits for the server");
    drop(stdin);
    let dropped = Instant::now();
    child.wait().expect("a status");
    assert!(dropped.elapsed() < Duration::from_millis(500));
}

#[test]
fn a_child_that_dies_is_reported_with_its_last_words() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new();
    let script = world.root.path().join("dies");
    std::fs::write(&script, "#!/bin/sh\necho last words >&2\nexit 7\n").expect("a script");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("permissions");
    let err = supervise::fetch(&script, &world.request("/"), &limits(), &AtomicBool::new(false), &|_| {});
    let text = err.expect_err("a failure").to_string();
    assert!(text.contains("last words") && text.contains('7'), "{text}");
}

#[test]
fn a_mirror_with_other_bytes_than_were_written_is_replaced() {
    let world = World::new();
    (0..5).for_each(|_| world.commit());
    let server = Server::http(world.root.path(), Manner::Git);
    let url = server.url("http");
    let spoil = |end: &str, spoil: &dyn Fn(&mut Vec<u8>)| {
        for entry in std::fs::read_dir(world.mirror().join("objects/pack")).expect("packs").flatten() {
            if entry.path().extension().is_some_and(|extension| extension == end) {
                let mut bytes = std::fs::read(entry.path()).expect("a pack");
                spoil(&mut bytes);
                std::fs::remove_file(entry.path()).expect("removed");
                std::fs::write(entry.path(), bytes).expect("written");
            }
        }
    };
    let is_spoilt = || is_damaged(&world.mirror(), &NEVER);
    type Spoil<'a> = (&'a str, &'a dyn Fn(&mut Vec<u8>));
    let spoils: [Spoil<'_>; 3] = [
        ("pack", &|bytes| bytes[12..].iter_mut().for_each(|byte| *byte ^= 0x55)),
        ("pack", &|bytes| bytes.truncate(bytes.len() / 2)),
        ("idx", &|bytes| bytes[1100..].iter_mut().for_each(|byte| *byte ^= 0x55)),
    ];
    for (number, (end, how)) in spoils.into_iter().enumerate() {
        world.sync(&url);
        assert!(!is_spoilt(), "{number}");
        spoil(end, how);
        assert!(is_spoilt(), "{number}");
        world.commit();
        assert_eq!(world.sync(&url), Outcome::Replaced, "{number}");
        world.assert_same();
    }
    // A server's own fault is not the mirror's.
    world.commit();
    let cut = Server::http(world.root.path(), Manner::Cut(3));
    let before = std::fs::metadata(world.mirror()).expect("a mirror").modified().expect("a time");
    assert_eq!(world.sync_error(&cut.url("http")), ErrorKind::Disconnected);
    assert_eq!(std::fs::metadata(world.mirror()).expect("a mirror").modified().expect("a time"), before);
}

// Malformed: what an earlier run, or somebody else, left in the place of the mirror.

#[test]
fn a_broken_mirror_is_replaced() {
    let world = World::new();
    world.commit();
    let url = world.remote().display().to_string();
    let breaks: [&dyn Fn(&Path); 5] = [
        &|mirror| std::fs::remove_file(mirror.join("HEAD")).expect("removed"),
        &|mirror| std::fs::remove_dir_all(mirror.join("objects/pack")).expect("removed"),
        &|mirror| std::fs::write(mirror.join("packed-refs"), "garbage").expect("written"),
        &|mirror| std::fs::write(mirror.join("config"), "[core").expect("written"),
        &|mirror| {
            std::fs::remove_dir_all(mirror).expect("removed");
            std::fs::create_dir(mirror).expect("an empty directory");
        },
    ];
    for (number, damage) in breaks.iter().enumerate() {
        world.sync(&url);
        damage(&world.mirror());
        assert_eq!(world.sync(&url), Outcome::Replaced, "damage {number}");
        world.assert_same();
    }
}

#[test]
fn leftovers_of_killed_runs_are_removed() {
    let world = World::new();
    world.commit();
    let url = world.remote().display().to_string();
    world.sync(&url);
    world.commit();
    let mirror = world.mirror();
    for name in
        ["packed-refs.lock", "HEAD.lock", "refs/heads/main.lock", "objects/pack/.tmpAbc", "objects/pack/pack-12.keep"]
    {
        std::fs::create_dir_all(mirror.join(name).parent().expect("a parent")).expect("a directory");
        std::fs::write(mirror.join(name), "x").expect("written");
    }
    std::fs::create_dir(mirror.with_file_name("name.git.partial-1")).expect("a directory");
    assert_eq!(world.sync(&url), Outcome::Fetched { updated_refs: 1 });
    world.assert_same();
}

#[test]
fn a_foreign_directory_is_left_alone() {
    let world = World::new();
    world.commit();
    std::fs::create_dir_all(world.mirror()).expect("a directory");
    std::fs::write(world.mirror().join("thesis.tex"), "x").expect("written");
    assert_eq!(world.sync_error(&world.remote().display().to_string()), ErrorKind::Io);
    assert!(world.mirror().join("thesis.tex").exists());
}

#[test]
fn two_processes_take_turns() {
    let world = World::new();
    world.commit_noise(1_000_000);
    let request = world.request(&world.remote().display().to_string());
    let mut outcomes: Vec<_> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| supervise::fetch(&program(), &request, &limits(), &AtomicBool::new(false), &|_| {}))
            })
            .collect();
        runs.into_iter().map(|run| run.join().expect("no panic").expect("a mirror")).collect()
    });
    outcomes.sort_by_key(|outcome| *outcome != Outcome::Cloned);
    assert_eq!(outcomes, [Outcome::Cloned, Outcome::Unchanged, Outcome::Unchanged, Outcome::Unchanged]);
    world.assert_same();
}

#[test]
fn packs_of_many_fetches_are_joined() {
    let world = World::new();
    let url = world.remote().display().to_string();
    world.commit_noise(100_000);
    let packs = || {
        let entries = std::fs::read_dir(world.mirror().join("objects/pack")).expect("packs").flatten();
        entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "pack")).count()
    };
    for _ in 0..12 {
        world.sync(&url);
        world.commit();
    }
    assert_eq!((join_packs(&world.mirror(), 12, &AtomicBool::new(false)), packs()), (false, 12), "few enough");
    assert!(join_packs(&world.mirror(), 5, &AtomicBool::new(false)));
    assert!(packs() <= 5, "{}", packs());
    assert_eq!(world.sync(&url), Outcome::Fetched { updated_refs: 1 });
    world.assert_same();
    // One that is told to stop leaves a mirror that is whole.
    assert!(!join_packs(&world.mirror(), 0, &AtomicBool::new(true)));
    assert_eq!(world.sync(&url), Outcome::Unchanged);
    world.assert_same();
}

#[test]
fn a_look_sees_the_tips_that_a_fetch_brings() {
    let world = World::new();
    let server = Server::http(world.root.path(), Manner::Git);
    let looker = Looker::new(PATIENCE, false).expect("a client");
    let check = |what: &str, url: &str| {
        world.sync(url);
        for revision in [Revision::Head, Revision::AllBranches] {
            let look = looker.look(url, &revision, &NEVER).expect("an answer").expect("it can be told");
            let mirror = Repository::open(&world.mirror()).and_then(|mirror| mirror.tips_digest(&revision));
            assert_eq!(look.tips, mirror.expect("tips"), "{what}: {revision:?}");
        }
    };
    let url = server.url("http");
    check("empty", &url);
    world.commit();
    check("one branch", &url);
    world.there(&["checkout", "-q", "-b", "side"]);
    world.commit();
    world.there(&["tag", "-a", "-m", "tag", "v1"]);
    check("two branches and a tag", &url);
    world.there(&["symbolic-ref", "HEAD", "refs/heads/nowhere"]);
    check("HEAD names no commit", &url);
    world.there(&["symbolic-ref", "HEAD", "refs/heads/side"]);
    world.there(&["checkout", "-q", "--detach"]);
    check("HEAD is detached", &url);
    let named = looker.look(&url, &Revision::Named("main".into()), &NEVER).expect("no error");
    assert_eq!((named, looker.look("ssh://h/x", &Revision::Head, &NEVER).expect("no error")), (None, None));
    let moving = Server::http(world.root.path(), Manner::Redirect);
    let look = looker.look(&moving.url("http"), &Revision::Head, &NEVER).expect("an answer").expect("it can be told");
    assert_eq!(look.moved_to, Some(moving.url("http").replace("/remote.git", "/moved/remote.git")));
    world.git(&["init", "-q", "-b", "main", "--object-format=sha256", "other"], world.root.path());
    std::fs::remove_dir_all(world.remote()).expect("it can be removed");
    std::fs::rename(world.root.path().join("other"), world.remote()).expect("it can be moved");
    world.commit();
    check("SHA-256", &url);
}

#[test]
fn a_look_ends_however_slowly_a_server_sends_and_at_an_interruption() {
    let server = Server::http(Path::new("."), Manner::Drip);
    let patience = Patience { total: Duration::from_secs(1), ..PATIENCE };
    let looker = Looker::new(patience, false).expect("a client");
    let refusal = looker.look(&server.url("http"), &Revision::Head, &NEVER).expect_err("a refusal");
    assert_eq!(refusal.error.kind(), ErrorKind::Stalled, "{}", refusal.error);
    assert!(refusal.error.to_string().contains("more than 1 seconds"), "{}", refusal.error);
    let looker = Looker::new(Patience { total: Duration::from_secs(1_000_000), ..patience }, false).expect("a client");
    let refusal = looker.look(&server.url("http"), &Revision::Head, &AtomicBool::new(true)).expect_err("a refusal");
    assert_eq!(refusal.error.kind(), ErrorKind::Interrupted);
}

#[test]
fn a_list_of_references_without_end_is_given_up() {
    const MIB: u64 = 1 << 20;
    let world = World::new();
    let patience = Patience { answer: Duration::from_secs(300), total: Duration::from_secs(300), ..PATIENCE };
    let looker = Looker::new(patience, false).expect("a client");
    // What counts is kept, and so there may be less of it. What lies in the buffers of sockets is sent, too.
    for (prefix, reason, max) in
        [("refs/heads/", "references that count", 18 * MIB), ("refs/pull/", "more than 67108864 bytes", 66 * MIB)]
    {
        let server = Server::http(world.root.path(), Manner::References(prefix));
        let refusal = looker.look(&server.url("http"), &Revision::AllBranches, &NEVER).expect_err("a refusal");
        let (kind, said) = (refusal.error.kind(), refusal.error.to_string());
        assert!(kind == ErrorKind::Limit && said.contains(reason), "{prefix}: {said}");
        let sent = server.sent.load(Ordering::SeqCst);
        assert!(sent < max, "{prefix}: {sent} bytes could be sent");
    }
}
