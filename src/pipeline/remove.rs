//! Takes a repository out of a store as if it had never been mined. Unlike a purge it leaves nothing behind that keeps the
//! rows from coming back.

use std::fs;

use crate::{
    source::url::mirror_path,
    store::{Error, Store, index::Index, io_error},
};

/// Removes the rows of the repository with that identity from `store`, which must be locked, what `index` knows of it, and
/// its mirror in the store. The rows go at once or not at all.
///
/// # Errors
/// Something can't be removed.
pub fn remove(store: &Store, index: &mut Index, identity: &str) -> Result<(), Error> {
    // An index that lacks what is there is made again, one that has what is gone would be called damage.
    index.remove(identity)?;
    index.forget_schedules(&[identity.to_owned()])?;
    store.remove(identity)?;
    remove_mirror(store, identity)
}

/// Removes the mirror of the repository with that identity from `store`, where there is one.
///
/// # Errors
/// It can't be removed.
pub(super) fn remove_mirror(store: &Store, identity: &str) -> Result<(), Error> {
    let mirror = store.root().join("mirrors").join(mirror_path(identity));
    match mirror.is_dir() {
        true => fs::remove_dir_all(&mirror).map_err(io_error(&mirror)),
        false => Ok(()),
    }
}
