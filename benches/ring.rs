//! What the ring between two cores costs: items a second, nanoseconds an item on each side, and how
//! long a parked core takes to wake.
//!
//! `cargo bench --bench ring`. The two threads are pinned to the first two CPUs that this process
//! may use.

use std::future::poll_fn;
use std::hint::{black_box, spin_loop};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use engram::mesh::ring::{Bell, ring};
use glommio::{LocalExecutorBuilder, Placement};

/// The server's own: with it, what one core allocates another frees without a lock.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ITEMS: usize = 500_000;
const ROUNDS: usize = 30;
const SLOTS: usize = 1_024;
const BATCH: usize = 32;
const WAKES: usize = 2_000;

fn main() {
    let cpus = engram::cores::allowed().expect("the kernel says which CPUs may be used");
    let (Some(here), Some(there)) = (cpus.first().copied(), cpus.get(1).copied()) else {
        println!("two CPUs are needed");
        return;
    };
    println!(
        "CPUs {here} and {there}, {SLOTS} slots, published by {BATCH}, best of {ROUNDS} rounds"
    );
    println!("{:<24} {:>12} {:>16}", "item", "items/s", "ns/item a side");
    report("u64", best(|| carry(here, there, |item| item as u64)));
    report("box of 800 B", best(|| carry(here, there, |_| Box::new([0_u8; 800]))));
    report("u64, one thread", best(|| pass(here, |item| item as u64)));
    let mut wakes = wake_times(here, there);
    wakes.sort_unstable();
    let at = |percent: usize| {
        wakes[(wakes.len() * percent / 100).min(wakes.len() - 1)].as_secs_f64() * 1e6
    };
    println!(
        "wake-up of a parked core: p50 {:.1} µs, p90 {:.1} µs, p99 {:.1} µs",
        at(50),
        at(90),
        at(99)
    );
}

fn report(item: &str, elapsed: Duration) {
    let nanos = elapsed.as_nanos() as f64 / ITEMS as f64;
    println!("{item:<24} {:>12.0} {nanos:>16.1}", 1e9 / nanos);
}

fn best(mut round: impl FnMut() -> Duration) -> Duration {
    (0..ROUNDS).map(|_| round()).min().expect("there is a round")
}

fn pin(cpu: usize) {
    let id = core_affinity::CoreId { id: cpu };
    assert!(core_affinity::set_for_current(id), "CPU {cpu} may be used");
}

/// Two threads, both busy: one makes and pushes, the other pops and drops. Both take as long as the
/// slower.
fn carry<T: Send + 'static>(here: usize, there: usize, make: impl Fn(usize) -> T) -> Duration {
    let (mut sender, mut receiver) = ring::<T>(SLOTS);
    let receiving = thread::spawn(move || {
        pin(there);
        for _ in 0..ITEMS {
            let item = loop {
                match receiver.pop() {
                    Some(item) => break item,
                    None => spin_loop(),
                }
            };
            drop(black_box(item));
        }
    });
    pin(here);
    let begun = Instant::now();
    for item in 0..ITEMS {
        let mut item = make(item);
        while let Err(again) = sender.push(item) {
            item = again;
            if sender.unpublished() > 0 {
                sender.publish();
            }
            spin_loop();
        }
        if sender.unpublished() >= BATCH {
            sender.publish();
        }
    }
    sender.publish();
    receiving.join().expect("the receiver ends");
    begun.elapsed()
}

/// One thread in both roles: what the instructions cost where no cache line crosses over. Half of
/// it is a side's.
fn pass<T>(here: usize, make: impl Fn(usize) -> T) -> Duration {
    let (mut sender, mut receiver) = ring::<T>(SLOTS);
    pin(here);
    let begun = Instant::now();
    for batch in 0..ITEMS / BATCH {
        for item in 0..BATCH {
            assert!(sender.push(make(batch + item)).is_ok(), "it was emptied before");
        }
        sender.publish();
        for _ in 0..BATCH {
            black_box(receiver.pop());
        }
    }
    begun.elapsed() / 2
}

/// From the sender's publish to the receiver's next instruction, with the receiver's executor
/// parked.
fn wake_times(here: usize, there: usize) -> Vec<Duration> {
    let (mut sender, mut receiver) = ring::<Instant>(SLOTS);
    let bell = Arc::new(Bell::new());
    let ringing = bell.clone();
    let asleep = Arc::new(AtomicBool::new(false));
    let falls_asleep = asleep.clone();
    let executor = LocalExecutorBuilder::new(Placement::Fixed(there))
        .io_memory(1 << 20)
        .spawn(move || async move {
            let mut times = Vec::new();
            while times.len() < WAKES {
                let sent: Instant = poll_fn(|cx| {
                    bell.arm(cx.waker());
                    let Some(sent) = receiver.pop() else {
                        falls_asleep.store(true, Ordering::Release);
                        return Poll::Pending;
                    };
                    bell.disarm();
                    Poll::Ready(sent)
                })
                .await;
                times.push(sent.elapsed());
            }
            times
        })
        .expect("an executor starts");
    pin(here);
    for _ in 0..WAKES {
        while !asleep.swap(false, Ordering::Acquire) {
            spin_loop();
        }
        // It said so just before: the executor takes some microseconds to park.
        thread::sleep(Duration::from_micros(300));
        asleep.store(false, Ordering::Release);
        assert!(sender.push(Instant::now()).is_ok(), "it is empty");
        sender.publish();
        ringing.ring();
    }
    executor.join().expect("the receiver ends")
}
