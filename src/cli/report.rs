//! `gitlode report`: a page about a store.

use std::{
    cell::Cell,
    io::IsTerminal as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use super::{Error, grouped, interrupt_flag, print};
use crate::{
    export::card::TITLE,
    pipeline::report::{self, Options},
    store::{self, Store},
};

/// How often a plain log says how far things are.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

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
    let progress = progress(args.quiet);
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
    store::write_text(&parent.join(out.file_name().unwrap_or_default()), page.as_bytes())?;
    if args.quiet {
        Ok(())
    } else {
        print(&format!("{} written, {} bytes\n", out.display(), grouped(page.len() as u64)))
    }
}

/// What shows how many rows of how many were read: a bar on a terminal, a line now and then elsewhere.
fn progress(quiet: bool) -> Box<dyn Fn(u64, u64)> {
    if quiet {
        return Box::new(|_, _| {});
    }
    if !std::io::stderr().is_terminal() {
        let said = Cell::new(Instant::now());
        return Box::new(move |done, total| {
            if said.get().elapsed() >= LINE_INTERVAL {
                said.set(Instant::now());
                tell!("{} of {} rows", grouped(done), grouped(total));
            }
        });
    }
    let bar = ProgressBar::new(0);
    let template = "[{bar:30}] {human_pos}/{human_len} rows {per_sec}";
    bar.set_style(ProgressStyle::with_template(template).expect("the template is valid").progress_chars("=> "));
    Box::new(move |done, total| {
        bar.set_length(total);
        bar.set_position(done);
        if done == total {
            bar.finish_and_clear();
        }
    })
}
