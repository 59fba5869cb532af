//! The files about the rows of an export: the card, its figures, Croissant metadata.

use std::{fs, path::Path};

use serde::Serialize;

use super::{
    Error, Format,
    card::{self, About},
    croissant, embedding, io_error,
    manifest::Making,
};

/// A file about the rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Document {
    /// Its path, relative to the export.
    pub file: String,
    /// Its size.
    pub bytes: u64,
    /// BLAKE3 of the file, hexadecimal.
    pub blake3: String,
}

/// Writes into `directory` what the format of `about` has; what was written, sorted.
///
/// # Errors
/// A file can't be written.
pub fn write(directory: &Path, about: &About<'_>) -> Result<Vec<Document>, Error> {
    let mut texts = vec![("README.md".to_owned(), card::card(about).into_bytes())];
    texts.extend(card::figures(about).into_iter().map(|(file, text)| (file, text.into_bytes())));
    if about.options.format == Format::Hf {
        texts.push(("croissant.json".to_owned(), format!("{:#}\n", croissant::croissant(about)).into_bytes()));
    }
    if about.options.format == Format::Grit {
        for split in about.options.splits {
            let samples = embedding::num_samples(about.shards, split);
            if !samples.is_empty() {
                let text = format!("{:#}\n", serde_json::json!(samples));
                texts.push((format!("num_samples-{split}.json"), text.into_bytes()));
            }
        }
    }
    if let Some(Making::Tokens(tokenized)) = about.making {
        texts.extend(tokenized.documents(&about.changes.dropped));
    }
    if let Some(Making::Provenance(provenance)) = about.making {
        texts.extend(provenance.documents(about));
    }
    texts.sort();
    texts.into_iter().map(|(file, text)| document(directory, file, &text)).collect()
}

fn document(directory: &Path, file: String, bytes: &[u8]) -> Result<Document, Error> {
    let path = directory.join(&file);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(io_error(parent))?;
    }
    fs::write(&path, bytes).map_err(io_error(&path))?;
    Ok(Document { file, bytes: bytes.len() as u64, blake3: blake3::hash(bytes).to_hex().to_string() })
}
