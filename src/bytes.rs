//! How much two sequences have in common at their ends.

/// So many are compared at once.
const BLOCK: usize = 64;

/// How many items `a` and `b` have in common at the start.
pub fn common_prefix<T: PartialEq>(a: &[T], b: &[T]) -> usize {
    let blocks = a.chunks_exact(BLOCK).zip(b.chunks_exact(BLOCK)).take_while(|(a, b)| a == b).count() * BLOCK;
    blocks + a[blocks..].iter().zip(&b[blocks..]).take_while(|(a, b)| a == b).count()
}

/// How many items `a` and `b` have in common at the end.
pub fn common_suffix<T: PartialEq>(a: &[T], b: &[T]) -> usize {
    let blocks = a.rchunks_exact(BLOCK).zip(b.rchunks_exact(BLOCK)).take_while(|(a, b)| a == b).count() * BLOCK;
    let (a, b) = (&a[..a.len() - blocks], &b[..b.len() - blocks]);
    blocks + a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_common_is_counted_over_blocks() {
        for length in [0, 1, 63, 64, 65, 200] {
            let a: Vec<u8> = (0..length).map(|at| at as u8).collect();
            assert_eq!((common_prefix(&a, &a), common_suffix(&a, &a)), (a.len(), a.len()));
            for at in 0..a.len() {
                let mut b = a.clone();
                b[at] ^= 0x80;
                assert_eq!((common_prefix(&a, &b), common_suffix(&a, &b)), (at, a.len() - at - 1));
                assert_eq!((common_prefix(&a, &a[..at]), common_suffix(&a, &a[at..])), (at, a.len() - at));
            }
        }
    }
}
