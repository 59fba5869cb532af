//! In how much two texts differ.

use crate::bytes::{common_prefix, common_suffix};

/// Levenshtein's distance in characters, counted up to `max`: beyond it, `max` comes back. Takes time in the order of
/// the length times `max`, behind what both have in common at the ends.
pub(super) fn edit_distance(old: &str, new: &str, max: usize) -> usize {
    let (old, new) = without_common_ends(old, new);
    if old.len().max(new.len()) / 4 >= max && old.is_empty() != new.is_empty() {
        return max;
    }
    let (old, new): (Vec<char>, Vec<char>) = (old.chars().collect(), new.chars().collect());
    if old.len().abs_diff(new.len()) >= max {
        return max;
    }
    // Only a band of `max` beside the diagonal can hold a smaller distance.
    let mut above: Vec<usize> = (0..=new.len()).map(|at| at.min(max)).collect();
    let mut row = above.clone();
    for i in 1..=old.len() {
        let (from, to) = (i.saturating_sub(max).max(1), new.len().min(i + max));
        row[from - 1] = if from == 1 { i.min(max) } else { max };
        for j in from..=to {
            let replaced = above[j - 1] + usize::from(old[i - 1] != new[j - 1]);
            row[j] = replaced.min(above[j] + 1).min(row[j - 1] + 1).min(max);
        }
        if to < new.len() {
            row[to + 1] = max;
        }
        std::mem::swap(&mut above, &mut row);
    }
    above[new.len()]
}

/// Whether two texts differ, and in white space alone.
pub(super) fn is_whitespace_only(old: &str, new: &str) -> bool {
    let (old, new) = without_common_ends(old, new);
    old != new && letters(old).eq(letters(new))
}

fn letters(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|c| !c.is_whitespace())
}

/// What is left of two texts without what they have in common at both ends.
fn without_common_ends<'t>(old: &'t str, new: &'t str) -> (&'t str, &'t str) {
    let prefix = common_prefix(old.as_bytes(), new.as_bytes());
    let prefix = old.floor_char_boundary(prefix).min(new.floor_char_boundary(prefix));
    let (old, new) = (&old[prefix..], &new[prefix..]);
    let suffix = common_suffix(old.as_bytes(), new.as_bytes());
    let of = |text: &str| text.ceil_char_boundary(text.len() - suffix);
    // The ends are equal, so a boundary in one is a boundary in the other.
    (&old[..of(old)], &new[..of(new)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edit_distances_within_and_beyond_the_bound() {
        for (old, new, distance) in [
            ("", "", 0),
            ("a", "", 1),
            ("kitten", "sitting", 3),
            ("same", "same", 0),
            ("abcdef", "bcdefa", 2),
            ("åäö", "aäo", 2),
            ("intention", "execution", 5),
        ] {
            for max in 0..12 {
                assert_eq!(edit_distance(old, new, max), distance.min(max), "{old} {new} {max}");
                assert_eq!(edit_distance(new, old, max), distance.min(max), "{new} {old} {max}");
            }
        }
    }

    #[test]
    fn common_ends_are_cut_between_letters() {
        let long = "x".repeat(200);
        for (old, new, rest) in [
            ("", "", ("", "")),
            ("abc", "abc", ("", "")),
            ("abc", "axc", ("b", "x")),
            ("é", "è", ("é", "è")),
            ("aéb", "aèb", ("é", "è")),
            ("aa", "aaa", ("", "a")),
            (&format!("{long}1{long}"), &format!("{long}{long}"), ("1", "")),
        ] {
            assert_eq!(without_common_ends(old, new), rest, "{old} {new}");
        }
    }
}
