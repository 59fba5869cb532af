//! Bare mirrors of remote repositories: clone, fetch, prune, and the repair of what a killed run left behind.
//!
//! Owns everything that happens inside one process. Refuses to obey configuration of the user or of the repository
//! (git's credential helpers excepted), to ask anybody anything, and to send a token to a host that it isn't for.
//! A transport can block for ever in a read, so callers go through [`super::supervise`], which can kill it.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gix::bstr::{BString, ByteSlice};
use gix::credentials::{helper, protocol};
use gix::protocol::handshake::Ref;
use gix::protocol::transport::client::blocking_io::http;
use gix::refs::FullName;
use gix::refs::transaction::{PreviousValue, RefEdit};
use gix::remote::fetch::{RefMap, Status, Tags, refs::update::Mode};
use gix::url::Scheme;
use serde::{Deserialize, Serialize};

/// How often the calling thread looks at the counters of the transfer.
const POLL: Duration = Duration::from_millis(50);
/// No single object may take more memory than this; the largest blob that GitHub accepts is 100 MiB.
const OBJECT_BYTES_MAX: u64 = 2 << 30;

/// What to mirror, and where to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// A http, https, ssh, git or file URL, an scp-like address, or a path.
    pub url: String,
    /// The bare repository to make or to update.
    pub directory: PathBuf,
    /// How long a connection may take to open.
    pub connect_seconds: u64,
    /// How long a single read may block.
    pub stall_seconds: u64,
}

/// What a synchronization did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// There was no usable mirror before.
    Cloned,
    /// References were created, moved or deleted.
    Fetched {
        /// How many of them, `HEAD` included.
        updated_refs: usize,
    },
    /// The remote has nothing new.
    Unchanged,
}

/// The step that a synchronization is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Waits for another process that works on the same mirror.
    Lock,
    /// Talks to the remote: handshake, list of references, negotiation.
    Connect,
    /// Receives the pack.
    Receive,
    /// Resolves deltas and writes the index of the pack; nothing moves on the network.
    Resolve,
    /// Updates references.
    Update,
}

const PHASES: [Phase; 5] = [Phase::Lock, Phase::Connect, Phase::Receive, Phase::Resolve, Phase::Update];

/// A sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// A step began.
    Phase(Phase),
    /// This many bytes of the pack have arrived.
    Received(u64),
    /// The remote said something that isn't pack data, such as its own progress in compressing objects.
    Alive(u64),
}

/// What kind of failure it was, for retries and for exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// There is no such repository, or not for this user.
    NotFound,
    /// The remote wants credentials, or other ones.
    Authentication,
    /// The name doesn't resolve, the connection was refused or timed out, or the server is out of order.
    Unreachable,
    /// The connection broke in the middle.
    Disconnected,
    /// The remote stopped sending.
    Stalled,
    /// The remote sent something wrong: no git server, a bad pack, a missing object.
    Protocol,
    /// The local disk.
    Io,
    /// Somebody asked us to stop.
    Interrupted,
    /// A scheme or feature that isn't supported.
    Unsupported,
    /// A byte or time limit was reached.
    Limit,
}

/// Why a mirror couldn't be synchronized. URLs in it are without credentials.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error("{url} doesn't exist or is private: {reason}")]
    NotFound { url: String, reason: String },
    #[error("{url} refuses access: {reason}")]
    Authentication { url: String, reason: String },
    #[error("can't reach {url}: {reason}")]
    Unreachable { url: String, reason: String },
    #[error("the connection to {url} broke off: {reason}")]
    Disconnected { url: String, reason: String },
    #[error("{url} stopped sending: {reason}")]
    Stalled { url: String, reason: String },
    #[error("{url} gave a bad answer: {reason}")]
    Protocol { url: String, reason: String },
    #[error("can't write the mirror of {url}: {reason}")]
    Io { url: String, reason: String },
    #[error("the fetch of {url} was interrupted: {reason}")]
    Interrupted { url: String, reason: String },
    #[error("{url} is not supported: {reason}")]
    Unsupported { url: String, reason: String },
    #[error("{url} exceeds a limit: {reason}")]
    Limit { url: String, reason: String },
}

impl Error {
    /// Makes an error of a kind; `url` may still carry credentials, which are removed here and from `reason`.
    pub fn new(kind: ErrorKind, url: &str, reason: impl Into<String>) -> Self {
        let (url, reason) = (redact_url(url), redact_text(url, &reason.into()));
        match kind {
            ErrorKind::NotFound => Error::NotFound { url, reason },
            ErrorKind::Authentication => Error::Authentication { url, reason },
            ErrorKind::Unreachable => Error::Unreachable { url, reason },
            ErrorKind::Disconnected => Error::Disconnected { url, reason },
            ErrorKind::Stalled => Error::Stalled { url, reason },
            ErrorKind::Protocol => Error::Protocol { url, reason },
            ErrorKind::Io => Error::Io { url, reason },
            ErrorKind::Interrupted => Error::Interrupted { url, reason },
            ErrorKind::Unsupported => Error::Unsupported { url, reason },
            ErrorKind::Limit => Error::Limit { url, reason },
        }
    }

