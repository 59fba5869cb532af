//! MinHash (Broder, 1997) with banding: finds the pairs of sets that are alike without comparing all pairs.
//!
//! A set's signature is, for each of 256 hash functions, the smallest value over its members; two sets agree in one
//! place with a probability that is their Jaccard similarity s. 25 bands of 10 places make a pair a candidate with
//! probability 1 - (1 - s^10)^25: 0.02 at s = 0.5, 0.14 at 0.6, 0.51 at 0.7, 0.94 at 0.8, 0.9999 at 0.9. Permutations,
//! n-grams and threshold are those of bigcode's near-deduplication of The Stack (`bigcode-dataset/near_deduplication`:
//! 256, 5, 0.7; 25 and 10 are what it computes from them). Candidates are compared in full afterwards.

use super::words::mix;

/// Places of a signature.
pub const PERMUTATIONS: usize = 256;

/// Words in an n-gram.
pub const NGRAM_WORDS: usize = 5;

/// From which Jaccard similarity on two sets are near-duplicates, unless the user says otherwise.
pub const SIMILARITY_MIN: f64 = 0.7;

/// Bands of a signature.
pub const BANDS: usize = 25;

/// Places in a band.
pub const ROWS: usize = 10;

/// Bands of the sketch of a set, which tells sets with a band of the signature in common apart where those are many. 32 bands of 4
/// places: two sets share one with probability 0.03 at s = 0.18, 0.23 at 0.3, 0.87 at 0.5, 0.9998 at 0.7.
pub const SKETCH_BANDS: usize = 32;

/// Places in a band of a sketch.
const SKETCH_ROWS: usize = 4;

/// Functions that are asked together.
const LANES: usize = 32;

/// Hash functions.
pub struct MinHash {
    /// Factors, odd, and summands.
    factors: [u32; PERMUTATIONS],
    summands: [u32; PERMUTATIONS],
}

impl Default for MinHash {
    fn default() -> Self {
        let number = |at: usize| (mix((at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)) >> 32) as u32;
        let (factor, summand) = (|at| number(2 * at + 1) | 1, |at| number(2 * at + 2));
        MinHash { factors: std::array::from_fn(factor), summands: std::array::from_fn(summand) }
    }
}

impl MinHash {
    /// The hashes of the bands of `set`, which must not be empty. Equal bands of two sets have equal hashes at the same
    /// place, and at no other.
    pub fn bands(&self, set: &[u32]) -> [u64; BANDS] {
        let mut signature = [u32::MAX; PERMUTATIONS];
        self.sign(set, &mut signature);
        banded::<BANDS, ROWS>(&signature)
    }

    /// The hashes of the bands of the sketch of `set`.
    pub fn sketch(&self, set: &[u32]) -> [u32; SKETCH_BANDS] {
        let mut signature = [u32::MAX; SKETCH_BANDS * SKETCH_ROWS];
        self.sign(set, &mut signature);
        banded::<SKETCH_BANDS, SKETCH_ROWS>(&signature).map(|band| (band >> 32) as u32)
    }

    /// The first places of the signature of `set`.
    fn sign(&self, set: &[u32], signature: &mut [u32]) {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has what the function was compiled for.
            unsafe { self.smallest_avx2(set, signature) };
            return;
        }
        self.smallest(set, signature);
    }

    /// The smallest value of each function: permutations of the numbers of 32 bits, which members, themselves hashes, are. Some
    /// functions after the other, so that they stay in registers.
    #[inline(always)]
    fn smallest(&self, set: &[u32], signature: &mut [u32]) {
        let functions = self.factors.as_chunks::<LANES>().0.iter().zip(self.summands.as_chunks::<LANES>().0);
        for (smallest, (factors, summands)) in signature.as_chunks_mut::<LANES>().0.iter_mut().zip(functions) {
            let mut least = [u32::MAX; LANES];
            for member in set {
                for lane in 0..LANES {
                    least[lane] = least[lane].min(member.wrapping_mul(factors[lane]).wrapping_add(summands[lane]));
                }
            }
            *smallest = least;
        }
    }

    /// [`MinHash::smallest`], eight functions at once.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn smallest_avx2(&self, set: &[u32], signature: &mut [u32]) {
        self.smallest(set, signature);
    }
}

fn banded<const BANDS: usize, const ROWS: usize>(signature: &[u32]) -> [u64; BANDS] {
    let mut bands = std::array::from_fn(|at| at as u64 + 1);
    let (of_bands, _) = signature.as_chunks::<ROWS>();
    // All bands step by step: none of them has to wait for another one.
    for row in 0..ROWS {
        for (band, values) in bands.iter_mut().zip(of_bands) {
            *band = mix(band.rotate_left(7) ^ u64::from(values[row]));
        }
    }
    bands
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dedup::words::{jaccard, mix};

    /// Two sets of 200 members, of which they share so many that their similarity is about `s`.
    fn pair(s: f64, seed: u64) -> (Vec<u32>, Vec<u32>) {
        let shared = (2.0 * s / (1.0 + s) * 200.0).round() as u64;
        let set = |own: u64| {
            let member = |n| (mix(seed * 1000 + if n < shared { n } else { own + n }) >> 32) as u32;
            let mut set: Vec<u32> = (0..200).map(member).collect();
            set.sort_unstable();
            set
        };
        (set(1 << 40), set(1 << 41))
    }

    #[test]
    fn candidates_follow_the_curve() {
        let minhash = MinHash::default();
        for (s, expected) in [(0.4, 0.003), (0.6, 0.14), (0.7, 0.51), (0.8, 0.94), (0.9, 1.0)] {
            let rounds = 1000;
            let hits = (0..rounds).filter(|seed| {
                let (a, b) = pair(s, *seed);
                assert!((jaccard(&a, &b) - s).abs() < 0.01);
                minhash.bands(&a).iter().zip(minhash.bands(&b)).any(|(a, b)| *a == b)
            });
            let share = hits.count() as f64 / f64::from(rounds as u32);
            assert!((share - expected).abs() < 0.06, "{s}: {share} and not {expected}");
        }
    }

    #[test]
    fn sketches_follow_their_curve() {
        let minhash = MinHash::default();
        for (s, expected) in [(0.18, 0.03), (0.3, 0.23), (0.5, 0.87), (0.7, 1.0)] {
            let rounds = 1000;
            let hits = (0..rounds).filter(|seed| {
                let (a, b) = pair(s, *seed);
                minhash.sketch(&a).iter().zip(minhash.sketch(&b)).any(|(a, b)| *a == b)
            });
            let share = hits.count() as f64 / f64::from(rounds as u32);
            assert!((share - expected).abs() < 0.06, "{s}: {share} and not {expected}");
        }
    }
}
