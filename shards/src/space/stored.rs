//! A stripe as checkpoints keep it: its state at one moment, the nodes of its graph, then its rows.
//!
//! State and nodes are written while the graph stands still. Rows are written while all goes on: what they say of the
//! time after that moment (a row that was replaced since, a slot that another row has taken) is told by generations, and
//! left out when they are read, for a replay brings it.

use std::collections::{BTreeMap, VecDeque};

use crate::attributes::{ATTRIBUTES_BYTES, Attributes};
use crate::bytes::Reader;
use crate::graph::{self, Fate, Index, IndexShape};
use crate::ids::{Generation, Location, LogId, Row, SegmentId, StripeKey, Time};
use crate::log::body::{decode_space, encode_space};
use crate::log::ranges::Ranges;
use crate::quality::{RecallTarget, Upkeep};
use crate::settings::SpaceSettings;
use crate::space::ids::Ids;
use crate::space::live::LiveBytes;
use crate::space::record::Records;
use crate::space::rows::{self, Pair, Rows};
use crate::space::spans::Spans;
use crate::space::stripe::Stripe;
use crate::vector::StoredMean;
use crate::vector::arena::Arena;

/// Bytes of a node of the bottom layer, with its part of the layers above.
const NODE_BYTES: u64 = (Index::NODE_BYTES + Index::UPPER_NODE_BYTES / 15) as u64;
/// Bytes of a row beside its codes and attributes.
const RECORD_BYTES: usize = 5 * size_of::<u64>() + 4 * size_of::<u32>();

/// Rows between the first look at what the table of ids reads of one and its entry: as many as memory takes for that.
const ENTERING: usize = 16;

/// Stands in the place of the generation from which on a row is not seen where it is suppressed; below it the segment
/// whose record says so.
const HIDDEN: u64 = 1 << 63;

/// What stands of a row before its codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowForm {
    /// Without its attributes, as it was at first.
    Bare,
    /// All, as it is written.
    Whole,
}

/// What the head of a checkpoint, and what was learned since, say of its rows.
#[derive(Debug)]
pub struct Extent {
    /// How large its graph is.
    pub shape: IndexShape,
    /// Rows up to this generation are in it …
    pub durable: Generation,
    /// … but for these, which are no more.
    pub gone: Ranges,
    /// How rows are written.
    pub form: RowForm,
}

impl Rows {
    /// Bytes of a row of vectors of `dimension`; [`Rows::write_row`] writes the whole form.
    pub const fn stored_bytes(dimension: u16, form: RowForm) -> usize {
        let attributes = match form {
            RowForm::Bare => 0,
            RowForm::Whole => ATTRIBUTES_BYTES,
        };
        RECORD_BYTES + attributes + Index::codes_bytes(dimension)
    }

    /// Writes the row in this slot, whatever it is, with codes relative to the mean that was written.
    pub fn write_row(&self, row: Row, mean: &StoredMean, out: &mut Vec<u8>) {
        let (location, committed_at) = self.records.commit_of(row);
        let (from, mut until) = self.spans.of(row);
        if let Some(says_so) = self.hidden.get(&Generation(from)) {
            until = HIDDEN | u64::from(says_so.log.0) << 32 | u64::from(says_so.number);
        }
        let numbers = [self.memory_hash(row), from, until, self.received_at(row).0, committed_at.0];
        numbers.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
        let SegmentId { log, number } = location.segment;
        for number in [u32::from(log.0), number, location.offset, location.bytes] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.attributes[row.0].to_bytes());
        self.index().write_codes(row, mean, out);
    }

    /// Durable rows outside the graph that are neither replaced nor deleted, by generation.
    pub fn waiting_kept(&self) -> Vec<Row> {
        let durable = (self.durable() - self.inserted()) as usize;
        let waiting = self.index().waiting().take(durable);
        let mut rows: Vec<Row> = waiting.filter(|&row| self.is_kept(row)).collect();
        rows.sort_unstable_by_key(|&row| self.generation(row));
        rows
    }

    /// The durable row of this hash and generation, if there is one.
    pub fn find(&self, hash: u64, generation: Generation) -> Option<Row> {
        self.ids.of(hash).map(Row).find(|&row| self.generation(row) == generation)
    }
}

impl Stripe {
    /// What its checkpoint would hold now: rows, and bytes, about.
    pub fn checkpoint_size(&self) -> (u64, u64) {
        let rows = u64::from(self.rows().slots() - self.rows().index().gone());
        let nodes = u64::from(self.rows().index().nodes());
        let row_bytes = Rows::stored_bytes(self.rows().dimension(), RowForm::Whole) as u64;
        (rows, rows * row_bytes + nodes * NODE_BYTES)
    }

    /// Writes all that is neither of a row nor of a node: what the space is, its upkeep, the state of its graph.
    pub fn write_state(&self, out: &mut Vec<u8>) {
        let settings = encode_space(&self.space().settings).bytes;
        out.extend_from_slice(&(settings.len() as u32).to_le_bytes());
        out.extend_from_slice(&settings);
        self.upkeep.write_state(out);
        self.rows().index().write_state(out);
    }
}

