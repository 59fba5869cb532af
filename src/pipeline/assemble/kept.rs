//! Files that an assembly keeps for the next one. None of them is the truth: one that is missing, damaged or of another
//! version is made again, so they are not synced, and end with a checksum that is asked before they are believed.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use crate::store::{Error, io_error};

/// Bytes of the checksum.
const CHECKSUM: u64 = 32;

/// Bytes that are hashed and written together: BLAKE3 is several times as fast where it has many.
const WRITTEN: usize = 1 << 16;

/// Bytes that are read at a time.
const READ: usize = 1 << 14;

/// A file being written, under a temporary name.
pub struct KeptWriter {
    path: PathBuf,
    file: File,
    waiting: Vec<u8>,
    hasher: blake3::Hasher,
}

impl KeptWriter {
    /// Starts the file that will be `path`, in a directory that may have to be made.
    ///
    /// # Errors
    /// It can't be made.
    pub fn new(path: &Path) -> Result<Self, Error> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(io_error(parent))?;
        }
        let temporary = path.with_added_extension("tmp");
        let file = File::create(&temporary).map_err(io_error(&temporary))?;
        Ok(KeptWriter { path: path.to_owned(), file, waiting: Vec::new(), hasher: blake3::Hasher::new() })
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// They can't be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() < WRITTEN { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.hasher.update(&self.waiting);
        self.file.write_all(&self.waiting).map_err(io_error(&self.path))?;
        self.waiting.clear();
        Ok(())
    }

    /// Adds the checksum and renames the file into place.
    ///
    /// # Errors
    /// It can't be written.
    pub fn seal(mut self) -> Result<(), Error> {
        self.flush()?;
        let checksum = *self.hasher.finalize().as_bytes();
        self.file.write_all(&checksum).map_err(io_error(&self.path))?;
        fs::rename(self.path.with_added_extension("tmp"), &self.path).map_err(io_error(&self.path))
    }
}

/// Whether the file `path` is there and whole.
pub fn is_whole(path: &Path) -> bool {
    let check = || -> std::io::Result<bool> {
        let mut file = File::open(path)?;
        let len = file.metadata()?.len();
        let Some(len) = len.checked_sub(CHECKSUM) else { return Ok(false) };
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; 1 << 16];
        let mut body = (&mut file).take(len);
        loop {
            let n = body.read(&mut buffer)?;
            if n == 0 {
                break;
            }
            hasher.update(&buffer[..n]);
        }
        let mut checksum = [0; CHECKSUM as usize];
        file.read_exact(&mut checksum)?;
        Ok(*hasher.finalize().as_bytes() == checksum)
    };
    check().unwrap_or(false)
}

/// Reads a file that [`is_whole`]. It is open only while some of it is read, so that there may be any number of readers.
pub struct KeptReader {
    path: PathBuf,
    buffer: Vec<u8>,
    /// Where in the buffer the next byte is.
    at: usize,
    /// Offset of what comes behind the buffer, and of the checksum.
    offset: u64,
    end: u64,
}

impl KeptReader {
    /// Reads the file `path` from its start.
    ///
    /// # Errors
    /// It is not there.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let end = fs::metadata(path).map_err(io_error(path))?.len().saturating_sub(CHECKSUM);
        Ok(KeptReader { path: path.to_owned(), buffer: Vec::new(), at: 0, offset: 0, end })
    }

    /// Bytes that are left.
    pub fn left(&self) -> u64 {
        self.end - self.offset + (self.buffer.len() - self.at) as u64
    }

    /// Makes `bytes` of what is left stand in the buffer.
    fn fill(&mut self, bytes: usize) -> Result<(), Error> {
        if self.buffer.len() - self.at >= bytes {
            return Ok(());
        }
        if bytes as u64 > self.left() {
            return Err(Error::Damaged { path: self.path.clone(), reason: "it is shorter than it says".into() });
        }
        self.buffer.drain(..self.at);
        self.at = 0;
        let (from, most) = (self.buffer.len(), READ.max(bytes - self.buffer.len()) as u64);
        let more = most.min(self.end - self.offset);
        self.buffer.resize(from + usize::try_from(more).unwrap_or_default(), 0);
        let file = File::open(&self.path).map_err(io_error(&self.path))?;
        file.read_exact_at(&mut self.buffer[from..], self.offset).map_err(io_error(&self.path))?;
        self.offset += more;
        Ok(())
    }

    /// Fills `bytes`.
    ///
    /// # Errors
    /// There are not so many.
    pub fn read(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.fill(bytes.len())?;
        bytes.copy_from_slice(&self.buffer[self.at..self.at + bytes.len()]);
        self.at += bytes.len();
        Ok(())
    }

    /// Leaves `bytes` out.
    ///
    /// # Errors
    /// There are not so many, or they can't be read.
    pub fn skip(&mut self, bytes: usize) -> Result<(), Error> {
        self.fill(bytes)?;
        self.at += bytes;
        Ok(())
    }

    /// A text of `len` bytes.
    ///
    /// # Errors
    /// There are not so many, or they are no text.
    pub fn text(&mut self, len: usize) -> Result<String, Error> {
        let mut bytes = vec![0; len];
        self.read(&mut bytes)?;
        String::from_utf8(bytes)
            .map_err(|_| Error::Damaged { path: self.path.clone(), reason: "it has bytes that are no text".into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_noticed() {
        let directory = tempfile::TempDir::new().expect("a directory");
        let path = directory.path().join("deep/file");
        assert!(!is_whole(&path));
        let mut writer = KeptWriter::new(&path).expect("it can be made");
        writer.write(b"some ").and_then(|()| writer.write(b"bytes")).expect("they can be written");
        writer.seal().expect("it can be written");
        assert!(is_whole(&path));
        let mut reader = KeptReader::open(&path).expect("it can be read");
        reader.skip(5).expect("there are five bytes");
        assert_eq!((reader.text(5).expect("a text").as_str(), reader.left()), ("bytes", 0));
        let whole = fs::read(&path).expect("it can be read");
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&path, &bytes).expect("it can be written");
            assert!(!is_whole(&path), "byte {at}");
            fs::write(&path, &whole[..at]).expect("it can be written");
            assert!(!is_whole(&path), "cut at {at}");
        }
    }
}
