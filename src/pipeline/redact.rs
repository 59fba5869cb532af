//! Introduces [`crate::dedup::redact`] to rows: which texts of a row it sees, and the diff of what it gives back.

use std::{
    borrow::Cow,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    dedup::redact::{self, Memory, Outcome, Policy, Redacted, Redactor, Texts},
    git::{diff, lines::Comparer},
    sample::Sample,
    verdict::Masked,
};

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error("the secrets in {path}: {source}")]
    Rules { path: PathBuf, source: redact::Error },
    #[error("the secrets in {path} can't be read: {source}")]
    Read { path: PathBuf, source: std::io::Error },
}

/// A row with placeholders in its texts.
pub struct Row {
    redacted: Box<Redacted>,
    /// None where the contents stay as they are.
    diff: Option<diff::Unified>,
}

impl Row {
    fn sample<'a>(&'a self, sample: &Sample<'a>) -> Sample<'a> {
        let [old, new, message, subject, reverts_subject] = &self.redacted.texts;
        let mut masked = Sample {
            old_contents: old.as_deref().or(sample.old_contents),
            new_contents: new.as_deref().or(sample.new_contents),
            message: message.as_deref().unwrap_or(sample.message),
            subject: subject.as_deref().unwrap_or(sample.subject),
            reverts_subject: reverts_subject.as_deref().or(sample.reverts_subject),
            ..sample.clone()
        };
        if let Some(diff) = &self.diff {
            masked.diff = &diff.text;
            (masked.additions, masked.deletions) = (diff.additions, diff.deletions);
        }
        masked
    }
}

/// What becomes of a row.
pub enum Fate {
    /// It stays as it is.
    Clean,
    /// It stays like this.
    Masked(Row),
    /// It goes by this rule; what was seen.
    Drop(&'static str, String),
}

impl Fate {
    /// The row as it stays, of which `sample` has what is not masked.
    pub fn sample<'a>(&'a self, sample: &'a Sample<'a>) -> Cow<'a, Sample<'a>> {
        match self {
            Fate::Masked(row) => Cow::Owned(row.sample(sample)),
            Fate::Clean | Fate::Drop(..) => Cow::Borrowed(sample),
        }
    }
}

/// Redacts rows, best in the order of a segment.
pub struct Redaction {
    redactor: Option<Redactor>,
    digest: String,
}

/// What a thread needs to redact rows.
#[derive(Default)]
pub struct Scratch {
    memory: Memory,
    comparer: Comparer,
    /// What was masked.
    pub masked: Masked,
}

impl Redaction {
    /// By `policy` and the rules of the file `secrets`, or those that are compiled in.
    ///
    /// # Errors
    /// The file can't be read, or its rules are not as they should be.
    pub fn new(policy: Policy, secrets: Option<&Path>) -> Result<Redaction, Error> {
        if policy.is_off() {
            return Ok(Redaction { redactor: None, digest: String::new() });
        }
        let path = secrets.unwrap_or(Path::new("filters/secrets.toml"));
        let table = match secrets {
            None => redact::TABLE.to_owned(),
            Some(path) => fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?,
        };
        let redactor = Redactor::new(&table, policy);
        let redactor = redactor.map_err(|source| Error::Rules { path: path.to_owned(), source })?;
        let what = serde_json::json!([redact::VERSION, policy, table]);
        let digest = blake3::hash(what.to_string().as_bytes()).to_hex().to_string();
        Ok(Redaction { redactor: Some(redactor), digest })
    }

    /// Digest of policy and rules, and of how they are applied; none where nothing is looked for.
    pub fn digest(&self) -> Option<&str> {
        self.redactor.as_ref().map(|_| self.digest.as_str())
    }

    /// What becomes of `sample`, a function of its texts.
    pub fn redact(&self, sample: &Sample<'_>, scratch: &mut Scratch) -> Fate {
        let Some(redactor) = &self.redactor else { return Fate::Clean };
        let texts: Texts<'_> = [
            sample.old_contents,
            sample.new_contents,
            Some(sample.message),
            Some(sample.subject),
            sample.reverts_subject,
        ];
        let redacted = match redactor.redact(texts, &mut scratch.memory) {
            Outcome::Clean => return Fate::Clean,
            Outcome::Drop(rule, value) => return Fate::Drop(rule, value),
            Outcome::Masked(redacted) => redacted,
        };
        redactor.count(&redacted, &mut scratch.masked);
        let [old, new, ..] = &redacted.texts;
        // A rename that changes nothing has no hunks.
        let is_changed = (old.is_some() || new.is_some()) && sample.old_contents != sample.new_contents;
        let diff = is_changed.then(|| {
            let (old, new) = (old.as_deref().or(sample.old_contents), new.as_deref().or(sample.new_contents));
            diff::with_contents(&mut scratch.comparer, sample.diff, old, new)
        });
        Fate::Masked(Row { redacted, diff })
    }
}
