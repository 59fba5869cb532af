use super::{
    super::{
        event::{Licenses, Rows},
        host::{PAUSE, PAUSE_MAX},
    },
    *,
};

const DAY: u64 = 86_400;

fn policy() -> Policy {
    Policy {
        interval_min: 60,
        interval_max: DAY,
        connections: 4,
        connections_per_host: 2,
        mines: 2,
        gone: Rows::Keep,
        moved: Rows::Keep,
        relicensed: Rows::Keep,
        gone_after: 2,
        mirror_bytes_max: None,
    }
}

fn place(host: &str, name: &str) -> Place {
    let host = Some(host.to_owned()).filter(|host| !host.is_empty());
    Place { identity: format!("{}/{name}", host.as_deref().unwrap_or("here")), host, settings: "s".into(), root: None }
}

/// All that is to be done now.
fn all(schedule: &mut Schedule, now: u64) -> Vec<Action> {
    std::iter::from_fn(|| schedule.next(now)).collect()
}

fn looked(id: Id, tips: &str) -> Event {
    Event::Looked { id, tips: Some(tips.into()), moved_to: None }
}

fn fetched(id: Id, tips: &str) -> Event {
    Event::Fetched { id, tips: tips.into(), bytes: 1 }
}

fn mined(id: Id, tips: &str) -> Event {
    mined_with(id, tips, "s")
}

fn mined_with(id: Id, tips: &str, settings: &str) -> Event {
    let (tips, settings, licenses) = (tips.into(), settings.into(), Licenses::default());
    Event::Mined { id, tips, settings, is_new: true, is_anew: false, is_again: false, milliseconds: 10, licenses }
}

fn failed(id: Id, fault: Fault, retry_after: Option<u64>) -> Event {
    Event::Failed { id, fault, reason: fault.as_str().into(), retry_after }
}

/// Brings a repository from a look to its rows.
fn live(schedule: &mut Schedule, now: u64, id: Id, tips: &str) {
    assert_eq!(schedule.next(now), Some(Action::Look(id)));
    schedule.on(now, looked(id, tips));
    assert_eq!(schedule.next(now), Some(Action::Fetch(id)));
    schedule.on(now, fetched(id, tips));
    assert_eq!(schedule.next(now), Some(Action::Mine(id)));
    schedule.on(now, mined(id, tips));
}

#[test]
fn a_look_comes_before_a_fetch_and_a_fetch_before_mining() {
    let mut schedule = Schedule::new(policy());
    let (far, near) = (schedule.add(100, place("h", "far"), None), schedule.add(100, place("", "near"), None));
    assert_eq!(all(&mut schedule, 99), []);
    assert_eq!(all(&mut schedule, 100), [Action::Look(far), Action::Look(near)]);
    schedule.on(101, looked(far, "a"));
    schedule.on(101, looked(near, "a"));
    assert_eq!(all(&mut schedule, 101), [Action::Mine(near), Action::Fetch(far)], "what is here needs no fetch");
    schedule.on(102, fetched(far, "a"));
    schedule.on(102, mined(near, "a"));
    assert_eq!(all(&mut schedule, 102), [Action::Mine(far)]);
    schedule.on(103, mined(far, "a"));
    assert!(schedule.is_idle() && all(&mut schedule, 103).is_empty());
    let due = schedule.ids().map(|id| schedule.state(id).due).min().expect("both rest");
    assert!((103 + 60 - 13..=103 + 120 + 25).contains(&due), "{due}");
    assert_eq!(all(&mut schedule, due).len(), 1);
}

