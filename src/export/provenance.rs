//! What the Data Provenance Initiative asks of a data set: a summary of each part, classes of licences, tables for a card, the
//! attribution of every repository with its evidence, and a bibliography. A part is a programming language. Writes no rows, and
//! decides nothing about licences: it is told what each asks.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    card::{self, About, TITLE},
    config_name,
    facts::{OTHERS, UNKNOWN, ranked},
    figure::{grouped, percent},
};
use crate::sample::Sample;

/// The collection, and what every identifier begins with.
const COLLECTION: &str = "gitlode";

/// Licence files that are told apart. Anyone can make up more.
const EVIDENCE_MAX: usize = 100_000;

/// What the summaries call what changes are for (`constants/task_groups.json` of the Data-Provenance-Collection; CommitPackFT has
/// them too).
const TASKS: [&str; 2] = ["Code Generation", "Code Repair"];

/// SPDX identifiers by the names of `constants/license_classes.json` of the Data-Provenance-Collection; all others are "Custom"
/// there. Sorted.
const NAMES: [(&str, &str); 20] = [
    ("AFL-3.0", "Academic Free License v3.0"),
    ("Apache-2.0", "Apache License 2.0"),
    ("Artistic-2.0", "Artistic License 2.0"),
    ("BSD-2-Clause", "BSD 2-Clause License"),
    ("BSD-3-Clause", "BSD 3-Clause License"),
    ("CC-BY-3.0", "CC BY 3.0"),
    ("CC-BY-4.0", "CC BY 4.0"),
    ("CC-BY-NC-4.0", "CC BY-NC 4.0"),
    ("CC-BY-SA-3.0", "CC BY-SA 3.0"),
    ("CC-BY-SA-4.0", "CC BY-SA 4.0"),
    ("CC0-1.0", "CC0 1.0"),
    ("EPL-1.0", "EPL 1.0"),
    ("GPL-2.0-only", "GNU General Public License v2.0"),
    ("GPL-2.0-or-later", "GNU General Public License v2.0"),
    ("GPL-3.0-only", "GNU General Public License v3.0"),
    ("GPL-3.0-or-later", "GNU General Public License v3.0"),
    ("ISC", "ISC License"),
    ("LGPL-2.1-only", "LGPL 2.1"),
    ("MIT", "MIT License"),
    ("MPL-2.0", "MPL 2.0"),
];

/// What a licence asks, in the Initiative's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Asks {
    /// `All`, `Unspecified`, `NC` or `Acad`.
    pub users: Use,
    /// `0`, `1` or `?`: whether the notice has to stay.
    pub attribution: char,
    /// `0`, `1` or `?`: whether works made of it come under the same licence.
    pub share_alike: char,
}

/// Who may use it, in the order in which one wins over the one before where both are there (`src/helpers/filters.py` of the
/// Data-Provenance-Collection).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Use {
    /// Everyone.
    All,
    /// Nobody said.
    Unspecified,
    /// Not for commercial ends.
    #[serde(rename = "NC")]
    NonCommercial,
    /// For research and teaching.
    #[serde(rename = "Acad")]
    Academic,
}

impl Asks {
    /// Of what nothing is known.
    pub const UNKNOWN: Asks = Asks { users: Use::Unspecified, attribution: '?', share_alike: '?' };

    /// The most restrictive of both: not known is more than yes, as anything may be asked.
    fn and(self, other: Asks) -> Asks {
        Asks {
            users: self.users.max(other.users),
            attribution: self.attribution.max(other.attribution),
            share_alike: self.share_alike.max(other.share_alike),
        }
    }

    fn triple(self) -> Value {
        json!([self.users, self.attribution, self.share_alike])
    }
}

/// Lengths in characters.
#[derive(Clone, Copy, Debug, Default)]
struct Spread {
    sum: u64,
    min: u64,
    max: u64,
}

impl Spread {
    fn see(&mut self, length: u64, is_first: bool) {
        self.sum += length;
        self.max = self.max.max(length);
        self.min = if is_first { length } else { self.min.min(length) };
    }
}

