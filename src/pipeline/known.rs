//! What an export has to know of other rows before it makes records of a row: what became of its commit, which answer is
//! better, which change is a hard negative.

use std::{collections::BTreeMap, fs, path::Path};

use super::{
    export::{Going, Judge, Options},
    negatives::Negatives,
    pairs::{Fates, Pairs, Why},
    progress::{Counter, Step, rows_in},
    read::for_each,
    redact, reversal,
};
use crate::{
    classify::{
        license::{self, Licenses},
        natural::NaturalLanguages,
    },
    export::{
        Format, Record,
        aya::{Aya, Templated},
        dolma::{self, EXPERIMENT, Labels, Tagged},
        embedding::{Embedded, Embedding, pair},
        facts::UNKNOWN,
        manifest::Making,
        provenance::{self, Asks, Provenance},
        tokens::{Tokenized, Tokens},
        trainer::{Answer, Classes, Feedback, Trainer, Training},
    },
    git::{diff, lines::Comparer},
    sample::Sample,
    store::{self, Store, io_error},
};

/// What makes records of rows.
#[derive(Clone, Copy)]
pub enum Maker<'a> {
    /// Prompts with completions, and how they are made.
    Training(&'a Trainer<'a>, &'a Training),
    /// Subjects with changes, and how they are made.
    Embedding(Embedding<'a>, &'a Embedded),
    /// Documents with attributes, of which these columns are metadata.
    Dolma(&'a [&'a str]),
    /// No records, but what is known of rows.
    Provenance,
    /// Instructions, and how they are made.
    Aya(&'a Aya<'a>, &'a Templated),
    /// Token ids, and how they are made.
    Tokens(Tokens<'a>, &'a Tokenized),
}

/// Masks contents, if there is something to mask; or the rule by which they go.
pub type Mask<'m> = &'m mut dyn FnMut(&str) -> Result<Option<String>, &'static str>;

