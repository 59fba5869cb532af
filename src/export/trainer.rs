//! Rows as trainers read them: prompts with completions (SFT), with labels (KTO), with a better and a worse answer (DPO), in
//! the shapes of TRL and of HALOs. Every row is read back before it is written; what does not come back is left out, with
//! its rule. Which rows are better or worse is not decided here.

use std::{fmt::Write as _, io::Write as _};

use aho_corasick::AhoCorasick;
use serde::Serialize;
use serde_json::json;

use super::{
    Format,
    edit::{self, Edit},
    figure::grouped,
    template::{Chat, Rendered, Template, Values, file_name},
};
use crate::sample::Sample;

/// The rules that rows are left out by.
pub mod rules {
    /// The template is not for rows with such a subject.
    pub const NOT_FOR_TEMPLATE: &str = "not_for_template";
    /// There is no file before, or none after.
    pub const ONE_SIDE: &str = "one_side_only";
    /// Both are the same.
    pub const UNCHANGED: &str = "unchanged";
    /// The message that was asked for is empty.
    pub const NO_MESSAGE: &str = "no_message";
    /// A text has a token that is no text to the model.
    pub const SPECIAL_TOKEN: &str = "special_token";
    /// The template could not be rendered.
    pub const TEMPLATE_FAILED: &str = "template_failed";
    /// What was written does not give the new contents back.
    pub const NO_ROUND_TRIP: &str = "no_round_trip";
    /// Prompt and completion have too many tokens.
    pub const TOKENS_MAX: &str = "tokens_max";
}

/// The fields of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// TRL's prompt and completion (of dpo: prompt, chosen, rejected) as texts.
    PromptCompletion,
    /// The same as lists of messages; of sft one list.
    Messages,
    /// One text; only of sft.
    Text,
    /// A JSON array of HALOs' feedback; only of kto and dpo.
    Halos,
}

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// A list of messages with role and content.
    Messages,
    /// true or false.
    Flag,
    /// A whole number.
    Number,
    /// A list of texts.
    Texts,
    /// A list of lists of texts.
    TextLists,
}

impl Shape {
    /// The fields of a record, in order, with what they are.
    ///
    /// # Errors
    /// The format does not have this shape.
    pub fn fields(self, format: Format) -> Result<&'static [(&'static str, Kind)], String> {
        use Kind::{Flag, Messages, Number, Text};
        Ok(match (format, self) {
            (Format::Sft, Shape::PromptCompletion) => &[("prompt", Text), ("completion", Text)],
            (Format::Sft, Shape::Messages) => &[("messages", Messages)],
            (Format::Sft, Shape::Text) => &[("text", Text)],
            (Format::Kto, Shape::PromptCompletion) => &[("prompt", Text), ("completion", Text), ("label", Flag)],
            (Format::Kto, Shape::Messages) => &[("prompt", Messages), ("completion", Messages), ("label", Flag)],
            (Format::Kto, Shape::Halos) => &[
                ("prompt_id", Text),
                ("prompt", Messages),
                ("output", Messages),
                ("label", Number),
                ("reward", Number),
                ("type", Text),
            ],
            (Format::Dpo, Shape::PromptCompletion) => &[("prompt", Text), ("chosen", Text), ("rejected", Text)],
            (Format::Dpo, Shape::Messages) => &[("prompt", Messages), ("chosen", Messages), ("rejected", Messages)],
            (Format::Dpo, Shape::Halos) => &[
                ("prompt_id", Text),
                ("prompt", Messages),
                ("output_A", Messages),
                ("output_B", Messages),
                ("label", Number),
                ("reward_A", Number),
                ("reward_B", Number),
                ("reward_difference", Number),
                ("type", Text),
            ],
            (Format::Sft | Format::Kto | Format::Dpo, _) => {
                return Err("text is a shape of sft, halos one of kto and dpo".into());
            }
            _ => return Err("only sft, kto and dpo have a shape".into()),
        })
    }
}

