//! `gitlode licenses`: the licences that are known, and what files say of theirs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::json;

use super::{Error, print, stats::new_table};
use crate::classify::license::{License, Licenses, Use, combine, is_text_name, metadata, policy::Policy, text::Said};

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Option<LicensesCommand>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(clap::Subcommand)]
enum LicensesCommand {
    /// List the licences and their classes (the default).
    List,
    /// Say which licence files are under: licence texts, package metadata, or source files with a notice.
    Check {
        /// The files; of a directory, all licence texts in it together.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
}

pub fn run(args: &Args) -> Result<(), Error> {
    match &args.command {
        None | Some(LicensesCommand::List) => list(args.json),
        Some(LicensesCommand::Check { paths }) => paths.iter().try_for_each(|path| check(path, args.json)),
    }
}

fn list(json: bool) -> Result<(), Error> {
    let licenses = Licenses::in_use();
    if json {
        let policies = |id: &str| -> Vec<&str> {
            Policy::all().iter().filter(|policy| policy.takes(Some(id))).map(|policy| policy.id.as_str()).collect()
        };
        let one = |license: &License| {
            let class = license.class();
            json!({
                "id": license.id, "use": users(class.users), "attribution": class.attribution,
                "share_alike": class.share_alike, "policies": policies(&license.id),
            })
        };
        return print(&format!("{:#}\n", json!(licenses.all().map(one).collect::<Vec<_>>())));
    }
    let mut table = new_table(&["licence", "permissive", "commitpack", "use", "attribution", "share-alike"]);
    let word = |yes: bool| if yes { "yes" } else { "no" };
    for license in licenses.all() {
        let class = license.class();
        let takes = |policy: &str| Policy::find(policy).is_some_and(|policy| policy.takes(Some(&license.id)));
        let (attribution, share_alike) = (word(class.attribution), word(class.share_alike));
        let [permissive, commitpack] = ["permissive", "commitpack"].map(|policy| word(takes(policy)));
        table.add_row([&license.id, permissive, commitpack, users(class.users), attribution, share_alike]);
    }
    print(&format!("{table}\n"))
}

fn users(users: Use) -> &'static str {
    match users {
        Use::All => "all",
        Use::Academic => "academic",
        Use::NonCommercial => "non-commercial",
        Use::Unspecified => "unspecified",
    }
}

fn check(path: &Path, json: bool) -> Result<(), Error> {
    let (license, method) = if path.is_dir() { (directory(path)?, "text") } else { file(path)? };
    let class = license.as_deref().map(|license| Licenses::in_use().class(license));
    let permissive = class.map(|class| !class.restricted);
    if json {
        let line =
            json!({"path": path.to_string_lossy(), "license": license, "method": method, "permissive": permissive});
        return print(&format!("{line}\n"));
    }
    let verdict = match permissive {
        Some(true) => ", permissive",
        Some(false) => ", not permissive",
        None => "",
    };
    print(&format!("{}: {} ({method}){verdict}\n", path.display(), license.as_deref().unwrap_or("unknown")))
}

fn read(path: &Path) -> Result<String, Error> {
    let bytes = fs::read(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn file(path: &Path) -> Result<(Option<String>, &'static str), Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let contents = read(path)?;
    if metadata::is_metadata_name(&name) {
        return Ok((metadata::license(&name, &contents).expression(), "metadata"));
    }
    let licenses = Licenses::in_use();
    if is_text_name(&name) {
        return Ok((licenses.in_text(&contents).expression(), "text"));
    }
    // As for any file of a repository.
    Ok(match licenses.in_header(&contents) {
        (Said::Nothing, _) => (licenses.in_text(&contents).expression(), "text"),
        (said, _) => (said.expression(), "header"),
    })
}

fn directory(path: &Path) -> Result<Option<String>, Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_text_name(&name) && entry.path().is_file() {
            files.push((name, Licenses::in_use().in_text(&read(&entry.path())?)));
        }
    }
    Ok(combine(files).and_then(|combined| combined.expression))
}
