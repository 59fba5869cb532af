//! A report as one page of HTML that needs nothing else. What repositories hold comes in as text: the template escapes
//! it, and what is unseen is spelled out.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    charts::{self, Chart},
    facts::{Facts, day},
    figure::{COLOURS, LOOK, PAGE_WIDTH, cut, grouped, percent, size, visible},
};
use crate::{
    bytes::{common_items, common_items_back},
    sample::Sample,
    store::ledger::Dropped,
    verdict::{Counts, Funnel},
};

/// More of a subject, a path or a line of a diff is not shown.
const SUBJECT_CHARS_MAX: usize = 200;
const PATH_CHARS_MAX: usize = 160;
const LINE_CHARS_MAX: usize = 300;

/// More lines of a diff are not shown.
const DIFF_LINES_MAX: usize = 40;

const PAGE: &str = include_str!("page.html");
const EXAMPLE: &str = include_str!("example.html");

/// A row with a part of its diff.
#[derive(Clone, Debug, Serialize)]
pub struct Example {
    subject: String,
    path: String,
    facts: Vec<String>,
    commit: String,
    id: String,
    additions: String,
    deletions: String,
    lines: Vec<Line>,
    more: String,
    /// What the rule saw that dropped it, and its bound.
    verdict: Option<[String; 2]>,
}

/// A line of a diff. The middle is what differs from the line that takes its place.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
struct Line {
    class: &'static str,
    before: String,
    middle: String,
    after: String,
    cut: String,
}

/// A commit or change that a rule dropped before there was a row.
#[derive(Clone, Debug, Serialize)]
pub struct Mention {
    commit: String,
    path: String,
    value: String,
    bound: String,
}

/// A rule, what it dropped, and some of that.
#[derive(Debug, Default)]
pub struct RuleDrops {
    /// Its name.
    pub rule: String,
    /// Why it is there; empty where that is not known.
    pub why: String,
    /// What is to be said of the examples; mostly nothing.
    pub note: String,
    /// Of commits and of changes, dropped while mining.
    pub mined: [u64; 2],
    /// Of rows, decided by a look at all of them.
    pub rows: u64,
    /// Some of the first kind.
    pub mentions: Vec<Mention>,
    /// Some of the second kind.
    pub examples: Vec<Example>,
}

/// What a report is about.
pub struct Report<'a> {
    /// Its heading.
    pub title: &'a str,
    /// How many repositories there are.
    pub repositories: u64,
    /// The account of mining.
    pub mined: &'a Funnel,
    /// Rows that several repositories have, once more for each further one.
    pub shared: u64,
    /// The account of the rows, each once: opt-outs, and what was assembled.
    pub rows: &'a Counts,
    /// Options of the assembly; none where there is none, or where it is of other rows.
    pub assembly: Option<&'a Value>,
    /// Why there is none.
    pub assembly_note: &'a str,
    /// What was counted of the rows that stay.
    pub facts: &'a Facts,
    /// What a licence asks, in a word.
    pub class: &'a dyn Fn(&str) -> &'static str,
    /// Settings of mining.
    pub recipes: &'a [String],
    /// Versions of the program that mined.
    pub versions: &'a [String],
    /// Some of the rows that stay.
    pub kept: Vec<Example>,
    /// What rules dropped.
    pub rules: Vec<RuleDrops>,
}

impl Example {
    /// A row; `dropped` where it goes.
    pub fn new(sample: &Sample<'_>, dropped: Option<&Dropped>) -> Self {
        let known = |text: Option<&str>| text.unwrap_or("unknown").to_owned();
        let path = match (sample.old_file, sample.new_file) {
            (Some(old), Some(new)) if old != new => format!("{old} → {new}"),
            (old, new) => new.or(old).unwrap_or_default().to_owned(),
        };
        let (lines, more) = lines(sample.diff);
        let facts = [
            sample.repos.to_owned(),
            sample.commit_time.map_or_else(String::new, day),
            sample.lang.to_owned(),
            known(sample.license_spdx),
            sample.kind.to_owned(),
            if sample.author_kind == "human" {
                String::new()
            } else {
                known(sample.author_label.or(Some(sample.author_kind)))
            },
        ];
        Example {
            subject: shown(sample.subject, SUBJECT_CHARS_MAX),
            path: shown(&path, PATH_CHARS_MAX),
            facts: facts.iter().filter(|fact| !fact.is_empty()).map(|fact| shown(fact, PATH_CHARS_MAX)).collect(),
            commit: sample.commit.to_owned(),
            id: sample.id.to_owned(),
            additions: grouped(sample.additions.into()),
            deletions: grouped(sample.deletions.into()),
            lines,
            more: if more > 0 { grouped(more) } else { String::new() },
            verdict: dropped.map(|dropped| [&dropped.value, &dropped.bound].map(|text| shown(text, SUBJECT_CHARS_MAX))),
        }
    }
}