    fn parts(&self) -> (ErrorKind, &str) {
        match self {
            Error::NotFound { reason, .. } => (ErrorKind::NotFound, reason),
            Error::Authentication { reason, .. } => (ErrorKind::Authentication, reason),
            Error::Unreachable { reason, .. } => (ErrorKind::Unreachable, reason),
            Error::Disconnected { reason, .. } => (ErrorKind::Disconnected, reason),
            Error::Stalled { reason, .. } => (ErrorKind::Stalled, reason),
            Error::Protocol { reason, .. } => (ErrorKind::Protocol, reason),
            Error::Io { reason, .. } => (ErrorKind::Io, reason),
            Error::Interrupted { reason, .. } => (ErrorKind::Interrupted, reason),
            Error::Unsupported { reason, .. } => (ErrorKind::Unsupported, reason),
            Error::Limit { reason, .. } => (ErrorKind::Limit, reason),
        }
    }

    /// The kind of failure.
    pub fn kind(&self) -> ErrorKind {
        self.parts().0
    }

    /// The cause alone, without the URL.
    pub fn reason(&self) -> &str {
        self.parts().1
    }

    /// Whether another attempt may succeed.
    pub fn is_transient(&self) -> bool {
        matches!(self.kind(), ErrorKind::Unreachable | ErrorKind::Disconnected | ErrorKind::Stalled)
    }
}

/// Removes user and password from a URL, and anything that follows its path.
pub fn redact_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let path = if scheme.starts_with("http") { path.split(['?', '#']).next().unwrap_or_default() } else { path };
    format!("{scheme}://{host}{path}")
}

/// Removes the password of `url` from `text`, and `user:password@` from any URL in it.
fn redact_text(url: &str, text: &str) -> String {
    let mut words = Vec::new();
    for word in text.split(' ') {
        words.push(match word.find("://") {
            Some(at) => {
                let start = word[..at].rfind(|c: char| !c.is_ascii_alphanumeric()).map_or(0, |i| i + 1);
                let prefix = word[..start].chars().collect::<String>();
                // What closes a bracket around the URL isn't part of its query.
                let rest = word.find('?').and_then(|query| word[query..].rfind(')').map(|end| &word[query + end..]));
                prefix + &redact_url(&word[start..]) + rest.unwrap_or_default()
            }
            None => word.to_owned(),
        });
    }
    let text = words.join(" ");
    match gix::url::parse(url.as_bytes().as_bstr()).ok().and_then(|url| url.password().map(str::to_owned)) {
        Some(password) if !password.is_empty() => text.replace(&password, "…"),
        _ => text,
    }
}

/// Brings the mirror in `request.directory` up to date with `request.url`, and makes it if it isn't there.
///
/// One process at a time works on a mirror, the others wait. A mirror that can't be used is replaced by a new clone.
/// `progress` is called on the calling thread, a few times per second at most.
pub fn synchronize(request: &Request, interrupt: &AtomicBool, progress: &dyn Fn(Progress)) -> Result<Outcome, Error> {
    let remote = Remote::parse(request)?;
    let io_error =
        |err: io::Error| Error::new(ErrorKind::Io, &request.url, format!("{}: {err}", request.directory.display()));
    if let Some(parent) = request.directory.parent() {
        fs::create_dir_all(parent).map_err(io_error)?;
    }
    progress(Progress::Phase(Phase::Lock));
    let lock = File::create(sibling(&request.directory, "lock")).map_err(io_error)?;
    while let Err(err) = lock.try_lock() {
        match err {
            fs::TryLockError::WouldBlock if interrupt.load(Ordering::Relaxed) => {
                return Err(Error::new(ErrorKind::Interrupted, &request.url, "while it waited for another process"));
            }
            fs::TryLockError::WouldBlock => std::thread::sleep(POLL),
            fs::TryLockError::Error(err) => return Err(io_error(err)),
        }
    }
    remove_debris(&request.directory).map_err(io_error)?;

    // gix wants `'static` progress values and blocks its thread; so it gets a thread, and this one reports.
    let meter = Meter::default();
    let outcome = std::thread::scope(|scope| {
        let shared = meter.shared.clone();
        let worker = scope.spawn(|| remote.synchronize(&request.directory, interrupt, meter));
        let mut seen = (0, 0, 0);
        while !worker.is_finished() {
            std::thread::park_timeout(POLL);
            shared.report(&mut seen, progress);
        }
        worker.join().unwrap_or_else(|_| Err(Error::new(ErrorKind::Protocol, &request.url, "the transport panicked")))
    });
    drop(lock);
    outcome
}

/// Removes what killed runs left: unfinished clones, temporary packs, lock files. Only the holder of the lock may call it.
fn remove_debris(directory: &Path) -> io::Result<()> {
    let partial = format!("{}.partial-", directory.file_name().unwrap_or_default().display());
    if let Some(parent) = directory.parent() {
        for entry in fs::read_dir(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(&partial) {
                remove_all(&entry.path())?;
            }
        }
    }
    remove_locks(directory, 0)?;
    let Ok(packs) = fs::read_dir(directory.join("objects/pack")) else { return Ok(()) };
    for entry in packs {
        let path = entry?.path();
        let is_pack_file = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("pack-"));
        // A pack is written before its index, so a pack without one was never finished. A `.keep` file only
        // guards a pack until its references are written.
        let is_unfinished = match path.extension().and_then(|extension| extension.to_str()) {
            Some("pack") => !path.with_extension("idx").exists(),
            Some("idx") => !path.with_extension("pack").exists(),
            extension => extension == Some("keep"),
        };
        if !is_pack_file || is_unfinished {
            remove_all(&path)?;
        }
    }
    Ok(())
}

