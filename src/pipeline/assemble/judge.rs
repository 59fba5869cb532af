//! What opt-outs, rules, benchmarks and redaction say of a row, without a look at any other one.

use super::{
    facts::{self, key},
    kept::KeptReader,
    spill::Fields,
};
use crate::{
    dedup::{
        contamination::{Benchmarks, Hit, Memory},
        opt_out::{OptOuts, Work},
    },
    filter::{Layer, Ruleset},
    pipeline::{
        read::Row,
        redact::{Fate, Redaction},
        trial,
    },
    sample::Sample,
    store::{Checkpoint, Error, rows},
    verdict::Masked,
};

/// Counts up when verdicts come out, or are written down, in another way.
const VERSION: &str = "5";

/// Columns that tell of a benchmark.
const HIT_COLUMNS: [&str; 5] = ["new_contents", "old_contents", "message", "diff", "parent"];

/// What names a row, whatever its repositories are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// For each list of opt-outs, the position of the line that names it by commit, path or author.
    pub opt_outs: [Option<u32>; 2],
    /// The positions of further lines that do, in both lists.
    pub further: [Vec<u32>; 2],
    /// What else.
    pub reason: Option<Reason>,
    /// What is masked in it; none where nothing is.
    pub masked: Option<Masked>,
}

/// Why a row goes that nobody opted out of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A rule drops it.
    Rule {
        /// Where the rule runs.
        layer: &'static str,
        /// Its id.
        rule: String,
        /// What it saw.
        value: String,
        /// What it demands.
        bound: String,
    },
    /// It has a text of a benchmark.
    Contaminated(Hit),
    /// It has something in it that is not to be kept, by this rule of redaction, and what was seen.
    Redacted(String, String),
}

/// Opt-outs, rules, benchmarks and redaction, ready to be asked.
pub struct Judge<'a> {
    /// Two lists of those who opted out: those who opted out of all, and those who did as long as nobody shares it.
    pub opt_outs: [OptOuts; 2],
    /// Rules.
    pub rules: Ruleset,
    /// Benchmarks, and a digest over their files and how they are looked for.
    pub benchmarks: (Benchmarks, String),
    /// What masks secrets and addresses.
    pub redaction: Redaction,
    /// The newest checkpoint of each repository.
    pub repositories: Vec<&'a Checkpoint>,
}