impl Mention {
    /// An entry of a ledger.
    pub fn new(dropped: &Dropped) -> Self {
        Mention {
            commit: dropped.commit.clone(),
            path: shown(
                dropped.new_file.as_deref().or(dropped.old_file.as_deref()).unwrap_or_default(),
                PATH_CHARS_MAX,
            ),
            value: shown(&dropped.value, SUBJECT_CHARS_MAX),
            bound: shown(&dropped.bound, SUBJECT_CHARS_MAX),
        }
    }
}

/// One line of at most so many characters.
fn shown(text: &str, chars_max: usize) -> String {
    visible(&cut(text, chars_max)).replace('\t', " ")
}

/// The first lines of a diff behind its head, and how many more there are.
fn lines(diff: &str) -> (Vec<Line>, u64) {
    let all = || diff.split_terminator('\n').skip_while(|line| !line.starts_with("@@"));
    let mut lines: Vec<Line> = all().take(DIFF_LINES_MAX).map(line).collect();
    mark_changes(&mut lines);
    (lines, all().skip(DIFF_LINES_MAX).count() as u64)
}

fn line(text: &str) -> Line {
    let class = match text.as_bytes().first() {
        Some(b'+') => "add",
        Some(b'-') => "del",
        Some(b'@' | b'\\') => "hunk",
        _ => "",
    };
    let cut_at = text.char_indices().nth(LINE_CHARS_MAX).map(|(at, _)| at);
    let cut = cut_at.map_or_else(String::new, |at| grouped(text[at..].chars().count() as u64));
    Line { class, before: visible(&text[..cut_at.unwrap_or(text.len())]), cut, ..Line::default() }
}

/// Marks what differs between lines and those that take their place, where as many come as go.
fn mark_changes(lines: &mut [Line]) {
    let mut at = 0;
    while at < lines.len() {
        let run = |from: usize, class: &str| lines[from..].iter().take_while(|line| line.class == class).count();
        let gone = run(at, "del");
        let come = run(at + gone, "add");
        if gone == come {
            for n in at..at + gone {
                let (old, new) = lines.split_at_mut(n + gone);
                mark_pair(&mut old[n], &mut new[0]);
            }
        }
        at += (gone + come).max(1);
    }
}

fn mark_pair(old: &mut Line, new: &mut Line) {
    // Behind the sign.
    let (a, b): (Vec<char>, Vec<char>) = (old.before.chars().skip(1).collect(), new.before.chars().skip(1).collect());
    let start = common_items(&a, &b);
    let end = common_items_back(&a[start..], &b[start..]);
    let has_words = |text: &[char]| text.iter().any(|c| !c.is_whitespace());
    // Lines that have little in common are no versions of each other.
    if (start + end) * 2 < a.len().max(b.len()) || !has_words(&a[..start]) && !has_words(&a[a.len() - end..]) {
        return;
    }
    for (line, text, sign) in [(old, &a, '-'), (new, &b, '+')] {
        let middle = start..text.len() - end;
        line.before = std::iter::once(&sign).chain(&text[..middle.start]).collect();
        line.after = text[middle.end..].iter().collect();
        line.middle = text[middle].iter().collect();
    }
}

