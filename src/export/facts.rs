//! What is counted of rows on their way out, for cards and reports. Owns exact counts in bounded memory.

use std::collections::BTreeMap;

use crate::sample::Sample;

/// Licences that are counted one by one. They can be anything that files claim; what comes behind so many is [`OTHERS`].
/// All other names come from tables, or are those of the repositories of the store.
const NAMES_MAX: usize = 10_000;

/// What is counted together.
pub const OTHERS: &str = "others";

/// What nothing is known of.
pub const UNKNOWN: &str = "unknown";

/// Lengths, as numbers of three digits: exact below 1,000, rounded down above. So memory has a bound, and bins with
/// bounds of up to three digits are exact.
#[derive(Debug, Default)]
pub struct Lengths {
    counts: BTreeMap<u64, u64>,
    /// The largest one, exact.
    pub max: u64,
}

impl Lengths {
    fn see(&mut self, length: u64) {
        let unit = 10_u64.pow(length.checked_ilog10().unwrap_or(0).saturating_sub(2));
        *self.counts.entry(length / unit * unit).or_default() += 1;
        self.max = self.max.max(length);
    }

    /// The length that at least this part of all are not longer than; 0 where there are none.
    pub fn quantile(&self, part: f64) -> u64 {
        let total: u64 = self.counts.values().sum();
        let wanted = (total as f64 * part).ceil().max(1.0) as u64;
        let mut seen = 0;
        let found = self.counts.iter().find(|(_, n)| {
            seen += **n;
            seen >= wanted
        });
        found.map_or(0, |(length, _)| *length)
    }

    /// How many there are from each of `bounds`, which are sorted, to the next.
    pub fn bins(&self, bounds: &[u64]) -> Vec<u64> {
        let mut bins = vec![0; bounds.len()];
        for (length, n) in &self.counts {
            let at = bounds.partition_point(|bound| bound <= length);
            bins[at.saturating_sub(1)] += n;
        }
        bins
    }
}

/// What was seen of rows.
#[derive(Debug, Default)]
pub struct Facts {
    /// How many there are.
    pub rows: u64,
    /// Rows and bytes of contents by the column `lang`.
    pub languages: BTreeMap<String, [u64; 2]>,
    /// By the column `license_spdx`.
    pub licenses: BTreeMap<String, u64>,
    /// By the column `license`.
    pub license_names: BTreeMap<String, u64>,
    /// By the human language of the message.
    pub natural_languages: BTreeMap<String, u64>,
    /// Humans, bots and agents.
    pub author_kinds: BTreeMap<String, u64>,
    /// Which bots and agents.
    pub author_labels: BTreeMap<String, u64>,
    /// Kinds of change.
    pub kinds: BTreeMap<String, u64>,
    /// By the repository, of several the first.
    pub repositories: BTreeMap<String, u64>,
    /// By the year of the commit.
    pub years: BTreeMap<i64, u64>,
    /// The first and the last commit time.
    pub times: Option<(i64, i64)>,
    /// Contents before and after.
    pub contents_bytes: u64,
    /// Diffs.
    pub diff_bytes: u64,
    /// Lines added and removed.
    pub changed_lines: u64,
    /// Characters of subjects.
    pub subject_lengths: Lengths,
    /// Bytes of contents before and after, together.
    pub contents_lengths: Lengths,
    /// Lines added and removed.
    pub change_lengths: Lengths,
}

/// Counts a name of which there are as many as there may be.
fn count_bounded(counts: &mut BTreeMap<String, u64>, name: &str) {
    let is_one_too_many = counts.len() >= NAMES_MAX && !counts.contains_key(name);
    count(counts, if is_one_too_many { OTHERS } else { name });
}

fn count(counts: &mut BTreeMap<String, u64>, name: &str) {
    match counts.get_mut(name) {
        Some(n) => *n += 1,
        None => {
            counts.insert(name.to_owned(), 1);
        }
    }
}

