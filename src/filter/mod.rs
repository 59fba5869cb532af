//! Rules that keep or drop candidates. A ruleset is data (`filters/*.toml`); here is what rules can say, when they run,
//! and how they are read. No I/O but the reading of rule files and of a tokenizer, no clock, no dice.
//!
//! A rule states what a candidate has to be in order to stay. It runs at the earliest of git's layers at which all that
//! it looks at is known: what a message decides saves the trees, what a path decides saves the blobs.

mod check;
mod demand;
mod distance;
mod examples;
mod expression;
mod load;
mod measures;
mod pattern;
mod ruleset;
pub mod tokens;

pub use check::{Check, Range, Test};
pub use examples::verify_examples;
pub use expression::Failure;
pub use load::{Error, load, presets};
pub use pattern::glob;
pub use ruleset::{Action, LicenseScope, Rule, Ruleset, Texts};

use std::borrow::Cow;

/// What has to be read before a field is known, from the cheapest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    /// The commit object, and what is known of the repository.
    Commit,
    /// The trees of the commit and of its parent.
    Tree,
    /// The sizes of the blobs.
    Header,
    /// The contents.
    Blob,
}

impl Layer {
    /// All of them, in order.
    pub const ALL: [Layer; 4] = [Layer::Commit, Layer::Tree, Layer::Header, Layer::Blob];

    /// Its name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Layer::Commit => "commit",
            Layer::Tree => "tree",
            Layer::Header => "header",
            Layer::Blob => "blob",
        }
    }
}

macro_rules! fields {
    ($($variant:ident $name:literal $layer:ident $cost:literal $what:literal,)+) => {
        /// What a rule can look at.
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Field {
            $(#[doc = $what] $variant,)+
            /// A column of the source list, or of a file that was joined: `column.NAME`.
            Column(String),
        }

        /// Name, layer and meaning of every field but the given columns.
        pub const FIELDS: &[(&str, Layer, &str)] = &[$(($name, Layer::$layer, $what)),+];

        impl Field {
            /// The field of this name.
            pub fn find(name: &str) -> Option<Field> {
                match name {
                    $($name => Some(Field::$variant),)+
                    _ => name.strip_prefix("column.").map(|column| Field::Column(column.to_owned())),
                }
            }

            /// The name in rule files.
            pub fn name(&self) -> Cow<'static, str> {
                match self {
                    $(Field::$variant => Cow::Borrowed($name),)+
                    Field::Column(column) => Cow::Owned(format!("column.{column}")),
                }
            }

            /// When it is known.
            pub fn layer(&self, scope: LicenseScope) -> Layer {
                match self {
                    Field::License | Field::LicenseSpdx | Field::LicenseConfidence if scope == LicenseScope::Repository => {
                        Layer::Commit
                    }
                    $(Field::$variant => Layer::$layer,)+
                    Field::Column(_) => Layer::Commit,
                }
            }

            /// What it costs to know it, where its layer is reached, in comparisons of short texts.
            pub fn cost(&self) -> u32 {
                match self {
                    $(Field::$variant => $cost,)+
                    Field::Column(_) => 1,
                }
            }
        }
    };
}

fields! {
    Additions "additions" Blob 60 "Lines that the diff adds.",
    AuthorKind "author_kind" Commit 5 "human, bot or agent.",
    AuthorLabel "author_label" Commit 5 "Which bot or agent.",
    AuthorTime "author_time" Commit 1 "Seconds since 1970.",
    Commit "commit" Commit 1 "The commit's id.",
    CommitTime "commit_time" Commit 1 "Seconds since 1970.",
    Deletions "deletions" Blob 60 "Lines that the diff removes.",
    Diff "diff" Blob 60 "The unified diff.",
    Extension "extension" Tree 2 "The ending of the file's name, in lower case, with its dot.",
    FilesChanged "files_changed" Tree 1 "Paths that the commit changes.",
    FilesModified "files_modified" Tree 1 "Files that the commit changes and that are there before and after.",
    Generated "generated" Blob 20 "By which rule a program made the file; where the path tells, known from the tree on.",
    Kind "kind" Tree 1 "modified, added, deleted or renamed.",
    Lang "lang" Tree 3 "CommitPack's language.",
    Language "language" Blob 20 "Linguist's language.",
    License "license" Blob 20 "The licence in CommitPack's spelling.",
    LicenseConfidence "license_confidence" Blob 20 "How sure the licence is, 0 to 1.",
    LicenseSpdx "license_spdx" Blob 20 "The licence as an SPDX expression.",
    Message "message" Commit 1 "The whole message.",
    MessageChomped "message_chomped" Commit 1 "The message without the newline at its end.",
    MessageLanguage "message_language" Commit 20 "The human language of the message.",
    MessageLanguageConfidence "message_language_confidence" Commit 20 "How sure that is, 0 to 1.",
    Name "name" Tree 1 "The file's name.",
    NewBytes "new_bytes" Header 30 "Size of the contents after.",
    NewContents "new_contents" Blob 1 "The contents after.",
    NewFile "new_file" Tree 1 "The path after.",
    OldBytes "old_bytes" Header 30 "Size of the contents before.",
    OldContents "old_contents" Blob 1 "The contents before.",
    OldFile "old_file" Tree 1 "The path before.",
    Path "path" Tree 1 "The path after; of a deletion the one before.",
    Repository "repository" Commit 1 "The repository's name.",
    Reverts "reverts" Commit 5 "Number of commits that the message says it reverts.",
    Stem "stem" Tree 2 "The file name's part between its last two dots, or before its only one; none without a dot.",
    Subject "subject" Commit 1 "The first line of the message.",
    Tokens "tokens" Blob 200 "Tokens of old contents, <|endoftext|> and new contents.",
    Vendored "vendored" Tree 10 "Whether the file comes from elsewhere, by its path.",
}

