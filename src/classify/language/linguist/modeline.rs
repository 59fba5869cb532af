//! The language that a line for Emacs or Vim names, at the beginning or the end of a file.

use regex::bytes::{Regex, RegexBuilder};

use super::LanguageId;

/// A modeline stands among so many lines at the beginning or the end (SEARCH_SCOPE).
pub(super) const MODELINE_LINES: usize = 5;

/// Lines of more bytes are not remembered.
const MODELINE_BYTES_KEPT: usize = 2048;

/// What finds them.
pub(super) struct Modelines {
    /// What every modeline has in it.
    mark: Regex,
    forms: [Regex; 2],
}

/// The lines that a modeline was looked for in, and what was found.
#[derive(Default)]
pub(super) struct Last {
    /// Whether there were as many lines at the beginning and others at the end.
    is_known: bool,
    head: String,
    foot: String,
    found: Option<LanguageId>,
}

impl Last {
    /// Whether a modeline in `contents` would stand in the same lines.
    fn are_of(&self, contents: &str) -> bool {
        let trimmed = contents.trim_end_matches(['\r', '\n']);
        let before = || trimmed.strip_suffix(self.foot.as_str());
        self.is_known
            && contents.starts_with(self.head.as_str())
            && before().is_some_and(|before| before.ends_with('\n'))
    }
}

impl Modelines {
    pub(super) fn new() -> Self {
        let mark = multi_line(r"-\*-|vi:|vim|ex:").expect("the pattern is valid");
        Modelines { mark, forms: forms() }
    }

    /// The language that a modeline in `contents` names; `find` knows the names in lower case. `last` is of earlier contents
    /// of the same file.
    pub(super) fn language(
        &self,
        contents: &str,
        last: &mut Last,
        find: impl Fn(&str) -> Option<LanguageId>,
    ) -> Option<LanguageId> {
        if last.are_of(contents) {
            return last.found;
        }
        let first = memchr::memchr_iter(b'\n', contents.as_bytes()).nth(MODELINE_LINES - 1);
        let first = first.map_or(contents.len(), |at| at + 1);
        let trimmed = contents.trim_end_matches(['\r', '\n']);
        let begin = memchr::memrchr_iter(b'\n', trimmed.as_bytes()).nth(MODELINE_LINES - 1).map_or(0, |at| at + 1);
        let (head, foot) = (&contents[..first], &trimmed[begin..]);
        let found = self.name(head, foot).and_then(|name| find(&name));
        // Where there were fewer lines, those of the next version may be others.
        last.is_known = begin >= first && first > 0 && head.len() + foot.len() <= MODELINE_BYTES_KEPT;
        if last.is_known {
            for (known, part) in [(&mut last.head, head), (&mut last.foot, foot)] {
                known.clear();
                known.push_str(part);
            }
            last.found = found;
        }
        found
    }

    fn name(&self, head: &str, foot: &str) -> Option<String> {
        for part in [head, foot] {
            if !self.mark.is_match(part.as_bytes()) {
                continue;
            }
            let captures = self.forms.iter().find_map(|line| line.captures(part.as_bytes()));
            if captures.is_some() && head.contains("UseVimball") {
                return None;
            }
            if let Some(name) = captures.and_then(|captures| captures.get(1)) {
                return Some(String::from_utf8_lossy(name.as_bytes()).to_lowercase());
            }
        }
        None
    }
}

/// Classes such as `\w` are ASCII's, as they are for Linguist.
fn multi_line(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).multi_line(true).unicode(false).build()
}

/// The forms that Emacs and Vim document: `-*- mode: NAME -*-`, `-*- NAME -*-`; `vim: ft=NAME`, `vim: set ft=NAME :`.
fn forms() -> [Regex; 2] {
    let compile = |pattern: &str| multi_line(pattern).expect("the pattern is valid");
    [
        compile(r"(?i)-\*-(?:[ \t]*|.*?[ \t;]mode[ \t]*:[ \t]*|mode[ \t]*:[ \t]*)([^:;\s]+?)(?:[ \t]*;.*?|[ \t]*)-\*-"),
        compile(
            r"(?:(?:^|[ \t])(?:vi|[vV]im(?:[<=>]?[0-9]+)?)|[ \t]ex):.*?[ \t:](?:filetype|ft|syntax)[ \t]*=(\w+)(?:$|\s|:)",
        ),
    ]
}
