//! E-mail addresses, found from their `@`, and IP addresses, found from their dots and colons.
//!
//! What is nobody's stays: reserved names and ranges, what people write for an example, addresses that take no mail, and what
//! only looks like an address, such as versions of four parts.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    ops::Range,
};

use super::{Kind, Value};

/// Longest local part (RFC 5321, 4.5.3.1.1).
const LOCAL_BYTES_MAX: usize = 64;

/// Longest domain (RFC 5321, 4.5.3.1.2).
const DOMAIN_BYTES_MAX: usize = 255;

/// Longest text of an IPv6 address, with an IPv4 address in it.
const IPV6_BYTES_MAX: usize = 45;

/// How far before a number the word `version` is looked for.
const CONTEXT_BYTES_MAX: usize = 32;

/// Top-level domains of countries (IANA's root zone database).
const COUNTRIES: &str = "ac ad ae af ag ai al am ao aq ar as at au aw ax az ba bb bd be bf bg bh bi bj bm bn bo br bs bt bw by bz ca \
    cc cd cf cg ch ci ck cl cm cn co cr cu cv cw cx cy cz de dj dk dm do dz ec ee eg er es et eu fi fj fk fm fo fr ga gd ge gf gg gh gi \
    gl gm gn gp gq gr gs gt gu gw gy hk hm hn hr ht hu id ie il im in io iq ir is it je jm jo jp ke kg kh ki km kn kp kr kw ky kz la lb \
    lc li lk lr ls lt lu lv ly ma mc md me mg mh mk ml mm mn mo mp mq mr ms mt mu mv mw mx my mz na nc ne nf ng ni nl no np nr nu nz om \
    pa pe pf pg ph pk pl pm pn pr ps pt pw py qa re ro rs ru rw sa sb sc sd se sg sh si sk sl sm sn so sr ss st su sv sx sy sz tc td tf \
    tg th tj tk tl tm tn to tr tt tv tw tz ua ug uk us uy uz va vc ve vg vi vn vu wf ws ye yt za zm zw";

/// Other top-level domains (IANA's root zone database) under which people have mail; names of files end in none of them.
const OTHERS: &str = "academy aero agency amsterdam asia bar berlin biz blog bzh cat city cloud club codes com community company \
    computer consulting coop design dev digital edu email engineering eus events expert express family finance foundation fun fund gal \
    games global gmbh gov group guru hamburg health hosting house icu inc info ink institute int international jobs koeln land legal \
    life limited live llc lol london ltd love media mil mobi museum name net network news ninja nyc one online org page paris partners \
    plus press pro rocks ruhr school science scot services shop site social software solutions space store studio swiss systems team \
    tech technology tel today tokyo tools top travel university vip vision website wien wiki work works world wtf xyz zone";

/// Domains that are reserved for examples (RFC 2606 and 6761) or that everybody writes for one.
const NOBODYS_DOMAINS: [&str; 25] = [
    "a.com",
    "abc.com",
    "acme.com",
    "b.com",
    "bar.com",
    "baz.com",
    "company.com",
    "domain.com",
    "domain.org",
    "domain.tld",
    "email.com",
    "example.com",
    "example.edu",
    "example.net",
    "example.org",
    "foo.bar",
    "foo.com",
    "foo.org",
    "host.com",
    "mydomain.com",
    "somewhere.com",
    "test.com",
    "x.com",
    "xyz.com",
    "yourdomain.com",
];

/// Who takes no mail.
const NOBODYS_LOCALS: [&str; 10] = [
    "do-not-reply",
    "donotreply",
    "no-reply",
    "no_reply",
    "noreply",
    "not-reply",
    "username",
    "youremail",
    "yourname",
    "your.name",
];

/// Users of version control by ssh; what stands behind such an address is a path.
const REMOTE_LOCALS: [&str; 7] = ["anoncvs", "anonymous", "cvs", "git", "gitlab", "hg", "svn"];

/// What stands before the `@` of a message id has so many characters,
const MESSAGE_ID_BYTES_MIN: usize = 16;

/// and so many digits among them.
const MESSAGE_ID_DIGITS_MIN: usize = 10;

/// Hosts whose `git@` is a remote, also where no path follows.
const FORGES: [&str; 5] = ["bitbucket.org", "codeberg.org", "github.com", "gitlab.com", "ssh.dev.azure.com"];

/// Words before four numbers with dots that are no address.
const VERSION_WORDS: [&str; 14] = [
    "appendix", "build", "chapter", "clause", "firmware", "oid", "rel", "release", "rev", "sec", "section", "v", "ver",
    "version",
];

