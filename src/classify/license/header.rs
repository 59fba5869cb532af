//! What the head of a source file says of its licence: SPDX tags, notices, and the names of terms that are not known.

use std::{borrow::Cow, ops::Range, sync::LazyLock};

use regex::bytes::Regex;

use super::{
    Licenses,
    phrases::normalized,
    text::{Mention, Said, Search, gnu_family, names_copyleft},
};
use crate::{bytes::common_suffix, classify::parts::Parts};

/// Where a source file's notice is looked for, in bytes.
const HEADER_BYTES_MAX: usize = 4096;

impl Licenses {
    /// What the head of a source file says: SPDX tags, notices, or both. [`Said::Choice`] is not among the answers.
    pub fn in_header(&self, contents: &str) -> (Said, HeaderKind) {
        let contents = head(contents);
        match words(contents) {
            Words::None | Words::InFields => (Said::Nothing, HeaderKind::Notice),
            Words::Some => with_comments(self.by_words(&near_words(contents)), contents),
        }
    }

    /// What the parts near a head's words say, before its comments are asked; it has [`Words::Some`].
    pub fn by_words(&self, near: &str) -> (Said, HeaderKind) {
        let tags = tags(near);
        let head = normalized(near);
        let Search { texts, mut notices, names, limited } = self.search(&head);
        notices.extend(texts);
        if let Some(tagged) = tags {
            let also = tagged.and_then(|tagged| self.beside_tag(&head, tagged, notices));
            let said = also.map_or(Said::Unknown, |expression| Said::Known { expression, in_words: true });
            return (said, HeaderKind::Tag);
        }
        let said = match self.by_notices(&head, notices, names) {
            None if limited || names_other_terms(&head) => Said::Unknown,
            None => Said::Nothing,
            Some(Some(expression)) if !limited || self.class(&expression).restricted => {
                Said::Known { expression, in_words: true }
            }
            Some(_) => Said::Unknown,
        };
        (said, HeaderKind::Notice)
    }

    /// A tag's expression, with the notices that it does not speak of. A notice of the same family says less exactly
    /// what the tag says.
    fn beside_tag(&self, head: &str, tagged: String, mut notices: Vec<Mention<'_>>) -> Option<String> {
        let covered = |id: &str| {
            let plain = id.split(" WITH ").next().unwrap_or(id);
            let family = gnu_family(id).or_else(|| id.starts_with("BSD-").then_some("BSD")).unwrap_or(plain);
            tagged.split(['(', ')', ' ']).any(|word| word.starts_with(family))
        };
        let has_gnu = tagged.contains("GPL-");
        notices.retain(|notice| notice.id.map_or(!has_gnu, |id| !covered(id)));
        let Some(notice) = self.by_notices(head, notices, Vec::new()) else { return Some(tagged) };
        let inside = |text: String| if text.contains(" OR ") { format!("({text})") } else { text };
        Some(format!("{} AND {}", inside(tagged), inside(notice?)))
    }
}

/// What a head says whose parts near its words say this: where that is nothing, comments anywhere may name copyleft.
pub fn with_comments((said, kind): (Said, HeaderKind), head: &str) -> (Said, HeaderKind) {
    match said {
        Said::Nothing if names_copyleft(&normalized(&comments(head))) => (Said::Unknown, kind),
        said => (said, kind),
    }
}

