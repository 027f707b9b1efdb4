//! `Introspect` tells what there is: the numbers of one space or of all, as they are when it is asked.

use engram_proto::engram::v1::{IntrospectRequest, IntrospectResponse};
use tonic::{Code, Status};

use crate::harness::{Client, Memories, Server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn introspection_tells_true_numbers_of_one_space_or_of_all() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let memories = Memories::bundled();
    let client = Client::connect(server.address).await;
    client.store("first", &memories, 30).await;
    client.store("second", &memories, 12).await;
    for (space, stored) in [("first", 30), ("second", 12), ("", 42)] {
        let request = IntrospectRequest {
            memory_space_id: space.to_owned(),
            include_health: true,
            include_statistics: true,
            ..IntrospectRequest::default()
        };
        let told: IntrospectResponse =
            client.call("Introspect", request).await.expect("the spaces are there");
        for name in ["memories", "observations", "indexed"] {
            assert_eq!(told.metrics[name], stored as f32, "{name} of {space}");
        }
        assert_eq!(told.metrics["queue_depth"], 0.0);
        assert_eq!(told.statistics.expect("asked for").total_memories, stored);
        let health = told.health.expect("asked for");
        assert!(health.healthy && health.components.values().all(|core| core.operational));
    }
    let request =
        IntrospectRequest { metrics: vec!["memories".to_owned()], ..IntrospectRequest::default() };
    let told: IntrospectResponse = client.call("Introspect", request).await.expect("served");
    assert_eq!(told.metrics_snapshot_json, r#"{"memories":42.0}"#);
    assert!(told.health.is_none() && told.statistics.is_none());
    let request =
        IntrospectRequest { memory_space_id: "nowhere".to_owned(), ..IntrospectRequest::default() };
    let refused: Result<IntrospectResponse, Status> = client.call("Introspect", request).await;
    assert_eq!(refused.expect_err("there is no such space").code(), Code::NotFound);
}
