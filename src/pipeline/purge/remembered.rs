//! What a store remembers of who opted out: lines, commits, receipts, and in `store.json` what shows that some of them were
//! taken away by hand.
//!
//! A receipt has the checksum of the one before, the mark of the store that of the last one and a digest over lines and
//! commits. While these are written, the mark has the digests of before and after, so that a process that is killed
//! leaves nothing that looks taken away. Who can write the store can make all of it fit again; it is against accidents.

use std::{collections::BTreeSet, fs, path::PathBuf};

use serde::Deserialize as _;

use super::Receipt;
use crate::{
    dedup::opt_out::OptOuts,
    store::{self, Checkpoint, OptOutMark, Store, io_error},
};

/// Where a store keeps it.
pub(super) fn directory(store: &Store) -> PathBuf {
    store.root().join("opt-out")
}

/// The texts of both lists.
#[derive(Default)]
struct Lists {
    list: String,
    commits: String,
}

impl Lists {
    fn read(store: &Store) -> Result<Self, store::Error> {
        let text = |name: &str| {
            let path = directory(store).join(name);
            match fs::read_to_string(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
                text => text.map_err(io_error(&path)),
            }
        };
        Ok(Lists { list: text("list")?, commits: text("commits")? })
    }

    fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for text in [&self.list, &self.commits] {
            hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }

    /// Whether they are as `mark` has them; one that says nothing of them fits any.
    fn fit(&self, mark: Option<&OptOutMark>) -> bool {
        mark.is_none_or(|mark| mark.lists.contains(&self.digest()))
    }

    fn opt_outs(&self, store: &Store) -> Result<OptOuts, store::Error> {
        let damaged = |name: &str, (line, reason): (usize, String)| store::Error::BadManifest {
            path: directory(store).join(name),
            reason: format!("line {line}: {reason}"),
        };
        let mut opt_outs = OptOuts::read(&self.list).map_err(|found| damaged("list", found))?;
        opt_outs.add_commits(&self.commits).map_err(|found| damaged("commits", found))?;
        if !self.list.is_empty() {
            // What can't be read is damage to those who read its rows.
            let (batches, _damage) = store.batches_and_damage()?;
            for (_, Checkpoint { repository, .. }) in &batches {
                opt_outs.add_origins(&repository.name, &repository.columns);
            }
        }
        Ok(opt_outs)
    }
}

/// The lists as they were written.
///
/// # Errors
/// They can't be read, or are not as they were written.
fn lists(store: &Store) -> Result<Lists, store::Error> {
    loop {
        let mark = store.opt_out_mark()?;
        let lists = Lists::read(store)?;
        if lists.fit(mark.as_ref()) {
            return Ok(lists);
        }
        // A run that adds some at this moment writes the mark as well.
        if store.opt_out_mark()? == mark {
            return Err(store::Error::OptOutsChanged { path: directory(store) });
        }
    }
}

/// Everything that `store` remembers of who opted out.
///
/// # Errors
/// A file can't be read, or is not as it was written.
pub fn opt_outs(store: &Store) -> Result<OptOuts, store::Error> {
    lists(store)?.opt_outs(store)
}

/// The same, whether some were taken away or not.
pub(super) fn opt_outs_as_they_are(store: &Store) -> Result<OptOuts, store::Error> {
    Lists::read(store)?.opt_outs(store)
}

/// Adds the lines of `lines` to the file `name`, sorted, each once.
pub(super) fn add_lines<'a>(
    store: &Store,
    name: &'static str,
    lines: impl Iterator<Item = &'a str>,
) -> Result<BTreeSet<String>, store::Error> {
    let mut texts = self::lists(store)?;
    let text = if name == "list" { &mut texts.list } else { &mut texts.commits };
    let known: BTreeSet<String> = text.lines().map(str::to_owned).collect();
    let mut all = known.clone();
    all.extend(lines.map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned));
    if all == known {
        return Ok(all);
    }
    let path = directory(store);
    fs::create_dir_all(&path).map_err(io_error(&path))?;
    let next: String = all.iter().map(|line| format!("{line}\n")).collect();
    let mut mark = mark(store)?;
    *text = next.clone();
    mark.lists.push(texts.digest());
    store.set_opt_out_mark(&mark)?;
    store::write_text(&path.join(name), next.as_bytes())?;
    mark.lists.drain(..mark.lists.len() - 1);
    store.set_opt_out_mark(&mark)?;
    Ok(all)
}

/// The mark of `store`, made of what is there where an older version left none.
fn mark(store: &Store) -> Result<OptOutMark, store::Error> {
    if let Some(mark) = store.opt_out_mark()? {
        return Ok(mark);
    }
    let last = whole_receipts(store)?.pop().map(|(_, receipt)| receipt);
    let number = last.as_ref().map_or(0, |receipt| receipt.number);
    let lists = vec![Lists::read(store)?.digest()];
    Ok(OptOutMark { lists, receipts: number, last_receipt: last.map(|receipt| receipt.blake3) })
}

