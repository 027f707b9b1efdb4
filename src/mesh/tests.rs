//! The mesh over two real executors, with shards that a test answers for; and its bookkeeping on
//! one.

use std::future::{Future, poll_fn};
use std::task::{Context, Poll, Waker};

use engram_shards::attributes::Attributes;
use engram_shards::ids::{SessionEpoch, SessionId, SpaceKey, StripeKey, Time};
use engram_shards::log::record::Body;
use engram_shards::message::{Append, Lane, Level, Origin, Pressure, Reply, Request, ShardStatus};
use engram_shards::vector::codes::Codes;
use glommio::{LocalExecutorBuilder, Placement};

use super::*;
use crate::clock::Clock;
use crate::limits::{CREDIT_CHUNK_MIN, RING_SLOTS_MAX};

const PRESSURE: Pressure = Pressure {
    depth: 1,
    capacity: 100,
    level: Level::Normal,
    preferred_rate: 0,
    retry_after_micros: 1_000,
};
const SESSION: SessionId = SessionId(7);

fn settings() -> MeshSettings {
    MeshSettings { requests_max: 4, bytes_max: 1_000, capacity: 100_000, clock: Clock::start() }
}

fn append(owner: CoreIndex, sequence: u64) -> Append {
    Append {
        stripe: stripe(owner),
        session: SESSION,
        epoch: SessionEpoch(1),
        sequence,
        memory_hash: sequence,
        received_at: Time(1),
        lane: Lane::Normal,
        body: Body { bytes: vec![1; 100], crc: 0 },
        codes: Codes { dimension: 8, codes8: vec![1; 64].into(), scale: 1.0 },
        attributes: Attributes::default(),
    }
}

fn durable(first: u64, last: u64) -> Reply {
    Reply::Durable { session: SESSION, first, last, committed_at: Some(Time(2)) }
}

/// The stripe that a core owns.
fn stripe(owner: CoreIndex) -> StripeKey {
    StripeKey { space: SpaceKey(u64::from(owner.0)), stripe: 0 }
}

