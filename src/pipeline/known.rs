//! What an export has to know of other rows before it makes records of a row: what became of its commit, which answer is
//! better, which change is a hard negative.

use std::{collections::BTreeMap, fs, path::Path};

use super::{
    export::{Going, Judge, Options, for_each},
    negatives::Negatives,
    pairs::{Fates, Pairs, Why},
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
        embedding::{Embedded, Embedding, pair, rules},
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

/// What is known of other rows, and what was counted.
pub enum Known {
    /// Nothing is needed.
    Nothing,
    /// What became of commits.
    Fates(Fates, Classes),
    /// Better answers.
    Pairs(Box<(Pairs, Comparer)>, BTreeMap<&'static str, u64>),
    /// Hard negatives.
    Negatives(Box<(Negatives, Embedded)>),
    /// What licences ask, and rows by the rules that would drop them.
    Tags(&'static Licenses, BTreeMap<String, u64>),
    /// What licences ask, and what was seen of rows.
    Provenance(&'static Licenses, Box<Provenance>),
    /// Records by template.
    Templated(Templated),
    /// How many tokens there are.
    Tokens(Box<Tokenized>),
}

/// The file of texts that pairs and negatives take, while an export is written.
const TEXTS: &str = "texts";

impl Known {
    /// Looks through `store` for what is to be known.
    ///
    /// # Errors
    /// A segment is damaged, or a file can't be written.
    pub(super) fn of(store: &Store, directory: &Path, judge: &Judge<'_>) -> Result<Self, store::Error> {
        let Options { written, maker, .. } = judge.options;
        if let Some(Maker::Dolma(_)) = maker {
            return Ok(Known::Tags(Licenses::in_use(), BTreeMap::new()));
        }
        let texts = directory.join(TEXTS);
        if let Some(Maker::Embedding(_, embedded)) = maker {
            let (mut negatives, mut scratch) = (Negatives::new(&texts)?, redact::Scratch::default());
            for_each(store, written.interrupt, |mut row| {
                let seen = judge.with(&mut row, &mut scratch, |_, going| negatives.see(going.sample, going.split));
                seen.unwrap_or(Ok(())) // What is left out is counted when it is exported.
            })?;
            return Ok(Known::Negatives(Box::new((negatives, (*embedded).clone()))));
        }
        if let Some(Maker::Provenance) = maker {
            let names = NaturalLanguages::in_use().names().map(|(code, name)| (code.to_owned(), name.to_owned()));
            let provenance = Box::new(Provenance::new(names.collect()));
            return Ok(Known::Provenance(Licenses::in_use(), provenance));
        }
        if let Some(Maker::Aya(_, templated)) = maker {
            return Ok(Known::Templated((*templated).clone()));
        }
        if let Some(Maker::Tokens(_, tokenized)) = maker {
            return Ok(Known::Tokens(Box::new((*tokenized).clone())));
        }
        if !matches!(written.format, Format::Kto | Format::Dpo) {
            return Ok(Known::Nothing);
        }
        let batches = store.batches()?;
        let links = reversal::links(batches.iter().map(|(_, checkpoint)| checkpoint));
        if written.format == Format::Kto {
            return Ok(Known::Fates(Fates::of(&links), Classes::default()));
        }
        let mut pairs = Pairs::new(&texts, &links)?;
        for_each(store, written.interrupt, |mut row| match judge.judge(&mut row) {
            Ok(_) => pairs.see(row.sample),
            Err(_counted_when_it_is_exported) => Ok(()),
        })?;
        Ok(Known::Pairs(Box::new((pairs, Comparer::default())), BTreeMap::new()))
    }

    /// Appends the records of a row to `records`; within the result, the rule by which there is none. `mask` is for contents
    /// that are not the row's own.
    ///
    /// # Errors
    /// The texts of other rows can't be read.
    pub(super) fn write(
        &mut self,
        maker: &Maker<'_>,
        records: &mut Vec<Record>,
        going: Going<'_>,
        mask: Mask<'_>,
    ) -> Result<Result<(), &'static str>, store::Error> {
        let Going { sample, split, verdicts, .. } = going;
        match maker {
            Maker::Dolma(columns) => {
                let Known::Tags(licenses, counts) = self else { unreachable!("documents are tagged") };
                for rule in verdicts {
                    *counts.entry(rule.clone()).or_default() += 1;
                }
                let class = licenses.class(sample.license_spdx.unwrap_or(UNKNOWN)).name();
                records.extend(dolma::records(sample, Labels { class, verdicts }, columns));
                Ok(Ok(()))
            }
            Maker::Provenance => {
                let Known::Provenance(licenses, provenance) = self else { unreachable!("rows are looked at") };
                provenance
                    .see(sample, sample.license_spdx.map_or(Asks::UNKNOWN, |license| asks(licenses.class(license))));
                Ok(Ok(()))
            }
            Maker::Aya(aya, _) => {
                let (record, template) = match aya.record(sample, split) {
                    Ok(record) => record,
                    Err(rule) => return Ok(Err(rule)),
                };
                let Known::Templated(counts) = self else { unreachable!("instructions are counted") };
                *counts.templates.entry(template.to_owned()).or_default() += 1;
                records.push(record);
                Ok(Ok(()))
            }
            Maker::Tokens(tokens, _) => {
                let (record, all, trained) = match tokens.record(sample) {
                    Ok(record) => record,
                    Err(rule) => return Ok(Err(rule)),
                };
                let Known::Tokens(counts) = self else { unreachable!("token ids are counted") };
                counts.statistics.see(all, trained);
                let repository = sample.repos.split(',').next().unwrap_or_default();
                counts.repositories.entry(repository.to_owned()).or_default().see(all, trained);
                records.push(record);
                Ok(Ok(()))
            }
            Maker::Training(trainer, _) => {
                let mut bytes = Vec::new();
                let written = self.train(trainer, &mut bytes, sample, mask)?;
                Ok(written.map(|()| records.push(Record::plain(bytes))))
            }
            Maker::Embedding(embedding, _) => self.embed(embedding, records, sample, split),
        }
    }

    fn train(
        &mut self,
        trainer: &Trainer<'_>,
        record: &mut Vec<u8>,
        sample: &Sample<'_>,
        mask: Mask<'_>,
    ) -> Result<Result<(), &'static str>, store::Error> {
        match self {
            Known::Nothing
            | Known::Negatives(..)
            | Known::Tags(..)
            | Known::Tokens(_)
            | Known::Templated(_)
            | Known::Provenance(..) => Ok(trainer.write(record, sample, Feedback::None)),
            Known::Fates(fates, classes) => Ok(fates.stayed(sample.commit).and_then(|stayed| {
                trainer.write(record, sample, Feedback::Label(stayed))?;
                *if stayed { &mut classes.desirable } else { &mut classes.undesirable } += 1;
                Ok(())
            })),
            Known::Pairs(parts, counts) => {
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

    fn embed(
        &mut self,
        embedding: &Embedding<'_>,
        records: &mut Vec<Record>,
        sample: &Sample<'_>,
        split: usize,
    ) -> Result<Result<(), &'static str>, store::Error> {
        let Known::Negatives(parts) = self else { return Ok(Err(rules::NO_NEGATIVE)) };
        let (negatives, embedded) = &mut **parts;
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

    /// How records were made, with what was counted.
    ///
    /// # Errors
    /// The file of texts can't be removed.
    pub(super) fn finish(
        self,
        options: &Options<'_>,
        directory: &Path,
        maker: &Maker<'_>,
    ) -> Result<Making, store::Error> {
        if matches!(self, Known::Pairs(..) | Known::Negatives(..)) {
            let path = directory.join(TEXTS);
            fs::remove_file(&path).map_err(io_error(&path))?;
        }
        Ok(match (self, *maker) {
            (Known::Negatives(parts), _) => Making::Embedding(parts.1),
            (Known::Tags(_, verdicts), _) => {
                Making::Dolma(Tagged { experiment: EXPERIMENT, has_dropped: options.tag_dropped, verdicts })
            }
            (Known::Tokens(tokenized), _) => Making::Tokens(tokenized),
            (_, Maker::Tokens(_, tokenized)) => Making::Tokens(Box::new(tokenized.clone())),
            (Known::Templated(templated), _) => Making::Aya(templated),
            (_, Maker::Aya(_, templated)) => Making::Aya(templated.clone()),
            (Known::Provenance(_, provenance), _) => Making::Provenance(provenance),
            (_, Maker::Provenance) => Making::Provenance(Box::default()),
            (_, Maker::Dolma(_)) => Making::Dolma(Tagged::default()),
            (_, Maker::Embedding(_, embedded)) => Making::Embedding(embedded.clone()),
            (known, Maker::Training(_, training)) => {
                let mut training = training.clone();
                match known {
                    Known::Fates(_, Classes { desirable, undesirable, .. }) => {
                        training.classes = Some(Classes::of(desirable, undesirable));
                    }
                    Known::Pairs(_, counts) => training.pairs = Some(counts),
                    Known::Nothing
                    | Known::Negatives(..)
                    | Known::Tags(..)
                    | Known::Tokens(_)
                    | Known::Templated(_)
                    | Known::Provenance(..) => {}
                }
                Making::Training(training)
            }
        })
    }
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
