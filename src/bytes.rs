//! How much two sequences have in common at their ends.

/// Steps in which they are compared: calls of the system's comparison, then a vector at a time.
const STEPS: [usize; 2] = [256, 16];

/// Lower-case hexadecimal digits, two for each byte.
pub fn hex(bytes: &[u8]) -> String {
    faster_hex::hex_string(bytes)
}

/// How many bytes `a` and `b` have in common at the start.
pub fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let mut same = in_steps::<u8, { STEPS[0] }>(a, b);
    for (a, b) in a[same..].as_chunks().0.iter().zip(b[same..].as_chunks().0) {
        match u128::from_le_bytes(*a) ^ u128::from_le_bytes(*b) {
            0 => same += STEPS[1],
            // Where they differ is in the lowest bits that do; to look at one byte after the other takes longer.
            differs => return same + (differs.trailing_zeros() / u8::BITS) as usize,
        }
    }
    same + a[same..].iter().zip(&b[same..]).take_while(|(a, b)| a == b).count()
}

/// How many bytes `a` and `b` have in common at the end.
pub fn common_suffix(a: &[u8], b: &[u8]) -> usize {
    let same = in_steps_back::<u8, { STEPS[0] }>(a, b);
    let (mut a, mut b, mut same) = (&a[..a.len() - same], &b[..b.len() - same], same);
    while let (Some((front_a, last_a)), Some((front_b, last_b))) = (a.split_last_chunk(), b.split_last_chunk()) {
        match u128::from_le_bytes(*last_a) ^ u128::from_le_bytes(*last_b) {
            0 => (a, b, same) = (front_a, front_b, same + STEPS[1]),
            differs => return same + (differs.leading_zeros() / u8::BITS) as usize,
        }
    }
    same + a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count()
}

/// How many items `a` and `b` have in common at the start.
pub fn common_items<T: PartialEq>(a: &[T], b: &[T]) -> usize {
    let far = in_steps::<T, { STEPS[0] }>(a, b);
    let near = far + in_steps::<T, { STEPS[1] }>(&a[far..], &b[far..]);
    near + a[near..].iter().zip(&b[near..]).take_while(|(a, b)| a == b).count()
}

/// How many items `a` and `b` have in common at the end.
pub fn common_items_back<T: PartialEq>(a: &[T], b: &[T]) -> usize {
    let far = in_steps_back::<T, { STEPS[0] }>(a, b);
    let near = far + in_steps_back::<T, { STEPS[1] }>(&a[..a.len() - far], &b[..b.len() - far]);
    let (a, b) = (&a[..a.len() - near], &b[..b.len() - near]);
    near + a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count()
}

fn in_steps<T: PartialEq, const STEP: usize>(a: &[T], b: &[T]) -> usize {
    let steps = a.as_chunks::<STEP>().0.iter().zip(b.as_chunks::<STEP>().0);
    steps.take_while(|(a, b)| same(a, b)).count() * STEP
}

fn in_steps_back<T: PartialEq, const STEP: usize>(a: &[T], b: &[T]) -> usize {
    let steps = a.as_rchunks::<STEP>().1.iter().rev().zip(b.as_rchunks::<STEP>().1.iter().rev());
    steps.take_while(|(a, b)| same(a, b)).count() * STEP
}

/// Of bytes, the system's comparison is the fastest; of larger items, one that looks at all of them and needs no branches.
fn same<T: PartialEq, const STEP: usize>(a: &[T; STEP], b: &[T; STEP]) -> bool {
    if size_of::<T>() == 1 { a == b } else { a.iter().zip(b).fold(true, |same, (a, b)| same & (a == b)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_common_is_counted_over_blocks() {
        for length in [0, 1, 15, 16, 17, 255, 256, 257, 600] {
            let a: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let wide = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).collect::<Vec<u32>>();
            let ends = |a: &[u8], b: &[u8]| {
                let ends = (common_prefix(a, b), common_suffix(a, b));
                let (a, b) = (wide(a), wide(b));
                assert_eq!((common_items(&a, &b), common_items_back(&a, &b)), ends);
                ends
            };
            assert_eq!(ends(&a, &a), (a.len(), a.len()));
            for at in 0..a.len() {
                let mut b = a.clone();
                b[at] ^= 0x80;
                assert_eq!(ends(&a, &b), (at, a.len() - at - 1));
                assert_eq!((ends(&a, &a[..at]).0, ends(&a, &a[at..]).1), (at, a.len() - at));
            }
        }
    }
}