/// What a field of a record means, for the card.
pub fn meaning(field: &str) -> &'static str {
    match field {
        "prompt" => "what the model is given",
        "completion" | "output" => "what it is to say",
        "messages" => "a prompt and its answer, as messages",
        "text" => "prompt and completion in one; of GritLM's a list of the two",
        "id" => "the row's name, a hash of commit and paths",
        "source" => "`gitlode`",
        "added" => "nothing: an export knows no clock",
        "created" => "the time of the commit",
        "version" => "of the row's columns",
        "inputs" => "the instruction, in the language of the message",
        "targets" => "the answer",
        "dataset_name" => "`gitlode`",
        "sub_dataset_name" => "CommitPack's name of the programming language",
        "task_type" => "the kind of task",
        "template_id" => "the number of the template",
        "language" => "language of the message, ISO 639-3",
        "script" => "its script, ISO 15924",
        "split" => "the split",
        "query" => "the instruction, and the subject of a commit",
        "anchor" => "the subject of a commit",
        "pos" | "positive" => "the hunks of its change; in a list with an empty instruction for GritLM",
        "neg" | "negative" => "the hunks of another change that it does not ask for",
        "label" => "whether the answer is good; with `output_A` and `output_B`: 1 where A is the better one",
        "chosen" => "the better answer",
        "rejected" => "the worse answer",
        "prompt_id" => "the id of the row",
        "output_A" | "output_B" => "the answers, in an order drawn by the row's id",
        "reward" | "reward_A" | "reward_B" => "1 for a good answer, else 0",
        "reward_difference" => "1",
        "type" => "the kind of feedback",
        _ => "see the documentation of gitlode",
    }
}

/// How many tokens a record may have.
#[derive(Clone, Copy)]
pub struct Budget {
    /// The most.
    pub tokens_max: usize,
    /// Counts the tokens of two texts, one behind the other; no further than a little over the number given.
    pub count: fn(&str, &str, usize) -> usize,
}

/// An answer to a row's prompt, as far as it is code.
#[derive(Clone, Copy)]
pub struct Answer<'a> {
    /// The file after it.
    pub new_contents: &'a str,
    /// The diff from the row's old contents.
    pub diff: &'a str,
}

/// What is known of the answers to a row.
#[derive(Clone, Copy)]
pub enum Feedback<'a> {
    /// The row's own is what there is to learn.
    None,
    /// The row's own is good, or is not.
    Label(bool),
    /// This one is better than the row's own.
    Better(Answer<'a>),
}

/// Makes records of rows.
pub struct Trainer<'a> {
    format: Format,
    shape: Shape,
    columns: &'a [&'a str],
    template: &'a Template,
    chat: Option<&'a Chat>,
    special: AhoCorasick,
    budget: Option<Budget>,
}

