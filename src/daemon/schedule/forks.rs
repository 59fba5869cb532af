//! Forks that are attached to a root: they wait for it, and are mined anew when it is.

use super::{
    super::{
        event::{Id, State},
        repository::Stage,
    },
    Schedule,
};

impl Schedule {
    /// Whether there is a fork that is to be mined anew since its root was, so that rows may be missing until then; one that
    /// can't be mined is not waited for.
    pub fn has_outdated_fork(&self) -> bool {
        let is_outdated = |id: &Id| {
            let State { tips, settings, fault, .. } = self.state(*id);
            tips.is_some() && settings.is_none() && fault.is_none()
        };
        self.forks.values().flatten().any(|id| is_outdated(id) && !self.is_left_alone(*id))
    }

    /// Takes note of what a repository is attached to.
    pub(super) fn attach(&mut self, id: Id) {
        if let Some(root) = self.place(id).root.clone() {
            self.forks.entry(root).or_default().insert(id);
        }
    }

    /// Forgets that, since it is to be another one, or the repository is no source any more.
    pub(super) fn detach(&mut self, id: Id) {
        let root = self.repositories[id as usize].place.root.as_ref();
        if let Some(forks) = root.and_then(|root| self.forks.get_mut(root)) {
            forks.remove(&id);
        }
    }

    /// Whether it is attached to a repository that is about to be mined for the first time, or with other settings than before:
    /// what that has then, it leaves out.
    pub(super) fn has_new_root(&self, id: Id) -> bool {
        let root = self.place(id).root.as_ref().and_then(|root| self.find(root));
        root.is_some_and(|root| {
            let (place, state) = (self.place(root), self.state(root));
            let is_due =
                place.root.is_none() && state.fault.is_none() && state.settings.as_ref() != Some(&place.settings);
            is_due && !self.is_left_alone(root)
        })
    }

    /// The forks that are attached to a repository.
    pub(super) fn forks_of(&self, id: Id) -> Vec<Id> {
        self.forks.get(&self.place(id).identity).into_iter().flatten().copied().collect()
    }

    /// Lets the forks of a repository go that waited for it.
    pub(super) fn let_forks_go(&mut self, id: Id) {
        for fork in self.forks_of(id) {
            if self.repositories[fork as usize].stage == Stage::Behind {
                self.wait_for_connection(fork, false);
            }
        }
    }

    /// Has the forks of a repository mined anew whose rows were replaced or removed: they left out what it may have no more. They
    /// are due since ever, and so in a single round as well.
    pub(super) fn mine_forks_anew(&mut self, id: Id) {
        for fork in self.forks_of(id) {
            let repository = &mut self.repositories[fork as usize];
            repository.state.settings = None;
            repository.is_outdated = matches!(repository.stage, Stage::Mining { .. });
            self.unsaved.insert(fork);
            if repository.stage == Stage::Resting && !repository.state.dropped {
                self.resting.remove(&(repository.state.due, fork));
                self.rest(fork, 0);
            }
        }
    }
}
