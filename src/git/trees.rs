//! Trees, decoded and taken apart once. The next version of a tree is mostly the same bytes, and what is the same is
//! not looked at again.

use std::{num::NonZeroUsize, rc::Rc};

use clru::{CLruCache, CLruCacheConfig, WeightScale};
use gix::{ObjectId, hash::Kind as HashKind, objs::Kind};
use hashbrown::{DefaultHashBuilder, HashMap};

use super::{
    blobs::{ReadError, read},
    decoder::{Contents, Decoder},
    repository::{Objects, Repository},
};
use crate::bytes::common_prefix;

/// Of what a thread may remember of objects, trees that were taken apart get one part in so many,
const TREES_PART: usize = 12;

/// and the last trees of directories.
const LAST_PART: usize = 12;

/// git's canonical modes (`canon_mode` in git's cache.h).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    Tree,
    Regular { executable: bool },
    Symlink,
    Submodule,
}

/// A line of a tree.
#[derive(Clone, Copy)]
pub(super) struct Entry<'t> {
    pub name: &'t [u8],
    pub mode: Mode,
    pub id: ObjectId,
}

impl Entry<'_> {
    /// A file and a directory of one name are two different entries, as for git.
    pub fn same_name(&self, other: &Self) -> bool {
        self.name == other.name && (self.mode == Mode::Tree) == (other.mode == Mode::Tree)
    }

    fn is_notable(&self, notable: Notable) -> bool {
        self.mode != Mode::Submodule && notable(self.name, self.mode == Mode::Tree)
    }

    /// git's order of tree entries: a directory sorts as if its name ended in a slash.
    pub fn before(&self, other: &Self) -> bool {
        let slash = |entry: &Self| (entry.mode == Mode::Tree).then_some(&b'/');
        let key = |entry: &Self| entry.name.iter().chain(slash(entry)).copied().collect::<Vec<u8>>();
        let common = self.name.len().min(other.name.len());
        match self.name[..common].cmp(&other.name[..common]) {
            std::cmp::Ordering::Equal => key(self) < key(other),
            order => order.is_lt(),
        }
    }
}

/// Whether an entry with this name is to be listed; the second argument is whether it is a directory's.
pub(super) type Notable = fn(&[u8], bool) -> bool;

/// A tree.
pub(super) struct Tree {
    bytes: Rc<Vec<u8>>,
    hash: HashKind,
    /// Where the entries begin, and where the last one ends.
    starts: Vec<u32>,
    /// Positions of the notable ones: files, symbolic links and directories.
    notable: Vec<u32>,
    /// Entries that are left out: names that come twice, and the rest of a tree that can't be read as one.
    pub damage: u32,
}