/// What was seen of the rows of a programming language.
#[derive(Clone, Debug, Default)]
struct Part {
    rows: u64,
    inputs: Spread,
    targets: Spread,
    licenses: BTreeMap<String, u64>,
    message_languages: BTreeMap<String, u64>,
    agents: BTreeSet<String>,
    repositories: BTreeSet<String>,
}

/// A repository's rows with one licence, for one reason.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Evidence {
    repository: String,
    /// Its identity, where it is the one that the row was mined from.
    source: String,
    license: String,
    method: String,
    path: String,
}

/// What was seen of rows.
#[derive(Clone, Debug, Default)]
pub struct Provenance {
    parts: BTreeMap<String, Part>,
    asks: BTreeMap<String, Asks>,
    evidence: BTreeMap<Evidence, u64>,
    /// English names of human languages by their code.
    language_names: BTreeMap<String, String>,
}

impl Serialize for Provenance {
    /// What a manifest says of it; the rest is in files of its own.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        json!({"datasets": self.parts.len(), "licenses": self.asks.len(), "evidence": self.evidence.len()})
            .serialize(serializer)
    }
}

fn count(counts: &mut BTreeMap<String, u64>, name: &str) {
    *counts.entry(name.to_owned()).or_default() += 1;
}

impl Provenance {
    /// Nothing seen yet; human languages have these names.
    pub fn new(language_names: BTreeMap<String, String>) -> Self {
        Provenance { language_names, ..Provenance::default() }
    }

    /// Looks at a row, whose licence asks this, and which was mined from the repository with this name and identity.
    pub fn see(&mut self, sample: &Sample<'_>, asks: Asks, [name, identity]: [&str; 2]) {
        let characters = |text: Option<&str>| text.unwrap_or_default().chars().count() as u64;
        let license = sample.license_spdx.unwrap_or(UNKNOWN);
        let part = self.parts.entry(sample.lang.to_owned()).or_default();
        let is_first = part.rows == 0;
        part.rows += 1;
        part.inputs.see(characters(Some(sample.subject)) + characters(sample.old_contents), is_first);
        part.targets.see(characters(sample.new_contents), is_first);
        count(&mut part.licenses, license);
        count(&mut part.message_languages, sample.message_language.unwrap_or(UNKNOWN));
        if sample.author_kind == "agent" {
            part.agents.insert(sample.author_label.unwrap_or(UNKNOWN).to_owned());
        }
        self.asks.entry(license.to_owned()).or_insert(asks);
        // A row that several repositories have is under each one's name.
        for repository in sample.repos.split(',') {
            part.repositories.insert(repository.to_owned());
            let method = sample.license_method.unwrap_or_default();
            // What the files themselves say, they say each for itself.
            let path = match method {
                "tag" | "header" => "in each file",
                _ => sample.license_path.unwrap_or_default(),
            };
            let mut evidence = Evidence {
                repository: repository.to_owned(),
                source: if repository == name { identity.to_owned() } else { String::new() },
                license: license.to_owned(),
                method: method.to_owned(),
                path: path.to_owned(),
            };
            if self.evidence.len() >= EVIDENCE_MAX && !self.evidence.contains_key(&evidence) {
                evidence.path = OTHERS.to_owned();
            }
            *self.evidence.entry(evidence).or_default() += 1;
        }
    }

    /// All files, by name.
    pub fn documents(&self, about: &About<'_>) -> Vec<(String, Vec<u8>)> {
        let pretty = |value: Value| format!("{value:#}\n").into_bytes();
        let summaries = serde_json::to_string_pretty(&self.summaries(about)).expect("names are texts");
        let (classes, custom) = self.classes();
        vec![
            (format!("data_summaries/{COLLECTION}.json"), format!("{summaries}\n").into_bytes()),
            ("license_classes.json".to_owned(), pretty(classes)),
            ("custom_license_classes.json".to_owned(), pretty(custom)),
            ("data_card.md".to_owned(), self.card().into_bytes()),
            ("data_attribution.csv".to_owned(), self.attribution(about)),
            ("bibliography.bib".to_owned(), bibliography(about).into_bytes()),
        ]
    }

