//! Whether a person, a bot or a coding agent made a commit, by the table in `languages/authors.toml`.

use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use serde::Deserialize;

use super::catalog::{self, Text};

/// Who made a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthorKind {
    /// A person, as far as names, addresses and trailers tell.
    Human,
    /// A fixed program: dependency updates, merges, releases.
    Bot,
    /// A coding agent wrote it or took part.
    Agent,
}

impl AuthorKind {
    /// The value of the `author_kind` column.
    pub fn as_str(self) -> &'static str {
        match self {
            AuthorKind::Human => "human",
            AuthorKind::Bot => "bot",
            AuthorKind::Agent => "agent",
        }
    }
}

/// What is known of a commit's author.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthorLabel<'a> {
    /// Person, bot or agent.
    pub kind: AuthorKind,
    /// Which program, where the table has it.
    pub name: Option<&'a str>,
    /// Where that was seen, and the fact of the table that fits there; none for a person.
    pub evidence: Option<(Evidence, &'a str)>,
}

/// What of a commit gives its author away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Evidence {
    AuthorName,
    AuthorEmail,
    CommitterName,
    CommitterEmail,
    /// A trailer of the message.
    Trailer,
    /// A line of the message that a program leaves.
    Line,
}

impl Evidence {
    /// In words, for `inspect`.
    pub fn as_str(self) -> &'static str {
        match self {
            Evidence::AuthorName => "author name",
            Evidence::AuthorEmail => "author email",
            Evidence::CommitterName => "committer name",
            Evidence::CommitterEmail => "committer email",
            Evidence::Trailer => "trailer",
            Evidence::Line => "line of the message",
        }
    }
}

/// The mark of GitHub's accounts for apps.
const APP_MARK: &str = "[bot]";

/// A table of bots and agents.
pub struct Authors {
    author: Vec<Entry>,
    /// Finds any of the names, addresses and ends of them, which nearly nobody has.
    facts: AhoCorasick,
    /// What any of the lines that programs leave begins with, in lower case.
    line_starts: Vec<u8>,
    /// Finds any of the parts that trailers have, which nearly none has.
    trailers: AhoCorasick,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    author: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    kind: AuthorKind,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    name_suffixes: Vec<String>,
    #[serde(default)]
    emails: Vec<String>,
    #[serde(default)]
    email_suffixes: Vec<String>,
    #[serde(default)]
    trailers: Vec<String>,
    #[serde(default)]
    lines: Vec<String>,
    #[cfg_attr(not(test), expect(dead_code, reason = "for readers of the table; a test demands it"))]
    source: String,
}

impl Entry {
    /// The fact that fits a name or an address, and whether it is one of names.
    fn find(&self, name: &str, email: &str) -> Option<(bool, &str)> {
        let is = |known: &&String, text: &str| known.eq_ignore_ascii_case(text);
        let by_name = self.names.iter().find(|known| is(known, name));
        let by_name = by_name.or_else(|| self.name_suffixes.iter().find(|end| ends_with_ignore_case(name, end)));
        let by_email = || {
            let whole = self.emails.iter().find(|known| is(known, email));
            let by_end = || self.email_suffixes.iter().find(|end| ends_with_ignore_case(email, end));
            whole.or_else(by_end).or_else(|| self.names.iter().find(|known| is_account(email, known)))
        };
        by_name.map(|fact| (true, fact.as_str())).or_else(|| Some((false, by_email()?.as_str())))
    }
}

/// Whether an address is the one that GitHub gives to an app's account, whatever name it commits under.
fn is_account(email: &str, name: &str) -> bool {
    let account = email.strip_suffix("@users.noreply.github.com").and_then(|account| account.split_once('+'));
    name.ends_with(APP_MARK) && account.is_some_and(|(_, account)| account.eq_ignore_ascii_case(name))
}

