//! The report: its numbers are those of the store, hostile texts stay text, the same bytes every time, and what a browser
//! makes of it.
//!
//! `scripts/chromium.sh` installs the browser, as `scripts/test.sh` does. Without it these tests fail, since what was not
//! looked at was not tested; who can't have it says so with GITLODE_WITHOUT_CHROMIUM=1.

mod support;

use std::{collections::BTreeMap, fs, io::Read as _, path::Path, process::Command};

use serde_json::Value;
use support::Lab;

/// Two files with histories, one of which a licence covers, a copy that is a duplicate, and commits that rules drop.
const HISTORY: &str = r#"
    echo 'Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
        documentation files, to deal in it without restriction. The above copyright notice and this permission notice shall be included.' > LICENSE
    seq 30 | sed 's|$| of NAME|' > a.rs; cp a.rs b.py; git add .; git commit -qm 'Add the files of NAME'
    for n in 1 2 3 4 5; do
        sed -i "s/^$n of/changed $n of/" a.rs; git commit -qam "Change line $n of the file in NAME" --date "$((2015 + n))-05-05T00:00:00Z"
        GIT_COMMITTER_DATE="$((2015 + n))-05-05T00:00:00Z" git commit -q --amend --no-edit
        sed -i "s/^2$n of/changed 2$n of/" b.py; git commit -qam "x$n"
    done
    cp a.rs copy.rs; git add .; git commit -qm 'Copy a file'; sed -i 's/^9 of/changed 9 of/' a.rs copy.rs; git commit -qam 'Change both files in the same way'
"#;

fn four(lab: &Lab, more: &[&str]) {
    for name in ["tokio", "redis", "git", "ripgrep"] {
        lab.repository(name, "sha1", &HISTORY.replace("NAME", name));
    }
    lab.mine("tokio", "store", &[&["redis", "git", "ripgrep"], more].concat());
}

fn report(lab: &Lab, store: &str, out: &str, more: &[&str]) -> String {
    lab.ok(&[&["report", store, "--out", out, "-q"], more].concat());
    fs::read_to_string(lab.path(out)).expect("a page")
}

/// The text between `from` and the next `to` behind it.
fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = text.split_once(from).unwrap_or_else(|| panic!("{from} is not in {text:.2000}"));
    rest.split_once(to).unwrap_or_else(|| panic!("{to} is not behind {from}")).0
}

fn without_tags(html: &str) -> String {
    let mut text = String::new();
    for (at, part) in html.split('<').enumerate() {
        text.push_str(if at == 0 { part } else { part.split_once('>').map_or("", |(_, text)| text) });
    }
    text
}

fn number(text: &str) -> u64 {
    text.replace([',', '−'], "").parse().unwrap_or_else(|_| panic!("{text} is no number"))
}

/// Rows of the table in the section `id`, by name: the numbers in them.
fn table(html: &str, id: &str) -> BTreeMap<String, Vec<u64>> {
    let section = between(html, &format!("<section id=\"{id}\">"), "</section>");
    let body = between(section, "<tbody>", "</tbody>");
    let rows = body.split("<tr").skip(1).map(|row| {
        let name = without_tags(between(row, "<th>", "</th>"));
        (name, row.split("<td class=\"n\">").skip(1).map(|cell| number(cell.split('<').next().unwrap_or(""))).collect())
    });
    rows.collect()
}

/// The bars of the figure `id`, by name.
fn bars(html: &str, id: &str) -> BTreeMap<String, u64> {
    let figure = between(html, &format!("<figure id=\"{id}\">"), "</figure>");
    let texts: Vec<String> =
        figure.split("<text").skip(1).map(|text| between(text, ">", "</text>").to_owned()).collect();
    texts.chunks(3).map(|bar| (bar[0].clone(), number(&bar[1]))).collect()
}

fn counted(rows: &[Value], of: impl Fn(&Value) -> String) -> BTreeMap<String, u64> {
    rows.iter().fold(BTreeMap::new(), |mut counts, row| {
        *counts.entry(of(row)).or_default() += 1;
        counts
    })
}

fn text(row: &Value, column: &str) -> String {
    row[column].as_str().unwrap_or("unknown").to_owned()
}

