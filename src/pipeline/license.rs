//! The licence of a file at a commit: what the file itself says, else the texts in the nearest directory that has some,
//! else the nearest package metadata. A directory's evidence is read once, and a blob once for each thread, whatever the
//! number of rows.

use std::{
    rc::Rc,
    sync::{Arc, OnceLock, atomic::AtomicBool},
};

use gix::{ObjectId, hash::Kind as HashKind, objs::Kind};
use hashbrown::HashMap;

use crate::{
    bytes::common_prefix,
    classify::license::{
        Combined, Licenses, Method, combine,
        header::{HeaderKind, Words, has_new_words, head, near_words, with_comments, words},
        is_text_name, metadata,
        reuse::{self, Annotation},
        text::{Said, TEXT_BYTES_MAX},
    },
    git::{
        blobs::{read, size},
        change::{Directory, TreeDiff},
        decoder::{Contents, Decoder},
        repository::{Objects, Repository},
        trees::{self, Trees},
        walk,
    },
};

/// What is known of a file's licence.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Found {
    /// SPDX expression; none where what stands there is not known.
    pub expression: Option<String>,
    /// Where it stands; none where only the source list says it.
    pub path: Option<String>,
    /// How it was found.
    pub method: Method,
    /// From 0 to 1, by the kind of evidence; none where there is no expression.
    pub confidence: Option<f64>,
}

impl Found {
    /// What stands at a path; none where it says nothing.
    fn said(said: Said, path: String, method: Method, confidence: f64) -> Option<Self> {
        if matches!(said, Said::Nothing | Said::Choice) {
            return None;
        }
        let expression = said.expression();
        let confidence = expression.is_some().then_some(confidence);
        Some(Found { expression, path: Some(path), method, confidence })
    }

    /// Whether it is known, and asks nothing that the policy `permissive` refuses.
    fn is_permissive(&self) -> bool {
        self.expression.as_ref().is_some_and(|expression| !Licenses::in_use().class(expression).restricted)
    }
}

/// Whether a tree entry of this name, of a directory or a file, may be evidence.
pub fn is_evidence(name: &[u8], is_directory: bool) -> bool {
    if is_directory {
        return name.eq_ignore_ascii_case(b"LICENSES") || name == b".reuse";
    }
    // Most names end here.
    let first = name.first().copied().unwrap_or(0).to_ascii_lowercase();
    let ends = [&b".gemspec"[..], b".cabal", b".podspec", b".rockspec", b".nuspec"];
    let stem = &name[..memchr::memchr(b'.', name).unwrap_or(name.len())];
    let ends_so = |part: &[u8]| part.last().is_some_and(|last| last.eq_ignore_ascii_case(&b'e'));
    let is_named =
        || (ends_so(stem) || ends_so(name)) && name.windows(4).any(|part| part.eq_ignore_ascii_case(b"icen"));
    if !b"lcuompsdbrga".contains(&first) && !ends.iter().any(|end| name.ends_with(end)) && !is_named() {
        return false;
    }
    let Ok(name) = std::str::from_utf8(name) else { return false };
    is_text_name(name) || metadata::is_metadata_name(name) || name.ends_with(".license") || name == "REUSE.toml"
}

/// A directory with evidence, and what it says once somebody asked.
pub struct Place {
    directory: Directory,
    /// Whether it has files of the form `FILE.license`: nearly none has, and every row asks.
    has_sidecars: bool,
    /// Whether it or one above it has REUSE's annotations. The same holds for these.
    has_annotations: bool,
    /// What its licence files say together, and whether that is permissive.
    texts: OnceLock<Option<Arc<(Found, bool)>>>,
    found: OnceLock<Option<Arc<Found>>>,
}

impl Place {
    /// `above` are those that come before it, its parent among them.
    fn new(directory: Directory, above: &[Place]) -> Self {
        let has = |is_it: fn(&[u8]) -> bool| directory.notable.iter().any(|(name, _)| is_it(name));
        let has_sidecars = has(|name| name.ends_with(b".license"));
        let has_annotations = has(|name| ANNOTATIONS.contains(&name))
            || directory.parent.is_some_and(|parent| above[parent as usize].has_annotations);
        Place { directory, has_sidecars, has_annotations, texts: OnceLock::new(), found: OnceLock::new() }
    }
}

