//! GitHub's webhooks: whether one is genuine, and which repositories it is about. Pure: bytes in, answer out.
//!
//! A webhook never says more than that it is worth a look, so a replayed, reordered or lost one can't do harm.

use aws_lc_rs::hmac;
use serde::Deserialize;

use crate::source::url;

/// The largest body. GitHub sends 25 MB at most.
pub const BODY_BYTES_MAX: usize = 25 << 20;

/// What a genuine webhook says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// The hook works.
    Ping,
    /// Something happened to a repository with one of these identities: its name now, and the one before.
    Repository(Vec<String>),
    /// Nothing that matters here.
    Other,
}

/// Events that are counted by their name; all others count as `other`.
pub const EVENTS: [&str; 7] = ["delete", "create", "ping", "public", "push", "repository", "other"];

/// Whether `signature`, the header `X-Hub-Signature-256`, is that of `body` with `secret`; takes the same time whatever
/// is wrong with it.
pub fn is_genuine(secret: &[u8], body: &[u8], signature: &str) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let tag = signature.strip_prefix("sha256=").and_then(bytes_of_hex);
    tag.is_some_and(|tag| hmac::verify(&key, body, &tag).is_ok())
}

/// Whether `signature` has the form of one: no body has to be read to tell that another is wrong.
pub fn is_signature(signature: &str) -> bool {
    const DIGITS: usize = 64;
    signature.strip_prefix("sha256=").is_some_and(|tag| tag.len() == DIGITS && bytes_of_hex(tag).is_some())
}

fn bytes_of_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[derive(Deserialize)]
struct Payload {
    repository: Option<Repository>,
    changes: Option<Changes>,
}

#[derive(Deserialize)]
struct Repository {
    clone_url: Option<String>,
    full_name: Option<String>,
}

#[derive(Deserialize)]
struct Changes {
    repository: Option<RepositoryChanges>,
    owner: Option<OwnerChanges>,
}

#[derive(Deserialize)]
struct RepositoryChanges {
    name: Option<From>,
}

#[derive(Deserialize)]
struct OwnerChanges {
    from: Option<Owners>,
}

#[derive(Deserialize)]
struct Owners {
    user: Option<Owner>,
    organization: Option<Owner>,
}

#[derive(Deserialize)]
struct Owner {
    login: String,
}

#[derive(Deserialize)]
struct From {
    from: String,
}

/// What the event of this name says with this body.
///
/// # Errors
/// The body is no JSON of that form.
pub fn read(event: &str, body: &[u8]) -> Result<Said, serde_json::Error> {
    match event {
        "ping" => return Ok(Said::Ping),
        "push" | "repository" | "public" | "create" | "delete" => {}
        _ => return Ok(Said::Other),
    }
    let Payload { repository, changes } = serde_json::from_slice(body)?;
    let Some(Repository { clone_url, full_name }) = repository else { return Ok(Said::Other) };
    let address = clone_url.or(full_name).unwrap_or_default();
    let identity = |address: &str| url::parse(address)?.ok().map(|remote| remote.identity);
    let Some(now) = identity(&address) else { return Ok(Said::Other) };
    let before = changes.and_then(|changes| {
        let (rest, name) = now.rsplit_once('/')?;
        let (host, owner) = rest.rsplit_once('/')?;
        let name_before = changes.repository.and_then(|repository| repository.name).map(|name| name.from);
        let owners = changes.owner.and_then(|owner| owner.from);
        let owner_before = owners.and_then(|from| from.user.or(from.organization)).map(|owner| owner.login);
        if name_before.is_none() && owner_before.is_none() {
            return None;
        }
        let owner = owner_before.unwrap_or_else(|| owner.to_owned());
        let name = name_before.unwrap_or_else(|| name.to_owned());
        identity(&format!("https://{host}/{owner}/{name}"))
    });
    Ok(Said::Repository([Some(now), before].into_iter().flatten().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_signature_of_the_body_with_the_secret_is_genuine() {
        // The example in GitHub's documentation of webhooks.
        let (secret, body) = (&b"It's a Secret to Everybody"[..], &b"Hello, World!"[..]);
        let good = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert!(is_genuine(secret, body, good));
        assert!(!is_genuine(b"other", body, good) && !is_genuine(secret, b"Hello, World", good));
        for bad in [
            "",
            "sha256=",
            &good[..good.len() - 1],
            &good[..good.len() - 2],
            "sha1=757107ea",
            "sha256=é757",
            "sha256=zz",
        ] {
            assert!(!is_genuine(secret, body, bad) && !is_signature(bad), "{bad}");
        }
        assert!(is_signature(good));
        for at in 7..good.len() {
            let mut changed = good.to_owned().into_bytes();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            assert!(!is_genuine(secret, body, std::str::from_utf8(&changed).expect("ASCII")), "{at}");
        }
    }

    #[test]
    fn events_name_their_repositories() {
        let check = |event: &str, body: &str, expected: &[&str]| {
            let expected = match expected {
                [] => Said::Other,
                names => Said::Repository(names.iter().map(|name| (*name).to_owned()).collect()),
            };
            assert_eq!(read(event, body.as_bytes()).expect("JSON"), expected, "{event} {body}");
        };
        let repository = r#""repository":{"id":1,"full_name":"A/b","clone_url":"https://github.com/A/b.git"}"#;
        check("push", &format!(r#"{{"ref":"refs/heads/main","forced":true,{repository}}}"#), &["github.com/a/b"]);
        check("public", &format!("{{{repository}}}"), &["github.com/a/b"]);
        check("repository", &format!(r#"{{"action":"deleted",{repository}}}"#), &["github.com/a/b"]);
        let renamed = r#""changes":{"repository":{"name":{"from":"old"}}}"#;
        check("repository", &format!("{{{renamed},{repository}}}"), &["github.com/a/b", "github.com/a/old"]);
        let moved = r#""changes":{"owner":{"from":{"organization":{"login":"O"}}}}"#;
        check("repository", &format!("{{{moved},{repository}}}"), &["github.com/a/b", "github.com/o/b"]);
        check("push", r#"{"repository":{"full_name":"A/b"}}"#, &["github.com/a/b"]);
        let elsewhere = r#"{"repository":{"full_name":"A/b","clone_url":"https://git.example.org/A/b.git"}}"#;
        check("push", elsewhere, &["git.example.org/A/b"]);
        check("push", r#"{"zen":"none"}"#, &[]);
        check("push", r#"{"repository":{"clone_url":"gopher://x/y"}}"#, &[]);
        check("star", "no JSON", &[]);
        assert_eq!(read("ping", b"").expect("no body is needed"), Said::Ping);
        for bad in ["", "{", "[]", r#"{"repository":5}"#] {
            assert!(read("push", bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
