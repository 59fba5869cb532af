//! Several patterns that are looked for at once, in contents and in paths.

use regex_automata::{
    MatchKind, meta,
    nfa::thompson::WhichCaptures,
    util::{prefilter::Prefilter, syntax},
};

/// Several patterns that are looked for at once.
pub(super) type AnyOf = meta::Regex;

/// Looked for by the automaton, which skips to the literals that matches begin with, if they all begin with some. Where a
/// literal in the middle or at the end of a pattern is common in the text, regex's search for that first ends in its
/// slowest engine, which took two thirds of the time of all labels. Automata that are built in full before anything is
/// searched cost a short run more than they save.
pub(super) fn any_of(patterns: &[String], multi_line: bool) -> Result<AnyOf, Box<meta::BuildError>> {
    let syntax = pattern_syntax(multi_line);
    // Patterns that can't be read are the builder's to name.
    let begin = syntax::parse_many_with(patterns, &syntax)
        .ok()
        .and_then(|parsed| Prefilter::from_hirs_prefix(MatchKind::LeftmostFirst, &parsed))
        .filter(Prefilter::is_fast);
    build(patterns, syntax, begin)
}

/// Looked for where a search begins, and nowhere else.
pub(super) fn at_start(patterns: &[String]) -> Result<AnyOf, Box<meta::BuildError>> {
    build(patterns, pattern_syntax(false), None)
}

fn build(
    patterns: &[String],
    syntax: syntax::Config,
    begin: Option<Prefilter>,
) -> Result<AnyOf, Box<meta::BuildError>> {
    let config = meta::Config::new().auto_prefilter(false).prefilter(begin).utf8_empty(false).dfa(false).onepass(false);
    // Nobody asks for groups.
    let config = config.which_captures(WhichCaptures::Implicit);
    meta::Regex::builder().configure(config).syntax(syntax).build_many(patterns).map_err(Box::new)
}

/// Classes such as `\w` are ASCII's, as they are for Linguist.
pub(super) fn pattern_syntax(multi_line: bool) -> syntax::Config {
    syntax::Config::new().multi_line(multi_line).unicode(false).utf8(false)
}
