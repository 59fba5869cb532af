//! What a commit changes: two trees walked side by side, in git's order, reading only the subtrees that differ.
//!
//! A subtree that is missing or damaged is one skipped change; everything beside it is still compared.

use std::sync::atomic::{AtomicBool, Ordering};

use gix::{ObjectId, hash::Kind as HashKind, objs::Kind};

use super::{
    blobs::{ReadError, read},
    repository::Objects,
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
    /// Names and ids of the entries that [`TreeDiff`]'s `notable` takes, in tree order: regular files, and directories,
    /// whose names end in a slash.
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
    objects: &'a Objects,
    hash: HashKind,
    changes_max: usize,
    notable: fn(&[u8], bool) -> bool,
    interrupt: &'a AtomicBool,
    path: Vec<u8>,
    changes: Changes,
    /// Position of the directory that is being compared.
    directory: u32,
}

/// git's canonical modes (`canon_mode` in git's cache.h).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Tree,
    Regular { executable: bool },
    Symlink,
    Submodule,
}

#[derive(Clone, Copy)]
struct Entry<'t> {
    name: &'t [u8],
    mode: Mode,
    id: ObjectId,
}

impl<'a> TreeDiff<'a> {
    /// A comparison that gives up on commits of more than `changes_max` changed paths. In every directory that it
    /// compares it also lists the entries whose name is `notable`; the second argument of that is whether it is a
    /// directory's. After an interruption it gives up on everything; the
    /// caller has to look at `interrupt` itself.
    pub fn new(
        objects: &'a Objects,
        hash: HashKind,
        changes_max: usize,
        notable: fn(&[u8], bool) -> bool,
        interrupt: &'a AtomicBool,
    ) -> Self {
        let (path, changes) = (Vec::new(), Changes::default());
        TreeDiff { objects, hash, changes_max, notable, interrupt, path, changes, directory: 0 }
    }

    /// What turns the tree `old` (none: the empty tree) into the tree `new`.
    ///
    /// # Errors
    /// One of the two trees can't be read, or there are too many changes.
    pub fn compare(&mut self, old: Option<ObjectId>, new: ObjectId) -> Result<Changes, Skip> {
        self.path.clear();
        self.changes = Changes::default();
        let (old, new) = match (old.map(|id| self.tree(id)).transpose(), self.tree(new)) {
            (Ok(old), Ok(new)) => (old.unwrap_or_default(), new),
            (Err(error), _) | (_, Err(error)) => return Err(error.skip()),
        };
        self.merge(&old, &new, None, 0)?;
        Ok(std::mem::take(&mut self.changes))
    }

    /// The root directory of a tree, with its notable files; without any where the tree can't be read.
    pub fn root(&mut self, tree: ObjectId) -> Directory {
        self.changes = Changes::default();
        self.changes.directories.push(Directory::default());
        let bytes = self.tree(tree).unwrap_or_default();
        let mut rest = bytes.as_slice();
        while let Some(entry) = self.next(&mut rest) {
            self.note(Some(entry), 0);
        }
        std::mem::take(&mut self.changes).directories.swap_remove(0)
    }

    fn tree(&self, id: ObjectId) -> Result<Vec<u8>, ReadError> {
        let mut buffer = Vec::new();
        if !id.is_empty_tree() {
            read(self.objects, id, Kind::Tree, &mut buffer)?;
        }
        Ok(buffer)
    }

    fn merge(&mut self, old: &[u8], new: &[u8], parent: Option<u32>, depth: usize) -> Result<(), Skip> {
        let here = u32::try_from(self.changes.directories.len()).unwrap_or(u32::MAX);
        let path = self.path.as_slice().into();
        self.changes.directories.push(Directory { parent, path, notable: Vec::new() });
        let result = self.merge_entries(old, new, here, depth);
        self.directory = parent.unwrap_or(0);
        result
    }

    fn merge_entries(&mut self, old: &[u8], new: &[u8], here: u32, depth: usize) -> Result<(), Skip> {
        let (mut old_rest, mut new_rest) = (old, new);
        let mut left = self.next(&mut old_rest);
        let mut right = self.next(&mut new_rest);
        loop {
            self.directory = here;
            // An entry may come by again while the other side catches up; `note` takes it once.
            self.note(if new.is_empty() { left } else { right }, here);
            match (left, right) {
                (None, None) => return Ok(()),
                (Some(l), Some(r)) if l.same_name(&r) => {
                    if l.id != r.id || l.mode != r.mode {
                        self.pair(Some(l), Some(r), depth)?;
                    }
                    left = self.next(&mut old_rest);
                    right = self.next(&mut new_rest);
                }
                (Some(l), r) if r.is_none_or(|r| l.before(&r)) => {
                    self.pair(Some(l), None, depth)?;
                    left = self.next(&mut old_rest);
                }
                (_, Some(r)) => {
                    self.pair(None, Some(r), depth)?;
                    right = self.next(&mut new_rest);
                }
                (Some(_), None) => unreachable!("an entry alone on the left is before nothing on the right"),
            }
        }
    }

