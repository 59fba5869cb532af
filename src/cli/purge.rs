//! `gitlode purge`: takes the rows of those who opted out of a store for good.

use std::path::PathBuf;

use super::{Error, counted, grouped, interrupt_flag, print, repositories, seconds_now};
use crate::{
    dedup::opt_out::author_hash,
    pipeline::purge,
    store::{self, Store},
};

#[derive(clap::Args)]
pub struct Args {
    /// The store.
    store: PathBuf,
    /// Every repository of this owner.
    #[arg(long, value_name = "NAME")]
    owner: Vec<String>,
    /// This repository, as `repos` names it.
    #[arg(long, value_name = "OWNER/NAME")]
    repo: Vec<String>,
    /// This commit, in every repository that has it.
    #[arg(long, value_name = "ID")]
    commit: Vec<String>,
    /// What a path is like, in every repository.
    #[arg(long, value_name = "GLOB")]
    path: Vec<String>,
    /// All rows that an e-mail address stands in as author's, as committer's or in the message, by the SHA-256 of the address in
    /// lower case; rows must have been mined with --authors.
    #[arg(long, value_name = "SHA256")]
    author_hash: Vec<String>,
    /// The same by the address itself, of which the store only keeps the hash.
    #[arg(long, value_name = "ADDRESS")]
    author: Vec<String>,
    /// File of lines owner:NAME, repository:OWNER/NAME, commit:ID, path:GLOB, author:HASH.
    #[arg(long, value_name = "FILE")]
    opt_out: Option<PathBuf>,
    /// Print the receipt as JSON.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<(), Error> {
    // A store that is not there is not to be made.
    Store::open(&args.store)?;
    let store = Store::create(&args.store, &|| false)?;
    let mut lines: Vec<String> = Vec::new();
    let named = [("owner", &args.owner), ("repository", &args.repo), ("commit", &args.commit), ("path", &args.path)];
    for (kind, names) in named.into_iter().chain([("author", &args.author_hash)]) {
        lines.extend(names.iter().map(|name| format!("{kind}:{name}")));
    }
    lines.extend(args.author.iter().map(|address| format!("author:{}", author_hash(address))));
    if let Some(path) = &args.opt_out {
        let text = purge::read_list(path).map_err(|source| Error::Io { path: path.clone(), source })?;
        purge::parse(path, &text)?;
        lines.extend(text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')).map(str::to_owned));
    }
    if lines.iter().any(|line| line.contains('\n')) {
        return Err(Error::Usage("a name has no line breaks".into()));
    }
    // What was named before and is there all the same, `verify` sends here.
    if lines.is_empty() && purge::verify(&store, &interrupt_flag())?.there.is_empty() {
        return Err(Error::Usage(
            "nothing is named, by --owner, --repo, --commit, --path, --author or --opt-out FILE, and nothing that was named before is \
             there"
                .into(),
        ));
    }
    let anonymous = match lines.iter().any(|line| line.starts_with("author:")) {
        true => purge::without_authors(&store)?,
        false => Vec::new(),
    };
    if !anonymous.is_empty() {
        return Err(Error::Usage(format!(
            "the rows of {} name no authors (mined without --authors), so none can be found: write the lines to a file \
             and mine again with --opt-out FILE --replace ({}{})",
            repositories(anonymous.len()),
            anonymous[..anonymous.len().min(5)].join(", "),
            if anonymous.len() > 5 { ", …" } else { "" }
        )));
    }
    let receipt = match purge::purge(&store, &lines, seconds_now(), &interrupt_flag()) {
        Err(purge::Error::Store(store::Error::Interrupted)) => {
            tell!("interrupted: what is named is left out from now on; the same command goes on");
            return Err(Error::Reported(130));
        }
        result => result?,
    };
    super::warn_of_unmatched(&receipt.unmatched, "in this store; it stays for what comes");
    if args.json {
        return print(&format!("{:#}\n", serde_json::json!(receipt)));
    }
    for repository in &receipt.repositories {
        let what = if repository.whole { "the whole of " } else { "" };
        let rows = counted(usize::try_from(repository.rows).unwrap_or(usize::MAX), "row", "rows");
        print(&format!("{rows} of {what}{}\n", super::printable(&repository.name)))?;
    }
    let place = args.store.join("opt-out").join(format!("{:06}.json", receipt.number));
    print(&format!("{} rows are gone; the receipt is {}\n", grouped(receipt.rows), place.display()))?;
    tell!("exports and mirrors outside of the store still have what they had");
    Ok(())
}
