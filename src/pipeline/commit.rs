//! What a commit object says, decoded.

use std::borrow::Cow;

use gix::objs::Kind;

use crate::{
    git::{self, blobs::read, repository::Objects, text, walk::Commit},
    verdict::Skip,
};

/// Longest message in bytes that becomes a row. Every change of a commit repeats it, so a commit of many files with a
/// message of megabytes would fill a disk. CommitPackFT takes messages below 10,000 characters.
const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// What the commit object says, decoded.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The message.
    pub message: Cow<'a, str>,
    pub(super) message_encoding: &'static str,
    /// Who wrote the change.
    pub author: Person<'a>,
    /// Who made the commit.
    pub committer: Person<'a>,
}

/// A name, an address and a time.
#[derive(Clone, Debug)]
pub struct Person<'a> {
    /// The name.
    pub name: Cow<'a, str>,
    /// The address.
    pub email: Cow<'a, str>,
    /// Seconds since 1970.
    pub time: Option<i64>,
    pub(super) zone: Option<i32>,
}

impl<'a> Facts<'a> {
    pub(super) fn read(objects: &Objects, commit: &'a Commit, buffer: &'a mut Vec<u8>) -> Result<Self, Skip> {
        let bytes = match &commit.object {
            Some(bytes) => bytes,
            None => read(objects, commit.id, Kind::Commit, buffer).map_err(|e| e.skip())?,
        };
        // The walk has seen its tree and parents.
        let commit = git::commit::Said::parse(bytes);
        if commit.message.len() > MESSAGE_BYTES_MAX {
            return Err(Skip::MessageTooLong);
        }
        let named = commit.encoding.and_then(text::named_encoding);
        let decoded = text::decode_message(commit.message, named).map_err(|_| Skip::UndecodableText)?;
        // A name in no known encoding is no reason to lose the row.
        let named = if commit.encoding.is_some() { named } else { text::named_encoding(decoded.encoding.as_bytes()) };
        let decode = |bytes: &'a [u8]| match text::decode_message(bytes, named) {
            Ok(decoded) => decoded.text,
            Err(_) => String::from_utf8_lossy(bytes),
        };
        let person = |person: git::commit::Person<'a>| Person {
            name: decode(person.name),
            email: decode(person.email),
            time: person.time,
            zone: person.zone,
        };
        Ok(Facts {
            author: person(commit.author),
            committer: person(commit.committer),
            message_encoding: decoded.encoding,
            message: decoded.text,
        })
    }
}
