//! Lists of sources from a server that plays GitHub, and from files of GH Archive.

#[path = "support/github.rs"]
mod github;
mod support;

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Output, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use github::{Answer, Github, Request, repository};
use serde_json::{Value, json};
use support::Lab;

const TOKEN: &str = "github_pat_0123456789";
const PAGE: &str = "/orgs/o/repos?per_page=100&sort=created&direction=asc";

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn discover(lab: &Lab, github: &Github, args: &[&str]) -> Output {
    let retries = if args.contains(&"--retries") { &[][..] } else { &["--retries", "0"] };
    lab.gitlode(&[&["discover", "--base-url", &github.url(), "--json"], retries, args].concat())
}

/// The account, and after it the rest of what was said.
fn account(output: &Output) -> Value {
    let said = text(&output.stderr);
    let start = said.find("{\n").unwrap_or_else(|| panic!("no account: {said}"));
    let mut values = serde_json::Deserializer::from_str(&said[start..]).into_iter();
    values.next().expect("an account").expect("JSON")
}

/// The list, its exit code and its account; what was found is what is listed and what is left out.
fn listed(output: &Output) -> (Vec<Value>, Option<i32>, Value) {
    let list = text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let all = account(output);
    let count = |value: &Value| value.as_u64().expect("a number");
    let left_out: u64 = all["account"]["left_out"].as_object().expect("reasons").values().map(count).sum();
    let sum = count(&all["account"]["listed"]) + left_out;
    assert_eq!(count(&all["account"]["found"]), sum, "{all}");
    (list, output.status.code(), all)
}

fn names(list: &[Value]) -> Vec<&str> {
    list.iter().map(|one| one["full_name"].as_str().expect("a name")).collect()
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_secs()).expect("before the end of time")
}

/// An organisation of three repositories on two pages.
fn two_pages(github: &Github) {
    let next = format!("<{}/orgs/o/repos?page=2>; rel=\"next\"", github.url());
    let first = Answer::json(&json!([repository(3, "o/c"), repository(1, "o/A")]));
    github.always(PAGE, first.header("Link", &next).header("ETag", "\"1\""));
    let second = Answer::json(&json!([repository(2, "o/b")]));
    github.always("/orgs/o/repos?page=2", second.header("ETag", "W/\"2\""));
}

#[test]
fn pages_are_followed_and_lists_are_what_mine_reads() {
    let (lab, github) = (Lab::new(), Github::new());
    two_pages(&github);
    let output = discover(&lab, &github, &["--org", "o", "--no-cache"]);
    let (list, code, all) = listed(&output);
    assert_eq!((names(&list), code), (vec!["o/A", "o/b", "o/c"], Some(0)), "{all}");
    assert_eq!(
        list[0],
        json!({
            "url": format!("{}/o/A.git", github.url()), "full_name": "o/A", "id": 1, "stars": 10, "license": "MIT",
            "language": "Rust", "pushed_at": "2026-11-01T00:00:00Z", "size": 100, "fork": false, "archived": false,
        })
    );
    assert_eq!(github.targets(), [PAGE, "/orgs/o/repos?page=2"]);
    let short = discover(&lab, &github, &["--org", "o", "--no-cache", "--columns", "license,id"]);
    let line = format!("{{\"url\":\"{}/o/A.git\",\"id\":1,\"license\":\"MIT\"}}", github.url());
    assert_eq!(text(&short.stdout).lines().next(), Some(line.as_str()));
    let csv = discover(&lab, &github, &["--org", "o", "--no-cache", "--csv"]);
    for (name, bytes) in [("list.jsonl", &output.stdout), ("list.csv", &csv.stdout)] {
        fs::write(lab.path(name), bytes).expect("it can be written");
        let store = format!("{name}.store");
        let mined = lab.gitlode(&["mine", &format!("@{name}"), "--store", &store, "--json", "--fetch-retries", "0"]);
        let summary: Value = serde_json::from_slice(&mined.stdout).expect("a summary");
        let sources = summary["repositories"].as_array().expect("sources");
        let identities: Vec<&str> = sources.iter().map(|one| one["identity"].as_str().expect("one")).collect();
        let host = github.url().replace("http://", "");
        assert_eq!(identities, ["A", "b", "c"].map(|name| format!("{host}/o/{name}")), "{}", text(&mined.stderr));
    }
    assert_eq!(
        text(&csv.stdout).lines().nth(1).expect("a row"),
        format!("{}/o/A.git,o/A,1,10,MIT,Rust,2026-11-01T00:00:00Z,100,false,false,,,,,,", github.url())
    );
}

#[test]
fn the_same_repositories_give_the_same_bytes() {
    let (lab, github) = (Lab::new(), Github::new());
    let of = |items: Value| Answer::json(&items);
    github.always(PAGE, of(json!([repository(1, "o/a"), repository(2, "O/B")])));
    let users = "/users/u/repos?per_page=100&sort=created&direction=asc";
    github.always(users, of(json!([repository(3, "u/c"), repository(2, "O/B")])));
    let first = discover(&lab, &github, &["--org", "o", "--user", "u", "--no-cache"]);
    github.always(PAGE, of(json!([repository(2, "O/B"), repository(1, "o/a")])));
    let second = discover(&lab, &github, &["--user", "u", "--org", "o", "--no-cache"]);
    let (list, _, all) = listed(&first);
    assert_eq!((names(&list), &first.stdout), (vec!["o/a", "O/B", "u/c"], &second.stdout));
    assert_eq!(all["account"]["left_out"], json!({"found_again": 1}));
}

