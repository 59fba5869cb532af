//! What rules see of a candidate, layer by layer. What costs something is worked out when a rule first asks for it.

use std::{borrow::Cow, cell::OnceCell, collections::BTreeMap, rc::Rc, sync::Arc};

use super::{commit::Facts, license::Found};
use crate::{
    classify::{
        author::Authors,
        language::{Label, Languages, commitpack::CommitPackLanguages},
        license::{commitpack_name, policy::Policy},
        message,
        natural::{self, Judge, NaturalLanguages},
    },
    filter::{Field, LicenseScope, Range, Value, View, extension, stem, tokens},
    git::diff::Unified,
    sample::{ChangeKind, Sample},
};

/// What is known of the repository.
#[derive(Clone, Debug, Default)]
pub struct Origin<'a> {
    /// Its name.
    pub name: &'a str,
    /// What its list says of it, and what was joined.
    pub columns: Cow<'a, BTreeMap<String, String>>,
    /// Its licence at the tip, as an SPDX expression.
    pub license: Option<&'a str>,
    /// Whose licence rules look at.
    pub scope: LicenseScope,
}

/// A commit.
pub struct CommitView<'a> {
    pub(super) origin: &'a Origin<'a>,
    pub(super) id: String,
    pub(super) facts: &'a Facts<'a>,
    pub(super) judge: Judge,
    author: OnceCell<(&'static str, Option<Box<str>>)>,
    natural: OnceCell<Option<natural::Label>>,
}

impl<'a> CommitView<'a> {
    /// The commit `id`, hexadecimal, with what its object says.
    pub fn new(origin: &'a Origin<'a>, id: String, facts: &'a Facts<'a>, judge: Judge) -> Self {
        CommitView { origin, id, facts, judge, author: OnceCell::new(), natural: OnceCell::new() }
    }

    fn author(&self) -> &(&'static str, Option<Box<str>>) {
        self.author.get_or_init(|| {
            let Facts { message, author, committer, .. } = self.facts;
            let authors = Authors::in_use();
            let label = authors.classify(&author.name, &author.email, &committer.name, &committer.email, message);
            (label.kind.as_str(), label.name.map(Into::into))
        })
    }

    fn natural(&self) -> Option<natural::Label> {
        *self.natural.get_or_init(|| NaturalLanguages::in_use().label(&self.facts.message, self.judge))
    }
}

fn seconds(time: Option<i64>) -> Value<'static> {
    time.map_or(Value::Missing, |seconds| Value::Number(seconds as f64))
}

impl View for CommitView<'_> {
    fn value(&self, field: &Field) -> Value<'_> {
        match field {
            Field::AuthorKind => Value::from(self.author().0),
            Field::AuthorLabel => Value::from(self.author().1.as_deref()),
            Field::AuthorTime => seconds(self.facts.author.time),
            Field::Column(name) => Value::from(self.origin.columns.get(name).map(String::as_str)),
            Field::Commit => Value::from(self.id.as_str()),
            Field::CommitTime => seconds(self.facts.committer.time),
            Field::License => {
                let name = self.origin.license.and_then(commitpack_name);
                name.map_or(Value::Missing, |name| Value::Text(Cow::Owned(name)))
            }
            Field::LicenseSpdx => Value::from(self.origin.license),
            Field::Message => Value::from(&*self.facts.message),
            Field::MessageLanguage => Value::from(self.natural().map(|label| label.language)),
            Field::MessageLanguageConfidence => self.natural().map_or(Value::Missing, |l| Value::Number(l.confidence)),
            Field::Repository => Value::from(self.origin.name),
            Field::Reverts => Value::Number(message::reverts(&self.facts.message).commits.len() as f64),
            Field::Subject => Value::from(message::subject(&self.facts.message)),
            _ => Value::Missing,
        }
    }

    fn policy_takes(&self, policy: &str) -> bool {
        Policy::find(policy).is_some_and(|policy| policy.takes(self.origin.license))
    }
}

/// A changed file.
pub struct TreeView<'a> {
    pub(super) commit: &'a CommitView<'a>,
    pub(super) old_file: Option<&'a str>,
    pub(super) new_file: Option<&'a str>,
    pub(super) kind: ChangeKind,
    pub(super) files_changed: u32,
    pub(super) files_modified: u32,
    pub(super) languages: Languages,
}

impl TreeView<'_> {
    fn path(&self) -> &str {
        self.new_file.or(self.old_file).unwrap_or_default()
    }
}

