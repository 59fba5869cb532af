//! The program that a script's first line starts.

use super::modeline::MODELINE_LINES;

/// The program in a line `#!`, without its path and minor version; what `env` starts, and what a shell `exec`s at once.
pub(super) fn interpreter(contents: &str) -> Option<String> {
    // `#![…]` are attributes of Rust, with which many files begin.
    let line = contents.strip_prefix("#!").filter(|line| !line.starts_with('['))?.lines().next()?;
    let mut words = line.split_whitespace();
    let mut program = words.next()?.rsplit('/').next()?;
    if program == "env" {
        program = words.find(|word| !word.starts_with('-') && !word.contains('='))?;
    }
    if program == "osascript" && words.any(|word| word.starts_with("-l")) {
        return None;
    }
    if program == "sh"
        && let Some(started) = contents.lines().take(MODELINE_LINES).find_map(executed)
    {
        program = started;
    }
    let program = program.rsplit('/').next()?;
    let version = program.rfind('.').filter(|dot| {
        let digits = &program[dot + 1..];
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    });
    Some(program[..version.unwrap_or(program.len())].to_owned())
}

/// `exec NAME "$0" "$@"`: a script that starts its own interpreter.
fn executed(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("exec ")?;
    let (program, rest) = rest.split_once([' ', '\t', '"', '\''])?;
    let rest: String = rest.chars().filter(|c| !c.is_whitespace() && !matches!(c, '"' | '\'')).collect();
    (rest.starts_with("$0$@") && program.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')).then_some(program)
}