/// No reference can end in `.lock`, so everything in the git directory that does is a leftover.
fn remove_locks(directory: &Path, depth: usize) -> io::Result<()> {
    let Ok(entries) = fs::read_dir(directory) else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if depth > 0 || entry.file_name() == "refs" {
                remove_locks(&path, depth + 1)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "lock") {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

fn remove_all(path: &Path) -> io::Result<()> {
    let removed = if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.or_else(|err| if err.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(err) })
}

/// Cleans up after a child process that was killed, unless another process already works on the mirror.
pub(super) fn clean_up(directory: &Path) {
    let Ok(lock) = File::create(sibling(directory, "lock")) else { return };
    // What can't be removed now is removed by the next run.
    if lock.try_lock().is_ok() {
        remove_debris(directory).ok();
    }
}

/// Removes the unfinished clones that killed runs left anywhere below `mirrors`. Those that another process works on stay.
pub fn clean_up_all(mirrors: &Path) {
    clean_up_below(mirrors, 0);
}

fn clean_up_below(directory: &Path, depth: usize) {
    // Host, and as many groups as a server allows; GitLab has 20.
    const DEPTH_MAX: usize = 24;
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some((mirror, _)) = name.split_once(".partial-").filter(|(mirror, _)| mirror.ends_with(".git")) {
            clean_up(&directory.join(mirror));
        } else if !name.ends_with(".git") && depth < DEPTH_MAX && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            clean_up_below(&entry.path(), depth + 1);
        }
    }
}

/// The path of the unfinished clone that the process `pid` makes.
pub(super) fn partial(directory: &Path, pid: u32) -> PathBuf {
    sibling(directory, &format!("partial-{pid}"))
}

fn sibling(directory: &Path, suffix: &str) -> PathBuf {
    let mut name = directory.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(suffix);
    directory.with_file_name(name)
}

/// A parsed request: the URL has no password any more, for gix prints URLs into its errors.
struct Remote {
    url: gix::Url,
    text: String,
    connect: Duration,
    stall: Duration,
    given: Option<(String, String)>,
}

/// How an exchange with the remote ended.
enum Exchange {
    Done {
        updated_refs: usize,
    },
    /// The remote hashes its objects with something else than the mirror does.
    OtherFormat(gix::hash::Kind),
}

impl Remote {
    fn parse(request: &Request) -> Result<Self, Error> {
        let fail = |kind, reason: &str| Error::new(kind, &request.url, reason);
        let mut url = gix::url::parse(request.url.as_bytes().as_bstr())
            .map_err(|err| fail(ErrorKind::Unsupported, &format!("not a URL: {}", one_line(&err))))?;
        let mut given = None;
        match url.scheme {
            Scheme::Http | Scheme::Https => {
                if let (Some(user), Some(password)) = (url.user(), url.password()) {
                    given = Some((user.to_owned(), password.to_owned()));
                }
                url.set_user(None);
            }
            Scheme::Ssh | Scheme::Git => {}
            Scheme::File => {
                let path = gix::path::from_bstr(url.path.as_bstr())
                    .map_err(|err| fail(ErrorKind::Unsupported, &one_line(&err)))?;
                if !path.exists() {
                    return Err(fail(ErrorKind::NotFound, "no such directory"));
                }
                if url.host().is_some() {
                    return Err(fail(ErrorKind::Unsupported, "a file URL can't name a host"));
                }
            }
            _ => return Err(fail(ErrorKind::Unsupported, "unknown scheme")),
        }
        url.set_password(None);
        Ok(Remote {
            url,
            text: request.url.clone(),
            connect: Duration::from_secs(request.connect_seconds.max(1)),
            stall: Duration::from_secs(request.stall_seconds.max(1)),
            given,
        })
    }

    fn error(&self, err: &gix::Error) -> Error {
        let (kind, reason) = classify(err);
        Error::new(kind, &self.text, reason)
    }

    fn synchronize(&self, directory: &Path, interrupt: &AtomicBool, meter: Meter) -> Result<Outcome, Error> {
        let io_error = |err: io::Error| Error::new(ErrorKind::Io, &self.text, err.to_string());
        if directory.exists()
            && let Some(repo) = self.open_usable(directory)?
            && let Exchange::Done { updated_refs } = self.exchange(&repo, interrupt, &meter)?
        {
            return Ok(if updated_refs == 0 { Outcome::Unchanged } else { Outcome::Fetched { updated_refs } });
        }
        let partial = partial(directory, std::process::id());
        let cloned = self.clone_into(&partial, interrupt, &meter).and_then(|()| {
            if directory.exists() {
                // The name makes a leftover of it, should this process die between the renames.
                let old = sibling(directory, &format!("partial-old-{}", std::process::id()));
                fs::rename(directory, &old).map_err(io_error)?;
                fs::rename(&partial, directory).map_err(io_error)?;
                return remove_all(&old).map_err(io_error);
            }
            fs::rename(&partial, directory).map_err(io_error)
        });
        if cloned.is_err() && partial.exists() {
            remove_all(&partial).ok();
        }
        cloned.map(|()| Outcome::Cloned)
    }

