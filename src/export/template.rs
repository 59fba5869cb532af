//! Templates: how a row becomes a prompt and a completion, and how both are read back. Templates are data
//! (`filters/templates/`), and so are models' chat templates. Reads no store and writes no file.
//!
//! What a template makes of a row is read back with its **skeleton**: the same template rendered with a mark in the place of
//! each text. The literals between the marks say where a text begins and ends, as they say it to any other reader.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use minijinja::{Environment, UndefinedBehavior, Value, syntax::SyntaxConfig, value::from_args};
use regex::Regex;
use serde::Deserialize;
use toml::Spanned;

use super::edit::Edit;

/// Steps that the template may take for one row.
const FUEL: u64 = 100_000;

/// Stands on both sides of a number in a skeleton. Of the private use area, so no template has it.
const MARK: char = '\u{f8ff}';

/// Texts of a row that a template may name. Where they stand in prompt and completion, they are found again.
pub const TEXTS: [&str; 10] =
    ["subject", "message", "old_contents", "new_contents", "diff", "edit", "old_file", "new_file", "file_name", "repo"];

const OLD_CONTENTS: usize = 2;
const DIFF: usize = 4;
const EDIT: usize = 5;

/// Functions of minijinja.
const FUNCTIONS: [&str; 3] = ["dict", "namespace", "range"];

/// What a template may name beside [`TEXTS`].
const FACTS: [&str; 5] = ["lang", "language", "half", "fence", "chars"];

macro_rules! templates {
    ($($name:literal),+ $(,)?) => {
        /// The templates that are compiled in, with their texts.
        pub const TEMPLATES: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../filters/templates/", $name, ".toml")))),+];
    };
}

templates! {
    "commit-message", "humanevalpack-explain", "humanevalpack-fix", "line-diff", "octocoder", "santacoder",
    "search-replace", "starcoder", "starcoder2", "unified-diff",
}

/// What can be wrong with a template.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error("{path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}: {reason}")]
    Invalid { path: PathBuf, reason: String },
    #[error("{path}, line {line}: {reason}")]
    Template { path: PathBuf, line: usize, reason: String },
    #[error("the example {number} of {path} gives another {what}: {found:?} instead of {expected:?}")]
    Example { path: PathBuf, number: usize, what: &'static str, found: String, expected: String },
}

/// A template as its file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawTemplate {
    id: String,
    why: String,
    #[serde(default)]
    task_type: String,
    edit: Edit,
    #[serde(default)]
    only: Option<String>,
    #[serde(default)]
    special: Vec<String>,
    prompt: Spanned<String>,
    completion: Spanned<String>,
    #[serde(default)]
    example: Vec<Example>,
}

/// A row of a template's file, and what the template makes of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Example {
    #[serde(default)]
    pub subject: String,
    #[serde(default)]
    pub message: String,
    #[serde(default)]
    pub file: String,
    #[serde(default)]
    pub lang: String,
    #[serde(default)]
    pub half: bool,
    #[serde(default)]
    pub old_contents: String,
    #[serde(default)]
    pub new_contents: String,
    /// The hunks.
    #[serde(default)]
    pub diff: String,
    /// What is expected.
    pub prompt: String,
    /// What is expected.
    pub completion: String,
}

impl Example {
    fn values(&self, edit: Edit) -> Option<Values<'_>> {
        let (old, new) = (self.old_contents.as_str(), self.new_contents.as_str());
        let text = match edit {
            Edit::Message => self.message.trim_end().to_owned(),
            Edit::Subject => self.subject.clone(),
            _ => edit.write(old, new, &self.diff)?,
        };
        let texts = [
            &self.subject,
            &self.message,
            old,
            new,
            &self.diff,
            "",
            &self.file,
            &self.file,
            file_name(&self.file),
            "owner/name",
        ];
        Some(Values { texts, edit: text, lang: &self.lang, language: "", half: self.half })
    }
}

