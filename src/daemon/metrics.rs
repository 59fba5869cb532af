//! What a daemon counts, and how that reads in Prometheus' text format.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{event::Fault, repository::Stage, schedule::Schedule};
use crate::{pipeline::mine::Report, verdict::Funnel};

/// Bounds in seconds of the histogram of lags.
const LAGS: [u64; 12] = [1, 2, 5, 10, 30, 60, 300, 900, 3600, 21_600, 86_400, 604_800];

/// So many servers at most have metrics of their own: each name is another time series for who collects them.
const HOSTS_MAX: usize = 20;

/// Counts since the start.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    looks: u64,
    look_bytes: u64,
    fetches: u64,
    fetch_bytes: u64,
    mined: u64,
    segment_bytes: u64,
    compacted: u64,
    funnel: Funnel,
    /// How many lags were within each bound and not within the one before; the last is beyond all.
    lags: [u64; LAGS.len() + 1],
    lag_sum: u64,
    webhooks: BTreeMap<&'static str, u64>,
    exports: u64,
    exports_failed: u64,
    tidied: u64,
    tidied_not: u64,
    exported: u64,
    requests_left: Option<u64>,
    unread: u64,
    discover_failures: u64,
}

impl Counters {
    /// A look was answered.
    pub fn look(&mut self, bytes: u64) {
        self.looks += 1;
        self.look_bytes += bytes;
    }

    /// A mirror was brought up to date.
    pub fn fetch(&mut self, bytes: u64) {
        self.fetches += 1;
        self.fetch_bytes += bytes;
    }

    /// A repository was mined.
    pub fn mined(&mut self, report: &Report) {
        self.mined += 1;
        self.segment_bytes += report.bytes;
        self.funnel.add(&report.funnel);
    }

    /// The batches of a repository were joined.
    pub fn compacted(&mut self) {
        self.compacted += 1;
    }

    /// A mirror was tidied, or could not be.
    pub fn tidied(&mut self, is_done: bool) {
        let counter = if is_done { &mut self.tidied } else { &mut self.tidied_not };
        *counter += 1;
    }

    /// News took so many seconds to their rows.
    pub fn lag(&mut self, seconds: u64) {
        let at = LAGS.iter().position(|bound| seconds <= *bound).unwrap_or(LAGS.len());
        self.lags[at] += 1;
        self.lag_sum += seconds;
    }

    /// A webhook came; by its name, or as `refused`.
    pub fn webhook(&mut self, event: &'static str) {
        *self.webhooks.entry(event).or_default() += 1;
    }

    /// An export came to its end, at this time, or failed.
    pub fn published(&mut self, at: Option<u64>) {
        match at {
            Some(at) => (self.exports, self.exported) = (self.exports + 1, at),
            None => self.exports_failed += 1,
        }
    }

    /// So many requests are left where repositories are found.
    pub fn requests_left(&mut self, left: u64) {
        self.requests_left = Some(left);
    }

    /// So many sources can't be read now, and finding more failed so often.
    pub fn sources(&mut self, unread: u64, discover_failures: u64) {
        (self.unread, self.discover_failures) = (unread, discover_failures);
    }

    /// Rows that were mined.
    pub fn rows_kept(&self) -> u64 {
        self.funnel.changes.kept
    }
}

