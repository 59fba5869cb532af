//! How a completion says what becomes of a file, and the parsers that read it back. A format is only of use if applying
//! what it says to the old contents gives the new ones, byte for byte; callers check that for every row.
//!
//! Lines end with a line feed and nothing else: a carriage return belongs to its line, and the last line of a file may have
//! no end.

use std::{fmt::Write as _, ops::Range};

use memchr::memmem;
use serde::{Deserialize, Serialize};

/// Letters of a marker of a search-replace block, as git's conflict markers have them (`conflict-marker-size`).
const MARKER_LETTERS: usize = 7;

/// Bytes that may be searched for one row, hunks times size: with more, one block takes all hunks.
const SEARCHED_BYTES_MAX: usize = 256 << 20;

/// What a diff says where a line does not end, in git's words.
const NO_NEWLINE: &str = "\\ No newline at end of file\n";

/// What a completion holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Edit {
    /// The new contents.
    WholeFile,
    /// Removed lines with their old numbers, added ones with their new numbers.
    LineDiff,
    /// The hunks of the unified diff.
    UnifiedDiff,
    /// Blocks of a text that is once in the file and of what takes its place.
    SearchReplace,
    /// No code: the commit's message.
    Message,
    /// No code: the first line of it.
    Subject,
}

impl Edit {
    /// Whether it says what becomes of the file.
    pub fn is_code(self) -> bool {
        !matches!(self, Edit::Message | Edit::Subject)
    }

    /// Whether it takes the old contents to make sense of it.
    pub fn needs_old(self) -> bool {
        matches!(self, Edit::LineDiff | Edit::UnifiedDiff | Edit::SearchReplace)
    }

    /// The edit from `old` to `new`, where `hunks` are those of the unified diff between them. None where `hunks` are no
    /// such hunks, and for what is no code.
    pub fn write(self, old: &str, new: &str, hunks: &str) -> Option<String> {
        match self {
            Edit::WholeFile => Some(new.to_owned()),
            Edit::UnifiedDiff => Some(hunks.to_owned()),
            Edit::LineDiff => Some(line_diff(old, &changes(hunks)?)),
            Edit::SearchReplace => search_replace(old, changes(hunks)?),
            Edit::Message | Edit::Subject => None,
        }
    }

    /// What `edit` makes of `old`; none where it does not apply.
    pub fn apply(self, old: &str, edit: &str) -> Option<String> {
        match self {
            Edit::WholeFile => Some(edit.to_owned()),
            Edit::UnifiedDiff => apply_unified(old, edit),
            Edit::LineDiff => apply_line_diff(old, edit),
            Edit::SearchReplace => apply_search_replace(old, edit),
            Edit::Message | Edit::Subject => None,
        }
    }
}

/// The hunks of a diff, without the lines before the first.
pub fn hunks(diff: &str) -> &str {
    match diff.starts_with("@@ ") {
        true => diff,
        false => diff.find("\n@@ ").map_or("", |at| &diff[at + 1..]),
    }
}

fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

/// A hunk: the number of its first old line, from 0, and lines with their signs.
struct Hunk<'a> {
    start: usize,
    lines: Vec<(char, &'a str)>,
}

/// Reads hunks; none where there is anything else.
fn parse(text: &str) -> Option<Vec<Hunk<'_>>> {
    let mut hunks: Vec<Hunk<'_>> = Vec::new();
    let mut rest = text.split_inclusive('\n').peekable();
    while let Some(header) = rest.next() {
        let (start, mut old, mut new) = parse_header(header)?;
        let mut lines: Vec<(char, &str)> = Vec::new();
        while old > 0 || new > 0 || rest.peek().is_some_and(|line| line.starts_with('\\')) {
            let line = rest.next()?;
            if line.starts_with('\\') {
                let (_, last) = lines.last_mut()?;
                *last = last.strip_suffix('\n')?;
                continue;
            }
            let sign = line.chars().next()?;
            match sign {
                ' ' => (old, new) = (old.checked_sub(1)?, new.checked_sub(1)?),
                '-' => old = old.checked_sub(1)?,
                '+' => new = new.checked_sub(1)?,
                _ => return None,
            }
            lines.push((sign, &line[1..]));
        }
        hunks.push(Hunk { start, lines });
    }
    Some(hunks)
}