/// The part of a path behind the last slash.
pub fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// What a template sees of a row.
pub struct Values<'a> {
    /// In order of [`TEXTS`]; the place of `edit` is not looked at.
    pub texts: [&'a str; TEXTS.len()],
    /// The edit.
    pub edit: String,
    /// CommitPack's language.
    pub lang: &'a str,
    /// Linguist's language.
    pub language: &'a str,
    /// Whether the row is of the half that an even draw chooses.
    pub half: bool,
}

impl Values<'_> {
    fn text(&self, at: usize) -> &str {
        if at == EDIT { &self.edit } else { self.texts[at] }
    }

    /// More backticks than there are anywhere in a row, three at least: CommonMark's fence.
    fn fence(&self) -> String {
        let longest = |text: &str| {
            let (mut longest, mut run, mut next) = (0, 0, 0);
            for at in memchr::memchr_iter(b'`', text.as_bytes()) {
                run = if at == next { run + 1 } else { 1 };
                (longest, next) = (longest.max(run), at + 1);
            }
            longest
        };
        let ticks = (0..TEXTS.len()).map(|at| longest(self.text(at))).max().unwrap_or(0);
        "`".repeat((ticks + 1).max(3))
    }
}

/// A prompt and its completion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// What the model is given.
    pub prompt: String,
    /// What it is to say.
    pub completion: String,
}

/// A template that was checked.
pub struct Template {
    /// Its name.
    pub id: String,
    /// What it is and where it is from.
    pub why: String,
    /// The kind of task, for formats that name it.
    pub task_type: String,
    /// What its completion holds.
    pub edit: Edit,
    /// BLAKE3 of its text, 16 digits.
    pub digest: String,
    /// Its first example.
    pub example: Example,
    only: Option<Regex>,
    special: Vec<String>,
    uses: BTreeSet<String>,
    environment: Environment<'static>,
}

/// Nothing is escaped, and a line feed at the end stays: training text is not HTML.
fn environment(undefined: UndefinedBehavior, is_chat: bool) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(FUEL));
    environment.set_undefined_behavior(undefined);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    let syntax = SyntaxConfig::builder()
        .keep_trailing_newline(!is_chat)
        // As transformers sets up Jinja for chat templates.
        .trim_blocks(is_chat)
        .lstrip_blocks(is_chat)
        .build();
    environment.set_syntax(syntax.expect("delimiters are the usual ones"));
    environment
}

impl Template {
    /// The template of that name, or else in the file of that path.
    ///
    /// # Errors
    /// There is none, it is not as a template has to be, or an example is wrong.
    pub fn find(name: &str) -> Result<Self, Error> {
        if let Some((_, text)) = TEMPLATES.iter().find(|(known, _)| *known == name) {
            return Template::parse(Path::new(&format!("filters/templates/{name}.toml")), text);
        }
        let path = Path::new(name);
        let text = fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        Template::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let invalid = |reason: String| Error::Invalid { path: path.to_owned(), reason };
        let raw = toml::from_str(text).map_err(|e| invalid(e.to_string().trim_end().to_owned()))?;
        Template::of(path, text, raw)
    }

