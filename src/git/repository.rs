//! Opens repositories and resolves what to mine. Reads HEAD, refs, the shallow file and the object format; no other setting.

use std::{
    collections::HashSet,
    fs,
    io::Read as _,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use gix::{
    ObjectId,
    bstr::ByteSlice,
    hash::Kind as HashKind,
    objs::Find as _,
    odb::Store,
    refs::{Target, file::Store as Refs},
};

use super::{Error, packs::Packs};

/// Largest single allocation that a pack may ask for, in bytes. Blobs over `--blob-bytes-max` are never decoded, but
/// the delta base of a small blob can be larger than it.
const ALLOC_BYTES_MAX: usize = 256 << 20;

/// Longest chain of symbolic refs that is followed, git's own limit (SYMREF_MAXDEPTH).
const SYMREF_DEPTH_MAX: usize = 5;

/// Longest chain of annotated tags that is followed; git has no limit.
const TAG_DEPTH_MAX: usize = 64;

/// A per-thread view of the objects, with its own delta-base cache.
pub struct Objects {
    cache: gix::odb::Cache<gix::odb::store::Handle<Arc<Store>>>,
    trouble: Arc<OnceLock<String>>,
    reads: Arc<Reads>,
}

/// How many objects were decoded.
#[derive(Debug, Default)]
struct Reads {
    commits: AtomicU64,
    trees: AtomicU64,
    blobs: AtomicU64,
}

/// How many objects were decoded, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ObjectsRead {
    /// Commits.
    pub commits: u64,
    /// Trees.
    pub trees: u64,
    /// Blobs, those of licences among them.
    pub blobs: u64,
}

impl std::ops::Deref for Objects {
    type Target = gix::odb::Cache<gix::odb::store::Handle<Arc<Store>>>;

    fn deref(&self) -> &Self::Target {
        &self.cache
    }
}

