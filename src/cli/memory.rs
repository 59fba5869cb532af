//! How much memory there is, and how much a user gives.

use std::fs;

/// Where nothing says how much there is.
const UNKNOWN: u64 = 4 << 30;

/// Reads a size in bytes, with K, M, G or T behind it for powers of 1024.
pub fn size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.char_indices().last() {
        Some((at, 'K' | 'k')) => (&text[..at], 10),
        Some((at, 'M' | 'm')) => (&text[..at], 20),
        Some((at, 'G' | 'g')) => (&text[..at], 30),
        Some((at, 'T' | 't')) => (&text[..at], 40),
        _ => (text, 0),
    };
    let size = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    if size == Some(0) {
        return Err("there has to be some".into());
    }
    size.ok_or_else(|| format!("{text} is no size; one is a number of bytes, or 512M, 2G"))
}

/// A quarter of what this process may have.
pub fn default() -> u64 {
    let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let limit = limits.iter().find_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok());
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| of_machine(&text));
    machine.into_iter().chain(limit).min().unwrap_or(UNKNOWN) / 4
}

fn of_machine(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        for (text, expected) in [
            ("0", None),
            ("0G", None),
            ("17", Some(17)),
            ("2G", Some(2 << 30)),
            ("512m", Some(512 << 20)),
            ("1.5G", None),
            ("", None),
            ("99999999T", None),
            ("Gé", None),
        ] {
            assert_eq!(size(text).ok(), expected, "{text}");
        }
        assert_eq!(of_machine("MemFree: 1 kB\nMemTotal:       24 kB\n"), Some(24 << 10));
        assert!(default() > 0);
    }
}
