//! `gitlode forget`: failed sources that are not to be tried again.

use std::path::PathBuf;

use super::{Error, mine::identity, print, printable};
use crate::{
    source,
    store::{Store, index::Index},
};

#[derive(clap::Args)]
pub struct Args {
    /// The store.
    store: PathBuf,
    /// Sources that failed, as they were given to `mine` or as `stats` lists them.
    #[arg(required = true, value_name = "SOURCE")]
    sources: Vec<String>,
}

pub fn run(args: &Args) -> Result<(), Error> {
    Store::open(&args.store)?;
    let store = Store::create(&args.store, &|| false)?;
    let mut index = Index::open(&store)?;
    let failed = index.failed()?;
    let mut unknown = 0;
    for text in &args.sources {
        let mut named: Vec<String> = source::parse(std::slice::from_ref(text), &mut std::io::stdin().lock())?
            .iter()
            .map(identity)
            .chain([text.clone()])
            .collect();
        named.retain(|identity| failed.iter().any(|state| state.identity == *identity));
        named.dedup();
        for identity in &named {
            index.forget_source(identity)?;
            print(&format!("{} is forgotten\n", printable(identity)))?;
        }
        if named.is_empty() {
            unknown += 1;
            let text = printable(text);
            tell!("{}: {text} did not fail in its last run", super::style("error"));
        }
    }
    if unknown > 0 { Err(Error::Reported(2)) } else { Ok(()) }
}
