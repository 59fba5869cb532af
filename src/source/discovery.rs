//! Repositories that were found: what is known of each, which of them are wanted, and the account of the others. Asks
//! nobody.

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use serde::Serialize;
use serde_json::Value;

/// A repository that was found, with all that is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repository {
    /// The address that the server's repositories are cloned from, with a slash at its end. Millions of repositories may
    /// share it.
    pub web: Arc<str>,
    /// `owner/name`, as the server spells it.
    pub name: String,
    /// The server's number, which stays when the repository is renamed.
    pub id: u64,
    /// How many people have marked it.
    pub stars: Option<u64>,
    /// The licence that the server sees, as an SPDX identifier.
    pub license: Option<String>,
    /// The programming language that most of it is in.
    pub language: Option<String>,
    /// When something was last pushed to it, in seconds since 1970.
    pub pushed_at: Option<i64>,
    /// KiB that it takes on the server.
    pub size: Option<u64>,
    /// Whether it is a fork.
    pub fork: Option<bool>,
    /// Whether it is archived.
    pub archived: Option<bool>,
    /// What it was forked from.
    pub parent: Option<String>,
    /// Where the forks that it descends from began.
    pub root: Option<String>,
    /// Pushes to it in the hours of GH Archive that were read.
    pub pushes: Option<u64>,
    /// The ref of the last of them.
    pub reference: Option<String>,
    /// Where it is after that push.
    pub head: Option<String>,
    /// Where it was before.
    pub before: Option<String>,
    /// Whether not everybody may see it.
    pub is_private: bool,
    /// Whether the server gives it to nobody.
    pub is_disabled: bool,
    /// Whether the server described it; what GH Archive names is only a name.
    pub is_described: bool,
}

/// The columns of a list, in their order.
pub const COLUMNS: [&str; 16] = [
    "url",
    "full_name",
    "id",
    "stars",
    "license",
    "language",
    "pushed_at",
    "size",
    "fork",
    "archived",
    "parent",
    "root",
    "pushes",
    "ref",
    "head",
    "before",
];

impl Repository {
    /// The values of [`COLUMNS`], null where nothing is known.
    pub fn values(&self) -> [Value; COLUMNS.len()] {
        [
            format!("{}{}.git", self.web, self.name).into(),
            self.name.as_str().into(),
            self.id.into(),
            self.stars.into(),
            self.license.as_deref().into(),
            self.language.as_deref().into(),
            self.pushed_at.map(super::time_of).into(),
            self.size.into(),
            self.fork.into(),
            self.archived.into(),
            self.parent.as_deref().into(),
            self.root.as_deref().into(),
            self.pushes.into(),
            self.reference.as_deref().into(),
            self.head.as_deref().into(),
            self.before.as_deref().into(),
        ]
    }

    /// Adds what `other` knows of the same repository and this does not.
    pub fn complete(&mut self, other: Repository) {
        if other.is_described && !self.is_described {
            // What the server says of a name is newer than what an archive says.
            (self.web, self.name, self.is_described) = (other.web, other.name, true);
            self.pushed_at = other.pushed_at.or(self.pushed_at);
            (self.is_private, self.is_disabled) = (other.is_private, other.is_disabled);
        }
        let Repository { stars, license, language, size, fork, archived, parent, root, .. } = other;
        self.stars = self.stars.or(stars);
        self.license = self.license.take().or(license);
        self.language = self.language.take().or(language);
        self.size = self.size.or(size);
        self.fork = self.fork.or(fork);
        self.archived = self.archived.or(archived);
        self.parent = self.parent.take().or(parent);
        self.root = self.root.take().or(root);
        if self.pushes.is_none() {
            (self.pushes, self.reference, self.head, self.before) =
                (other.pushes, other.reference, other.head, other.before);
        }
    }

