//! The parts of a commit object. As lenient as git: a broken author or date is an empty one, never a lost commit.

use gix::{ObjectId, hash::Kind as HashKind};

/// A commit object, taken apart. Bytes are as they stand in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit<'a> {
    /// The tree.
    pub tree: ObjectId,
    /// The parents, in order.
    pub parents: Vec<ObjectId>,
    /// What it says of itself.
    pub said: Said<'a>,
}

/// What a commit says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said<'a> {
    /// Who wrote the change.
    pub author: Person<'a>,
    /// Who made the commit.
    pub committer: Person<'a>,
    /// What the commit says its message is encoded in.
    pub encoding: Option<&'a [u8]>,
    /// The message.
    pub message: &'a [u8],
}

/// A name, an address and a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Person<'a> {
    /// The name; empty where the line can't be read.
    pub name: &'a [u8],
    /// The address; empty where the line can't be read.
    pub email: &'a [u8],
    /// Seconds since 1970; none where it can't be read.
    pub time: Option<i64>,
    /// Minutes east of UTC; none where it can't be read, or is a hundred hours or more.
    pub zone: Option<i32>,
}

impl<'a> Commit<'a> {
    /// Takes `bytes` apart; `None` where they don't begin with a tree, or a parent is no id.
    pub fn parse(bytes: &'a [u8], hash: HashKind) -> Option<Self> {
        let id = |hex: &[u8]| ObjectId::from_hex(hex).ok().filter(|id| id.kind() == hash);
        let mut lines = Lines(bytes);
        let tree = id(lines.next()?.strip_prefix(b"tree ")?)?;
        let mut parents = Vec::new();
        // Parents stand directly behind the tree; git does not look for them anywhere else.
        while let Some(parent) = lines.0.strip_prefix(b"parent ") {
            let end = memchr::memchr(b'\n', parent).unwrap_or(parent.len());
            parents.push(id(&parent[..end])?);
            lines.next();
        }
        Some(Commit { tree, parents, said: Said::parse(lines.0) })
    }
}

impl<'a> Said<'a> {
    /// What the commit object `bytes` says, whatever its tree and parents are.
    pub fn parse(bytes: &'a [u8]) -> Self {
        let (mut said, mut lines) = (Said::default(), Lines(bytes));
        let (mut author, mut committer) = (None, None);
        while let Some(line) = lines.next() {
            if line.is_empty() {
                said.message = lines.0;
                break;
            }
            // A line that begins with a space continues a signature; no header of ours has one.
            if let Some(line) = line.strip_prefix(b"author ") {
                author.get_or_insert_with(|| Person::parse(line));
            } else if let Some(line) = line.strip_prefix(b"committer ") {
                committer.get_or_insert_with(|| Person::parse(line));
            } else if let Some(encoding) = line.strip_prefix(b"encoding ") {
                said.encoding = Some(encoding);
            }
        }
        (said.author, said.committer) = (author.unwrap_or_default(), committer.unwrap_or_default());
        said
    }

    /// What of the commit object `bytes` says something: [`Said::parse`] finds the same in it. Signatures are longer than most
    /// messages.
    pub fn alone(bytes: &[u8]) -> Vec<u8> {
        let mut kept = Vec::with_capacity(4);
        let mut rest = bytes;
        loop {
            let (line, behind) = rest.split_at(memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1));
            if matches!(line, b"" | b"\n") {
                kept.push(rest);
                return kept.concat();
            }
            if [&b"author "[..], b"committer ", b"encoding "].iter().any(|name| line.starts_with(name)) {
                kept.push(line);
            }
            rest = behind;
        }
    }
}

impl<'a> Person<'a> {
    fn parse(line: &'a [u8]) -> Self {
        let Some(open) = memchr::memchr(b'<', line) else { return Person::default() };
        let name = line[..open].trim_ascii();
        let Some(close) = memchr::memrchr(b'>', line).filter(|close| *close > open) else {
            return Person { name, ..Person::default() };
        };
        let mut words = line[close + 1..].split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        let time = words.next().and_then(number);
        let zone = words.next().and_then(number).and_then(|zone| i32::try_from(zone).ok());
        let zone = zone.filter(|zone| zone.abs() <= 9999).map(|zone| zone / 100 * 60 + zone % 100);
        Person { name, email: line[open + 1..close].trim_ascii(), time, zone }
    }
}

