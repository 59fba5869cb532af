//! The unified diff of two texts, as `git diff --full-index` prints it: Myers with git's slider, three lines of context.

use std::{ops::Range, rc::Rc};

use bstr::ByteVec as _;

use super::{
    change::Change,
    lines::{CONTEXT, Compared, Comparer, Hunk, Text},
};

/// Most bytes of the enclosing function's line that stand behind a hunk header, git's `struct func_line` buffer.
const FUNCTION_BYTES_MAX: usize = 80;

/// Room for most diffs, in bytes.
const DIFF_BYTES: usize = 4096;

/// A diff and its size.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Unified {
    /// Headers, hunks and no-newline marks; `git apply` turns old into new with it.
    pub text: String,
    /// Lines added.
    pub additions: u32,
    /// Lines removed.
    pub deletions: u32,
}

/// The diff that turns `old` into `new` (`None`: the file does not exist) at the paths of `change`.
pub fn unified(
    comparer: &mut Comparer,
    change: &Change,
    old: Option<&Rc<String>>,
    new: Option<&Rc<String>>,
) -> Unified {
    let mut out = Vec::with_capacity(DIFF_BYTES);
    let new_path = Path::new(&change.path);
    let old_path = change.old_path.as_deref().map_or(new_path, Path::new);
    write_header(&mut out, change, [old_path, new_path]);
    let nothing = Rc::default();
    let (before, after) = (old.unwrap_or(&nothing), new.unwrap_or(&nothing));
    if before == after {
        return Unified::of(out, &[]);
    }
    for (sign, prefix, path, exists) in
        [("--- ", "a/", old_path, change.old.is_some()), ("+++ ", "b/", new_path, change.new.is_some())]
    {
        out.extend_from_slice(sign.as_bytes());
        if exists {
            path.write(&mut out, prefix);
            // A name with a space gets a tab behind it, so that a patch reader finds its end.
            out.extend_from_slice(if path.bytes.contains(&b' ') { b"\t\n" } else { b"\n" });
        } else {
            out.extend_from_slice(b"/dev/null\n");
        }
    }
    let hunks = write_hunks(&mut out, comparer, before, after).hunks;
    Unified::of(out, hunks)
}

/// The diff between other contents of the same files: the headers are those of `diff`, and its hunks are made anew. `diff` has
/// hunks.
pub fn with_contents(comparer: &mut Comparer, diff: &str, old: Option<&str>, new: Option<&str>) -> Unified {
    // No header begins so, and a newline in a path is quoted.
    let headers = diff.find("\n@@ -").map_or(diff.len(), |at| at + 1);
    let mut out = diff.as_bytes()[..headers].to_vec();
    let [old, new] = [old, new].map(|text| Rc::new(text.unwrap_or_default().to_owned()));
    let hunks = write_hunks(&mut out, comparer, &old, &new).hunks;
    Unified::of(out, hunks)
}

impl Unified {
    fn of(bytes: Vec<u8>, hunks: &[Hunk]) -> Self {
        Unified {
            text: text(bytes),
            additions: hunks.iter().map(|hunk| hunk.after.len() as u32).sum(),
            deletions: hunks.iter().map(|hunk| hunk.before.len() as u32).sum(),
        }
    }
}

fn text(diff: Vec<u8>) -> String {
    diff.into_string().expect("it is made of lines of texts")
}

/// The hunks of the diff that turns `old` into `new`, without any line before the first.
pub fn hunks(comparer: &mut Comparer, old: &str, new: &str) -> String {
    let mut out = Vec::new();
    if old != new {
        let [old, new] = [old, new].map(|text| Rc::new(text.to_owned()));
        write_hunks(&mut out, comparer, &old, &new);
    }
    text(out)
}

/// Also what was compared, with its hunks.
fn write_hunks<'a>(out: &mut Vec<u8>, comparer: &'a mut Comparer, old: &Rc<String>, new: &Rc<String>) -> Compared<'a> {
    let compared = comparer.compare(old, new);
    let hunks = compared.hunks;
    let mut from = 0;
    while from < hunks.len() {
        let mut to = from + 1;
        // Two changes share a hunk where their contexts touch, as in xdl_get_hunk.
        while to < hunks.len() && hunks[to].before.start - hunks[to - 1].before.end <= 2 * CONTEXT {
            to += 1;
        }
        write_hunk(out, &compared, &hunks[from..to]);
        from = to;
    }
    compared
}

fn write_hunk(out: &mut Vec<u8>, Compared { before, after, .. }: &Compared<'_>, hunks: &[Hunk]) {
    let (first, last) = (&hunks[0], &hunks[hunks.len() - 1]);
    let lead = first.before.start.min(CONTEXT);
    let trail = (before.line_count() - last.before.end).min(CONTEXT);
    let (start, end) = (first.before.start - lead, last.before.end + trail);
    let (new_start, new_end) = (first.after.start - lead, last.after.end + trail);
    out.extend_from_slice(b"@@ -");
    write_range(out, start, end - start);
    out.extend_from_slice(b" +");
    write_range(out, new_start, new_end - new_start);
    out.extend_from_slice(b" @@");
    if let Some(line) = before.line_before(start, begins_function) {
        push(out, &[b" ", function_part(line).as_bytes()]);
    }
    out.push(b'\n');
    let mut at = start;
    for hunk in hunks {
        write_lines(out, b' ', before, at..hunk.before.start);
        write_lines(out, b'-', before, hunk.before.clone());
        write_lines(out, b'+', after, hunk.after.clone());
        at = hunk.before.end;
    }
    write_lines(out, b' ', before, at..end);
}