/// Where REUSE's annotations stand: in a file, and in a directory.
const ANNOTATIONS: [&[u8]; 2] = [b"REUSE.toml", b".reuse/"];

/// The directory at a position, and those above it.
fn up(places: &[Place], at: u32) -> impl Iterator<Item = &Directory> {
    positions_up(places, at).map(|at| &places[at as usize].directory)
}

fn positions_up(places: &[Place], at: u32) -> impl Iterator<Item = u32> {
    std::iter::successors(Some(at), |at| places[*at as usize].directory.parent)
}

/// The annotations in one file.
struct Annotations {
    path: String,
    /// The directory whose files they name, with a slash at its end; empty for the root.
    below: String,
    list: Rc<Vec<Annotation>>,
}

/// Finds licences, for one thread.
pub struct Resolver<'a> {
    places: &'a [Place],
    hash: HashKind,
    /// What REUSE annotations hold for a directory, nearest first, with the paths that they are in and about.
    annotations: HashMap<u32, Rc<Vec<Annotations>>>,
    annotation_files: HashMap<ObjectId, Rc<Vec<Annotation>>>,
    /// What licence files say, and under its name package metadata.
    said: HashMap<String, HashMap<ObjectId, Said>>,
    /// The last file, and what its head says.
    last: Rc<String>,
    words: Words,
    header: (Said, HeaderKind),
    /// The parts near the words of the last head that had some, and what they say.
    near: (String, (Said, HeaderKind)),
    decoder: Decoder,
    buffer: Vec<u8>,
}

impl<'a> Resolver<'a> {
    /// `places` are those that [`Resolver::resolve`] is asked about.
    pub fn new(places: &'a [Place], repository: &Repository) -> Self {
        Resolver {
            places,
            hash: repository.hash(),
            annotations: HashMap::new(),
            annotation_files: HashMap::new(),
            said: HashMap::new(),
            last: Rc::default(),
            words: Words::None,
            header: (Said::Nothing, HeaderKind::Notice),
            near: (String::new(), (Said::Nothing, HeaderKind::Notice)),
            decoder: Decoder::new(repository, Kind::Blob, TEXT_BYTES_MAX as u64),
            buffer: Vec::new(),
        }
    }

    /// The licence of the file at `path` with these contents, in the directory at this position.
    pub fn resolve(
        &mut self,
        objects: &Objects,
        directory: Option<u32>,
        path: &str,
        contents: &Rc<String>,
    ) -> Option<Arc<Found>> {
        let annotated = directory.and_then(|directory| self.annotated(objects, directory, path));
        if let Some((found, true)) = &annotated {
            return Some(Arc::clone(found));
        }
        let (said, kind) = self.in_header(contents);
        let (method, confidence) = match kind {
            HeaderKind::Tag => (Method::Tag, 1.0),
            HeaderKind::Notice => (Method::Header, 0.9),
        };
        if let Some(found) = Found::said(said, path.to_owned(), method, confidence) {
            return Some(Arc::new(found));
        }
        let directory = directory?;
        if let Some(found) = self.beside(objects, directory, path) {
            return Some(Arc::new(found));
        }
        if let Some((found, _)) = annotated {
            return Some(found);
        }
        let places = self.places;
        places[directory as usize].found.get_or_init(|| self.nearest(objects, directory).map(Arc::new)).clone()
    }

    /// Versions of a file come one after the other, and few changes touch its head.
    fn in_header(&mut self, contents: &Rc<String>) -> (Said, HeaderKind) {
        let last = std::mem::replace(&mut self.last, Rc::clone(contents));
        let (last_head, head) = (head(&last), head(contents));
        let same = common_prefix(last_head.as_bytes(), head.as_bytes());
        let is_other = same < head.len().max(last_head.len());
        let longer = contents.len() as isize - last.len() as isize;
        if is_other && (self.words == Words::Some || has_new_words(last_head, head, self.words, same, longer)) {
            self.words = words(head);
            self.header = match self.words {
                Words::None | Words::InFields => (Said::Nothing, HeaderKind::Notice),
                Words::Some => {
                    let near = near_words(head);
                    if near != self.near.0 {
                        self.near = (near.to_string(), Licenses::in_use().by_words(&near));
                    }
                    with_comments(self.near.1.clone(), head)
                }
            };
        }
        self.header.clone()
    }

