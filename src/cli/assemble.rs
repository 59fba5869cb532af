//! `gitlode assemble`: decides which rows of a store go, by a look at all of them.

use std::{collections::BTreeSet, path::PathBuf, sync::atomic::AtomicBool, thread};

use super::{Error, grouped, interrupt_flag, memory, print};
use crate::{
    dedup::{fingerprints::Known, near::SIMILARITY_MIN, redact::Policy},
    pipeline::assemble::{self, Assembly, Means, Near, Options, weight::Weight},
    store::{self, Store},
    verdict::Masked,
};

#[derive(clap::Args)]
pub struct Args {
    /// The store.
    store: PathBuf,
    /// File of those who do not want their work in the rows, beside those whom the store remembers.
    ///
    /// Lines owner:NAME, repository:OWNER/NAME, commit:ID, path:GLOB, author:HASH (the SHA-256 of an e-mail address in
    /// lower case; rows must have been mined with --authors).
    #[arg(long, value_name = "FILE")]
    opt_out: Option<PathBuf>,
    /// Keep a row of several repositories as long as one of them did not opt out in that file, as CommitPack did.
    #[arg(long, requires = "opt_out")]
    keep_shared: bool,
    /// Ruleset that rows have to pass: a preset or the path of a file.
    #[arg(long, default_value = "none", value_name = "NAME|FILE")]
    filter: String,
    /// What has to be alike for two rows to be near-duplicates: the change, or the change and the new contents.
    #[arg(long, default_value = "both", value_name = "WHAT")]
    near_duplicates: Near,
    /// Jaccard similarity of 5-grams of words, from 0.7 to 1, from which on two rows are near-duplicates.
    #[arg(long, default_value_t = 0.7, value_name = "SHARE", value_parser = share)]
    similarity_min: f64,
    /// JSON lines file of a benchmark; rows that share --ngram-words words in a row with a text in it go.
    ///
    /// Of tasks that have base_commit, repo and patch (SWE-bench and its like), rows go that stand on that commit, and rows of that
    /// repository that change in a file what the patch changes in one.
    #[arg(long, value_name = "FILE")]
    decontaminate: Vec<PathBuf>,
    /// Benchmarks that are compiled in, as hashes of runs of ten words; rows with a run of theirs go. none looks for none.
    #[arg(long, value_delimiter = ',', default_value = "humaneval", value_name = "NAME|none")]
    benchmark: Vec<String>,
    /// Words in a row that a row must not share with a benchmark of --decontaminate.
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u16).range(3..=100))]
    ngram_words: u16,
    /// What becomes of rows with secrets, private_keys, emails or ip_addresses: drop, mask or off.
    ///
    /// One action for all kinds, or KIND=ACTION; the later one counts: --redact emails=off,secrets=drop, --redact off. A masked
    /// value gives way to a placeholder such as <SECRET_1> in contents, message and diff. Masked is what is not named.
    #[arg(long, value_delimiter = ',', default_value = "mask", value_name = "[KIND=]ACTION")]
    redact: Vec<String>,
    /// Rules for secrets in place of those that are compiled in (filters/secrets.toml).
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
    /// Keep only a share of the rows with a value in a column: lang, language, license_spdx or license_class
    /// (permissive, copyleft, restricted, non-commercial, "unknown or own terms").
    ///
    /// Which ones stay is drawn by a hash of their ids. Weights come before caps.
    #[arg(long, value_name = "COLUMN:VALUE=FRACTION")]
    weight: Vec<Weight>,
    /// Most rows of one path in one repository; which ones stay is drawn by the hash that is their id.
    #[arg(long, value_name = "N", value_parser = super::at_least_one::<u64>)]
    cap_per_file: Option<u64>,
    /// Most rows of one repository.
    #[arg(long, value_name = "N", value_parser = super::at_least_one::<u64>)]
    cap_per_repository: Option<u64>,
    /// Most rows of one language, as in the `lang` column.
    #[arg(long, value_name = "N", value_parser = super::at_least_one::<u64>)]
    cap_per_language: Option<u64>,
    /// Threads; as many as there are cores by default. They show in no byte.
    #[arg(long, short = 'j', value_name = "N", value_parser = super::threads)]
    threads: Option<usize>,
    /// Memory for what is kept of rows, such as 512M or 2G; a quarter of the machine's by default. What needs more goes to
    /// files in the store while it runs. It shows in no byte.
    #[arg(long, value_name = "SIZE", value_parser = memory::size)]
    memory: Option<u64>,
    /// Print the record as JSON.
    #[arg(long)]
    json: bool,
    /// No progress and no summary.
    #[arg(long, short)]
    quiet: bool,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (SIMILARITY_MIN..=1.0).contains(&share) => Ok(share),
        Ok(share) if (0.0..SIMILARITY_MIN).contains(&share) => Err(format!(
            "it can't be below {SIMILARITY_MIN}: of rows that are less alike, few are ever compared (1 in 7 at 0.6, 1 in 50 at 0.5)"
        )),
        _ => Err(format!("a number from {SIMILARITY_MIN} to 1")),
    }
}

