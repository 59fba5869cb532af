//! What the status and the headers of an answer mean.

use reqwest::header::HeaderMap;

/// GitHub wants at least a minute's rest where it names no time
/// (docs.github.com, "Rate limits for the REST API", exceeding the rate limit).
pub(super) const REST_SECONDS: u64 = 60;

/// What an answer comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It is what was asked for.
    Good,
    /// What is known already still holds.
    Unchanged,
    /// It is to be asked for elsewhere.
    Moved(String),
    /// Not now: the rate is limited.
    Wait(Rest),
    /// It may be better in a moment.
    Passing(String),
    /// The token is not accepted.
    Token,
    /// There is none.
    NotFound,
    /// Not for legal reasons.
    Blocked,
    /// No, why, and with which status.
    Refused(String, u16),
}

/// How long a server wants to be left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// So many seconds.
    Seconds(u64),
    /// Until then, in seconds since 1970.
    Until(i64),
    /// It does not say.
    Unsaid,
}

/// What is left of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// So many requests.
    pub remaining: u64,
    /// Until then, in seconds since 1970.
    pub reset: i64,
}

fn number<T: std::str::FromStr>(headers: &HeaderMap, name: &str) -> Option<T> {
    text(headers, name)?.trim().parse().ok()
}

pub(super) fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// What `status`, `headers` and the first part of the body say.
pub(super) fn meaning(status: u16, headers: &HeaderMap, body: &[u8]) -> Meaning {
    match status {
        200 => Meaning::Good,
        304 => Meaning::Unchanged,
        301 | 302 | 307 | 308 => match text(headers, "location") {
            Some(to) => Meaning::Moved(to.to_owned()),
            None => Meaning::Refused("it leads elsewhere, and does not say where".to_owned(), status),
        },
        401 => Meaning::Token,
        403 | 429 => match rest(status, headers, body) {
            Some(rest) => Meaning::Wait(rest),
            None => Meaning::Refused(said(body), status),
        },
        404 | 410 => Meaning::NotFound,
        451 => Meaning::Blocked,
        408 | 500.. => Meaning::Passing(said(body)),
        _ => Meaning::Refused(said(body), status),
    }
}

fn rest(status: u16, headers: &HeaderMap, body: &[u8]) -> Option<Rest> {
    if let Some(seconds) = number(headers, "retry-after") {
        return Some(Rest::Seconds(seconds));
    }
    if let Some(Window { remaining: 0, reset }) = window(headers) {
        return Some(Rest::Until(reset));
    }
    let says_so = || said(body).to_ascii_lowercase().contains("rate limit");
    (status == 429 || says_so()).then_some(Rest::Unsaid)
}

/// What is left of the limit that the request counted against.
pub(super) fn window(headers: &HeaderMap) -> Option<Window> {
    let remaining = number(headers, "x-ratelimit-remaining")?;
    Some(Window { remaining, reset: number(headers, "x-ratelimit-reset")? })
}

/// The message of an error.
fn said(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Message {
        message: String,
    }
    let message = serde_json::from_slice(body).map(|Message { message }| message);
    let message = message.unwrap_or_else(|_| "no reason given".to_owned());
    message.chars().take(300).collect()
}

/// The page that follows, by the header `Link` (RFC 8288).
pub(super) fn next(headers: &HeaderMap) -> Option<String> {
    let mut rest = text(headers, "link")?;
    while let Some((target, after)) = rest.split_once('<').and_then(|(_, after)| after.split_once('>')) {
        let parameters = after.split('<').next().unwrap_or_default();
        let is_next = parameters.split([';', ',']).any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or_default();
            name.trim().eq_ignore_ascii_case("rel") && value.trim().trim_matches('"').split(' ').any(|r| r == "next")
        });
        if is_next {
            return Some(target.to_owned());
        }
        rest = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(given: &[(&'static str, &'static str)]) -> HeaderMap {
        given.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn limits_are_told_from_refusals() {
        const LIMIT: &str = r#"{"message": "You have exceeded a secondary rate limit."}"#;
        const OTHER: &str = r#"{"message": "Resource not accessible by personal access token"}"#;
        let spent = &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1700000000")][..];
        let open = &[("x-ratelimit-remaining", "7"), ("x-ratelimit-reset", "1700000000")][..];
        let refused = |status| Meaning::Refused("Resource not accessible by personal access token".to_owned(), status);
        for (status, given, body, expected) in [
            (403, spent, OTHER, Meaning::Wait(Rest::Until(1_700_000_000))),
            (429, spent, LIMIT, Meaning::Wait(Rest::Until(1_700_000_000))),
            (403, open, LIMIT, Meaning::Wait(Rest::Unsaid)),
            (403, open, OTHER, refused(403)),
            (403, &[], OTHER, refused(403)),
            (429, &[], "", Meaning::Wait(Rest::Unsaid)),
            (403, &[("retry-after", "30")], OTHER, Meaning::Wait(Rest::Seconds(30))),
            // A date is not understood, which is no reason to hurry.
            (429, &[("retry-after", "Thu, 01 Dec 2033 16:00:00 GMT")], "", Meaning::Wait(Rest::Unsaid)),
            (429, &[("retry-after", "-5")], "", Meaning::Wait(Rest::Unsaid)),
            (401, &[], LIMIT, Meaning::Token),
            (404, &[], "", Meaning::NotFound),
            (451, &[], "", Meaning::Blocked),
            (502, &[], "<html>", Meaning::Passing("no reason given".to_owned())),
            (422, &[], OTHER, refused(422)),
            (302, &[("location", "/x")], "", Meaning::Moved("/x".to_owned())),
        ] {
            assert_eq!(meaning(status, &headers(given), body.as_bytes()), expected, "{status} {given:?} {body}");
        }
    }

    #[test]
    fn links_lead_to_the_next_page() {
        for (link, expected) in [
            (r#"<https://h/r?page=2>; rel="next", <https://h/r?page=9>; rel="last""#, Some("https://h/r?page=2")),
            (
                r#"<https://h/r?page=1>; rel="prev", <https://h/r?q=a,b&page=3>; rel="next""#,
                Some("https://h/r?q=a,b&page=3"),
            ),
            (r#"<https://h/r?page=1>; rel="first prev""#, None),
            (r#"<https://h/r?page=2>;title="x";rel=next"#, Some("https://h/r?page=2")),
            (r#"<https://h/next>; rel="last""#, None),
            ("<https://h/r?page=2", None),
            ("", None),
        ] {
            assert_eq!(next(&headers(&[("link", link)])).as_deref(), expected, "{link}");
        }
        assert_eq!(next(&headers(&[])), None);
    }
}
