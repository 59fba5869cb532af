//! `gitlode report`: a page about a store.

use std::path::{Path, PathBuf};

use super::{Error, grouped, interrupt_flag, print, progress};
use crate::{
    export::card::TITLE,
    pipeline::report::{self, Options},
    store::{self, Store},
};

#[derive(clap::Args)]
pub struct Args {
    /// The store.
    store: PathBuf,
    /// The file to write: one page of HTML that needs nothing else.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Write over a file that is there.
    #[arg(long)]
    force: bool,
    /// The heading.
    #[arg(long, default_value = TITLE, value_name = "TEXT")]
    title: String,
    /// Samples of the rows that stay, and of what each rule dropped.
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=1000))]
    examples: u16,
    /// No progress.
    #[arg(long, short)]
    quiet: bool,
}

pub fn run(args: &Args) -> Result<(), Error> {
    let out = args.out.as_path();
    if out.exists() && !args.force {
        return Err(Error::Usage(format!("{} exists already; --force writes over it", out.display())));
    }
    // Said before the rows are read, which takes a while.
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if out.is_dir() || !parent.is_dir() {
        return Err(Error::Usage(format!("{} can't be a file: name one in a directory that is there", out.display())));
    }
    let store = Store::open(&args.store)?;
    let interrupt = interrupt_flag();
    let progress = progress::of_rows(args.quiet);
    let options = Options {
        title: &args.title,
        examples: usize::from(args.examples),
        interrupt: &interrupt,
        progress: &*progress,
    };
    let page = match report::report(&store, &options) {
        Err(store::Error::Interrupted) => {
            tell!("interrupted: nothing was written");
            return Err(Error::Reported(130));
        }
        page => page?,
    };
    store::write_text(&parent.join(out.file_name().unwrap_or_default()), page.as_bytes()).map_err(
        |error| match error {
            // Unlike mining, it begins anew.
            store::Error::Io { path, source } => Error::Io { path, source },
            error => error.into(),
        },
    )?;
    if args.quiet {
        Ok(())
    } else {
        print(&format!("{} written, {} bytes\n", out.display(), grouped(page.len() as u64)))
    }
}