#[test]
fn what_has_not_changed_is_not_sent_again() {
    let (lab, github) = (Lab::new(), Github::new());
    two_pages(&github);
    let run = || {
        let output = discover(&lab, &github, &["--org", "o", "--cache", "cache"]);
        let (_, code, all) = listed(&output);
        assert_eq!(code, Some(0), "{all}");
        let conditions = github.asked().iter().map(|one| one.headers.get("if-none-match").cloned()).collect::<Vec<_>>();
        (output.stdout, all["requests"]["unchanged"].clone(), conditions)
    };
    let (list, unchanged, conditions) = run();
    assert_eq!((unchanged, conditions), (json!(0), vec![None, None]));
    let marks = vec![Some("\"1\"".to_owned()), Some("W/\"2\"".to_owned())];
    assert_eq!(run(), (list.clone(), json!(2), marks.clone()));
    // One page is another now, and one file is damaged.
    let changed = Answer::json(&json!([repository(2, "o/renamed")]));
    github.always("/orgs/o/repos?page=2", changed.header("ETag", "\"3\""));
    let (other, unchanged, conditions) = run();
    assert_eq!((unchanged, conditions), (json!(1), marks));
    assert!(text(&other).contains("o/renamed") && !text(&other).contains("o/b"));
    for file in files(&lab.path("cache")) {
        fs::write(file, "{").expect("it can be written");
    }
    assert_eq!(run(), (other, json!(0), vec![None, None]));
    // Where nothing can be kept, the list is the same.
    fs::write(lab.path("file"), "").expect("it can be written");
    let output = discover(&lab, &github, &["--org", "o", "--cache", "file"]);
    let (list, code, all) = listed(&output);
    assert_eq!((list.len(), code), (3, Some(0)));
    assert!(all["cache_failure"].as_str().is_some_and(|failure| failure.starts_with("file/")), "{all}");
}

