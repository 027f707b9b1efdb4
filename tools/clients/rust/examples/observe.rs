//! Streams observations and recalls one of them: `cargo run --example observe [http://127.0.0.1:50051]`.

use engram_client::{Client, ErrorKind, Observation, Recall, SessionOptions};

const DIMENSION: usize = 768;
const COUNT: usize = 1_000;

/// Stands for the embedding of a text by some model.
fn embedding(seed: usize) -> Vec<f32> {
    (0..DIMENSION).map(|i| (seed as f32 * (i + 1) as f32).sin()).collect()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1);
    let client = Client::new(address.as_deref().unwrap_or("http://127.0.0.1:50051"))?;
    let session = client.open_session("example", SessionOptions::default()).await?;

    let mut acks = Vec::new();
    for n in 1..=COUNT {
        let observation = Observation::new(format!("observation {n}"), embedding(n));
        acks.push(session.observe(observation).await?);
    }
    for ack in acks {
        ack.await?;
    }
    println!("{} observations are durable", session.durable_sequence());

    let refused = session.observe(Observation::new("too short", [1.0, 2.0])).await?.await;
    match refused {
        Err(error) if error.kind() == ErrorKind::InvalidObservation => {
            println!("refused, as it should be: {error}");
        }
        other => return Err(format!("not refused: {other:?}").into()),
    }

    let found =
        session.recall(Recall { max_results: 3, ..Recall::nearest(embedding(500)) }).await?;
    for memory in found.memories {
        println!("{:.3}  {}", memory.activation, memory.content);
    }
    println!("closed at {}", session.close().await?);
    Ok(())
}
