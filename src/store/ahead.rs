//! Bringing files to disk while they grow, so that little is left to be waited for in the end.

use std::{
    fs::File,
    panic::resume_unwind,
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
};

use crossbeam_channel::{Sender, bounded};

use super::{Error, io_error};

/// A thread that brings files to disk. It is waited for, in [`Ahead::finish`] or where this is dropped.
pub struct Ahead {
    queue: Queue,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

/// Where files are handed over. One waits while another one is on its way.
#[derive(Clone)]
pub struct Queue(Sender<Option<(PathBuf, File)>>);

impl Queue {
    /// Whether another file waits already.
    pub fn is_full(&self) -> bool {
        self.0.is_full()
    }

    /// Takes the file at `path`, unless another one waits already or the thread has ended; whether it does. All that is in the file
    /// by then will be on disk.
    pub fn take(&self, path: &Path, file: File) -> bool {
        self.0.try_send(Some((path.to_owned(), file))).is_ok()
    }
}

impl Ahead {
    /// Starts the thread, for the files at or below `path`.
    ///
    /// # Errors
    /// There can't be another thread.
    pub fn start(path: &Path) -> Result<Self, Error> {
        let (queue, files) = bounded::<Option<(PathBuf, File)>>(1);
        let bring = move || {
            files
                .into_iter()
                .map_while(|file| file)
                .try_for_each(|(path, file)| file.sync_data().map_err(io_error(&path)))
        };
        let thread = thread::Builder::new().name("sync".to_owned()).spawn(bring).map_err(io_error(path))?;
        Ok(Ahead { queue: Queue(queue), thread: Some(thread) })
    }

    /// Where it takes files.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Whether it has ended before its time: [`Ahead::finish`] tells why.
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for what was handed over.
    ///
    /// # Errors
    /// A file can't be brought to disk. The kernel tells that once, so it has to be heard here.
    pub fn finish(mut self) -> Result<(), Error> {
        self.join().map_or(Ok(()), |ended| ended.unwrap_or_else(|panic| resume_unwind(panic)))
    }

    fn join(&mut self) -> Option<thread::Result<Result<(), Error>>> {
        let thread = self.thread.take()?;
        // Where the thread has ended, it tells why.
        let _is_heard = self.queue.0.send(None);
        Some(thread.join())
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        // Nobody needs the files of one that was not finished.
        let _is_given_up = self.join();
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn what_cannot_be_brought_to_disk_is_told() {
        let directory = tempfile::TempDir::new().expect("a directory");
        let path = directory.path().join("file");
        let ahead = Ahead::start(&path).expect("a thread");
        assert!(ahead.queue().take(&path, File::create(&path).expect("a file")));
        ahead.finish().expect("it is on disk");

        // A pipe has no disk to go to.
        let ahead = Ahead::start(&path).expect("a thread");
        let (_reader, writer) = std::io::pipe().expect("a pipe");
        assert!(ahead.queue().take(&path, File::from(std::os::fd::OwnedFd::from(writer))));
        let until = Instant::now() + Duration::from_secs(60);
        while !ahead.has_ended() && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
        let file = File::create(&path).expect("a file");
        assert!(!ahead.queue().take(&path, file), "nobody would bring it to disk");
        let error = ahead.finish().expect_err("it can't be brought to disk");
        assert!(error.to_string().starts_with(&*path.to_string_lossy()), "{error}");
    }
}