/// Adds the e-mail addresses in `range`, which is whole lines of `text`.
pub fn find_emails(text: &str, range: Range<usize>, found: &mut Vec<Value>) {
    let bytes = text.as_bytes();
    for at in memchr::memchr_iter(b'@', &bytes[range.clone()]).map(|at| range.start + at) {
        let is_local = |byte: &u8| byte.is_ascii_alphanumeric() || b"._%+-".contains(byte);
        let is_domain = |byte: &u8| byte.is_ascii_alphanumeric() || b".-".contains(byte);
        let local_len =
            bytes[range.start..at].iter().rev().take(LOCAL_BYTES_MAX + 1).take_while(|b| is_local(b)).count();
        let mut local = text[at - local_len..at].trim_start_matches(['.', '%', '+', '-', '_']);
        // Behind a backslash the first letter is part of an escape, such as the end of a line.
        if local.starts_with(['n', 'r', 't']) && text[..at - local.len()].ends_with('\\') {
            local = &local[1..];
        }
        let tail = &bytes[at + 1..range.end];
        let domain_len = tail.iter().take(DOMAIN_BYTES_MAX + 1).take_while(|byte| is_domain(byte)).count();
        let domain = text[at + 1..at + 1 + domain_len].trim_end_matches(['.', '-']);
        if local.is_empty() || local_len > LOCAL_BYTES_MAX || domain_len > DOMAIN_BYTES_MAX || !is_mail_domain(domain) {
            continue;
        }
        let (start, end) = (at - local.len(), at + 1 + domain.len());
        let before = &text[range.start..start];
        if is_somebodys(local, domain, &text[end..range.end]) && !is_in_url(before) {
            found.push(Value { range: start..end, kind: Kind::Emails, rule: None });
        }
    }
}

/// Whether there may be mail for the domain, by its form.
fn is_mail_domain(domain: &str) -> bool {
    let Some((_, top)) = domain.rsplit_once('.') else { return false };
    let top = top.to_ascii_lowercase();
    let list = if top.len() == 2 { COUNTRIES } else { OTHERS };
    list.split_ascii_whitespace().any(|known| known == top)
        && domain.split('.').all(|label| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-'))
}

fn is_somebodys(local: &str, domain: &str, after: &str) -> bool {
    let (local, domain) = (local.to_ascii_lowercase(), domain.to_ascii_lowercase());
    let is_under = |name: &str| domain.strip_suffix(name).is_some_and(|sub| sub.is_empty() || sub.ends_with('.'));
    if NOBODYS_DOMAINS.into_iter().any(is_under) || domain.contains("noreply") {
        return false;
    }
    if NOBODYS_LOCALS.iter().any(|name| local == *name) {
        return false;
    }
    let is_remote = after.starts_with([':', '/']) || FORGES.contains(&domain.as_str());
    let is_copy_target = after.starts_with(":/") || after.starts_with(":~");
    !(is_copy_target || REMOTE_LOCALS.contains(&local.as_str()) && is_remote || is_message_id(&local, &domain))
}

/// Whether this is the id of a message and nobody's address. The ids that `git send-email` makes end in the address of
/// whoever sends, behind a time, the program's number and the patch's: those are addresses as well.
fn is_message_id(local: &str, domain: &str) -> bool {
    let digits = local.bytes().filter(u8::is_ascii_digit).count();
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let names_sender = local.rsplit_once('-').is_some_and(|(before, name)| {
        name.starts_with(|c: char| c.is_ascii_alphabetic()) && before.split('-').any(is_number)
    });
    let is_uuid = local.len() == 36 && local.split('-').count() == 5;
    // Gmail, Emacs' Gnus and Pine.
    domain == "mail.gmail.com"
        || is_uuid
        || local.ends_with(".fsf")
        || local.starts_with("pine.")
        || local.starts_with("alpine.")
        || local.len() >= MESSAGE_ID_BYTES_MIN && digits >= MESSAGE_ID_DIGITS_MIN && !names_sender
}

/// Whether `before` ends in the user information of a URL, or in a handle such as `@user@host`.
fn is_in_url(before: &str) -> bool {
    let from = before.len().saturating_sub(LOCAL_BYTES_MAX * 2);
    let near = &before[before.ceil_char_boundary(from)..];
    let is_end = |c: char| c.is_whitespace() || "\"'<>()[]{},;/".contains(c);
    let token = near.rfind(is_end).map_or(near, |at| &near[at..]);
    (token.starts_with('/') && near[..near.len() - token.len() + 1].ends_with("//")) || before.ends_with('@')
}

/// Adds the IP addresses in `range`, which is whole lines of `text`.
pub fn find_ip_addresses(text: &str, range: Range<usize>, found: &mut Vec<Value>) {
    let bytes = text.as_bytes();
    // How far dots and colons are done with.
    let (mut v4_done, mut v6_done) = (range.start, range.start);
    for at in memchr::memchr2_iter(b'.', b':', &bytes[range.clone()]).map(|at| range.start + at) {
        let is_v4 = bytes[at] == b'.';
        let done = if is_v4 { &mut v4_done } else { &mut v6_done };
        // Most dots and colons have no digit before them.
        if at < *done || at == range.start || !bytes[at - 1].is_ascii_hexdigit() {
            continue;
        }
        let is_part =
            |byte: &u8| if is_v4 { byte.is_ascii_digit() } else { byte.is_ascii_hexdigit() } || *byte == bytes[at];
        let before = bytes[*done..at].iter().rev().take(IPV6_BYTES_MAX).take_while(|byte| is_part(byte)).count();
        let after = bytes[at..range.end].iter().take_while(|byte| is_part(byte)).count();
        let (start, mut end) = (at - before, at + after);
        *done = end;
        // The end of a sentence, or of a host before its port.
        if text[start..end].ends_with([':', '.']) && !text[start..end].ends_with("::") {
            end -= 1;
        }
        let word = &text[start..end];
        let is_address = match is_v4 {
            true => word.parse().is_ok_and(is_public_v4),
            // Of no host, and rather the end of a sentence: 2822::
            false if word.ends_with("::") => false,
            false => word.len() <= IPV6_BYTES_MAX && word.parse().is_ok_and(is_public_v6),
        };
        if is_address && stands_alone(&text[range.start..start], &text[end..range.end]) {
            found.push(Value { range: start..end, kind: Kind::IpAddresses, rule: None });
        }
    }
}

/// Whether somebody may have this address: it is of none of the special ranges (IANA's registry, RFC 6890), no version, of
/// which at least three parts have one digit (so the resolvers 8.8.8.8 and 1.1.1.1 stay, too), no object identifier of X.500
/// or of an organization, and nobody's example, such as 12.34.56.78, whose parts have all the same distance.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, d] = address.octets();
    let is_special = matches!(
        (a, b, c),
        (0 | 10 | 127 | 224..=255, ..)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 168, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    );
    let is_identifier = matches!((a, b, c), (1, 2 | 3, _) | (2, 5, 4 | 29) | (2, 23, _));
    let step = |from: u8, to: u8| i16::from(to) - i16::from(from);
    let is_made_up = (step(a, b) == step(b, c) && step(b, c) == step(c, d)) || [a, b, c, d] == [123, 45, 67, 89];
    !(is_special || is_identifier || is_made_up) && address.octets().iter().filter(|part| **part < 10).count() < 3
}

