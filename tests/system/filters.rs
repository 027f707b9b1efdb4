//! A recall is filtered by time, place, people and tags, over every call that recalls; a cue without a vector gives the
//! newest of what passes, newest first. Both go on as they were after a restart.

use engram_proto::engram::v1::cue::CueType;
use engram_proto::engram::v1::remember_request::MemoryType as Remembered;
use engram_proto::engram::v1::{
    ContextCue, Cue, Episode, Memory, RecallFilter, RecallRequest, RecallResponse, RememberRequest,
    RememberResponse, StreamingRecallRequest,
};
use prost_types::Timestamp;
use tonic::Code;

use crate::harness::{Client, Memories, Server};

const SPACE: &str = "filtered";
const ROWS: usize = 60;
const DAY: i64 = 86_400;

fn day(number: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds: number * DAY, nanos: 0 })
}

/// Memory `number` happened on the day of that number, at one of two places, with everybody and one of three.
fn episode(memories: &Memories, number: usize) -> Episode {
    Episode {
        when: day(number as i64),
        where_location: ["lab", "field"][number % 2].to_owned(),
        who: vec!["everybody".to_owned(), ["Ada", "Bob", "Cyd"][number % 3].to_owned()],
        ..memories.episode(number, &format!("m{number}"))
    }
}

async fn remember(client: &Client, what: Remembered) {
    let request = RememberRequest {
        memory_space_id: SPACE.to_owned(),
        memory_type: Some(what),
        ..RememberRequest::default()
    };
    let _: RememberResponse = client.call("Remember", request).await.expect("it is stored");
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn context(context: ContextCue) -> Cue {
    Cue { cue_type: Some(CueType::Context(context)), ..Cue::default() }
}

/// Numbers of what a recall with this cue and filter gives.
async fn found(client: &Client, cue: Cue, filter: RecallFilter, count: u32) -> Vec<usize> {
    let request = StreamingRecallRequest {
        memory_space_id: SPACE.to_owned(),
        cue: Some(cue),
        max_results: count,
        filter: Some(filter),
        ..StreamingRecallRequest::default()
    };
    let recalled = client.recall(request).await.expect("a filter is served");
    recalled.memories.iter().map(|memory| memory.id[1..].parse().expect("a number")).collect()
}

async fn check(client: &Client, memories: &Memories) {
    let bob_in_the_field = RecallFilter {
        where_location: "field".to_owned(),
        who: names(&["Bob", "everybody"]),
        ..RecallFilter::default()
    };
    let passing = |number: &usize| number % 2 == 1 && number % 3 == 1;
    let expected: Vec<usize> = (0..ROWS).filter(passing).collect();
    // As many as pass, however many are asked for; the one whose vector it is comes first.
    let mut all = found(client, memories.cue(7), bob_in_the_field.clone(), 50).await;
    assert_eq!(all[0], 7);
    all.sort_unstable();
    assert_eq!(all, expected);
    let nearest = found(client, memories.cue(8), bob_in_the_field.clone(), 3).await;
    assert_eq!(nearest.len(), 3);
    assert!(nearest.iter().all(passing), "{nearest:?}");

    let days = RecallFilter { from: day(10), to: day(13), ..RecallFilter::default() };
    let mut in_time = found(client, memories.cue(0), days.clone(), 50).await;
    in_time.sort_unstable();
    assert_eq!(in_time, [10, 11, 12], "the end is exclusive");
    let cue = ContextCue {
        time_start: day(20),
        time_end: day(30),
        location: "lab".to_owned(),
        participants: names(&["everybody"]),
    };
    let newest = found(client, context(cue.clone()), RecallFilter::default(), 4).await;
    assert_eq!(newest, [28, 26, 24, 22]);
    let both = RecallFilter { to: day(25), who: names(&["Ada"]), ..RecallFilter::default() };
    assert_eq!(found(client, context(cue.clone()), both, 4).await, [24]);
    let tagged = RecallFilter { tags: names(&["blue", "round"]), ..RecallFilter::default() };
    assert_eq!(found(client, memories.cue(0), tagged, 50).await, [1_000]);

    let request = RecallRequest {
        memory_space_id: SPACE.to_owned(),
        cue: Some(context(cue)),
        max_results: 2,
        ..RecallRequest::default()
    };
    let recalled: RecallResponse = client.call("Recall", request).await.expect("it is served");
    let ids: Vec<&str> = recalled.memories.iter().map(|memory| memory.id.as_str()).collect();
    assert_eq!(ids, ["m28", "m26"]);
    assert!(recalled.memories.iter().all(|memory| memory.activation == 1.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recalls_are_filtered_by_time_place_people_and_tags_also_after_a_restart() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let memories = Memories::bundled();
    let client = Client::connect(server.address).await;
    for number in 0..ROWS {
        remember(&client, Remembered::Episode(episode(&memories, number))).await;
    }
    for (number, tags) in [(1_000, names(&["round", "blue"])), (1_001, names(&["blue"]))] {
        let memory = Memory {
            id: format!("m{number}"),
            embedding: memories.vector(number),
            content: memories.text(number),
            created_at: day(-5),
            tags,
            ..Memory::default()
        };
        remember(&client, Remembered::Memory(memory)).await;
    }
    check(&client, &memories).await;
    assert!(tokio::task::block_in_place(|| server.stop()).success());
    let server = Server::start(folder.path());
    let client = Client::connect(server.address).await;
    check(&client, &memories).await;

    let bad =
        RecallFilter { from: Some(Timestamp { seconds: 0, nanos: -1 }), ..RecallFilter::default() };
    let request = StreamingRecallRequest {
        memory_space_id: SPACE.to_owned(),
        cue: Some(memories.cue(1)),
        filter: Some(bad),
        ..StreamingRecallRequest::default()
    };
    let Err(refusal) = client.recall(request).await else { panic!("no time") };
    assert_eq!(refusal.code(), Code::InvalidArgument);
}
