//! What a commit changes: two trees walked side by side, in git's order, reading only the subtrees that differ.
//!
//! A subtree that is missing or damaged is one skipped change; everything beside it is still compared.

use std::{
    rc::Rc,
    sync::atomic::{AtomicBool, Ordering},
};

use gix::ObjectId;

use super::{
    blobs::ReadError,
    repository::Objects,
    trees::{Entry, Mode, Tree, Trees},
};
use crate::{
    sample::ChangeKind,
    verdict::{Counts, Skip},
};

/// Longest path in bytes, Linux' PATH_MAX; a longer one can't be checked out either.
const PATH_BYTES_MAX: usize = 4096;

/// Deepest nesting of directories. Real trees stay below 40; a chain of trees that a hostile repository nests without
/// end costs stack and time.
const DEPTH_MAX: usize = 256;

/// Most directories that one commit may change. The largest trees have some ten thousand in all.
const DIRECTORIES_MAX: usize = 1_000_000;

/// A file's mode and id on one side of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File {
    /// Whether the executable bit is set.
    pub executable: bool,
    /// The blob.
    pub id: ObjectId,
}

/// A change between regular files that can become a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The path before, where it differs from `path`: a rename.
    pub old_path: Option<Box<[u8]>>,
    /// The path after; for a deletion the path before.
    pub path: Box<[u8]>,
    /// What happened.
    pub kind: ChangeKind,
    /// The file before.
    pub old: Option<File>,
    /// The file after.
    pub new: Option<File>,
    /// Of a rename: how much of the larger file is in both.
    pub similarity_percent: u8,
    /// Position of the directory that it is in, in [`Changes::directories`].
    pub directory: u32,
}

/// What a commit changes.
#[derive(Debug, Default)]
pub struct Changes {
    /// Changes between regular files, in path order.
    pub regular: Vec<Change>,
    /// The account of all the others.
    pub skipped: Counts,
    /// How many of all changed paths hold no directory before nor after, and are there both times.
    pub modified: u32,
    /// The directories that were compared, each after its parent; the first is the root.
    pub directories: Vec<Directory>,
}

/// A directory at the commit (of one that the commit removes: before it), with the files in it that were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Directory {
    /// Position of the directory that it is in.
    pub parent: Option<u32>,
    /// Its path, without a slash at the end; empty for the root.
    pub path: Box<[u8]>,
    /// Names and ids of the entries that are notable to [`Trees`], in tree order: regular files, directories, whose
    /// names end in a slash, and symbolic links, whose names end in a zero.
    pub notable: Vec<(Box<[u8]>, ObjectId)>,
}

impl Changes {
    /// Number of changed paths, whatever became of them.
    pub fn len(&self) -> usize {
        self.regular.len() + usize::try_from(self.skipped.candidates).unwrap_or(usize::MAX)
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Compares trees, for one thread.
pub struct TreeDiff<'a> {
    trees: &'a mut Trees,
    changes_max: usize,
    interrupt: &'a AtomicBool,
    path: Vec<u8>,
    changes: Changes,
    /// Position of the directory that is being compared.
    directory: u32,
}

impl<'a> TreeDiff<'a> {
    /// A comparison that gives up on commits of more than `changes_max` changed paths. In every directory that it
    /// compares it also lists the entries that are notable to `trees`. After an interruption it gives up on everything;
    /// the caller has to look at `interrupt` itself.
    pub fn new(trees: &'a mut Trees, changes_max: usize, interrupt: &'a AtomicBool) -> Self {
        let (path, changes) = (Vec::new(), Changes::default());
        TreeDiff { trees, changes_max, interrupt, path, changes, directory: 0 }
    }

    /// The objects that the trees come from.
    pub fn objects(&self) -> &Objects {
        self.trees.objects()
    }

    /// What turns the tree `old` (none: the empty tree) into the tree `new`.
    ///
    /// # Errors
    /// One of the two trees can't be read, or there are too many changes.
    pub fn compare(&mut self, old: Option<ObjectId>, new: ObjectId) -> Result<Changes, Skip> {
        self.path.clear();
        self.changes = Changes::default();
        let (old, new) = self.two(old, Some(new)).map_err(ReadError::skip)?;
        self.merge(&old, &new, None, 0)?;
        Ok(std::mem::take(&mut self.changes))
    }

    /// The root directory of a tree, with its notable files; without any where the tree can't be read.
    pub fn root(&mut self, tree: ObjectId) -> Directory {
        let notable = self.trees.get(tree, None).map(|tree| tree.notable()).unwrap_or_default();
        Directory { notable, ..Directory::default() }
    }

