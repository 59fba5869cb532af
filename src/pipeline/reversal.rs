//! Which commits take others back, or bring them back: noted while commits are walked, since rulesets drop such commits,
//! and linked when a store is assembled, since the other one may be of another branch or repository.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, Ordering},
};

use gix::{ObjectId, hash::Prefix};
use serde::{Deserialize, Serialize};

use super::ancestry::{Ancestry, Noted};
use crate::{
    classify::message::{self, Said},
    git::{self, commit::Commit, repository::Repository, text, walk::find_back},
    store::{Checkpoint, Reversal},
};

/// A commit that is named by its subject or the start of its id is looked for among so many before the one that names
/// it. Of the 157 reverts in git's own history that name an id in full, half undo one of the 100 commits before them, and
/// nine in ten one of 3,628.
const COMMITS_BACK_MAX: usize = 1000;

/// Digits of a SHA-1 in hexadecimal.
const ID_DIGITS_MIN: usize = 40;

/// Commits of a walk that say so.
#[derive(Default)]
pub struct Reversals {
    found: BTreeMap<ObjectId, (i64, Said)>,
}

impl Reversals {
    /// Looks at the commit `id`.
    pub fn see(&mut self, id: ObjectId, commit: &Commit<'_>) {
        if !message::may_reverse(commit.said.message) {
            return;
        }
        let Ok(decoded) =
            text::decode_message(commit.said.message, commit.said.encoding.and_then(text::named_encoding))
        else {
            return;
        };
        let said = message::reversal(&decoded.text);
        if said != Said::default() {
            self.found.insert(id, (commit.said.committer.time.unwrap_or(0), said));
        }
    }

    /// Adds what `other` has seen.
    pub fn add(&mut self, other: Reversals) {
        self.found.extend(other.found);
    }

    /// Finds the commits that are meant. An id in full is taken as it is, also where this repository lacks it. `ancestry` is of
    /// the walk that they were noted in.
    ///
    /// # Errors
    /// An interruption: a history may be full of commits that name others, and one may name very many.
    pub fn resolve(
        self,
        repository: &Repository,
        ancestry: &Ancestry,
        interrupt: &AtomicBool,
    ) -> Result<Vec<Reversal>, git::Error> {
        let search = Search { repository, ancestry, interrupt };
        let mut reversals = Vec::new();
        for (id, (time, said)) in self.found {
            let reverts = search.find(id, &said.reverts, said.reverts_subject.as_deref())?;
            let relands = search.find(id, &said.relands, said.relands_subject.as_deref())?;
            if !reverts.is_empty() || !relands.is_empty() {
                reversals.push(Reversal { commit: id.to_string(), time, reverts, relands });
            }
        }
        Ok(reversals)
    }
}

/// Searches for commits that others name.
struct Search<'a> {
    repository: &'a Repository,
    ancestry: &'a Ancestry,
    interrupt: &'a AtomicBool,
}

