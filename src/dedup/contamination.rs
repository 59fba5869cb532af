//! Finds texts of benchmarks in rows: runs of words that both have.
//!
//! A run says something where at least two in five of its words are different and have three letters: counting from 0 to 9, in
//! digits or in words (three numbers and more), and loops over `i` are everybody's. What stands in more than a twentieth of a benchmark's rows is its frame (imports, a
//! licence), not its matter.
//!
//! A text of twenty words and more none of whose runs says something, such as a short loop, is looked for as a whole. So is a solution
//! of fewer words, if five of them are different: what a benchmark calls a solution is no list of imports, which many programs have.
//!
//! A task that is a repository's issue (SWE-bench and its like) also is its base commit, on which the solution stands, and a
//! patch, which may be too short for a run of words.

mod patches;
mod search;

use std::iter;

use hashbrown::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::fingerprints::Fingerprints;
use super::words::{common_lines, hash, hashes, ngrams, words, words_before, words_behind};
use crate::sample::Sample;
use patches::{changed, changed_blocks, files_of};
pub(super) use search::WORD_BITS;
use search::{Search, Shorts, first_bits};

/// Words in a run, unless the user says otherwise.
pub const NGRAM_WORDS: usize = 10;

/// A run that more of a benchmark's rows have than this share is part of its frame,
const FRAME_SHARE: f64 = 0.05;

/// and so many rows may have it in any case.
const FRAME_ROWS_MIN: f64 = 10.0;

/// A text of fewer words that say nothing may be anybody's, so it is not looked for as a whole either.
const WHOLE_WORDS_MIN: usize = 20;

/// The words of a short solution that is looked for as a whole; a shorter one is everybody's.
const SHORT_WORDS: std::ops::Range<usize> = WHOLE_DIFFERENT_MIN..WHOLE_WORDS_MIN;

/// So many words of it have to be there; what follows them may differ. It bounds what a row can cost.
const WHOLE_WORDS_MAX: usize = 256;

/// A whole text has so many different words; lists of zeros are everybody's.
const WHOLE_DIFFERENT_MIN: usize = 5;

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
    shorts: Shorts,
    /// The commits that tasks start from.
    bases: HashMap<String, Place>,
    /// For a repository in lower case, with its owner and without, and the hash of what a patch changes in one file, whose patch it is.
    patches: HashMap<(String, u64), Place>,
}

/// What of a benchmark can't be looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NotSearched {
    /// Rows that have neither a text that tells them, nor a base commit, nor a patch.
    pub rows: u64,
    /// Texts of all rows.
    pub texts: TextsNotSearched,
}

/// Texts (fields) of a benchmark that can't be looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextsNotSearched {
    /// They have fewer words than a run: names and numbers, mostly.
    pub short: u64,
    /// They have more, which say nothing or what many rows of the benchmark say.
    pub common: u64,
    /// They are looked for, but not by the runs of words in them that many rows of the benchmark have.
    #[serde(default)]
    pub in_part: u64,
}

impl NotSearched {
    /// Adds what of another file of the same name can't be.
    pub fn add(&mut self, other: NotSearched) {
        self.rows += other.rows;
        self.texts.short += other.texts.short;
        self.texts.common += other.texts.common;
        self.texts.in_part += other.texts.in_part;
    }
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
    /// Those of them that are solutions.
    pub solutions: Vec<String>,
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

impl Task {
    /// What is looked for in texts: of patches the lines that they take or add, since those around them are everybody's who has
    /// the repository.
    fn all_texts(&self) -> impl Iterator<Item = &str> {
        self.texts.iter().map(String::as_str).chain(self.patches.iter().flat_map(|patch| changed_blocks(patch)))
    }

