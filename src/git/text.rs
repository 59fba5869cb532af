//! Bytes to text, without loss. What does not decode so that encoding it again gives the same bytes is no text.

use std::borrow::Cow;

use bstr::ByteSlice as _;
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

/// How many bytes git looks at for a NUL (FIRST_FEW_BYTES in xdiff-interface.c).
const BINARY_PROBE_BYTES: usize = 8000;

/// Text and the encoding that it was in.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// The text; a byte order mark stays as U+FEFF.
    pub text: Cow<'a, str>,
    /// The WHATWG label in lower case.
    pub encoding: &'static str,
}

/// Why bytes are not text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotText {
    /// A NUL among the first 8,000 bytes, as git decides.
    Binary,
    /// No encoding decodes them without loss.
    Undecodable,
}

/// Decodes the contents of a file.
///
/// # Errors
/// The contents are binary, or text in no encoding that is recognised.
pub fn decode(bytes: &[u8]) -> Result<Decoded<'_>, NotText> {
    for (encoding, name) in [(UTF_16LE, "utf-16le"), (UTF_16BE, "utf-16be")] {
        let mark: [u8; 2] = if encoding == UTF_16LE { [0xff, 0xfe] } else { [0xfe, 0xff] };
        if bytes.starts_with(&mark) && !bytes.starts_with(&[0xff, 0xfe, 0, 0]) {
            return utf16(bytes, encoding == UTF_16LE, name).ok_or(NotText::Undecodable);
        }
    }
    if is_binary(bytes) {
        return Err(NotText::Binary);
    }
    utf8_or_guess(bytes)
}

/// The encoding that a commit's `encoding` header names, where that is one and not UTF-8.
pub fn named_encoding(header: &[u8]) -> Option<&'static Encoding> {
    // Most that have a header say this.
    if header == b"utf-8" {
        return None;
    }
    Encoding::for_label(header).filter(|encoding| *encoding != UTF_8)
}

/// Decodes what a commit says; `named` is what its header names.
///
/// # Errors
/// It is in no encoding that is recognised.
pub fn decode_message<'a>(bytes: &'a [u8], named: Option<&'static Encoding>) -> Result<Decoded<'a>, NotText> {
    match named.and_then(|encoding| single(bytes, encoding)) {
        Some(decoded) => Ok(decoded),
        None => utf8_or_guess(bytes),
    }
}

fn utf8_or_guess(bytes: &[u8]) -> Result<Decoded<'_>, NotText> {
    if let Ok(text) = bytes.to_str() {
        return Ok(Decoded { text: Cow::Borrowed(text), encoding: "utf-8" });
    }
    let mut detector = chardetng::EncodingDetector::new(chardetng::Iso2022JpDetection::Allow);
    // Lines of ASCII say nothing of the encoding of the others, but for ISO-2022-JP, which is ASCII with escapes. Most
    // files that get here have a name or two in them, and the detector reads 100 times slower than the rest.
    for line in bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| !line.is_ascii() || line.contains(&0x1b)) {
        detector.feed(line, false);
    }
    detector.feed(&[], true);
    let guess = detector.guess(None, chardetng::Utf8Detection::Deny);
    single(bytes, guess).ok_or(NotText::Undecodable)
}

fn single<'a>(bytes: &'a [u8], encoding: &'static Encoding) -> Option<Decoded<'a>> {
    let text = encoding.decode_without_bom_handling_and_without_replacement(bytes)?;
    let (again, _, unmappable) = encoding.encode(&text);
    // windows-1252 maps the bytes that it does not define to C1 controls: such "text" is something else.
    let odd = text.chars().any(|c| ('\u{80}'..='\u{9f}').contains(&c) || c == '\u{fffd}');
    (!unmappable && again == bytes && !odd).then(|| Decoded { text, encoding: label(encoding) })
}

