//! What is noted of every commit of a walk, for questions about its history that come when the walk is done.

use std::hash::BuildHasher as _;

use gix::ObjectId;
use hashbrown::HashMap;

use crate::{classify::message::plain_subject, git::commit::Commit};

/// A commit of a walk.
pub struct Noted {
    /// The first parent.
    pub parent: Option<ObjectId>,
    /// The others.
    others: Box<[ObjectId]>,
    /// A hash of the subject; none where the message has to be decoded for it.
    subject: Option<u64>,
}

impl Noted {
    /// The parents, in order.
    pub fn parents(&self) -> impl Iterator<Item = ObjectId> {
        self.parent.into_iter().chain(self.others.iter().copied())
    }

    /// Whether its subject, as [`plain_subject`] gives it, may have this [`Ancestry::hash`].
    pub fn may_say(&self, hash: u64) -> bool {
        self.subject.is_none_or(|subject| subject == hash)
    }
}

/// The commits of a walk. Who goes through them again reads no object twice.
#[derive(Default)]
pub struct Ancestry {
    commits: HashMap<ObjectId, Noted>,
}

impl Ancestry {
    /// Looks at the commit `id`.
    pub fn see(&mut self, id: ObjectId, commit: &Commit<'_>) {
        let text = Some(commit.said.message).filter(|_| commit.said.encoding.is_none());
        let text = text.and_then(|message| std::str::from_utf8(message).ok());
        let subject = text.map(|text| self.hash(plain_subject(text)));
        let mut parents = commit.parents.iter().copied();
        let noted = Noted { parent: parents.next(), others: parents.collect(), subject };
        self.commits.insert(id, noted);
    }

    /// An empty one for another part of the same walk.
    pub fn part(&self) -> Self {
        Ancestry { commits: HashMap::with_hasher(self.commits.hasher().clone()) }
    }

    /// Adds the commits of a part.
    pub fn add(&mut self, mut other: Ancestry) {
        if self.commits.len() < other.commits.len() {
            std::mem::swap(self, &mut other);
        }
        self.commits.extend(other.commits);
    }

    /// All commits, in no order.
    pub fn commits(&self) -> &HashMap<ObjectId, Noted> {
        &self.commits
    }

    /// A hash of a subject, of this ancestry and its parts alone.
    pub fn hash(&self, subject: &str) -> u64 {
        self.commits.hasher().hash_one(subject)
    }
}
