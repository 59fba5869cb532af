//! Weights: of the rows with a value in a column, a share stays. Which ones is drawn by their ids, so it is the same
//! sample whatever else there is.

use serde::{Deserialize, Serialize};

use super::facts;
use crate::{
    classify::{
        language::{commitpack::CommitPackLanguages, linguist::Linguist},
        license::Class,
    },
    dedup::words::mix,
};

/// What rows can be weighted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Column {
    /// `lang`, CommitPack's language.
    Lang,
    /// `language`, Linguist's.
    Language,
    /// `license_spdx`, as it stands there.
    LicenseSpdx,
    /// What the licence asks, by [`Class::name`].
    LicenseClass,
}

impl Column {
    const ALL: [Column; 4] = [Column::Lang, Column::Language, Column::LicenseSpdx, Column::LicenseClass];

    fn as_str(self) -> &'static str {
        match self {
            Column::Lang => "lang",
            Column::Language => "language",
            Column::LicenseSpdx => "license_spdx",
            Column::LicenseClass => "license_class",
        }
    }
}

/// How many of the rows with a value stay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Weight {
    /// The column.
    pub column: Column,
    /// What has to be in it.
    pub value: String,
    /// The share that stays, from 0 to 1.
    pub share: f64,
}

impl Weight {
    /// Why no row can have its value, by the tables in use; none where one can.
    pub fn unknown(&self) -> Option<String> {
        let commitpack = CommitPackLanguages::in_use();
        let known: Vec<&str> = match self.column {
            Column::Lang => commitpack.all(),
            Column::Language => Linguist::in_use().languages().iter().map(|language| language.name.as_str()).collect(),
            Column::LicenseSpdx | Column::LicenseClass => return None,
        };
        if known.contains(&self.value.as_str()) {
            return None;
        }
        let other = known.iter().find(|known| known.eq_ignore_ascii_case(&self.value));
        let hint = other.map_or_else(String::new, |other| format!("; there is {other:?}"));
        Some(format!("no row can have the {} {:?}{hint}", self.column.as_str(), self.value))
    }
}

impl std::str::FromStr for Weight {
    type Err = String;

    /// Reads `COLUMN:VALUE=FRACTION`.
    fn from_str(text: &str) -> Result<Self, String> {
        let names = Column::ALL.map(Column::as_str).join(", ");
        let parts = text.split_once(':').and_then(|(column, rest)| Some((column, rest.rsplit_once('=')?)));
        let Some((column, (value, share))) = parts else {
            return Err(format!("a weight is COLUMN:VALUE=FRACTION, where COLUMN is one of {names}"));
        };
        let column = Column::ALL.into_iter().find(|known| known.as_str() == column);
        let column = column.ok_or_else(|| format!("rows can be weighted by {names}"))?;
        if column == Column::LicenseClass && !Class::NAMES.contains(&value) {
            return Err(format!("a licence class is one of {}", Class::NAMES.join(", ")));
        }
        match share.parse() {
            Ok(share) if (0.0..=1.0).contains(&share) => Ok(Weight { column, value: value.to_owned(), share }),
            _ => Err(format!("{share} is no number from 0 to 1")),
        }
    }
}

impl Weight {
    /// The rule that rows go by.
    pub fn rule(&self) -> String {
        format!("weight_{}", self.column.as_str())
    }
}

/// Weights, ready to be asked.
pub struct Weights<'a>(Vec<(&'a Weight, u64)>);

impl<'a> Weights<'a> {
    /// Those of `weights`.
    pub fn new(weights: &'a [Weight]) -> Self {
        Weights(weights.iter().map(|weight| (weight, facts::hash(&weight.value))).collect())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The position of the first weight that a row goes by.
    pub fn find(&self, row: &facts::Facts) -> Option<usize> {
        self.0.iter().position(|(weight, value)| {
            let has = match weight.column {
                Column::Lang => row.values[0] == *value,
                Column::Language => row.values[1] == *value,
                Column::LicenseSpdx => row.values[2] == *value,
                Column::LicenseClass => weight.value == Class::of_rank(row.license).name(),
            };
            has && draw(row.id, weight.column) >= weight.share
        })
    }
}

/// A number from 0 to 1 for a row, another one in each column, so that weights of two columns multiply.
fn draw(id: u128, column: Column) -> f64 {
    let bits = mix((id as u64) ^ mix((id >> 64) as u64 ^ facts::hash(column.as_str())));
    // As many bits as a number of this kind has.
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_that_are_none_are_told() {
        for (weight, expected) in [
            ("lang:python=0.5", None),
            ("language:C++=0.5", None),
            ("license_spdx:own=0.5", None),
            ("lang:Python=0.5", Some("no row can have the lang \"Python\"; there is \"python\"")),
            ("language:pyhton=0.5", Some("no row can have the language \"pyhton\"")),
        ] {
            let weight: Weight = weight.parse().expect("a weight");
            assert_eq!(weight.unknown().as_deref(), expected);
        }
    }

    #[test]
    fn weights_are_read() {
        let weight: Weight = "language:C++=0.25".parse().expect("a weight");
        assert_eq!(weight, Weight { column: Column::Language, value: "C++".into(), share: 0.25 });
        assert_eq!(weight.rule(), "weight_language");
        for (text, reason) in [
            ("C=1", "a weight is"),
            ("lang:C", "a weight is"),
            ("path:a=0.5", "by lang, language"),
            ("lang:C=2", "2 is no number"),
            ("lang:C=x", "x is no number"),
            ("license_class:free=1", "permissive"),
        ] {
            assert!(text.parse::<Weight>().is_err_and(|error| error.contains(reason)), "{text}");
        }
    }

    #[test]
    fn a_share_stays_and_a_larger_one_has_it_in_it() {
        let row = |n: u64| facts::Facts { id: u128::from(mix(n)) << 64 | u128::from(mix(n + 1)), ..Default::default() };
        let stays = |share: f64| -> Vec<u64> {
            let weights = [Weight { column: Column::LicenseClass, value: "permissive".into(), share }];
            (0..10_000).filter(|n| Weights::new(&weights).find(&row(*n)).is_none()).collect()
        };
        let (tenth, half) = (stays(0.1), stays(0.5));
        assert!(tenth.len().abs_diff(1000) < 100 && half.len().abs_diff(5000) < 200);
        assert!(tenth.iter().all(|n| half.contains(n)));
        assert_eq!((stays(0.0).len(), stays(1.0).len()), (0, 10_000));
    }

    #[test]
    fn classes_have_names() {
        let licenses = crate::classify::license::Licenses::in_use();
        for (expression, expected) in [
            ("MIT", "permissive"),
            ("Apache-2.0 OR GPL-2.0-only", "permissive"),
            ("GPL-3.0-only", "copyleft"),
            ("MPL-2.0", "copyleft"),
            ("CC-BY-NC-4.0", "non-commercial"),
            ("LicenseRef-nobody-knows", "unknown or own terms"),
        ] {
            let class = Class::of_rank(licenses.class(expression).rank());
            assert_eq!(class, licenses.class(expression));
            assert!(class.name() == expected && Class::NAMES.contains(&expected), "{expression}");
        }
    }
}
