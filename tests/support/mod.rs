//! What the tests share: throw-away repositories made by scripts, and the program itself.
#![allow(dead_code)]

pub mod server;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A sequence of numbers that a seed decides.
pub struct Draw(pub u64);

impl Draw {
    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % n as u64).expect("small")
    }
}

/// A directory of its own for every test, removed at its end.
pub struct Lab {
    pub dir: TempDir,
}

impl Lab {
    pub fn new() -> Lab {
        Lab { dir: TempDir::new().expect("a temporary directory") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A repository made by `script`, which runs in it.
    pub fn repository(&self, name: &str, format: &str, script: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).expect("a directory");
        git(&path, &["init", "-q", "-b", "main", &format!("--object-format={format}")]);
        self.script(&path, script);
        path
    }

    pub fn script(&self, repository: &Path, script: &str) {
        let mut bash = Command::new("bash");
        bash.arg("-ec").arg(script).current_dir(repository);
        ran(hermetic(&mut bash));
    }

    /// The program, to be run in the lab's directory.
    pub fn program(&self) -> Command {
        let mut program = Command::new(env!("CARGO_BIN_EXE_gitlode"));
        program
            .current_dir(self.dir.path())
            // The configuration of whoever runs the tests is none of theirs.
            .env("XDG_CONFIG_HOME", self.dir.path())
            // What rules drop is tested where it is the matter.
            .env("GITLODE_FILTER", "none");
        program
    }

    pub fn gitlode(&self, args: &[&str]) -> Output {
        self.program().args(args).output().expect("gitlode runs")
    }

    /// Runs and demands success; standard output.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.gitlode(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("plain text")
    }

    /// Mines into `store` and gives back the funnel.
    pub fn mine(&self, source: &str, store: &str, more: &[&str]) -> Value {
        let args = [&["mine", source, "--store", store, "--json"], more].concat();
        let summary: Value = serde_json::from_str(&self.ok(&args)).expect("a JSON summary");
        summary["funnel"].clone()
    }

    /// The bytes that an export of `store` has.
    pub fn export(&self, store: &str) -> Vec<u8> {
        let out = self.path("export");
        let _absent_the_first_time = fs::remove_dir_all(&out);
        self.ok(&["export", store, "export"]);
        let mut shards: Vec<_> =
            fs::read_dir(out.join("data")).expect("shards").map(|e| e.expect("an entry").path()).collect();
        shards.sort();
        shards.iter().flat_map(|shard| fs::read(shard).expect("a shard")).collect()
    }

    pub fn rows(&self, store: &str) -> Vec<Value> {
        let text = String::from_utf8(self.export(store)).expect("JSON lines");
        text.lines().map(|line| serde_json::from_str(line).expect("a row")).collect()
    }
}

/// Changes the manifest at `path`, and its checksum where it has one.
pub fn edit(path: &Path, change: &dyn Fn(&mut Value)) {
    let mut value: Value = serde_json::from_slice(&fs::read(path).expect("a manifest")).expect("JSON");
    let is_checkpoint = value.get("tips").is_some();
    change(&mut value);
    if is_checkpoint {
        value["blake3"] = Value::Null;
        value.sort_all_objects();
        value["blake3"] = blake3::hash(value.to_string().as_bytes()).to_hex().to_string().into();
    }
    fs::write(path, value.to_string()).expect("it can be written");
}

pub fn hermetic(command: &mut Command) -> &mut Command {
    command
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        // No repacking behind the back of a test.
        .envs([("GIT_CONFIG_COUNT", "2"), ("GIT_CONFIG_KEY_0", "gc.auto"), ("GIT_CONFIG_VALUE_0", "0")])
        .envs([("GIT_CONFIG_KEY_1", "maintenance.auto"), ("GIT_CONFIG_VALUE_1", "false")])
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .env("GIT_AUTHOR_NAME", "A U Thor")
        .env("GIT_AUTHOR_EMAIL", "author@example.com")
        .env("GIT_COMMITTER_NAME", "C O Mitter")
        .env("GIT_COMMITTER_EMAIL", "committer@example.com")
        .env("GIT_AUTHOR_DATE", "1700000700 +0000")
        .env("GIT_COMMITTER_DATE", "1700000700 +0000")
}

