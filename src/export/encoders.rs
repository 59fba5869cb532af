//! Threads that compress pages and encode row groups, in the order in which they are given them, and the memory that pages
//! are written to.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use crossbeam_channel::{Receiver, Sender, bounded};
use zstd::bulk::Compressor;

use super::{Error, pages, parquet::PAGE_BYTES_MAX, short};

/// Memory for a page, and for the row that ends it.
const MEMORY: usize = PAGE_BYTES_MAX + PAGE_BYTES_MAX / 8;

/// Pages that wait for each thread: while a large batch is read, none of them has to wait, and memory has a bound.
const WAITING: usize = 4;

/// Memory of pages that were compressed. Fresh memory is cleared by the kernel, which takes longer than filling it; and what
/// was used last is still in the processor's cache.
#[derive(Clone, Default)]
pub(super) struct Pool(Arc<Mutex<Vec<Vec<u8>>>>);

impl Pool {
    pub(super) fn give(&self, memory: Vec<u8>) {
        // What a single large row took is not kept.
        if (MEMORY..=2 * MEMORY).contains(&memory.capacity()) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
        }
    }

    pub(super) fn take(&self) -> Vec<u8> {
        let memory = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut memory = memory.unwrap_or_else(|| Vec::with_capacity(MEMORY));
        memory.clear();
        memory
    }
}

/// What compresses pages, for one thread.
pub(super) struct Compressors {
    /// Of contents and diffs.
    pub(super) long: Compressor<'static>,
    /// Of all other columns.
    pub(super) short: Compressor<'static>,
}

type Work = Box<dyn FnOnce(&mut Compressors) + Send>;

/// The threads. They end with this value, after what they were given.
pub(super) struct Encoders {
    pub(super) pool: Pool,
    /// None from the end on.
    queue: Option<Sender<Work>>,
    threads: Vec<JoinHandle<()>>,
}

impl Encoders {
    pub(super) fn new(threads: usize) -> Result<Self, Error> {
        let threads = threads.max(1);
        let (queue, work) = bounded::<Work>(WAITING * threads);
        let start = |_| {
            let mut compressors = Compressors { long: pages::compressor()?, short: short::compressor()? };
            let work = work.clone();
            Ok(thread::spawn(move || work.into_iter().for_each(|work| work(&mut compressors))))
        };
        let threads = (0..threads).map(start).collect::<Result<_, Error>>()?;
        Ok(Encoders { pool: Pool::default(), queue: Some(queue), threads })
    }

    /// Has a thread do `work`, behind all that was given before. Waits while there is enough to do.
    pub(super) fn give<T: Send + 'static>(&self, work: impl FnOnce(&mut Compressors) -> T + Send + 'static) -> Made<T> {
        let (send, made) = bounded(1);
        let work: Work = Box::new(move |compressors| {
            // Nobody waits for it where the export has failed.
            let _is_wanted = send.send(work(compressors));
        });
        let queue = self.queue.as_ref().expect("it is there up to the end");
        assert!(queue.send(work).is_ok(), "a thread that encodes has panicked");
        Made(made)
    }
}

impl Drop for Encoders {
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            // It has told why.
            let _panicked = thread.join();
        }
    }
}

/// What a thread makes.
pub(super) struct Made<T>(Receiver<T>);

impl<T> Made<T> {
    /// Waits for it. Work may do so for what was given before it.
    pub(super) fn wait(self) -> T {
        self.0.recv().expect("a thread that encodes has not panicked")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_may_wait_for_what_was_given_before_it() {
        for threads in [0, 1, 2, 5] {
            let encoders = Encoders::new(threads).expect("a compressor");
            let mut sums = Vec::new();
            for n in 0..50_u64 {
                let parts: Vec<_> = (0..n % 7).map(|part| encoders.give(move |_| n * part)).collect();
                sums.push(encoders.give(move |_| parts.into_iter().map(Made::wait).sum::<u64>()));
            }
            let sums: Vec<u64> = sums.into_iter().map(Made::wait).collect();
            assert_eq!(sums, (0..50).map(|n| (0..n % 7).map(|part| n * part).sum()).collect::<Vec<u64>>());
        }
    }

    #[test]
    fn memory_of_pages_serves_again() {
        let pool = Pool::default();
        let memory = [pool.take(), pool.take()].map(|mut memory| {
            memory.push(1);
            memory
        });
        let last = memory[1].as_ptr();
        memory.into_iter().for_each(|memory| pool.give(memory));
        let again = pool.take();
        assert!(again.is_empty() && again.as_ptr() == last);
        for size in [10, 3 * MEMORY] {
            pool.give(Vec::with_capacity(size));
        }
        assert_eq!((pool.take().capacity(), pool.take().capacity()), (MEMORY, MEMORY));
    }
}
