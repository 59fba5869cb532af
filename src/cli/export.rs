//! `gitlode export`: writes the rows of a store for other programs.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
    thread,
};

use clap::ValueEnum as _;
use serde_json::json;

use super::{Error, counted, grouped, interrupt_flag, memory, print};
use crate::{
    dedup::near::SIMILARITY_MIN,
    export::{
        self, COMMITPACK_COLUMNS, Compression, Format, Shape,
        aya::{self, Aya, Templated},
        dolma,
        embedding::{self, Embedded, Embedding, Generative},
        manifest::Making,
        split::Splits,
        template::{Chat, TEMPLATES, Template},
        tokens::{Statistics, Tokenized, Tokens, Vocabulary, Width},
        trainer::{Budget, Trainer, Training},
    },
    filter::tokens,
    pipeline::{
        assemble,
        export::{Exported, Options, export},
        join::Join,
        known::Maker,
        recipe::rules,
        redact::Redaction,
    },
    store::{Store, rows::COLUMNS},
};

/// Rows are read by one thread, which does not keep more than that busy; and each holds a row group.
const THREADS_MAX: usize = 3;

#[derive(clap::Args)]
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
    format: Format,
    /// How JSON lines are compressed; the other formats are as they have to be.
    #[arg(long, value_enum, default_value_t)]
    compression: Compression,
    /// Splits with their parts of the repositories, like train=0.98,validation=0.01,test=0.01.
    #[arg(long, default_value = "train=1", value_delimiter = ',', value_name = "NAME=PART")]
    split: Vec<String>,
    /// Columns (of dolma metadata): all, commitpack (its ten, and what --format commitpack always has), or a list; of sft, kto and dpo
    /// columns behind the fields of the record, by default none.
    #[arg(long, default_value = "all", value_delimiter = ',')]
    columns: Vec<String>,
    /// Fields of a record of sft, kto and dpo; prompt-completion by default.
    #[arg(long, value_enum)]
    shape: Option<Shape>,
    /// Template of sft, kto, dpo and grit's conversations, octocoder by default: a name of `export --list`, or the path of a file.
    #[arg(long, value_name = "NAME|FILE")]
    template: Option<String>,
    /// A model's chat template for `--format sft --shape text`: a Jinja file, or a tokenizer_config.json.
    #[arg(long, value_name = "FILE")]
    chat_template: Option<PathBuf>,
    /// The token that ends a document of tokens; by default the chat template's, or <|endoftext|>.
    #[arg(long, value_name = "TOKEN")]
    end_token: Option<String>,
    /// What queries of grit ask for.
    #[arg(long, default_value = embedding::INSTRUCTION, value_name = "TEXT")]
    instruction: String,
    /// Leave out records of sft, kto and dpo, and grit's conversations, with more tokens, prompt and completion together; estimated without
    /// --tokenizer.
    #[arg(long, value_name = "N")]
    tokens_max: Option<usize>,
    /// Draw the order of the rows by this number and their ids.
    #[arg(long, value_name = "SEED")]
    shuffle: Option<u64>,
    /// Ruleset that rows have to pass: a preset or the path of a file.
    #[arg(long, default_value = "none", value_name = "NAME|FILE")]
    filter: String,
    /// Without the rows that `gitlode assemble` decided against; decides again where the store changed since.
    #[arg(long)]
    assembled: bool,
    /// Keep the rows that --filter and --assembled drop, with the rule as an attribute; of dolma.
    #[arg(long)]
    tag_dropped: bool,
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
    if args.list {
        return list();
    }
    let (Some(store_path), Some(out)) = (&args.store, &args.out) else {
        return Err(Error::Usage("name a store and a directory to write".into()));
    };
    let columns = columns(args)?;
    let splits = Splits::parse(&args.split).map_err(Error::Usage)?;
    if args.compression != Compression::None && !args.format.is_json() {
        return Err(Error::Usage("--compression is for JSON lines: Parquet is compressed, Arrow must not be".into()));
    }
    if args.tag_dropped && args.format != Format::Dolma {
        return Err(Error::Usage("--tag-dropped is for --format dolma, which has attributes".into()));
    }
    if out.exists() {
        return Err(Error::Usage(format!("{} exists already; name a new directory", out.display())));
    }
    let parts = Parts::read(args)?;
    let trainer = parts.as_ref().map(|parts| parts.trainer(args, &columns)).transpose()?;
    let embedding = Embedding::new(args.format, &args.instruction, trainer.as_ref());
    let embedded = embedded(args, parts.as_ref());
    let set = match args.format {
        Format::Aya => Some(aya::Set::find(args.template.as_deref())?),
        _ => None,
    };
    let names = splits.names();
    let special = tokens::special();
    let budget = args.tokens_max.map(|tokens_max| Budget { tokens_max, count: tokens::count_joined });
    let aya = set.as_ref().map(|set| Aya::new(set, &names, &special, budget)).transpose().map_err(Error::Usage)?;
    let digest = set.as_ref().map(|set| set.digest.clone()).unwrap_or_default();
    let templated = Templated { templates_digest: digest, tokens_max: args.tokens_max, templates: BTreeMap::new() };
    let tokenized = parts.as_ref().filter(|_| args.format == Format::Tokens).map(|parts| parts.tokenized(args));
    let tokenized = tokenized.transpose()?;
    let tokens = tokenized.as_ref().zip(trainer.as_ref()).map(|(tokenized, trainer)| {
        let end = (tokenized.end_token.as_str(), tokenized.end_token_id);
        Tokens::new(trainer, Vocabulary { encode: tokens::encode, end })
    });
    let rules = rules(&args.filter)?;
    let join = args.join.as_deref().map(Join::read).transpose()?;
    let store = Store::open(store_path)?;
    let interrupt = interrupt_flag();
    let (removed, assembled) = match args.assembled {
        true => removed(&store, store_path, &interrupt).map(|(removed, options)| (removed, Some(options)))?,
        false => (HashMap::new(), None),
    };
    let redaction = assembled.as_ref().map(|options| Redaction::new(options.redact, options.secrets.as_deref()));
    let redaction = redaction.transpose().map_err(assemble::Error::Redact)?;
    let assembly = assembled.map(|options| serde_json::json!(options));
    let threads = args.threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    let names = splits.names();
    let written = export::Options {
        format: args.format,
        // Dolma knows compressed files only.
        compression: match (args.format, args.compression) {
            (Format::Dolma, Compression::None) => Compression::Gzip,
            (_, compression) => compression,
        },
        columns: &columns,
        shape: parts.as_ref().filter(|_| args.format.is_of_trainer()).map(|parts| parts.training.shape),
        width: tokenized.as_ref().map(|tokenized| tokenized.dtype),
        shuffle: args.shuffle,
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
        redaction: redaction.as_ref(),
        rules: &rules,
        join: join.as_ref(),
        tag_dropped: args.tag_dropped,
        maker: match (&trainer, &parts) {
            _ if aya.is_some() => aya.as_ref().map(|aya| Maker::Aya(aya, &templated)),
            _ if tokens.is_some() => {
                tokens.as_ref().zip(tokenized.as_ref()).map(|(tokens, how)| Maker::Tokens(tokens, how))
            }
            _ if args.format == Format::Dolma => Some(Maker::Dolma(&columns)),
            _ if args.format.is_of_embedding() => Some(Maker::Embedding(&embedding, &embedded)),
            (Some(trainer), Some(parts)) => Some(Maker::Training(trainer, &parts.training)),
            _ => None,
        },
    };
    let exported = match export(&store, out, &options) {
        Err(error) if error.is_interruption() => {
            anstream::eprintln!("interrupted: nothing is left of the export");
            return Err(Error::Reported(130));
        }
        Err(export::Error::Store(error)) => return Err(error.into()),
        result => result?,
    };
    super::filters::warn_of_failures(&rules);
    if args.json {
        return print(&format!("{:#}\n", serde_json::json!(exported)));
    }
    print(&summary(&exported, &names, out))
}

