//! CommitPack's and CommitPackFT's rules once more: slow, one after the other, and without anything of the program's.
//! (arXiv 2308.07124 and the pipeline that was published with it.)
#![allow(dead_code)]

use std::sync::OnceLock;

use regex::Regex;

/// What the rules look at.
pub struct Candidate {
    pub commit: String,
    pub message: String,
    pub old_file: Option<String>,
    pub new_file: Option<String>,
    pub old_contents: String,
    pub new_contents: String,
    /// Files of the commit whose old path equals the new path.
    pub files_modified: u64,
    pub files_changed: u64,
    /// In lower case.
    pub repository_license: Option<String>,
}

const LICENSES: [&str; 12] = [
    "mit",
    "artistic-2.0",
    "isc",
    "cc0-1.0",
    "epl-1.0",
    "mpl-2.0",
    "unlicense",
    "apache-2.0",
    "bsd-3-clause",
    "agpl-3.0",
    "lgpl-2.1",
    "bsd-2-clause",
];

const BOILERPLATE: [&str; 24] = [
    "update readme.md",
    "initial commit",
    "update",
    "mirroring from micro.blog.",
    "update data.json",
    "update data.js",
    "add files via upload",
    "update readme",
    "can't you see i'm updating the time?",
    "pi push",
    "dummy",
    "update index.html",
    "first commit",
    "create readme.md",
    "heartbeat update",
    "updated readme",
    "update log",
    "test",
    "no message",
    "readme",
    "wip",
    "updates",
    "commit",
    "update _config.yaml",
];

/// The number of the first rule that drops the candidate from CommitPack.
pub fn commitpack(c: &Candidate) -> Result<(), u32> {
    if !c.repository_license.as_ref().is_some_and(|license| LICENSES.contains(&license.as_str())) {
        return Err(1);
    }
    let length = c.message.chars().count();
    if !(5 < length && length < 10000) {
        return Err(2);
    }
    let lower = c.message.to_lowercase();
    let mut chomped = lower.clone();
    if chomped.ends_with('\n') {
        chomped.pop();
    }
    if BOILERPLATE.iter().any(|text| **text == *lower || **text == *chomped) {
        return Err(3);
    }
    if lower.starts_with("merge") {
        return Err(4);
    }
    let is_modified = c.old_file.is_some() && c.old_file == c.new_file;
    if c.files_modified != 1 || !is_modified {
        return Err(6);
    }
    if lang(c) == "unknown" {
        return Err(7);
    }
    let old_file = c.old_file.clone().unwrap_or_default();
    if c.message == format!("Update {old_file}")
        || ["initial commit", "please\n", "please", "lalala"].contains(&&*c.message)
    {
        return Err(8);
    }
    Ok(())
}

/// The same with exactly one changed file.
pub fn commitpack_strict(c: &Candidate) -> Result<(), u32> {
    commitpack(c)?;
    if c.files_changed == 1 { Ok(()) } else { Err(6) }
}

/// The published directory name of the language in the table of facts: of all endings of the file's name the longest one,
/// and of several languages with one ending the last.
fn lang(c: &Candidate) -> &'static str {
    static TABLE: OnceLock<Vec<(String, String)>> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/languages/commitpack.toml");
        let text = std::fs::read_to_string(path).expect("the table is there");
        let table: toml::Table = text.parse().expect("it is TOML");
        let languages = table["language"].as_array().expect("languages");
        let endings = languages.iter().flat_map(|language| {
            let of = |value: &toml::Value| value.as_str().expect("text").to_owned();
            let directory = of(&language["directory"]);
            let endings = language["extensions"].as_array().expect("endings");
            endings.iter().map(move |ending| (of(ending), directory.clone()))
        });
        endings.collect()
    });
    let path = c.new_file.as_deref().or(c.old_file.as_deref()).unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    let mut best: Option<&(String, String)> = None;
    for entry in table {
        if name.ends_with(&entry.0) && best.is_none_or(|(ending, _)| entry.0.len() >= ending.len()) {
            best = Some(entry);
        }
    }
    best.map_or("unknown", |(_, directory)| directory)
}

fn main_extensions(lang: &str) -> &'static [&'static str] {
    match lang {
        "python" => &[".py"],
        "java" => &[".java"],
        "javascript" => &[".js"],
        "rust" => &[".rs"],
        "go" => &[".go"],
        "c++" => &[".cpp"],
        "c" => &[".c", ".h"],
        "html" => &[".html"],
        "shell" => &[".sh", ".bash", ".zsh", ".csh", ".slurm"],
        "xml" => &[".xml"],
        _ => &[""],
    }
}

fn has_good_length(subject: &str) -> bool {
    let (chars, words) = (subject.chars().count(), subject.split_whitespace().count());
    10 < chars && chars < 1000 && 4 < words && words < 1000
}

