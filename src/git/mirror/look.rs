//! A look at the tips of a remote over HTTP, to see whether a fetch would bring anything.
//!
//! It takes one or two small requests and no process. All of it together has a deadline, so a server that sends a byte now
//! and then can't keep it either. Only the references that a revision needs are asked for. Refuses to follow a redirect to another server, and to send
//! a password without encryption.

use std::io::{self, BufRead, BufReader, Read as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use gix::{ObjectId, bstr::ByteSlice as _};
use reqwest::{
    StatusCode,
    blocking::{Client, RequestBuilder, Response},
    header::HeaderMap,
    redirect::{self, Policy},
};

use super::{
    Error, ErrorKind, POLL,
    address::{PublicOnly, check_literal},
    classify_text,
    credentials::{authority, token},
};
use crate::git::repository::{Revision, tips_digest};

/// Most that is read in a look: of a list of references, about a million. GitHub's largest repositories have some hundred
/// thousand.
const BYTES_MAX: u64 = 64 << 20;
/// Most references that are kept of a list, which takes 8 MiB: those that count, so that hardly a server has as many.
const TIPS_MAX: usize = (8 << 20) / size_of::<ObjectId>();
/// What is read at once.
const BUFFER_BYTES: usize = 64 << 10;
/// Redirects in a row; a renamed repository takes one, a change to https another.
const REDIRECTS_MAX: usize = 5;

/// What a look saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// [`tips_digest`] of the references that count, as a mirror would have them after a fetch.
    pub tips: String,
    /// Where the server says that the repository is now.
    pub moved_to: Option<String>,
    /// Bytes of the answers.
    pub bytes: u64,
}

/// When a server that limits the rate wants to be asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It does not say.
    Unsaid,
    /// After so many seconds.
    After(u64),
    /// At a time in seconds since 1970.
    At(u64),
}

/// Why there is nothing to see.
#[derive(Debug)]
pub struct Refusal {
    /// What is wrong.
    pub error: Error,
    /// Set where the server wants to be asked less often.
    pub retry: Option<Retry>,
}

/// How long what may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Opening a connection.
    pub connect: Duration,
    /// A request, from the first byte of it to the last of its answer.
    pub answer: Duration,
    /// All of a look.
    pub total: Duration,
}

/// Looks at remotes; connections to a server are used again. A clone shares them.
#[derive(Clone)]
pub struct Looker {
    client: Client,
    patience: Patience,
    public_only: bool,
}

/// One exchange with a remote.
struct Exchange<'a> {
    looker: &'a Looker,
    url: &'a str,
    login: Option<(String, String)>,
    bytes: u64,
    deadline: Instant,
}

