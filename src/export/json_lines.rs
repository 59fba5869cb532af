//! JSON lines: `data/<split>-00000-of-0000N.jsonl`, or CommitPackFT's `data/<language>/data.jsonl`. Compressed when a
//! shard is complete, in one piece, since many readers stop behind the first frame of zstd.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufReader, Read as _, Write},
    path::Path,
};

use serde_json::json;

use super::{
    Compression, Error, Format, Options, Record, Shape, Shard, dolma, embedding,
    files::{Files, Finished, Part, Place},
    go_on, io_error, place,
};
use crate::{sample::Sample, store::rows::COLUMNS};

/// Lines that wait for a file. There may be hundreds of files.
const WAITING_BYTES_MAX: usize = 256 << 10;

/// As much of a shard is compressed at a time.
const BLOCK_BYTES: usize = 1 << 20;

/// zstd's own default.
const ZSTD_LEVEL: i32 = 3;

struct Open {
    part: Part,
    waiting: Vec<u8>,
    rows: u64,
}

impl Open {
    fn bytes(&self) -> u64 {
        self.part.bytes + self.waiting.len() as u64
    }

    fn drain(&mut self) -> Result<(), Error> {
        self.part.append(&self.waiting)?;
        self.waiting.clear();
        Ok(())
    }
}

/// The files of an export.
pub struct JsonLinesFiles<'a> {
    options: Options<'a>,
    files: Files,
    open: BTreeMap<Place, Open>,
}

impl<'a> JsonLinesFiles<'a> {
    pub(super) fn new(directory: &Path, options: Options<'a>) -> Self {
        JsonLinesFiles { options, files: Files::new(directory), open: BTreeMap::new() }
    }

    pub(super) fn push(&mut self, sample: &Sample<'_>, split: usize) -> Result<(), Error> {
        let place = place(&self.options, sample.lang, split);
        let columns = self.options.columns;
        self.append(place, |line| write_line(line, sample, columns))
    }

    pub(super) fn push_record(&mut self, record: &Record, split: usize) -> Result<(), Error> {
        if self.options.format == Format::Dolma && record.config == dolma::FILES[0] {
            self.close_together(split)?;
        }
        let config = (!record.config.is_empty()).then(|| record.config.clone());
        self.append(Place { config, split }, |line| line.extend_from_slice(&record.bytes))
    }

    /// Ends both files of a shard of Dolma's where one is full, since they have the same rows.
    fn close_together(&mut self, split: usize) -> Result<(), Error> {
        let places = dolma::FILES.map(|config| Place { config: Some(config.to_owned()), split });
        let is_full =
            |place: &Place| self.open.get(place).is_some_and(|open| open.bytes() >= self.options.shard_bytes_max);
        match places.iter().any(is_full) {
            true => places.iter().try_for_each(|place| self.close(place)),
            false => Ok(()),
        }
    }

    /// Whether a file is one JSON array, a record a line.
    fn is_array(&self) -> bool {
        self.options.shape == Some(Shape::Halos)
    }

    fn append(&mut self, place: Place, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), Error> {
        let is_array = self.is_array();
        if self.open.get(&place).is_some_and(|open| open.bytes() >= self.options.shard_bytes_max) {
            self.close(&place)?;
        }
        let open = match self.open.entry(place) {
            std::collections::btree_map::Entry::Occupied(open) => open.into_mut(),
            std::collections::btree_map::Entry::Vacant(none) => {
                none.insert(Open { part: self.files.start()?, waiting: Vec::new(), rows: 0 })
            }
        };
        if is_array {
            open.waiting.extend_from_slice(if open.rows == 0 { b"[\n" } else { b",\n" });
        }
        write(&mut open.waiting);
        if !is_array {
            open.waiting.push(b'\n');
        }
        open.rows += 1;
        if open.waiting.len() >= WAITING_BYTES_MAX { open.drain() } else { Ok(()) }
    }

    /// Ends the shard that is open for `place`.
    fn close(&mut self, place: &Place) -> Result<(), Error> {
        let Some(mut open) = self.open.remove(place) else { return Ok(()) };
        if self.is_array() {
            open.waiting.extend_from_slice(b"\n]\n");
        }
        open.drain()?;
        let finished = self.compress(open)?;
        self.files.add(place.clone(), finished);
        Ok(())
    }

