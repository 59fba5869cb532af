//! Requests to one server's REST API: with a token, under limits of the rate, again after failures that pass, and
//! conditional where the answer is known already.

use std::{collections::BTreeMap, io::Read as _, path::PathBuf, sync::Arc};

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, IF_NONE_MATCH};
use serde::de::DeserializeOwned;

use super::{
    Error,
    answer::{self, Meaning, REST_SECONDS, Rest, Window},
    cache::{Cache, Entry},
};
use crate::source::http::{self, Bounded, Url};

/// Largest answer that is read; a hundred repositories take about 0.6 MB.
const ANSWER_BYTES_MAX: u64 = 32 << 20;
/// How long an answer may take to arrive.
const ANSWER_SECONDS: i64 = 300;
/// How often one request may be told to wait.
const WAITS_MAX: u32 = 5;

/// The version of the API that is spoken (docs.github.com, "API Versions").
const API_VERSION: &str = "2022-11-28";

/// What a client asks of whoever runs it: the time, and patience.
#[derive(Clone, Copy)]
pub struct Clock<'c> {
    /// The time in seconds since 1970.
    pub now: &'c dyn Fn() -> i64,
    /// Waits so many seconds, for a reason; false where the run is to end.
    pub pause: &'c dyn Fn(u64, &str) -> bool,
    /// Told of each request and what came of it.
    pub tell: &'c dyn Fn(&str),
}

/// Where to ask, and how.
pub struct Options {
    /// The address of the API.
    pub base_url: String,
    /// Who asks.
    pub token: Option<String>,
    /// Where answers are kept.
    pub cache: Option<PathBuf>,
    /// The longest wait for a limit of the rate.
    pub wait_seconds_max: u64,
    /// Further attempts after a failure that may pass.
    pub retries: u32,
    /// How long nothing may arrive.
    pub silent_seconds_max: u64,
}

/// What was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Requests {
    /// Requests that had an answer.
    pub answered: u64,
    /// Those of them that told that nothing has changed.
    pub unchanged: u64,
    /// Waits for a limit of the rate.
    pub waits: u64,
    /// Attempts that failed and were made again.
    pub retries: u64,
    /// What is left of the limit that is nearest to its end.
    pub remaining: Option<u64>,
    /// When the next request may be made, in seconds since 1970, where a limit was too long to wait for.
    pub limited_until: Option<i64>,
}

/// A server.
pub struct Client<'c> {
    http: http::Client,
    base: Url,
    token: Option<HeaderValue>,
    cache: Option<Cache>,
    wait_seconds_max: u64,
    retries: u32,
    clock: Clock<'c>,
    /// Searches have a limit of their own.
    windows: BTreeMap<&'static str, Window>,
    /// What was asked until now.
    pub requests: Requests,
    /// Why answers are not kept any more, if they are not.
    pub cache_failure: Option<String>,
}

/// One page of an answer.
pub(super) struct Page<T> {
    pub(super) value: T,
    pub(super) next: Option<Url>,
}

/// Whether what is known already may serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    MayServe,
    IsDoubted,
}

struct Answer {
    meaning: Meaning,
    etag: Option<String>,
    next: Option<String>,
    body: Vec<u8>,
}

impl<'c> Client<'c> {
    /// A client that has asked nothing yet.
    ///
    /// # Errors
    /// The base URL is none, or the token would be sent without encryption.
    pub fn new(options: &Options, clock: Clock<'c>) -> Result<Self, Error> {
        let base = base(&options.base_url)?;
        if options.token.is_some() && base.scheme() == "http" && !http::is_loopback(&base) {
            let reason = "a token is not sent without encryption";
            return Err(Error::BaseUrl { url: base.to_string(), reason });
        }
        let token = options.token.as_deref().map(|token| {
            let mut value = HeaderValue::try_from(format!("Bearer {token}"))?;
            value.set_sensitive(true);
            Ok::<_, reqwest::header::InvalidHeaderValue>(value)
        });
        let token =
            token.transpose().map_err(|_| Error::Client("the token has characters that no token has".into()))?;
        Ok(Client {
            http: http::client(options.silent_seconds_max).map_err(Error::Client)?,
            base,
            token,
            cache: options.cache.as_deref().map(|directory| Cache::new(directory, options.token.as_deref())),
            wait_seconds_max: options.wait_seconds_max,
            retries: options.retries,
            clock,
            windows: BTreeMap::new(),
            requests: Requests::default(),
            cache_failure: None,
        })
    }