#[test]
fn forks_wait_for_a_new_root_and_are_mined_anew_when_it_is() {
    let fork_of = |root: &str, name: &str| Place { root: Some(format!("h/{root}")), ..place("h", name) };
    let mut schedule = Schedule::new(policy());
    let [fork, root, stray, chain] =
        [fork_of("root", "fork"), place("h", "root"), fork_of("absent", "stray"), fork_of("fork", "chain")]
            .map(|place| schedule.add(0, place, None));
    assert_eq!(all(&mut schedule, 0), [Action::Look(root), Action::Look(stray)], "a root that is a fork is none");
    assert_eq!((schedule.doing(fork), schedule.waiting()), ("waiting for its root", 2));
    schedule.on(1, looked(stray, "a"));
    schedule.on(1, failed(root, Fault::Refused, None));
    assert_eq!(
        all(&mut schedule, 1),
        [Action::Fetch(stray), Action::Look(fork)],
        "a root that fails is not waited for"
    );
    schedule.on(2, Event::GivenUp(stray));
    schedule.on(2, looked(fork, "a"));
    // Whatever is done with a fork when its root is mined anew, it is to be done once more.
    let anew = |id, is_anew| match mined(id, "b") {
        Event::Mined { tips, settings, is_new, is_again, milliseconds, licenses, .. } => {
            Event::Mined { id, tips, settings, is_new, is_anew, is_again, milliseconds, licenses }
        }
        _ => unreachable!("it is made above"),
    };
    let mut schedule = Schedule::new(policy());
    let [fork, root] = [fork_of("root", "fork"), place("h", "root")].map(|place| schedule.add(0, place, None));
    live(&mut schedule, 0, root, "a");
    live(&mut schedule, 0, fork, "a");
    assert!(!schedule.has_outdated_fork() && all(&mut schedule, 0).is_empty());
    schedule.on(1, Event::Pushed(root));
    schedule.on(1, Event::Pushed(fork));
    assert_eq!(all(&mut schedule, 1), [Action::Look(fork), Action::Look(root)]);
    [fork, root].into_iter().for_each(|id| schedule.on(1, looked(id, "b")));
    for id in [fork, root] {
        assert_eq!(all(&mut schedule, 1).last(), Some(&Action::Fetch(id)));
        schedule.on(1, fetched(id, "b"));
    }
    assert_eq!(all(&mut schedule, 1), [Action::Mine(root)]);
    schedule.on(2, anew(root, true));
    assert!(schedule.has_outdated_fork());
    schedule.on(2, anew(fork, false));
    assert!(schedule.has_outdated_fork(), "it was begun before");
    // Even where only what was due at the start is done.
    live(&mut schedule, 0, fork, "b");
    assert!(!schedule.has_outdated_fork());
    schedule.on(3, Event::Pushed(root));
    live(&mut schedule, 3, root, "c");
    assert!(!schedule.has_outdated_fork(), "nothing that it leaves out has gone");
    schedule.on(4, failed(root, Fault::Gone, None));
    schedule.on(4, Event::Dropped(root));
    assert!(schedule.has_outdated_fork() && schedule.next(0) == Some(Action::Look(fork)));
    schedule.on(4, failed(fork, Fault::Gone, None));
    assert!(!schedule.has_outdated_fork(), "what can't be mined is not waited for");
    // With other settings, both are mined once.
    let mut schedule = Schedule::new(policy());
    let [root, fork] = [place("h", "root"), fork_of("root", "fork")].map(|place| schedule.add(0, place, None));
    [root, fork].into_iter().for_each(|id| live(&mut schedule, 0, id, "a"));
    for (id, place) in [(fork, fork_of("root", "fork")), (root, place("h", "root"))] {
        schedule.settle(1, id, Place { settings: "t".into(), ..place });
    }
    assert_eq!(all(&mut schedule, 1), [Action::Look(root)]);
    schedule.on(1, looked(root, "a"));
    assert_eq!(all(&mut schedule, 1), [Action::Fetch(root)]);
    schedule.on(1, fetched(root, "a"));
    assert_eq!(all(&mut schedule, 1), [Action::Mine(root)]);
    schedule.on(1, mined_with(root, "a", "t"));
    assert_eq!(all(&mut schedule, 1), [Action::Look(fork)]);
    // A fork that is no source any more is not waited for, and nothing is remembered of it.
    schedule.on(2, Event::GivenUp(fork));
    schedule.on(2, anew(root, true));
    assert!(schedule.has_outdated_fork());
    schedule.retire(fork);
    schedule.take_unsaved();
    schedule.on(3, anew(root, true));
    assert!(!schedule.has_outdated_fork() && schedule.take_unsaved().iter().all(|(id, _)| *id == root));
    // One that is no source any more is not waited for either, nor is one whose server is left alone.
    let mut schedule = Schedule::new(policy());
    let [root, fork] = [place("h", "root"), fork_of("root", "fork")].map(|place| schedule.add(0, place, None));
    assert_eq!(all(&mut schedule, 0), [Action::Look(root)]);
    schedule.on(0, Event::GivenUp(root));
    schedule.retire(root);
    assert_eq!((all(&mut schedule, 0), chain), (vec![Action::Look(fork)], 3));
}

#[test]
fn what_is_mined_is_not_fetched_again() {
    let mut schedule = Schedule::new(policy());
    let id = schedule.add(0, place("h", "a"), None);
    live(&mut schedule, 0, id, "one");
    let state = schedule.state(id).clone();
    assert_eq!((state.tips.as_deref(), state.condition()), (Some("one"), "current"));
    assert_eq!(schedule.next(state.due), Some(Action::Look(id)));
    schedule.on(state.due, looked(id, "one"));
    assert_eq!(all(&mut schedule, state.due), []);
    // A server that can't be looked at is fetched from, and mined only when that brought something.
    let now = schedule.state(id).due;
    assert_eq!(schedule.next(now), Some(Action::Look(id)));
    schedule.on(now, Event::Looked { id, tips: None, moved_to: None });
    assert_eq!(schedule.next(now), Some(Action::Fetch(id)));
    schedule.on(now, fetched(id, "one"));
    assert_eq!((schedule.next(now), schedule.is_idle()), (None, true));
    // Other rules make it due at once.
    let other = Place { settings: "t".into(), ..place("h", "a") };
    let mut again = Schedule::new(policy());
    let id = again.add(now, other, Some(schedule.state(id).clone()));
    assert_eq!(again.next(now), Some(Action::Look(id)));
    again.on(now, looked(id, "one"));
    assert_eq!(again.next(now), Some(Action::Fetch(id)));
    again.on(now, fetched(id, "one"));
    assert_eq!(again.next(now), Some(Action::Mine(id)));
    // They change once more while it is mined.
    again.settle(now, id, Place { settings: "u".into(), ..place("h", "a") });
    again.on(now, mined_with(id, "one", "t"));
    assert_eq!(again.next(now), Some(Action::Look(id)));
    again.on(now, looked(id, "one"));
    assert_eq!(again.next(now), Some(Action::Fetch(id)));
    again.on(now, fetched(id, "one"));
    assert_eq!(again.next(now), Some(Action::Mine(id)));
    again.on(now, mined_with(id, "one", "u"));
    assert_eq!(again.next(now), None);
    // The same settings once more are no reason to look, and others are one.
    again.settle(now, id, Place { settings: "u".into(), ..place("h", "a") });
    assert_eq!(again.next(now), None);
    again.settle(now, id, Place { settings: "v".into(), ..place("h", "a") });
    assert_eq!(again.next(now), Some(Action::Look(id)));
}

