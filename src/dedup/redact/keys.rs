//! Private keys: blocks as PEM, OpenSSH and PGP have them, from the line BEGIN to the line END.

use std::ops::Range;

use memchr::memmem;

use super::{Kind, Value};

const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";

/// A line that says which key begins has no longer name (RFC 7468 has none longer than 30).
const LABEL_BYTES_MAX: usize = 40;

/// Base 64 that belongs to a key comes in runs of so many characters at least; words of code are shorter, or of one case.
const RUN_MIN: usize = 16;

/// The smallest key, Ed25519 in PKCS #8, has 64 characters; in an example with its middle left out it is fewer.
const KEY_MIN: usize = 48;

/// Adds the private keys in `text`. What only speaks of the lines BEGIN and END has no key between them and stays.
pub fn find(text: &str, found: &mut Vec<Value>) {
    let mut begins = memmem::find_iter(text.as_bytes(), BEGIN).peekable();
    while let Some(start) = begins.next() {
        // No key has another one in it, so each byte is looked at for one beginning.
        let limit = begins.peek().copied().unwrap_or(text.len());
        if let Some(range) = key_at(text, start, limit) {
            found.push(Value { range, kind: Kind::PrivateKeys, rule: None });
        }
    }
}

fn key_at(text: &str, start: usize, limit: usize) -> Option<Range<usize>> {
    let rest = &text[start + BEGIN.len()..limit];
    let label = &rest[..rest.find(DASHES).filter(|end| *end <= LABEL_BYTES_MAX)?];
    if !(label.ends_with("PRIVATE KEY") || label.ends_with("PRIVATE KEY BLOCK")) {
        return None;
    }
    let body_start = start + BEGIN.len() + label.len() + DASHES.len();
    let end = format!("-----END {label}-----");
    if let Some(at) = text[body_start..limit].find(&end) {
        let is_key = base64_in(&text[body_start..body_start + at]) >= KEY_MIN;
        return is_key.then_some(start..body_start + at + end.len());
    }
    // Cut off: as far as lines are base 64.
    let mut to = body_start;
    for line in text[body_start..limit].split_inclusive('\n') {
        if to > body_start && base64_in(line) < KEY_MIN {
            break;
        }
        to += line.len();
    }
    let to = body_start + text[body_start..to].trim_end().len();
    (base64_in(&text[body_start..to]) >= KEY_MIN).then_some(start..to)
}

/// Characters of `body` in long runs of base 64 that have capitals, small letters and digits.
fn base64_in(body: &str) -> usize {
    let runs = body.split(|c: char| !(c.is_ascii_alphanumeric() || "+/=".contains(c)));
    let is_mixed = |run: &&str| {
        let has = |is: fn(&u8) -> bool| run.as_bytes().iter().any(is);
        run.len() >= RUN_MIN && has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit)
    };
    runs.filter(is_mixed).map(str::len).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_whole_and_talk_of_them_is_not() {
        // The secret key of the first test in RFC 8032, section 7.1.
        let line = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";
        let key = |label: &str, body: &str| format!("-----BEGIN {label}-----{body}-----END {label}-----");
        let pem = key("PRIVATE KEY", &format!("\n{line}\n"));
        let pgp = key("PGP PRIVATE KEY BLOCK", &format!("\nVersion: 1\n\n{line}\n=aB3d\n"));
        let escaped = key("RSA PRIVATE KEY", &format!("\\n{line}\\n"));
        let joined = key("EC PRIVATE KEY", &format!("\\n\" +\n  \"{line}\\n\" +\n  \""));
        let cut = format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{line}");
        for block in [&pem, &pgp, &escaped, &joined, &cut] {
            let text = format!("before é\nx = \"{block}\n\nfn after() {{}}\n");
            let mut found = Vec::new();
            find(&text, &mut found);
            assert_eq!(found.len(), 1, "{text}");
            assert_eq!(text[found[0].range.clone()], **block);
        }
        for text in [
            key("PUBLIC KEY", line),
            key("PRIVATE KEY", "\n...\n"),
            key("PRIVATE KEY", "\\n\" + base64_encode_with_wrapping(key_bytes_2) + \"\\n"),
            "if line.starts_with(\"-----BEGIN RSA PRIVATE KEY-----\") {\n".into(),
            format!("-----BEGIN PRIVATE KEY-----\nthe key\n\n{line}"),
            "-----BEGIN ".repeat(1000),
        ] {
            let mut found = Vec::new();
            find(&text, &mut found);
            assert_eq!(found, [], "{text}");
        }
    }
}
