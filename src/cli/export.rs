//! `gitlode export`: writes the rows of a store for other programs.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use super::{Error, counted, grouped, interrupt_flag, print};
use crate::{
    pipeline::{
        assemble,
        export::{COMMITPACK_COLUMNS, Options, export_jsonl},
        join::Join,
        recipe::rules,
    },
    store::{self, Store, rows::COLUMNS},
};

#[derive(clap::Args)]
pub struct Args {
    /// The store.
    store: PathBuf,
    /// The directory to write; it must not exist.
    out: PathBuf,
    /// The format.
    #[arg(long, default_value = "jsonl", value_parser = ["jsonl"])]
    format: String,
    /// Columns: all, commitpack (its ten), or a list.
    #[arg(long, default_value = "all", value_delimiter = ',')]
    columns: Vec<String>,
    /// Ruleset that rows have to pass: a preset or the path of a file.
    #[arg(long, default_value = "none", value_name = "NAME|FILE")]
    filter: String,
    /// Without the rows that `gitlode assemble` decided against; decides again where the store changed since.
    #[arg(long)]
    assembled: bool,
    /// JSON lines, Arrow or Parquet file of further columns, keyed by `id`; rules see them as column.NAME.
    #[arg(long, value_name = "FILE")]
    join: Option<PathBuf>,
    /// Size in bytes after which a new shard begins.
    #[arg(long, default_value_t = 500_000_000, value_name = "BYTES")]
    shard_bytes_max: u64,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<(), Error> {
    let columns: Vec<&str> = match args.columns.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["all"] => COLUMNS.to_vec(),
        ["commitpack"] => COMMITPACK_COLUMNS.to_vec(),
        ref names => names.to_vec(),
    };
    if let Some(unknown) = columns.iter().find(|name| !COLUMNS.contains(name)) {
        return Err(Error::Usage(format!("there is no column {unknown}; there are: {}", COLUMNS.join(", "))));
    }
    if let Some((_, twice)) = columns.iter().enumerate().find(|(at, name)| columns[..*at].contains(name)) {
        return Err(Error::Usage(format!("the column {twice} is named twice")));
    }
    if args.out.exists() {
        return Err(Error::Usage(format!("{} exists already; name a new directory", args.out.display())));
    }
    let rules = rules(&args.filter)?;
    let join = args.join.as_deref().map(Join::read).transpose()?;
    let store = Store::open(&args.store)?;
    let interrupt = interrupt_flag();
    let removed = if args.assembled { removed(&store, &args.store, &interrupt)? } else { HashMap::new() };
    let options = Options {
        removed: &removed,
        columns: &columns,
        shard_bytes_max: args.shard_bytes_max,
        rules: &rules,
        join: join.as_ref(),
        interrupt: &interrupt,
    };
    let exported = match export_jsonl(&store, &args.out, &options) {
        Err(store::Error::Interrupted) => {
            anstream::eprintln!("interrupted: nothing is left of the export");
            return Err(Error::Reported(130));
        }
        result => result?,
    };
    if args.json {
        return print(&format!("{:#}\n", serde_json::json!(exported)));
    }
    print(&format!(
        "{} of {} rows in {} under {}\n",
        grouped(exported.changes.kept),
        grouped(exported.changes.candidates),
        counted(exported.shards.len(), "shard", "shards"),
        args.out.display()
    ))
}

/// Ids of the rows that were decided against, each with the rule.
fn removed(store: &Store, path: &Path, interrupt: &AtomicBool) -> Result<HashMap<String, String>, Error> {
    let Some(assembly) = assemble::read(store)? else {
        let advice = format!("nothing was decided yet: run `gitlode assemble {}` first", path.display());
        return Err(Error::Usage(advice));
    };
    if assemble::is_current(store, &assembly, &assembly.options)? {
        return Ok(assemble::removed(store, &assembly)?);
    }
    let store = Store::create(path, &|| false)?;
    let assembly = assemble::assemble(&store, &assembly.options, interrupt, &|_| {})?;
    Ok(assemble::removed(&store, &assembly)?)
}