impl<'a> Trainer<'a> {
    /// A trainer's format; `special` are tokens of the tokenizer, `columns` go behind the fields of the shape.
    ///
    /// # Errors
    /// What does not fit together, in words.
    pub fn new(
        (format, shape): (Format, Shape),
        columns: &'a [&'a str],
        template: &'a Template,
        chat: Option<&'a Chat>,
        special: Vec<String>,
        budget: Option<Budget>,
    ) -> Result<Self, String> {
        shape.fields(format)?;
        if chat.is_some() && (format, shape) != (Format::Sft, Shape::Text) {
            return Err("a chat template makes texts: it needs --format sft --shape text".into());
        }
        if format != Format::Sft && !template.edit.is_code() {
            let id = &template.id;
            return Err(format!("the answers of the template {id} are no code, and nobody knows which are good"));
        }
        let mut tokens = [template.special(), &special, chat.map_or(&[], |chat| &chat.special)].concat();
        // An empty one would be in every text.
        tokens.retain(|token| !token.is_empty());
        let special = AhoCorasick::new(tokens).map_err(|e| e.to_string())?;
        Ok(Trainer { format, shape, columns, template, chat, special, budget })
    }

    /// The template.
    pub fn template(&self) -> &Template {
        self.template
    }

    /// Appends the record of a row to `out`.
    ///
    /// # Errors
    /// The rule by which the row is left out; `out` is as before then.
    pub fn write(&self, out: &mut Vec<u8>, sample: &Sample<'_>, feedback: Feedback<'_>) -> Result<(), &'static str> {
        let own = self.render(sample)?;
        let better = match feedback {
            Feedback::Better(answer) => Some(self.answer(sample, sample.old_contents.unwrap_or_default(), answer)?),
            Feedback::None | Feedback::Label(_) => None,
        };
        self.write_record(out, sample, &own, feedback, better.as_ref());
        Ok(())
    }

    /// Prompt and completion of a row; of the shape text what is in front of the completion, and the rest.
    ///
    /// # Errors
    /// The rule by which it has none.
    pub fn render(&self, sample: &Sample<'_>) -> Result<Rendered, &'static str> {
        if !self.template.is_for(sample.subject) {
            return Err(rules::NOT_FOR_TEMPLATE);
        }
        let sides = (sample.old_contents, sample.new_contents);
        let (old, new) = match sides {
            (Some(old), Some(new)) if old == new && self.template.edit.is_code() => return Err(rules::UNCHANGED),
            (Some(old), Some(new)) => (old, new),
            _ if self.template.edit.is_code() => return Err(rules::ONE_SIDE),
            (old, new) => (old.unwrap_or_default(), new.unwrap_or_default()),
        };
        self.answer(sample, old, Answer { new_contents: new, diff: edit::hunks(sample.diff) })
    }

    /// Prompt and completion of an answer, which come back and are within the budget. Where records are one text, that is
    /// the completion.
    fn answer(&self, sample: &Sample<'_>, old: &str, answer: Answer<'_>) -> Result<Rendered, &'static str> {
        let template = self.template;
        let edit = match template.edit {
            Edit::Message => sample.message.trim_end().to_owned(),
            Edit::Subject => sample.subject.to_owned(),
            code => code.write(old, answer.new_contents, answer.diff).ok_or(rules::NO_ROUND_TRIP)?,
        };
        if edit.is_empty() && !template.edit.is_code() {
            return Err(rules::NO_MESSAGE);
        }
        let path = sample.new_file.or(sample.old_file).unwrap_or_default();
        let texts = [
            sample.subject,
            sample.message,
            old,
            answer.new_contents,
            answer.diff,
            "",
            sample.old_file.unwrap_or_default(),
            path,
            file_name(path),
            sample.repos.split(',').next().unwrap_or_default(),
        ];
        let values = Values {
            texts,
            edit,
            lang: sample.lang,
            language: sample.language.unwrap_or_default(),
            half: is_half(sample.id),
        };
        if self.special.patterns_len() > 0 && template.used(&values).any(|text| self.special.is_match(text)) {
            return Err(rules::SPECIAL_TOKEN);
        }
        let render = |failed: minijinja::Error| {
            let _counted_by_its_rule = failed;
            rules::TEMPLATE_FAILED
        };
        let mut found = template.render(&values).map_err(render)?;
        let mut skeleton = template.skeleton(&values).map_err(render)?;
        let mut begin = 0;
        if self.shape == Shape::Text {
            begin = self.begin(&found).map_err(render)?;
            found = self.text(found).map_err(render)?;
            skeleton = self.text(skeleton).map_err(render)?;
        }
        let is_over =
            |budget: &Budget| (budget.count)(&found.prompt, &found.completion, budget.tokens_max) > budget.tokens_max;
        let texts = [(&*skeleton.prompt, &*found.prompt), (&*skeleton.completion, &*found.completion)];
        if !template.comes_back(&values, &texts) {
            return Err(rules::NO_ROUND_TRIP);
        }
        if self.budget.as_ref().is_some_and(is_over) {
            return Err(rules::TOKENS_MAX);
        }
        if self.shape == Shape::Text {
            let completion = found.completion.get(begin..).ok_or(rules::NO_ROUND_TRIP)?.to_owned();
            found.completion.truncate(begin);
            found = Rendered { prompt: found.completion, completion };
        }
        Ok(found)
    }

    /// Where the completion begins in the one text of both.
    fn begin(&self, parts: &Rendered) -> Result<usize, minijinja::Error> {
        let Some(chat) = self.chat else { return Ok(parts.prompt.len()) };
        let text = chat.render(&parts.prompt, MARKED)?;
        Ok(text.rfind(MARKED).unwrap_or(text.len()))
    }

    fn text(&self, parts: Rendered) -> Result<Rendered, minijinja::Error> {
        let text = match self.chat {
            Some(chat) => chat.render(&parts.prompt, &parts.completion)?,
            None => [parts.prompt, parts.completion].concat(),
        };
        Ok(Rendered { prompt: String::new(), completion: text })
    }

    fn write_record(
        &self,
        out: &mut Vec<u8>,
        sample: &Sample<'_>,
        own: &Rendered,
        feedback: Feedback<'_>,
        better: Option<&Rendered>,
    ) {
        let label = matches!(feedback, Feedback::Label(true));
        let chosen = better.map_or("", |better| &better.completion);
        let is_a = is_half(sample.id);
        let (a, b) = if is_a { (chosen, &*own.completion) } else { (&*own.completion, chosen) };
        let fields = self.shape.fields(self.format).unwrap_or_default();
        for (at, (name, kind)) in fields.iter().enumerate() {
            let text = match *name {
                "prompt" => &own.prompt,
                "chosen" => chosen,
                "output_A" => a,
                "output_B" => b,
                "prompt_id" => sample.id,
                "type" if self.format == Format::Kto => "binary_feedback",
                "type" => "pairwise_feedback",
                "text" => &[own.prompt.as_str(), own.completion.as_str()].concat(),
                _ => &own.completion,
            };
            let number = match *name {
                "label" | "reward_A" if self.format == Format::Dpo => u8::from(is_a),
                "reward_B" => u8::from(!is_a),
                "reward_difference" => 1,
                _ => u8::from(label),
            };
            let role = if *name == "prompt" { "user" } else { "assistant" };
            let _infallible = write!(out, "{}{}:", if at == 0 { '{' } else { ',' }, json!(name));
            match kind {
                Kind::Text => write_text(out, text),
                Kind::Flag => out.extend_from_slice(if label { b"true" } else { b"false" }),
                Kind::Number => out.push(b'0' + number),
                Kind::Messages if *name == "messages" => {
                    write_messages(out, &[("user", &own.prompt), ("assistant", &own.completion)]);
                }
                Kind::Messages => write_messages(out, &[(role, text)]),
                Kind::Texts | Kind::TextLists => unreachable!("no shape has them"),
            }
        }
        if !self.columns.is_empty() {
            let all = serde_json::to_value(sample).unwrap_or_default();
            for name in self.columns {
                let _infallible = write!(out, ",{}:{}", json!(name), all[*name]);
            }
        }
        out.push(b'}');
    }
}

pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("memory can be written to");
}

/// A completion that no text has, of the private use area.
const MARKED: &str = "\u{f8fe}";

fn write_messages(out: &mut Vec<u8>, messages: &[(&str, &str)]) {
    for (at, (role, content)) in messages.iter().enumerate() {
        out.push(if at == 0 { b'[' } else { b',' });
        let _infallible = write!(out, "{{\"role\":{},\"content\":", json!(role));
        write_text(out, content);
        out.push(b'}');
    }
    out.push(b']');
}

/// An even draw that a row's id decides.
fn is_half(id: &str) -> bool {
    blake3::hash(format!("gitlode half 1\0{id}").as_bytes()).as_bytes()[0] & 1 == 1
}

/// How records were made, for the manifest and the card.
#[derive(Clone, Debug, Serialize)]
pub struct Training {
    /// The fields.
    pub shape: Shape,
    /// Name of the template.
    pub template: String,
    /// BLAKE3 of its text.
    pub template_digest: String,
    /// What completions hold.
    pub edit: Edit,
    /// BLAKE3 of the chat template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat_template_digest: Option<String>,
    /// The most tokens of a record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_max: Option<usize>,
    /// BLAKE3 of the tokenizer that counted them; `estimate` where there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<String>,
    /// Of kto.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<Classes>,
    /// Of dpo: pairs by why one answer is better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pairs: Option<std::collections::BTreeMap<&'static str, u64>>,
}