/// A decimal number with or without a sign; none where it is anything else, or too large.
fn number(word: &[u8]) -> Option<i64> {
    let (sign, digits) = match word {
        [b'-', digits @ ..] => (-1, digits),
        [b'+', digits @ ..] | digits => (1, digits),
    };
    let next = |number: i64, digit: &u8| match digit {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(sign * i64::from(digit - b'0')),
        _ => None,
    };
    digits.iter().try_fold(0, next).filter(|_| !digits.is_empty())
}

/// Takes lines off the front.
struct Lines<'a>(&'a [u8]);

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let end = memchr::memchr(b'\n', self.0);
        let line = &self.0[..end.unwrap_or(self.0.len())];
        self.0 = end.map_or(&[], |end| &self.0[end + 1..]);
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n";

    type Parsed = (String, (Option<i64>, Option<i32>), usize, String);

    fn parse(rest: &[u8]) -> Option<Parsed> {
        let bytes = [TREE.as_bytes(), rest].concat();
        let commit = Commit::parse(&bytes, HashKind::Sha1)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let Said { author, message, .. } = commit.said;
        // Tree and parents are lines that say nothing.
        assert_eq!(Said::parse(&bytes), commit.said);
        let alone = Said::alone(&bytes);
        assert!(Said::parse(&alone) == commit.said && !alone.starts_with(b"tree "));
        let person = format!("{}|{}", text(author.name), text(author.email));
        Some((person, (author.time, author.zone), commit.parents.len(), text(message)))
    }

    #[test]
    fn numbers_are_those_of_the_standard_library() {
        let edges = [i64::MIN, i64::MAX].map(|edge| edge.to_string());
        let beyond = [format!("{}0", edges[0]), format!("{}8", &edges[1][..18]), format!("{}9", &edges[0][..19])];
        let words = ["", "-", "+", "0", "-0", "+0130", "-0700", "007", "1 ", " 1", "1x", "--1", "+-1", "\u{661}"];
        for word in words.into_iter().chain(edges.iter().chain(&beyond).map(String::as_str)) {
            assert_eq!(number(word.as_bytes()), word.parse().ok(), "{word}");
        }
        assert_eq!(number(b"\xff"), None);
    }

    #[test]
    fn commits_of_all_sorts() {
        let case = |rest: &[u8], person: &str, time, parents: usize, message: &str| {
            let expected = Some((person.to_owned(), time, parents, message.to_owned()));
            assert_eq!(parse(rest), expected, "{}", String::from_utf8_lossy(rest));
        };
        case(
            b"author A B <a@b> 5 +0130\ncommitter C <c> 6 -0700\n\nhi\n\nthere\n",
            "A B|a@b",
            (Some(5), Some(90)),
            0,
            "hi\n\nthere\n",
        );
        case(
            b"parent 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor A <a> 5 -0730\n\n",
            "A|a",
            (Some(5), Some(-450)),
            1,
            "",
        );
        case(b"author A <a> 5 +0000\ngpgsig x\n parent y\n z\n\nm", "A|a", (Some(5), Some(0)), 0, "m");
        case(b"author A <a> 5 +0000\nencoding latin1\ngpgsig x\n \n z\n\nm\n", "A|a", (Some(5), Some(0)), 0, "m\n");
        case(b"author <> nonsense zone\n\nm", "|", (None, None), 0, "m");
        case(b"author nobody\n\nm", "|", (None, None), 0, "m");
        case(b"author A <a@b\n\nm", "A|", (None, None), 0, "m");
        case(b"author A <x> <y> 99999999999999999999 +99999\n\nm", "A|x> <y", (None, None), 0, "m");
        case(b"author A <a> 5 +051800\n\nm", "A|a", (Some(5), None), 0, "m");
        case(b"author A <a> -5 -0000", "A|a", (Some(-5), Some(0)), 0, "");
        case(b"", "|", (None, None), 0, "");
        let late = b"author A <a> 5 +0000\nauthor B <b> 6 +0000\nparent 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\nm";
        case(late, "A|a", (Some(5), Some(0)), 0, "m");
        assert_eq!(parse(b"parent 12\n\nm"), None);
        assert_eq!(Commit::parse(b"author A <a> 5 +0000\n\nm", HashKind::Sha1), None);
        assert_eq!(Commit::parse(TREE.as_bytes(), HashKind::Sha256), None);
        assert_eq!(Commit::parse(b"", HashKind::Sha1), None);
    }
}
