//! Takes out of the texts of a row what is a secret or tells of a person: secrets, private keys, e-mail addresses, IP
//! addresses. No I/O, no clock: what becomes of a row is a function of its texts, the rules and the policy.
//!
//! Everything but private keys is found line by line, so that of two texts that are mostly the same, the lines that both have
//! are looked at once.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    str::FromStr,
};

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use hashbrown::{HashMap, HashSet};
use memchr::memmem;
use serde::{Deserialize, Serialize};

use super::words::common_lines;
use crate::verdict::Masked;

mod addresses;
mod keys;
mod secrets;

pub use secrets::{Error, TABLE};

/// The version of what is found beside the rules, and of the placeholders. With another one, a decision is due again.
pub const VERSION: u32 = 2;

/// A row goes by this rule where before and after differ in values only.
pub const SECRET_ONLY: &str = "secret_only";

/// A secret of so many bytes is masked wherever it stands in the row, with its name or without,
const SPREAD_BYTES_MIN: usize = 12;

/// one of so many, with a letter and a digit, where it stands alone; a shorter one may be a word.
const SPREAD_ALONE_BYTES_MIN: usize = 8;

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A private key, whole.
    PrivateKeys,
    /// What `filters/secrets.toml` knows.
    Secrets,
    /// An e-mail address that may be somebody's.
    Emails,
    /// An IP address that may be somebody's.
    IpAddresses,
}

impl Kind {
    /// All of them. Where two overlap, both are masked as the first.
    pub const ALL: [Kind; 4] = [Kind::PrivateKeys, Kind::Secrets, Kind::Emails, Kind::IpAddresses];

    /// The name in options and accounts.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::PrivateKeys => "private_keys",
            Kind::Secrets => "secrets",
            Kind::Emails => "emails",
            Kind::IpAddresses => "ip_addresses",
        }
    }

    /// The rule by which a row goes that has one.
    pub const fn rule(self) -> &'static str {
        match self {
            Kind::PrivateKeys => "redact_private_keys",
            Kind::Secrets => "redact_secrets",
            Kind::Emails => "redact_emails",
            Kind::IpAddresses => "redact_ip_addresses",
        }
    }

    /// How placeholders begin; a number and `>` follow.
    pub fn placeholder(self) -> &'static str {
        match self {
            Kind::PrivateKeys => "<PRIVATE_KEY_",
            Kind::Secrets => "<SECRET_",
            Kind::Emails => "<EMAIL_",
            Kind::IpAddresses => "<IP_",
        }
    }
}

/// What becomes of a row that has a value of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// The row goes.
    Drop,
    /// A placeholder takes its place.
    Mask,
    /// It is not looked for.
    Off,
}

impl FromStr for Action {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "drop" => Ok(Action::Drop),
            "mask" => Ok(Action::Mask),
            "off" => Ok(Action::Off),
            _ => Err(format!("`{text}` is neither drop, mask nor off")),
        }
    }
}

/// What becomes of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Of [`Kind::Secrets`].
    pub secrets: Action,
    /// Of [`Kind::PrivateKeys`].
    pub private_keys: Action,
    /// Of [`Kind::Emails`].
    pub emails: Action,
    /// Of [`Kind::IpAddresses`].
    pub ip_addresses: Action,
}

impl Policy {
    /// The same for all kinds.
    pub const fn all(action: Action) -> Policy {
        Policy { secrets: action, private_keys: action, emails: action, ip_addresses: action }
    }

    /// Nothing is looked for.
    pub const fn off() -> Policy {
        Policy::all(Action::Off)
    }

    /// Whether nothing is looked for.
    pub fn is_off(&self) -> bool {
        *self == Policy::off()
    }

    /// What becomes of `kind`.
    pub fn of(&self, kind: Kind) -> Action {
        match kind {
            Kind::PrivateKeys => self.private_keys,
            Kind::Secrets => self.secrets,
            Kind::Emails => self.emails,
            Kind::IpAddresses => self.ip_addresses,
        }
    }

