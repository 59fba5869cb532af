//! Licences: what texts, headers and package metadata say, as SPDX expressions, and what that asks of a user.

mod directory;
mod expression;
pub mod header;
pub mod metadata;
mod phrases;
pub mod policy;
pub mod reuse;
pub mod text;

use std::{
    collections::{BTreeMap, HashMap},
    sync::OnceLock,
};

use serde::Deserialize;

use super::catalog::{self, Text};
pub use directory::{Combined, combine, is_text_name};
pub use expression::{commitpack_name, declared, expression};
use phrases::{Phrases, normalized};

/// Who may use what is under a licence, from the least restrictive on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Use {
    /// Everyone.
    All,
    /// For research and teaching.
    Academic,
    /// Not for commercial ends.
    NonCommercial,
    /// Nothing is known, or it is under terms of its own.
    Unspecified,
}

/// What a licence asks, the most restrictive of each for several that hold at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class {
    /// Whether the policy `permissive` leaves it out.
    pub restricted: bool,
    /// Who may use it.
    pub users: Use,
    /// Whether works made of it come under the same licence.
    pub share_alike: bool,
    /// Whether the notice has to stay.
    pub attribution: bool,
}

impl Class {
    /// Of what nothing is known.
    pub const UNKNOWN: Class =
        Class { restricted: true, users: Use::Unspecified, share_alike: true, attribution: true };

    /// What it asks, in a word.
    pub fn name(self) -> &'static str {
        match self.users {
            _ if !self.restricted => "permissive",
            Use::Academic | Use::NonCommercial => "non-commercial",
            Use::Unspecified => "unknown or own terms",
            Use::All if self.share_alike => "copyleft",
            Use::All => "restricted",
        }
    }

    /// What [`Class::name`] says.
    pub const NAMES: [&str; 5] = ["permissive", "copyleft", "restricted", "non-commercial", "unknown or own terms"];

    /// Its position among all classes, in their order.
    pub fn rank(self) -> u8 {
        let Class { restricted, users, share_alike, attribution } = self;
        u8::from(restricted) << 4 | (users as u8) << 2 | u8::from(share_alike) << 1 | u8::from(attribution)
    }

    /// The class of this [`Class::rank`].
    pub fn of_rank(rank: u8) -> Class {
        let users = match rank >> 2 & 3 {
            0 => Use::All,
            1 => Use::Academic,
            2 => Use::NonCommercial,
            _ => Use::Unspecified,
        };
        Class { restricted: rank >> 4 & 1 == 1, users, share_alike: rank >> 1 & 1 == 1, attribution: rank & 1 == 1 }
    }

    fn and(self, other: Class) -> Class {
        Class {
            restricted: self.restricted || other.restricted,
            users: self.users.max(other.users),
            share_alike: self.share_alike || other.share_alike,
            attribution: self.attribution || other.attribution,
        }
    }
}

/// A licence of the table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct License {
    /// SPDX identifier.
    pub id: String,
    #[serde(default)]
    every: Vec<String>,
    #[serde(default)]
    none: Vec<String>,
    #[serde(default)]
    headers: Vec<String>,
    #[serde(default)]
    names: Vec<String>,
    #[serde(rename = "use")]
    users: Use,
    attribution: bool,
    share_alike: bool,
    permissive: bool,
}

impl License {
    /// What it asks.
    pub fn class(&self) -> Class {
        let Self { users, attribution, share_alike, permissive, .. } = *self;
        Class { restricted: !permissive, users, share_alike, attribution }
    }

    /// Whether a text is of this licence that has the first of its phrases; `has` says which others there are.
    fn is_text(&self, has: impl Fn(&String) -> bool) -> bool {
        self.every.iter().all(&has) && !self.none.iter().any(has)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    limits: Vec<String>,
    license: Vec<License>,
}

/// What a phrase of the table is besides a part of texts: a notice or a name of these licences, or a limit of the use.
#[derive(Default)]
struct Roles {
    /// Licences whose texts are known by this phrase before others.
    texts: Vec<usize>,
    headers: Vec<usize>,
    names: Vec<usize>,
    limit: bool,
}

/// The table, ready to be asked.
pub struct Licenses {
    licenses: Vec<License>,
    by_id: HashMap<String, usize>,
    /// All phrases, and what each of them is.
    phrases: Phrases,
    roles: Vec<Roles>,
    pattern_of: HashMap<String, usize>,
}

impl Licenses {
    /// The table in use.
    pub fn in_use() -> &'static Self {
        static BUILTIN: OnceLock<Licenses> = OnceLock::new();
        BUILTIN.get_or_init(|| {
            Self::new(catalog::table("licenses.toml")).expect("tables are checked before they are used")
        })
    }

