//! Languages of files: CommitPack's frozen table, and today's, by GitHub Linguist's rules and a tie-break.

pub mod commitpack;
pub mod generated;
pub mod linguist;
pub mod tie_break;

use std::cell::RefCell;

use commitpack::CommitPackLanguages;
use generated::Generated;
use linguist::{Decided, LanguageId, Linguist, Method};
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

/// What a path says, whatever the contents.
#[derive(Default)]
pub struct PathFacts {
    /// The path that this is about.
    pub path: String,
    /// What CommitPack calls its language.
    pub commitpack: &'static str,
    vendored: bool,
    generated: generated::ForPath<'static>,
    decided: RefCell<Decided>,
    generated_last: RefCell<generated::Last>,
}

/// All tables together.
#[derive(Clone, Copy)]
pub struct Languages {
    linguist: &'static Linguist,
    generated: &'static Generated,
}

impl Languages {
    /// The compiled-in tables.
    pub fn in_use() -> Self {
        Languages { linguist: Linguist::in_use(), generated: Generated::in_use() }
    }

    /// The table of languages.
    pub fn linguist(&self) -> &'static Linguist {
        self.linguist
    }

    /// By which rule a program made every file with this path; none where contents have a say.
    pub fn generated_by_path(&self, path: &str) -> Option<&'static str> {
        self.generated.by_path(path)
    }

    /// What the path alone says. Most of it costs more than it tells, so it should be asked once for all versions of
    /// a file.
    pub fn for_path(&self, path: &str) -> PathFacts {
        let (vendored, generated) = (self.linguist.is_vendored(path), self.generated.for_path(path));
        let commitpack = CommitPackLanguages::in_use().lang(path);
        PathFacts { path: path.to_owned(), commitpack, vendored, generated, ..PathFacts::default() }
    }

    /// What is known of the file with these contents at the path that `facts` are about.
    pub fn label(&self, facts: &PathFacts, contents: &str) -> Label<'static> {
        let path = &facts.path;
        let candidates = self.linguist.candidates(path, contents, &mut facts.decided.borrow_mut());
        let language = match candidates.languages[..] {
            [] => None,
            [one] => Some((one, candidates.method)),
            ref several => Some((TieBreak::in_use().decide(self.linguist, several, contents), Method::TieBreak)),
        };
        let generated = facts.generated.rule(contents, &mut facts.generated_last.borrow_mut());
        Label { language, vendored: facts.vendored, generated }
    }
}