    /// Roots before their forks, and those before the next root, each by name.
    fn compare(&self, other: &Self) -> Ordering {
        let of_root =
            lower(self.root.as_ref().unwrap_or(&self.name)).cmp(lower(other.root.as_ref().unwrap_or(&other.name)));
        let of_name = || lower(&self.name).cmp(lower(&other.name));
        let is_root = || self.root.is_some().cmp(&other.root.is_some());
        of_root.then_with(is_root).then_with(of_name).then_with(|| (&self.web, self.id).cmp(&(&other.web, other.id)))
    }
}

fn lower(text: &str) -> impl Iterator<Item = u8> {
    text.bytes().map(|byte| byte.to_ascii_lowercase())
}

/// What to do with archived repositories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Archived {
    /// List them.
    #[default]
    Keep,
    /// Leave them out.
    Skip,
    /// List no others.
    Only,
}

/// What to do with forks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Forks {
    /// List them like all others.
    #[default]
    Keep,
    /// Leave them out.
    Skip,
    /// Ask for parent and root of each, and list them behind their root.
    Attach,
}

/// Whether a declared licence will do.
pub type Takes = Box<dyn Fn(&str) -> bool>;

/// What is demanded of a repository; nothing by default.
#[derive(Default)]
pub struct Demand {
    /// Its licence.
    pub license: Option<Takes>,
    /// One of these languages.
    pub languages: Vec<String>,
    /// At least so many stars.
    pub stars_min: Option<u64>,
    /// At most so many stars.
    pub stars_max: Option<u64>,
    /// At most so many KiB.
    pub size_max: Option<u64>,
    /// A push at or after this time, in seconds since 1970.
    pub pushed_since: Option<i64>,
    /// What of archived ones.
    pub archived: Archived,
    /// What of forks.
    pub forks: Forks,
    /// Whether private ones are listed.
    pub private: bool,
}

/// Why a repository is not listed; accounts name it as JSON does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Reason {
    FoundAgain,
    Unreadable,
    Gone,
    Blocked,
    NotAsked,
    Private,
    Disabled,
    Fork,
    ForkUnknown,
    Archived,
    NotArchived,
    ArchivedUnknown,
    License,
    LicenseUnknown,
    Language,
    LanguageUnknown,
    StarsMin,
    StarsMax,
    StarsUnknown,
    SizeMax,
    SizeUnknown,
    PushedSince,
    PushedUnknown,
}

/// What becomes of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is listed.
    Keep,
    /// It is not.
    Drop(Reason),
    /// Nothing that is known speaks against it, and something that is demanded is not known.
    Unknown(Reason),
}

impl Demand {
    /// Whether nothing but what GH Archive says is asked.
    pub fn needs_description(&self) -> bool {
        self.license.is_some()
            || !self.languages.is_empty()
            || self.stars_min.or(self.stars_max).or(self.size_max).is_some()
            || self.archived != Archived::Keep
            || self.forks != Forks::Keep
    }

    /// The first demand that `repository` does not meet; only where there is none, the first whose fact is not known.
    pub fn judge(&self, repository: &Repository) -> Verdict {
        let stars = |reason: Reason, misses: &dyn Fn(u64) -> bool| {
            demand(repository.stars, Reason::StarsUnknown, reason, misses)
        };
        let verdicts = [
            (repository.is_private && !self.private).then_some(Verdict::Drop(Reason::Private)),
            repository.is_disabled.then_some(Verdict::Drop(Reason::Disabled)),
            (self.forks == Forks::Skip)
                .then(|| demand(repository.fork, Reason::ForkUnknown, Reason::Fork, &|fork| fork)),
            match self.archived {
                Archived::Keep => None,
                Archived::Skip => {
                    Some(demand(repository.archived, Reason::ArchivedUnknown, Reason::Archived, &|is| is))
                }
                Archived::Only => {
                    Some(demand(repository.archived, Reason::ArchivedUnknown, Reason::NotArchived, &|is| !is))
                }
            },
            self.license.as_ref().map(|takes| {
                demand(repository.license.as_deref(), Reason::LicenseUnknown, Reason::License, &|text| !takes(text))
            }),
            (!self.languages.is_empty()).then(|| {
                let is_other = |given: &str| !self.languages.iter().any(|wanted| wanted.eq_ignore_ascii_case(given));
                demand(repository.language.as_deref(), Reason::LanguageUnknown, Reason::Language, &is_other)
            }),
            self.stars_min.map(|min| stars(Reason::StarsMin, &|given| given < min)),
            self.stars_max.map(|max| stars(Reason::StarsMax, &|given| given > max)),
            self.size_max
                .map(|max| demand(repository.size, Reason::SizeUnknown, Reason::SizeMax, &|given| given > max)),
            self.pushed_since.map(|since| {
                demand(repository.pushed_at, Reason::PushedUnknown, Reason::PushedSince, &|at| at < since)
            }),
        ];
        let mut verdicts = verdicts.into_iter().flatten().filter(|verdict| *verdict != Verdict::Keep);
        let first = verdicts.next().unwrap_or(Verdict::Keep);
        match first {
            Verdict::Unknown(_) => verdicts.find(|verdict| matches!(verdict, Verdict::Drop(_))).unwrap_or(first),
            Verdict::Keep | Verdict::Drop(_) => first,
        }
    }
}