/// Whether the address is global unicast (2000::/3) and neither Teredo's, for documentation (RFC 3849 and 9637) nor a public
/// resolver.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    (0x2000..0x4000).contains(&a)
        && !matches!((a, b), (0x2001, 0 | 0x0db8) | (0x2001, 0x4860) | (0x2606, 0x4700))
        && !(a == 0x3fff && b < 0x1000)
}

/// Whether what stands before and after lets it be an address: no part of a name or a longer number, no version.
fn stands_alone(before: &str, after: &str) -> bool {
    let near = &before[before.ceil_char_boundary(before.len().saturating_sub(CONTEXT_BYTES_MAX))..];
    // Lines are looked at one by one, so the last one says nothing.
    let near = near.rsplit('\n').next().unwrap_or_default();
    let mut last = near.bytes().rev();
    let (first, second) = (last.next(), last.next());
    let is_name = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || b"_)]}".contains(&byte));
    let is_range_end = || near.trim_end_matches('-').rsplit(|c: char| !(c.is_ascii_digit() || c == '.')).next();
    let is_joined = match first {
        Some(b'-') if is_range_end().is_some_and(|start| start.parse::<Ipv4Addr>().is_ok()) => false,
        Some(b'-' | b'/' | b'+' | b'~' | b'.' | b':') => is_name(second) && first != Some(b':'),
        // Version requirements: ==, >=, ~=.
        Some(b'=') => second.is_some_and(|byte| b"=<>!~".contains(&byte)),
        Some(b'^') => true,
        first => first.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_'),
    };
    let mut next = after.bytes();
    let is_continued = match (next.next(), next.next()) {
        (Some(b'-' | b'+' | b'~' | b'.'), Some(second)) => second.is_ascii_alphabetic(),
        (Some(byte), _) => byte.is_ascii_alphanumeric() || byte == b'_',
        (None, _) => false,
    };
    !is_joined && !is_continued && !names_version(near)
}

