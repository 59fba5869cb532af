//! What a commit message says: its subject, what it reverts, and the people in its trailers.

use std::borrow::Cow;

/// The first line of `message`, without its line end.
pub fn subject(message: &str) -> &str {
    message.split('\n').next().unwrap_or_default().trim_end_matches('\r')
}

/// What a message says it reverts.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reverts {
    /// Commit ids, lower-case hexadecimal of 7 to 64 digits, in order, each once.
    pub commits: Vec<String>,
    /// The subject in `Revert "…"`.
    pub subject: Option<String>,
}

/// Finds "This reverts commit ID" and the like, and a subject of the form `Revert "…"`.
pub fn reverts(message: &str) -> Reverts {
    let mut found = Reverts {
        subject: subject(message).strip_prefix("Revert \"").and_then(|rest| rest.strip_suffix('"')).map(str::to_owned),
        ..Reverts::default()
    };
    let mut words = message.split_whitespace();
    while let Some(word) = words.next() {
        if !word.eq_ignore_ascii_case("reverts") && !word.eq_ignore_ascii_case("reverting") {
            continue;
        }
        let mut rest = words.clone();
        if !rest.next().is_some_and(|word| matches!(word, "commit" | "commits")) {
            continue;
        }
        for word in rest {
            let id = word.trim_end_matches(['.', ',', ';', ')']).to_ascii_lowercase();
            let is_id = (7..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_hexdigit());
            if is_id && !found.commits.contains(&id) {
                found.commits.push(id);
            } else if !is_id && word != "and" {
                break;
            }
            if word.ends_with('.') {
                break;
            }
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

/// Applies `policy` to every line of `message` such as `Signed-off-by: Jane <jane@example.org>`.
pub fn apply_trailers(message: &str, policy: TrailerPolicy) -> Cow<'_, str> {
    if policy == TrailerPolicy::Keep || !message.lines().any(|line| person_token(line).is_some()) {
        return Cow::Borrowed(message);
    }
    let mut kept = String::with_capacity(message.len());
    for line in message.split_inclusive('\n') {
        match (person_token(line), policy) {
            (Some(token), TrailerPolicy::Mask) => {
                kept.push_str(token);
                kept.push_str(": NAME <EMAIL>");
                kept.push_str(&line[line.trim_end_matches(['\r', '\n']).len()..]);
            }
            (Some(_), _) => {}
            (None, _) => kept.push_str(line),
        }
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

/// The token of a trailer that names a person: any that ends in `-by`, and `Cc`.
fn person_token(line: &str) -> Option<&str> {
    let (token, value) = line.split_once(':')?;
    let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-');
    let lower = token.to_ascii_lowercase();
    (is_token && (lower.ends_with("-by") || lower == "cc") && !value.trim().is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn the_subject_is_the_first_line() {
        assert_eq!((subject("a\r\nb"), subject(""), subject("a")), ("a", "", "a"));
    }
}
