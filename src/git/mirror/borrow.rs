//! A clone of a fork begins with the packs of its root's mirror: hard links to files that nobody changes, so that what both have
//! is neither sent nor stored twice. Refuses alternates: each mirror has all that it needs, whatever becomes of the other.

use std::{
    collections::BTreeSet,
    fs,
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

/// Links the packs of the mirror `from` into the new repository `into`, and makes references to the tips that they reach. None
/// where `from` is no mirror of this format or is damaged, where there are no links, or where something came between.
pub fn borrow(
    from: &Path,
    into: &Path,
    format: gix::hash::Kind,
    options: gix::open::Options,
    interrupt: &AtomicBool,
) -> Option<gix::Repository> {
    let tips = tips(from, format).filter(|tips| !tips.is_empty())?;
    let packs = into.join("objects/pack");
    let link = |path: PathBuf| fs::hard_link(&path, packs.join(path.file_name().unwrap_or_default()));
    packs_in(from).into_iter().try_for_each(link).ok()?;
    // What was opened before there were packs may not find them.
    let repository = options.open(into).ok()?.to_thread_local();
    advertise(&repository, &tips).ok()?;
    // Packs may have been written and removed meanwhile, and a mirror that is damaged is not to make another one.
    (!is_damaged(into, interrupt)).then_some(repository)
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

fn packs_in(mirror: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(mirror.join("objects/pack")).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.extension().is_some_and(|end| end == "pack" || end == "idx")).collect()
}

/// Makes references to `tips`.
fn advertise(repository: &gix::Repository, tips: &[ObjectId]) -> gix::Result<()> {
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