pub fn run(args: &Args) -> Result<(), Error> {
    // A store that is not there is not to be made.
    Store::open(&args.store)?;
    let store = Store::create(&args.store, &|| false)?;
    let interrupt = interrupt_flag();
    let say = |what: &str| {
        if !args.quiet {
            tell!("{what}");
        }
    };
    let assembly = match args.decide(&store, &interrupt, &say) {
        Err(Error::Assemble(assemble::Error::Store(store::Error::Interrupted))) => {
            tell!("interrupted: nothing was decided");
            return Err(Error::Reported(130));
        }
        result => result?,
    };
    super::warn_of_unmatched(&assembly.unmatched_opt_outs, "in this store");
    for (benchmark, rows) in &assembly.not_searched {
        let (rows, benchmark) = (grouped(*rows), super::printable(benchmark));
        tell!(
            "{}: {rows} rows of {benchmark} are not looked for: they are too short, or say what many of its rows say",
            super::style("warning")
        );
    }
    for (benchmark, texts) in assembly.texts_not_searched.iter().filter(|(_, texts)| texts.common > 0) {
        let (texts, benchmark) = (grouped(texts.common), super::printable(benchmark));
        tell!(
            "{}: {texts} texts of {benchmark} are not looked for: their words tell too little, or many of its rows have them",
            super::style("warning")
        );
    }
    for (benchmark, texts) in assembly.texts_not_searched.iter().filter(|(_, texts)| texts.in_part > 0) {
        let (texts, benchmark) = (grouped(texts.in_part), super::printable(benchmark));
        tell!(
            "{texts} texts of {benchmark} are not looked for by what many of its rows have, only by the rest of them"
        );
    }
    for (benchmark, (missing, all)) in &assembly.tasks_elsewhere {
        let (missing, all, benchmark) = (grouped(*missing), grouped(*all), super::printable(benchmark));
        tell!("{missing} of {all} tasks of {benchmark} name repositories that are not in the store");
    }
    if args.json {
        return print(&format!("{:#}\n", serde_json::json!(assembly)));
    }
    if args.quiet { Ok(()) } else { summary(&assembly) }
}

impl Args {
    /// Decides which rows of `store` go.
    pub(super) fn decide(&self, store: &Store, interrupt: &AtomicBool, say: &dyn Fn(&str)) -> Result<Assembly, Error> {
        let redact = Policy::parse(self.redact.iter().map(String::as_str)).map_err(Error::Usage)?;
        let mut benchmarks = self.decontaminate.clone();
        benchmarks.sort();
        benchmarks.dedup();
        let names = self.benchmark.iter().filter(|name| *name != "none");
        let mut known_benchmarks: Vec<Known> =
            names.map(|name| name.parse()).collect::<Result<_, _>>().map_err(Error::Usage)?;
        known_benchmarks.sort_unstable();
        known_benchmarks.dedup();
        if let Some(reason) = self.weight.iter().find_map(Weight::unknown) {
            return Err(Error::Usage(format!("--weight: {reason}")));
        }
        let mut weighted = BTreeSet::new();
        if let Some(twice) = self.weight.iter().find(|weight| !weighted.insert((weight.column, &weight.value))) {
            return Err(Error::Usage(format!("--weight: {:?} has two shares; a value has one", twice.value)));
        }
        let options = Options {
            opt_out: self.opt_out.clone(),
            keep_shared: self.keep_shared,
            filter: self.filter.clone(),
            near: self.near_duplicates,
            similarity_min: self.similarity_min,
            benchmarks,
            known_benchmarks,
            ngram_words: usize::from(self.ngram_words),
            redact,
            secrets: self.secrets.clone(),
            weights: self.weight.clone(),
            caps: [self.cap_per_file, self.cap_per_repository, self.cap_per_language],
        };
        let means = Means {
            threads: self.threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from)).max(1),
            memory: self.memory.unwrap_or_else(memory::default),
            interrupt,
            say,
        };
        Ok(assemble::assemble(store, &options, means)?)
    }
}

fn summary(assembly: &Assembly) -> Result<(), Error> {
    let Assembly { changes, shared, contamination, pairs, rows_cut_short, links, masked, .. } = assembly;
    let mut table = super::stats::new_table(&["", "rows"]);
    table.add_row(["mined".to_owned(), grouped(changes.candidates + shared)]);
    if *shared > 0 {
        table.add_row(["the same in several repositories".to_owned(), grouped(*shared)]);
    }
    for (rule, n) in &changes.dropped {
        table.add_row([format!("dropped: {rule}"), grouped(*n)]);
    }
    table.add_row(["kept".to_owned(), grouped(changes.kept)]);
    super::stats::align(&mut table, 1..2);
    print(&format!("{table}\n"))?;
    for (benchmark, n) in contamination {
        print(&format!("{} rows have text of {benchmark}\n", grouped(*n)))?;
    }
    print(&masked_table(masked))?;
    if links.reverted > 0 {
        print(&format!(
            "{} commits were taken back by another one, {} brought back\n",
            grouped(links.reverted),
            grouped(links.relanded)
        ))?;
    }
    if *rows_cut_short > 0 {
        print(&format!("{} rows were not compared with all that may be like them\n", grouped(*rows_cut_short)))?;
    }
    print(&format!("{} pairs of rows compared, {} of them alike\n", grouped(pairs.0), grouped(pairs.1)))
}

/// What was masked, by kind and, of secrets, by rule; nothing where nothing was.
pub fn masked_table(masked: &Masked) -> String {
    if masked.rows == 0 {
        return String::new();
    }
    let mut table = super::stats::new_table(&["masked", "rows", "values"]);
    table.add_row(["anything".to_owned(), grouped(masked.rows), String::new()]);
    for (kind, tally) in &masked.kinds {
        table.add_row([kind.clone(), grouped(tally.rows), grouped(tally.values)]);
    }
    for (rule, tally) in &masked.secrets {
        table.add_row([format!("secrets: {rule}"), grouped(tally.rows), grouped(tally.values)]);
    }
    super::stats::align(&mut table, 1..3);
    format!("{table}\n")
}