    /// Classes of licences with a name, and of those that go by their URL.
    fn classes(&self) -> (Value, Value) {
        let (mut classes, mut custom) = (BTreeMap::new(), BTreeMap::new());
        for (license, asks) in &self.asks {
            let (name, url) = named(license);
            let (table, key) = if name == "Custom" { (&mut custom, url) } else { (&mut classes, name) };
            let all = table.entry(key).or_insert(*asks);
            *all = all.and(*asks);
        }
        let json = |table: BTreeMap<String, Asks>| {
            Value::Object(table.into_iter().map(|(name, asks)| (name, asks.triple())).collect())
        };
        (json(classes), json(custom))
    }

    fn summaries(&self, about: &About<'_>) -> Ordered<Ordered<Entry>> {
        let all = self.parts.iter().map(|(lang, part)| {
            let id = format!("{COLLECTION}-{}", config_name(lang));
            let summary = self.summary(about, &id, lang, part);
            (id, summary)
        });
        Ordered(all.collect())
    }

    /// In the order of `data_summaries/_template_spec.yaml` of the Data-Provenance-Collection.
    fn summary(&self, about: &About<'_>, id: &str, lang: &str, part: &Part) -> Ordered<Entry> {
        let of_part: BTreeSet<&str> = part.repositories.iter().map(String::as_str).collect();
        let urls =
            about.inputs.iter().filter(|input| of_part.contains(&*input.repository)).map(|input| &*input.identity);
        let urls: BTreeSet<&str> = urls.filter(|url| url.contains("://")).collect();
        let sources: BTreeSet<&str> =
            urls.iter().map(|url| if url.contains("://github.com/") { "github" } else { "git" }).collect();
        let sources = if sources.is_empty() { BTreeSet::from(["git"]) } else { sources };
        // One that there is, or that nobody published it yet: it has to say something.
        let url = match (urls.len(), urls.first()) {
            (1, Some(url)) => url,
            _ => "not published",
        };
        let names = part.message_languages.keys().filter(|code| *code != UNKNOWN);
        let names = names.map(|code| self.language_names.get(code).unwrap_or(code).as_str());
        let languages: Vec<&str> = std::iter::once(lang).chain(names.collect::<BTreeSet<_>>()).collect();
        let licenses: BTreeSet<(String, String)> = part.licenses.keys().map(|license| named(license)).collect();
        let licenses: Vec<Value> =
            licenses.into_iter().map(|(name, url)| json!({"License": name, "License URL": url})).collect();
        let mean = |spread: Spread| (spread.sum as f64 / part.rows.max(1) as f64 * 10_000.0).round() / 10_000.0;
        let asks = part.licenses.keys().filter_map(|license| self.asks.get(license)).copied().reduce(Asks::and);
        let asks = asks.unwrap_or(Asks::UNKNOWN);
        let front = [
            ("Unique Dataset Identifier", json!(id)),
            ("Dataset Name", json!(format!("{TITLE} ({lang})"))),
            ("Collection", json!(COLLECTION)),
            ("Collection URL", json!(url)),
            ("Dataset URL", json!(url)),
            ("GitHub URL", json!(if url.contains("://github.com/") { url } else { "" })),
            ("Hugging Face URL", json!("")),
            ("Paper Title", json!("")),
            ("Papers with Code URL", json!("")),
            ("ArXiv URL", json!("")),
            ("Semantic Scholar Corpus ID", json!("")),
            ("Bibtex", json!(card::citation(about))),
            ("Languages", json!(languages)),
            ("Task Categories", json!(TASKS)),
            ("Format", json!(["Zero-shot"])),
        ];
        let metrics = [
            ("Num Dialogs", json!(part.rows)),
            ("Mean Inputs Length", json!(mean(part.inputs))),
            ("Mean Targets Length", json!(mean(part.targets))),
            ("Max Inputs Length", json!(part.inputs.max)),
            ("Max Targets Length", json!(part.targets.max)),
            ("Min Inputs Length", json!(part.inputs.min)),
            ("Min Targets Length", json!(part.targets.min)),
            ("Min Dialog Turns", json!(2)),
            ("Max Dialog Turns", json!(2)),
            ("Mean Dialog Turns", json!(2.0)),
        ];
        let back = [
            ("Text Sources", json!(sources)),
            ("Model Generated", json!(part.agents)),
            ("Human Annotation", json!("No")),
            ("Derived from Datasets", json!([])),
            ("Creators", json!([])),
            ("Licenses", json!(licenses)),
            (
                "License Notes",
                json!(format!(
                    "Each row has the licence of its file at its commit. All together: use {}, attribution {}, share-alike {}. \
                     data_attribution.csv has the evidence.",
                    json!(asks.users).as_str().unwrap_or_default(),
                    asks.attribution,
                    asks.share_alike
                )),
            ),
            ("License Verified By", json!(format!("gitlode {}, by texts and notices", env!("CARGO_PKG_VERSION")))),
            ("Dataset Filter IDs", json!([lang])),
        ];
        let named = |(name, value): (&str, Value)| (name.to_owned(), value);
        let entry = |one| {
            let (name, value) = named(one);
            (name, Entry::Value(value))
        };
        let metrics = ("Text Metrics".to_owned(), Entry::Metrics(Ordered(metrics.map(named).to_vec())));
        Ordered(front.map(entry).into_iter().chain([metrics]).chain(back.map(entry)).collect())
    }

