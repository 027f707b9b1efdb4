//! The client against the real server: what is acked is durable and found, each observation is stored exactly once and
//! in order whatever becomes of the connection or the server, and each way of failing has its kind.

mod harness;

use std::time::Duration;

use engram_client::{
    Client, ErrorKind, Event, EventKind, ForgetMode, Observation, Recall, RecallFilter, Receipt,
    Session, SessionOptions, Subscription,
};
use harness::{Proxy, Server, observation, owed, vector};

const SPACE: &str = "robots";

fn soon() -> SessionOptions {
    SessionOptions { reconnect_delay: Duration::from_millis(1), ..SessionOptions::default() }
}

fn client(address: &str) -> Client {
    Client::new(&format!("http://{address}")).expect("an address")
}

/// Observes rows of these numbers, and waits for all of their acks.
async fn store(session: &Session, numbers: std::ops::Range<u64>) -> Vec<Receipt> {
    let mut acks = Vec::new();
    for number in numbers {
        acks.push(owed("room", session.observe(observation(number))).await.expect("it is taken"));
    }
    let mut receipts = Vec::new();
    for ack in acks {
        receipts.push(owed("ack", ack).await.expect("it is durable"));
    }
    receipts
}

/// Each of `count` rows is there, under the id of its receipt, and nothing else is: by the server's count, by what it
/// tells of itself, and by a recall of all.
async fn check_stored_once(server: &Server, client: &Client, receipts: &[Receipt]) {
    let count = receipts.len() as u64;
    let sequences: Vec<u64> = receipts.iter().map(|receipt| receipt.sequence).collect();
    assert_eq!(sequences, (1..=count).collect::<Vec<_>>());
    let space = server.space(SPACE).await;
    assert_eq!((&space["observations"], &space["rows"]), (&count.into(), &count.into()));
    let all = Recall { max_results: 1_000, similarity_min: -1.0, ..Recall::nearest(vector(0)) };
    let recalled = client.recall(SPACE, all).await.expect("a recall");
    assert_eq!(recalled.snapshot_sequence, count);
    let mut found: Vec<(String, String)> =
        recalled.memories.into_iter().map(|memory| (memory.id, memory.content)).collect();
    found.sort();
    let mut expected: Vec<(String, String)> = (0..)
        .zip(receipts)
        .map(|(number, receipt)| (receipt.memory_id.clone(), observation(number).what))
        .collect();
    expected.sort();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn an_ack_is_durable_and_its_memory_is_found_at_once() {
    let server = Server::start(&[]).await;
    server.make_space(SPACE).await;
    let client = client(&server.address());
    let session = client.open_session(SPACE, soon()).await.expect("it opens");
    assert_eq!(session.initial_sequence(), 0);
    let mut receipts = Vec::new();
    for number in 0..20 {
        receipts.extend(store(&session, number..number + 1).await);
        let nearest = Recall { max_results: 1, ..Recall::nearest(vector(number)) };
        let found = session.recall(nearest).await.expect("a recall");
        let best = &found.memories[0];
        assert_eq!((&best.content, best.durable), (&observation(number).what, true));
        assert_eq!(found.snapshot_sequence, number + 1);
        assert!(receipts[number as usize].committed_at.is_some());
    }
    assert_eq!(session.close().await, Ok(20));
    assert_eq!(session.close().await, Ok(20), "to close again is no error");
    let late = session.observe(observation(0)).await.expect_err("it is closed");
    assert_eq!(late.kind(), ErrorKind::SessionClosed);
    check_stored_once(&server, &client, &receipts).await;
}

#[tokio::test]
async fn a_killed_server_is_found_again_without_loss_or_doubles() {
    let mut server = Server::start(&[]).await;
    server.make_space(SPACE).await;
    let proxy = Proxy::start(server.port).await;
    let client = client(&proxy.address());
    let options = SessionOptions { window: 100, ..soon() };
    let session = client.open_session(SPACE, options).await.expect("it opens");
    let streaming = tokio::spawn({
        let session = session.clone();
        async move { store(&session, 0..1_000).await }
    });
    for acked in [150, 450, 800] {
        owed("acks", async {
            while session.durable_sequence() < acked {
                tokio::task::yield_now().await;
            }
        })
        .await;
        server.restart().await;
        proxy.lead_to(server.port);
    }
    let receipts = streaming.await.expect("it ends");
    assert!(session.reconnects() >= 3, "{} reconnects", session.reconnects());
    assert_eq!(session.close().await, Ok(1_000));
    check_stored_once(&server, &client, &receipts).await;
}

#[tokio::test]
async fn what_became_durable_before_a_cut_is_not_sent_again() {
    let server = Server::start(&[]).await;
    server.make_space(SPACE).await;
    let proxy = Proxy::start(server.port).await;
    let client = client(&proxy.address());
    let session = client.open_session(SPACE, soon()).await.expect("it opens");
    let mut receipts = store(&session, 0..100).await;
    // From here on no ack arrives, until the session is resumed. So few go without the acks of others.
    proxy.mute();
    let rest = tokio::spawn({
        let session = session.clone();
        async move { store(&session, 100..130).await }
    });
    owed("durable observations", async {
        while server.space(SPACE).await["observations"] != 130 {}
    })
    .await;
    assert_eq!(session.durable_sequence(), 100);
    proxy.cut();
    let unheard = rest.await.expect("it ends");
    assert!(unheard.iter().all(|receipt| receipt.committed_at.is_none()), "told on resuming");
    receipts.extend(unheard);
    assert_eq!(session.reconnects(), 1);
    check_stored_once(&server, &client, &receipts).await;
}

#[tokio::test]
async fn a_paused_session_sends_nothing_and_recalls() {
    let server = Server::start(&[]).await;
    server.make_space(SPACE).await;
    let client = client(&server.address());
    let session = client.open_session(SPACE, soon()).await.expect("it opens");
    store(&session, 0..5).await;
    session.pause().expect("it is open");
    let held = session.observe(observation(5)).await.expect("there is room");
    // Its answer comes behind whatever was sent before.
    let found = session.recall(Recall::nearest(vector(5))).await.expect("a recall");
    assert_eq!((found.snapshot_sequence, found.memories.len()), (5, 5));
    session.resume().expect("it is open");
    let found = session.recall(Recall::nearest(vector(5))).await.expect("a recall");
    assert_eq!(found.memories[0].content, observation(5).what, "it was observed before");
    assert_eq!(owed("ack", held).await.expect("it is durable").sequence, 6);
}

#[tokio::test]
async fn a_session_is_resumed_by_its_id_and_taken_from_who_had_it() {
    let server = Server::start(&[]).await;
    server.make_space(SPACE).await;
    let client = client(&server.address());
    let first = client.open_session(SPACE, soon()).await.expect("it opens");
    let mut receipts = store(&first, 0..3).await;
    let options = SessionOptions { resume: first.id(), ..soon() };
    let second = client.open_session("", options).await.expect("it is known");
    assert_eq!((second.id(), second.initial_sequence()), (first.id(), 3));
    receipts.extend(store(&second, 3..6).await);
    let ended = match owed("end", first.observe(observation(9))).await {
        Ok(ack) => owed("end", ack).await.expect_err("it is another's"),
        Err(error) => error,
    };
    assert_eq!(ended.kind(), ErrorKind::SessionTakenOver);
    second.leave();
    check_stored_once(&server, &client, &receipts).await;
    let unknown = "0190b1c2-0000-4000-8000-000000000000".to_owned();
    let options = SessionOptions { resume: unknown, ..soon() };
    let error = client.open_session("", options).await.expect_err("nobody knows it");
    assert_eq!(error.kind(), ErrorKind::SessionNotFound);
}

#[tokio::test]
async fn each_way_of_failing_has_its_kind() {
    let server = Server::start(&[]).await;
    server.make_space(SPACE).await;
    let client = client(&server.address());
    let session = client.open_session(SPACE, soon()).await.expect("it opens");
    let bad = session.observe(Observation::new("short", [1.0])).await.expect("there is room");
    let good = session.observe(observation(0)).await.expect("there is room");
    let error = owed("refusal", bad).await.expect_err("one number is too few");
    assert_eq!((error.kind(), error.field()), (ErrorKind::InvalidObservation, Some("embedding")));
    assert_eq!(owed("ack", good).await.expect("it went on").sequence, 1);
    let long = Observation::new("x".repeat(5 << 20), vector(1));
    let error = session.observe(long).await.expect_err("no message is so long");
    assert_eq!(error.kind(), ErrorKind::MessageTooLarge);
    let error = session.recall(Recall::nearest([1.0])).await.expect_err("one number is too few");
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    let error = client.recall("nowhere", Recall::nearest(vector(1))).await.expect_err("unknown");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let error = client.open_session("No", soon()).await.expect_err("no such name may be");
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    let options = SessionOptions { patience: Some(Duration::from_millis(50)), ..soon() };
    let nobody = Client::new("http://127.0.0.1:1").expect("an address");
    let error = nobody.open_session(SPACE, options).await.expect_err("nobody listens there");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(Client::new("no address").expect_err("no").kind(), ErrorKind::InvalidRequest);
}

#[tokio::test]
async fn an_overloaded_server_gets_everything_in_the_end() {
    // So small that what is under way is more than it takes.
    let server = Server::start(&["--capacity", "64"]).await;
    server.make_space(SPACE).await;
    let client = client(&server.address());
    let mut streams = Vec::new();
    for _ in 0..4 {
        let session = client.open_session(SPACE, soon()).await.expect("it opens");
        streams.push(tokio::spawn(async move {
            let receipts = store(&session, 0..500).await;
            (receipts.len(), session.overloads())
        }));
    }
    let mut overloads = 0;
    for stream in streams {
        let (count, refused) = stream.await.expect("it ends");
        assert_eq!(count, 500);
        overloads += refused;
    }
    assert!(overloads > 0, "it was never overloaded: nothing was tried");
    assert_eq!(server.space(SPACE).await["observations"], 2_000);
}

#[tokio::test]
async fn memories_are_stored_found_by_filter_and_forgotten() {
    let server = Server::start(&[]).await;
    server.make_space(SPACE).await;
    let client = client(&server.address());
    for number in 0..6 {
        let id = format!("m{number}");
        let location = ["lab", "field"][number as usize % 2].to_owned();
        let stored = Observation { id: id.clone(), location, ..observation(number) };
        assert_eq!(client.remember(SPACE, stored).await, Ok(id));
    }
    let found = || async {
        let filter = Some(RecallFilter { location: "field".to_owned(), ..RecallFilter::default() });
        let recall = Recall { filter, similarity_min: -1.0, ..Recall::nearest(vector(1)) };
        let recalled = client.recall(SPACE, recall).await.expect("a recall");
        let mut ids: Vec<String> = recalled.memories.into_iter().map(|memory| memory.id).collect();
        ids.sort();
        ids
    };
    assert_eq!(found().await, ["m1", "m3", "m5"]);
    assert_eq!(client.forget(SPACE, "m3", ForgetMode::Delete).await, Ok(true));
    assert_eq!(client.forget(SPACE, "m5", ForgetMode::Suppress).await, Ok(true));
    assert_eq!(found().await, ["m1"]);
}

#[tokio::test]
async fn events_are_heard_from_the_subscription_on_and_after_a_cut() {
    let mut server = Server::start(&[]).await;
    server.make_space(SPACE).await;
    let proxy = Proxy::start(server.port).await;
    let heard = client(&proxy.address());
    let wanted = Subscription {
        kinds: vec![EventKind::Stored],
        importance_min: 0.5,
        ..Subscription::default()
    };
    let mut events = heard.subscribe(SPACE, &wanted).await.expect("it is served");
    let stored = |number: u64, importance: f32, address: String| async move {
        let id = format!("m{number}");
        let observation = Observation { id, importance, ..observation(number) };
        client(&address).remember(SPACE, observation).await.expect("it is stored");
    };
    for (number, importance) in [(1, 0.9), (2, 0.1), (3, 0.5)] {
        stored(number, importance, server.address()).await;
    }
    for expected in [("m1", 0.9), ("m3", 0.5)] {
        match owed("event", events.next()).await {
            Ok(Event::Happened { kind: EventKind::Stored, memory_id, importance, at, .. }) => {
                assert_eq!((memory_id.as_deref(), importance), (Some(expected.0), expected.1));
                assert!(at.is_some());
            }
            other => panic!("no event of {expected:?} but {other:?}"),
        }
    }
    server.restart().await;
    proxy.lead_to(server.port);
    assert_eq!(owed("word of the cut", events.next()).await, Ok(Event::Interrupted));
    stored(4, 1.0, server.address()).await;
    match owed("event", events.next()).await {
        Ok(Event::Happened { memory_id, .. }) => assert_eq!(memory_id.as_deref(), Some("m4")),
        other => panic!("no event but {other:?}"),
    }
}