    /// A template out of the text of a file.
    ///
    /// # Errors
    /// As [`Template::find`].
    pub fn of(path: &Path, text: &str, raw: RawTemplate) -> Result<Self, Error> {
        let invalid = |reason: String| Error::Invalid { path: path.to_owned(), reason };
        let mut environment = environment(UndefinedBehavior::Strict, false);
        let mut uses = BTreeSet::new();
        let mut uses_of_part =
            [("prompt", &raw.prompt, BTreeSet::new()), ("completion", &raw.completion, BTreeSet::new())];
        for (name, source, uses_here) in &mut uses_of_part {
            let (name, source) = (*name, *source);
            let wrong = |line: usize, reason: String| Error::Template {
                path: path.to_owned(),
                line: line_of(text, source, line),
                reason,
            };
            environment
                .add_template_owned(name, source.get_ref().clone())
                .map_err(|e| wrong(e.line().unwrap_or(1), e.detail().unwrap_or_default().to_owned()))?;
            let named = environment.get_template(name).map(|template| template.undeclared_variables(false));
            for variable in named.unwrap_or_default() {
                if ![&TEXTS[..], &FACTS[..], &FUNCTIONS[..]].concat().contains(&variable.as_str()) {
                    let line = source.get_ref().lines().position(|line| line.contains(&variable)).unwrap_or(0) + 1;
                    let known = [&TEXTS[..], &FACTS[..]].concat().join(", ");
                    return Err(wrong(line, format!("there is no {variable}; there are {known}")));
                }
                uses_here.insert(variable);
            }
            uses.extend(uses_here.iter().cloned());
        }
        let [(_, _, in_prompt), (_, _, in_completion)] = uses_of_part;
        if !in_completion.contains("edit") {
            return Err(invalid("the completion has to name `edit`".into()));
        }
        if raw.edit.needs_old() && !in_prompt.contains("old_contents") {
            return Err(invalid("a prompt for such an edit has to name `old_contents`".into()));
        }
        let only = raw.only.as_deref().map(Regex::new).transpose().map_err(|e| invalid(e.to_string()))?;
        let example = raw.example.first().cloned().ok_or_else(|| invalid("there has to be an example".into()))?;
        let digest = blake3::hash(text.as_bytes()).to_hex()[..16].to_owned();
        let RawTemplate { id, why, task_type, edit, special, .. } = raw;
        let template = Template { id, why, task_type, edit, digest, example, only, special, uses, environment };
        for (number, example) in raw.example.iter().enumerate() {
            template.check(path, number + 1, example)?;
        }
        Ok(template)
    }

    /// The example gives what it says, and comes back.
    fn check(&self, path: &Path, number: usize, example: &Example) -> Result<(), Error> {
        let invalid = |reason: String| Error::Invalid { path: path.to_owned(), reason };
        let values = example
            .values(self.edit)
            .ok_or_else(|| invalid(format!("the diff of example {number} is no hunk of a unified diff")))?;
        let found = self.render(&values).map_err(|e| invalid(format!("example {number}: {e}")))?;
        let pairs =
            [("prompt", &found.prompt, &example.prompt), ("completion", &found.completion, &example.completion)];
        for (what, found, expected) in pairs {
            if found != expected {
                let (found, expected) = (found.clone(), expected.clone());
                return Err(Error::Example { path: path.to_owned(), number, what, found, expected });
            }
        }
        let skeleton = self.skeleton(&values).map_err(|e| invalid(format!("example {number}: {e}")))?;
        let texts = [(&skeleton.prompt, &found.prompt), (&skeleton.completion, &found.completion)];
        match self.comes_back(&values, &texts.map(|(skeleton, text)| (skeleton.as_str(), text.as_str()))) {
            true => Ok(()),
            false => Err(invalid(format!("example {number} can't be read back from prompt and completion"))),
        }
    }