/// What kind of value a field has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Text.
    Text,
    /// A number.
    Number,
    /// Yes or no.
    Flag,
    /// Text, or a number that is written as text: a column of a list.
    Column,
}

impl Field {
    /// The field of this name; where there is none, which there are.
    fn named(name: &str) -> Result<Field, String> {
        Field::find(name).ok_or_else(|| {
            let names: Vec<&str> = FIELDS.iter().map(|(name, ..)| *name).collect();
            format!("there is no field {name}; there are {}, and column.NAME", names.join(", "))
        })
    }

    /// What kind of value it has.
    pub fn value_type(&self) -> Type {
        match self {
            Field::Additions
            | Field::AuthorTime
            | Field::CommitTime
            | Field::Deletions
            | Field::FilesChanged
            | Field::FilesModified
            | Field::LicenseConfidence
            | Field::MessageLanguageConfidence
            | Field::NewBytes
            | Field::OldBytes
            | Field::Reverts
            | Field::Tokens => Type::Number,
            Field::Vendored => Type::Flag,
            Field::Column(_) => Type::Column,
            Field::AuthorKind
            | Field::AuthorLabel
            | Field::Commit
            | Field::Diff
            | Field::Extension
            | Field::Generated
            | Field::Kind
            | Field::Lang
            | Field::Language
            | Field::License
            | Field::LicenseSpdx
            | Field::Message
            | Field::MessageChomped
            | Field::MessageLanguage
            | Field::Name
            | Field::NewContents
            | Field::NewFile
            | Field::OldContents
            | Field::OldFile
            | Field::Path
            | Field::Repository
            | Field::Stem
            | Field::Subject => Type::Text,
        }
    }
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// The field has none here.
    Missing,
    /// Text.
    Text(Cow<'a, str>),
    /// A number.
    Number(f64),
    /// Yes or no.
    Flag(bool),
}

impl<'a> From<Option<&'a str>> for Value<'a> {
    fn from(text: Option<&'a str>) -> Self {
        text.map_or(Value::Missing, |text| Value::Text(Cow::Borrowed(text)))
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Value::Text(Cow::Borrowed(text))
    }
}

/// A candidate, as far as it is known. A rule asks only for fields of its layer and of those before.
pub trait View {
    /// The value of `field`; for subject and message the original ones, before any rewrite.
    fn value(&self, field: &Field) -> Value<'_>;

    /// Whether the path alone says that a program made the file, so that [`Field::Generated`] is known without contents.
    fn is_generated_by_path(&self) -> bool {
        false
    }

    /// Whether the number of tokens is in `range`; a view that counts them can stop as soon as it knows.
    fn has_tokens_in(&self, range: &Range) -> bool {
        matches!(self.value(&Field::Tokens), Value::Number(tokens) if range.has(tokens))
    }

    /// The number of tokens in words, for a ledger of what is not in `range`.
    fn tokens_shown(&self, _range: &Range) -> String {
        match self.value(&Field::Tokens) {
            Value::Missing => "none".to_owned(),
            value => check::plain(&value).into_owned(),
        }
    }

    /// Whether the licence policy of this name takes the candidate's licence.
    fn policy_takes(&self, policy: &str) -> bool;
}

/// The part of a file name between its last two dots, or before its only one; none without a dot.
pub fn stem(path: &str) -> Option<&str> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let (before, _) = name.rsplit_once('.')?;
    Some(before.rsplit('.').next().unwrap_or(before))
}

/// The ending of a path's file name in lower case, with its dot; empty without one.
pub fn extension(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rfind('.').map_or_else(String::new, |at| name[at..].to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_sorted_and_found() {
        assert!(FIELDS.is_sorted_by(|a, b| a.0 < b.0), "{FIELDS:?}");
        for (name, _, _) in FIELDS {
            assert_eq!(Field::find(name).map(|field| field.name().into_owned()).as_deref(), Some(*name));
        }
        assert_eq!(Field::find("column.stars"), Some(Field::Column("stars".into())));
        assert_eq!(Field::find("colour"), None);
    }

    #[test]
    fn stems_and_extensions() {
        for (path, expected) in [
            ("a/b.c", Some("b")),
            ("a/b.min.js", Some("min")),
            ("Makefile", None),
            (".bashrc", Some("")),
            ("a.d/b", None),
        ] {
            assert_eq!(stem(path), expected, "{path}");
        }
        assert_eq!((extension("a/B.RS"), extension("a.d/b")), (".rs".to_owned(), String::new()));
    }
}