fn embedded(args: &Args, parts: Option<&Parts>) -> Embedded {
    let generative = |parts: &Parts| Generative { training: parts.training.clone(), rows: 0, dropped: BTreeMap::new() };
    Embedded {
        instruction: (args.format == Format::Grit).then(|| args.instruction.clone()),
        similarity_max: SIMILARITY_MIN,
        negatives: BTreeMap::new(),
        generative: parts.map(generative),
    }
}

/// What makes records of rows by a template.
struct Parts {
    template: Template,
    chat: Option<Chat>,
    training: Training,
}

impl Parts {
    /// Reads the template and what goes with it; none for a format without records.
    fn read(args: &Args) -> Result<Option<Self>, Error> {
        if !args.format.has_template() {
            let only = [
                ("--shape", args.shape.is_some()),
                ("--template", args.template.is_some() && args.format != Format::Aya),
                ("--chat-template", args.chat_template.is_some()),
                ("--tokens-max", args.tokens_max.is_some() && args.format != Format::Aya),
            ];
            return match only.iter().find(|(_, is_given)| *is_given) {
                Some((name, _)) => {
                    Err(Error::Usage(format!("{name} is for --format sft, kto, dpo, grit, tokens and aya")))
                }
                None => Ok(None),
            };
        }
        if args.format == Format::Grit && (args.shape.is_some() || args.chat_template.is_some()) {
            return Err(Error::Usage(
                "GritLM makes texts of conversations itself: no --shape, no --chat-template".into(),
            ));
        }
        if args.format == Format::Tokens && args.shape.is_some() {
            return Err(Error::Usage("tokens are of one text: --shape is for sft, kto and dpo".into()));
        }
        let template = Template::find(args.template.as_deref().unwrap_or("octocoder"))?;
        let chat = args.chat_template.as_deref().map(Chat::read).transpose()?;
        let tokenizer = || tokens::digest().unwrap_or("estimate").to_owned();
        let training = Training {
            shape: args.shape.unwrap_or(if chat.is_some() || args.format == Format::Tokens {
                Shape::Text
            } else {
                Shape::PromptCompletion
            }),
            template: template.id.clone(),
            template_digest: template.digest.clone(),
            edit: template.edit,
            chat_template_digest: chat.as_ref().map(|chat| chat.digest.clone()),
            tokens_max: args.tokens_max,
            tokenizer: (args.tokens_max.is_some() || args.format == Format::Tokens).then(tokenizer),
            classes: None,
            pairs: None,
        };
        Ok(Some(Parts { template, chat, training }))
    }

