//! Draws samples without dice: the ones whose ids have the smallest hashes.

use std::collections::BTreeMap;

/// The `n` things whose ids have the smallest hashes: the same ones every time, and no others than of a larger `n`.
pub struct Draw<T> {
    n: usize,
    drawn: BTreeMap<(u64, String), T>,
}

impl<T> Draw<T> {
    /// A draw of at most `n`.
    pub fn new(n: usize) -> Self {
        Draw { n, drawn: BTreeMap::new() }
    }

    /// Adds what `make` makes, if it is among the drawn so far.
    pub fn add(&mut self, id: &str, make: impl FnOnce() -> T) {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&blake3::hash(id.as_bytes()).as_bytes()[..8]);
        let key = (u64::from_le_bytes(bytes), id.to_owned());
        if self.n > 0 && (self.drawn.len() < self.n || self.drawn.last_key_value().is_some_and(|(last, _)| key < *last))
        {
            self.drawn.insert(key, make());
            if self.drawn.len() > self.n {
                self.drawn.pop_last();
            }
        }
    }

    /// What was drawn, in the order of the hashes.
    pub fn into_vec(self) -> Vec<T> {
        self.drawn.into_values().collect()
    }
}