/// A stripe that is read back: its state, the nodes of each layer from the lowest, the rows of the graph's slots, and
/// those outside the graph. What is read is `None` where it cannot have been written.
#[derive(Debug)]
pub struct Loading {
    key: StripeKey,
    settings: SpaceSettings,
    upkeep: Upkeep,
    index: graph::Loading,
    form: RowForm,
    records: Records,
    spans: Spans,
    attributes: Arena<Attributes>,
    ids: Ids,
    /// Rows on their way into the table of ids.
    entering: VecDeque<u32>,
    /// Hashes that several rows have.
    shared: Vec<u64>,
    /// The newest generation that is read.
    durable: Generation,
    /// Generations of which rows are read as dead: they went later.
    gone: Ranges,
    live: LiveBytes,
    inserted: Generation,
    replaced: Generation,
    living: u32,
    hidden: BTreeMap<Generation, SegmentId>,
}

/// A stripe's parts once all of it was read, to be completed by what a replay brings.
#[derive(Debug)]
pub struct Loaded {
    /// What the space is.
    pub settings: SpaceSettings,
    /// Its rows; all that are alive are known by their hashes.
    pub rows: Rows,
    /// Those of them that may be one memory.
    pub pairs: Vec<Pair>,
    /// Bytes of the records of those that are kept.
    pub live: LiveBytes,
    upkeep: Upkeep,
}

impl Loading {
    /// Begins with what [`Stripe::write_state`] wrote; `seed` draws the graph's layers, and of rows those up to the
    /// generation that it says count, unless they are gone since.
    pub fn new(
        (key, seed): (StripeKey, u64),
        recall: Option<RecallTarget>,
        Extent { shape, durable, gone, form }: Extent,
        bytes: &mut Reader<'_>,
    ) -> Option<Loading> {
        let length = bytes.u32()? as usize;
        let settings = decode_space(bytes.bytes(length)?).ok()?;
        let upkeep = Upkeep::read_state(recall, shape.nodes, bytes)?;
        let of_vectors = (settings.dimension, settings.metric, seed);
        let mut ids = Ids::new();
        ids.expect(shape.nodes);
        let index = graph::Loading::new(of_vectors, shape, bytes)?;
        Some(Loading {
            key,
            settings,
            upkeep,
            index,
            form,
            records: Records::new(),
            spans: Spans::new(),
            attributes: Arena::new(1),
            ids,
            entering: VecDeque::new(),
            shared: Vec::new(),
            durable,
            gone,
            live: LiveBytes::default(),
            inserted: Generation(0),
            replaced: Generation(0),
            living: 0,
            hidden: BTreeMap::new(),
        })
    }

    /// Which stripe it is.
    pub fn key(&self) -> StripeKey {
        self.key
    }

    /// What the space is.
    pub fn settings(&self) -> &SpaceSettings {
        &self.settings
    }

    /// The next node of the bottom layer.
    pub fn push_node(&mut self, bytes: &mut Reader<'_>) -> Option<()> {
        self.index.push_node(bytes)
    }

    /// The next node of an upper layer, of which the lowest is 0.
    pub fn push_upper_node(&mut self, layer: usize, bytes: &mut Reader<'_>) -> Option<()> {
        self.index.push_upper_node(layer, bytes)
    }

    /// The row of the next slot of the graph.
    pub fn push_row(&mut self, bytes: &mut Reader<'_>) -> Option<()> {
        let stored = Stored::read(self.form, bytes)?.unless(&self.gone);
        let fate = stored.fate(self.durable);
        let row = self.index.push_row(bytes, fate)?;
        self.ids.put(row.0, stored.hash);
        self.records.put(row, stored.received_at);
        self.spans.put(row, Generation(0));
        rows::put(&mut self.attributes, row, stored.attributes);
        if !self.index.is_linked(row) {
            self.spans.drop(row, row.0 + 1);
            return Some(());
        }
        self.inserted = self.inserted.max(stored.from);
        self.take_in(row, &stored, fate)
    }

    /// The next row outside the graph.
    pub fn push_waiting(&mut self, bytes: &mut Reader<'_>) -> Option<()> {
        let stored = Stored::read(self.form, bytes)?.unless(&self.gone);
        match stored.fate(self.durable) {
            Fate::Alive => {
                let row = self.index.push_waiting(bytes)?;
                self.ids.put(row.0, stored.hash);
                self.records.put(row, stored.received_at);
                rows::put(&mut self.attributes, row, stored.attributes);
                self.take_in(row, &stored, Fate::Alive)
            }
            Fate::Dead => {
                self.replaced = self.replaced.max(stored.until);
                bytes.bytes(Index::codes_bytes(self.settings.dimension)).map(|_| ())
            }
            Fate::Absent => None,
        }
    }

