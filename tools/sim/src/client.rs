//! Who sends: one client, its session, and the connection that carries it, credits included.

use engram_shards::attributes::Attributes;
use engram_shards::ids::{SessionEpoch, SessionId, SpaceKey, StripeKey, Time};
use engram_shards::log::record::{Embedding, Observation, encode_body};
use engram_shards::message::{Append, Drain, IfExists, Lane, OpenIntent, Refusal, Reply, Request};
use engram_shards::settings::{Metric, SpaceSettings};
use engram_shards::vector::codes::{Codes, Encoded};

use crate::fault::{Bug, Weather};
use crate::ledger::{Attempt, Ledger, Token, Wrong, wrong};
use crate::process::SECRET;
use crate::random::Random;

/// A space that clients use.
#[derive(Clone, Debug)]
pub struct Space {
    /// Its number in this world.
    pub number: usize,
    /// What it is made with.
    pub settings: SpaceSettings,
}

impl Space {
    /// The space of that number.
    pub fn new(number: usize, dimension: u16) -> Space {
        let name = format!("space-{number}");
        Space {
            number,
            settings: SpaceSettings { name, dimension, metric: METRICS[number % 3], stripes: 1 },
        }
    }

    /// Its key.
    pub fn key(&self) -> SpaceKey {
        SECRET.space_key(&self.settings.name)
    }

    /// Its only stripe.
    pub fn stripe(&self) -> StripeKey {
        StripeKey { space: self.key(), stripe: 0 }
    }
}

/// Those of spaces, in turn.
const METRICS: [Metric; 3] = [Metric::Cosine, Metric::Euclidean, Metric::Dot];

/// What a client is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Without a connection.
    Away,
    /// Waits for its space.
    Making,
    /// Waits for its session.
    Opening,
    /// Sends.
    Sending,
    /// Waits for the end of its session.
    Closing,
}

/// One client.
#[derive(Debug)]
pub struct Client {
    number: u64,
    space: Space,
    /// `SessionId::NONE`: it stores single observations.
    session: SessionId,
    intent: OpenIntent,
    state: State,
    /// Counts its connections; replies to earlier ones still come.
    connections: u64,
    epoch: SessionEpoch,
    lane: Lane,
    credits: u32,
    asked_for_credits: bool,
    next_sequence: u64,
    in_flight: u64,
    window: u64,
    /// What an earlier connection, by its number, has still to deliver.
    hung: Option<(u64, Vec<Request>)>,
}

impl Client {
    /// A client of `space`, with a session or without.
    pub fn new(number: u64, space: Space, session: SessionId, random: &mut Random) -> Client {
        Client {
            number,
            space,
            session,
            intent: OpenIntent::Begin,
            state: State::Away,
            connections: 0,
            epoch: SessionEpoch(0),
            lane: [Lane::High, Lane::Normal, Lane::Low][random.index(3)],
            credits: 0,
            asked_for_credits: false,
            next_sequence: 1,
            in_flight: 0,
            window: random.within(1..40),
            hung: None,
        }
    }

    /// The connection of now.
    pub fn connection(&self) -> u64 {
        self.number << 32 | self.connections
    }

    /// Which client a connection is of.
    pub fn of_connection(connection: u64) -> usize {
        (connection >> 32) as usize
    }

    /// Credits that it may use.
    pub fn credits(&self) -> u32 {
        self.credits
    }