/// The lines of comments in a head, by what most languages begin them with.
fn comments(head: &str) -> String {
    let marks = ["//", "/*", "*", "#", "--", ";", "%", "<!--", "{-", "(*", "\"\"\"", "'", "!", "@"];
    let is_comment = |line: &str| marks.iter().any(|mark| line.starts_with(mark));
    let lines = head.lines().filter(|line| is_comment(line.trim_start()));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// Whether a normalized head puts the file under a licence that has a name and is not in the table. Words that point to
/// another file are no name, and permissive families without a version are left to what stands there.
fn names_other_terms(head: &str) -> bool {
    static UNDER: LazyLock<regex::Regex> = LazyLock::new(|| {
        let verb =
            r"\b(?:licen[sc]ed|released|distributed|available|governed|covered|published|subject) (?:under|by|to) ";
        let terms = r"(?:the |an? )?(?:terms (?:and conditions )?(?:of|in) )?(?:the |an? )?";
        regex::Regex::new(&[verb, terms, r"(?P<name>(?:\S+ ){1,9}?)licen[sc]e\b"].concat())
            .expect("the pattern is valid")
    });
    const NO_NAME: &str = "above accompanying an and any applicable as below both by contributor described either file \
        following for found free in its more of one or our own project respective same see such that \
        their these this under version which with your";
    const PERMISSIVE: &str = "apache bsd boost curl expat icu isc liberal mit ncsa permissive php psf python ruby unicode w3c \
        x11 zlib zope";
    // What companies put above their samples is a contract, whatever it is called.
    if head.contains(" in consideration of your agreement to ") {
        return true;
    }
    UNDER.captures_iter(head).any(|found| {
        let mut others = NO_NAME.split_whitespace().chain(PERMISSIVE.split_whitespace());
        &found["name"] != "open source "
            && !others.any(|other| found["name"].split_whitespace().any(|word| word == other))
    })
}

/// Words without which a head says nothing of licences.
static WORDS: LazyLock<Regex> = LazyLock::new(|| {
    // Notices without one of the first words give a permission, speak of redistribution, or name a licence for short.
    let words = r"icens|ICENS|icenc|ICENC|ublic domain|ermission[\s*/#;%-]+(?:is|to)\s|edistribution|GPL|EUPL|ECILL";
    let terms = "ommercial|roprietary|PROPRIETARY|onfidential|CONFIDENTIAL|Perl itself";
    Regex::new(&[words, terms].join("|")).expect("the pattern is valid")
});

/// Whether a head may say something of licences: nearly none does, and what follows costs more than this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// It has none of the words without which it says nothing.
    None,
    /// They all stand in fields of a package's metadata, which are read as metadata, for all of its files.
    InFields,
    /// It may.
    Some,
}

/// Which words a head has.
pub fn words(head: &str) -> Words {
    static FIELD: LazyLock<Regex> = LazyLock::new(|| {
        let pattern = r#"(?m)^license(-file)?(\.workspace)?[ \t]*=[ \t]*["{tf][^\n]*$|"licenses?"[ \t]*:"#;
        Regex::new(pattern).expect("the pattern is valid")
    });
    if !has_words_in(head.as_bytes()) {
        return Words::None;
    }
    let mut fields = FIELD.find_iter(head.as_bytes()).peekable();
    let is_of_field = |hit: regex::bytes::Match<'_>| {
        while fields.next_if(|field| field.end() <= hit.start()).is_some() {}
        fields.peek().is_some_and(|field| field.range().contains(&hit.start()))
    };
    if WORDS.find_iter(head.as_bytes()).all(is_of_field) { Words::InFields } else { Words::Some }
}

fn has_words_in(head: &[u8]) -> bool {
    /// A part of each word that code seldom has; what words begin with, it often has. Regex looks for shorter parts of these,
    /// and finds them everywhere.
    static PARTS: LazyLock<Parts> = LazyLock::new(|| {
        let of_words = ["cens", "CENS", "cenc", "CENC", "c domain", "rmission", "ibution", "GPL", "EUPL", "ECILL"];
        let of_terms = ["ercial", "ietary", "IETARY", "fidential", "FIDENTIAL", "Perl i"];
        Parts::new(&[&of_words[..], &of_terms].concat())
    });
    PARTS.are_in(head) && WORDS.is_match(head)
}

/// The parts of a head that stand near its words: of a page about a project, that is a badge and a section. What is left out
/// is farther away than what is said together.
pub fn near_words(head: &str) -> Cow<'_, str> {
    const NEAR: usize = 1024;
    static OMITTED: LazyLock<String> = LazyLock::new(|| format!(" {} ", "x".repeat(NEAR / 2)));
    let mut parts: Vec<Range<usize>> = Vec::new();
    for word in WORDS.find_iter(head.as_bytes()) {
        let (from, to) = (word.start().saturating_sub(NEAR), head.ceil_char_boundary(word.end() + NEAR));
        match parts.last_mut() {
            Some(last) if from <= last.end => last.end = to,
            _ => parts.push(head.floor_char_boundary(from)..to),
        }
    }
    match &parts[..] {
        [part] => Cow::Borrowed(&head[part.clone()]),
        _ => {
            let parts: Vec<&str> = parts.into_iter().map(|part| &head[part]).collect();
            Cow::Owned(parts.join(&OMITTED))
        }
    }
}

