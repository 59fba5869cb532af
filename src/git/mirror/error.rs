//! What goes wrong with remotes: kinds of failures from what gix and servers say, without passwords.

use std::io;

use gix::bstr::ByteSlice as _;
use serde::{Deserialize, Serialize};

use super::address::REFUSAL;

/// What kind of failure it was, for retries and for exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// There is no such repository, or not for this user.
    NotFound,
    /// The remote wants credentials, or other ones.
    Authentication,
    /// The name doesn't resolve, the connection was refused or timed out, or the server is out of order.
    Unreachable,
    /// The connection broke in the middle.
    Disconnected,
    /// The remote stopped sending.
    Stalled,
    /// The remote sent something wrong: no git server, a bad pack, a missing object.
    Protocol,
    /// The local disk.
    Io,
    /// Somebody asked us to stop.
    Interrupted,
    /// A scheme or feature that isn't supported.
    Unsupported,
    /// A byte or time limit was reached.
    Limit,
    /// It leads to an address that not everybody reaches, and those aren't to be asked.
    PrivateAddress,
}

/// Why a mirror couldn't be synchronized. URLs in it are without credentials.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error("{url} doesn't exist or is private: {reason}")]
    NotFound { url: String, reason: String },
    #[error("{url} refuses access: {reason}")]
    Authentication { url: String, reason: String },
    #[error("can't reach {url}: {reason}")]
    Unreachable { url: String, reason: String },
    #[error("the connection to {url} broke off: {reason}")]
    Disconnected { url: String, reason: String },
    #[error("{url} stopped sending: {reason}")]
    Stalled { url: String, reason: String },
    #[error("{url} gave a bad answer: {reason}")]
    Protocol { url: String, reason: String },
    #[error("can't write the mirror of {url}: {reason}")]
    Io { url: String, reason: String },
    #[error("the fetch of {url} was interrupted: {reason}")]
    Interrupted { url: String, reason: String },
    #[error("{url} is not supported: {reason}")]
    Unsupported { url: String, reason: String },
    #[error("{url} exceeds a limit: {reason}")]
    Limit { url: String, reason: String },
    #[error("{url} is not asked: {reason}")]
    PrivateAddress { url: String, reason: String },
}

impl Error {
    /// Makes an error of a kind; `url` may still carry credentials, which are removed here and from `reason`.
    pub fn new(kind: ErrorKind, url: &str, reason: impl Into<String>) -> Self {
        let (url, reason) = (redact_url(url), redact_text(url, &reason.into()));
        match kind {
            ErrorKind::NotFound => Error::NotFound { url, reason },
            ErrorKind::Authentication => Error::Authentication { url, reason },
            ErrorKind::Unreachable => Error::Unreachable { url, reason },
            ErrorKind::Disconnected => Error::Disconnected { url, reason },
            ErrorKind::Stalled => Error::Stalled { url, reason },
            ErrorKind::Protocol => Error::Protocol { url, reason },
            ErrorKind::Io => Error::Io { url, reason },
            ErrorKind::Interrupted => Error::Interrupted { url, reason },
            ErrorKind::Unsupported => Error::Unsupported { url, reason },
            ErrorKind::Limit => Error::Limit { url, reason },
            ErrorKind::PrivateAddress => Error::PrivateAddress { url, reason },
        }
    }

    fn parts(&self) -> (ErrorKind, &str) {
        match self {
            Error::NotFound { reason, .. } => (ErrorKind::NotFound, reason),
            Error::Authentication { reason, .. } => (ErrorKind::Authentication, reason),
            Error::Unreachable { reason, .. } => (ErrorKind::Unreachable, reason),
            Error::Disconnected { reason, .. } => (ErrorKind::Disconnected, reason),
            Error::Stalled { reason, .. } => (ErrorKind::Stalled, reason),
            Error::Protocol { reason, .. } => (ErrorKind::Protocol, reason),
            Error::Io { reason, .. } => (ErrorKind::Io, reason),
            Error::Interrupted { reason, .. } => (ErrorKind::Interrupted, reason),
            Error::Unsupported { reason, .. } => (ErrorKind::Unsupported, reason),
            Error::Limit { reason, .. } => (ErrorKind::Limit, reason),
            Error::PrivateAddress { reason, .. } => (ErrorKind::PrivateAddress, reason),
        }
    }