/// WHATWG names are fixed, so the lower-case forms can be as well.
fn label(encoding: &'static Encoding) -> &'static str {
    const LABELS: &[&str] = &[
        "big5",
        "euc-jp",
        "euc-kr",
        "gb18030",
        "gbk",
        "ibm866",
        "iso-2022-jp",
        "iso-8859-10",
        "iso-8859-13",
        "iso-8859-14",
        "iso-8859-15",
        "iso-8859-16",
        "iso-8859-2",
        "iso-8859-3",
        "iso-8859-4",
        "iso-8859-5",
        "iso-8859-6",
        "iso-8859-7",
        "iso-8859-8",
        "iso-8859-8-i",
        "koi8-r",
        "koi8-u",
        "macintosh",
        "shift_jis",
        "windows-1250",
        "windows-1251",
        "windows-1252",
        "windows-1253",
        "windows-1254",
        "windows-1255",
        "windows-1256",
        "windows-1257",
        "windows-1258",
        "windows-874",
        "x-mac-cyrillic",
    ];
    LABELS.iter().copied().find(|label| label.eq_ignore_ascii_case(encoding.name())).unwrap_or(encoding.name())
}

fn utf16(bytes: &[u8], little_endian: bool, name: &'static str) -> Option<Decoded<'static>> {
    let (pairs, []) = bytes.as_chunks::<2>() else { return None };
    let unit = |pair: &[u8; 2]| if little_endian { u16::from_le_bytes(*pair) } else { u16::from_be_bytes(*pair) };
    // Every valid sequence of units has one text and back, so nothing can be lost.
    let text = char::decode_utf16(pairs.iter().map(unit)).collect::<Result<String, _>>().ok()?;
    Some(Decoded { text: Cow::Owned(text), encoding: name })
}

/// Whether git takes `bytes` for binary: a NUL among the first 8,000.
pub fn is_binary(bytes: &[u8]) -> bool {
    memchr::memchr(0, &bytes[..bytes.len().min(BINARY_PROBE_BYTES)]).is_some()
}

/// Whether `bytes` are a pointer of Git LFS, by its specification version 1 (at most 1,024 bytes).
pub fn is_lfs_pointer(bytes: &[u8]) -> bool {
    bytes.len() <= 1024
        && (bytes.starts_with(b"version https://git-lfs.github.com/spec/v1\n")
            || bytes.starts_with(b"version https://hawser.github.com/spec/v1\n"))
        && bytes.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"oid sha256:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings() {
        let utf16: Vec<u8> = "\u{feff}naïve\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let latin = b"Ce fichier a \xe9t\xe9 modifi\xe9 \xe0 la main.\n";
        type Case<'a> = (&'a str, &'a [u8], Result<(&'a str, &'a str), NotText>);
        let cases: &[Case] = &[
            ("utf-8", "naïve".as_bytes(), Ok(("naïve", "utf-8"))),
            ("empty", b"", Ok(("", "utf-8"))),
            ("byte order mark", b"\xef\xbb\xbfa", Ok(("\u{feff}a", "utf-8"))),
            ("latin", latin, Ok(("Ce fichier a été modifié à la main.\n", "windows-1252"))),
            ("utf-16", &utf16, Ok(("\u{feff}naïve\n", "utf-16le"))),
            ("odd utf-16", b"\xff\xfea", Err(NotText::Undecodable)),
            ("lone surrogate", b"\xff\xfe\x00\xd8", Err(NotText::Undecodable)),
            ("utf-32", b"\xff\xfe\x00\x00a\x00\x00\x00", Err(NotText::Binary)),
            ("binary", b"a\0b", Err(NotText::Binary)),
        ];
        for (name, bytes, expected) in cases {
            let found = decode(bytes).map(|decoded| (decoded.text.into_owned(), decoded.encoding));
            assert_eq!(found, expected.map(|(text, encoding)| (text.to_owned(), encoding)), "{name}");
        }
        let late: Vec<u8> = [vec![b'a'; 8000], vec![0]].concat();
        assert!(decode(&late).is_ok(), "git does not look behind 8,000 bytes");
    }

    #[test]
    fn messages_obey_their_header() {
        let koi = decode_message(b"\xf0\xd2\xc9\xd7\xc5\xd4", named_encoding(b"KOI8-R"))
            .map(|decoded| decoded.text.into_owned());
        assert_eq!(koi, Ok("Привет".to_owned()));
        let lying = decode_message("é".as_bytes(), named_encoding(b"no-such-encoding")).map(|decoded| decoded.encoding);
        assert_eq!(lying, Ok("utf-8"));
    }

    #[test]
    fn lfs_pointers() {
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
        assert!(is_lfs_pointer(pointer));
        assert!(!is_lfs_pointer(b"version https://git-lfs.github.com/spec/v1\n"));
        assert!(!is_lfs_pointer(b"oid sha256:4d7a\n"));
    }
}