    fn clone_into(&self, partial: &Path, interrupt: &AtomicBool, meter: &Meter) -> Result<(), Error> {
        let mut format = gix::hash::Kind::Sha1;
        for _ in 0..2 {
            if partial.exists() {
                remove_all(partial).map_err(|err| Error::new(ErrorKind::Io, &self.text, err.to_string()))?;
            }
            let create = gix::create::Options { object_hash: Some(format), ..Default::default() };
            let repo = gix::ThreadSafeRepository::init_opts(partial, gix::create::Kind::Bare, create, self.options())
                .map_err(|err| Error::new(ErrorKind::Io, &self.text, one_line(&err)))?
                .to_thread_local();
            match self.exchange(&repo, interrupt, meter)? {
                Exchange::Done { .. } => return Ok(()),
                Exchange::OtherFormat(other) => format = other,
            }
        }
        Err(Error::new(ErrorKind::Protocol, &self.text, "it changes its object format between two connections"))
    }

    /// Nothing of the user's or the repository's configuration is read, and overrides win over the rest.
    fn options(&self) -> gix::open::Options {
        let connect = self.connect.as_secs();
        let mut overrides = vec!["protocol.allow=never".to_owned()];
        overrides
            .extend(["http", "https", "ssh", "git", "file"].map(|scheme| format!("protocol.{scheme}.allow=always")));
        overrides.extend([
            format!("gitoxide.objects.allocLimit={OBJECT_BYTES_MAX}"),
            // BatchMode never asks for a password or a host key, it fails.
            format!("core.sshCommand=ssh -oBatchMode=yes -oConnectTimeout={connect} -oServerAliveInterval=15"),
            "ssh.variant=ssh".to_owned(),
            "core.logAllRefUpdates=false".to_owned(),
            "committer.name=gitlode".to_owned(),
            "committer.email=gitlode@localhost".to_owned(),
        ]);
        gix::open::Options::isolated()
            .config_overrides(overrides.clone())
            .cli_overrides(overrides)
            .open_path_as_is(true)
            .with(gix::sec::Trust::Full)
    }

    /// Opens the mirror if everything that its references name is there.
    fn open_usable(&self, directory: &Path) -> Result<Option<gix::Repository>, Error> {
        // A directory that never was a mirror isn't ours to replace.
        let is_ours =
            ["HEAD", "objects", "refs", "config", "packed-refs"].iter().any(|name| directory.join(name).exists());
        let is_empty = fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none());
        if !is_ours && !is_empty {
            let reason = format!("{} is in the way, and it isn't a mirror", directory.display());
            return Err(Error::new(ErrorKind::Io, &self.text, reason));
        }
        let Ok(repo) = self.options().open(directory).map(|repo| repo.to_thread_local()) else { return Ok(None) };
        let is_complete = || -> gix::Result<bool> {
            repo.head()?;
            for reference in repo.references()?.all()? {
                match reference {
                    Ok(reference) if reference.try_id().is_none_or(|id| repo.has_object(id)) => {}
                    _ => return Ok(false),
                }
            }
            Ok(repo.is_bare())
        };
        Ok(is_complete().unwrap_or(false).then_some(repo))
    }

    fn exchange(&self, repo: &gix::Repository, interrupt: &AtomicBool, meter: &Meter) -> Result<Exchange, Error> {
        self.try_exchange(repo, interrupt, meter).unwrap_or_else(|err| {
            if interrupt.load(Ordering::Relaxed) {
                return Err(Error::new(ErrorKind::Interrupted, &self.text, "while it talked to the remote"));
            }
            Err(self.error(&err))
        })
    }

    fn try_exchange(
        &self,
        repo: &gix::Repository,
        interrupt: &AtomicBool,
        meter: &Meter,
    ) -> gix::Result<Result<Exchange, Error>> {
        meter.shared.enter(Phase::Connect);
        let remote = repo
            .remote_at_without_url_rewrite(self.url.clone())?
            .with_refspecs(["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"], gix::remote::Direction::Fetch)?
            .with_fetch_tags(Tags::None);
        let mut connection = remote.connect(gix::remote::Direction::Fetch)?;
        let mut credentials = Credentials { given: self.given.clone(), host: authority(&self.url), from_helper: false };
        connection.set_credentials(move |action| credentials.answer(action));
        if matches!(self.url.scheme, Scheme::Http | Scheme::Https) {
            connection.set_transport_options(Box::new(self.http_options()));
        }
        let head = gix::refspec::parse("HEAD".into(), gix::refspec::parse::Operation::Fetch)?.to_owned();
        let options = gix::remote::ref_map::Options { extra_refspecs: vec![head], ..Default::default() };
        let prepared = connection.prepare_fetch(meter.child(*b"ROOT"), options)?;
        meter.shared.alive.fetch_add(1, Ordering::Relaxed);
        let map = prepared.ref_map().clone();
        if map.object_hash != repo.object_hash() {
            return Ok(Ok(Exchange::OtherFormat(map.object_hash)));
        }

        // git deletes vanished references first, too, but here they still tell the remote what we have. Only those
        // that stand in the way of a new name (`a` and `a/b`) can't wait.
        let mut updated_refs = prune(repo, &map, Prune::Conflicting)?;
        let outcome = prepared.with_write_packed_refs_only(true).receive(meter.child(*b"ROOT"), interrupt)?;
        meter.shared.enter(Phase::Update);
        let (Status::NoPackReceived { update_refs, .. } | Status::Change { update_refs, .. }) = outcome.status;
        for update in &update_refs.updates {
            match &update.mode {
                Mode::New | Mode::FastForward | Mode::Forced => {
                    updated_refs += usize::from(update.edit_index.is_some())
                }
                Mode::RejectedSourceObjectNotFound { id } => {
                    return Ok(Err(Error::new(ErrorKind::Protocol, &self.text, format!("it didn't send {id}"))));
                }
                _ => {}
            }
        }
        // HEAD moves before its old branch is deleted, so that it's never unborn for readers of a mirror with branches.
        updated_refs += usize::from(update_head(repo, &map)?);
        updated_refs += prune(repo, &map, Prune::All)?;
        Ok(Ok(Exchange::Done { updated_refs }))
    }

    /// The HTTP transport ignores `http.lowSpeedLimit` and the connect timeout of the configuration, its client doesn't.
    fn http_options(&self) -> http::Options {
        let (connect, operation) = (self.connect, self.connect.max(self.stall));
        let configure: Box<http::reqwest::ConfigureClientFn> =
            Box::new(move |builder| Ok(builder.connect_timeout(connect).timeout(operation)));
        let backend = http::reqwest::Options { configure_client: Some(configure), configure_request: None };
        http::Options {
            follow_redirects: http::options::FollowRedirects::Initial,
            backend: Some(Arc::new(Mutex::new(backend))),
            ..Default::default()
        }
    }
}