/// The page of metrics.
pub fn page(schedule: &Schedule, counters: &Counters) -> String {
    let mut page = String::new();
    let words = Fault::ALL.map(Fault::as_str).into_iter().chain(["new", "current", "dropped"]);
    let mut conditions: BTreeMap<&str, u64> = words.map(|word| (word, 0)).collect();
    let mut doing: BTreeMap<&str, u64> = Stage::WORDS.into_iter().map(|word| (word, 0)).collect();
    for id in schedule.ids() {
        *conditions.entry(schedule.state(id).condition()).or_default() += 1;
        *doing.entry(schedule.doing(id)).or_default() += 1;
    }
    labelled(&mut page, "gitlode_repositories", "gauge", "Repositories by condition.", "condition", &conditions);
    labelled(&mut page, "gitlode_stages", "gauge", "Repositories by what is being done with them.", "stage", &doing);
    let faults: BTreeMap<&str, u64> =
        Fault::ALL.iter().map(|fault| (fault.as_str(), schedule.faults().get(fault).copied().unwrap_or(0))).collect();
    labelled(&mut page, "gitlode_errors_total", "counter", "Failures by kind.", "kind", &faults);
    let named = super::webhook::EVENTS.into_iter().chain(["refused"]);
    let webhooks = named.map(|event| (event, counters.webhooks.get(event).copied().unwrap_or(0))).collect();
    labelled(&mut page, "gitlode_webhooks_total", "counter", "Webhooks by event.", "event", &webhooks);
    let changes = &counters.funnel.changes;
    let verdicts = BTreeMap::from([
        ("kept", changes.kept),
        ("dropped", changes.dropped.values().sum()),
        ("skipped", changes.skipped.values().sum()),
    ]);
    labelled(&mut page, "gitlode_changes_total", "counter", "Changes by verdict.", "verdict", &verdicts);
    for (name, kind, help, value) in [
        ("gitlode_sources_unread", "gauge", "Lists and findings that can't be read now.", counters.unread),
        ("gitlode_discover_failures_total", "counter", "Findings that failed.", counters.discover_failures),
        ("gitlode_looks_total", "counter", "Looks at tips that were answered.", counters.looks),
        ("gitlode_look_bytes_total", "counter", "Bytes of their answers.", counters.look_bytes),
        ("gitlode_fetches_total", "counter", "Mirrors brought up to date.", counters.fetches),
        (
            "gitlode_fetch_bytes_total",
            "counter",
            "Bytes that mirrors grew by while they were fetched.",
            counters.fetch_bytes,
        ),
        ("gitlode_mined_total", "counter", "Times that a repository was mined.", counters.mined),
        (
            "gitlode_compactions_total",
            "counter",
            "Times that the batches of a repository were joined.",
            counters.compacted,
        ),
        ("gitlode_segment_bytes_total", "counter", "Bytes of new segments.", counters.segment_bytes),
        ("gitlode_tidied_total", "counter", "Mirrors that git repacked and pruned.", counters.tidied),
        ("gitlode_tidied_failed_total", "counter", "Those that it could not.", counters.tidied_not),
        ("gitlode_exports_total", "counter", "Exports that were written.", counters.exports),
        ("gitlode_exports_failed_total", "counter", "Exports that failed.", counters.exports_failed),
        (
            "gitlode_export_timestamp_seconds",
            "gauge",
            "When the last export since the start was done; 0 before.",
            counters.exported,
        ),
        ("gitlode_mirror_bytes", "gauge", "Room that all mirrors take.", schedule.mirror_bytes()),
        ("gitlode_hosts_open", "gauge", "Servers that are left alone for a while.", schedule.open_hosts().len() as u64),
    ] {
        head(&mut page, name, kind, help);
        line(&mut page, format_args!("{name} {value}"));
    }
    of_servers(&mut page, schedule, counters);
    lags(&mut page, counters);
    page
}

/// What servers leave, and which are left alone.
fn of_servers(page: &mut String, schedule: &Schedule, counters: &Counters) {
    if let Some(left) = counters.requests_left {
        let name = "gitlode_discover_rate_limit_remaining";
        head(page, name, "gauge", "Requests that were left of the limit where repositories are found.");
        line(page, format_args!("{name} {left}"));
    }
    let name = "gitlode_host_open_until_timestamp_seconds";
    head(page, name, "gauge", "Until when a server is left alone; of the first 20 by name that are.");
    for (host, until) in schedule.open_hosts().into_iter().take(HOSTS_MAX) {
        let host: String = host.chars().filter(|c| !c.is_control() && !matches!(c, '"' | '\\')).collect();
        line(page, format_args!("{name}{{host=\"{host}\"}} {until}"));
    }
}

/// The histogram of lags.
fn lags(page: &mut String, counters: &Counters) {
    let name = "gitlode_lag_seconds";
    head(page, name, "histogram", "From a push to its rows; at most, where nobody told of the push.");
    let mut within = 0;
    for (at, count) in counters.lags.iter().enumerate() {
        within += count;
        let bound = LAGS.get(at).map_or("+Inf".to_owned(), ToString::to_string);
        line(page, format_args!("{name}_bucket{{le=\"{bound}\"}} {within}"));
    }
    line(page, format_args!("{name}_sum {}", counters.lag_sum));
    line(page, format_args!("{name}_count {within}"));
}

fn head(page: &mut String, name: &str, kind: &str, help: &str) {
    line(page, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
}

fn labelled(page: &mut String, name: &str, kind: &str, help: &str, label: &str, values: &BTreeMap<&str, u64>) {
    head(page, name, kind, help);
    values.iter().for_each(|(of, value)| line(page, format_args!("{name}{{{label}=\"{of}\"}} {value}")));
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string can't fail.
    _ = writeln!(page, "{text}");
}
