//! What can go wrong with a server of repositories.

use super::super::time_of;

/// Why there is no answer, or none that can be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error("the HTTP client: {0}")]
    Client(String),
    #[error("{url} is no base URL: {reason}")]
    BaseUrl { url: String, reason: &'static str },
    #[error("{text} is no name of {what}")]
    Name { text: String, what: &'static str },
    #[error("interrupted")]
    Interrupted,
    #[error("{host} limits the rate: it takes the next request in {seconds} s, at {}", time_of(*.at))]
    Limited { host: String, seconds: u64, at: i64 },
    #[error("{url}: the token is not accepted (HTTP status 401)")]
    Token { url: String },
    #[error("{url}: {reason} (HTTP status {status})")]
    Refused { url: String, status: u16, reason: String },
    #[error("{url}: there is no such thing, or it is not to be seen (HTTP status 404)")]
    NotFound { url: String },
    #[error("{url}: not available for legal reasons (HTTP status 451)")]
    Blocked { url: String },
    #[error("{url}: {reason}")]
    Failed { url: String, reason: String },
    #[error("{url}: the answer can't be read: {reason}")]
    Garbage { url: String, reason: String },
    #[error("{url} leads to another server, {to}")]
    Elsewhere { url: String, to: String },
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Error::BaseUrl { .. } => "it is https://api.github.com, or https://HOST/api/v3 for GitHub Enterprise",
            Error::Limited { .. } => {
                "run the same command then: pages that have not changed cost nothing with the cache; \
                 --wait-seconds-max waits longer, and a token has a higher limit"
            }
            Error::Token { .. } => "see that the token is whole and has not expired",
            Error::NotFound { .. } => {
                "see that the name is right: an organisation is no user, and what is private needs a token"
            }
            Error::Elsewhere { .. } => {
                "if that server is meant, give its address: nothing is sent to a server that was not named"
            }
            Error::Failed { .. } => {
                "run the same command again: pages that have not changed cost nothing with the cache"
            }
            Error::Refused { status: 422, .. } => {
                "GitHub's documentation on searching for repositories says what a query may be"
            }
            Error::Refused { status: 403, .. } => {
                "the token may lack a permission, or the organisation demands a single sign-on of it"
            }
            Error::Client(_)
            | Error::Name { .. }
            | Error::Interrupted
            | Error::Refused { .. }
            | Error::Blocked { .. }
            | Error::Garbage { .. } => return None,
        })
    }

    /// Whether the requests that would follow would end in the same way.
    pub fn is_general(&self) -> bool {
        matches!(
            self,
            Error::Client(_) | Error::BaseUrl { .. } | Error::Interrupted | Error::Limited { .. } | Error::Token { .. }
        )
    }
}