/// Whether a head may have other [`words`] than its last version, which had `words` of the first two kinds and begins with
/// the same `same` bytes: only what is new is looked at. The file is `longer` than it was by so many bytes.
pub fn has_new_words(last: &str, head: &str, words: Words, same: usize, longer: isize) -> bool {
    /// The longest of the words, and what can follow on blanks.
    const WORD_MAX: usize = 16;
    const BEHIND_BLANKS: usize = 3;
    let (last, head) = (last.as_bytes(), head.as_bytes());
    let is_blank = |byte: &u8| b" \t\r\n\x0b\x0c*/#;%-".contains(byte);
    // A word that ends in what is new, or begins there, may stand in what is not, and over blanks.
    let from = |new: usize| {
        let before = &head[..new.saturating_sub(BEHIND_BLANKS)];
        let blanks = before.iter().rev().take_while(|byte| is_blank(byte)).count();
        (before.len() - blanks).saturating_sub(WORD_MAX)
    };
    let to = |old: usize| {
        let blanks = head[old..].iter().skip(WORD_MAX).take_while(|byte| is_blank(byte)).count();
        (old + WORD_MAX + blanks + BEHIND_BLANKS).min(head.len())
    };
    let (old, is_cut) = old_end(&last[same..], &head[same..], longer);
    let (mut start, mut end, mut rest) = (from(same), to(same + old.start), from(same + old.end));
    // A field has one line, and what begins in it may end in the next ones.
    if words != Words::None {
        let line = |at: usize| memchr::memrchr(b'\n', &head[..at]).map_or(0, |end| end + 1);
        (start, rest) = (line(start), line(rest));
        end = memchr::memchr(b'\n', &head[end..]).map_or(head.len(), |at| end + at);
    }
    has_words_in(&head[start..end]) || is_cut && has_words_in(&head[rest..])
}

/// The last part of `head` that is also in `last`, where all that is new stands together: what follows it has moved by as many bytes as
/// the file is `longer`; and whether either goes on behind it. Empty, and at the end, where it is not so.
fn old_end(last: &[u8], head: &[u8], longer: isize) -> (Range<usize>, bool) {
    let end = head.len().min(last.len().saturating_add_signed(longer));
    let in_last = end.checked_add_signed(-longer).filter(|in_last| *in_last <= last.len());
    let both = in_last.map_or(0, |in_last| common_suffix(&last[..in_last], &head[..end]));
    if both == 0 {
        return (head.len()..head.len(), false);
    }
    (end - both..end, in_last != Some(last.len()) || end < head.len())
}

/// The part of a file that may hold a header.
pub fn head(contents: &str) -> &str {
    &contents[..contents.floor_char_boundary(HEADER_BYTES_MAX)]
}

/// How a header named its licence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderKind {
    /// `SPDX-License-Identifier: …`
    Tag,
    /// Words.
    Notice,
}

