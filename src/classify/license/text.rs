//! Knows licence texts, and the notices at the head of source files, by phrases that tell them apart.

use std::{
    collections::{BTreeSet, HashSet},
    sync::LazyLock,
};

use regex::bytes::Regex;

use super::{License, Licenses};

/// Where a source file's notice is looked for, in bytes.
const HEADER_BYTES_MAX: usize = 4096;

/// Longest licence file that is read, in bytes. The longest text of the table has 35 kB; collections of many go on.
pub const TEXT_BYTES_MAX: usize = 512 * 1024;

/// Lower case, with everything but letters and digits as one space, and a space at either end.
pub fn normalized(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push(' ');
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            out.push(c.to_ascii_lowercase());
        } else if c.is_alphanumeric() {
            out.extend(c.to_lowercase());
        } else if !out.ends_with(' ') {
            out.push(' ');
        }
    }
    if !out.ends_with(' ') {
        out.push(' ');
    }
    out
}

impl Licenses {
    /// The licences whose texts `text` holds, in the order of the table. A text that offers a choice between them says
    /// so in words; the second value is whether it does.
    pub fn in_text<'t>(&'t self, text: &str) -> (Vec<&'t License>, bool) {
        let mut end = text.len().min(TEXT_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let text = normalized(&text[..end]);
        let mut found: Vec<&License> = self.texts_in(&text).collect();
        let choices = [" at your option ", " at your choice ", " dual licensed ", " either of the ", " choose either "];
        let choice = choices.iter().any(|phrase| text.contains(phrase));
        if found.is_empty() && !choice {
            // Some have the notice that belongs into source files where the text should be.
            found.extend(self.by_notice(&text));
        }
        (found, choice)
    }

    /// The licences whose texts are in `normalized`, in the order of the table.
    fn texts_in(&self, normalized: &str) -> impl Iterator<Item = &License> {
        let found = self.phrases.find_overlapping_iter(normalized);
        let found: HashSet<&str> = found.map(|phrase| self.phrase_of[phrase.pattern()].as_str()).collect();
        self.all().filter(move |license| license.is_text(|phrase| found.contains(phrase)))
    }

    /// Of the licences whose notice is in a text, the one with the longest phrase, which is the most exact.
    fn by_notice(&self, normalized: &str) -> Option<&License> {
        let found = self.headers.find_overlapping_iter(normalized);
        let best = found.map(|phrase| (phrase.len(), self.header_of[phrase.pattern()])).max()?;
        Some(&self.licenses[best.1])
    }

    /// The licence that the head of a source file names: an SPDX tag, or a notice. The second value is how it was found.
    pub fn in_header(&self, contents: &str) -> Option<(String, HeaderKind)> {
        let head = head(contents);
        // Nearly no file has a notice, and what follows costs more than this.
        static MAY_HAVE_ONE: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new("icense|ICENSE|icence|ublic domain|ermission is hereby").expect("the pattern is valid")
        });
        // What a package's metadata says in a field is read as metadata, for all of its files.
        static FIELD: LazyLock<Regex> = LazyLock::new(|| {
            let pattern = r#"(?m)^license(-file)?(\.workspace)?[ \t]*=[ \t]*["{tf][^\n]*$|"licenses?"[ \t]*:"#;
            Regex::new(pattern).expect("the pattern is valid")
        });
        let mut hits = MAY_HAVE_ONE.find_iter(head.as_bytes()).peekable();
        hits.peek()?;
        let mut fields = FIELD.find_iter(head.as_bytes()).peekable();
        let is_of_field = |hit: regex::bytes::Match<'_>| {
            while fields.next_if(|field| field.end() <= hit.start()).is_some() {}
            fields.peek().is_some_and(|field| field.range().contains(&hit.start()))
        };
        if hits.all(is_of_field) {
            return None;
        }
        if let Some(expression) = tag(head) {
            return Some((expression, HeaderKind::Tag));
        }
        let head = normalized(head);
        let id = |license: &License| license.id.clone();
        if head.contains(" your choice of ") {
            let found = self.headers.find_overlapping_iter(&head).map(|phrase| self.header_of[phrase.pattern()]);
            let all: BTreeSet<usize> = found.collect();
            let all: Vec<String> = all.into_iter().map(|at| id(&self.licenses[at])).collect();
            return (!all.is_empty()).then(|| (all.join(" OR "), HeaderKind::Notice));
        }
        self.by_notice(&head).or_else(|| self.texts_in(&head).next()).map(|license| (id(license), HeaderKind::Notice))
    }
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

/// The expression behind the first SPDX tag, in the spelling of the SPDX licence list.
fn tag(head: &str) -> Option<String> {
    let (_, rest) = head.split_once("SPDX-License-Identifier:")?;
    let line = rest.lines().next()?.trim();
    // What closes a comment is not part of the expression.
    let line = ["*/", "-->", "--}}", "#}", "\"\"\"", "'''", "*)", "-}"]
        .iter()
        .fold(line, |line, end| line.trim_end_matches(end).trim_end());
    super::expression(line.trim_matches(|c: char| matches!(c, '"' | '\'' | ';' | ',' | '.')))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(Licenses::in_use().in_header(contents).map(|(id, _)| id).as_deref(), expected, "{contents}");
        }
    }

    #[test]
    fn texts_with_several_licenses() {
        let mit = "Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated \
                   documentation files … The above copyright notice and this permission notice shall be included";
        let ids = |text: &str| {
            let (found, choice) = Licenses::in_use().in_text(text);
            (found.into_iter().map(|license| license.id.as_str()).collect::<Vec<_>>(), choice)
        };
        assert_eq!(ids(mit), (vec!["MIT"], false));
        assert_eq!(
            ids(&format!("{mit} \"Commons Clause\" License Condition v1.0")),
            (vec!["LicenseRef-Commons-Clause", "MIT"], false)
        );
        assert_eq!(ids("Licensed under MIT or Apache-2.0, at your option."), (vec![], true));
        assert_eq!(ids("Licensed under the Apache License, Version 2.0"), (vec!["Apache-2.0"], false));
    }
}
