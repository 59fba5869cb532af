//! What `gitlode export` makes records of rows with: templates, tokenizers and instructions, read from options and files.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Error, export::Args};
use crate::{
    dedup::near::SIMILARITY_MIN,
    export::{
        Format, Shape,
        aya::{Aya, Set, Templated},
        embedding::{Embedded, Embedding, Generative, INSTRUCTION},
        template::{Chat, Template},
        tokens::{Statistics, Tokenized, Tokens, Vocabulary, Width},
        trainer::{Budget, Trainer, Training},
    },
    filter::tokens,
    pipeline::known::Maker,
};

/// What ends a text in the vocabularies of GPT-2, StarCoder and OLMo.
const END_TOKEN: &str = "<|endoftext|>";

/// What was read.
pub struct Materials {
    parts: Option<Parts>,
    set: Option<Set>,
    embedded: Embedded,
    tokenized: Option<Tokenized>,
    templated: Templated,
}

impl Materials {
    /// Reads what the format of `args` needs.
    pub fn read(args: &Args) -> Result<Self, Error> {
        let parts = Parts::read(args)?;
        let set = match args.format {
            Format::Aya => Some(Set::find(args.template.as_deref())?),
            _ => None,
        };
        let tokenized = parts.as_ref().filter(|_| args.format == Format::Tokens).map(|parts| parts.tokenized(args));
        Ok(Materials {
            embedded: embedded(args, parts.as_ref()),
            tokenized: tokenized.transpose()?,
            templated: Templated {
                templates_digest: set.as_ref().map(|set| set.digest.clone()).unwrap_or_default(),
                tokens_max: args.tokens_max,
                templates: BTreeMap::new(),
            },
            parts,
            set,
        })
    }

    /// The fields of a record, of trainers' formats.
    pub fn shape(&self, format: Format) -> Option<Shape> {
        self.parts.as_ref().filter(|_| format.is_of_trainer()).map(|parts| parts.training.shape)
    }

    /// The width of token ids.
    pub fn width(&self) -> Option<Width> {
        self.tokenized.as_ref().map(|tokenized| tokenized.dtype)
    }
}

/// What makes records, of [`Materials`].
pub struct Machines<'a> {
    trainer: Option<Trainer<'a>>,
    aya: Option<Aya<'a>>,
}