/// Good and bad answers, and the weights that make up for their ratio.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Classes {
    /// Answers that stayed.
    pub desirable: u64,
    /// Answers that were taken back.
    pub undesirable: u64,
    /// Suggested for TRL's option of that name.
    pub desirable_weight: f64,
    /// Suggested for TRL's option of that name.
    pub undesirable_weight: f64,
}

impl Classes {
    /// TRL asks for a weighted ratio of desirable to undesirable between 1:1 and 4:3. The class that is rarer gets the
    /// weight, in the middle of that, with two digits; the other one keeps 1. Without one of them there is nothing to weigh.
    pub fn of(desirable: u64, undesirable: u64) -> Self {
        const MIDDLE: f64 = 7.0 / 6.0;
        let (good, bad) = (desirable as f64, undesirable as f64);
        let round = |weight: f64| (weight * 100.0).round() / 100.0;
        let (desirable_weight, undesirable_weight) = match desirable.min(undesirable) {
            0 => (1.0, 1.0),
            _ if good < MIDDLE * bad => (round(MIDDLE * bad / good), 1.0),
            _ => (1.0, round(good / (MIDDLE * bad))),
        };
        Classes { desirable, undesirable, desirable_weight, undesirable_weight }
    }

    /// In words.
    pub fn sentence(&self) -> String {
        format!(
            "{} desirable and {} undesirable{}; suggested for TRL: desirable_weight={} undesirable_weight={}",
            grouped(self.desirable),
            grouped(self.undesirable),
            self.ratio(),
            self.desirable_weight,
            self.undesirable_weight
        )
    }

    /// How many of the more frequent class there are for each of the other, in words; nothing where one is empty.
    fn ratio(&self) -> String {
        let Some(ratio) = self.desirable.max(self.undesirable).checked_div(self.desirable.min(self.undesirable)) else {
            return String::new();
        };
        match self.desirable >= self.undesirable {
            true => format!(", {} to 1", grouped(ratio)),
            false => format!(", 1 to {}", grouped(ratio)),
        }
    }
}

impl Training {
    /// The section of the card.
    pub fn section(&self, format: Format) -> String {
        let mut text = String::from("## For training\n\n");
        let _infallible = writeln!(
            text,
            "Prompts and completions are made by the template `{}` (digest `{}`). Of every record it was checked that the \
             completion, read back and applied to the code in the prompt, gives the new contents byte for byte; what does \
             not is dropped by `{}`, and what holds a control token of the model by `{}`.\n",
            self.template.replace('`', " "),
            self.template_digest,
            rules::NO_ROUND_TRIP,
            rules::SPECIAL_TOKEN
        );
        if let (Some(most), Some(tokenizer)) = (self.tokens_max, &self.tokenizer) {
            let by = match tokenizer.as_str() {
                "estimate" => "by an estimate, since no tokenizer was given".to_owned(),
                digest => format!("by the tokenizer with digest `{digest}`"),
            };
            let _infallible = writeln!(text, "No record has more than {most} tokens, counted {by}.\n");
        }
        if let Some(classes) = &self.classes {
            let _infallible = writeln!(
                text,
                "A change is desirable if it stayed and undesirable if it was reverted: {}.\n",
                classes.sentence()
            );
        }
        if let Some(pairs) = &self.pairs {
            let pairs: Vec<String> = pairs.iter().map(|(why, n)| format!("{n} {why}")).collect();
            let _infallible = writeln!(
                text,
                "The rejected answer is a commit's that was reverted and landed again, or fixed; the chosen one is the later \
                 commit's: {}.\n",
                if pairs.is_empty() { "none".to_owned() } else { pairs.join(", ") }
            );
        }
        if format == Format::Dpo {
            text.push_str("Sizes, languages and licences below are those of the first commits.\n\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_within_what_trl_asks_for() {
        for (desirable, undesirable) in [(1, 1), (100, 1), (1, 100), (4, 3), (3, 4), (23_998, 157), (7, 6), (8, 6)] {
            let classes = Classes::of(desirable, undesirable);
            let ratio = classes.desirable_weight * desirable as f64 / (classes.undesirable_weight * undesirable as f64);
            assert!((1.0..=4.0 / 3.0).contains(&ratio), "{desirable}:{undesirable} is {ratio}");
        }
        assert_eq!(Classes::of(5, 0), Classes { desirable: 5, undesirable: 0, ..Classes::of(1, 0) });
    }

    #[test]
    fn classes_are_told_with_their_ratio() {
        for (desirable, undesirable, start) in [
            (23_232, 32, "23,232 desirable and 32 undesirable, 726 to 1; suggested"),
            (3, 7_000, "3 desirable and 7,000 undesirable, 1 to 2,333; suggested"),
            (5, 5, "5 desirable and 5 undesirable, 1 to 1; suggested"),
            (5, 0, "5 desirable and 0 undesirable; suggested"),
            (0, 0, "0 desirable and 0 undesirable; suggested"),
        ] {
            let told = Classes::of(desirable, undesirable).sentence();
            assert!(told.starts_with(start), "{told}");
        }
    }

    fn sample<'a>(old: &'a str, new: &'a str, diff: &'a str) -> Sample<'a> {
        Sample {
            id: "00",
            subject: "Change it",
            message: "Change it\n\nBecause.\n",
            old_file: Some("a/b.c"),
            new_file: Some("a/b.c"),
            old_contents: Some(old),
            new_contents: Some(new),
            diff,
            lang: "c",
            repos: "o/n",
            ..Sample::default()
        }
    }

