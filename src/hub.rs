//! Uploads an export to a dataset repository of the Hugging Face Hub, in one commit.
//!
//! hf-hub does the work. What it leaves open is decided here: which files the Hub already has, that a large file is
//! never put into the commit itself (hf-hub does that silently where the Hub offers nothing better), and that the
//! commit follows the state that was looked at.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read as _,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use gix::{hash::Kind, objs};
use hf_hub::{
    HFClient, HFClientSync, HFError,
    progress::{Progress, ProgressEvent, ProgressHandler, UploadEvent},
    repository::{CommitOperation, RepoTreeEntry, RepoTypeDataset},
};

/// Files up to so many bytes may stand in the commit itself, as far as gitlode is concerned: cards, figures, metadata.
/// The Hub takes 10 MB there, and says itself which files it wants so.
pub const INLINE_BYTES_MAX: u64 = 4 << 20;

/// How much of a file the Hub sees before it says how it wants it (as hf-hub and huggingface_hub do it).
const SAMPLE_BYTES: usize = 512;

/// HTTP's word for a commit whose parent is not the newest one any more.
const PRECONDITION_FAILED: u16 = 412;

/// An answer that is not there by then is not waited for.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What can go wrong with an upload.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path} is not an export that is whole: {reason}")]
    NotWhole { path: PathBuf, reason: String },
    #[error("{0} is no name of a repository; one is like OWNER/NAME")]
    Name(String),
    #[error("there is no token for {0}")]
    NoToken(String),
    #[error("the Hub would put {path} ({bytes} bytes) into the commit itself")]
    Inline { path: String, bytes: u64 },
    #[error("the Hub: {0}")]
    Hub(#[from] HFError),
    #[error("the Hub: {0}")]
    Http(#[from] reqwest::Error),
}

impl Error {
    /// What helps.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Error::NoToken(_) | Error::Hub(HFError::AuthRequired { .. }) => {
                "make a token that may write on the Hub's page of settings, and set HF_TOKEN or run `hf auth login`"
            }
            Error::Hub(HFError::Forbidden { .. }) => "the token may not write to that repository",
            Error::Hub(HFError::Http { context }) if context.status == PRECONDITION_FAILED => {
                "somebody else changed the repository; run the same command again"
            }
            Error::Hub(HFError::Conflict { .. }) => "somebody else changed the repository; run the same command again",
            Error::Hub(HFError::RateLimited { .. }) => "wait, and run the same command again",
            Error::Http(_) | Error::Hub(_) => "run the same command again; what arrived is not sent twice",
            Error::Inline { .. } => "nothing was changed; this needs a Hub that takes large files by Xet",
            Error::NotWhole { .. } => "push the directory that `gitlode export` made, as it made it",
            Error::Name(_) | Error::Io { .. } => return None,
        };
        Some(text.to_owned())
    }
}

/// What is to be uploaded, and where.
pub struct Push<'a> {
    /// An export.
    pub directory: &'a Path,
    /// OWNER/NAME.
    pub repository: &'a str,
    /// The branch.
    pub revision: &'a str,
    /// Subject of the commit.
    pub message: &'a str,
    /// Whether a repository that is not there is made private.
    pub private: bool,
}

/// What was done.
#[derive(Debug, serde::Serialize)]
pub struct Pushed {
    /// Files that were sent.
    pub sent: usize,
    /// Their sizes together.
    pub bytes: u64,
    /// Files that the Hub had already.
    pub unchanged: usize,
    /// Files of an earlier upload that are not part of this one.
    pub deleted: usize,
    /// The commit; none where nothing had to change.
    pub commit: Option<String>,
    /// Where it is to be seen.
    pub url: String,
}

/// A file of the export.
struct File {
    bytes: u64,
    /// SHA-256 of its contents, hexadecimal.
    sha256: String,
    /// The git blob that it is where it stands in the commit itself, and the one of its LFS pointer.
    blobs: [String; 2],
    sample: Vec<u8>,
}

