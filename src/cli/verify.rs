//! `gitlode verify`: checks a store, and drops what is damaged when asked.

use std::path::PathBuf;

use super::{Error, print};
use crate::store::{self, Store};

#[derive(clap::Args)]
pub struct Args {
    /// The store.
    store: PathBuf,
    /// Drop every repository whose rows are damaged; the next `gitlode mine` makes them again.
    #[arg(long)]
    repair: bool,
}

pub fn run(args: &Args) -> Result<(), Error> {
    Store::open(&args.store)?;
    let store = if args.repair { Store::create(&args.store, &|| false)? } else { Store::open(&args.store)? };
    let directories = store.directories()?;
    let mut damaged = 0;
    for directory in &directories {
        let found = store::verify(directory)?;
        for error in &found {
            anstream::eprintln!("{}: {error}", super::style("error"));
        }
        if !found.is_empty() {
            damaged += 1;
            if args.repair {
                std::fs::remove_dir_all(directory).map_err(|source| Error::Io { path: directory.clone(), source })?;
                print(&format!("dropped {}\n", directory.display()))?;
            }
        }
    }
    if damaged > 0 && !args.repair {
        anstream::eprintln!(
            "{}: run `gitlode verify {} --repair`, then mine again",
            super::style("hint"),
            args.store.display()
        );
        return Err(Error::Reported(5));
    }
    print(&format!("{} repositories checked, {damaged} damaged\n", directories.len()))
}
