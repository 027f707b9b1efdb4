//! How a core's time is shared between its shard and the streams of its clients, and among these.
//!
//! A core's tasks run in the order in which they were woken. With many clients that send without pause, whoever is woken for
//! something short (a recall, an ack, the shard itself) would wait until each of them has had a turn. So streams take in what
//! they are sent in *rounds*: each round has so much time for all of them, and between two rounds the shard has its turn. Who
//! comes when a round's time is used up stands in line, in the order of start-time fair queueing: by the time that each has
//! had before, where nobody saves up what he did not use. Who asks for little is among the first of the next round, however
//! many others stand in line.
//!
//! Method: P. Goyal, H. Vin, H. Cheng, *Start-time fair queueing*, IEEE/ACM Transactions on Networking 5 (5), 1997. A turn's
//! length is known once it has ended, which is all that this method needs.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::limits::{STREAMS_ROUND, STREAMS_ROUND_WOKEN};

/// One core's turnstile. Clones are the same one. **Invariant:** no waker is called, or dropped, while the line is borrowed: that
/// may end a task that stands in it.
#[derive(Clone, Debug, Default)]
pub struct Turnstile {
    line: Rc<RefCell<Line>>,
}

/// A stream's place in line: its start tag, and who came first among those of one tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    tag: Duration,
    number: u64,
}

#[derive(Debug, Default)]
struct Line {
    waiting: BTreeMap<Place, Waker>,
    /// How many were let in and have not come yet.
    coming: usize,
    /// What the round has left.
    left: Duration,
    /// The virtual time: the start tag of whoever had a turn last.
    now: Duration,
    next: u64,
    /// Whoever begins the rounds, while nobody stands in line.
    sleeper: Option<Waker>,
}

/// A stream's turns. Dropping it leaves the line.
#[derive(Debug)]
pub struct Turns {
    turnstile: Turnstile,
    /// What the stream has had, as a virtual time.
    finish: Duration,
    /// Since when it has not been counted what the turn that runs takes.
    since: Option<Instant>,
    place: Option<Place>,
}

impl Turnstile {
    /// The turns of a stream.
    pub fn turns(&self) -> Turns {
        let finish = self.line.borrow().now;
        Turns { turnstile: self.clone(), finish, since: None, place: None }
    }

    /// The shard has had its turn: the first in line may go on.
    pub fn begin_round(&self) {
        self.line.borrow_mut().left = STREAMS_ROUND;
        (0..STREAMS_ROUND_WOKEN).for_each(|_| self.let_in());
    }

    /// Nobody will begin a round any more: all may go on.
    pub fn open(&self) {
        self.line.borrow_mut().left = Duration::MAX;
        while self.is_awaited() {
            self.let_in();
        }
    }

    fn let_in(&self) {
        let first = self.line.borrow_mut().let_in();
        first.into_iter().for_each(Waker::wake);
    }

    /// Ready while somebody stands in line: a round is to be begun.
    pub fn poll_line(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_awaited() {
            return Poll::Ready(());
        }
        let before = self.line.borrow_mut().sleeper.replace(cx.waker().clone());
        drop(before);
        Poll::Pending
    }

    /// Whether somebody stands in line.
    pub fn is_awaited(&self) -> bool {
        !self.line.borrow().waiting.is_empty()
    }
}

impl Line {
    fn let_in(&mut self) -> Option<Waker> {
        let (_, waker) = self.waiting.pop_first()?;
        self.coming += 1;
        Some(waker)
    }

    /// A new place for one that has had so much.
    fn place(&mut self, finish: Duration) -> Place {
        let number = self.next;
        self.next += 1;
        Place { tag: self.start(finish), number }
    }

    /// The start tag of one that has had so much. Who rested is ahead by a round of those who did not, and by no more.
    fn start(&self, finish: Duration) -> Duration {
        finish.max(self.now.saturating_sub(STREAMS_ROUND))
    }
}