    fn card(&self) -> String {
        let rows: u64 = self.parts.values().map(|part| part.rows).sum();
        let mut text = format!(
            "## Data Card\n\n{} datasets, one for each programming language, with {} examples. A dataset with several languages or licences \
             counts for each; examples count once for each licence, and once for each language. Shares are of all datasets, and of all examples.\n",
            self.parts.len(),
            grouped(rows)
        );
        let datasets = self.parts.len() as u64;
        let mut table = |title: &str, one: &str, counts: BTreeMap<String, [u64; 2]>| {
            let _infallible = write!(text, "\n### {title}\n\n| {one} | Datasets | Examples |\n|---|---:|---:|\n");
            let mut lines: Vec<_> = counts.iter().collect();
            lines.sort_by_key(|(name, [of, n])| (std::cmp::Reverse((*of, *n)), name.as_str()));
            for (name, [of, n]) in lines {
                let name = card::cell(name);
                let _infallible =
                    writeln!(text, "| {name} | {of} ({}) | {n} ({}) |", percent(*of, datasets), percent(*n, rows));
            }
        };
        let all = [self.parts.len() as u64, rows];
        table("Collections", "Collection", BTreeMap::from([(COLLECTION.to_owned(), all)]));
        let mut languages: BTreeMap<String, [u64; 2]> = BTreeMap::new();
        let mut licenses = languages.clone();
        let add = |counts: &mut BTreeMap<String, [u64; 2]>, name: &str, rows: u64| {
            let [datasets, examples] = counts.entry(name.to_owned()).or_default();
            *datasets += 1;
            *examples += rows;
        };
        for (lang, part) in &self.parts {
            add(&mut languages, lang, part.rows);
            for (code, rows) in part.message_languages.iter().filter(|(code, _)| *code != UNKNOWN) {
                add(&mut languages, self.language_names.get(code).unwrap_or(code), *rows);
            }
            let mut named_here: BTreeMap<String, u64> = BTreeMap::new();
            for (license, rows) in &part.licenses {
                let (name, url) = named(license);
                let name = if name == "Custom" { format!("Custom: {url}") } else { name };
                *named_here.entry(name).or_default() += rows;
            }
            named_here.iter().for_each(|(name, rows)| add(&mut licenses, name, *rows));
        }
        table("Languages", "Language", languages);
        table("Task Categories", "Task Category", TASKS.map(|task| (task.to_owned(), all)).into());
        table("Licenses", "License", licenses);
        text
    }

