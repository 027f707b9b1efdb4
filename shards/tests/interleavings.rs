//! Promise: whatever order things happen in (arrivals, commits, faults, work, crashes, other numbers of shards), a stripe
//! holds an unbroken run of what was sent, with all that was acked, and recalls tell exactly what is there.
//!
//! Random steps against a model that is a list. A failure prints the steps; a seed is kept beside this file.

mod world;

use std::collections::BTreeMap;

use engram_shards::ids::{SessionEpoch, SessionId, StripeKey};
use engram_shards::log::log::IoFault;
use engram_shards::message::{Isolation, OpenIntent, Origin, Refusal, Reply, Request};
use engram_shards::space::TailLimits;
use proptest::prelude::*;
use world::{Fate, Sent, World, id_of, stripe, vector};

/// Fewer than these tests' recalls ask for, so that every row is a candidate.
const STEPS_MAX: usize = 80;
const SESSIONS: u128 = 3;

#[derive(Clone, Debug)]
enum Step {
    Observe { session: u128, id: u8 },
    Resume { session: u128 },
    Pass,
    EndIo { which: usize },
    Work { distances: u32 },
    Fault { fault: Option<IoFault> },
    Recall { isolation: Isolation },
    Crash { fate: Fate, shards: u16 },
}

fn step() -> impl Strategy<Value = Step> {
    let session = 1..=SESSIONS;
    let faults = [None, None, Some(IoFault::Full), Some(IoFault::Failed)];
    prop_oneof![
        12 => (session.clone(), 0..12_u8).prop_map(|(session, id)| Step::Observe { session, id }),
        2 => session.prop_map(|session| Step::Resume { session }),
        4 => Just(Step::Pass),
        8 => (0..4_usize).prop_map(|which| Step::EndIo { which }),
        3 => (1..500_u32).prop_map(|distances| Step::Work { distances }),
        1 => prop::sample::select(faults.to_vec()).prop_map(|fault| Step::Fault { fault }),
        3 => prop::sample::select(vec![Isolation::Durable, Isolation::InFlight])
            .prop_map(|isolation| Step::Recall { isolation }),
        1 => (prop::sample::select(vec![Fate::Lost, Fate::Whole, Fate::Torn]), 1..4_u16)
            .prop_map(|(fate, shards)| Step::Crash { fate, shards }),
    ]
}

/// What was sent and not dropped; its place in the list is its generation.
#[derive(Clone, Debug)]
struct Stored {
    session: u128,
    sequence: u64,
    id: String,
    durable: bool,
}

#[derive(Debug)]
struct Attachment {
    epoch: SessionEpoch,
    next: u64,
}

#[derive(Debug)]
struct Model {
    world: World,
    stripe: StripeKey,
    stored: Vec<Stored>,
    attached: BTreeMap<u128, Attachment>,
    sent: u64,
}

