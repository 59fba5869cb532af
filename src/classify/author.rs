//! Whether a person, a bot or a coding agent made a commit, by the table in `languages/authors.toml`.

use serde::Deserialize;

use super::catalog;

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
}

/// A table of bots and agents.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authors {
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
    mentions: Vec<String>,
    #[cfg_attr(not(test), expect(dead_code, reason = "for readers of the table; a test demands it"))]
    source: String,
}

impl Entry {
    fn is(&self, name: &str, email: &str) -> bool {
        self.names.iter().any(|known| known.eq_ignore_ascii_case(name))
            || self.emails.iter().any(|known| known.eq_ignore_ascii_case(email))
            || self.name_suffixes.iter().any(|end| name.ends_with(end.as_str()))
            || self.email_suffixes.iter().any(|end| email.ends_with(end.as_str()))
    }
}

impl Authors {
    /// The table in use.
    pub fn in_use() -> Self {
        Self::new(catalog::table("authors.toml")).expect("tables are checked before they are used")
    }

    /// Reads a table.
    ///
    /// # Errors
    /// It is not valid.
    pub fn new(table: &str) -> Result<Self, String> {
        toml::from_str(table).map_err(|e| e.to_string())
    }

    /// Judges names, addresses and trailers of a commit. The author counts before the committer, both before trailers.
    pub fn classify(
        &self,
        author: &str,
        author_email: &str,
        committer: &str,
        committer_email: &str,
        message: &str,
    ) -> AuthorLabel<'_> {
        for (name, email) in [(author, author_email), (committer, committer_email)] {
            if let Some(entry) = self.author.iter().find(|entry| entry.is(name, email)) {
                return AuthorLabel { kind: entry.kind, name: Some(&entry.id) };
            }
        }
        let app = |name: &str, email: &str| name.ends_with("[bot]") || email.contains("[bot]@");
        let mentions = |entry: &&Entry| entry.mentions.iter().any(|mention| contains_ignore_case(message, mention));
        if app(author, author_email) {
            return AuthorLabel { kind: AuthorKind::Bot, name: None };
        }
        if let Some(entry) = self.author.iter().find(mentions) {
            return AuthorLabel { kind: entry.kind, name: Some(&entry.id) };
        }
        AuthorLabel { kind: AuthorKind::Human, name: None }
    }
}

fn contains_ignore_case(message: &str, mention: &str) -> bool {
    // Only addresses are looked for, so lines without one need no look.
    message
        .lines()
        .filter(|line| line.contains('@'))
        .any(|line| line.to_ascii_lowercase().contains(&mention.to_ascii_lowercase()))
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
        }
    }

    #[test]
    fn authors() {
        let table = Authors::in_use();
        let trailer = "Fix x\n\nCo-Authored-By: Claude <noreply@anthropic.com>\n";
        let cases = [
            (("Jane", "j@d", "Fix x\n"), (AuthorKind::Human, None)),
            (
                ("dependabot[bot]", "49699333+dependabot[bot]@users.noreply.github.com", "Bump x\n"),
                (AuthorKind::Bot, Some("dependabot")),
            ),
            (("unheard-of[bot]", "x@y", "x\n"), (AuthorKind::Bot, None)),
            (("Jane", "j@d", trailer), (AuthorKind::Agent, Some("claude"))),
            (("Jane (aider)", "j@d", "x\n"), (AuthorKind::Agent, Some("aider"))),
            (("Jane", "j@d", "Mention noreply@anthropic.com in the docs\n"), (AuthorKind::Human, None)),
        ];
        for ((name, email, message), (kind, label)) in cases {
            let found = table.classify(name, email, "GitHub", "noreply@github.com", message);
            assert_eq!(found, AuthorLabel { kind, name: label }, "{name} {message}");
        }
    }
}
