//! A space tells how good its recall is and what holds it there, and is at rest once it is held.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Client, Memories, Server, first_of, get, owed};

const ROWS: u64 = 600;
/// Between two looks at what the server says.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// What is told of the only space.
fn space(address: SocketAddr) -> Value {
    let answer = get(address, "/api/v1/spaces").expect("it answers");
    let list: Value = serde_json::from_str(&answer.body).expect("JSON");
    list["spaces"][0].clone()
}

/// A value of the metrics.
fn metric(address: SocketAddr, name: &str) -> String {
    let answer = get(address, "/metrics").expect("it answers");
    let series = format!("engram_streaming_{name}{{memory_space=\"held\"}} ");
    let line = answer.body.lines().find_map(|line| line.strip_prefix(&series));
    line.unwrap_or_else(|| panic!("no {name} in {}", answer.body)).to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_space_at_rest_tells_its_recall_and_works_no_more() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let memories = Memories::bundled();
    let client = Client::connect(server.address).await;
    let mut stream = client.begin("held").await;
    for number in 1..=ROWS {
        let episode = memories.episode(number as usize, &format!("m{number}"));
        stream.observe(number, episode).await;
        stream.accepted(number).await;
    }
    stream.close(ROWS).await;
    let at_rest = async {
        loop {
            let space = space(server.address);
            if space["indexed"] == ROWS && space["settled"] == true {
                return space;
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    };
    let space = owed("rest", at_rest).await;
    assert_eq!(space["refined"], ROWS);
    let estimate = space["recall_estimate"].as_f64().expect("it was sampled");
    assert!((0.95..=1.0).contains(&estimate), "{estimate}");
    let width = space["search_width"].as_u64().expect("a width");
    assert!(width < 128, "{ROWS} rows need no width of {width}");
    assert_eq!(metric(server.address, "search_width"), width.to_string());
    assert_eq!(metric(server.address, "refined_rows"), ROWS.to_string());
    let spent = metric(server.address, "upkeep_distances_total");
    for number in (1..=ROWS as usize).step_by(50) {
        let recalled = client.nearest("held", &memories, number, 1).await;
        assert_eq!(first_of(&recalled).id, format!("m{number}"));
    }
    assert_eq!(metric(server.address, "upkeep_distances_total"), spent, "it is at rest");
}