#[test]
fn what_was_pushed_between_look_and_fetch_and_taken_back_is_seen() {
    let mut schedule = Schedule::new(policy());
    let id = schedule.add(0, place("h", "a"), None);
    assert_eq!(schedule.next(0), Some(Action::Look(id)));
    schedule.on(0, looked(id, "before"));
    assert_eq!(schedule.next(0), Some(Action::Fetch(id)));
    schedule.on(0, fetched(id, "after"));
    assert_eq!(schedule.next(0), Some(Action::Mine(id)));
    schedule.on(0, mined(id, "after"));
    let now = schedule.state(id).due;
    assert_eq!(schedule.next(now), Some(Action::Look(id)));
    schedule.on(now, looked(id, "before"));
    assert_eq!(schedule.next(now), Some(Action::Fetch(id)), "the store has what is not there any more");
}

#[test]
fn mirrors_that_are_needed_latest_go_first_where_there_is_too_little_room() {
    let mut schedule = Schedule::new(Policy { mirror_bytes_max: Some(100), connections_per_host: 9, ..policy() });
    let ids: Vec<Id> = (0..4).map(|n| schedule.add(0, place("h", &n.to_string()), None)).collect();
    for id in &ids {
        schedule.repositories[*id as usize].state.interval = [600, 6000, 60, 600][*id as usize];
    }
    let mut evicted = Vec::new();
    let drain = |schedule: &mut Schedule, evicted: &mut Vec<Id>| {
        while let Some(action) = schedule.next(0) {
            match action {
                Action::Look(id) => schedule.on(0, looked(id, "x")),
                Action::Fetch(id) => schedule.on(0, Event::Fetched { id, tips: "x".into(), bytes: 40 }),
                Action::Mine(id) => schedule.on(0, mined(id, "x")),
                Action::Evict(id) => {
                    evicted.push(id);
                    schedule.on(0, Event::Evicted(id));
                }
                other => panic!("{other:?}"),
            }
        }
    };
    drain(&mut schedule, &mut evicted);
    assert_eq!(schedule.mirror_bytes(), 80);
    assert!(evicted.len() == 2 && evicted[0] == ids[1], "{evicted:?}");
    assert!(schedule.ids().all(|id| schedule.state(id).condition() == "current" && schedule.state(id).due > 0));
    // What is remembered counts at the next start.
    let saved = schedule.take_unsaved();
    let mut again = Schedule::new(Policy { mirror_bytes_max: Some(40), ..policy() });
    for (id, state) in saved {
        again.add(0, place("h", &id.to_string()), Some(State { due: 1, ..state }));
    }
    assert_eq!(again.mirror_bytes(), 80);
    drain(&mut again, &mut evicted);
    assert_eq!((evicted.len(), again.mirror_bytes()), (3, 40));
}

#[test]
fn nothing_is_mined_or_dropped_while_an_export_is_written() {
    let mut schedule = Schedule::new(policy());
    let ids: Vec<Id> = (0..2).map(|n| schedule.add(0, place("", &n.to_string()), None)).collect();
    all(&mut schedule, 0);
    schedule.on(0, looked(ids[0], "x"));
    assert_eq!(all(&mut schedule, 0), [Action::Mine(ids[0])]);
    schedule.on(0, Event::PublishDue);
    schedule.on(0, looked(ids[1], "x"));
    assert_eq!(all(&mut schedule, 0), [], "what goes on is waited for, and nothing is begun");
    schedule.on(0, mined(ids[0], "x"));
    assert_eq!(all(&mut schedule, 0), [Action::Publish]);
    schedule.on(0, Event::PublishDue);
    schedule.on(1, Event::Pushed(ids[0]));
    assert_eq!(all(&mut schedule, 1), [Action::Look(ids[0])], "looks go on");
    schedule.on(2, Event::Published { is_done: true });
    assert_eq!(all(&mut schedule, 2), [Action::Mine(ids[1])]);
}

#[test]
fn what_is_no_source_any_more_is_forgotten_and_may_come_back() {
    let mut schedule = Schedule::new(policy());
    let id = schedule.add(0, place("h", "a"), None);
    live(&mut schedule, 0, id, "one");
    let now = schedule.state(id).due;
    assert_eq!(schedule.next(now), Some(Action::Look(id)));
    schedule.retire(id);
    assert_eq!(schedule.find("h/a"), Some(id), "what is under way is done to its end");
    schedule.on(now, looked(id, "one"));
    schedule.retire(id);
    assert_eq!((schedule.find("h/a"), schedule.ids().count(), schedule.take_unsaved().len()), (None, 0, 0));
    assert_eq!((schedule.mirror_bytes(), all(&mut schedule, now + 10 * DAY)), (0, vec![]));
    assert_eq!(schedule.add(now, place("h", "a"), None), id);
    live(&mut schedule, now, id, "one");
}

#[test]
fn looks_follow_the_changes() {
    let mut schedule = Schedule::new(policy());
    schedule.add(0, place("", "a"), None);
    let mut looks = |news: &dyn Fn(u64) -> u64, from: u64, to: u64| {
        let (mut now, mut looks) = (from, 0);
        while now < to {
            for action in all(&mut schedule, now) {
                match action {
                    Action::Look(id) => {
                        looks += 1;
                        schedule.on(now, looked(id, &news(now).to_string()));
                    }
                    Action::Mine(id) => schedule.on(now, mined(id, &news(now).to_string())),
                    other => panic!("{other:?}"),
                }
            }
            now += 1;
        }
        looks
    };
    let busy = looks(&|now| now / 300, 0, DAY);
    let quiet = looks(&|_| 0, DAY, 10 * DAY);
    let dead = looks(&|_| 0, 10 * DAY, 40 * DAY);
    assert!((280..1500).contains(&busy), "one that changes every 5 minutes was looked at {busy} times in a day");
    assert!((10..60).contains(&quiet) && (25..40).contains(&dead), "{quiet} in 9 days, {dead} in 30");
    let again = looks(&|now| now / 300, 40 * DAY, 50 * DAY);
    assert!(again > 1500, "it is found again when it changes: {again}");
}