impl Looker {
    /// With `public_only`, only addresses are asked that everybody reaches.
    ///
    /// # Errors
    /// The client can't be set up.
    pub fn new(patience: Patience, public_only: bool) -> Result<Self, Error> {
        let mut builder = Client::builder()
            .user_agent(concat!("gitlode/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(patience.connect)
            .redirect(Policy::custom(follow));
        if public_only {
            builder = builder.dns_resolver(Arc::new(PublicOnly));
        }
        let client = builder.build().map_err(|e| Error::new(ErrorKind::Io, "the HTTP client", chain(&e)))?;
        Ok(Looker { client, patience, public_only })
    }

    /// Looks at those references of `url` that `revision` needs. `None` where only a fetch can tell: for other schemes
    /// than HTTP, for a revision that has to be resolved, and where a password is wanted that only git's credential helpers
    /// may know.
    ///
    /// # Errors
    /// The server can't be reached, refuses, takes too long, or is no git server; or an interruption came.
    pub fn look(&self, url: &str, revision: &Revision, interrupt: &AtomicBool) -> Result<Option<Look>, Refusal> {
        let refuse = |kind, reason| Refusal { error: Error::new(kind, url, reason), retry: None };
        let (send, receive) = channel();
        let (looker, address, of) = (self.clone(), url.to_owned(), revision.clone());
        // A read can't be interrupted, so it goes on by itself where nobody waits for it any more, up to its own deadline.
        thread::spawn(move || _ = send.send(looker.ask(&address, &of)));
        let deadline = Instant::now() + self.patience.total;
        loop {
            match receive.recv_timeout(POLL) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Disconnected) => return Err(refuse(ErrorKind::Io, "a bug in gitlode")),
                Err(RecvTimeoutError::Timeout) if interrupt.load(Ordering::Relaxed) => {
                    return Err(refuse(ErrorKind::Interrupted, "while it was looked at"));
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(RecvTimeoutError::Timeout) => return Err(self.too_slow(url)),
            }
        }
    }

    fn too_slow(&self, url: &str) -> Refusal {
        let reason = format!("a look takes more than {} seconds", self.patience.total.as_secs());
        Refusal { error: Error::new(ErrorKind::Stalled, url, reason), retry: None }
    }

    fn ask(&self, url: &str, revision: &Revision) -> Result<Option<Look>, Refusal> {
        let Ok(parsed) = gix::url::parse(url.as_bytes().as_bstr()) else { return Ok(None) };
        if self.public_only {
            // A redirect leads to no other host, so this holds for all that is asked.
            check_literal(&parsed)
                .map_err(|(kind, reason)| Refusal { error: Error::new(kind, url, reason), retry: None })?;
        }
        if !matches!(parsed.scheme, gix::url::Scheme::Http | gix::url::Scheme::Https) {
            return Ok(None);
        }
        if matches!(revision, Revision::Named(_)) {
            return Ok(None);
        }
        let is_private = parsed.scheme == gix::url::Scheme::Https;
        let given = parsed.user().zip(parsed.password()).map(|(user, password)| (user.to_owned(), password.to_owned()));
        let (host, port) = authority(&parsed).unwrap_or_default();
        let token = || token(&host, port.filter(|port| *port != 443), &|name| std::env::var(name).ok());
        let login = given.or_else(|| token().map(|token| ("x-access-token".to_owned(), token)));
        let mut plain = parsed;
        plain.set_user(None);
        plain.set_password(None);
        let base = plain.to_bstring().to_string();
        let deadline = Instant::now() + self.patience.total;
        let mut exchange = Exchange { looker: self, url, login: login.filter(|_| is_private), bytes: 0, deadline };
        match exchange.look(base.trim_end_matches('/'), revision) {
            Err(refusal)
                if refusal.error.kind() == ErrorKind::Authentication
                    && refusal.retry.is_none()
                    && is_private
                    && exchange.login.is_none() =>
            {
                Ok(None)
            }
            result => result.map(Some),
        }
    }
}

impl Exchange<'_> {
    fn look(&mut self, base: &str, revision: &Revision) -> Result<Look, Refusal> {
        const SERVICE: &str = "/info/refs?service=git-upload-pack";
        let asked = format!("{base}{SERVICE}");
        let response = self.send(self.looker.client.get(&asked).header("Git-Protocol", "version=2"))?;
        let kind = response.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !kind.starts_with("application/x-git-upload-pack-advertisement") {
            return Err(self.refuse(ErrorKind::Protocol, "it is no git server that speaks the smart protocol"));
        }
        let at = response.url().as_str().strip_suffix(SERVICE).map(str::to_owned);
        let at = at.ok_or_else(|| self.refuse(ErrorKind::Protocol, "it leads to an address of another form"))?;
        let mut greeting = self.read(response, revision)?;
        // In version 2 a greeting lists nothing, or what nobody keeps.
        let listed = Some(std::mem::take(&mut greeting.tips)).filter(|_| !greeting.is_second);
        let mut tips = match (greeting.is_second, revision) {
            (true, Revision::Head) => self.list(&at, &greeting, "HEAD", revision)?.tips,
            (true, _) => self.list(&at, &greeting, "refs/heads/", revision)?.tips,
            (false, _) => listed.unwrap_or_default(),
        };
        // A server that can tell of an unborn HEAD has one then, and so has the mirror.
        if *revision == Revision::Head && tips.is_empty() && !greeting.tells_unborn {
            let likeliest = match greeting.is_second {
                true => self.list(&at, &greeting, "refs/heads/", revision)?.likeliest,
                false => greeting.likeliest,
            };
            tips.extend(likeliest.map(|(_, id)| id));
        }
        let moved_to = Some(at).filter(|at| at != base);
        Ok(Look { tips: tips_digest(tips, []), moved_to, bytes: self.bytes })
    }

