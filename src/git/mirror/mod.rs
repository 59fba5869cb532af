//! Bare mirrors of remote repositories: clone, fetch, prune, and the repair of what a killed run left behind.
//!
//! Owns everything that happens inside one process. Refuses to obey configuration of the user or of the repository
//! (git's credential helpers excepted), to ask anybody anything, and to send a token to a host that it isn't for.
//! A transport can block for ever in a read, so callers go through [`super::supervise`], which can kill it.

pub mod address;
mod borrow;
mod credentials;
mod error;
pub mod look;
pub mod maintain;
mod progress;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gix::bstr::{BString, ByteSlice};
use gix::protocol::handshake::Ref;
use gix::protocol::transport::client::blocking_io::http;
use gix::refs::FullName;
use gix::refs::transaction::{PreviousValue, RefEdit};
use gix::remote::fetch::{RefMap, Status, Tags, refs::update::Mode};
use gix::url::Scheme;
use serde::{Deserialize, Serialize};

use credentials::{Credentials, authority};
pub(super) use error::classify_text;
pub use error::{Error, ErrorKind, redact_url};
use error::{classify, one_line};
use progress::Meter;

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
    /// Whether only addresses may be asked that everybody reaches; redirects aren't followed then.
    pub public_only: bool,
    /// A mirror that is likely to have most of what a clone would bring.
    #[serde(default)]
    pub borrow: Option<PathBuf>,
}

/// What a synchronization did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// There was no mirror before.
    Cloned,
    /// There was one that could not be used, and another is in its place.
    Replaced,
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
    /// The pack has this many objects, as it says itself.
    Objects(u64),
    /// This many bytes came of them so far.
    Unpacked(u64),
    /// The remote said something that isn't pack data, such as its own progress in compressing objects.
    Alive(u64),
}

/// The token for the server `host`, from the environment; `port` where it is not that of https.
pub fn token(host: &str, port: Option<u16>) -> Option<String> {
    credentials::token(host, port, &|name| std::env::var(name).ok())
}