    /// Its space.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// Whether it waits for nothing, and would do nothing but send more.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Away | State::Sending)
    }

    /// Whether it waits for a reply.
    pub fn is_waiting(&self) -> bool {
        !self.is_idle() || (self.state == State::Sending && self.in_flight > 0)
    }

    /// The process has ended, and all that was under way with it.
    pub fn lose_process(&mut self) {
        self.state = State::Away;
        self.credits = 0;
        self.asked_for_credits = false;
        self.in_flight = 0;
        self.hung = None;
    }

    /// What a connection that hangs still delivers though another has taken its place, if there is one just now.
    pub fn take_hung(&mut self) -> Option<(u64, Vec<Request>)> {
        self.hung.take()
    }

    /// It is the client's turn: what it asks for.
    pub fn act(
        &mut self,
        ledger: &mut Ledger,
        weather: &Weather,
        random: &mut Random,
        now: Time,
    ) -> Vec<Request> {
        match self.state {
            State::Away => self.connect(),
            State::Making | State::Opening | State::Closing => Vec::new(),
            State::Sending if self.session != SessionId::NONE && random.chance(30) => {
                self.turn_away(ledger, weather, random, now)
            }
            State::Sending => self.send(ledger, weather, random, now),
        }
    }

    fn connect(&mut self) -> Vec<Request> {
        self.connections += 1;
        self.state = State::Making;
        let settings = self.space.settings.clone();
        vec![Request::CreateSpace { settings, if_exists: IfExists::Take }]
    }

    fn open(&mut self) -> Vec<Request> {
        self.state = State::Opening;
        let (stripe, session, intent) = (self.space.stripe(), self.session, self.intent);
        vec![Request::OpenSession { stripe, session, intent }]
    }

    /// Ends the attachment in one of the ways there are.
    fn turn_away(
        &mut self,
        ledger: &mut Ledger,
        weather: &Weather,
        random: &mut Random,
        now: Time,
    ) -> Vec<Request> {
        let hangs = random.chance(200);
        if hangs && self.credits > 0 {
            let used = self.credits.min(random.within(1..6) as u32);
            self.credits -= used;
            let late = (0..used).map(|_| self.append(ledger, weather, random, now)).collect();
            self.hung = Some((self.connection(), late));
        }
        let (stripe, session, epoch) = (self.space.stripe(), self.session, self.epoch);
        let mut requests = Vec::new();
        if self.credits > 0 {
            let count = std::mem::take(&mut self.credits);
            requests.push(Request::ReturnCredit { stripe, count });
        }
        match if hangs { 2 } else { random.index(3) } {
            0 => {
                let drain = [Drain::Durable, Drain::Indexed][random.index(2)];
                self.state = State::Closing;
                requests.push(Request::CloseSession { stripe, session, epoch, drain });
            }
            1 => {
                self.leave();
                requests.push(Request::DetachSession { stripe, session, epoch });
            }
            // Another connection takes over while this one still has something under way.
            _ => {
                self.leave();
                self.connections += 1;
                requests.extend(self.open());
            }
        }
        requests
    }

    fn leave(&mut self) {
        self.state = State::Away;
        self.in_flight = 0;
        // A credit on its way to the connection that is left is given back when it comes.
        self.asked_for_credits = false;
    }

    fn send(
        &mut self,
        ledger: &mut Ledger,
        weather: &Weather,
        random: &mut Random,
        now: Time,
    ) -> Vec<Request> {
        let mut requests = Vec::new();
        let burst = random.within(1..12);
        for _ in 0..burst {
            let is_enough = ledger.next_token().0 >= weather.observations_by_now;
            if self.credits == 0 || self.in_flight >= self.window || is_enough {
                break;
            }
            self.credits -= 1;
            self.in_flight += 1;
            requests.push(self.append(ledger, weather, random, now));
        }
        if self.credits == 0 && !self.asked_for_credits {
            self.asked_for_credits = true;
            let (stripe, lane) = (self.space.stripe(), self.lane);
            let wanted = random.within(1..20) as u32;
            requests.push(Request::Credit { stripe, lane, wanted });
        }
        requests
    }

    fn append(
        &mut self,
        ledger: &mut Ledger,
        weather: &Weather,
        random: &mut Random,
        now: Time,
    ) -> Request {
        let token = ledger.next_token();
        let id = match random.chance(weather.replaces) {
            true => format!("shared-{}-{}", self.space.number, random.within(0..5)),
            false => format!("own-{}", token.0),
        };
        let dimension = self.space.settings.dimension;
        let vector: Vec<f32> = (0..dimension).map(|_| random.signed_unit()).collect();
        let sequence =
            if self.session == SessionId::NONE { token.0 as u64 } else { self.next_sequence };
        self.next_sequence += 1;
        let what = token.0.to_string();
        let observation = observation(&id, &what, &vector);
        let body = encode_body(&observation);
        let append = Append {
            stripe: self.space.stripe(),
            session: self.session,
            epoch: self.epoch,
            sequence,
            memory_hash: SECRET.memory_hash(&id) % weather.hashes,
            received_at: now,
            lane: self.lane,
            body,
            codes: prepared(&vector, self.space.settings.metric).1,
            attributes: Attributes::of(&observation, now, &SECRET),
        };
        ledger.send(Attempt {
            space: self.space.number,
            session: self.session,
            sequence,
            connection: self.connection(),
            id,
            vector,
            acked: false,
            acks_before: 0,
        });
        Request::Append(append)
    }

    /// A reply came to one of its connections. What it asks for then, and what was acked.
    pub fn handle(
        &mut self,
        connection: u64,
        reply: Reply,
        ledger: &mut Ledger,
        bug: Option<Bug>,
    ) -> Result<(Vec<Request>, Vec<Token>), Wrong> {
        let is_current = connection == self.connection() && self.state != State::Away;
        let mut requests = Vec::new();
        let mut acked = Vec::new();
        match reply {
            Reply::Durable { session, first, last, committed_at } => {
                // What is only written is promised to no one yet.
                if committed_at.is_some() {
                    acked = ledger.ack(connection, session, first..=last)?;
                }
                if is_current {
                    self.in_flight = self.in_flight.saturating_sub(last - first + 1);
                }
            }
            Reply::Dropped { session, first, last, .. } => {
                ledger.dropped(connection, session, first..=last)?;
                if is_current && session == SessionId::NONE {
                    self.in_flight = self.in_flight.saturating_sub(last - first + 1);
                } else if is_current && self.state == State::Sending {
                    requests = self.give_back();
                    self.leave();
                }
            }
            Reply::Credit { granted, pressure, .. } => {
                if granted > 0 && pressure.retry_after_micros > 0 {
                    wrong!(Queue, "credits were granted and refused at once");
                }
                if is_current && self.state == State::Sending && self.asked_for_credits {
                    self.credits += granted;
                    self.asked_for_credits = false;
                } else if granted > 0 {
                    let stripe = self.space.stripe();
                    requests.push(Request::ReturnCredit { stripe, count: granted });
                }
            }
            _ if !is_current => {}
            Reply::Space(Ok((_, made))) => {
                ledger.space_made(self.space.number, made)?;
                if self.session == SessionId::NONE {
                    self.state = State::Sending;
                } else if self.state == State::Making {
                    requests = self.open();
                }
            }
            Reply::Session(Ok(opened)) => {
                let fall = if bug == Some(Bug::MarkFallsBack) { 1 } else { 0 };
                let mark = opened.durable_sequence.saturating_sub(fall);
                ledger.marked(self.session, mark)?;
                self.intent = OpenIntent::Resume;
                self.epoch = opened.epoch;
                self.next_sequence = mark + 1;
                self.in_flight = 0;
                self.state = State::Sending;
            }
            Reply::Session(Err(refusal)) => {
                if refusal == Refusal::UnknownSession {
                    ledger.unknown(self.session)?;
                    self.intent = OpenIntent::Begin;
                } else {
                    // It may have become durable all the same.
                    self.intent = OpenIntent::Resume;
                }
                self.leave();
            }
            Reply::Closed(Ok(mark)) => {
                ledger.marked(self.session, mark)?;
                if mark + 1 != self.next_sequence {
                    wrong!(
                        Session,
                        "a session closed at {mark}, and {} was sent next",
                        self.next_sequence
                    );
                }
                self.leave();
            }
            Reply::Space(Err(_)) | Reply::Closed(Err(_)) => self.leave(),
            Reply::Fenced { .. } => {
                requests = self.give_back();
                self.leave();
            }
            Reply::Status(_)
            | Reply::Recalled(_)
            | Reply::Forgotten(_)
            | Reply::Placed(_)
            | Reply::Subscribed(_)
            | Reply::Load(_)
            | Reply::Event(..)
            | Reply::EventsMissed(_) => {
                wrong!(Answer, "a reply that no client asked for")
            }
        }
        Ok((requests, acked))
    }

    fn give_back(&mut self) -> Vec<Request> {
        let count = std::mem::take(&mut self.credits);
        let stripe = self.space.stripe();
        if count > 0 { vec![Request::ReturnCredit { stripe, count }] } else { Vec::new() }
    }
}

/// The vector as a space of `metric` compares it, and its codes.
pub fn prepared(vector: &[f32], metric: Metric) -> (Vec<f32>, Codes) {
    let mut unit = vector.to_vec();
    let encoded = Encoded::new(&mut unit).expect("drawn vectors are not zero");
    let codes = encoded.codes(metric).expect("drawn vectors have a usual length");
    match metric {
        Metric::Cosine => (unit, codes),
        Metric::Dot | Metric::Euclidean => (vector.to_vec(), codes),
    }
}

fn observation<'a>(id: &'a str, what: &'a str, vector: &'a [f32]) -> Observation<'a> {
    Observation { memory_type: 1, ..Observation::new(id, what, Embedding::F32(vector)) }
}
