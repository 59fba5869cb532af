//! What the flags of `mine` say, as the pipeline reads it; `watch` mines with the same.

use std::{
    path::{Path, PathBuf},
    thread,
};

use super::{
    super::{Error, memory},
    Args,
};
use crate::{
    classify::{catalog, natural::Judge},
    dedup::opt_out::OptOuts,
    filter::Ruleset,
    git::{repository::Revision, supervise::Limits, walk::Window},
    pipeline::{
        purge,
        recipe::Recipe,
        run::{self, Mirrors},
    },
    sample::ChangeKind,
    source::{self, RepoSpec},
    store::Store,
};

pub(in crate::cli) fn judge(text: &str) -> Result<Judge, String> {
    let judge = <Judge as clap::ValueEnum>::from_str(text, false).map_err(|_| "there are fast and lingua")?;
    if judge == Judge::Lingua && !cfg!(feature = "lingua") {
        return Err(
            "this program was built without lingua; `cargo build --release --features lingua` builds one with it"
                .into(),
        );
    }
    Ok(judge)
}

/// Only absolute dates: a run must mean the same tomorrow.
pub(in crate::cli) fn date(text: &str) -> Result<i64, String> {
    if let Ok(seconds) = text.parse::<i64>()
        // Fewer digits would be a day of 1973 at the latest, and are more likely a date written without dashes.
        && text.len() > 8
    {
        return Ok(seconds);
    }
    gix::date::parse(text, None)
        .map(|time| time.seconds)
        .map_err(|_| "give an absolute date such as 2024-01-31 or 2024-01-31T12:00:00Z".into())
}

/// The last second of a day, of a date without a time.
pub(super) fn end_of(text: &str) -> Result<i64, String> {
    // A minus before everything is that of seconds before 1970.
    let is_day = text.len() == 10
        && !text.starts_with('-')
        && text.contains('-')
        && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    date(text).map(|seconds| if is_day { seconds + 86_399 } else { seconds })
}

pub(in crate::cli) fn options(args: &Args, specs: &[RepoSpec]) -> Result<run::Options, Error> {
    let existing = args.store.as_deref().filter(|store| args.dry_run && store.join("store.json").exists());
    let directory = match (&args.mirrors, &args.store) {
        (Some(mirrors), _) => mirrors.clone(),
        (None, Some(store)) if !args.dry_run || store.join("store.json").exists() => store.join("mirrors"),
        _ if specs.iter().all(|spec| matches!(spec.location, source::Location::Path(_))) => PathBuf::new(),
        _ => return Err(Error::Usage("--dry-run of a URL needs --mirrors DIR".into())),
    };
    // The child that fetches may run in another directory.
    let directory = if directory.as_os_str().is_empty() { directory } else { absolute(&directory)? };
    Ok(run::Options {
        threads: args.threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from)).max(1),
        memory: args.memory.unwrap_or_else(memory::default),
        segment_bytes_max: args.segment_bytes_max,
        ledger: !args.no_ledger,
        dry_run: existing.map(Store::open).transpose()?,
        mirrors: Mirrors {
            directory,
            discard: args.discard_mirrors,
            fetches: args.fetches,
            limits: Limits {
                bytes_max: Some(args.fetch_bytes_max),
                objects_max: Some(args.fetch_objects_max),
                unpacked_bytes_max: Some(args.fetch_unpacked_bytes_max),
                seconds_max: Some(args.fetch_seconds_max),
                low_speed_bytes_per_second: args.fetch_low_speed_bytes,
                low_speed_seconds: args.fetch_low_speed_seconds,
                connect_seconds: args.fetch_connect_seconds,
                retries: args.fetch_retries,
            },
            program: std::env::current_exe()
                .map_err(|source| Error::Io { path: "the path of this program".into(), source })?,
            public_only: false,
        },
    })
}

fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(|source| Error::Io { path: path.to_owned(), source })
}

pub(in crate::cli) fn recipe(args: &Args, rules: &Ruleset, spec: Option<&RepoSpec>) -> Recipe {
    let revision = match (&args.rev, args.all_branches) {
        (Some(rev), _) => Revision::Named(rev.clone()),
        (None, true) => Revision::AllBranches,
        (None, false) => Revision::Head,
    };
    let mut kinds = args.kinds.clone();
    kinds.sort();
    kinds.dedup();
    Recipe {
        renames: args.detect_renames || kinds.contains(&ChangeKind::Renamed),
        revision,
        window: Window { since: args.since, until: args.until },
        kinds,
        filter: args.filter.clone(),
        filter_digest: rules.digest().to_owned(),
        blob_bytes_max: args.blob_bytes_max,
        commit_changes_max: args.commit_changes_max,
        trailers: args.trailers,
        authors: args.authors,
        license: spec.and_then(|spec| spec.columns.get("license")).map(|license| license.to_lowercase()),
        message_language: args.message_language,
        catalog: catalog::digest(),
    }
}

/// Who opted out: what the store remembers, with what `--opt-out` adds to it.
pub(in crate::cli) fn opt_outs(args: &Args, target: Option<&Store>) -> Result<OptOuts, Error> {
    let read = |path: &PathBuf| -> Result<String, Error> {
        purge::read_list(path).map_err(|source| Error::Io { path: path.clone(), source })
    };
    let text = args.opt_out.as_ref().map(read).transpose()?;
    let given = match (&args.opt_out, &text) {
        (Some(path), Some(text)) => purge::parse(path, text)?,
        _ => OptOuts::default(),
    };
    if let (Some(store), Some(text)) = (target, &text) {
        purge::remember(store, text)?;
    }
    // A dry run looks at a store that may not be there. Where something is, who opted out must not be missed.
    let is_there = |path: &&Path| std::fs::read_dir(path).map_or(path.exists(), |mut entries| entries.next().is_some());
    let existing = args.store.as_deref().filter(|_| target.is_none()).filter(is_there);
    let existing = existing.map(Store::open).transpose()?;
    let mut all = target
        .or(existing.as_ref())
        .map_or_else(|| Ok(OptOuts::default()), |store| Ok::<_, Error>(purge::opt_outs(store)?))?;
    all.add(given);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_ends_in_the_evening_and_a_second_does_not() {
        for (text, seconds) in [
            ("2024-01-31", 1_706_745_599),
            ("2024-01-31T12:00:00Z", 1_706_702_400),
            ("1706702400", 1_706_702_400),
            ("-100000000", -100_000_000),
            ("-1000000000", -1_000_000_000),
        ] {
            assert_eq!(end_of(text), Ok(seconds), "{text}");
        }
    }
}