impl Tree {
    /// Takes `bytes` apart. `known` is a tree that may have entries in common with it.
    fn parse(bytes: Rc<Vec<u8>>, hash: HashKind, notable: Notable, known: Option<&Tree>) -> Tree {
        let known = known.filter(|known| known.damage == 0);
        // Most trees have as many entries as the version before.
        let room = known.map_or((1, 0), |known| (known.starts.len() + 1, known.notable.len()));
        let (starts, of_notable) = (Vec::with_capacity(room.0), Vec::with_capacity(room.1));
        let mut tree = Tree { bytes, hash, starts, notable: of_notable, damage: 0 };
        tree.starts.push(0);
        let bytes = Rc::clone(&tree.bytes);
        // The first entry of `known` that may come next here, too, and the last one that was taken.
        let (mut next, mut last): (usize, Option<Entry<'_>>) = (0, None);
        while tree.end() < bytes.len() {
            let rest = &bytes[tree.end()..];
            // A name that comes twice would make two changes of one id. git reads the first when it looks for a path.
            let parsed = parse_entry(rest, hash).filter(|(entry, _)| last.is_none_or(|last| !last.same_name(entry)));
            let Some((entry, length)) = parsed else { return Tree::parse_damaged(bytes, hash, notable) };
            last = Some(entry);
            if let Some(known) = known {
                let behind = |other: Entry<'_>| !other.same_name(&entry) && other.before(&entry);
                while known.entry(next).is_some_and(behind) {
                    next += 1;
                }
                let same = known.common_entries(next, rest);
                if same > 0 {
                    tree.take(known, next..next + same);
                    next += same;
                    let start = tree.starts[tree.len() - 1] as usize;
                    last = parse_entry(&bytes[start..], hash).map(|(entry, _)| entry);
                    continue;
                }
                // Another version of an entry that is known.
                if known.entry(next).is_some_and(|other| other.same_name(&entry) && other.mode == entry.mode) {
                    let is_notable = known.notable.binary_search(&(next as u32)).is_ok();
                    tree.push(length, is_notable);
                    next += 1;
                    continue;
                }
            }
            tree.push(length, entry.is_notable(notable));
        }
        tree
    }

    /// As [`Tree::parse`], of a tree that is not as it should be. What is left out is not part of `bytes`.
    fn parse_damaged(bytes: Rc<Vec<u8>>, hash: HashKind, notable: Notable) -> Tree {
        let mut tree = Tree { bytes: Rc::default(), hash, starts: vec![0], notable: Vec::new(), damage: 0 };
        let (mut kept, mut rest) = (Vec::new(), bytes.as_slice());
        let mut last: Option<Entry<'_>> = None;
        while !rest.is_empty() {
            let Some((entry, length)) = parse_entry(rest, hash) else {
                tree.damage += 1;
                break;
            };
            let (own, behind) = rest.split_at(length);
            rest = behind;
            if last.is_some_and(|last| last.same_name(&entry)) {
                tree.damage += 1;
                continue;
            }
            kept.extend_from_slice(own);
            tree.push(length, entry.is_notable(notable));
            last = Some(entry);
        }
        tree.bytes = Rc::new(kept);
        tree
    }

    /// Appends an entry of so many bytes.
    fn push(&mut self, length: usize, is_notable: bool) {
        if is_notable {
            self.notable.push(self.len() as u32);
        }
        self.starts.push((self.end() + length) as u32);
    }

    /// Appends the entries of `known` at these positions, whose bytes follow here as well.
    fn take(&mut self, known: &Tree, entries: std::ops::Range<usize>) {
        let (from, to) = (known.starts[entries.start], self.end() as u32);
        let positions = (entries.start as u32, self.len() as u32);
        self.starts.extend(known.starts[entries.start + 1..=entries.end].iter().map(|start| start - from + to));
        let first = known.notable.partition_point(|at| (*at as usize) < entries.start);
        let notable = known.notable[first..].iter().take_while(|at| (**at as usize) < entries.end);
        self.notable.extend(notable.map(|at| at - positions.0 + positions.1));
    }

    /// Bytes that it takes, with its entry in a cache.
    fn weight(&self) -> usize {
        const ENTRY: usize = 256;
        ENTRY + self.bytes.capacity() + 4 * (self.starts.capacity() + self.notable.capacity())
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    fn end(&self) -> usize {
        self.starts[self.len()] as usize
    }

    /// The entry at a position below [`Tree::len`].
    pub fn entry(&self, at: usize) -> Option<Entry<'_>> {
        let (start, end) = (*self.starts.get(at)? as usize, *self.starts.get(at + 1)? as usize);
        let (mode, rest) = parse_mode(self.bytes.get(start..end)?)?;
        // It is known where it ends, so its name needs not be looked through.
        let (name, id) = rest.split_at_checked(rest.len().checked_sub(self.hash.len_in_bytes())?)?;
        Some(Entry { name: name.split_last()?.1, mode, id: ObjectId::try_from(id).ok()? })
    }

    /// How many entries from position `at` on are the same as those of `other` from position `from` on.
    pub fn same_entries(&self, at: usize, other: &Tree, from: usize) -> usize {
        self.common_entries(at, &other.bytes[other.starts[from] as usize..other.end()])
    }

    /// How many entries from position `at` on are those that `bytes` begins with.
    fn common_entries(&self, at: usize, bytes: &[u8]) -> usize {
        let from = self.starts[at] as usize;
        let common = common_prefix(&self.bytes[from..self.end()], bytes);
        self.starts[at..].partition_point(|start| *start as usize - from <= common) - 1
    }

    /// The notable entries in tree order, with a slash behind the name of a directory and a zero behind that of a symbolic
    /// link.
    pub fn notable(&self) -> Vec<(Box<[u8]>, ObjectId)> {
        let entries = self.notable.iter().filter_map(|at| self.entry(*at as usize));
        let named = entries.map(|Entry { name, mode, id }| {
            let kind: &[u8] = match mode {
                Mode::Tree => b"/",
                Mode::Symlink => b"\0",
                Mode::Regular { .. } | Mode::Submodule => b"",
            };
            let name = [name, kind].concat();
            (name.into(), id)
        });
        named.collect()
    }

    /// All entries.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        (0..self.len()).filter_map(|at| self.entry(at))
    }
}

struct Bytes;

impl WeightScale<ObjectId, Rc<Tree>> for Bytes {
    fn weight(&self, _: &ObjectId, tree: &Rc<Tree>) -> usize {
        tree.weight()
    }
}

