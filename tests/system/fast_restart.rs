//! A restart takes a space from its checkpoint: its graph is there at once, and so is every row, after a stop in order
//! as after a kill, twice in a row, and with another number of cores. (What a damaged one costs: `damaged_checkpoint`.)

use engram_shards::limits::GRAPH_ROWS_MIN;

use crate::harness::{Client, Memories, Server, first_of, space};

/// Rows of a space that gets a graph.
const ROWS: u64 = GRAPH_ROWS_MIN as u64 + 104;

/// All rows are there, in the graph from the start, and found by their own vectors.
async fn check(server: &Server, memories: &Memories) {
    let space = space(server.address);
    assert_eq!((&space["rows"], &space["linked"]), (&ROWS.into(), &ROWS.into()), "{space}");
    let client = Client::connect(server.address).await;
    for number in (1..=ROWS as usize).step_by(100) {
        let recalled = client.nearest("kept", memories, number, 1).await;
        assert_eq!(first_of(&recalled).id, format!("m{number}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_space_is_whole_and_linked_at_once() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let memories = Memories::bundled();
    let server = Server::start(folder.path());
    let client = Client::connect(server.address).await;
    client.store("kept", &memories, ROWS).await;
    drop(client);
    while space(server.address)["linked"] != ROWS {
        tokio::task::yield_now().await;
    }
    assert!(server.stop().success());
    let server = Server::start(folder.path());
    check(&server, &memories).await;
    server.kill();
    let server = Server::start_on(1, folder.path(), &[]);
    check(&server, &memories).await;
    server.kill();
    let server = Server::start(folder.path());
    check(&server, &memories).await;
    assert!(server.stop().success());
}
