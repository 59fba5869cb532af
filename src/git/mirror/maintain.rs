//! Keeps a mirror that is fetched into often from gathering packs, and objects that nothing reaches: git joins the ones and removes
//! the others, where it is installed.
//!
//! Only for mirrors that we made: their configuration is ours, so git does nothing but what it is asked for.

use std::{
    fs::{self, File},
    io,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{POLL, sibling};

/// Longest time that tidying a mirror may take.
const TIDY_TIME: Duration = Duration::from_secs(600);

/// Why git did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no git.
    #[error("git is not installed, or can't be started")]
    NotInstalled,
    /// Somebody wants it to stop.
    #[error("it was stopped")]
    Interrupted,
    /// Another process works on the mirror.
    #[error("another process works on the mirror")]
    Locked,
    /// It took too long.
    #[error("git {0} took longer than {limit} seconds", limit = TIDY_TIME.as_secs())]
    TooSlow(&'static str),
    /// It gave up.
    #[error("git {0} failed")]
    Failed(&'static str),
    /// A file can't be removed.
    #[error("can't remove what is out of date: {0}")]
    Io(#[from] io::Error),
}

/// Joins packs of the mirror in `directory` where it has more than `packs_max`; whether it did. Where git is not installed or
/// gives up, the packs stay, and what an interruption leaves is removed by the next fetch.
pub fn join_packs(directory: &Path, packs_max: usize, interrupt: &AtomicBool) -> bool {
    let entries = fs::read_dir(directory.join("objects/pack")).into_iter().flatten().flatten();
    let packs = entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "pack"));
    if packs.count() <= packs_max {
        return false;
    }
    // Packs of half the size of the next larger one are joined: each object is written anew as rarely as can be.
    git(directory, "repack", &["-q", "-d", "--geometric=2"], None, interrupt).is_ok()
}

/// Puts all that references of the mirror in `directory` reach into one pack, removes all else, as what force-pushes left, and
/// writes a commit-graph. For a mirror that is mined up to its tips: what was mined before and is not reached is not to be
/// looked for any more. It is locked meanwhile, so nothing is fetched into it.
///
/// # Errors
/// See [`Error`]; the mirror is as good as before.
pub fn tidy(directory: &Path, interrupt: &AtomicBool) -> Result<(), Error> {
    let lock = File::create(sibling(directory, "lock"))?;
    lock.try_lock().map_err(|_| Error::Locked)?;
    let until = Instant::now() + TIDY_TIME;
    // A graph must not tell of commits that are removed.
    let info = directory.join("objects/info");
    remove_all_if_there(&info.join("commit-graph"))?;
    remove_all_if_there(&info.join("commit-graphs"))?;
    let steps: [(&str, &[&str]); 3] = [
        ("repack", &["-q", "-a", "-d"]),
        ("prune", &["--expire=now"]),
        ("commit-graph", &["write", "--reachable", "--no-progress"]),
    ];
    let done = steps.iter().try_for_each(|(command, args)| git(directory, command, args, Some(until), interrupt));
    if done.is_err() {
        // What can't be removed now is removed by the next fetch.
        _ = super::remove_debris(directory);
    }
    done
}

fn remove_all_if_there(path: &Path) -> io::Result<()> {
    if path.symlink_metadata().is_ok() { super::remove_all(path) } else { Ok(()) }
}

/// Has git do something with a mirror, on one core, until it is time or somebody wants it to stop.
fn git(
    directory: &Path,
    command: &'static str,
    args: &[&str],
    until: Option<Instant>,
    interrupt: &AtomicBool,
) -> Result<(), Error> {
    let settings =
        ["repack.writeBitmaps=false", "pack.writeReverseIndex=false", "pack.threads=1", "core.hooksPath=/dev/null"];
    let child = Command::new("git")
        .arg("-C")
        .arg(directory)
        .args(settings.iter().flat_map(|setting| ["-c", setting]))
        .arg(command)
        .args(args)
        .envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_TERMINAL_PROMPT", "0")])
        .env("GIT_DIR", directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut child = child.map_err(|_| Error::NotInstalled)?;
    let reason = loop {
        if interrupt.load(Ordering::Relaxed) {
            break Error::Interrupted;
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            break Error::TooSlow(command);
        }
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(_)) => return Err(Error::Failed(command)),
            Ok(None) => thread::sleep(POLL),
            Err(_) => break Error::Failed(command),
        }
    };
    // A child that can't be killed has ended by itself.
    _ = child.kill();
    _ = child.wait();
    Err(reason)
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
        // A commit-graph tells of commits without a look at them.
        for commit in repository.rev_walk(tips).use_commit_graph(false).all()? {
            commit?;
        }
        Ok(())
    };
    let is_damaged = packs.any(|pack| is_whole(&pack).is_err()) || reaches_all().is_err();
    is_damaged && !interrupt.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_a_mirror_from_being_tidied_is_told_apart() {
        let lab = tempfile::tempdir().expect("a directory");
        let directory = lab.path().join("a.git");
        fs::create_dir(&directory).expect("a directory");
        let tidied = |is_interrupted: bool| tidy(&directory, &AtomicBool::new(is_interrupted));
        assert!(matches!(tidied(false), Err(Error::Failed("repack"))), "it is no repository");
        gix::init_bare(&directory).expect("a repository");
        tidied(false).expect("an empty one is tidy");
        let lock = File::create(sibling(&directory, "lock")).expect("a file");
        lock.lock().expect("nobody else has it");
        assert!(matches!(tidied(false), Err(Error::Locked)));
        drop(lock);
        let until = Some(Instant::now());
        let run = |until| git(&directory, "prune", &[], until, &AtomicBool::new(false));
        assert!(run(None).is_ok() && matches!(run(until), Err(Error::TooSlow("prune"))));
        assert!(matches!(tidied(true), Err(Error::Interrupted)));
    }
}
