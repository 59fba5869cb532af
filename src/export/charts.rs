//! Which figures describe rows, and how each is read. The same ones stand in a report and beside a card.

use std::collections::BTreeMap;

use super::{
    facts::{Facts, Lengths, UNKNOWN, ranked},
    figure::{Figure, bars, columns, grouped, parts, percent, top},
};
use crate::verdict::{Counts, Funnel};

/// Bars of a figure, beside the one for all others.
const BARS_MAX: usize = 12;

/// Columns of a figure.
const COLUMNS_MAX: usize = 36;

/// Where bins begin, in characters, bytes and lines.
const SUBJECT_BINS: [u64; 11] = [0, 10, 20, 30, 40, 50, 60, 70, 80, 100, 200];
const CONTENTS_BINS: [u64; 11] = [0, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 500_000];
const CHANGE_BINS: [u64; 11] = [0, 1, 2, 3, 5, 10, 20, 50, 100, 200, 500];

/// A figure with what it is about.
pub struct Chart {
    /// The name of its file, without ending.
    pub name: &'static str,
    /// Its heading.
    pub title: &'static str,
    /// What else there is to say, as a sentence; may be empty.
    pub note: String,
    /// The figure.
    pub figure: Figure,
}

/// The figures of a funnel: commits and changes.
pub fn funnel(funnel: &Funnel, width: u32) -> [Chart; 2] {
    let chart = |name, title: &'static str, counts: &Counts| {
        let (dropped, skipped) = (counts.dropped.values().sum(), counts.skipped.values().sum());
        let of = [("kept", "kept", counts.kept), ("dropped", "dropped", dropped), ("skipped", "skipped", skipped)];
        Chart { name, title, note: sum(counts), figure: parts(title, width, &of) }
    };
    [chart("commits", "Commits", &funnel.commits), chart("changes", "Changes of files", &funnel.changes)]
}

/// The account of one unit as an equation, or that it is none.
pub fn sum(counts: &Counts) -> String {
    let (dropped, skipped): (u64, u64) = (counts.dropped.values().sum(), counts.skipped.values().sum());
    format!(
        "{} {} {} kept + {} dropped + {} skipped: {}.",
        grouped(counts.candidates),
        if counts.adds_up() { "=" } else { "≠" },
        grouped(counts.kept),
        grouped(dropped),
        grouped(skipped),
        if counts.adds_up() { "it adds up" } else { "it does not add up" }
    )
}

/// The figures of rows. `class` says what a licence asks.
pub fn rows(facts: &Facts, class: &dyn Fn(&str) -> &'static str, width: u32) -> Vec<Chart> {
    let ranking = |name, title: &'static str, counts: &[(&str, u64)], note: String| {
        let total = counts.iter().map(|(_, n)| n).sum();
        Chart { name, title, note, figure: bars(title, width, &top(counts, BARS_MAX), total) }
    };
    let languages = facts.languages.iter().map(|(name, [rows, _])| (name.clone(), *rows)).collect();
    let labels = ranked(&facts.author_labels).into_iter().filter(|(_, n)| *n > 0);
    let named: Vec<String> = labels.take(BARS_MAX).map(|(name, n)| format!("{name} {}", grouped(n))).collect();
    let named = if named.is_empty() { String::new() } else { format!("Of these: {}.", named.join(", ")) };
    let told = facts.rows - facts.natural_languages.get(UNKNOWN).copied().unwrap_or(0);
    let note = format!("Known for {} of the messages.", percent(told, facts.rows.max(1)));
    let mut classes = BTreeMap::new();
    for (name, n) in &facts.licenses {
        *classes.entry(class(name).to_owned()).or_insert(0) += n;
    }
    let mut charts = vec![
        ranking("languages", "Languages", &ranked(&languages), String::new()),
        ranking("licences", "Licences", &ranked(&facts.licenses), String::new()),
        ranking("classes", "What licences ask", &ranked(&classes), String::new()),
        years(facts, width),
    ];
    for (name, title, unit, lengths, bounds) in [
        ("subjects", "Length of subjects", "characters", &facts.subject_lengths, SUBJECT_BINS),
        ("contents", "Contents before and after", "bytes", &facts.contents_lengths, CONTENTS_BINS),
        ("lines", "Changed lines", "lines", &facts.change_lengths, CHANGE_BINS),
    ] {
        let figure = bars(title, width, &binned(lengths, &bounds), facts.rows);
        charts.push(Chart { name, title, note: capitalised(&spread(lengths, unit)), figure });
    }
    charts.push(ranking("repositories", "Repositories", &ranked(&facts.repositories), String::new()));
    charts.push(ranking("messages", "Languages of messages", &ranked(&facts.natural_languages), note));
    charts.push(ranking("authors", "People, bots and agents", &ranked(&facts.author_kinds), named));
    charts.push(ranking("kinds", "Kinds of change", &ranked(&facts.kinds), String::new()));
    charts
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// Median, nearly all and all of lengths.
pub fn spread(lengths: &Lengths, unit: &str) -> String {
    let [median, most] = [0.5, 0.95].map(|part| grouped(lengths.quantile(part)));
    format!("half have at most {median} {unit}, 95 % at most {most}; the longest has {}.", grouped(lengths.max))
}

