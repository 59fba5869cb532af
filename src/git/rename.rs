//! Finds renames among what a commit deletes and adds, with the outcome of `git log -M`: git's diffcore-rename without
//! copies and without broken pairs (gitdiffcore(7) describes it, the constants are its).
//!
//! Equal blobs come first, then files whose base name is unique on both sides, then the most similar pairs. Contents
//! that can't be read, or are larger than [`BLOB_BYTES_MAX`], are similar to nothing.

use std::{
    cmp::Reverse,
    collections::HashMap,
    rc::Rc,
    sync::atomic::{AtomicBool, Ordering},
};

use gix::{ObjectId, objs::Kind};

use super::{
    blobs::read,
    change::{Change, Changes},
    repository::Objects,
};
use crate::sample::ChangeKind;

/// The score of equal contents (MAX_SCORE).
const SCORE_MAX: u64 = 60_000;

/// The least score of a rename: 50 %, the default of `-M`.
const SCORE_MIN: u64 = 30_000;

/// The least score where a base name that is unique on both sides suggests the pair: half way from [`SCORE_MIN`] up.
const SCORE_MIN_BY_NAME: u64 = 45_000;

/// Pairs are not compared by contents where there are more of them than this squared, git's `diff.renameLimit`.
pub const RENAME_LIMIT: usize = 1000;

/// Of each added file, so many deleted ones are remembered as possible sources (NUM_CANDIDATE_PER_DST).
const SOURCES_PER_TARGET: usize = 4;

/// So many deleted files of equal contents are looked at before one of them is taken.
const EQUAL_SOURCES_MAX: usize = 102;

/// Contents are compared in chunks that end with a line or after so many bytes.
const CHUNK_BYTES_MAX: u32 = 64;

/// Chunks are told apart by a hash below this prime (HASHBASE).
const HASH_BASE: u32 = 107_927;

/// Larger blobs are compared by id only. git has no such bound; with it, memory has one.
pub const BLOB_BYTES_MAX: u64 = 32 << 20;

/// Chunk counts that are kept for reuse within a commit, in chunks (8 bytes each).
const CACHED_CHUNKS_MAX: usize = 16 << 20;

/// Turns pairs of a deletion and an addition in `changes` into renames. Keeps path order. An interruption leaves the
/// rest of the pairs as they are; the caller has to look at `interrupt` itself.
pub fn detect(objects: &Objects, changes: &mut Changes, interrupt: &AtomicBool) {
    let of = |kind: ChangeKind| -> Vec<usize> {
        (0..changes.regular.len()).filter(|&at| changes.regular[at].kind == kind).collect()
    };
    let (sources, targets) = (of(ChangeKind::Deleted), of(ChangeKind::Added));
    if sources.is_empty() || targets.is_empty() {
        return;
    }
    let mut search = Search {
        changes: &changes.regular,
        interrupt,
        contents: Contents { objects, buffer: Vec::new(), sizes: HashMap::new(), chunks: HashMap::new(), cached: 0 },
        sources,
        targets,
        pairs: Vec::new(),
    };
    search.equal_contents();
    search.unique_names();
    search.similar_contents();
    let pairs = search.pairs;
    apply(changes, &pairs);
}

/// Positions of a deletion and an addition, and their score.
struct Pair {
    source: usize,
    target: usize,
    score: u64,
}

fn apply(changes: &mut Changes, pairs: &[Pair]) {
    for pair in pairs {
        let (old_path, old) = (changes.regular[pair.source].path.clone(), changes.regular[pair.source].old);
        let renamed = &mut changes.regular[pair.target];
        renamed.kind = ChangeKind::Renamed;
        renamed.old_path = Some(old_path);
        renamed.old = old;
        renamed.similarity_percent = u8::try_from(pair.score * 100 / SCORE_MAX).unwrap_or(100);
    }
    let gone: std::collections::HashSet<usize> = pairs.iter().map(|pair| pair.source).collect();
    let mut at = 0;
    changes.regular.retain(|_| {
        at += 1;
        !gone.contains(&(at - 1))
    });
}

/// What is left to be paired, as positions in the list of changes, in path order.
struct Search<'a> {
    changes: &'a [Change],
    interrupt: &'a AtomicBool,
    contents: Contents<'a>,
    sources: Vec<usize>,
    targets: Vec<usize>,
    pairs: Vec<Pair>,
}