    /// What a server has of the references that begin with `prefix`, in version 2 of the protocol.
    fn list(&mut self, at: &str, greeting: &Answer, prefix: &str, revision: &Revision) -> Result<Answer, Refusal> {
        let mut body = packet(b"command=ls-refs\n");
        body.extend(greeting.format.iter().flat_map(|line| packet(line)));
        body.extend(b"0001");
        body.extend(packet(format!("ref-prefix {prefix}\n").as_bytes()));
        body.extend(b"0000");
        let request = self.looker.client.post(format!("{at}/git-upload-pack")).header("Git-Protocol", "version=2");
        let request = request.header("Content-Type", "application/x-git-upload-pack-request");
        let response = self.send(request.header("Accept", "application/x-git-upload-pack-result").body(body))?;
        self.read(response, revision)
    }

    fn refuse(&self, kind: ErrorKind, reason: impl Into<String>) -> Refusal {
        Refusal { error: Error::new(kind, self.url, reason), retry: None }
    }

    fn send(&self, request: RequestBuilder) -> Result<Response, Refusal> {
        let request = match &self.login {
            Some((user, password)) => request.basic_auth(user, Some(password)),
            None => request,
        };
        let left = self.deadline.saturating_duration_since(Instant::now());
        // One for the client would hold for each part of an answer anew.
        let request = request.timeout(self.looker.patience.answer.min(left));
        let response = request.send().map_err(|error| self.failed(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let retry = retry(status, response.headers());
        let kind = classify_text(&format!("http status {}", status.as_u16())).unwrap_or(ErrorKind::Protocol);
        let error = Error::new(kind, self.url, format!("HTTP status {}", status.as_u16()));
        Err(Refusal { error, retry })
    }

    /// Reads an answer packet by packet, and keeps of it what `revision` needs.
    fn read(&mut self, response: Response, revision: &Revision) -> Result<Answer, Refusal> {
        let left = BYTES_MAX - self.bytes;
        let mut from = BufReader::with_capacity(BUFFER_BYTES, response.take(left + 1));
        let (mut answer, mut line) = (Answer::default(), Vec::new());
        loop {
            let is_packet = read_packet(&mut from, &mut line);
            if from.get_ref().limit() == 0 {
                let reason = format!("its list of references has more than {BYTES_MAX} bytes");
                return Err(self.refuse(ErrorKind::Limit, reason));
            }
            if !is_packet.map_err(|error| self.unread(&error))? {
                break;
            }
            if let Some(said) = line.strip_prefix(b"ERR ") {
                let said = String::from_utf8_lossy(said).trim().to_owned();
                let kind = classify_text(&said.to_ascii_lowercase()).unwrap_or(ErrorKind::Protocol);
                return Err(self.refuse(kind, said));
            }
            answer.take(&line, revision);
            if answer.tips.len() > TIPS_MAX {
                let reason = format!("it has more than {TIPS_MAX} references that count");
                return Err(self.refuse(ErrorKind::Limit, reason));
            }
        }
        self.bytes += left + 1 - from.get_ref().limit();
        Ok(answer)
    }

    /// Why an answer, or a packet of it, could not be read to its end.
    fn unread(&self, error: &io::Error) -> Refusal {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<reqwest::Error>()) {
            Some(error) => self.failed(error),
            None if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
                self.refuse(ErrorKind::Protocol, "its answer is not made of packets")
            }
            None => self.refuse(ErrorKind::Disconnected, error.to_string()),
        }
    }

