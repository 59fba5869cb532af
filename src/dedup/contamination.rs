//! Finds texts of benchmarks in rows: runs of words that both have.
//!
//! A run says something where at least two in five of its words are different and have three letters: counting from 0 to 9, in
//! digits or in words (three numbers and more), and loops over `i` are everybody's. What stands in more than a twentieth of a benchmark's rows is its frame (imports, a
//! licence), not its matter.
//!
//! A task that is a repository's issue (SWE-bench and its like) also is its base commit, on which the solution stands, and a
//! patch, which may be too short for a run of words.

use hashbrown::{HashMap, HashSet};

use super::fingerprints::Fingerprints;
use super::words::{common_lines, hash, hashes, mix, ngram, ngrams, words, words_before, words_behind};
use crate::sample::Sample;

/// Words in a run, unless the user says otherwise.
pub const NGRAM_WORDS: usize = 10;

/// A run that more of a benchmark's rows have than this share is part of its frame,
const FRAME_SHARE: f64 = 0.05;

/// and so many rows may have it in any case.
const FRAME_ROWS_MIN: f64 = 3.0;

/// Bits of the filter of words: most words of code are in no benchmark, and one such word rules out all runs over it.
pub(super) const WORD_BITS: u32 = 20;

/// The benchmark, and the row of it (from 0).
type Place = (u32, u32);

/// The texts of benchmarks.
pub struct Benchmarks {
    n: usize,
    names: Vec<String>,
    /// For each benchmark, what its rows are called.
    tasks: Vec<Vec<String>>,
    /// Runs of words, by their length.
    searches: Vec<Search>,
    /// The commits that tasks start from.
    bases: HashMap<String, Place>,
    /// For a repository in lower case and the hash of what a patch changes in one file, whose patch it is.
    patches: HashMap<(String, u64), Place>,
}

/// Runs of so many words.
struct Search {
    n: usize,
    /// For the hash of a run of words, who has it first.
    runs: HashMap<u64, Place>,
    /// A bit for each word of `runs`.
    words: Vec<u64>,
}

/// The new contents of the row before. Rows come sorted, so they mostly are the old ones of the next row; where there is no text of
/// a benchmark in them, there can be one in the next only around what was changed.
#[derive(Default)]
pub struct Memory {
    text: String,
    is_clean: bool,
}

/// A row of a benchmark.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Task {
    /// What must not be learnt.
    pub texts: Vec<String>,
    /// The repository that it is about, as OWNER/NAME.
    pub repository: Option<String>,
    /// The commit that its solution stands on, hexadecimal.
    pub base: Option<String>,
    /// Unified diffs: its solution, its tests.
    pub patches: Vec<String>,
    /// What the benchmark calls it.
    pub name: Option<String>,
}

/// Where a row meets a benchmark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The benchmark's name and the number of its row, from 1, with what the benchmark calls it, or that alone.
    pub benchmark: String,
    /// The column of our row.
    pub column: &'static str,
}