    fn tokenized(&self, args: &Args) -> Result<Tokenized, Error> {
        let usage = |reason: &str| Error::Usage(reason.to_owned());
        let (Some(file), Some(id_max)) = (tokens::file(), tokens::id_max()) else {
            return Err(usage("--format tokens needs the model's tokenizer: --tokenizer FILE"));
        };
        let of_chat = self.chat.as_ref().map(|chat| chat.end.clone()).filter(|end| !end.is_empty());
        let end_token = args.end_token.clone().or(of_chat).unwrap_or_else(|| END_TOKEN.to_owned());
        let Some(end_token_id) = tokens::id(&end_token) else {
            return Err(usage(&format!(
                "the tokenizer has no token {end_token}: --end-token names the one that ends a document"
            )));
        };
        let mut config = json!({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": end_token});
        if let Some(chat) = &self.chat {
            config["chat_template"] = json!(chat.source);
        }
        let given = self.chat.as_ref().and_then(|chat| chat.config.clone());
        let config = given.unwrap_or_else(|| format!("{config:#}\n"));
        Ok(Tokenized {
            training: self.training.clone(),
            dtype: Width::of(id_max),
            vocabulary: u64::from(id_max) + 1,
            end_token,
            end_token_id,
            statistics: Statistics::default(),
            repositories: BTreeMap::new(),
            tokenizer_files: vec![
                ("tokenizer.json".to_owned(), file.to_vec()),
                ("tokenizer_config.json".to_owned(), config.into_bytes()),
            ],
        })
    }

    fn trainer<'a>(&'a self, args: &Args, columns: &'a [&'a str]) -> Result<Trainer<'a>, Error> {
        let budget = args.tokens_max.map(|tokens_max| Budget { tokens_max, count: tokens::count_joined });
        // GritLM's conversations are prompts with completions.
        let shape = if args.format.is_of_trainer() { args.format } else { Format::Sft };
        let shape = (shape, self.training.shape);
        let trainer = Trainer::new(shape, columns, &self.template, self.chat.as_ref(), tokens::special(), budget);
        trainer.map_err(Error::Usage)
    }
}

/// What ends a text in the vocabularies of GPT-2, StarCoder and OLMo.
const END_TOKEN: &str = "<|endoftext|>";

/// Letters of an example in a list.
const EXAMPLE_CHARS: usize = 150;