    fn failed(&self, error: &reqwest::Error) -> Refusal {
        if error.is_timeout() && Instant::now() >= self.deadline {
            return self.looker.too_slow(self.url);
        }
        let reason = chain(error);
        let said = classify_text(&reason.to_ascii_lowercase());
        let kind = if said == Some(ErrorKind::PrivateAddress) {
            ErrorKind::PrivateAddress
        } else if error.is_redirect() {
            ErrorKind::Protocol
        } else if error.is_timeout() && !error.is_connect() {
            ErrorKind::Stalled
        } else if error.is_connect() {
            ErrorKind::Unreachable
        } else {
            said.unwrap_or(ErrorKind::Disconnected)
        };
        self.refuse(kind, reason)
    }
}

/// What is kept of an answer, which may be much longer.
#[derive(Default)]
struct Answer {
    /// Whether the server speaks version 2 of the protocol.
    is_second: bool,
    /// Whether it can tell of a HEAD without commits.
    tells_unborn: bool,
    /// The line that names the hash function.
    format: Option<Vec<u8>>,
    /// Of the references that count.
    tips: Vec<ObjectId>,
    /// The branch that a mirror takes for the default one where nothing is known of HEAD.
    likeliest: Option<(Vec<u8>, ObjectId)>,
}

impl Answer {
    fn take(&mut self, line: &[u8], revision: &Revision) {
        self.is_second |= line.trim_ascii_end() == b"version 2";
        self.tells_unborn |= line.starts_with(b"ls-refs=") && line.contains_str("unborn");
        if self.format.is_none() && line.starts_with(b"object-format=") {
            self.format = Some(line.to_owned());
        }
        let Some((name, id)) = reference(line) else { return };
        if matters(name, revision) {
            self.tips.push(id);
        }
        let rank = |name: &[u8]| (name != b"refs/heads/main", name != b"refs/heads/master");
        let is_likelier = |(best, _): &(Vec<u8>, ObjectId)| (rank(name), name) < (rank(best), best);
        if name.starts_with(b"refs/heads/") && self.likeliest.as_ref().is_none_or(is_likelier) {
            self.likeliest = Some((name.to_owned(), id));
        }
    }
}

/// A line like `<id> <name>`, with what may follow behind a NUL (version 0) or a space (version 2).
fn reference(line: &[u8]) -> Option<(&[u8], ObjectId)> {
    let (id, rest) = line.split_once_str(b" ")?;
    let id = ObjectId::from_hex(id).ok().filter(|id| !id.is_null())?;
    let name = rest.split(|byte| matches!(byte, b'\0' | b' ' | b'\n')).next().unwrap_or_default();
    Some((name, id))
}

fn matters(name: &[u8], revision: &Revision) -> bool {
    match revision {
        Revision::Head => name == b"HEAD",
        Revision::AllBranches | Revision::Named(_) => name.starts_with(b"refs/heads/"),
    }
}

fn packet(line: &[u8]) -> Vec<u8> {
    [format!("{:04x}", line.len() + 4).as_bytes(), line].concat()
}

/// Reads the next packet into `line`; those that only divide are empty. False at the end.
fn read_packet(from: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    if from.fill_buf()?.is_empty() {
        return Ok(false);
    }
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = std::str::from_utf8(&length).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
    let length = length.ok_or(io::ErrorKind::InvalidData)?;
    line.resize(length.saturating_sub(4), 0);
    from.read_exact(line)?;
    Ok(true)
}

/// Only to the same server, or from http to https on it: a redirect must not make us ask machines that nobody named.
fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let Some(before) = attempt.previous().last() else { return attempt.follow() };
    let next = attempt.url();
    let same = |url: &reqwest::Url| (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port());
    let is_upgrade = (before.scheme(), next.scheme()) == ("http", "https")
        && before.host_str() == next.host_str()
        && before.port().is_none()
        && next.port().is_none();
    if attempt.previous().len() > REDIRECTS_MAX {
        return attempt.error("it redirects too often");
    }
    if same(before) == same(next) || is_upgrade {
        return attempt.follow();
    }
    let to = next.host_str().unwrap_or_default().to_owned();
    attempt.error(format!("it redirects to another server ({to})"))
}