impl Authors {
    /// The table in use.
    pub fn in_use() -> &'static Self {
        static BUILTIN: OnceLock<Authors> = OnceLock::new();
        BUILTIN
            .get_or_init(|| Self::new(catalog::table("authors.toml")).expect("tables are checked before they are used"))
    }

    /// Reads a table.
    ///
    /// # Errors
    /// It is not valid.
    pub fn new(table: Text<'_>) -> Result<Self, String> {
        let Table { author } = table.read()?;
        let agents = || author.iter().filter(|entry| entry.kind == AuthorKind::Agent);
        let starts = agents().flat_map(|entry| &entry.lines).filter_map(|line| line.bytes().next());
        let line_starts = starts.map(|byte| byte.to_ascii_lowercase()).collect();
        let mut finder = AhoCorasick::builder();
        finder.kind(Some(AhoCorasickKind::ContiguousNFA)).ascii_case_insensitive(true);
        let of_trailers = agents().flat_map(|entry| &entry.trailers);
        let trailers = finder.build(of_trailers).map_err(|e| e.to_string())?;
        let facts =
            author.iter().flat_map(|entry| [&entry.names, &entry.name_suffixes, &entry.emails, &entry.email_suffixes]);
        let facts = finder.build(facts.flatten()).map_err(|e| e.to_string())?;
        Ok(Authors { author, facts, line_starts, trailers })
    }

    /// Judges names, addresses and message of a commit. The author counts before the committer, both before the message.
    /// A bot that commits what a person wrote (merge queues, mirrors) does not make it a bot's; an agent that commits wrote.
    pub fn classify(
        &self,
        author: &str,
        author_email: &str,
        committer: &str,
        committer_email: &str,
        message: &str,
    ) -> AuthorLabel<'_> {
        let may_be_known = |name: &str, email: &str| self.facts.is_match(name) || self.facts.is_match(email);
        let is_known = may_be_known(author, author_email);
        let by_author = self.author.iter().filter(|_| is_known).find_map(|entry| {
            let (is_name, fact) = entry.find(author, author_email)?;
            Some((entry, (if is_name { Evidence::AuthorName } else { Evidence::AuthorEmail }, fact)))
        });
        if let Some((entry, evidence)) = by_author {
            return AuthorLabel { kind: entry.kind, name: Some(&entry.id), evidence: Some(evidence) };
        }
        let app = match (author.ends_with(APP_MARK), author_email.contains("[bot]@")) {
            (true, _) => Some(Evidence::AuthorName),
            (false, true) => Some(Evidence::AuthorEmail),
            (false, false) => None,
        };
        if let Some(evidence) = app {
            return AuthorLabel { kind: AuthorKind::Bot, name: None, evidence: Some((evidence, APP_MARK)) };
        }
        // Agents are among those that the author was looked for.
        let is_known =
            (committer, committer_email) != (author, author_email) && may_be_known(committer, committer_email);
        let by_committer = self.agents().filter(|_| is_known).find_map(|entry| {
            let (is_name, fact) = entry.find(committer, committer_email)?;
            Some((entry, (if is_name { Evidence::CommitterName } else { Evidence::CommitterEmail }, fact)))
        });
        match by_committer.or_else(|| self.in_message(message)) {
            Some((entry, evidence)) => {
                AuthorLabel { kind: entry.kind, name: Some(&entry.id), evidence: Some(evidence) }
            }
            None => AuthorLabel { kind: AuthorKind::Human, name: None, evidence: None },
        }
    }

    fn agents(&self) -> impl Iterator<Item = &Entry> {
        self.author.iter().filter(|entry| entry.kind == AuthorKind::Agent)
    }

    /// The first line behind the subject in which an agent says that it took part. Prose that mentions one is none.
    fn in_message(&self, message: &str) -> Option<(&Entry, (Evidence, &str))> {
        let body = message.lines().skip_while(|line| line.trim().is_empty()).skip(1);
        body.filter(|line| !line.is_empty()).find_map(|line| {
            let is_bare = line.as_bytes().first().is_some_and(u8::is_ascii_alphabetic);
            let words = if is_bare { line } else { line.trim_start_matches(|c: char| !c.is_alphabetic()) };
            let may_begin_so =
                words.bytes().next().is_some_and(|first| self.line_starts.contains(&first.to_ascii_lowercase()));
            let by_line = self.agents().filter(|_| may_begin_so).find_map(|entry| {
                let fact = entry.lines.iter().find(|start| starts_with_ignore_case(words, start))?;
                Some((entry, (Evidence::Line, fact.as_str())))
            });
            by_line.or_else(|| {
                memchr::memchr(b'@', line.as_bytes())?;
                let value = trailer_value(line).filter(|value| self.trailers.is_match(*value))?;
                let value = value.to_ascii_lowercase();
                self.agents().find_map(|entry| {
                    let fact = entry.trailers.iter().find(|part| value.contains(&part.to_ascii_lowercase()))?;
                    Some((entry, (Evidence::Trailer, fact.as_str())))
                })
            })
        })
    }
}

/// What stands behind the token of `Co-authored-by: …`.
fn trailer_value(line: &str) -> Option<&str> {
    let (token, value) = line.trim_start().split_once(": ")?;
    let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_token.then_some(value)
}

fn starts_with_ignore_case(text: &str, start: &str) -> bool {
    text.as_bytes().get(..start.len()).is_some_and(|bytes| bytes.eq_ignore_ascii_case(start.as_bytes()))
}

