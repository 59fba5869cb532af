//! `gitlode export`: writes the rows of a store for other programs.

use std::{
    cell::RefCell,
    collections::HashMap,
    ffi::OsStr,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
    thread,
};

use clap::FromArgMatches as _;

use super::{
    Error, counted, formats, grouped, interrupt_flag, memory, print, printable, progress,
    records::{Machines, Materials},
    repositories,
};
use crate::{
    export::{
        self, COMMITPACK_COLUMNS, Compression, Format, Shape, dolma, manifest::Making, split::Splits,
        tokens::Statistics,
    },
    pipeline::{
        assemble,
        changes::Noted,
        export::{Exported, Options, export},
        join::Join,
        progress::Progress,
        recipe::{Other, others, rules},
        redact::Redaction,
    },
    store::{self, Store, rows::COLUMNS},
};

/// Rows are read by one thread, which does not keep more than that busy; and each holds a row group.
const THREADS_MAX: usize = 3;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The store.
    #[arg(required_unless_present = "list")]
    store: Option<PathBuf>,
    /// The directory to write; it must not exist.
    #[arg(required_unless_present = "list")]
    out: Option<PathBuf>,
    /// Print every format and every template with one line and an example.
    #[arg(long)]
    list: bool,
    /// The format.
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    pub format: Format,
    /// How JSON lines are compressed; the other formats are as they have to be.
    #[arg(long, value_enum, default_value_t)]
    compression: Compression,
    /// Splits with their parts of the histories, like train=0.98,validation=0.01,test=0.01. Forks go together.
    #[arg(long, default_value = "train=1", value_delimiter = ',', value_name = "NAME=PART")]
    split: Vec<String>,
    /// Columns (of dolma metadata): all, commitpack (its ten, and what --format commitpack always has), or a list; of sft, kto and dpo
    /// columns behind the fields of the record, by default none.
    #[arg(long, default_value = "all", value_delimiter = ',')]
    columns: Vec<String>,
    /// Fields of a record of sft, kto and dpo; prompt-completion by default.
    #[arg(long, value_enum)]
    pub shape: Option<Shape>,
    /// Template of sft, kto, dpo, tokens and grit's conversations, octocoder by default: a name of `export --list`, or the path of a
    /// file. Of aya: the path of a table.
    #[arg(long, value_name = "NAME|FILE")]
    pub template: Option<String>,
    /// A model's chat template for tokens and for sft, whose shape is text then: a Jinja file, or a tokenizer_config.json.
    #[arg(long, value_name = "FILE")]
    pub chat_template: Option<PathBuf>,
    /// The token that ends a document of tokens; by default the chat template's, or <|endoftext|>.
    #[arg(long, value_name = "TOKEN")]
    pub end_token: Option<String>,
    /// What queries of grit ask for; by default "Given the subject of a commit, retrieve the change that it makes".
    #[arg(long, value_name = "TEXT")]
    pub instruction: Option<String>,
    /// Leave out records of sft, kto, dpo, tokens and aya, and grit's conversations, with more tokens, prompt and completion together;
    /// estimated without --tokenizer.
    #[arg(long, value_name = "N", value_parser = super::at_least_one::<usize>)]
    pub tokens_max: Option<usize>,
    /// Draw the order of the rows by this number and their ids.
    #[arg(long, value_name = "SEED")]
    shuffle: Option<u64>,
    /// Ruleset that rows have to pass: a preset or the path of a file.
    #[arg(long, default_value = "none", value_name = "NAME|FILE")]
    filter: String,
    /// Without the rows that `gitlode assemble` decided against; decides again where the store changed since.
    #[arg(long)]
    assembled: bool,
    /// Refuse unless all repositories were mined with the same rules, tables and other settings; a licence that the list
    /// declares may differ.
    #[arg(long)]
    one_recipe: bool,
    /// Keep the rows that --filter and --assembled drop, with the rule as an attribute; of dolma.
    #[arg(long)]
    tag_dropped: bool,
    /// JSON lines, Arrow or Parquet file of further columns, keyed by `id`; rules see them as column.NAME.
    #[arg(long, value_name = "FILE")]
    join: Option<PathBuf>,
    /// Size in bytes after which a new shard begins; of JSON lines before compression.
    #[arg(long, default_value_t = 500_000_000, value_name = "BYTES", value_parser = super::at_least_one::<u64>)]
    shard_bytes_max: u64,
    /// Threads that encode Parquet; as many as there are cores by default, 3 at most. They show in no byte.
    #[arg(long, short = 'j', value_name = "N", value_parser = super::threads)]
    threads: Option<usize>,
    /// No progress.
    #[arg(long, short)]
    quiet: bool,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
}