/// Demands that the figures of `html` are those of `rows`.
fn check_figures(html: &str, rows: &[Value]) {
    assert_eq!(bars(html, "languages"), counted(rows, |row| text(row, "lang")));
    assert_eq!(bars(html, "repositories"), counted(rows, |row| text(row, "repos")));
    assert_eq!(bars(html, "kinds"), counted(rows, |row| text(row, "kind")));
    assert_eq!(bars(html, "authors"), counted(rows, |row| text(row, "author_kind")));
    assert_eq!(bars(html, "messages"), counted(rows, |row| text(row, "message_language")));
    assert_eq!(bars(html, "licences"), counted(rows, |row| text(row, "license_spdx")));
    for id in ["classes", "subjects", "contents", "lines"] {
        assert_eq!(bars(html, id).values().sum::<u64>(), rows.len() as u64, "{id}");
    }
    let changed = |row: &Value| row["additions"].as_u64().expect("lines") + row["deletions"].as_u64().expect("lines");
    let two = rows.iter().filter(|row| changed(row) == 2).count() as u64;
    assert!(two > 0 && bars(html, "lines")["2"] == two, "{two} rows with two lines");
    let years = between(html, "<figure id=\"years\">", "</figure>");
    let of_2018 = rows
        .iter()
        .filter(|row| (1_514_764_800..1_546_300_800).contains(&row["commit_time"].as_i64().expect("a time")));
    assert!(years.contains(&format!("rotate(-90)\">{}</text>", of_2018.count())), "{years}");
}

#[test]
fn its_numbers_are_those_of_stats_and_of_the_rows() {
    let lab = Lab::new();
    four(&lab, &["--filter", "commitpack"]);
    let html = report(&lab, "store", "report.html", &[]);
    let funnel = serde_json::from_str::<Value>(&lab.ok(&["stats", "store", "--json"])).expect("JSON")["funnel"].clone();
    let count = |unit: &str, of: &[&str]| of.iter().fold(&funnel[unit], |value, key| &value[key]).as_u64().unwrap_or(0);
    let mut expected: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for of in ["candidates", "kept"] {
        expected.insert(of.to_owned(), vec![count("commits", &[of]), count("changes", &[of])]);
    }
    for of in ["dropped", "skipped"] {
        for unit in ["commits", "changes"] {
            for name in funnel[unit][of].as_object().expect("counts").keys() {
                let both = vec![count("commits", &[of, name]), count("changes", &[of, name])];
                expected.insert(format!("{of}: {name}"), both);
            }
        }
    }
    assert!(expected.keys().any(|name| name.starts_with("dropped")) && expected.len() > 5, "{expected:?}");
    assert_eq!(table(&html, "funnel"), expected);
    for (unit, id) in [("commits", "commits"), ("changes", "changes")] {
        let figure = between(&html, &format!("<figure id=\"{id}\">"), "</figure>");
        let sum = format!("{} = {} kept", count(unit, &["candidates"]), count(unit, &["kept"]));
        assert!(figure.contains(&sum) && figure.contains("it adds up"), "{figure}");
    }
    check_figures(&html, &lab.rows("store"));
    // Every rule has its reason and something to look at.
    for rule in html.split("<div class=\"rule\"").skip(1) {
        assert!(rule.contains("<p class=\"note\">") && rule.contains("<td class=\"mono\""), "{rule}");
    }
}

#[test]
fn what_was_assembled_is_told_and_left_out() {
    let lab = Lab::new();
    four(&lab, &[]);
    assert!(report(&lab, "store", "before.html", &[]).contains("Nothing looked for duplicates yet"));
    let assembly: Value =
        serde_json::from_str(&lab.ok(&["assemble", "store", "--json", "-q", "--cap-per-language", "30"]))
            .expect("JSON");
    let html = report(&lab, "store", "report.html", &[]);
    let rows = table(&html, "rows");
    let dropped = assembly["changes"]["dropped"].as_object().expect("rules");
    assert!(dropped.contains_key("exact_duplicate") || dropped.contains_key("near_duplicate"), "{dropped:?}");
    for (rule, n) in dropped {
        assert_eq!(rows[&format!("dropped: {rule}")], [n.as_u64().expect("a count")], "{rule}");
    }
    assert_eq!(rows["rows that stay"], [assembly["changes"]["kept"].as_u64().expect("a count")]);
    assert_eq!(
        html.split("<section id=\"dropped\">").nth(1).expect("it is there").matches("<article>").count(),
        4 * dropped.len().min(4)
    );
    lab.ok(&["export", "store", "out", "--assembled"]);
    let text = fs::read_to_string(lab.path("out/data/train-00000-of-00001.jsonl")).expect("rows");
    check_figures(&html, &text.lines().map(|line| serde_json::from_str(line).expect("a row")).collect::<Vec<_>>());
    // Another row, and what was decided is of another store.
    lab.script(&lab.path("git"), "echo more >> a.rs; git commit -qam 'Add a line to a file'");
    lab.mine("git", "store", &[]);
    let html = report(&lab, "store", "stale.html", &[]);
    assert!(html.contains("The store changed since it was assembled"));
    check_figures(&html, &lab.rows("store"));
}