impl Search<'_> {
    fn name(&self, at: usize) -> &[u8] {
        let path = &self.changes[at].path;
        path.iter().rposition(|byte| *byte == b'/').map_or(&path[..], |slash| &path[slash + 1..])
    }

    fn blob(&self, at: usize) -> Option<ObjectId> {
        let change = &self.changes[at];
        change.old.or(change.new).map(|file| file.id)
    }

    fn settle(&mut self, found: Vec<Pair>) {
        self.sources.retain(|source| !found.iter().any(|pair| pair.source == *source));
        self.targets.retain(|target| !found.iter().any(|pair| pair.target == *target));
        self.pairs.extend(found);
    }

    /// The first source with the blob of a target and its base name, or else the first with the blob.
    fn equal_contents(&mut self) {
        let mut by_blob: HashMap<ObjectId, Vec<usize>> = HashMap::new();
        for &source in &self.sources {
            by_blob.entry(self.blob(source).expect("a deletion has a blob")).or_default().push(source);
        }
        let mut used = std::collections::HashSet::new();
        let mut found = Vec::new();
        for &target in &self.targets {
            let blob = self.blob(target).expect("an addition has a blob");
            let Some(sources) = by_blob.get(&blob) else { continue };
            let mut best = None;
            for &source in sources.iter().filter(|source| !used.contains(*source)).take(EQUAL_SOURCES_MAX) {
                if self.name(source) == self.name(target) {
                    best = Some(source);
                    break;
                }
                best = best.or(Some(source));
            }
            if let Some(source) = best {
                used.insert(source);
                found.push(Pair { source, target, score: SCORE_MAX });
            }
        }
        self.settle(found);
    }

    fn unique_names(&mut self) {
        let unique = |positions: &[usize]| -> HashMap<&[u8], Option<usize>> {
            let mut names = HashMap::new();
            for &at in positions {
                names.entry(self.name(at)).and_modify(|known| *known = None).or_insert(Some(at));
            }
            names
        };
        let (by_source, by_target) = (unique(&self.sources), unique(&self.targets));
        let likely: Vec<(usize, usize)> = self
            .sources
            .iter()
            .filter_map(|&source| {
                let name = self.name(source);
                Some((by_source.get(name).copied().flatten()?, by_target.get(name).copied().flatten()?))
            })
            .collect();
        let mut found = Vec::new();
        for (source, target) in likely {
            let score = self.score(source, target, SCORE_MIN_BY_NAME);
            if score >= SCORE_MIN_BY_NAME {
                found.push(Pair { source, target, score });
            }
        }
        self.settle(found);
    }

    fn similar_contents(&mut self) {
        if self.sources.len().saturating_mul(self.targets.len()) > RENAME_LIMIT * RENAME_LIMIT {
            return;
        }
        let mut matrix = Vec::new();
        for target in self.targets.clone() {
            let mut best: Vec<Possible> = Vec::new();
            for source in self.sources.clone() {
                if self.interrupt.load(Ordering::Relaxed) {
                    return;
                }
                let score = self.score(source, target, SCORE_MIN);
                let same_name = self.name(source) == self.name(target);
                remember(&mut best, Possible { source, target, score, same_name });
            }
            // A place that no source took stays where it is when the others are sorted, so it can be left out.
            matrix.extend(best);
            self.contents.forget(self.blob(target));
        }
        matrix.sort_by_key(|possible| Reverse(possible.rank()));
        let mut found: Vec<Pair> = Vec::new();
        let (mut sources, mut targets) = (std::collections::HashSet::new(), std::collections::HashSet::new());
        for Possible { source, target, score, .. } in matrix {
            if score < SCORE_MIN {
                break;
            }
            if !targets.contains(&target) && !sources.contains(&source) {
                targets.insert(target);
                sources.insert(source);
                found.push(Pair { source, target, score });
            }
        }
        self.settle(found);
    }

    /// How much of the larger one of two files is in both, of [`SCORE_MAX`]; 0 where it is certainly below `score_min`.
    fn score(&mut self, source: usize, target: usize, score_min: u64) -> u64 {
        let (Some(old), Some(new)) = (self.blob(source), self.blob(target)) else { return 0 };
        let (Some(old_size), Some(new_size)) = (self.contents.size(old), self.contents.size(new)) else { return 0 };
        let (larger, smaller) = (old_size.max(new_size), old_size.min(new_size));
        let differs_too_much = larger * (SCORE_MAX - score_min) < (larger - smaller) * SCORE_MAX;
        if differs_too_much || new_size == 0 || larger > BLOB_BYTES_MAX {
            return 0;
        }
        match (self.contents.chunks(old), self.contents.chunks(new)) {
            (Some(old), Some(new)) => common_bytes(&old, &new) * SCORE_MAX / larger,
            _ => 0,
        }
    }
}

#[derive(Clone, Copy)]
struct Possible {
    source: usize,
    target: usize,
    score: u64,
    same_name: bool,
}

impl Possible {
    fn rank(&self) -> (u64, bool) {
        (self.score, self.same_name)
    }
}

/// Keeps the best few; of equally bad ones the first is the one to give way.
fn remember(best: &mut Vec<Possible>, new: Possible) {
    if best.len() < SOURCES_PER_TARGET {
        best.push(new);
        return;
    }
    let mut worst = 0;
    for at in 1..best.len() {
        if best[at].rank() < best[worst].rank() {
            worst = at;
        }
    }
    if best[worst].rank() < new.rank() {
        best[worst] = new;
    }
}