/// What makes records, with what is known of other rows and what was counted.
pub enum Known<'a> {
    /// Prompts with completions.
    Training(&'a Trainer<'a>, &'a Training, Answers),
    /// Subjects with changes and hard negatives.
    Embedding(Embedding<'a>, Box<(Negatives, Embedded)>),
    /// Documents with attributes: what licences ask, and rows by the rules that would drop them.
    Dolma(&'a [&'a str], &'static Licenses, BTreeMap<String, u64>),
    /// No records: what licences ask, and what was seen of rows.
    Provenance(&'static Licenses, Box<Provenance>),
    /// Instructions, and records by template.
    Aya(&'a Aya<'a>, Templated),
    /// Token ids, and how many there are.
    Tokens(Tokens<'a>, Box<Tokenized>),
}

/// What is known of the answers that rows are.
pub enum Answers {
    /// They are what there is to learn.
    All,
    /// What became of commits.
    Fates(Fates, Classes),
    /// Better answers.
    Pairs(Box<(Pairs, Comparer)>, BTreeMap<&'static str, u64>),
}

/// The file of texts that pairs and negatives take, while an export is written.
const TEXTS: &str = "texts";

impl<'a> Known<'a> {
    /// Looks through `store` for what `maker` has to know.
    ///
    /// # Errors
    /// A segment is damaged, or a file can't be written.
    pub(super) fn of(
        maker: Maker<'a>,
        store: &Store,
        directory: &Path,
        judge: &Judge<'_>,
    ) -> Result<Self, store::Error> {
        Ok(match maker {
            Maker::Training(trainer, training) => {
                Known::Training(trainer, training, Answers::of(store, directory, judge)?)
            }
            Maker::Embedding(embedding, embedded) => {
                let (mut negatives, mut scratch) =
                    (Negatives::new(&directory.join(TEXTS))?, redact::Scratch::default());
                let mut counter = Counter::new(judge.options.progress, Step::Comparing, rows_in(store)?);
                for_each(store, judge.options.written.interrupt, |mut row| {
                    counter.row();
                    let seen = judge.with(&mut row, &mut scratch, |_, going| negatives.see(going.sample, going.split));
                    // What is left out is counted when it is exported.
                    seen.unwrap_or(Ok(()))
                })?;
                counter.end();
                Known::Embedding(embedding, Box::new((negatives, embedded.clone())))
            }
            Maker::Dolma(columns) => Known::Dolma(columns, Licenses::in_use(), BTreeMap::new()),
            Maker::Provenance => {
                let names = NaturalLanguages::in_use().names().map(|(code, name)| (code.to_owned(), name.to_owned()));
                Known::Provenance(Licenses::in_use(), Box::new(Provenance::new(names.collect())))
            }
            Maker::Aya(aya, templated) => Known::Aya(aya, templated.clone()),
            Maker::Tokens(tokens, tokenized) => Known::Tokens(tokens, Box::new(tokenized.clone())),
        })
    }

    /// Appends the records of a row to `records`; within the result, the rule by which there is none. `mask` is for contents
    /// that are not the row's own.
    ///
    /// # Errors
    /// The texts of other rows can't be read.
    pub(super) fn write(
        &mut self,
        records: &mut Vec<Record>,
        going: Going<'_>,
        source: [&str; 2],
        mask: Mask<'_>,
    ) -> Result<Result<(), &'static str>, store::Error> {
        let Going { sample, split, verdicts, .. } = going;
        let license = sample.license_spdx.unwrap_or(UNKNOWN);
        match self {
            Known::Training(trainer, _, answers) => {
                let texts = [sample.old_contents, sample.new_contents].map(|text| text.unwrap_or_default().len());
                let mut bytes = Vec::with_capacity(texts.iter().sum::<usize>() + sample.message.len());
                let written = answers.write(trainer, &mut bytes, sample, mask)?;
                return Ok(written.map(|()| records.push(Record::plain(bytes))));
            }
            Known::Embedding(embedding, parts) => return embed(embedding, parts, records, sample, split),
            Known::Dolma(columns, licenses, counts) => {
                for rule in verdicts {
                    *counts.entry(rule.clone()).or_default() += 1;
                }
                let labels = Labels { class: licenses.class(license).name(), verdicts };
                records.extend(dolma::records(sample, labels, columns));
            }
            Known::Provenance(licenses, provenance) => {
                provenance.see(sample, asks(licenses.class(license)), source);
            }
            Known::Aya(aya, templated) => match aya.record(sample, split) {
                Ok((record, template)) => {
                    *templated.templates.entry(template.to_owned()).or_default() += 1;
                    records.push(record);
                }
                Err(rule) => return Ok(Err(rule)),
            },
            Known::Tokens(tokens, tokenized) => match tokens.record(sample) {
                Ok((record, all, trained)) => {
                    tokenized.statistics.see(all, trained);
                    let repository = sample.repos.split(',').next().unwrap_or_default();
                    tokenized.repositories.entry(repository.to_owned()).or_default().see(all, trained);
                    records.push(record);
                }
                Err(rule) => return Ok(Err(rule)),
            },
        }
        Ok(Ok(()))
    }

    /// How records were made, with what was counted.
    ///
    /// # Errors
    /// The file of texts can't be removed.
    pub(super) fn finish(self, options: &Options<'_>, directory: &Path) -> Result<Making, store::Error> {
        if matches!(self, Known::Training(_, _, Answers::Pairs(..)) | Known::Embedding(..)) {
            let path = directory.join(TEXTS);
            fs::remove_file(&path).map_err(io_error(&path))?;
        }
        Ok(match self {
            Known::Training(_, training, answers) => Making::Training(answers.finish(training.clone())),
            Known::Embedding(_, parts) => Making::Embedding(parts.1),
            Known::Dolma(_, _, verdicts) => {
                Making::Dolma(Tagged { experiment: EXPERIMENT, has_dropped: options.tag_dropped, verdicts })
            }
            Known::Provenance(_, provenance) => Making::Provenance(provenance),
            Known::Aya(_, templated) => Making::Aya(templated),
            Known::Tokens(_, tokenized) => Making::Tokens(tokenized),
        })
    }
}

impl Answers {
    fn of(store: &Store, directory: &Path, judge: &Judge<'_>) -> Result<Self, store::Error> {
        let written = &judge.options.written;
        if !matches!(written.format, Format::Kto | Format::Dpo) {
            return Ok(Answers::All);
        }
        let batches = store.batches()?;
        let links = reversal::links(batches.iter().map(|(_, checkpoint)| checkpoint));
        if written.format == Format::Kto {
            return Ok(Answers::Fates(Fates::of(&links), Classes::default()));
        }
        let mut pairs = Pairs::new(&directory.join(TEXTS), &links)?;
        let mut counter = Counter::new(judge.options.progress, Step::Comparing, rows_in(store)?);
        for_each(store, written.interrupt, |mut row| {
            counter.row();
            match judge.judge(&mut row) {
                Ok(_) => pairs.see(row.sample),
                Err(_counted_when_it_is_exported) => Ok(()),
            }
        })?;
        counter.end();
        Ok(Answers::Pairs(Box::new((pairs, Comparer::default())), BTreeMap::new()))
    }

    fn write(
        &mut self,
        trainer: &Trainer<'_>,
        record: &mut Vec<u8>,
        sample: &Sample<'_>,
        mask: Mask<'_>,
    ) -> Result<Result<(), &'static str>, store::Error> {
        match self {
            Answers::All => Ok(trainer.write(record, sample, Feedback::None)),
            Answers::Fates(fates, classes) => Ok(fates.stayed(sample.commit).and_then(|stayed| {
                trainer.write(record, sample, Feedback::Label(stayed))?;
                *if stayed { &mut classes.desirable } else { &mut classes.undesirable } += 1;
                Ok(())
            })),
            Answers::Pairs(parts, counts) => {
                let (pairs, comparer) = &mut **parts;
                let (why, contents): (Why, String) = match pairs.find(sample)? {
                    Ok(found) => found,
                    Err(rule) => return Ok(Err(rule)),
                };
                let contents = match mask(&contents) {
                    Ok(masked) => masked.unwrap_or(contents),
                    Err(rule) => return Ok(Err(rule)),
                };
                let diff = diff::hunks(comparer, sample.old_contents.unwrap_or_default(), &contents);
                let better = Answer { new_contents: &contents, diff: &diff };
                let written = trainer.write(record, sample, Feedback::Better(better));
                if written.is_ok() {
                    *counts.entry(why.as_str()).or_default() += 1;
                }
                Ok(written)
            }
        }
    }

    fn finish(self, mut training: Training) -> Training {
        match self {
            Answers::All => {}
            Answers::Fates(_, Classes { desirable, undesirable, .. }) => {
                training.classes = Some(Classes::of(desirable, undesirable));
            }
            Answers::Pairs(_, counts) => training.pairs = Some(counts),
        }
        training
    }
}

fn embed(
    embedding: &Embedding<'_>,
    (negatives, embedded): &mut (Negatives, Embedded),
    records: &mut Vec<Record>,
    sample: &Sample<'_>,
    split: usize,
) -> Result<Result<(), &'static str>, store::Error> {
    let (near, negative) = match negatives.find(sample, split)? {
        Ok(found) => found,
        Err(rule) => return Ok(Err(rule)),
    };
    let (record, generative) = match pair(sample) {
        Ok(pair) => embedding.records(sample, pair, &negative),
        Err(rule) => return Ok(Err(rule)),
    };
    records.push(record);
    *embedded.negatives.entry(near).or_default() += 1;
    if let (Some(generative), Some(counts)) = (generative, &mut embedded.generative) {
        match generative {
            Ok(record) => {
                records.push(record);
                counts.rows += 1;
            }
            Err(rule) => *counts.dropped.entry(rule).or_default() += 1,
        }
    }
    Ok(Ok(()))
}

/// What a class says, in the words of the Data Provenance Initiative.
fn asks(class: license::Class) -> Asks {
    let flag = |is_asked| if is_asked { '1' } else { '0' };
    let users = match class.users {
        license::Use::All => provenance::Use::All,
        license::Use::Academic => provenance::Use::Academic,
        license::Use::NonCommercial => provenance::Use::NonCommercial,
        license::Use::Unspecified => return Asks::UNKNOWN,
    };
    Asks { users, attribution: flag(class.attribution), share_alike: flag(class.share_alike) }
}