    fn note(&mut self, entry: Option<Entry<'_>>, here: u32) {
        let Some(Entry { name, mode: mode @ (Mode::Regular { .. } | Mode::Tree), id }) = entry else { return };
        if (self.notable)(name, mode == Mode::Tree) {
            let notable = &mut self.changes.directories[here as usize].notable;
            let name = if mode == Mode::Tree { [name, b"/"].concat() } else { name.to_vec() };
            if notable.last().is_none_or(|(last, _)| **last != *name) {
                notable.push((name.into(), id));
            }
        }
    }

    /// The regular files that the tree `id` has itself, by name; none where it can't be read.
    pub fn files(objects: &Objects, hash: HashKind, id: ObjectId) -> Vec<(Vec<u8>, ObjectId)> {
        let mut buffer = Vec::new();
        let Ok(bytes) = read(objects, id, Kind::Tree, &mut buffer) else { return Vec::new() };
        let mut rest = bytes;
        let entries = std::iter::from_fn(|| parse_entry(&mut rest, hash));
        let files = entries.filter(|entry| matches!(entry.mode, Mode::Regular { .. }));
        files.map(|entry| (entry.name.to_vec(), entry.id)).collect()
    }

    /// The next entry. A damaged rest of a tree counts as one skipped change and ends the tree.
    fn next<'t>(&mut self, rest: &mut &'t [u8]) -> Option<Entry<'t>> {
        if rest.is_empty() {
            return None;
        }
        let entry = parse_entry(rest, self.hash);
        let Some(found) = entry else {
            *rest = &[];
            self.changes.skipped.skip(Skip::CorruptObject);
            return None;
        };
        // A name that comes twice would make two changes of one id. git reads the first when it looks for a path.
        while is_named(rest, found.name) {
            let mut behind = *rest;
            if !parse_entry(&mut behind, self.hash).is_some_and(|again| again.same_name(&found)) {
                break;
            }
            *rest = behind;
            self.changes.skipped.skip(Skip::CorruptObject);
        }
        entry
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
        let read = |entry: Option<Entry<'_>>| entry.map_or(Ok(Vec::new()), |entry| self.tree(entry.id));
        match (read(old), read(new)) {
            (Ok(old), Ok(new)) => self.merge(&old, &new, Some(self.directory), depth + 1),
            (Err(error), _) | (_, Err(error)) => {
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

impl Entry<'_> {
    /// A file and a directory of one name are two different entries, as for git.
    fn same_name(&self, other: &Self) -> bool {
        self.name == other.name && (self.mode == Mode::Tree) == (other.mode == Mode::Tree)
    }

    /// git's order of tree entries: a directory sorts as if its name ended in a slash.
    fn before(&self, other: &Self) -> bool {
        let slash = |entry: &Self| (entry.mode == Mode::Tree).then_some(&b'/');
        let key = |entry: &Self| entry.name.iter().chain(slash(entry)).copied().collect::<Vec<u8>>();
        let common = self.name.len().min(other.name.len());
        match self.name[..common].cmp(&other.name[..common]) {
            std::cmp::Ordering::Equal => key(self) < key(other),
            order => order.is_lt(),
        }
    }
}

/// Whether the entry at the start of `rest` has this name; cheaper than to parse it.
fn is_named(rest: &[u8], name: &[u8]) -> bool {
    let space = rest.iter().take(8).position(|byte| *byte == b' ');
    space.is_some_and(|space| rest[space + 1..].strip_prefix(name).is_some_and(|behind| behind.first() == Some(&0)))
}

fn parse_entry<'t>(rest: &mut &'t [u8], hash: HashKind) -> Option<Entry<'t>> {
    let bytes = *rest;
    let space = bytes.iter().take(8).position(|byte| *byte == b' ')?;
    let mode = bytes[..space].iter().try_fold(0u32, |mode, digit| match digit {
        b'0'..=b'7' => Some(mode * 8 + u32::from(digit - b'0')),
        _ => None,
    })?;
    let name_end = space + 1 + bytes[space + 1..].iter().position(|byte| *byte == 0)?;
    let name = &bytes[space + 1..name_end];
    let id_end = name_end + 1 + hash.len_in_bytes();
    let id = ObjectId::try_from(bytes.get(name_end + 1..id_end)?).ok()?;
    *rest = &bytes[id_end..];
    let mode = match mode & 0o170_000 {
        0o040_000 => Mode::Tree,
        0o100_000 => Mode::Regular { executable: mode & 0o100 != 0 },
        0o120_000 => Mode::Symlink,
        _ => Mode::Submodule,
    };
    (!name.is_empty()).then_some(Entry { name, mode, id })
}