    #[test]
    fn what_would_be_misread_is_left_out() {
        let (diff, other) = ("@@ -1 +1 @@\n-a\n+b\n", "@@ -1 +1 @@\n-x\n+b\n");
        for (template, old, new, diff, subject, expected) in [
            ("octocoder", "a\n", "b\n", diff, "Change it", Ok(())),
            ("octocoder", "a\n", "a\n", diff, "Change it", Err(rules::UNCHANGED)),
            ("octocoder", "a\n", "b<|endoftext|>\n", diff, "Change it", Err(rules::SPECIAL_TOKEN)),
            ("octocoder", "a\n", "b\n", diff, "Add <commit_msg> to it", Err(rules::SPECIAL_TOKEN)),
            ("octocoder", "a\n\nAnswer: \nb\n", "b\n", diff, "Change it", Ok(())),
            ("humanevalpack-fix", "a\n", "b\n", diff, "Change it", Err(rules::NOT_FOR_TEMPLATE)),
            ("humanevalpack-fix", "a\n", "b\n", diff, "fix(net): Change it", Ok(())),
            ("unified-diff", "a\n", "b\n", other, "Change it", Err(rules::NO_ROUND_TRIP)),
            ("unified-diff", "a\n", "b", diff, "Change it", Err(rules::NO_ROUND_TRIP)),
            ("search-replace", "a\n", "b\n", "", "Change it", Err(rules::NO_ROUND_TRIP)),
            ("commit-message", "a\n", "b\n", diff, "Change it", Ok(())),
        ] {
            let template = Template::find(template).expect("a template");
            let shape = (Format::Sft, Shape::PromptCompletion);
            let trainer = Trainer::new(shape, &[], &template, None, Vec::new(), None).expect("it fits");
            let row = Sample { subject, ..sample(old, new, diff) };
            let mut out = Vec::new();
            assert_eq!(trainer.write(&mut out, &row, Feedback::None), expected, "{} {old:?}", template.id);
            assert_eq!(out.is_empty(), expected.is_err());
        }
        // As one text, the answer begins at the first place that looks like it.
        let template = Template::find("octocoder").expect("a template");
        let trainer =
            Trainer::new((Format::Sft, Shape::Text), &[], &template, None, Vec::new(), None).expect("it fits");
        let row = sample("a\n\nAnswer: \nb\n", "b\n", diff);
        assert_eq!(trainer.write(&mut Vec::new(), &row, Feedback::None), Err(rules::NO_ROUND_TRIP));
        let row = Sample { old_contents: None, ..row };
        assert_eq!(trainer.write(&mut Vec::new(), &row, Feedback::None), Err(rules::ONE_SIDE));
    }

