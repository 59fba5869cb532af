//! The unified diff of two texts, as `git diff --full-index` prints it: Myers with git's slider, three lines of context.

use std::{fmt::Write as _, ops::Range, rc::Rc};

use super::{
    change::Change,
    lines::{CONTEXT, Compared, Comparer, Hunk, Text},
};

/// Most bytes of the enclosing function's line that stand behind a hunk header, git's `struct func_line` buffer.
const FUNCTION_BYTES_MAX: usize = 80;

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
    let mut unified = Unified::default();
    write_header(&mut unified.text, change);
    let nothing = Rc::default();
    let (before, after) = (old.unwrap_or(&nothing), new.unwrap_or(&nothing));
    if before == after {
        return unified;
    }
    write_names(&mut unified.text, change);
    unified.write(comparer, before, after);
    unified
}

/// The diff between other contents of the same files: the headers are those of `diff`, and its hunks are made anew. `diff` has
/// hunks.
pub fn with_contents(comparer: &mut Comparer, diff: &str, old: Option<&str>, new: Option<&str>) -> Unified {
    // No header begins so, and a newline in a path is quoted.
    let headers = diff.find("\n@@ -").map_or(diff.len(), |at| at + 1);
    let mut unified = Unified { text: diff[..headers].to_owned(), ..Unified::default() };
    let [old, new] = [old, new].map(|text| Rc::new(text.unwrap_or_default().to_owned()));
    unified.write(comparer, &old, &new);
    unified
}

impl Unified {
    fn write(&mut self, comparer: &mut Comparer, old: &Rc<String>, new: &Rc<String>) {
        let hunks = write_hunks(&mut self.text, comparer, old, new).hunks;
        self.additions = hunks.iter().map(|hunk| hunk.after.len() as u32).sum();
        self.deletions = hunks.iter().map(|hunk| hunk.before.len() as u32).sum();
    }
}

/// The hunks of the diff that turns `old` into `new`, without any line before the first.
pub fn hunks(comparer: &mut Comparer, old: &str, new: &str) -> String {
    let mut text = String::new();
    if old != new {
        let [old, new] = [old, new].map(|text| Rc::new(text.to_owned()));
        write_hunks(&mut text, comparer, &old, &new);
    }
    text
}

/// Also what was compared, with its hunks.
fn write_hunks<'a>(out: &mut String, comparer: &'a mut Comparer, old: &Rc<String>, new: &Rc<String>) -> Compared<'a> {
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

fn write_hunk(out: &mut String, Compared { before, after, .. }: &Compared<'_>, hunks: &[Hunk]) {
    let (first, last) = (&hunks[0], &hunks[hunks.len() - 1]);
    let lead = first.before.start.min(CONTEXT);
    let trail = (before.line_count() - last.before.end).min(CONTEXT);
    let (start, end) = (first.before.start - lead, last.before.end + trail);
    let (new_start, new_end) = (first.after.start - lead, last.after.end + trail);
    out.push_str("@@ -");
    write_range(out, start, end - start);
    out.push_str(" +");
    write_range(out, new_start, new_end - new_start);
    out.push_str(" @@");
    if let Some(function) = before.lines_before(start).find_map(function_line) {
        out.push(' ');
        out.push_str(function);
    }
    out.push('\n');
    let mut at = start;
    for hunk in hunks {
        write_lines(out, ' ', before, at..hunk.before.start);
        write_lines(out, '-', before, hunk.before.clone());
        write_lines(out, '+', after, hunk.after.clone());
        at = hunk.before.end;
    }
    write_lines(out, ' ', before, at..end);
}

/// An empty range names the line before it, and a length of one is left out, as POSIX has it.
fn write_range(out: &mut String, start: u32, len: u32) {
    let first = if len == 0 { start } else { start + 1 };
    let _infallible = if len == 1 { write!(out, "{first}") } else { write!(out, "{first},{len}") };
}

fn write_lines(out: &mut String, sign: char, text: &Text, numbers: Range<u32>) {
    for line in numbers.map(|number| text.line(number)) {
        out.push(sign);
        out.push_str(line);
        if !line.ends_with('\n') {
            out.push_str("\n\\ No newline at end of file\n");
        }
    }
}