    /// The trees before and after; one that is not there is empty.
    fn two(&mut self, old: Option<ObjectId>, new: Option<ObjectId>) -> Result<(Rc<Tree>, Rc<Tree>), ReadError> {
        let empty = self.trees.empty();
        let last = self.trees.last(&self.path);
        let before = old.map(|id| self.trees.get(id, last.as_deref())).transpose()?;
        let known = before.as_ref().or(last.as_ref()).map(Rc::clone);
        let after = new.map(|id| self.trees.get(id, known.as_deref())).transpose()?;
        if let Some(tree) = after.as_ref().or(before.as_ref()) {
            self.trees.note(&self.path, tree);
        }
        let [old, new] = [before, after].map(|tree| tree.unwrap_or_else(|| Rc::clone(&empty)));
        Ok((old, new))
    }

    fn merge(&mut self, old: &Tree, new: &Tree, parent: Option<u32>, depth: usize) -> Result<(), Skip> {
        let here = u32::try_from(self.changes.directories.len()).unwrap_or(u32::MAX);
        let path = self.path.as_slice().into();
        let notable = if new.len() == 0 { old.notable() } else { new.notable() };
        self.changes.directories.push(Directory { parent, path, notable });
        (0..old.damage + new.damage).for_each(|_| self.changes.skipped.skip(Skip::CorruptObject));
        let result = self.merge_entries(old, new, here, depth);
        self.directory = parent.unwrap_or(0);
        result
    }

    fn merge_entries(&mut self, old: &Tree, new: &Tree, here: u32, depth: usize) -> Result<(), Skip> {
        let (mut at, mut from) = (0, 0);
        loop {
            let same = old.same_entries(at, new, from);
            (at, from) = (at + same, from + same);
            self.directory = here;
            match (old.entry(at), new.entry(from)) {
                (None, None) => return Ok(()),
                (Some(l), Some(r)) if l.same_name(&r) => {
                    if l.id != r.id || l.mode != r.mode {
                        self.pair(Some(l), Some(r), depth)?;
                    }
                    (at, from) = (at + 1, from + 1);
                }
                (Some(l), r) if r.is_none_or(|r| l.before(&r)) => {
                    self.pair(Some(l), None, depth)?;
                    at += 1;
                }
                (_, Some(r)) => {
                    self.pair(None, Some(r), depth)?;
                    from += 1;
                }
                (Some(_), None) => unreachable!("an entry alone on the left is before nothing on the right"),
            }
        }
    }

    fn pair(&mut self, old: Option<Entry<'_>>, new: Option<Entry<'_>>, depth: usize) -> Result<(), Skip> {
        let Some(name) = old.or(new).map(|entry| entry.name) else { return Ok(()) };
        let path_len = self.path.len();
        if path_len > 0 {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name);
        let is_tree = old.or(new).is_some_and(|entry| entry.mode == Mode::Tree);
        let result = if self.path.len() > PATH_BYTES_MAX || depth > DEPTH_MAX {
            self.changes.skipped.skip(Skip::PathTooLong);
            Ok(())
        } else if is_tree {
            self.subtree(old, new, depth)
        } else {
            self.leaf(old, new);
            Ok(())
        };
        self.path.truncate(path_len);
        result?;
        // A few objects can spell out trees without end that hold no file at all.
        if self.changes.len() > self.changes_max
            || self.changes.directories.len() > DIRECTORIES_MAX
            || self.interrupt.load(Ordering::Relaxed)
        {
            Err(Skip::TooManyChanges)
        } else {
            Ok(())
        }
    }

    fn subtree(&mut self, old: Option<Entry<'_>>, new: Option<Entry<'_>>, depth: usize) -> Result<(), Skip> {
        match self.two(old.map(|entry| entry.id), new.map(|entry| entry.id)) {
            Ok((old, new)) => self.merge(&old, &new, Some(self.directory), depth + 1),
            Err(error) => {
                self.changes.skipped.skip(error.skip());
                Ok(())
            }
        }
    }

    fn leaf(&mut self, old: Option<Entry<'_>>, new: Option<Entry<'_>>) {
        self.changes.modified += u32::from(old.is_some() && new.is_some());
        let modes = [old, new].map(|entry| entry.map(|entry| entry.mode));
        let skip = if modes.contains(&Some(Mode::Submodule)) {
            Some(Skip::Submodule)
        } else if modes.contains(&Some(Mode::Symlink)) {
            Some(Skip::Symlink)
        } else if let (Some(old), Some(new)) = (old, new)
            && old.id == new.id
        {
            Some(Skip::ModeOnly)
        } else {
            None
        };
        if let Some(skip) = skip {
            return self.changes.skipped.skip(skip);
        }
        let kind = match (old, new) {
            (Some(_), Some(_)) => ChangeKind::Modified,
            (None, _) => ChangeKind::Added,
            (_, None) => ChangeKind::Deleted,
        };
        let file =
            |entry: Entry<'_>| File { executable: entry.mode == Mode::Regular { executable: true }, id: entry.id };
        self.changes.regular.push(Change {
            old_path: None,
            path: self.path.as_slice().into(),
            kind,
            old: old.map(file),
            new: new.map(file),
            similarity_percent: 0,
            directory: self.directory,
        });
    }
}
