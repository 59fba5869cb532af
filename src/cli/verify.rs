//! `gitlode verify`: checks a store, and drops what is damaged when asked.

use std::path::PathBuf;

use serde_json::json;

use super::{Error, grouped, print, printable};
use crate::{
    pipeline::{assemble, purge},
    store::{self, Store, Verified, index::Index},
};

#[derive(clap::Args)]
pub struct Args {
    /// The store.
    store: PathBuf,
    /// Drop damaged batches and those behind them; the next `gitlode mine` makes their rows again.
    #[arg(long)]
    repair: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What became of one repository directory.
struct Checked {
    directory: PathBuf,
    verified: Result<Verified, store::Error>,
    /// Batches that a repair left.
    batches_left: Option<usize>,
}

impl Checked {
    fn identity(&self) -> Option<&str> {
        self.verified.as_ref().ok()?.identity.as_deref()
    }

    fn damage(&self) -> Vec<String> {
        match &self.verified {
            Ok(verified) => verified.damage.iter().map(ToString::to_string).collect(),
            Err(error) => vec![error.to_string()],
        }
    }
}

pub fn run(args: &Args) -> Result<(), Error> {
    if args.repair {
        Store::restore_mark(&args.store)?;
    }
    let mut store = Store::open(&args.store)?;
    if args.repair {
        store = Store::create(&args.store, &|| false)?;
    }
    // What a running process writes belongs to no batch yet.
    let running = store.is_being_written();
    let lost = match Index::read(&store) {
        Some(index) if !running => index.lost_batches(&store)?,
        _ => Vec::new(),
    };
    let mut checked = Vec::new();
    for directory in store.directories()? {
        let verified = store::verify(&directory);
        let batches_left = match &verified {
            Ok(verified) if args.repair && !(verified.damage.is_empty() && verified.remains.is_empty()) => {
                Some(store::repair(&directory, verified)?)
            }
            _ => None,
        };
        checked.push(Checked { directory, verified, batches_left });
    }
    if args.repair {
        Index::rebuild(&store)?;
    }
    let assembled = if running { Ok(()) } else { assemble::verify(&store) };
    let purged = if running { purge::Verified::default() } else { not_purged(&store, &checked)? };
    if args.json {
        print_json(&checked, &lost, &purged)?
    } else {
        print_text(&checked, &lost, running)?
    }
    if let Err(error) = assembled {
        tell!("{}: {error}", super::style("error"));
        tell!("{}: run `gitlode assemble` again", super::style("hint"));
        return Err(Error::Reported(5));
    }
    for wrong in purged.there.iter().chain(&purged.missing) {
        tell!("{}: {}", super::style("error"), printable(wrong));
    }
    if !purged.missing.is_empty() {
        tell!("{}: put opt-outs and receipts back from a copy", super::style("hint"));
    }
    if !purged.there.is_empty() {
        tell!("{}: run `gitlode purge {}`", super::style("hint"), args.store.display());
    }
    if !(purged.there.is_empty() && purged.missing.is_empty()) {
        return Err(Error::Reported(5));
    }
    let unmended = |checked: &&Checked| !checked.damage().is_empty() && checked.batches_left.is_none();
    let unmended = checked.iter().filter(unmended).count() + if args.repair { 0 } else { lost.len() };
    if unmended == 0 {
        return Ok(());
    }
    if !args.json {
        let store = args.store.display();
        tell!("{}: run `gitlode verify {store} --repair`, then mine again", super::style("hint"));
    }
    Err(Error::Reported(5))
}

/// What opt-outs name and is there all the same. A store that is damaged can't be asked.
fn not_purged(store: &Store, checked: &[Checked]) -> Result<purge::Verified, Error> {
    if checked.iter().any(|checked| !checked.damage().is_empty()) {
        return Ok(purge::Verified::default());
    }
    Ok(purge::verify(store, &super::interrupt_flag())?)
}

fn print_json(checked: &[Checked], lost: &[String], purged: &purge::Verified) -> Result<(), Error> {
    let repositories: Vec<_> = checked
        .iter()
        .map(|checked| {
            let (rows, remains) = checked.verified.as_ref().map_or((0, &[][..]), |v| (v.rows, &v.remains[..]));
            json!({
                "directory": checked.directory, "identity": checked.identity(), "rows": rows, "damage": checked.damage(), "remains": remains,
                "batches_left": checked.batches_left,
            })
        })
        .collect();
    print(&format!(
        "{:#}\n",
        json!({
            "repositories": repositories, "lost": lost, "not_purged": purged.there, "opt_outs_missing": purged.missing,
        })
    ))
}

fn print_text(checked: &[Checked], lost: &[String], running: bool) -> Result<(), Error> {
    let mut remains = 0;
    for one in checked {
        for error in one.damage() {
            tell!("{}: {}", super::style("error"), printable(&error));
        }
        let stopped = one.verified.as_ref().map_or(0, |verified| verified.remains.len());
        remains += stopped;
        if let Some(left) = one.batches_left {
            let directory = one.directory.display().to_string();
            print(&format!("{}: mended, {left} batches left\n", printable(&directory)))?;
            if !one.damage().is_empty() {
                let what = one.identity().map_or("its source".into(), printable);
                print(&format!("  mine {what} again to have its rows back\n"))?;
            }
        }
    }
    for lost in lost {
        tell!("{}: {}", super::style("error"), printable(lost));
    }
    if remains > 0 && running {
        print("another gitlode writes to the store; what it has not finished was not checked\n")?;
    } else if remains > 0 {
        print(&format!(
            "{remains} files are of a run that was stopped; the next `gitlode mine` uses or removes them\n"
        ))?;
    }
    let rows = grouped(checked.iter().filter_map(|checked| Some(checked.verified.as_ref().ok()?.rows)).sum());
    let damaged = checked.iter().filter(|checked| !checked.damage().is_empty()).count() + lost.len();
    print(&format!("{} with {rows} rows checked, {damaged} damaged\n", super::repositories(checked.len())))
}
