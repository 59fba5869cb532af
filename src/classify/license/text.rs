//! Knows licence texts, and the notices at the head of source files, by phrases that tell them apart.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::LazyLock,
};

use super::{
    Licenses,
    phrases::{Hit, normalized},
};

/// Longest licence file that is read, in bytes. The longest text of the table has 35 kB; collections of many go on.
pub const TEXT_BYTES_MAX: usize = 512 * 1024;

/// What a text says of the licence that something is under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Nothing: it has no terms, or points to another file.
    Nothing,
    /// That there is a choice, without a name.
    Choice,
    /// It has terms that are not known.
    Unknown,
    /// These, as an SPDX expression.
    Known {
        /// SPDX expression.
        expression: String,
        /// Whether it names them in words only, without their texts.
        in_words: bool,
    },
}

impl Said {
    /// The SPDX expression, where one is known.
    pub fn expression(self) -> Option<String> {
        match self {
            Said::Known { expression, .. } => Some(expression),
            _ => None,
        }
    }
}

/// A place in a text that names a licence.
#[derive(Clone, Copy)]
pub(super) struct Mention<'t> {
    pub(super) start: usize,
    pub(super) end: usize,
    /// SPDX identifier; none where it is one that is not known.
    pub(super) id: Option<&'t str>,
}

/// What the table finds in a normalized text.
pub(super) struct Search<'t> {
    /// Licences whose whole texts there are.
    pub(super) texts: Vec<Mention<'t>>,
    pub(super) notices: Vec<Mention<'t>>,
    /// Names, which only count where words offer a choice.
    pub(super) names: Vec<Mention<'t>>,
    /// Whether words limit the use.
    pub(super) limited: bool,
}

impl Licenses {
    /// What a licence file says. Its texts hold together, unless words offer a choice.
    pub fn in_text(&self, text: &str) -> Said {
        if let Some(said) = super::reuse::debian(text) {
            return said;
        }
        let text = normalized(&text[..text.floor_char_boundary(TEXT_BYTES_MAX)]);
        let Search { texts, mut notices, names, limited } = self.search(&text);
        let markers: Vec<Marker> = markers(&text).take(MARKERS_MAX).collect();
        let offered = !markers.is_empty();
        let restricted = |mention: &Mention<'_>| mention.id.is_none_or(|id| self.class(id).restricted);
        let known = |expression| Said::Known { expression, in_words: false };
        let joined = |ids: &BTreeSet<&str>, choice| {
            ids.iter().copied().collect::<Vec<_>>().join(if choice { " OR " } else { " AND " })
        };
        if texts.is_empty() {
            // Some have the notice that belongs into source files where the text should be, or words alone.
            return match self.by_notices(&text, notices, names) {
                // It has terms of its own, and names other licences for other reasons.
                Some(_) if text.len() > WORDS_MAX => Said::Unknown,
                Some(Some(expression)) if !limited || self.class(&expression).restricted => {
                    Said::Known { expression, in_words: true }
                }
                Some(_) => Said::Unknown,
                None if limited => Said::Unknown,
                None => without_licence(&text, offered && text.len() <= WORDS_MAX),
            };
        }
        // A choice stands at either end of a file. In collections of many, words like these belong to one of them.
        let first = texts.iter().map(|mention| mention.start).min().unwrap_or(0);
        // Copyleft texts speak of choices themselves, so that beside a permissive one only what stands before both offers one.
        let is_mixed = texts.iter().any(restricted) && !texts.iter().all(restricted);
        let is_at_end = |marker: &Marker| !is_mixed && marker.start + ENDS >= text.len();
        let ends = markers.iter().any(|marker| marker.end <= first || is_at_end(marker));
        let mut choice = ends && texts.len() <= 3;
        let mut ids: BTreeSet<&str> = texts.iter().filter_map(|mention| mention.id).collect();
        // The GNU LGPL 3 is written as an addition to the GPL 3, and its text is often in one file with that.
        if ids.iter().any(|id| id.starts_with("LGPL-3.0")) {
            ids.retain(|id| !id.starts_with("GPL-3.0"));
        }
        if !texts.iter().any(restricted) {
            // Of the GNU FDL some versions are not in the table.
            if limited || text.contains(" gnu free documentation licen") {
                return Said::Unknown;
            }
            // Copyleft texts speak of each other; beside permissive ones, a sentence may put a part under one.
            notices.retain(|notice| restricted(notice) && is_outright(&text, notice));
            if notices.iter().any(|notice| notice.id.is_none()) && !choice {
                return Said::Unknown;
            }
            // A choice is of what is named close to it; the rest holds beside that.
            let (offered, apart): (Vec<&Mention<'_>>, Vec<&Mention<'_>>) =
                notices.iter().partition(|notice| is_offered(&text, &markers, notice));
            ids.extend(offered.iter().filter_map(|notice| notice.id));
            let apart: BTreeSet<&str> = apart.iter().filter_map(|notice| notice.id).collect();
            let apart: Vec<&str> = apart.difference(&ids).copied().collect();
            if choice && ids.len() > 1 && !apart.is_empty() {
                return known(format!("({}) AND {}", joined(&ids, true), apart.join(" AND ")));
            }
            choice &= apart.is_empty();
            ids.extend(apart);
        }
        known(joined(&ids, choice))
    }