#[test]
fn what_began_together_does_not_stay_together() {
    let mut schedule = Schedule::new(Policy { connections: 1000, mines: 1000, ..policy() });
    for n in 0..1000 {
        schedule.add(0, place("", &n.to_string()), None);
    }
    for action in all(&mut schedule, 0) {
        let Action::Look(id) = action else { panic!("{action:?}") };
        schedule.on(0, looked(id, "a"));
    }
    for action in all(&mut schedule, 0) {
        let Action::Mine(id) = action else { panic!("{action:?}") };
        schedule.on(0, mined(id, "a"));
    }
    let mut dues: BTreeMap<u64, usize> = BTreeMap::new();
    schedule.ids().for_each(|id| *dues.entry(schedule.state(id).due).or_default() += 1);
    assert!(dues.len() > 40 && dues.values().all(|n| *n < 60), "{dues:?}");
}

#[test]
fn a_push_is_looked_at_at_once_and_again_if_it_came_too_late() {
    let mut schedule = Schedule::new(policy());
    let id = schedule.add(0, place("h", "a"), None);
    live(&mut schedule, 0, id, "one");
    schedule.on(10, Event::Pushed(id));
    schedule.on(11, Event::Pushed(id));
    assert_eq!(schedule.next(12), Some(Action::Look(id)));
    schedule.on(13, looked(id, "two"));
    assert_eq!(schedule.next(13), Some(Action::Fetch(id)));
    schedule.on(14, Event::Pushed(id));
    schedule.on(16, fetched(id, "two"));
    assert_eq!(schedule.next(16), Some(Action::Mine(id)));
    schedule.on(17, mined(id, "two"));
    assert_eq!((schedule.state(id).lag, schedule.state(id).pushed), (Some(7), Some(14)));
    assert_eq!(schedule.next(17), Some(Action::Look(id)), "the third push may be news");
    schedule.on(18, looked(id, "two"));
    assert_eq!((schedule.next(18), schedule.state(id).pushed), (None, None));
    // One that was noted before a crash is due at the next start.
    schedule.on(20, Event::Pushed(id));
    let saved = schedule.take_unsaved();
    let (_, state) = saved.into_iter().next().expect("one");
    let mut again = Schedule::new(policy());
    let id = again.add(1000, place("h", "a"), Some(state));
    assert_eq!(again.next(1000), Some(Action::Look(id)));
}

#[test]
fn connections_are_bounded_in_total_and_for_each_server() {
    let mut schedule = Schedule::new(policy());
    for n in 0..10 {
        for host in ["a", "b", "c"] {
            schedule.add(0, place(host, &n.to_string()), None);
        }
    }
    let mut of = BTreeMap::<String, usize>::new();
    for action in all(&mut schedule, 0) {
        let Action::Look(id) = action else { panic!("{action:?}") };
        *of.entry(schedule.place(id).host.clone().expect("a host")).or_default() += 1;
    }
    assert_eq!(of.values().sum::<usize>(), 4);
    assert!(of.len() == 3 && of.values().all(|n| *n <= 2), "{of:?}");
}

#[test]
fn a_fetch_leaves_a_connection_to_looks() {
    let mut schedule = Schedule::new(policy());
    let ids: Vec<Id> = (0..4).map(|n| schedule.add(0, place("a", &n.to_string()), None)).collect();
    assert_eq!(all(&mut schedule, 0), [Action::Look(ids[0]), Action::Look(ids[1])]);
    ids[..2].iter().for_each(|id| schedule.on(1, looked(*id, "x")));
    assert_eq!(all(&mut schedule, 2), [Action::Fetch(ids[0]), Action::Look(ids[2])]);
    schedule.on(3, looked(ids[2], "x"));
    assert_eq!(all(&mut schedule, 3), [Action::Look(ids[3])]);
}

#[test]
fn failures_make_pauses_longer_and_success_ends_them() {
    let mut schedule = Schedule::new(policy());
    let id = schedule.add(0, place("h", "a"), None);
    let (mut now, mut pauses) = (0, Vec::new());
    for _ in 0..14 {
        assert_eq!(schedule.next(now), Some(Action::Look(id)));
        schedule.on(now, failed(id, Fault::Garbage, None));
        pauses.push(schedule.state(id).due - now);
        now = schedule.state(id).due;
    }
    assert!(pauses[0] >= 48 && pauses[0] <= 72, "{pauses:?}");
    assert!(pauses.windows(2).take(9).all(|two| two[0] < two[1]), "{pauses:?}");
    assert!(pauses.iter().all(|pause| *pause <= DAY + DAY / 5), "{pauses:?}");
    assert_eq!((schedule.state(id).failures, schedule.state(id).condition()), (14, "garbage"));
    live(&mut schedule, now, id, "a");
    assert_eq!((schedule.state(id).failures, schedule.state(id).condition()), (0, "current"));
    assert_eq!(schedule.faults(), &BTreeMap::from([(Fault::Garbage, 14)]));
}