/// Rows of a table of counts in two units; of what was dropped and of what was skipped, the most frequent first.
fn funnel_rows(funnel: &Funnel, rules: &[RuleDrops]) -> Vec<Value> {
    let Funnel { commits, changes } = funnel;
    let of = [commits.candidates, changes.candidates];
    let row = |class: &str, name: &str, link: Option<usize>, n: [u64; 2]| {
        let part = |at: usize| if n[at] > 0 && class != "total" { percent(n[at], of[at]) } else { String::new() };
        json!({"class": class, "name": name, "link": link, "n": n.map(grouped), "parts": [part(0), part(1)]})
    };
    let mut dropped: Vec<(usize, &RuleDrops)> =
        rules.iter().enumerate().filter(|(_, rule)| rule.mined != [0, 0]).collect();
    dropped.sort_by_key(|(_, rule)| std::cmp::Reverse(rule.mined[0] + rule.mined[1]));
    let reasons: BTreeSet<_> = commits.skipped.keys().chain(changes.skipped.keys()).collect();
    let counts = |reason| [commits, changes].map(|counts: &Counts| counts.skipped.get(reason).copied().unwrap_or(0));
    let mut skipped: Vec<(&str, [u64; 2])> =
        reasons.into_iter().map(|reason| (reason.as_str(), counts(reason))).collect();
    skipped.sort_by_key(|(_, n)| std::cmp::Reverse(n[0] + n[1]));
    let mut rows = vec![row("total", "candidates", None, of), row("kept", "kept", None, [commits.kept, changes.kept])];
    let name = |rule: &RuleDrops| shown(&rule.rule, PATH_CHARS_MAX);
    rows.extend(dropped.into_iter().map(|(at, rule)| row("dropped", &name(rule), Some(at + 1), rule.mined)));
    rows.extend(skipped.into_iter().map(|(reason, n)| row("skipped", reason, None, n)));
    rows
}

fn chart(chart: &Chart) -> Value {
    json!({"name": chart.name, "title": chart.title, "note": chart.note, "svg": chart.figure.in_page()})
}

impl Report<'_> {
    /// The page.
    pub fn html(&self) -> String {
        let facts = self.facts;
        let tiles = [
            (grouped(self.repositories), if self.repositories == 1 { "repository" } else { "repositories" }),
            (grouped(self.mined.commits.candidates), "commits looked at"),
            (grouped(self.mined.changes.candidates), "changes looked at"),
            (grouped(facts.rows), "rows"),
            (size(facts.contents_bytes), "contents before and after"),
            (grouped(facts.changed_lines), "changed lines"),
        ];
        let gone: Vec<Value> = self
            .rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| rule.rows > 0)
            .map(|(at, rule)| {
                json!({"name": shown(&rule.rule, PATH_CHARS_MAX), "link": at + 1, "rows": grouped(rule.rows),
                       "part": percent(rule.rows, self.rows.candidates)})
            })
            .collect();
        let examples =
            |rows: &[Example]| rows.iter().map(|row| render("example.html", EXAMPLE, json!(row))).collect::<Vec<_>>();
        let rules: Vec<Value> = self.rules.iter().map(|drops| rule(drops, &examples(&drops.examples))).collect();
        let context = json!({
            "style": format!("{COLOURS}{LOOK}"),
            "title": shown(self.title, SUBJECT_CHARS_MAX),
            "version": env!("CARGO_PKG_VERSION"),
            "versions": self.versions.join(", "),
            "span": facts.times.map_or_else(String::new, |(from, to)| format!("{} to {}", day(from), day(to))),
            "tiles": tiles,
            "funnel": charts::funnel(self.mined, PAGE_WIDTH).iter().map(chart).collect::<Vec<_>>(),
            "funnel_rows": funnel_rows(self.mined, &self.rules),
            "adds_up": self.mined.adds_up() && self.rows.adds_up(),
            "mined": grouped(self.rows.candidates + self.shared),
            "shared": if self.shared > 0 { grouped(self.shared) } else { String::new() },
            "distinct": grouped(self.rows.candidates),
            "gone": gone,
            "stay": grouped(self.rows.kept),
            "stay_part": percent(self.rows.kept, self.rows.candidates),
            "rows_sum": charts::sum(self.rows),
            "is_assembled": self.assembly.is_some(),
            "assembly": self.assembly.map_or_else(String::new, |options| shown(&options.to_string(), usize::MAX)),
            "assembly_note": shown(self.assembly_note, SUBJECT_CHARS_MAX),
            "charts": charts::rows(facts, self.class, PAGE_WIDTH).iter().map(chart).collect::<Vec<_>>(),
            "kept": examples(&self.kept),
            "rules": rules,
            "recipes": self.recipes.iter().map(|recipe| shown(recipe, usize::MAX)).collect::<Vec<_>>(),
        });
        render("page.html", PAGE, context) + "\n"
    }
}

