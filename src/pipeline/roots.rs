//! Which root commits lead to which commits by first parents: noted while commits are walked, and asked when rows are
//! divided into splits. It is a matter of the commit alone, so all forks of a history have the same answer, and no
//! repository that is mined later changes it.

use std::collections::{BTreeMap, HashMap, HashSet};

use gix::ObjectId;

use super::ancestry::Ancestry;
use crate::{
    export::split::Key,
    git::repository::Repository,
    store::{Checkpoint, Roots},
};

/// Stands for a root that can't be reached: history is cut, missing or damaged in between.
const UNKNOWN: &str = "";

/// The roots of the commits of a walk, behind the batches `earlier`, and behind the commits of another repository, of which the
/// roots are known; none where one of `earlier` does not know its own, since all of a repository is to be divided in one way.
pub fn of_walk(
    ancestry: &Ancestry,
    repository: &Repository,
    earlier: &[Checkpoint],
    others: Option<(&HashSet<ObjectId>, &Roots)>,
) -> Option<Roots> {
    let commits = ancestry.commits();
    let earlier: Vec<&Roots> = earlier.iter().map(|batch| batch.roots.as_ref()).collect::<Option<_>>()?;
    if others.is_none()
        && let Some(main) = only_root(ancestry, &earlier)
    {
        return Some(Roots { main, main_commits: commits.len() as u64, others: BTreeMap::new() });
    }
    let mut roots: Vec<String> = vec![UNKNOWN.to_owned()];
    let mut numbers: HashMap<String, usize> = HashMap::from([(UNKNOWN.to_owned(), 0)]);
    let mut number = |root: String| {
        *numbers.entry(root).or_insert_with_key(|root| {
            roots.push(root.clone());
            roots.len() - 1
        })
    };
    // What the batches before have seen: the main root's commits are those that no other one has.
    let main = earlier.first().map_or(0, |roots| number(roots.main.clone()));
    let mut known: HashMap<ObjectId, usize> = HashMap::new();
    let elsewhere = others.map(|(_, roots)| number(roots.main.clone()));
    let of_others = others.into_iter().flat_map(|(_, roots)| &roots.others);
    for (root, commits) in earlier.iter().flat_map(|roots| &roots.others).chain(of_others) {
        let root = number(root.clone());
        known.extend(commits.iter().filter_map(|id| Some((ObjectId::from_hex(id.as_bytes()).ok()?, root))));
    }
    let mut chain = Vec::new();
    for start in commits.keys() {
        let mut at = *start;
        let found = loop {
            if let Some(root) = known.get(&at) {
                break *root;
            }
            match commits.get(&at).map(|commit| commit.parent) {
                // Behind what is walked now is what the batches before have, or nothing that could be read.
                None => {
                    break elsewhere.filter(|_| others.is_some_and(|(ids, _)| ids.contains(&at))).unwrap_or(main);
                }
                Some(parent) => {
                    chain.push(at);
                    match parent {
                        None => break number(at.to_string()),
                        Some(_) if repository.shallow().contains(&at) => break 0,
                        Some(parent) => at = parent,
                    }
                }
            }
        };
        known.extend(chain.drain(..).map(|id| (id, found)));
    }
    let mut counts = vec![0_u64; roots.len()];
    commits.keys().for_each(|id| counts[known[id]] += 1);
    let main = match earlier.first() {
        Some(_) => main,
        None => most(roots.iter().zip(counts.iter().copied()))
            .and_then(|most| roots.iter().position(|root| root == most))
            .unwrap_or(0),
    };
    let mut others: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for id in commits.keys().filter(|id| known[*id] != main) {
        others.entry(roots[known[id]].clone()).or_default().push(id.to_string());
    }
    others.values_mut().for_each(|commits| commits.sort_unstable());
    Some(Roots { main: roots[main].clone(), main_commits: counts[main], others })
}

/// The root of all commits, where there is no question about it, as in most repositories.
fn only_root(ancestry: &Ancestry, earlier: &[&Roots]) -> Option<String> {
    if earlier.iter().any(|roots| !roots.others.is_empty()) {
        return None;
    }
    let commits = ancestry.commits();
    let mut found = commits.iter().filter(|(_, commit)| commit.parent.is_none()).map(|(id, _)| id.to_string());
    let is_walked = |parent: &ObjectId| commits.contains_key(parent);
    match (earlier.first(), found.next()) {
        (Some(roots), None) => Some(roots.main.clone()),
        (None, Some(root))
            if found.next().is_none()
                && commits.values().filter_map(|commit| commit.parent.as_ref()).all(is_walked) =>
        {
            Some(root)
        }
        _ => None,
    }
}

