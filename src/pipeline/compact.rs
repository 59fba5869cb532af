//! Makes one batch of the many that a repository gathers when it is mined often: the same rows and the same account, in few
//! files.
//!
//! The new batch is the only one of a new generation, so it becomes visible, and the old ones invisible, by one rename.
//! Large segments at the start of the first batch stay as they are; all others are merged in the order of exports. A
//! process that is killed in between leaves files that no checkpoint names, which the next run sweeps.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    path::Path,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use super::{
    read::{SegmentRows, key},
    roots,
};
use crate::{
    sample::SCHEMA_VERSION,
    store::{
        self, Checkpoint, LedgerManifest, SegmentManifest,
        attached::Behind,
        batch_stem,
        decode::Decoder,
        ledger::{self, LedgerWriter},
        message::Encoder,
        rows::RowsBuilder,
        segment::SegmentWriter,
    },
    verdict::{Counts, Funnel},
};

/// Rows in a record batch, as mining makes them.
const BATCH_ROWS: usize = super::plan::CHANGES_PER_BLOCK;
/// Bytes of texts after which a record batch ends earlier.
const BATCH_BYTES: usize = 8 << 20;

/// Joins the batches in `directory` where there are more than `batches_max`; whether there were. Segments are sealed when
/// they reach `segment_bytes_max`.
///
/// # Errors
/// A batch is damaged, the disk is full, or an interruption; what was there before is untouched then.
pub fn compact(
    directory: &Path,
    batches_max: usize,
    segment_bytes_max: u64,
    interrupt: &AtomicBool,
) -> Result<bool, store::Error> {
    let batches = store::visible(directory)?;
    let (Some(first), Some(last)) = (batches.first(), batches.last()) else { return Ok(false) };
    if batches.len() <= batches_max.max(1) {
        return Ok(false);
    }
    let generation = last.generation + 1;
    let is_large = |segment: &&SegmentManifest| segment.bytes >= segment_bytes_max / 2;
    let kept: Vec<SegmentManifest> = first.segments.iter().take_while(is_large).cloned().collect();
    let merged: Vec<&SegmentManifest> =
        first.segments.iter().skip(kept.len()).chain(batches[1..].iter().flat_map(|batch| &batch.segments)).collect();
    let stem = batch_stem(generation, 0);
    let merge = Merge { directory, stem: &stem, segment_bytes_max, interrupt };
    let new = merge.segments(&merged, kept.last().map_or(0, |segment| segment.block_to), kept.len())?;
    let ledgers: Vec<&LedgerManifest> = batches.iter().filter_map(|batch| batch.ledger.as_ref()).collect();
    let ledger = merge.ledgers(&ledgers, &stem)?;
    let (mut funnel, mut early) = (Funnel::default(), Counts::default());
    batches.iter().for_each(|batch| {
        funnel.add(&batch.funnel);
        early.add(&batch.early);
    });
    let mut reversals: Vec<_> = batches.iter().flat_map(|batch| batch.reversals.clone()).collect();
    reversals.sort();
    reversals.dedup();
    let checkpoint = Checkpoint {
        schema: SCHEMA_VERSION,
        tool: env!("CARGO_PKG_VERSION").to_owned(),
        generation,
        batch: 0,
        begin: Behind::of(&batches).map(|behind| behind.begin),
        hidden: Vec::new(),
        reversals,
        roots: roots::joined(&batches),
        early,
        ledger,
        segments: kept.into_iter().chain(new).collect(),
        funnel,
        ..last.clone()
    };
    checkpoint.write(&directory.join(format!("{stem}.json")))?;
    store::sweep(directory, &[])?;
    Ok(true)
}

struct Merge<'a> {
    directory: &'a Path,
    stem: &'a str,
    segment_bytes_max: u64,
    interrupt: &'a AtomicBool,
}

impl Merge<'_> {
    /// Writes the rows of `old` in order. What else is to be accounted for, and what rules dropped, goes to the first
    /// segment.
    fn segments(
        &self,
        old: &[&SegmentManifest],
        block_from: u64,
        number_from: usize,
    ) -> Result<Vec<SegmentManifest>, store::Error> {
        let Some(like) = old.first() else { return Ok(Vec::new()) };
        let mut changes = Counts::default();
        old.iter().for_each(|segment| changes.add(&segment.changes));
        changes.candidates -= changes.kept;
        changes.kept = 0;
        let mut new = Vec::new();
        let (mut readers, mut heap, mut decoder) = (Vec::new(), BinaryHeap::new(), Decoder::new()?);
        for (at, segment) in old.iter().enumerate() {
            let mut rows = SegmentRows::open(self.directory.join(&segment.file))?;
            if rows.advance(&mut decoder)? {
                heap.push(Reverse((key(&rows.sample()), at)));
            }
            readers.push(rows);
        }
        let ledgers: Vec<&LedgerManifest> = old.iter().filter_map(|segment| segment.ledger.as_ref()).collect();
        let stem = |number: usize| format!("{}-{:06}", self.stem, number_from + number);
        let mut ledger = self.ledgers(&ledgers, &stem(0))?;
        let (mut encoder, mut builder) = (Encoder::default(), RowsBuilder::default());
        while new.is_empty() || !heap.is_empty() {
            let mut writer = SegmentWriter::new(self.directory, &stem(new.len()))?;
            let mut rows = 0;
            while writer.bytes() < self.segment_bytes_max && !heap.is_empty() {
                if self.interrupt.load(Relaxed) {
                    return Err(store::Error::Interrupted);
                }
                while builder.len() < BATCH_ROWS
                    && builder.bytes() < BATCH_BYTES
                    && let Some(Reverse((_, at))) = heap.pop()
                {
                    builder.push(&readers[at].sample());
                    if readers[at].advance(&mut decoder)? {
                        heap.push(Reverse((key(&readers[at].sample()), at)));
                    }
                }
                let len = builder.len();
                writer.append(&encoder.encode(len, &builder.columns())?, len as u64)?;
                rows += len as u64;
            }
            let mut changes = std::mem::take(&mut changes);
            changes.kept += rows;
            changes.candidates += rows;
            let block = block_from + new.len() as u64;
            new.push(writer.seal(SegmentManifest {
                schema: SCHEMA_VERSION,
                block_from: block,
                block_to: block + 1,
                changes,
                ledger: ledger.take(),
                ..(*like).clone()
            })?);
        }
        Ok(new)
    }

    /// Writes the ledgers `old` one behind the other; none where nothing was dropped.
    fn ledgers(&self, old: &[&LedgerManifest], stem: &str) -> Result<Option<LedgerManifest>, store::Error> {
        if old.is_empty() {
            return Ok(None);
        }
        let mut writer = LedgerWriter::new(self.directory, stem)?;
        for manifest in old {
            ledger::for_each(&self.directory.join(&manifest.file), |dropped| writer.add(dropped))?;
        }
        writer.seal()
    }
}
