//! Licence policies: which SPDX expressions may be kept. They are data, `filters/licenses.toml`.

use std::sync::OnceLock;

use serde::Deserialize;

use super::{Class, Licenses, Use};

const TABLE: &str = include_str!("../../../filters/licenses.toml");

/// A policy, ready to be asked.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Its name.
    pub id: String,
    /// Where it comes from.
    pub why: String,
    #[serde(default)]
    any: bool,
    #[serde(default)]
    licenses: Vec<String>,
    #[serde(rename = "use")]
    users: Option<Use>,
    share_alike: Option<bool>,
    permissive: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    policy: Vec<Policy>,
}

impl Policy {
    /// All policies, sorted by id.
    pub fn all() -> &'static [Policy] {
        static ALL: OnceLock<Vec<Policy>> = OnceLock::new();
        ALL.get_or_init(|| toml::from_str::<Table>(TABLE).expect("a test reads the compiled-in table").policy)
    }

    /// The policy of this name.
    pub fn find(id: &str) -> Option<&'static Policy> {
        Policy::all().iter().find(|policy| policy.id == id)
    }

    /// Whether it takes what is under `expression`; none where nothing is known of the licence.
    pub fn takes(&self, expression: Option<&str>) -> bool {
        if self.any {
            return true;
        }
        let Some(expression) = expression else { return false };
        let Ok(parsed) = spdx::Expression::parse_mode(expression, spdx::ParseMode::LAX) else { return false };
        parsed.evaluate(|requirement| self.takes_one(&requirement.to_string()))
    }

    fn takes_one(&self, requirement: &str) -> bool {
        if !self.licenses.is_empty() {
            let plain = requirement.split(" WITH ").next().unwrap_or(requirement);
            let plain = plain.trim_end_matches("-only").trim_end_matches("-or-later").trim_end_matches('+');
            return self.licenses.iter().any(|license| license.eq_ignore_ascii_case(plain));
        }
        let Class { restricted, users, share_alike, .. } = Licenses::in_use().class(requirement);
        self.users.is_none_or(|most| users <= most)
            && self.share_alike.is_none_or(|wanted| wanted || !share_alike)
            && self.permissive.is_none_or(|wanted| !(wanted && restricted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_sorted_and_say_why() {
        assert!(Policy::all().is_sorted_by(|a, b| a.id < b.id));
        for policy in Policy::all() {
            assert!(policy.why.len() > 20, "{}", policy.id);
            assert!(policy.licenses.iter().all(|id| spdx::license_id(id).is_some()), "{}", policy.id);
        }
    }

    #[test]
    fn policies_take_and_refuse() {
        let takes = |policy: &str, expression: Option<&str>| Policy::find(policy).expect("a policy").takes(expression);
        for (expression, permissive, commitpack) in [
            (Some("MIT"), true, true),
            (Some("MIT OR GPL-3.0-only"), true, true),
            (Some("MIT AND GPL-3.0-only"), false, false),
            (Some("(MIT OR GPL-2.0-only) AND (Apache-2.0 OR MPL-2.0)"), true, true),
            (Some("AGPL-3.0-or-later"), false, true),
            (Some("LGPL-2.1+"), false, true),
            (Some("BUSL-1.1"), false, false),
            (Some("LicenseRef-something"), false, false),
            (Some("Zlib"), true, false),
            (Some("Apache-2.0 WITH LLVM-exception"), true, true),
            (Some("not an expression at all"), false, false),
            (None, false, false),
        ] {
            assert_eq!(
                (takes("permissive", expression), takes("commitpack", expression)),
                (permissive, commitpack),
                "{expression:?}"
            );
            assert!(takes("any", expression));
        }
    }
}