    /// What is in a normalized text.
    pub(super) fn search<'t>(&'t self, text: &'t str) -> Search<'t> {
        let mut places: HashMap<usize, (usize, usize)> = HashMap::new();
        let (mut candidates, mut notices, mut names, mut limited) = (BTreeSet::new(), Vec::new(), Vec::new(), false);
        for Hit { phrase: at, start, end } in self.phrases.hits(text) {
            places.entry(at).or_insert((start, end));
            let roles = &self.roles[at];
            candidates.extend(&roles.texts);
            let mention = |license: &usize| Mention { start, end, id: Some(self.licenses[*license].id.as_str()) };
            notices.extend(roles.headers.iter().map(mention));
            names.extend(roles.names.iter().map(mention));
            limited |= roles.limit;
        }
        let place = |phrase: &String| self.pattern_of.get(phrase).and_then(|at| places.get(at));
        let texts = candidates.into_iter().map(|at: usize| &self.licenses[at]);
        let texts = texts.filter(|license| license.is_text(|phrase| place(phrase).is_some()));
        let texts = texts.map(|license| {
            let each = || license.every.iter().filter_map(place);
            let (start, end) = (each().map(|place| place.0).min(), each().map(|place| place.1).max());
            Mention { start: start.unwrap_or(0), end: end.unwrap_or(0), id: Some(license.id.as_str()) }
        });
        let texts = texts.collect();
        self.gnu(text, &mut notices);
        Search { texts, notices: longest(notices), names, limited }
    }