/// Of `@@ -start,length +start,length @@`: the index of the first old line, and both lengths.
fn parse_header(line: &str) -> Option<(usize, usize, usize)> {
    let (ranges, _function) = line.strip_prefix("@@ -")?.split_once(" @@")?;
    let (old, new) = ranges.split_once(" +")?;
    let range = |text: &str| -> Option<(usize, usize)> {
        let (start, length) = text.split_once(',').unwrap_or((text, "1"));
        Some((start.parse().ok()?, length.parse().ok()?))
    };
    let ((start, old), (_, new)) = (range(old)?, range(new)?);
    // An empty range names the line before it.
    Some((if old == 0 { start } else { start.checked_sub(1)? }, old, new))
}

fn apply_unified(old: &str, edit: &str) -> Option<String> {
    let before = lines(old);
    let (mut after, mut at) = (String::with_capacity(old.len()), 0);
    for hunk in parse(edit)? {
        before.get(at..hunk.start)?.iter().for_each(|line| after.push_str(line));
        at = hunk.start;
        for (sign, line) in hunk.lines {
            if sign != '+' {
                if before.get(at) != Some(&line) {
                    return None;
                }
                at += 1;
            }
            if sign != '-' {
                after.push_str(line);
            }
        }
    }
    before.get(at..)?.iter().for_each(|line| after.push_str(line));
    Some(after)
}

/// Old lines, from 0, and what takes their place.
struct Change<'a> {
    old: Range<usize>,
    new: Vec<&'a str>,
}

/// The changes of hunks without their context.
fn changes(hunks: &str) -> Option<Vec<Change<'_>>> {
    let mut changes: Vec<Change<'_>> = Vec::new();
    for hunk in parse(hunks)? {
        let (mut at, mut is_open) = (hunk.start, false);
        for (sign, line) in hunk.lines {
            if sign == ' ' {
                (at, is_open) = (at + 1, false);
                continue;
            }
            if !is_open {
                changes.push(Change { old: at..at, new: Vec::new() });
                is_open = true;
            }
            let change = changes.last_mut()?;
            if sign == '-' {
                at += 1;
                change.old.end = at;
            } else {
                change.new.push(line);
            }
        }
    }
    Some(changes)
}