impl Model {
    fn new(tail: TailLimits) -> Model {
        let mut world = World::new(2);
        world.tail = tail;
        world.start(2).expect("an empty disk is sound");
        let stripe = world.space("diary");
        let mut model =
            Model { world, stripe, stored: Vec::new(), attached: BTreeMap::new(), sent: 0 };
        for session in 1..=SESSIONS {
            let opened = model.world.open(stripe, session, OpenIntent::Begin);
            model.attached.insert(session, Attachment { epoch: opened.epoch, next: 1 });
        }
        model
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Observe { session, id } => self.observe(session, id),
            Step::Resume { session } => self.resume(session),
            Step::Pass => self.world.pass(500),
            Step::EndIo { which } => {
                self.world.collect();
                if which < self.world.waiting.len() {
                    self.world.end_io(which);
                }
            }
            Step::Work { distances } => {
                let now = self.world.now;
                for shard in &mut self.world.shards {
                    shard.work(distances, now);
                }
            }
            Step::Fault { fault } => self.world.disk.fault = fault,
            Step::Recall { isolation } => self.recall(isolation),
            Step::Crash { fate, shards } => self.crash(fate, shards),
        }
        self.hear();
    }

    fn observe(&mut self, session: u128, id: u8) {
        let Some(attachment) = self.attached.get_mut(&session) else {
            return;
        };
        let (epoch, sequence) = (attachment.epoch, attachment.next);
        attachment.next += 1;
        self.sent += 1;
        let id = format!("m{id}");
        let vector = vector(self.sent);
        let origin = Origin(session as u64);
        self.stored.push(Stored { session, sequence, id: id.clone(), durable: false });
        self.world.observe(self.stripe, Sent { origin, session, epoch, sequence, id: &id, vector });
    }

    fn resume(&mut self, session: u128) {
        self.attached.remove(&session);
        let id = SessionId(session);
        let request =
            Request::OpenSession { stripe: self.stripe, session: id, intent: OpenIntent::Resume };
        self.world.ask(self.stripe, Origin(session as u64), request);
        self.world.commit();
        self.hear();
    }

    /// Takes in what the clients are told.
    fn hear(&mut self) {
        for (origin, reply) in self.world.take() {
            match reply {
                Reply::Durable { session, first, last, .. } => {
                    let mut count = 0;
                    for stored in self.run(session, first, last) {
                        assert!(!stored.durable, "told twice");
                        stored.durable = true;
                        count += 1;
                    }
                    assert_eq!(count, last - first + 1, "durable, and never sent");
                }
                Reply::Dropped { session, first, last, refusal } => {
                    assert_ne!(refusal, Refusal::Fenced, "no one sends once told");
                    assert!(self.run(session, first, last).all(|stored| !stored.durable));
                    self.stored.retain(|stored| {
                        let dropped = (first..=last).contains(&stored.sequence);
                        !(stored.session == session.0 && dropped)
                    });
                    self.attached.remove(&session.0);
                }
                Reply::Session(Ok(opened)) => {
                    let session = opened.session.0;
                    let of_session = self.stored.iter().filter(|stored| stored.session == session);
                    assert!(of_session.clone().all(|stored| stored.durable || !self.is_heard()));
                    let mark = of_session.map(|stored| stored.sequence).max().unwrap_or(0);
                    assert_eq!(opened.durable_sequence, mark);
                    let next = opened.durable_sequence + 1;
                    self.attached.insert(session, Attachment { epoch: opened.epoch, next });
                }
                Reply::Session(Err(refusal)) => {
                    assert!(
                        matches!(refusal, Refusal::DiskFull | Refusal::Unavailable),
                        "{origin:?}: {refusal:?}"
                    );
                }
                Reply::Fenced { .. } => {}
                reply => panic!("{reply:?}"),
            }
        }
        let durable = self.stored.iter().take_while(|stored| stored.durable).count();
        assert!(self.stored[durable..].iter().all(|stored| !stored.durable), "a hole");
    }

    fn is_heard(&self) -> bool {
        self.world.disk.fault.is_none()
    }

    fn run(
        &mut self,
        session: SessionId,
        first: u64,
        last: u64,
    ) -> impl Iterator<Item = &mut Stored> {
        self.stored.iter_mut().filter(move |stored| {
            stored.session == session.0 && (first..=last).contains(&stored.sequence)
        })
    }

    fn recall(&mut self, isolation: Isolation) {
        self.hear();
        let recalled = self.world.recall(self.stripe, &vector(1), 100, isolation);
        self.hear();
        let seen = self.stored.iter().zip(1..);
        let seen = seen.filter(|(stored, _)| stored.durable || isolation == Isolation::InFlight);
        let expected: BTreeMap<String, u64> =
            seen.map(|(stored, generation)| (stored.id.clone(), generation)).collect();
        let found: BTreeMap<String, u64> =
            recalled.hits.iter().map(|hit| (id_of(hit), hit.generation.0)).collect();
        assert_eq!(found.len(), recalled.hits.len(), "an id twice");
        assert_eq!(found, expected);
        assert!(recalled.hits.is_sorted_by(|one, other| one.similarity >= other.similarity));
    }

    /// Afterwards the stripe must hold a run that starts like the list and ends behind all that was acked.
    fn crash(&mut self, fate: Fate, shards: u16) {
        self.hear();
        let acked = self.stored.iter().filter(|stored| stored.durable).count();
        let fault = self.world.disk.fault.take();
        self.world.crash(fate, shards);
        self.attached.clear();
        self.world.settle();
        let status = self.world.status();
        let stripe = status.iter().flat_map(|shard| &shard.stripes).next().expect("the space");
        let recovered = stripe.generation.0 as usize;
        assert!(acked <= recovered, "{acked} were acked, {recovered} recovered");
        if recovered > self.stored.len() {
            panic!("{recovered} recovered of {}", self.stored.len());
        }
        self.stored.truncate(recovered);
        self.stored.iter_mut().for_each(|stored| stored.durable = true);
        self.world.take();
        self.recall(Isolation::Durable);
        self.world.disk.fault = fault;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn the_shard_does_what_the_list_says(
        rows_max in 0..20_u32,
        graph_rows_min in 0..20_u32,
        steps in prop::collection::vec(step(), 1..STEPS_MAX),
    ) {
        let mut model = Model::new(TailLimits { rows_max, graph_rows_min });
        for step in &steps {
            model.take(step);
        }
        model.world.disk.fault = None;
        model.world.settle();
        model.hear();
        model.crash(Fate::Lost, 1);
        for session in 1..=SESSIONS {
            model.resume(session);
        }
        assert_eq!(model.attached.len() as u128, SESSIONS);
        assert_eq!(stripe("diary"), model.stripe);
    }
}
