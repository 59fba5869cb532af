//! The decisions on all rows, from what is kept of each, in bounded memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use hashbrown::HashMap;

use super::{
    CAPS, Error, Means, Near, Options, RULES,
    facts::{self, Changes, Facts, Segment, hash},
    groups::{Band, Groups},
    hex,
    judge::{Judge, Reason},
    near::{Account, Search},
    order::{self, Forks, Numbered, Read, Repository},
    similar::{Candidate, Similarities, compared},
    spill::{Bits, Sorter, Table, record},
    weight::Weights,
};
use crate::{
    store::{
        self, Store,
        ledger::{ASSEMBLY, Dropped, LedgerWriter},
    },
    verdict::{Counts, Masked},
};

record!(
    /// Rows with the same contents and subject, in the order in which they stay.
    Exact { exact: u128, license: u8, time: i64, id: u128, number: u32 } self => (self.exact >> 64) as u64
);

record!(
    /// A row that caps count, in their order: ids are hashes, so that is a sample, and the same one whatever else there is.
    Capped { id: u128, number: u32, file: u64, repository: u64, language: u64 } self => (self.id >> 64) as u64
);

record!(
    /// A row that goes for the sake of others: of the kinds below, the row that stays or the position of a weight or cap,
    /// and the bits of similarities.
    Decision { number: u32, kind: u8, keeper: u128, change: u64, contents: u64 } self => u64::from(self.number)
);

const EXACT: u8 = 0;
const NEAR: u8 = 1;
const WEIGHT: u8 = 2;
const CAP: u8 = 3;

/// What was decided on the rows of a store.
pub struct Decisions<'a> {
    segments: Vec<Segment>,
    changes: Changes,
    repositories: &'a [Repository<'a>],
    judge: &'a Judge<'a>,
    options: &'a Options,
    means: Means<'a>,
    forks: Forks,
    /// For each repository and each set of those that rows have in common, the lines that opt it out.
    opted_out: [Vec<[Option<usize>; 2]>; 2],
    decisions: Table<Decision>,
    /// For both lists of opt-outs, the positions of lines that name a repository or a row.
    pub known_lines: [BTreeSet<usize>; 2],
    /// Commits of rows that tasks of benchmarks start from.
    pub bases: BTreeSet<String>,
    /// The account of near-duplicates.
    pub account: Account,
    /// What is masked in the rows that came as far as redaction.
    pub masked: Masked,
}

/// What decides, while it does.
struct Deciding<'a> {
    store: &'a Store,
    directory: PathBuf,
    /// Rows that go, copies and those that have a verdict included.
    gone: Bits,
    decisions: Sorter<Decision>,
}

impl Deciding<'_> {
    fn decide(&mut self, decision: Decision) -> Result<(), store::Error> {
        self.gone.set(decision.number);
        self.decisions.push(decision)
    }
}

/// What is made by a look at all rows: places by digest, bands, and what comparing needs.
struct Seen {
    exact: Sorter<Exact>,
    bands: Sorter<Band>,
    candidates: Table<Candidate>,
}

