//! `gitlode show`: rows for people, with a coloured diff.

use std::{fmt::Write as _, path::PathBuf, sync::atomic::AtomicBool};

use anstyle::{AnsiColor, Style};

use super::{Error, print, print_raw, printable};
use crate::{
    pipeline::read::{Row, for_each},
    sample::Sample,
    store::Store,
};

/// More of a subject is not printed.
const SUBJECT_CHARS_MAX: usize = 200;

#[derive(clap::Args)]
pub struct Args {
    /// The store.
    store: PathBuf,
    /// Only the row with this id, or the start of one.
    #[arg(long)]
    id: Option<String>,
    /// Only rows of this language, as in the `lang` column.
    #[arg(long)]
    lang: Option<String>,
    /// Only rows of repositories with this name.
    #[arg(long)]
    repo: Option<String>,
    /// So many rows, drawn by the hash that is their id: the same ones every time.
    #[arg(long, value_name = "N", default_value_t = 3)]
    sample: usize,
    /// Print the rows as JSON lines.
    #[arg(long)]
    json: bool,
    /// Longest diff to print, in lines.
    #[arg(long, value_name = "LINES", default_value_t = 60)]
    diff_lines_max: usize,
}

pub fn run(args: &Args) -> Result<(), Error> {
    let store = Store::open(&args.store)?;
    let mut drawn: std::collections::BTreeMap<String, String> = Default::default();
    for_each(&store, &AtomicBool::new(false), |Row { sample, .. }| {
        let wanted = args.id.as_deref().is_none_or(|id| sample.id.starts_with(id))
            && args.lang.as_deref().is_none_or(|lang| sample.lang == lang)
            && args.repo.as_deref().is_none_or(|repo| sample.repos.split(',').any(|name| name == repo));
        let within =
            drawn.len() < args.sample || drawn.last_key_value().is_some_and(|(last, _)| sample.id < last.as_str());
        if wanted && within {
            drawn
                .insert(sample.id.to_owned(), if args.json { json(sample) } else { text(sample, args.diff_lines_max) });
            if drawn.len() > args.sample {
                drawn.pop_last();
            }
        }
        Ok(())
    })?;
    if drawn.is_empty() {
        let asked = args.id.is_some() || args.lang.is_some() || args.repo.is_some();
        let what = if asked { "no such row in the store" } else { "no rows in the store" };
        tell!("{}: {what}; `gitlode stats` has its account", super::style("error"));
        return Err(Error::Reported(1));
    }
    drawn.values().try_for_each(|row| if args.json { print_raw(row) } else { print(row) })
}

fn json(sample: &Sample<'_>) -> String {
    serde_json::to_string(sample).unwrap_or_default() + "\n"
}

fn text(sample: &Sample<'_>, diff_lines_max: usize) -> String {
    let mut out = String::new();
    let bold = Style::new().bold();
    let path = sample.new_file.or(sample.old_file).unwrap_or_default();
    let _infallible = writeln!(
        out,
        "{bold}{}{bold:#}\n{} · {} · {} · {} · +{} -{}\ncommit {} · sample {}\n",
        printable(&sample.subject.chars().take(SUBJECT_CHARS_MAX).collect::<String>()),
        printable(sample.repos),
        one_line(path),
        sample.lang,
        sample.kind,
        sample.additions,
        sample.deletions,
        sample.commit,
        sample.id
    );
    let lines = sample.diff.lines().count();
    for line in sample.diff.lines().take(diff_lines_max) {
        let style = colour(line);
        let _infallible = writeln!(out, "{style}{}{style:#}", printable(line));
    }
    if lines > diff_lines_max {
        let _infallible = writeln!(out, "… {} more lines (--diff-lines-max)", lines - diff_lines_max);
    }
    out.push('\n');
    out
}

/// A path may have a newline in it, and would look like two lines of ours.
fn one_line(path: &str) -> String {
    if path.contains(char::is_control) { format!("{path:?}") } else { printable(path) }
}

fn colour(line: &str) -> Style {
    let of = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
    match line.as_bytes() {
        [b'+', b'+', b'+', b' ', ..] | [b'-', b'-', b'-', b' ', ..] | [b'd' | b'i' | b'n' | b'o' | b'r' | b's', ..] => {
            Style::new().bold()
        }
        [b'@', ..] => of(AnsiColor::Cyan),
        [b'+', ..] => of(AnsiColor::Green),
        [b'-', ..] => of(AnsiColor::Red),
        _ => Style::new(),
    }
}