    /// The kind of failure.
    pub fn kind(&self) -> ErrorKind {
        self.parts().0
    }

    /// The cause alone, without the URL.
    pub fn reason(&self) -> &str {
        self.parts().1
    }

    /// Whether it is about what was read, here or from the remote, and not about reading.
    pub fn is_of_data(&self) -> bool {
        matches!(self.kind(), ErrorKind::Protocol | ErrorKind::Io)
    }

    /// Whether another attempt may succeed.
    pub fn is_transient(&self) -> bool {
        matches!(self.kind(), ErrorKind::Unreachable | ErrorKind::Disconnected | ErrorKind::Stalled)
    }
}

/// Removes user and password from a URL, and anything that follows its path.
pub fn redact_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    // The name of a file may have both characters.
    let path = if scheme == "file" { path } else { path.split(['?', '#']).next().unwrap_or_default() };
    format!("{scheme}://{host}{path}")
}

/// Removes the password of `url` from `text`, and `user:password@` from any URL in it.
fn redact_text(url: &str, text: &str) -> String {
    let mut words = Vec::new();
    for word in text.split(' ') {
        words.push(match word.find("://") {
            Some(at) => {
                let start = word[..at].rfind(|c: char| !c.is_ascii_alphanumeric()).map_or(0, |i| i + 1);
                let prefix = word[..start].chars().collect::<String>();
                // What closes a bracket around the URL isn't part of its query.
                let rest = word.find('?').and_then(|query| word[query..].rfind(')').map(|end| &word[query + end..]));
                prefix + &redact_url(&word[start..]) + rest.unwrap_or_default()
            }
            None => word.to_owned(),
        });
    }
    let text = words.join(" ");
    match gix::url::parse(url.as_bytes().as_bstr()).ok().and_then(|url| url.password().map(str::to_owned)) {
        Some(password) if !password.is_empty() => text.replace(&password, "…"),
        _ => text,
    }
}

/// gix erases the types of its errors, so the kind comes from the classes, I/O kinds and texts in the chain.
pub(super) fn classify(err: &gix::Error) -> (ErrorKind, String) {
    let reason = one_line(err);
    let io_kinds: Vec<io::ErrorKind> =
        err.iter_errors().filter_map(|err| err.downcast_ref::<io::Error>()).map(io::Error::kind).collect();
    let kind = classify_text(&reason.to_ascii_lowercase()).unwrap_or_else(|| {
        let has = |kinds: &[io::ErrorKind]| io_kinds.iter().any(|kind| kinds.contains(kind));
        use io::ErrorKind as E;
        if err.is_cancelled() {
            ErrorKind::Interrupted
        } else if err.is_unauthenticated() {
            ErrorKind::Authentication
        } else if has(&[E::StorageFull, E::QuotaExceeded, E::ReadOnlyFilesystem, E::FileTooLarge]) {
            ErrorKind::Io
        } else if has(&[
            E::ConnectionRefused,
            E::HostUnreachable,
            E::NetworkUnreachable,
            E::AddrNotAvailable,
            E::NetworkDown,
        ]) {
            ErrorKind::Unreachable
        } else if has(&[E::TimedOut, E::WouldBlock]) {
            ErrorKind::Stalled
        } else if has(&[E::UnexpectedEof, E::ConnectionReset, E::ConnectionAborted, E::BrokenPipe]) {
            ErrorKind::Disconnected
        } else if err.is_permission_denied() {
            ErrorKind::Io
        } else if err.is_retryable() {
            ErrorKind::Unreachable
        } else {
            ErrorKind::Protocol
        }
    });
    (kind, reason)
}