/// The rewritten subject of a row of CommitPack, or the number of the first rule that drops it from CommitPackFT.
/// `tokens` is none where rule 11 is left out.
pub fn commitpackft(c: &Candidate, tokens: Option<usize>, thin: &dyn Fn(&str) -> bool) -> Result<String, u32> {
    let mut subject = c.message.split('\n').next().unwrap_or("").trim_end_matches('\r').to_owned();
    let new_file = c.new_file.clone().unwrap_or_default();
    if c.old_contents.chars().count() >= 50000 {
        return Err(1);
    }
    if c.new_contents.is_empty() {
        return Err(2);
    }
    if c.old_contents == c.new_contents {
        return Err(3);
    }
    if subject.contains('#') {
        return Err(4);
    }
    if !new_file.contains('.') || !main_extensions(lang(c)).iter().any(|end| new_file.ends_with(end)) {
        return Err(5);
    }
    let name = new_file.rsplit('/').next().unwrap_or("").to_owned();
    let parts: Vec<&str> = name.split('.').collect();
    if parts.len() > 1 && subject.contains(parts[parts.len() - 2]) {
        return Err(6);
    }
    if !has_good_length(&subject) {
        return Err(7);
    }
    subject = subject.trim().replace("[skip ci]", "");
    let mut words: Vec<&str> = subject.split_whitespace().collect();
    let in_brackets = |word: &&str| word.starts_with('[') && word.ends_with(']');
    if words.first().is_some_and(in_brackets) {
        words.remove(0);
    }
    if words.first().is_some_and(|word| word.ends_with(':')) {
        words.remove(0);
    }
    if words.last().is_some_and(in_brackets) {
        words.pop();
    }
    subject = words.join(" ");
    if !has_good_length(&subject) {
        return Err(9);
    }
    if !subject.chars().next().is_some_and(char::is_uppercase) {
        return Err(10);
    }
    if tokens.is_some_and(|tokens| !(50..=768).contains(&tokens)) {
        return Err(11);
    }
    let lower = subject.to_lowercase();
    if !VERBS.iter().any(|verb| lower.starts_with(&format!("{verb} "))) {
        return Err(12);
    }
    let thirteen = [
        "readme",
        "update",
        "dummy",
        "updated",
        "test",
        "update readme",
        "update readme.md",
        "updated readme.md",
        "updated readme",
    ];
    if thirteen.contains(&lower.as_str()) {
        return Err(13);
    }
    let fourteen =
        ["auto commit", "update contributing", "<?xml", "merge branch", "merge pull request", "signed-off-by"];
    if fourteen.iter().any(|part| lower.contains(part)) {
        return Err(14);
    }
    if begins_with_version(&lower) {
        return Err(15);
    }
    if Regex::new("^[a-f0-9]+(?:-[a-f0-9]+)*$").expect("valid").is_match(&lower) {
        return Err(16);
    }
    if subject.contains("cherry picked from commit") {
        return Err(17);
    }
    if Regex::new("[a-f0-9]{40}").expect("valid").is_match(&subject) {
        return Err(18);
    }
    subject = subject.replace("[ci skip]", "").trim().to_owned();
    let lower = subject.to_lowercase();
    if ["Bump", "Set version", "Update version"].iter().any(|start| subject.starts_with(start)) && !thin(&c.commit) {
        return Err(20);
    }
    if [" i ", "i've", "i'm"].iter().any(|part| lower.contains(part)) {
        return Err(21);
    }
    if lower.contains("thanks to") && subject.contains("for") {
        return Err(22);
    }
    let elsewhere =
        ["code review", "cdpcp", "//codereview", "work in progress", "wip", "https://", "http://", "| leetcode"];
    if elsewhere.iter().any(|part| lower.contains(part)) {
        return Err(23);
    }
    let jokes = [
        "fix that bug where things didn't work but now they should",
        "put the thingie in the thingie",
        "add a beter commit message",
    ];
    if jokes.contains(&lower.as_str()) {
        return Err(24);
    }
    for word in ["issue", "bug", "feature"] {
        if Regex::new(&format!(r"{word}\s*\d+")).expect("valid").is_match(&lower) {
            return Err(25);
        }
    }
    if subject.split_whitespace().count() < 4 {
        return Err(26);
    }
    Ok(subject)
}