impl Facts {
    /// Looks at a row.
    pub fn see(&mut self, sample: &Sample<'_>) {
        let length = |text: Option<&str>| text.map_or(0, str::len) as u64;
        let contents = length(sample.old_contents) + length(sample.new_contents);
        let changed = u64::from(sample.additions) + u64::from(sample.deletions);
        self.rows += 1;
        self.contents_bytes += contents;
        self.diff_bytes += sample.diff.len() as u64;
        self.changed_lines += changed;
        self.subject_lengths.see(sample.subject.chars().count() as u64);
        self.contents_lengths.see(contents);
        self.change_lengths.see(changed);
        if !self.languages.contains_key(sample.lang) {
            self.languages.insert(sample.lang.to_owned(), [0; 2]);
        }
        if let Some([rows, bytes]) = self.languages.get_mut(sample.lang) {
            *rows += 1;
            *bytes += contents;
        }
        count_bounded(&mut self.licenses, sample.license_spdx.unwrap_or(UNKNOWN));
        count_bounded(&mut self.license_names, sample.license.unwrap_or(UNKNOWN));
        count(&mut self.natural_languages, sample.message_language.unwrap_or(UNKNOWN));
        count(&mut self.author_kinds, sample.author_kind);
        if let Some(label) = sample.author_label {
            count(&mut self.author_labels, label);
        }
        count(&mut self.kinds, sample.kind);
        count(&mut self.repositories, sample.repos.split(',').next().unwrap_or_default());
        if let Some(time) = sample.commit_time {
            let (from, to) = self.times.unwrap_or((time, time));
            self.times = Some((from.min(time), to.max(time)));
            let year = date(time).0;
            if self.years.len() < NAMES_MAX || self.years.contains_key(&year) {
                *self.years.entry(year).or_default() += 1;
            }
        }
    }
}

/// Names with their counts, the most frequent first, and of the same count in order of names.
pub fn ranked(counts: &BTreeMap<String, u64>) -> Vec<(&str, u64)> {
    let mut ranked: Vec<(&str, u64)> = counts.iter().map(|(name, n)| (name.as_str(), *n)).collect();
    ranked.sort_by_key(|(name, n)| (std::cmp::Reverse(*n), *name));
    ranked
}

/// Year, month and day of a time in seconds since 1970 (Howard Hinnant's `civil_from_days`).
fn date(time: i64) -> (i64, i64, i64) {
    let days = time.div_euclid(86_400) + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

/// `2024-02-29` of a time in seconds since 1970.
pub fn day(time: i64) -> String {
    let (year, month, day) = date(time);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (time, expected) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (1_709_164_800, "2024-02-29"),
            (1_735_689_599, "2024-12-31"),
            (-1, "1969-12-31"),
            (4_102_444_800, "2100-01-01"),
        ] {
            assert_eq!(day(time), expected, "{time}");
        }
    }

    #[test]
    fn bins_and_quantiles_are_those_of_all_lengths() {
        let mut lengths = Lengths::default();
        assert_eq!((lengths.quantile(0.5), lengths.max), (0, 0));
        let all: Vec<u64> = (0..5000).map(|n| n * n % 7919 * 3).collect();
        all.iter().for_each(|length| lengths.see(*length));
        let bounds = [0, 1, 10, 500, 999, 1000, 1010, 20_000];
        let naive = |at: usize| {
            let to = bounds.get(at + 1).copied().unwrap_or(u64::MAX);
            all.iter().filter(|n| (bounds[at]..to).contains(n)).count() as u64
        };
        assert_eq!(lengths.bins(&bounds), (0..bounds.len()).map(naive).collect::<Vec<_>>());
        let mut sorted = all.clone();
        sorted.sort_unstable();
        let (found, exact) = (lengths.quantile(0.5), sorted[sorted.len() / 2 - 1]);
        assert!(found <= exact && exact - found < exact / 100, "{found}, {exact}");
        assert_eq!(lengths.max, sorted[sorted.len() - 1]);
        assert!(lengths.counts.len() < 3000);
    }

    #[test]
    fn names_that_anyone_can_make_up_have_a_bound() {
        let mut facts = Facts::default();
        for n in 0..NAMES_MAX + 5 {
            let license = format!("LicenseRef-{n}");
            facts.see(&Sample { license_spdx: Some(&license), ..Sample::default() });
        }
        assert_eq!((facts.licenses.len(), facts.licenses[OTHERS]), (NAMES_MAX + 1, 5));
        assert_eq!(facts.licenses.values().sum::<u64>(), facts.rows);
    }
}
