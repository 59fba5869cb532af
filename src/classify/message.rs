//! What a commit message says: its subject, what it reverts, and the people in its trailers.

use std::{
    borrow::Cow,
    sync::{LazyLock, OnceLock},
};

use regex::Regex;

use super::parts::Parts;

/// The first line of `message` that is not blank, without its line end. (git folds the whole first paragraph into one
/// line; CommitPack has its first line.)
pub fn subject(message: &str) -> &str {
    // Most begin with it.
    if message.as_bytes().first().is_some_and(u8::is_ascii_graphic) {
        let end = memchr::memchr(b'\n', message.as_bytes()).unwrap_or(message.len());
        return message[..end].trim_end_matches('\r');
    }
    let mut lines = message.split('\n').map(|line| line.trim_end_matches('\r'));
    lines.find(|line| !line.trim().is_empty()).unwrap_or_default()
}

/// What a message says it reverts.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reverts {
    /// Commit ids, lower-case hexadecimal of 7 to 64 digits, in order, each once.
    pub commits: Vec<String>,
    /// The subject in `Revert "…"` and the like.
    pub subject: Option<String>,
}

/// Finds "This reverts commit ID" and the like, and a subject of the form `Revert "…"` or one that other systems write.
pub fn reverts(message: &str) -> Reverts {
    // What all forms have; most messages have none of it.
    static PARTS: LazyLock<Parts> = LazyLock::new(|| Parts::new(&["evert", "EVERT", "ack out", "ackout", "acked out"]));
    if !PARTS.are_in(message.as_bytes()) {
        return Reverts::default();
    }
    let subject = plain_subject(message);
    Reverts {
        commits: commits_named(message, &["reverts", "reverting"], &REVERT_WORDS),
        subject: subject_behind(subject, &REVERT_WORDS).or_else(|| behind_type(subject)).map(str::to_owned),
    }
}

/// Ids of commits behind one of `verbs` anywhere, or one of `words` where the subject begins: lower-case hexadecimal of 7 to 64
/// digits, in order, each once.
fn commits_named(message: &str, verbs: &[&str], words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = message.split_whitespace();
    // What stands before a word in its sentence.
    let mut before = [""; 3];
    while let Some(word) = rest.next() {
        let is_verb = verbs.iter().any(|verb| word.eq_ignore_ascii_case(verb));
        if is_verb && !before.iter().any(|word| denies(word)) {
            // "Verified by reverting 0123456" and "It partly reverts 0123456" name an id, too.
            let is_whole = before.iter().any(|word| word.eq_ignore_ascii_case("this"))
                && !before.iter().any(|word| is_partly(word));
            add_ids(rest.clone(), is_whole && word.ends_with('s'), &mut found);
        }
        before = match word.ends_with(['.', ',', ';', ':', '!', '?']) {
            true => [""; 3],
            false => [before[1], before[2], word],
        };
    }
    let subject = behind_brackets(plain_subject(message));
    if let Some(rest) = words.iter().find_map(|word| subject.strip_prefix(word)) {
        add_ids(rest.strip_prefix("of ").unwrap_or(rest).split_whitespace(), true, &mut found);
    }
    if verbs.contains(&"reverts") && behind_type(subject).is_some() {
        for refs in message.lines().filter_map(|line| line.strip_prefix("Refs: ")) {
            add_ids(refs.split([',', ' ']).filter(|word| !word.is_empty()), true, &mut found);
        }
    }
    found
}

/// What stands behind the type `revert:` or `revert(scope):` of a subject of Conventional Commits, whose specification has the ids in
/// a footer `Refs:` and Angular's convention the whole subject there.
fn behind_type(subject: &str) -> Option<&str> {
    let rest = subject.strip_prefix("revert")?;
    let rest = match rest.strip_prefix('(') {
        Some(scope) => scope.split_once(')')?.1,
        None => rest,
    };
    Some(rest.strip_prefix('!').unwrap_or(rest).strip_prefix(": ")?.trim()).filter(|rest| !rest.is_empty())
}

/// Whether a word before "reverting" and the like says that it is not done.
fn denies(word: &str) -> bool {
    const DENYING: [&str; 16] = [
        "avoid", "avoiding", "avoids", "cannot", "if", "instead", "longer", "neither", "never", "no", "nor", "not",
        "nothing", "rather", "unless", "without",
    ];
    DENYING.iter().any(|denying| word.eq_ignore_ascii_case(denying)) || word.ends_with("n't")
}