    fn compress(&mut self, open: Open) -> Result<Finished, Error> {
        let (rows, bytes) = (open.rows, open.part.bytes);
        match self.options.compression {
            Compression::None => return Ok(open.part.finish(rows, bytes)),
            Compression::Gzip | Compression::Zstd => {}
        }
        let from = open.part.into_path();
        let mut to = self.files.start()?;
        let mut reader = BufReader::new(File::open(&from).map_err(io_error(&from))?);
        let mut block = vec![0; BLOCK_BYTES];
        let mut encoder = Encoder::new(self.options.compression).map_err(io_error(&from))?;
        loop {
            go_on(self.options.interrupt)?;
            let n = reader.read(&mut block).map_err(io_error(&from))?;
            if n == 0 {
                break;
            }
            to.append(&encoder.encode(&block[..n]).map_err(io_error(&from))?)?;
        }
        to.append(&encoder.finish().map_err(io_error(&from))?)?;
        fs::remove_file(&from).map_err(io_error(&from))?;
        Ok(to.finish(rows, bytes))
    }

    pub(super) fn finish(mut self) -> Result<Vec<Shard>, Error> {
        while let Some(place) = self.open.keys().next().cloned() {
            go_on(self.options.interrupt)?;
            self.close(&place)?;
        }
        if self.files.is_empty() && self.options.format == Format::Dolma {
            for config in dolma::FILES {
                let empty = Open { part: self.files.start()?, waiting: Vec::new(), rows: 0 };
                let empty = self.compress(empty)?;
                self.files.add(Place { config: Some(config.to_owned()), split: 0 }, empty);
            }
        } else if self.files.is_empty() {
            let waiting = if self.is_array() { b"[]\n".to_vec() } else { Vec::new() };
            let mut empty = Open { part: self.files.start()?, waiting, rows: 0 };
            empty.drain()?;
            let empty = self.compress(empty)?;
            let place = match self.options.format {
                Format::Grit => Place { config: Some(embedding::Kind::Embedding.config("unknown")), split: 0 },
                _ => place(&self.options, "unknown", 0),
            };
            self.files.add(place, empty);
        }
        let Options { splits, format, compression, shape, .. } = self.options;
        let end = match compression {
            Compression::None => "",
            Compression::Gzip => ".gz",
            Compression::Zstd => ".zst",
        };
        let kind = if shape == Some(Shape::Halos) { "json" } else { "jsonl" };
        self.files.name(splits, |place, number, count| {
            let split = splits[place.split];
            match (&place.config, format) {
                (Some(config), Format::Commitpack) => {
                    // CommitPackFT's one file is `data`; where there are splits, each is named.
                    let stem = if splits.len() == 1 { "data" } else { split };
                    let number = if count == 1 { String::new() } else { format!("-{:04}", number + 1) };
                    format!("data/{config}/{stem}{number}.jsonl{end}")
                }
                // GritLM reads all files of one directory, and knows them by their names there.
                (Some(config), Format::Grit) => {
                    let number = if count == 1 { String::new() } else { format!("-{:04}", number + 1) };
                    format!("{split}/{config}{number}.jsonl{end}")
                }
                (Some(config), Format::Dolma) => {
                    format!("{config}/{split}-{number:05}-of-{count:05}.{kind}{end}")
                }
                (Some(config), _) => format!("data/{config}/{split}-{number:05}-of-{count:05}.{kind}{end}"),
                _ => format!("data/{split}-{number:05}-of-{count:05}.{kind}{end}"),
            }
        })
    }
}

fn write_line(line: &mut Vec<u8>, sample: &Sample<'_>, columns: &[&str]) {
    const WHY: &str = "a row has nothing that JSON has not";
    if columns == COLUMNS {
        serde_json::to_writer(&mut *line, sample).expect(WHY);
    } else {
        let all = serde_json::to_value(sample).expect(WHY);
        for (at, name) in columns.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            write!(line, "{before}{}:{}", json!(name), all[*name]).expect("memory can be written to");
        }
        line.push(b'}');
    }
}

/// A closed set of compressors into memory, which is emptied after each block.
enum Encoder {
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    fn new(compression: Compression) -> std::io::Result<Self> {
        Ok(match compression {
            // Without a time in the header, so that the same lines are the same bytes.
            Compression::Gzip | Compression::None => {
                Encoder::Gzip(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default()))
            }
            Compression::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
                encoder.include_checksum(true)?;
                Encoder::Zstd(encoder)
            }
        })
    }

    fn encode(&mut self, block: &[u8]) -> std::io::Result<Vec<u8>> {
        Ok(match self {
            Encoder::Gzip(encoder) => {
                encoder.write_all(block)?;
                std::mem::take(encoder.get_mut())
            }
            Encoder::Zstd(encoder) => {
                encoder.write_all(block)?;
                std::mem::take(encoder.get_mut())
            }
        })
    }

    fn finish(self) -> std::io::Result<Vec<u8>> {
        match self {
            Encoder::Gzip(encoder) => encoder.finish(),
            Encoder::Zstd(encoder) => encoder.finish(),
        }
    }
}
