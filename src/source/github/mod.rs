//! Which repositories GitHub has, or a server that speaks its REST API: those of organisations and users, and what searches
//! and topics find. Refuses to send anything to another server than the one that was named.

mod answer;
mod cache;
mod client;
mod error;
mod search;

use std::{collections::HashSet, sync::Arc};

use serde::Deserialize;
use serde_json::Value;

use super::{discovery::Repository, url::is_word};
pub use client::{Client, Clock, Options, Requests};
use client::{Known, Page};
pub use error::Error;
pub use search::Shortfall;

/// The public server's API.
pub const BASE_URL: &str = "https://api.github.com";
/// Most repositories of one owner; the largest have some ten thousand.
const REPOSITORIES_MAX: usize = 1_000_000;

/// Host, and port where it is not the scheme's own, of the server whose API is at `base_url`: who a token is for.
///
/// # Errors
/// It is no base URL.
pub fn server(base_url: &str) -> Result<(String, Option<u16>), Error> {
    let web = client::web(&client::base(base_url)?);
    Ok((web.host_str().unwrap_or_default().to_owned(), web.port()))
}

/// Most pages of one owner; GitHub gives a hundred repositories on each.
const PAGES_MAX: usize = 10_000;

/// What to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// The repositories of an organisation.
    Organisation(String),
    /// Those that a user owns.
    User(String),
    /// What a search finds.
    Search(String),
    /// What has a topic.
    Topic(String),
}

impl std::fmt::Display for Query {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Query::Organisation(name) => write!(f, "organisation {name}"),
            Query::User(name) => write!(f, "user {name}"),
            Query::Search(query) => write!(f, "search {query}"),
            Query::Topic(topic) => write!(f, "topic {topic}"),
        }
    }
}

/// What a query gave.
#[derive(Debug, Default)]
pub struct Given {
    /// Repositories.
    pub repositories: Vec<Repository>,
    /// Entries that are none.
    pub unreadable: u64,
    /// What a search did not give.
    pub shortfall: Shortfall,
}

/// What is read of a repository. Whatever else the server says is none of this program's business.
#[derive(Deserialize)]
struct Described {
    id: u64,
    full_name: String,
    #[serde(default)]
    private: bool,
    fork: bool,
    archived: Option<bool>,
    #[serde(default)]
    disabled: Option<bool>,
    license: Option<License>,
    language: Option<String>,
    stargazers_count: Option<u64>,
    pushed_at: Option<String>,
    size: Option<u64>,
    parent: Option<Named>,
    source: Option<Named>,
}

#[derive(Deserialize)]
struct License {
    spdx_id: Option<String>,
}

#[derive(Deserialize)]
struct Named {
    full_name: String,
}

impl Client<'_> {
    /// All that a query gives, or nothing of it.
    ///
    /// # Errors
    /// The server can't be reached, refuses, limits the rate, or gives what can't be read.
    pub fn list(&mut self, query: &Query) -> Result<Given, Error> {
        let owner = |name: &str, what| match is_word(name) {
            true => Ok(()),
            false => Err(Error::Name { text: name.to_owned(), what }),
        };
        // New ones come last, so that the pages before them stay as they are.
        const PAGES: [(&str, &str); 3] = [("per_page", "100"), ("sort", "created"), ("direction", "asc")];
        match query {
            Query::Organisation(name) => {
                owner(name, "an organisation")?;
                self.all_of(&["orgs", name, "repos"], &PAGES)
            }
            Query::User(name) => {
                owner(name, "a user")?;
                self.all_of(&["users", name, "repos"], &PAGES)
            }
            Query::Search(query) => self.found_by(query),
            Query::Topic(topic) => {
                owner(topic, "a topic")?;
                self.found_by(&format!("topic:{topic}"))
            }
        }
    }

    /// The repository `name`, with parent and root if it is a fork.
    ///
    /// # Errors
    /// As for [`Client::list`].
    pub fn describe(&mut self, name: &str) -> Result<Repository, Error> {
        let garbage = |reason: &str| Error::Garbage { url: name.to_owned(), reason: reason.to_owned() };
        let (owner, repository) = split(name).ok_or_else(|| garbage("it is no name of a repository"))?;
        let url = self.url(&["repos", owner, repository], &[]);
        let page: Page<Value> = self.get(&url, Known::MayServe)?;
        read(page.value, &self.web()).ok_or_else(|| garbage("it does not describe a repository"))
    }

    fn found_by(&mut self, query: &str) -> Result<Given, Error> {
        let (mut given, web) = (Given::default(), self.web());
        given.shortfall = search::search(self, query, &mut |item| {
            given.repositories.extend(read_or_count(item, &web, &mut given.unreadable))
        })?;
        Ok(given)
    }

    fn all_of(&mut self, segments: &[&str], query: &[(&str, &str)]) -> Result<Given, Error> {
        let (mut given, web) = (Given::default(), self.web());
        let mut next = Some(self.url(segments, query));
        let mut seen = HashSet::new();
        while let Some(url) = next {
            let refuse = |reason: &str| Error::Garbage { url: url.to_string(), reason: reason.to_owned() };
            if !seen.insert(url.clone()) {
                return Err(refuse("its pages go round in a circle"));
            }
            let page: Page<Vec<Value>> = self.get(&url, Known::MayServe)?;
            for item in page.value {
                given.repositories.extend(read_or_count(item, &web, &mut given.unreadable));
            }
            if given.repositories.len() > REPOSITORIES_MAX || seen.len() > PAGES_MAX {
                return Err(refuse("it has no end"));
            }
            next = page.next;
        }
        Ok(given)
    }
}

