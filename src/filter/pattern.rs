//! Regular expressions and globs as rules give them.

use regex::{Regex, RegexBuilder};

/// Compiles an expression, which may take a megabyte.
///
/// # Errors
/// It is not valid, or larger.
pub(super) fn regex(pattern: &str) -> Result<Regex, String> {
    let compiled = RegexBuilder::new(pattern).size_limit(1 << 20).build();
    compiled.map_err(|e| format!("the expression {pattern:?} is not valid: {}", e.to_string().replace('\n', " ")))
}

/// An expression that matches the paths that one of `globs` names. As in `.gitattributes`, `*` and `?` stay within a
/// directory, `**` does not, and a glob without a slash names files in any directory.
///
/// # Errors
/// The expression can't be compiled.
pub fn glob(globs: &[String]) -> Result<Regex, String> {
    let mut all = Vec::new();
    for glob in globs {
        let mut pattern = String::from(if glob.contains('/') { "^" } else { "^(?:.*/)?" });
        let mut letters = glob.trim_start_matches('/').chars().peekable();
        while let Some(letter) = letters.next() {
            match letter {
                '*' if letters.next_if_eq(&'*').is_some() => {
                    // `a/**/b` names `a/b` as well.
                    pattern.push_str(if letters.next_if_eq(&'/').is_some() { "(?:.*/)?" } else { ".*" });
                }
                '*' => pattern.push_str("[^/]*"),
                '?' => pattern.push_str("[^/]"),
                other => pattern.push_str(&regex::escape(&other.to_string())),
            }
        }
        all.push(pattern + "$");
    }
    regex(&all.join("|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_name_paths() {
        for (pattern, path, expected) in [
            ("*.min.js", "a/b.min.js", true),
            ("src/*.c", "src/a.c", true),
            ("src/*.c", "src/a/b.c", false),
            ("src/**/b.c", "src/b.c", true),
            ("src/**", "src/a/b.c", true),
            ("docs/?.md", "docs/a.md", true),
            ("a+b", "a+b", true),
        ] {
            assert_eq!(glob(&[pattern.to_owned()]).map(|glob| glob.is_match(path)), Ok(expected), "{pattern} {path}");
        }
    }
}
