//! What became of every candidate: kept, dropped by a rule, or skipped for a reason. Owns the funnel's arithmetic.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Why a commit or a change could not become a row, whatever the rules say.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Skip {
    /// Commit: it has more than one parent.
    Merge,
    /// Commit: the parent lies beyond the edge of a shallow clone, so what it changed can't be known.
    ShallowBoundary,
    /// Commit: its commit time lies outside `--since` and `--until`.
    OutsideWindow,
    /// Commit: its tree equals its parent's.
    NoChange,
    /// Commit: every change of it was dropped or skipped.
    NoChangeKept,
    /// Commit: it changes more paths than the limit.
    TooManyChanges,
    /// Both: an object that is needed is not in the repository.
    MissingObject,
    /// Both: an object can't be decoded.
    CorruptObject,
    /// Both: the message or the contents are text in no encoding that decodes without loss.
    UndecodableText,
    /// Change: the message of its commit is longer than 64 KiB.
    MessageTooLong,
    /// Change: the kind was not asked for.
    KindModified,
    /// Change: the kind was not asked for.
    KindAdded,
    /// Change: the kind was not asked for.
    KindDeleted,
    /// Change: the kind was not asked for.
    KindRenamed,
    /// Change: one side is a symbolic link.
    Symlink,
    /// Change: one side is a submodule.
    Submodule,
    /// Change: only the file mode differs.
    ModeOnly,
    /// Change: one side is a Git LFS pointer.
    LfsPointer,
    /// Change: one side is binary by git's rule (a NUL among the first 8,000 bytes).
    Binary,
    /// Change: one side is larger than `--blob-bytes-max`.
    TooLarge,
    /// Change: the path is not UTF-8.
    PathNotUtf8,
    /// Change: the path is longer than 4,096 bytes or nested deeper than 256 directories.
    PathTooLong,
}

impl Skip {
    /// The name in reports, the same as in manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Skip::Merge => "merge",
            Skip::ShallowBoundary => "shallow_boundary",
            Skip::OutsideWindow => "outside_window",
            Skip::NoChange => "no_change",
            Skip::NoChangeKept => "no_change_kept",
            Skip::TooManyChanges => "too_many_changes",
            Skip::MissingObject => "missing_object",
            Skip::CorruptObject => "corrupt_object",
            Skip::UndecodableText => "undecodable_text",
            Skip::MessageTooLong => "message_too_long",
            Skip::KindModified => "kind_modified",
            Skip::KindAdded => "kind_added",
            Skip::KindDeleted => "kind_deleted",
            Skip::KindRenamed => "kind_renamed",
            Skip::Symlink => "symlink",
            Skip::Submodule => "submodule",
            Skip::ModeOnly => "mode_only",
            Skip::LfsPointer => "lfs_pointer",
            Skip::Binary => "binary",
            Skip::TooLarge => "too_large",
            Skip::PathNotUtf8 => "path_not_utf8",
            Skip::PathTooLong => "path_too_long",
        }
    }
}

/// Counts of one unit (commits or changes). `candidates` always equals everything else added up.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Everything that was looked at.
    pub candidates: u64,
    /// What became a row (for commits: at least one row).
    pub kept: u64,
    /// What a rule dropped, by rule id.
    pub dropped: BTreeMap<String, u64>,
    /// What could not become a row, by reason.
    pub skipped: BTreeMap<Skip, u64>,
}

impl Counts {
    /// Whether something is missing or damaged, so that what is behind it was not seen.
    pub fn has_lost_objects(&self) -> bool {
        [Skip::MissingObject, Skip::CorruptObject].iter().any(|reason| self.skipped.contains_key(reason))
    }

    /// Counts one kept candidate.
    pub fn keep(&mut self) {
        self.candidates += 1;
        self.kept += 1;
    }

    /// Counts one skipped candidate.
    pub fn skip(&mut self, reason: Skip) {
        self.skip_many(reason, 1);
    }

    /// Counts one candidate that a rule dropped.
    pub fn drop_by(&mut self, rule: &str) {
        self.candidates += 1;
        match self.dropped.get_mut(rule) {
            Some(n) => *n += 1,
            None => {
                self.dropped.insert(rule.to_owned(), 1);
            }
        }
    }

    /// Counts `n` skipped candidates.
    pub fn skip_many(&mut self, reason: Skip, n: u64) {
        if n > 0 {
            self.candidates += n;
            *self.skipped.entry(reason).or_default() += n;
        }
    }

    /// Adds the counts of another part of the same unit.
    pub fn add(&mut self, other: &Counts) {
        self.candidates += other.candidates;
        self.kept += other.kept;
        for (rule, n) in &other.dropped {
            *self.dropped.entry(rule.clone()).or_default() += n;
        }
        for (reason, n) in &other.skipped {
            *self.skipped.entry(*reason).or_default() += n;
        }
    }

    /// Whether candidates = kept + dropped + skipped.
    pub fn adds_up(&self) -> bool {
        self.candidates == self.kept + self.dropped.values().sum::<u64>() + self.skipped.values().sum::<u64>()
    }
}

/// The account of a repository, a segment or a store, in both units.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Funnel {
    /// In commits reachable from the mined tips.
    pub commits: Counts,
    /// In changed paths of the commits that were compared with their parent.
    pub changes: Counts,
}

impl Funnel {
    /// Adds another account to this one.
    pub fn add(&mut self, other: &Funnel) {
        self.commits.add(&other.commits);
        self.changes.add(&other.changes);
    }

    /// Whether both units add up.
    pub fn adds_up(&self) -> bool {
        self.commits.adds_up() && self.changes.adds_up()
    }
}

/// Rows in which something was masked, and how much.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Rows that have one.
    pub rows: u64,
    /// Different values in a row, summed over rows.
    pub values: u64,
}

impl Tally {
    /// Counts a row with so many values.
    pub fn see(&mut self, values: u64) {
        self.rows += 1;
        self.values += values;
    }
}

/// The account of what was masked in rows.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Masked {
    /// Rows in which anything was masked.
    pub rows: u64,
    /// By kind of value.
    pub kinds: BTreeMap<String, Tally>,
    /// Secrets by the rule that found them.
    pub secrets: BTreeMap<String, Tally>,
}

impl Masked {
    /// Adds the account of other rows.
    pub fn add(&mut self, other: &Masked) {
        self.rows += other.rows;
        for (to, from) in [(&mut self.kinds, &other.kinds), (&mut self.secrets, &other.secrets)] {
            for (name, tally) in from {
                let sum = to.entry(name.clone()).or_default();
                (sum.rows, sum.values) = (sum.rows + tally.rows, sum.values + tally.values);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_candidate_shows() {
        let mut funnel = Funnel::default();
        funnel.changes.keep();
        funnel.changes.skip(Skip::Binary);
        assert!(funnel.adds_up());
        funnel.changes.candidates += 1;
        assert!(!funnel.adds_up());
    }
}