/// Whether a word before "reverts" says that it is done in part.
fn is_partly(word: &str) -> bool {
    ["kinda", "mostly", "partially", "partly", "somewhat"].iter().any(|partly| word.eq_ignore_ascii_case(partly))
}

/// Adds the ids that `words` begin with behind the word "commit", and without it where it `may_lack` that.
fn add_ids<'a>(mut words: impl Iterator<Item = &'a str> + Clone, may_lack: bool, found: &mut Vec<String>) {
    let mut rest = words.clone();
    let is_named = rest.next().is_some_and(|word| matches!(word, "commit" | "commits"));
    if is_named {
        words = rest;
    } else if !may_lack {
        return;
    }
    for word in words {
        let id = word.trim_matches(['.', ',', ';', ':', '(', ')', '`']).to_ascii_lowercase();
        let has = |is: fn(&u8) -> bool| id.as_bytes().iter().any(is);
        // Without the word, a date or a word of letters from a to f may be meant.
        let is_told = is_named || id.len() >= 40 || has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic);
        let is_id = (7..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_hexdigit()) && is_told;
        if is_id && !found.iter().any(|known| known.starts_with(&id)) {
            found.push(id);
        } else if !is_id && word != "and" {
            break;
        }
        if word.ends_with('.') {
            break;
        }
    }
}

/// What a message says that its commit takes back or brings back.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Commit ids, or their first digits, that it takes back.
    pub reverts: Vec<String>,
    /// The subject of what it takes back, as [`plain_subject`] gives it.
    pub reverts_subject: Option<String>,
    /// Commit ids, or their first digits, that it brings back.
    pub relands: Vec<String>,
    /// The subject of what it brings back.
    pub relands_subject: Option<String>,
}

/// Whether a message has one of the words that [`reversal`] looks for; most have none.
pub fn may_reverse(message: &[u8]) -> bool {
    // The letters that all spellings have, without the first one, which may be large.
    static PARTS: LazyLock<Parts> = LazyLock::new(|| {
        Parts::new(&["evert", "eland", "e-land", "eappl", "ecommit", "ack out", "ackout", "acked out"])
    });
    PARTS.are_in(message)
}

/// The subject of `message` without the number of a pull request that GitHub's squash merges put behind it.
pub fn plain_subject(message: &str) -> &str {
    let subject = subject(message).trim();
    let number = subject.strip_suffix(')').and_then(|rest| rest.rsplit_once(" (#"));
    match number {
        Some((rest, digits)) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => rest,
        _ => subject,
    }
}

/// What stands before the subject or the id of what is taken back: git, GitHub, GitLab and Gerrit; Phabricator; Mozilla.
const REVERT_WORDS: [&str; 6] = ["Revert ", "Reverts ", "Reverting ", "Back out ", "Backout ", "Backed out "];

/// The same for what is brought back: git since 2.43, Chromium and Gerrit, LLVM.
const RELAND_WORDS: [&str; 5] = ["Reapply ", "Reland ", "Re-land ", "Relanding ", "Recommit "];

/// What stands before the subject without quotes.
const RELAND_MARKS: [&str; 8] =
    ["[Reland] ", "[reland] ", "[Re-land] ", "[re-land] ", "Reland: ", "reland: ", "Re-land: ", "re-land: "];

/// `subject` without what stands in brackets before it: a branch, a part of the project.
fn behind_brackets(mut subject: &str) -> &str {
    while let Some((_, rest)) = subject.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        subject = rest.trim_start();
    }
    subject
}

/// The whole subject that `subject` names behind one of `words`: in quotes as git has it, `of SUBJECT (patchset #1 id:1 of URL)` as
/// Rietveld had it, and `D12: SUBJECT` of Phabricator.
fn subject_behind<'a>(subject: &'a str, words: &[&str]) -> Option<&'a str> {
    let subject = behind_brackets(subject);
    let rest = words.iter().find_map(|word| subject.strip_prefix(word))?;
    let quoted = || rest.strip_prefix('"')?.strip_suffix('"');
    let of_rietveld = || {
        let rest = rest.strip_prefix("of ")?.strip_suffix(')')?;
        [" (patchset #", " (https://codereview."].iter().find_map(|mark| rest.rsplit_once(mark)).map(|(inner, _)| inner)
    };
    let of_phabricator = || {
        let (number, inner) = rest.strip_prefix('D')?.split_once(": ")?;
        (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(inner)
    };
    let found = quoted().or_else(of_rietveld).or_else(of_phabricator)?.trim();
    Some(found).filter(|found| !found.is_empty())
}

