//! SPDX expressions in one spelling, and CommitPack's names for them.

/// `text` as an SPDX expression in the list's spelling: imprecise and deprecated names become precise ones, a slash is
/// an OR. `None` where it is none.
pub fn expression(text: &str) -> Option<String> {
    let mode = spdx::ParseMode {
        allow_slash_as_or_operator: true,
        allow_imprecise_license_names: true,
        allow_postfix_plus_on_gpl: true,
        allow_deprecated: true,
        allow_unknown: false,
    };
    let parsed = spdx::Expression::parse_mode(text.trim(), mode).ok()?;
    let mut stack: Vec<(String, bool)> = Vec::new();
    for node in parsed.iter() {
        match node {
            spdx::expression::ExprNode::Req(req) => stack.push((precise(&req.req.to_string()), false)),
            spdx::expression::ExprNode::Op(op) => {
                let ((right, right_or), (left, left_or)) = (stack.pop()?, stack.pop()?);
                let is_or = matches!(op, spdx::expression::Operator::Or);
                let inside = |text: String, or: bool| if or && !is_or { format!("({text})") } else { text };
                let word = if is_or { "OR" } else { "AND" };
                stack.push((format!("{} {word} {}", inside(left, left_or), inside(right, right_or)), is_or));
            }
        }
    }
    stack.pop().map(|(text, _)| text)
}

/// A licence as a source list declares it, in any case, as an SPDX expression; what is none is a reference of its own.
pub fn declared(text: &str) -> String {
    let by_id = || spdx::identifiers::LICENSES.iter().find(|license| license.name.eq_ignore_ascii_case(text.trim()));
    expression(text).or_else(|| expression(by_id()?.name)).unwrap_or_else(|| {
        let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '-' };
        format!("LicenseRef-{}", text.chars().map(plain).collect::<String>())
    })
}

/// SPDX's replacements for the identifiers of the GNU licences that it deprecated.
fn precise(id: &str) -> String {
    let gnu = ["GPL-", "LGPL-", "AGPL-", "GFDL-"].iter().any(|family| id.starts_with(family));
    match id.strip_suffix('+') {
        Some(base) if gnu => format!("{base}-or-later"),
        None if gnu && !id.contains("-only") && !id.contains("-or-later") && !id.contains(" WITH ") => {
            format!("{id}-only")
        }
        _ => id.to_owned(),
    }
}

/// The name that CommitPack has for an expression: the identifier in lower case, without `-only` and `-or-later`. Of
/// several in an OR, the first; several in an AND have none.
pub fn commitpack_name(expression: &str) -> Option<String> {
    let first = expression.split(" OR ").next().unwrap_or(expression).trim_matches(['(', ')']);
    if first.contains(" AND ") || first.starts_with("LicenseRef-") {
        return None;
    }
    let id = first.split(" WITH ").next().unwrap_or(first).to_ascii_lowercase();
    Some(id.trim_end_matches("-only").trim_end_matches("-or-later").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_get_the_lists_spelling() {
        for (text, expected) in [
            ("MIT", Some("MIT")),
            ("mit/apache-2.0", None),
            ("MIT/Apache-2.0", Some("MIT OR Apache-2.0")),
            ("GPL-2.0", Some("GPL-2.0-only")),
            ("GPL-2.0+", Some("GPL-2.0-or-later")),
            ("(MIT OR Apache-2.0) AND BSD-3-Clause", Some("(MIT OR Apache-2.0) AND BSD-3-Clause")),
            ("Apache-2.0 WITH LLVM-exception", Some("Apache-2.0 WITH LLVM-exception")),
            ("see LICENSE", None),
            ("", None),
        ] {
            assert_eq!(expression(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn commitpack_names() {
        for (expression, name) in [
            ("MIT", Some("mit")),
            ("GPL-2.0-or-later", Some("gpl-2.0")),
            ("Apache-2.0 OR MIT", Some("apache-2.0")),
            ("MIT AND ISC", None),
        ] {
            assert_eq!(commitpack_name(expression).as_deref(), name);
        }
    }
}