    /// Adds the places that name a GNU licence. One without a version means any version, as the licences themselves say,
    /// unless another place has the version.
    fn gnu<'t>(&'t self, text: &'t str, notices: &mut Vec<Mention<'t>>) {
        static GNU: LazyLock<regex::Regex> = LazyLock::new(|| {
            // Choices are counted: `or (c) the GNU …`.
            let lead = r"\b(?P<lead>under|licen[sc]ed?|licen[sc]es|is|are|of|or|and|either|to|else) (?:(?:the|a|terms|and|conditions|of|either|dual|[b-e1-5]|i{1,3}) )*";
            let name = r"(?P<name>(?:gnu )?(?:(?P<kind>affero|lesser|library) )?(?:general public licen[sc]e|[al]?gpl))(?: licen[sc]e)?(?: [al]?gpl)?";
            let version = r"(?: as published by the free software foundation(?: inc)?)?(?: either)?(?:(?: ?v(?:ersion)? ?| )(?P<major>[123])(?: (?P<minor>[01]))?)?";
            let later = r"(?P<later>(?: of the licen[sc]e)? or (?:at your option )?(?:any )?(?:later|newer))?\b";
            regex::Regex::new(&[lead, name, version, later].concat()).expect("the pattern is valid")
        });
        if !text.contains("gpl") && !text.contains(" general public licen") {
            return;
        }
        let mut families: HashSet<&str> = notices.iter().filter_map(|notice| gnu_family(notice.id?)).collect();
        let mut unversioned = Vec::new();
        for found in GNU.captures_iter(text) {
            let (Some(whole), Some(name)) = (found.get(0), found.name("name")) else { continue };
            let kind = found.name("kind").map_or("", |kind| kind.as_str());
            let family = match (kind, name.as_str()) {
                ("affero", _) | (_, "agpl" | "gnu agpl") => "AGPL",
                ("lesser" | "library", _) | (_, "lgpl" | "gnu lgpl") => "LGPL",
                _ => "GPL",
            };
            let number = |group: &str| found.name(group).map(|number| number.as_str());
            let minor = match (number("minor"), kind, family, number("major")) {
                (Some(minor), ..) => minor,
                (None, kind, "LGPL", Some("2")) if kind != "library" => "1",
                _ => "0",
            };
            let how = if found.name("later").is_some() { "or-later" } else { "only" };
            let id = number("major").and_then(|major| spdx::license_id(&format!("{family}-{major}.{minor}-{how}")));
            let any_version = match family {
                "GPL" => Some("GPL-1.0-or-later"),
                "LGPL" => Some("LGPL-2.0-or-later"),
                _ => None,
            };
            let mention =
                Mention { start: name.start(), end: whole.end(), id: id.map_or(any_version, |id| Some(id.name)) };
            let before = &text[whole.start()..name.start()];
            if id.is_some() {
                families.insert(family);
                notices.push(mention);
            } else if !before.contains("terms")
                && !matches!(&found["lead"], "under" | "license" | "licence" | "licensed" | "licenced")
                || [" compatible", " exception"].iter().any(|next| text[whole.end()..].starts_with(next))
            {
                continue;
            } else {
                unversioned.push((family, mention));
            }
        }
        let alone = unversioned.into_iter().filter(|(family, _)| !families.contains(family));
        notices.extend(alone.map(|(_, mention)| mention));
    }

    /// The expression that notices make: all of them hold, but those that words offer as a choice. The inner value is
    /// none where one is not known.
    pub(super) fn by_notices<'t>(
        &self,
        text: &str,
        mut notices: Vec<Mention<'t>>,
        names: Vec<Mention<'t>>,
    ) -> Option<Option<String>> {
        let markers: Vec<Marker> = markers(text).take(MARKERS_MAX).collect();
        notices.extend(names.into_iter().filter(|name| markers.iter().any(|marker| marker.reaches(name, name))));
        let mut notices = longest(notices).into_iter();
        let first = notices.next()?;
        let mut groups: Vec<BTreeSet<Option<&str>>> = vec![BTreeSet::from([first.id])];
        let mut last = first;
        for notice in notices {
            if !is_choice(text, &markers, &last, &notice) {
                groups.push(BTreeSet::new());
            }
            if groups.len() > GROUPS_MAX {
                return Some(None);
            }
            if let Some(group) = groups.last_mut() {
                group.insert(notice.id);
            }
            last = notice;
        }
        for group in groups.iter_mut().filter(|group| group.len() > 1) {
            group.remove(&None);
        }
        groups.sort();
        groups.dedup();
        // Whoever offers a choice may name one of its sides once more.
        let choices: Vec<BTreeSet<Option<&str>>> = groups.iter().filter(|group| group.len() > 1).cloned().collect();
        let restricted = |id: &Option<&str>| id.is_none_or(|id| self.class(id).restricted);
        let again = |id: &Option<&str>| {
            let harmless = |choice: &BTreeSet<_>| !restricted(id) || choice.iter().all(restricted);
            choices.iter().any(|choice| choice.contains(id) && harmless(choice))
        };
        // A later sentence often names the version again, without saying that later ones do as well.
        let later: BTreeSet<String> = groups
            .iter()
            .flatten()
            .flatten()
            .filter_map(|id| id.strip_suffix("-or-later"))
            .map(|id| format!("{id}-only"))
            .collect();
        let repeats = |id: &Option<&str>| again(id) || id.is_some_and(|id| later.contains(id));
        groups.retain(|group| group.len() > 1 || !group.iter().any(repeats));
        let several = groups.len() > 1;
        let parts = groups.into_iter().map(|group| {
            let ids: Option<Vec<&str>> = group.into_iter().collect();
            let together = ids?.join(" OR ");
            Some(if several && together.contains(" OR ") { format!("({together})") } else { together })
        });
        Some(parts.collect::<Option<Vec<String>>>().map(|parts| parts.join(" AND ")))
    }
}

