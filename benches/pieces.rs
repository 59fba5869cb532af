//! What mining and assembling do for every row, each piece by itself: `cargo bench --bench pieces`.
//!
//! Inputs are made here, always the same: texts that look like code, their versions, and a repository of them. They say
//! whether a piece became slower; how fast it is on real histories is what `scripts/bench.py` is for.

use std::{
    hint::black_box,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    rc::Rc,
    sync::atomic::AtomicBool,
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gitlode::{
    classify::{
        language::Languages,
        license::Licenses,
        natural::{Judge, NaturalLanguages},
    },
    dedup::{
        near::{MinHash, NGRAM_WORDS},
        redact::{self, Action, Memory, Policy, Redactor},
        words,
    },
    git::{
        ObjectId,
        change::{Change, File, TreeDiff},
        decoder::Decoder,
        diff,
        lines::Comparer,
        repository::{Repository, Revision},
        trees::Trees,
        walk::{self, Span, Window},
    },
    sample::ChangeKind,
};

// The program's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Lines of a file.
const LINES: usize = 1000;

/// Versions of a file.
const VERSIONS: usize = 200;

/// The default bound of `mine`, which no text here comes near.
const BLOB_BYTES_MAX: u64 = 1 << 20;

/// Numbers that look like chance and are the same each time (Knuth's MMIX generator).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % bound as u64) as usize
    }

    fn word(&mut self) -> &'static str {
        const WORDS: [&str; 24] = [
            "buffer", "count", "handle", "index", "key", "length", "limit", "list", "lock", "name", "next", "node",
            "offset", "owner", "parent", "queue", "reader", "result", "size", "state", "table", "value", "waker",
            "writer",
        ];
        WORDS[self.below(WORDS.len())]
    }

    fn line(&mut self) -> String {
        let (a, b, c, number) = (self.word(), self.word(), self.word(), self.below(100));
        match self.below(10) {
            0 => "\n".to_owned(),
            1 => "    }\n".to_owned(),
            2 => format!("fn {a}_{b}(&mut self, {c}: usize) -> [u8; {number}] {{\n"),
            3 => format!("    // The {a} of a {b} is {number} at least, as its {c} may be gone.\n"),
            4 => format!("    if self.{a}.{b} < {number} {{\n"),
            5 => format!("    for {a} in &self.{b}_{c} {{\n"),
            6 => format!("        self.{a}.push({b}.{c}({number}));\n"),
            7 => format!("        return Err(Error::{a}(\"{b} {c}\", {number}));\n"),
            _ => format!("    let {a}_{b} = {c}.{a}({number})?;\n"),
        }
    }

    fn lines(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.line()).collect()
    }

    /// A commit's worth of edits: lines that change, come and go, in one to three places.
    fn edit(&mut self, lines: &mut Vec<String>) {
        for _ in 0..=self.below(3) {
            let at = self.below(lines.len() - 4);
            let (gone, come) = (self.below(4), self.below(4));
            let new = self.lines(come);
            drop(lines.splice(at..at + gone, new));
        }
    }
}

/// Versions of a file, one behind the other.
fn versions() -> Vec<Rc<String>> {
    let mut numbers = Numbers(1);
    let mut lines = numbers.lines(LINES);
    let version = |_| {
        numbers.edit(&mut lines);
        Rc::new(lines.concat())
    };
    (0..VERSIONS).map(version).collect()
}

fn change() -> Change {
    let file = File { executable: false, id: ObjectId::null(gix::hash::Kind::Sha1) };
    let (path, kind) = (b"src/runtime/queue.rs".as_slice().into(), ChangeKind::Modified);
    Change { old_path: None, path, kind, old: Some(file), new: Some(file), similarity_percent: 0, directory: 0 }
}

/// Diffs as most rows have them: the next version of a file, of which all but some lines are known already; and of a file
/// that was written anew out of the same lines, where Myers has all to do.
fn diffs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("diff");
    let versions = versions();
    let mut shuffled: Vec<&str> = versions[0].split_inclusive('\n').collect();
    let mut numbers = Numbers(2);
    for at in (1..shuffled.len()).rev() {
        shuffled.swap(at, numbers.below((at + 1).min(40)));
    }
    let rewritten = vec![Rc::clone(&versions[0]), Rc::new(shuffled.concat())];
    for (name, texts) in [("next version", versions), ("rewritten", rewritten)] {
        group.throughput(Throughput::Bytes(texts.windows(2).map(|pair| (pair[0].len() + pair[1].len()) as u64).sum()));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut comparer = Comparer::default();
                for pair in texts.windows(2) {
                    black_box(diff::unified(&mut comparer, &change(), Some(&pair[0]), Some(&pair[1])));
                }
            });
        });
    }
    group.finish();
}

/// A repository in one pack, in which each commit is an edit of one of 400 files.
fn repository(directory: &Path) -> Repository {
    let mut numbers = Numbers(3);
    let mut files: Vec<Vec<String>> = (0..400).map(|_| numbers.lines(60)).collect();
    files[0] = numbers.lines(LINES);
    let mut stream = String::new();
    let mut write = |number: usize, message: &str, changed: &[(usize, &Vec<String>)]| {
        let (time, len) = (1_700_000_000 + number, message.len());
        stream += &format!("commit refs/heads/main\ncommitter A <a@example.com> {time} +0000\ndata {len}\n{message}\n");
        for (at, lines) in changed {
            let (directory, file, text) = (at / 20, at % 20, lines.concat());
            let len = text.len();
            stream += &format!("M 100644 inline src/part_{directory}/file_{file}.rs\ndata {len}\n{text}\n");
        }
    };
    write(0, "Begin with all files", &files.iter().enumerate().collect::<Vec<_>>());
    for number in 1..=2 * VERSIONS {
        // Every other commit goes to the longest file.
        let at = if number % 2 == 0 { 0 } else { numbers.below(files.len()) };
        numbers.edit(&mut files[at]);
        write(number, "Change some lines of a file", &[(at, &files[at])]);
    }
    git(directory, &["init", "--quiet", "--bare", "--initial-branch=main", "."], "");
    git(directory, &["fast-import", "--quiet"], &stream);
    git(directory, &["repack", "-a", "-d", "-f", "--quiet"], "");
    Repository::open(directory).expect("git made it")
}

