use super::*;
use crate::verdict::Tally;

fn redactor(policy: Policy) -> Redactor {
    Redactor::new(TABLE, policy).expect("compiled-in rules")
}

/// A token of GitHub's form with its checksum, which the tests of the rules cover; in two parts, so that no scanner takes it
/// for a real one.
fn token() -> String {
    ["gh", "p_kifsmvT5Zn20o8Eaw2fjJz8eGXeRim0i6IN6"].concat()
}

fn other_token() -> String {
    ["gh", "o_764JXybCOGEoc00YJTHzKfruFUXFZF2RVAUz"].concat()
}

/// Old contents, new contents and message.
fn redact(policy: Policy, old: Option<&str>, new: Option<&str>, message: &str) -> Outcome {
    redactor(policy).redact([old, new, Some(message), message.lines().next(), None], &mut Memory::default())
}

#[test]
fn values_are_numbered_by_where_they_come_first() {
    let (a, b) = (token(), other_token());
    let old = format!("x = {b}\nmail = ann@corp.io\n");
    let new = format!("x = {b}\ny = {a}\nmail = bob@corp.io, Ann@corp.io\nhost = 54.23.12.9\n");
    let message = format!("Use {a} for bob@corp.io\n\nNot {b}, which <SECRET_1> was\n");
    let Outcome::Masked(redacted) = redact(Policy::all(Action::Mask), Some(&old), Some(&new), &message) else {
        panic!("it is masked");
    };
    let texts: Vec<&str> = redacted.texts.iter().flatten().map(String::as_str).collect();
    // SECRET_1 stands in the message already.
    assert_eq!(
        texts,
        [
            "x = <SECRET_2>\nmail = <EMAIL_1>\n",
            "x = <SECRET_2>\ny = <SECRET_3>\nmail = <EMAIL_2>, <EMAIL_1>\nhost = <IP_1>\n",
            "Use <SECRET_3> for <EMAIL_2>\n\nNot <SECRET_2>, which <SECRET_1> was\n",
            "Use <SECRET_3> for <EMAIL_2>",
        ]
    );
    let mut account = Masked::default();
    redactor(Policy::off()).count(&redacted, &mut account);
    let kinds: Vec<_> =
        account.kinds.iter().map(|(kind, masked)| (kind.as_str(), masked.rows, masked.values)).collect();
    assert_eq!(kinds, [("emails", 1, 2), ("ip_addresses", 1, 1), ("secrets", 1, 2)]);
    assert_eq!(account.secrets["github-token"], Tally { rows: 1, values: 2 });
}

#[test]
fn a_secret_is_masked_without_its_name_as_well() {
    let old = "password = \"x7BWr2drgd1QsO7j\"\n";
    let new = "connect(x7BWr2drgd1QsO7j)\n";
    let Outcome::Masked(redacted) = redact(Policy::all(Action::Mask), Some(old), Some(new), "Move x7BWr2drgd1QsO7j")
    else {
        panic!("it is masked");
    };
    let expected = ["password = \"<SECRET_1>\"\n", "connect(<SECRET_1>)\n", "Move <SECRET_1>", "Move <SECRET_1>"];
    assert_eq!(redacted.texts.iter().flatten().collect::<Vec<_>>(), expected);
}

#[test]
fn a_short_secret_is_masked_where_it_stands_alone() {
    let new = "redis://app:k7Vq9zLw@cache.internal:6379\n";
    let message = "Use k7Vq9zLw (not xk7Vq9zLw, k7Vq9zLw_2)";
    let Outcome::Masked(redacted) = redact(Policy::all(Action::Mask), None, Some(new), message) else {
        panic!("it is masked");
    };
    let message = "Use <SECRET_1> (not xk7Vq9zLw, k7Vq9zLw_2)";
    let expected = ["redis://app:<SECRET_1>@cache.internal:6379\n", message, message];
    assert_eq!(redacted.texts.iter().flatten().collect::<Vec<_>>(), expected);
}