/// git's default idea of a function line (def_ff in xdiff/xemit.c): it starts with a letter, `_` or `$`.
fn function_line(line: &str) -> Option<&str> {
    let first = *line.as_bytes().first()?;
    if !(first.is_ascii_alphabetic() || first == b'_' || first == b'$') {
        return None;
    }
    let mut end = line.len().min(FUNCTION_BYTES_MAX);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    Some(line[..end].trim_end_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']))
}

fn write_header(out: &mut String, change: &Change) {
    let old_path = change.old_path.as_deref().unwrap_or(&change.path);
    let mode = |executable: bool| if executable { "100755" } else { "100644" };
    push(out, &["diff --git "]);
    write_quoted(out, "a/", old_path);
    push(out, &[" "]);
    write_quoted(out, "b/", &change.path);
    push(out, &["\n"]);
    let modes = (change.old.map(|f| mode(f.executable)), change.new.map(|f| mode(f.executable)));
    let mut index_mode = None;
    match modes {
        (None, Some(new)) => push(out, &["new file mode ", new, "\n"]),
        (Some(old), None) => push(out, &["deleted file mode ", old, "\n"]),
        (Some(old), Some(new)) if old != new => push(out, &["old mode ", old, "\nnew mode ", new, "\n"]),
        (mode, _) => index_mode = mode,
    }
    if change.old_path.is_some() {
        let _infallible = writeln!(out, "similarity index {}%", change.similarity_percent);
        push(out, &["rename from "]);
        write_quoted(out, "", old_path);
        push(out, &["\nrename to "]);
        write_quoted(out, "", &change.path);
        push(out, &["\n"]);
    }
    let ids = (change.old.map(|file| file.id), change.new.map(|file| file.id));
    let null = ids.0.or(ids.1).map(|id| id.kind().null());
    if let (Some(old), Some(new)) = (ids.0.or(null), ids.1.or(null))
        && old != new
    {
        let (mut old_hex, mut new_hex) = (gix::hash::Kind::hex_buf(), gix::hash::Kind::hex_buf());
        push(out, &["index ", old.hex_to_buf(&mut old_hex), "..", new.hex_to_buf(&mut new_hex)]);
        index_mode.into_iter().for_each(|mode| push(out, &[" ", mode]));
        push(out, &["\n"]);
    }
}

fn push(out: &mut String, parts: &[&str]) {
    parts.iter().for_each(|part| out.push_str(part));
}

fn write_names(out: &mut String, change: &Change) {
    let mut side = |sign: &str, prefix: &str, path: &[u8], exists: bool| {
        push(out, &[sign]);
        if exists {
            write_quoted(out, prefix, path);
        } else {
            push(out, &["/dev/null"]);
        }
        // A name with a space gets a tab behind it, so that a patch reader finds its end.
        push(out, &[if exists && path.contains(&b' ') { "\t\n" } else { "\n" }]);
    };
    side("--- ", "a/", change.old_path.as_deref().unwrap_or(&change.path), change.old.is_some());
    side("+++ ", "b/", &change.path, change.new.is_some());
}

/// A path as git quotes it by default (core.quotePath): C escapes, octal for every byte outside of ASCII.
fn write_quoted(out: &mut String, prefix: &str, path: &[u8]) {
    let plain = |byte: &u8| (0x20..0x7f).contains(byte) && *byte != b'"' && *byte != b'\\';
    if path.iter().all(plain) {
        push(out, &[prefix, &String::from_utf8_lossy(path)]);
        return;
    }
    push(out, &["\"", prefix]);
    for byte in path {
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\x07' => out.push_str("\\a"),
            b'\x08' => out.push_str("\\b"),
            b'\t' => out.push_str("\\t"),
            b'\n' => out.push_str("\\n"),
            b'\x0b' => out.push_str("\\v"),
            b'\x0c' => out.push_str("\\f"),
            b'\r' => out.push_str("\\r"),
            byte if plain(byte) => out.push(char::from(*byte)),
            byte => {
                let _infallible = write!(out, "\\{byte:03o}");
            }
        }
    }
    out.push('"');
}