impl Args {
    /// Those of an export of `store` to `out` with everything else as `command` has it by default.
    pub fn parse(
        command: &clap::Command,
        [store, out]: [&Path; 2],
        format: &str,
        [json, quiet]: [bool; 2],
    ) -> Result<Self, Error> {
        let mut arguments: Vec<&OsStr> = ["gitlode", "export"].map(OsStr::new).to_vec();
        arguments.extend(json.then_some(OsStr::new("--json")));
        arguments.extend(quiet.then_some(OsStr::new("--quiet")));
        arguments.extend([OsStr::new("--format"), OsStr::new(format), OsStr::new("--")]);
        arguments.extend([store.as_os_str(), out.as_os_str()]);
        let usage = |error: clap::Error| Error::Usage(error.to_string());
        let matches = command.clone().try_get_matches_from(arguments).map_err(usage)?;
        let of_export = matches.subcommand_matches("export").expect("that is the subcommand");
        Args::from_arg_matches(of_export).map_err(usage)
    }

    /// Finds what is wrong with them as far as it shows without rows.
    pub fn check(&self) -> Result<(), Error> {
        let columns = columns(self)?;
        let splits = Splits::parse(&self.split).map_err(Error::Usage)?;
        if self.compression != Compression::None && !self.format.is_json() {
            return Err(Error::Usage(
                "--compression is for JSON lines: Parquet is compressed, Arrow must not be".into(),
            ));
        }
        if self.tag_dropped && self.format != Format::Dolma {
            return Err(Error::Usage("--tag-dropped is for --format dolma, which has attributes".into()));
        }
        if let (Some(store), Some(out)) = (&self.store, &self.out) {
            check_place(store, out)?;
        }
        rules(&self.filter)?;
        Machines::new(self, &Materials::read(self)?, &columns, &splits.names()).map(|_| ())
    }
}

/// Refuses what is there already, and a place within the store, whose directories are `gitlode`'s own.
fn check_place(store: &Path, out: &Path) -> Result<(), Error> {
    if out.exists() {
        return Err(Error::Usage(format!("{} exists already; name a new directory", out.display())));
    }
    let Ok(store) = store.canonicalize() else { return Ok(()) };
    let out = std::path::absolute(out).unwrap_or_else(|_| out.to_owned());
    let parent = out.ancestors().find_map(|parent| parent.canonicalize().ok());
    if parent.is_some_and(|parent| parent.starts_with(&store)) {
        return Err(Error::Usage(format!("{} is within the store; name a directory elsewhere", out.display())));
    }
    Ok(())
}

pub fn run(args: &Args) -> Result<(), Error> {
    if args.list {
        return formats::list();
    }
    let (Some(store_path), Some(out)) = (&args.store, &args.out) else {
        return Err(Error::Usage("name a store and a directory to write".into()));
    };
    args.check()?;
    let interrupt = interrupt_flag();
    let progress = progress::of_rows(args.quiet);
    let exported = match args.write(&Store::open(store_path)?, out, &interrupt, &*progress, None) {
        Err(Error::Reported(130)) => {
            tell!("interrupted: nothing is left of the export");
            return Err(Error::Reported(130));
        }
        result => result?,
    };
    if args.json {
        return print(&format!("{:#}\n", serde_json::json!(exported)));
    }
    let splits = Splits::parse(&args.split).map_err(Error::Usage)?;
    print(&summary(&exported, &splits.names(), out))
}

impl Args {
    /// Whether rows stay out that `gitlode assemble` decided against.
    pub(super) fn is_assembled(&self) -> bool {
        self.assembled
    }

