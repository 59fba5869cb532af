//! Forks that are attached to their root: what such a fork leaves out since its root has it, and whether the root still has it.
//! Owns no file; what is said here stands in checkpoints.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::Checkpoint;

/// Where a history began that later batches only continue: no commit that it reached is missing in those.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// The generation of its first batch.
    pub generation: u32,
    /// The tips of that.
    pub tips: Vec<String>,
}

/// What a fork leaves out: all that its root was mined up to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Behind {
    /// The root's identity.
    pub root: String,
    /// Where the root's history began that was mined then.
    pub begin: Begin,
    /// How many commits of it were mined.
    pub commits: u64,
    /// The tips up to which it was.
    pub tips: Vec<String>,
}

impl Behind {
    /// Whether the root, of which `batches` are visible, still has all that is left out. A history that was begun anew may not.
    pub fn holds(&self, batches: &[Checkpoint]) -> bool {
        Behind::of(batches)
            .is_some_and(|now| (&now.root, &now.begin) == (&self.root, &self.begin) && now.commits >= self.commits)
    }

    /// What is left out behind a repository of which `batches` are visible; none where nothing of it is mined.
    pub fn of(batches: &[Checkpoint]) -> Option<Behind> {
        let (first, last) = (batches.first()?, batches.last()?);
        let begin = first.begin.clone();
        Some(Behind {
            root: last.repository.identity.clone(),
            begin: begin.unwrap_or_else(|| Begin { generation: first.generation, tips: first.tips.clone() }),
            commits: batches.iter().map(|batch| batch.funnel.commits.candidates).sum(),
            tips: last.tips.clone(),
        })
    }
}

/// Which repositories of a store are attached to which.
pub struct Attached<'a> {
    /// The roots of those that name one, which the store may not have.
    roots: HashMap<&'a str, Option<&'a str>>,
}

impl<'a> Attached<'a> {
    /// Of all that `batches` are of.
    pub fn new(batches: impl Iterator<Item = &'a Checkpoint>) -> Self {
        let of = |batch: &'a Checkpoint| (batch.repository.identity.as_str(), batch.repository.root.as_deref());
        Attached { roots: batches.map(of).collect() }
    }

    /// The root of a repository: one of the store, which is not attached to another.
    pub fn root(&self, identity: &str) -> Option<&'a str> {
        let root = self.roots.get(identity).copied().flatten()?;
        (root != identity && self.roots.get(root) == Some(&None)).then_some(root)
    }

    /// Takes out of `owners`, repositories that have a row, the forks whose root has it as well.
    pub fn without_forks<T>(&self, owners: &mut Vec<T>, identity: impl Fn(&T) -> &str) {
        let is_there = |root: &str| owners.iter().any(|owner| identity(owner) == root);
        let stays: Vec<bool> =
            owners.iter().map(|owner| self.root(identity(owner)).is_none_or(|root| !is_there(root))).collect();
        let mut stays = stays.into_iter();
        owners.retain(|_| stays.next().unwrap_or(true));
    }
}

/// The names of forks that leave out what their root may have no more, of all visible `batches` of a store in order.
pub fn incomplete(batches: &[Checkpoint]) -> Vec<&str> {
    let repositories: Vec<&[Checkpoint]> =
        batches.chunk_by(|a, b| a.repository.identity == b.repository.identity).collect();
    let of = |identity: &str| repositories.iter().find(|batches| batches[0].repository.identity == identity).copied();
    let is_incomplete = |last: &&Checkpoint| {
        last.behind.as_ref().is_some_and(|behind| {
            last.repository.root.as_ref() != Some(&behind.root) || !behind.holds(of(&behind.root).unwrap_or_default())
        })
    };
    let newest = repositories.iter().filter_map(|batches| batches.last());
    newest.filter(is_incomplete).map(|last| &*last.repository.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forks_yield_to_a_root_that_is_there_and_has_no_root() {
        let roots: HashMap<&str, Option<&str>> = [
            ("root", None),
            ("fork", Some("root")),
            ("other", Some("root")),
            ("self", Some("self")),
            ("stray", Some("absent")),
            ("chain", Some("fork")),
            ("this", Some("that")),
            ("that", Some("this")),
        ]
        .into();
        let attached = Attached { roots };
        for (owners, expected) in [
            (vec!["root", "fork"], vec!["root"]),
            (vec!["fork", "other", "root"], vec!["root"]),
            (vec!["fork", "other"], vec!["fork", "other"]),
            (vec!["self", "root"], vec!["self", "root"]),
            (vec!["stray", "root"], vec!["stray", "root"]),
            (vec!["chain", "fork"], vec!["chain", "fork"]),
            (vec!["this", "that"], vec!["this", "that"]),
        ] {
            let mut left = owners.clone();
            attached.without_forks(&mut left, |owner| owner);
            assert_eq!(left, expected, "{owners:?}");
        }
    }
}
