//! Which repositories had pushes, by the hour files of GH Archive: gzip of JSON lines, an event each. What is no event is
//! counted and passed over, and of a file that ends early what is there counts.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use flate2::read::MultiGzDecoder;
use serde::{Deserialize, Serialize};

use super::{
    discovery::Repository,
    github::{Clock, split},
    http::{self, Bounded, Client, Url},
    seconds_of, time_of,
};

/// Where GH Archive itself has its files (gharchive.org).
pub const BASE: &str = "https://data.gharchive.org";
/// Longest line that is read. Events have texts of up to 64 KiB, and pull requests some dozen times that.
const LINE_BYTES_MAX: u64 = 16 << 20;
/// Largest file when unpacked; an hour takes about 1 GB.
const FILE_BYTES_MAX: u64 = 32 << 30;
/// How long a file may take to arrive.
const FILE_SECONDS: i64 = 7200;
/// Most hours at once: more than GH Archive has in a year.
const HOURS_MAX: i64 = 10_000;

/// Why a file, or all of them, can't be read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error("{text} is no hour: {reason}")]
    Hours { text: String, reason: &'static str },
    #[error("{url} is no address: {reason}")]
    Base { url: String, reason: &'static str },
    #[error("the HTTP client: {0}")]
    Client(String),
    #[error("{place}: {source}")]
    Open { place: String, source: io::Error },
    #[error("{place}: {reason}")]
    Fetch { place: String, reason: String },
    #[error("interrupted")]
    Interrupted,
}

/// A file of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On this machine.
    File(PathBuf),
    /// Elsewhere.
    Url(Url),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::File(path) => path.display().fmt(f),
            Place::Url(url) => url.fmt(f),
        }
    }
}

/// What was in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Lines that were read.
    pub lines: u64,
    /// Events that are a push.
    pub pushes: u64,
    /// Lines that are no event, or a push that does not say to what.
    pub bad_lines: u64,
    /// Lines that are too long.
    pub long_lines: u64,
    /// Why the file ended early, if it did.
    pub cut: Option<String>,
}

/// Pushes by repository.
#[derive(Debug, Default)]
pub struct Pushes {
    repositories: BTreeMap<u64, (Last, Repository)>,
}

/// The last push: time, and GitHub's number of the event.
type Last = (i64, u64);

impl Pushes {
    fn add(&mut self, last: Last, repository: Repository) {
        match self.repositories.entry(repository.id) {
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert((last, repository));
            }
            std::collections::btree_map::Entry::Occupied(mut known) => {
                let (known_last, known) = known.get_mut();
                let pushes = known.pushes.unwrap_or(0) + repository.pushes.unwrap_or(0);
                if last > *known_last {
                    (*known_last, *known) = (last, repository);
                }
                known.pushes = Some(pushes);
            }
        }
    }

    /// Adds those of another file.
    pub fn merge(&mut self, other: Pushes) {
        for (last, repository) in other.repositories.into_values() {
            self.add(last, repository);
        }
    }

    /// The repositories that had some, each under its last name.
    pub fn into_repositories(self) -> impl Iterator<Item = Repository> {
        self.repositories.into_values().map(|(_, repository)| repository)
    }
}

#[derive(Deserialize)]
struct Kind<'e> {
    #[serde(borrow, rename = "type")]
    kind: std::borrow::Cow<'e, str>,
}

#[derive(Deserialize)]
struct Event {
    id: String,
    repo: Repo,
    payload: Payload,
    created_at: String,
}

#[derive(Deserialize)]
struct Repo {
    id: u64,
    name: String,
}

#[derive(Deserialize)]
struct Payload {
    #[serde(rename = "ref")]
    reference: Option<String>,
    head: Option<String>,
    before: Option<String>,
}

/// Reads the events of a file that is unpacked as it comes.
fn read(from: impl Read, now: &dyn Fn() -> i64) -> (Pushes, Tally) {
    let mut reader = BufReader::new(Bounded::new(MultiGzDecoder::new(from), FILE_BYTES_MAX, FILE_SECONDS, now));
    let web = Arc::from("https://github.com/");
    let (mut pushes, mut tally, mut line) = (Pushes::default(), Tally::default(), Vec::new());
    loop {
        match next_line(&mut reader, &mut line) {
            Ok(Line::End) => break,
            Ok(Line::Long) => (tally.lines, tally.long_lines) = (tally.lines + 1, tally.long_lines + 1),
            Ok(Line::Whole) if line.trim_ascii().is_empty() => {}
            Ok(Line::Whole) => {
                tally.lines += 1;
                match push(&line, &web) {
                    Ok(None) => {}
                    Ok(Some((last, repository))) => {
                        tally.pushes += 1;
                        pushes.add(last, repository);
                    }
                    Err(Bad) => tally.bad_lines += 1,
                }
            }
            Err(error) => {
                tally.cut = Some(http::chain(&error));
                break;
            }
        }
    }
    (pushes, tally)
}