impl Search<'_> {
    /// The commits that `own` names by these ids or the first digits of them, or where there is none, by this subject.
    fn find(&self, own: ObjectId, ids: &[String], subject: Option<&str>) -> Result<Vec<String>, git::Error> {
        self.go_on()?;
        let is_whole = |name: &&String| name.len() >= ID_DIGITS_MIN;
        let mut found: Vec<String> = ids.iter().filter(is_whole).cloned().collect();
        let starts = ids.iter().filter(|name| !is_whole(name)).filter_map(|start| Prefix::from_hex(start).ok());
        for start in starts {
            self.go_on()?;
            found.extend(self.by_start(own, start).map(|id| id.to_string()));
        }
        if found.is_empty() {
            found.extend(subject.and_then(|subject| self.by_subject(own, subject)).map(|id| id.to_string()));
        }
        let own = own.to_string();
        found.retain(|other| *other != own);
        Ok(found)
    }

    fn go_on(&self) -> Result<(), git::Error> {
        if self.interrupt.load(Ordering::Relaxed) { Err(git::Error::Interrupted) } else { Ok(()) }
    }

    fn by_start(&self, own: ObjectId, start: Prefix) -> Option<ObjectId> {
        let begins = |other: &ObjectId| start.cmp_oid(other).is_eq();
        self.back(own, &|other, _| begins(other), &mut |other, _| begins(&other))
    }

    fn by_subject(&self, own: ObjectId, wanted: &str) -> Option<ObjectId> {
        let hash = self.ancestry.hash(wanted);
        self.back(own, &|_, noted| noted.may_say(hash), &mut |other, commit| {
            let said =
                || text::decode_message(commit.said.message, commit.said.encoding.and_then(text::named_encoding));
            other != own && said().is_ok_and(|said| message::plain_subject(&said.text) == wanted)
        })
    }

    /// Searches backwards from `own`. Only commits that `may_be` wanted, as far as their ancestry tells, are read again.
    fn back(
        &self,
        own: ObjectId,
        may_be: &dyn Fn(&ObjectId, &Noted) -> bool,
        is_wanted: &mut dyn FnMut(ObjectId, &Commit<'_>) -> bool,
    ) -> Option<ObjectId> {
        let passed = |id: &ObjectId| self.ancestry.commits().get(id).filter(|noted| !may_be(id, noted));
        let parents = |id: &ObjectId| passed(id).map(|noted| noted.parents().collect());
        find_back(self.repository, own, COMMITS_BACK_MAX, &parents, is_wanted)
    }
}

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkKind {
    /// It was taken back.
    Reverted,
    /// It was brought back after that.
    Relanded,
}

/// What `by` did to `commit`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Link {
    /// The commit id.
    pub commit: String,
    /// The commit time of `by` in seconds since 1970.
    pub time: i64,
    /// What became of it.
    pub kind: LinkKind,
    /// The commit that did it.
    pub by: String,
}

/// The links that `checkpoints` know of, sorted, each once. A commit that reverts a revert brings back what that took
/// back, whether it says so or not.
pub fn links<'a>(checkpoints: impl Iterator<Item = &'a Checkpoint>) -> BTreeSet<Link> {
    let all: BTreeMap<&str, &Reversal> =
        checkpoints.flat_map(|c| &c.reversals).map(|reversal| (reversal.commit.as_str(), reversal)).collect();
    let mut links = BTreeSet::new();
    for reversal in all.values() {
        let link = |commit: &str, kind| Link {
            commit: commit.to_owned(),
            time: reversal.time,
            kind,
            by: reversal.commit.clone(),
        };
        links.extend(reversal.relands.iter().map(|commit| link(commit, LinkKind::Relanded)));
        for commit in &reversal.reverts {
            links.insert(link(commit, LinkKind::Reverted));
            let Some(earlier) = all.get(commit.as_str()) else { continue };
            links.extend(earlier.reverts.iter().map(|original| link(original, LinkKind::Relanded)));
            // Who takes back what brought something back, takes that back again.
            let of_reverts = earlier.reverts.iter().filter_map(|id| all.get(id.as_str())).flat_map(|r| &r.reverts);
            links.extend(earlier.relands.iter().chain(of_reverts).map(|original| link(original, LinkKind::Reverted)));
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interruption_ends_the_search() {
        let directory = tempfile::TempDir::new().expect("a directory");
        gix::init_bare(directory.path()).expect("a repository");
        let repository = Repository::open(directory.path()).expect("it can be opened");
        let reverts = vec!["0123456789012345678901234567890123456789".to_owned()];
        let id = ObjectId::null(gix::hash::Kind::Sha1);
        let resolve = |interrupted| {
            let found = BTreeMap::from([(id, (5, Said { reverts: reverts.clone(), ..Said::default() }))]);
            Reversals { found }.resolve(&repository, &Ancestry::default(), &AtomicBool::new(interrupted))
        };
        let expected = Reversal { commit: id.to_string(), time: 5, reverts: reverts.clone(), relands: Vec::new() };
        assert_eq!(resolve(false).expect("nobody interrupts"), [expected]);
        assert!(matches!(resolve(true), Err(git::Error::Interrupted)));
    }
}
