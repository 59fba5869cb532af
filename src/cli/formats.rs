//! `gitlode export --list`: every format and every template, each with a line and an example.

use clap::ValueEnum as _;
use serde_json::json;

use super::{Error, print};
use crate::export::{
    Format,
    template::{TEMPLATES, Template},
};

/// Letters of an example in a list.
const EXAMPLE_CHARS: usize = 75;

/// Every format and every template, with an example.
pub fn list() -> Result<(), Error> {
    let short = |text: String, chars: usize| match text.char_indices().nth(chars) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    };
    let mut text = String::from("Formats (--format):\n");
    for format in Format::value_variants() {
        let Some(value) = format.to_possible_value() else { continue };
        let help = value.get_help().map(ToString::to_string).unwrap_or_default();
        text.push_str(&format!("\n  {:<23}{help}\n  {:<23}{}\n", value.get_name(), "", example(*format)));
    }
    text.push_str(
        "\nTemplates of sft, kto, dpo, grit and tokens (--template), with what they make of a small change:\n",
    );
    for (name, _) in TEMPLATES {
        let template = Template::find(name)?;
        let [prompt, completion] = [&template.example.prompt, &template.example.completion]
            .map(|text| short(json!(text).to_string(), EXAMPLE_CHARS));
        text.push_str(&format!("\n  {name}\n    {}\n    {prompt} → {completion}\n", template.why));
    }
    text.push_str(
        "\naya has templates of its own, in the language of each message; --template FILE names another table.\n",
    );
    print(&text)
}

/// What a row or record looks like.
fn example(format: Format) -> &'static str {
    match format {
        Format::Jsonl | Format::Hf | Format::Arrow => {
            r#"{"id": "…", "commit": "…", "old_file": "add.py", "new_file": "add.py", "old_contents": "…", "new_contents": "…", "subject": "Return the sum", …}"#
        }
        Format::Commitpack => {
            r#"{"commit": "…", "old_file": "add.py", "new_file": "add.py", "old_contents": "…", "new_contents": "…", "subject": "Return the sum", …}"#
        }
        Format::Sft => r#"{"prompt": "Question: Return the sum\n…", "completion": "\nreturn a + b"}"#,
        Format::Kto => r#"{"prompt": "Question: Return the sum\n…", "completion": "\nreturn a - b", "label": false}"#,
        Format::Dpo => {
            r#"{"prompt": "Question: Return the sum\n…", "chosen": "\nreturn a + b", "rejected": "\nreturn a - b"}"#
        }
        Format::Grit => {
            r#"{"query": ["Given the subject …", "Return the sum"], "pos": [["", "@@ …"]], "neg": [["", "@@ …"]]}"#
        }
        Format::Dolma => {
            r#"{"id": "…", "text": "Return the sum\n\ndiff --git …", …}; {"id": "…", "attributes": {"gitlode__lang__python": [[0, 140, 1.0]], …}}"#
        }
        Format::Tokens => {
            "token_ids_part_0000.npy: 15 2891 …; labels_mask_part_0000.npy: 0 1 …; token_ids_part_0000.csv.gz: 0,412,…,owner/name,1"
        }
        Format::Aya => {
            r#"{"id": "…", "inputs": "Die Datei add.py soll geändert werden: Gib die Summe zurück …", "targets": "@@ …", …, "language": "deu", …}"#
        }
        Format::Provenance => {
            "data_attribution.csv: owner/name,https://…,Apache-2.0,Apache License 2.0,All,1,0,text,LICENSE,412"
        }
        Format::SentenceTransformers => r#"{"anchor": "Return the sum", "positive": "@@ …", "negative": "@@ …"}"#,
    }
}
