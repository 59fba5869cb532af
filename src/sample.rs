//! The row: what a sample is and how its id is made. No I/O, no Arrow, no git.

use serde::Serialize;

use crate::bytes::hex;

/// The version of the row schema that this program writes. Older versions are read; newer ones are refused.
pub const SCHEMA_VERSION: u32 = 1;

/// Room for what is hashed for most ids, in bytes.
const HASHED_BYTES: usize = 256;

/// The stable name of a sample: the first 16 bytes of a BLAKE3 hash over commit, old path and new path.
///
/// The hashed bytes are `gitlode sample 1\0`, then three fields (commit id in binary, old path, new path). A field
/// is a byte 1, its length as 8 bytes little-endian and its bytes; a field that does not exist is a byte 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SampleId([u8; 16]);

impl SampleId {
    /// The id of the sample that `commit` (binary id) makes by turning `old_path` into `new_path` (bytes as in the tree).
    pub fn of(commit: &[u8], old_path: Option<&[u8]>, new_path: Option<&[u8]>) -> Self {
        let mut hashed = Vec::with_capacity(HASHED_BYTES);
        hashed.extend_from_slice(b"gitlode sample 1\0");
        for field in [Some(commit), old_path, new_path] {
            hashed.push(field.is_some().into());
            if let Some(bytes) = field {
                hashed.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
                hashed.extend_from_slice(bytes);
            }
        }
        let mut id = [0; 16];
        id.copy_from_slice(&blake3::hash(&hashed).as_bytes()[..16]);
        SampleId(id)
    }

    /// The id as 32 lower-case hexadecimal digits, the form it has in rows and on the command line.
    pub fn to_hex(self) -> String {
        hex(&self.0)
    }
}

/// How a commit changed a file.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// The path is a regular file on both sides, with different contents.
    Modified,
    /// The path is new; there are no old contents.
    Added,
    /// The path is gone; there are no new contents.
    Deleted,
    /// The path moved, with or without a change of contents.
    Renamed,
}

impl ChangeKind {
    /// All of them.
    pub const ALL: [ChangeKind; 4] =
        [ChangeKind::Modified, ChangeKind::Added, ChangeKind::Deleted, ChangeKind::Renamed];

    /// The name in the `kind` column.
    pub fn as_str(self) -> &'static str {
        match self {
            ChangeKind::Modified => "modified",
            ChangeKind::Added => "added",
            ChangeKind::Deleted => "deleted",
            ChangeKind::Renamed => "renamed",
        }
    }
}

/// One row, in column order, borrowed from where it was read. `docs/schema.md` says what each column means.
///
/// The first ten after `id` are CommitPack's, with its meaning. Times are seconds since 1970, zones minutes east of UTC.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
#[allow(missing_docs)]
pub struct Sample<'a> {
    pub id: &'a str,
    pub commit: &'a str,
    pub old_file: Option<&'a str>,
    pub new_file: Option<&'a str>,
    pub old_contents: Option<&'a str>,
    pub new_contents: Option<&'a str>,
    pub subject: &'a str,
    pub message: &'a str,
    pub lang: &'a str,
    pub license: Option<&'a str>,
    pub repos: &'a str,
    pub diff: &'a str,
    pub parent: Option<&'a str>,
    pub kind: &'a str,
    pub files_changed: u32,
    pub additions: u32,
    pub deletions: u32,
    pub old_blob: Option<&'a str>,
    pub new_blob: Option<&'a str>,
    pub old_encoding: Option<&'a str>,
    pub new_encoding: Option<&'a str>,
    pub message_encoding: &'a str,
    pub author_time: Option<i64>,
    pub author_zone: Option<i32>,
    pub commit_time: Option<i64>,
    pub commit_zone: Option<i32>,
    pub author_kind: &'a str,
    pub author_label: Option<&'a str>,
    pub reverts: Vec<&'a str>,
    pub reverts_subject: Option<&'a str>,
    pub author_name: Option<&'a str>,
    pub author_email: Option<&'a str>,
    pub committer_name: Option<&'a str>,
    pub committer_email: Option<&'a str>,
    pub language: Option<&'a str>,
    pub license_spdx: Option<&'a str>,
    pub license_path: Option<&'a str>,
    pub license_method: Option<&'a str>,
    pub license_confidence: Option<f64>,
    pub message_language: Option<&'a str>,
    pub message_script: Option<&'a str>,
    pub message_language_confidence: Option<f64>,
    pub vendored: Option<bool>,
    pub generated: Option<&'a str>,
    pub files_modified: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_fixed_and_tell_fields_apart() {
        let id = SampleId::of(&[1; 20], Some(b"a"), Some(b"a"));
        assert_eq!(id.to_hex(), "c8626a6f6659c17734d18e6374e925bd");
        let others = [
            SampleId::of(&[1; 20], None, Some(b"a")),
            SampleId::of(&[1; 20], Some(b"a"), None),
            SampleId::of(&[1; 20], Some(b""), Some(b"aa")),
            SampleId::of(&[2; 20], Some(b"a"), Some(b"a")),
        ];
        for (i, other) in others.iter().enumerate() {
            assert_ne!(id, *other, "case {i}");
        }
    }
}