/// The expression of all SPDX tags, which hold together as REUSE has it; the inner value is none where one of them is no
/// expression. Code that speaks of tags has letters or quotes before them.
fn tags(head: &str) -> Option<Option<String>> {
    static TAG: LazyLock<regex::Regex> =
        LazyLock::new(|| regex::Regex::new("(?i)SPDX-License-Identifier:").expect("the pattern is valid"));
    // Badges have `license-MIT`.
    if !["icense-I", "icense-i", "ICENSE-I", "ICENSE-i"].iter().any(|part| head.contains(part)) {
        return None;
    }
    let mut all: Vec<String> = Vec::new();
    let mut unknown = false;
    for line in head.lines() {
        let Some(tag) = TAG.find(line) else { continue };
        let (before, value) = (&line[..tag.start()], &line[tag.end()..]);
        // What closes a comment is not part of the expression.
        let value = ["*/", "-->", "--}}", "#}", "\"\"\"", "'''", "*)", "-}"]
            .iter()
            .fold(value.trim(), |value, end| value.trim_end_matches(end).trim_end());
        let value = value.trim_matches(|c: char| matches!(c, '"' | '\'' | ';' | ',' | '.'));
        let is_tag = !before.contains(|c: char| c.is_alphanumeric() || matches!(c, '"' | '\'' | '`'));
        match super::expression(value) {
            Some(expression) if !all.contains(&expression) => all.push(expression),
            None if is_tag && value.starts_with(|c: char| c.is_ascii_alphabetic()) => unknown = true,
            _ => {}
        }
    }
    if unknown {
        return Some(None);
    }
    let several = all.len() > 1;
    let inside = |text: String| if several && text.contains(" OR ") { format!("({text})") } else { text };
    let together = all.into_iter().map(inside).collect::<Vec<_>>().join(" AND ");
    (!together.is_empty()).then_some(Some(together))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::common_prefix;

    #[test]
    fn heads_of_source_files() {
        let gpl = "/* This program is free software; you can redistribute it and/or modify it under the terms of the\n * GNU \
                   General Public License as published by the Free Software Foundation; either version 2 of the\n * License, or \
                   (at your option) any later version. */\n";
        let redis = "/* Licensed under your choice of the Redis Source Available License 2.0\n * (RSALv2) or the Server Side Public \
                     License v1 (SSPLv1). */";
        let manifest = "[package]\nname = \"x\"\nlicense = \"MIT\"\nlicense-file.workspace = true\n";
        let with_notice = format!("# SPDX-License-Identifier: Apache-2.0\n{manifest}");
        for (contents, expected) in [
            (manifest, None),
            (with_notice.as_str(), Some("Apache-2.0")),
            ("// SPDX-License-Identifier: GPL-2.0+ */\nint x;\n", Some("GPL-2.0-or-later")),
            ("<!-- SPDX-License-Identifier: MIT OR Apache-2.0 -->\n", Some("MIT OR Apache-2.0")),
            ("# SPDX-License-Identifier: nonsense\n", None),
            (gpl, Some("GPL-2.0-or-later")),
            (redis, Some("LicenseRef-RSALv2 OR SSPL-1.0")),
            ("# Licensed under the Apache License, Version 2.0 (the \"License\");\n", Some("Apache-2.0")),
            ("// Use of this source code is governed by a BSD-style license\n", Some("BSD-3-Clause")),
            (
                "// This Source Code Form is subject to the terms of the Mozilla Public\n// License, v. 2.0.\n",
                Some("MPL-2.0"),
            ),
            ("// See LICENSE for the license.\n", None),
            ("fn main() {}\n", None),
        ] {
            let (said, _) = Licenses::in_use().in_header(contents);
            assert_eq!(said.expression().as_deref(), expected, "{contents}");
        }
    }

    #[test]
    fn every_word_has_a_part_that_is_looked_for_first() {
        for word in [
            "a license",
            "LICENSED",
            "the licence",
            "LICENCE",
            "in the public domain",
            "Permission is hereby",
            "permission\n * to use",
            "Redistribution and use",
            "LGPL",
            "EUPL",
            "CECILL",
            "non-commercial",
            "proprietary",
            "PROPRIETARY",
            "Confidential",
            "CONFIDENTIAL",
            "the same terms as Perl itself",
        ] {
            assert_eq!(words(word), Words::Some, "{word}");
        }
    }

    #[test]
    fn what_is_new_in_a_head_has_its_words() {
        const CUT: usize = 160;
        let parts = [
            "icens",
            "e",
            "permission",
            " ",
            "\n * ",
            "is",
            "to",
            "\t",
            "// ",
            "redistribution",
            "public ",
            "domain",
            "GP",
            "L",
            "x",
            "erm",
            "ission",
            "EUP",
            "CONFIDENTIAL",
            "omme",
            "rcial",
            "Perl ",
            "itself",
            " \n *                          ",
            "\nlicense = \"",
            "license-file.workspace = \"",
            "\"license\":",
            "\"",
            "\n",
            "MIT\"",
            "\nname = \"a name that is longer than the words\"",
        ];
        let mut drawn = 11_u64;
        let mut draw = |below: usize| {
            drawn = drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (drawn >> 33) as usize % below
        };
        let (mut found, mut bare, mut in_fields) = (0, 0, 0);
        for _ in 0..60_000 {
            let mut text: Vec<&str> = (0..draw(24)).map(|_| parts[draw(parts.len())]).collect();
            let last = text.concat();
            match draw(3) {
                0 if !text.is_empty() => drop(text.remove(draw(text.len()))),
                1 if !text.is_empty() => {
                    let at = draw(text.len());
                    text[at] = parts[draw(parts.len())];
                }
                _ => text.insert(draw(text.len() + 1), parts[draw(parts.len())]),
            }
            let head = text.concat();
            let longer = head.len() as isize - last.len() as isize;
            // What follows a head is cut off, and tells nothing.
            let (last, head) = (&last[..last.len().min(CUT)], &head[..head.len().min(CUT)]);
            let (before, now) = (words(last), words(head));
            assert_eq!(now != Words::None, WORDS.is_match(head.as_bytes()), "{head:?}");
            let same = common_prefix(last.as_bytes(), head.as_bytes());
            // Where it is not known how long the files are, less is old.
            let longer = if draw(4) == 0 { draw(9) as isize - 4 } else { longer };
            match before {
                Words::None => {
                    let has_new = has_new_words(last, head, before, same, longer);
                    assert_eq!(has_new, now != Words::None, "{last:?} {head:?}");
                    *(if has_new { &mut found } else { &mut bare }) += 1;
                }
                Words::InFields if !has_new_words(last, head, before, same, longer) => {
                    assert_ne!(now, Words::Some, "{last:?} {head:?}");
                    in_fields += 1;
                }
                Words::InFields | Words::Some => {}
            }
        }
        assert!(found > 500 && bare > 5000 && in_fields > 500, "{found} {bare} {in_fields}");
    }

    #[test]
    fn what_stands_far_from_all_words_of_licences_is_left_out() {
        assert!(matches!(near_words("the license of é"), Cow::Borrowed("the license of é")));
        let far = "é y ".repeat(400);
        let near = near_words(&[&far, "GPL", &far, &far, "license"].concat()).into_owned();
        let parts: Vec<&str> = near.split_whitespace().filter(|part| part.starts_with("xxx")).collect();
        assert_eq!(parts.len(), 1, "between");
        for (word, from, to) in [("GPL", 0, near.find("xxx")), ("license", near.rfind("xxx").unwrap_or(0), None)] {
            let part = &near[from..to.unwrap_or(near.len())];
            let at = part.find(word).expect("it stays");
            assert!((1000..1100).contains(&at), "{word} {at}");
        }
        let both = ["// Licensed under the MIT license.", &far, "\n// Licensed under the Apache License, Version 2.0"]
            .concat();
        assert_eq!(Licenses::in_use().in_header(&both).0.expression().as_deref(), Some("Apache-2.0 AND MIT"));
    }

    #[test]
    fn all_that_a_head_says_counts() {
        let bsd = "Redistribution and use in source and binary forms are permitted provided that: Redistributions of source \
                   code must retain the notice. Redistributions in binary form must reproduce it. The name may not be used to \
                   endorse or promote products derived from this software.";
        let dual =
            format!("/* {bsd} Alternatively, under the terms of the GNU General Public License version 2. License */");
        let rust = "// Licensed under the Apache License, Version 2.0 <LICENSE-APACHE or\n// http://www.apache.org/licenses/\
                    LICENSE-2.0> or the MIT license\n// <LICENSE-MIT or http://opensource.org/licenses/MIT>, at your\n// option.";
        let mozilla = "The contents of this file are subject to the Mozilla Public License Version 1.1. Alternatively, they may be used under \
                       the terms of either the GNU General Public License Version 2 or later (the \"GPL\"), or the GNU Lesser \
                       General Public License Version 2.1 or later, in which case the provisions of the GPL apply.";
        let elastic = "Licensed under the Elastic License 2.0 and the Server Side Public License, v 1; you may not use this file \
                       but in compliance with, at your election, the Elastic License 2.0 or the Server Side Public License, v 1.";
        for (contents, expected) in [
            (
                "// foo is licensed under the GPLv3.\n// Use of this source code is governed by a BSD-style license",
                Some("BSD-3-Clause AND GPL-3.0-only"),
            ),
            ("// SPDX-License-Identifier: MIT\n// SPDX-License-Identifier: GPL-2.0", Some("MIT AND GPL-2.0-only")),
            ("// spdx-license-identifier: GPL-3.0-only", Some("GPL-3.0-only")),
            (
                "/* Redistribution and use in source and binary forms are permitted provided that: Redistributions of source code must \
              retain it. Redistributions in binary form must reproduce it. */",
                Some("BSD-2-Clause"),
            ),
            (
                "/* Permission to use, copy, modify, and distribute this software for any purpose with or without fee is hereby granted, \
              provided that the above copyright notice and this permission notice appear in all copies. */",
                Some("ISC"),
            ),
            (" * you can modify it under the terms of the GNU GPL v3.\n", Some("GPL-3.0-only")),
            (
                "// The contents of this file are subject to the terms of the Common Development and Distribution License",
                Some("CDDL-1.0"),
            ),
            ("# Licensed under the EUPL, Version 1.2 or later", Some("EUPL-1.2")),
            (
                "// SPDX-License-Identifier: MIT OR ISC\n// parts licensed under the GPLv2",
                Some("(MIT OR ISC) AND GPL-2.0-only"),
            ),
            ("// SPDX-License-Identifier: GPL-2.0-or-later\n// under the GPL version 2", Some("GPL-2.0-or-later")),
            (
                "/* under the Apache License v2.0 with LLVM Exceptions.\n// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception",
                Some("Apache-2.0 WITH LLVM-exception"),
            ),
            (dual.as_str(), Some("BSD-3-Clause OR GPL-2.0-only")),
            (rust, Some("Apache-2.0 OR MIT")),
            (mozilla, Some("GPL-2.0-or-later OR LGPL-2.1-or-later OR MPL-1.1")),
            (elastic, Some("Elastic-2.0 OR SSPL-1.0")),
            ("// Licensed under the GNU GPL, see COPYING for the license", Some("GPL-1.0-or-later")),
            (
                "// under the GPL version 3 or later. This is a permission under the GPL version 3. License",
                Some("GPL-3.0-or-later"),
            ),
            (
                " * Licensed under your choice of (a) the Redis Source Available License 2.0\n * (RSALv2); or (b) the Server Side Public \
                 License v1 (SSPLv1); or (c) the\n * GNU Affero General Public License v3 (AGPLv3).\n",
                Some("AGPL-3.0-only OR LicenseRef-RSALv2 OR SSPL-1.0"),
            ),
            (
                "// Licensed under the MIT License; for all else, the GNU Affero General Public License v3.",
                Some("AGPL-3.0-only AND MIT"),
            ),
            ("// It has a license that is GPL-compatible.", None),
            (
                "// Dual licensed under MIT or Apache 2.0. The tests are under the GPLv2.",
                Some("(Apache-2.0 OR MIT) AND GPL-2.0-only"),
            ),
        ] {
            let (said, _) = Licenses::in_use().in_header(contents);
            assert_eq!(said.expression().as_deref(), expected, "{contents}");
        }
        for (contents, expected) in [
            ("// SPDX-License-Identifier: Proprietary\n", Said::Unknown),
            ("let tag = \"SPDX-License-Identifier: Proprietary\";\n", Said::Nothing),
            ("// Licensed under the Apache License, Version 2.0, for non-commercial use only.", Said::Unknown),
            ("// Licensed under the AGPL.", Said::Unknown),
            ("// See LICENSE for the license.\n", Said::Nothing),
            ("// Use of this code is governed by the license in the LICENSE file.\n", Said::Nothing),
            ("// Distributed under the same license as the rest of the project.\n", Said::Nothing),
            ("// Released under an open source license.\n", Said::Nothing),
            ("# Licensed under the MIT or the BSD license, see AUTHORS\n", Said::Nothing),
            ("if user.is_licensed() { grant_permission() } // permission to use\n", Said::Nothing),
            ("let names = [\"GPL\", \"LGPL\"];\n", Said::Nothing),
            ("// This must not be GPL.\n// It links with GPL-compatible code.\n", Said::Nothing),
            ("// Licensed under the Confluent Community License (the \"License\")\n", Said::Unknown),
            ("/* subject to the Apple Public Source License Version 1.1 */\n", Said::Unknown),
            (
                "# This work is licensed under a Creative Commons Attribution-NonCommercial 3.0 Unported License.\n",
                Said::Unknown,
            ),
            ("/* ORACLE PROPRIETARY/CONFIDENTIAL. Use is subject to license terms. */\n", Said::Unknown),
            ("# Free for non-commercial use only.\n", Said::Unknown),
            (
                "/* In consideration of your agreement to the following terms, we grant you a personal,\n   non-exclusive license. */",
                Said::Unknown,
            ),
            ("/* GPL */\n", Said::Unknown),
            (" * governed by the CeCILL license under French law\n", Said::Unknown),
        ] {
            assert_eq!(Licenses::in_use().in_header(contents).0, expected, "{contents}");
        }
    }
}
