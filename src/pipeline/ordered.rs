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

/// So many times as far ahead threads may work where results are weighed, and those that wait are light.
const FAR: u64 = 8;

/// What results that wait may weigh for that, in bytes.
const WAITING_BYTES_MAX: usize = 16 << 20;

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
    // Nothing is light.
    in_runs(1, threads, range, start, work, |_| WAITING_BYTES_MAX, consume)
}

/// As [`ordered`]; a thread takes `run` numbers in a row, fewer where there are few left for each thread. While the results
/// that wait are light by their `weight` in bytes, more of them may: one that takes long keeps nobody from going on.
///
/// # Errors
/// As [`ordered`].
pub fn in_runs<S, T: Send, E: Send>(
    run: u64,
    threads: usize,
    range: Range<u64>,
    start: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, u64) -> Result<T, E> + Sync,
    weight: impl Fn(&T) -> usize + Sync,
    mut consume: impl FnMut(u64, T) -> Result<(), E>,
) -> Result<(), E> {
    let threads = threads.max(1) as u64;
    let next = AtomicU64::new(range.start);
    let window = Window::new(range.start, 4 * threads);
    // The last numbers are taken one by one, so that all threads end at about the same time.
    let end_of_run = |from: u64| from + (range.end.saturating_sub(from) / (4 * threads)).clamp(1, run.max(1));
    let take = || next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |from| Some(end_of_run(from)));
    let (send, receive) = unbounded();
    thread::scope(|scope| {
        for _ in 0..threads {
            let (send, window, range, start, work) = (send.clone(), &window, &range, &start, &work);
            let (weight, take, end_of_run) = (&weight, &take, &end_of_run);
            scope.spawn(move || {
                // A thread that panics sends no result, so nobody must wait for it.
                let _closes = CloseInPanic(window);
                let mut state = start();
                loop {
                    let (Ok(from) | Err(from)) = take();
                    if from >= range.end {
                        return;
                    }
                    for number in from..range.end.min(end_of_run(from)) {
                        if !window.wait_for(number) {
                            return;
                        }
                        let result = work(&mut state, number);
                        let bytes = result.as_ref().map_or(0, weight);
                        window.change(|ahead| ahead.waiting_bytes = ahead.waiting_bytes.saturating_add(bytes));
                        if send.send((number, bytes, result)).is_err() {
                            return;
                        }
                    }
                }
            });
        }
        drop(send);
        let mut waiting = BTreeMap::new();
        let mut expected = range.start;
        let mut outcome = Ok(());
        'all: while let Ok((number, bytes, result)) = receive.recv() {
            waiting.insert(number, (bytes, result));
            while let Some((bytes, result)) = waiting.remove(&expected) {
                if let Err(error) = result.and_then(|value| consume(expected, value)) {
                    outcome = Err(error);
                    break 'all;
                }
                expected += 1;
                window.change(|ahead| {
                    ahead.expected = expected;
                    ahead.waiting_bytes = ahead.waiting_bytes.saturating_sub(bytes);
                });
                window.moved.notify_all();
            }
        }
        window.close();
        drop(receive);
        outcome
    })
}

/// The numbers that may be worked on. The lowest one that is out is always among them, and the thread that took it has
/// finished those before it, so nobody waits for ever.
struct Window {
    /// So many numbers, whatever waits.
    near: u64,
    ahead: Mutex<Ahead>,
    moved: Condvar,
}

/// How far the work is ahead of what is consumed.
struct Ahead {
    /// The number to be consumed next.
    expected: u64,
    /// What the results weigh that are not consumed yet.
    waiting_bytes: usize,
    /// Whether all has ended.
    is_closed: bool,
}

impl Window {
    fn new(expected: u64, near: u64) -> Self {
        let ahead = Ahead { expected, waiting_bytes: 0, is_closed: false };
        Window { near, ahead: Mutex::new(ahead), moved: Condvar::new() }
    }

    /// Waits until `number` may be worked on; false once all has ended.
    fn wait_for(&self, number: u64) -> bool {
        let ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        let has_to_wait = |ahead: &mut Ahead| {
            let far = if ahead.waiting_bytes < WAITING_BYTES_MAX { FAR } else { 1 };
            !ahead.is_closed && number >= ahead.expected.saturating_add(self.near * far)
        };
        !self.moved.wait_while(ahead, has_to_wait).unwrap_or_else(PoisonError::into_inner).is_closed
    }

    fn change(&self, change: impl FnOnce(&mut Ahead)) {
        change(&mut self.ahead.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn close(&self) {
        self.change(|ahead| ahead.is_closed = true);
        self.moved.notify_all();
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
        let cases = [(1, 1), (1, 2), (1, 7), (4, 1), (4, 2), (4, 7), (9, 2)];
        for ((run, threads), weight) in
            cases.iter().flat_map(|case| [0, 1 << 22, usize::MAX].map(|weight| (*case, weight)))
        {
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
                |_| weight,
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
    fn light_results_wait_for_a_slow_one_and_heavy_ones_are_not_made() {
        for (weight, others) in [(0, 2 * 4 * FAR - 1), (WAITING_BYTES_MAX, 2 * 4 - 1), (WAITING_BYTES_MAX / 12, 13)] {
            let made = Mutex::new(0);
            let grown = Condvar::new();
            let work = |_: &mut (), n: u64| -> Result<u64, ()> {
                let mut made = made.lock().expect("nobody panics");
                if n > 0 {
                    *made += 1;
                    grown.notify_all();
                    return Ok(*made);
                }
                // The first number takes as long as the others do that are made meanwhile.
                let made = grown.wait_while(made, |made| *made < others).expect("nobody panics");
                Ok(*made)
            };
            let mut first = None;
            let consume = |_, made| {
                first.get_or_insert(made);
                Ok(())
            };
            in_runs(1, 2, 0..1000, || (), work, |_| weight, consume).expect("nothing fails");
            assert!(first.is_some_and(|first| first == others), "{first:?} {weight}");
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
                in_runs(run, threads, 0..1000, || (), work, |_| 0, |_, _| Ok(()))
            };
            assert!(std::panic::catch_unwind(run_all).is_err(), "{run} {threads}");
        }
    }
}
