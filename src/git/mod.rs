//! Everything that touches a repository: opening, walking, tree diff, blobs, text diff, mirrors.
//!
//! Nothing of a repository's own configuration is obeyed but its object format; no hooks, filters, textconv,
//! grafts or replace refs exist here, and objects come from the repository's own object directory only.

pub mod blobs;
pub mod change;
pub mod commit;
pub mod decoder;
mod delta;
pub mod diff;
pub mod lines;
pub mod mirror;
mod myers;
pub mod needs;
pub mod packs;
pub mod rename;
pub mod repository;
mod slider;
pub mod supervise;
pub mod text;
pub mod trees;
pub mod walk;

use std::path::PathBuf;

pub use gix::ObjectId;

/// What can stop a repository from being mined. Damage inside a repository is counted instead, see [`crate::verdict::Skip`].
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error("{path} is not a git repository")]
    NotARepository { path: PathBuf },
    #[error("can't open the repository {path}: {reason}")]
    Open { path: PathBuf, reason: String },
    #[error("the repository {path} uses {feature}, which gitlode can't read")]
    Unsupported { path: PathBuf, feature: String },
    #[error("the repository {path} borrows objects from {alternate}, outside of itself")]
    Alternate { path: PathBuf, alternate: PathBuf },
    #[error("no branch, tag or commit {rev} in {path}")]
    NoSuchRevision { path: PathBuf, rev: String },
    #[error("{name} in {path} can't be resolved: {reason}")]
    BadReference { path: PathBuf, name: String, reason: String },
    #[error("the objects of {path} can't be read: {reason}")]
    Unreadable { path: PathBuf, reason: String },
    #[error("the history of {path} takes more than the {} MiB of memory that it may", bytes_max >> 20)]
    Memory { path: PathBuf, bytes_max: u64 },
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::NotARepository { .. } => {
                Some("give the path of a repository, of a directory that holds some, a URL, or owner/name".into())
            }
            Error::Unsupported { .. } => Some("mine a fresh `git clone --bare` of it instead".into()),
            Error::Alternate { path, .. } => Some(format!(
                "run `git -C {} repack -a -d` and remove objects/info/alternates, or mine the repository it borrows from",
                path.display()
            )),
            Error::NoSuchRevision { .. } => Some("give a branch, a tag or a commit id, with ~N or ^N behind it".into()),
            Error::BadReference { .. } => {
                Some("see `git fsck`; --rev NAME mines what another branch, a tag or a commit id reaches".into())
            }
            Error::Unreadable { .. } => Some(
                "it is the disk, the permissions or the limits of the machine; mine again when that is mended".into(),
            ),
            Error::Memory { .. } => Some("give more with --memory".into()),
            Error::Open { .. } | Error::Interrupted => None,
        }
    }
}
