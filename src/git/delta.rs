//! What a delta makes of its base (gitformat-pack, "Deltified representation"); of text that stays text, as text.

use std::ops::Range;

use bstr::ByteSlice as _;

/// What a delta says at its start.
pub(super) struct Sizes {
    /// Bytes that it is to be applied to.
    pub(super) base: u64,
    /// Bytes that it makes of them.
    pub(super) result: u64,
    /// Where its commands begin.
    pub(super) commands: usize,
}

/// None where it is too short.
pub(super) fn sizes(delta: &[u8]) -> Option<Sizes> {
    let (base, rest) = size(delta)?;
    let (result, commands) = size(rest)?;
    Some(Sizes { base, result, commands: delta.len() - commands.len() })
}

/// A command of a delta.
enum Command<'d> {
    /// This part of the base.
    Copy(Range<usize>),
    /// These bytes.
    Insert(&'d [u8]),
}

/// Takes the first command off `delta`; none where it is damaged.
#[inline]
fn command<'d>(delta: &mut &'d [u8]) -> Option<Command<'d>> {
    let (&command, rest) = delta.split_first()?;
    *delta = rest;
    if command & 0x80 == 0 {
        let (new, rest) = delta.split_at_checked(usize::from(command)).filter(|_| command != 0)?;
        *delta = rest;
        return Some(Command::Insert(new));
    }
    // Bits say which bytes of offset and length follow.
    let (mut value, mut taken, mut bits) = (0u64, 0, command & 0x7f);
    while bits != 0 {
        value |= u64::from(*delta.get(taken)?) << (8 * bits.trailing_zeros());
        (taken, bits) = (taken + 1, bits & (bits - 1));
    }
    *delta = &delta[taken..];
    let (from, length) = ((value & 0xffff_ffff) as usize, (value >> 32) as usize);
    let length = if length == 0 { 0x10000 } else { length };
    Some(Command::Copy(from..from + length))
}

/// Appends to the empty `result` the `size` bytes that `commands` make of `base`; none where they are damaged.
pub(super) fn apply(base: &[u8], mut commands: &[u8], size: usize, result: &mut Vec<u8>) -> Option<()> {
    while !commands.is_empty() {
        let part = match command(&mut commands)? {
            Command::Copy(range) => base.get(range)?,
            Command::Insert(new) => new,
        };
        if part.len() > size - result.len() {
            return None;
        }
        result.extend_from_slice(part);
    }
    (result.len() == size).then_some(())
}

/// Text that is put together, of which a letter may be cut at the end.
struct Pieces {
    text: String,
    open: Vec<u8>,
}

impl Pieces {
    /// Appends bytes that may begin and end within a letter; none where what comes out is no text.
    fn push_bytes(&mut self, bytes: &[u8]) -> Option<()> {
        if self.open.is_empty()
            && let Ok(text) = bytes.to_str()
        {
            self.text.push_str(text);
            return Some(());
        }
        self.open.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.open) {
            Ok(text) => text,
            // The letter may go on in what comes next.
            Err(error) if error.error_len().is_none() => std::str::from_utf8(&self.open[..error.valid_up_to()]).ok()?,
            Err(_) => return None,
        };
        self.text.push_str(whole);
        let whole = whole.len();
        self.open.drain(..whole);
        Some(())
    }

    /// Appends this part of a text.
    fn push_part(&mut self, text: &str, range: Range<usize>) -> Option<()> {
        // Nearly all end where letters do.
        if self.open.is_empty()
            && let Some(whole) = text.get(range.clone())
        {
            self.text.push_str(whole);
            return Some(());
        }
        let from = text.ceil_char_boundary(range.start).min(range.end);
        let to = text.floor_char_boundary(range.end).max(from);
        let bytes = text.as_bytes();
        self.push_bytes(bytes.get(range.start..from)?)?;
        // A letter that was open has to be whole now.
        if self.open.is_empty()
            && let Some(whole) = text.get(from..to)
        {
            self.text.push_str(whole);
            return self.push_bytes(bytes.get(to..range.end)?);
        }
        self.push_bytes(bytes.get(from..range.end)?)
    }

    fn len(&self) -> usize {
        self.text.len() + self.open.len()
    }
}

/// As [`apply`], for text; gives the memory back where what comes out is no text, or `commands` are damaged. Only what is
/// new is looked at for that, and letters that are cut.
pub(super) fn apply_to_text(base: &str, mut commands: &[u8], size: usize, memory: String) -> Result<String, String> {
    let mut made = Pieces { text: memory, open: Vec::new() };
    let mut push = |made: &mut Pieces| {
        let left = size - made.len();
        match command(&mut commands)? {
            Command::Copy(range) if range.len() <= left && range.end <= base.len() => made.push_part(base, range)?,
            Command::Insert(new) if new.len() <= left => made.push_bytes(new)?,
            _ => return None,
        }
        Some(commands.is_empty())
    };
    loop {
        match push(&mut made) {
            Some(false) => {}
            Some(true) if made.open.is_empty() && made.text.len() == size => return Ok(made.text),
            _ => return Err(made.text),
        }
    }
}

/// A size at the start of `bytes`, seven bits a byte from the lowest on, and what follows.
fn size(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut size = 0u64;
    for (at, byte) in bytes.iter().enumerate().take(9) {
        size |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((size, &bytes[at + 1..]));
        }
    }
    None
}