fn demand<T: Copy>(given: Option<T>, unknown: Reason, reason: Reason, misses: &dyn Fn(T) -> bool) -> Verdict {
    match given {
        None => Verdict::Unknown(unknown),
        Some(value) if misses(value) => Verdict::Drop(reason),
        Some(_) => Verdict::Keep,
    }
}

/// What became of all repositories that were found: found = listed + left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Account {
    /// How often one was found.
    pub found: u64,
    /// How many are listed.
    pub listed: u64,
    /// How many are not, and why.
    pub left_out: BTreeMap<Reason, u64>,
}

impl Account {
    /// One more that is not listed.
    pub fn leave_out(&mut self, reason: Reason) {
        *self.left_out.entry(reason).or_default() += 1;
    }
}

/// Repositories by server and the server's number.
pub type Found = BTreeMap<(Arc<str>, u64), Repository>;

/// Adds a repository that was found, perhaps once more.
pub fn add(found: &mut Found, account: &mut Account, repository: Repository) {
    account.found += 1;
    match found.entry((Arc::clone(&repository.web), repository.id)) {
        std::collections::btree_map::Entry::Vacant(place) => {
            place.insert(repository);
        }
        std::collections::btree_map::Entry::Occupied(mut known) => {
            known.get_mut().complete(repository);
            account.leave_out(Reason::FoundAgain);
        }
    }
}

/// What is wanted of all that was found, in the order of a list.
pub fn select(found: Found, demand: &Demand, account: &mut Account) -> Vec<Repository> {
    let mut wanted = Vec::with_capacity(found.len());
    for repository in found.into_values() {
        match demand.judge(&repository) {
            Verdict::Keep => wanted.push(repository),
            Verdict::Drop(reason) | Verdict::Unknown(reason) => account.leave_out(reason),
        }
    }
    wanted.sort_unstable_by(Repository::compare);
    account.listed = wanted.len() as u64;
    wanted
}