/// A name that ends with `.html` is what makes the engine escape what it is given.
fn render(name: &str, template: &str, context: Value) -> String {
    let mut environment = minijinja::Environment::new();
    // A name that is not there is a fault of ours.
    environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    let rendered = environment.render_named_str(name, template, value(context));
    rendered.expect("tests render the compiled-in templates, and they take every value")
}

fn rule(rule: &RuleDrops, examples: &[String]) -> Value {
    let [commits, changes] = rule.mined;
    let counts = [(commits, "commit", "commits"), (changes, "change", "changes"), (rule.rows, "row", "rows")];
    let counts = counts.iter().filter(|(n, ..)| *n > 0);
    let counts: Vec<String> =
        counts.map(|(n, one, many)| format!("{} {}", grouped(*n), if *n == 1 { one } else { many })).collect();
    json!({
        "name": shown(&rule.rule, PATH_CHARS_MAX), "why": shown(&rule.why, usize::MAX), "counts": counts.join(", "), "note": rule.note,
        "mentions": rule.mentions, "examples": examples,
    })
}

/// JSON as the template engine has it.
fn value(json: Value) -> minijinja::Value {
    match json {
        Value::Null => minijinja::Value::from(()),
        Value::Bool(truth) => truth.into(),
        Value::Number(number) => number.as_u64().unwrap_or_default().into(),
        Value::String(text) => text.into(),
        Value::Array(values) => values.into_iter().map(value).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(name, field)| (name, value(field))).collect::<BTreeMap<_, _>>().into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_within_lines_are_marked_where_lines_are_versions() {
        let marked = |diff: &str| -> Vec<String> {
            let (lines, _) = lines(diff);
            lines.iter().map(|line| format!("{}[{}]{}", line.before, line.middle, line.after)).collect()
        };
        for (diff, expected) in [
            ("@@\n-let a = 1;\n+let a = 2;\n", vec!["@@[]", "-let a = [1];", "+let a = [2];"]),
            ("@@\n-aaa bbb\n-x\n+aaa ccc bbb\n+y\n", vec!["@@[]", "-aaa []bbb", "-x[]", "+aaa [ccc ]bbb", "+y[]"]),
            ("@@\n-one thing\n+something else\n", vec!["@@[]", "-one thing[]", "+something else[]"]),
            ("@@\n-gone\n+come\n+more\n", vec!["@@[]", "-gone[]", "+come[]", "+more[]"]),
            (
                "@@\n-é\u{301}x\u{202e}\n+é\u{301}y\u{202e}\n",
                vec!["@@[]", "-é\u{301}[x][U+202E]", "+é\u{301}[y][U+202E]"],
            ),
        ] {
            assert_eq!(
                marked(diff),
                expected
                    .iter()
                    .map(|l| if l.contains('[') { (*l).to_owned() } else { format!("{l}[]") })
                    .collect::<Vec<_>>(),
                "{diff}"
            );
        }
    }

    #[test]
    fn long_diffs_and_lines_are_cut_with_a_note() {
        let long = format!("@@ -1 +1 @@\n+{}\n{}", "ü".repeat(1 << 20), " x\n".repeat(99));
        let (lines, more) = lines(&long);
        assert_eq!((lines.len(), more), (DIFF_LINES_MAX, 101 - DIFF_LINES_MAX as u64));
        assert_eq!(lines[1].before.chars().count(), LINE_CHARS_MAX);
        assert_eq!(lines[1].cut, grouped((1 << 20) + 1 - LINE_CHARS_MAX as u64));
    }

    #[test]
    fn an_empty_report_is_a_page() {
        let report = Report {
            title: "<b>",
            repositories: 0,
            mined: &Funnel::default(),
            shared: 0,
            rows: &Counts::default(),
            assembly: None,
            assembly_note: "",
            facts: &Facts::default(),
            class: &|_| "",
            recipes: &[],
            versions: &[],
            kept: Vec::new(),
            rules: Vec::new(),
        };
        let html = report.html();
        assert!(html.contains("&lt;b&gt;") && html.ends_with("</html>\n"), "{html}");
    }
}
