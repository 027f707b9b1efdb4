//! The contract's rules of sessions and its words, each tried over every transport: gRPC, and WebSocket in JSON and in
//! the protocol's own messages. What is said and what must be heard is written once; only how it crosses the wire differs.

mod said;
mod line;

use engram_proto::engram::v1::Episode;
use serde_json::json;
use tonic::Code;

use self::line::{Line, Transport};
use self::said::{Said, Told};
use crate::harness::{Heard, Memories, Server, Socket};

const UNKNOWN: &str = "0190b1c2-0000-4000-8000-000000000000";

/// Something that must be refused.
struct Refused {
    /// What comes before it, and is not.
    before: Vec<Said>,
    said: Said,
    /// What the client reads; `SESSION` stands for the session's id.
    words: &'static str,
    /// How gRPC ends the stream; none where it lives on. A WebSocket lives on in any case.
    ends: Option<Code>,
}

fn refused(said: Said, words: &'static str) -> Refused {
    Refused { before: vec![init()], said, words, ends: None }
}

fn early(said: Said, words: &'static str, code: Code) -> Refused {
    Refused { before: Vec::new(), said, words, ends: Some(code) }
}

fn init() -> Said {
    Said::Init { space: "conforming".to_owned(), session: String::new() }
}

fn opening(space: &str, session: &str) -> Said {
    Said::Init { space: space.to_owned(), session: session.to_owned() }
}

fn observe(sequence: u64, change: impl FnOnce(&mut Episode)) -> Said {
    let mut episode = Memories::bundled().episode(1, "bad");
    change(&mut episode);
    Said::Observe { session: None, sequence, episode: Box::new(episode) }
}

fn table() -> Vec<Refused> {
    let sound = |sequence| observe(sequence, |_| ());
    let stranger = Said::Observe {
        session: Some(UNKNOWN.to_owned()),
        sequence: 1,
        episode: Box::new(Memories::bundled().episode(1, "bad")),
    };
    let precondition = Code::FailedPrecondition;
    let bad_name = "Invalid memory_space_id: ";
    vec![
        early(sound(1), "Must send 'init' before observations", precondition),
        early(Said::Flow("pause"), "Must send 'init' before flow control", precondition),
        early(Said::Recall(vec![1.0; 768]), "Must send 'init' before recall", precondition),
        early(Said::Subscribe(&["storage"]), "Must send 'init' before subscribe", precondition),
        early(opening("Not A Name", ""), bad_name, Code::InvalidArgument),
        early(opening("ab", ""), bad_name, Code::InvalidArgument),
        early(opening("", ""), bad_name, Code::InvalidArgument),
        early(
            opening("", UNKNOWN),
            "Session error: Session not found: 0190b1c2-0000-4000-8000-000000000000",
            Code::NotFound,
        ),
        refused(init(), "'init' was already sent"),
        refused(stranger, "Session ID mismatch: expected SESSION, got 0190b1c2"),
        refused(
            sound(5),
            "Sequence validation failed: Sequence mismatch for session SESSION: expected 1, got 5",
        ),
        refused(sound(0), "Sequence validation failed: "),
        refused(
            observe(1, |episode| episode.embedding.truncate(767)),
            "Embedding must be exactly 768 dimensions",
        ),
        refused(observe(1, |episode| episode.embedding[3] = f32::NAN), "Embedding must be finite"),
        refused(observe(1, |episode| episode.embedding.fill(0.0)), "Embedding must not be zero"),
        refused(observe(1, |e| e.id = "i".repeat(257)), "Field too large: id"),
        refused(observe(1, |e| e.what = "w".repeat(65_537)), "Field too large: what"),
        refused(observe(1, |e| e.why = "w".repeat(4_097)), "Field too large: why"),
        refused(observe(1, |e| e.how = "h".repeat(4_097)), "Field too large: how"),
        refused(
            observe(1, |e| e.where_location = "w".repeat(4_097)),
            "Field too large: where_location",
        ),
        refused(observe(1, |e| e.who = vec!["w".to_owned(); 65]), "Field too large: who"),
        refused(Said::Flow("hurry"), "Unknown flow control action: "),
        refused(Said::Subscribe(&["decay", "association"]), "Not served: events of these types"),
        refused(Said::Recall(vec![1.0; 5]), "Embedding must be exactly 768 dimensions"),
        Refused {
            before: vec![init(), Said::Flow("pause")],
            said: sound(1),
            words: "Session paused",
            ends: None,
        },
    ]
}