    /// `FILE.license` beside FILE, as REUSE has it for files that can't have a header.
    fn beside(&mut self, objects: &Objects, directory: u32, path: &str) -> Option<Found> {
        let Place { directory, has_sidecars: true, .. } = &self.places[directory as usize] else { return None };
        let name = path.rsplit('/').next()?;
        let (sidecar, id) = directory
            .notable
            .iter()
            .find(|(entry, _)| entry.strip_suffix(b".license").is_some_and(|stem| stem == name.as_bytes()))?;
        let contents = self.text(objects, *id)?;
        let (said, _) = Licenses::in_use().in_header(&contents);
        Found::said(said, join(directory, sidecar), Method::Tag, 1.0)
    }

    /// What the nearest annotation says, and whether it counts more than the file itself.
    fn annotated(&mut self, objects: &Objects, directory: u32, path: &str) -> Option<(Arc<Found>, bool)> {
        if !self.places[directory as usize].has_annotations {
            return None;
        }
        if !self.annotations.contains_key(&directory) {
            let all = self.annotations_for(objects, directory);
            self.annotations.insert(directory, Rc::new(all));
        }
        let all = Rc::clone(self.annotations.get(&directory)?);
        all.iter().find_map(|annotations| {
            let relative = path.strip_prefix(&annotations.below)?;
            let annotation = reuse::annotation(&annotations.list, relative)?;
            let (expression, path) = (Some(annotation.expression.clone()), Some(annotations.path.clone()));
            let found = Found { expression, path, method: Method::Reuse, confidence: Some(1.0) };
            Some((Arc::new(found), annotation.overrides))
        })
    }

    fn annotations_for(&mut self, objects: &Objects, directory: u32) -> Vec<Annotations> {
        let mut found = Vec::new();
        for dir in up(self.places, directory) {
            let below = join(dir, b"");
            for (name, id) in &dir.notable {
                let (path, file, is_toml) = match ANNOTATIONS.iter().position(|known| *known == &**name) {
                    Some(0) => (join(dir, name), *id, true),
                    Some(_) => {
                        let files = trees::files(objects, self.hash, *id);
                        let Some((_, id)) = files.into_iter().find(|(name, _)| name == b"dep5") else { continue };
                        (join(dir, b".reuse/dep5"), id, false)
                    }
                    None => continue,
                };
                if !self.annotation_files.contains_key(&file) {
                    let text = self.text(objects, file).unwrap_or_default();
                    let list = if is_toml { reuse::toml(&text) } else { reuse::dep5(&text) };
                    self.annotation_files.insert(file, Rc::new(list));
                }
                found.push(Annotations { path, below: below.clone(), list: Rc::clone(&self.annotation_files[&file]) });
            }
        }
        found
    }

    /// The texts in the nearest directory that has some decide. Package metadata beside them or nearer only counts where
    /// it is more restrictive: its fields are often what a tool puts there by itself.
    fn nearest(&mut self, objects: &Objects, directory: u32) -> Option<Found> {
        let places = self.places;
        let texts = positions_up(places, directory).enumerate();
        let text = texts.into_iter().find_map(|(above, at)| Some((above, self.texts_of(objects, at)?)));
        let Some((above, text)) = text else {
            return up(places, directory).find_map(|dir| self.by_metadata(objects, dir));
        };
        let (text, is_permissive) = &*text;
        if text.expression.is_some() && !is_permissive {
            return Some(text.clone());
        }
        let metadata = up(places, directory).take(above + 1).find_map(|dir| self.by_metadata(objects, dir));
        // Of two that are not known, the text is the better evidence.
        let counts = |metadata: &Found| metadata.expression != text.expression && !metadata.is_permissive();
        Some(metadata.filter(counts).unwrap_or_else(|| text.clone()))
    }

