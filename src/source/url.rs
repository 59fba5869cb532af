//! URLs of repositories: which ones are meant, when two are the same, and where a mirror of one belongs.

use gix::{bstr::ByteSlice as _, url::Scheme};

/// A parsed URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// What to fetch from, as the user wrote it; it may hold credentials.
    pub url: String,
    /// Host, port where it is not the scheme's own, and path, without user, password and `.git`: equal for two URLs of
    /// one repository. On GitHub, which does not tell case apart, it is in lower case.
    pub identity: String,
    /// The name in the `repos` column: `owner/name` on GitHub, host and path elsewhere.
    pub name: String,
}

/// Reads `text` as a URL (https, http, ssh, git, file), an scp-like address or GitHub's `owner/name`; `None` where it
/// looks like none of them.
///
/// # Errors
/// It looks like a URL and is none, has a scheme that is not supported, or a query or a fragment: no server of git needs one, and
/// what stands there, a token perhaps, would be in names, logs and rows.
pub fn parse(text: &str) -> Option<Result<Remote, String>> {
    if is_owner_and_name(text) {
        return parse(&format!("https://github.com/{text}"));
    }
    if !text.contains("://") && !is_scp_like(text) {
        return None;
    }
    Some(remote(text))
}

/// What stands in front of the query or the fragment of a URL or an scp-like address that has one, to be shown. The name of
/// a file may have both characters.
pub fn before_query(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    if scheme.eq_ignore_ascii_case("file") || (scheme.is_empty() && !is_scp_like(text)) {
        return None;
    }
    let at = rest.find(['?', '#'])?;
    // In front of the path it may be a character of a password that should have been escaped.
    let at = if scheme.is_empty() || rest[..at].contains('/') { at } else { 0 };
    Some(&text[..text.len() - rest.len() + at])
}

fn remote(text: &str) -> Result<Remote, String> {
    if before_query(text).is_some() {
        return Err("the URL has a query or a fragment, which would be published with the rows".into());
    }
    let url = gix::url::parse(text.as_bytes().as_bstr()).map_err(|error| {
        // What follows is the URL once more, with all that is secret in it.
        let error = error.to_string();
        format!("not a URL: {}", error.split(", input=").next().unwrap_or_default())
    })?;
    let own_port = match url.scheme {
        Scheme::Https => 443,
        Scheme::Http => 80,
        Scheme::Ssh => 22,
        Scheme::Git => 9418,
        Scheme::File => 0,
        _ => return Err("the URL's scheme is not supported; there are https, http, ssh, git and file".into()),
    };
    let path = url.path.to_str().map_err(|_| "the URL's path is not UTF-8")?.trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path).trim_end_matches('/');
    if path.is_empty() {
        return Err("the URL names no repository".into());
    }
    if url.scheme == Scheme::File {
        return Ok(Remote { url: text.to_owned(), identity: format!("file/{path}"), name: last(path).to_owned() });
    }
    let host = url.host().map(str::to_ascii_lowercase).filter(|host| !host.is_empty()).ok_or("the URL has no host")?;
    let port = url.port.filter(|port| *port != own_port).map(|port| format!(":{port}")).unwrap_or_default();
    let on_github = host == "github.com" && port.is_empty();
    let (identity, name) = if on_github {
        (format!("github.com/{}", path.to_ascii_lowercase()), path.to_owned())
    } else {
        let both = format!("{host}{port}/{path}");
        (both.clone(), both)
    };
    Ok(Remote { url: text.to_owned(), identity, name })
}