/// Says what must be refused; what comes after it is served as if it had not been said.
async fn is_refused(server: &Server, transport: Transport, row: &Refused) {
    let mut line = Line::open(server, transport).await;
    let mut session = String::new();
    for before in &row.before {
        line.say(before).await;
        if let Told::Opened { session: opened, .. } = line.told().await {
            session = opened;
        }
    }
    line.say(&row.said).await;
    let words = row.words.replace("SESSION", &session);
    let told = line.told().await;
    let told_words = match (&told, row.ends) {
        (Told::Ended { code, words }, Some(expected)) if transport == Transport::Grpc => {
            assert_eq!(*code, expected, "{words}");
            words
        }
        (Told::Refused { sequence, words }, _) => {
            assert!(row.ends.is_none() || transport != Transport::Grpc, "{words}: it lives");
            if let Said::Observe { sequence: said, session: None, .. } = &row.said
                && !row.before.is_empty()
            {
                assert_eq!(sequence, said, "{words}");
            }
            words
        }
        _ => panic!("{transport:?}: “{words}” is owed, not {told:?}"),
    };
    assert!(told_words.contains(&words), "{transport:?}: “{words}” is owed, not “{told_words}”");
    if matches!(told, Told::Ended { .. }) {
        return;
    }
    if row.before.is_empty() {
        line.say(&init()).await;
        assert!(matches!(line.told().await, Told::Opened { initial: 0, .. }));
    }
    line.say(&Said::Flow("resume")).await;
    assert_eq!(line.told().await, Told::Flow { paused: false });
    line.say(&observe(1, |episode| episode.id = "good".to_owned())).await;
    assert_eq!(line.told().await, Told::Accepted { sequence: 1, id: "good".to_owned() });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_refused_in_the_same_words_over_every_transport() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    for transport in Transport::ALL {
        for row in table() {
            is_refused(&server, transport, &row).await;
        }
    }
}

