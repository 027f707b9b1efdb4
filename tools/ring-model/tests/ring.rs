//! Promise: whatever the two cores' order of steps, every item arrives once, in order, and a
//! receiver that went to sleep is woken for it.
//!
//! A slot that both sides could touch at once, or a read of one not yet written, is reported by
//! loom's cell; a lost wake-up leaves both threads blocked, which loom reports as a deadlock.

use std::future::poll_fn;
use std::task::Poll;

use engram_ring_model::ring::{Bell, Receiver, ring};
use loom::future::block_on;
use loom::model::Builder;
use loom::sync::Arc;
use loom::thread;

/// Tries all executions with at most so many preemptions; more find nothing new in rings this small
/// and take hours.
fn model(preemptions: usize, run: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(run);
}

/// Takes `count` items, asleep whenever there is none.
fn take<T>(receiver: &mut Receiver<T>, bell: &Bell, count: usize) -> Vec<T> {
    let mut taken = Vec::new();
    block_on(poll_fn(|cx| {
        loop {
            while let Some(item) = receiver.pop() {
                taken.push(item);
            }
            if taken.len() == count {
                return Poll::Ready(());
            }
            bell.arm(cx.waker());
            if receiver.is_empty() {
                return Poll::Pending;
            }
            bell.disarm();
        }
    }));
    taken
}

#[test]
fn items_reach_a_sleeper_in_order() {
    model(3, || {
        let (mut sender, mut receiver) = ring::<Box<u32>>(4);
        let bell = Arc::new(Bell::new());
        let ringing = bell.clone();
        let pushing = thread::spawn(move || {
            for batch in [1..3, 3..4] {
                for item in batch {
                    sender.push(Box::new(item)).expect("the ring is larger than all items");
                }
                sender.publish();
                ringing.ring();
            }
        });
        let taken: Vec<u32> = take(&mut receiver, &bell, 3).into_iter().map(|item| *item).collect();
        assert_eq!(taken, [1, 2, 3]);
        pushing.join().expect("the sender ends");
    });
}

#[test]
fn a_slot_is_used_again_only_once_it_was_taken() {
    model(3, || {
        let (mut sender, mut receiver) = ring::<Box<u32>>(2);
        let pushing = thread::spawn(move || {
            for item in 0..4 {
                let mut item = Box::new(item);
                while let Err(again) = sender.push(item) {
                    item = again;
                    thread::yield_now();
                }
                sender.publish();
            }
        });
        for expected in 0..4 {
            let item = loop {
                match receiver.pop() {
                    Some(item) => break item,
                    None => thread::yield_now(),
                }
            };
            assert_eq!(*item, expected);
        }
        pushing.join().expect("the sender ends");
    });
}

#[test]
fn two_senders_share_one_bell() {
    model(2, || {
        let (mut first, mut from_first) = ring::<u32>(1);
        let (mut second, mut from_second) = ring::<u32>(1);
        let bell = Arc::new(Bell::new());
        let (one, two) = (bell.clone(), bell.clone());
        let pushing = thread::spawn(move || {
            first.push(1).expect("it is empty");
            first.publish();
            one.ring();
        });
        let pushing_too = thread::spawn(move || {
            second.push(2).expect("it is empty");
            second.publish();
            two.ring();
        });
        let mut sum = 0;
        block_on(poll_fn(|cx| {
            loop {
                while let Some(item) = from_first.pop().or_else(|| from_second.pop()) {
                    sum += item;
                }
                if sum == 3 {
                    return Poll::Ready(());
                }
                bell.arm(cx.waker());
                if from_first.is_empty() && from_second.is_empty() {
                    return Poll::Pending;
                }
                bell.disarm();
            }
        }));
        pushing.join().expect("it ends");
        pushing_too.join().expect("it ends");
    });
}

#[test]
fn what_was_not_taken_is_dropped_once() {
    model(3, || {
        let (mut sender, mut receiver) = ring::<Box<u32>>(2);
        let pushing = thread::spawn(move || {
            sender.push(Box::new(1)).expect("it has room");
            sender.publish();
            sender.push(Box::new(2)).expect("it has room");
        });
        drop(receiver.pop());
        drop(receiver);
        pushing.join().expect("the sender ends");
    });
}