enum Prune {
    Conflicting,
    All,
}

/// Deletes branches and tags that the remote no longer has.
fn prune(repo: &gix::Repository, map: &RefMap, which: Prune) -> gix::Result<usize> {
    let names: HashSet<&[u8]> = map.remote_refs.iter().map(|r| r.unpack().0.as_bytes()).collect();
    let is_below =
        |name: &[u8], other: &[u8]| name.len() > other.len() && name.starts_with(other) && name[other.len()] == b'/';
    let mut edits = Vec::new();
    for reference in repo.references()?.all()? {
        let Ok(reference) = reference else { continue };
        let name = reference.name().as_bstr().as_bytes();
        let ours = name.starts_with(b"refs/heads/") || name.starts_with(b"refs/tags/");
        if !ours || names.contains(name) {
            continue;
        }
        if matches!(which, Prune::All) || names.iter().any(|other| is_below(name, other) || is_below(other, name)) {
            edits.push(RefEdit::delete(reference.name().to_owned(), PreviousValue::Any));
        }
    }
    let deleted = edits.len();
    if deleted > 0 {
        repo.edit_references(edits)?;
    }
    Ok(deleted)
}

/// Points `HEAD` at the default branch of the remote and tells whether that was news.
fn update_head(repo: &gix::Repository, map: &RefMap) -> gix::Result<bool> {
    let Some(branch) = default_branch(&map.remote_refs) else { return Ok(false) };
    let Ok(branch) = FullName::try_from(branch) else { return Ok(false) };
    if repo.head_name()?.is_some_and(|current| current == branch) {
        return Ok(false);
    }
    let head = FullName::try_from("HEAD").map_err(gix::Error::from_error)?;
    repo.edit_reference(RefEdit::update(head, branch, PreviousValue::Any, "fetch: default branch"))?;
    Ok(true)
}

/// The branch that `HEAD` names; for a detached or missing `HEAD`, the likeliest one at its commit, or else at all.
fn default_branch(refs: &[Ref]) -> Option<BString> {
    let mut commit = None;
    for head in refs.iter().filter(|r| r.unpack().0 == "HEAD") {
        match head {
            Ref::Symbolic { target, .. } | Ref::Unborn { target, .. } if target.starts_with(b"refs/heads/") => {
                return Some(target.clone());
            }
            _ => commit = head.unpack().1.map(ToOwned::to_owned),
        }
    }
    let branches = || refs.iter().map(Ref::unpack).filter(|(name, ..)| name.starts_with(b"refs/heads/"));
    let rank = |name: &[u8]| (name != b"refs/heads/main", name != b"refs/heads/master", name.to_owned());
    branches()
        .min_by_key(|(name, id, _)| (commit.is_some() && id.map(ToOwned::to_owned) != commit, rank(name)))
        .map(|(name, ..)| name.to_owned())
}

/// Answers the transport's questions for a password.
struct Credentials {
    /// User and password of the URL, and the host that they are for.
    given: Option<(String, String)>,
    host: Option<(String, Option<u16>)>,
    from_helper: bool,
}