fn read_or_count(item: Value, web: &Arc<str>, unreadable: &mut u64) -> Option<Repository> {
    let repository = read(item, web);
    *unreadable += u64::from(repository.is_none());
    repository
}

/// Owner and name, if that is what `text` is. Unlike what a user may write for short, the name may begin with a dot.
pub(super) fn split(text: &str) -> Option<(&str, &str)> {
    let (owner, name) = text.split_once('/')?;
    let is_name = |name: &str| is_word(name.trim_start_matches('.')) && name.len() <= 100;
    (is_word(owner) && is_name(name) && name != ".git").then_some((owner, name))
}

/// A repository, if `item` describes one. Its address is made of its name: what the server gives for one is a line that
/// a list would run.
fn read(item: Value, web: &Arc<str>) -> Option<Repository> {
    let described: Described = serde_json::from_value(item).ok()?;
    split(&described.full_name)?;
    let named = |named: Option<Named>| Some(named?.full_name).filter(|name| split(name).is_some());
    // NOASSERTION is GitHub's word for a licence that it does not know.
    let license = described.license.and_then(|license| license.spdx_id).filter(|id| id != "NOASSERTION");
    Some(Repository {
        web: Arc::clone(web),
        id: described.id,
        stars: described.stargazers_count,
        license,
        language: described.language,
        pushed_at: described.pushed_at.as_deref().and_then(super::seconds_of),
        size: described.size,
        fork: Some(described.fork),
        archived: described.archived,
        parent: named(described.parent),
        root: named(described.source),
        is_private: described.private,
        is_disabled: described.disabled.unwrap_or(false),
        is_described: true,
        name: described.full_name,
        ..Repository::default()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn repositories_are_cloned_from_beside_the_api() {
        for (base_url, web, host, port) in [
            ("https://api.github.com", "https://github.com/", "github.com", None),
            ("https://api.github.com/", "https://github.com/", "github.com", None),
            ("https://git.example.org/api/v3/", "https://git.example.org/", "git.example.org", None),
            ("https://api.git.example.org/api/v3", "https://api.git.example.org/", "api.git.example.org", None),
            ("https://api.octo.ghe.com", "https://octo.ghe.com/", "octo.ghe.com", None),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/", "127.0.0.1", Some(8080)),
        ] {
            let base = client::base(base_url).expect("a base URL");
            assert_eq!(client::web(&base).as_str(), web, "{base_url}");
            assert_eq!(server(base_url).expect("a base URL"), (host.to_owned(), port), "{base_url}");
        }
        for bad in ["github.com", "ftp://h", "https://me:secret@h/", "https://h/?a=b", ""] {
            let error = server(bad).expect_err(bad).to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn what_describes_no_repository_is_none() {
        let web = &Arc::from("https://github.com/");
        let whole = json!({"id": 1, "full_name": "o/.github", "fork": false});
        let read_whole = read(whole.clone(), web).expect("a repository");
        assert_eq!(read_whole.values()[0], "https://github.com/o/.github.git");
        for (field, value) in [
            ("id", json!(null)),
            ("id", json!(-1)),
            ("id", json!("1")),
            ("full_name", json!("o/../x")),
            ("full_name", json!("o/..")),
            ("full_name", json!("../x")),
            ("full_name", json!("o/x\n--upload-pack=x")),
            ("full_name", json!("-o x/y")),
            ("full_name", json!("o/.git")),
            ("full_name", json!("o")),
            ("fork", json!(null)),
            ("stargazers_count", json!("many")),
        ] {
            let mut item = whole.clone();
            item[field] = value.clone();
            assert_eq!(read(item, web), None, "{field} {value}");
        }
        let no_license = json!({"id": 1, "full_name": "o/x", "fork": false, "license": {"spdx_id": "NOASSERTION"}});
        assert_eq!(read(no_license, web).expect("a repository").license, None);
    }
}