impl Judge<'_> {
    /// Whether any row can have a verdict.
    fn is_needed(&self) -> bool {
        let opt_outs = self.opt_outs.iter().any(|list| !list.is_empty());
        let redaction = self.redaction.digest().is_some();
        opt_outs || redaction || !self.rules.rules().is_empty() || !self.benchmarks.0.is_empty()
    }

    /// The columns of a row that are looked at, for facts as well: rules and opt-outs may ask for any, facts alone for no contents.
    pub fn columns(&self) -> &'static [&'static str] {
        let asks_any = !self.rules.rules().is_empty() || self.opt_outs.iter().any(|list| !list.is_empty());
        let reads_texts = self.redaction.digest().is_some() || !self.benchmarks.0.is_empty();
        match (asks_any, reads_texts) {
            (true, _) => rows::COLUMNS,
            (false, true) => facts::TEXT_COLUMNS,
            (false, false) => facts::COLUMNS,
        }
    }

    /// Tells apart verdicts on one segment of `repository` that may differ; none where there are no verdicts.
    pub fn key(&self, facts: &str, repository: usize) -> Option<String> {
        let Checkpoint { repository, license, .. } = self.repositories[repository];
        let lists = self.opt_outs.each_ref().map(|list| {
            let lines: Vec<&[u8]> = list.lines().map(str::as_bytes).collect();
            key(&[list.digest().as_bytes(), key(&lines).as_bytes()])
        });
        let origin = match self.rules.rules().is_empty() {
            true => String::new(),
            false => serde_json::json!([repository.name, repository.columns, license]).to_string(),
        };
        let parts = [
            facts,
            env!("CARGO_PKG_VERSION"),
            VERSION,
            &lists[0],
            &lists[1],
            self.rules.digest(),
            &self.benchmarks.1,
            &origin,
        ];
        self.is_needed().then(|| key(&parts.map(str::as_bytes)))
    }

    /// What is said of a row of the repository at the position `repository`, which redaction gives this `fate`; `masked` is
    /// the account of that, `memory` is of the row before.
    pub fn look(
        &self,
        sample: &Sample<'_>,
        repository: usize,
        fate: &Fate,
        (masked, memory): (Masked, &mut Memory),
    ) -> Option<Verdict> {
        let checkpoint = self.repositories[repository];
        let columns = std::borrow::Cow::Borrowed(&checkpoint.repository.columns);
        let number = |line| u32::try_from(line).unwrap_or(u32::MAX);
        let work = Work { repositories: "", ..Work::from(sample) };
        let opt_outs = self.opt_outs.each_ref().map(|list| list.find_work(work).map(number));
        let further = [0, 1].map(|at| match opt_outs[at] {
            Some(first) => self.opt_outs[at].find_all(work).into_iter().map(number).filter(|n| *n > first).collect(),
            None => Vec::new(),
        });
        let reason = match trial::judge_row(&self.rules, &Row { sample, checkpoint, columns }) {
            Err(dropped) => {
                let (layer, rule) = (dropped.layer, dropped.rule);
                Some(Reason::Rule { layer, rule, value: dropped.value, bound: dropped.bound })
            }
            Ok(_) if self.benchmarks.0.is_empty() => None,
            Ok(_) => self.benchmarks.0.find(sample, memory).map(Reason::Contaminated),
        };
        let reason = reason.or_else(|| match fate {
            Fate::Drop(rule, value) => Some(Reason::Redacted((*rule).to_owned(), value.clone())),
            Fate::Clean | Fate::Masked(_) => None,
        });
        let masked = Some(masked).filter(|masked| masked.rows > 0 && reason.is_none());
        let says_something = opt_outs != [None; 2] || reason.is_some() || masked.is_some();
        says_something.then_some(Verdict { opt_outs, further, reason, masked })
    }

    /// The positions of the lines that name the repository `name`, in both lists.
    pub fn lines_of_repository(&self, name: &str) -> [Vec<usize>; 2] {
        self.opt_outs.each_ref().map(|list| list.find_all(Work { repositories: name, ..Work::default() }))
    }

    /// The line of opt-outs that names a row of `repositories` (names with commas between them), of which `verdict` is
    /// said.
    pub fn opted_out(
        &self,
        repositories: &[Option<usize>; 2],
        verdict: Option<&Verdict>,
        commit: &str,
    ) -> Option<String> {
        self.opt_outs.iter().enumerate().find_map(|(at, list)| {
            let of_row = verdict.and_then(|verdict| verdict.opt_outs[at]).map(|line| line as usize);
            let line = [repositories[at], of_row].into_iter().flatten().min()?;
            Some(list.line(line, commit))
        })
    }

    /// For each list of opt-outs, the line that names `repositories`, names with commas between them.
    pub fn of_repositories(&self, repositories: &str) -> [Option<usize>; 2] {
        self.opt_outs.each_ref().map(|list| list.find_repository(repositories))
    }
}

