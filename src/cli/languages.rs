//! `gitlode languages`: the languages that are known, and what a file is taken for.

use std::{fs, io::Read as _, path::PathBuf};

use serde_json::json;

use super::{Error, print, stats::new_table};
use crate::classify::{
    language::{Languages, commitpack::CommitPackLanguages, linguist::Linguist},
    natural::{Judge, NaturalLanguages},
};

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Option<LanguagesCommand>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(clap::Subcommand)]
enum LanguagesCommand {
    /// List the languages (the default).
    List,
    /// Say which language files are in, and how that was found.
    Detect {
        /// The files.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// Say which human language messages are in: JSON lines for messages on standard input, each ended by a NUL;
    /// bytes that are not UTF-8 count as no letters.
    Message {
        /// Who judges: fast, or lingua in a program that was built with it.
        #[arg(long, default_value = "fast", value_name = "JUDGE", value_parser = super::mine::judge)]
        judge: Judge,
    },
}

pub fn run(args: &Args) -> Result<(), Error> {
    match &args.command {
        None | Some(LanguagesCommand::List) => list(args.json),
        Some(LanguagesCommand::Message { judge }) => messages(*judge),
        Some(LanguagesCommand::Detect { paths }) => paths.iter().try_for_each(|path| detect(path, args.json)),
    }
}

fn messages(judge: Judge) -> Result<(), Error> {
    let name = || "standard input".into();
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).map_err(|source| Error::Io { path: name(), source })?;
    if bytes.is_empty() {
        return Ok(());
    }
    for message in bytes.strip_suffix(b"\0").unwrap_or(&bytes).split(|byte| *byte == 0) {
        // In what encoding it is, a header would say; letters of ASCII count whatever it is.
        let label = NaturalLanguages::in_use().label(&String::from_utf8_lossy(message), judge);
        let line = label.map_or(
            json!({"language": null}),
            |label| json!({"language": label.language, "script": label.script, "confidence": label.confidence}),
        );
        print(&format!("{line}\n"))?;
    }
    Ok(())
}

fn list(json: bool) -> Result<(), Error> {
    let languages = Linguist::in_use().languages();
    if json {
        let list: Vec<_> = languages
            .iter()
            .map(|l| json!({"name": l.name, "type": l.kind, "group": l.group, "extensions": l.extensions, "filenames": l.filenames}))
            .collect();
        return print(&format!("{:#}\n", json!(list)));
    }
    let mut table = new_table(&["language", "type", "extensions and names"]);
    table.set_content_arrangement(comfy_table::ContentArrangement::Dynamic).set_width(110);
    for language in languages {
        let endings: Vec<&str> = language.extensions.iter().chain(&language.filenames).map(String::as_str).collect();
        table.add_row([language.name.as_str(), &language.kind, &endings.join(" ")]);
    }
    print(&format!("{table}\n"))
}

fn detect(path: &PathBuf, json: bool) -> Result<(), Error> {
    let bytes = fs::read(path).map_err(|source| Error::Io { path: path.clone(), source })?;
    let contents = String::from_utf8_lossy(&bytes);
    let name = path.to_string_lossy();
    let commitpack = CommitPackLanguages::in_use();
    let languages = Languages::in_use();
    let label = languages.label(&languages.for_path(&name), &contents);
    let found = label.language.map(|(id, method)| (Linguist::in_use().language(id).name.as_str(), method.as_str()));
    if json {
        let (language, method) = found.unzip();
        let line = json!({
            "path": name, "language": language, "method": method, "lang": commitpack.lang(&name),
            "vendored": label.vendored, "generated": label.generated,
        });
        return print(&format!("{line}\n"));
    }
    let (language, method) = found.unwrap_or(("unknown", "no rule fits"));
    let vendored = if label.vendored { ", vendored" } else { "" };
    let generated = label.generated.map_or(String::new(), |rule| format!(", generated ({rule})"));
    print(&format!("{name}: {language} ({method}){vendored}{generated}; lang {}\n", commitpack.lang(&name)))
}