enum Line {
    Whole,
    Long,
    End,
}

fn next_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Line> {
    line.clear();
    let count = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', line)?;
    if count == 0 {
        return Ok(Line::End);
    }
    if line.ends_with(b"\n") || (count as u64) < LINE_BYTES_MAX {
        return Ok(Line::Whole);
    }
    reader.skip_until(b'\n')?;
    Ok(Line::Long)
}

struct Bad;

/// The push that a line tells of; none if it tells of something else.
fn push(line: &[u8], web: &Arc<str>) -> Result<Option<(Last, Repository)>, Bad> {
    let kind: Kind<'_> = serde_json::from_slice(line).map_err(|_| Bad)?;
    if kind.kind != "PushEvent" {
        return Ok(None);
    }
    let event: Event = serde_json::from_slice(line).map_err(|_| Bad)?;
    let name = event.repo.name;
    let (Some(at), Some(_), Ok(number)) = (seconds_of(&event.created_at), split(&name), event.id.parse()) else {
        return Err(Bad);
    };
    let id = |text: &String| matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let reference = |text: &String| text.starts_with("refs/") && !text.contains(char::is_control);
    let repository = Repository {
        web: Arc::clone(web),
        name,
        id: event.repo.id,
        pushed_at: Some(at),
        pushes: Some(1),
        reference: event.payload.reference.filter(reference),
        head: event.payload.head.filter(id),
        before: event.payload.before.filter(id),
        ..Repository::default()
    };
    Ok(Some(((at, number), repository)))
}

/// The file at a path or an address.
///
/// # Errors
/// It has the form of an address and is none.
pub fn place(text: &str) -> Result<Place, Error> {
    if !text.contains("://") {
        return Ok(Place::File(text.into()));
    }
    let bad = |reason| Error::Base { url: text.to_owned(), reason };
    let url: Url = text.parse().map_err(|_| bad("it can't be parsed"))?;
    match url.scheme() {
        "http" | "https" => Ok(Place::Url(url)),
        _ => Err(bad("there are https and http")),
    }
}

/// Hours that are over for less than this may not be in the archive yet.
const HOURS_LATE: i64 = 1;

/// The files of `hours`, an hour as `2026-11-20-15`, the first and the last as `2026-11-20-15..2026-11-21-3`, or as `last-24`
/// those up to `now`, in seconds since 1970, that are surely there; below an address or in a directory.
///
/// # Errors
/// Those are no hours, or too many.
pub fn places(base: &str, hours: &str, now: i64) -> Result<Vec<Place>, Error> {
    let bad = |reason| Error::Hours { text: hours.to_owned(), reason };
    let form = "an hour is like 2026-11-20-15, the first and the last are like 2026-11-20-15..2026-11-21-3, or last-24";
    let range = match hours.strip_prefix("last-") {
        Some(count) => {
            let last = now / 3600 - 1 - HOURS_LATE;
            count.parse::<u32>().ok().filter(|count| *count > 0).map(|count| (last + 1 - i64::from(count), last))
        }
        None => {
            let (first, last) = hours.split_once("..").unwrap_or((hours, hours));
            hour(first).zip(hour(last))
        }
    };
    let (first, last) = range.ok_or_else(|| bad(form))?;
    if last < first {
        return Err(bad("the last one is before the first"));
    }
    if last - first >= HOURS_MAX {
        return Err(bad("those are more than 10,000"));
    }
    let name = |hour: i64| format!("{}-{}.json.gz", &time_of(hour * 3600)[..10], hour % 24);
    let at = |name: String| match base.contains("://") {
        true => place(&format!("{}/{name}", base.trim_end_matches('/'))),
        false => Ok(Place::File(Path::new(base).join(name))),
    };
    (first..=last).map(name).map(at).collect()
}

/// Hours since 1970.
fn hour(text: &str) -> Option<i64> {
    let (day, hour) = text.rsplit_once('-')?;
    let is_day = day.len() == 10 && day.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let hour = hour.parse::<i64>().ok().filter(|hour| (0..24).contains(hour))?;
    Some(seconds_of(&format!("{day}T00:00:00Z")).filter(|_| is_day)? / 3600 + hour)
}

/// Reads files, from this machine and from elsewhere.
pub struct Reader<'c> {
    http: Client,
    clock: Clock<'c>,
    retries: u32,
}

