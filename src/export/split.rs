//! Which split a row goes to: a matter of where its history begins, so that rows that come later move no other row.

/// Fractions are counted in billionths, so that they add up exactly.
const WHOLE: u64 = 1_000_000_000;

/// Keeps these hashes apart from all others that are made of a name,
const NAME_DOMAIN: &[u8] = b"gitlode split 1\0";

/// or of a commit id.
const ROOT_DOMAIN: &[u8] = b"gitlode split 2\0";

/// What the split of a row depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key<'a> {
    /// The root commit that first parents lead to, in hexadecimal. All forks of a history have it.
    Root(&'a str),
    /// The name of a repository whose root is not known. Forks mostly keep the name behind the owner's, so only that counts.
    Name(&'a str),
}

/// The splits of an export, each with its part of all repositories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splits {
    parts: Vec<(String, u64)>,
}

impl Default for Splits {
    /// Everything is for training.
    fn default() -> Self {
        Splits { parts: vec![("train".to_owned(), WHOLE)] }
    }
}

impl Splits {
    /// Reads parts like `train=0.98`.
    ///
    /// # Errors
    /// What is wrong with them, in words.
    pub fn parse(parts: &[String]) -> Result<Self, String> {
        let mut splits: Vec<(String, u64)> = Vec::new();
        for part in parts {
            let (name, fraction) =
                part.split_once('=').ok_or_else(|| format!("a split is NAME=FRACTION, not {part}"))?;
            let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(is_plain) || name == "all" {
                return Err(format!(
                    "{name} can't be the name of a split: lower-case letters, digits and _, and not all"
                ));
            }
            if splits.iter().any(|(other, _)| other == name) {
                return Err(format!("the split {name} is named twice"));
            }
            let billionths =
                billionths(fraction).filter(|n| *n > 0).ok_or_else(|| format!("{fraction} is no fraction of 1"))?;
            splits.push((name.to_owned(), billionths));
        }
        match splits.iter().map(|(_, part)| part).sum::<u64>() {
            WHOLE => Ok(Splits { parts: splits }),
            sum => Err(format!("the splits add up to {}, not to 1", sum as f64 / WHOLE as f64)),
        }
    }

    /// Names, in order.
    pub fn names(&self) -> Vec<&str> {
        self.parts.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// Names with fractions, in order.
    pub fn fractions(&self) -> impl Iterator<Item = (&str, f64)> {
        self.parts.iter().map(|(name, part)| (name.as_str(), *part as f64 / WHOLE as f64))
    }

    fn of_key(&self, key: Key<'_>) -> usize {
        let mut hasher = blake3::Hasher::new();
        match key {
            Key::Root(root) => hasher.update(ROOT_DOMAIN).update(root.as_bytes()),
            Key::Name(name) => {
                let name = name.trim_end_matches('/');
                let last = name.rsplit('/').next().unwrap_or(name).to_lowercase();
                hasher.update(NAME_DOMAIN).update(last.strip_suffix(".git").unwrap_or(&last).as_bytes())
            }
        };
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        let at = (u128::from(u64::from_le_bytes(bytes)) * u128::from(WHOLE)) >> 64;
        let mut end = 0;
        let found = self.parts.iter().position(|(_, part)| {
            end += u128::from(*part);
            at < end
        });
        found.unwrap_or(self.parts.len() - 1)
    }

    /// The split of a row that `key` decides on. Also whether most rows of one of its repositories, by their keys `others`,
    /// are in another split.
    pub fn of<'a, K: Iterator<Item = Key<'a>>>(
        &self,
        key: impl FnOnce() -> Key<'a>,
        others: impl FnOnce() -> K,
    ) -> (usize, bool) {
        if self.parts.len() == 1 {
            return (0, false);
        }
        let split = self.of_key(key());
        (split, others().any(|other| self.of_key(other) != split))
    }
}

/// `0.98` as 980,000,000.
fn billionths(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(part) || part.len() > 9 || (whole.is_empty() && part.is_empty()) {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let part: u64 = format!("{part:0<9}").parse().ok()?;
    (whole <= 1).then(|| whole * WHOLE + part).filter(|n| *n <= WHOLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Splits, String> {
        Splits::parse(&text.split(',').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn fractions_add_up_to_one() {
        for good in ["train=1", "train=1.0", "train=0.98,validation=0.01,test=.01", "a=0.333333333,b=0.666666667"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in [
            "train",
            "train=0.9",
            "train=0.9,test=0.2",
            "train=x",
            "train=2",
            "train=1,test=0",
            "all=1",
            "a b=1",
            "train=0.5,train=0.5",
            "Train=1",
            "train=0.0000000001",
            "=1",
            "train=.",
            "train=-1",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_root_or_a_name_has_its_split_for_ever() {
        let splits = parse("train=0.5,validation=0.25,test=0.25").expect("splits");
        let of = |key| splits.names()[splits.of_key(key)];
        // These are promises: a change here moves rows of data sets that are out.
        let expected =
            [("tokio", "test"), ("redis", "validation"), ("git", "train"), ("ripgrep", "train"), ("linux", "test")];
        let found = expected.map(|(name, _)| (name, of(Key::Name(name))));
        assert_eq!(found, expected);
        for alike in ["tokio-rs/tokio", "Tokio-RS/Tokio", "fork/tokio.git", "https://host/a/tokio/"] {
            assert_eq!(of(Key::Name(alike)), of(Key::Name("tokio")), "{alike}");
        }
        // The root commits of git and of Linux.
        let expected = [
            ("e83c5163316f89bfbde7d9ab23ca2e25604af290", "validation"),
            ("1da177e4c3f41524e886b7f1b8a0c1fc7321cac2", "train"),
        ];
        assert_eq!(expected.map(|(root, _)| (root, of(Key::Root(root)))), expected);
        let mut counts = [[0_u32; 3]; 2];
        for n in 0..10_000 {
            counts[0][splits.of_key(Key::Name(&format!("owner/name{n}")))] += 1;
            counts[1][splits.of_key(Key::Root(&format!("{n:040x}")))] += 1;
        }
        for [train, validation, _] in counts {
            assert!(train.abs_diff(5000) < 150 && validation.abs_diff(2500) < 150, "{counts:?}");
        }
    }

    #[test]
    fn a_row_in_repositories_of_another_split_is_told() {
        let splits = parse("train=0.5,test=0.5").expect("splits");
        let roots: Vec<String> = (0..20).map(|n| format!("{n:040x}")).collect();
        let first = |split: usize| roots.iter().find(|root| splits.of_key(Key::Root(root)) == split).expect("one");
        let (train, test) = (Key::Root(first(0)), Key::Root(first(1)));
        assert_eq!(splits.of(|| train, || [train, train].into_iter()), (0, false));
        assert_eq!(splits.of(|| train, || [train, test].into_iter()), (0, true));
        assert_eq!(splits.of(|| test, || [train].into_iter()), (1, true));
        assert_eq!(Splits::default().of(|| test, || [train].into_iter()), (0, false));
    }
}