/// Makes `store`, which must be locked, remember the opt-outs in `text`, which [`super::parse`] read.
///
/// # Errors
/// The store can't be written, or its opt-outs are not as they were left.
pub fn remember(store: &Store, text: &str) -> Result<(), store::Error> {
    add_lines(store, "list", text.lines()).map(|_| ())
}

fn receipt_file(store: &Store, number: u32) -> PathBuf {
    directory(store).join(format!("{number:06}.json"))
}

/// Number and checksum of the last receipt of `store`; 0 without one. The number of one that was taken away is not given again.
pub(super) fn last_receipt(store: &Store) -> Result<(u32, Option<String>), store::Error> {
    let mark = mark(store)?;
    match whole_receipts(store)?.pop() {
        Some((_, last)) if last.number >= mark.receipts => Ok((last.number, Some(last.blake3))),
        _ => Ok((mark.receipts, mark.last_receipt)),
    }
}

/// Writes `receipt`, the next one.
pub(super) fn add_receipt(store: &Store, receipt: &Receipt) -> Result<(), store::Error> {
    let mark = mark(store)?;
    let path = directory(store);
    fs::create_dir_all(&path).map_err(io_error(&path))?;
    store::write_json(&receipt_file(store, receipt.number), receipt)?;
    let last_receipt = Some(receipt.blake3.clone());
    store.set_opt_out_mark(&OptOutMark { receipts: receipt.number, last_receipt, ..mark })
}

/// Receipts, each with its path.
type Receipts = Vec<(PathBuf, Receipt)>;

/// The receipts of `store`, in order, and of those that are not as they were written where they are and why.
///
/// # Errors
/// One can't be read.
pub(super) fn receipts(store: &Store) -> Result<(Receipts, Vec<(PathBuf, String)>), store::Error> {
    let (mut receipts, mut changed) = (Receipts::new(), Vec::new());
    for (path, _) in store::json_files(&directory(store))? {
        let text = fs::read(&path).map_err(io_error(&path))?;
        let fields = serde_json::from_slice::<serde_json::Value>(&text);
        let found = fields.and_then(|fields| Ok((Receipt::deserialize(&fields)?, store::digest(fields))));
        match found {
            Ok((receipt, digest)) if digest == receipt.blake3 => receipts.push((path, receipt)),
            Ok(_) => changed.push((path, "its checksum does not match".to_owned())),
            Err(error) => changed.push((path, error.to_string())),
        }
    }
    Ok((receipts, changed))
}

/// The receipts of `store`, all of which have to be as they were written.
fn whole_receipts(store: &Store) -> Result<Receipts, store::Error> {
    match receipts(store)? {
        (receipts, changed) if changed.is_empty() => Ok(receipts),
        (_, changed) => {
            let (path, reason) = changed.into_iter().next().unwrap_or_default();
            Err(store::Error::BadManifest { path, reason })
        }
    }
}

/// What of the receipts and opt-outs of `store` is not there, or not as it was written, in words.
///
/// # Errors
/// Something can't be read.
pub(super) fn missing(store: &Store) -> Result<Vec<String>, store::Error> {
    let mut missing = Vec::new();
    match lists(store) {
        Err(error @ store::Error::OptOutsChanged { .. }) => missing.push(error.to_string()),
        result => result.map(|_| ())?,
    }
    let mark = store.opt_out_mark()?.unwrap_or_default();
    let (receipts, changed) = receipts(store)?;
    missing.extend(
        changed
            .iter()
            .map(|(path, reason)| format!("the receipt {} is not as it was written: {reason}", path.display())),
    );
    let known = receipts.last().map_or(0, |(_, last)| last.number).max(mark.receipts);
    let find = |number: u32| receipts.iter().map(|(_, receipt)| receipt).find(|receipt| receipt.number == number);
    for number in 1..=known {
        let Some(receipt) = find(number) else {
            if changed.iter().any(|(path, _)| *path == receipt_file(store, number)) {
                continue;
            }
            missing.push(format!("the receipt {} is missing", receipt_file(store, number).display()));
            continue;
        };
        // What says what this one was: the mark, and the one behind it.
        let marked = mark.last_receipt.as_ref().filter(|_| number == mark.receipts);
        let chained = find(number + 1).and_then(|next| next.previous.as_ref());
        if [marked, chained].into_iter().flatten().any(|blake3| *blake3 != receipt.blake3) {
            missing
                .push(format!("the receipt {} is another one than was written", receipt_file(store, number).display()));
        }
    }
    Ok(missing)
}