/// Finds what forges and projects write into the message of a revert or a re-land: the id behind "This reverts commit"
/// and the like, and the whole subject.
pub fn reversal(message: &str) -> Said {
    const RELANDS: [&str; 6] = ["relands", "re-lands", "reapplies", "recommits", "relanding", "reapplying"];
    let subject = plain_subject(message);
    let named = |subject, words: &[&str]| subject_behind(subject, words).map(|inner| plain_subject(inner).to_owned());
    let marked = RELAND_MARKS.iter().find_map(|mark| subject.strip_prefix(mark));
    let mut said = Said {
        reverts: commits_named(message, &["reverts", "reverting"], &REVERT_WORDS),
        // What a re-land of a revert does follows from that revert.
        reverts_subject: named(subject, &REVERT_WORDS)
            .or_else(|| behind_type(subject).map(|inner| plain_subject(inner).to_owned()))
            .filter(|_| marked.is_none()),
        relands: commits_named(message, &RELANDS, &RELAND_WORDS),
        relands_subject: named(subject, &RELAND_WORDS).or_else(|| marked.map(str::to_owned)),
    };
    // Who takes back a revert, by its subject, brings back what that took.
    if let Some(original) = said.reverts_subject.as_deref().and_then(|inner| named(inner, &REVERT_WORDS)) {
        said.relands_subject.get_or_insert(original);
    }
    said
}

/// Ids, or their first digits, of commits that a message says it mends: the trailer `Fixes: <id>` of Linux and git, and
/// sentences like "a regression introduced in ID" and "Fix a typo in ID", which git's own history has more of, also with
/// the end of a subject between: "area: fix a typo", and then "In ID, …". In lower case, in order, each once.
pub fn fixes(message: &str) -> Vec<String> {
    static FORMS: OnceLock<Regex> = OnceLock::new();
    let forms = FORMS.get_or_init(|| {
        const ID: &str = r"(?:commit\s+)?[(\[`]*([0-9a-f]{7,64})\b";
        // Few words between the parts, and no end of a sentence, so that both are about the same thing.
        let words = r"[^.;]{0,80}?";
        let forms = [
            format!(r"^\s*fixes:?\s*{ID}"),
            // At the start of a sentence: elsewhere it may be another commit's fix.
            format!(r"(?:\A|\n\n|[.:]\s+)(?:let's\s+)?fix(?:es|ed|ing|up)?\b{words}\b(?:in|from|of)\s+{ID}"),
            format!(r"\b(?:regression|regressed|bug|breakage|leak|mistake|oversight|typo|error|problem|issue)\b{words}\b(?:introduced|caused|created|added|broken|made|goes\s+back|dates\s+back)\s+(?:in|by|at|with|since|to|from)\s+{ID}"),
            format!(r"\b(?:broken|broke|regressed)\s+(?:in|by|at|with|since|from)\s+{ID}"),
        ];
        Regex::new(&format!("(?im){}", forms.join("|"))).expect("a test searches with it")
    });
    let mut found: Vec<String> = Vec::new();
    for captures in forms.captures_iter(message) {
        let id = captures.iter().skip(1).flatten().next().map(|id| id.as_str().to_ascii_lowercase());
        // A regression test does not regress, and a word of letters from a to f is no id.
        if captures.get_match().as_str().contains("regression test") {
            continue;
        }
        if let Some(id) = id.filter(|id| id.bytes().any(|byte| byte.is_ascii_digit()) && !found.contains(id)) {
            found.push(id);
        }
    }
    found
}

/// What happens to trailers that name people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrailerPolicy {
    /// They stay.
    Keep,
    /// Names and addresses are replaced by `NAME <EMAIL>`.
    Mask,
    /// The lines are removed.
    Drop,
}