    /// Reads parts such as `drop`, which is for all kinds, and `emails=off`; the later one counts.
    ///
    /// # Errors
    /// There is no such kind or action.
    pub fn parse<'a>(parts: impl IntoIterator<Item = &'a str>) -> Result<Policy, String> {
        let mut policy = Policy::all(Action::Mask);
        for part in parts {
            let Some((name, action)) = part.split_once('=') else {
                policy = Policy::all(part.parse()?);
                continue;
            };
            let action = action.parse()?;
            match name {
                "secrets" => policy.secrets = action,
                "private_keys" => policy.private_keys = action,
                "emails" => policy.emails = action,
                "ip_addresses" => policy.ip_addresses = action,
                _ => {
                    let names = Kind::ALL.map(Kind::as_str).join(", ");
                    return Err(format!("there is no kind `{name}`; there are {names}"));
                }
            }
        }
        Ok(policy)
    }
}

/// A value in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Value {
    range: Range<usize>,
    kind: Kind,
    /// The rule of a secret.
    rule: Option<u16>,
}

/// Columns that are redacted, in the order in which values are numbered.
pub const COLUMNS: [&str; 5] = ["old_contents", "new_contents", "message", "subject", "reverts_subject"];

/// The texts of a row by [`COLUMNS`]; none where there is no text.
pub type Texts<'a> = [Option<&'a str>; COLUMNS.len()];

/// The texts of a row with placeholders in them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Redacted {
    /// By [`COLUMNS`]; none where the text stays as it is.
    pub texts: [Option<String>; COLUMNS.len()],
    /// Different values by kind.
    kinds: BTreeMap<Kind, u64>,
    /// Different secrets by rule.
    rules: BTreeMap<u16, u64>,
}

/// What becomes of a row.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was found.
    Clean,
    /// Values gave way to placeholders.
    Masked(Box<Redacted>),
    /// The row goes, by this rule; what was seen says where and never what.
    Drop(&'static str, String),
}

/// What was found in the last text, since the next row's file before is mostly the last one's file after.
#[derive(Default)]
pub struct Memory {
    text: String,
    values: Vec<Value>,
}

/// The rules and the policy, ready for rows.
pub struct Redactor {
    rules: secrets::Rules,
    policy: Policy,
}

impl Redactor {
    /// A redactor by the table of secrets `table`.
    ///
    /// # Errors
    /// A rule of it is not as it should be.
    pub fn new(table: &str, policy: Policy) -> Result<Redactor, Error> {
        Ok(Redactor { rules: secrets::Rules::parse(table)?, policy })
    }

    /// Counts a row in `masked`.
    pub fn count(&self, redacted: &Redacted, masked: &mut Masked) {
        masked.rows += 1;
        for (kind, values) in &redacted.kinds {
            masked.kinds.entry(kind.as_str().to_owned()).or_default().see(*values);
        }
        for (rule, values) in &redacted.rules {
            masked.secrets.entry(self.rules.id(*rule).to_owned()).or_default().see(*values);
        }
    }

    /// What becomes of the row with these texts. `memory` changes the time that it takes and nothing else.
    pub fn redact(&self, texts: Texts<'_>, memory: &mut Memory) -> Outcome {
        let mut found = self.find(texts, memory);
        if found.iter().all(Vec::is_empty) {
            return Outcome::Clean;
        }
        for kind in Kind::ALL.into_iter().filter(|kind| self.policy.of(*kind) == Action::Drop) {
            for (column, values) in COLUMNS.iter().zip(&found) {
                if let Some(value) = values.iter().find(|value| value.kind == kind) {
                    let what = value.rule.map_or(kind.as_str(), |rule| self.rules.id(rule));
                    return Outcome::Drop(kind.rule(), format!("{what} in {column}"));
                }
            }
        }
        self.spread(texts, &mut found);
        let alike =
            |at: usize| texts[at].map(|text| written(text, &found[at], |_, value| value.kind.placeholder().into()));
        if let (Some(old), Some(new)) = (texts[0], texts[1])
            && old != new
            && alike(0) == alike(1)
        {
            let kinds: BTreeSet<Kind> = found[..2].iter().flatten().map(|value| value.kind).collect();
            let names: Vec<&str> = kinds.into_iter().map(Kind::as_str).collect();
            return Outcome::Drop(SECRET_ONLY, names.join(", "));
        }
        Outcome::Masked(Box::new(number(texts, &found)))
    }