/// Makes the repository where it is not there, and its branch the same as the export: what is new is sent, and what stands in
/// the export's directories and is not part of it is deleted. `progress` is told how many bytes are done, of how many.
///
/// # Errors
/// The directory is not an export that is whole, a file can't be read, or the Hub refuses.
pub fn push(push: &Push<'_>, progress: impl Fn(u64, u64) + Send + Sync + 'static) -> Result<Pushed, Error> {
    let Push { directory, repository, revision, message, private } = *push;
    let Some((owner, name)) = repository.split_once('/').filter(|(o, n)| !o.is_empty() && is_name(n)) else {
        return Err(Error::Name(repository.to_owned()));
    };
    let files = files(directory)?;
    let inner = HFClient::builder().user_agent(concat!("gitlode/", env!("CARGO_PKG_VERSION"))).build()?;
    let endpoint = inner.endpoint().trim_end_matches('/').to_owned();
    let token = token().ok_or_else(|| Error::NoToken(endpoint.clone()))?;
    let client = HFClientSync::from_inner(inner)?;
    client.create_repository().repo_id(repository).repo_type(RepoTypeDataset).private(private).exist_ok(true).send()?;
    let dataset = client.dataset(owner, name);
    // The commit is refused where the branch moves between this look and the end.
    let parent = match dataset.info().revision(revision.to_owned()).send() {
        Ok(info) => info.sha,
        Err(HFError::RevisionNotFound { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let there = match dataset.list_tree().revision(revision.to_owned()).recursive(true).send() {
        Ok(entries) => blobs_of(entries),
        Err(HFError::RevisionNotFound { .. } | HFError::EntryNotFound { .. }) => BTreeMap::new(),
        Err(error) => return Err(error.into()),
    };
    let has = |path: &str, file: &File| there.get(path).is_some_and(|blob| file.blobs.contains(blob));
    let new: Vec<(&String, &File)> = files.iter().filter(|(path, file)| !has(path, file)).collect();
    let top = |path: &str| path.split_once('/').map(|(directory, _)| directory.to_owned());
    let ours: BTreeSet<String> = files.keys().filter_map(|path| top(path)).collect();
    let is_ours = |path: &str| top(path).is_some_and(|directory| ours.contains(&directory));
    let gone: Vec<&String> = there.keys().filter(|path| is_ours(path) && !files.contains_key(*path)).collect();
    let url = format!("{endpoint}/datasets/{repository}");
    let bytes = new.iter().map(|(_, file)| file.bytes).sum();
    let mut pushed =
        Pushed { sent: new.len(), bytes, unchanged: files.len() - new.len(), deleted: gone.len(), commit: None, url };
    if new.is_empty() && gone.is_empty() {
        return Ok(pushed);
    }
    never_inline(&endpoint, repository, revision, &token, &new)?;
    let add = new.iter().map(|(path, _)| CommitOperation::add_file(path.as_str(), directory.join(path)));
    let operations = add.chain(gone.into_iter().map(|path| CommitOperation::delete(path.as_str()))).collect();
    let commit = dataset
        .create_commit()
        .operations(operations)
        .commit_message(message)
        .revision(revision)
        .maybe_parent_commit(parent)
        .progress(Progress::from(Told(progress)))
        .send()?;
    pushed.commit = commit.commit_oid;
    Ok(pushed)
}

struct Told<F>(F);

impl<F: Fn(u64, u64) + Send + Sync> ProgressHandler for Told<F> {
    fn on_progress(&self, event: &ProgressEvent) {
        if let ProgressEvent::Upload(UploadEvent::Progress { bytes_completed, total_bytes, .. }) = event {
            (self.0)(*bytes_completed, *total_bytes);
        }
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// The token, from where Hugging Face's own tools have it.
fn token() -> Option<String> {
    let of_file = |path: PathBuf| std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let home = std::env::var_os("HF_HOME").map(PathBuf::from).or_else(|| {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        cache.or_else(|| std::env::home_dir().map(|home| home.join(".cache"))).map(|cache| cache.join("huggingface"))
    });
    let found = std::env::var("HF_TOKEN").ok().filter(|token| !token.is_empty());
    let found = found.or_else(|| std::env::var_os("HF_TOKEN_PATH").and_then(|path| of_file(path.into())));
    found.or_else(|| of_file(home?.join("token"))).filter(|token| !token.is_empty())
}

fn blobs_of(entries: Vec<RepoTreeEntry>) -> BTreeMap<String, String> {
    let files = entries.into_iter().filter_map(|entry| match entry {
        RepoTreeEntry::File { path, oid, .. } => Some((path, oid)),
        RepoTreeEntry::Directory { .. } => None,
    });
    files.collect()
}

/// The files of an export, by their paths in it. Its manifest says which have to be there, and their sizes.
fn files(directory: &Path) -> Result<BTreeMap<String, File>, Error> {
    let not_whole = |reason: String| Error::NotWhole { path: directory.to_owned(), reason };
    let path = directory.join("manifest.json");
    let manifest = std::fs::read(&path).map_err(|e| not_whole(format!("manifest.json: {e}")))?;
    let manifest: serde_json::Value =
        serde_json::from_slice(&manifest).map_err(|e| not_whole(format!("manifest.json: {e}")))?;
    let mut wanted = vec![("manifest.json".to_owned(), None)];
    for list in ["shards", "documents"] {
        for file in manifest[list].as_array().into_iter().flatten() {
            let name = file["file"].as_str().ok_or_else(|| not_whole("manifest.json names no files".into()))?;
            let inside = Path::new(name).components().all(|part| matches!(part, std::path::Component::Normal(_)));
            if !inside {
                return Err(not_whole(format!("manifest.json names {name}, which is elsewhere")));
            }
            wanted.push((name.to_owned(), file["bytes"].as_u64()));
        }
    }
    let mut files = BTreeMap::new();
    for (name, bytes) in wanted {
        let file = read(&directory.join(&name))?;
        if bytes.is_some_and(|bytes| bytes != file.bytes) {
            return Err(not_whole(format!("{name} has {} bytes, not {}", file.bytes, bytes.unwrap_or(0))));
        }
        files.insert(name, file);
    }
    Ok(files)
}

/// Reads a file once, in pieces.
fn read(path: &Path) -> Result<File, Error> {
    let io = |source: std::io::Error| Error::Io { path: path.to_owned(), source };
    let mut file = std::fs::File::open(path).map_err(io)?;
    let bytes = file.metadata().map_err(io)?.len();
    let (mut sha256, mut blob) = (gix::hash::hasher(Kind::Sha256), gix::hash::hasher(Kind::Sha1));
    blob.update(&objs::encode::loose_header(objs::Kind::Blob, bytes));
    let mut sample = Vec::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        let len = file.read(&mut buffer).map_err(io)?;
        if len == 0 {
            break;
        }
        sha256.update(&buffer[..len]);
        blob.update(&buffer[..len]);
        sample.extend(buffer[..len].iter().take(SAMPLE_BYTES - sample.len()));
    }
    // SHA-1 is refused where somebody made a collision.
    let sha256 = sha256.try_finalize().map_err(|e| io(std::io::Error::other(e.to_string())))?.to_string();
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {bytes}\n");
    let pointer = objs::compute_hash(Kind::Sha1, objs::Kind::Blob, pointer.as_bytes())
        .map_err(|e| io(std::io::Error::other(e.to_string())))?;
    let blob = blob.try_finalize().map_err(|e| io(std::io::Error::other(e.to_string())))?;
    let blobs = [blob.to_string(), pointer.to_string()];
    Ok(File { bytes, sha256, blobs, sample })
}

/// Asks the Hub what it would do with the large files, and makes sure that it is the right thing.
fn never_inline(
    endpoint: &str,
    repository: &str,
    revision: &str,
    token: &str,
    files: &[(&String, &File)],
) -> Result<(), Error> {
    let large: Vec<&(&String, &File)> = files.iter().filter(|(_, file)| file.bytes > INLINE_BYTES_MAX).collect();
    let Some((path, first)) = large.first() else { return Ok(()) };
    let client = reqwest::blocking::Client::builder().timeout(TIMEOUT).build()?;
    let ask = |path: &str, media: &str, body: &serde_json::Value| -> Result<serde_json::Value, Error> {
        let request = client.post(format!("{endpoint}/{path}")).bearer_auth(token).body(body.to_string());
        let request = request.header("content-type", media).header("accept", media);
        let answer = request.send()?.error_for_status()?.bytes()?;
        Ok(serde_json::from_slice(&answer).unwrap_or_default())
    };
    let inline = |path: &str, bytes: u64| Error::Inline { path: path.to_owned(), bytes };
    let asked = large.iter().map(
        |(path, file)| serde_json::json!({"path": path, "size": file.bytes, "sample": STANDARD.encode(&file.sample)}),
    );
    let asked = serde_json::json!({"files": asked.collect::<Vec<_>>()});
    let modes = ask(&format!("api/datasets/{repository}/preupload/{revision}"), "application/json", &asked)?;
    for (path, file) in &large {
        let mode = modes["files"].as_array().into_iter().flatten().find(|answer| answer["path"] == path.as_str());
        if mode.is_none_or(|answer| answer["uploadMode"] != "lfs") {
            return Err(inline(path, file.bytes));
        }
    }
    let objects = large.iter().map(|(_, file)| serde_json::json!({"oid": file.sha256, "size": file.bytes}));
    let batch = serde_json::json!({
        "operation": "upload",
        "transfers": ["basic", "multipart", "xet"],
        "objects": objects.collect::<Vec<_>>(),
        "hash_algo": "sha256",
        "ref": {"name": revision},
    });
    let media = "application/vnd.git-lfs+json";
    let chosen = ask(&format!("datasets/{repository}.git/info/lfs/objects/batch"), media, &batch)?;
    if chosen["transfer"] == "xet" { Ok(()) } else { Err(inline(path, first.bytes)) }
}