    /// Whether it is for rows with this subject.
    pub fn is_for(&self, subject: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.is_match(subject))
    }

    /// Tokens that are no text to the model that it is for.
    pub fn special(&self) -> &[String] {
        &self.special
    }

    /// The texts of a row that it uses.
    pub fn used<'a>(&self, values: &'a Values<'_>) -> impl Iterator<Item = &'a str> {
        let used: Vec<usize> = (0..TEXTS.len()).filter(|at| self.uses.contains(TEXTS[*at])).collect();
        used.into_iter().map(|at| values.text(at))
    }

    /// Prompt and completion of a row.
    ///
    /// # Errors
    /// The template takes too many steps, or asks what can't be answered.
    pub fn render(&self, values: &Values<'_>) -> Result<Rendered, minijinja::Error> {
        self.render_with(values, &|at| Value::from(values.text(at)))
    }

    /// The same with marks in the place of texts.
    ///
    /// # Errors
    /// As [`Template::render`].
    pub fn skeleton(&self, values: &Values<'_>) -> Result<Rendered, minijinja::Error> {
        self.render_with(values, &|at| Value::from(format!("{MARK}{at}{MARK}")))
    }

    fn render_with(&self, values: &Values<'_>, text: &dyn Fn(usize) -> Value) -> Result<Rendered, minijinja::Error> {
        let used = (0..TEXTS.len()).filter(|at| self.uses.contains(TEXTS[*at]));
        let mut context: Vec<(&str, Value)> = used.map(|at| (TEXTS[at], text(at))).collect();
        context.push(("lang", values.lang.into()));
        context.push(("language", values.language.into()));
        context.push(("half", values.half.into()));
        if self.uses.contains("fence") {
            context.push(("fence", values.fence().into()));
        }
        if self.uses.contains("chars") {
            context.push(("chars", values.edit.chars().count().into()));
        }
        let context = Value::from_pairs(context);
        Ok(Rendered {
            prompt: self.environment.get_template("prompt")?.render(context.clone())?,
            completion: self.environment.get_template("completion")?.render(context)?,
        })
    }

    /// Whether `texts`, each with its skeleton, give back the row's code, diff and edit, and the edit, applied to the old
    /// contents that were found in them, gives the new ones.
    pub fn comes_back(&self, values: &Values<'_>, texts: &[(&str, &str)]) -> bool {
        let mut found = [None; TEXTS.len()];
        for (skeleton, text) in texts {
            let Some(parts) = read_back(skeleton, text) else { return false };
            for (at, part) in parts {
                // A text that stands in two places says the same in both.
                if found[at].is_some_and(|before| before != part) {
                    return false;
                }
                found[at] = Some(part);
            }
        }
        let is_own = |at: usize| found[at].is_none_or(|part| part == values.text(at));
        let Some(edit) = found[EDIT] else { return false };
        if !is_own(OLD_CONTENTS) || !is_own(DIFF) || !is_own(EDIT) {
            return false;
        }
        let old = found[OLD_CONTENTS].unwrap_or_default();
        !self.edit.is_code() || self.edit.apply(old, edit).is_some_and(|new| new == values.texts[OLD_CONTENTS + 1])
    }
}

/// The line of `text` that is line `line` (from 1) of the template in it.
fn line_of(text: &str, source: &Spanned<String>, line: usize) -> usize {
    let start = source.span().start;
    let first = text[..start].matches('\n').count() + 1;
    let rest = &text[start..];
    match rest.starts_with("\"\"\"") || rest.starts_with("'''") {
        // A line feed right behind the quotes is no part of the text.
        true => first + usize::from(rest[3..].starts_with('\n') || rest[3..].starts_with("\r\n")) + line - 1,
        false => first,
    }
}

/// The texts in the places of the marks of `skeleton`: each up to the first occurrence of the literal behind it, the last
/// one up to the literal at the end.
fn read_back<'a>(skeleton: &str, text: &'a str) -> Option<Vec<(usize, &'a str)>> {
    let mut parts = skeleton.split(MARK);
    let mut rest = text.strip_prefix(parts.next()?)?;
    let (mut found, mut parts) = (Vec::new(), parts.peekable());
    while let Some(number) = parts.next() {
        let at: usize = number.parse().ok()?;
        let literal = parts.next()?;
        let end = match parts.peek() {
            Some(_) => rest.find(literal)?,
            None => rest.len().checked_sub(literal.len()).filter(|_| rest.ends_with(literal))?,
        };
        found.push((at, &rest[..end]));
        rest = &rest[end + literal.len()..];
    }
    rest.is_empty().then_some(found)
}