/// `(?:v)?\d+\.\d+\.\d+(?=$|\S)` at the start, by hand: three numbers, and then the end or no white space. The last
/// number may give up digits for that.
fn begins_with_version(lower: &str) -> bool {
    let text: Vec<char> = lower.strip_prefix('v').unwrap_or(lower).chars().collect();
    let mut at = 0;
    for number in 0..3 {
        let start = at;
        while text.get(at).is_some_and(|c| c.is_numeric() && c.to_digit(36).is_none_or(|d| d < 10)) {
            at += 1;
        }
        if at == start {
            return false;
        }
        if number < 2 {
            if text.get(at) != Some(&'.') {
                return false;
            }
            at += 1;
        } else {
            return at - start > 1 || text.get(at).is_none_or(|c| !c.is_whitespace());
        }
    }
    false
}

/// The English verbs of the pipeline's word lists.
const VERBS: [&str; 257] = [
    "abort",
    "accelerate",
    "access",
    "accumulate",
    "add",
    "address",
    "adjust",
    "advance",
    "align",
    "allot",
    "allow",
    "amplify",
    "annotate",
    "append",
    "apply",
    "archive",
    "arrange",
    "attach",
    "augment",
    "automate",
    "backup",
    "boost",
    "break",
    "bring",
    "brush up",
    "build",
    "bump",
    "call",
    "change",
    "check",
    "choose",
    "clarify",
    "clean",
    "clear",
    "clone",
    "comment",
    "complete",
    "compress",
    "concatenate",
    "configure",
    "connect",
    "consolidate",
    "convert",
    "copy",
    "correct",
    "cover",
    "create",
    "customize",
    "cut",
    "deal with",
    "debug",
    "decipher",
    "declare",
    "decommission",
    "decomplexify",
    "decompress",
    "decrease",
    "decrypt",
    "define",
    "delete",
    "deploy",
    "designate",
    "destroy",
    "detach",
    "determine",
    "develop",
    "diminish",
    "disable",
    "discard",
    "disentangle",
    "dismantle",
    "divide",
    "document",
    "downgrade",
    "drop",
    "duplicate",
    "edit",
    "embed",
    "emphasize",
    "enable",
    "encrypt",
    "enforce",
    "enhance",
    "enlarge",
    "enumerate",
    "eradicate",
    "escalate",
    "establish",
    "exclude",
    "exit",
    "expand",
    "expedite",
    "expire",
    "extend",
    "facilitate",
    "fix",
    "format",
    "gather",
    "generalize",
    "halt",
    "handle",
    "hasten",
    "hide",
    "implement",
    "improve",
    "include",
    "increase",
    "increment",
    "indent",
    "index",
    "inflate",
    "initialize",
    "insert",
    "install",
    "integrate",
    "interpolate",
    "interrupt",
    "introduce",
    "isolate",
    "join",
    "kill",
    "leverage",
    "load",
    "magnify",
    "maintain",
    "make",
    "manage",
    "mark",
    "mask",
    "mend",
    "merge",
    "migrate",
    "modify",
    "monitor",
    "move",
    "multiply",
    "normalize",
    "optimize",
    "orchestrate",
    "order",
    "package",
    "paraphrase",
    "paste",
    "patch",
    "plug ",
    "prepare",
    "prepend",
    "print",
    "provision",
    "purge",
    "put",
    "quit",
    "raise",
    "read",
    "reannotate",
    "rearrange",
    "rebase",
    "reboot",
    "rebuild",
    "recomment",
    "recompile",
    "reconfigure",
    "reconnect",
    "rectify",
    "redact",
    "redefine",
    "reduce",
    "refactor",
    "reformat",
    "refresh",
    "reimplement",
    "reinforce",
    "relocate",
    "remove",
    "rename",
    "reorder",
    "reorganize",
    "repackage",
    "repair",
    "rephrase",
    "replace",
    "reposition",
    "reschedule",
    "reset",
    "reshape",
    "resolve",
    "restructure",
    "return",
    "revert",
    "revise",
    "revoke",
    "reword",
    "rework",
    "rewrite",
    "rollback",
    "save",
    "scale",
    "scrub",
    "secure",
    "select",
    "send",
    "set",
    "settle",
    "simplify",
    "solve",
    "sort",
    "speed up",
    "split",
    "stabilize",
    "standardize",
    "stipulate",
    "stop",
    "store",
    "streamline",
    "strengthen",
    "structure",
    "substitute",
    "subtract",
    "support",
    "swap",
    "switch",
    "synchronize",
    "tackle",
    "tag",
    "terminate",
    "test",
    "throw",
    "tidy",
    "transform",
    "transpose",
    "trim",
    "troubleshoot",
    "truncate",
    "tweak",
    "unblock",
    "uncover",
    "undo",
    "unify",
    "uninstall",
    "unplug",
    "unpublish",
    "unravel",
    "unstage",
    "unsync",
    "untangle",
    "unwind",
    "update",
    "upgrade",
    "use",
    "validate",
    "verify",
    "watch",
    "watermark",
    "whitelist",
    "withdraw",
    "work",
    "write",
];