fn line_diff(old: &str, changes: &[Change<'_>]) -> String {
    let before = lines(old);
    let mut text = String::new();
    let mut write = |sign: char, number: usize, line: &str| {
        let _infallible = write!(text, "{sign} {number} {line}");
        if !line.ends_with('\n') {
            text.push('\n');
            text.push_str(NO_NEWLINE);
        }
    };
    let (mut added, mut removed) = (0, 0);
    for change in changes {
        for number in change.old.clone() {
            write('-', number + 1, before.get(number).copied().unwrap_or_default());
        }
        for (number, line) in change.new.iter().enumerate() {
            write('+', change.old.start + added - removed + number + 1, line);
        }
        added += change.new.len();
        removed += change.old.len();
    }
    text
}

fn apply_line_diff(old: &str, edit: &str) -> Option<String> {
    let mut removed: Vec<(usize, &str)> = Vec::new();
    let mut added: Vec<(usize, &str)> = Vec::new();
    let mut rest = edit.split_inclusive('\n').peekable();
    while let Some(line) = rest.next() {
        let (number, mut text) = line.get(2..)?.split_once(' ')?;
        if rest.next_if(|next| next.starts_with('\\')).is_some() {
            text = text.strip_suffix('\n')?;
        }
        let (numbers, number) = match line.get(..2)? {
            "- " => (&mut removed, number.parse().ok()?),
            "+ " => (&mut added, number.parse().ok()?),
            _ => return None,
        };
        if number <= numbers.last().map_or(0, |(before, _)| *before) {
            return None;
        }
        numbers.push((number, text));
    }
    let (mut removed, mut added) = (removed.into_iter().peekable(), added.into_iter().peekable());
    let mut after = String::with_capacity(old.len());
    let mut written = 0;
    let mut add = |after: &mut String, written: &mut usize| {
        while let Some((_, line)) = added.next_if(|(number, _)| *number == *written + 1) {
            after.push_str(line);
            *written += 1;
        }
    };
    for (at, line) in old.split_inclusive('\n').enumerate() {
        if let Some((_, text)) = removed.next_if(|(number, _)| *number == at + 1) {
            if text != line {
                return None;
            }
            continue;
        }
        add(&mut after, &mut written);
        after.push_str(line);
        written += 1;
    }
    add(&mut after, &mut written);
    (removed.next().is_none() && added.next().is_none()).then_some(after)
}

/// Blocks that are applied one behind the other: each one's search text is once in what the blocks before it have made,
/// widened by lines around it until it is.
fn search_replace(old: &str, changes: Vec<Change<'_>>) -> Option<String> {
    let mut starts = vec![0];
    starts.extend(memchr::memchr_iter(b'\n', old.as_bytes()).map(|at| at + 1));
    if starts.last() != Some(&old.len()) {
        starts.push(old.len());
    }
    let is_too_much = changes.len().saturating_mul(old.len()) > SEARCHED_BYTES_MAX;
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    for change in changes {
        let range = *starts.get(change.old.start)?..*starts.get(change.old.end)?;
        match edits.last_mut() {
            Some((before, text)) if is_too_much => {
                text.push_str(old.get(before.end..range.start)?);
                text.extend(change.new);
                before.end = range.end;
            }
            _ => edits.push((range, change.new.concat())),
        }
    }
    let (mut current, mut text) = (old.to_owned(), String::new());
    for (range, new) in edits {
        // What is behind `range` is in `current` as it is in `old`, so its place is known from the end.
        let (from, to) = (current.len() - (old.len() - range.start), current.len() - (old.len() - range.end));
        let (search, replace) = block(&current, from..to, &new);
        write_block(&mut text, &search, &replace);
        current.replace_range(from..to, &new);
    }
    Some(text)
}

/// A text that is once in `current` and has `range` in it, and what it becomes where `new` takes the place of `range`.
/// Both are without their last line feed where both have one.
fn block(current: &str, range: Range<usize>, new: &str) -> (String, String) {
    let mut lines_around = 0;
    loop {
        let (from, to) = widened(current, &range, lines_around);
        let search = &current[from..to];
        let replace = [&current[from..range.start], new, &current[range.end..to]].concat();
        let is_whole = (from, to) == (0, current.len());
        let short = search.strip_suffix('\n').zip(replace.strip_suffix('\n'));
        match short {
            Some((search, replace)) if !search.is_empty() && is_once(current, search) => {
                return (search.to_owned(), replace.to_owned());
            }
            _ if is_whole => return (search.to_owned(), replace),
            None if !search.is_empty() && !replace.is_empty() && is_once(current, search) => {
                return (search.to_owned(), replace);
            }
            _ => lines_around = if lines_around < 4 { lines_around + 1 } else { lines_around * 2 },
        }
    }
}

/// `range` with so many lines before and behind it.
fn widened(text: &str, range: &Range<usize>, lines: usize) -> (usize, usize) {
    let bytes = text.as_bytes();
    let (mut from, mut to) = (range.start, range.end);
    for _ in 0..lines {
        if from > 0 {
            from = memchr::memrchr(b'\n', &bytes[..from - 1]).map_or(0, |at| at + 1);
        }
        to += memchr::memchr(b'\n', &bytes[to..]).map_or(bytes.len() - to, |at| at + 1);
    }
    (from, to)
}

fn is_once(text: &str, part: &str) -> bool {
    let first = memmem::find(text.as_bytes(), part.as_bytes());
    first.is_some() && first == memmem::rfind(text.as_bytes(), part.as_bytes())
}

fn marks(letters: usize) -> [String; 3] {
    [format!("{} SEARCH", "<".repeat(letters)), "=".repeat(letters), format!("{} REPLACE", ">".repeat(letters))]
}

/// Markers are as long as it takes to be no line of either text.
fn write_block(out: &mut String, search: &str, replace: &str) {
    let mut letters = MARKER_LETTERS;
    let is_line = |mark: &String| search.split('\n').chain(replace.split('\n')).any(|line| line == mark);
    while marks(letters).iter().any(is_line) {
        letters += 1;
    }
    let [begin, middle, end] = marks(letters);
    let _infallible = write!(out, "{begin}\n{search}\n{middle}\n{replace}\n{end}\n");
}

fn apply_search_replace(old: &str, edit: &str) -> Option<String> {
    let (mut current, mut rest) = (old.to_owned(), edit);
    while !rest.is_empty() {
        let letters = rest.bytes().take_while(|byte| *byte == b'<').count();
        let [begin, middle, end] = marks(letters);
        // The line feed in front of a marker belongs to it, so an empty text is an empty line.
        let body = rest.strip_prefix(&begin).filter(|_| letters >= MARKER_LETTERS)?.strip_prefix('\n')?;
        let (search, body) = body.split_once(&format!("\n{middle}\n"))?;
        let (replace, behind) = body.split_once(&format!("\n{end}\n"))?;
        rest = behind;
        let at = match search {
            "" if current.is_empty() => 0,
            "" => return None,
            _ if is_once(&current, search) => current.find(search)?,
            _ => return None,
        };
        current.replace_range(at..at + search.len(), replace);
    }
    Some(current)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::{diff, lines::Comparer};

    const CODE: [Edit; 4] = [Edit::WholeFile, Edit::LineDiff, Edit::UnifiedDiff, Edit::SearchReplace];

    fn check(old: &str, new: &str) {
        let hunks = diff::hunks(&mut Comparer::default(), old, new);
        for edit in CODE {
            let text = edit.write(old, new, &hunks).unwrap_or_else(|| panic!("{edit:?} of {old:?} and {new:?}"));
            assert_eq!(edit.apply(old, &text).as_deref(), Some(new), "{edit:?} of {old:?}: {text}");
        }
    }

    #[test]
    fn every_format_gives_the_new_contents_back() {
        let heading = "Title\n=======\n\ntext\n";
        let many: String = (0..60).map(|n| format!("line {}\n", n % 7)).collect();
        let texts = [
            "",
            "a",
            "a\n",
            "\n",
            "\n\n",
            "\n\n\n",
            "a\nb\nc\n",
            "a\nb\nc",
            "a\nb\r\nc\r\n",
            "a\n\n\na\n",
            "b\na\na\na\na\n",
            "a\na\na\na\na",
            heading,
            "Title\n=======\n========\n\ntext",
            "<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n",
            "<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE",
            "- 1 a\n+ 1 b\n\\ No newline at end of file\n",
            "@@ -1 +1 @@\n-a\n+b\n",
            "\\ No newline at end of file",
            "x\u{2028}y\u{b}z\u{85}\n\u{c}\r\r\n",
            "```\ncode\n```\n",
            &many,
            &many.replace("line 3\nline 4", "line 3\nadded\nline 4"),
            &many.replacen("line 5", "other", 3),
        ];
        for old in texts {
            for new in texts.iter().filter(|new| **new != old) {
                check(old, new);
            }
        }
    }

    #[test]
    fn texts_of_few_letters_come_back() {
        // All pairs of texts that are so short and so alike that every place is ambiguous.
        let texts: Vec<String> =
            (0..243).map(|n: usize| (0..5).map(|at| ["a", "\n", "aa\n"][n / 3_usize.pow(at) % 3]).collect()).collect();
        for (n, old) in texts.iter().enumerate() {
            for new in texts.iter().skip(n % 7).step_by(7).filter(|new| *new != old) {
                check(old, new);
            }
        }
    }

    #[test]
    fn an_edit_of_another_text_does_not_apply() {
        let (old, new) = ("a\nb\nc\n", "a\nx\nc\n");
        let hunks = diff::hunks(&mut Comparer::default(), old, new);
        for edit in [Edit::LineDiff, Edit::UnifiedDiff, Edit::SearchReplace] {
            let text = edit.write(old, new, &hunks).expect("an edit");
            assert_eq!(edit.apply("a\ny\nc\n", &text), None, "{edit:?}");
            assert_eq!(
                edit.apply(old, &text[..text.len() - 4]).filter(|found| found == new),
                None,
                "{edit:?}, cut short"
            );
            assert_eq!(edit.apply(old, &format!("x{text}")), None, "{edit:?}, with something in front");
        }
        assert_eq!(Edit::SearchReplace.apply("b\nb\n", "<<<<<<< SEARCH\nb\n=======\nx\n>>>>>>> REPLACE\n"), None);
        assert_eq!(Edit::LineDiff.apply(old, "+ 9 x\n"), None, "a line beyond the end");
    }

    #[test]
    fn blocks_are_as_small_as_they_can_be() {
        let old = "one\ntwo\nthree\ntwo\nfour\n";
        let new = "one\ntwo\nthree\n2\nfour\n";
        let hunks = diff::hunks(&mut Comparer::default(), old, new);
        let text = Edit::SearchReplace.write(old, new, &hunks).expect("an edit");
        assert_eq!(text, "<<<<<<< SEARCH\nthree\ntwo\nfour\n=======\nthree\n2\nfour\n>>>>>>> REPLACE\n");
        let text = Edit::LineDiff.write(old, new, &hunks).expect("an edit");
        assert_eq!(text, "- 4 two\n+ 4 2\n");
    }
}