/// A model's chat template, which makes one text of messages.
pub struct Chat {
    /// BLAKE3 of its file, 16 digits.
    pub digest: String,
    /// What its text has that is no text to the model.
    pub special: Vec<String>,
    begin: String,
    /// The token that ends a text; empty where the file does not say.
    pub end: String,
    /// The template.
    pub source: String,
    /// The whole file, where it is a `tokenizer_config.json`.
    pub config: Option<String>,
    environment: Environment<'static>,
}

impl Chat {
    /// Reads a Jinja file, or the `chat_template` of a `tokenizer_config.json`.
    ///
    /// # Errors
    /// The file can't be read, has no template, or the template is wrong or does nothing with messages.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let invalid = |reason: String| Error::Invalid { path: path.to_owned(), reason };
        let is_config = path.extension().is_some_and(|end| end == "json");
        let config: serde_json::Value = match is_config {
            true => serde_json::from_str(&text).map_err(|e| invalid(e.to_string()))?,
            false => serde_json::Value::Null,
        };
        let source = match &config["chat_template"] {
            serde_json::Value::String(source) => source.clone(),
            serde_json::Value::Array(named) => {
                let default = named.iter().find(|one| one["name"] == "default");
                default.and_then(|one| one["template"].as_str()).unwrap_or_default().to_owned()
            }
            _ => String::new(),
        };
        let source = if is_config { source } else { text.clone() };
        if source.is_empty() {
            return Err(invalid("there is no chat_template in it".into()));
        }
        let mut environment = environment(UndefinedBehavior::Lenient, true);
        environment.set_unknown_method_callback(|_, value, method, args| python_method(value, method, args));
        environment.add_function("raise_exception", |text: String| -> Result<Value, minijinja::Error> {
            Err(minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, text))
        });
        let wrong = |e: &minijinja::Error| {
            let reason = e.detail().map_or_else(|| e.to_string(), str::to_owned);
            match (is_config, e.line()) {
                // In JSON, the template is one line.
                (false, Some(line)) => Error::Template { path: path.to_owned(), line, reason },
                _ => Error::Invalid { path: path.to_owned(), reason },
            }
        };
        environment.add_template_owned("chat", source.clone()).map_err(|e| wrong(&e))?;
        let token = |name: &str| {
            let token = &config[name];
            token.as_str().or_else(|| token["content"].as_str()).unwrap_or_default().to_owned()
        };
        let (begin, end) = (token("bos_token"), token("eos_token"));
        let special = special_of(&source, &config, [&begin, &end]);
        let digest = blake3::hash(text.as_bytes()).to_hex()[..16].to_owned();
        let config = is_config.then_some(text);
        let chat = Chat { digest, special, begin, end, source, config, environment };
        let rendered = chat.render("one", "two").map_err(|e| wrong(&e))?;
        match rendered.contains("one") && rendered.contains("two") {
            true => Ok(chat),
            false => Err(invalid("the template leaves out what messages say".into())),
        }
    }

    /// The text of a conversation of two messages.
    ///
    /// # Errors
    /// The template asks what can't be answered.
    pub fn render(&self, prompt: &str, completion: &str) -> Result<String, minijinja::Error> {
        let message = |role: &str, content: &str| Value::from_pairs([("role", role), ("content", content)]);
        let messages = vec![message("user", prompt), message("assistant", completion)];
        let context = Value::from_pairs([
            ("messages", Value::from(messages)),
            ("bos_token", Value::from(&self.begin)),
            ("eos_token", Value::from(&self.end)),
            ("add_generation_prompt", Value::from(false)),
        ]);
        self.environment.get_template("chat")?.render(context)
    }
}

