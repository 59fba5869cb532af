//! The licence of a file at a commit: what the file itself says, else the texts in the nearest directory that has some,
//! else the nearest package metadata. Blobs are read once for each thread, whatever the number of rows.

use std::{collections::HashMap, rc::Rc, sync::atomic::AtomicBool};

use gix::{ObjectId, objs::Kind};

use crate::{
    classify::license::{
        Licenses, Method, combine, is_text_name, metadata,
        text::{HeaderKind, TEXT_BYTES_MAX},
    },
    git::{
        blobs::{read, size},
        change::{Directory, TreeDiff},
        repository::{Objects, Repository},
        walk,
    },
};

/// What is known of a file's licence.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Found {
    /// SPDX expression.
    pub expression: String,
    /// Where it stands; none where only the source list says it.
    pub path: Option<String>,
    /// How it was found.
    pub method: Method,
    /// From 0 to 1, by the kind of evidence.
    pub confidence: f64,
}

/// Whether a tree entry of this name may be evidence.
pub fn is_evidence(name: &[u8]) -> bool {
    // Most names end here.
    let first = name.first().copied().unwrap_or(0).to_ascii_lowercase();
    let ends =
        [&b"cense"[..], b"cence", b".gemspec", b".cabal", b".podspec", b".rockspec", b".nuspec", b"CENSE", b"CENCE"];
    if !b"lcuompsdb".contains(&first) && !ends.iter().any(|end| name.ends_with(end)) {
        return false;
    }
    let Ok(name) = std::str::from_utf8(name) else { return false };
    is_text_name(name) || metadata::is_metadata_name(name) || name.ends_with(".license")
}

/// Finds licences, for one thread.
pub struct Resolver<'a> {
    directories: &'a [Directory],
    by_directory: HashMap<u32, Option<Rc<Found>>>,
    texts: HashMap<ObjectId, Rc<(Vec<String>, bool)>>,
    buffer: Vec<u8>,
}

impl<'a> Resolver<'a> {
    /// `directories` are those that [`Resolver::resolve`] is asked about.
    pub fn new(directories: &'a [Directory]) -> Self {
        Resolver { directories, by_directory: HashMap::new(), texts: HashMap::new(), buffer: Vec::new() }
    }

    /// The licence of the file at `path` with these contents, in the directory at this position.
    pub fn resolve(
        &mut self,
        objects: &Objects,
        directory: Option<u32>,
        path: &str,
        contents: &str,
    ) -> Option<Rc<Found>> {
        if let Some((expression, kind)) = Licenses::builtin().in_header(contents) {
            let (method, confidence) = match kind {
                HeaderKind::Tag => (Method::Tag, 1.0),
                HeaderKind::Notice => (Method::Header, 0.9),
            };
            return Some(Rc::new(Found { expression, path: Some(path.to_owned()), method, confidence }));
        }
        let directory = directory?;
        if let Some(found) = self.beside(objects, directory, path) {
            return Some(Rc::new(found));
        }
        if let Some(known) = self.by_directory.get(&directory) {
            return known.clone();
        }
        let found = self.nearest(objects, directory).map(Rc::new);
        self.by_directory.insert(directory, found.clone());
        found
    }

    /// `FILE.license` beside FILE, as REUSE has it for files that can't have a header.
    fn beside(&mut self, objects: &Objects, directory: u32, path: &str) -> Option<Found> {
        let directory = &self.directories[directory as usize];
        let name = path.rsplit('/').next()?;
        let (sidecar, id) = directory
            .notable
            .iter()
            .find(|(entry, _)| entry.strip_suffix(b".license").is_some_and(|stem| stem == name.as_bytes()))?;
        let contents = self.text(objects, *id)?;
        let (expression, _) = Licenses::builtin().in_header(&contents)?;
        let path = join(directory, sidecar);
        Some(Found { expression, path: Some(path), method: Method::Tag, confidence: 1.0 })
    }

    fn nearest(&mut self, objects: &Objects, directory: u32) -> Option<Found> {
        let all = self.directories;
        let chain =
            || std::iter::successors(Some(&all[directory as usize]), |dir| dir.parent.map(|at| &all[at as usize]));
        chain()
            .find_map(|dir| self.by_texts(objects, dir))
            .or_else(|| chain().find_map(|dir| self.by_metadata(objects, dir)))
    }

    fn by_texts(&mut self, objects: &Objects, directory: &Directory) -> Option<Found> {
        let mut files = Vec::new();
        for (name, id) in &directory.notable {
            let Some(name) = std::str::from_utf8(name).ok().filter(|name| is_text_name(name)) else { continue };
            let (found, choice) = &*self.licenses_in(objects, *id);
            files.push((name.to_owned(), found.clone(), *choice));
        }
        let first = files.iter().find(|(_, found, _)| !found.is_empty()).map(|(name, ..)| name.clone())?;
        let several = files.len() > 1;
        let expression = combine(files)?;
        let path = Some(join(directory, first.as_bytes()));
        Some(Found { expression, path, method: Method::Text, confidence: if several { 0.9 } else { 0.95 } })
    }

    fn by_metadata(&mut self, objects: &Objects, directory: &Directory) -> Option<Found> {
        directory.notable.iter().find_map(|(name, id)| {
            let name = std::str::from_utf8(name).ok().filter(|name| metadata::is_metadata_name(name))?;
            let contents = self.text(objects, *id)?;
            let expression = metadata::license(name, &contents)?;
            let path = Some(join(directory, name.as_bytes()));
            Some(Found { expression, path, method: Method::Metadata, confidence: 0.8 })
        })
    }

    fn licenses_in(&mut self, objects: &Objects, id: ObjectId) -> Rc<(Vec<String>, bool)> {
        if let Some(known) = self.texts.get(&id) {
            return Rc::clone(known);
        }
        let found = match self.text(objects, id) {
            None => (Vec::new(), false),
            Some(contents) => {
                let (found, choice) = Licenses::builtin().in_text(&contents);
                (found.iter().map(|license| license.id.clone()).collect(), choice)
            }
        };
        let found = Rc::new(found);
        self.texts.insert(id, Rc::clone(&found));
        found
    }

    /// Evidence that can't be read is none.
    fn text(&mut self, objects: &Objects, id: ObjectId) -> Option<String> {
        if size(objects, id).ok()? > TEXT_BYTES_MAX as u64 {
            return None;
        }
        let bytes = read(objects, id, Kind::Blob, &mut self.buffer).ok()?;
        Some(String::from_utf8_lossy(bytes).into_owned())
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
    let root = TreeDiff::new(&objects, repository.hash(), 0, is_evidence, &never).root(tree);
    Resolver::new(&[root]).nearest(&objects, 0)
}

/// The directories of all commits, each kind once; a directory without evidence stands for the nearest one above it
/// that has some.
#[derive(Default)]
pub struct Directories {
    known: HashMap<Directory, u32>,
    list: Vec<Directory>,
}

impl Directories {
    /// Adds the directories of one commit, and gives for each of them the position in [`Directories::into_list`].
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
    pub fn into_list(self) -> Vec<Directory> {
        self.list
    }
}