impl View for TreeView<'_> {
    fn value(&self, field: &Field) -> Value<'_> {
        let path = self.path();
        match field {
            Field::Extension => Value::Text(Cow::Owned(extension(path))),
            Field::FilesChanged => Value::Number(f64::from(self.files_changed)),
            Field::FilesModified => Value::Number(f64::from(self.files_modified)),
            Field::Generated => Value::from(self.languages.generated_by_path(path)),
            Field::Kind => Value::from(self.kind.as_str()),
            Field::Lang => Value::from(CommitPackLanguages::in_use().lang(path)),
            Field::Name => Value::from(path.rsplit('/').next()),
            Field::NewFile => Value::from(self.new_file),
            Field::OldFile => Value::from(self.old_file),
            Field::Path => Value::from(path),
            Field::Stem => Value::from(stem(path)),
            Field::Vendored => Value::Flag(self.languages.linguist().is_vendored(path)),
            _ => self.commit.value(field),
        }
    }

    fn is_generated_by_path(&self) -> bool {
        self.languages.generated_by_path(self.path()).is_some()
    }

    fn policy_takes(&self, policy: &str) -> bool {
        self.commit.policy_takes(policy)
    }
}

/// A changed file with the sizes of its blobs, in bytes.
pub struct HeaderView<'a> {
    pub(super) tree: &'a TreeView<'a>,
    pub(super) old_bytes: Option<u64>,
    pub(super) new_bytes: Option<u64>,
}

impl View for HeaderView<'_> {
    fn value(&self, field: &Field) -> Value<'_> {
        let size = |bytes: Option<u64>| bytes.map_or(Value::Missing, |bytes| Value::Number(bytes as f64));
        match field {
            Field::OldBytes => size(self.old_bytes),
            Field::NewBytes => size(self.new_bytes),
            _ => self.tree.value(field),
        }
    }

    fn is_generated_by_path(&self) -> bool {
        self.tree.is_generated_by_path()
    }

    fn policy_takes(&self, policy: &str) -> bool {
        self.tree.policy_takes(policy)
    }
}

/// A changed file with its contents. What is behind a function is worked out once, when it is asked for.
pub struct BlobView<'a> {
    pub(super) header: HeaderView<'a>,
    pub(super) old: Option<&'a str>,
    pub(super) new: Option<&'a str>,
    pub(super) label: &'a dyn Fn() -> Label<'static>,
    pub(super) license: &'a dyn Fn() -> Option<Arc<Found>>,
    pub(super) unified: &'a dyn Fn() -> Rc<Unified>,
}

impl View for BlobView<'_> {
    fn value(&self, field: &Field) -> Value<'_> {
        let commit_scope = self.header.tree.commit.origin.scope == LicenseScope::Commit;
        let owned = |text: Option<String>| text.map_or(Value::Missing, |text| Value::Text(Cow::Owned(text)));
        match field {
            Field::Additions => Value::Number(f64::from((self.unified)().additions)),
            Field::Deletions => Value::Number(f64::from((self.unified)().deletions)),
            Field::Diff => Value::Text(Cow::Owned((self.unified)().text.clone())),
            Field::Generated => Value::from((self.label)().generated),
            Field::Language => {
                let languages = &self.header.tree.languages;
                Value::from((self.label)().language.map(|(id, _)| languages.linguist().language(id).name.as_str()))
            }
            Field::License if commit_scope => {
                owned((self.license)().and_then(|l| commitpack_name(l.expression.as_deref()?)))
            }
            Field::LicenseSpdx if commit_scope => owned((self.license)().and_then(|found| found.expression.clone())),
            Field::LicenseConfidence => {
                (self.license)().and_then(|found| found.confidence).map_or(Value::Missing, Value::Number)
            }
            Field::OldContents => Value::from(self.old),
            Field::NewContents => Value::from(self.new),
            Field::Tokens => Value::Number(tokens::count(self.old.unwrap_or(""), self.new.unwrap_or("")) as f64),
            _ => self.header.value(field),
        }
    }

    fn is_generated_by_path(&self) -> bool {
        self.header.is_generated_by_path()
    }

    fn has_tokens_in(&self, range: &Range) -> bool {
        tokens::is_within(self.old.unwrap_or(""), self.new.unwrap_or(""), range)
    }

    fn tokens_shown(&self, range: &Range) -> String {
        tokens::shown(self.old.unwrap_or(""), self.new.unwrap_or(""), range)
    }

    fn policy_takes(&self, policy: &str) -> bool {
        if self.header.tree.commit.origin.scope == LicenseScope::Repository {
            return self.header.policy_takes(policy);
        }
        let license = (self.license)();
        let expression = license.as_ref().and_then(|found| found.expression.as_deref());
        Policy::find(policy).is_some_and(|policy| policy.takes(expression))
    }
}

