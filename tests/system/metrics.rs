//! A space is made to compare by the cosine, the dot product or the distance; it says so, recalls so, and still does after
//! the process was killed.

use std::net::SocketAddr;

use engram_proto::engram::v1::{
    Cue, EmbeddingCue, Episode, Memory, StreamingRecallRequest, cue::CueType,
};
use serde_json::{Value, json};

use crate::harness::{Client, Server, get, post};

const METRICS: [&str; 3] = ["cosine", "dot", "euclidean"];
const DIMENSION: usize = 100;
const ROWS: u64 = 60;

/// Vector `number`, of a length and a direction of its own.
fn vector(number: u64) -> Vec<f32> {
    let length = 0.5 + (number % 7) as f32 / 2.0;
    (0..DIMENSION as u64)
        .map(|at| length * ((number * 37 + at * at + 1) as f32).sin() / 10.0)
        .collect()
}

/// How like each other two vectors are, as results tell it.
fn activation(metric: &str, one: &[f32], other: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let product = dot(one, other);
    let square = dot(one, one) + dot(other, other) - 2.0 * product;
    match metric {
        "cosine" => (product / (dot(one, one) * dot(other, other)).sqrt()).max(0.0),
        "dot" => product.max(0.0) / (1.0 + product.max(0.0)),
        _ => 1.0 / (1.0 + square),
    }
}

fn create(address: SocketAddr, space: &Value) -> (u16, Value) {
    let answer = post(address, "/api/v1/spaces", &space.to_string()).expect("it answers");
    (answer.status, serde_json::from_str(&answer.body).expect("JSON"))
}

/// Id and metric of each space.
fn listed(address: SocketAddr) -> Vec<(String, String)> {
    let answer = get(address, "/api/v1/spaces").expect("it answers");
    let list: Value = serde_json::from_str(&answer.body).expect("JSON");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let spaces = list["spaces"].as_array().expect("a list");
    spaces.iter().map(|space| (text(&space["id"]), text(&space["metric"]))).collect()
}

async fn recall(client: &Client, space: &str, similarity_threshold: f32) -> Vec<Memory> {
    let cue = EmbeddingCue { vector: vector(1_000), similarity_threshold };
    let cue = Cue { cue_type: Some(CueType::Embedding(cue)), ..Cue::default() };
    let request = StreamingRecallRequest {
        memory_space_id: space.to_owned(),
        cue: Some(cue),
        max_results: 20,
        ..StreamingRecallRequest::default()
    };
    client.recall(request).await.expect("a recall of a known space succeeds").memories
}

async fn check_recalls(client: &Client, metric: &str) {
    let scored = |row| (activation(metric, &vector(row), &vector(1_000)), format!("m{row}"));
    let mut exact: Vec<(f32, String)> = (1..=ROWS).map(scored).collect();
    exact.sort_by(|one, other| other.0.total_cmp(&one.0));
    let found = recall(client, metric, 0.0).await;
    assert_eq!(found.len(), 20);
    for (found, (activation, id)) in found.iter().zip(&exact) {
        assert_eq!(&found.id, id, "{metric}");
        assert!((found.activation - activation).abs() < 1e-4, "{metric}: {}", found.activation);
        let confidence = found.confidence.as_ref().expect("there is one").value;
        assert_eq!(confidence, found.activation, "what is durable is as sure as it is like");
    }
    let between = (exact[4].0 + exact[5].0) / 2.0;
    let found = recall(client, metric, between).await;
    let ids: Vec<&str> = found.iter().map(|memory| memory.id.as_str()).collect();
    let expected: Vec<&str> = exact[..5].iter().map(|(_, id)| id.as_str()).collect();
    assert_eq!(ids, expected, "{metric}: those of an activation above {between}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_metric_recalls_by_its_own_measure_before_and_after_a_crash() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let client = Client::connect(server.address).await;
    for metric in METRICS {
        let space = json!({"id": metric, "dimension": DIMENSION, "metric": metric});
        let (status, made) = create(server.address, &space);
        assert_eq!((status, &made["metric"]), (201, &json!(metric)));
        let mut stream = client.begin(metric).await;
        for number in 1..=ROWS {
            let id = format!("m{number}");
            let episode = Episode { id, embedding: vector(number), ..Episode::default() };
            stream.observe(number, episode).await;
            stream.accepted(number).await;
        }
        stream.close(ROWS).await;
        check_recalls(&client, metric).await;
    }
    server.kill();
    let server = Server::start(folder.path());
    let client = Client::connect(server.address).await;
    assert_eq!(listed(server.address), METRICS.map(|name| (name.to_owned(), name.to_owned())));
    for metric in METRICS {
        check_recalls(&client, metric).await;
    }
}

#[test]
fn a_metric_is_chosen_once_and_from_what_there_is() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let space = |metric: &str| json!({"id": "robots", "dimension": 8, "metric": metric});
    let (status, refused) = create(server.address, &space("manhattan"));
    assert_eq!(status, 400);
    let message = refused["error"]["message"].as_str().expect("a text");
    assert!(METRICS.iter().all(|name| message.contains(name)), "{message}");
    let (status, made) = create(server.address, &space("l2"));
    assert_eq!((status, &made["metric"]), (201, &json!("euclidean")));
    assert_eq!(create(server.address, &space("euclidean")).0, 200);
    for other in ["dot", "cosine"] {
        let (status, refused) = create(server.address, &space(other));
        assert_eq!((status, &refused["error"]["code"]), (409, &json!("already_exists")));
    }
    assert_eq!(listed(server.address), [("robots".to_owned(), "euclidean".to_owned())]);
}
