//! Uploads to a Hugging Face Hub on loopback (tests/fake_hub.py), by gitlode and by Hugging Face's own client.
#![cfg(feature = "push")]

mod support;

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::{Value, json};
use support::{Lab, python_program};

/// A Hub that ends with the test.
struct Hub {
    child: Child,
    port: u16,
    directory: PathBuf,
}

impl Hub {
    fn start(lab: &Lab, mode: &str) -> Hub {
        let directory = lab.path("hub");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake_hub.py");
        let mut child = Command::new(python_program())
            .arg(script)
            .arg(&directory)
            .arg(mode)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("scripts/python.sh has made the Python environment");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("its output")).read_line(&mut line).expect("a port");
        Hub { child, port: line.trim().parse().expect("a port"), directory }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn state(&self) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        stream.write_all(b"GET /state HTTP/1.0\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        serde_json::from_str(answer.split_once("\r\n\r\n").expect("a body").1).expect("JSON")
    }

    fn push(&self, lab: &Lab, args: &[&str]) -> Output {
        self.environment(&mut lab.program(), lab).arg("push").args(args).output().expect("gitlode runs")
    }

    fn environment<'c>(&self, command: &'c mut Command, lab: &Lab) -> &'c mut Command {
        command.env("HF_ENDPOINT", self.url()).env("HF_TOKEN", "secret").env("HF_HOME", lab.path("hf"))
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _it_may_be_gone = self.child.kill();
        let _it_may_be_gone = self.child.wait();
    }
}

/// Every file below a directory with its size, by its path in it.
fn sizes(directory: &Path) -> Vec<(String, u64)> {
    support::files(directory).into_iter().map(|(name, bytes)| (name, bytes.len() as u64)).collect()
}

fn files(repository: &Value) -> Vec<(String, u64)> {
    let files = repository["files"].as_object().expect("files").iter();
    files.map(|(path, file)| (path.clone(), file["size"].as_u64().expect("a size"))).collect()
}

