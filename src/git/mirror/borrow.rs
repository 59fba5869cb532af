//! A clone of a fork begins with the packs of its root's mirror: hard links to files that nobody changes, so that what both have
//! is neither sent nor stored twice. Refuses alternates: each mirror has all that it needs, whatever becomes of the other.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use gix::{
    ObjectId,
    refs::{
        FullName,
        transaction::{PreviousValue, RefEdit},
    },
};

use super::maintain::is_damaged;

/// The references that tell the server what is there already, as long as the clone is made.
const NAMES: &str = "refs/borrowed/";

/// Links the packs of the mirror `from` into the repository `into`, which has none; the tips that they reach. There are none
/// where `from` is no mirror of this format, is damaged, or changes meanwhile.
///
/// # Errors
/// What was linked can't be removed again.
pub fn borrow(from: &Path, into: &Path, format: gix::hash::Kind, interrupt: &AtomicBool) -> io::Result<Vec<ObjectId>> {
    let Some(tips) = tips(from, format).filter(|tips| !tips.is_empty()) else { return Ok(Vec::new()) };
    if is_damaged(from, interrupt) {
        return Ok(Vec::new());
    }
    let packs = into.join("objects/pack");
    let before = packs_in(from);
    let link = |path: &PathBuf| fs::hard_link(path, packs.join(path.file_name().unwrap_or_default()));
    let is_linked = before.iter().try_for_each(link).is_ok();
    // Packs are written before those go that they replace, and a mirror is moved away before it is removed: what was there
    // before and after was whole. An index without its pack, or the other way round, is being written.
    let is_whole =
        before.iter().all(|path| ["pack", "idx"].iter().all(|end| before.contains(&path.with_extension(end))));
    if is_linked && is_whole && !before.is_empty() && packs_in(from) == before && from.join("HEAD").exists() {
        return Ok(tips);
    }
    for path in packs_in(into) {
        fs::remove_file(path)?;
    }
    Ok(Vec::new())
}

/// The commits of the branches of a mirror; none where it is of another format or can't be read.
fn tips(mirror: &Path, format: gix::hash::Kind) -> Option<Vec<ObjectId>> {
    let repository = gix::open_opts(mirror, gix::open::Options::isolated().open_path_as_is(true)).ok()?;
    if repository.object_hash() != format {
        return None;
    }
    let references = repository.references().ok()?;
    let branches = references.prefixed("refs/heads/").ok()?;
    let tips: Option<BTreeSet<ObjectId>> = branches.map(|branch| Some(branch.ok()?.try_id()?.detach())).collect();
    Some(tips?.into_iter().collect())
}

fn packs_in(mirror: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(mirror.join("objects/pack")).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.extension().is_some_and(|end| end == "pack" || end == "idx")).collect()
}

/// Makes references to `tips`.
pub fn advertise(repository: &gix::Repository, tips: &[ObjectId]) -> gix::Result<()> {
    let edit = |tip: &ObjectId| {
        let name = FullName::try_from(format!("{NAMES}{tip}")).map_err(gix::Error::from_error)?;
        Ok(RefEdit::update(name, *tip, PreviousValue::Any, "borrow"))
    };
    let edits = tips.iter().map(edit).collect::<gix::Result<Vec<_>>>()?;
    repository.edit_references(edits)?;
    Ok(())
}

/// Removes them.
pub fn withdraw(repository: &gix::Repository) -> gix::Result<()> {
    let mut edits = Vec::new();
    for reference in repository.references()?.prefixed(NAMES)? {
        let reference = reference.map_err(gix::Error::from_error)?;
        edits.push(RefEdit::delete(reference.name().to_owned(), PreviousValue::Any));
    }
    if !edits.is_empty() {
        repository.edit_references(edits)?;
    }
    Ok(())
}