    #[test]
    fn the_budget_counts_prompt_and_completion() {
        let template = Template::find("octocoder").expect("a template");
        let prompt_and_completion = "Question: Change it\na\n\n\nAnswer: \nb\n".len();
        for (tokens_max, expected) in
            [(prompt_and_completion, Ok(())), (prompt_and_completion - 1, Err(rules::TOKENS_MAX))]
        {
            let budget = Budget { tokens_max, count: |a, b, _| a.len() + b.len() };
            let shape = (Format::Sft, Shape::Messages);
            let trainer = Trainer::new(shape, &[], &template, None, Vec::new(), Some(budget)).expect("it fits");
            let row = sample("a\n", "b\n", "@@ -1 +1 @@\n-a\n+b\n");
            assert_eq!(trainer.write(&mut Vec::new(), &row, Feedback::None), expected);
        }
    }

    #[test]
    fn shapes_are_those_of_their_trainers() {
        let template = Template::find("octocoder").expect("a template");
        let row = sample("a\n", "b\n", "@@ -1 +1 @@\n-a\n+b\n");
        let better = Feedback::Better(Answer { new_contents: "c\n", diff: "" });
        let (p, o, c) = ("Question: Change it\na\n\n\nAnswer: ", "\nb\n", "\nc\n");
        let user = json!([{"role": "user", "content": p}]);
        let says = |text: &str| json!([{"role": "assistant", "content": text}]);
        for (format, shape, feedback, expected) in [
            (Format::Sft, Shape::PromptCompletion, Feedback::None, json!({"prompt": p, "completion": o})),
            (Format::Sft, Shape::Messages, Feedback::None, json!({"messages": [user[0], says(o)[0]]})),
            (Format::Sft, Shape::Text, Feedback::None, json!({"text": format!("{p}{o}")})),
            (
                Format::Kto,
                Shape::PromptCompletion,
                Feedback::Label(true),
                json!({"prompt": p, "completion": o, "label": true}),
            ),
            (
                Format::Kto,
                Shape::Halos,
                Feedback::Label(false),
                json!({"prompt_id": "00", "prompt": user, "output": says(o), "label": 0, "reward": 0, "type": "binary_feedback"}),
            ),
            (Format::Dpo, Shape::PromptCompletion, better, json!({"prompt": p, "chosen": c, "rejected": o})),
            (Format::Dpo, Shape::Messages, better, json!({"prompt": user, "chosen": says(c), "rejected": says(o)})),
        ] {
            let trainer = Trainer::new((format, shape), &["lang"], &template, None, Vec::new(), None).expect("it fits");
            let mut out = Vec::new();
            trainer.write(&mut out, &row, feedback).expect("a record");
            let mut expected = expected;
            expected["lang"] = json!("c");
            assert_eq!(
                serde_json::from_slice::<serde_json::Value>(&out).expect("JSON"),
                expected,
                "{format:?} {shape:?}"
            );
        }
        let trainer =
            Trainer::new((Format::Dpo, Shape::Halos), &[], &template, None, Vec::new(), None).expect("it fits");
        let mut firsts = [0, 0];
        for id in 0..40 {
            let (mut out, id) = (Vec::new(), format!("{id:032x}"));
            trainer.write(&mut out, &Sample { id: &id, ..row.clone() }, better).expect("a record");
            let record: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
            let label = record["label"].as_u64().expect("a label");
            firsts[label as usize] += 1;
            let (good, bad) = if label == 1 { ("A", "B") } else { ("B", "A") };
            assert_eq!(record[format!("output_{good}")], says(c));
            assert_eq!(record[format!("output_{bad}")], says(o));
            assert_eq!((&record[format!("reward_{good}")], &record[format!("reward_{bad}")]), (&json!(1), &json!(0)));
        }
        assert!(firsts[0] > 5 && firsts[1] > 5, "{firsts:?}");
        assert!(Shape::Text.fields(Format::Dpo).is_err() && Shape::Halos.fields(Format::Sft).is_err());
    }
}