/// A row of a store.
pub struct RowView<'a> {
    pub(super) origin: &'a Origin<'a>,
    pub(super) sample: &'a Sample<'a>,
}

impl<'a> RowView<'a> {
    /// The row `sample` of the repository `origin`.
    pub fn new(origin: &'a Origin<'a>, sample: &'a Sample<'a>) -> Self {
        RowView { origin, sample }
    }

    fn path(&self) -> &str {
        self.sample.new_file.or(self.sample.old_file).unwrap_or_default()
    }

    fn license_spdx(&self) -> Option<&str> {
        match self.origin.scope {
            LicenseScope::Commit => self.sample.license_spdx,
            LicenseScope::Repository => self.origin.license,
        }
    }
}

impl View for RowView<'_> {
    fn value(&self, field: &Field) -> Value<'_> {
        let sample = self.sample;
        let number = |number: Option<f64>| number.map_or(Value::Missing, Value::Number);
        let owned = |text: Option<String>| text.map_or(Value::Missing, |text| Value::Text(Cow::Owned(text)));
        match field {
            Field::Additions => Value::Number(f64::from(sample.additions)),
            Field::AuthorKind => Value::from(sample.author_kind),
            Field::AuthorLabel => Value::from(sample.author_label),
            Field::AuthorTime => seconds(sample.author_time),
            Field::Column(name) => Value::from(self.origin.columns.get(name).map(String::as_str)),
            Field::Commit => Value::from(sample.commit),
            Field::CommitTime => seconds(sample.commit_time),
            Field::Deletions => Value::Number(f64::from(sample.deletions)),
            Field::Diff => Value::from(sample.diff),
            Field::Extension => Value::Text(Cow::Owned(extension(self.path()))),
            Field::FilesChanged => Value::Number(f64::from(sample.files_changed)),
            Field::FilesModified => number(sample.files_modified.map(f64::from)),
            Field::Generated => Value::from(sample.generated),
            Field::Kind => Value::from(sample.kind),
            Field::Lang => Value::from(sample.lang),
            Field::Language => Value::from(sample.language),
            Field::License => owned(self.license_spdx().and_then(commitpack_name)),
            Field::LicenseConfidence => number(sample.license_confidence),
            Field::LicenseSpdx => Value::from(self.license_spdx()),
            Field::Message | Field::MessageChomped => Value::from(sample.message),
            Field::MessageLanguage => Value::from(sample.message_language),
            Field::MessageLanguageConfidence => number(sample.message_language_confidence),
            Field::Name => Value::from(self.path().rsplit('/').next()),
            Field::NewBytes => number(sample.new_contents.map(|text| text.len() as f64)),
            Field::NewContents => Value::from(sample.new_contents),
            Field::NewFile => Value::from(sample.new_file),
            Field::OldBytes => number(sample.old_contents.map(|text| text.len() as f64)),
            Field::OldContents => Value::from(sample.old_contents),
            Field::OldFile => Value::from(sample.old_file),
            Field::Path => Value::from(self.path()),
            Field::Repository => Value::from(self.origin.name),
            Field::Reverts => Value::Number(sample.reverts.len() as f64),
            Field::Stem => Value::from(stem(self.path())),
            Field::Subject => Value::from(sample.subject),
            Field::Tokens => {
                let (old, new) = (sample.old_contents.unwrap_or(""), sample.new_contents.unwrap_or(""));
                Value::Number(tokens::count(old, new) as f64)
            }
            Field::Vendored => sample.vendored.map_or(Value::Missing, Value::Flag),
        }
    }

    /// The row has the value in any case; this is where mining would have known it. A row that other tables labelled keeps
    /// its label.
    fn is_generated_by_path(&self) -> bool {
        Languages::in_use().generated_by_path(self.path()).is_some()
    }

    fn tokens_shown(&self, range: &Range) -> String {
        let Sample { old_contents, new_contents, .. } = self.sample;
        tokens::shown(old_contents.unwrap_or(""), new_contents.unwrap_or(""), range)
    }

    fn policy_takes(&self, policy: &str) -> bool {
        Policy::find(policy).is_some_and(|policy| policy.takes(self.license_spdx()))
    }
}
