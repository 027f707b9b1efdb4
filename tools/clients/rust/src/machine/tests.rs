//! A session's rules against scripts, and against a model of the server over random cuts, refusals and orders.

use super::*;

const MS: Duration = Duration::from_millis(1);
const ID: &str = "0190b1c2-0000-4000-8000-000000000000";

type Numbered = Machine<u64, u64>;

fn machine(options: SessionOptions) -> Numbered {
    Machine::new("robots", options, Chance::of(1))
}

fn episode(number: u64) -> wire::Episode {
    wire::Episode { what: number.to_string(), ..wire::Episode::default() }
}

fn response(sequence_number: u64, result: Answer) -> wire::ObservationResponse {
    wire::ObservationResponse {
        sequence_number,
        result: Some(result),
        ..wire::ObservationResponse::default()
    }
}

fn init_ack(initial_sequence: u64) -> wire::ObservationResponse {
    let session_id = ID.to_owned();
    let ack = wire::StreamInitAck { session_id, initial_sequence, capabilities: None };
    response(0, Answer::InitAck(ack))
}

fn accepted(first_sequence: u64, last: u64) -> wire::ObservationResponse {
    let status = AckStatus::Accepted.into();
    let ack = wire::ObservationAck { status, first_sequence, ..wire::ObservationAck::default() };
    response(last, Answer::Ack(ack))
}

/// A refusal, as the status that says why and the ack behind it.
fn refused(sequence: u64, state: Told, message: &str, ms: u32) -> [wire::ObservationResponse; 2] {
    let why = wire::StreamStatus {
        state: state.into(),
        message: message.to_owned(),
        retry_after_ms: ms,
        ..wire::StreamStatus::default()
    };
    let status = AckStatus::Rejected.into();
    let ack = wire::ObservationAck { status, ..wire::ObservationAck::default() };
    [response(sequence, Answer::Status(why)), response(sequence, Answer::Ack(ack))]
}

fn told(state: Told, rate: f32) -> wire::ObservationResponse {
    let status = wire::StreamStatus {
        state: state.into(),
        preferred_rate: rate,
        ..wire::StreamStatus::default()
    };
    response(0, Answer::Status(status))
}

/// Opens it at `initial`.
fn open(machine: &mut Numbered, initial: u64, now: Duration) {
    machine.handle_connecting(now);
    assert!(matches!(sent(machine, now), Some(Operation::Init(_))));
    machine.handle_response(init_ack(initial), now);
    assert_eq!(machine.state(), State::Open, "{:?}", machine.failure());
}

fn sent(machine: &mut Numbered, now: Duration) -> Option<Operation> {
    match machine.next(now) {
        Next::Send(request) => request.operation,
        Next::Wait(_) => None,
    }
}

/// First sequence and texts of all that may be sent now.
fn observations(machine: &mut Numbered, now: Duration) -> Vec<(u64, Vec<String>)> {
    let mut sent = Vec::new();
    while let Next::Send(request) = machine.next(now) {
        let episodes = match request.operation.expect("a message says something") {
            Operation::Observation(episode) => vec![episode],
            Operation::Batch(batch) => batch.observations,
            other => panic!("no observation but {other:?}"),
        };
        let texts = episodes.into_iter().map(|episode| episode.what).collect();
        sent.push((request.sequence_number, texts));
    }
    sent
}

fn observe(machine: &mut Numbered, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        machine.observe(number, episode(number));
    }
}

/// What was decided: each observation's number, and its sequence or the kind of its error.
fn decided(machine: &mut Numbered) -> Vec<(u64, Result<u64, ErrorKind>)> {
    let observed = |outcome| match outcome {
        Outcome::Observed(number, outcome) => {
            Some((number, outcome.map(|receipt| receipt.sequence).map_err(|error| error.kind())))
        }
        Outcome::Recalled(..) => None,
    };
    machine.outcomes().into_iter().filter_map(observed).collect()
}

fn texts(numbers: &[u64]) -> Vec<String> {
    numbers.iter().map(u64::to_string).collect()
}

#[test]
fn no_more_than_the_window_is_under_way_and_what_waits_goes_together() {
    let mut machine = machine(SessionOptions { window: 3, ..SessionOptions::default() });
    open(&mut machine, 0, MS);
    observe(&mut machine, 1..=1);
    assert_eq!(observations(&mut machine, MS), [(1, texts(&[1]))]);
    observe(&mut machine, 2..=5);
    assert_eq!(observations(&mut machine, MS), [(2, texts(&[2, 3]))]);
    machine.handle_response(accepted(1, 2), MS);
    assert_eq!(decided(&mut machine), [(1, Ok(1)), (2, Ok(2))]);
    assert_eq!(observations(&mut machine, MS), [(4, texts(&[4, 5]))]);
}