/// What servers, HTTP statuses and resolvers say, in lower case.
pub(in crate::git) fn classify_text(text: &str) -> Option<ErrorKind> {
    const TEXTS: &[(&str, ErrorKind)] = &[
        (REFUSAL, ErrorKind::PrivateAddress),
        ("http status 401", ErrorKind::Authentication),
        ("http status 403", ErrorKind::Authentication),
        ("http status 404", ErrorKind::NotFound),
        ("http status 410", ErrorKind::NotFound),
        // Unavailable for legal reasons: GitHub's answer for a repository after a DMCA notice.
        ("http status 451", ErrorKind::NotFound),
        ("http status 408", ErrorKind::Unreachable),
        ("http status 429", ErrorKind::Unreachable),
        ("http status 5", ErrorKind::Unreachable),
        ("repository not found", ErrorKind::NotFound),
        ("repository not exported", ErrorKind::NotFound),
        ("no such repository", ErrorKind::NotFound),
        ("does not appear to be a git repository", ErrorKind::NotFound),
        ("is a valid git directory", ErrorKind::NotFound),
        ("permission denied (", ErrorKind::Authentication),
        ("host key verification failed", ErrorKind::Authentication),
        ("invalid peer certificate", ErrorKind::Protocol),
        ("dns error", ErrorKind::Unreachable),
        ("failed to lookup address", ErrorKind::Unreachable),
        ("could not resolve", ErrorKind::Unreachable),
        ("tcp connect error", ErrorKind::Unreachable),
        ("client error (connect)", ErrorKind::Unreachable),
        ("connection refused", ErrorKind::Unreachable),
        ("connection timed out", ErrorKind::Unreachable),
        ("no route to host", ErrorKind::Unreachable),
        ("operation timed out", ErrorKind::Stalled),
        ("error decoding response body", ErrorKind::Disconnected),
        ("connection closed", ErrorKind::Disconnected),
        ("connection reset", ErrorKind::Disconnected),
        ("unexpected end of file", ErrorKind::Disconnected),
        ("no space left", ErrorKind::Io),
    ];
    TEXTS.iter().find(|(part, _)| text.contains(part)).map(|(_, kind)| *kind)
}

/// The messages of the chain, outermost first, without repetitions.
pub(super) fn one_line(err: &gix::Error) -> String {
    let mut line = String::new();
    for err in err.iter_errors() {
        let message = err.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        if !message.is_empty() && !line.contains(&message) {
            line = if line.is_empty() { message } else { format!("{line}: {message}") };
        }
    }
    if let Some((end, _)) = line.char_indices().nth(600) {
        line.truncate(end);
    }
    let mut chars = line.chars();
    chars.next().map_or(String::new(), |first| first.to_lowercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lose_their_credentials() {
        for (url, redacted) in [
            ("https://user:secret@host/a/b.git", "https://host/a/b.git"),
            ("https://token@host:8443/a?key=secret#x", "https://host:8443/a"),
            ("https://us@er:p@ss@host", "https://host"),
            ("ssh://git@host/a?key=secret", "ssh://host/a"),
            ("git@host:a/b", "git@host:a/b"),
            ("/a/b@c", "/a/b@c"),
            ("file:///a@b?c", "file:///a@b?c"),
        ] {
            assert_eq!(redact_url(url), redacted);
        }
    }

    #[test]
    fn errors_lose_the_password_of_their_url() {
        let reason = "bad url (https://u:secret@host/x) with secret";
        let err = Error::new(ErrorKind::Protocol, "https://u:secret@host/x", reason);
        assert_eq!(err.to_string(), "https://host/x gave a bad answer: bad url (https://host/x) with …");
    }

    #[test]
    fn io_errors_have_kinds() {
        use io::ErrorKind as E;
        for (io_kind, kind) in [
            (E::ConnectionRefused, ErrorKind::Unreachable),
            (E::HostUnreachable, ErrorKind::Unreachable),
            (E::TimedOut, ErrorKind::Stalled),
            (E::UnexpectedEof, ErrorKind::Disconnected),
            (E::ConnectionReset, ErrorKind::Disconnected),
            (E::StorageFull, ErrorKind::Io),
            (E::PermissionDenied, ErrorKind::Io),
            (E::InvalidData, ErrorKind::Protocol),
        ] {
            let err = gix::Error::from_error(io::Error::from(io_kind));
            assert_eq!(classify(&err).0, kind, "{io_kind:?}");
        }
    }

    #[test]
    fn only_what_may_pass_is_transient() {
        let transient = |kind| Error::new(kind, "x", "y").is_transient();
        assert!([ErrorKind::Unreachable, ErrorKind::Disconnected, ErrorKind::Stalled].into_iter().all(transient));
        assert!(
            ![ErrorKind::NotFound, ErrorKind::Authentication, ErrorKind::Protocol, ErrorKind::Io]
                .into_iter()
                .any(transient)
        );
        assert!(![ErrorKind::Interrupted, ErrorKind::Unsupported, ErrorKind::Limit].into_iter().any(transient));
    }
}