/// Passwords of letters and digits, drawn by lot, where only their name gives them away.
#[test]
fn drawn_passwords_are_found_whatever_was_drawn() {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let redactor = redactor(Policy::all(Action::Mask));
    for (len, found_min) in [(12, 930), (14, 930), (16, 930)] {
        let found = (0..1000_u64).filter(|nth| {
            let drawn = |at: u64| LETTERS[(crate::dedup::words::mix(nth * 100 + at) % 62) as usize] as char;
            let text = format!("password = \"{}\"", (0..len).map(drawn).collect::<String>());
            let [_, found, ..] = redactor.find([None, Some(&text), None, None, None], &mut Memory::default());
            !found.is_empty()
        });
        let found = found.count();
        assert!(found >= found_min, "{found} of 1,000 of {len} characters");
    }
}

#[test]
fn policies_decide() {
    let mask = Policy::all(Action::Mask);
    let (a, b) = (token(), other_token());
    let (old, new) = (format!("x = {a}\n"), format!("x = {b}\n"));
    let both = format!("x = {a} ann@corp.io\n");
    let drop_of = |policy, old: &str, new: &str| match redact(policy, Some(old), Some(new), "Change it") {
        Outcome::Drop(rule, value) => format!("{rule}: {value}"),
        Outcome::Masked(_) => "masked".into(),
        Outcome::Clean => "clean".into(),
    };
    let of = |text: &'static str| Policy::parse(text.split(',')).expect("a policy");
    for (policy, old, new, expected) in [
        (mask, &*old, &*new, "secret_only: secrets"),
        (mask, "a@corp.io 54.23.12.9\n", "b@corp.io 54.23.12.19\n", "secret_only: emails, ip_addresses"),
        (mask, "a@corp.io\n", "a@corp.io\nb@corp.io\n", "masked"),
        (mask, "same\n", "other\n", "clean"),
        (of("off"), &old, &new, "clean"),
        (of("secrets=drop"), "x\n", &both, "redact_secrets: github-token in new_contents"),
        (of("drop,secrets=off"), "x\n", &both, "redact_emails: emails in new_contents"),
        (of("off,emails=mask"), "x\n", &both, "masked"),
        (of("emails=off,secrets=off"), "x\n", &both, "clean"),
    ] {
        assert_eq!(drop_of(policy, old, new), expected, "{policy:?} {old} {new}");
    }
    for wrong in ["secret=off", "secrets=maybe", "mask=off", ""] {
        assert!(Policy::parse([wrong]).is_err(), "{wrong}");
    }
    // A rename that changes nothing has the same values before and after, and stays.
    assert_eq!(drop_of(mask, &both, &both), "masked");
}

/// Lines of all sorts, of which texts are put together.
fn lines() -> Vec<String> {
    vec![
        "\n".into(),
        "fn main() {}\n".into(),
        format!("x = {}\n", token()),
        "ann@corp.io\n".into(),
        "54.23.12.9".into(),
        "version:\n".into(),
        "//\n".into(),
        "\"-----BEGIN PRIVATE KEY-----\n".into(),
        "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n".into(),
        "-----END PRIVATE KEY-----\n".into(),
        "password = \"x7BWr2drgd1QsO7j\"\n".into(),
        "x7BWr2drgd1QsO7j é".into(),
    ]
}

#[test]
fn what_both_texts_have_is_found_as_if_it_was_looked_at_twice() {
    let (redactor, lines) = (redactor(Policy::all(Action::Mask)), lines());
    let mut memory = Memory::default();
    let mut seed: u64 = 1;
    let mut next = |most: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % most
    };
    let mut last = String::new();
    for case in 0..2000 {
        // Mostly the file before is the last row's file after.
        let old = if case % 5 > 0 { last.clone() } else { (0..next(9)).map(|_| lines[next(12)].as_str()).collect() };
        let mut parts: Vec<&str> = old.split_inclusive('\n').collect();
        for _ in 0..next(3) {
            parts.insert(next(parts.len() + 1), lines[next(12)].as_str());
        }
        if parts.len() > 8 {
            parts.drain(..next(8));
        }
        let new = parts.concat();
        let texts = [Some(old.as_str()), Some(new.as_str()), None, None, None];
        let found = redactor.find(texts, &mut memory);
        for (text, found) in texts.into_iter().flatten().zip(found) {
            let mut whole = redactor.in_lines(text, 0..text.len());
            keys::find(text, &mut whole);
            redactor.join(&mut whole);
            assert_eq!(found, whole, "case {case}: {old:?} -> {new:?}");
        }
        last = new;
    }
}

