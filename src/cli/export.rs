//! `gitlode export`: writes the rows of a store for other programs.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
    thread,
};

use super::{Error, counted, grouped, interrupt_flag, print};
use crate::{
    export::{self, COMMITPACK_COLUMNS, Compression, Format, split::Splits},
    pipeline::{
        assemble,
        export::{Exported, Options, export},
        join::Join,
        recipe::rules,
    },
    store::{Store, rows::COLUMNS},
};

/// Rows are read by one thread, which does not keep more than that busy; and each holds a row group.
const THREADS_MAX: usize = 3;

#[derive(clap::Args)]
pub struct Args {
    /// The store.
    store: PathBuf,
    /// The directory to write; it must not exist.
    out: PathBuf,
    /// The format.
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
    /// How JSON lines are compressed; the other formats are as they have to be.
    #[arg(long, value_enum, default_value_t)]
    compression: Compression,
    /// Splits with their parts of the repositories, like train=0.98,validation=0.01,test=0.01.
    #[arg(long, default_value = "train=1", value_delimiter = ',', value_name = "NAME=PART")]
    split: Vec<String>,
    /// Columns: all, commitpack (its ten, and what --format commitpack always has), or a list.
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
    /// Size in bytes after which a new shard begins; of JSON lines before compression.
    #[arg(long, default_value_t = 500_000_000, value_name = "BYTES")]
    shard_bytes_max: u64,
    /// Threads that encode Parquet; as many as there are cores by default, 3 at most. They show in no byte.
    #[arg(long, short = 'j', value_name = "N")]
    threads: Option<usize>,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<(), Error> {
    let columns = columns(args)?;
    let splits = Splits::parse(&args.split).map_err(Error::Usage)?;
    if args.compression != Compression::None && !matches!(args.format, Format::Jsonl | Format::Commitpack) {
        return Err(Error::Usage("--compression is for JSON lines: Parquet is compressed, Arrow must not be".into()));
    }
    if args.out.exists() {
        return Err(Error::Usage(format!("{} exists already; name a new directory", args.out.display())));
    }
    let rules = rules(&args.filter)?;
    let join = args.join.as_deref().map(Join::read).transpose()?;
    let store = Store::open(&args.store)?;
    let interrupt = interrupt_flag();
    let (removed, assembly) =
        if args.assembled { removed(&store, &args.store, &interrupt)? } else { (HashMap::new(), None) };
    let threads = args.threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    let names = splits.names();
    let written = export::Options {
        format: args.format,
        compression: args.compression,
        columns: &columns,
        shard_bytes_max: args.shard_bytes_max,
        splits: &names,
        threads: threads.clamp(1, THREADS_MAX),
        interrupt: &interrupt,
    };
    let options = Options {
        written,
        splits: &splits,
        removed: &removed,
        assembly: assembly.as_ref(),
        rules: &rules,
        join: join.as_ref(),
    };
    let exported = match export(&store, &args.out, &options) {
        Err(error) if error.is_interruption() => {
            anstream::eprintln!("interrupted: nothing is left of the export");
            return Err(Error::Reported(130));
        }
        Err(export::Error::Store(error)) => return Err(error.into()),
        result => result?,
    };
    if args.json {
        return print(&format!("{:#}\n", serde_json::json!(exported)));
    }
    print(&summary(&exported, &names, &args.out))
}

/// The columns, in order.
fn columns(args: &Args) -> Result<Vec<&str>, Error> {
    let columns: Vec<&str> = match (args.format, &args.columns.iter().map(String::as_str).collect::<Vec<_>>()[..]) {
        (Format::Commitpack, ["all"]) | (_, ["commitpack"]) => COMMITPACK_COLUMNS.to_vec(),
        (Format::Commitpack, _) => {
            return Err(Error::Usage("--format commitpack has CommitPack's columns; use jsonl for others".into()));
        }
        (_, ["all"]) => COLUMNS.to_vec(),
        (_, names) => names.to_vec(),
    };
    if let Some(unknown) = columns.iter().find(|name| !COLUMNS.contains(name)) {
        return Err(Error::Usage(format!("there is no column {unknown}; there are: {}", COLUMNS.join(", "))));
    }
    if let Some((_, twice)) = columns.iter().enumerate().find(|(at, name)| columns[..*at].contains(name)) {
        return Err(Error::Usage(format!("the column {twice} is named twice")));
    }
    Ok(columns)
}

fn summary(exported: &Exported, splits: &[&str], out: &Path) -> String {
    let mut text = format!(
        "{} of {} rows in {} under {}\n",
        grouped(exported.changes.kept),
        grouped(exported.changes.candidates),
        counted(exported.shards.len(), "shard", "shards"),
        out.display()
    );
    if splits.len() > 1 {
        let rows = |name: &&str| format!("{name} {}", grouped(exported.splits.get(*name).copied().unwrap_or(0)));
        text.push_str(&format!("{}\n", splits.iter().map(rows).collect::<Vec<_>>().join(", ")));
    }
    if exported.rows_of_several_splits > 0 {
        text.push_str(&format!(
            "{} rows are in repositories of several splits; they are in the split of the first\n",
            grouped(exported.rows_of_several_splits)
        ));
    }
    text
}

/// Ids of the rows that were decided against, each with the rule, and the options of who decided.
type Removed = (HashMap<String, String>, Option<serde_json::Value>);

fn removed(store: &Store, path: &Path, interrupt: &AtomicBool) -> Result<Removed, Error> {
    let Some(assembly) = assemble::read(store)? else {
        let advice = format!("nothing was decided yet: run `gitlode assemble {}` first", path.display());
        return Err(Error::Usage(advice));
    };
    if assemble::is_current(store, &assembly, &assembly.options)? {
        return Ok((assemble::removed(store, &assembly)?, Some(serde_json::json!(assembly.options))));
    }
    let store = Store::create(path, &|| false)?;
    let assembly = assemble::assemble(&store, &assembly.options, interrupt, &|_| {})?;
    Ok((assemble::removed(&store, &assembly)?, Some(serde_json::json!(assembly.options))))
}