fn files(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn limits_are_waited_for_within_bounds() {
    let lab = Lab::new();
    let secondary = Answer::new(403, r#"{"message": "You have exceeded a secondary rate limit."}"#);
    let spent = |at: i64| {
        Answer::new(403, r#"{"message": "API rate limit exceeded"}"#)
            .header("x-ratelimit-remaining", "0")
            .header("x-ratelimit-reset", &at.to_string())
    };
    for (answer, waits) in [
        (Answer::new(429, "").header("Retry-After", "1"), 1),
        (secondary.clone().header("Retry-After", "1"), 1),
        (spent(now() - 5), 1),
    ] {
        let github = Github::new();
        two_pages(&github);
        github.once("/orgs/o/repos", answer.clone());
        let output = discover(&lab, &github, &["--org", "o", "--no-cache"]);
        let (list, code, all) = listed(&output);
        assert_eq!((list.len(), code, &all["requests"]["waits"]), (3, Some(0), &json!(waits)), "{answer:?} {all}");
    }
    for answer in [
        Answer::new(429, "").header("Retry-After", "3600"),
        Answer::new(429, "").header("Retry-After", "18446744073709551615"),
        spent(now() + 3600),
        spent(i64::MAX),
        secondary,
    ] {
        let github = Github::new();
        two_pages(&github);
        github.once("/orgs/o/repos", answer.clone());
        let args = ["--org", "o", "--user", "u", "--no-cache", "--wait-seconds-max", "30"];
        let (list, code, all) = listed(&discover(&lab, &github, &args));
        assert_eq!((list.len(), code), (0, Some(3)), "{answer:?}");
        let reason = all["failures"][0]["error"].as_str().expect("a reason");
        assert!(reason.contains("limits the rate: it takes the next request in") && reason.contains("Z"), "{reason}");
        assert!(all["failures"][0]["hint"].as_str().is_some_and(|hint| hint.contains("run the same command then")));
        assert_eq!(
            (github.targets().len(), all["failures"].as_array().map(Vec::len)),
            (1, Some(2)),
            "no more is asked"
        );
    }
}

#[test]
fn a_limit_that_is_used_up_is_not_tried() {
    let (lab, github) = (Lab::new(), Github::new());
    let next = format!("<{}/orgs/o/repos?page=2>; rel=\"next\"", github.url());
    let first = Answer::json(&json!([repository(1, "o/a")])).header("Link", &next);
    let spent = first.header("x-ratelimit-remaining", "0").header("x-ratelimit-reset", &(now() + 3600).to_string());
    github.always(PAGE, spent);
    let (list, code, all) = listed(&discover(&lab, &github, &["--org", "o", "--no-cache"]));
    assert_eq!((list.len(), code), (0, Some(3)), "half an organisation is none: {all}");
    assert_eq!(github.targets(), [PAGE]);
}

#[test]
fn each_refusal_is_told_and_the_others_are_asked() {
    let lab = Lab::new();
    let cut = Answer::json(&json!([repository(1, "o/a")])).cut(5);
    for (answer, reason) in [
        (Answer::new(404, "{}"), "there is no such thing"),
        (Answer::new(403, r#"{"message": "Resource protected by organization SAML enforcement"}"#), "SAML"),
        (Answer::new(422, r#"{"message": "Validation Failed"}"#), "Validation Failed (HTTP status 422)"),
        (Answer::new(451, "{}"), "legal reasons"),
        (Answer::new(500, "<html>"), "no reason given"),
        (Answer::new(200, "{\"message\": 1"), "can't be read"),
        (Answer::new(200, "<html>"), "can't be read"),
        (Answer::new(200, "{}"), "can't be read"),
        (Answer::new(200, b"[\xff]".to_vec()), "can't be read"),
        (Answer::new(304, ""), "nothing is known that could be unchanged"),
        (Answer::new(302, ""), "does not say where"),
        (cut, "127.0.0.1"),
        (Answer::json(&json!([])).header("Link", &format!("<{PAGE}>; rel=\"next\"")), "round in a circle"),
        (Answer::json(&json!([])).header("Link", "<http://[>; rel=\"next\""), "next page is none"),
    ] {
        let github = Github::new();
        github.always(PAGE, answer.clone());
        let users = "/users/u/repos?per_page=100&sort=created&direction=asc";
        github.always(users, Answer::json(&json!([repository(3, "u/c")])));
        let output = discover(&lab, &github, &["--org", "o", "--user", "u", "--no-cache"]);
        let (list, code, all) = listed(&output);
        assert_eq!((names(&list), code), (vec!["u/c"], Some(3)), "{answer:?}");
        let failure = &all["failures"][0];
        assert!(failure["error"].as_str().is_some_and(|said| said.contains(reason)), "{reason}: {failure}");
        assert_eq!(failure["what"], "organisation o");
    }
}

#[test]
fn failures_that_pass_are_passed_over() {
    let (lab, github) = (Lab::new(), Github::new());
    two_pages(&github);
    let whole = Answer::json(&json!([repository(1, "o/A")]));
    for bad in [Answer::new(502, ""), Answer::new(200, "[{"), whole.cut(3)] {
        github.once("/orgs/o/repos", bad.clone());
        let output = discover(&lab, &github, &["--org", "o", "--cache", "cache", "--retries", "1"]);
        let (list, code, all) = listed(&output);
        assert_eq!((list.len(), code, &all["requests"]["retries"]), (3, Some(0), &json!(1)), "{bad:?} {all}");
        fs::remove_dir_all(lab.path("cache")).expect("a cache");
    }
}

#[test]
fn servers_that_stop_sending_are_given_up() {
    let (lab, github) = (Lab::new(), Github::new());
    let page = Answer::json(&json!([repository(1, "o/a")]));
    github.always(PAGE, page.clone().stall(3));
    let hour = archive(&[(1, "o/a"), (2, "o/b")], "");
    github.always("/hour.json.gz", Answer::new(200, hour.clone()).stall(10));
    let url = format!("{}/hour.json.gz", github.url());
    let args = ["--org", "o", "--archive", &url, "--no-cache", "--silent-seconds-max", "1"];
    let (list, code, all) = listed(&discover(&lab, &github, &args));
    assert_eq!(code, Some(3), "{all}");
    assert!(list.len() < 3 && all["failures"].as_array().is_some_and(|failures| failures.len() == 2), "{all}");
    for failure in all["failures"].as_array().expect("failures") {
        assert!(failure["error"].as_str().is_some_and(|said| said.contains("timed out")), "{failure}");
    }
    // They come round.
    github.always(PAGE, page.clone());
    github.once("/orgs/o/repos", page.stall(3));
    github.always("/hour.json.gz", Answer::new(200, hour.clone()));
    github.once("/hour.json.gz", Answer::new(200, hour).stall(10));
    let (list, code, all) = listed(&discover(&lab, &github, &[&args[..], &["--retries", "1"]].concat()));
    // One of them is github.com's, which is another server.
    assert_eq!((names(&list), code), (vec!["o/a", "o/a", "o/b"], Some(0)), "{all}");
}

#[test]
fn the_api_may_be_below_a_path() {
    let (lab, github) = (Lab::new(), Github::new());
    github.always(&format!("/api/v3{PAGE}"), Answer::json(&json!([repository(1, "o/.github")])));
    let base = format!("{}/api/v3/", github.url());
    let said = lab.ok(&["discover", "--base-url", &base, "--org", "o", "--no-cache", "--columns", "id"]);
    assert_eq!(said, format!("{{\"url\":\"{}/o/.github.git\",\"id\":1}}\n", github.url()));
}

#[test]
fn tokens_are_sent_to_their_server_only_and_never_shown() {
    let (lab, github, other) = (Lab::new(), Github::new(), Github::new());
    fs::write(lab.path("token"), format!("{TOKEN}\n")).expect("it can be written");
    two_pages(&github);
    let run = |args: &[&str]| {
        let output = discover(&lab, &github, &[&["--org", "o", "--token-file", "token", "-v"], args].concat());
        assert!(!text(&output.stderr).contains(TOKEN) && !text(&output.stdout).contains(TOKEN));
        let (list, code, all) = listed(&output);
        (list.len(), code, all["failures"][0]["error"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(run(&["--cache", "cache"]), (3, Some(0), String::new()));
    let sent: Vec<_> = github.asked().iter().map(|one| one.headers.get("authorization").cloned()).collect();
    assert_eq!(sent, vec![Some(format!("Bearer {TOKEN}")); 2]);
    for file in files(&lab.path("cache")) {
        assert!(!text(&fs::read(&file).expect("a file")).contains(TOKEN), "{}", file.display());
    }
    // Elsewhere, by a redirect and by the next page.
    let elsewhere = format!("{}/orgs/o/repos", other.url());
    other.always("/orgs/o/repos", Answer::json(&json!([repository(9, "x/y")])));
    for answer in [
        Answer::new(302, "").header("Location", &elsewhere),
        Answer::new(307, "").header("Location", &elsewhere),
        Answer::json(&json!([])).header("Link", &format!("<{elsewhere}>; rel=\"next\"")),
    ] {
        github.once("/orgs/o/repos", answer.clone());
        let (count, code, error) = run(&["--no-cache"]);
        assert!(count == 0 && code == Some(3) && error.contains("leads to another server"), "{answer:?} {error}");
    }
    assert_eq!(other.targets(), Vec::<String>::new());
    // Within the server, the token goes along.
    github.asked();
    github.once("/orgs/o/repos", Answer::new(301, "").header("Location", "/orgs/o/repos?page=2"));
    assert_eq!(run(&["--no-cache"]), (1, Some(0), String::new()));
    assert!(github.asked().iter().all(|one| one.headers.contains_key("authorization")));
    github.once("/orgs/o/repos", Answer::new(401, r#"{"message": "Bad credentials"}"#));
    let (_, code, error) = run(&["--no-cache"]);
    assert!(code == Some(3) && error.contains("the token is not accepted"), "{error}");
}

#[test]
fn tokens_come_from_the_variables_of_their_host() {
    let (lab, github) = (Lab::new(), Github::new());
    two_pages(&github);
    let variable = format!("GITLODE_TOKEN_{}", github.url().replace("http://", "").replace(['.', ':'], "_"));
    let run = |name: &str| {
        let mut program = lab.program();
        program.args(["discover", "--base-url", &github.url(), "--org", "o", "--no-cache"]).env(name, TOKEN);
        assert!(program.output().expect("it runs").status.success());
        github.asked()[0].headers.get("authorization").cloned()
    };
    assert_eq!(run(&variable), Some(format!("Bearer {TOKEN}")));
    for name in ["GITHUB_TOKEN", "GH_TOKEN", "GITLODE_TOKEN"] {
        assert_eq!(run(name), None, "{name} is for github.com");
    }
}

#[test]
fn what_can_not_be_meant_is_a_usage_error() {
    let lab = Lab::new();
    fs::write(lab.path("empty"), "\n").expect("it can be written");
    fs::write(lab.path("token"), TOKEN).expect("it can be written");
    for (args, reason) in [
        (&["--org", "a/../b"][..], "a/../b is no name of an organisation"),
        (&["--topic", "a b"], "a b is no name of a topic"),
        (&["--forks", "skip"], "where to look is missing"),
        (&["--org", "o", "--base-url", "ftp://h"], "there are https and http"),
        (&["--org", "o", "--base-url", "https://me:secret@h"], "https://h is no base URL"),
        (&["--org", "o", "--base-url", "http://h", "--token-file", "token"], "not sent without encryption"),
        (&["--org", "o", "--token-file", "empty"], "empty has no token"),
        (&["--org", "o", "--license", "mit,mine"], "mine is neither"),
        (&["--org", "o", "--stars-min", "5", "--stars-max", "4"], "nothing is in between"),
        (&["--archive", "x.json.gz", "--stars-min", "5"], "add --look-up"),
        (&["--hours", "yesterday"], "yesterday is no hour"),
    ] {
        let output = lab.gitlode(&[&["discover", "--no-cache"], args].concat());
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(reason), "{args:?}: {said}");
        assert!(output.stdout.is_empty() && !said.contains("secret") && !said.contains(TOKEN), "{said}");
    }
}

#[test]
fn filters_account_for_all_that_they_leave_out() {
    let (lab, github) = (Lab::new(), Github::new());
    let with = |id: u64, name: &str, field: &str, value: Value| {
        let mut one = repository(id, name);
        one[field] = value;
        one
    };
    let license = |id: Value| json!({"key": "k", "name": "n", "spdx_id": id, "url": null, "node_id": "x"});
    let all = json!([
        repository(1, "o/good"),
        with(2, "o/fork", "fork", json!(true)),
        with(3, "o/archived", "archived", json!(true)),
        with(4, "o/gpl", "license", license(json!("GPL-3.0"))),
        with(5, "o/other", "license", license(json!("NOASSERTION"))),
        with(6, "o/none", "license", Value::Null),
        with(7, "o/apache", "license", license(json!("Apache-2.0"))),
        with(8, "o/go", "language", json!("Go")),
        with(9, "o/words", "language", Value::Null),
        with(10, "o/few", "stargazers_count", json!(4)),
        with(11, "o/many", "stargazers_count", json!(4000)),
        with(12, "o/large", "size", json!(5000)),
        with(13, "o/old", "pushed_at", json!("2019-12-31T23:59:59Z")),
        with(14, "o/never", "pushed_at", Value::Null),
        with(15, "o/secret", "private", json!(true)),
        with(16, "o/off", "disabled", json!(true)),
        with(17, "o/../odd", "fork", json!(false)),
        json!("odd"),
    ]);
    github.always(PAGE, Answer::json(&all));
    let run = |args: &[&str]| {
        let (list, code, all) = listed(&discover(&lab, &github, &[&["--org", "o", "--no-cache"], args].concat()));
        assert_eq!(code, Some(0), "{all}");
        let names = names(&list).iter().map(|name| name["o/".len()..].to_owned()).collect::<Vec<_>>().join(" ");
        (names, all["account"]["left_out"].clone())
    };
    let (names, left_out) = run(&[]);
    assert_eq!(names, "apache archived few fork go good gpl large many never none old other words");
    assert_eq!(left_out, json!({"private": 1, "disabled": 1, "unreadable": 2}));
    let bounds = ["--stars-min", "5", "--stars-max", "100", "--size-max", "1000", "--pushed-since", "2020-01-01"];
    let kinds = ["--archived", "skip", "--forks", "skip", "--license", "permissive", "--language", "rust,C"];
    let (names, left_out) = run(&[&bounds[..], &kinds].concat());
    assert_eq!(names, "apache good");
    assert_eq!(
        left_out,
        json!({
            "private": 1, "disabled": 1, "unreadable": 2, "fork": 1, "archived": 1, "license": 1, "license_unknown": 2,
            "language": 1, "language_unknown": 1, "stars_min": 1, "stars_max": 1, "size_max": 1, "pushed_since": 1,
            "pushed_unknown": 1,
        })
    );
    assert_eq!(run(&["--license", "gpl-3.0-only,commitpack"]).0.split(' ').count(), 12);
    assert_eq!(run(&["--license", "gpl-3.0"]).0, "gpl");
    assert_eq!(run(&["--archived", "only"]).0, "archived");
    assert!(run(&["--private"]).0.contains("secret"));
    let table = lab.gitlode(&["discover", "--base-url", &github.url(), "--org", "o", "--no-cache"]);
    let said = text(&table.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    let expected = "found 18 left out: unreadable 2 left out: private 1 left out: disabled 1 listed 14";
    assert!(said.contains(expected) && said.contains("1 request, 0 of them"), "{said}");
}

#[test]
fn forks_are_listed_behind_their_root() {
    let (lab, github) = (Lab::new(), Github::new());
    let fork = |id: u64, name: &str| {
        let mut one = repository(id, name);
        one["fork"] = json!(true);
        one
    };
    let described = |id: u64, name: &str, parent: &str, root: &str| {
        let mut one = fork(id, name);
        (one["parent"], one["source"]) = (repository(90, parent), repository(91, root));
        Answer::json(&one)
    };
    let all = [fork(1, "o/a"), repository(2, "o/z"), repository(3, "o/m"), fork(4, "o/b"), fork(5, "o/gone")];
    github.always(PAGE, Answer::json(&json!(all)));
    github.always("/repos/o/a", described(1, "o/a", "p/a", "O/Z"));
    github.always("/repos/o/b", described(4, "o/b", "q/r", "q/r"));
    let (list, code, all) = listed(&discover(&lab, &github, &["--org", "o", "--no-cache", "--forks", "attach"]));
    assert_eq!((names(&list), code), (vec!["o/m", "o/z", "o/a", "o/b"], Some(0)));
    assert_eq!((&list[2]["parent"], &list[2]["root"], &list[1]["root"]), (&json!("p/a"), &json!("O/Z"), &Value::Null));
    assert_eq!((&all["account"]["left_out"], &all["forks_without_root"]), (&json!({"gone": 1}), &json!(1)));
    assert_eq!(github.targets(), [PAGE, "/repos/o/a", "/repos/o/b", "/repos/o/gone"]);
}

/// Searches over repositories that were made at these times, as GitHub answers them: 1,000 results at most.
fn search(created: Vec<i64>, stars: Vec<u64>) -> Github {
    Github::with(move |request: &Request| {
        let query = request.target.strip_prefix("/search/repositories?q=")?;
        let (query, page) = query.split_once("&per_page=100").expect("pages of 100");
        let page: usize = page.strip_prefix("&page=").map_or(1, |page| page.parse().expect("a number"));
        let query = query.replace('+', " ").replace("%3A", ":").replace("%3E", ">").replace("%3D", "=");
        let range = |key: &str| {
            let word = query.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix(':'))?;
            word.split_once("..").map(|(from, to)| (from.to_owned(), to.to_owned()))
        };
        let within = |number: usize| {
            let seconds = |text: &str| gix::date::parse(text, None).expect("a time").seconds;
            let is_made =
                range("created").is_none_or(|(from, to)| (seconds(&from)..=seconds(&to)).contains(&created[number]));
            let value = |text: &str| text.parse::<u64>().expect("a number");
            is_made && range("stars").is_none_or(|(from, to)| (value(&from)..=value(&to)).contains(&stars[number]))
        };
        let all: Vec<usize> = (0..created.len()).filter(|number| within(*number)).collect();
        let given = &all[..all.len().min(1000)];
        let items: Vec<Value> = given
            .iter()
            .skip((page - 1) * 100)
            .take(100)
            .map(|number| repository(*number as u64 + 1, &format!("o/r{number}")))
            .collect();
        let answer = json!({"total_count": all.len(), "incomplete_results": false, "items": items});
        let is_last = page * 100 >= given.len();
        let host = request.headers.get("host").expect("a host");
        let target = request.target.split("&page=").next().expect("a target");
        let next = format!("<http://{host}{target}&page={}>; rel=\"next\"", page + 1);
        Some(if is_last { Answer::json(&answer) } else { Answer::json(&answer).header("Link", &next) })
    })
}

#[test]
fn a_search_with_too_many_results_is_asked_in_parts() {
    let lab = Lab::new();
    // Half a year, half of which is crowded.
    let created: Vec<i64> = (0..2500).map(|n| 1_700_000_000 + if n % 2 == 0 { n * 3600 } else { n * 7 }).collect();
    let github = search(created, (0..2500).collect());
    let (list, code, all) = listed(&discover(&lab, &github, &["--search", "language:rust", "--no-cache"]));
    assert_eq!((list.len(), code), (2500, Some(0)), "{all}");
    let shortfall = &all["queries"][0]["search"];
    assert_eq!((&shortfall["missing"], &shortfall["incomplete"]), (&json!(0), &json!(0)));
    let parts = shortfall["parts"].as_u64().expect("a number");
    assert!((5..60).contains(&parts), "{parts}");
    let again = discover(&lab, &github, &["--topic", "rust", "--no-cache"]);
    assert_eq!(listed(&again).0, list);
    // The query speaks of times itself, so stars tell its results apart.
    let asked = ["--search", "created:>=2020-01-01 rust", "--no-cache"];
    github.targets();
    assert_eq!(listed(&discover(&lab, &github, &asked)).0, list);
    assert!(github.targets().iter().skip(1).all(|target| target.contains("stars%3A")));
}

#[test]
fn what_a_search_does_not_give_is_counted() {
    let lab = Lab::new();
    // All in one second, and the query speaks of stars.
    let github = search(vec![1_700_000_000; 1300], vec![5; 1300]);
    for (query, missing) in [("x", 300), ("stars:5 created:2023", 300)] {
        let (list, code, all) = listed(&discover(&lab, &github, &["--search", query, "--no-cache"]));
        assert_eq!(
            (list.len(), code, &all["queries"][0]["search"]["missing"]),
            (1000, Some(0), &json!(missing)),
            "{all}"
        );
    }
    let said = lab.gitlode(&["discover", "--base-url", &github.url(), "--search", "x", "--no-cache"]);
    assert!(text(&said.stderr).contains("search x: 300 that GitHub counts it did not give"), "{}", text(&said.stderr));
    // However a part is cut, it has as many as the whole.
    let endless =
        Github::with(|_| Some(Answer::json(&json!({"total_count": 2000, "incomplete_results": false, "items": []}))));
    let (list, code, all) = listed(&discover(&lab, &endless, &["--search", "x", "--no-cache"]));
    assert_eq!((list.len(), code), (0, Some(3)));
    assert!(all["failures"][0]["error"].as_str().is_some_and(|said| said.contains("has no end")), "{all}");
    assert!(endless.targets().len() < 200);
    let slow = Github::new();
    let answer = |is_incomplete: bool| {
        let items = [repository(1, "o/a")];
        Answer::json(&json!({"total_count": 1, "incomplete_results": is_incomplete, "items": items}))
    };
    for (times, incomplete) in [(2, 0), (3, 1)] {
        (0..times).for_each(|_| slow.once("/search/repositories", answer(true)));
        slow.once("/search/repositories", answer(false));
        let (list, _, all) = listed(&discover(&lab, &slow, &["--search", "x", "--cache", "cache"]));
        assert_eq!((list.len(), &all["queries"][0]["search"]["incomplete"]), (1, &json!(incomplete)), "{all}");
    }
}

/// A file of GH Archive with a push for each id and name.
fn archive(pushes: &[(u64, &str)], more: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for (number, (id, name)) in pushes.iter().enumerate() {
        let event = json!({
            "id": (50_000_000_000_u64 + number as u64).to_string(), "type": "PushEvent", "actor": {"id": 1, "login": "x"},
            "repo": {"id": id, "name": name, "url": format!("https://api.github.com/repos/{name}")},
            "payload": {
                "repository_id": id, "push_id": 7, "ref": "refs/heads/main", "head": format!("{number:040x}"),
                "before": "0".repeat(40),
            },
            "public": true, "created_at": format!("2026-11-20T15:{number:02}:00Z"),
        });
        writeln!(encoder, "{event}").expect("it is packed");
    }
    encoder.write_all(more.as_bytes()).expect("it is packed");
    encoder.finish().expect("it is packed")
}

#[test]
fn archives_tell_which_repositories_had_pushes() {
    let (lab, github) = (Lab::new(), Github::new());
    let first = archive(&[(1, "o/a"), (2, "o/b"), (1, "o/a")], "{oops\n{\"type\":\"ForkEvent\"}\n");
    let second = archive(&[(3, "o/c"), (1, "o/a2")], "");
    fs::create_dir(lab.path("hours")).expect("a directory");
    fs::write(lab.path("hours/2026-11-20-9.json.gz"), &first).expect("it can be written");
    fs::write(lab.path("hours/2026-11-20-10.json.gz"), &second).expect("it can be written");
    let local = [
        "--archive-base",
        "hours",
        "--hours",
        "2026-11-20-9..2026-11-20-10",
        "--archive",
        "hours/2026-11-20-9.json.gz",
    ];
    let output = discover(&lab, &github, &local);
    let (list, code, all) = listed(&output);
    assert_eq!((names(&list), code), (vec!["o/a", "o/b", "o/c"], Some(0)), "{all}");
    assert_eq!(
        list[0],
        json!({
            "url": "https://github.com/o/a.git", "full_name": "o/a", "id": 1, "pushed_at": "2026-11-20T15:02:00Z",
            "pushes": 3, "ref": "refs/heads/main", "head": format!("{:040x}", 2), "before": "0".repeat(40),
        })
    );
    let tally = json!({"lines": 5, "pushes": 3, "bad_lines": 1, "long_lines": 0, "cut": null});
    assert_eq!((&all["archives"][0]["tally"], all["archives"].as_array().map(Vec::len)), (&tally, Some(2)));
    // The same from a server, whose first answer is cut.
    github.always("/x/2026-11-20-9.json.gz", Answer::new(200, first.clone()));
    github.always("/x/2026-11-20-10.json.gz", Answer::new(200, second));
    github.once("/x/2026-11-20-9.json.gz", Answer::new(200, first.clone()).cut(20));
    let base = format!("{}/x/", github.url());
    let remote = ["--archive-base", &base, "--hours", "2026-11-20-9..2026-11-20-10", "--retries", "1"];
    assert_eq!(discover(&lab, &github, &remote).stdout, output.stdout);
    let recent = discover(&lab, &github, &[&remote[..], &["--pushed-since", "2026-11-20T15:02:00Z"]].concat());
    assert_eq!(names(&listed(&recent).0), ["o/a"]);
    assert!(github.asked().iter().all(|one| !one.headers.contains_key("authorization")));
    // One that is cut for good, one that is not there, one that is elsewhere, and none of gzip.
    fs::write(lab.path("cut.json.gz"), &first[..first.len() - 9]).expect("it can be written");
    fs::write(lab.path("plain.json.gz"), "{}").expect("it can be written");
    github.always("/moved.json.gz", Answer::new(302, "").header("Location", "http://127.0.0.1:1/x"));
    let url = |name: &str| format!("{}/{name}.json.gz", github.url());
    let (missing, moved) = (url("missing"), url("moved"));
    let args = ["cut.json.gz", "nowhere.json.gz", &missing, &moved, "plain.json.gz"].map(|file| ["--archive", file]);
    let (list, code, all) = listed(&discover(&lab, &github, &args.concat()));
    assert_eq!((names(&list), code), (vec!["o/a", "o/b"], Some(3)), "{all}");
    let failures: Vec<&str> =
        all["failures"].as_array().expect("failures").iter().map(|one| one["error"].as_str().expect("text")).collect();
    for (failure, reason) in failures.iter().zip(["ends early", "No such file", "404", "another server", "ends early"])
    {
        assert!(failure.contains(reason), "{reason}: {failure}");
    }
    assert_eq!(failures.len(), 5);
}

#[test]
fn archives_are_completed_by_looking_up() {
    let (lab, github) = (Lab::new(), Github::new());
    let pushes = [(1, "o/a"), (2, "o/old"), (3, "o/gone"), (4, "o/taken"), (5, "o/few"), (6, "o/law")];
    fs::write(lab.path("x.json.gz"), archive(&pushes, "")).expect("it can be written");
    github.always("/repos/o/a", Answer::json(&repository(1, "o/a")));
    github.always("/repos/o/old", Answer::new(301, "").header("Location", "/repositories/2"));
    github.always("/repositories/2", Answer::json(&repository(2, "p/new")));
    github.always("/repos/o/taken", Answer::json(&repository(44, "o/taken")));
    let mut few = repository(5, "o/few");
    few["stargazers_count"] = json!(2);
    github.always("/repos/o/few", Answer::json(&few));
    github.always("/repos/o/law", Answer::new(451, "{}"));
    let args = ["--archive", "x.json.gz", "--look-up", "--stars-min", "5", "--no-cache"];
    let (list, code, all) = listed(&discover(&lab, &github, &args));
    assert_eq!((names(&list), code), (vec!["o/a", "p/new"], Some(0)), "{all}");
    assert_eq!(all["account"]["left_out"], json!({"gone": 2, "blocked": 1, "stars_min": 1}));
    assert_eq!((&list[1]["stars"], &list[1]["pushes"], &list[1]["license"]), (&json!(10), &json!(1), &json!("MIT")));
    assert!(list[1]["url"].as_str().is_some_and(|url| url.ends_with("/p/new.git")), "{list:?}");
    // A server with troubles is left alone, and what was not asked is counted.
    let broken = Github::with(|_| Some(Answer::new(500, "")));
    let (list, code, all) = listed(&discover(&lab, &broken, &args));
    assert_eq!((list.len(), code, &all["account"]["left_out"]), (0, Some(3), &json!({"not_asked": 6})));
    assert_eq!(broken.targets().len(), 3);
}

#[test]
fn an_interruption_ends_a_wait_and_gives_no_list() {
    let (lab, github) = (Lab::new(), Github::new());
    github.always(PAGE, Answer::new(429, "").header("Retry-After", "250"));
    let mut program = lab.program();
    program.args(["discover", "--base-url", &github.url(), "--org", "o", "--no-cache"]);
    let mut child = program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut said = BufReader::new(child.stderr.take().expect("standard error"));
    let mut line = String::new();
    said.read_line(&mut line).expect("a line");
    assert!(line.starts_with("waiting 250 s: 127.0.0.1 limits the rate"), "{line}");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it can be interrupted");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(130), 0));
}

#[test]
fn a_watch_follows_what_is_found() {
    let (lab, github) = (Lab::new(), Github::new());
    two_pages(&github);
    let settings = format!(
        "[watch]\nstore = \"store\"\ndiscover = true\n[discover]\norg = [\"o\"]\nforks = \"skip\"\nretries = 0\nbase-url = \"{}\"\n\
         no-cache = true\n[mine]\nfetch-retries = 0\n",
        github.url()
    );
    fs::write(lab.path("gitlode.toml"), settings).expect("it can be written");
    let watched = || {
        let output = lab.gitlode(&["watch", "--config", "gitlode.toml", "--once"]);
        let status: Value = serde_json::from_str(&lab.ok(&["status", "store", "--json"])).expect("JSON");
        let of = |one: &Value| one["identity"].as_str().expect("an identity").to_owned();
        let list = status["repositories"].as_array().expect("repositories").iter().map(of);
        (list.collect::<Vec<_>>(), output.status.code(), text(&output.stderr))
    };
    let host = github.url().replace("http://", "");
    let all = ["A", "b", "c"].map(|name| format!("{host}/o/{name}"));
    // They are on the list, and nobody serves them.
    let (list, code, said) = watched();
    assert_eq!((list.as_slice(), code), (all.as_slice(), Some(3)), "{said}");
    // What was found before is not forgotten where GitHub fails.
    github.always(PAGE, Answer::new(500, "{}"));
    let (list, code, said) = watched();
    assert_eq!((list.as_slice(), code), (all.as_slice(), Some(3)), "{said}");
    assert!(said.contains("discover: "), "{said}");
    // What is on the list no more is not watched.
    github.always(PAGE, Answer::json(&json!([repository(1, "o/A")])));
    assert_eq!(watched().0, all[..1]);
}

#[test]
fn a_watch_waits_for_nobody_who_finds() {
    let (lab, github) = (Lab::new(), Github::new());
    for n in ["here/a", "here/b"] {
        lab.repository(n, "sha1", "for i in 1 2; do echo $i > f; git add f; git commit -qm \"Set it to $i\"; done");
    }
    let settings = format!(
        "[watch]\nstore = \"store\"\nsources = [\"here\"]\ndiscover = true\n[discover]\norg = [\"o\"]\nretries = 0\nquiet = true\n\
         base-url = \"{}\"\nno-cache = true\n[mine]\nfetch-retries = 0\nfilter = \"none\"\n",
        github.url()
    );
    fs::write(lab.path("gitlode.toml"), settings).expect("it can be written");
    let is_current = || {
        let output = lab.gitlode(&["status", "store", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let list = status["repositories"].as_array().cloned().unwrap_or_default();
        list.len() == 2 && list.iter().all(|one| one["condition"] == "current")
    };
    // GitHub wants to be left alone for longer than anybody waits here.
    github.always(PAGE, Answer::new(429, "").header("Retry-After", "250"));
    let mut program = lab.program();
    program.args(["watch", "--config", "gitlode.toml"]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = program.spawn().expect("it starts");
    let begun = std::time::Instant::now();
    while !is_current() {
        assert!(begun.elapsed() < std::time::Duration::from_secs(90), "what is named is mined");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it can be told to stop");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    // It is out of order from the start, and nothing was ever found.
    fs::remove_dir_all(lab.path("store")).expect("a store");
    github.always(PAGE, Answer::new(500, "{}"));
    let output = lab.gitlode(&["watch", "--config", "gitlode.toml", "--once"]);
    let said = text(&output.stderr) + &text(&output.stdout);
    assert!(output.status.code() == Some(3) && said.contains("2 repositories, 1 failed"), "{said}");
    assert!(is_current() && said.contains("discover: failed: "), "{said}");
}

#[test]
fn a_watch_leaves_a_server_alone_for_as_long_as_it_says() {
    let (lab, github) = (Lab::new(), Github::new());
    github.always(PAGE, Answer::new(429, "").header("Retry-After", "3600"));
    let settings = format!(
        "[watch]\nstore = \"store\"\ndiscover = true\ndiscover-seconds = 1\nlisten = \"127.0.0.1:0\"\n[discover]\norg = [\"o\"]\n\
         retries = 0\nquiet = true\nbase-url = \"{}\"\nno-cache = true\n",
        github.url()
    );
    fs::write(lab.path("gitlode.toml"), settings).expect("it can be written");
    let mut program = lab.program();
    program.args(["watch", "--config", "gitlode.toml"]).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = program.spawn().expect("it starts");
    let mut said = BufReader::new(child.stderr.take().expect("piped")).lines();
    let line = said.find_map(|line| line.ok()?.split_once("listening on ").map(|(_, address)| address.to_owned()));
    let address = line.expect("an address");
    let metrics = || {
        let mut stream = TcpStream::connect(&address).expect("it listens");
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("a request");
        let mut page = String::new();
        stream.read_to_string(&mut page).expect("an answer");
        page
    };
    let begun = std::time::Instant::now();
    let told =
        ["gitlode_sources_unread 1", "gitlode_discover_failures_total 1", "gitlode_discover_rate_limit_remaining 0"];
    while !told.iter().all(|one| metrics().lines().any(|line| line == *one)) {
        assert!(begun.elapsed() < std::time::Duration::from_secs(60), "{}", metrics());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    // Others would have asked again three times by now.
    std::thread::sleep(std::time::Duration::from_secs(4));
    assert_eq!(github.targets(), [PAGE]);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it can be told to stop");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}