/// Most choices that are looked at in a text, and most licences that hold together by notices: enough for any notice,
/// and a bound for what is made to be slow.
const MARKERS_MAX: usize = 64;
const GROUPS_MAX: usize = 32;

/// Which of the GNU licences an identifier is of.
pub(super) fn gnu_family(id: &str) -> Option<&'static str> {
    ["GPL", "LGPL", "AGPL"].into_iter().find(|family| id.strip_prefix(family).is_some_and(|rest| rest.starts_with('-')))
}

/// Mentions by their place; of those that overlap, the longest.
fn longest(mut mentions: Vec<Mention<'_>>) -> Vec<Mention<'_>> {
    mentions.sort_by_key(|mention| (mention.start, std::cmp::Reverse(mention.end), mention.id));
    let mut kept: Vec<Mention<'_>> = Vec::new();
    for mention in mentions {
        match kept.last_mut() {
            Some(last) if mention.start < last.end => {
                if mention.end - mention.start > last.end - last.start {
                    *last = mention;
                }
            }
            _ => kept.push(mention),
        }
    }
    kept
}

/// Words that offer a choice.
struct Marker {
    start: usize,
    end: usize,
    /// Whether the licences stand before it.
    behind: bool,
}

/// How long a licence file without a text that is known may be, in letters, to be understood by its words.
const WORDS_MAX: usize = 3000;

/// How close to the end of a licence file, in letters, a choice may stand.
const ENDS: usize = 1000;

/// How far from the words that offer a choice the licences stand, in letters of a normalized text.
const REACH: usize = 400;

impl Marker {
    /// Whether the choice is about what stands from `first` to `second`.
    fn reaches(&self, first: &Mention<'_>, second: &Mention<'_>) -> bool {
        if self.behind {
            first.start < self.start && self.start.saturating_sub(second.end) <= REACH
        } else {
            self.start <= first.start && first.start.saturating_sub(self.end) <= REACH
        }
    }
}

/// The places in a normalized text that offer a choice of licences, and not one of a later version, as the GNU licences do.
fn markers(text: &str) -> impl Iterator<Item = Marker> {
    static MARKER: LazyLock<regex::Regex> = LazyLock::new(|| {
        let behind = r"\b(?P<behind>at your (?:option|choice|discretion))\b";
        let before = r"at your election|(?:dual(?:ly)?|triple) licen[sc](?:ed?|ing)|(?:your|user s) choice of|either of(?: the)?|choose either|under either|terms of either";
        regex::Regex::new(&format!(r"{behind}|\b(?:{before})\b")).expect("the pattern is valid")
    });
    // The GNU licences say "at your option" of other things as well.
    let other = [" any ", " offer ", " remove ", " designate ", " c if ", " or any ", " later "];
    MARKER.captures_iter(text).filter_map(move |found| {
        let whole = found.get(0)?;
        let behind = found.name("behind").is_some();
        let is_other = behind && other.iter().any(|next| text[whole.end()..].starts_with(next));
        (!is_other).then_some(Marker { start: whole.start(), end: whole.end(), behind })
    })
}

/// Words that begin to speak of something else.
const APART: [&str; 7] = [" is ", " are ", " licensed ", " released ", " distributed ", " copyright ", " except "];

/// Whether words offer what a mention names as one side of a choice.
fn is_offered(text: &str, markers: &[Marker], mention: &Mention<'_>) -> bool {
    markers.iter().any(|marker| {
        let between = if marker.behind { mention.end..marker.start } else { marker.end..mention.start };
        let between = text.get(between).unwrap_or("");
        marker.reaches(mention, mention) && !APART.iter().any(|word| between.contains(word))
    })
}

/// Whether words offer a choice between two mentions that follow each other.
fn is_choice(text: &str, markers: &[Marker], first: &Mention<'_>, second: &Mention<'_>) -> bool {
    let between = text.get(first.end..second.start).unwrap_or("");
    if between.contains(" alternatively ") {
        return true;
    }
    if between.len() > REACH || APART.iter().any(|word| between.contains(word)) {
        return false;
    }
    let or = [" or ", " or the ", " or a ", " or under the ", " or under the terms of the ", " or the terms of the "];
    (between.len() <= 120 && or.iter().any(|end| between.ends_with(end)))
        || markers.iter().any(|marker| marker.reaches(first, second))
}

/// Whether a mention, or what stands before it, says that something is under the licence.
fn is_outright(text: &str, mention: &Mention<'_>) -> bool {
    if text[mention.start..mention.end].contains("subject to the terms") {
        return true;
    }
    let before = &text[..mention.start];
    let from = before.floor_char_boundary(before.len().saturating_sub(60));
    let verbs = [
        "licensed under",
        "released under",
        "distributed under",
        "available under",
        "covered by",
        "covered under",
        "subject to",
        "under the terms of",
        "provided under",
    ];
    // Python's licence says of what it may be combined with, and of what some of it once was.
    let other = [" previously ", " other software "];
    let has = |word: &&str| before[from..].contains(*word);
    verbs.iter().any(&has) && !other.iter().any(has)
}

/// What a licence file says in which no licence is known. A file is only unknown where it has terms: many are named like
/// one and point to another, or list what others have made.
fn without_licence(text: &str, choice: bool) -> Said {
    if choice {
        return Said::Choice;
    }
    let words = text.split_whitespace().count();
    if words <= 8
        && let Some(expression) = super::metadata::named(text.trim()).expression()
    {
        return Said::Known { expression, in_words: true };
    }
    let begin = &text[..text.floor_char_boundary(300)];
    let is_list = begin.contains(" third party ")
        && [" notices ", " notice ", " licenses ", " components "].iter().any(|word| begin.contains(word));
    let points =
        [" see ", " refer to ", " found in ", " symlink ", " located in ", " licenses directory ", " license file "];
    let is_pointer = words <= 120
        && !text.contains(" http")
        && points.iter().any(|word| text.contains(word))
        && [" license ", " licence ", " copying ", " licenses ", " readme "].iter().any(|word| text.contains(word));
    let terms = [
        " permission ",
        " permitted ",
        " may ",
        " must ",
        " shall ",
        " grant ",
        " granted ",
        " grants ",
        " agreement ",
        " terms ",
        " rights ",
        " licensed ",
        " proprietary ",
        " confidential ",
        " prohibited ",
        " warranty ",
        " warranties ",
        " license ",
        " licence ",
        " commercial ",
    ];
    let is_path = words <= 8 && !terms[..16].iter().any(|word| text.contains(word));
    let has_terms = words > 60 || terms.iter().any(|word| text.contains(word));
    if is_list || is_pointer {
        return Said::Nothing;
    }
    if names_copyleft(text) || text.contains(" all rights reserved ") {
        return Said::Unknown;
    }
    if is_path || !has_terms { Said::Nothing } else { Said::Unknown }
}

/// Whether a normalized text names a licence that demands more than a notice, which nothing more exact was said of.
pub(super) fn names_copyleft(text: &str) -> bool {
    static NAME: LazyLock<regex::Regex> = LazyLock::new(|| {
        let gnu = r"(?:gnu )?(?:(?:affero|lesser|library) )?general public licen[sc]e|[al]?gplv?[123]?(?: [0123])?|gnu free documentation licen[sc]e";
        let others = r"cecill|eupl|mozilla public licen[sc]e|eclipse public licen[sc]e|netscape public licen[sc]e|same terms as perl itself|creative commons|cc by(?: n[cd])?(?: sa| nd)?|open database licen[sc]e|proprietary";
        regex::Regex::new(&format!(r"\b(?:{gnu}|{others})\b")).expect("the pattern is valid")
    });
    NAME.find_iter(text).any(|found| {
        let (before, behind) = (&text[..found.start()], &text[found.end()..]);
        let is_other = [" compatible", " incompatible", " exception"].iter().any(|next| behind.starts_with(next));
        !is_other && ![" not ", " not be ", " non ", " no ", " without "].iter().any(|word| before.ends_with(word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copyleft_beside_a_permissive_text_counts() {
        let mit = "Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated \
                   documentation files, to deal in the Software without restriction. The above copyright notice and this \
                   permission notice shall be included.";
        let mpl = "This Source Code Form is subject to the terms of the Mozilla Public License, v. 2.0.";
        let lgpl = "You can redistribute it under the terms of the GNU Lesser General Public License as published by the Free Software \
                    Foundation; either version 2.1 of the License, or (at your option) any later version. It is distributed in the hope \
                    that it will be useful.";
        let debian =
            "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nLicense: ";
        let lgpl_text = "GNU LESSER GENERAL PUBLIC LICENSE Version 3, 29 June 2007. At your option, either under this license or another.";
        for (text, expected) in [
            (format!("{mit}\n{lgpl_text}"), Some("LGPL-3.0-only AND MIT")),
            (
                format!("Dual licensed, at your option, under either of these:\n{mit}\n{lgpl_text}"),
                Some("LGPL-3.0-only OR MIT"),
            ),
            (format!("{mpl}\n{mit}"), Some("MIT AND MPL-2.0")),
            (
                format!("Main code: {lgpl}\nhash.c: MIT, or BSD at your option:\n{mit}"),
                Some("LGPL-2.1-or-later AND MIT"),
            ),
            (format!("{debian}MPL-2.0\n\nFiles: z/*\nLicense: Zlib\n {mit}"), Some("MPL-2.0 AND Zlib")),
            (format!("{debian}GPL-2+ or Expat\n"), Some("GPL-2.0-or-later OR MIT")),
            (format!("{debian}own-terms\n\n{mit}"), None),
            (format!("{mit}\n\nGNU Free Documentation License\nVersion 1.2, November 2002"), None),
            ("GPL\n".to_owned(), None),
            ("CC BY-NC 4.0\nhttps://creativecommons.org/licenses/by-nc/4.0/".to_owned(), None),
            ("Free for academic use only.".to_owned(), None),
        ] {
            let said = Licenses::in_use().in_text(&text);
            assert_ne!(said, Said::Nothing, "{text}");
            assert_eq!(said.expression().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn what_limits_the_use_is_not_permissive() {
        let mit = "Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated \
                   documentation files, to deal in the Software GRANT. The above copyright notice and this permission notice shall \
                   be included.";
        let bsd = "Redistribution and use, with or without modification, are permitted GRANT: Redistributions of source code must \
                   retain this. Redistributions in binary form must reproduce it.";
        let isc = "Permission to use, copy, modify, and distribute this software for any purpose with or without fee is hereby \
                   granted, provided that the above copyright notice and this permission notice appear in all copies.";
        for (text, grant, expected) in [
            (mit, "without restriction", Some("MIT")),
            (mit, "for non-commercial purposes only", None),
            (bsd, "provided that", Some("BSD-2-Clause")),
            (bsd, "for non-commercial research purposes only, provided that", None),
            (isc, "", Some("ISC")),
            (
                "Functional Source License, FSL-1.1-ALv2. Grant of Future License: the Apache License, Version 2.0",
                "",
                Some("FSL-1.1-ALv2"),
            ),
            ("No Competing Use. Later it is licensed under the Apache License, Version 2.0", "", None),
            (
                "The core is AGPLv3. The client SDK is licensed under the Apache License, Version 2.0.",
                "",
                Some("AGPL-3.0-only AND Apache-2.0"),
            ),
            (
                "licensed under the GNU GPL v3, and so on. The examples are MIT licensed.",
                "",
                Some("GPL-3.0-only AND MIT"),
            ),
        ] {
            let text = text.replace("GRANT", grant);
            assert_eq!(Licenses::in_use().in_text(&text).expression().as_deref(), expected, "{text}");
        }
        let mixed =
            format!("{} The server is released under the GNU GPL v2.", mit.replace("GRANT", "without restriction"));
        assert_eq!(Licenses::in_use().in_text(&mixed).expression().as_deref(), Some("GPL-2.0-only AND MIT"));
        let mixed = format!("{mixed} This can be combined with other software that is released under the GPL.");
        assert_eq!(Licenses::in_use().in_text(&mixed).expression().as_deref(), Some("GPL-2.0-only AND MIT"));
        let python =
            format!("{} Parts were previously distributed under the GPL.", mit.replace("GRANT", "without restriction"));
        assert_eq!(Licenses::in_use().in_text(&python).expression().as_deref(), Some("MIT"));
        let own = format!(
            "{} Its libraries are licensed under the Apache License, Version 2.0",
            "You shall not do this. ".repeat(200)
        );
        assert_eq!(Licenses::in_use().in_text(&own), Said::Unknown);
        let sleepycat = format!(
            "{} Redistributions in any form must be accompanied by information on how to obtain complete source code",
            bsd.replace("GRANT", "provided that")
        );
        assert_eq!(Licenses::in_use().in_text(&sleepycat).expression().as_deref(), Some("Sleepycat"));
    }

    #[test]
    fn files_without_terms_say_nothing() {
        for (text, expected) in [
            ("", Said::Nothing),
            ("See ../LICENSE", Said::Nothing),
            ("../../LICENSE.txt", Said::Nothing),
            ("Please refer to the license file in the root directory for the terms.", Said::Nothing),
            ("Third-party licenses\n\nThis software includes foo by bar.", Said::Nothing),
            ("Copyright (c) 2020 Someone", Said::Nothing),
            ("See https://example.org/terms for the license.", Said::Unknown),
            ("Copyright (c) 2020 Someone. All rights reserved.", Said::Unknown),
            ("It may only be used in production if you have agreed to the Subscription Terms.", Said::Unknown),
            ("The project is dual licensed.", Said::Choice),
        ] {
            assert_eq!(Licenses::in_use().in_text(text), expected, "{text}");
        }
        let named = Said::Known { expression: "MIT".to_owned(), in_words: true };
        assert_eq!(Licenses::in_use().in_text("MIT License\n"), named);
    }

    #[test]
    fn texts_with_several_licenses() {
        let mit = "Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated \
                   documentation files … without restriction … The above copyright notice and this permission notice shall be included";
        let says = |text: &str| Licenses::in_use().in_text(text).expression();
        assert_eq!(says(mit).as_deref(), Some("MIT"));
        assert_eq!(
            says(&format!("{mit} \"Commons Clause\" License Condition v1.0")).as_deref(),
            Some("LicenseRef-Commons-Clause AND MIT")
        );
        assert_eq!(says("Licensed under MIT or Apache-2.0, at your option.").as_deref(), Some("Apache-2.0 OR MIT"));
        let files = "This software is made available under the terms of *either* of the licenses found in LICENSE.APACHE2 or LICENSE.MIT. \
                     Contributions are made under the terms of *both* these licenses.";
        let dual = "This project is dual-licensed under the terms of the MIT and Apache (version 2.0) licenses.";
        [files, dual].iter().for_each(|text| assert_eq!(says(text).as_deref(), Some("Apache-2.0 OR MIT"), "{text}"));
        assert_eq!(says("Licensed under the Apache License, Version 2.0").as_deref(), Some("Apache-2.0"));
        // What GPL texts say "at your option" of is no choice between licences.
        let gpl = "GNU GENERAL PUBLIC LICENSE Version 2, June 1991. You may copy and distribute verbatim copies of the Program's \
                   source code. You may at your option offer warranty protection.";
        assert_eq!(says(&format!("{mit} {gpl}")).as_deref(), Some("GPL-2.0-only AND MIT"));
        for choice in ["Under either of these: ", "Use it under the terms of either the MIT licence or the GPL."] {
            assert_eq!(says(&format!("{choice} {mit} {gpl}")).as_deref(), Some("GPL-2.0-only OR MIT"), "{choice}");
        }
    }
}