    fn take_in(&mut self, row: Row, stored: &Stored, fate: Fate) -> Option<()> {
        self.spans.put(row, stored.from);
        let location = Records::may_hold(stored.location).then_some(stored.location)?;
        self.records.commit(row, location, stored.committed_at);
        if fate == Fate::Alive {
            self.live.keep(location);
        }
        match (fate, stored.hidden_by) {
            (Fate::Alive, None) => {
                self.living += 1;
                self.enter(row);
            }
            (Fate::Alive, Some(says_so)) => {
                self.spans.end(row, stored.from);
                self.hidden.insert(stored.from, says_so);
                self.enter(row);
            }
            _ => {
                self.spans.end(row, stored.until);
                self.replaced = self.replaced.max(stored.until);
            }
        }
        Some(())
    }

    /// Puts a row into the table of ids, as soon as what that reads was asked for some rows ago.
    fn enter(&mut self, row: Row) {
        self.ids.prefetch_bucket(row.0);
        self.entering.push_back(row.0);
        if let Some(before) = self.entering.len().checked_sub(ENTERING / 2) {
            self.ids.prefetch_first(self.entering[before]);
        }
        if self.entering.len() == ENTERING {
            self.enter_first();
        }
    }

    fn enter_first(&mut self) {
        if let Some(row) = self.entering.pop_front() {
            let hash = self.ids.hash(row);
            if self.ids.of(hash).next().is_some() {
                self.shared.push(hash);
            }
            self.ids.enter(row);
        }
    }

    /// All was read.
    pub fn finish(mut self) -> Option<Loaded> {
        while !self.entering.is_empty() {
            self.enter_first();
        }
        let Loading { settings, upkeep, index, records, spans, attributes, .. } = self;
        let (ids, live, mut shared) = (self.ids, self.live, self.shared);
        let index = index.finish()?;
        shared.sort_unstable();
        shared.dedup();
        let mut rows = Rows::new(settings.dimension, settings.metric, 0);
        (rows.durable, rows.inserted, rows.replaced) = (self.durable, self.inserted, self.replaced);
        (rows.living, rows.mended_beside) = (self.living, index.inserted());
        rows.hidden = self.hidden;
        (rows.index, rows.records, rows.spans, rows.ids) = (index, records, spans, ids);
        rows.attributes = attributes;
        let pairs = shared.into_iter().flat_map(|hash| rows.pairs_of(hash)).collect();
        Some(Loaded { settings, rows, pairs, live, upkeep })
    }
}

impl Loaded {
    /// Takes its rows, so that what was replayed since can be added.
    pub fn take_rows(&mut self) -> Rows {
        let SpaceSettings { dimension, metric, .. } = self.settings;
        std::mem::replace(&mut self.rows, Rows::new(dimension, metric, 0))
    }

    /// Gives a stripe that was made of its rows the rest.
    pub fn completed(self, mut stripe: Stripe) -> Stripe {
        stripe.upkeep = self.upkeep;
        stripe
    }
}

impl Rows {
    /// The living rows of one hash, each with the one before it.
    fn pairs_of(&self, hash: u64) -> Vec<Pair> {
        let mut twins: Vec<Row> = self.ids.of(hash).map(Row).collect();
        twins.sort_unstable_by_key(|&row| self.generation(row));
        let two = twins.windows(2);
        two.map(|two| Pair { older: two[0], newer: two[1] }).collect()
    }
}

/// What is read of a row before its codes.
struct Stored {
    hash: u64,
    from: Generation,
    until: Generation,
    /// Of a row that is suppressed.
    hidden_by: Option<SegmentId>,
    received_at: Time,
    committed_at: Time,
    location: Location,
    attributes: Attributes,
}

impl Stored {
    fn read(form: RowForm, bytes: &mut Reader<'_>) -> Option<Stored> {
        let (hash, from, until) = (bytes.u64()?, bytes.u64()?, bytes.u64()?);
        let (received_at, committed_at) = (Time(bytes.u64()?), Time(bytes.u64()?));
        let log = LogId(u16::try_from(bytes.u32()?).ok()?);
        let segment = SegmentId { log, number: bytes.u32()? };
        let location = Location { segment, offset: bytes.u32()?, bytes: bytes.u32()? };
        let says_so = SegmentId { log: LogId((until >> 32) as u16), number: until as u32 };
        let hidden_by = (until & HIDDEN != 0).then_some(says_so);
        let (from, until) = (Generation(from), Generation(until));
        let attributes = match form {
            RowForm::Bare => Attributes::UNKNOWN,
            RowForm::Whole => Attributes::from_bytes(bytes.array()?),
        };
        Some(Stored {
            hash,
            from,
            until,
            hidden_by,
            received_at,
            committed_at,
            location,
            attributes,
        })
    }

    /// The same row, which is no more if it is of one of these generations.
    fn unless(self, gone: &Ranges) -> Stored {
        match gone.contains(self.from.0) {
            true => Stored { until: self.from, hidden_by: None, ..self },
            false => self,
        }
    }

    /// What the row was when `durable` was the newest generation.
    fn fate(&self, durable: Generation) -> Fate {
        match (self.from <= durable, self.until <= durable) {
            (false, _) => Fate::Absent,
            (true, true) => Fate::Dead,
            (true, false) => Fate::Alive,
        }
    }
}