impl Turns {
    /// Ready where the stream may take in one message more; else it stands in line, and is woken.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_at(Instant::now(), cx)
    }

    fn poll_at(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let goes_on = self.count(now);
        let mut line = self.turnstile.line.borrow_mut();
        if let Some(known) = self.place.and_then(|place| line.waiting.get_mut(&place)) {
            let before = std::mem::replace(known, cx.waker().clone());
            drop(line);
            drop(before);
            return Poll::Pending;
        }
        let is_let_in = self.place.is_some();
        line.coming -= usize::from(is_let_in);
        let others_first = !goes_on && !is_let_in && line.coming + line.waiting.len() > 0;
        if line.left.is_zero() || others_first {
            // Who was let in too late for the round is the first of the next one.
            let place = self.place.unwrap_or_else(|| line.place(self.finish));
            self.place = Some(place);
            line.waiting.insert(place, cx.waker().clone());
            let sleeper = line.sleeper.take();
            drop(line);
            sleeper.into_iter().for_each(Waker::wake);
            return Poll::Pending;
        }
        if let Some(place) = self.place.take() {
            line.now = line.now.max(place.tag);
        }
        self.finish = line.start(self.finish);
        self.since = Some(now);
        Poll::Ready(())
    }

    /// The stream waits, for others or for something to take in.
    pub fn rest(&mut self) {
        self.rest_at(Instant::now());
    }

    fn rest_at(&mut self, now: Instant) {
        if self.count(now) && !self.turnstile.line.borrow().left.is_zero() {
            self.turnstile.let_in();
        }
    }

    /// Counts what the turn that runs has taken, and ends it. Returns whether there was one.
    fn count(&mut self, now: Instant) -> bool {
        let Some(since) = self.since.take() else { return false };
        let taken = now.saturating_duration_since(since);
        let mut line = self.turnstile.line.borrow_mut();
        line.left = line.left.saturating_sub(taken);
        self.finish += taken;
        true
    }
}