/// Where the mirror of `identity` belongs below the directory of mirrors: readable, and never outside of it.
pub fn mirror_path(identity: &str) -> std::path::PathBuf {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let part = |part: &str| -> String {
        let escaped: String = part
            .bytes()
            .map(|byte| if plain(char::from(byte)) { char::from(byte).to_string() } else { format!("%{byte:02x}") })
            .collect();
        match escaped.strip_prefix('.') {
            Some(rest) => format!("%2e{rest}"),
            None => escaped,
        }
    };
    let path: Vec<String> = identity.split('/').filter(|name| !name.is_empty()).map(part).collect();
    std::path::PathBuf::from(path.join("/") + ".git")
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// `host:path` or `user@host:path`, as git has it: a colon before the first slash.
fn is_scp_like(text: &str) -> bool {
    let Some((host, path)) = text.split_once(':') else { return false };
    !host.is_empty() && !path.is_empty() && !host.contains('/') && !host.contains(char::is_whitespace)
}

/// Whether `text` has the form of a GitHub repository's name.
pub fn is_owner_and_name(text: &str) -> bool {
    text.split_once('/').is_some_and(|(owner, name)| is_word(owner) && is_word(name))
}

/// Whether `part` has the form of an owner on GitHub.
pub(super) fn is_word(part: &str) -> bool {
    !part.is_empty() && !part.starts_with('.') && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_repository_has_one_identity() {
        for (text, identity, name) in [
            ("BurntSushi/ripgrep", "github.com/burntsushi/ripgrep", "BurntSushi/ripgrep"),
            ("https://github.com/BurntSushi/ripgrep.git", "github.com/burntsushi/ripgrep", "BurntSushi/ripgrep"),
            (
                "https://me:secret@GitHub.com:443/BurntSushi/ripgrep/",
                "github.com/burntsushi/ripgrep",
                "BurntSushi/ripgrep",
            ),
            ("git@github.com:BurntSushi/ripgrep.git", "github.com/burntsushi/ripgrep", "BurntSushi/ripgrep"),
            ("ssh://git@github.com/BurntSushi/ripgrep", "github.com/burntsushi/ripgrep", "BurntSushi/ripgrep"),
            ("https://gitlab.com/Group/sub/Name.git", "gitlab.com/Group/sub/Name", "gitlab.com/Group/sub/Name"),
            ("http://127.0.0.1:8080/x.git", "127.0.0.1:8080/x", "127.0.0.1:8080/x"),
            ("git://h/x", "h/x", "h/x"),
            ("file:///srv/git/x.git", "file/srv/git/x", "x"),
        ] {
            let remote = parse(text).expect(text).expect(text);
            assert_eq!(
                (remote.identity.as_str(), remote.name.as_str(), remote.url.ends_with(text)),
                (identity, name, true)
            );
        }
    }

    #[test]
    fn what_is_no_url_is_none_or_an_error() {
        for text in ["", "a", "a/b/c", "./a/b", "../b", "/a/b", ".a/b", "C d/e", "a/b c"] {
            assert_eq!(parse(text), None, "{text}");
        }
        for text in ["ftp://h/x", "https://", "https://h", "https://h/", "ext::sh -c x", "rsync://h/x"] {
            assert!(parse(text).is_some_and(|result| result.is_err()), "{text}");
        }
        for text in ["https://me:s3cret@:x/a", "https://me:s3cret@h:99999999/a", "https://me:s3cret@/a"] {
            let reason = parse(text).and_then(Result::err).unwrap_or_default();
            assert!(reason.starts_with("not a URL: ") && !reason.contains("s3cret"), "{reason}");
        }
    }

    #[test]
    fn queries_and_fragments_are_refused_and_not_repeated() {
        for (text, shown) in [
            ("https://h/o/r.git?private_token=s3cret", "https://h/o/r.git"),
            ("HTTP://h:8080/o/r?a=b/c#s3cret", "HTTP://h:8080/o/r"),
            ("https://h/o/r.git#s3cret", "https://h/o/r.git"),
            ("https://h?private_token=s3cret", "https://"),
            ("https://me:#s3cret@h/o/r", "https://"),
            ("ssh://git@h/o/r?s3cret", "ssh://git@h/o/r"),
            ("git://h/o/r#s3cret", "git://h/o/r"),
            ("git@h:o/r.git?s3cret", "git@h:o/r.git"),
        ] {
            assert_eq!(before_query(text), Some(shown), "{text}");
            let reason = parse(text).and_then(Result::err).unwrap_or_default();
            assert!(reason.contains("a query or a fragment") && !reason.contains("s3cret"), "{text}: {reason}");
        }
        for text in ["file:///srv/C#/x?.git", "https://h/o/r%3F.git", "git@h:o/r.git", "a/b", "./C#/x", "/srv/C#/x?"] {
            assert_eq!(before_query(text), None, "{text}");
            assert!(parse(text).is_none_or(|remote| remote.is_ok()), "{text}");
        }
    }

    #[test]
    fn mirrors_stay_below_their_directory() {
        for (identity, path) in [
            ("github.com/a/b", "github.com/a/b.git"),
            ("127.0.0.1:80/../x", "127.0.0.1%3a80/%2e./x.git"),
            ("h/a b/é", "h/a%20b/%c3%a9.git"),
        ] {
            assert_eq!(mirror_path(identity), std::path::PathBuf::from(path));
        }
    }
}