    /// Writes the rows of `store` to `out`, tells `progress` how far it is, and lets `noted` know of the rows.
    pub(super) fn write(
        &self,
        store: &Store,
        out: &Path,
        interrupt: &AtomicBool,
        progress: Progress<'_>,
        noted: Option<&RefCell<Noted>>,
    ) -> Result<Exported, Error> {
        if out.exists() {
            return Err(Error::Usage(format!("{} exists already; name a new directory", out.display())));
        }
        if self.one_recipe {
            check_recipes(store)?;
        }
        let columns = columns(self)?;
        let splits = Splits::parse(&self.split).map_err(Error::Usage)?;
        let names = splits.names();
        let materials = Materials::read(self)?;
        let machines = Machines::new(self, &materials, &columns, &names)?;
        let rules = rules(&self.filter)?;
        let join = self.join.as_deref().map(Join::read).transpose()?;
        let (removed, assembled) = match self.assembled {
            true => removed(store, interrupt).map(|(removed, options)| (removed, Some(options)))?,
            false => (HashMap::new(), None),
        };
        let redaction = assembled.as_ref().map(|options| Redaction::new(options.redact, options.secrets.as_deref()));
        let redaction = redaction.transpose().map_err(assemble::Error::Redact)?;
        let assembly = assembled.map(|options| serde_json::json!(options));
        let threads = self.threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
        let written = export::Options {
            format: self.format,
            // Dolma knows compressed files only.
            compression: match (self.format, self.compression) {
                (Format::Dolma, Compression::None) => Compression::Gzip,
                (_, compression) => compression,
            },
            columns: &columns,
            shape: materials.shape(self.format),
            width: materials.width(),
            shuffle: self.shuffle,
            shard_bytes_max: self.shard_bytes_max,
            splits: &names,
            threads: threads.clamp(1, THREADS_MAX),
            interrupt,
        };
        let options = Options {
            written,
            splits: &splits,
            removed: &removed,
            assembly: assembly.as_ref(),
            redaction: redaction.as_ref(),
            rules: &rules,
            join: join.as_ref(),
            tag_dropped: self.tag_dropped,
            maker: machines.maker(self, &materials, &columns),
            noted,
            progress,
        };
        if let Some(noted) = noted {
            let made = (env!("CARGO_PKG_VERSION"), format!("{self:?}"), rules.digest(), &assembly);
            noted.borrow_mut().settle(&serde_json::json!(made).to_string());
        }
        let exported = match export(store, out, &options) {
            Err(error) if error.is_interruption() => return Err(Error::Reported(130)),
            // Nothing goes on where it was: an export is whole or it is not there.
            Err(export::Error::Store(store::Error::Io { path, source })) => {
                return Err(export::Error::Io { path, source }.into());
            }
            Err(export::Error::Store(error)) => return Err(error.into()),
            result => result?,
        };
        super::filters::warn_of_failures(&rules);
        Ok(exported)
    }
}

/// Repositories that a refusal names.
const NAMED_MAX: usize = 20;

/// Refuses a store whose repositories were not all mined with the same settings.
fn check_recipes(store: &Store) -> Result<(), Error> {
    let others = others(&store.batches()?);
    if others.is_empty() {
        return Ok(());
    }
    let line = |other: &Other| format!("\n  {}: {}", printable(&other.repository), other.settings.join(", "));
    let lines: String = others.iter().take(NAMED_MAX).map(line).collect();
    let more = others.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!("\n  and {} more", grouped(more as u64)) } else { String::new() };
    Err(Error::Usage(format!(
        "mined with other settings than most, which --one-recipe does not allow: {}{lines}{more}\n\
         mine them again with `gitlode mine --replace`; where only rules or tables changed under their names, `gitlode mine` and\n\
         `gitlode watch` do so by themselves",
        repositories(others.len())
    )))
}

