//! Which rows say the same, which are a benchmark's, and what in them is nobody else's to read. No I/O, no clock, no dice: the outcome is a function of the set
//! of rows, never of their order.

pub mod contamination;
pub mod fingerprints;
pub mod near;
pub mod opt_out;
pub mod redact;
pub mod words;

/// Sets of positions that belong together.
pub struct Clusters {
    parents: Vec<u32>,
}

impl Clusters {
    /// So many positions, each alone.
    pub fn new(len: usize) -> Self {
        Clusters { parents: (0..u32::try_from(len).unwrap_or(u32::MAX)).collect() }
    }

    /// The position that stands for the set of `at`.
    pub fn find(&mut self, at: usize) -> usize {
        let mut at = at;
        while self.parents[at] as usize != at {
            // Halves the way for the next one.
            self.parents[at] = self.parents[self.parents[at] as usize];
            at = self.parents[at] as usize;
        }
        at
    }

    /// Makes the sets of `a` and `b` one.
    pub fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        let (low, high) = (a.min(b), a.max(b));
        self.parents[high] = low as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_do_not_depend_on_order() {
        let pairs = [(0, 5), (5, 3), (1, 2), (7, 6), (6, 1)];
        let sets = |pairs: &[(usize, usize)]| {
            let mut clusters = Clusters::new(8);
            pairs.iter().for_each(|(a, b)| clusters.join(*a, *b));
            (0..8).map(|at| clusters.find(at)).collect::<Vec<_>>()
        };
        let expected = vec![0, 1, 1, 0, 4, 0, 1, 1];
        assert_eq!(sets(&pairs), expected);
        let reversed: Vec<_> = pairs.iter().rev().map(|(a, b)| (*b, *a)).collect();
        assert_eq!(sets(&reversed), expected);
    }
}