/// Every format and every template, with an example.
fn list() -> Result<(), Error> {
    let short = |text: String, chars: usize| match text.char_indices().nth(chars) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    };
    let mut text = String::from("Formats (--format):\n");
    for format in Format::value_variants() {
        let Some(value) = format.to_possible_value() else { continue };
        let help = value.get_help().map(ToString::to_string).unwrap_or_default();
        text.push_str(&format!(
            "\n  {:<12}{help}\n  {:<12}{}\n",
            value.get_name(),
            "",
            short(example(*format), EXAMPLE_CHARS)
        ));
    }
    text.push_str("\nTemplates of sft, kto and dpo (--template), with what they make of a small change:\n");
    for (name, _) in TEMPLATES {
        let template = Template::find(name)?;
        let [prompt, completion] = [&template.example.prompt, &template.example.completion]
            .map(|text| short(json!(text).to_string(), EXAMPLE_CHARS / 2));
        text.push_str(&format!("\n  {name}\n    {}\n    {prompt} → {completion}\n", template.why));
    }
    print(&text)
}

/// What a row or record looks like.
fn example(format: Format) -> String {
    let (prompt, chosen, rejected) = ("Question: Return the sum\n…", "\nreturn a + b", "\nreturn a - b");
    let row = || {
        let row = json!({"id": "…", "commit": "…", "old_file": "add.py", "new_file": "add.py", "old_contents": "…",
            "new_contents": "…", "subject": "Return the sum", "diff": "@@ -1,2 +1,2 @@\n…"});
        let columns: Vec<&str> = match format {
            Format::Commitpack => COMMITPACK_COLUMNS.to_vec(),
            _ => COLUMNS.to_vec(),
        };
        let fields = columns.into_iter().filter(|name| !row[*name].is_null());
        format!(
            "{{{}, …}}",
            fields.map(|name| format!("{}: {}", json!(name), row[name])).collect::<Vec<_>>().join(", ")
        )
    };
    match format {
        Format::Jsonl | Format::Hf | Format::Arrow | Format::Commitpack => row(),
        Format::Grit => {
            json!({"query": [embedding::INSTRUCTION, "Return the sum"], "pos": [["", "@@ …"]], "neg": [["", "@@ …"]]})
                .to_string()
        }
        Format::Aya => r#"{"id": "…", "inputs": "Die Datei add.py soll geändert werden: Gib die Summe zurück …", "targets": "@@ …", "language": "deu", "script": "Latn", …}"#.to_owned(),
        Format::Tokens => "token_ids_part_0000.npy: 15 2891 …, labels_mask_part_0000.npy: 0 1 …, token_ids_part_0000.csv.gz: 0,412,<id>,owner/name,1".to_owned(),
        Format::Dolma => r#"{"id": "…", "text": "Return the sum\n\ndiff --git …", "source": "gitlode", …} {"id": "…", "attributes": {"gitlode__lang__python": [[0, 140, 1.0]], …}}"#.to_owned(),
        Format::SentenceTransformers => {
            r#"{"anchor": "Return the sum", "positive": "@@ …", "negative": "@@ …"}"#.to_owned()
        }
        Format::Sft => format!("{{\"prompt\": {}, \"completion\": {}}}", json!(prompt), json!(chosen)),
        Format::Kto => {
            format!("{{\"prompt\": {}, \"completion\": {}, \"label\": false}}", json!(prompt), json!(rejected))
        }
        Format::Dpo => format!(
            "{{\"prompt\": {}, \"chosen\": {}, \"rejected\": {}}}",
            json!(prompt),
            json!(chosen),
            json!(rejected)
        ),
    }
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
            "{} rows are in repositories of several splits; they are in the split of the first\n",
            grouped(exported.rows_of_several_splits)
        ));
    }
    let Some(making) = &exported.making else { return text };
    for (rule, rows) in &exported.changes.dropped {
        text.push_str(&format!("dropped: {rule} {}\n", grouped(*rows)));
    }
    let training = match making {
        Making::Training(training) => training,
        Making::Dolma(tagged) => {
            for (rule, rows) in &tagged.verdicts {
                text.push_str(&format!("tagged: {rule} {}\n", grouped(*rows)));
            }
            return text;
        }
        Making::Aya(_) => return text,
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

fn removed(store: &Store, path: &Path, interrupt: &AtomicBool) -> Result<Removed, Error> {
    let Some(assembly) = assemble::read(store)? else {
        let advice = format!("nothing was decided yet: run `gitlode assemble {}` first", path.display());
        return Err(Error::Usage(advice));
    };
    if assemble::is_current(store, &assembly, &assembly.options)? {
        return Ok((assemble::removed(store, &assembly)?, assembly.options));
    }
    let store = Store::create(path, &|| false)?;
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let means = assemble::Means { threads, memory: memory::default(), interrupt, say: &|_| {} };
    let assembly = assemble::assemble(&store, &assembly.options, means)?;
    Ok((assemble::removed(&store, &assembly)?, assembly.options))
}
