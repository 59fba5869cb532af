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