impl Credentials {
    fn answer(&mut self, action: helper::Action) -> gix::Result<Option<protocol::Outcome>> {
        let helper::Action::Get(context) = &action else {
            // Nobody needs to remember a token from the environment.
            if self.from_helper {
                ask_helper(&action)?;
            }
            return Ok(None);
        };
        // This is the URL after redirects: the host that gets the answer, not the one that was asked for.
        let url = context.url.as_ref().and_then(|url| gix::url::parse(url.as_bstr()).ok());
        let refusal = match &url {
            Some(url) if url.scheme == Scheme::Https => None,
            Some(url) if url.scheme == Scheme::Ssh => Some("the ssh key or host key wasn't accepted"),
            _ => Some("it wants a password, which isn't sent without encryption"),
        };
        if let Some(refusal) = refusal {
            return Err(gix::Error::from(gix::error::unauthenticated(refusal)));
        }
        let host = url.as_ref().and_then(|url| url.host()).unwrap_or_default();
        let given = self.given.clone().filter(|_| self.host == url.as_ref().and_then(authority));
        let port = url.as_ref().and_then(|url| url.port).filter(|port| *port != 443);
        let token =
            || token(host, port, &|name| std::env::var(name).ok()).map(|token| ("x-access-token".to_owned(), token));
        if let Some((username, password)) = given.or_else(token) {
            let identity = gix::sec::identity::Account { username, password, oauth_refresh_token: None };
            return Ok(Some(protocol::Outcome { identity, next: helper::NextAction::from(context.clone()) }));
        }
        self.from_helper = true;
        ask_helper(&action)
    }
}

/// Who a password is for: a host, and a port of it.
fn authority(url: &gix::Url) -> Option<(String, Option<u16>)> {
    url.host().map(|host| (host.to_ascii_lowercase(), url.port.or((url.scheme == Scheme::Https).then_some(443))))
}

/// The token for a host, from the environment. github.com has three names for it, every other host its own.
fn token(host: &str, port: Option<u16>, env: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let set = |name: &str| env(name).map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
    if host.eq_ignore_ascii_case("github.com") && port.is_none() {
        return ["GITLODE_TOKEN", "GITHUB_TOKEN", "GH_TOKEN"].into_iter().find_map(set);
    }
    let name = port.map_or(host.to_owned(), |port| format!("{host}_{port}"));
    let name = name.replace(|c: char| !c.is_ascii_alphanumeric(), "_").to_ascii_uppercase();
    set(&format!("GITLODE_TOKEN_{name}"))
}

