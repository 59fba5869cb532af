//! Runs work on several threads and hands the results over in order, with a bounded number of them waiting.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use crossbeam_channel::unbounded;

/// Numbers that a thread takes at once, where what one needs is mostly what the one before it left.
pub const RUN: u64 = 4;

/// Calls `work` for every number of `range` on `threads` threads, and `consume` with the results from low to high on
/// this thread. At most `4 * threads` results exist at a time. `start` makes the state of a thread.
///
/// # Errors
/// The first error of `work` or `consume` ends it all.
pub fn ordered<S, T: Send, E: Send>(
    threads: usize,
    range: Range<u64>,
    start: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, u64) -> Result<T, E> + Sync,
    consume: impl FnMut(u64, T) -> Result<(), E>,
) -> Result<(), E> {
    in_runs(1, threads, range, start, work, consume)
}

/// As [`ordered`]; a thread takes `run` numbers in a row, fewer where there are few for each thread.
///
/// # Errors
/// As [`ordered`].
pub fn in_runs<S, T: Send, E: Send>(
    run: u64,
    threads: usize,
    range: Range<u64>,
    start: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, u64) -> Result<T, E> + Sync,
    mut consume: impl FnMut(u64, T) -> Result<(), E>,
) -> Result<(), E> {
    let threads = threads.max(1) as u64;
    let run = run.min(range.end.saturating_sub(range.start) / (4 * threads)).max(1);
    let next = AtomicU64::new(range.start);
    let window = Window::new(range.start + 4 * threads);
    let (send, receive) = unbounded();
    thread::scope(|scope| {
        for _ in 0..threads {
            let (send, next, window, range, start, work) = (send.clone(), &next, &window, &range, &start, &work);
            scope.spawn(move || {
                // A thread that panics sends no result, so nobody must wait for it.
                let _closes = CloseInPanic(window);
                let mut state = start();
                loop {
                    let from = next.fetch_add(run, Ordering::Relaxed);
                    for number in from..range.end.min(from.saturating_add(run)) {
                        if !window.wait_for(number) || send.send((number, work(&mut state, number))).is_err() {
                            return;
                        }
                    }
                    if from >= range.end {
                        return;
                    }
                }
            });
        }
        drop(send);
        let mut waiting = BTreeMap::new();
        let mut expected = range.start;
        let mut outcome = Ok(());
        'all: while let Ok((number, result)) = receive.recv() {
            waiting.insert(number, result);
            while let Some(result) = waiting.remove(&expected) {
                if let Err(error) = result.and_then(|value| consume(expected, value)) {
                    outcome = Err(error);
                    break 'all;
                }
                expected += 1;
                window.open_to(expected + 4 * threads);
            }
        }
        window.close();
        drop(receive);
        outcome
    })
}

/// The numbers that may be worked on. The lowest one that is out is always below the end, and the thread that took it has
/// finished those before it, so nobody waits for ever.
struct Window {
    /// The first number that has to wait; none once all has ended.
    end: Mutex<Option<u64>>,
    moved: Condvar,
}

impl Window {
    fn new(end: u64) -> Self {
        Window { end: Mutex::new(Some(end)), moved: Condvar::new() }
    }

    /// Waits until `number` may be worked on; false once all has ended.
    fn wait_for(&self, number: u64) -> bool {
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        let has_to_wait = |end: &mut Option<u64>| end.is_some_and(|end| number >= end);
        self.moved.wait_while(end, has_to_wait).unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn set(&self, to: Option<u64>) {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        // Closed, it stays so.
        *end = end.and(to);
        drop(end);
        self.moved.notify_all();
    }

    fn open_to(&self, end: u64) {
        self.set(Some(end));
    }

    fn close(&self) {
        self.set(None);
    }
}

/// Closes a window where its thread panics.
struct CloseInPanic<'w>(&'w Window);

impl Drop for CloseInPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_whatever_the_threads() {
        for (run, threads) in [(1, 1), (1, 2), (1, 7), (4, 1), (4, 2), (4, 7), (9, 2)] {
            let mut seen = Vec::new();
            let work = |_: &mut (), n: u64| -> Result<u64, ()> {
                thread::yield_now();
                Ok(n * n)
            };
            in_runs(
                run,
                threads,
                3..500,
                || (),
                work,
                |n, square| {
                    seen.push((n, square));
                    Ok(())
                },
            )
            .expect("nothing fails");
            assert_eq!(seen, (3..500).map(|n| (n, n * n)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_error_ends_it() {
        let run = |_: &mut (), n: u64| if n == 40 { Err("forty") } else { Ok(n) };
        let mut last = 0;
        let outcome = ordered(
            3,
            0..1000,
            || (),
            run,
            |n, _| {
                last = n;
                Ok(())
            },
        );
        assert_eq!((outcome, last), (Err("forty"), 39));
    }
    #[test]
    fn nobody_waits_for_a_thread_that_panics() {
        for (run, threads) in [(1, 1), (1, 3), (4, 3)] {
            let run_all = || {
                let work = |_: &mut (), n: u64| -> Result<u64, ()> { if n == 40 { panic!("forty") } else { Ok(n) } };
                in_runs(run, threads, 0..1000, || (), work, |_, _| Ok(()))
            };
            assert!(std::panic::catch_unwind(run_all).is_err(), "{run} {threads}");
        }
    }
}