/// The columns, in order.
fn columns(args: &Args) -> Result<Vec<&str>, Error> {
    let columns: Vec<&str> = match (args.format, &args.columns.iter().map(String::as_str).collect::<Vec<_>>()[..]) {
        (Format::Commitpack, ["all"]) | (_, ["commitpack"]) => COMMITPACK_COLUMNS.to_vec(),
        (Format::Commitpack, _) => {
            return Err(Error::Usage("--format commitpack has CommitPack's columns; use jsonl for others".into()));
        }
        (format, ["all"]) if format.is_of_trainer() || !format.has_columns() => Vec::new(),
        (format, _) if !format.has_columns() => {
            return Err(Error::Usage(
                "--columns is not for this format, whose fields are all that its reader takes".into(),
            ));
        }
        (Format::Dolma, ["all"]) => COLUMNS.iter().copied().filter(|name| !dolma::TEXTS.contains(name)).collect(),
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

/// Which forks may lack rows.
pub fn incomplete(exported: &Exported) -> Option<String> {
    let names = exported.incomplete.join(", ");
    let what = "rows may be missing of forks whose root was mined anew since; mine them again";
    (!names.is_empty()).then(|| format!("{what}: {names}"))
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
    if let Some(masked) = &exported.masked {
        text.push_str(&super::assemble::masked_table(masked));
    }
    if exported.rows_of_several_splits > 0 {
        text.push_str(&format!(
            "{} rows are in repositories that are mostly in another split, where their own history begins\n",
            grouped(exported.rows_of_several_splits)
        ));
    }
    if let Some(incomplete) = incomplete(exported) {
        text += &format!("{incomplete}\n");
    }
    for (rule, rows) in &exported.changes.dropped {
        text.push_str(&format!("dropped: {rule} {}\n", grouped(*rows)));
    }
    let Some(making) = &exported.making else { return text };
    let training = match making {
        Making::Training(training) => training,
        Making::Dolma(tagged) => {
            for (rule, rows) in &tagged.verdicts {
                text.push_str(&format!("tagged: {rule} {}\n", grouped(*rows)));
            }
            return text;
        }
        Making::Aya(_) | Making::Provenance(_) => return text,
        Making::Tokens(tokenized) => {
            let Statistics { tokens, trainable_tokens, .. } = tokenized.statistics;
            text.push_str(&format!("{} tokens, {} of them trained on\n", grouped(tokens), grouped(trainable_tokens)));
            return text;
        }
        Making::Embedding(embedded) => {
            text.push_str(&format!("{}\n", embedded.sentence()));
            let Some(generative) = &embedded.generative else { return text };
            text.push_str(&format!("conversations: {}\n", grouped(generative.rows)));
            for (rule, rows) in &generative.dropped {
                text.push_str(&format!("without a conversation: {rule} {}\n", grouped(*rows)));
            }
            &generative.training
        }
    };
    if training.tokenizer.as_deref() == Some("estimate") {
        text.push_str("tokens were estimated: --tokenizer counts them\n");
    }
    if let Some(classes) = &training.classes {
        text.push_str(&format!("{}\n", classes.sentence()));
    }
    if let Some(pairs) = &training.pairs {
        let pairs: Vec<String> = pairs.iter().map(|(why, pairs)| format!("{why} {}", grouped(*pairs))).collect();
        text.push_str(&format!("pairs: {}\n", if pairs.is_empty() { "none".to_owned() } else { pairs.join(", ") }));
    }
    text
}

/// Ids of the rows that were decided against, each with the rule, and the options of who decided.
type Removed = (HashMap<String, String>, assemble::Options);

fn removed(store: &Store, interrupt: &AtomicBool) -> Result<Removed, Error> {
    let Some(assembly) = assemble::read(store)? else {
        let advice = format!("nothing was decided yet: run `gitlode assemble {}` first", store.root().display());
        return Err(Error::Usage(advice));
    };
    if assemble::is_current(store, &assembly, &assembly.options)? {
        return Ok((assemble::removed(store, &assembly)?, assembly.options));
    }
    let store = Store::create(store.root(), &|| false)?;
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let means = assemble::Means { threads, memory: memory::default(), interrupt, say: &|_| {} };
    let assembly = assemble::assemble(&store, &assembly.options, means)?;
    Ok((assemble::removed(&store, &assembly)?, assembly.options))
}