fn ends_with_ignore_case(text: &str, end: &str) -> bool {
    let from = text.len().checked_sub(end.len());
    from.is_some_and(|from| text.as_bytes()[from..].eq_ignore_ascii_case(end.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_says_where_from() {
        let authors = Authors::in_use();
        assert!(authors.author.is_sorted_by(|a, b| a.id < b.id));
        for entry in &authors.author {
            assert!(!entry.source.is_empty(), "{}", entry.id);
            let in_message = !entry.trailers.is_empty() || !entry.lines.is_empty();
            assert!(entry.kind == AuthorKind::Agent || !in_message, "{}: only agents take part by a message", entry.id);
        }
    }

    #[test]
    fn authors() {
        use AuthorKind::{Agent, Bot, Human};
        let table = Authors::in_use();
        let trailer = |who: &str| format!("Fix x\n\nCo-Authored-By: {who}\n");
        let plain = "Fix x\n".to_owned();
        let cases = [
            ("Jane", "j@d", plain.clone(), Human, None),
            (
                "dependabot[bot]",
                "49699333+dependabot[bot]@users.noreply.github.com",
                plain.clone(),
                Bot,
                Some("dependabot"),
            ),
            ("unheard-of[bot]", "x@y", plain.clone(), Bot, None),
            ("Jane", "1+unheard-of[bot]@users.noreply.github.com", plain.clone(), Bot, None),
            ("Copilot", "198982749+Copilot@users.noreply.github.com", plain.clone(), Agent, Some("copilot")),
            (
                "Devin AI",
                "158243242+devin-ai-integration[bot]@users.noreply.github.com",
                plain.clone(),
                Agent,
                Some("devin"),
            ),
            ("chatgpt-codex-connector[bot]", "x@y", plain.clone(), Agent, Some("codex")),
            ("sweep-ai[bot]", "x@y", plain.clone(), Agent, Some("sweep")),
            ("Jane (aider)", "j@d", plain.clone(), Agent, Some("aider")),
            ("semantic-release-bot", "semantic-release-bot@martynus.net", plain.clone(), Bot, Some("semantic-release")),
            ("Hosted Weblate", "hosted@weblate.org", plain.clone(), Bot, Some("weblate")),
            ("BrewTestBot", "1589480+BrewTestBot@users.noreply.github.com", plain.clone(), Bot, Some("brew-test-bot")),
            ("Scala Steward", "me@scala-steward.org", plain.clone(), Bot, Some("scala-steward")),
            ("pyup-bot", "github-bot@pyup.io", plain.clone(), Bot, Some("pyup")),
            (
                "Kubernetes Prow Robot",
                "k8s-ci-robot@users.noreply.github.com",
                plain.clone(),
                Bot,
                Some("k8s-ci-robot"),
            ),
            ("Travis CI", "travis@travis-ci.org", plain.clone(), Bot, Some("travis-ci")),
            ("ImgBotApp", "ImgBotHelp@gmail.com", plain.clone(), Bot, Some("imgbot")),
            ("renovate-bot", "x@y", plain.clone(), Bot, Some("renovate")),
            ("Jane", "j@d", trailer("Claude <noreply@anthropic.com>"), Agent, Some("claude")),
            ("Jane", "j@d", trailer("Codex <noreply@openai.com>"), Agent, Some("codex")),
            (
                "Jane",
                "j@d",
                trailer("gemini-code-assist[bot] <176961590+gemini-code-assist[bot]@users.noreply.github.com>"),
                Agent,
                Some("gemini-code-assist"),
            ),
            ("Jane", "j@d", trailer("opencode <noreply@opencode.ai>"), Agent, Some("opencode")),
            ("Jane", "j@d", trailer("Windsurf <windsurf@codeium.com>"), Agent, Some("windsurf")),
            ("Jane", "j@d", trailer("Claude Monet <claude@example.org>"), Human, None),
            (
                "Jane",
                "j@d",
                "Fix x\n\n\u{1f916} Generated with [Claude Code](https://claude.com/claude-code)\n".into(),
                Agent,
                Some("claude"),
            ),
            (
                "Jane",
                "j@d",
                "Fix x\n\nGenerated with [Opencode](https://opencode.ai)\n".into(),
                Agent,
                Some("opencode"),
            ),
            // To mention one is not to be one.
            ("Jane", "j@d", "Mention noreply@anthropic.com in the docs\n".into(), Human, None),
            ("Jane", "j@d", "Mention <noreply@anthropic.com> in the docs\n\nIt is missing.\n".into(), Human, None),
            ("Jane", "j@d", "Fix x\n\nThe address <noreply@anthropic.com> was wrong\n".into(), Human, None),
            ("Jane", "j@d", "Generated with [Claude Code] goes\n".into(), Human, None),
        ];
        for (name, email, message, kind, label) in cases {
            let found = table.classify(name, email, "GitHub", "noreply@github.com", &message);
            assert_eq!((found.kind, found.name), (kind, label), "{name} {message}");
            assert_eq!(found.evidence.is_some(), kind != Human, "{name} {message}");
        }
    }

    #[test]
    fn who_commits_is_not_who_wrote() {
        let table = Authors::in_use();
        for (committer, email, expected) in [
            ("tmux update bot", "actions@github.com", (AuthorKind::Human, None)),
            ("bors", "bors@rust-lang.org", (AuthorKind::Human, None)),
            ("dependabot[bot]", "x@y", (AuthorKind::Human, None)),
            ("Jane (aider)", "j@d", (AuthorKind::Agent, Some((Evidence::CommitterName, "(aider)")))),
        ] {
            let found = table.classify("Jane", "j@d", committer, email, "Fix x\n");
            assert_eq!((found.kind, found.evidence), expected, "{committer}");
        }
    }
}
