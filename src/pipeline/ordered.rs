//! Runs work on several threads and hands the results over in order, with a bounded number of them waiting.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use crossbeam_channel::{bounded, unbounded};

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
    mut consume: impl FnMut(u64, T) -> Result<(), E>,
) -> Result<(), E> {
    let next = AtomicU64::new(range.start);
    let stop = AtomicBool::new(false);
    // A token is taken before a number is claimed and given back when its result is consumed. So the lowest number
    // that is out always has a thread, and nobody waits for ever.
    let (give, take) = bounded::<()>(4 * threads.max(1));
    for _ in 0..4 * threads.max(1) {
        give.send(()).expect("the channel has room for all tokens");
    }
    let (send, receive) = unbounded();
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            let (send, take, next, stop, range, start, work) =
                (send.clone(), take.clone(), &next, &stop, &range, &start, &work);
            scope.spawn(move || {
                let mut state = start();
                while take.recv().is_ok() && !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= range.end || send.send((number, work(&mut state, number))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        drop(take);
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
                let _all_threads_may_have_ended = give.send(());
            }
        }
        stop.store(true, Ordering::Relaxed);
        drop(give);
        drop(receive);
        outcome
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_whatever_the_threads() {
        for threads in [1, 2, 7] {
            let mut seen = Vec::new();
            let run = |_: &mut (), n: u64| -> Result<u64, ()> {
                thread::yield_now();
                Ok(n * n)
            };
            ordered(
                threads,
                3..500,
                || (),
                run,
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
}