/// Whether `near` ends in a word for a version and what stands between a name and its value.
fn names_version(near: &str) -> bool {
    let named = near.trim_end_matches(|c: char| c.is_ascii_whitespace() || "=:\"'(<>[".contains(c));
    let word = named.rsplit(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    // The last part of a name in camel case, as in AssemblyVersion.
    let word = word
        .rfind(|c: char| c.is_ascii_uppercase())
        .filter(|at| *at > 0 && word[*at + 1..].len() > 1)
        .map_or(word, |at| &word[at..]);
    let word = word.to_ascii_lowercase();
    VERSION_WORDS.contains(&word.as_str()) || word.ends_with("version")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str, find: fn(&str, Range<usize>, &mut Vec<Value>)) -> Vec<&str> {
        let mut found = Vec::new();
        find(text, 0..text.len(), &mut found);
        found.into_iter().map(|value| &text[value.range]).collect()
    }

    #[test]
    fn addresses_of_people_are_found() {
        let long = format!("{}@corp.io", "a".repeat(65));
        for (text, expected) in [
            ("Jane <jane.doe@corp.io>", &["jane.doe@corp.io"][..]),
            ("mail a.b+c@mail.corp.co.uk.", &["a.b+c@mail.corp.co.uk"]),
            ("mailto:x1@corp.io?subject=a", &["x1@corp.io"]),
            ("a@corp.io,b@corp.io", &["a@corp.io", "b@corp.io"]),
            ("é@ü jäne@corp.io", &["ne@corp.io"]),
            ("git@vger.kernel.org is a list", &["git@vger.kernel.org"]),
            ("-o@corp.io \"\\nann@corp.io\"", &["o@corp.io", "ann@corp.io"]),
            (&long, &[]),
            ("a@b a@b.c a@.com @b.com a@-b.com a@b-.com a@b..com a@1.2.3", &[]),
            ("git@github.com:o/r ssh://git@github.com/o/r git@git.corp.io:o/r", &[]),
            ("a@example.com b@sub.example.org c@foo.test d@x.invalid e@localhost", &[]),
            ("noreply@corp.io 1+octocat@users.noreply.github.com", &[]),
            ("https://user@bitbucket.org/x postgres://u:word@db.corp.io/x", &[]),
            (
                "lists.corp.io/20170908.4op3w4f2ma5s@corp.io <7vbptlsuyv.fsf@corp.io> CAHdoW6X4c@mail.gmail.com \
                 Pine.LNX.4.640.0007@corp.io 458ad3c1-96df-4575-ee42-e6eb754f25f6@corp.io",
                &[],
            ),
            ("20170426221346.25337-1-ann@corp.io", &["20170426221346.25337-1-ann@corp.io"]),
            ("845767657@qq.com scp x ann@host.corp.io:/srv cvs@corp.io:m yourname@gmail.com", &["845767657@qq.com"]),
            ("icon@2x.png react@18.2.0 @scope/pkg@1.0.0 unit@1.service @me@social.org", &[]),
        ] {
            assert_eq!(texts(text, find_emails), expected, "{text}");
        }
        assert_eq!(texts(&"@".repeat(100_000), find_emails), [""; 0]);
    }

    #[test]
    fn addresses_of_machines_are_found() {
        let long = "1.".repeat(100_000);
        for (text, expected) in [
            ("http://54.23.12.9:80/ 54.23.12.9/24", &["54.23.12.9", "54.23.12.9"][..]),
            ("from 54.23.12.9.", &["54.23.12.9"]),
            ("54.23.12.9-54.23.12.20", &["54.23.12.9", "54.23.12.20"]),
            ("root@54.23.12.9: ::ffff:54.23.12.9", &["54.23.12.9", "54.23.12.9"]),
            ("[2a00:1450:4001:81b::200e]:443", &["2a00:1450:4001:81b::200e"]),
            ("host=54.23.12.9", &["54.23.12.9"]),
            ("10.0.0.1 127.0.0.1 192.168.1.1 172.20.0.1 169.254.1.1 0.0.0.0 255.255.255.0 224.0.0.251", &[]),
            ("192.0.2.17 198.51.100.23 203.0.113.99 100.64.12.12 240.12.12.12", &[]),
            ("2.5.29.15 1.3.101.112 2.23.42.7 12.34.56.78 77.77.77.77 123.45.67.89", &[]),
            ("1.2.3.4 8.8.8.8 8.8.4.4 1.1.1.1 2.0.0.11", &[]),
            ("v54.23.12.9 version 54.23.12.9 \"version\": \"54.23.12.9\" AssemblyVersion(\"54.23.12.9\")", &[]),
            ("pkg-54.23.12.9 54.23.12.9-rc1 Chrome/54.23.12.9 ==54.23.12.9 >=54.23.12.9 ^54.23.12.9 x54.23.12.9", &[]),
            ("54.23.12.9.gabcdef0 RFC 2822:: 2a00::", &[]),
            ("1.3.6.1.4.1 54.23.12.9.1 54.23.12 054.23.12.9 54.23.12.900", &[]),
            ("2001:db8::1 fe80::1 ::1 dead::beef std::io 12:30:45 2001:4860:4860::8888", &[]),
            (&long, &[]),
        ] {
            assert_eq!(texts(text, find_ip_addresses), expected, "{text}");
        }
    }
}