/// The root with the most commits, of several the smallest; one that is known before all others.
fn most<'a>(roots: impl Iterator<Item = (&'a String, u64)>) -> Option<&'a String> {
    let largest = roots.max_by(|(a, n), (b, m)| {
        let is_known = |root: &str| root != UNKNOWN;
        is_known(a).cmp(&is_known(b)).then(n.cmp(m)).then_with(|| b.cmp(a))
    });
    largest.map(|(root, _)| root)
}

/// The roots of batches that are joined; none where one of them does not know its own.
pub fn joined(batches: &[Checkpoint]) -> Option<Roots> {
    let mut joined: Option<Roots> = None;
    for batch in batches {
        let roots = batch.roots.as_ref()?;
        let Some(all) = &mut joined else {
            joined = Some(roots.clone());
            continue;
        };
        all.main_commits += roots.main_commits;
        for (root, commits) in &roots.others {
            all.others.entry(root.clone()).or_default().extend(commits.iter().cloned());
        }
    }
    if let Some(all) = &mut joined {
        all.others.values_mut().for_each(|commits| commits.sort_unstable());
    }
    joined
}

/// What a repository is divided by.
struct History {
    /// The root of the commits that are of no other one; none of a repository that was mined before roots were noted.
    main: Option<String>,
    /// The root of most commits.
    most: String,
    /// Commits whose root is not known, by the first half of their ids.
    unknown: HashSet<u128>,
}

/// Where the histories of all repositories begin.
#[derive(Default)]
pub struct Histories {
    by_identity: HashMap<String, History>,
    /// Identities by name.
    by_name: HashMap<String, Vec<String>>,
    /// The roots of commits that have another one than most of their repository.
    others: HashMap<u128, String>,
}

/// The first half of a commit id.
fn half(commit: &str) -> u128 {
    commit.get(..32).and_then(|digits| u128::from_str_radix(digits, 16).ok()).unwrap_or_default()
}

impl Histories {
    /// Those of the repositories of `batches`, which come repository by repository.
    pub fn of(batches: &[Checkpoint]) -> Self {
        let mut this = Histories::default();
        for group in batches.chunk_by(|a, b| a.repository.identity == b.repository.identity) {
            let repository = &group[0].repository;
            let (mut unknown, mut most_of) = (HashSet::new(), UNKNOWN.to_owned());
            let roots = joined(group);
            let main = roots.map(|Roots { main, main_commits, others }| {
                let counts = others.iter().map(|(root, commits)| (root, commits.len() as u64));
                most_of = most(counts.chain([(&main, main_commits)])).cloned().unwrap_or_default();
                for (root, commits) in others {
                    let commits = commits.iter().map(|commit| half(commit));
                    match root == UNKNOWN {
                        true => unknown.extend(commits),
                        false => this.others.extend(commits.map(|commit| (commit, root.clone()))),
                    }
                }
                main
            });
            this.by_name.entry(repository.name.clone()).or_default().push(repository.identity.clone());
            this.by_identity.insert(repository.identity.clone(), History { main, most: most_of, unknown });
        }
        this
    }