#[test]
fn who_opted_out_is_neither_shown_nor_counted() {
    let lab = Lab::new();
    lab.repository("owner/git", "sha1", &HISTORY.replace("NAME", "SECRET"));
    lab.repository("tokio", "sha1", &HISTORY.replace("NAME", "tokio"));
    fs::write(lab.path("list.csv"), "path,name\nowner/git,owner/git\ntokio,tokio\n").expect("a list");
    lab.mine("@list.csv", "store", &["--filter", "commitpack"]);
    assert!(report(&lab, "store", "before.html", &["--examples", "99"]).contains("SECRET"));
    lab.mine("tokio", "blind", &["--filter", "commitpack", "--no-ledger"]);
    let blind = report(&lab, "blind", "blind.html", &[]);
    assert!(blind.contains("No examples: the ledger") && !blind.contains("class=\"mentions\""));
    fs::create_dir_all(lab.path("store/opt-out")).expect("a directory");
    fs::write(lab.path("store/opt-out/list"), "owner:owner\n").expect("a list");
    let html = report(&lab, "store", "report.html", &["--examples", "99"]);
    assert!(!html.contains("SECRET") && !bars(&html, "repositories").contains_key("owner/git"));
    assert!(table(&html, "rows")["dropped: opt_out"][0] > 0);
    check_figures(&html, &lab.rows("store"));
}

#[test]
fn the_same_store_is_the_same_page() {
    let lab = Lab::new();
    four(&lab, &["-j", "5"]);
    lab.mine("ripgrep", "other", &["-j", "1"]);
    lab.mine("git", "other", &["tokio", "redis", "-j", "2"]);
    let page = report(&lab, "store", "one.html", &[]);
    assert_eq!(report(&lab, "store", "two.html", &[]), page);
    assert_eq!(report(&lab, "other", "three.html", &[]), page, "mined in another order, on other threads");
    assert_ne!(report(&lab, "store", "four.html", &["--examples", "1"]), page);
}

/// Texts that want to be more than texts, in every place that a repository has for them.
const HOSTILE: &str = r#"
    evil='<script>alert(1)</script>"'"'"'><img src=x onerror=alert(2)>{{ 7*7 }}'
    name='<script>x<b>"&amp;.js'
    printf 'one\n' > "$name"; head -c 1000000 /dev/zero | tr '\0' 'a' > long.js; echo >> long.js; cp long.js big.js
    printf 'one\n\033[31mred\n' > control.js; mkdir -p 'a<style>*{display:none}'; cp control.js 'a<style>*{display:none}/s.js'
    printf 'x\n' > "$(printf 'turn\342\200\256sj.js')"; git add .; git commit -qm "Add files"
    printf 'two %s\n</span></div></main><!-- \n' "$evil" > "$name"; git commit -qam "Put $evil into a file"
    printf '\342\200\256 evil \342\201\246 bidi \357\273\277\342\200\213\n\033[2J\007\r\n' > control.js
    git commit -qam "$(printf 'Turn \342\200\256the text\342\201\246 \001\033[31m around')"
    head -c 1000000 /dev/zero | tr '\0' '<' > long.js; echo >> long.js; git commit -qam "Change a line of a million characters"
    printf 'y\n' > "$(printf 'turn\342\200\256sj.js')"; git commit -qam "Change a file whose name turns around"
    printf '\033]0;t\007<!--\n' > 'a<style>*{display:none}/s.js'; git commit -qam "Comment <!-- everything &lt;b&gt; out"
    printf 'two\n' > big.js; git commit -qam "$(head -c 60000 /dev/zero | tr '\0' '<')"
    printf 'three\n' > big.js; git commit -qam "<h1>x"
"#;

/// What drops all of it, with values in the ledger that are subjects and paths.
const RULES: &str = r#"
    id = "evil"
    why = "</pre><script>"
    [[rule]]
    id = "script"
    why = "</p><script>why"
    not = { field = "subject", contains = "<h1>" }
    [[rule]]
    id = "path"
    why = "No script."
    not = { field = "new_file", ends_with = ".js" }
