//! Patches of tasks: unified diffs of several files, with or without git's headers.

use crate::dedup::words::mix;

/// The lines of a unified diff that are taken or added, those that stand together in one piece.
pub(super) fn changed_blocks(patch: &str) -> Vec<&str> {
    let (mut blocks, mut from, mut at, mut is_in_hunk) = (Vec::new(), None, 0, false);
    for line in patch.split_inclusive('\n') {
        is_in_hunk = (is_in_hunk || line.starts_with("@@")) && !line.starts_with("diff --git ");
        // The header of the next file looks like a line that is taken away and one that is added, with a path each.
        let is_header = line.starts_with("--- ") && patch[at + line.len()..].starts_with("+++ ");
        is_in_hunk &= !is_header;
        match (from, is_in_hunk && line.starts_with(['+', '-'])) {
            (None, true) => from = Some(at),
            (Some(start), false) => {
                blocks.push(&patch[start..at]);
                from = None;
            }
            _ => {}
        }
        at += line.len();
    }
    blocks.extend(from.map(|start| &patch[start..]));
    blocks
}

/// The parts of a unified diff that are about one file each.
pub(super) fn files_of(patch: &str) -> Vec<&str> {
    // A line that is taken away may begin with two hyphens, too; no name of a new file follows it.
    let is_header = |at: &usize| patch[*at..].lines().nth(1).is_some_and(|line| line.starts_with("+++ "));
    let mut starts: Vec<usize> = patch.match_indices("\n--- ").map(|(at, _)| at + 1).filter(is_header).collect();
    if patch.starts_with("--- ") {
        starts.insert(0, 0);
    }
    let ends = starts.iter().skip(1).copied().chain([patch.len()]);
    starts.iter().zip(ends).map(|(start, end)| &patch[*start..end]).collect()
}

/// A hash of the lines that a diff of one file takes and adds; none where it changes no letter or digit.
pub(super) fn changed(diff: &str) -> Option<u64> {
    let hunks = diff.lines().skip_while(|line| !line.starts_with("@@"));
    // The header of the next file may follow.
    let lines = hunks.take_while(|line| !line.starts_with("diff --git ")).filter(|line| line.starts_with(['+', '-']));
    let (hash, tells) = lines.fold((0_u64, false), |(all, tells), line| {
        let hash = line
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        (mix(all.rotate_left(5) ^ hash), tells || line.bytes().any(|byte| byte.is_ascii_alphanumeric()))
    });
    tells.then_some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_lines_come_in_blocks() {
        let patch =
            "--- a/x\n+++ b/x\n@@ -1,3 +1,4 @@ a\n a\n-b\n+c\n+and one\n a\n--- a/y\n+++ b/y\n@@ -1 +1 @@\n-- c\n+++ d";
        assert_eq!(changed_blocks(patch), ["-b\n+c\n+and one\n", "-- c\n+++ d"]);
        assert_eq!(changed_blocks("no patch\n+at all\n"), [""; 0]);
    }
}