fn exported(lab: &Lab) {
    lab.repository(
        "repo",
        "sha1",
        "printf 'a\\n' >a.py; printf 'b\\n' >b.rs; git add .; git commit -qm 'Add two small files'
         printf 'a\\nc\\n' >a.py; git commit -qam 'Add a line to the first file'
         printf 'b\\nd\\n' >b.rs; git commit -qam 'Add a line to the second file'",
    );
    lab.mine("repo", "store", &[]);
    lab.ok(&["export", "store", "out", "--format", "hf"]);
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_export_arrives_whole_and_only_once() {
    let lab = Lab::new();
    exported(&lab);
    let hub = Hub::start(&lab, "");
    let output = hub.push(&lab, &["out", "me/rows", "--message", "Publish the first rows", "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let state = hub.state();
    let local = sizes(&lab.path("out"));
    assert_eq!(files(&state["me/rows"]), local);
    assert_eq!(state["me/rows"]["commits"].as_array().map(Vec::len), Some(1));
    assert_eq!(state["me/rows"]["commits"][0]["summary"], "Publish the first rows");
    assert_eq!(told["sent"], local.len());
    assert_eq!(told["unchanged"], 0);
    let by_xet = files(&state["me/rows"]).into_iter().filter(|(path, _)| path.ends_with(".parquet")).count();
    assert!(by_xet >= 2, "rows in two languages");
    let lfs = |path: &str| state["me/rows"]["files"][path]["lfs"]["oid"].is_string();
    for (path, _) in &local {
        assert_eq!(lfs(path), path.ends_with(".parquet"), "{path}");
    }
    // What Xet was given is on disk.
    assert!(!sizes(&hub.directory.join("cas")).is_empty());

    let output = hub.push(&lab, &["out", "me/rows"]);
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("nothing to push"), "{}", stderr(&output));
    assert_eq!(hub.state()["me/rows"]["commits"].as_array().map(Vec::len), Some(1));

    // Another export: what is new goes, what is stale is deleted, the rest stays.
    let rules = "id = \"python\"\nwhy = \"One language.\"\n[[rule]]\nid = \"lang\"\nwhy = \"One language.\"\nfield = \"lang\"\n\
                 one_of = [\"python\"]\nkeep = [\"python\"]\ndrop = [\"rust\"]\n";
    fs::write(lab.path("python.toml"), rules).expect("it can be written");
    lab.ok(&["export", "store", "fewer", "--format", "hf", "--filter", "python.toml"]);
    let output = hub.push(&lab, &["fewer", "me/rows", "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(files(&hub.state()["me/rows"]), sizes(&lab.path("fewer")));
    assert!(told["deleted"].as_u64() > Some(0), "{told}");
    assert!(told["unchanged"].as_u64() > Some(0), "{told}");
}

#[test]
fn the_hubs_own_client_takes_the_same_directory() {
    let lab = Lab::new();
    exported(&lab);
    let hub = Hub::start(&lab, "");
    let script = "import sys, huggingface_hub as hub
hub.create_repo('me/theirs', repo_type='dataset')
hub.upload_folder(repo_id='me/theirs', repo_type='dataset', folder_path=sys.argv[1])";
    let mut command = Command::new(python_program());
    let output = hub.environment(&mut command, &lab).arg("-c").arg(script).arg(lab.path("out")).output();
    let output = output.expect("Python runs");
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(hub.push(&lab, &["out", "me/ours"]).status.success());
    let state = hub.state();
    assert_eq!(state["me/theirs"]["files"], state["me/ours"]["files"]);
    // What the one uploaded, the other has nothing to add to.
    let output = hub.push(&lab, &["out", "me/theirs"]);
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("nothing to push"), "{}", stderr(&output));
}

#[test]
fn a_hub_that_refuses_changes_nothing() {
    for (mode, told) in [
        ("unauthorized", "HF_TOKEN"),
        ("basic", "into the commit itself"),
        ("moving", "somebody else changed the repository"),
    ] {
        let lab = Lab::new();
        fs::create_dir_all(lab.path("big/data")).expect("a directory");
        let bytes = 5 << 20;
        fs::write(lab.path("big/data/x.parquet"), vec![7; bytes]).expect("a file");
        let manifest = json!({"shards": [{"file": "data/x.parquet", "bytes": bytes}], "documents": []});
        fs::write(lab.path("big/manifest.json"), manifest.to_string()).expect("a file");
        let hub = Hub::start(&lab, mode);
        let output = hub.push(&lab, &["big", "me/rows"]);
        assert_eq!(output.status.code(), Some(1), "{mode}");
        assert!(stderr(&output).contains(told), "{mode}: {}", stderr(&output));
        assert!(!stderr(&output).contains("secret"), "{mode}");
        assert_eq!(hub.state()["me/rows"]["files"].as_object().map_or(0, serde_json::Map::len), 0, "{mode}");
    }
}

#[test]
fn what_is_no_export_is_not_pushed() {
    let lab = Lab::new();
    exported(&lab);
    let hub = Hub::start(&lab, "");
    fs::create_dir(lab.path("empty")).expect("a directory");
    let shard = sizes(&lab.path("out")).into_iter().find(|(path, _)| path.ends_with(".parquet")).expect("a shard").0;
    lab.ok(&["export", "store", "cut", "--format", "hf"]);
    fs::write(lab.path("cut").join(&shard), "PAR1").expect("it can be written");
    lab.ok(&["export", "store", "gone", "--format", "hf"]);
    fs::remove_file(lab.path("gone").join(&shard)).expect("it is there");
    fs::create_dir(lab.path("outside")).expect("a directory");
    fs::write(lab.path("outside/manifest.json"), r#"{"shards": [{"file": "../store/store.json", "bytes": 1}]}"#)
        .expect("it can be written");
    for (directory, name, told) in [
        ("empty", "me/rows", "manifest.json"),
        ("cut", "me/rows", "bytes, not"),
        ("gone", "me/rows", &*shard),
        ("outside", "me/rows", "elsewhere"),
        ("out", "rows", "OWNER/NAME"),
        ("out", "me/ro ws", "OWNER/NAME"),
    ] {
        let output = hub.push(&lab, &[directory, name]);
        assert!(!output.status.success(), "{directory} {name}");
        assert!(stderr(&output).contains(told), "{directory} {name}: {}", stderr(&output));
    }
    assert_eq!(hub.state(), json!({}));
    let mut without = lab.program();
    hub.environment(&mut without, &lab).env_remove("HF_TOKEN").env("HOME", lab.path("home"));
    let output = without.args(["push", "out", "me/rows"]).output().expect("gitlode runs");
    assert!(stderr(&output).contains("there is no token"), "{}", stderr(&output));
}