/// Applies `policy` to the trailers of `message` such as `Signed-off-by: Jane <jane@example.org>`: to those in its last
/// paragraph, and before that, as squashed and quoted messages have them, to those with an address. Lines that go on
/// in the next one, indented, belong together. The subject is never touched.
pub fn apply_trailers(message: &str, policy: TrailerPolicy) -> Cow<'_, str> {
    if policy == TrailerPolicy::Keep || !message.lines().any(|line| person_token(line).is_some()) {
        return Cow::Borrowed(message);
    }
    let lines: Vec<&str> = message.split_inclusive('\n').collect();
    let blank = |line: &&str| line.trim().is_empty();
    let body = lines.iter().position(|line| !blank(line)).map_or(0, |subject| subject + 1);
    let end = lines.iter().rposition(|line| !blank(line)).map_or(0, |last| last + 1);
    // A message of one paragraph has no trailers, as git has it.
    let last_paragraph = lines[..end].iter().rposition(blank).filter(|at| *at >= body);
    let mut kept = String::with_capacity(message.len());
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        let among_trailers = last_paragraph.is_some_and(|start| at > start);
        let mut next = at + 1;
        while next < end && lines[next].starts_with([' ', '\t']) && !blank(&lines[next]) {
            if person_token(lines[next]).is_some() {
                break;
            }
            next += 1;
        }
        let token = person_token(line)
            .filter(|_| at >= body)
            .filter(|_| among_trailers || lines[at..next].iter().any(|line| line.contains(['@', '<'])));
        match (token, policy) {
            (None, _) => {
                kept.push_str(line);
                next = at + 1;
            }
            (Some(token), TrailerPolicy::Mask) => {
                let last = lines[next - 1];
                kept.push_str(&line[..line.find(token).unwrap_or(0)]);
                kept.push_str(token);
                kept.push_str(": NAME <EMAIL>");
                kept.push_str(&last[last.trim_end_matches(['\r', '\n']).len()..]);
            }
            (Some(_), _) => {}
        }
        at = next;
    }
    if policy == TrailerPolicy::Drop {
        // The blank line that stood before the trailers ends nothing any more.
        let end = kept.trim_end_matches(['\r', '\n']).len();
        let newline = if message.ends_with('\n') && end > 0 { "\n" } else { "" };
        kept.truncate(end);
        kept.push_str(newline);
    }
    Cow::Owned(kept)
}

/// Tokens of trailers that name people without ending in `-by`.
const PERSON_TOKENS: [&str; 8] =
    ["author", "cc", "co-author", "committer", "patch-from", "reviewer", "thanks", "thanks-to"];

/// What may stand before `by:` where the token is written with a space, as in FreeBSD's trailers. (After other words,
/// `Sorted by:`, there are no people.)
const PERSON_VERBS: [&str; 18] = [
    "acked",
    "approved",
    "authored",
    "co-authored",
    "committed",
    "contributed",
    "found",
    "noticed",
    "proposed",
    "pushed",
    "reported",
    "requested",
    "reviewed",
    "signed off",
    "sponsored",
    "submitted",
    "suggested",
    "tested",
];

/// Most words of a name behind `Thanks:`; more are a sentence.
const NAME_WORDS_MAX: usize = 4;

/// The token of a trailer that names a person: any that ends in `-by`, [`PERSON_TOKENS`], and, in whatever language,
/// any before a name and an address. It may be indented or quoted, and spaces may stand before its colon.
fn person_token(line: &str) -> Option<&str> {
    let (token, value) = line.split_once(':')?;
    let token = token.trim_start_matches([' ', '\t', '>', '|', '*', '-', '#']).trim_end();
    let is_token = token.chars().any(char::is_alphabetic)
        && token.chars().all(|c| c.is_alphabetic() || c == ' ' || is_hyphen(c))
        && token.split(' ').count() <= 3;
    if !is_token {
        return None;
    }
    let lower = token.to_lowercase().replace(is_hyphen, "-");
    let names_a_person = match lower.as_str() {
        "message-id" | "in-reply-to" | "references" => false,
        // `Commit: Jane <jane@example.org>` of `git log --format=full`, not `Commit: 1234567`.
        "commit" | "from" | "to" => value.contains('@'),
        "thanks" => value.contains('@') || value.split_whitespace().count() <= NAME_WORDS_MAX,
        _ => {
            lower.ends_with("-by")
                || PERSON_TOKENS.contains(&lower.as_str())
                || lower.strip_suffix(" by").is_some_and(|verb| PERSON_VERBS.contains(&verb))
                || has_address(value)
        }
    };
    names_a_person.then_some(token)
}

