//! Texts in any order, on workers that start, crash, drain and lag.

use super::proxy::{Proxy, Worker};
use super::{EMPTY, hash};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Publish(usize),
    /// The text that is there already.
    Again,
    /// A request begins on the first worker, and does not end.
    Stream,
    /// Those requests end.
    End,
    NewWorker,
    Crash,
    CrashAll,
}

const STEPS: [Step; 11] = [
    Step::Publish(0),
    Step::Publish(1),
    Step::Publish(2),
    Step::Publish(3),
    Step::Publish(EMPTY),
    Step::Again,
    Step::Stream,
    Step::End,
    Step::NewWorker,
    Step::Crash,
    Step::CrashAll,
];

fn play(steps: &[Step]) {
    let Some(Step::Publish(first)) = steps.first().copied() else { return };
    let mut proxy =
        Proxy { workers: vec![Worker::default(), Worker::default()], ..Proxy::default() };
    let (mut current, mut newest_good, mut rejected) = (first, None, 0);
    for (played, step) in steps.iter().enumerate() {
        match *step {
            Step::Publish(text) => {
                let is_new = played == 0 || text != current;
                rejected += u32::from(is_new && hash(text).is_none() && text != EMPTY);
                newest_good = hash(text).map(|_| text).or(newest_good);
                current = text;
                proxy.publish(text);
            }
            Step::Again => proxy.publish(current),
            Step::Stream => {
                let worker = &mut proxy.workers[0];
                worker.instances[worker.serving].streams += 1;
            }
            Step::End => proxy.end_streams(),
            Step::NewWorker => {
                proxy.workers.push(Worker::default());
                proxy.deliver(proxy.workers.len() - 1, current);
            }
            Step::Crash => {
                proxy.workers[0] = Worker::default();
                proxy.deliver(0, current);
            }
            Step::CrashAll => {
                proxy.workers.iter_mut().for_each(|worker| *worker = Worker::default());
                (0..proxy.workers.len()).for_each(|worker| proxy.deliver(worker, current));
            }
        }
        proxy.check(newest_good, &&steps[..=played]);
        assert_eq!(proxy.rejected, rejected, "rejected files after {:?}", &steps[..=played]);
    }
}

#[test]
fn any_order_ends_in_the_newest_good_text() {
    const LENGTH: u32 = 5;
    for number in 0..STEPS.len().pow(LENGTH) {
        let digit = |place: u32| STEPS[number / STEPS.len().pow(place) % STEPS.len()];
        let steps: Vec<Step> = (0..LENGTH).map(digit).collect();
        // Steps that a shorter sequence has shown already.
        if matches!(steps[0], Step::Publish(_)) && matches!(steps[4], Step::Publish(_)) {
            play(&steps);
        }
    }
}

/// A listener that drains keeps the instances of its text on all workers. If that text is published
/// again, they serve again, and no callback says so.
#[test]
fn a_text_that_serves_again_takes_over_when_the_one_after_it_has_ended() {
    let mut proxy =
        Proxy { workers: vec![Worker::default(), Worker::default()], ..Proxy::default() };
    let drain = |proxy: &mut Proxy| {
        for worker in &mut proxy.workers {
            worker.instances[worker.serving].streams += 1;
        }
    };
    // An even older one drains as well, and must not take over.
    proxy.publish(4);
    proxy.check(Some(4), &"the first");
    drain(&mut proxy);
    proxy.publish(0);
    proxy.check(Some(0), &"the second");
    drain(&mut proxy);
    proxy.publish(1);
    proxy.check(Some(1), &"the third");
    drain(&mut proxy);
    proxy.publish(0);
    for worker in &mut proxy.workers {
        let third = worker.instances.iter_mut().find(|instance| instance.text == 1);
        third.unwrap().streams = 0;
    }
    (0..2).for_each(|worker| proxy.drop_unused(worker));
    (0..12).for_each(|_| proxy.tick());
    proxy.check(Some(0), &"the second again");
    // A bad one falls back on it.
    proxy.end_streams();
    proxy.publish(2);
    proxy.check(Some(0), &"a bad one");
    // The third one is the newest when it comes again.
    proxy.publish(1);
    proxy.check(Some(1), &"the third again");
}

/// Nothing is in force when the filter has been removed.
#[test]
fn the_gauge_is_zero_when_the_last_instance_has_ended() {
    let mut proxy = Proxy { workers: vec![Worker::default()], ..Proxy::default() };
    proxy.publish(0);
    proxy.check(Some(0), &"the first");
    for instance in std::mem::take(&mut proxy.workers[0].instances) {
        assert!(instance.configuration.release(&proxy.store));
    }
}

/// New code loads the text in force before the old code ends, and ticks only afterwards.
#[test]
fn the_gauge_stays_when_new_code_runs_the_same_text() {
    for has_canary_last in [false, true] {
        let mut proxy =
            Proxy { workers: vec![Worker::default(), Worker::default()], ..Proxy::default() };
        proxy.publish(0);
        proxy.check(Some(0), &"the first code");
        for _ in 0..3 {
            proxy.replace_code(0);
            assert_eq!(proxy.gauge, hash(0), "the new code has not ticked");
            proxy.check(Some(0), &"the new code");
        }
        if has_canary_last {
            // It claims the text and ends, and the workers never see this code.
            proxy.tried.clear();
            proxy.try_text(0);
            assert_eq!(proxy.gauge, hash(0));
            proxy.check(Some(0), &"code that was only tried");
        }
        for worker in std::mem::take(&mut proxy.workers) {
            worker.instances.iter().for_each(|instance| proxy.end(instance));
        }
        assert_eq!(proxy.gauge, Some(0), "the plugin has ended");
    }
}

/// The main thread and two workers each take the same texts in order, but at their own pace.
#[test]
fn workers_that_lag_end_in_the_newest_good_text() {
    const TEXTS_PUBLISHED: usize = 4;
    let mut seed = 1_u64;
    let mut random = move |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    for _ in 0..5_000 {
        let texts: Vec<usize> = (0..TEXTS_PUBLISHED).map(|_| random(4)).collect();
        let mut proxy =
            Proxy { workers: vec![Worker::default(), Worker::default()], ..Proxy::default() };
        let mut story = Vec::new();
        let mut taken = [0; 3];
        while taken != [TEXTS_PUBLISHED; 3] {
            let who = random(3);
            // A worker takes no text before the main thread has tried it.
            if taken[who] == TEXTS_PUBLISHED || who > 0 && taken[who] == taken[0] {
                continue;
            }
            let text = texts[taken[who]];
            match who {
                0 => proxy.try_text(text),
                worker => proxy.deliver(worker - 1, text),
            }
            taken[who] += 1;
            story.push((who, text));
            if random(3) == 0 {
                proxy.tick();
            }
        }
        let newest_good = texts.iter().rev().find(|&&text| hash(text).is_some());
        proxy.check(newest_good.copied(), &story);
    }
}
