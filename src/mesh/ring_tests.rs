//! The ring on real threads; all its interleavings are tried by the model checker's crate.

use std::sync::Arc;
use std::thread;

use super::ring::{Bell, ring};

#[test]
fn holds_as_many_as_it_has_slots() {
    let (mut sender, mut receiver) = ring(4);
    for item in 0..4 {
        assert_eq!(sender.push(item), Ok(()));
    }
    assert_eq!(sender.push(4), Err(4));
    assert_eq!(receiver.pop(), None, "nothing is seen before it is published");
    sender.publish();
    assert_eq!(receiver.pop(), Some(0));
    assert_eq!(sender.push(4), Ok(()));
    sender.publish();
    assert_eq!(std::iter::from_fn(|| receiver.pop()).collect::<Vec<_>>(), [1, 2, 3, 4]);
}

#[test]
fn drops_what_was_not_taken() {
    let item = Arc::new(());
    let (mut sender, mut receiver) = ring(8);
    for _ in 0..6 {
        sender.push(item.clone()).expect("it has room");
    }
    sender.publish();
    sender.push(item.clone()).expect("it has room");
    drop(receiver.pop());
    drop(receiver);
    drop(sender);
    assert_eq!(Arc::strong_count(&item), 1);
}

#[test]
fn carries_a_million_items_in_order_past_a_sleeper() {
    const ITEMS: u64 = 1_000_000;
    let (mut sender, mut receiver) = ring::<u64>(64);
    let bell = Arc::new(Bell::new());
    let ringing = bell.clone();
    let pushing = thread::spawn(move || {
        for item in 0..ITEMS {
            let mut item = Err(item);
            while let Err(again) = item {
                item = sender.push(again);
                if item.is_err() {
                    thread::yield_now();
                }
            }
            if sender.unpublished() >= 16 {
                sender.publish();
                ringing.ring();
            }
        }
        sender.publish();
        ringing.ring();
    });
    let mut expected = 0;
    futures_lite::future::block_on(std::future::poll_fn(|cx| {
        loop {
            while let Some(item) = receiver.pop() {
                assert_eq!(item, expected);
                expected += 1;
            }
            if expected == ITEMS {
                return std::task::Poll::Ready(());
            }
            bell.arm(cx.waker());
            if receiver.is_empty() {
                return std::task::Poll::Pending;
            }
            bell.disarm();
        }
    }));
    pushing.join().expect("the sender's thread ends");
}