"#;

#[test]
fn hostile_texts_stay_text() {
    let lab = Lab::new();
    lab.repository("evil", "sha1", HOSTILE);
    // Half of it becomes rows, the other half entries of a ledger.
    lab.mine("evil", "store", &[]);
    fs::write(lab.path("evil.toml"), RULES).expect("rules");
    lab.mine("evil", "dropped", &["--filter", "evil.toml"]);
    for store in ["store", "dropped"] {
        let title = "</title><script>\u{202e}\u{1b}";
        let html = report(&lab, store, &format!("{store}.html"), &["--examples", "99", "--title", title]);
        let unseen = |c: char| {
            c.is_control() && !matches!(c, '\n' | '\t')
                || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200b}' | '\u{feff}')
        };
        assert!(!html.contains(unseen), "{store}: {:?}", html.chars().find(|c| unseen(*c)));
        assert!(html.len() < 200_000, "{store}: {} bytes", html.len());
        check_tags(&html);
        let parts = match store {
            "store" => [
                "Put &lt;script&gt;alert(1)&lt;&#x2f;script&gt;",
                "{{ 7*7 }}",
                "Turn [U+202E]the text[U+2066] [U+0001][U+001B][31m around",
                "turn[U+202E]sj.js",
                "<i> … 999,701 more characters</i>",
                "[U+001B][2J[U+0007][U+000D]",
            ],
            _ => [
                "<td>&lt;h1&gt;</td><td>not: subject contains",
                "&lt;&#x2f;p&gt;&lt;script&gt;why",
                "turn[U+202E]sj.js",
                "a&lt;style&gt;*{display:none}&#x2f;s.js",
                "&lt;script&gt;x&lt;b&gt;&quot;&amp;amp;.js",
                "&quot;filter&quot;:&quot;evil.toml&quot;",
            ],
        };
        for part in parts {
            assert!(
                html.contains(part),
                "{store}: {part} is not in {}",
                html.split("id=\"kept\"").last().unwrap_or("")
            );
        }
        if let Some(dom) = dom(&lab, &format!("{store}.html")) {
            check_tags(&dom);
            assert_eq!(dom.matches("<article").count(), html.matches("<article").count());
        }
    }
    // The card and the figures of an export are made of the same names.
    lab.ok(&["export", "store", "out", "--format", "hf"]);
    for figure in fs::read_dir(lab.path("out/figures")).expect("figures") {
        let svg = fs::read_to_string(figure.expect("an entry").path()).expect("a figure");
        assert!(!svg.contains("<script"), "{svg}");
    }
}

/// Demands that `html` has the template's elements and no others.
fn check_tags(html: &str) {
    const KNOWN: &str = "a article b body code div figure footer h1 h2 h3 h4 head header html i line main meta p pre rect section \
                         small span style svg table tbody td text th thead title tr";
    for tag in html.split('<').skip(1) {
        let tag = tag.trim_start_matches('/');
        let name = tag.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        assert!(
            tag.starts_with("!doctype")
                || tag.starts_with("!DOCTYPE")
                || KNOWN.split_whitespace().any(|known| known == name),
            "<{tag:.60}"
        );
        let attributes = tag.split('>').next().unwrap_or_default();
        assert!(!attributes.contains(" on") && !attributes.contains("src="), "<{attributes}>");
    }
}

/// Runs the browser on a page of the lab; none where the user can't have one.
fn chromium(lab: &Lab, page: &str, arguments: &[&str]) -> Option<Vec<u8>> {
    let program = std::env::var_os("GITLODE_CHROMIUM").unwrap_or_else(|| "chromium".into());
    let profile = lab.path("profile");
    let mut command = Command::new(&program);
    command
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(arguments)
        .arg(format!("file://{}", lab.path(page).display()))
        .current_dir(lab.dir.path());
    match command.output() {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Some(output.stdout)
        }
        Err(error) => {
            let why = format!(
                "{} does not run ({error}), so no page was looked at: run scripts/chromium.sh",
                program.display()
            );
            assert!(std::env::var_os("GITLODE_WITHOUT_CHROMIUM").is_some(), "{why}");
            eprintln!("SKIPPED: {why}");
            None
        }
    }
}

fn dom(lab: &Lab, page: &str) -> Option<String> {
    chromium(lab, page, &["--dump-dom"]).map(|dom| String::from_utf8(dom).expect("text"))
}