/// Reads trees, for one thread.
pub struct Trees {
    objects: Objects,
    decoder: Decoder,
    hash: HashKind,
    notable: Notable,
    cache: CLruCache<ObjectId, Rc<Tree>, DefaultHashBuilder, Bytes>,
    /// The last trees of directories, by path, and how large they are together.
    last: HashMap<Box<[u8]>, Rc<Tree>>,
    last_bytes: usize,
    last_bytes_max: usize,
    empty: Rc<Tree>,
}

impl Trees {
    /// Reads trees of `repository`, and remembers which entries are `notable` by their name; the second argument of that
    /// is whether it is a directory's.
    pub fn new(repository: &Repository, notable: fn(&[u8], bool) -> bool) -> Self {
        let (hash, empty) = (repository.hash(), Rc::new(Vec::new()));
        let bytes = repository.cache_bytes();
        let cache_bytes = NonZeroUsize::new(bytes.get() / TREES_PART).unwrap_or(bytes);
        let config = CLruCacheConfig::new(cache_bytes).with_hasher(DefaultHashBuilder::default()).with_scale(Bytes);
        Trees {
            objects: repository.objects(),
            decoder: Decoder::new(repository, Kind::Tree, u64::MAX),
            hash,
            notable,
            cache: CLruCache::with_config(config),
            last: HashMap::new(),
            last_bytes: 0,
            last_bytes_max: bytes.get() / LAST_PART,
            empty: Rc::new(Tree::parse(empty, hash, notable, None)),
        }
    }

    /// The objects that the trees come from.
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// The tree without entries.
    pub(super) fn empty(&self) -> Rc<Tree> {
        Rc::clone(&self.empty)
    }

    /// The notable entries of the tree `id`, unless it is missing or damaged.
    pub fn notable(&mut self, id: ObjectId) -> Option<Vec<(Box<[u8]>, ObjectId)>> {
        self.get(id, None).ok().filter(|tree| tree.damage == 0).map(|tree| tree.notable())
    }

    /// The tree of the directory at `path` that was noted last.
    pub(super) fn last(&self, path: &[u8]) -> Option<Rc<Tree>> {
        self.last.get(path).map(Rc::clone)
    }

    /// Notes a tree of the directory at `path`.
    pub(super) fn note(&mut self, path: &[u8], tree: &Rc<Tree>) {
        if self.last_bytes > self.last_bytes_max {
            self.last.clear();
            self.last_bytes = 0;
        }
        self.last_bytes += tree.weight() + path.len();
        match self.last.get_mut(path) {
            Some(last) => {
                self.last_bytes -= last.weight() + path.len();
                *last = Rc::clone(tree);
            }
            None => drop(self.last.insert(path.into(), Rc::clone(tree))),
        }
    }

    /// The tree `id`. `known` is one that may have entries in common with it.
    ///
    /// # Errors
    /// It is missing or damaged.
    pub(super) fn get(&mut self, id: ObjectId, known: Option<&Tree>) -> Result<Rc<Tree>, ReadError> {
        if id.is_empty_tree() {
            return Ok(self.empty());
        }
        if let Some(tree) = self.cache.get(&id) {
            return Ok(Rc::clone(tree));
        }
        let bytes = match self.decoder.decode(&id) {
            Some(contents) => {
                self.objects.count(Kind::Tree);
                match contents {
                    Contents::Bytes(bytes) => bytes,
                    Contents::Text(text) => Rc::new(text.as_bytes().to_vec()),
                }
            }
            None => {
                let mut buffer = Vec::new();
                read(&self.objects, id, Kind::Tree, &mut buffer)?;
                Rc::new(buffer)
            }
        };
        // Positions are 32 bits wide; git writes no tree of that size, and nothing that large is decoded here.
        if u32::try_from(bytes.len()).is_err() {
            return Err(ReadError::Corrupt);
        }
        let tree = Rc::new(Tree::parse(bytes, self.hash, self.notable, known));
        let _too_large = self.cache.put_with_weight(id, Rc::clone(&tree));
        Ok(tree)
    }
}

/// The regular files that the tree `id` has itself, by name; none where it can't be read.
pub fn files(objects: &Objects, hash: HashKind, id: ObjectId) -> Vec<(Vec<u8>, ObjectId)> {
    let mut bytes = Vec::new();
    if read(objects, id, Kind::Tree, &mut bytes).is_err() {
        return Vec::new();
    }
    let tree = Tree::parse(Rc::new(bytes), hash, |_, _| false, None);
    let files = tree.entries().filter(|entry| matches!(entry.mode, Mode::Regular { .. }));
    files.map(|entry| (entry.name.to_vec(), entry.id)).collect()
}

/// More digits have no mode that git knows.
const MODE_BYTES_MAX: usize = 7;