/// The URL of a repository that moved to the address `to`, with what `url` has of a user and a password, if it is for that server.
pub fn moved(url: &str, to: &str) -> String {
    let parse = |text: &str| gix::url::parse(text.as_bytes().as_bstr()).ok();
    let (Some(from), Some(mut moved)) = (parse(url), parse(to)) else { return to.to_owned() };
    if from.scheme == moved.scheme && authority(&from) == authority(&moved) {
        moved.set_user(from.user().map(str::to_owned));
        moved.set_password(from.password().map(str::to_owned));
    }
    moved.to_bstring().to_string()
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
        let mut seen = progress::Seen::default();
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

/// Moves a mirror out of its place, to be removed from where it is then. Should that not happen, the next start takes it for the
/// rest of a clone that was killed.
///
/// # Errors
/// It is not there, or can't be moved.
pub fn put_away(directory: &Path) -> io::Result<PathBuf> {
    let place = sibling(directory, &format!("partial-old-{}", std::process::id()));
    fs::rename(directory, &place).map(|()| place)
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
    public_only: bool,
    borrow: Option<PathBuf>,
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
            public_only: request.public_only,
            borrow: request.borrow.clone(),
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
        {
            match self.exchange(&repo, interrupt, &meter) {
                Ok(Exchange::Done { updated_refs: 0 }) => return Ok(Outcome::Unchanged),
                Ok(Exchange::Done { updated_refs }) => return Ok(Outcome::Fetched { updated_refs }),
                Ok(Exchange::OtherFormat(_)) => {}
                // What reads as a bad answer may be what a damaged mirror makes of a good one.
                Err(error) if error.is_of_data() && maintain::is_damaged(directory, interrupt) => {}
                Err(error) => return Err(error),
            }
        }
        let partial = partial(directory, std::process::id());
        // What replaces a damaged mirror owes nothing to another one.
        let borrow = self.borrow.as_deref().filter(|_| !directory.exists());
        let cloned = self.clone_into(&partial, borrow, interrupt, &meter).and_then(|()| {
            if directory.exists() {
                let old = put_away(directory).map_err(io_error)?;
                fs::rename(&partial, directory).map_err(io_error)?;
                return remove_all(&old).map_err(io_error).map(|()| Outcome::Replaced);
            }
            fs::rename(&partial, directory).map_err(io_error).map(|()| Outcome::Cloned)
        });
        if cloned.is_err() && partial.exists() {
            remove_all(&partial).ok();
        }
        cloned
    }

    fn clone_into(
        &self,
        partial: &Path,
        borrow: Option<&Path>,
        interrupt: &AtomicBool,
        meter: &Meter,
    ) -> Result<(), Error> {
        let mut format = gix::hash::Kind::Sha1;
        for _ in 0..2 {
            let mut repo = self.init(partial, format)?;
            if let Some(from) = borrow {
                repo = match borrow::borrow(from, partial, format, self.options(), interrupt) {
                    Some(repo) => repo,
                    // What is there of it is of no use.
                    None => self.init(partial, format)?,
                };
            }
            let exchange = self.exchange(&repo, interrupt, meter)?;
            borrow::withdraw(&repo).map_err(|err| self.error(&err))?;
            match exchange {
                Exchange::Done { .. } => return Ok(()),
                Exchange::OtherFormat(other) => format = other,
            }
        }
        Err(Error::new(ErrorKind::Protocol, &self.text, "it changes its object format between two connections"))
    }

    /// Makes an empty repository, in the place of whatever is there.
    fn init(&self, partial: &Path, format: gix::hash::Kind) -> Result<gix::Repository, Error> {
        let io_error = |err: io::Error| Error::new(ErrorKind::Io, &self.text, err.to_string());
        if partial.exists() {
            remove_all(partial).map_err(io_error)?;
        }
        let create = gix::create::Options { object_hash: Some(format), ..Default::default() };
        let repo = gix::ThreadSafeRepository::init_opts(partial, gix::create::Kind::Bare, create, self.options())
            .map_err(|err| Error::new(ErrorKind::Io, &self.text, one_line(&err)))?
            .to_thread_local();
        // What is there for people, which takes more room than a small repository.
        for name in ["hooks", "info", "description"] {
            let removed = remove_all(&partial.join(name));
            removed
                .or_else(|err| if err.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(err) })
                .map_err(io_error)?;
        }
        Ok(repo)
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
        if self.public_only
            && let Err((kind, reason)) = address::check(&self.url)
        {
            return Ok(Err(Error::new(kind, &self.text, reason)));
        }
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
        let (connect, operation, public_only) = (self.connect, self.connect.max(self.stall), self.public_only);
        let configure: Box<http::reqwest::ConfigureClientFn> = Box::new(move |builder| {
            let builder = builder.connect_timeout(connect).timeout(operation);
            Ok(if public_only { builder.dns_resolver(Arc::new(address::PublicOnly)) } else { builder })
        });
        // gix would follow one to any address, and its client can't be told otherwise.
        let follow_redirects = match public_only {
            true => http::options::FollowRedirects::None,
            false => http::options::FollowRedirects::Initial,
        };
        let backend = http::reqwest::Options { configure_client: Some(configure), configure_request: None };
        http::Options { follow_redirects, backend: Some(Arc::new(Mutex::new(backend))), ..Default::default() }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_move_along_on_their_server_only() {
        for (url, to, expected) in [
            ("https://u:p@host/a.git", "https://host/b.git", "https://u:p@host/b.git"),
            ("https://u:p@host:444/a", "https://host/b", "https://host/b"),
            ("https://u:p@host/a", "https://other/b", "https://other/b"),
            ("http://u:p@host/a", "https://host/b", "https://host/b"),
            ("https://host/a", "https://host/b", "https://host/b"),
        ] {
            assert_eq!(moved(url, to), expected, "{url}");
        }
    }
}