fn git(directory: &Path, arguments: &[&str], input: &str) {
    let mut command = Command::new("git");
    command.current_dir(directory).args(arguments).stdin(Stdio::piped());
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
    let mut child = command.spawn().expect("git is installed");
    child.stdin.take().expect("it is piped").write_all(input.as_bytes()).expect("git reads it");
    assert!(child.wait().expect("it ends").success(), "git {arguments:?} failed");
}

/// Comparing trees, and versions of files out of a pack: what every commit and every blob costs before a text is looked at.
fn objects(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("git");
    let lab = tempfile::tempdir().expect("there is room");
    let repository = repository(lab.path());
    let never = AtomicBool::new(false);
    let tips = repository.tips(&Revision::Head).expect("it has a branch");
    let window = Window { since: None, until: None };
    let span = Span { tips: &tips, hidden: &[], others: &Default::default(), window };
    let (walked, ()) = walk::walk(&repository, span, 1, &never, ()).expect("nothing is damaged");
    let commits = walked.commits;
    let tree_of = |parent: ObjectId| commits.iter().find(|commit| commit.id == parent).map(|commit| commit.tree);
    let pairs: Vec<_> = commits.iter().map(|commit| (commit.parent.and_then(tree_of), commit.tree)).collect();
    let compare = || {
        let mut trees = Trees::new(&repository, |_, _| false);
        let mut differ = TreeDiff::new(&mut trees, usize::MAX, &never);
        let compare = |(old, new): &(Option<ObjectId>, ObjectId)| differ.compare(*old, *new).expect("all is there");
        pairs.iter().map(compare).collect::<Vec<_>>()
    };
    let changes = compare();
    let blobs: Vec<ObjectId> =
        changes.iter().flat_map(|changes| &changes.regular).filter_map(|change| Some(change.new?.id)).collect();
    let decode = || {
        let mut decoder = Decoder::new(&repository, gix::objs::Kind::Blob, BLOB_BYTES_MAX);
        blobs.iter().map(|id| decoder.decode(id).expect("it is in the pack").as_bytes().len() as u64).sum::<u64>()
    };
    group.throughput(Throughput::Elements(commits.len() as u64));
    group.bench_function("compare trees", |bencher| bencher.iter(compare));
    group.throughput(Throughput::Bytes(decode()));
    group.bench_function("decode blobs", |bencher| bencher.iter(decode));
    group.finish();
}

const MESSAGE: &str = "Wake the reader when the last writer is dropped\n\nIts queue was never looked at again, so whoever waited for the \
    next value did so for ever.\n\nFixes: #123\n";

/// Labels: what is said of every row, or of every version of a file.
fn labels(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("label");
    let source = versions().swap_remove(0);
    // `.h` may be three languages, so that contents have to decide.
    let languages = Languages::in_use();
    let facts = languages.for_path("src/queue.h");
    group.bench_function("language", |bencher| bencher.iter(|| languages.label(&facts, black_box(&source))));
    let licenses = Licenses::in_use();
    let notice = "// Copyright 2024 the owners.\n// Licensed under the Apache License, Version 2.0 (the \"License\"); you may not use \
        this file except in\n// compliance with the License.\n\n";
    let source = notice.to_owned() + &source;
    group.bench_function("licence of a head", |bencher| bencher.iter(|| licenses.in_header(black_box(&source))));
    let text = include_str!("../LICENSE-APACHE");
    group.bench_function("licence text", |bencher| bencher.iter(|| licenses.in_text(black_box(text))));
    let natural = NaturalLanguages::in_use();
    group.bench_function("message", |bencher| bencher.iter(|| natural.label(black_box(MESSAGE), Judge::Fast)));
    group.finish();
}

/// What assembling does with every row: masking, where all lines are new, and a signature to find rows that are alike.
fn assembling(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("assemble");
    let [old, new] = [0, 1].map(|at| versions().swap_remove(at));
    let redactor = Redactor::new(redact::TABLE, Policy::all(Action::Mask)).expect("the table is tested");
    group.throughput(Throughput::Bytes((old.len() + new.len()) as u64));
    group.bench_function("redact", |bencher| {
        let texts = [Some(old.as_str()), Some(&new), Some(MESSAGE), Some("Wake the reader"), None];
        bencher.iter(|| redactor.redact(black_box(texts), &mut Memory::default()));
    });
    let hashes = MinHash::default();
    group.throughput(Throughput::Bytes(new.len() as u64));
    group.bench_function("MinHash", |bencher| {
        bencher.iter(|| {
            let mut of_words = Vec::new();
            words::hashes(black_box(&new), &mut of_words);
            hashes.bands(&words::ngram_set(&of_words, NGRAM_WORDS))
        });
    });
    group.finish();
}

criterion_group!(pieces, diffs, objects, labels, assembling);
criterion_main!(pieces);
