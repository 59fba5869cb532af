//! `gitlode remove`: takes repositories out of a store, which may come back.

use std::{collections::BTreeMap, path::PathBuf};

use super::{Error, counted, mine::identity, print, printable};
use crate::{
    pipeline::remove,
    source,
    store::{Store, index::Index},
};

#[derive(clap::Args)]
pub struct Args {
    /// The store.
    store: PathBuf,
    /// Repositories as `repos` names them, or as they were given to `mine`.
    #[arg(required = true, value_name = "REPOSITORY")]
    repositories: Vec<String>,
}

pub fn run(args: &Args) -> Result<(), Error> {
    // A store that is not there is not to be made.
    Store::open(&args.store)?;
    let store = Store::create(&args.store, &|| false)?;
    // What a process that was killed left of this.
    store.clean_up()?;
    let (batches, _damaged) = store.batches_and_damage()?;
    let mut index = Index::open(&store)?;
    let mut unknown = 0;
    for text in &args.repositories {
        // A repository whose checkpoints can't be read has an identity all the same.
        let sources = source::parse(std::slice::from_ref(text), &mut std::io::stdin().lock())?;
        let mut named: BTreeMap<String, usize> = sources.iter().map(identity).map(|id| (id, 0)).collect();
        named.retain(|identity, _| store.directory(identity).exists());
        for (_, checkpoint) in &batches {
            let repository = &checkpoint.repository;
            if repository.name == *text || repository.identity == *text || named.contains_key(&repository.identity) {
                let rows = usize::try_from(checkpoint.funnel.changes.kept).unwrap_or(usize::MAX);
                *named.entry(repository.identity.clone()).or_default() += rows;
            }
        }
        match named.len() {
            1 => {}
            0 => {
                unknown += 1;
                tell!("{}: {} is not in this store", super::style("error"), printable(text));
                continue;
            }
            _ => {
                unknown += 1;
                let all: Vec<String> = named.keys().map(|identity| printable(identity)).collect();
                let (all, text) = (all.join(", "), printable(text));
                tell!("{}: several repositories are called {text}: {all}", super::style("error"));
                tell!("{}: name one of them like this", super::style("hint"));
                continue;
            }
        }
        for (identity, rows) in &named {
            remove::remove(&store, &mut index, identity)?;
            print(&format!("{} of {} are removed\n", counted(*rows, "row", "rows"), printable(identity)))?;
        }
    }
    if unknown > 0 { Err(Error::Reported(2)) } else { Ok(()) }
}