impl Verdict {
    /// Writes what is said of the row at `position`.
    pub fn put(&self, position: u32, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&position.to_le_bytes());
        for line in self.opt_outs {
            bytes.extend_from_slice(&line.map_or(0, |line| line.saturating_add(1)).to_le_bytes());
        }
        for lines in &self.further {
            bytes.extend_from_slice(&u32::try_from(lines.len()).unwrap_or_default().to_le_bytes());
        }
        let masked = self.masked.as_ref().map(|masked| serde_json::json!(masked).to_string()).unwrap_or_default();
        let (kind, number, texts): (u8, usize, [&str; 3]) = match &self.reason {
            None => (0, 0, [""; 3]),
            Some(Reason::Rule { layer, rule, value, bound }) => (
                1,
                Layer::ALL.iter().position(|known| known.as_str() == *layer).unwrap_or_default(),
                [rule, value, bound],
            ),
            Some(Reason::Contaminated(hit)) => (
                2,
                HIT_COLUMNS.iter().position(|known| *known == hit.column).unwrap_or_default(),
                [&hit.benchmark, "", ""],
            ),
            Some(Reason::Redacted(rule, value)) => (3, 0, [rule, value, ""]),
        };
        let [first, value, bound] = texts;
        let texts = [first, value, bound, &masked];
        bytes.extend_from_slice(&[kind, u8::try_from(number).unwrap_or_default()]);
        for text in texts {
            bytes.extend_from_slice(&u32::try_from(text.len()).unwrap_or_default().to_le_bytes());
        }
        texts.iter().for_each(|text| bytes.extend_from_slice(text.as_bytes()));
        self.further.iter().flatten().for_each(|line| bytes.extend_from_slice(&line.to_le_bytes()));
    }

    fn read(file: &mut KeptReader) -> Result<(u32, Self), Error> {
        let mut fixed = [0; 4 + 2 * 4 + 2 * 4 + 2 + 4 * 4];
        file.read(&mut fixed)?;
        let mut fields = Fields(&fixed);
        let position = fields.u32();
        let opt_outs = [0; 2].map(|_| fields.u32().checked_sub(1));
        let further = [0; 2].map(|_| fields.u32());
        let [kind, number] = fields.take();
        let mut text = || file.text(fields.u32() as usize);
        let [first, value, bound, masked] = [text()?, text()?, text()?, text()?];
        let mut lines = |len: u32| -> Result<Vec<u32>, Error> {
            let mut line = [0; 4];
            (0..len).map(|_| file.read(&mut line).map(|()| u32::from_le_bytes(line))).collect()
        };
        let further = [lines(further[0])?, lines(further[1])?];
        let number = usize::from(number);
        let reason = match kind {
            0 => None,
            1 => {
                let layer = Layer::ALL.get(number).map_or("", |layer| layer.as_str());
                Some(Reason::Rule { layer, rule: first, value, bound })
            }
            3 => Some(Reason::Redacted(first, value)),
            _ => {
                let column = HIT_COLUMNS.get(number).copied().unwrap_or_default();
                Some(Reason::Contaminated(Hit { benchmark: first, column }))
            }
        };
        // What is kept is whole, so this can be read; without it, only a number would be missing.
        let masked = serde_json::from_str(&masked).ok();
        Ok((position, Verdict { opt_outs, further, reason, masked }))
    }
}

/// Reads the verdicts on the rows of one segment along with them.
pub struct VerdictReader {
    file: Option<KeptReader>,
    next: Option<(u32, Verdict)>,
}

impl VerdictReader {
    /// Opens the file `path`; without one, no row has a verdict.
    ///
    /// # Errors
    /// It can't be read.
    pub fn open(path: Option<&std::path::Path>) -> Result<Self, Error> {
        let mut reader = VerdictReader { file: path.map(KeptReader::open).transpose()?, next: None };
        reader.advance()?;
        Ok(reader)
    }

    fn advance(&mut self) -> Result<(), Error> {
        self.next = match &mut self.file {
            Some(file) if file.left() > 0 => Some(Verdict::read(file)?),
            _ => None,
        };
        Ok(())
    }

    /// What is said of the row at `position`; positions have to be asked for in order.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn at(&mut self, position: u32) -> Result<Option<Verdict>, Error> {
        match self.next.take_if(|(at, _)| *at == position) {
            None => Ok(None),
            Some((_, verdict)) => {
                self.advance()?;
                Ok(Some(verdict))
            }
        }
    }
}