fn ran(command: &mut Command) -> Vec<u8> {
    let output = command.output().expect("the command starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

pub fn git(repository: &Path, args: &[&str]) -> Vec<u8> {
    ran(hermetic(Command::new("git").arg("-C").arg(repository).args(args)))
}

/// Runs a Python script of the source tree in the environment that `scripts/python.sh` makes, and demands success; what it
/// said. None where there is no such environment and that was said to be in order.
pub fn python(lab: &Lab, script: &str, args: &[&str]) -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = python_program();
    if !python.exists() {
        let why = format!("{} is not there, so nothing was read back: run scripts/python.sh", python.display());
        assert!(std::env::var_os("GITLODE_WITHOUT_PYTHON").is_some(), "{why}");
        eprintln!("SKIPPED: {why}");
        return None;
    }
    let mut command = Command::new(python);
    command.arg(root.join(script)).args(args);
    let output = command.current_dir(lab.dir.path()).output().expect("Python runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script} {args:?}: {said}");
    Some(said)
}

/// The manifest of an export.
pub fn manifest(lab: &Lab, out: &str) -> Value {
    serde_json::from_slice(&fs::read(lab.path(out).join("manifest.json")).expect("a manifest")).expect("JSON")
}

/// Every file below `directory`, by its path there.
pub fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(directory).expect("it is below").to_string_lossy().into_owned();
                files.insert(name, fs::read(&path).expect("a file"));
            }
        }
    }
    files
}

/// Demands that each export of `store` and of `other`, which has the same rows, has the same bytes with any number of threads.
pub fn same_bytes(lab: &Lab, formats: &[&[&str]]) {
    for &format in formats {
        let mut first: Option<BTreeMap<String, Vec<u8>>> = None;
        for (store, threads) in [("store", "1"), ("store", "3"), ("other", "2")] {
            lab.ok(&[&["export", store, "out", "-j", threads], format].concat());
            let mut found = files(&lab.path("out"));
            // They name the batches in which rows were mined.
            found.retain(|name, _| !name.ends_with("manifest.json") && !name.ends_with("README.md"));
            assert!(!found.is_empty());
            fs::remove_dir_all(lab.path("out")).expect("it can be removed");
            assert!(*first.get_or_insert_with(|| found.clone()) == found, "{format:?}, {store}, {threads} threads");
        }
    }
}

/// The Python that has what reads exports back.
pub fn python_program() -> PathBuf {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/python/bin/python");
    std::env::var_os("TEST_PYTHON").map_or(python, PathBuf::from)
}

/// Splits of which the repositories of [`four`] fill all.
pub const SPLITS: &str = "train=0.5,validation=0.25,test=0.25";

/// A store of four repositories that `script` makes, in all three splits, and the rows as JSON lines.
pub fn four(lab: &Lab, script: &str) -> PathBuf {
    // By its root, `tokio` is of test, `redis` of validation, `git` and `ripgrep` of train.
    for (name, number) in [("tokio", 5), ("redis", 1), ("git", 1), ("ripgrep", 1)] {
        let root = format!("git commit -q --allow-empty -m 'Begin {name} {number}'\n");
        lab.repository(name, "sha1", &(root + &script.replace("NAME", name)));
    }
    lab.mine("tokio", "store", &["redis", "git", "ripgrep", "--kinds", "modified,added"]);
    lab.ok(&["export", "store", "plain"]);
    lab.path("plain/data/train-00000-of-00001.jsonl")
}

/// A tokenizer of bytes, with three control tokens; `id_max` is an id that no text has.
pub fn tokenizer(lab: &Lab, name: &str, id_max: usize) {
    // GPT-2's letters for bytes: those that print stand for themselves, the others follow from 256 on.
    let prints = |byte: u32| (33..=126).contains(&byte) || (161..=172).contains(&byte) || (174..=255).contains(&byte);
    let mut others = 256..;
    let mut letter = |byte| char::from_u32(if prints(byte) { byte } else { others.next().expect("a number") });
    let mut vocabulary = serde_json::Map::new();
    for byte in 0..256 {
        vocabulary.insert(letter(byte).expect("a letter").to_string(), json!(byte));
    }
    vocabulary.insert("li".into(), json!(256));
    vocabulary.insert("unused".into(), json!(id_max));
    let special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"].iter().enumerate().map(|(at, content)| {
        vocabulary.insert((*content).to_owned(), json!(257 + at));
        json!({"id": 257 + at, "content": content, "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false})
    });
    let special: Vec<Value> = special.collect();
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let whole = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": special, "normalizer": null,
        "pre_tokenizer": byte_level, "post_processor": byte_level, "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": [["l", "i"]], "dropout": null, "unk_token": null,
            "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false},
    });
    fs::write(lab.path(name), whole.to_string()).expect("a file");
}
