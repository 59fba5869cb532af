//! Whether what is in the directory of a repository is what its batches say, and how what is damaged goes.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    Checkpoint, Error, SegmentManifest,
    files::{batch_numbers, batch_stem, io_error, is_store_file, json_files, key, parse},
    segment, sweep, visible,
};

/// What a check of a repository directory found.
#[derive(Debug, Default)]
pub struct Verified {
    /// Rows in segments that are whole.
    pub rows: u64,
    /// What does not agree.
    pub damage: Vec<Error>,
    /// Files of no complete batch: the remains of a run that was stopped, or of one that goes on.
    pub remains: Vec<PathBuf>,
    /// The repository; none where no checkpoint can be read.
    pub identity: Option<String>,
    /// The first batch with damage, and its generation.
    bad: Option<(u32, u32)>,
}

/// Checks the repository directory `directory`: names, chain of batches, checksums, counts in both units, manifests.
///
/// # Errors
/// The directory can't be read, or is of a newer version.
pub fn verify(directory: &Path) -> Result<Verified, Error> {
    // A run that replaces rows while they are checked would look like damage.
    const TRIES: usize = 3;
    let mut tried = 0;
    loop {
        tried += 1;
        let before = stems(directory)?;
        let verified = verify_once(directory)?;
        if verified.damage.is_empty() || tried == TRIES || before == stems(directory)? {
            return Ok(verified);
        }
    }
}

fn stems(directory: &Path) -> Result<Vec<String>, Error> {
    Ok(json_files(directory)?.into_iter().map(|(_, stem)| stem).filter(|stem| batch_numbers(stem).is_some()).collect())
}

fn verify_once(directory: &Path) -> Result<Verified, Error> {
    let mut verified = Verified::default();
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(io_error(directory))? {
        let path = entry.map_err(io_error(directory))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if is_store_file(&name) && path.is_dir() {
            return Err(Error::InTheWay { path, what: "a file" });
        }
        files.extend(is_store_file(&name).then_some((path, name)));
    }
    let numbers: Vec<(u32, u32)> = stems(directory)?.iter().filter_map(|stem| batch_numbers(stem)).collect();
    let newest = numbers.iter().map(|(generation, _)| *generation).max().unwrap_or_default();
    let batches = || numbers.iter().filter(|(generation, _)| *generation == newest).map(|(_, batch)| *batch);
    let last = batches().max();
    let mut named: HashSet<String> = batches().map(|b| format!("{}.json", batch_stem(newest, b))).collect();
    let mut tips = Vec::new();
    for batch in 0..last.map_or(0, |last| last + 1) {
        let path = directory.join(format!("{}.json", batch_stem(newest, batch)));
        let bad = |reason: &str| Error::BadManifest { path: path.clone(), reason: reason.into() };
        let checkpoint = match Checkpoint::read(&path, (newest, batch)) {
            Ok(checkpoint) => checkpoint,
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                verified.damage.push(bad("the batch is missing"));
                verified.bad.get_or_insert((newest, batch));
                continue;
            }
            Err(error @ Error::BadManifest { .. }) => {
                verified.damage.push(error);
                verified.bad.get_or_insert((newest, batch));
                continue;
            }
            Err(error) => return Err(error),
        };
        let damage = verified.damage.len();
        verified.identity = Some(checkpoint.repository.identity.clone());
        if directory.file_name().and_then(|name| name.to_str()) != Some(&key(&checkpoint.repository.identity)) {
            verified.damage.push(bad("it belongs to another repository"));
        }
        if checkpoint.hidden != tips {
            verified.damage.push(bad("it does not begin where the batch before it ends"));
        }
        verify_batch(directory, &checkpoint, &bad, &mut verified);
        named.extend(checkpoint.files());
        if verified.damage.len() > damage {
            verified.bad.get_or_insert((newest, batch));
        }
        tips = checkpoint.tips;
    }
    verified.remains = files.into_iter().filter(|(_, name)| !named.contains(name)).map(|(path, _)| path).collect();
    verified.remains.sort();
    Ok(verified)
}

fn verify_batch(directory: &Path, checkpoint: &Checkpoint, bad: &dyn Fn(&str) -> Error, verified: &mut Verified) {
    let mut changes = checkpoint.early.clone();
    let mut commits = HashSet::new();
    let mut block = 0;
    let mut whole = true;
    for segment in &checkpoint.segments {
        changes.add(&segment.changes);
        match segment::verify(directory, segment, &mut commits) {
            Ok(()) => verified.rows += segment.rows,
            Err(error) => {
                whole = false;
                verified.damage.push(error);
            }
        }
        if segment.block_from != block {
            verified.damage.push(bad("its segments do not follow one another"));
        }
        block = segment.block_to;
        let path = directory.join(segment.file.replace(".arrow", ".json"));
        let own = fs::read(&path).map_err(io_error(&path)).and_then(|text| parse::<SegmentManifest>(&path, &text));
        match own {
            Ok(own) if own == *segment => {}
            Ok(_) => {
                let reason = "it differs from what its batch says".into();
                verified.damage.push(Error::BadManifest { path, reason });
            }
            Err(Error::Io { source, path }) => {
                verified.damage.push(Error::BadManifest { path, reason: source.to_string() });
            }
            Err(error) => verified.damage.push(error),
        }
    }
    if let Some(ledger) = &checkpoint.ledger {
        let dropped =
            [&checkpoint.early, &checkpoint.funnel.commits].map(|counts| counts.dropped.values().sum::<u64>());
        verified.damage.extend(segment::verify_ledger(directory, ledger, dropped.iter().sum()).err());
    }
    if changes != checkpoint.funnel.changes || !checkpoint.funnel.adds_up() {
        verified.damage.push(bad("its counts do not add up"));
    } else if whole && checkpoint.funnel.commits.kept != commits.len() as u64 {
        let reason = format!("it counts {} commits, its rows have {}", checkpoint.funnel.commits.kept, commits.len());
        verified.damage.push(bad(&reason));
    }
}

/// Drops from `directory` the first damaged batch that `verified` found and all behind it, and what belongs to no
/// batch. The batches before it stay. The store must be locked. Returns the number of batches that are left.
///
/// # Errors
/// A file can't be removed.
pub fn repair(directory: &Path, verified: &Verified) -> Result<usize, Error> {
    if let Some((generation, batch)) = verified.bad {
        for (path, stem) in json_files(directory)? {
            if batch_numbers(&stem).is_some_and(|found| found.0 == generation && found.1 >= batch) {
                fs::remove_file(&path).map_err(io_error(&path))?;
            }
        }
    }
    sweep(directory, &[])?;
    Ok(visible(directory)?.len())
}
