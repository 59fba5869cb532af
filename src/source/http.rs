//! HTTP as this program uses it: every wait has an end, every answer a largest size, and nothing is sent to a server that
//! was not named.

use std::{
    io::{self, Read},
    time::Duration,
};

use reqwest::redirect::{Attempt, Policy};
pub use reqwest::{Url, blocking::Client};

/// Redirects in a row; a renamed repository takes one.
const REDIRECTS_MAX: usize = 5;
/// How long a connection may take to open.
const CONNECT_SECONDS: u64 = 20;

/// A client without any login, for answers of which something has to arrive every so many seconds.
///
/// # Errors
/// The system gives no connections, or its certificates can't be read.
pub fn client(silent_seconds_max: u64) -> Result<Client, String> {
    let builder = Client::builder()
        .user_agent(concat!("gitlode/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(CONNECT_SECONDS.min(silent_seconds_max)))
        .timeout(Duration::from_secs(silent_seconds_max))
        .redirect(Policy::custom(follow));
    builder.build().map_err(|e| chain(&e))
}

/// Within one server only: what leads elsewhere is given back as it is.
fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    if attempt.previous().len() > REDIRECTS_MAX {
        return attempt.error("too many redirects");
    }
    match attempt.previous().last() {
        Some(from) if from.origin() == attempt.url().origin() => attempt.follow(),
        _ => attempt.stop(),
    }
}

/// How long to wait after so many failures that may pass.
pub fn pause_seconds(failures: u32) -> u64 {
    1 << failures.min(6)
}

/// Whether only this machine can be listening.
pub fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost") || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// An error with its causes, without the address.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// Reads at most so many bytes, and not for ever.
pub struct Bounded<'c, R> {
    from: R,
    bytes_left: u64,
    until: i64,
    now: &'c dyn Fn() -> i64,
}

impl<'c, R: Read> Bounded<'c, R> {
    /// Reads from `from` for at most `seconds`, by the clock `now`.
    pub fn new(from: R, bytes_max: u64, seconds: i64, now: &'c dyn Fn() -> i64) -> Self {
        Bounded { from, bytes_left: bytes_max, until: now().saturating_add(seconds), now }
    }
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if (self.now)() > self.until {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it takes too long"));
        }
        let count = self.from.read(buffer)?;
        match self.bytes_left.checked_sub(count as u64) {
            Some(left) => self.bytes_left = left,
            None => return Err(io::Error::other("it is too large")),
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_known_by_its_address() {
        for (url, expected) in [
            ("http://127.0.0.1:80/", true),
            ("http://127.9.9.9/", true),
            ("http://[::1]:8080/", true),
            ("http://LOCALHOST/", true),
            ("http://127.0.0.1.example.com/", false),
            ("http://10.0.0.1/", false),
            ("http://localhost.example.com/", false),
        ] {
            assert_eq!(is_loopback(&url.parse().expect("a URL")), expected, "{url}");
        }
    }

    #[test]
    fn reading_ends_at_its_bounds() {
        let read = |bytes: u64, seconds: i64| {
            let time = std::cell::Cell::new(0);
            let now = || time.replace(time.get() + 1);
            let mut to = Vec::new();
            // One byte at a time, each of which takes a second.
            let from = io::Read::chain(&b"ab"[..], &b"cd"[..]);
            Bounded::new(from, bytes, seconds, &now).read_to_end(&mut to).map(|_| to).map_err(|e| e.to_string())
        };
        assert_eq!(read(4, 100), Ok(b"abcd".to_vec()));
        assert_eq!(read(3, 100), Err("it is too large".to_owned()));
        assert_eq!(read(4, 1), Err("it takes too long".to_owned()));
    }
}