    /// Whether `patch` is one by which it is looked for.
    fn has_patch(&self, patch: &str) -> bool {
        self.repository.is_some() && files_of(patch).into_iter().any(|file| changed(file).is_some())
    }
}

/// `parts` of rows, sorted, each once a row, without those that more than `rows_max` rows have.
fn without_frame<T: Ord>(mut parts: Vec<(T, u32)>, rows_max: usize) -> Vec<(T, u32)> {
    parts.sort_unstable();
    parts.dedup();
    let is_kept = parts.chunk_by(|a, b| a.0 == b.0).flat_map(|rows| iter::repeat_n(rows.len() <= rows_max, rows.len()));
    let is_kept: Vec<bool> = is_kept.collect();
    parts.into_iter().zip(is_kept).filter(|(_, is_kept)| *is_kept).map(|(part, _)| part).collect()
}

impl Benchmarks {
    /// None yet, to be found by runs of `n` words.
    pub fn new(n: usize) -> Self {
        Benchmarks {
            n: n.max(1),
            names: Vec::new(),
            tasks: Vec::new(),
            searches: Vec::new(),
            shorts: Shorts::default(),
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

    /// Adds a benchmark. A text of fewer than `n` words says too little to be looked for. Returns what is not looked for.
    ///
    /// # Errors
    /// It would not be found: no text is long enough and there is no base commit, or what was planted in a row was missed.
    pub fn add(&mut self, name: &str, tasks: &[Task]) -> Result<NotSearched, String> {
        let number = self.names.len() as u32;
        self.names.push(name.to_owned());
        let called = (1..).zip(tasks).map(|(line, task): (u32, &Task)| match &task.name {
            Some(name) => format!("{line} ({name})"),
            None => line.to_string(),
        });
        self.tasks.push(called.collect());
        let (mut runs, mut wholes, mut shorts) = (Vec::new(), Vec::new(), Vec::new());
        for (at, task) in (0..).zip(tasks) {
            for text in task.all_texts() {
                runs.extend(self.runs_of(text).into_iter().map(|run| (run, at)));
                wholes.extend(self.whole_of(text).map(|whole| (whole, at)));
            }
            shorts.extend(task.solutions.iter().filter_map(|text| self.short_of(text)).map(|short| (short, at)));
            self.add_commit_and_patches(task, (number, at));
        }
        let rows_max = (tasks.len() as f64 * FRAME_SHARE).max(FRAME_ROWS_MIN) as usize;
        let all_runs: HashSet<u64> = runs.iter().map(|(run, _)| *run).collect();
        let (runs, wholes) = (without_frame(runs, rows_max), without_frame(wholes, rows_max));
        for (short, row) in without_frame(shorts, rows_max) {
            self.shorts.add(&short, (number, row));
        }
        let (not_searched, longest) = self.not_searched(tasks, &all_runs, &runs, &wholes);
        let base = tasks.iter().find_map(|task| task.base.as_deref()).map(str::to_ascii_lowercase);
        if longest.is_none() && base.is_none() {
            return Err(format!(
                "no text in it has {} words that tell it (what more than {rows_max} of its rows have is nobody's), so it would never be \
                 found",
                self.n
            ));
        }
        let known = tasks.iter().flat_map(Task::all_texts).flat_map(words).map(hash);
        let known: Vec<u64> = known.map(first_bits).collect();
        let search = self.search(self.n);
        search.add(known, runs.into_iter().map(|(run, row)| (run, (number, row))));
        wholes.into_iter().for_each(|(words, row)| search.add_whole(words, (number, row)));
        // A search that finds nothing looks like clean data.
        let planted = longest.map(planted);
        let by_text = planted.as_ref().map(|text| Sample { new_contents: Some(text), ..Sample::default() });
        let by_base = base.as_deref().map(|base| Sample { parent: Some(base), ..Sample::default() });
        let is_found = |canary| self.find(canary, &mut Memory::default()).is_some();
        match by_text.iter().chain(&by_base).all(is_found) {
            true => Ok(not_searched),
            false => Err("a row with a text of it in it was not found".into()),
        }
    }

    /// What of `tasks` is in neither of `runs` and `wholes`, and the longest text that is.
    fn not_searched<'t>(
        &self,
        tasks: &'t [Task],
        all_runs: &HashSet<u64>,
        runs: &[(u64, u32)],
        wholes: &[(Vec<u64>, u32)],
    ) -> (NotSearched, Option<&'t str>) {
        let runs: HashSet<u64> = runs.iter().map(|(run, _)| *run).collect();
        let wholes: HashSet<&[u64]> = wholes.iter().map(|(whole, _)| whole.as_slice()).collect();
        let is_found = |text: &str| {
            self.runs_of(text).iter().any(|run| runs.contains(run))
                || self.whole_of(text).is_some_and(|whole| wholes.contains(whole.as_slice()))
                || self.short_of(text).is_some_and(|short| self.shorts.has(&short))
        };
        let found = |task: &Task, text: &str| match task.patches.iter().any(|patch| patch == text) {
            true => changed_blocks(text).into_iter().any(is_found),
            false => is_found(text),
        };
        let (mut not_searched, mut longest) = (NotSearched::default(), None::<&str>);
        for task in tasks {
            let mut is_missed = task.base.is_none() && !task.patches.iter().any(|patch| task.has_patch(patch));
            let patches = task.patches.iter().filter(|patch| !task.has_patch(patch)).map(String::as_str);
            let texts = task.texts.iter().map(String::as_str).filter(|text| task.base.as_deref() != Some(text));
            for text in texts.chain(patches).filter(|text| !found(task, text)) {
                let is_short = words(text).nth(self.n - 1).is_none();
                let texts = &mut not_searched.texts;
                *(if is_short { &mut texts.short } else { &mut texts.common }) += 1;
            }
            for text in task.all_texts().filter(|text| is_found(text)) {
                is_missed = false;
                let is_left_out = |run: &u64| all_runs.contains(run) && !runs.contains(run);
                not_searched.texts.in_part += u64::from(self.runs_of(text).iter().any(is_left_out));
                longest = longest.filter(|longest| longest.len() > text.len()).or(Some(text));
            }
            not_searched.rows += u64::from(is_missed);
        }
        (not_searched, longest)
    }

    fn add_commit_and_patches(&mut self, task: &Task, place: Place) {
        if let Some(base) = &task.base {
            self.bases.entry(base.to_ascii_lowercase()).or_insert(place);
        }
        let Some(repository) = &task.repository else { return };
        for patch in task.patches.iter().flat_map(|patch| files_of(patch)).filter_map(changed) {
            for name in names_of(&repository.to_lowercase()) {
                self.patches.entry((name.to_owned(), patch)).or_insert(place);
            }
        }
    }

    /// Whether a task says what commit it starts from.
    pub fn has_bases(&self) -> bool {
        !self.bases.is_empty()
    }

    /// Whether a task starts from `commit`.
    pub fn is_base(&self, commit: &str) -> bool {
        self.bases.contains_key(commit)
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
        let mut tasks: Vec<String> = fingerprints.tasks.iter().map(|(task, _)| task.clone()).collect();
        self.shorts.add_words(fingerprints.whole_words.iter().copied());
        for (task, len, hash) in &fingerprints.wholes {
            let row = tasks.iter().position(|known| known == task).unwrap_or_else(|| {
                tasks.push(task.clone());
                tasks.len() - 1
            });
            self.shorts.add_text(*len, *hash, (number, row as u32));
        }
        self.tasks.push(tasks);
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
        let at = self.searches.iter().position(|search| search.n() == n).unwrap_or_else(|| {
            self.searches.push(Search::new(n));
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
            let different = |numbers: bool| {
                let told = run.iter().zip(hashes).filter(|(word, _)| is_long(word) && is_number(word) == numbers);
                told.map(|(_, hash)| *hash).collect::<HashSet<u64>>().len()
            };
            let numbers = Some(different(true)).filter(|numbers| *numbers < COUNTING);
            5 * (different(false) + numbers.unwrap_or(0)) >= 2 * self.n
        };
        let runs = ngrams(&hashes, self.n).into_iter().zip(all.windows(self.n).zip(hashes.windows(self.n)));
        runs.filter(|(_, (run, hashes))| tells(run, hashes)).map(|(hash, _)| hash).collect()
    }

    /// The words of `text`, or the first of many, where none of its runs says something and it is looked for as a whole.
    fn whole_of(&self, text: &str) -> Option<Vec<u64>> {
        let all: Vec<&str> = words(text).collect();
        if all.len() < WHOLE_WORDS_MIN.max(self.n) || !self.runs_of(text).is_empty() {
            return None;
        }
        let whole = &all[..all.len().min(WHOLE_WORDS_MAX.max(self.n))];
        let hashes: Vec<u64> = whole.iter().map(|word| hash(word)).collect();
        let tells = whole.iter().any(|word| is_long(word) && !is_number(word));
        (tells && hashes.iter().collect::<HashSet<_>>().len() >= WHOLE_DIFFERENT_MIN).then_some(hashes)
    }

    /// The words of a short solution, where none of its runs says something and it is looked for as a whole.
    fn short_of(&self, text: &str) -> Option<Vec<u64>> {
        let mut all = Vec::new();
        hashes(text, &mut all);
        let is_short = SHORT_WORDS.contains(&all.len()) && self.runs_of(text).is_empty();
        (is_short && all.iter().collect::<HashSet<_>>().len() >= WHOLE_DIFFERENT_MIN).then_some(all)
    }

    /// The first column of `sample` that has a text of a benchmark, and of those who have one there who has most of it; or stands on the commit of a task.
    pub fn find(&self, sample: &Sample<'_>, memory: &mut Memory) -> Option<Hit> {
        let hit = |(benchmark, row): Place, column| {
            let name = &self.names[benchmark as usize];
            let task = self.tasks[benchmark as usize].get(row as usize).map_or("", String::as_str);
            Hit { benchmark: format!("{name}:{task}"), column }
        };
        if let Some(place) = sample.parent.and_then(|parent| self.bases.get(parent)) {
            return Some(hit(*place, "parent"));
        }
        if !self.patches.is_empty()
            && let Some(change) = changed(sample.diff)
        {
            let mut repositories = sample.repos.split(',').map(str::to_lowercase);
            let place = repositories.find_map(|name| self.patches.get(&(name, change)));
            if let Some(place) = place {
                return Some(hit(*place, "diff"));
            }
        }
        let [old, new] = self.in_contents(sample.old_contents, sample.new_contents, memory);
        let found = new.map(|place| (place, "new_contents")).or(old.map(|place| (place, "old_contents")));
        let (place, column) = found
            .or_else(|| Some((self.in_text(sample.message)?, "message")))
            .or_else(|| Some((self.in_text(sample.diff)?, "diff")))?;
        Some(hit(place, column))
    }

    /// Who has most of the old and of the new contents.
    fn in_contents(&self, old: Option<&str>, new: Option<&str>, memory: &mut Memory) -> [Option<Place>; 2] {
        let is_clean = |old: &&str| memory.is_clean && memory.text == *old;
        let of_old = old.filter(|old| !is_clean(old)).and_then(|old| self.in_text(old));
        let Some(new) = new else { return [of_old, None] };
        let of_new = match old.filter(|_| of_old.is_none()) {
            None => self.in_text(new),
            Some(old) => {
                let (head, tail) = common_lines(old.as_bytes(), new.as_bytes());
                // All runs that have a word of the change, or that stand across one that takes words away.
                let lens = self.searches.iter().map(Search::words_max);
                let others = lens.chain(self.shorts.words_max()).max().unwrap_or(1) - 1;
                let start = words_before(new.as_bytes(), head, others);
                let end = words_behind(new.as_bytes(), new.len() - tail, others);
                self.in_text(&new[start..end])
            }
        };
        memory.is_clean = of_new.is_none();
        memory.text.clear();
        if memory.is_clean {
            memory.text.push_str(new);
        }
        [of_old, of_new]
    }

    /// Who has most runs of words in `text`; of several lengths of runs, of the first of those that anybody has.
    fn in_text(&self, text: &str) -> Option<Place> {
        let mut words = Vec::new();
        hashes(text, &mut words);
        self.searches.iter().find_map(|search| search.most(&words)).or_else(|| self.shorts.find(&words))
    }
}

/// A row's text with the text of a benchmark in it.
fn planted(text: &str) -> String {
    format!("// Some code of our own\n{}\n", text.to_ascii_uppercase())
}

/// Whether a word has three letters.
fn is_long(word: &str) -> bool {
    word.chars().filter(|c| c.is_alphabetic()).count() >= 3
}

/// Whether a word is one to count with.
fn is_number(word: &str) -> bool {
    NUMBERS.iter().any(|number| word.eq_ignore_ascii_case(number))
}

/// What a repository may be called in a store: OWNER/NAME, or NAME where it was mined from a path.
pub fn names_of(repository: &str) -> impl Iterator<Item = &str> {
    let bare = repository.rsplit_once('/').map(|(_, name)| name);
    iter::once(repository).chain(bare)
}

/// So many different words of [`NUMBERS`] in a run are counting.
const COUNTING: usize = 3;

/// Words to count with.
const NUMBERS: [&str; 11] = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];

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
    fn texts_that_say_nothing_are_found_as_a_whole() {
        let whole = "if n 1 return y for let i 2 i n i if n i 0 return y return x";
        assert_eq!(whole.split(' ').count(), 20);
        let zeros = format!("const rows = [{}]", "0, ".repeat(30));
        let texts = [whole, "return the largest of the numbers that divide n evenly", "too short", &zeros];
        let told = Task { texts: texts.map(str::to_owned).to_vec(), ..Task::default() };
        // What many rows have is no matter of any, whole or not.
        let frame = Task { texts: vec![whole.replace('y', "z")], ..Task::default() };
        let mut benchmarks = Benchmarks::new(NGRAM_WORDS);
        let not_searched = benchmarks.add("b", &[&[told][..], &vec![frame; 11]].concat()).expect("it can be found");
        assert_eq!(
            not_searched,
            NotSearched { rows: 11, texts: TextsNotSearched { short: 1, common: 12, in_part: 0 } },
            "zeros and the frame"
        );
        let cut = whole.rsplit_once(' ').map_or(whole, |(rest, _)| rest);
        for (text, is_found) in [
            (whole.to_owned(), true),
            (format!("let it be; {} and more", whole.to_uppercase().replace(' ', ", ")), true),
            (format!("{whole} {whole}"), true),
            (cut.to_owned(), false),
            (whole.replace('y', "z"), false),
            (zeros.clone(), false),
        ] {
            let sample = Sample { new_contents: Some(&text), ..Sample::default() };
            assert_eq!(benchmarks.find(&sample, &mut Memory::default()).is_some(), is_found, "{text}");
        }
        // A change that makes it whole is one word, and the rest of it was in the clean row before.
        let (old, mut memory) = (whole.replacen("let", "var", 1), Memory::default());
        let before = Sample { new_contents: Some(&old), ..Sample::default() };
        assert_eq!(benchmarks.find(&before, &mut memory), None);
        let sample = Sample { old_contents: Some(&old), new_contents: Some(whole), ..Sample::default() };
        assert_eq!(benchmarks.find(&sample, &mut memory).map(|hit| hit.column), Some("new_contents"));
    }

