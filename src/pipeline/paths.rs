//! The order of rows: by path, then by commit. Paths are compared once each, and not once for every change of a file.

use std::hash::BuildHasher as _;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::plan::Candidate;

/// The paths of candidates that come commit by commit.
#[derive(Default)]
pub(super) struct Paths {
    hasher: DefaultHashBuilder,
    /// Numbers of paths, by what they are.
    table: HashTable<u32>,
    /// The first candidate of each path.
    firsts: Vec<u32>,
    /// The number of the path of each candidate.
    numbers: Vec<u32>,
}

impl Paths {
    /// What a candidate takes here, in bytes, if no other one has its path.
    pub(super) const CANDIDATE_BYTES: usize = 16;

    /// Takes note of the last of `candidates`; of those before it was.
    pub(super) fn see_last(&mut self, candidates: &[Candidate]) {
        let Paths { hasher, table, firsts, numbers } = self;
        let path_of = |number: u32| &candidates[firsts[number as usize] as usize].change.path;
        let Some(Candidate { change, .. }) = candidates.last() else { return };
        let is_it = |number: &u32| *path_of(*number) == change.path;
        let hash_of = |number: &u32| hasher.hash_one(path_of(*number));
        let hash = hasher.hash_one(&change.path);
        let number = match table.find(hash, is_it) {
            Some(number) => *number,
            None => {
                let number = firsts.len() as u32;
                table.insert_unique(hash, number, hash_of);
                firsts.push((candidates.len() - 1) as u32);
                number
            }
        };
        numbers.push(number);
    }

    /// Sorts `candidates`, all of which were seen, by path, commit and kind.
    pub(super) fn sort(self, candidates: &mut [Candidate]) {
        let Paths { firsts, numbers, .. } = self;
        let path_of = |number: &u32| &candidates[firsts[*number as usize] as usize].change.path;
        let mut sorted: Vec<u32> = (0..firsts.len() as u32).collect();
        sorted.sort_unstable_by(|a, b| path_of(a).cmp(path_of(b)));
        // Where the next candidate of each path belongs. They came commit by commit, and stay so.
        let mut next = vec![0; firsts.len()];
        numbers.iter().for_each(|number| next[*number as usize] += 1);
        let mut end = 0;
        for number in sorted {
            let count = std::mem::replace(&mut next[number as usize], end);
            end += count;
        }
        let mut targets = numbers;
        for target in &mut targets {
            let place = &mut next[*target as usize];
            *target = *place;
            *place += 1;
        }
        for at in 0..candidates.len() {
            while targets[at] as usize != at {
                let target = targets[at] as usize;
                candidates.swap(at, target);
                targets.swap(at, target);
            }
        }
        let is_same = |a: &Candidate, b: &Candidate| a.commit == b.commit && a.change.path == b.change.path;
        for several in candidates.chunk_by_mut(is_same).filter(|several| several.len() > 1) {
            several.sort_by_key(|candidate| candidate.change.kind);
        }
    }
}