    /// Every repository that was mined, with each licence and evidence that its rows have.
    fn attribution(&self, about: &About<'_>) -> Vec<u8> {
        const WHY: &str = "memory can be written to";
        let shown = shown(about);
        let url = |source: &str| if source.contains("://") { source.to_owned() } else { String::new() };
        // Of a row that several repositories have, one is known by its identity, and the others by their names.
        let source = |evidence: &Evidence| {
            let mut of_name = shown.iter().filter(|(_, (name, _))| *name == evidence.repository);
            match (evidence.source.as_str(), of_name.next(), of_name.next()) {
                ("", Some((identity, _)), None) => (*identity).to_owned(),
                (source, ..) => source.to_owned(),
            }
        };
        let mut csv = csv::Writer::from_writer(Vec::new());
        let header = [
            "repository",
            "url",
            "license",
            "license_name",
            "use",
            "attribution",
            "share_alike",
            "evidence",
            "path",
            "rows",
        ];
        csv.write_record(header).expect(WHY);
        for (evidence, rows) in &self.evidence {
            let Evidence { repository, license, method, path, .. } = evidence;
            let source = source(evidence);
            let repository = shown.get(source.as_str()).map_or(repository.as_str(), |(_, shown)| shown);
            let asks = self.asks.get(license).copied().unwrap_or(Asks::UNKNOWN);
            let users = json!(asks.users);
            csv.write_record([
                repository,
                &url(&source),
                license,
                &named(license).0,
                users.as_str().unwrap_or_default(),
                &asks.attribution.to_string(),
                &asks.share_alike.to_string(),
                method,
                path,
                &rows.to_string(),
            ])
            .expect(WHY);
        }
        let with_rows: BTreeSet<String> = self.evidence.keys().map(source).collect();
        for (identity, (_, repository)) in shown.iter().filter(|(identity, _)| !with_rows.contains(**identity)) {
            csv.write_record([repository, &*url(identity), "", "", "", "", "", "", "", "0"]).expect(WHY);
        }
        csv.into_inner().expect(WHY)
    }

    /// The section of the card.
    pub fn section(&self) -> String {
        let licenses: BTreeMap<String, u64> = self.parts.values().fold(BTreeMap::new(), |mut all, part| {
            part.licenses.iter().for_each(|(name, rows)| *all.entry(name.clone()).or_default() += rows);
            all
        });
        let asks = self.asks.values().copied().reduce(Asks::and).unwrap_or(Asks::UNKNOWN);
        format!(
            "## Provenance\n\n`data_summaries/{COLLECTION}.json` has a summary for each programming language as the Data Provenance \
             Initiative has them, `data_attribution.csv` every repository with its licences and their evidence, `data_card.md` the Initiative's \
             tables, `license_classes.json` and `custom_license_classes.json` what licences ask, `bibliography.bib` what to cite. There are no rows here.\n\n\
             The most frequent licence is {}. All {} licences together ask: use {}, attribution {}, share-alike {}.\n\n",
            card::cell(ranked(&licenses).first().map_or(UNKNOWN, |(name, _)| name)),
            licenses.len(),
            json!(asks.users).as_str().unwrap_or_default(),
            asks.attribution,
            asks.share_alike
        )
    }
}

/// An object whose keys stay in order.
struct Ordered<T>(Vec<(String, T)>);

impl<T: Serialize> Serialize for Ordered<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

/// What a summary has under a name.
#[derive(Serialize)]
#[serde(untagged)]
enum Entry {
    Value(Value),
    Metrics(Ordered<Value>),
}

/// A licence's name and URL in the Initiative's words. What has no name there goes by its URL, an expression by itself.
fn named(license: &str) -> (String, String) {
    if license == UNKNOWN {
        return ("Unspecified".to_owned(), String::new());
    }
    let is_id =
        license.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c)) && !license.starts_with("LicenseRef");
    let url = if is_id { format!("https://spdx.org/licenses/{license}.html") } else { license.to_owned() };
    match NAMES.binary_search_by_key(&license, |(id, _)| id) {
        Ok(at) => (NAMES[at].1.to_owned(), url),
        Err(_) => ("Custom".to_owned(), url),
    }
}