/// What looks like a control token in a chat template, and what the configuration says is one.
fn special_of(source: &str, config: &serde_json::Value, more: [&String; 2]) -> Vec<String> {
    let form = Regex::new(r"<[^<>\s{}%'\x22]{1,64}>|\[/?[A-Z][A-Z_]{2,64}\]").expect("a test reads chat templates");
    let mut special: BTreeSet<String> = form.find_iter(source).map(|found| found.as_str().to_owned()).collect();
    let added = config["added_tokens_decoder"].as_object().into_iter().flatten();
    let added = added.filter(|(_, token)| token["special"] == true).filter_map(|(_, token)| token["content"].as_str());
    special.extend(added.map(str::to_owned));
    special.extend(more.into_iter().filter(|token| !token.is_empty()).cloned());
    special.into_iter().collect()
}

/// Methods of Python's strings and dictionaries that chat templates call, since transformers runs them in Python.
fn python_method(value: &Value, method: &str, args: &[Value]) -> Result<Value, minijinja::Error> {
    let unknown = || minijinja::Error::from(minijinja::ErrorKind::UnknownMethod);
    if let Some(text) = value.as_str() {
        let strip = |start: bool, end: bool| -> Result<Value, minijinja::Error> {
            let (letters,): (Option<&str>,) = from_args(args)?;
            let goes = |c: char| letters.map_or_else(|| c.is_whitespace(), |letters| letters.contains(c));
            let text = if start { text.trim_start_matches(goes) } else { text };
            Ok(Value::from(if end { text.trim_end_matches(goes) } else { text }))
        };
        return match method {
            "strip" => strip(true, true),
            "lstrip" => strip(true, false),
            "rstrip" => strip(false, true),
            "upper" => Ok(text.to_uppercase().into()),
            "lower" => Ok(text.to_lowercase().into()),
            "startswith" => from_args::<(&str,)>(args).map(|(part,)| text.starts_with(part).into()),
            "endswith" => from_args::<(&str,)>(args).map(|(part,)| text.ends_with(part).into()),
            "split" => from_args::<(&str,)>(args).map(|(part,)| text.split(part).map(Value::from).collect()),
            "replace" => from_args::<(&str, &str)>(args).map(|(from, to)| text.replace(from, to).into()),
            _ => Err(unknown()),
        };
    }
    if method == "get" {
        let (key, other): (&str, Option<Value>) = from_args(args)?;
        let found = value.get_attr(key)?;
        return Ok(if found.is_undefined() { other.unwrap_or_else(|| Value::from(())) } else { found });
    }
    Err(unknown())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compiled_in_templates_are_as_they_say() {
        for (name, _) in TEMPLATES {
            let template = Template::find(name).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(template.id, *name);
            assert!(template.why.len() > 20, "{name} says why");
        }
        assert!(TEMPLATES.is_sorted_by_key(|(name, _)| *name));
    }

    #[test]
    fn what_is_wrong_is_said_with_file_and_line() {
        let text = |prompt: &str, completion: &str, edit: &str| {
            format!(
                "id = \"x\"\nwhy = \"y\"\nedit = \"{edit}\"\nprompt = {prompt}\ncompletion = {completion}\n[[example]]\nprompt = \"p\"\ncompletion = \"c\"\n"
            )
        };
        for (prompt, completion, edit, expected) in [
            ("\"\"\"\na\n{{ subjekt }}\"\"\"", "\"{{ edit }}\"", "whole-file", "t.toml, line 6: there is no subjekt"),
            ("\"\"\"a\n\n{% if %}\"\"\"", "\"{{ edit }}\"", "whole-file", "t.toml, line 6: "),
            ("\"a {{ b\"", "\"{{ edit }}\"", "whole-file", "t.toml, line 4: "),
            ("\"a\"", "\"{{ subject }}\"", "whole-file", "the completion has to name `edit`"),
            ("\"a\"", "\"{{ edit }}\"", "line-diff", "has to name `old_contents`"),
            ("\"a\"", "\"{{ edit }}\"", "whole-file", "example 1 of t.toml gives another prompt"),
            ("\"p\"", "\"c{% if half %}{{ edit }}{% endif %}\"", "whole-file", "can't be read back"),
            (
                "\"p\"",
                "\"{{ edit }}{% for n in range(9999) %}{% for m in range(9999) %}{% endfor %}{% endfor %}\"",
                "whole-file",
                "fuel",
            ),
            ("\"p\"", "\"{{ edit }}\"", "tarball", "unknown variant"),
        ] {
            let error = Template::parse(Path::new("t.toml"), &text(prompt, completion, edit)).err();
            let error = error.unwrap_or_else(|| panic!("{prompt} {completion} is an error")).to_string();
            assert!(error.contains(expected), "{prompt}: {error}");
        }
        assert!(Template::find("no-such-template").is_err());
    }

    #[test]
    fn texts_are_found_between_literals() {
        let skeleton = |text: &str| text.replace('{', &MARK.to_string()).replace('}', &MARK.to_string());
        for (form, text, expected) in [
            ("a{1}b", "axxb", Some(vec![(1, "xx")])),
            ("a{1}b", "axbxb", Some(vec![(1, "xbx")])),
            ("{1}, {2}", "x, y, z", Some(vec![(1, "x"), (2, "y, z")])),
            ("a{1}b", "axc", None),
            ("a{1}b", "ab", Some(vec![(1, "")])),
            ("a{1}aa", "aa", None),
            ("a", "a", Some(vec![])),
            ("a", "ab", None),
        ] {
            assert_eq!(read_back(&skeleton(form), text), expected, "{form} in {text}");
        }
    }

    #[test]
    fn a_fence_is_longer_than_what_is_in_it() {
        for (text, expected) in [("", 3), ("`a`", 3), ("```\na\n```", 4), ("`````x``````", 7), ("a``````", 7)] {
            let texts = [text; TEXTS.len()];
            let values = Values { texts, edit: String::new(), lang: "", language: "", half: false };
            assert_eq!(values.fence().len(), expected, "{text}");
        }
    }

    #[test]
    fn chat_templates_make_one_text() {
        let directory = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| {
            let path = directory.path().join(name);
            fs::write(&path, text).expect("a file");
            path
        };
        let chatml = "{% for message in messages %}\n    {%- if message['role'].startswith('u') %}\n<|im_start|>user\n{% else %}<|im_start|>assistant\n{% endif %}{{ message.content.strip() }}<|im_end|>\n{% endfor %}";
        let chat = Chat::read(&write("chat.jinja", chatml)).expect("a template");
        let text = chat.render(" one ", "two\n").expect("a text");
        assert_eq!(text, "<|im_start|>user\none<|im_end|>\n<|im_start|>assistant\ntwo<|im_end|>\n");
        assert_eq!(chat.special, ["<|im_end|>", "<|im_start|>"]);
        let config = serde_json::json!({
            "chat_template": [{"name": "tools", "template": "x"},
                {"name": "default", "template": "{{ bos_token }}{% for m in messages %}[INST]{{ m['content'] }}{{ eos_token }}{% endfor %}"}],
            "bos_token": "<s>", "eos_token": {"content": "</s>"},
            "added_tokens_decoder": {"0": {"content": "<pad>", "special": true}, "1": {"content": "foo", "special": false}},
        });
        let chat = Chat::read(&write("tokenizer_config.json", &config.to_string())).expect("a template");
        assert_eq!(chat.render("one", "two").expect("a text"), "<s>[INST]one</s>[INST]two</s>");
        assert_eq!(chat.special, ["</s>", "<pad>", "<s>", "[INST]"]);
        for (name, text, expected) in [
            ("bad.jinja", "a\n{% for %}", "bad.jinja, line 2: "),
            ("none.json", "{}", "there is no chat_template in it"),
            ("silent.jinja", "hello", "leaves out what messages say"),
            ("refuses.jinja", "{{ raise_exception('no') }}", "refuses.jinja, line 1: no"),
        ] {
            let error = Chat::read(&write(name, text)).err().expect("an error").to_string();
            assert!(error.contains(expected), "{name}: {error}");
        }
    }
}
