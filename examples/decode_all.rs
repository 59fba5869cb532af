//! Decodes every object of a repository's packs once, with gix's own traversal, and does nothing with them: the least that can be
//! asked of a program that has to see all versions of all files. `scripts/bench.py --decode-all` measures gitlode against it.
//!
//! usage: decode_all REPOSITORY [THREADS]
//!
//! REPOSITORY is a bare one, with SHA-1 names. Checksums of objects and packs are not looked at: gitlode doesn't, either.

use std::{error::Error, path::Path, sync::atomic::AtomicBool};

use gix::{
    hash::Kind,
    odb::pack::{data, index},
    progress::Discard,
};
use index::traverse::{Options, SafetyCheck};

// The program's own allocator, so that the two differ in what they do alone.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (repository, threads) = match arguments.as_slice() {
        [repository] => (repository, 1),
        [repository, threads] => (repository, threads.parse()?),
        _ => return Err("usage: decode_all REPOSITORY [THREADS]".into()),
    };
    let (mut objects, mut bytes) = (0, 0);
    for entry in std::fs::read_dir(Path::new(repository).join("objects/pack"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "idx") {
            let statistics = decode(&path, threads)?;
            objects += statistics.objects_per_chain_length.values().map(|count| u64::from(*count)).sum::<u64>();
            bytes += statistics.total_object_size;
        }
    }
    println!("{objects} objects of {bytes} bytes");
    Ok(())
}

/// Each object of a pack once: a delta is applied to the object above it while that is at hand.
fn decode(path: &Path, threads: usize) -> Result<index::traverse::Statistics, Box<dyn Error>> {
    let index = index::File::at(path, Kind::Sha1)?;
    let pack = data::File::at(path.with_extension("pack"), Kind::Sha1)?;
    let options = Options {
        thread_limit: Some(threads),
        check: SafetyCheck::SkipFileAndObjectChecksumVerification,
        ..Options::default()
    };
    let outcome = index.traverse(&pack, &mut Discard, &AtomicBool::new(false), |_, _, _, _| Ok(()), options)?;
    Ok(outcome.statistics)
}