#[test]
fn hostile_texts_end() {
    let redactor = redactor(Policy::all(Action::Mask));
    let big = |text: &str| text.repeat((1 << 18) / text.len());
    let secrets: String = (0..5_000).map(|n| format!("password = \"x7BWr2drgd1Q{n:06}\"\n")).collect();
    for text in [
        big("a"),
        big("token "),
        big("password=\"a1"),
        big("eyJ"),
        big("eyJ."),
        big("https://a:"),
        big("sk-proj-T3BlbkFJ"),
        big("-----BEGIN PRIVATE KEY-----\n"),
        big("-----BEGIN PRIVATE KEY-----MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g"),
        big("a@"),
        big("a@b.com"),
        big("54.23.12.9 "),
        big("1.1."),
        big("2a01::"),
        big("\n"),
        big("é"),
        secrets,
    ] {
        // Twice as long takes twice the time; a square would not end in the life of a test.
        let outcome = redactor.redact([None, Some(&text), Some(&text), None, None], &mut Memory::default());
        assert!(!matches!(outcome, Outcome::Drop(..)), "{}", &text[..20]);
    }
}

/// A labelled case: the text, and where its values are.
fn case(marked: &str) -> (String, Vec<Range<usize>>) {
    let (mut text, mut ranges, mut start) = (String::new(), Vec::new(), 0);
    for c in marked.replace("\\n", "\n").replace("\\\n", "\\n").replace('|', "").chars() {
        match c {
            '⟦' => start = text.len(),
            '⟧' => ranges.push(start..text.len()),
            c => text.push(c),
        }
    }
    (text, ranges)
}

#[test]
fn labelled_cases_are_told_apart() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/secrets.tsv");
    let table = std::fs::read_to_string(path).expect("the labelled cases");
    let redactor = redactor(Policy::all(Action::Mask));
    let (mut cases, mut hits, mut missed, mut wrong) = (0, Vec::new(), Vec::new(), Vec::new());
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let (kind, marked) = line.split_once('\t').expect("a kind and a text");
        assert!(kind == "-" || Kind::ALL.iter().any(|known| known.as_str() == kind), "{line}");
        let (text, expected) = case(marked);
        assert_eq!(expected.is_empty(), kind == "-", "{line}");
        let [_, found, ..] = redactor.find([None, Some(&text), None, None, None], &mut Memory::default());
        let is_hit = |value: &&Value| value.kind.as_str() == kind && expected.contains(&value.range);
        let of_line: Vec<&Range<usize>> = found.iter().filter(is_hit).map(|value| &value.range).collect();
        missed.extend(expected.iter().filter(|range| !of_line.contains(range)).map(|_| line));
        wrong.extend(found.iter().filter(|value| !is_hit(value)).map(|value| format!("{line}: {value:?}")));
        hits.extend(of_line.iter().map(|_| line));
        cases += 1;
    }
    let (found, absent, false_alarms) = (hits.len() as f64, missed.len() as f64, wrong.len() as f64);
    let (precision, recall) = (found / (found + false_alarms), found / (found + absent));
    println!("{cases} cases, {found} found: precision {precision:.3}, recall {recall:.3}");
    println!("missed: {missed:#?}\nwrong: {wrong:#?}");
    assert!(cases >= 300 && precision >= 0.98 && recall >= 0.95, "precision {precision:.3}, recall {recall:.3}");
}