impl<'a> Decisions<'a> {
    /// Decides on the rows of `repositories`, all that `store` has.
    ///
    /// # Errors
    /// A segment is damaged, something can't be written, or an interruption.
    pub fn make(
        store: &'a Store,
        repositories: &'a [Repository<'a>],
        judge: &'a Judge<'a>,
        options: &'a Options,
        means: Means<'a>,
    ) -> Result<Self, Error> {
        let segments = segments(store, repositories, judge);
        (means.say)("reading rows");
        let mut changes = Changes::new(if options.near == Near::Off { 0 } else { means.memory / 16 });
        facts::make(&segments, judge, &mut changes, means.threads, means.interrupt)?;
        let directory = super::directory(store);
        let spill = (directory.as_path(), means.memory / 2);
        let forks = Forks::find(&segments, repositories, spill, means.threads, means.interrupt)?;
        let of_repositories = repositories.iter().map(|repository| judge.of_repositories(repository.name)).collect();
        let of_sets = forks.sets.iter().map(|names| judge.of_repositories(names)).collect();
        let mut this = Decisions {
            segments,
            changes,
            repositories,
            judge,
            options,
            means,
            forks,
            opted_out: [of_repositories, of_sets],
            decisions: Table::new(&directory, 0),
            known_lines: Default::default(),
            bases: BTreeSet::new(),
            account: Account::default(),
            masked: Masked::default(),
        };
        let rows = repositories.iter().map(|repository| repository.rows).sum();
        let mut deciding = Deciding {
            store,
            gone: Bits::default(),
            decisions: Sorter::new(&directory, means.memory / 16, rows),
            directory,
        };
        let seen = this.see(&mut deciding)?;
        this.drop_exact(seen.exact, &mut deciding)?;
        (means.say)("comparing rows that may be alike");
        this.drop_near(seen.bands, &seen.candidates, &mut deciding)?;
        drop(seen.candidates);
        this.changes = Changes::new(0);
        this.drop_by_weight(&mut deciding)?;
        this.drop_capped(&mut deciding)?;
        this.decisions = deciding.decisions.into_table(means.threads, means.memory / 4)?;
        Ok(this)
    }

    /// The files that are kept of segments.
    pub fn files(&self) -> Vec<PathBuf> {
        let files = |segment: &Segment| [Some(segment.facts.clone()), segment.verdicts.clone()];
        self.segments.iter().flat_map(files).flatten().collect()
    }

    /// The line that opts out a row, which `set` of repositories have in common.
    fn opted_out(&self, row: &Numbered<'_>, set: Option<usize>) -> Option<String> {
        let of_repositories = match set {
            Some(set) => &self.opted_out[1][set],
            None => &self.opted_out[0][row.repository],
        };
        if *of_repositories == [None; 2] && row.verdict.is_none() {
            return None;
        }
        self.judge.opted_out(of_repositories, row.verdict.as_ref(), &hex(&row.facts.commit))
    }

    /// Looks at all rows once.
    fn see(&mut self, deciding: &mut Deciding<'_>) -> Result<Seen, Error> {
        let (memory, near) = (self.means.memory, self.options.near);
        let mut seen = Seen {
            exact: Sorter::new(&deciding.directory, memory / 8, u64::MAX),
            bands: Sorter::new(&deciding.directory, memory / 4, u64::MAX),
            candidates: Table::new(&deciding.directory, memory / 16 * 3),
        };
        let (mut forks, mut masked) = (std::mem::take(&mut self.forks), Masked::default());
        let mut known_lines: [BTreeSet<usize>; 2] = Default::default();
        let mut bases = BTreeSet::new();
        for repository in self.repositories {
            for (known, lines) in known_lines.iter_mut().zip(self.judge.lines_of_repository(repository.name)) {
                known.extend(lines);
            }
        }
        forks.rewind();
        order::for_each(&self.segments, Read::Bands, self.means.interrupt, |row| {
            let Numbered { number, facts, .. } = &row;
            let (number, license, time, id) = (*number, facts.license, facts.time, facts.id);
            let (change_size, digest) = (facts.change_size, compared(facts.digests, near));
            if near != Near::Off {
                let is_deletion = u8::from(facts.new_file.is_none());
                let at = row.at;
                seen.candidates.push(Candidate { change_size, license, time, id, digest, at, is_deletion })?;
            }
            if self.judge.benchmarks.0.has_bases() {
                bases.extend(Some(hex(&facts.commit)).filter(|commit| self.judge.benchmarks.0.is_base(commit)));
            }
            if let Some(verdict) = &row.verdict {
                for (at, known) in known_lines.iter_mut().enumerate() {
                    let lines = verdict.opt_outs[at].iter().chain(&verdict.further[at]);
                    known.extend(lines.map(|line| *line as usize));
                }
            }
            let set = forks.set_of(number)?;
            let goes = forks.copies.has(number)
                || row.verdict.as_ref().is_some_and(|verdict| verdict.reason.is_some())
                || self.opted_out(&row, set).is_some();
            if goes {
                deciding.gone.set(number);
                return Ok(());
            }
            if let Some(of_row) = row.verdict.as_ref().and_then(|verdict| verdict.masked.as_ref()) {
                masked.add(of_row);
            }
            seen.exact.push(Exact { exact: facts.exact, license, time, id, number })?;
            let bands = facts.bands.iter().flatten().filter(|_| near != Near::Off);
            bands.map(|hash| Band { hash: *hash, number }).try_for_each(|band| seen.bands.push(band))
        })?;
        (self.forks, self.masked, self.known_lines, self.bases) = (forks, masked, known_lines, bases);
        Ok(seen)
    }

    /// Of rows with the same contents and subject, one stays.
    fn drop_exact(&self, exact: Sorter<Exact>, deciding: &mut Deciding<'_>) -> Result<(), Error> {
        let each = |rows: &[Exact]| {
            for alike in rows.chunk_by(|a, b| a.exact == b.exact) {
                for row in &alike[1..] {
                    let decision =
                        Decision { number: row.number, kind: EXACT, keeper: alike[0].id, change: 0, contents: 0 };
                    deciding.decide(decision)?;
                }
            }
            Ok(())
        };
        Ok(exact.for_each_part(self.means.threads, each)?)
    }

    fn drop_near(
        &mut self,
        bands: Sorter<Band>,
        candidates: &Table<Candidate>,
        deciding: &mut Deciding<'_>,
    ) -> Result<(), Error> {
        let Means { threads, memory, interrupt, .. } = self.means;
        if self.options.near == Near::Off {
            return Ok(());
        }
        let directory = deciding.directory.clone();
        let groups = Groups::new(bands, &deciding.gone, (&directory, memory / 32), threads)?;
        let mut similarities = Similarities::open(
            deciding.store,
            (self.options.near, self.options.similarity_min),
            (candidates, &groups.large),
            (&self.segments, &self.changes, &self.judge.redaction),
            memory / 2,
            threads,
            interrupt,
        )?;
        let search = Search {
            near: self.options.near,
            candidates,
            groups: &groups,
            similarity_min: self.options.similarity_min,
            spill: (&directory, memory / 8),
            threads,
        };
        self.account = search.run(&mut similarities, &mut |(number, keeper, [change, contents])| {
            let (change, contents) = (change.to_bits(), contents.to_bits());
            deciding.decide(Decision { number, kind: NEAR, keeper, change, contents })
        })?;
        Ok(similarities.keep()?)
    }

    fn drop_by_weight(&self, deciding: &mut Deciding<'_>) -> Result<(), Error> {
        let weights = Weights::new(&self.options.weights);
        if weights.is_empty() {
            return Ok(());
        }
        order::for_each(&self.segments, Read::Rows, self.means.interrupt, |row| {
            if deciding.gone.has(row.number) {
                return Ok(());
            }
            let weight = weights.find(row.facts).and_then(|at| u128::try_from(at).ok());
            weight.map_or(Ok(()), |keeper| {
                deciding.decide(Decision { number: row.number, kind: WEIGHT, keeper, change: 0, contents: 0 })
            })
        })?;
        Ok(())
    }

    /// Of rows beyond a cap, those with the smallest ids stay.
    fn drop_capped(&self, deciding: &mut Deciding<'_>) -> Result<(), Error> {
        let caps = self.options.caps;
        if caps == [None; 3] {
            return Ok(());
        }
        let mut rows = Sorter::new(&deciding.directory, self.means.memory / 4, u64::MAX);
        order::for_each(&self.segments, Read::Rows, self.means.interrupt, |row| {
            if deciding.gone.has(row.number) {
                return Ok(());
            }
            let [file, repository, language] = groups(row.facts, self.repositories[row.repository].name);
            rows.push(Capped { id: row.facts.id, number: row.number, file, repository, language })
        })?;
        let mut counts: [HashMap<u64, u64>; 3] = Default::default();
        rows.for_each_part(self.means.threads, |rows| {
            for row in rows {
                let groups = [row.file, row.repository, row.language];
                for (at, most) in caps.into_iter().enumerate().filter_map(|(at, most)| Some((at, most?))) {
                    let count = counts[at].entry(groups[at]).or_default();
                    *count += 1;
                    if *count > most {
                        let keeper = at as u128;
                        deciding.decide(Decision { number: row.number, kind: CAP, keeper, change: 0, contents: 0 })?;
                        break;
                    }
                }
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Writes the rows that go to `ledger`, in the order of the store; the account of all rows, and hits by benchmark.
    ///
    /// # Errors
    /// Facts can't be read, the ledger can't be written, or an interruption.
    pub fn write(&mut self, ledger: &mut LedgerWriter) -> Result<(Counts, BTreeMap<String, u64>), store::Error> {
        let (mut changes, mut contamination) = (Counts::default(), BTreeMap::new());
        let mut forks = std::mem::take(&mut self.forks);
        forks.rewind();
        let mut next = 0;
        order::for_each(&self.segments, Read::Rows, self.means.interrupt, |row| {
            let set = forks.set_of(row.number)?;
            if forks.copies.has(row.number) {
                return Ok(());
            }
            let decision = match next < self.decisions.len() {
                true => Some(self.decisions.get(next)?).filter(|decision| decision.number == row.number),
                false => None,
            };
            next += u64::from(decision.is_some());
            let Some(dropped) = self.dropped(&row, set, decision) else {
                changes.keep();
                return Ok(());
            };
            changes.drop_by(&dropped.rule);
            if dropped.rule == RULES[1]
                && let Some(Reason::Contaminated(hit)) = row.verdict.and_then(|verdict| verdict.reason)
            {
                let name = self.judge.benchmarks.0.name_of(&hit.benchmark);
                *contamination.entry(name.to_owned()).or_default() += 1;
            }
            ledger.add(dropped)
        })?;
        self.forks = forks;
        Ok((changes, contamination))
    }

    /// The entry of the ledger for a row that goes.
    fn dropped(&self, row: &Numbered<'_>, set: Option<usize>, decision: Option<Decision>) -> Option<Dropped> {
        let text = |rule: &str, value: String, bound: String| (ASSEMBLY, rule.to_owned(), value, bound);
        let (layer, rule, value, bound) = if let Some(line) = self.opted_out(row, set) {
            text(RULES[0], line, String::new())
        } else {
            match row.verdict.as_ref().and_then(|verdict| verdict.reason.as_ref()) {
                Some(Reason::Rule { layer, rule, value, bound }) => {
                    (*layer, rule.clone(), value.clone(), bound.clone())
                }
                Some(Reason::Contaminated(hit)) => {
                    let bound = format!("no {} words in a row of a benchmark", self.options.ngram_words);
                    text(RULES[1], format!("{} in {}", hit.benchmark, hit.column), bound)
                }
                Some(Reason::Redacted(rule, value)) => text(rule, value.clone(), String::new()),
                None => {
                    let (rule, value, bound) = self.reason(decision?)?;
                    (ASSEMBLY, rule, value, bound)
                }
            }
        };
        let Facts { id, commit, old_file, new_file, .. } = row.facts;
        Some(Dropped {
            commit: hex(commit),
            id: Some(format!("{id:032x}")),
            old_file: old_file.as_deref().map(str::to_owned),
            new_file: new_file.as_deref().map(str::to_owned),
            layer,
            rule,
            value,
            bound,
        })
    }

    /// Rule, value and bound of a decision.
    fn reason(&self, decision: Decision) -> Option<(String, String, String)> {
        let keeper = || format!("keeper {:032x}", decision.keeper);
        let position = usize::try_from(decision.keeper);
        let (change, contents) = (f64::from_bits(decision.change), f64::from_bits(decision.contents));
        match decision.kind {
            EXACT => Some((RULES[2].to_owned(), String::new(), keeper())),
            NEAR => {
                let value = match self.options.near {
                    Near::Both => format!("change {change:.2}, contents {contents:.2}"),
                    Near::Off | Near::Change => format!("change {change:.2}"),
                };
                Some((RULES[3].to_owned(), value, keeper()))
            }
            WEIGHT => {
                let weight = self.options.weights.get(position.ok()?)?;
                Some((weight.rule(), weight.value.clone(), format!("a share of {}", weight.share)))
            }
            _ => {
                let cap = position.ok()?;
                let most = (*self.options.caps.get(cap)?)?;
                Some((CAPS[cap].to_owned(), String::new(), format!("at most {most} rows")))
            }
        }
    }
}

/// All segments in the order of their repositories, and where what is kept of them is.
fn segments(store: &Store, repositories: &[Repository<'_>], judge: &Judge<'_>) -> Vec<Segment> {
    let (directory, catalog) = (facts::directory(store), facts::catalog());
    let masked = judge.redaction.digest().unwrap_or_default().to_owned();
    let mut segments = Vec::new();
    for (at, repository) in repositories.iter().enumerate() {
        for (path, manifest) in &repository.segments {
            let key = facts::facts_key(&manifest.blake3, &catalog, &masked);
            segments.push(Segment {
                path: path.clone(),
                rows: manifest.rows,
                whole: (manifest.bytes, manifest.blake3.clone()),
                repository: at,
                facts: directory.join(format!("{key}.facts")),
                verdicts: judge.key(&key, at).map(|key| directory.join(format!("{key}.verdicts"))),
            });
        }
    }
    segments
}

/// What [`CAPS`] count by: repository and path, repository, language. A row of several repositories is the first one's.
fn groups(facts: &Facts, repository: &str) -> [u64; 3] {
    let repository = repository.split(',').next().unwrap_or_default();
    let path = facts.new_file.as_deref().or(facts.old_file.as_deref()).unwrap_or_default();
    [hash(&format!("{repository}\0{path}")), hash(repository), facts.values[0]]
}