/// How many forks are in `list` without their root, or without that it is known.
pub fn without_root(list: &[Repository]) -> usize {
    let names: std::collections::HashSet<String> = list.iter().map(|one| one.name.to_ascii_lowercase()).collect();
    let is_listed = |root: &String| names.contains(&root.to_ascii_lowercase());
    list.iter().filter(|one| one.fork == Some(true) && !one.root.as_ref().is_some_and(is_listed)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(id: u64, name: &str) -> Repository {
        Repository { id, name: name.to_owned(), is_described: true, ..Repository::default() }
    }

    #[test]
    fn each_demand_has_its_reasons() {
        let full = Repository {
            stars: Some(10),
            license: Some("MIT".to_owned()),
            language: Some("Rust".to_owned()),
            size: Some(100),
            fork: Some(true),
            archived: Some(true),
            pushed_at: Some(1_767_323_045),
            ..repository(1, "a/b")
        };
        let bare = repository(1, "a/b");
        let (keep, drop, unknown) = (Verdict::Keep, Verdict::Drop, Verdict::Unknown);
        let at = 1_767_323_045;
        let d = Demand::default;
        let takes = |wanted: &'static str| Some(Box::new(move |given: &str| given == wanted) as Takes);
        let rust = |word: &str| vec!["Go".to_owned(), word.to_owned()];
        for (demand, of_full, of_bare) in [
            (d(), keep, keep),
            (Demand { stars_min: Some(10), ..d() }, keep, unknown(Reason::StarsUnknown)),
            (Demand { stars_min: Some(11), ..d() }, drop(Reason::StarsMin), unknown(Reason::StarsUnknown)),
            (Demand { stars_max: Some(10), ..d() }, keep, unknown(Reason::StarsUnknown)),
            (Demand { stars_max: Some(9), ..d() }, drop(Reason::StarsMax), unknown(Reason::StarsUnknown)),
            (Demand { size_max: Some(100), ..d() }, keep, unknown(Reason::SizeUnknown)),
            (Demand { size_max: Some(99), ..d() }, drop(Reason::SizeMax), unknown(Reason::SizeUnknown)),
            (Demand { license: takes("MIT"), ..d() }, keep, unknown(Reason::LicenseUnknown)),
            (Demand { license: takes("ISC"), ..d() }, drop(Reason::License), unknown(Reason::LicenseUnknown)),
            (Demand { languages: rust("rust"), ..d() }, keep, unknown(Reason::LanguageUnknown)),
            (Demand { languages: rust("C"), ..d() }, drop(Reason::Language), unknown(Reason::LanguageUnknown)),
            (Demand { forks: Forks::Skip, ..d() }, drop(Reason::Fork), unknown(Reason::ForkUnknown)),
            (Demand { forks: Forks::Attach, ..d() }, keep, keep),
            (Demand { archived: Archived::Skip, ..d() }, drop(Reason::Archived), unknown(Reason::ArchivedUnknown)),
            (Demand { archived: Archived::Only, ..d() }, keep, unknown(Reason::ArchivedUnknown)),
            (Demand { pushed_since: Some(at), ..d() }, keep, unknown(Reason::PushedUnknown)),
            (Demand { pushed_since: Some(at + 1), ..d() }, drop(Reason::PushedSince), unknown(Reason::PushedUnknown)),
        ] {
            assert_eq!((demand.judge(&full), demand.judge(&bare)), (of_full, of_bare));
        }
        let both = Demand { stars_min: Some(1), languages: rust("C"), ..d() };
        let half = Repository { language: Some("Rust".to_owned()), ..repository(1, "a/b") };
        assert_eq!(both.judge(&half), drop(Reason::Language), "what is known decides before what is not");
        let hidden = Repository { is_private: true, ..full };
        assert_eq!(d().judge(&hidden), drop(Reason::Private));
        assert_eq!(Demand { private: true, ..d() }.judge(&hidden), keep);
    }

    #[test]
    fn lists_have_roots_before_forks_and_accounts_add_up() {
        let (mut found, mut account) = (Found::new(), Account::default());
        let fork = |id, name, root: &str| {
            let root = Some(root.to_owned()).filter(|root| !root.is_empty());
            Repository { root, fork: Some(true), ..repository(id, name) }
        };
        for one in [
            fork(9, "a/zlib", "Madler/zlib"),
            repository(2, "madler/ZLIB"),
            repository(3, "zed/zed"),
            fork(1, "b/b", "gone/root"),
            fork(4, "y/y", ""),
            repository(3, "zed/zed"),
            Repository { web: "https://elsewhere/".into(), ..repository(3, "zzz/zzz") },
        ] {
            add(&mut found, &mut account, one);
        }
        let list = select(found, &Demand::default(), &mut account);
        let names: Vec<&str> = list.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["b/b", "madler/ZLIB", "a/zlib", "y/y", "zed/zed", "zzz/zzz"]);
        assert_eq!((account.found, account.listed, without_root(&list)), (7, 6, 2));
        assert_eq!(account.left_out, BTreeMap::from([(Reason::FoundAgain, 1)]));
    }
}