    #[test]
    fn what_many_rows_share_is_left_out_and_told() {
        let own = |row: u32| (0..15).map(|at| format!("word{at}of{row} ")).collect::<String>();
        let shared = (0..40).map(|at| format!("passage{at} ")).collect::<String>();
        for (rows, in_part) in [(4, 0), (10, 0), (11, 11), (200, 200)] {
            let task = |row| Task { texts: vec![format!("{shared}{}", own(row))], ..Task::default() };
            let mut benchmarks = Benchmarks::new(NGRAM_WORDS);
            let not_searched = benchmarks.add("b", &(0..rows).map(task).collect::<Vec<_>>()).expect("it can be found");
            assert_eq!(not_searched.texts, TextsNotSearched { in_part, ..TextsNotSearched::default() }, "{rows}");
            let is_found = |text: &str| {
                let sample = Sample { new_contents: Some(text), ..Sample::default() };
                benchmarks.find(&sample, &mut Memory::default()).is_some()
            };
            assert!(is_found(&own(rows - 1)));
            assert_eq!(is_found(&shared), in_part == 0, "{rows}");
        }
    }

    #[test]
    fn short_solutions_are_found_as_a_whole() {
        let solution = "    return sum(xs) % 2 == y\n";
        let task =
            |text: &str, solutions: Vec<String>| Task { texts: vec![text.to_owned()], solutions, ..Task::default() };
        let told = "return the largest of the numbers that divide n evenly";
        let mut benchmarks = Benchmarks::new(NGRAM_WORDS);
        let tasks = [
            task(told, Vec::new()),
            task(solution, vec![solution.to_owned()]),
            task("return x + y", vec!["return x + y".to_owned()]),
            task("from a import b, c", Vec::new()),
        ];
        let not_searched = benchmarks.add("b", &tasks).expect("it can be found");
        assert_eq!(not_searched, NotSearched { rows: 2, texts: TextsNotSearched { short: 2, common: 0, in_part: 0 } });
        let mut alone = Benchmarks::new(NGRAM_WORDS);
        alone.add("b", &tasks[1..2]).expect("a short solution can be looked for as well");
        for (text, expected) in [
            ("let z = 1; return Sum(xs) % 2 == y; z", Some("b:2")),
            ("return sum xs 2", None),
            ("return sum xs 2 z y", None),
            ("return x + y", None),
            ("from a import b, c", None),
        ] {
            let sample = Sample { new_contents: Some(text), ..Sample::default() };
            let hit = benchmarks.find(&sample, &mut Memory::default()).map(|hit| hit.benchmark);
            assert_eq!(hit.as_deref(), expected, "{text}");
        }
        // Made whole by one word of a change, behind a row that was clean.
        let (old, new, mut memory) = ("return sum xs 3 y", "return sum xs 2 y", Memory::default());
        let before = Sample { new_contents: Some(old), ..Sample::default() };
        assert_eq!(benchmarks.find(&before, &mut memory), None);
        let sample = Sample { old_contents: Some(old), new_contents: Some(new), ..Sample::default() };
        assert_eq!(benchmarks.find(&sample, &mut memory).map(|hit| hit.column), Some("new_contents"));
    }