/// The entry at the start of `bytes`, and its length.
fn parse_entry(bytes: &[u8], hash: HashKind) -> Option<(Entry<'_>, usize)> {
    let (mode, rest) = parse_mode(bytes)?;
    let (name, rest) = rest.split_at(memchr::memchr(0, rest)?);
    let (id, rest) = rest[1..].split_at_checked(hash.len_in_bytes())?;
    let id = ObjectId::try_from(id).ok()?;
    (!name.is_empty()).then_some((Entry { name, mode, id }, bytes.len() - rest.len()))
}

/// The mode at the start of an entry, and what stands behind the space after it.
fn parse_mode(bytes: &[u8]) -> Option<(Mode, &[u8])> {
    // Nearly all are one of these.
    if let Some(rest) = bytes.strip_prefix(b"100644 ") {
        return Some((Mode::Regular { executable: false }, rest));
    }
    if let Some(rest) = bytes.strip_prefix(b"40000 ") {
        return Some((Mode::Tree, rest));
    }
    let (mut mode, mut space) = (0u32, 0);
    loop {
        match bytes.get(space)? {
            digit @ b'0'..=b'7' if space < MODE_BYTES_MAX => mode = mode * 8 + u32::from(digit - b'0'),
            b' ' => break,
            _ => return None,
        }
        space += 1;
    }
    let mode = match mode & 0o170_000 {
        0o040_000 => Mode::Tree,
        0o100_000 => Mode::Regular { executable: mode & 0o100 != 0 },
        0o120_000 => Mode::Symlink,
        _ => Mode::Submodule,
    };
    Some((mode, &bytes[space + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(mode: &str, name: &str, id: u8) -> Vec<u8> {
        [format!("{mode} {name}\0").as_bytes(), &[id; 20]].concat()
    }

    fn parse(bytes: Vec<u8>, known: Option<&Tree>) -> Tree {
        Tree::parse(Rc::new(bytes), HashKind::Sha1, |name, _| name.starts_with(b"L"), known)
    }

    type Facts = (Vec<(Vec<u8>, Mode, ObjectId)>, Vec<(Box<[u8]>, ObjectId)>, u32);

    fn facts(tree: &Tree) -> Facts {
        let entries = tree.entries().map(|entry| (entry.name.to_vec(), entry.mode, entry.id)).collect();
        (entries, tree.notable(), tree.damage)
    }

    #[test]
    fn a_known_tree_changes_nothing() {
        let line = |name: &str, id: u8| {
            entry(if name.ends_with('/') { "40000" } else { "100644" }, name.trim_end_matches('/'), id)
        };
        let trees: Vec<Vec<u8>> = [
            &[][..],
            &[("a", 1)],
            &[("L", 1), ("LICENSE", 2), ("b", 3), ("z", 4)],
            &[("L", 1), ("LICENSE", 2), ("b", 5), ("z", 4)],
            &[("L", 1), ("LX/", 9), ("b", 5), ("z", 4)],
            &[("L", 1), ("b", 5), ("z", 4)],
            &[("L", 1), ("LICENSE", 2), ("b", 5), ("z", 4), ("zz", 4)],
            &[("a", 1), ("a/", 1), ("a", 1)],
            // A name that comes twice, also across what is the same as before.
            &[("L", 1), ("L", 2), ("b", 5), ("z", 4)],
            &[("b", 5), ("b", 5), ("z", 4)],
            &[("z", 3), ("z", 4)],
        ]
        .iter()
        .map(|lines| lines.iter().flat_map(|(name, id)| line(name, *id)).collect())
        .collect();
        let cut: Vec<Vec<u8>> = trees
            .iter()
            .flat_map(|tree| [1, 5, 21, 30].map(|n| tree[..tree.len().saturating_sub(n)].to_vec()))
            .collect();
        let all: Vec<&Vec<u8>> = trees.iter().chain(&cut).collect();
        for known in &all {
            let known = parse(known.to_vec(), None);
            for tree in &all {
                let (fresh, helped) = (parse(tree.to_vec(), None), parse(tree.to_vec(), Some(&known)));
                assert_eq!(facts(&fresh), facts(&helped), "{:?} {:?}", facts(&known), tree);
                let same = known.same_entries(0, &fresh, 0);
                let pairs = facts(&known).0.into_iter().zip(facts(&fresh).0);
                assert_eq!(same, pairs.take_while(|(a, b)| a == b).count());
            }
        }
        let damaged = parse(trees[8].clone(), None);
        assert_eq!((damaged.len(), damaged.damage, damaged.notable().len()), (3, 1, 1));
        assert_eq!(parse(trees[7].clone(), None).damage, 0, "a file and a directory of one name are two");
        assert_eq!((parse(cut[8].clone(), None).len(), parse(cut[8].clone(), None).damage), (3, 1));
    }
}