impl Drop for Turns {
    fn drop(&mut self) {
        self.rest();
        if let Some(place) = self.place {
            let mut line = self.turnstile.line.borrow_mut();
            let waker = line.waiting.remove(&place);
            line.coming -= usize::from(waker.is_none());
            drop(line);
            drop(waker);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    /// A stream, and whether it was woken since it was last asked.
    struct Stream {
        turns: Turns,
        woken: Arc<Woken>,
    }

    impl Stream {
        fn of(turnstile: &Turnstile) -> Stream {
            Stream { turns: turnstile.turns(), woken: Arc::default() }
        }

        fn goes(&mut self, now: Instant) -> bool {
            let waker = Waker::from(self.woken.clone());
            self.turns.poll_at(now, &mut Context::from_waker(&waker)).is_ready()
        }

        fn is_woken(&self) -> bool {
            self.woken.0.swap(0, Relaxed) > 0
        }
    }

    const PART: Duration = Duration::from_micros(100);

    /// A turnstile in a round whose time one stream has used up: it stands in line.
    fn used_up(now: &mut Instant) -> (Turnstile, Stream) {
        let turnstile = Turnstile::default();
        turnstile.begin_round();
        let mut hog = Stream::of(&turnstile);
        assert!(hog.goes(*now));
        *now += STREAMS_ROUND;
        assert!(!hog.goes(*now));
        (turnstile, hog)
    }

    #[test]
    fn a_stream_goes_on_until_the_round_is_used_up_and_again_in_the_next() {
        let mut now = Instant::now();
        let turnstile = Turnstile::default();
        let mut stream = Stream::of(&turnstile);
        assert!(!stream.goes(now), "no round has begun");
        turnstile.begin_round();
        assert!(stream.is_woken());
        while stream.goes(now) {
            now += PART;
        }
        assert!(turnstile.is_awaited());
        assert!(!stream.is_woken());
        turnstile.begin_round();
        assert!(stream.is_woken() && stream.goes(now));
        assert!(!turnstile.is_awaited());
    }

    #[test]
    fn the_time_of_those_who_rest_is_not_counted() {
        let mut now = Instant::now();
        let turnstile = Turnstile::default();
        turnstile.begin_round();
        let mut stream = Stream::of(&turnstile);
        for _ in 0..10 {
            assert!(stream.goes(now));
            stream.turns.rest_at(now);
            now += STREAMS_ROUND;
        }
    }

    #[test]
    fn who_had_little_is_let_in_before_those_who_had_much() {
        let mut now = Instant::now();
        let turnstile = Turnstile::default();
        let mut modest = Stream::of(&turnstile);
        let mut hogs: Vec<_> =
            (0..2 * STREAMS_ROUND_WOKEN).map(|_| Stream::of(&turnstile)).collect();
        hogs.iter_mut().for_each(|hog| assert!(!hog.goes(now)));
        for _ in 0..4 * hogs.len() {
            turnstile.begin_round();
            for hog in hogs.iter_mut().filter(|hog| hog.is_woken()) {
                now += if hog.goes(now) { STREAMS_ROUND } else { Duration::ZERO };
                assert!(!hog.goes(now));
            }
        }
        assert!(!modest.goes(now));
        turnstile.begin_round();
        assert!(modest.is_woken() && modest.goes(now));
    }

    #[test]
    fn who_is_let_in_too_late_keeps_its_place() {
        let mut now = Instant::now();
        let (turnstile, mut hog) = used_up(&mut now);
        let mut late: Vec<_> = (0..3).map(|_| Stream::of(&turnstile)).collect();
        late.iter_mut().for_each(|stream| assert!(!stream.goes(now)));
        for served in 0..3 {
            turnstile.begin_round();
            for (number, stream) in late.iter_mut().enumerate().skip(served) {
                assert_eq!(stream.goes(now), number == served, "{number} of {served}");
                now += if number == served { STREAMS_ROUND } else { Duration::ZERO };
                if number == served {
                    assert!(!stream.goes(now), "behind the others");
                }
            }
            let _ = hog.goes(now);
        }
    }

    #[test]
    fn no_one_who_comes_overtakes_those_who_are_let_in() {
        let mut now = Instant::now();
        let (turnstile, mut hog) = used_up(&mut now);
        turnstile.begin_round();
        let mut other = Stream::of(&turnstile);
        assert!(!other.goes(now));
        assert!(hog.is_woken() && hog.goes(now));
        hog.turns.rest_at(now);
        assert!(other.is_woken() && other.goes(now), "the round has time for it");
    }

    #[test]
    fn who_leaves_holds_nobody_up() {
        let mut now = Instant::now();
        let (turnstile, hog) = used_up(&mut now);
        let mut others = [Stream::of(&turnstile), Stream::of(&turnstile)];
        others.iter_mut().for_each(|other| assert!(!other.goes(now)));
        let [waiting, mut last] = others;
        drop(waiting);
        turnstile.begin_round();
        // Let in, and gone before it came.
        drop(hog);
        assert!(last.goes(now));
        last.turns.rest_at(now);
        assert!(Stream::of(&turnstile).goes(now));
    }

    #[test]
    fn without_a_shard_all_go_on() {
        let mut now = Instant::now();
        let (turnstile, mut hog) = used_up(&mut now);
        turnstile.open();
        assert!(hog.is_woken());
        for _ in 0..10 {
            assert!(hog.goes(now));
            now += STREAMS_ROUND;
        }
    }

    #[test]
    fn whoever_begins_the_rounds_is_woken_by_the_first_in_line() {
        let (turnstile, begins) = (Turnstile::default(), Arc::<Woken>::default());
        let waker = Waker::from(begins.clone());
        assert!(turnstile.poll_line(&mut Context::from_waker(&waker)).is_pending());
        let mut stream = Stream::of(&turnstile);
        assert!(!stream.goes(Instant::now()));
        assert_eq!(begins.0.load(Relaxed), 1);
        assert!(turnstile.poll_line(&mut Context::from_waker(&waker)).is_ready());
    }
}