impl<'c> Reader<'c> {
    /// A reader that has read nothing yet, and asks again so many times for what did not arrive, or was silent for so long.
    ///
    /// # Errors
    /// There are no connections to be had.
    pub fn new(clock: Clock<'c>, retries: u32, silent_seconds_max: u64) -> Result<Self, Error> {
        Ok(Reader { http: http::client(silent_seconds_max).map_err(Error::Client)?, clock, retries })
    }

    /// What is in a file. One from elsewhere that ends early is asked for again.
    ///
    /// # Errors
    /// It can't be opened or does not arrive.
    pub fn read(&self, place: &Place) -> Result<(Pushes, Tally), Error> {
        let url = match place {
            Place::File(path) => {
                let file = File::open(path).map_err(|source| Error::Open { place: place.to_string(), source })?;
                self.go_on(0, "")?;
                return Ok(read(BufReader::new(file), self.clock.now));
            }
            Place::Url(url) => url,
        };
        let failed = |reason: String| Error::Fetch { place: url.to_string(), reason };
        for tries in 0..=self.retries {
            self.go_on(0, "")?;
            let reason = match self.fetch(url) {
                Ok(Ok((pushes, tally))) if tally.cut.is_none() || tries == self.retries => return Ok((pushes, tally)),
                Ok(Ok((_, tally))) => tally.cut.unwrap_or_default(),
                Ok(Err(refusal)) => return Err(failed(refusal)),
                Err(reason) if tries == self.retries => return Err(failed(reason)),
                Err(reason) => reason,
            };
            self.go_on(http::pause_seconds(tries), &failed(reason).to_string())?;
        }
        Err(failed("it did not arrive".to_owned()))
    }

    fn go_on(&self, seconds: u64, why: &str) -> Result<(), Error> {
        (self.clock.pause)(seconds, why).then_some(()).ok_or(Error::Interrupted)
    }