fn is_hyphen(c: char) -> bool {
    matches!(c, '-' | '\u{2010}'..='\u{2013}')
}

/// Whether there is something like `Jane <jane@example.org>`.
fn has_address(value: &str) -> bool {
    let address = value.split_once('<').and_then(|(name, rest)| Some((name, rest.split_once('>')?.0)));
    address.is_some_and(|(name, address)| {
        !name.trim().is_empty() && address.contains('@') && !address.contains(['/', ' ', ':'])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_message_says_it_mends() {
        for (message, expected) in [
            ("Mend it\n\nFixes: 3ad0ba722744 (\"git-submodule.sh: improve\")\n", &["3ad0ba722744"][..]),
            ("Mend it\n\nFixes:6b4b013f1884 (\"mailinfo\")\nFixes: 1234567\n", &["6b4b013f1884", "1234567"]),
            ("Fix a typo in b6a052f.", &["b6a052f"]),
            ("notes.h: fix typos in comment\n\nIn 1d7297513d (notes: break) y", &["1d7297513d"]),
            (
                "x: mend\n\nThis regression was introduced by 9bc151850c1c (builtin/maintenance:\nlearn)",
                &["9bc151850c1c"],
            ),
            ("x: mend\n\nThe bug goes back to f32dde8c12 (line-log)", &["f32dde8c12"]),
            ("x: mend\n\nIt was broken by commit ABCDEF12 (x)", &["abcdef12"]),
            ("Fixes: #6266", &[]),
            ("Fixes feedback on the page", &[]),
            ("Similar to the fix in 8174627b3d (x), do y", &[]),
            ("Skip it, too\n\nUse the condition of the similar\nfix in 650af7ae8bdf (t3703)", &[]),
            ("Adjust\n\nThe regression test introduced in feea6946a5b expected y", &[]),
            ("log: fix \"abort early\" regression in ff37a60c369", &["ff37a60c369"]),
            ("That was already fixed by 8174627b3d (x)", &[]),
            ("There is a bug. Then 8174627b3d was introduced by 1234567", &[]),
            ("Since dd4bc01c0a (revision: use priority queue) we can", &[]),
        ] {
            assert_eq!(fixes(message), expected, "{message}");
        }
    }

    #[test]
    fn what_is_taken_back_or_brought_back_is_found() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        let said = |message: &str| {
            assert!(may_reverse(message.as_bytes()), "{message}");
            let Said { reverts, reverts_subject, relands, relands_subject } = reversal(message);
            (reverts.len(), reverts_subject.unwrap_or_default(), relands.len(), relands_subject.unwrap_or_default())
        };
        let of =
            |reverts, subject: &str, relands, other: &str| (reverts, subject.to_owned(), relands, other.to_owned());
        let cases = [
            (format!("Revert \"Add x\"\n\nThis reverts commit {id}.\n"), of(1, "Add x", 0, "")),
            ("Revert \"Add x (#12)\" (#13)\n\nReverts owner/name#12\n".into(), of(0, "Add x", 0, "")),
            ("Revert \"Revert \"Add x\"\"\n".into(), of(0, "Revert \"Add x\"", 0, "Add x")),
            (format!("Reapply \"Add x\"\n\nThis reverts commit {id}.\n"), of(1, "", 0, "Add x")),
            (format!("Add x again\n\nThis relands commit {id}\n"), of(0, "", 1, "")),
            ("[reland] Add x (#14)".into(), of(0, "", 0, "Add x")),
            ("Back out \"Add x\"".into(), of(0, "Add x", 0, "")),
            ("Revert to the old way of adding x".into(), of(0, "", 0, "")),
            // Ids without the word, and in subjects.
            ("Back out C\n\nThis reverts 0123456ab as it broke the build".into(), of(1, "", 0, "")),
            ("Backout 0123456789ab for failures".into(), of(1, "", 0, "")),
            ("Revert commit 01234567".into(), of(1, "", 0, "")),
            ("Revert of 0123456a and 89abcdef: too slow".into(), of(2, "", 0, "")),
            (format!("Revert commit 01234567\n\nThis reverts commit {id}."), of(1, "", 0, "")),
            ("Reland 0123456a with a test".into(), of(0, "", 1, "")),
            // Whole subjects, as other systems write them.
            ("[release] Revert \"Add x\"".into(), of(0, "Add x", 0, "")),
            ("[release][core] Backout \"Add x\"".into(), of(0, "Add x", 0, "")),
            ("[release] [core] Backout \"Add x\"".into(), of(0, "Add x", 0, "")),
            ("Revert of Add x (y) (patchset #1 id:1 of https://a.test/1)".into(), of(0, "Add x (y)", 0, "")),
            ("Revert of Add x (https://codereview.a.test/1/)".into(), of(0, "Add x", 0, "")),
            ("Reland of Add x (patchset #2 id:20001 of https://a.test/2)".into(), of(0, "", 0, "Add x")),
            ("Revert D1234: Add x".into(), of(0, "Add x", 0, "")),
            ("Re-land: Add x".into(), of(0, "", 0, "Add x")),
            ("[Reland] Revert \"Add x\"".into(), of(0, "", 0, "Revert \"Add x\"")),
            // Conventional Commits.
            ("revert: feat(x): add y (#12)\n\nRefs: 0123456a, 89abcde\n".into(), of(2, "feat(x): add y", 0, "")),
            ("revert(core)!: add x\n\nThis reverts commit 0123456.".into(), of(1, "add x", 0, "")),
            ("fix: revert: add x\n\nRefs: 0123456".into(), of(0, "", 0, "")),
            ("reverts: add x".into(), of(0, "", 0, "")),
            // What denies it, and what only has the words.
            ("Mend it\n\nThis no longer reverts 0123456ab, as before.".into(), of(0, "", 0, "")),
            ("Mend it\n\nWe mend it instead of reverting commit 0123456.".into(), of(0, "", 0, "")),
            ("Mend it\n\nThat doesn't mean reverting 0123456a".into(), of(0, "", 0, "")),
            ("Mend it. It never worked, so this reverts 0123456ab".into(), of(1, "", 0, "")),
            ("Mend it\n\nI verified this by reverting 0123456ab".into(), of(0, "", 0, "")),
            ("Mend it\n\nThis partially reverts 0123456ab".into(), of(0, "", 0, "")),
            ("Mend it\n\n- 0123456bc: reverts 0123456ab".into(), of(0, "", 0, "")),
            ("Say how a Revert 0123456ab works".into(), of(0, "", 0, "")),
            ("Revert 20261127 to 2026".into(), of(0, "", 0, "")),
            ("Revert of the defaced page (patch 1)".into(), of(0, "", 0, "")),
            ("Revert DNS: Add x".into(), of(0, "", 0, "")),
            ("Let reverts 1234567 be".into(), of(0, "", 0, "")),
            ("Add a button that reverts \"Add x\"".into(), of(0, "", 0, "")),
        ];
        for (message, expected) in cases {
            assert_eq!(said(&message), expected, "{message}");
        }
        assert!(!may_reverse(b"Add x"));
        assert_eq!(plain_subject("Add x (#)"), "Add x (#)");
    }

    #[test]
    fn reverts_are_found() {
        let cases: &[(&str, &[&str], Option<&str>)] = &[
            ("Fix it\n", &[], None),
            (
                "Revert \"Add x\"\n\nThis reverts commit 0123456789abcdef0123456789abcdef01234567.\n",
                &["0123456789abcdef0123456789abcdef01234567"],
                Some("Add x"),
            ),
            ("x\n\nReverts commits 0123456 and\n89abcde.\n", &["0123456", "89abcde"], None),
            ("Revert \"Revert \"Add x\"\"\n", &[], Some("Revert \"Add x\"")),
            ("x\n\nReverts owner/name#12\n", &[], None),
            ("x\n\nThis reverts commit 0123456. It was added by mistake\n", &["0123456"], None),
            ("[v1] Revert \"Add x (#1)\" (#2)\n\nThis reverts 012345a as it broke", &["012345a"], Some("Add x (#1)")),
            ("x\n\nThis is done without reverting commit 0123456.\n", &[], None),
        ];
        for (message, commits, subject) in cases {
            let found = reverts(message);
            assert_eq!(
                (found.commits.as_slice(), found.subject.as_deref()),
                (commits.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>().as_slice(), *subject),
                "{message}"
            );
        }
    }

    #[test]
    fn trailers_follow_the_policy() {
        let message = "Add x\n\nBecause.\n\nFixes: 12\nSigned-off-by: J D <j@d>\nCc: a@b\n";
        assert_eq!(apply_trailers(message, TrailerPolicy::Keep), message);
        assert_eq!(
            apply_trailers(message, TrailerPolicy::Mask),
            "Add x\n\nBecause.\n\nFixes: 12\nSigned-off-by: NAME <EMAIL>\nCc: NAME <EMAIL>\n"
        );
        assert_eq!(apply_trailers(message, TrailerPolicy::Drop), "Add x\n\nBecause.\n\nFixes: 12\n");
        assert_eq!(apply_trailers("Add x\n\nSigned-off-by: J\n", TrailerPolicy::Drop), "Add x\n");
        assert_eq!(apply_trailers("Stand by: it works\n", TrailerPolicy::Drop), "Stand by: it works\n");
    }

    #[test]
    fn trailers_of_all_shapes_lose_names_and_addresses() {
        let mask = |message: &str| apply_trailers(message, TrailerPolicy::Mask).into_owned();
        let cases = [
            // Folded, with a space before the colon, quoted, indented, with other tokens.
            ("Add x\n\nSigned-off-by: Jane\n <j@d>\n", "Add x\n\nSigned-off-by: NAME <EMAIL>\n"),
            ("Add x\n\nReviewed-by : J <j@d>", "Add x\n\nReviewed-by: NAME <EMAIL>"),
            ("Add x\n\n> Acked-by: J <j@d>\n\nDone\n", "Add x\n\n> Acked-by: NAME <EMAIL>\n\nDone\n"),
            ("Add x\n\n    Cc: j@d\r\n\nDone\n", "Add x\n\n    Cc: NAME <EMAIL>\r\n\nDone\n"),
            ("Add x\n\nThanks-to: J D\nAuthor: J <j@d>\n", "Add x\n\nThanks-to: NAME <EMAIL>\nAuthor: NAME <EMAIL>\n"),
            (
                "Squash\n\n* a\n\nSigned-off-by: J <j@d>\n\n* b\n",
                "Squash\n\n* a\n\nSigned-off-by: NAME <EMAIL>\n\n* b\n",
            ),
            // Written with a space, in another language, with another hyphen.
            (
                "Add x\n\nReviewed by:\tkib\nApproved By: J <j@d>\n",
                "Add x\n\nReviewed by: NAME <EMAIL>\nApproved By: NAME <EMAIL>\n",
            ),
            ("Add x\n\nGeprüft: Jö <j@d>\nTo: j@d\n", "Add x\n\nGeprüft: NAME <EMAIL>\nTo: NAME <EMAIL>\n"),
            ("Add x\n\nSigned\u{2011}off\u{2011}by: J\n", "Add x\n\nSigned\u{2011}off\u{2011}by: NAME <EMAIL>\n"),
            ("Add x\n\nThanks: it took us weeks to find\n", "Add x\n\nThanks: it took us weeks to find\n"),
            ("Add x\n\nSorted by: key\nMessage-ID: x <1@d>\n", "Add x\n\nSorted by: key\nMessage-ID: x <1@d>\n"),
            // What is no trailer stays: a subject, a sentence of the body, a value that goes on elsewhere.
            ("Sorted-by: use the new key\n", "Sorted-by: use the new key\n"),
            ("Cc: the list\n\nBody\n", "Cc: the list\n\nBody\n"),
            ("Add x\n\nSorted-by: takes a key\n\nDone\n", "Add x\n\nSorted-by: takes a key\n\nDone\n"),
            ("Add x\n\nCommit: 1234567\n", "Add x\n\nCommit: 1234567\n"),
        ];
        for (message, masked) in cases {
            assert_eq!(mask(message), masked, "{message}");
        }
        let folded = "Add x\n\nWhy.\n\nSigned-off-by: Jane\n <j@d>\nFixes: 1\n";
        assert_eq!(apply_trailers(folded, TrailerPolicy::Drop), "Add x\n\nWhy.\n\nFixes: 1\n");
    }

    #[test]
    fn the_subject_is_the_first_line() {
        assert_eq!((subject("a\r\nb"), subject(""), subject("a")), ("a", "", "a"));
        assert_eq!((subject("\n \n\n a \nb"), subject("\n\n")), (" a ", ""));
    }
}