/// An empty range names the line before it, and a length of one is left out, as POSIX has it.
fn write_range(out: &mut Vec<u8>, start: u32, len: u32) {
    let first = if len == 0 { start } else { start + 1 };
    write_number(out, first);
    if len != 1 {
        out.push(b',');
        write_number(out, len);
    }
}

fn write_number(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn write_lines(out: &mut Vec<u8>, sign: u8, text: &Text, numbers: Range<u32>) {
    let count = numbers.len();
    let (lines, ends) = text.lines(numbers);
    out.reserve(lines.len() + count);
    let mut from = 0;
    for to in ends {
        out.push(sign);
        out.extend_from_slice(&lines[from..to]);
        from = to;
    }
    // Only the last line of all can have no end.
    if count > 0 && !lines.ends_with(b"\n") {
        out.extend_from_slice(b"\n\\ No newline at end of file\n");
    }
}

/// git's default idea of a function line (def_ff in xdiff/xemit.c): it starts with a letter, `_` or `$`.
fn begins_function(first: u8) -> bool {
    first.is_ascii_alphabetic() || first == b'_' || first == b'$'
}

/// What of a function line stands behind a hunk header.
fn function_part(line: &str) -> &str {
    let end = line.floor_char_boundary(FUNCTION_BYTES_MAX);
    line[..end].trim_end_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c'])
}

/// `paths` are those before and after.
fn write_header(out: &mut Vec<u8>, change: &Change, paths: [Path<'_>; 2]) {
    let mode = |executable: bool| -> &[u8] { if executable { b"100755" } else { b"100644" } };
    for (before, prefix, path) in [("diff --git ", "a/", paths[0]), (" ", "b/", paths[1])] {
        out.extend_from_slice(before.as_bytes());
        path.write(out, prefix);
    }
    out.push(b'\n');
    let modes = (change.old.map(|f| mode(f.executable)), change.new.map(|f| mode(f.executable)));
    let mut index_mode = None;
    match modes {
        (None, Some(new)) => push(out, &[b"new file mode ", new, b"\n"]),
        (Some(old), None) => push(out, &[b"deleted file mode ", old, b"\n"]),
        (Some(old), Some(new)) if old != new => push(out, &[b"old mode ", old, b"\nnew mode ", new, b"\n"]),
        (mode, _) => index_mode = mode,
    }
    if change.old_path.is_some() {
        out.extend_from_slice(b"similarity index ");
        write_number(out, change.similarity_percent.into());
        for (before, path) in [("%\nrename from ", paths[0]), ("\nrename to ", paths[1])] {
            out.extend_from_slice(before.as_bytes());
            path.write(out, "");
        }
        out.push(b'\n');
    }
    let ids = (change.old.map(|file| file.id), change.new.map(|file| file.id));
    let null = ids.0.or(ids.1).map(|id| id.kind().null());
    if let (Some(old), Some(new)) = (ids.0.or(null), ids.1.or(null))
        && old != new
    {
        let (mut old_hex, mut new_hex) = (gix::hash::Kind::hex_buf(), gix::hash::Kind::hex_buf());
        let (old, new) = (old.hex_to_buf(&mut old_hex), new.hex_to_buf(&mut new_hex));
        push(out, &[b"index ", old.as_bytes(), b"..", new.as_bytes()]);
        index_mode.into_iter().for_each(|mode| push(out, &[b" ", mode]));
        out.push(b'\n');
    }
}

fn push(out: &mut Vec<u8>, parts: &[&[u8]]) {
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

/// A path, and whether git prints it as it is.
#[derive(Clone, Copy)]
struct Path<'a> {
    bytes: &'a [u8],
    is_plain: bool,
}

impl<'a> Path<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Path { bytes, is_plain: bytes.iter().fold(true, |all, byte| all & is_plain(*byte)) }
    }

    /// Behind `prefix` as git quotes it by default (core.quotePath): C escapes, octal for every byte outside of ASCII.
    fn write(self, out: &mut Vec<u8>, prefix: &str) {
        if self.is_plain {
            return push(out, &[prefix.as_bytes(), self.bytes]);
        }
        push(out, &[b"\"", prefix.as_bytes()]);
        for byte in self.bytes {
            match byte {
                b'"' => out.extend_from_slice(b"\\\""),
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'\x07' => out.extend_from_slice(b"\\a"),
                b'\x08' => out.extend_from_slice(b"\\b"),
                b'\t' => out.extend_from_slice(b"\\t"),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\x0b' => out.extend_from_slice(b"\\v"),
                b'\x0c' => out.extend_from_slice(b"\\f"),
                b'\r' => out.extend_from_slice(b"\\r"),
                byte if is_plain(*byte) => out.push(*byte),
                byte => out.extend_from_slice(format!("\\{byte:03o}").as_bytes()),
            }
        }
        out.push(b'"');
    }
}

fn is_plain(byte: u8) -> bool {
    (0x20..0x7f).contains(&byte) && byte != b'"' && byte != b'\\'
}
