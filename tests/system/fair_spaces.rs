//! A noisy space takes at most its share of a core: while its stream is refused again and again, because it sends more than
//! the core takes, nothing is refused that a neighbour sends who asks for less.
//!
//! The disk is synced once a second here, so that what is sent at once waits and fills the queue.

use engram_proto::engram::v1::observation_ack::Status as AckStatus;
use engram_proto::engram::v1::observation_request::Operation;
use engram_proto::engram::v1::observation_response::Result as Answer;
use engram_proto::engram::v1::{ObservationBatch, ObservationRequest};
use tokio::sync::watch;

use crate::harness::{Client, Memories, Observing, Server, get};

const CAPACITY: u64 = 200;
const ROUNDS: u64 = 3;
/// Observations of the quiet space a round: fewer than there is room above what the noisy one can fill.
const QUIET: u64 = 5;

/// Sends as much as the queue takes, and again what was refused, until nobody listens to how much that was.
async fn make_noise(mut stream: Observing, memories: Memories, refused: watch::Sender<u64>) {
    let mut acked = 0;
    while !refused.is_closed() {
        let episode = |number: u64| memories.episode(number as usize, &format!("m{number}"));
        let batch = ObservationRequest {
            session_id: stream.session.clone(),
            sequence_number: acked + 1,
            operation: Some(Operation::Batch(ObservationBatch {
                observations: (acked + 1..=acked + CAPACITY).map(episode).collect(),
            })),
            ..ObservationRequest::default()
        };
        assert!(stream.send(batch).await, "the noisy stream ended");
        let mut unanswered = CAPACITY;
        while unanswered > 0 {
            // Beside acks there are statuses: why an observation is refused, and how loaded the core is.
            let Some(Answer::Ack(ack)) = stream.answer().await.result else { continue };
            unanswered -= 1;
            match ack.status() {
                AckStatus::Accepted => acked += 1,
                _ => refused.send_modify(|refused| *refused += 1),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_noisy_space_is_refused_and_its_neighbour_is_not() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let arguments = ["--capacity", "200", "--durability", "interval:1000"];
    let server = Server::start_on(1, folder.path(), &arguments);
    let memories = Memories::bundled();
    let client = Client::connect(server.address).await;
    let mut quiet = client.begin("quiet").await;
    let (refused, mut heard) = watch::channel(0);
    let noisy = client.begin("noisy").await;
    let noise = tokio::spawn(make_noise(noisy, Memories::bundled(), refused));
    for round in 0..ROUNDS {
        let before = *heard.borrow_and_update();
        heard.wait_for(|refused| *refused > before).await.expect("the noise goes on");
        let numbers = || 1 + round * QUIET..=(round + 1) * QUIET;
        for number in numbers() {
            let episode = memories.episode(number as usize, &format!("q{number}"));
            quiet.observe(number, episode).await;
        }
        for number in numbers() {
            assert_eq!(quiet.accepted(number).await, format!("q{number}"));
        }
    }
    drop(heard);
    noise.await.expect("its stream lived on");
    let page = get(server.address, "/metrics").expect("an answer").body;
    let rejected = |space: &str| -> u64 {
        let name = format!(
            "engram_streaming_observations_rejected_total{{memory_space=\"{space}\",\
             reason=\"over_capacity\"}} "
        );
        let line = page.lines().find_map(|line| line.strip_prefix(&name));
        line.map_or(0, |count| count.parse().expect("a count"))
    };
    assert!(rejected("noisy") > 0, "{page}");
    assert_eq!(rejected("quiet"), 0);
}