    /// Reads a table.
    ///
    /// # Errors
    /// It is not valid.
    pub fn new(table: Text<'_>) -> Result<Self, String> {
        let Table { limits, mut license } = table.read()?;
        for each in &mut license {
            for phrase in each.every.iter_mut().chain(&mut each.none).chain(&mut each.headers).chain(&mut each.names) {
                *phrase = normalized(phrase);
            }
        }
        let by_id = license.iter().enumerate().map(|(at, license)| (license.id.clone(), at)).collect();
        let mut known: BTreeMap<String, Roles> = BTreeMap::new();
        for (at, each) in license.iter().enumerate() {
            for phrase in each.every.iter().chain(&each.none) {
                known.entry(phrase.clone()).or_default();
            }
            if let Some(first) = each.every.first() {
                known.entry(first.clone()).or_default().texts.push(at);
            }
            for phrase in &each.headers {
                known.entry(phrase.clone()).or_default().headers.push(at);
            }
            for phrase in &each.names {
                known.entry(phrase.clone()).or_default().names.push(at);
            }
        }
        for limit in limits {
            known.entry(normalized(&limit)).or_default().limit = true;
        }
        let phrases = Phrases::new(known.keys())?;
        let pattern_of = known.keys().enumerate().map(|(at, phrase)| (phrase.clone(), at)).collect();
        let roles = known.into_values().collect();
        Ok(Licenses { licenses: license, by_id, phrases, roles, pattern_of })
    }

    /// All licences, sorted by id.
    pub fn all(&self) -> impl Iterator<Item = &License> {
        self.licenses.iter()
    }

    /// The licence of this SPDX identifier.
    pub fn find(&self, id: &str) -> Option<&License> {
        self.by_id.get(id).map(|at| &self.licenses[*at])
    }

    /// What an SPDX expression asks: of an AND the most restrictive parts, of an OR the least restrictive side.
    pub fn class(&self, expression: &str) -> Class {
        // Most are one licence.
        if let Some(license) = self.find(expression).filter(|_| spdx::license_id(expression).is_some()) {
            return license.class();
        }
        let Ok(parsed) = spdx::Expression::parse_mode(expression, spdx::ParseMode::LAX) else { return Class::UNKNOWN };
        let mut stack: Vec<Class> = Vec::new();
        for node in parsed.iter() {
            match node {
                spdx::expression::ExprNode::Req(req) => stack.push(self.class_of(&req.req.to_string())),
                spdx::expression::ExprNode::Op(op) => {
                    let (Some(right), Some(left)) = (stack.pop(), stack.pop()) else { return Class::UNKNOWN };
                    stack.push(match op {
                        spdx::expression::Operator::And => left.and(right),
                        spdx::expression::Operator::Or => left.min(right),
                    });
                }
            }
        }
        stack.pop().unwrap_or(Class::UNKNOWN)
    }

    fn class_of(&self, requirement: &str) -> Class {
        let plain = requirement.split(" WITH ").next().unwrap_or(requirement);
        let known = self.find(requirement).or_else(|| self.find(plain)).map(License::class);
        // A licence that only SPDX's list knows: its terms were not read, so it is not called permissive.
        known.unwrap_or(Class::UNKNOWN)
    }
}

/// How a licence was found, from the strongest evidence on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// `SPDX-License-Identifier` in the file itself.
    Tag,
    /// A notice in the file itself.
    Header,
    /// A licence file in the nearest directory that has one.
    Text,
    /// A `REUSE.toml`, a `.reuse/dep5` or the file names in a `LICENSES` directory.
    Reuse,
    /// Package metadata in the nearest directory that has some.
    Metadata,
    /// The source list says so.
    Declared,
}

impl Method {
    /// The name in the `license_method` column.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Tag => "tag",
            Method::Header => "header",
            Method::Text => "text",
            Method::Reuse => "reuse",
            Method::Metadata => "metadata",
            Method::Declared => "declared",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_strict_and_known_to_spdx() {
        let licenses = Licenses::in_use();
        let ids: Vec<&str> = licenses.all().map(|license| license.id.as_str()).collect();
        assert!(ids.is_sorted(), "{ids:?}");
        for license in licenses.all() {
            let known =
                license.id.starts_with("LicenseRef-") || expression(&license.id).as_deref() == Some(&license.id);
            assert!(known || license.id == "MIT-open-group", "{}", license.id);
            assert!(!license.every.is_empty() || !license.headers.is_empty(), "{}", license.id);
            let id = license.id.split(" WITH ").next().and_then(spdx::license_id);
            if license.permissive {
                assert!(!license.share_alike && license.users == Use::All, "{}", license.id);
                assert!(id.is_none_or(|id| !id.is_copyleft()), "{}", license.id);
            }
        }
        assert!(Licenses::new(Text::Toml("[[license]]\nid = \"x\"\n")).is_err());
    }

    #[test]
    fn classes_follow_and_and_or() {
        let restricted = |text: &str| Licenses::in_use().class(text).restricted;
        for (text, expected) in [
            ("MIT", false),
            ("MIT OR GPL-2.0-only", false),
            ("MIT AND GPL-2.0-only", true),
            ("(MIT OR GPL-2.0-only) AND Apache-2.0", false),
            ("(MIT AND GPL-2.0-only) OR MPL-2.0", true),
            ("GPL-2.0-only WITH Classpath-exception-2.0", true),
            ("LicenseRef-RSALv2 OR SSPL-1.0", true),
            ("Aladdin", true),
            ("nonsense", true),
        ] {
            assert_eq!(restricted(text), expected, "{text}");
        }
        assert_eq!(Licenses::in_use().class("CC-BY-NC-4.0").users, Use::NonCommercial);
        assert!(Licenses::in_use().class("MIT AND MPL-2.0").share_alike);
        assert!(!Licenses::in_use().class("0BSD").attribution);
    }
}