    fn find(&self, texts: Texts<'_>, memory: &mut Memory) -> [Vec<Value>; COLUMNS.len()] {
        let [old, new, others @ ..] = texts;
        let mut found: [Vec<Value>; COLUMNS.len()] = Default::default();
        if let Some(old) = old {
            found[0] = self.in_changed_lines(&memory.text, &memory.values, old);
        }
        if let Some(new) = new {
            found[1] = self.in_changed_lines(old.unwrap_or_default(), &found[0], new);
            memory.text.clear();
            memory.text.push_str(new);
            memory.values.clone_from(&found[1]);
        }
        for (found, text) in found[2..].iter_mut().zip(others) {
            *found = self.in_lines(text.unwrap_or_default(), 0..text.map_or(0, str::len));
        }
        for (found, text) in found.iter_mut().zip(texts) {
            if self.policy.private_keys != Action::Off {
                keys::find(text.unwrap_or_default(), found);
            }
            self.join(found);
        }
        found
    }

    /// What is in `range` of `text`, which is whole lines. Values may overlap.
    fn in_lines(&self, text: &str, range: Range<usize>) -> Vec<Value> {
        let mut found = Vec::new();
        if range.start == range.end {
            return found;
        }
        if self.policy.secrets != Action::Off {
            self.rules.find(text, range.clone(), &mut found);
        }
        if self.policy.emails != Action::Off {
            addresses::find_emails(text, range.clone(), &mut found);
        }
        if self.policy.ip_addresses != Action::Off {
            addresses::find_ip_addresses(text, range, &mut found);
        }
        found
    }

    /// What is in `new`, of which the lines at its start and end that `old` has as well are known.
    fn in_changed_lines(&self, old: &str, in_old: &[Value], new: &str) -> Vec<Value> {
        let (head, tail) = common_lines(old.as_bytes(), new.as_bytes());
        let mut found = self.in_lines(new, head..new.len() - tail);
        for value in in_old {
            let range = &value.range;
            if range.end <= head {
                found.push(value.clone());
            } else if range.start >= old.len() - tail {
                let start = new.len() - (old.len() - range.start);
                found.push(Value { range: start..start + range.len(), ..*value });
            }
        }
        found
    }

    /// Sorts values, and makes one of those that overlap.
    fn join(&self, found: &mut Vec<Value>) {
        // Of the same kind in the same place, a rule that knows the form goes before one that knows a name.
        let rank = |value: &Value| (value.kind, value.rule.map(|rule| (self.rules.is_generic(rule), rule)));
        found.sort_unstable_by_key(|value| (value.range.start, rank(value), value.range.end));
        found.dedup_by(|value, before| {
            if value.range.start >= before.range.end {
                return false;
            }
            before.range.end = before.range.end.max(value.range.end);
            if rank(value) < rank(before) {
                (before.kind, before.rule) = (value.kind, value.rule);
            }
            true
        });
    }

