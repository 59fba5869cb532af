//! The walk on several threads: whatever their number, it finds the same, and it ends.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt::Write as _,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use gitlode::{
    git::{
        Error, ObjectId,
        commit::Commit,
        repository::{Repository, Revision},
        walk::{Notes, Span, Walked, Window, walk},
    },
    verdict::Skip,
};
use support::{Draw, Lab, git};

const THREADS: [usize; 5] = [1, 2, 3, 5, 8];

const BRANCHES: usize = 12;

/// A line of 300 commits, from which branches part and into which they are merged, and what is still open of them.
fn repository(lab: &Lab) -> PathBuf {
    let mut draw = Draw(7);
    let mut stream = String::new();
    let mut tips: Vec<Option<usize>> = vec![None; BRANCHES];
    for mark in 1..=900 {
        // A third of all commits are on the first branch.
        let branch = if mark % 3 > 0 { draw.below(BRANCHES) } else { 0 };
        let main = tips[0];
        let parent = tips[branch].or(main);
        let merged = (branch == 0).then(|| tips[1 + draw.below(BRANCHES - 1)]).flatten().filter(|_| mark % 4 == 0);
        let time = 1_700_000_000 + 60 * (mark / 2);
        let message = format!("Say the number {mark} aloud");
        write!(
            stream,
            "commit refs/heads/b{branch}\nmark :{mark}\ncommitter A <a@b> {time} +0000\ndata {}\n",
            message.len()
        )
        .and_then(|()| writeln!(stream, "{message}"))
        .expect("a string grows");
        let from = parent.map(|parent| format!("from :{parent}\n")).unwrap_or_default();
        let merge = merged.filter(|merged| Some(*merged) != parent).map(|merged| format!("merge :{merged}\n"));
        stream += &format!("{from}{}M 644 inline f{branch}\ndata 4\n{mark:04}\n\n", merge.unwrap_or_default());
        tips[branch] = Some(mark);
    }
    fs::write(lab.path("stream"), stream).expect("the stream can be written");
    let import = "git fast-import --quiet < ../stream; git symbolic-ref HEAD refs/heads/b0";
    lab.repository("r", "sha1", import)
}

/// What was noted: each commit with its parents and its message.
#[derive(Debug, Default, PartialEq)]
struct Seen(BTreeMap<ObjectId, (Vec<ObjectId>, Vec<u8>)>);

impl Notes for Seen {
    fn part(&self) -> Self {
        Seen::default()
    }

    fn see(&mut self, id: ObjectId, commit: &Commit<'_>) {
        let last = self.0.insert(id, (commit.parents.clone(), commit.said.message.to_vec()));
        assert_eq!(last, None, "it was seen before");
    }

    fn add(&mut self, part: Self) {
        for (id, seen) in part.0 {
            assert_eq!(self.0.insert(id, seen), None, "two threads saw it");
        }
    }
}

/// All that a walk tells of the repository at `path`.
type Told =
    (Vec<(i64, ObjectId, ObjectId, Option<ObjectId>, bool)>, BTreeSet<(ObjectId, ObjectId)>, String, bool, Seen);

fn told(path: &Path, threads: usize, hidden: &[ObjectId]) -> Told {
    let repository = Repository::open(path).expect("a repository");
    let tips = repository.tips(&Revision::AllBranches).expect("branches");
    let span = Span { tips: &tips, hidden, others: &HashSet::new(), window: Window::default() };
    let (walked, seen) =
        walk(&repository, span, threads, &AtomicBool::new(false), Seen::default()).expect("it can be walked");
    let Walked { commits, trees, skipped, continues } = walked;
    let commits = commits.into_iter().map(|c| (c.time, c.id, c.tree, c.parent, c.object.is_some())).collect();
    (commits, trees.into_iter().collect(), format!("{skipped:?}"), continues, seen)
}

fn ids(path: &Path, args: &[&str]) -> Vec<ObjectId> {
    let text = String::from_utf8(git(path, args)).expect("text");
    text.lines().map(|line| ObjectId::from_hex(line.as_bytes()).expect("an id")).collect()
}

#[test]
fn threads_find_what_git_lists() {
    let lab = Lab::new();
    let path = repository(&lab);
    let old = ids(&path, &["rev-parse", "b0~40", "b3~5"]);
    let elsewhere = ids(&path, &["commit-tree", "-m", "Stand alone somewhere else", "b0^{tree}"]);
    for (hidden, continues) in [(&[][..], true), (&old[..], true), (&elsewhere[..], false)] {
        let hidden_args: Vec<String> = hidden.iter().map(|id| format!("^{id}")).collect();
        let args = ["rev-list", "--branches", "--no-merges"].into_iter().chain(hidden_args.iter().map(String::as_str));
        let single: BTreeSet<_> = ids(&path, &args.collect::<Vec<_>>()).into_iter().collect();
        let args = ["rev-list", "--branches"].into_iter().chain(hidden_args.iter().map(String::as_str));
        let all: BTreeSet<_> = ids(&path, &args.collect::<Vec<_>>()).into_iter().collect();
        assert!(all.len() > single.len() + 10 && single.len() > 100, "{} {}", all.len(), single.len());
        let first = told(&path, 1, hidden);
        assert_eq!(first.0.iter().map(|commit| commit.1).collect::<BTreeSet<_>>(), single);
        assert_eq!(first.4.0.keys().copied().collect::<BTreeSet<_>>(), all);
        assert_eq!(first.3, continues);
        assert!(first.0.is_sorted() && first.0.iter().all(|commit| commit.4));
        for threads in THREADS {
            assert!(told(&path, threads, hidden) == first, "{threads} threads, {} hidden", hidden.len());
        }
    }
}