    #[test]
    fn a_hit_names_who_has_most_of_it() {
        let shared = "return the largest of the numbers that divide n evenly";
        let more = format!("{shared}, smaller than n itself, and none of the others");
        let task = |text: &str| Task { texts: vec![text.to_owned()], ..Task::default() };
        let mut benchmarks = Benchmarks::new(NGRAM_WORDS);
        benchmarks.add("a", &[task(shared), task(&more), task(shared)]).expect("it can be found");
        benchmarks.add("b", &[task(&more)]).expect("it can be found");
        for (text, expected) in [(more.as_str(), "a:2"), (shared, "a:1")] {
            let sample = Sample { new_contents: Some(text), ..Sample::default() };
            let hit = benchmarks.find(&sample, &mut Memory::default()).expect("a hit");
            assert_eq!(hit.benchmark, expected, "{text}");
        }
    }

    #[test]
    fn tasks_about_repositories_are_found_by_commit_and_patch() {
        let patch = "diff --git a/x.py b/x.py\n--- a/x.py\n+++ b/x.py\n@@ -1,2 +1,2 @@ def f():\n a\n-b = 1\n+b = 2\n\
                     diff --git a/y.py b/y.py\n--- a/y.py\n+++ b/y.py\n@@ -1 +1 @@\n-}\n+)\n\
                     diff --git a/z.sql b/z.sql\n--- a/z.sql\n+++ b/z.sql\n@@ -1,2 +1 @@\n--- a note\n-drop it\n+keep it\n";
        let task = Task {
            texts: Vec::new(),
            solutions: Vec::new(),
            repository: Some("Owner/Name".into()),
            base: Some("00AA".repeat(10)),
            patches: vec![patch.into()],
            name: Some("owner__name:1".into()),
        };
        let mut benchmarks = Benchmarks::new(NGRAM_WORDS);
        let nothing = Task { texts: vec!["too short".into()], ..Task::default() };
        let alike = Task {
            texts: vec!["the words that are in each row of a benchmark and tell none".into()],
            ..Task::default()
        };
        let tasks = [&[task, nothing][..], &vec![alike; 11]].concat();
        let not_searched = benchmarks.add("a:swe", &tasks).expect("it can be found");
        assert_eq!(not_searched.rows, 12, "twelve of the rows can't be looked for");
        assert_eq!(not_searched.texts, TextsNotSearched { short: 1, common: 11, in_part: 0 });
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
            (None, "NAME", same, Some("diff")),
            (None, "other", same, None),
            (None, "owner/name", other, None),
            (None, "owner/name", no_letter, None),
            (Some("11aa"), "owner/name", "", None),
        ] {
            assert_eq!(found(Sample { parent, repos, diff, ..Sample::default() }), expected, "{repos} {diff}");
        }
    }

    #[test]
    fn of_patches_the_changed_lines_are_texts() {
        let kept = "these words stand around the change and everybody who has the file has them as well";
        let [taken, added] =
            ["the old words that the solution takes", "new words that only the solution of this task has in it"];
        let patch = format!(
            "--- a/x\n+++ b/x\n@@ -1,3 +1,4 @@ {kept}\n {kept}\n-{taken}\n+{added}\n+and one\n {kept}\n--- a/y\n+++ b/y\n@@ -1 +1 @@\n-- c\n+++ d"
        );
        let mut benchmarks = Benchmarks::new(NGRAM_WORDS);
        let task = Task { patches: vec![patch], ..Task::default() };
        benchmarks.add("b", &[task]).expect("it can be found");
        for (text, is_found) in [(kept, false), (taken, false), (added, true)] {
            let sample = Sample { new_contents: Some(text), ..Sample::default() };
            assert_eq!(benchmarks.find(&sample, &mut Memory::default()).is_some(), is_found, "{text}");
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