#[test]
fn a_resumed_session_goes_on_behind_what_is_durable() {
    let mut machine = machine(SessionOptions::default());
    open(&mut machine, 7, MS);
    observe(&mut machine, 1..=3);
    assert_eq!(observations(&mut machine, MS), [(8, texts(&[1, 2, 3]))]);
    machine.handle_end(None, 2 * MS);
    assert_eq!(machine.state(), State::Lost);
    assert!(machine.connect_at() > 2 * MS, "not at once");
    open(&mut machine, 9, 100 * MS);
    assert_eq!(decided(&mut machine), [(1, Ok(8)), (2, Ok(9))], "its ack was lost");
    assert_eq!(observations(&mut machine, 100 * MS), [(10, texts(&[3]))]);
    assert_eq!(machine.reconnects(), 1);
}

#[test]
fn an_overloaded_server_is_given_its_time_and_half_the_window() {
    let options = SessionOptions { window: 4, ..SessionOptions::default() };
    let mut machine = machine(options);
    open(&mut machine, 0, MS);
    observe(&mut machine, 1..=4);
    assert_eq!(observations(&mut machine, MS).len(), 1);
    machine.handle_response(accepted(1, 1), MS);
    for sequence in 2..=4 {
        let (state, message) = match sequence {
            2 => (Told::Overloaded, "Queue error"),
            _ => (Told::Error, "Sequence validation failed: it follows"),
        };
        assert_eq!(machine.next(MS), Next::Wait(None), "until all under way is answered");
        for response in refused(sequence, state, message, 80) {
            machine.handle_response(response, MS);
        }
    }
    let Next::Wait(Some(until)) = machine.next(MS) else { panic!("it waits") };
    assert!(until >= 81 * MS && until <= 101 * MS, "{until:?}");
    assert_eq!(observations(&mut machine, until), [(2, texts(&[2, 3]))], "half of the window");
    machine.handle_response(accepted(2, 3), until);
    assert_eq!(observations(&mut machine, until), [(4, texts(&[4]))]);
    assert_eq!((machine.overloads(), machine.failure()), (1, None));
}

#[test]
fn one_that_is_refused_for_what_it_holds_leaves_the_row() {
    let mut machine = machine(SessionOptions::default());
    open(&mut machine, 0, MS);
    observe(&mut machine, 1..=3);
    observations(&mut machine, MS);
    let why = "Embedding must be finite (field: embedding)";
    let follows = "Sequence validation failed: it follows";
    for (sequence, why) in [(1, why), (2, follows), (3, follows)] {
        for response in refused(sequence, Told::Error, why, 0) {
            machine.handle_response(response, MS);
        }
    }
    assert_eq!(decided(&mut machine), [(1, Err(ErrorKind::InvalidObservation))]);
    assert_eq!(observations(&mut machine, MS), [(1, texts(&[2, 3]))]);
}

#[test]
fn a_server_that_asks_for_less_gets_less() {
    let mut machine = machine(SessionOptions::default());
    open(&mut machine, 0, MS);
    machine.handle_response(told(Told::Backpressure, 100.0), MS);
    observe(&mut machine, 1..=3);
    assert_eq!(observations(&mut machine, MS), [(1, texts(&[1]))]);
    assert_eq!(machine.next(2 * MS), Next::Wait(Some(11 * MS)));
    assert_eq!(observations(&mut machine, 11 * MS), [(2, texts(&[2]))]);
    machine.handle_response(told(Told::Active, 0.0), 12 * MS);
    assert_eq!(observations(&mut machine, 12 * MS), [(3, texts(&[3]))]);
    machine.handle_response(told(Told::Paused, 0.0), 12 * MS);
    observe(&mut machine, 4..=4);
    assert_eq!(machine.next(12 * MS), Next::Wait(None));
}

#[test]
fn a_recall_goes_behind_what_was_observed_before_it() {
    let mut machine = machine(SessionOptions { window: 2, ..SessionOptions::default() });
    open(&mut machine, 0, MS);
    observe(&mut machine, 1..=3);
    machine.recall(1, wire::StreamingRecallRequest::default());
    assert!(matches!(sent(&mut machine, MS), Some(Operation::Batch(_))));
    assert_eq!(
        sent(&mut machine, MS),
        None,
        "the third has no room yet, so neither has the recall"
    );
    machine.handle_response(accepted(1, 1), MS);
    assert!(matches!(sent(&mut machine, MS), Some(Operation::Observation(_))));
    let Some(Operation::Recall(request)) = sent(&mut machine, MS) else { panic!("its turn") };
    assert_eq!(
        (request.memory_space_id.as_str(), request.request_id.as_str()),
        ("robots", "recall-1")
    );

    // Where its user holds the observations back, it does not wait for them.
    machine.hold(true);
    observe(&mut machine, 4..=4);
    machine.recall(2, wire::StreamingRecallRequest::default());
    assert!(matches!(sent(&mut machine, MS), Some(Operation::Recall(_))));
    machine.handle_response(accepted(2, 3), MS);
    assert_eq!(sent(&mut machine, MS), None);
    machine.hold(false);
    assert_eq!(observations(&mut machine, MS), [(4, texts(&[4]))]);
}