/// Every rule of sessions that needs more than one message, on one line and a second one to the same server.
async fn keeps_the_rules(server: &Server, transport: Transport, after: Transport) {
    let memories = Memories::bundled();
    let space = format!("rules-{transport:?}-{after:?}").to_lowercase();
    let observe = |sequence: u64, id: &str| Said::Observe {
        session: None,
        sequence,
        episode: Box::new(Episode {
            where_location: if sequence.is_multiple_of(2) { "there" } else { "here" }.to_owned(),
            ..memories.episode(sequence as usize, id)
        }),
    };
    let accepted = |sequence, id: &str| Told::Accepted { sequence, id: id.to_owned() };
    let mut line = Line::open(server, transport).await;
    line.say(&opening(&space, "")).await;
    let Told::Opened { session, initial: 0 } = line.told().await else { panic!("not opened") };
    for sequence in 1..=3 {
        line.say(&observe(sequence, &format!("m{sequence}"))).await;
    }
    for sequence in 1..=3 {
        assert_eq!(line.told().await, accepted(sequence, &format!("m{sequence}")));
    }
    // A repeat is acked again and not stored twice; what follows a gap is refused until the gap is filled.
    line.say(&observe(2, "m2")).await;
    assert_eq!(line.told().await, accepted(2, "m2"));
    for sequence in [6, 5] {
        line.say(&observe(sequence, "early")).await;
        let Told::Refused { sequence: told, .. } = line.told().await else { panic!("taken") };
        assert_eq!(told, sequence);
    }
    line.say(&observe(4, "m3")).await;
    assert_eq!(line.told().await, accepted(4, "m3"));
    // An id that is there already is replaced.
    line.say(&Said::Recall(memories.vector(3))).await;
    let Told::Found(found) = line.told().await else { panic!("no results") };
    let mut sorted = found.clone();
    sorted.sort();
    assert_eq!(sorted, ["m1", "m2", "m3"], "stored twice or not at all");

    // A filter leaves what was at a place; without a vector, the newest comes first.
    for vector in [Some(memories.vector(2)), None] {
        line.say(&Said::RecallAt { place: "here", vector }).await;
        assert_eq!(line.told().await, Told::Found(vec!["m1".to_owned()]));
    }
    line.say(&Said::RecallAt { place: "there", vector: None }).await;
    assert_eq!(line.told().await, Told::Found(["m3", "m2"].map(str::to_owned).to_vec()));
    line.say(&Said::RecallAt { place: "nowhere", vector: Some(memories.vector(1)) }).await;
    assert_eq!(line.told().await, Told::Found(Vec::new()));

    // What happens is told from now on, after the acks of it.
    line.say(&Said::Subscribe(&["storage", "recall"])).await;
    assert_eq!(line.told().await, Told::Subscribed);
    line.say(&observe(5, "m5")).await;
    assert_eq!(line.told().await, accepted(5, "m5"));
    assert_eq!(line.told().await, Told::Event { kind: "storage", id: "m5".to_owned() });
    line.say(&Said::Recall(memories.vector(5))).await;
    assert!(matches!(line.told().await, Told::Found(found) if found[0] == "m5"));
    assert_eq!(line.told().await, Told::Event { kind: "recall", id: "m5".to_owned() });

    // Another connection takes the session over, where it stands.
    let mut second = Line::open(server, after).await;
    second.say(&opening("elsewhere", &session)).await;
    match second.told().await {
        Told::Refused { words, .. } | Told::Ended { code: Code::InvalidArgument, words } => {
            assert!(words.starts_with("Invalid memory_space_id: "), "{words}");
        }
        other => panic!("a session of another space was resumed: {other:?}"),
    }
    let mut second = Line::open(server, after).await;
    second.say(&opening("", &session)).await;
    assert_eq!(second.told().await, Told::Opened { session: session.clone(), initial: 5 });
    assert!(matches!(line.told().await, Told::Closed(_)));
    let Told::Ended { code, .. } = line.told().await else { panic!("the first one lives on") };
    assert_eq!(code, Code::Aborted);
    second.say(&observe(6, "m6")).await;
    assert_eq!(second.told().await, accepted(6, "m6"));

    // `close` tells the final sequence, and the session can be resumed after it.
    for drain in [true, false] {
        second.say(&Said::Close { drain }).await;
        assert_eq!(second.told().await, Told::Closed(6));
        assert!(matches!(second.told().await, Told::Ended { code: Code::Ok, .. }));
        second = Line::open(server, transport).await;
        second.say(&opening(&space, &session)).await;
        assert_eq!(second.told().await, Told::Opened { session: session.clone(), initial: 6 });
    }
    // A dropped connection keeps the session.
    drop(second);
    let mut third = Line::open(server, transport).await;
    third.say(&opening("", &session)).await;
    assert_eq!(third.told().await, Told::Opened { session, initial: 6 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_keep_their_rules_over_every_transport_and_from_one_to_the_other() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    for transport in Transport::ALL {
        for after in Transport::ALL {
            keeps_the_rules(&server, transport, after).await;
        }
    }
}

#[test]
fn json_that_is_no_message_is_refused_in_the_contracts_words() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let mut socket = Socket::connect(server.address);
    for (text, words) in [
        ("{", "Invalid JSON: "),
        ("[1]", "Missing 'type' field"),
        (r#"{"kind":"init"}"#, "Missing 'type' field"),
        (r#"{"type":"dream"}"#, "Unknown message type: dream"),
        (r#"{"type":"init"}"#, "Invalid init request: missing field memory_space_id"),
        (
            r#"{"type":"observation","session_id":"s","sequence_number":1,
                "episode":{"what":"w","embedding":[1]}}"#,
            "Invalid observation request: missing field id",
        ),
        (
            r#"{"type":"flow_control","session_id":"s"}"#,
            "Invalid flow control request: missing field action",
        ),
    ] {
        socket.say_text(text);
        let told = socket.hear_json();
        assert_eq!((&told["type"], &told["session_id"]), (&json!("error"), &json!(null)));
        let message = told["message"].as_str().expect("a text");
        assert!(message.starts_with(words), "“{words}” is owed, not “{message}”");
    }
    socket.say_json(&json!({"type": "close"}));
    assert_eq!(socket.hear_json()["state"], "closed");
    assert!(matches!(socket.hear(), Heard::Closed(1000)));
}