/// Width and pixels of a PNG as the browser writes it: 8 bits, three colours, not interlaced.
fn pixels(png: &Path) -> (usize, Vec<[u8; 3]>) {
    let file = fs::read(png).expect("a picture");
    let word = |at: usize| u32::from_be_bytes(file[at..at + 4].try_into().expect("four bytes")) as usize;
    let (width, height) = (word(16), word(20));
    assert_eq!(file[24..29], [8, 2, 0, 0, 0], "8 bits, RGB, not interlaced");
    let (mut at, mut packed) = (8, Vec::new());
    while at < file.len() {
        let length = word(at);
        if &file[at + 4..at + 8] == b"IDAT" {
            packed.extend_from_slice(&file[at + 8..at + 8 + length]);
        }
        at += length + 12;
    }
    let mut raw = Vec::new();
    flate2::read::ZlibDecoder::new(&packed[..]).read_to_end(&mut raw).expect("zlib");
    let stride = width * 3;
    let mut lines: Vec<Vec<u8>> = vec![vec![0; stride]];
    for line in raw.chunks(stride + 1) {
        let mut out = line[1..].to_vec();
        let above = lines.last().expect("there is one");
        for x in 0..stride {
            let (left, corner) = if x < 3 { (0, 0) } else { (out[x - 3], above[x - 3]) };
            let up = above[x];
            let guess = i16::from(left) + i16::from(up) - i16::from(corner);
            let paeth = [left, up, corner].into_iter().min_by_key(|near| (guess - i16::from(*near)).abs()).unwrap_or(0);
            let add = [0, left, up, ((u16::from(left) + u16::from(up)) / 2) as u8, paeth][usize::from(line[0])];
            out[x] = out[x].wrapping_add(add);
        }
        lines.push(out);
    }
    assert_eq!(lines.len(), height + 1);
    (width, lines[1..].concat().chunks(3).map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect())
}

#[test]
fn a_browser_shows_it() {
    let lab = Lab::new();
    four(&lab, &["--filter", "commitpack"]);
    let html = report(&lab, "store", "report.html", &[]);
    let Some(dom) = dom(&lab, "report.html") else { return };
    // What the browser made of it has the same texts and figures, each figure with a size.
    assert_eq!(table(&dom, "funnel"), table(&html, "funnel"));
    check_figures(&dom, &lab.rows("store"));
    for figure in dom.split("<svg ").skip(1) {
        let size = |name: &str| number(between(figure, &format!(" {name}=\""), "\""));
        assert!(size("width") >= 300 && size("height") >= 20 && figure.contains("<rect"), "{figure:.300}");
    }
    assert_eq!(dom.matches("<svg ").count(), 13);
    for (theme, setting, paper) in [("light", "1", [255, 255, 255]), ("dark", "0", [0x14, 0x17, 0x1c])] {
        for (width, height) in [(1200, 2400), (390, 3000)] {
            let picture = lab.path(&format!("{theme}-{width}.png"));
            let arguments = [
                format!("--blink-settings=preferredColorScheme={setting}"),
                format!("--screenshot={}", picture.display()),
                format!("--window-size={width},{height}"),
            ];
            chromium(&lab, "report.html", &arguments.each_ref().map(String::as_str));
            let (found, pixels) = pixels(&picture);
            assert_eq!(found, width, "{theme}");
            let mut colours: BTreeMap<[u8; 3], usize> = BTreeMap::new();
            for pixel in &pixels {
                *colours.entry(*pixel).or_default() += 1;
            }
            let part = |colour: [u8; 3]| colours.get(&colour).copied().unwrap_or(0) * 100 / pixels.len();
            assert!((40..98).contains(&part(paper)), "{theme} {width}: {} % are paper", part(paper));
            let (tint, accent) = if theme == "light" {
                ([0xd9, 0xe7, 0xf6], [0x2f, 0x6f, 0xb4])
            } else {
                ([0x23, 0x3b, 0x55], [0x6a, 0xa9, 0xe9])
            };
            assert!(
                colours.contains_key(&tint) && colours.contains_key(&accent) && colours.len() > 50,
                "{theme} {width}: bars and texts"
            );
            // Something is drawn in every fifth of the height, so nothing hides the rest of the page.
            for fifth in pixels.chunks(pixels.len() / 5) {
                assert!(fifth.iter().any(|pixel| *pixel != paper), "{theme} {width}: a fifth is blank");
            }
        }
    }
}

