//! Keeps a mirror that is fetched into often from gathering packs: small ones are joined, by git where it is installed.
//!
//! Only for mirrors that we made: their configuration is ours, so git does nothing but what it is asked for.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use super::POLL;

/// Joins packs of the mirror in `directory` where it has more than `packs_max`; whether it did. Where git is not installed or
/// gives up, the packs stay, and what an interruption leaves is removed by the next fetch.
pub fn join_packs(directory: &Path, packs_max: usize, interrupt: &AtomicBool) -> bool {
    let entries = fs::read_dir(directory.join("objects/pack")).into_iter().flatten().flatten();
    let packs = entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "pack"));
    if packs.count() <= packs_max {
        return false;
    }
    let child = Command::new("git")
        .arg("-C")
        .arg(directory)
        .args([
            "-c",
            "repack.writeBitmaps=false",
            "-c",
            "pack.writeReverseIndex=false",
            "-c",
            "core.hooksPath=/dev/null",
        ])
        // Packs of half the size of the next larger one are joined: each object is written anew as rarely as can be.
        .args(["repack", "-q", "-d", "--geometric=2"])
        .envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_TERMINAL_PROMPT", "0")])
        .env("GIT_DIR", directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else { return false };
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) if !interrupt.load(Ordering::Relaxed) => thread::sleep(POLL),
            Ok(None) | Err(_) => {
                // A child that can't be killed has ended by itself.
                _ = child.kill();
                _ = child.wait();
                return false;
            }
        }
    }
}

/// Whether the mirror in `directory` lacks something that it is to have, or has it with other bytes than were written: the
/// checksum of each pack and index is reckoned, and each commit is asked for. What it takes is a read of all of it, so it is for
/// a mirror of which something has failed.
pub fn is_damaged(directory: &Path, interrupt: &AtomicBool) -> bool {
    let Ok(repository) = gix::open_opts(directory, gix::open::Options::isolated()) else { return true };
    let hash = repository.object_hash();
    let packs = fs::read_dir(directory.join("objects/pack")).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_whole = |pack: &Path| -> gix::Result<()> {
        let (data, index) = (pack.with_extension("pack"), pack.with_extension("idx"));
        gix::odb::pack::data::File::at(&data, hash)?.verify_checksum(&mut gix::progress::Discard, interrupt)?;
        gix::odb::pack::index::File::at(&index, hash)?.verify_checksum(&mut gix::progress::Discard, interrupt)?;
        Ok(())
    };
    let mut packs = packs.filter(|path| path.extension().is_some_and(|end| end == "pack" || end == "idx"));
    let reaches_all = || -> gix::Result<()> {
        let mut tips = Vec::new();
        for reference in repository.references()?.all()? {
            let reference = reference.map_err(gix::Error::from_error)?;
            tips.extend(reference.into_fully_peeled_id().ok().map(gix::Id::detach));
        }
        for commit in repository.rev_walk(tips).all()? {
            commit?;
        }
        Ok(())
    };
    let is_damaged = packs.any(|pack| is_whole(&pack).is_err()) || reaches_all().is_err();
    is_damaged && !interrupt.load(Ordering::Relaxed)
}