    /// The address of what `segments` name, with a query.
    pub(super) fn url(&self, segments: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// Where repositories are cloned from, with a slash at its end.
    pub(super) fn web(&self) -> Arc<str> {
        web(&self.base).as_str().into()
    }

    fn host(&self) -> String {
        self.base.host_str().unwrap_or_default().to_owned()
    }

    /// The answer of `url`.
    pub(super) fn get<T: DeserializeOwned>(&mut self, url: &Url, known: Known) -> Result<Page<T>, Error> {
        let name = url.to_string();
        let mut kept = self.cache.as_ref().filter(|_| known == Known::MayServe).and_then(|cache| cache.get(&name));
        let (mut waits, mut tries) = (0, 0);
        loop {
            self.hold_back(url)?;
            let answer = self.send(url, kept.as_ref().map(|entry| entry.etag.as_str()));
            let failure = match answer {
                Err(reason) => Error::Failed { url: name.clone(), reason },
                Ok(answer) => match answer.meaning {
                    Meaning::Good => match serde_json::from_slice(&answer.body) {
                        Ok(value) => return self.page(url, value, answer),
                        Err(e) => Error::Garbage { url: name.clone(), reason: e.to_string() },
                    },
                    Meaning::Unchanged => {
                        // What was kept may be from another version of this program.
                        let entry = kept.take();
                        let value = entry.as_ref().and_then(|entry| serde_json::from_str(&entry.body).ok());
                        if let (Some(value), Some(entry)) = (value, entry) {
                            self.requests.unchanged += 1;
                            return Ok(Page { value, next: self.next(url, entry.next.as_deref())? });
                        }
                        Error::Garbage { url: name.clone(), reason: "nothing is known that could be unchanged".into() }
                    }
                    Meaning::Wait(rest) => {
                        self.rest(url, rest, waits)?;
                        waits += 1;
                        continue;
                    }
                    Meaning::Moved(to) => return Err(self.elsewhere(url, &to)),
                    Meaning::Passing(reason) => Error::Failed { url: name.clone(), reason },
                    Meaning::Token => return Err(Error::Token { url: name }),
                    Meaning::NotFound => return Err(Error::NotFound { url: name }),
                    Meaning::Blocked => return Err(Error::Blocked { url: name }),
                    Meaning::Refused(reason, status) => return Err(Error::Refused { url: name, status, reason }),
                },
            };
            if tries == self.retries {
                return Err(failure);
            }
            self.pause(http::pause_seconds(tries), &failure.to_string())?;
            self.requests.retries += 1;
            tries += 1;
        }
    }

    /// A page whose answer could be read, which is worth keeping for that.
    fn page<T>(&mut self, url: &Url, value: T, answer: Answer) -> Result<Page<T>, Error> {
        let next = self.next(url, answer.next.as_deref())?;
        if let (Some(cache), Some(etag), Ok(body)) = (&self.cache, answer.etag, String::from_utf8(answer.body)) {
            let kept = cache.put(Entry { url: url.to_string(), etag, next: answer.next, body });
            if let Err((path, error)) = kept {
                // The answer itself is there.
                self.cache_failure = Some(format!("{}: {error}", path.display()));
                self.cache = None;
            }
        }
        Ok(Page { value, next })
    }

    fn next(&self, url: &Url, next: Option<&str>) -> Result<Option<Url>, Error> {
        let Some(text) = next else { return Ok(None) };
        let next = url.join(text).map_err(|_| Error::Garbage {
            url: url.to_string(),
            reason: "the address of the next page is none".into(),
        })?;
        match next.origin() == self.base.origin() {
            true => Ok(Some(next)),
            false => Err(self.elsewhere(url, text)),
        }
    }

    fn elsewhere(&self, url: &Url, to: &str) -> Error {
        let host = url.join(to).ok().and_then(|to| to.host_str().map(str::to_owned));
        Error::Elsewhere { url: url.to_string(), to: host.unwrap_or_else(|| "which has no name".to_owned()) }
    }

    fn send(&mut self, url: &Url, etag: Option<&str>) -> Result<Answer, String> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/vnd.github+json"));
        headers.insert("x-github-api-version", HeaderValue::from_static(API_VERSION));
        if let Some(token) = &self.token {
            headers.insert(AUTHORIZATION, token.clone());
        }
        if let Some(etag) = etag.and_then(|etag| HeaderValue::from_str(etag).ok()) {
            headers.insert(IF_NONE_MATCH, etag);
        }
        let tell = |what: &str| (self.clock.tell)(&format!("GET {url}: {what}"));
        let response = self.http.get(url.clone()).headers(headers).send().map_err(|e| {
            let reason = http::chain(&e.without_url());
            tell(&reason);
            reason
        })?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        tell(&status.to_string());
        self.requests.answered += 1;
        if let Some(window) = answer::window(&headers) {
            self.windows.insert(limit_of(url), window);
            self.requests.remaining = self.windows.values().map(|window| window.remaining).min();
        }
        let mut body = Vec::new();
        let read = Bounded::new(response, ANSWER_BYTES_MAX, ANSWER_SECONDS, self.clock.now).read_to_end(&mut body);
        read.map_err(|e| http::chain(&e))?;
        let etag = answer::text(&headers, "etag").map(str::to_owned);
        Ok(Answer { meaning: answer::meaning(status, &headers, &body), etag, next: answer::next(&headers), body })
    }