    /// Adds the secrets of each text wherever they stand in the others.
    fn spread(&self, texts: Texts<'_>, found: &mut [Vec<Value>; COLUMNS.len()]) {
        let mut secrets: HashMap<&str, Option<u16>> = HashMap::new();
        for (values, text) in found.iter().zip(texts) {
            for value in values.iter().filter(|value| value.kind == Kind::Secrets) {
                let secret = &text.unwrap_or_default()[value.range.clone()];
                if spreads(secret) {
                    secrets.entry(secret).or_insert(value.rule);
                }
            }
        }
        if secrets.is_empty() {
            return;
        }
        let mut sorted: Vec<(&str, Option<u16>)> = secrets.into_iter().collect();
        sorted.sort_unstable();
        let mut builder = AhoCorasick::builder();
        builder.match_kind(MatchKind::LeftmostLongest).kind(Some(AhoCorasickKind::ContiguousNFA));
        let automaton = builder.build(sorted.iter().map(|(secret, _)| secret));
        let automaton = automaton.expect("the texts of a row have fewer bytes than an automaton may have states");
        for (values, text) in found.iter_mut().zip(texts) {
            let text = text.unwrap_or_default();
            let more = automaton.find_iter(text);
            let more = more.filter(|hit| hit.len() >= SPREAD_BYTES_MIN || is_alone(text.as_bytes(), hit.range()));
            values.extend(more.map(|hit| Value {
                range: hit.range(),
                kind: Kind::Secrets,
                rule: sorted[hit.pattern().as_usize()].1,
            }));
            self.join(values);
        }
    }
}

/// Whether a secret is masked without its name as well.
fn spreads(secret: &str) -> bool {
    let has = |is: fn(&u8) -> bool| secret.as_bytes().iter().any(is);
    secret.len() >= SPREAD_BYTES_MIN
        || secret.len() >= SPREAD_ALONE_BYTES_MIN && has(u8::is_ascii_alphabetic) && has(u8::is_ascii_digit)
}

/// Whether what is at `range` is no part of a longer word.
fn is_alone(text: &[u8], range: Range<usize>) -> bool {
    let is_of_word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    !is_of_word(range.start.checked_sub(1).and_then(|at| text.get(at))) && !is_of_word(text.get(range.end))
}

/// `text` with each value written as `name` says.
fn written<'a>(text: &'a str, values: &[Value], mut name: impl FnMut(&'a str, &Value) -> Cow<'static, str>) -> String {
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    for value in values {
        out.push_str(&text[at..value.range.start]);
        out.push_str(&name(&text[value.range.clone()], value));
        at = value.range.end;
    }
    out.push_str(&text[at..]);
    out
}

/// Gives each value its placeholder, the same one wherever it stands.
fn number(texts: Texts<'_>, found: &[Vec<Value>; COLUMNS.len()]) -> Redacted {
    let mut redacted = Redacted::default();
    let mut names: HashMap<(Kind, Cow<'_, str>), String> = HashMap::new();
    let mut next: BTreeMap<Kind, u64> = BTreeMap::new();
    let taken = taken(texts);
    for ((text, values), out) in texts.into_iter().zip(found).zip(&mut redacted.texts) {
        let Some(text) = text.filter(|_| !values.is_empty()) else { continue };
        *out = Some(written(text, values, |value, Value { kind, rule, .. }| {
            // The case of an address says nothing.
            let known = if *kind == Kind::Emails { value.to_ascii_lowercase().into() } else { Cow::Borrowed(value) };
            let name = names.entry((*kind, known)).or_insert_with(|| {
                *redacted.kinds.entry(*kind).or_default() += 1;
                if let Some(rule) = rule {
                    *redacted.rules.entry(*rule).or_default() += 1;
                }
                let number = next.entry(*kind).or_default();
                *number += 1;
                while taken.contains(&(*kind, *number)) {
                    *number += 1;
                }
                format!("{}{number}>", kind.placeholder())
            });
            name.clone().into()
        }));
    }
    redacted
}

/// Placeholders that stand in the texts already, so that none of ours is taken for one of them.
fn taken(texts: Texts<'_>) -> HashSet<(Kind, u64)> {
    let mut taken = HashSet::new();
    for text in texts.into_iter().flatten() {
        for kind in Kind::ALL {
            for at in memmem::find_iter(text.as_bytes(), kind.placeholder()) {
                let digits = &text[at + kind.placeholder().len()..];
                let len = digits.bytes().take(20).take_while(u8::is_ascii_digit).count();
                taken.extend(digits[..len].parse().ok().map(|number| (kind, number)));
            }
        }
    }
    taken
}

#[cfg(test)]
mod tests;