    /// Directories below share what stands above them.
    fn texts_of(&mut self, objects: &Objects, at: u32) -> Option<Arc<(Found, bool)>> {
        let place = &self.places[at as usize];
        let find = || {
            let found = self.by_texts(objects, &place.directory)?;
            let is_permissive = found.is_permissive();
            Some(Arc::new((found, is_permissive)))
        };
        place.texts.get_or_init(find).clone()
    }

    fn by_texts(&mut self, objects: &Objects, directory: &Directory) -> Option<Found> {
        let mut files = Vec::new();
        for (name, id) in &directory.notable {
            let Ok(name) = std::str::from_utf8(name) else { continue };
            let (name, is_link) = name.strip_suffix('\0').map_or((name, false), |name| (name, true));
            if !is_text_name(name) {
                continue;
            }
            // A link that leads nowhere near stands for terms that are not known, rather than for those above.
            let id = if is_link { self.target(objects, directory, *id) } else { Some(*id) };
            let said = id.map_or(Said::Unknown, |id| {
                self.said_in(objects, id, "", |text| {
                    text.map_or(Said::Unknown, |text| Licenses::in_use().in_text(text))
                })
            });
            files.push((name.to_owned(), said));
        }
        if files.is_empty() {
            return self.by_names(objects, directory);
        }
        let Some(Combined { expression, file, several }) = combine(files) else {
            return self.by_names(objects, directory);
        };
        let path = Some(join(directory, file.as_bytes()));
        let confidence = expression.is_some().then_some(if several { 0.9 } else { 0.95 });
        Some(Found { expression, path, method: Method::Text, confidence })
    }

    /// By the file names in `LICENSES/`.
    fn by_names(&self, objects: &Objects, directory: &Directory) -> Option<Found> {
        let (name, id) = directory.notable.iter().find(|(name, _)| name.eq_ignore_ascii_case(b"LICENSES/"))?;
        let files = trees::files(objects, self.hash, *id);
        let expression = reuse::directory(files.iter().filter_map(|(name, _)| std::str::from_utf8(name).ok()))?;
        let (expression, path) = (Some(expression), Some(join(directory, name)));
        Some(Found { expression, path, method: Method::Reuse, confidence: Some(0.7) })
    }

    fn by_metadata(&mut self, objects: &Objects, directory: &Directory) -> Option<Found> {
        directory.notable.iter().find_map(|(name, id)| {
            let name = std::str::from_utf8(name).ok().filter(|name| metadata::is_metadata_name(name))?;
            let said = self.said_in(objects, *id, name, |contents| {
                contents.map_or(Said::Nothing, |contents| metadata::license(name, contents))
            });
            Found::said(said, join(directory, name.as_bytes()), Method::Metadata, 0.8)
        })
    }

    /// The file that a symbolic link leads to, where it is a licence file in one of the directories above, or in
    /// `LICENSES/` there.
    fn target(&mut self, objects: &Objects, directory: &Directory, link: ObjectId) -> Option<ObjectId> {
        let target = self.text(objects, link)?;
        let mut parts: Vec<&str> =
            std::str::from_utf8(&directory.path).ok()?.split('/').filter(|p| !p.is_empty()).collect();
        for part in target.split('/') {
            match part {
                "." => {}
                ".." => drop(parts.pop()?),
                // It is absolute, or not a path.
                "" => return None,
                name => parts.push(name),
            }
        }
        let path = parts.join("/");
        let above = directory.parent.into_iter().flat_map(|parent| up(self.places, parent));
        std::iter::once(directory).chain(above).find_map(|dir| {
            let below = path.strip_prefix(&join(dir, b""))?;
            let entry = |name: &[u8]| dir.notable.iter().find(|(entry, _)| **entry == *name).map(|(_, id)| *id);
            let Some((inner, file)) = below.split_once('/') else { return entry(below.as_bytes()) };
            let files = trees::files(objects, self.hash, entry(&[inner.as_bytes(), b"/"].concat())?);
            files.into_iter().find(|(name, _)| name == file.as_bytes()).map(|(_, id)| id)
        })
    }