#[test]
fn a_server_that_fails_is_left_alone_and_then_asked_one_thing() {
    let mut schedule = Schedule::new(policy());
    for n in 0..20 {
        schedule.add(0, place("bad", &n.to_string()), None);
    }
    let good = schedule.add(0, place("good", "a"), None);
    let mut asked = 0;
    for now in 0..10 {
        for action in all(&mut schedule, now) {
            match action {
                Action::Look(id) if id == good => schedule.on(now, looked(good, "x")),
                Action::Fetch(id) => schedule.on(now, fetched(id, "x")),
                Action::Mine(id) => schedule.on(now, mined(id, "x")),
                Action::Look(id) => {
                    asked += 1;
                    schedule.on(now, failed(id, Fault::Unreachable, None));
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert!((5..=6).contains(&asked), "it was asked {asked} times");
    assert_eq!(schedule.state(good).condition(), "current", "the other server is none the worse");
    let until = schedule.open_hosts()[0].1;
    assert_eq!(schedule.open_hosts(), [("bad", until)]);
    assert_eq!(all(&mut schedule, until - 1), []);
    let trial = all(&mut schedule, until);
    let [Action::Look(one)] = trial[..] else { panic!("{trial:?}") };
    schedule.on(until + 1, failed(one, Fault::Stalled, None));
    let later = schedule.open_hosts()[0].1;
    assert_eq!(later - until - 1, 2 * PAUSE, "the pause doubles");
    let trial = all(&mut schedule, later);
    let [Action::Look(one)] = trial[..] else { panic!("{trial:?}") };
    schedule.on(later, failed(one, Fault::Gone, None));
    assert_eq!(schedule.open_hosts(), [], "404 is an answer");
    assert_eq!(all(&mut schedule, later).len(), 2);
}

#[test]
fn a_server_that_names_a_time_is_taken_at_its_word() {
    let mut schedule = Schedule::new(policy());
    let one = schedule.add(0, place("h", "a"), None);
    schedule.add(0, place("h", "b"), None);
    assert_eq!(schedule.next(0), Some(Action::Look(one)));
    schedule.on(0, failed(one, Fault::RateLimited, Some(500)));
    assert_eq!(all(&mut schedule, 499), []);
    assert_eq!(all(&mut schedule, 500).len(), 1);
    let mut schedule = Schedule::new(policy());
    let one = schedule.add(0, place("h", "a"), None);
    assert_eq!(schedule.next(0), Some(Action::Look(one)));
    schedule.on(0, failed(one, Fault::RateLimited, Some(u64::MAX)));
    assert_eq!(schedule.open_hosts(), [("h", PAUSE_MAX)], "within reason");
}

#[test]
fn what_is_gone_is_dropped_by_policy_only_and_may_come_back() {
    for (gone, fault) in [(Rows::Keep, Fault::Gone), (Rows::Drop, Fault::Gone), (Rows::Drop, Fault::Emptied)] {
        let mut schedule = Schedule::new(Policy { gone, ..policy() });
        let id = schedule.add(0, place("h", "a"), None);
        live(&mut schedule, 0, id, "one");
        let mut now = schedule.state(id).due;
        assert_eq!(schedule.next(now), Some(Action::Look(id)));
        schedule.on(now, failed(id, fault, None));
        assert_eq!(schedule.next(now), None, "once may be a slip");
        now = schedule.state(id).due;
        assert_eq!(schedule.next(now), Some(Action::Look(id)));
        schedule.on(now, failed(id, fault, None));
        if gone == Rows::Keep {
            assert_eq!((schedule.next(now), schedule.state(id).tips.as_deref()), (None, Some("one")));
        } else {
            assert_eq!(schedule.next(now), Some(Action::Drop(id)));
            schedule.on(now, Event::Dropped(id));
            assert!(schedule.state(id).dropped && schedule.state(id).tips.is_none());
        }
        now = schedule.state(id).due;
        assert!(now > DAY / 2, "it is asked for now and then");
        assert_eq!(schedule.next(now), Some(Action::Look(id)));
        schedule.on(now, failed(id, fault, None));
        assert_eq!(schedule.next(now), None, "nothing is dropped twice");
        now = schedule.state(id).due;
        if gone == Rows::Keep {
            assert_eq!(schedule.next(now), Some(Action::Look(id)));
            schedule.on(now, looked(id, "one"));
        } else {
            live(&mut schedule, now, id, "one");
        }
        assert_eq!(schedule.state(id).condition(), "current");
    }
}

#[test]
fn a_mirror_that_doubled_is_tidied_when_nothing_else_is_done_with_it() {
    let mut schedule = Schedule::new(policy());
    let id = schedule.add(0, place("h", "a"), None);
    let mut now = 0;
    let mut bring = |schedule: &mut Schedule, tips: &str, bytes: u64| {
        now = schedule.state(id).due;
        assert_eq!(all(schedule, now), [Action::Look(id)]);
        schedule.on(now, looked(id, tips));
        assert_eq!(all(schedule, now), [Action::Fetch(id)]);
        schedule.on(now, Event::Fetched { id, tips: tips.into(), bytes });
        assert_eq!(all(schedule, now), [Action::Mine(id)], "first it is mined");
        schedule.on(now, mined(id, tips));
        (now, all(schedule, now))
    };
    assert_eq!(bring(&mut schedule, "one", 1 << 20).1, []);
    assert_eq!(bring(&mut schedule, "two", 2 << 20).1, []);
    let (now, actions) = bring(&mut schedule, "three", 3 << 20);
    assert_eq!(actions, [Action::Tidy(id)]);
    let due = schedule.state(id).due;
    assert!(!schedule.is_idle() && all(&mut schedule, due).is_empty(), "nothing is fetched meanwhile");
    schedule.on(now, Event::Tidied { id, bytes: 2 << 20 });
    assert_eq!((schedule.state(id).due, schedule.mirror_bytes()), (due, 2 << 20));
    assert_eq!(bring(&mut schedule, "four", 3 << 20).1, []);
    let (now, actions) = bring(&mut schedule, "five", 5 << 20);
    assert_eq!(actions, [Action::Tidy(id)]);
    schedule.on(now, Event::Pushed(id));
    schedule.on(now, Event::Tidied { id, bytes: 5 << 20 });
    assert_eq!(
        all(&mut schedule, now),
        [Action::Look(id)],
        "what was pushed meanwhile is looked at, and what can't shrink left"
    );
}

#[test]
fn what_moved_or_is_relicensed_is_dropped_by_policy_and_mined_when_that_is_taken_back() {
    let licenses = |before: &str, now: &str| Licenses { before: Some(before.into()), now: Some(now.into()) };
    let mined = |id, tips: &str, licenses| {
        let (tips, settings) = (tips.into(), "s".into());
        Event::Mined { id, tips, settings, is_new: true, is_anew: false, is_again: false, milliseconds: 1, licenses }
    };
    let mut schedule = Schedule::new(Policy { moved: Rows::Drop, relicensed: Rows::Drop, ..policy() });
    let id = schedule.add(0, place("h", "a"), None);
    live(&mut schedule, 0, id, "one");
    schedule.repositories[id as usize].state.license = Some("MIT".into());
    // Found out by mining, and from then on by the look: nothing is fetched again for it.
    let mut now = schedule.state(id).due;
    let found = now;
    assert_eq!(all(&mut schedule, now), [Action::Look(id)]);
    schedule.on(now, looked(id, "two"));
    assert_eq!(all(&mut schedule, now), [Action::Fetch(id)]);
    schedule.on(now, fetched(id, "two"));
    assert_eq!(all(&mut schedule, now), [Action::Mine(id)]);
    schedule.on(now, Event::Relicensed { id, tips: "two".into(), licenses: licenses("MIT", "NONE") });
    assert_eq!((schedule.state(id).condition(), schedule.state(id).license.as_deref()), ("relicensed", Some("MIT")));
    now = schedule.state(id).due;
    assert_eq!(all(&mut schedule, now), [Action::Look(id)]);
    schedule.on(now, looked(id, "two"));
    assert_eq!(all(&mut schedule, now), [Action::Drop(id)]);
    schedule.on(now, Event::Dropped(id));
    now = schedule.state(id).due;
    assert_eq!(all(&mut schedule, now), [Action::Look(id)]);
    schedule.on(now, looked(id, "two"));
    assert_eq!(all(&mut schedule, now), [], "nothing is fetched or dropped again");
    let relicensed = schedule.state(id).relicensed.clone().expect("it is noted");
    assert_eq!((&*relicensed.from, &*relicensed.to, relicensed.at), ("MIT", "NONE", found));
    // Taken back.
    now = schedule.state(id).due;
    assert_eq!(all(&mut schedule, now), [Action::Look(id)]);
    schedule.on(now, looked(id, "three"));
    assert_eq!(all(&mut schedule, now), [Action::Fetch(id)]);
    schedule.on(now, fetched(id, "three"));
    assert_eq!(all(&mut schedule, now), [Action::Mine(id)]);
    schedule.on(now, mined(id, "three", licenses("MIT", "MIT")));
    let state = schedule.state(id).clone();
    assert_eq!((state.condition(), state.relicensed, state.dropped), ("current", None, false));
    // Elsewhere, and there again.
    for _ in 0..2 {
        now = schedule.state(id).due;
        assert_eq!(all(&mut schedule, now), [Action::Look(id)]);
        schedule.on(now, Event::Moved { id, to: "https://h/b".into() });
        assert_eq!(schedule.state(id).moved_to.as_deref(), Some("https://h/b"));
    }
    assert_eq!((all(&mut schedule, now), schedule.state(id).condition()), (vec![Action::Drop(id)], "moved"));
    schedule.on(now, Event::Dropped(id));
    now = schedule.state(id).due;
    live(&mut schedule, now, id, "three");
    // A change that is no reason to drop anything is only noted.
    now = schedule.state(id).due;
    assert_eq!(all(&mut schedule, now), [Action::Look(id)]);
    schedule.on(now, looked(id, "four"));
    assert_eq!(all(&mut schedule, now), [Action::Fetch(id)]);
    schedule.on(now, fetched(id, "four"));
    assert_eq!(all(&mut schedule, now), [Action::Mine(id)]);
    schedule.on(now, mined(id, "four", licenses("MIT", "Apache-2.0")));
    let State { license, relicensed, moved_to, fault, .. } = schedule.state(id).clone();
    assert_eq!((license.as_deref(), moved_to, fault), (Some("Apache-2.0"), None, None));
    assert_eq!(
        relicensed.map(|change| (change.from, change.to, change.at)),
        Some(("MIT".into(), "Apache-2.0".into(), now))
    );
}

#[test]
fn a_giant_is_never_in_the_way_of_the_small() {
    let mut schedule = Schedule::new(Policy { connections: 40, ..policy() });
    let giants: Vec<Id> = (0..3).map(|n| schedule.add(0, place("", &format!("giant{n}")), None)).collect();
    let small = schedule.add(0, place("", "small"), None);
    let slow = |state: &mut State| state.milliseconds = 3_600_000;
    giants.iter().for_each(|id| slow(&mut schedule.repositories[*id as usize].state));
    all(&mut schedule, 0);
    giants.iter().chain([&small]).for_each(|id| schedule.on(0, looked(*id, "x")));
    assert_eq!(all(&mut schedule, 0), [Action::Mine(giants[0]), Action::Mine(small)]);
    for now in 1..100 {
        schedule.on(now, mined(small, "x"));
        schedule.on(now, Event::Pushed(small));
        assert_eq!(all(&mut schedule, now), [Action::Look(small)], "the second giant waits for the first");
        schedule.on(now, looked(small, &now.to_string()));
        assert_eq!(all(&mut schedule, now), [Action::Mine(small)]);
    }
    schedule.on(100, mined(giants[0], "x"));
    assert_eq!(all(&mut schedule, 100), [Action::Mine(giants[1])]);
    // With one place only, who came first is first.
    let mut schedule = Schedule::new(Policy { mines: 1, ..policy() });
    let ids: Vec<Id> = (0..3).map(|n| schedule.add(0, place("", &n.to_string()), None)).collect();
    slow(&mut schedule.repositories[1].state);
    all(&mut schedule, 0);
    ids.iter().for_each(|id| schedule.on(0, looked(*id, "x")));
    for id in ids {
        assert_eq!(all(&mut schedule, 0), [Action::Mine(id)]);
        schedule.on(0, mined(id, "x"));
    }
}

#[test]
fn after_a_stop_nothing_is_begun_and_what_was_given_up_is_due() {
    let mut schedule = Schedule::new(policy());
    let id = schedule.add(0, place("h", "a"), None);
    schedule.add(0, place("h", "b"), None);
    schedule.add(0, place("h", "c"), None);
    assert_eq!(all(&mut schedule, 0).len(), 2);
    schedule.on(5, Event::Stop);
    schedule.on(5, Event::GivenUp(id));
    assert_eq!((all(&mut schedule, 5), schedule.state(id).due, schedule.is_idle()), (vec![], 5, false));
}

#[test]
fn whatever_happens_nobody_is_forgotten_and_the_bounds_hold() {
    // Every answer drawn from a seeded sequence: counts must stay within bounds, and everyone has a next step.
    let mut draw = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: u64| {
        draw ^= draw << 13;
        draw ^= draw >> 7;
        draw ^= draw << 17;
        draw % below
    };
    let mut schedule = Schedule::new(Policy { gone: Rows::Drop, mirror_bytes_max: Some(300 << 20), ..policy() });
    let hosts = ["", "a", "b", "c"];
    let ids: Vec<Id> = (0..60).map(|n| schedule.add(0, place(hosts[n % 4], &n.to_string()), None)).collect();
    let (mut running, mut now) = (Vec::<Action>::new(), 0);
    for _ in 0..20_000 {
        running.extend(all(&mut schedule, now));
        let connections = running.iter().filter(|a| matches!(a, Action::Look(_) | Action::Fetch(_))).count();
        let mines = running.iter().filter(|a| matches!(a, Action::Mine(_))).count();
        assert!(connections <= 4 && mines <= 2, "{running:?}");
        if running.is_empty() || next(4) == 0 {
            now += next(600);
        }
        if next(500) == 0 {
            schedule.on(now, Event::PublishDue);
        }
        if next(10) == 0 {
            schedule.on(now, Event::Pushed(ids[usize::try_from(next(60)).expect("small")]));
        }
        if running.is_empty() {
            continue;
        }
        let action = running.swap_remove(usize::try_from(next(running.len() as u64)).expect("small"));
        let event = match (action, next(8)) {
            (Action::Drop(id), _) => Event::Dropped(id),
            (Action::Evict(id), _) => Event::Evicted(id),
            (Action::Tidy(id), 0) => Event::GivenUp(id),
            (Action::Tidy(id), n) => Event::Tidied { id, bytes: n << 24 },
            (Action::Publish, _) => Event::Published { is_done: true },
            (Action::Look(id) | Action::Fetch(id) | Action::Mine(id), 0) => {
                let fault = Fault::ALL[usize::try_from(next(10)).expect("small")];
                failed(id, fault, Some(next(100)).filter(|n| n % 2 == 0))
            }
            (Action::Look(id) | Action::Fetch(id) | Action::Mine(id), 1) => Event::GivenUp(id),
            (Action::Look(id), n) => {
                Event::Looked { id, tips: Some(next(3).to_string()).filter(|_| n > 2), moved_to: None }
            }
            (Action::Fetch(id), n) => Event::Fetched { id, tips: (n % 3).to_string(), bytes: n << 25 },
            (Action::Mine(id), n) => {
                let (tips, settings) = ((n % 3).to_string(), "s".into());
                let licenses = Licenses { before: None, now: Some(format!("L{}", n % 2)) };
                if n == 7 {
                    Event::Relicensed { id, tips, licenses }
                } else {
                    Event::Mined {
                        id,
                        tips,
                        settings,
                        is_new: n > 4,
                        is_anew: n == 6,
                        is_again: n > 5,
                        milliseconds: n * 4_000,
                        licenses,
                    }
                }
            }
        };
        schedule.on(now, event);
    }
    let doing = |id: &Id| {
        running.iter().any(|action| match action {
            Action::Look(at) | Action::Fetch(at) | Action::Mine(at) => at == id,
            Action::Drop(at) | Action::Evict(at) | Action::Tidy(at) => at == id,
            Action::Publish => false,
        })
    };
    let waits = |id: &Id| {
        ["resting", "waiting for a look", "waiting for a fetch", "waiting to be mined", "dropping"]
            .contains(&schedule.doing(*id))
    };
    assert!(ids.iter().all(|id| doing(id) != waits(id) || schedule.doing(*id) == "dropping"));
    assert!(ids.iter().all(|id| schedule.state(*id).looked.is_some_and(|at| at + 4 * DAY > now)), "all are looked at");
}

#[test]
fn one_broken_repository_does_not_make_the_others_of_its_server_wait() {
    let mut schedule = Schedule::new(policy());
    let sound = schedule.add(0, place("h", "sound"), None);
    live(&mut schedule, 0, sound, "one");
    let broken = schedule.add(1, place("h", "broken"), None);
    for now in 1..20 {
        schedule.on(now, Event::Pushed(broken));
        assert_eq!(all(&mut schedule, now), [Action::Look(broken)]);
        schedule.on(now, failed(broken, Fault::Unreachable, None));
    }
    schedule.on(20, Event::Pushed(sound));
    assert_eq!((schedule.open_hosts().len(), all(&mut schedule, 20)), (0, vec![Action::Look(sound)]));
}

#[test]
fn whether_a_server_is_back_is_tried_with_a_repository_that_did_not_fail() {
    let mut schedule = Schedule::new(Policy { connections_per_host: 1, ..policy() });
    let ids: Vec<Id> = (0..7).map(|n| schedule.add(0, place("h", &n.to_string()), None)).collect();
    for id in &ids[..5] {
        assert_eq!(all(&mut schedule, 0), [Action::Look(*id)]);
        schedule.on(0, failed(*id, Fault::Unreachable, None));
    }
    // One that fails is pushed to, and would be the first in turn.
    schedule.on(1, Event::Pushed(ids[0]));
    let until = schedule.open_hosts()[0].1;
    assert_eq!((all(&mut schedule, until - 1), all(&mut schedule, until)), (vec![], vec![Action::Look(ids[5])]));
}

#[test]
fn a_clock_that_goes_back_stops_nothing() {
    let mut schedule = Schedule::new(policy());
    let [one, other] = ["one", "other"].map(|name| schedule.add(1000 * DAY, place("h", name), None));
    live(&mut schedule, 1000 * DAY, one, "a");
    assert_eq!(schedule.next(1000 * DAY), Some(Action::Look(other)));
    schedule.on(1000 * DAY, failed(other, Fault::RateLimited, Some(9999)));
    assert_eq!((schedule.open_hosts().len(), all(&mut schedule, 1000 * DAY)), (1, vec![]));
    // Pauses stay as long as they were.
    let pauses = [one, other].map(|id| schedule.state(id).due - 1000 * DAY);
    assert_eq!(all(&mut schedule, 10 * DAY), []);
    assert_eq!([one, other].map(|id| schedule.state(id).due - 10 * DAY), pauses);
    assert_eq!(all(&mut schedule, 10 * DAY + pauses[0]), [], "the server is left alone");
    assert_eq!(all(&mut schedule, 10 * DAY + PAUSE_MAX), [Action::Look(one)], "it is asked one thing");
    schedule.on(10 * DAY + PAUSE_MAX, looked(one, "a"));
    assert!(schedule.state(one).due < 12 * DAY && all(&mut schedule, 10 * DAY + PAUSE_MAX) == [Action::Look(other)]);
    // Of a start with a clock that went back before, it is known by the last look.
    let state = State { looked: Some(10 * DAY), due: 10 * DAY + 60, tips: Some("a".into()), ..State::default() };
    let settings = Some("s".into());
    for (now, expected) in [(10 * DAY, 10 * DAY + 60), (10 * DAY - 1, 10 * DAY - 1), (1, 1), (20 * DAY, 10 * DAY + 60)]
    {
        let mut schedule = Schedule::new(policy());
        let id = schedule.add(now, place("h", "a"), Some(State { settings: settings.clone(), ..state.clone() }));
        assert_eq!(schedule.state(id).due, expected, "{now}");
    }
    // What a server asks for has the same bound for the repository as for all of its server's.
    schedule.on(10 * DAY, failed(other, Fault::RateLimited, Some(u64::MAX)));
    assert_eq!(schedule.state(other).due, 10 * DAY + PAUSE_MAX);
}

#[test]
fn a_lag_counts_from_the_last_look_that_saw_nothing_else() {
    let mut schedule = Schedule::new(policy());
    let id = schedule.add(0, place("h", "a"), None);
    live(&mut schedule, 0, id, "one");
    let first = schedule.state(id).due;
    let mut now = first;
    for _ in 0..4 {
        assert_eq!(schedule.next(now), Some(Action::Look(id)));
        schedule.on(now, looked(id, "two"));
        assert_eq!(schedule.next(now), Some(Action::Fetch(id)));
        schedule.on(now, failed(id, Fault::Garbage, None));
        now = schedule.state(id).due;
    }
    live(&mut schedule, now, id, "two");
    assert_eq!(schedule.state(id).lag, Some(now), "the push came at any time after the look at 0");
}

#[test]
fn a_first_round_is_over_when_each_was_mined_or_failed() {
    let mut schedule = Schedule::new(policy());
    let [one, other] = ["one", "other"].map(|name| schedule.add(0, place("h", name), None));
    assert!(schedule.is_first_round());
    live(&mut schedule, 0, one, "a");
    assert!(schedule.is_first_round());
    schedule.next(0);
    schedule.on(0, failed(other, Fault::Gone, None));
    assert!(!schedule.is_first_round());
}