    /// The histories of the repositories called `name`; of the row's own one where that is it.
    fn of_name<'a>(&'a self, name: &'a str, own: &'a Checkpoint) -> impl Iterator<Item = &'a History> {
        let is_own = name == own.repository.name;
        let named = self.by_name.get(name).into_iter().flatten().filter(move |_| !is_own);
        let own = Some(&own.repository.identity).filter(|_| is_own);
        named.chain(own).filter_map(|identity| self.by_identity.get(identity))
    }

    /// What decides on the split of a row: its commit, the names of the repositories that have it, sorted and with commas
    /// between them, and the repository that it is read from.
    pub fn key<'a>(&'a self, commit: &str, repos: &'a str, own: &'a Checkpoint) -> Key<'a> {
        let is_old = |name: &&str| self.of_name(name, own).any(|history| history.main.is_none());
        // Rows of before there were roots stay where they are, whoever comes to share them.
        if let Some(name) = repos.split(',').find(is_old) {
            return Key::Name(name);
        }
        let commit = half(commit);
        if let Some(root) = self.others.get(&commit) {
            return Key::Root(root);
        }
        let histories = repos.split(',').flat_map(|name| self.of_name(name, own));
        let mains = histories.filter(|history| !history.unknown.contains(&commit)).filter_map(|h| h.main.as_deref());
        match mains.filter(|main| *main != UNKNOWN).min() {
            Some(root) => Key::Root(root),
            None => Key::Name(repos.split(',').next().unwrap_or_default()),
        }
    }

    /// What decides on the split of most rows of each repository in `repos`.
    pub fn keys_of<'a>(&'a self, repos: &'a str, own: &'a Checkpoint) -> impl Iterator<Item = Key<'a>> {
        repos.split(',').flat_map(move |name| {
            self.of_name(name, own).map(move |history| match (&history.main, history.most.as_str()) {
                (Some(_), root) if root != UNKNOWN => Key::Root(root),
                _ => Key::Name(name),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        store::{FORMAT_VERSION, RepositoryId},
        verdict::{Counts, Funnel},
    };

    fn batch(name: &str, roots: Option<Roots>) -> Checkpoint {
        Checkpoint {
            format: FORMAT_VERSION,
            schema: 1,
            tool: String::new(),
            repository: RepositoryId {
                identity: format!("/{name}"),
                name: name.into(),
                columns: BTreeMap::new(),
                root: None,
            },
            generation: 1,
            batch: 0,
            tips: Vec::new(),
            hidden: Vec::new(),
            shallow: Vec::new(),
            license: None,
            relicensed: Vec::new(),
            reversals: Vec::new(),
            roots,
            begin: None,
            behind: None,
            recipe: serde_json::Value::Null,
            early: Counts::default(),
            ledger: None,
            segments: Vec::new(),
            funnel: Funnel::default(),
            blake3: String::new(),
        }
    }

    fn roots(main: &str, main_commits: u64, others: &[(&str, &[u32])]) -> Option<Roots> {
        let commits = |ids: &[u32]| ids.iter().map(|id| format!("{id:032}00000000")).collect();
        let others = others.iter().map(|(root, ids)| ((*root).to_owned(), commits(ids))).collect();
        Some(Roots { main: main.into(), main_commits, others })
    }

    #[test]
    fn batches_that_are_joined_say_what_each_said() {
        let (first, second) = (roots("a", 3, &[("b", &[5])]), roots("a", 1, &[("b", &[2, 7]), ("", &[9])]));
        let all = joined(&[batch("x", first.clone()), batch("x", second)]);
        assert_eq!(all, roots("a", 4, &[("b", &[2, 5, 7]), ("", &[9])]));
        assert_eq!(joined(&[batch("x", first), batch("x", None)]), None);
        assert_eq!(joined(&[]), None);
    }

    #[test]
    fn a_commit_has_its_root_wherever_it_is_read() {
        let batches = [
            batch("new", roots("a", 1, &[("b", &[5, 6])])),
            batch("old", None),
            batch("shallow", roots("", 2, &[])),
            batch("other", roots("b", 2, &[("", &[8])])),
        ];
        let histories = Histories::of(&batches);
        let key = |commit: u32, repos: &'static str, at: usize| {
            histories.key(&format!("{commit:032}00000000"), repos, &batches[at])
        };
        for (commit, repos, at, expected) in [
            (1, "new", 0, Key::Root("a")),
            (5, "new", 0, Key::Root("b")),
            (5, "new,other", 0, Key::Root("b")),
            (5, "other", 3, Key::Root("b")),
            (5, "new,old", 0, Key::Name("old")),
            (1, "new,shallow", 0, Key::Root("a")),
            (1, "shallow", 2, Key::Name("shallow")),
            (8, "other", 3, Key::Name("other")),
            (8, "other,shallow", 3, Key::Name("other")),
            (8, "new,other", 0, Key::Root("a")),
        ] {
            assert_eq!(key(commit, repos, at), expected, "{commit} of {repos}");
        }
        // Most commits of the first repository are of the root that is not its main one.
        let keys: Vec<_> = histories.keys_of("new,old,other,shallow", &batches[0]).collect();
        assert_eq!(keys, [Key::Root("b"), Key::Name("old"), Key::Root("b"), Key::Name("shallow")]);
    }
}