/// Whether the server limits the rate, as RFC 6585 (429) and GitHub's documentation (403 with either header) have it.
fn retry(status: StatusCode, headers: &HeaderMap) -> Option<Retry> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let after = header("retry-after").map(|value| match value.parse() {
        Ok(seconds) => Retry::After(seconds),
        Err(_) => gix::date::parse(value, None)
            .ok()
            .and_then(|time| u64::try_from(time.seconds).ok())
            .map_or(Retry::Unsaid, Retry::At),
    });
    let is_used_up = header("x-ratelimit-remaining") == Some("0");
    let reset = header("x-ratelimit-reset").and_then(|value| value.parse().ok()).map(Retry::At);
    match status {
        StatusCode::TOO_MANY_REQUESTS => Some(after.or(reset.filter(|_| is_used_up)).unwrap_or(Retry::Unsaid)),
        StatusCode::FORBIDDEN if after.is_some() || is_used_up => after.or(reset).or(Some(Retry::Unsaid)),
        StatusCode::SERVICE_UNAVAILABLE => after,
        _ => None,
    }
}

/// The messages of an error and its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !said.contains(&text) {
            said = format!("{said}: {text}");
        }
        cause = error.source();
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_and_references_are_read_as_git_writes_them() {
        let id = "1".repeat(40);
        let (mut answer, mut line, mut seen) = (&b"0006ab0000000100020004"[..], Vec::new(), Vec::new());
        while read_packet(&mut answer, &mut line).expect("a packet") {
            seen.push(line.clone());
        }
        assert_eq!(seen, [&b"ab"[..], b"", b"", b"", b""]);
        for bad in [&b"00"[..], b"xyzw", b"0009ab"] {
            assert!(read_packet(&mut &bad[..], &mut line).is_err(), "{bad:?}");
        }
        for (line, name) in [
            (format!("{id} HEAD\0multi_ack symref=HEAD:refs/heads/main\n"), Some("HEAD")),
            (format!("{id} refs/heads/a b\n"), Some("refs/heads/a")),
            (format!("{id} HEAD symref-target:refs/heads/main\n"), Some("HEAD")),
            (format!("{} capabilities^{{}}\0ofs-delta\n", "0".repeat(40)), None),
            ("version 2\n".to_owned(), None),
        ] {
            let found = reference(line.as_bytes()).map(|(name, _)| name);
            assert_eq!(found, name.map(str::as_bytes), "{line}");
        }
    }

    #[test]
    fn limits_of_the_rate_are_understood() {
        let check = |status: u16, headers: &[(&'static str, &str)], expected| {
            let mut map = HeaderMap::new();
            headers.iter().for_each(|(name, value)| _ = map.insert(*name, value.parse().expect("a header")));
            assert_eq!(retry(StatusCode::from_u16(status).expect("a status"), &map), expected, "{status} {headers:?}");
        };
        check(429, &[], Some(Retry::Unsaid));
        check(429, &[("retry-after", "7")], Some(Retry::After(7)));
        check(429, &[("retry-after", "Fri, 27 Nov 2026 00:00:00 +0000")], Some(Retry::At(1_795_737_600)));
        check(429, &[("retry-after", "soon")], Some(Retry::Unsaid));
        check(403, &[], None);
        check(403, &[("retry-after", "60")], Some(Retry::After(60)));
        let used_up = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1795737600")];
        check(403, &used_up, Some(Retry::At(1_795_737_600)));
        check(403, &[("x-ratelimit-remaining", "5"), ("x-ratelimit-reset", "1795737600")], None);
        check(503, &[("retry-after", "3")], Some(Retry::After(3)));
        check(404, &[("retry-after", "3")], None);
    }
}