    /// What arrived, or why the server refuses; an error is a failure that may pass.
    #[allow(clippy::type_complexity)]
    fn fetch(&self, url: &Url) -> Result<Result<(Pushes, Tally), String>, String> {
        let response = self.http.get(url.clone()).send().map_err(|e| http::chain(&e.without_url()))?;
        let status = response.status();
        (self.clock.tell)(&format!("GET {url}: {}", status.as_u16()));
        match status.as_u16() {
            200 => Ok(Ok(read(response, self.clock.now))),
            301 | 302 | 307 | 308 => Ok(Err("it leads to another server; name that one".to_owned())),
            404 => Ok(Err(
                "there is no such file (HTTP status 404); an hour is there some minutes after its end".to_owned()
            )),
            408 | 429 | 500.. => Err(format!("HTTP status {}", status.as_u16())),
            other => Ok(Err(format!("HTTP status {other}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::{super::discovery::COLUMNS, *};

    fn packed(text: &str) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).expect("it is packed");
        encoder.finish().expect("it is packed")
    }

    fn event(number: u64, id: u64, name: &str, minute: u32) -> String {
        format!(
            r#"{{"id":"{number}","type":"PushEvent","actor":{{"id":5}},"repo":{{"id":{id},"name":"{name}"}},"payload":{{"repository_id":{id},"push_id":1,"ref":"refs/heads/m{number}","head":"{:040x}","before":"{:040x}"}},"public":true,"created_at":"2026-11-20T15:{minute:02}:00Z"}}"#,
            number,
            number - 1
        )
    }

    fn of(bytes: &[u8]) -> (Vec<String>, Tally) {
        let (pushes, tally) = read(bytes, &|| 0);
        let line = |one: Repository| {
            let known = COLUMNS.into_iter().zip(one.values()).filter(|(_, value)| !value.is_null());
            serde_json::Value::Object(known.map(|(column, value)| (column.to_owned(), value)).collect()).to_string()
        };
        (pushes.into_repositories().map(line).collect(), tally)
    }

    #[test]
    fn pushes_are_counted_by_repository_and_the_last_one_names_it() {
        let star = r#"{"id":"9","type":"WatchEvent","repo":{"id":1,"name":"a/b"},"payload":{},"created_at":"x"}"#;
        // Renamed within the hour, and not in order.
        let lines = [event(3, 1, "a/new", 9), event(2, 1, "a/old", 5), star.to_owned(), event(4, 7, "c/.github", 1)];
        let expected = [
            r#"{"before":"0000000000000000000000000000000000000002","full_name":"a/new","head":"0000000000000000000000000000000000000003","id":1,"pushed_at":"2026-11-20T15:09:00Z","pushes":2,"ref":"refs/heads/m3","url":"https://github.com/a/new.git"}"#,
            r#"{"before":"0000000000000000000000000000000000000003","full_name":"c/.github","head":"0000000000000000000000000000000000000004","id":7,"pushed_at":"2026-11-20T15:01:00Z","pushes":1,"ref":"refs/heads/m4","url":"https://github.com/c/.github.git"}"#,
        ];
        let (found, tally) = of(&packed(&lines.join("\n")));
        assert_eq!(
            (found, tally),
            (expected.map(str::to_owned).to_vec(), Tally { lines: 4, pushes: 3, ..Tally::default() })
        );
        // Two members, as of two files one behind the other.
        let two = [packed(&lines[..2].join("\n")), packed(&format!("\n{}", lines[2..].join("\n")))].concat();
        assert_eq!(of(&two).0, expected);
    }

    #[test]
    fn bad_lines_are_counted_and_the_others_count() {
        let good = event(3, 1, "a/b", 9);
        let cases = [
            "{".to_owned(),
            "[]".to_owned(),
            "null".to_owned(),
            r#"{"kind": 1}"#.to_owned(),
            good.replace("\"id\":1,\"name\"", "\"id\":\"1\",\"name\""),
            good.replace("a/b", "a/../b"),
            good.replace("a/b", "a"),
            good.replace("2026-11-20T", "yesterday "),
            good.replace("\"repo\"", "\"repository\""),
            good.replace(r#""id":"3""#, r#""id":"three""#),
        ];
        for bad in &cases {
            let (found, tally) = of(&packed(&format!("{bad}\n{good}\n\n")));
            let expected = Tally { lines: 2, pushes: 1, bad_lines: 1, ..Tally::default() };
            assert_eq!((found.len(), tally), (1, expected), "{bad}");
        }
        let odd = good.replace("refs/heads/m3", "main").replace(&format!("{:040x}", 3), "HEAD");
        let (found, tally) = of(&packed(&odd));
        assert!(tally.pushes == 1 && !found[0].contains("ref\"") && !found[0].contains("head\""), "{found:?}");
    }

    #[test]
    fn a_file_cut_anywhere_gives_what_is_there_and_says_so() {
        let text: Vec<String> = (1..200).map(|number| event(number, number, "a/b", 1)).collect();
        let whole = packed(&text.join("\n"));
        let mut last = 0;
        for length in (0..whole.len()).step_by(7) {
            let (found, tally) = of(&whole[..length]);
            assert!(tally.cut.is_some() && tally.bad_lines == 0 && found.len() >= last, "{length}: {tally:?}");
            last = found.len();
        }
        assert!(last > 150, "{last}");
        assert_eq!(of(b"no gzip at all").1.lines, 0);
        assert!(of(b"no gzip at all").1.cut.is_some());
    }

    #[test]
    fn lines_without_end_take_no_memory() {
        let long = "x".repeat(usize::try_from(LINE_BYTES_MAX).expect("it fits") + 5);
        let (found, tally) = of(&packed(&format!("{long}\n{}", event(3, 1, "a/b", 9))));
        assert_eq!((found.len(), tally), (1, Tally { lines: 2, pushes: 1, long_lines: 1, ..Tally::default() }));
    }

    #[test]
    fn hours_have_names() {
        let names = |base: &str, hours: &str| -> Result<Vec<String>, String> {
            let places = places(base, hours, 1_767_225_600 + 1800).map_err(|e| e.to_string())?;
            Ok(places.iter().map(Place::to_string).collect())
        };
        let day = "2026-12-31-23..2027-01-01-1";
        assert_eq!(
            names("https://h/x/", day).expect("hours"),
            ["2026-12-31-23", "2027-01-01-0", "2027-01-01-1"].map(|name| format!("https://h/x/{name}.json.gz"))
        );
        assert_eq!(names("dir", "2026-02-28-5").expect("hours"), ["dir/2026-02-28-5.json.gz"]);
        // It is half past midnight.
        let last = ["dir/2025-12-31-21.json.gz", "dir/2025-12-31-22.json.gz"];
        assert_eq!(names("dir", "last-2").expect("hours"), last);
        for bad in [
            "",
            "last-0",
            "last-x",
            "last-10001",
            "2026-11-20",
            "2026-11-20-24",
            "2026-13-01-1",
            "1-1-1-1",
            "2026-11-20-5..2026-11-20-4",
            "2020-01-01-0..2026-01-01-0",
        ] {
            assert!(names("dir", bad).is_err(), "{bad}");
        }
        assert!(names("ftp://h", "2026-02-28-5").is_err());
    }
}
