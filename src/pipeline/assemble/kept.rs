//! Files that an assembly keeps for the next one. None of them is the truth: one that is missing, damaged or of another
//! version is made again, so they are not synced, and end with a checksum that is asked before they are believed.

use std::{
    fs::{self, File},
    io::{BufReader, BufWriter, Read as _, Write as _},
    path::{Path, PathBuf},
};

use crate::store::{Error, io_error};

/// Bytes of the checksum.
const CHECKSUM: u64 = 32;

/// A file being written, under a temporary name.
pub struct KeptWriter {
    path: PathBuf,
    file: BufWriter<File>,
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
        Ok(KeptWriter { path: path.to_owned(), file: BufWriter::new(file), hasher: blake3::Hasher::new() })
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// They can't be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.hasher.update(bytes);
        self.file.write_all(bytes).map_err(io_error(&self.path))
    }

    /// Adds the checksum and renames the file into place.
    ///
    /// # Errors
    /// It can't be written.
    pub fn seal(mut self) -> Result<(), Error> {
        let checksum = *self.hasher.finalize().as_bytes();
        self.file.write_all(&checksum).map_err(io_error(&self.path))?;
        self.file.flush().map_err(io_error(&self.path))?;
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

/// Reads a file that [`is_whole`].
pub struct KeptReader {
    path: PathBuf,
    file: BufReader<File>,
    left: u64,
}

impl KeptReader {
    /// Opens the file `path`.
    ///
    /// # Errors
    /// It can't be read.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(io_error(path))?;
        let left = file.metadata().map_err(io_error(path))?.len().saturating_sub(CHECKSUM);
        Ok(KeptReader { path: path.to_owned(), file: BufReader::new(file), left })
    }

    /// Bytes that are left.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Fills `bytes`.
    ///
    /// # Errors
    /// There are not so many.
    pub fn read(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.left = self.left.saturating_sub(bytes.len() as u64);
        self.file.read_exact(bytes).map_err(io_error(&self.path))
    }

    /// Leaves `bytes` out.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn skip(&mut self, bytes: usize) -> Result<(), Error> {
        self.left = self.left.saturating_sub(bytes as u64);
        self.file.seek_relative(i64::try_from(bytes).unwrap_or(i64::MAX)).map_err(io_error(&self.path))
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