/// A context for polls whose wake-ups do not matter.
fn now_or_never<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Option<T> {
    match poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// The meshes of both cores on one thread; the test moves what lies between them.
fn pair() -> [Mesh; 2] {
    let mut threads = weave(2).into_iter();
    let meshes = [(); 2].map(|()| Mesh::new(threads.next().expect("two were woven"), settings()));
    for mesh in &meshes {
        mesh.set_shard(ShardState::Ready);
    }
    while meshes.iter().any(|mesh| mesh.shards() != [ShardState::Known; 2]) {
        meshes.iter().for_each(|mesh| assert!(arrived(mesh).is_empty()));
    }
    meshes
}

fn arrived(mesh: &Mesh) -> Vec<(Origin, Request)> {
    mesh.flush();
    let mut requests = Vec::new();
    mesh.receive(&mut requests);
    requests
}

/// Takes a credit for `port` of `from` from the shard of `owner`, as its pump would answer.
fn credit(port: &mut Port, from: &Mesh, owner: &Mesh) -> Credit {
    for _ in 0..2 {
        let answer = now_or_never(|cx| port.poll_credit(cx, stripe(owner.core()), Lane::Normal));
        if let Some(CreditAnswer::Taken(credit)) = answer {
            return credit;
        }
        from.flush();
        for (origin, request) in arrived(owner) {
            let Request::Credit { stripe, lane, wanted: granted } = request else {
                panic!("credit is asked for: {request:?}")
            };
            owner.reply(origin, Reply::Credit { stripe, lane, granted, pressure: PRESSURE });
        }
        owner.flush();
        assert!(arrived(from).is_empty());
    }
    panic!("the owner's credit was not taken");
}

#[test]
fn calls_cross_two_cores_and_come_back() {
    const CALLS: usize = 20_000;
    const AT_ONCE: usize = 50;
    let executors: Vec<_> = weave(2)
        .into_iter()
        .map(|thread| {
            LocalExecutorBuilder::new(Placement::Unbound)
                .io_memory(1 << 20)
                .spawn(move || async move {
                    let mesh = Mesh::new(thread, settings());
                    let answering = glommio::spawn_local(answer_status(mesh.clone()));
                    mesh.set_shard(ShardState::Ready);
                    mesh.ready().wait().await;
                    let calling: Vec<_> = (0..AT_ONCE)
                        .map(|_| {
                            let mesh = mesh.clone();
                            glommio::spawn_local(async move {
                                for call in 0..CALLS / AT_ONCE {
                                    let owner = CoreIndex((call % 2) as u16);
                                    let reply = mesh.call(owner, Request::Status).await;
                                    let Ok(Reply::Status(status)) = reply else {
                                        panic!("{reply:?}")
                                    };
                                    assert_eq!(status.capacity, u32::from(owner.0));
                                }
                            })
                        })
                        .collect();
                    for caller in calling {
                        caller.await;
                    }
                    mesh.tell_quiet();
                    answering.await;
                })
                .expect("an executor starts")
        })
        .collect();
    for executor in executors {
        executor.join().expect("its promises held");
    }
}

/// Answers every request with the number of its core, until no core asks any more.
async fn answer_status(mesh: Mesh) {
    let mut requests = Vec::new();
    while !mesh.quiet().is_given() {
        poll_fn(|cx| mesh.poll_arrival(cx)).await;
        mesh.receive(&mut requests);
        for (origin, _) in requests.drain(..) {
            let capacity = u32::from(mesh.core().0);
            mesh.reply(origin, Reply::Status(ShardStatus { capacity, ..ShardStatus::default() }));
        }
        while !mesh.flush() {
            glommio::executor().yield_now().await;
        }
    }
}

#[test]
fn an_append_takes_budget_until_it_is_durable() {
    let [here, there] = pair();
    let mut port = here.port();
    for sequence in 1..=4 {
        let budget = now_or_never(|cx| port.poll_budget(cx, 100)).expect("there is room");
        let credit = credit(&mut port, &here, &there);
        port.append(append(there.core(), sequence), credit, budget);
    }
    assert!(now_or_never(|cx| port.poll_budget(cx, 100)).is_none(), "four are under way");
    here.flush();
    // Beside them the core asks for credits ahead.
    let sent = arrived(&there).into_iter();
    let appends: Vec<_> =
        sent.filter(|(_, request)| matches!(request, Request::Append(_))).collect();
    assert_eq!(appends.len(), 4);
    there.reply(appends[0].0, durable(1, 3));
    there.flush();
    arrived(&here);
    let (from, reply) = now_or_never(|cx| port.poll_reply(cx)).expect("a reply came");
    assert_eq!(from, there.core());
    assert!(matches!(reply, Ok(Reply::Durable { first: 1, last: 3, .. })), "{reply:?}");
    let held: Vec<_> =
        (0..3).filter_map(|_| now_or_never(|cx| port.poll_budget(cx, 100))).collect();
    assert_eq!(held.len(), 3, "three are durable");
    assert!(
        now_or_never(|cx| port.poll_budget(cx, 100)).is_none(),
        "the fourth is still under way"
    );
}

#[test]
fn budget_of_a_dropped_port_comes_back_with_its_late_reply() {
    let [here, there] = pair();
    let mut port = here.port();
    let budget =
        now_or_never(|cx| port.poll_budget(cx, 2_000)).expect("the first may be larger than all");
    let spent = credit(&mut port, &here, &there);
    port.append(append(there.core(), 1), spent, budget);
    here.flush();
    let (origin, _) = arrived(&there).pop().expect("it was sent");
    drop(port);

    let mut next = here.port();
    assert!(now_or_never(|cx| next.poll_budget(cx, 1)).is_none(), "its bytes are under way");
    there.reply(origin, durable(1, 1));
    there.flush();
    arrived(&here);
    assert!(now_or_never(|cx| next.poll_reply(cx)).is_none(), "the reply was another's");
    assert!(now_or_never(|cx| next.poll_budget(cx, 1)).is_some(), "its budget is back");
}

#[test]
fn a_reply_to_a_slot_used_again_is_discarded() {
    let [here, there] = pair();
    let port = here.port();
    port.send(there.core(), Request::Status);
    here.flush();
    let (origin, _) = arrived(&there).pop().expect("it was sent");
    drop(port);
    let mut next = here.port();
    next.send(there.core(), Request::Status);
    here.flush();
    let (next_origin, _) = arrived(&there).pop().expect("it was sent");
    assert_ne!(origin, next_origin, "the slot is the same, its generation is not");
    there.reply(origin, Reply::Status(ShardStatus { depth: 1, ..ShardStatus::default() }));
    there.reply(next_origin, Reply::Status(ShardStatus { depth: 2, ..ShardStatus::default() }));
    there.flush();
    arrived(&here);
    let (_, reply) = now_or_never(|cx| next.poll_reply(cx)).expect("its own reply came");
    assert!(matches!(reply, Ok(Reply::Status(ShardStatus { depth: 2, .. }))), "{reply:?}");
}

#[test]
fn a_failed_shard_is_told_to_all_who_spoke_to_it() {
    let [here, there] = pair();
    let (mut waiting, mut stranger) = (here.port(), here.port());
    let budget = now_or_never(|cx| waiting.poll_budget(cx, 2_000)).expect("there is room");
    let spent = credit(&mut waiting, &here, &there);
    let unspent = credit(&mut waiting, &here, &there);
    waiting.append(append(there.core(), 1), spent, budget);
    there.set_shard(ShardState::Failed);
    there.flush();
    here.flush();
    arrived(&here);
    assert!(matches!(now_or_never(|cx| waiting.poll_reply(cx)), Some((_, Err(Unavailable)))));
    assert!(now_or_never(|cx| stranger.poll_reply(cx)).is_none());
    assert!(now_or_never(|cx| stranger.poll_budget(cx, 1)).is_some(), "the budget is back");
    drop(unspent);
    let answer = now_or_never(|cx| waiting.poll_credit(cx, stripe(there.core()), Lane::Normal));
    assert!(matches!(answer, Some(CreditAnswer::Unavailable)), "{answer:?}");
    stranger.send(there.core(), Request::Status);
    assert!(matches!(now_or_never(|cx| stranger.poll_reply(cx)), Some((_, Err(Unavailable)))));
}

#[test]
fn a_shard_built_anew_hears_nothing_of_what_was_meant_for_the_one_before() {
    let [here, there] = pair();
    let (mut old, mut held) = (here.port(), here.port());
    let budget = now_or_never(|cx| old.poll_budget(cx, 100)).expect("there is room");
    let spent = credit(&mut old, &here, &there);
    old.append(append(there.core(), 1), spent, budget);
    let granted_before = credit(&mut held, &here, &there);
    there.set_shard(ShardState::Recovering);
    assert!(!there.is_noted(), "the other core does not know yet");
    assert_eq!(arrived(&there).len(), 0, "the append lies in the ring");
    here.flush();
    assert_eq!(arrived(&there).len(), 1, "it was meant for the one that failed");
    arrived(&here);
    here.flush();
    assert!(!there.is_noted(), "what the other core noted has not arrived");
    assert!(arrived(&there).is_empty());
    assert!(there.is_noted());
    there.set_shard(ShardState::Ready);
    there.flush();
    arrived(&here);

    // What was agreed with the one before is worth nothing.
    assert!(matches!(now_or_never(|cx| old.poll_reply(cx)), Some((_, Err(Unavailable)))));
    old.send(there.core(), Request::Status);
    assert!(matches!(now_or_never(|cx| old.poll_reply(cx)), Some((_, Err(Unavailable)))));
    let answer = now_or_never(|cx| old.poll_credit(cx, stripe(there.core()), Lane::Normal));
    assert!(matches!(answer, Some(CreditAnswer::Unavailable)), "{answer:?}");
    let budget = now_or_never(|cx| held.poll_budget(cx, 100)).expect("there is room");
    held.append(append(there.core(), 1), granted_before, budget);
    assert!(matches!(now_or_never(|cx| held.poll_reply(cx)), Some((_, Err(Unavailable)))));
    assert!(arrived(&there).is_empty(), "nothing of it was sent");

    // Whoever comes anew is served.
    let mut fresh = here.port();
    let budget = now_or_never(|cx| fresh.poll_budget(cx, 100)).expect("there is room");
    let spent = credit(&mut fresh, &here, &there);
    fresh.append(append(there.core(), 1), spent, budget);
    here.flush();
    assert_eq!(arrived(&there).len(), 1);
}

#[test]
fn a_shard_is_known_once_every_core_has_noted_it() {
    let [here, there] = pair();
    there.set_shard(ShardState::Recovering);
    there.set_shard(ShardState::Ready);
    assert_eq!(there.shards()[1], ShardState::Ready);
    there.flush();
    arrived(&here);
    assert_eq!(here.shards()[1], ShardState::Ready, "it serves here, and may not elsewhere");
    here.flush();
    arrived(&there);
    assert_eq!(there.shards()[1], ShardState::Known);
    there.flush();
    arrived(&here);
    assert_eq!(here.shards()[1], ShardState::Known);
}

#[test]
fn an_unspent_credit_of_a_shard_that_failed_serves_nobody() {
    let [here, there] = pair();
    let mut port = here.port();
    let unspent = credit(&mut port, &here, &there);
    there.set_shard(ShardState::Recovering);
    there.flush();
    arrived(&here);
    here.flush();
    arrived(&there);
    there.set_shard(ShardState::Ready);
    there.flush();
    arrived(&here);
    drop(unspent);
    let mut fresh = here.port();
    assert!(now_or_never(|cx| fresh.poll_credit(cx, stripe(there.core()), Lane::Normal)).is_none());
    here.flush();
    let (_, request) = arrived(&there).pop().expect("the owner is asked");
    assert!(matches!(request, Request::Credit { .. }), "{request:?}");
}

#[test]
fn what_a_core_asked_its_own_shard_goes_with_it() {
    let [here, there] = pair();
    let port = here.port();
    port.send(here.core(), Request::Status);
    here.set_shard(ShardState::Recovering);
    assert!(arrived(&here).is_empty());
    here.flush();
    arrived(&there);
    there.flush();
    arrived(&here);
    assert!(here.is_noted());
}

#[test]
fn a_refused_credit_comes_with_the_load() {
    let [here, there] = pair();
    let mut port = here.port();
    assert!(now_or_never(|cx| port.poll_credit(cx, stripe(there.core()), Lane::Low)).is_none());
    here.flush();
    let (origin, request) = arrived(&there).pop().expect("the owner is asked");
    assert!(
        matches!(request, Request::Credit { lane: Lane::Low, wanted: CREDIT_CHUNK_MIN, .. }),
        "{request:?}"
    );
    let (stripe, lane) = (stripe(there.core()), Lane::Low);
    there.reply(origin, Reply::Credit { stripe, lane, granted: 0, pressure: PRESSURE });
    there.flush();
    arrived(&here);
    let answer = now_or_never(|cx| port.poll_credit(cx, stripe, lane));
    assert!(matches!(answer, Some(CreditAnswer::Refused(PRESSURE))), "{answer:?}");
}

#[test]
fn an_unspent_credit_serves_the_next() {
    let [here, there] = pair();
    let mut port = here.port();
    let first = credit(&mut port, &here, &there);
    let mut held: Vec<_> =
        (1..CREDIT_CHUNK_MIN).map(|_| credit(&mut port, &here, &there)).collect();
    drop(first);
    held.push(credit(&mut port, &here, &there));
    assert_eq!(held.len(), CREDIT_CHUNK_MIN as usize);
}

#[test]
fn more_than_a_ring_holds_arrives_in_order() {
    let [here, there] = pair();
    let frames = 3 * RING_SLOTS_MAX;
    let ports: Vec<_> = (0..frames).map(|_| here.port()).collect();
    for port in &ports {
        port.send(there.core(), Request::Status);
    }
    let mut origins = Vec::new();
    while !here.flush() || origins.len() < frames {
        let before = origins.len();
        origins.extend(arrived(&there).into_iter().map(|(origin, _)| origin));
        assert!(origins.len() > before, "it goes on");
    }
    assert!(origins.is_sorted(), "ports were opened in order");
}

#[test]
fn own_requests_need_no_ring() {
    let [here, _] = pair();
    let mut port = here.port();
    port.send(here.core(), Request::Status);
    let (origin, _) = arrived(&here).pop().expect("it is there at once");
    here.reply(origin, Reply::Status(ShardStatus::default()));
    assert!(matches!(now_or_never(|cx| port.poll_reply(cx)), Some((_, Ok(Reply::Status(_))))));
}

#[test]
fn counters_are_gathered_from_all_cores() {
    let [here, there] = pair();
    here.metrics().connections = 1;
    there.metrics().connections = 2;
    let mut gathering = std::pin::pin!(here.reports());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(gathering.as_mut().poll(&mut cx).is_pending());
    here.flush();
    arrived(&there);
    there.flush();
    arrived(&here);
    let Poll::Ready(reports) = gathering.as_mut().poll(&mut cx) else {
        panic!("both have answered")
    };
    let connections: Vec<_> =
        reports.iter().map(|(core, metrics)| (core.0, metrics.connections)).collect();
    assert_eq!(connections, [(0, 1), (1, 2)]);
}