/// Chunks of a blob: hash and number of bytes, sorted by hash.
type Chunks = Vec<(u32, u32)>;

/// Reads blobs, and keeps what is needed of them.
struct Contents<'a> {
    objects: &'a Objects,
    buffer: Vec<u8>,
    sizes: HashMap<ObjectId, Option<u64>>,
    chunks: HashMap<ObjectId, Option<Rc<Chunks>>>,
    cached: usize,
}

impl Contents<'_> {
    fn size(&mut self, id: ObjectId) -> Option<u64> {
        *self.sizes.entry(id).or_insert_with(|| super::blobs::size(self.objects, id).ok())
    }

    fn chunks(&mut self, id: ObjectId) -> Option<Rc<Chunks>> {
        if let Some(known) = self.chunks.get(&id) {
            return known.clone();
        }
        let chunks = read(self.objects, id, Kind::Blob, &mut self.buffer).ok().map(|bytes| Rc::new(split(bytes)));
        let len = chunks.as_ref().map_or(0, |chunks| chunks.len());
        if self.cached + len <= CACHED_CHUNKS_MAX {
            self.cached += len;
            self.chunks.insert(id, chunks.clone());
        }
        chunks
    }

    fn forget(&mut self, id: Option<ObjectId>) {
        if let Some(Some(chunks)) = id.and_then(|id| self.chunks.remove(&id)) {
            self.cached -= chunks.len();
        }
    }
}

fn split(bytes: &[u8]) -> Chunks {
    let is_text = !super::text::is_binary(bytes);
    let mut counts: HashMap<u32, u32> = HashMap::new();
    // Two registers of 32 bits that are shifted by 7 into each other, with each byte added to the first.
    let (mut low, mut high, mut len) = (0u32, 0u32, 0u32);
    let mut end = |low: u32, high: u32, len: u32| {
        let hash = low.wrapping_add(high.wrapping_mul(0x61)) % HASH_BASE;
        *counts.entry(hash).or_default() += len;
    };
    for (at, &byte) in bytes.iter().enumerate() {
        if is_text && byte == b'\r' && bytes.get(at + 1) == Some(&b'\n') {
            continue;
        }
        (low, high) = ((low << 7) ^ (high >> 25), (high << 7) ^ (low >> 25));
        low = low.wrapping_add(u32::from(byte));
        len += 1;
        if len == CHUNK_BYTES_MAX || byte == b'\n' {
            end(low, high, len);
            (low, high, len) = (0, 0, 0);
        }
    }
    if len > 0 {
        end(low, high, len);
    }
    let mut chunks: Chunks = counts.into_iter().collect();
    chunks.sort_unstable();
    chunks
}

fn common_bytes(old: &Chunks, new: &Chunks) -> u64 {
    let (mut at_old, mut at_new, mut common) = (0, 0, 0);
    while let (Some((old_hash, old_len)), Some((new_hash, new_len))) = (old.get(at_old), new.get(at_new)) {
        match old_hash.cmp(new_hash) {
            std::cmp::Ordering::Less => at_old += 1,
            std::cmp::Ordering::Greater => at_new += 1,
            std::cmp::Ordering::Equal => {
                common += u64::from(*old_len.min(new_len));
                at_old += 1;
                at_new += 1;
            }
        }
    }
    common
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_follow_what_two_files_share() {
        let score = |old: &str, new: &str| {
            let (old_chunks, new_chunks) = (split(old.as_bytes()), split(new.as_bytes()));
            common_bytes(&old_chunks, &new_chunks) * 100 / old.len().max(new.len()) as u64
        };
        for (old, new, percent) in [
            ("a\nb\nc\nd\n", "a\nb\nc\nd\n", 100),
            ("a\nb\nc\nd\n", "d\nc\nb\na\n", 100),
            ("a\nb\nc\nd\n", "a\nb\nc\nx\n", 75),
            ("a\nb\nc\nd\n", "w\nx\ny\nz\n", 0),
            ("a\na\na\na\n", "a\nb\nb\nb\n", 25),
            ("a\nlast", "a\nlast", 100),
            ("", "a", 0),
        ] {
            assert_eq!(score(old, new), percent, "{old:?} {new:?}");
        }
        assert_eq!(split(b"a\r\nb\r\n"), split(b"a\nb\n"), "a line end is a line end");
        assert_ne!(split(b"a\r\n\0"), split(b"a\n\0"), "but not in a binary file");
        assert_eq!(split(&[b'x'; 130]).iter().map(|chunk| chunk.1).sum::<u32>(), 130);
    }

    #[test]
    fn the_best_sources_are_remembered() {
        let mut best = Vec::new();
        for (source, score) in [3, 1, 4, 1, 5, 9, 2, 6].into_iter().enumerate() {
            remember(&mut best, Possible { source, target: 0, score, same_name: false });
        }
        assert_eq!(best.iter().map(|possible| possible.score).collect::<Vec<_>>(), [6, 5, 4, 9]);
    }
}