/// For the identity of each repository its name, and that by which it is told from all others: where several have one name, with
/// as much of what stands before it as is needed.
fn shown<'a>(about: &'a About<'_>) -> BTreeMap<&'a str, (&'a str, String)> {
    let named: BTreeMap<&str, &str> =
        about.inputs.iter().map(|input| (input.identity.as_str(), input.repository.as_str())).collect();
    let end = |identity: &str, parts: usize| {
        let identity = identity.trim_end_matches("/.git");
        let mut from = identity.rmatch_indices('/').map(|(at, _)| at + 1);
        identity[from.nth(parts - 1).unwrap_or(0)..].to_owned()
    };
    let shown = |identity: &&str, name: &&str| {
        let others: Vec<&str> =
            named.iter().filter(|(other, of)| *of == name && *other != identity).map(|(other, _)| *other).collect();
        let tells = |parts: &usize| others.iter().all(|other| end(other, *parts) != end(identity, *parts));
        match others.is_empty() {
            true => (*name).to_owned(),
            false => (2..16).find(tells).map_or_else(|| (*identity).to_owned(), |parts| end(identity, parts)),
        }
    };
    named.iter().map(|(identity, name)| (*identity, (*name, shown(identity, name)))).collect()
}

/// What to cite: this data set, what its shape is from, and every repository.
fn bibliography(about: &About<'_>) -> String {
    let mut text = format!(
        "{}\n\n@article{{octopack,\n  title = {{OctoPack: Instruction Tuning Code Large Language Models}},\n  author = {{Muennighoff, Niklas \
         and others}},\n  year = {{2023}},\n  journal = {{arXiv preprint arXiv:2308.07124}}\n}}\n",
        card::citation(about)
    );
    let shown = shown(about);
    for (number, ((repository, identity), tips)) in card::last_tips(about.inputs).into_iter().enumerate() {
        let repository = shown.get(identity).map_or(repository, |(_, shown)| shown);
        let url = if identity.contains("://") {
            format!("  howpublished = {{\\url{{{}}}}},\n", braced(identity))
        } else {
            String::new()
        };
        let tips: Vec<&str> = tips.iter().take(3).map(String::as_str).collect();
        let _infallible = write!(
            text,
            "\n@misc{{repository{},\n  title = {{{}}},\n{url}  note = {{Git repository, mined up to {}}}\n}}\n",
            number + 1,
            escaped(repository),
            tips.join(", ")
        );
    }
    text
}

/// What BibTeX takes for text.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars().filter(|c| !c.is_control()) {
        match c {
            '#' | '$' | '%' | '&' | '_' => escaped.extend(['\\', c]),
            '{' | '}' | '\\' | '~' | '^' | '"' => escaped.push('-'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Within the braces of a URL.
fn braced(url: &str) -> String {
    url.chars().filter(|c| !"{}\\".contains(*c) && !c.is_control() && !c.is_whitespace()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_initiatives() {
        assert!(NAMES.is_sorted());
        for (license, name, url) in [
            ("MIT", "MIT License", "https://spdx.org/licenses/MIT.html"),
            ("Zlib", "Custom", "https://spdx.org/licenses/Zlib.html"),
            ("Apache-2.0 OR MIT", "Custom", "Apache-2.0 OR MIT"),
            ("LicenseRef-x", "Custom", "LicenseRef-x"),
            (UNKNOWN, "Unspecified", ""),
        ] {
            assert_eq!(named(license), (name.to_owned(), url.to_owned()));
        }
    }

    #[test]
    fn the_most_restrictive_wins() {
        let asks = |users, attribution, share_alike| Asks { users, attribution, share_alike };
        let all = asks(Use::All, '1', '0');
        assert_eq!(all.and(asks(Use::NonCommercial, '0', '1')), asks(Use::NonCommercial, '1', '1'));
        assert_eq!(all.and(Asks::UNKNOWN), Asks::UNKNOWN);
        assert_eq!(asks(Use::NonCommercial, '0', '0').and(Asks::UNKNOWN), asks(Use::NonCommercial, '?', '?'));
        assert_eq!(
            asks(Use::Academic, '1', '1').and(asks(Use::NonCommercial, '?', '0')),
            asks(Use::Academic, '?', '1')
        );
        assert_eq!(all.triple(), json!(["All", "1", "0"]));
    }

    #[test]
    fn names_of_repositories_break_no_bibliography() {
        assert_eq!(escaped("a_b/c#\n{x}\\y"), "a\\_b/c\\#-x--y");
        assert_eq!(braced("https://h/{a} b\\"), "https://h/ab");
    }
}