impl Benchmarks {
    /// None yet, to be found by runs of `n` words.
    pub fn new(n: usize) -> Self {
        Benchmarks {
            n: n.max(1),
            names: Vec::new(),
            tasks: Vec::new(),
            searches: Vec::new(),
            bases: HashMap::new(),
            patches: HashMap::new(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The benchmark that a hit's `benchmark` is of.
    pub fn name_of(&self, benchmark: &str) -> &str {
        let is_its = |name: &&str| benchmark.strip_prefix(name).is_some_and(|rest| rest.starts_with(':'));
        self.names.iter().map(String::as_str).filter(is_its).max_by_key(|name| name.len()).unwrap_or_default()
    }

    /// Adds a benchmark. A text of fewer than `n` words says too little to be looked for. Returns how many of `tasks` are
    /// not looked for at all: they have neither a text that tells them, nor a base commit, nor a patch.
    ///
    /// # Errors
    /// It would not be found: no text is long enough and there is no base commit, or what was planted in a row was missed.
    pub fn add(&mut self, name: &str, tasks: &[Task]) -> Result<u64, String> {
        let number = self.names.len() as u32;
        self.names.push(name.to_owned());
        let called = (1..).zip(tasks).map(|(line, task): (u32, &Task)| match &task.name {
            Some(name) => format!("{line} ({name})"),
            None => line.to_string(),
        });
        self.tasks.push(called.collect());
        let mut has_patch = vec![false; tasks.len()];
        // For each run the first row that has it, and how many have it.
        let mut found: HashMap<u64, (u32, u32)> = HashMap::new();
        for (at, task) in (0..).zip(tasks) {
            let mut runs: Vec<u64> = task.texts.iter().flat_map(|text| self.runs_of(text)).collect();
            runs.sort_unstable();
            runs.dedup();
            for run in runs {
                found.entry(run).or_insert((at, 0)).1 += 1;
            }
            if let Some(base) = &task.base {
                self.bases.entry(base.to_ascii_lowercase()).or_insert((number, at));
            }
            let Some(repository) = &task.repository else { continue };
            for patch in task.patches.iter().flat_map(|patch| files_of(patch)).filter_map(changed) {
                self.patches.entry((repository.to_lowercase(), patch)).or_insert((number, at));
                has_patch[at as usize] = true;
            }
        }
        let rows_max = (tasks.len() as f64 * FRAME_SHARE).max(FRAME_ROWS_MIN) as u32;
        found.retain(|_, (_, count)| *count <= rows_max);
        let texts = || tasks.iter().flat_map(|task| &task.texts);
        let is_found = |text: &&String| self.runs_of(text).iter().any(|run| found.contains_key(run));
        let is_missed = |(task, has_patch): &(&Task, &bool)| {
            !**has_patch && task.base.is_none() && !task.texts.iter().any(|text| is_found(&text))
        };
        let missed = tasks.iter().zip(&has_patch).filter(is_missed).count() as u64;
        let longest = texts().filter(is_found).max_by_key(|text| text.len());
        let base = tasks.iter().find_map(|task| task.base.as_deref());
        if longest.is_none() && base.is_none() {
            return Err(format!("no text in it has {} words that tell it, so it would never be found", self.n));
        }
        let (known, runs) = (texts().flat_map(|text| words(text)).map(hash), found.iter());
        let known: Vec<u64> = known.map(|word| word >> (64 - WORD_BITS)).collect();
        self.search(self.n).add(known, runs.map(|(run, (row, _))| (*run, (number, *row))));
        // A search that finds nothing looks like clean data.
        let planted = longest.map(|text| planted(text));
        let by_text = planted.as_ref().map(|text| Sample { new_contents: Some(text), ..Sample::default() });
        let by_base = base.map(|base| Sample { parent: Some(base), ..Sample::default() });
        let is_found = |canary| self.find(canary, &mut Memory::default()).is_some();
        match by_text.iter().chain(&by_base).all(is_found) {
            true => Ok(missed),
            false => Err("a row with a text of it in it was not found".into()),
        }
    }

    /// Adds a benchmark of which there are only hashes.
    ///
    /// # Errors
    /// The text that was hashed along with it is not found.
    pub fn add_fingerprints(&mut self, fingerprints: &Fingerprints) -> Result<(), String> {
        let number = self.names.len() as u32;
        self.names.push(fingerprints.name.clone());
        let runs = (0..).zip(&fingerprints.tasks);
        let runs = runs.flat_map(|(at, (_, runs))| runs.iter().map(move |run| (*run, (number, at))));
        self.tasks.push(fingerprints.tasks.iter().map(|(task, _)| task.clone()).collect());
        self.search(fingerprints.ngram_words).add(fingerprints.words.clone(), runs);
        let canary = planted(&fingerprints.canary);
        let canary = Sample { new_contents: Some(&canary), ..Sample::default() };
        match self.find(&canary, &mut Memory::default()) {
            Some(_) => Ok(()),
            None => Err("the text that was hashed along with it is not found".into()),
        }
    }

    /// The runs of `n` words.
    fn search(&mut self, n: usize) -> &mut Search {
        let at = self.searches.iter().position(|search| search.n == n).unwrap_or_else(|| {
            let words = vec![0; 1 << (WORD_BITS - 6)];
            self.searches.push(Search { n, runs: HashMap::new(), words });
            self.searches.len() - 1
        });
        &mut self.searches[at]
    }

    /// Hashes of the runs in `text` that say something.
    fn runs_of(&self, text: &str) -> Vec<u64> {
        let all: Vec<&str> = words(text).collect();
        if all.len() < self.n {
            return Vec::new();
        }
        let hashes: Vec<u64> = all.iter().map(|word| hash(word)).collect();
        let tells = |run: &[&str], hashes: &[u64]| {
            let is_word = |word: &str| word.chars().filter(|c| c.is_alphabetic()).count() >= 3;
            let is_number = |word: &str| NUMBERS.iter().any(|number| word.eq_ignore_ascii_case(number));
            let different = |numbers: bool| {
                let told = run.iter().zip(hashes).filter(|(word, _)| is_word(word) && is_number(word) == numbers);
                told.map(|(_, hash)| *hash).collect::<HashSet<u64>>().len()
            };
            let numbers = Some(different(true)).filter(|numbers| *numbers < COUNTING);
            5 * (different(false) + numbers.unwrap_or(0)) >= 2 * self.n
        };
        let runs = ngrams(&hashes, self.n).into_iter().zip(all.windows(self.n).zip(hashes.windows(self.n)));
        runs.filter(|(_, (run, hashes))| tells(run, hashes)).map(|(hash, _)| hash).collect()
    }

    /// The first column of `sample` that has a text of a benchmark, or stands on the commit of a task.
    pub fn find(&self, sample: &Sample<'_>, memory: &mut Memory) -> Option<Hit> {
        let hit = |(benchmark, row): &Place, column| {
            let name = &self.names[*benchmark as usize];
            let task = self.tasks[*benchmark as usize].get(*row as usize).map_or("", String::as_str);
            Hit { benchmark: format!("{name}:{task}"), column }
        };
        if let Some(place) = sample.parent.and_then(|parent| self.bases.get(parent)) {
            return Some(hit(place, "parent"));
        }
        if !self.patches.is_empty()
            && let Some(change) = changed(sample.diff)
        {
            let mut repositories = sample.repos.split(',').map(str::to_lowercase);
            let place = repositories.find_map(|name| self.patches.get(&(name, change)));
            if let Some(place) = place {
                return Some(hit(place, "diff"));
            }
        }
        let [old, new] = self.in_contents(sample.old_contents, sample.new_contents, memory);
        let found = new.map(|place| (place, "new_contents")).or(old.map(|place| (place, "old_contents")));
        let (place, column) = found
            .or_else(|| Some((self.first_run(sample.message)?, "message")))
            .or_else(|| Some((self.first_run(sample.diff)?, "diff")))?;
        Some(hit(place, column))
    }

    /// Who has the first run of words in the old and in the new contents.
    fn in_contents(&self, old: Option<&str>, new: Option<&str>, memory: &mut Memory) -> [Option<&Place>; 2] {
        let is_clean = |old: &&str| memory.is_clean && memory.text == *old;
        let of_old = old.filter(|old| !is_clean(old)).and_then(|old| self.first_run(old));
        let Some(new) = new else { return [of_old, None] };
        let of_new = match old.filter(|_| of_old.is_none()) {
            None => self.first_run(new),
            Some(old) => {
                let (head, tail) = common_lines(old.as_bytes(), new.as_bytes());
                // All runs that have a word of the change, or that stand across one that takes words away.
                let others = self.searches.iter().map(|search| search.n - 1).max().unwrap_or_default();
                let start = words_before(new.as_bytes(), head, others);
                let end = words_behind(new.as_bytes(), new.len() - tail, others);
                self.first_run(&new[start..end])
            }
        };
        memory.is_clean = of_new.is_none();
        memory.text.clear();
        if memory.is_clean {
            memory.text.push_str(new);
        }
        [of_old, of_new]
    }

    /// Who has the first run of words in `text` that is a benchmark's; of several lengths of runs, of the first of those.
    fn first_run(&self, text: &str) -> Option<&Place> {
        let mut words = Vec::new();
        hashes(text, &mut words);
        self.searches.iter().find_map(|search| search.first(&words))
    }
}

impl Search {
    /// Adds `runs` and the first bits of all words in them.
    fn add(&mut self, words: Vec<u64>, runs: impl Iterator<Item = (u64, Place)>) {
        for word in words {
            self.words[(word >> 6) as usize] |= 1 << (word & 63);
        }
        for (run, place) in runs {
            self.runs.entry(run).or_insert(place);
        }
    }

    fn first(&self, words: &[u64]) -> Option<&Place> {
        let mut known = 0;
        for (at, word) in words.iter().enumerate() {
            let word = word >> (64 - WORD_BITS);
            known = if self.words[(word >> 6) as usize] >> (word & 63) & 1 == 1 { known + 1 } else { 0 };
            if known >= self.n
                && let Some(place) = self.runs.get(&ngram(&words[at + 1 - self.n..=at]))
            {
                return Some(place);
            }
        }
        None
    }
}

/// A row's text with the text of a benchmark in it.
fn planted(text: &str) -> String {
    format!("// Some code of our own\n{}\n", text.to_uppercase())
}

/// The parts of a unified diff that are about one file each.
fn files_of(patch: &str) -> Vec<&str> {
    // A line that is taken away may begin with two hyphens, too; no name of a new file follows it.
    let is_header = |at: &usize| patch[*at..].lines().nth(1).is_some_and(|line| line.starts_with("+++ "));
    let mut starts: Vec<usize> = patch.match_indices("\n--- ").map(|(at, _)| at + 1).filter(is_header).collect();
    if patch.starts_with("--- ") {
        starts.insert(0, 0);
    }
    let ends = starts.iter().skip(1).copied().chain([patch.len()]);
    starts.iter().zip(ends).map(|(start, end)| &patch[*start..end]).collect()
}

/// So many different words of [`NUMBERS`] in a run are counting.
const COUNTING: usize = 3;

/// Words to count with.
const NUMBERS: [&str; 11] = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];

/// A hash of the lines that a diff of one file takes and adds; none where it changes no letter or digit.
fn changed(diff: &str) -> Option<u64> {
    let hunks = diff.lines().skip_while(|line| !line.starts_with("@@"));
    // The header of the next file may follow.
    let lines = hunks.take_while(|line| !line.starts_with("diff --git ")).filter(|line| line.starts_with(['+', '-']));
    let (hash, tells) = lines.fold((0_u64, false), |(all, tells), line| {
        let hash = line
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        (mix(all.rotate_left(5) ^ hash), tells || line.bytes().any(|byte| byte.is_ascii_alphanumeric()))
    });
    tells.then_some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planted_texts_are_found_and_others_not() {
        let text = "return the largest of the numbers that divide n evenly, smaller than n itself";
        let mut benchmarks = Benchmarks::new(NGRAM_WORDS);
        let task = |text: &str| Task { texts: vec![text.into()], ..Task::default() };
        assert!(benchmarks.add("short", &[task("too short")]).is_err());
        benchmarks.add("b.jsonl", &[task("x"), task(text)]).expect("it can be found");
        let row =
            |new: &'static str, message: &'static str| Sample { new_contents: Some(new), message, ..Sample::default() };
        let other = "return the largest of the numbers, and then nothing that any benchmark ever had in it";
        assert_eq!(benchmarks.find(&row(other, "Say it in other words here"), &mut Memory::default()), None);
        let hit = benchmarks.find(
            &row(other, "Return the largest of the numbers that\n\n    divide n evenly; done"),
            &mut Memory::default(),
        );
        assert_eq!(hit, Some(Hit { benchmark: "b.jsonl:2".into(), column: "message" }));
        assert_eq!(benchmarks.find(&Sample::default(), &mut Memory::default()), None);
    }

    #[test]
    fn counting_is_everybodys() {
        let counting = "one 1 two 2 Three 3 four 4 five 5 six 6 seven 7";
        let mut benchmarks = Benchmarks::new(NGRAM_WORDS);
        let task = |text: String| Task { texts: vec![text], ..Task::default() };
        assert!(benchmarks.add("counts", &[task(counting.to_owned())]).is_err(), "there is nothing to look for");
        let told = format!("{counting} and return the largest of the numbers that divide n evenly");
        benchmarks.add("tells", &[task(told)]).expect("it can be found");
        let row = Sample { new_contents: Some(counting), ..Sample::default() };
        assert_eq!(benchmarks.find(&row, &mut Memory::default()), None);
    }

    #[test]
    fn tasks_about_repositories_are_found_by_commit_and_patch() {
        let patch = "diff --git a/x.py b/x.py\n--- a/x.py\n+++ b/x.py\n@@ -1,2 +1,2 @@ def f():\n a\n-b = 1\n+b = 2\n\
                     diff --git a/y.py b/y.py\n--- a/y.py\n+++ b/y.py\n@@ -1 +1 @@\n-}\n+)\n\
                     diff --git a/z.sql b/z.sql\n--- a/z.sql\n+++ b/z.sql\n@@ -1,2 +1 @@\n--- a note\n-drop it\n+keep it\n";
        let task = Task {
            texts: vec![patch.into()],
            repository: Some("Owner/Name".into()),
            base: Some("00aa".repeat(10)),
            patches: vec![patch.into()],
            name: Some("owner__name:1".into()),
        };
        let mut benchmarks = Benchmarks::new(NGRAM_WORDS);
        let nothing = Task { texts: vec!["too short".into()], ..Task::default() };
        let alike = Task {
            texts: vec!["the words that are in each row of a benchmark and tell none".into()],
            ..Task::default()
        };
        let tasks = [&[task, nothing][..], &vec![alike; 4]].concat();
        assert_eq!(benchmarks.add("a:swe", &tasks), Ok(5), "five of the rows can't be looked for");
        let row = Sample { parent: Some("00aa00aa00aa00aa00aa00aa00aa00aa00aa00aa"), ..Sample::default() };
        let hit = benchmarks.find(&row, &mut Memory::default()).expect("a hit").benchmark;
        assert_eq!((hit.as_str(), benchmarks.name_of(&hit)), ("a:swe:1 (owner__name:1)", "a:swe"));
        let base = "00aa".repeat(10);
        let found = |sample: Sample<'_>| benchmarks.find(&sample, &mut Memory::default()).map(|hit| hit.column);
        let same = "--- a/z.py\n+++ b/z.py\n@@ -7,2 +8,2 @@\n a\n-b = 1\n+b = 2\n";
        let other = "--- a/z.py\n+++ b/z.py\n@@ -7,2 +8,2 @@\n a\n-b = 1\n+b = 3\n";
        let hyphens = "--- a/z.sql\n+++ b/z.sql\n@@ -1,2 +1 @@\n--- a note\n-drop it\n+keep it\n";
        let no_letter = "--- a/y.py\n+++ b/y.py\n@@ -1 +1 @@\n-}\n+)\n";
        for (parent, repos, diff, expected) in [
            (Some(&*base), "", "", Some("parent")),
            (None, "fork/name,owner/name", same, Some("diff")),
            (None, "owner/name", hyphens, Some("diff")),
            (None, "fork/name", same, None),
            (None, "owner/name", other, None),
            (None, "owner/name", no_letter, None),
            (Some("11aa"), "owner/name", "", None),
        ] {
            assert_eq!(found(Sample { parent, repos, diff, ..Sample::default() }), expected, "{repos} {diff}");
        }
    }

    #[test]
    fn runs_are_found_wherever_they_stand() {
        let text: String = (0..60).map(|n| format!("word{n} ")).collect();
        let mut benchmarks = Benchmarks::new(NGRAM_WORDS);
        benchmarks.add("b", &[Task { texts: vec![text], ..Task::default() }]).expect("it can be found");
        for start in 0..=50 {
            for (length, is_found) in [(10, true), (9, false)] {
                let run: String = (start..start + length).map(|n| format!("Word{n}, ")).collect();
                for text in
                    [run.clone(), format!("unknown {run}"), format!("{run} unknown"), format!("word3 {run} x word4")]
                {
                    let sample = Sample { new_contents: Some(&text), ..Sample::default() };
                    let expected = is_found || text.starts_with("word3") && start == 4;
                    assert_eq!(benchmarks.find(&sample, &mut Memory::default()).is_some(), expected, "{text}");
                }
            }
        }
    }
}