    /// A limit that is used up is not tried: GitHub may shut out those who go on.
    fn hold_back(&mut self, url: &Url) -> Result<(), Error> {
        match self.windows.get(limit_of(url)) {
            Some(Window { remaining: 0, reset }) if *reset > (self.clock.now)() => {
                self.rest(url, Rest::Until(*reset), 0)
            }
            _ => (self.clock.pause)(0, "").then_some(()).ok_or(Error::Interrupted),
        }
    }

    fn rest(&mut self, url: &Url, rest: Rest, waits: u32) -> Result<(), Error> {
        let now = (self.clock.now)();
        let seconds = match rest {
            Rest::Seconds(seconds) => seconds.max(1),
            // The clocks need not agree to the second.
            Rest::Until(reset) => u64::try_from(reset.saturating_sub(now)).unwrap_or(0).saturating_add(1),
            Rest::Unsaid => REST_SECONDS << waits,
        };
        if seconds > self.wait_seconds_max || waits == WAITS_MAX {
            let at = now.saturating_add_unsigned(seconds);
            self.requests.limited_until = self.requests.limited_until.max(Some(at));
            return Err(Error::Limited { host: self.host(), seconds, at });
        }
        self.requests.waits += 1;
        self.windows.remove(limit_of(url));
        self.pause(seconds, &format!("{} limits the rate", self.host()))
    }

    fn pause(&self, seconds: u64, why: &str) -> Result<(), Error> {
        (self.clock.pause)(seconds, why).then_some(()).ok_or(Error::Interrupted)
    }
}

/// The address of an API, with neither a login nor a slash at its end.
pub(super) fn base(text: &str) -> Result<Url, Error> {
    let bad = |reason| Error::BaseUrl { url: without_login(text), reason };
    let mut base: Url = text.parse().map_err(|_| bad("it can't be parsed"))?;
    if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
        return Err(bad("there are https and http"));
    }
    if !base.username().is_empty() || base.password().is_some() || base.query().is_some() {
        return Err(bad("a user, a password or a query has no place in it"));
    }
    let path = base.path().trim_end_matches('/').to_owned();
    base.set_path(&path);
    Ok(base)
}

/// Where the repositories of an API are cloned from: `https://github.com/` for api.github.com.
pub(super) fn web(base: &Url) -> Url {
    let mut url = base.clone();
    url.set_path("/");
    let host = url.host_str().and_then(|host| host.strip_prefix("api.")).map(str::to_owned);
    if base.path().trim_matches('/').is_empty()
        && let Some(host) = host
        // A host without its first part is one as well.
        && url.set_host(Some(&host)).is_err()
    {
        return base.clone();
    }
    url
}

/// Which of GitHub's limits a request counts against.
fn limit_of(url: &Url) -> &'static str {
    if url.path().contains("/search/") { "search" } else { "core" }
}

/// A URL as it may be shown.
fn without_login(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://{rest}"),
        _ => url.to_owned(),
    }
}