#[test]
fn damage_and_an_edge_are_the_same_for_all_threads() {
    let lab = Lab::new();
    let path = repository(&lab);
    let whole = told(&path, 1, &[]);
    // All objects by themselves, so that some can be taken away.
    lab.script(&path, "mv .git/objects/pack ../packs; mkdir .git/objects/pack; for p in ../packs/*.pack; do git unpack-objects -q < $p; done");
    for threads in THREADS {
        assert!(told(&path, threads, &[]) == whole, "{threads}");
    }
    let file = |revision: &str| {
        let id = ids(&path, &["rev-parse", revision])[0].to_string();
        path.join(".git/objects").join(&id[..2]).join(&id[2..])
    };
    let (missing, damaged) = ([file("b1~3"), file("b4~6")], [file("b2~2"), file("b5~1"), file("b0~150")]);
    missing.iter().for_each(|path| fs::remove_file(path).expect("it is there"));
    for path in &damaged {
        fs::remove_file(path).expect("it is there");
        fs::write(path, b"nothing of zlib").expect("it can be written");
    }
    let first = told(&path, 1, &[]);
    let of = |skip: Skip| format!("{skip:?}");
    assert!(
        first.0.len() < whole.0.len()
            && first.2.contains(&of(Skip::CorruptObject))
            && first.2.contains(&of(Skip::MissingObject)),
        "{}",
        first.2
    );
    for threads in THREADS {
        assert!(told(&path, threads, &[]) == first, "{threads}");
    }
    let edge = ids(&path, &["rev-parse", "b0~20", "b6~4"]);
    let edge: Vec<String> = edge.iter().map(ToString::to_string).collect();
    fs::write(path.join(".git/shallow"), edge.join("\n")).expect("it can be written");
    let first = told(&path, 1, &[]);
    assert!(first.2.contains(&of(Skip::ShallowBoundary)), "{}", first.2);
    for threads in THREADS {
        assert!(told(&path, threads, &[]) == first, "{threads}");
    }
}

#[test]
fn an_error_of_the_last_thread_at_work_is_told() {
    let lab = Lab::new();
    let path = repository(&lab);
    let fits = |bytes: u64, threads: usize| {
        let repository = Repository::open(&path).expect("a repository").with_memory(bytes, threads);
        let tips = repository.tips(&Revision::AllBranches).expect("branches");
        let span = Span { tips: &tips, hidden: &[], others: &HashSet::new(), window: Window::default() };
        match walk(&repository, span, threads, &AtomicBool::new(false), ()) {
            Ok(_) => true,
            Err(Error::Memory { .. }) => false,
            Err(error) => panic!("{error}"),
        }
    };
    // The least that is enough: with less, what is looked at last has no room.
    let (mut less, mut enough) = (0, 1 << 30);
    while less + 1 < enough {
        let between = (less + enough) / 2;
        *if fits(between, 1) { &mut enough } else { &mut less } = between;
    }
    for threads in THREADS {
        for run in 0..20 {
            assert!(fits(enough, threads) && !fits(less, threads), "{threads} {run}");
        }
    }
}

/// Does something at the hundredth commit.
struct AtHundred<'a>(&'a (dyn Fn() + Sync), usize);

impl Notes for AtHundred<'_> {
    fn part(&self) -> Self {
        AtHundred(self.0, 0)
    }

    fn see(&mut self, _: ObjectId, _: &Commit<'_>) {
        self.1 += 1;
        if self.1 == 100 {
            self.0();
        }
    }

    fn add(&mut self, _: Self) {}
}

#[test]
fn whatever_happens_a_walk_ends() {
    let lab = Lab::new();
    let path = repository(&lab);
    for threads in THREADS {
        let open = || Repository::open(&path).expect("a repository");
        let run = |repository: Repository, interrupt: &AtomicBool, at_hundred: &(dyn Fn() + Sync)| {
            let tips = repository.tips(&Revision::AllBranches).expect("branches");
            let span = Span { tips: &tips, hidden: &[], others: &HashSet::new(), window: Window::default() };
            walk(&repository, span, threads, interrupt, AtHundred(at_hundred, 0)).map(|_| ())
        };
        let interrupt = AtomicBool::new(true);
        assert!(matches!(run(open(), &interrupt, &|| {}), Err(Error::Interrupted)), "{threads}");
        let interrupt = AtomicBool::new(false);
        // Whether a commit is left to be read by then is the threads' affair.
        let outcome = run(open(), &interrupt, &|| interrupt.store(true, Ordering::Relaxed));
        assert!(matches!(outcome, Ok(()) | Err(Error::Interrupted)) && interrupt.load(Ordering::Relaxed), "{threads}");
        let interrupt = AtomicBool::new(false);
        let outcome = run(open().with_memory(1 << 18, threads), &interrupt, &|| {});
        assert!(matches!(outcome, Err(Error::Memory { .. })), "{threads}");
        let panics = || run(open(), &interrupt, &|| panic!("at a hundred"));
        assert!(catch_unwind(AssertUnwindSafe(panics)).is_err(), "{threads}");
    }
}
