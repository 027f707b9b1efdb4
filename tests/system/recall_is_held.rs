//! A space tells how good its recall is and what holds it there, and is at rest once it is held. A small one is at rest
//! as soon as it is durable: its rows are compared one by one.

use std::net::SocketAddr;
use std::time::Duration;

use engram_shards::limits::GRAPH_ROWS_MIN;

use crate::harness::{Client, Memories, Server, first_of, get, owed, space};

/// Rows of a space that gets a graph …
const ROWS: u64 = GRAPH_ROWS_MIN as u64 + 104;
/// … and of one that does not.
const ROWS_SMALL: u64 = 600;
/// Between two looks at what the server says.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// A value of the metrics.
fn metric(address: SocketAddr, name: &str) -> String {
    let answer = get(address, "/metrics").expect("it answers");
    let series = format!("engram_streaming_{name}{{memory_space=\"held\"}} ");
    let line = answer.body.lines().find_map(|line| line.strip_prefix(&series));
    line.unwrap_or_else(|| panic!("no {name} in {}", answer.body)).to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_space_is_at_rest_without_a_graph() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let memories = Memories::bundled();
    let client = Client::connect(server.address).await;
    client.store("held", &memories, ROWS_SMALL).await;
    let space = space(server.address);
    assert_eq!((&space["indexed"], &space["linked"]), (&ROWS_SMALL.into(), &0.into()));
    assert_eq!(space["settled"], true);
    for number in (1..=ROWS_SMALL as usize).step_by(50) {
        let recalled = client.nearest("held", &memories, number, 1).await;
        assert_eq!(first_of(&recalled).id, format!("m{number}"));
    }
    assert_eq!(metric(server.address, "upkeep_distances_total"), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_space_at_rest_tells_its_recall_and_works_no_more() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let memories = Memories::bundled();
    let client = Client::connect(server.address).await;
    client.store("held", &memories, ROWS).await;
    let at_rest = async {
        loop {
            let space = space(server.address);
            if space["linked"] == ROWS && space["settled"] == true {
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
    for number in (1..=ROWS as usize).step_by(350) {
        let recalled = client.nearest("held", &memories, number, 1).await;
        assert_eq!(first_of(&recalled).id, format!("m{number}"));
    }
    assert_eq!(metric(server.address, "upkeep_distances_total"), spent, "it is at rest");
}