/// Runs `git credential`, which runs the user's helpers, with every way to ask a person switched off.
fn ask_helper(action: &helper::Action) -> gix::Result<Option<protocol::Outcome>> {
    let wanted = || gix::Error::from(gix::error::unauthenticated("it wants credentials, and there are none for it"));
    let mut child = Command::new("git")
        .args(["-c", "credential.interactive=never", "credential", action.as_arg(false)])
        .envs([("GIT_TERMINAL_PROMPT", "0"), ("GIT_ASKPASS", ""), ("GCM_INTERACTIVE", "never")])
        // The configuration of a repository that happens to be the current directory isn't the user's.
        .env("GIT_DIR", "/dev/null")
        .env_remove("GIT_CONFIG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|_| wanted())?;
    if let Some(mut stdin) = child.stdin.take() {
        action.send(&mut stdin).and_then(|()| stdin.flush()).ok();
    }
    let output = child.wait_with_output().map_err(gix::Error::from_error)?;
    if !action.expects_output() {
        return Ok(None);
    }
    if !output.status.success() {
        return Err(wanted());
    }
    let context = protocol::Context::from_bytes(&output.stdout, Default::default())?;
    let (Some(username), Some(password)) = (context.username.clone(), context.password.clone()) else {
        return Err(wanted());
    };
    let identity = gix::sec::identity::Account { username, password, oauth_refresh_token: None };
    Ok(Some(protocol::Outcome { identity, next: helper::NextAction::from(context) }))
}

/// gix erases the types of its errors, so the kind comes from the classes, I/O kinds and texts in the chain.
fn classify(err: &gix::Error) -> (ErrorKind, String) {
    let reason = one_line(err);
    let io_kinds: Vec<io::ErrorKind> =
        err.iter_errors().filter_map(|err| err.downcast_ref::<io::Error>()).map(io::Error::kind).collect();
    let kind = classify_text(&reason.to_ascii_lowercase()).unwrap_or_else(|| {
        let has = |kinds: &[io::ErrorKind]| io_kinds.iter().any(|kind| kinds.contains(kind));
        use io::ErrorKind as E;
        if err.is_cancelled() {
            ErrorKind::Interrupted
        } else if err.is_unauthenticated() {
            ErrorKind::Authentication
        } else if has(&[E::StorageFull, E::QuotaExceeded, E::ReadOnlyFilesystem, E::FileTooLarge]) {
            ErrorKind::Io
        } else if has(&[
            E::ConnectionRefused,
            E::HostUnreachable,
            E::NetworkUnreachable,
            E::AddrNotAvailable,
            E::NetworkDown,
        ]) {
            ErrorKind::Unreachable
        } else if has(&[E::TimedOut, E::WouldBlock]) {
            ErrorKind::Stalled
        } else if has(&[E::UnexpectedEof, E::ConnectionReset, E::ConnectionAborted, E::BrokenPipe]) {
            ErrorKind::Disconnected
        } else if err.is_permission_denied() {
            ErrorKind::Io
        } else if err.is_retryable() {
            ErrorKind::Unreachable
        } else {
            ErrorKind::Protocol
        }
    });
    (kind, reason)
}

/// What servers, HTTP statuses and resolvers say, in lower case.
pub(super) fn classify_text(text: &str) -> Option<ErrorKind> {
    const TEXTS: &[(&str, ErrorKind)] = &[
        ("http status 401", ErrorKind::Authentication),
        ("http status 403", ErrorKind::Authentication),
        ("http status 404", ErrorKind::NotFound),
        ("http status 410", ErrorKind::NotFound),
        // Unavailable for legal reasons: GitHub's answer for a repository after a DMCA notice.
        ("http status 451", ErrorKind::NotFound),
        ("http status 408", ErrorKind::Unreachable),
        ("http status 429", ErrorKind::Unreachable),
        ("http status 5", ErrorKind::Unreachable),
        ("repository not found", ErrorKind::NotFound),
        ("repository not exported", ErrorKind::NotFound),
        ("no such repository", ErrorKind::NotFound),
        ("does not appear to be a git repository", ErrorKind::NotFound),
        ("is a valid git directory", ErrorKind::NotFound),
        ("permission denied (", ErrorKind::Authentication),
        ("host key verification failed", ErrorKind::Authentication),
        ("invalid peer certificate", ErrorKind::Protocol),
        ("dns error", ErrorKind::Unreachable),
        ("failed to lookup address", ErrorKind::Unreachable),
        ("could not resolve", ErrorKind::Unreachable),
        ("tcp connect error", ErrorKind::Unreachable),
        ("client error (connect)", ErrorKind::Unreachable),
        ("connection refused", ErrorKind::Unreachable),
        ("connection timed out", ErrorKind::Unreachable),
        ("no route to host", ErrorKind::Unreachable),
        ("operation timed out", ErrorKind::Stalled),
        ("error decoding response body", ErrorKind::Disconnected),
        ("connection closed", ErrorKind::Disconnected),
        ("connection reset", ErrorKind::Disconnected),
        ("unexpected end of file", ErrorKind::Disconnected),
        ("no space left", ErrorKind::Io),
    ];
    TEXTS.iter().find(|(part, _)| text.contains(part)).map(|(_, kind)| *kind)
}

/// The messages of the chain, outermost first, without repetitions.
fn one_line(err: &gix::Error) -> String {
    let mut line = String::new();
    for err in err.iter_errors() {
        let message = err.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        if !message.is_empty() && !line.contains(&message) {
            line = if line.is_empty() { message } else { format!("{line}: {message}") };
        }
    }
    if let Some((end, _)) = line.char_indices().nth(600) {
        line.truncate(end);
    }
    let mut chars = line.chars();
    chars.next().map_or(String::new(), |first| first.to_lowercase().chain(chars).collect())
}

/// The counters that gix's thread writes and the caller's thread reads.
#[derive(Default)]
struct Counters {
    phase: AtomicU8,
    received: AtomicU64,
    alive: AtomicU64,
}

impl Counters {
    fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    fn report(&self, seen: &mut (u8, u64, u64), progress: &dyn Fn(Progress)) {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let now = (self.phase.load(Ordering::Relaxed), load(&self.received), load(&self.alive));
        if now.1 != seen.1 {
            progress(Progress::Received(now.1));
        }
        if now.2 != seen.2 {
            progress(Progress::Alive(now.2));
        }
        if now.0 != seen.0 {
            progress(Progress::Phase(PHASES[usize::from(now.0) % PHASES.len()]));
        }
        *seen = now;
    }
}

/// A node in gix's tree of progress, which only keeps what the counters need.
#[derive(Default)]
struct Meter {
    shared: Arc<Counters>,
    step: gix::progress::StepShared,
    id: gix::progress::Id,
}

impl Meter {
    // The ids of gix: bytes of the pack that were read, resolving of deltas, and the remote's own progress.
    const PACK_BYTES: gix::progress::Id = *b"BWRB";
    const RESOLVE: gix::progress::Id = *b"IWRO";
    const REMOTE: gix::progress::Id = *b"FERP";

    fn child(&self, id: gix::progress::Id) -> Meter {
        match id {
            Self::PACK_BYTES => self.shared.enter(Phase::Receive),
            Self::RESOLVE => self.shared.enter(Phase::Resolve),
            _ => {}
        }
        Meter { shared: self.shared.clone(), step: Default::default(), id }
    }

    fn tick(&self) {
        if self.id == Self::REMOTE {
            self.shared.alive.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl gix::progress::Count for Meter {
    fn set(&self, step: usize) {
        self.step.store(step, Ordering::Relaxed);
        self.tick();
    }
    fn step(&self) -> usize {
        self.step.load(Ordering::Relaxed)
    }
    fn inc_by(&self, step: usize) {
        self.step.fetch_add(step, Ordering::Relaxed);
        if self.id == Self::PACK_BYTES {
            self.shared.received.fetch_add(step as u64, Ordering::Relaxed);
        }
        self.tick();
    }
    fn counter(&self) -> gix::progress::StepShared {
        self.step.clone()
    }
}

impl gix::progress::Progress for Meter {
    fn init(&mut self, _max: Option<usize>, _unit: Option<gix::progress::Unit>) {}
    fn set_name(&mut self, _name: String) {
        self.tick();
    }
    fn name(&self) -> Option<String> {
        None
    }
    fn id(&self) -> gix::progress::Id {
        self.id
    }
    fn message(&self, _level: gix::progress::MessageLevel, _message: String) {
        self.tick();
    }
}

impl gix::progress::NestedProgress for Meter {
    type SubProgress = Meter;
    fn add_child(&mut self, _name: impl Into<String>) -> Meter {
        self.child(gix::progress::UNKNOWN)
    }
    fn add_child_with_id(&mut self, _name: impl Into<String>, id: gix::progress::Id) -> Meter {
        self.child(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lose_their_credentials() {
        for (url, redacted) in [
            ("https://user:secret@host/a/b.git", "https://host/a/b.git"),
            ("https://token@host:8443/a?key=secret#x", "https://host:8443/a"),
            ("https://us@er:p@ss@host", "https://host"),
            ("ssh://git@host/a", "ssh://host/a"),
            ("git@host:a/b", "git@host:a/b"),
            ("/a/b@c", "/a/b@c"),
            ("file:///a@b?c", "file:///a@b?c"),
        ] {
            assert_eq!(redact_url(url), redacted);
        }
    }

    #[test]
    fn errors_lose_the_password_of_their_url() {
        let reason = "bad url (https://u:secret@host/x) with secret";
        let err = Error::new(ErrorKind::Protocol, "https://u:secret@host/x", reason);
        assert_eq!(err.to_string(), "https://host/x gave a bad answer: bad url (https://host/x) with …");
    }

    #[test]
    fn a_token_is_only_for_its_host() {
        let env = |set: &'static [&'static str]| move |name: &str| set.contains(&name).then(|| name.to_owned());
        let check =
            |host, port, set, expected: Option<&str>| assert_eq!(token(host, port, &env(set)).as_deref(), expected);
        let all = &[
            "GITLODE_TOKEN",
            "GITHUB_TOKEN",
            "GH_TOKEN",
            "GITLODE_TOKEN_GIT_EXAMPLE_COM",
            "GITLODE_TOKEN_LOCALHOST_8443",
        ];
        check("github.com", None, all, Some("GITLODE_TOKEN"));
        check("github.com", None, &all[1..], Some("GITHUB_TOKEN"));
        check("github.com", None, &all[2..], Some("GH_TOKEN"));
        check("github.com", Some(8443), all, None);
        check("github.com.evil.example", None, all, None);
        check("gitlab.com", None, all, None);
        check("git.example.com", None, all, Some("GITLODE_TOKEN_GIT_EXAMPLE_COM"));
        check("git.example.com", Some(1), all, None);
        check("localhost", Some(8443), all, Some("GITLODE_TOKEN_LOCALHOST_8443"));
    }

    #[test]
    fn credentials_go_to_the_host_of_the_url_over_tls_only() {
        let mut credentials = Credentials {
            given: Some(("u".into(), "p".into())),
            host: Some(("a.invalid".into(), Some(443))),
            from_helper: false,
        };
        let given = credentials
            .answer(helper::Action::get_for_url("https://a.invalid/x"))
            .expect("an answer")
            .expect("credentials");
        assert_eq!((given.identity.username.as_str(), given.identity.password.as_str()), ("u", "p"));
        assert!(credentials.answer(given.next.clone().store()).expect("nothing to do").is_none());
        for url in ["http://a.invalid/x", "ssh://a.invalid/x", "http://a.invalid:443/x"] {
            let err = credentials.answer(helper::Action::get_for_url(url)).expect_err("a refusal");
            assert_eq!(classify(&err).0, ErrorKind::Authentication, "{url}");
        }
    }

    #[test]
    fn io_errors_have_kinds() {
        use io::ErrorKind as E;
        for (io_kind, kind) in [
            (E::ConnectionRefused, ErrorKind::Unreachable),
            (E::HostUnreachable, ErrorKind::Unreachable),
            (E::TimedOut, ErrorKind::Stalled),
            (E::UnexpectedEof, ErrorKind::Disconnected),
            (E::ConnectionReset, ErrorKind::Disconnected),
            (E::StorageFull, ErrorKind::Io),
            (E::PermissionDenied, ErrorKind::Io),
            (E::InvalidData, ErrorKind::Protocol),
        ] {
            let err = gix::Error::from_error(io::Error::from(io_kind));
            assert_eq!(classify(&err).0, kind, "{io_kind:?}");
        }
    }

    #[test]
    fn only_what_may_pass_is_transient() {
        let transient = |kind| Error::new(kind, "x", "y").is_transient();
        assert!([ErrorKind::Unreachable, ErrorKind::Disconnected, ErrorKind::Stalled].into_iter().all(transient));
        assert!(
            ![ErrorKind::NotFound, ErrorKind::Authentication, ErrorKind::Protocol, ErrorKind::Io]
                .into_iter()
                .any(transient)
        );
        assert!(![ErrorKind::Interrupted, ErrorKind::Unsupported, ErrorKind::Limit].into_iter().any(transient));
    }
}
