//! gix's tree of progress, as counters that the thread of the caller looks at.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use super::{PHASES, Phase, Progress};

/// The counters that gix's thread writes and the caller's thread reads.
#[derive(Default)]
pub(super) struct Counters {
    phase: AtomicU8,
    received: AtomicU64,
    pub(super) alive: AtomicU64,
    objects: AtomicU64,
    unpacked: AtomicU64,
}

/// What was reported last: phase, bytes received, signs of life, objects, bytes unpacked.
pub(super) type Seen = (u8, u64, u64, u64, u64);

impl Counters {
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    pub(super) fn report(&self, seen: &mut Seen, progress: &dyn Fn(Progress)) {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let now = (
            self.phase.load(Ordering::Relaxed),
            load(&self.received),
            load(&self.alive),
            load(&self.objects),
            load(&self.unpacked),
        );
        if now.1 != seen.1 {
            progress(Progress::Received(now.1));
        }
        if now.2 != seen.2 {
            progress(Progress::Alive(now.2));
        }
        if now.3 != seen.3 {
            progress(Progress::Objects(now.3));
        }
        if now.4 != seen.4 {
            progress(Progress::Unpacked(now.4));
        }
        if now.0 != seen.0 {
            progress(Progress::Phase(PHASES[usize::from(now.0) % PHASES.len()]));
        }
        *seen = now;
    }
}

/// A node in gix's tree of progress, which only keeps what the counters need.
#[derive(Default)]
pub(super) struct Meter {
    pub(super) shared: Arc<Counters>,
    step: gix::progress::StepShared,
    id: gix::progress::Id,
}

impl Meter {
    // The ids of gix: bytes of the pack that were read, its objects, their bytes once unpacked, resolving of deltas, and the
    // remote's own progress.
    const PACK_BYTES: gix::progress::Id = *b"BWRB";
    const OBJECTS: gix::progress::Id = *b"IWIO";
    const UNPACKED: gix::progress::Id = *b"IWDB";
    const RESOLVE: gix::progress::Id = *b"IWRO";
    const REMOTE: gix::progress::Id = *b"FERP";

    pub(super) fn child(&self, id: gix::progress::Id) -> Meter {
        match id {
            Self::PACK_BYTES => self.shared.enter(Phase::Receive),
            Self::RESOLVE => self.shared.enter(Phase::Resolve),
            _ => {}
        }
        Meter { shared: self.shared.clone(), step: Default::default(), id }
    }

    fn tick(&self) {
        if self.id == Self::REMOTE {
            self.shared.alive.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl gix::progress::Count for Meter {
    fn set(&self, step: usize) {
        self.step.store(step, Ordering::Relaxed);
        self.tick();
    }
    fn step(&self) -> usize {
        self.step.load(Ordering::Relaxed)
    }
    fn inc_by(&self, step: usize) {
        self.step.fetch_add(step, Ordering::Relaxed);
        if self.id == Self::PACK_BYTES {
            self.shared.received.fetch_add(step as u64, Ordering::Relaxed);
        }
        if self.id == Self::UNPACKED {
            self.shared.unpacked.fetch_add(step as u64, Ordering::Relaxed);
        }
        self.tick();
    }
    fn counter(&self) -> gix::progress::StepShared {
        self.step.clone()
    }
}

impl gix::progress::Progress for Meter {
    fn init(&mut self, max: Option<usize>, _unit: Option<gix::progress::Unit>) {
        if self.id == Self::OBJECTS {
            self.shared.objects.store(max.unwrap_or_default() as u64, Ordering::Relaxed);
        }
    }
    fn set_name(&mut self, _name: String) {
        self.tick();
    }
    fn name(&self) -> Option<String> {
        None
    }
    fn id(&self) -> gix::progress::Id {
        self.id
    }
    fn message(&self, _level: gix::progress::MessageLevel, _message: String) {
        self.tick();
    }
}

impl gix::progress::NestedProgress for Meter {
    type SubProgress = Meter;
    fn add_child(&mut self, _name: impl Into<String>) -> Meter {
        self.child(gix::progress::UNKNOWN)
    }
    fn add_child_with_id(&mut self, _name: impl Into<String>, id: gix::progress::Id) -> Meter {
        self.child(id)
    }
}