#[test]
fn a_recall_is_asked_again_after_a_loss_and_answered_once() {
    let mut machine = machine(SessionOptions::default());
    open(&mut machine, 0, MS);
    machine.recall(5, wire::StreamingRecallRequest::default());
    assert!(matches!(sent(&mut machine, MS), Some(Operation::Recall(_))));
    let page = |metadata: Option<wire::RecallMetadata>| {
        let results = match metadata {
            None => vec![wire::Memory { content: "one".to_owned(), ..wire::Memory::default() }],
            Some(_) => Vec::new(),
        };
        let request_id = "recall-1".to_owned();
        let page = wire::StreamingRecallResponse {
            results,
            metadata,
            request_id,
            ..wire::StreamingRecallResponse::default()
        };
        response(0, Answer::RecallResult(page))
    };
    machine.handle_response(page(None), MS);
    machine.handle_end(None, MS);
    open(&mut machine, 0, 90 * MS);
    assert!(matches!(sent(&mut machine, 90 * MS), Some(Operation::Recall(_))));
    machine.handle_response(page(None), 90 * MS);
    machine.handle_response(page(Some(wire::RecallMetadata::default())), 90 * MS);
    match &machine.outcomes()[..] {
        [Outcome::Recalled(5, Ok(found))] => assert_eq!(found.memories.len(), 1, "not twice"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn it_is_given_up_once_nothing_came_of_it_for_too_long() {
    let patience = Some(Duration::from_secs(2));
    let mut machine = machine(SessionOptions { patience, ..SessionOptions::default() });
    open(&mut machine, 0, MS);
    observe(&mut machine, 1..=1);
    let mut now = 2 * MS;
    while machine.state() != State::Failed {
        machine.handle_end(Some(Error::new(ErrorKind::Unavailable, "no route")), now);
        if machine.state() == State::Lost {
            now = machine.connect_at();
            machine.handle_connecting(now);
        }
        assert!(now < Duration::from_secs(3), "it tries for ever");
    }
    assert!(now > Duration::from_millis(500), "it hardly tried: {now:?}");
    assert_eq!(decided(&mut machine), [(1, Err(ErrorKind::Unavailable))]);
    assert!(machine.failure().expect("failed").message().contains("no route"));
    machine.observe(2, episode(2));
    assert_eq!(decided(&mut machine), [(2, Err(ErrorKind::Unavailable))]);
}

#[test]
fn a_session_that_another_one_took_over_is_left_to_it() {
    let mut machine = machine(SessionOptions::default());
    open(&mut machine, 0, MS);
    let aborted = Error::of_status(&tonic::Status::aborted("taken over"));
    machine.handle_end(Some(aborted), MS);
    assert_eq!(machine.failure().expect("failed").kind(), ErrorKind::SessionTakenOver);
}

#[test]
fn answers_that_cannot_be_end_it() {
    let broken = |response: wire::ObservationResponse| {
        let mut machine = machine(SessionOptions::default());
        open(&mut machine, 0, MS);
        observe(&mut machine, 1..=2);
        observations(&mut machine, MS);
        machine.handle_response(response, MS);
        machine.failure().map(Error::kind)
    };
    assert_eq!(broken(accepted(1, 2)), None);
    for response in [accepted(2, 2), accepted(1, 3), init_ack(0)] {
        assert_eq!(broken(response), Some(ErrorKind::Protocol));
    }
}

#[test]
fn it_is_closed_once_all_is_acked() {
    let mut machine = machine(SessionOptions::default());
    open(&mut machine, 0, MS);
    machine.hold(true);
    observe(&mut machine, 1..=1);
    machine.close(false);
    observe(&mut machine, 2..=2);
    assert_eq!(decided(&mut machine), [(2, Err(ErrorKind::SessionClosed))]);
    assert_eq!(observations(&mut machine, MS), [(1, texts(&[1]))], "closing ends a pause");
    machine.handle_response(accepted(1, 1), MS);
    assert!(
        matches!(sent(&mut machine, MS), Some(Operation::Close(close)) if close.last_sequence == 1)
    );
    let closed = wire::StreamStatus { state: Told::Closed.into(), ..wire::StreamStatus::default() };
    machine.handle_response(response(1, Answer::Status(closed)), MS);
    assert_eq!(machine.state(), State::Closed);
}

/// The server's rules of order, the slow and obvious way, over two queues that a cut empties.
#[derive(Default)]
struct Model {
    /// What is durable, in order.
    kept: Vec<u64>,
    /// Taken and not durable yet, and refusals that wait for those before them.
    turn: VecDeque<Result<u64, (u64, Told, &'static str)>>,
    to_server: VecDeque<(u64, u64)>,
    to_client: VecDeque<wire::ObservationResponse>,
}

/// Each so manieth observation is one that the server refuses for what it holds.
fn is_bad(number: u64) -> bool {
    number.is_multiple_of(9)
}

impl Model {
    fn take(&mut self, is_overloaded: bool) {
        let Some((sequence, number)) = self.to_server.pop_front() else { return };
        let taken = self.turn.iter().filter(|turn| turn.is_ok()).count();
        let expected = (self.kept.len() + taken) as u64 + 1;
        assert!(sequence >= expected, "{sequence} was sent again on one connection");
        self.turn.push_back(if sequence > expected {
            Err((sequence, Told::Error, "Sequence validation failed: it follows"))
        } else if is_bad(number) {
            Err((sequence, Told::Error, "Embedding must be finite (field: embedding)"))
        } else if is_overloaded {
            Err((sequence, Told::Overloaded, "Queue error"))
        } else {
            Ok(number)
        });
    }

    /// Makes one more durable, or tells one more refusal.
    fn sync(&mut self) {
        match self.turn.pop_front() {
            None => {}
            Some(Ok(number)) => {
                self.kept.push(number);
                let sequence = self.kept.len() as u64;
                self.to_client.push_back(accepted(sequence, sequence));
            }
            Some(Err((sequence, state, why))) => {
                self.to_client.extend(refused(sequence, state, why, 7));
            }
        }
    }

    fn cut(&mut self) {
        self.turn.clear();
        self.to_server.clear();
        self.to_client.clear();
    }
}

fn run(seed: u64) {
    let mut chance = Chance::of(seed);
    let mut below = |count: u64| chance.next() % count;
    let window = 1 + below(8) as u32;
    let patience = None;
    let options = SessionOptions { window, patience, ..SessionOptions::default() };
    let mut machine: Numbered = Machine::new("robots", options, Chance::of(seed));
    let mut model = Model::default();
    let mut now = Duration::ZERO;
    let (mut observed, mut settled) = (0, Vec::new());
    open(&mut machine, 0, now);
    for step in 0.. {
        let is_ending = step > 600;
        match below(12) {
            0 | 1 if !is_ending => {
                observed += 1;
                machine.observe(observed, episode(observed));
            }
            2..=4 => match machine.next(now) {
                Next::Wait(until) => now = until.unwrap_or(now).max(now),
                Next::Send(request) => {
                    let first = request.sequence_number;
                    let episodes = match request.operation.expect("a message says something") {
                        Operation::Observation(episode) => vec![episode],
                        Operation::Batch(batch) => batch.observations,
                        other => panic!("no observation but {other:?}"),
                    };
                    let numbers = episodes.iter().map(|one| one.what.parse().expect("a number"));
                    model.to_server.extend((first..).zip(numbers));
                }
            },
            5 | 6 => model.take(!is_ending && below(9) == 0),
            7 | 8 => model.sync(),
            9 | 10 => {
                if let Some(response) = model.to_client.pop_front() {
                    machine.handle_response(response, now);
                }
            }
            _ if !is_ending && below(6) == 0 => {
                machine.handle_end(None, now);
                for _ in 0..below(4) {
                    model.sync();
                }
                model.cut();
                now = machine.connect_at();
                open(&mut machine, model.kept.len() as u64, now);
            }
            _ => {}
        }
        assert_eq!(machine.failure(), None);
        settled.extend(decided(&mut machine));
        if is_ending && machine.pending() == 0 {
            break;
        }
        assert!(step < 60_000, "it does not end");
    }
    let good: Vec<u64> = (1..=observed).filter(|&number| !is_bad(number)).collect();
    assert_eq!(model.kept, good, "each once, in order");
    let mut sequence = 0;
    let expected = (1..=observed).map(|number| {
        sequence += u64::from(!is_bad(number));
        let refused = Err(ErrorKind::InvalidObservation);
        (number, if is_bad(number) { refused } else { Ok(sequence) })
    });
    assert_eq!(settled, expected.collect::<Vec<_>>(), "each told once");
}

#[test]
fn random_sessions_keep_each_observation_once_and_in_order() {
    let setting = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let first = setting("ENGRAM_TEST_SEED").unwrap_or(0);
    let count = setting("ENGRAM_TEST_SEEDS").unwrap_or(500);
    for seed in first..first + count {
        if std::panic::catch_unwind(|| run(seed)).is_err() {
            panic!(
                "again with: ENGRAM_TEST_SEED={seed} ENGRAM_TEST_SEEDS=1 cargo test --release \
                 -p engram-client random_sessions"
            );
        }
    }
}
