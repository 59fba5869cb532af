//! Examples of what a rule keeps and drops: how they are read, and whether they hold.

use super::{Field, LicenseScope, Ruleset, Value, View, ruleset::Action};

/// Reads an example of a rule that looks at `fields`: what is known of a candidate.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn example(value: toml::Value, fields: &[Field]) -> Result<Vec<(Field, toml::Value)>, String> {
    match value {
        toml::Value::Table(mut table) => {
            // `times` repeats all texts, for bounds that nobody would write out.
            if let Some(times) = table.remove("times") {
                let times = times.as_integer().and_then(|times| usize::try_from(times).ok());
                let times = times.ok_or("`times` is not a number from 0 on")?;
                for (_, value) in table.iter_mut() {
                    if let toml::Value::String(text) = value {
                        *text = text.repeat(times.min(1_000_000));
                    }
                }
            }
            table.into_iter().map(|(name, value)| Ok((Field::named(&name)?, value))).collect()
        }
        value => {
            let mut distinct = fields.to_vec();
            distinct.sort();
            distinct.dedup();
            match &distinct[..] {
                [field] => Ok(vec![(field.clone(), value)]),
                _ => Err("the rule looks at several fields, so its examples are tables: { subject = \"…\", … }".into()),
            }
        }
    }
}

/// Runs the examples of every rule, each rule by itself; what fails, in words.
pub fn verify_examples(ruleset: &Ruleset) -> Vec<String> {
    let mut failed = Vec::new();
    for rule in ruleset.rules() {
        for example in &rule.examples {
            let view = ExampleView(&example.values);
            let text = |field| match view.value(field) {
                Value::Text(text) => text.into_owned(),
                _ => String::new(),
            };
            let (subject, message) = (text(&Field::Subject), text(&Field::Message));
            let message = if message.is_empty() { text(&Field::MessageChomped) } else { message };
            let no_rules = Ruleset::new(String::new(), String::new(), LicenseScope::Commit, Vec::new(), String::new());
            let texts = no_rules.texts(&*subject, &*message);
            let word = match rule.holds(&view, &texts) {
                Ok(holds) if holds == example.keep => continue,
                Ok(true) => "keeps what it must drop".to_owned(),
                Ok(false) => "drops what it must keep".to_owned(),
                Err(failure) => format!("the expression fails ({failure})"),
            };
            let values = example.values.iter().map(|(field, value)| format!("{} = {value}", field.name()));
            let values = values.collect::<Vec<_>>().join(", ");
            failed.push(format!("{}: rule {}: {word}: {values}", rule.place, rule.id));
        }
        if let Action::Rewrite(..) = &rule.action {
            for (from, to) in &rule.rewrites {
                let one =
                    Ruleset::new(String::new(), String::new(), LicenseScope::Commit, vec![rule.clone()], String::new());
                let texts = one.texts(from, from);
                let got = match &rule.action {
                    Action::Rewrite(Field::Subject, _) => texts.last_subject(),
                    _ => texts.last_message(),
                };
                if got != to {
                    failed.push(format!("{}: rule {}: {from:?} becomes {got:?}, not {to:?}", rule.place, rule.id));
                }
            }
        }
    }
    failed
}

/// A candidate of which only an example's values are known.
struct ExampleView<'a>(&'a [(Field, toml::Value)]);

impl View for ExampleView<'_> {
    fn value(&self, field: &Field) -> Value<'_> {
        match self.0.iter().find(|(known, _)| known == field).map(|(_, value)| value) {
            Some(toml::Value::String(text)) => Value::from(text.as_str()),
            Some(toml::Value::Integer(number)) => Value::Number(*number as f64),
            Some(toml::Value::Float(number)) => Value::Number(*number),
            Some(toml::Value::Boolean(flag)) => Value::Flag(*flag),
            _ => Value::Missing,
        }
    }

    /// Examples of a policy name the licences of which the policy's own tests are about; here MIT stands for all that
    /// pass and the GPL for all that do not.
    fn policy_takes(&self, _: &str) -> bool {
        matches!(self.value(&Field::LicenseSpdx), Value::Text(text) if text == "MIT")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::filter::load;

    #[test]
    fn texts_are_repeated_so_many_times() {
        let read = |times: &str| {
            let table: toml::Table = format!("subject = \"ab\"\ntimes = {times}").parse().expect("a table");
            example(toml::Value::Table(table), &[]).map(|values| values[0].1.to_string())
        };
        assert_eq!(read("2"), Ok("\"abab\"".into()));
        for wrong in ["-1", "1.5", "\"2\""] {
            assert!(read(wrong).is_err_and(|reason| reason.contains("times")), "{wrong}");
        }
    }

    #[test]
    fn a_distance_is_shown_as_far_as_it_was_counted() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("f.toml");
        let text = "id = \"x\"\nwhy = \"y\"\n[[rule]]\nid = \"r\"\nwhy = \"z\"\nedit_distance = { max = 3 }\n";
        fs::write(&path, text).expect("it can be written");
        let ruleset = load(path.to_str().expect("UTF-8")).expect("it is valid");
        let (rule, texts) = (&ruleset.rules()[0], ruleset.texts("", ""));
        for (new, shown) in [("ab", "1"), ("abcd", "3"), ("abcdef", "4 or more"), ("abcdefgh", "4 or more")] {
            let values = [(Field::OldContents, "a".into()), (Field::NewContents, new.into())];
            assert_eq!(rule.observe(&ExampleView(&values), &texts).0, shown, "{new}");
        }
    }

    #[test]
    fn an_expression_that_fails_drops_and_is_counted() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("f.toml");
        for demand in ["expr = \"generated | matches('a')\"", "not = { expr = \"generated | matches('a')\" }"] {
            let text = format!(
                "id = \"x\"\nwhy = \"y\"\n[[rule]]\nid = \"r\"\nwhy = \"z\"\n{demand}\nkeep = [{{ subject = \"a\" }}]\n"
            );
            fs::write(&path, text).expect("it can be written");
            let ruleset = load(path.to_str().expect("UTF-8")).expect("it is valid");
            let (rule, texts) = (&ruleset.rules()[0], ruleset.texts("a", "a"));
            let (there, missing) = ([(Field::Generated, "b".into())], []);
            assert_eq!(rule.holds(&ExampleView(&there), &texts).ok(), Some(demand.starts_with("not")));
            assert!(rule.objects(&ExampleView(&missing), &texts), "{demand}");
            assert_eq!(ruleset.failures().iter().map(|(rule, n)| (&*rule.id, *n)).collect::<Vec<_>>(), [("r", 1)]);
            let (value, _) = rule.observe(&ExampleView(&missing), &texts);
            assert!(value.starts_with("the expression fails: "), "{value}");
            assert!(verify_examples(&ruleset)[0].contains("the expression fails"));
        }
    }
}