impl Objects {
    /// Counts a decoded object.
    pub fn count(&self, kind: gix::objs::Kind) {
        let counter = match kind {
            gix::objs::Kind::Commit => &self.reads.commits,
            gix::objs::Kind::Tree => &self.reads.trees,
            gix::objs::Kind::Blob => &self.reads.blobs,
            gix::objs::Kind::Tag => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Remembers an error of reading an object that comes from the machine and not from the repository's contents:
    /// [`Repository::check`] returns it.
    pub(super) fn note(&self, error: &gix::Error) {
        let io = error.iter_errors().filter_map(|error| error.downcast_ref::<std::io::Error>());
        if let Some(error) = io.filter(|error| is_environment(error)).last() {
            self.trouble.get_or_init(|| error.to_string());
        }
    }
}

/// Whether reading failed for a reason that has nothing to do with what was to be read. An empty file that can't be
/// mapped (EINVAL), a directory in a file's place and a file that is gone say something of the repository.
fn is_environment(error: &std::io::Error) -> bool {
    use std::io::ErrorKind as E;
    let of_contents = [E::NotFound, E::InvalidInput, E::IsADirectory, E::NotADirectory, E::InvalidFilename];
    error.raw_os_error().is_some() && !of_contents.contains(&error.kind())
}

/// Of all memory, the history may take so many eighths. Objects that are remembered get two; the rest is for rows and texts.
const HISTORY_EIGHTHS: u64 = 3;

/// Kinds of objects that a thread remembers at a time: blobs of rows, of licences, and what is not in a pack that could be
/// opened; trees come before that.
const KINDS: u64 = 3;

/// Objects of one kind that a thread remembers, in bytes.
const CACHE_BYTES_MIN: usize = 2 << 20;
const CACHE_BYTES_MAX: usize = 48 << 20;

/// What [`tips_digest`] says of a repository without commits.
pub const NO_TIPS: &str = "none";

/// A digest of tips, and of the edge of a shallow clone: the two that decide what a repository is mined of.
pub fn tips_digest(tips: Vec<ObjectId>, edge: impl IntoIterator<Item = ObjectId>) -> String {
    if tips.is_empty() {
        return NO_TIPS.to_owned();
    }
    let mut hasher = blake3::Hasher::new();
    for (part, mut ids) in [("tips", tips), ("edge", edge.into_iter().collect())] {
        // In place: there may be very many.
        ids.sort_unstable();
        ids.dedup();
        hasher.update(part.as_bytes());
        ids.iter().for_each(|id| _ = hasher.update(id.as_bytes()));
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

/// An opened repository. Cheap to share between threads; see [`Repository::objects`].
pub struct Repository {
    path: PathBuf,
    store: Arc<Store>,
    refs: Refs,
    hash: HashKind,
    shallow: HashSet<ObjectId>,
    trouble: Arc<OnceLock<String>>,
    reads: Arc<Reads>,
    objects_dir: PathBuf,
    packs: OnceLock<Arc<Packs>>,
    memory: Memory,
}

/// The memory that a repository may take, and what is known to be held for its history.
#[derive(Debug)]
struct Memory {
    bytes_max: u64,
    threads: u64,
    held: AtomicU64,
}

/// Where mining starts.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Revision {
    /// The branch that HEAD names.
    Head,
    /// Every branch.
    AllBranches,
    /// One branch, tag, full ref name or commit id.
    Named(String),
}

impl Repository {
    /// Opens the repository at `path`: bare, with a work tree, or a linked work tree.
    ///
    /// # Errors
    /// Not a repository, an unreadable or unsupported format, or objects borrowed from outside.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let git_dir = git_dir(path).ok_or_else(|| Error::NotARepository { path: path.to_owned() })?;
        let common_dir = common_dir(&git_dir);
        let hash = object_format(path, &common_dir)?;
        let objects_dir = common_dir.join("objects");
        refuse_alternates(path, &objects_dir)?;
        let open = |reason: String| Error::Open { path: path.to_owned(), reason };
        for name in ["packed-refs", "objects/info/alternates"] {
            let file = common_dir.join(name);
            if file.exists() && regular(&file).is_err() {
                return Err(open(format!("its {name} is no regular file")));
            }
        }
        let options = gix::odb::store::init::Options { alloc_limit_bytes: Some(ALLOC_BYTES_MAX), ..Default::default() };
        let store = Store::at_opts(objects_dir.clone(), hash, &mut std::iter::empty(), options)
            .map_err(|e| open(e.to_string()))?;
        let refs = if common_dir == git_dir {
            Refs::at(git_dir, hash)
        } else {
            Refs::for_linked_worktree(git_dir, common_dir.clone(), hash)
        };
        let shallow = shallow(&common_dir.join("shallow")).map_err(|e| open(format!("its shallow file: {e}")))?;
        let (trouble, reads) = (Arc::default(), Arc::default());
        let (store, packs) = (Arc::new(store), OnceLock::new());
        let memory = Memory { bytes_max: u64::MAX, threads: 1, held: AtomicU64::new(0) };
        Ok(Repository { path: path.to_owned(), store, refs, hash, shallow, trouble, reads, objects_dir, packs, memory })
    }

    /// Bounds the memory that goes into its history and into what `threads` threads remember of objects. An object that has
    /// to be decoded takes its size beside that.
    #[must_use]
    pub fn with_memory(mut self, bytes_max: u64, threads: usize) -> Self {
        self.memory = Memory { bytes_max, threads: threads.max(1) as u64, held: AtomicU64::new(0) };
        self
    }

    /// Counts `bytes` as held for the history.
    ///
    /// # Errors
    /// With them it is more than its share.
    pub fn hold(&self, bytes: u64) -> Result<(), Error> {
        let Memory { bytes_max, held, .. } = &self.memory;
        let all = held.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if all > bytes_max / 8 * HISTORY_EIGHTHS {
            return Err(Error::Memory { path: self.path.clone(), bytes_max: *bytes_max });
        }
        Ok(())
    }

    /// Counts nothing as held any more.
    pub(super) fn hold_nothing(&self) {
        self.memory.held.store(0, Ordering::Relaxed);
    }

    /// What a thread may remember of objects of one kind, in bytes: a quarter of all memory over all threads and kinds,
    /// within bounds that make sense.
    pub(super) fn cache_bytes(&self) -> NonZeroUsize {
        let share = self.memory.bytes_max / 4 / self.memory.threads / KINDS;
        let bytes = share.clamp(CACHE_BYTES_MIN as u64, CACHE_BYTES_MAX as u64);
        NonZeroUsize::new(bytes as usize).expect("bounded from below")
    }

    /// The packs as they are when this is first asked; what comes later is for [`Repository::objects`] to find.
    pub fn packs(&self) -> Arc<Packs> {
        Arc::clone(self.packs.get_or_init(|| Arc::new(Packs::open(&self.objects_dir, self.hash))))
    }

    /// How many objects were decoded so far.
    pub fn objects_read(&self) -> ObjectsRead {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Reads { commits, trees, blobs } = &*self.reads;
        ObjectsRead { commits: of(commits), trees: of(trees), blobs: of(blobs) }
    }

    /// Whether what was read so far can be trusted.
    ///
    /// # Errors
    /// The machine failed to read an object.
    pub fn check(&self) -> Result<(), Error> {
        match self.trouble.get() {
            Some(reason) => Err(Error::Unreadable { path: self.path.clone(), reason: reason.clone() }),
            None => Ok(()),
        }
    }

    /// Whether objects that were not found are missing from the repository, and not just out of reach: gix takes an
    /// index that it can't open for one that is not there.
    ///
    /// # Errors
    /// The objects' directory is gone, or a file in it can't be opened.
    pub fn check_files(&self) -> Result<(), Error> {
        self.check()?;
        let unreadable = |path: &Path, e: std::io::Error| Error::Unreadable {
            path: self.path.clone(),
            reason: format!("{}: {e}", path.display()),
        };
        let objects = self.store.path();
        fs::read_dir(objects).map_err(|e| unreadable(objects, e))?;
        let packs = objects.join("pack");
        let entries = match fs::read_dir(&packs) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(|e| unreadable(&packs, e))?,
        };
        for entry in entries {
            let path = entry.map_err(|e| unreadable(&packs, e))?.path();
            let wanted = path.extension().is_some_and(|end| end == "idx" || end == "pack");
            let first_byte = || regular(&path).and_then(fs::File::open)?.read(&mut [0]);
            if wanted && let Some(error) = first_byte().err().filter(is_environment) {
                return Err(unreadable(&path, error));
            }
        }
        Ok(())
    }

    /// A view of the objects for one thread.
    pub fn objects(&self) -> Objects {
        // An object that is not found is looked for again among the packs that are there by now: somebody may repack
        // the repository while it is mined.
        let mut cache = gix::odb::Cache::from(self.store.to_handle_arc());
        let cache_bytes = self.cache_bytes().get();
        cache.set_pack_cache(move || Box::new(gix::odb::pack::cache::lru::MemoryCappedHashmap::new(cache_bytes)));
        Objects { cache, trouble: Arc::clone(&self.trouble), reads: Arc::clone(&self.reads) }
    }

    /// The repository's hash function.
    pub fn hash(&self) -> HashKind {
        self.hash
    }

    /// Commits whose parents were cut away by a shallow clone.
    pub fn shallow(&self) -> &HashSet<ObjectId> {
        &self.shallow
    }

    /// The commit ids that `revision` stands for, sorted, without repetition; empty for a repository without commits.
    ///
    /// # Errors
    /// A named revision that does not exist, or a HEAD that is damaged or goes in circles.
    pub fn tips(&self, revision: &Revision) -> Result<Vec<ObjectId>, Error> {
        let objects = self.objects();
        let mut tips = match revision {
            Revision::Head => self.resolve(&objects, "HEAD", 0)?.into_iter().collect(),
            Revision::AllBranches => self.branch_tips(&objects)?,
            Revision::Named(rev) => vec![self.named(&objects, rev)?],
        };
        tips.sort();
        tips.dedup();
        Ok(tips)
    }

    /// [`tips_digest`] of what `revision` stands for.
    ///
    /// # Errors
    /// As [`Repository::tips`].
    pub fn tips_digest(&self, revision: &Revision) -> Result<String, Error> {
        Ok(tips_digest(self.tips(revision)?, self.shallow.iter().copied()))
    }

    /// A branch that can't be read would be a silent loss of its commits, so it is an error here.
    fn branch_tips(&self, objects: &Objects) -> Result<Vec<ObjectId>, Error> {
        let bad =
            |name: &str, reason: String| Error::BadReference { path: self.path.clone(), name: name.into(), reason };
        let platform = self.refs.iter().map_err(|e| bad("packed-refs", e.to_string()))?;
        let branches = platform.prefixed(b"refs/heads/".try_into().expect("a valid prefix"));
        let mut tips = Vec::new();
        for branch in branches.map_err(|e| bad("refs/heads", e.to_string()))? {
            let name = branch.map_err(|e| bad("a branch", e.to_string()))?.name;
            tips.extend(self.resolve(objects, &name.as_bstr().to_str_lossy(), 0)?);
        }
        Ok(tips)
    }

    fn named(&self, objects: &Objects, rev: &str) -> Result<ObjectId, Error> {
        let missing = || Error::NoSuchRevision { path: self.path.clone(), rev: rev.to_owned() };
        let (name, mut steps) = rev.split_at(rev.find(['~', '^']).unwrap_or(rev.len()));
        let mut id = match self.by_id(objects, name) {
            Some(id) => self.peel(objects, id),
            None => self.resolve(objects, name, 0)?.and_then(|id| self.peel(objects, id)),
        };
        let mut buffer = Vec::new();
        let mut parent = |id: ObjectId, number: usize| {
            let object = objects.try_find(&id, &mut buffer).inspect_err(|e| objects.note(e)).ok()??;
            gix::objs::CommitRefIter::from_bytes(object.data, self.hash).parent_ids().nth(number)
        };
        // `~3` is the first parent three times, `^2` the second parent once.
        while let Some(step) = steps.chars().next() {
            let digits = steps[1..].bytes().take_while(u8::is_ascii_digit).count();
            let n = if digits == 0 { 1 } else { steps[1..=digits].parse::<usize>().map_err(|_| missing())? };
            steps = &steps[1 + digits..];
            id = match step {
                '~' => id.and_then(|id| (0..n).try_fold(id, |id, _| parent(id, 0))),
                '^' if n > 0 => id.and_then(|id| parent(id, n - 1)),
                '^' => id,
                _ => return Err(missing()),
            };
        }
        id.ok_or_else(missing)
    }

    /// The object of this id, or the only one whose id begins so; git takes four digits at the least.
    fn by_id(&self, objects: &Objects, text: &str) -> Option<ObjectId> {
        if let Ok(id) = ObjectId::from_hex(text.as_bytes()) {
            return Some(id);
        }
        // A branch of that name goes first.
        if text.len() < 4 || self.refs.try_find(text).is_ok_and(|found| found.is_some()) {
            return None;
        }
        let prefix = gix::hash::Prefix::from_hex(text).ok()?;
        objects.lookup_prefix(prefix, None).ok()??.ok()
    }

    /// `None` when the ref, or the one it points to, does not exist: an unborn branch.
    fn resolve(&self, objects: &Objects, name: &str, depth: usize) -> Result<Option<ObjectId>, Error> {
        let bad = |reason: String| Error::BadReference { path: self.path.clone(), name: name.to_owned(), reason };
        if depth > SYMREF_DEPTH_MAX {
            return Err(bad("it goes through more than 5 symbolic refs, or in circles".into()));
        }
        let Some(reference) = self.refs.try_find(name).map_err(|e| bad(e.to_string()))? else { return Ok(None) };
        match reference.target {
            Target::Symbolic(next) => self.resolve(objects, &next.as_bstr().to_str_lossy(), depth + 1),
            // A tip that can't be read stays as it is: the walk counts it as a missing commit.
            Target::Object(id) => Ok(Some(self.peel(objects, id).unwrap_or(id))),
        }
    }

    /// Follows annotated tags to a commit.
    fn peel(&self, objects: &Objects, mut id: ObjectId) -> Option<ObjectId> {
        let mut buffer = Vec::new();
        for _ in 0..TAG_DEPTH_MAX {
            let object = objects.try_find(&id, &mut buffer).inspect_err(|e| objects.note(e)).ok()??;
            match object.kind {
                gix::objs::Kind::Commit => return Some(id),
                gix::objs::Kind::Tag => {
                    id = gix::objs::TagRefIter::from_bytes(object.data, self.hash).target_id().ok()?
                }
                _ => return None,
            }
        }
        None
    }
}

/// `path`, if it is a regular file: a pipe in its place would be read for ever.
fn regular(path: &Path) -> std::io::Result<&Path> {
    if fs::metadata(path)?.is_file() { Ok(path) } else { Err(std::io::ErrorKind::InvalidInput.into()) }
}

/// The git directory of the repository at `path`, if it is one.
fn git_dir(path: &Path) -> Option<PathBuf> {
    let dot_git = path.join(".git");
    if dot_git.is_file() {
        let link = fs::read_to_string(&dot_git).ok()?;
        return Some(path.join(link.strip_prefix("gitdir:")?.trim())).filter(|dir| dir.join("HEAD").is_file());
    }
    [dot_git, path.to_owned()].into_iter().find(|dir| dir.join("HEAD").is_file() && dir.join("objects").is_dir())
}

fn common_dir(git_dir: &Path) -> PathBuf {
    match regular(&git_dir.join("commondir")).and_then(fs::read_to_string) {
        Ok(relative) => {
            let joined = git_dir.join(relative.trim_end());
            joined.canonicalize().unwrap_or(joined)
        }
        Err(_) => git_dir.to_owned(),
    }
}

/// Reads the only settings that are obeyed: `extensions.objectFormat`, and `extensions.refStorage` in order to refuse it.
fn object_format(path: &Path, common_dir: &Path) -> Result<HashKind, Error> {
    let file = common_dir.join("config");
    if !file.is_file() {
        return Ok(HashKind::Sha1);
    }
    let config = gix::config::File::from_path_no_includes(file, gix::config::Source::Local)
        .map_err(|e| Error::Open { path: path.to_owned(), reason: format!("its configuration: {e}") })?;
    let unsupported = |feature: String| Error::Unsupported { path: path.to_owned(), feature };
    if let Some(storage) = config.string("extensions.refStorage")
        && !storage.eq_ignore_ascii_case(b"files")
    {
        return Err(unsupported(format!("the ref storage `{storage}`")));
    }
    match config.string("extensions.objectFormat") {
        None => Ok(HashKind::Sha1),
        Some(name) if name.eq_ignore_ascii_case(b"sha1") => Ok(HashKind::Sha1),
        Some(name) if name.eq_ignore_ascii_case(b"sha256") => Ok(HashKind::Sha256),
        Some(name) => Err(unsupported(format!("the object format `{name}`"))),
    }
}

/// One commit id a line. A line that is none names nothing that could be met.
fn shallow(file: &Path) -> std::io::Result<HashSet<ObjectId>> {
    match regular(file).and_then(fs::read) {
        Ok(text) => Ok(text.lines().filter_map(|line| ObjectId::from_hex(line.trim()).ok()).collect()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(HashSet::new()),
        Err(e) => Err(e),
    }
}

fn refuse_alternates(path: &Path, objects_dir: &Path) -> Result<(), Error> {
    let Ok(list) = regular(&objects_dir.join("info/alternates")).and_then(fs::read) else { return Ok(()) };
    match list.lines().map(ByteSlice::trim).find(|line| !line.is_empty() && !line.starts_with(b"#")) {
        None => Ok(()),
        Some(line) => {
            Err(Error::Alternate { path: path.to_owned(), alternate: PathBuf::from(line.to_str_lossy().as_ref()) })
        }
    }
}