impl<'a> Machines<'a> {
    /// Of `materials`; records name one of `splits` and end with `columns` where they have them.
    pub fn new(
        args: &Args,
        materials: &'a Materials,
        columns: &'a [&'a str],
        splits: &'a [&'a str],
    ) -> Result<Self, Error> {
        let budget = args.tokens_max.map(|tokens_max| Budget { tokens_max, count: tokens::count_joined });
        let trainer = |parts: &'a Parts| {
            // Conversations and token ids are prompts with completions.
            let format = if args.format.is_of_trainer() { args.format } else { Format::Sft };
            let shape = (format, parts.training.shape);
            Trainer::new(shape, columns, &parts.template, parts.chat.as_ref(), tokens::special(), budget)
        };
        let aya = |set: &'a Set| Aya::new(set, splits, &tokens::special(), budget);
        Ok(Machines {
            trainer: materials.parts.as_ref().map(trainer).transpose().map_err(Error::Usage)?,
            aya: materials.set.as_ref().map(aya).transpose().map_err(Error::Usage)?,
        })
    }

    /// What makes the records of the format; none where rows stay rows.
    pub fn maker(&'a self, args: &'a Args, materials: &'a Materials, columns: &'a [&'a str]) -> Option<Maker<'a>> {
        let trainer = self.trainer.as_ref();
        match args.format {
            Format::Jsonl | Format::Hf | Format::Arrow | Format::Commitpack => None,
            Format::Sft | Format::Kto | Format::Dpo => {
                trainer.zip(materials.parts.as_ref()).map(|(trainer, parts)| Maker::Training(trainer, &parts.training))
            }
            Format::Grit | Format::SentenceTransformers => {
                let embedding = Embedding::new(args.format, instruction(args), trainer);
                Some(Maker::Embedding(embedding, &materials.embedded))
            }
            Format::Dolma => Some(Maker::Dolma(columns)),
            Format::Provenance => Some(Maker::Provenance),
            Format::Tokens => trainer.zip(materials.tokenized.as_ref()).map(|(trainer, tokenized)| {
                let end = (tokenized.end_token.as_str(), tokenized.end_token_id);
                let tokens = Tokens::new(trainer, Vocabulary { encode: tokens::encode, end });
                Maker::Tokens(tokens, tokenized)
            }),
            Format::Aya => self.aya.as_ref().map(|aya| Maker::Aya(aya, &materials.templated)),
        }
    }
}

/// What queries of `grit` ask for.
fn instruction(args: &Args) -> &str {
    args.instruction.as_deref().unwrap_or(INSTRUCTION)
}

fn embedded(args: &Args, parts: Option<&Parts>) -> Embedded {
    let generative = |parts: &Parts| Generative { training: parts.training.clone(), rows: 0, dropped: BTreeMap::new() };
    Embedded {
        instruction: (args.format == Format::Grit).then(|| instruction(args).to_owned()),
        similarity_max: SIMILARITY_MIN,
        negatives: BTreeMap::new(),
        generative: parts.map(generative),
    }
}

/// What makes records of rows by a template.
struct Parts {
    template: Template,
    chat: Option<Chat>,
    training: Training,
}

impl Parts {
    /// Reads the template and what goes with it; none for a format without records.
    fn read(args: &Args) -> Result<Option<Self>, Error> {
        for (refusal, format, is_given) in [
            ("--end-token is for --format tokens", Format::Tokens, args.end_token.is_some()),
            ("--instruction is for --format grit", Format::Grit, args.instruction.is_some()),
        ] {
            if is_given && args.format != format {
                return Err(Error::Usage(refusal.to_owned()));
            }
        }
        if !args.format.has_template() {
            let only = [
                ("--shape", args.shape.is_some()),
                ("--template", args.template.is_some() && args.format != Format::Aya),
                ("--chat-template", args.chat_template.is_some()),
                ("--tokens-max", args.tokens_max.is_some() && args.format != Format::Aya),
            ];
            return match only.iter().find(|(_, is_given)| *is_given) {
                Some((name, _)) => {
                    Err(Error::Usage(format!("{name} is for --format sft, kto, dpo, grit, tokens and aya")))
                }
                None => Ok(None),
            };
        }
        if args.format == Format::Grit && (args.shape.is_some() || args.chat_template.is_some()) {
            return Err(Error::Usage(
                "GritLM makes texts of conversations itself: no --shape, no --chat-template".into(),
            ));
        }
        if args.format == Format::Tokens && args.shape.is_some() {
            return Err(Error::Usage("tokens are of one text: --shape is for sft, kto and dpo".into()));
        }
        let template = Template::find(args.template.as_deref().unwrap_or("octocoder"))?;
        let chat = args.chat_template.as_deref().map(Chat::read).transpose()?;
        let tokenizer = || tokens::digest().unwrap_or("estimate").to_owned();
        let training = Training {
            shape: args.shape.unwrap_or(if chat.is_some() || args.format == Format::Tokens {
                Shape::Text
            } else {
                Shape::PromptCompletion
            }),
            template: template.id.clone(),
            template_digest: template.digest.clone(),
            edit: template.edit,
            chat_template_digest: chat.as_ref().map(|chat| chat.digest.clone()),
            tokens_max: args.tokens_max,
            tokenizer: (args.tokens_max.is_some() || args.format == Format::Tokens).then(tokenizer),
            classes: None,
            pairs: None,
        };
        Ok(Some(Parts { template, chat, training }))
    }

    fn tokenized(&self, args: &Args) -> Result<Tokenized, Error> {
        let usage = |reason: &str| Error::Usage(reason.to_owned());
        let (Some(file), Some(id_max)) = (tokens::file(), tokens::id_max()) else {
            return Err(usage("--format tokens needs the model's tokenizer: --tokenizer FILE"));
        };
        let of_chat = self.chat.as_ref().map(|chat| chat.end.clone()).filter(|end| !end.is_empty());
        let end_token = args.end_token.clone().or(of_chat).unwrap_or_else(|| END_TOKEN.to_owned());
        let Some(end_token_id) = tokens::id(&end_token) else {
            return Err(usage(&format!(
                "the tokenizer has no token {end_token}: --end-token names the one that ends a document"
            )));
        };
        let mut config = json!({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": end_token});
        if let Some(chat) = &self.chat {
            config["chat_template"] = json!(chat.source);
        }
        let given = self.chat.as_ref().and_then(|chat| chat.config.clone());
        let config = given.unwrap_or_else(|| format!("{config:#}\n"));
        Ok(Tokenized {
            training: self.training.clone(),
            dtype: Width::of(id_max),
            vocabulary: u64::from(id_max) + 1,
            end_token,
            end_token_id,
            statistics: Statistics::default(),
            repositories: BTreeMap::new(),
            tokenizer_files: vec![
                ("tokenizer.json".to_owned(), file.to_vec()),
                ("tokenizer_config.json".to_owned(), config.into_bytes()),
            ],
        })
    }
}