    fn said_in(
        &mut self,
        objects: &Objects,
        id: ObjectId,
        name: &str,
        read: impl FnOnce(Option<&str>) -> Said,
    ) -> Said {
        if let Some(known) = self.said.get(name).and_then(|of_name| of_name.get(&id)) {
            return known.clone();
        }
        let said = read(self.text(objects, id).as_ref().map(|text| text.as_str()));
        self.said.entry_ref(name).or_default().insert(id, said.clone());
        said
    }

    /// None where it can't be read, or is too long.
    fn text(&mut self, objects: &Objects, id: ObjectId) -> Option<Rc<String>> {
        let lossy = |bytes: &[u8]| Rc::new(String::from_utf8_lossy(bytes).into_owned());
        // Versions of package metadata are chains of deltas.
        if let Some(contents) = self.decoder.decode(&id) {
            objects.count(Kind::Blob);
            return Some(match contents {
                Contents::Text(text) => text,
                Contents::Bytes(bytes) => lossy(&bytes),
            });
        }
        if size(objects, id).ok()? > TEXT_BYTES_MAX as u64 {
            return None;
        }
        let bytes = read(objects, id, Kind::Blob, &mut self.buffer).ok()?;
        Some(lossy(bytes))
    }
}

fn join(directory: &Directory, name: &[u8]) -> String {
    let slash: &[u8] = if directory.path.is_empty() { b"" } else { b"/" };
    String::from_utf8_lossy(&[&directory.path[..], slash, name].concat()).into_owned()
}

/// What the root directory of a commit's tree says: the licence of the repository as a whole.
pub fn of_repository(repository: &Repository, commit: ObjectId) -> Option<Found> {
    let objects = repository.objects();
    let tree = walk::tree_of(repository, &objects, commit).ok()?;
    let never = AtomicBool::new(false);
    let mut trees = Trees::new(repository, is_evidence);
    let root = TreeDiff::new(&mut trees, 0, &never).root(tree);
    Resolver::new(&[Place::new(root, &[])], repository).nearest(&objects, 0)
}

/// Whether all that [`of_repository`] goes by can be read.
pub fn is_legible(repository: &Repository, commit: ObjectId) -> bool {
    let objects = repository.objects();
    let tree = walk::tree_of(repository, &objects, commit).ok();
    let notable = tree.and_then(|tree| Trees::new(repository, is_evidence).notable(tree));
    let mut buffer = Vec::new();
    let mut is_read = |name: &[u8], id: ObjectId| {
        let kind = if name.ends_with(b"/") { Kind::Tree } else { Kind::Blob };
        let is_long = || size(&objects, id).is_ok_and(|size| size > TEXT_BYTES_MAX as u64);
        is_long() || read(&objects, id, kind, &mut buffer).is_ok()
    };
    notable.is_some_and(|notable| notable.iter().all(|(name, id)| is_read(name, *id)))
}

/// The directories of all commits, each kind once; a directory without evidence stands for the nearest one above it
/// that has some.
#[derive(Default)]
pub struct Directories {
    known: HashMap<Directory, u32>,
    list: Vec<Directory>,
}

impl Directories {
    /// Adds the directories of one commit, and gives for each of them the position in [`Directories::into_places`].
    pub fn add(&mut self, directories: Vec<Directory>) -> Vec<Option<u32>> {
        let mut positions: Vec<Option<u32>> = Vec::with_capacity(directories.len());
        for mut directory in directories {
            let parent = directory.parent.and_then(|at| positions[at as usize]);
            if directory.notable.is_empty() {
                positions.push(parent);
                continue;
            }
            directory.parent = parent;
            let next = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
            let position = *self.known.entry(directory).or_insert_with_key(|directory| {
                self.list.push(directory.clone());
                next
            });
            positions.push(Some(position));
        }
        positions
    }

    /// The directories that have evidence.
    pub fn into_places(self) -> Vec<Place> {
        self.list.into_iter().fold(Vec::new(), |mut places, directory| {
            let place = Place::new(directory, &places);
            places.push(place);
            places
        })
    }
}