#[test]
fn nothing_is_written_where_something_is_wrong() {
    let lab = Lab::new();
    four(&lab, &[]);
    fs::write(lab.path("there.html"), "mine").expect("a file");
    for (args, code, reason) in [
        (["report", "store", "--out", "there.html"], 2, "exists already"),
        (["report", "store", "--out", "no/where.html"], 2, "in a directory that is there"),
        (["report", "store", "--out", "store"], 2, "exists already"),
        (["report", "tokio", "--out", "new.html"], 5, "not a gitlode store"),
    ] {
        let output = lab.gitlode(&args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && said.contains(reason), "{args:?}: {said}");
        assert!(!lab.path("new.html").exists());
    }
    assert_eq!(fs::read_to_string(lab.path("there.html")).expect("a file"), "mine");
    assert!(report(&lab, "store", "there.html", &["--force"]).starts_with("<!doctype html>"));
    // A damaged segment ends it, and what is there stays.
    let page = fs::read(lab.path("there.html")).expect("a page");
    for entry in fs::read_dir(lab.path("store/repositories")).expect("repositories") {
        for file in fs::read_dir(entry.expect("an entry").path()).expect("files") {
            let path = file.expect("an entry").path();
            if path.to_string_lossy().ends_with("000000.arrow") {
                let bytes = fs::read(&path).expect("a segment");
                fs::write(&path, &bytes[..bytes.len() / 2]).expect("it can be cut");
            }
        }
    }
    let output = lab.gitlode(&["report", "store", "--out", "there.html", "--force"]);
    assert_eq!(output.status.code(), Some(5), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::read(lab.path("there.html")).expect("a page"), page);
}

#[test]
fn a_page_without_room_leaves_nothing() {
    let lab = Lab::new();
    four(&lab, &[]);
    fs::write(lab.path("there.html"), "mine").expect("a file");
    for out in ["new.html", "there.html"] {
        // Files of 4 KiB at most: a page is longer.
        let mut limited = Command::new("sh");
        limited.args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" report store --force --out \"$1\""]);
        let program = lab.program();
        limited.arg(program.get_program()).arg(out).current_dir(lab.dir.path());
        let output = limited.output().expect("sh runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains("File too large"), "{out}: {said}");
        assert!(!lab.path(&format!("{out}.tmp")).exists(), "{out}");
    }
    assert!(!lab.path("new.html").exists());
    assert_eq!(fs::read_to_string(lab.path("there.html")).expect("a file"), "mine");
}

#[test]
fn an_interrupted_report_leaves_what_was_there() {
    let lab = Lab::new();
    four(&lab, &[]);
    let names = || -> Vec<String> {
        let entries = fs::read_dir(lab.dir.path()).expect("a directory");
        let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with("out")).collect()
    };
    let whole = report(&lab, "store", "whole.html", &[]);
    for before in [None, Some("the page of before")] {
        let mut interrupted = 0;
        for (signal, pause) in [("TERM", 0), ("TERM", 4), ("TERM", 16), ("KILL", 2), ("KILL", 12)] {
            before.iter().for_each(|text| fs::write(lab.path("out.html"), text).expect("a file"));
            let mut program = lab.program();
            program.args(["report", "store", "--out", "out.html", "--force", "-q"]);
            let mut child = program.spawn().expect("it runs");
            std::thread::sleep(std::time::Duration::from_millis(pause));
            Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().expect("kill runs");
            let code = child.wait().expect("the child ends").code();
            let page = fs::read_to_string(lab.path("out.html")).ok();
            let is_old = page.as_deref() == before;
            match code {
                Some(0) => assert!(page.as_deref() == Some(&*whole)),
                // A process that was killed may have been about to end.
                None => assert!(is_old || page.as_deref() == Some(&*whole)),
                code => assert!(is_old && code == Some(130), "{code:?}"),
            }
            interrupted += usize::from(code != Some(0));
            for name in names() {
                assert!(name == "out.html" || code.is_none(), "{name} is left");
                fs::remove_file(lab.path(&name)).expect("it can be removed");
            }
        }
        assert!(interrupted > 0, "it was never interrupted");
    }
}

#[test]
fn an_empty_store_has_a_page() {
    let lab = Lab::new();
    lab.repository("r", "sha1", "echo x > a.rs; git add .; git commit -qm 'Add a file that nobody changes'");
    lab.mine("r", "store", &[]);
    let html = report(&lab, "store", "report.html", &[]);
    assert_eq!(table(&html, "rows")["rows that stay"], [0]);
    assert!(html.contains("There are none.") && html.contains("No rule dropped anything."));
}
