//! Reads objects, and blobs as text under a size limit. Damage is a reason to skip, never an error or a panic.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::Arc,
};

use gix::{
    ObjectId,
    objs::{Find as _, Kind},
};

use super::{
    decoder::{Contents, Decoder},
    needs::Needs,
    packs::Place,
    repository::{Objects, Repository},
    text::{NotText, decode, is_binary, is_lfs_pointer},
};
use crate::verdict::Skip;

/// Recently decoded blobs kept per thread, of packs and of elsewhere: a file's new contents are the old contents of its next version.
/// What of a pack is needed later is remembered by the decoder, as far as its memory goes.
const RECENT_BLOBS_MAX: [usize; 2] = [4, 16];

/// Why an object could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// It is not in the repository.
    Missing,
    /// It is there and can't be decoded, or is of another kind.
    Corrupt,
}

impl ReadError {
    /// The reason as the funnel counts it.
    pub fn skip(self) -> Skip {
        match self {
            ReadError::Missing => Skip::MissingObject,
            ReadError::Corrupt => Skip::CorruptObject,
        }
    }
}

/// Decodes the object `id`, which must be a `kind`, into `buffer`.
///
/// # Errors
/// The object is missing or damaged. A panic of the decoder on hostile bytes counts as damage.
pub fn read<'b>(objects: &Objects, id: ObjectId, kind: Kind, buffer: &'b mut Vec<u8>) -> Result<&'b [u8], ReadError> {
    objects.count(kind);
    let found = catch_unwind(AssertUnwindSafe(|| objects.try_find(&id, buffer).map(|o| o.map(|o| o.kind))));
    match found {
        Ok(Ok(Some(found))) if found == kind => Ok(buffer),
        Ok(Ok(None)) => Err(ReadError::Missing),
        Ok(Err(error)) => Err(corrupt(objects, &error)),
        Ok(Ok(Some(_))) | Err(_) => Err(ReadError::Corrupt),
    }
}

/// The size in bytes of the blob `id`, without decoding it.
///
/// # Errors
/// As [`read`].
pub fn size(objects: &Objects, id: ObjectId) -> Result<u64, ReadError> {
    match catch_unwind(AssertUnwindSafe(|| gix::odb::Header::try_header(&***objects, &id))) {
        Ok(Ok(Some(header))) if header.kind() == Kind::Blob => Ok(header.size()),
        Ok(Ok(None)) => Err(ReadError::Missing),
        Ok(Err(error)) => Err(corrupt(objects, &error)),
        Ok(Ok(Some(_))) | Err(_) => Err(ReadError::Corrupt),
    }
}

/// Damage, as far as one object tells; an error of the machine is remembered and stops the repository.
fn corrupt(objects: &Objects, error: &gix::Error) -> ReadError {
    objects.note(error);
    ReadError::Corrupt
}

/// A blob that is text.
#[derive(Clone, Debug)]
pub struct Text {
    /// The contents; for UTF-8 the blob's bytes, exactly.
    pub text: Rc<String>,
    /// The WHATWG name of the encoding that the blob is in, in lower case.
    pub encoding: &'static str,
}

/// Reads blobs as text, for one thread.
pub struct Blobs {
    objects: Objects,
    decoder: Decoder,
    bytes_max: u64,
    buffer: Vec<u8>,
    /// Those of packs, and those of elsewhere.
    recent: [VecDeque<Recent>; 2],
}

/// A blob that was asked for.
struct Recent {
    id: ObjectId,
    text: Result<Text, Skip>,
}

impl Blobs {
    /// Blobs of more than `bytes_max` bytes are skipped without being decoded. `needs` are counts of all that will be asked for.
    pub fn new(repository: &Repository, bytes_max: u64, needs: Option<Arc<Needs>>) -> Self {
        let decoder = Decoder::new(repository, Kind::Blob, bytes_max).with_needs(needs);
        let objects = repository.objects();
        Blobs { objects, decoder, bytes_max, buffer: Vec::new(), recent: Default::default() }
    }

    /// The objects that the blobs come from.
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// The size of the blob `id` in bytes.
    ///
    /// # Errors
    /// It is missing or damaged.
    pub fn size(&self, id: ObjectId) -> Result<u64, Skip> {
        size(&self.objects, id).map_err(ReadError::skip)
    }

    /// The blob `id` as text. `place` is where it is, if it is in a pack.
    ///
    /// # Errors
    /// The reason why it can't be: missing, corrupt, too large, an LFS pointer, binary or undecodable.
    pub fn text(&mut self, id: ObjectId, place: Option<Place>) -> Result<Text, Skip> {
        let of = usize::from(place.is_none());
        // Mostly the last one.
        let known = self.recent[of].iter().rfind(|recent| recent.id == id);
        let text = match known {
            Some(Recent { text, .. }) => text.clone(),
            None => {
                let text = self.decode(id, place);
                let recent = &mut self.recent[of];
                if recent.len() == RECENT_BLOBS_MAX[of] {
                    recent.pop_front();
                }
                recent.push_back(Recent { id, text: text.clone() });
                text
            }
        };
        if let Some(place) = place {
            self.decoder.serve(place);
        }
        text
    }

    fn decode(&mut self, id: ObjectId, place: Option<Place>) -> Result<Text, Skip> {
        let decoded = place.and_then(|place| self.decoder.decode_at(place));
        let bytes = match &decoded {
            Some(contents) => {
                self.objects.count(Kind::Blob);
                contents.as_bytes()
            }
            None if size(&self.objects, id).map_err(ReadError::skip)? > self.bytes_max => return Err(Skip::TooLarge),
            None => read(&self.objects, id, Kind::Blob, &mut self.buffer).map_err(ReadError::skip)?,
        };
        if is_lfs_pointer(bytes) {
            return Err(Skip::LfsPointer);
        }
        if let Some(Contents::Text(text)) = &decoded {
            // No UTF-16 with a mark is UTF-8.
            let text = Text { encoding: "utf-8", text: Rc::clone(text) };
            return if is_binary(bytes) { Err(Skip::Binary) } else { Ok(text) };
        }
        match decode(bytes) {
            Ok(decoded) => Ok(Text { encoding: decoded.encoding, text: Rc::new(decoded.text.into_owned()) }),
            Err(NotText::Binary) => Err(Skip::Binary),
            Err(NotText::Undecodable) => Err(Skip::UndecodableText),
        }
    }
}
