//! Languages of files: CommitPack's frozen table, and today's, by GitHub Linguist's rules and a tie-break.

pub mod commitpack;
pub mod generated;
pub mod linguist;
pub mod tie_break;

use generated::Generated;
use linguist::{LanguageId, Linguist, Method};
use tie_break::TieBreak;

/// What is known of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label<'t> {
    /// The language, and what decided; none where no rule fits.
    pub language: Option<(LanguageId, Method)>,
    /// Whether it comes from elsewhere, by its path.
    pub vendored: bool,
    /// The rule of `languages/generated.toml` by which a program made it.
    pub generated: Option<&'t str>,
}

/// All tables together.
#[derive(Clone, Copy)]
pub struct Languages {
    linguist: &'static Linguist,
    tie_break: &'static TieBreak,
    generated: &'static Generated,
}

impl Languages {
    /// The compiled-in tables.
    pub fn builtin() -> Self {
        Languages { linguist: Linguist::builtin(), tie_break: TieBreak::builtin(), generated: Generated::builtin() }
    }

    /// The table of languages.
    pub fn linguist(&self) -> &'static Linguist {
        self.linguist
    }

    /// What is known of the file with this path and these contents.
    pub fn label(&self, path: &str, contents: &str) -> Label<'static> {
        let candidates = self.linguist.candidates(path, contents);
        let language = match candidates.languages[..] {
            [] => None,
            [one] => Some((one, candidates.method)),
            ref several => Some((self.tie_break.decide(self.linguist, several, contents), Method::TieBreak)),
        };
        let (vendored, generated) = (self.linguist.is_vendored(path), self.generated.rule(path, contents));
        Label { language, vendored, generated }
    }
}