/// Every year from the first to the last; of a span that is too long, as anyone can write any time into a commit, only
/// the years with the most rows.
fn years(facts: &Facts, width: u32) -> Chart {
    let (first, last) = (facts.years.keys().next().copied(), facts.years.keys().next_back().copied());
    let span = first.zip(last).map(|(first, last)| first..=last).filter(|span| span.clone().count() <= COLUMNS_MAX);
    let of = |year: i64| (year.to_string(), facts.years.get(&year).copied().unwrap_or(0));
    let shown: Vec<(String, u64)> = match span {
        Some(span) => span.map(of).collect(),
        None => {
            let mut most: Vec<(i64, u64)> = facts.years.iter().map(|(year, n)| (*year, *n)).collect();
            most.sort_by_key(|(year, n)| (std::cmp::Reverse(*n), *year));
            most.truncate(COLUMNS_MAX);
            most.sort_unstable();
            most.into_iter().map(|(year, _)| of(year)).collect()
        }
    };
    let others = facts.rows - shown.iter().map(|(_, n)| n).sum::<u64>();
    let note = match others {
        0 => String::new(),
        n => format!("{} rows are of other years, or of a time that can't be read.", grouped(n)),
    };
    Chart { name: "years", title: "Years of commits", note, figure: columns("Years of commits", width, &shown) }
}

/// Bins with their names, without those at the ends that are empty.
fn binned(lengths: &Lengths, bounds: &[u64]) -> Vec<(String, u64)> {
    let bins = lengths.bins(bounds);
    let name = |at: usize| match bounds.get(at + 1) {
        None => format!("{} and more", grouped(bounds[at])),
        Some(next) if next - bounds[at] == 1 => grouped(bounds[at]),
        Some(next) => format!("{} – {}", grouped(bounds[at]), grouped(next - 1)),
    };
    let filled: Vec<usize> = (0..bins.len()).filter(|at| bins[*at] > 0).collect();
    let (Some(first), Some(last)) = (filled.first(), filled.last()) else { return Vec::new() };
    (*first..=*last).map(|at| (name(at), bins[at])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Sample;

    #[test]
    fn years_that_nobody_lived_in_do_not_fill_the_figure() {
        let mut facts = Facts::default();
        for n in 0..100_i64 {
            facts.see(&Sample { commit_time: Some(n * n * 400_000_000), ..Sample::default() });
        }
        facts.see(&Sample { commit_time: Some(i64::MAX), ..Sample::default() });
        facts.see(&Sample { commit_time: Some(i64::MIN), ..Sample::default() });
        facts.see(&Sample::default());
        let chart = years(&facts, 340);
        assert_eq!(chart.figure.in_page().matches("class=\"column\"").count(), COLUMNS_MAX);
        assert!(chart.note.starts_with("67 rows"), "{}", chart.note);
    }

    #[test]
    fn every_row_is_in_a_bin() {
        let mut facts = Facts::default();
        for n in [0, 1, 2, 3, 7, 499, 500, 100_000] {
            facts.see(&Sample { additions: n, ..Sample::default() });
        }
        let bins = binned(&facts.change_lengths, &CHANGE_BINS);
        assert_eq!(bins.iter().map(|(_, n)| n).sum::<u64>(), 8);
        assert_eq!(bins[0], ("0".to_owned(), 1));
        assert_eq!(bins.last(), Some(&("500 and more".to_owned(), 2)));
        assert_eq!(bins[4], ("5 – 9".to_owned(), 1));
    }
}
