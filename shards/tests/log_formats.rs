//! `docs/FORMATS.md` tells every byte of the log: its tables have no holes, and each field lies where they say.

use std::collections::BTreeMap;

use engram_shards::ids::{Generation, LogId, SessionId, SpaceKey, StripeKey, Time};
use engram_shards::limits;
use engram_shards::log::batch::BATCH_HEADER_BYTES;
use engram_shards::log::body::{OBSERVATION_FIXED_BYTES, SPACE_FIXED_BYTES};
use engram_shards::log::field::{FIELD_HEAD_BYTES, crc32c};
use engram_shards::log::log::{Log, LogIo, LogStart, Outcome, Purpose};
use engram_shards::log::ranges::Ranges;
use engram_shards::log::record::{
    Embedding, Observation, RECORD_HEAD_BYTES, RecordHead, RecordKind, encode_body,
    encode_cancelled, encode_copy, encode_forgotten, encode_gone, encode_space, record_bytes,
};
use engram_shards::log::segment::{FORMAT_VERSION, LogEnd, SEGMENT_HEAD_BYTES};
use engram_shards::settings::{Metric, SpaceSettings};

const PAGE: &str = include_str!("../../docs/FORMATS.md");

/// A field of a table: where it lies and how long it is.
type Place = (usize, usize);

/// The table of offsets below a heading.
struct Table {
    title: &'static str,
    fields: BTreeMap<&'static str, Place>,
    bytes: usize,
}

impl Table {
    fn read(title: &'static str) -> Table {
        let section = rows(title);
        let mut table = Table { title, fields: BTreeMap::new(), bytes: 0 };
        for cells in section.iter().take_while(|cells| cells.len() == 4) {
            let number =
                |cell: &str| cell.parse::<usize>().unwrap_or_else(|_| panic!("{title}: {cell}"));
            let (offset, bytes) = (number(cells[0]), number(cells[1]));
            assert_eq!(
                offset, table.bytes,
                "{title}: {} begins where the one before ends",
                cells[2]
            );
            table.fields.insert(cells[2], (offset, bytes));
            table.bytes += bytes;
        }
        table
    }

    fn place(&self, field: &str) -> Place {
        *self.fields.get(field).unwrap_or_else(|| panic!("{}: no field {field}", self.title))
    }

    /// What `bytes` hold in the field.
    fn number(&self, bytes: &[u8], field: &str) -> u128 {
        let (offset, length) = self.place(field);
        let mut number = [0; 16];
        number[..length].copy_from_slice(&bytes[offset..offset + length]);
        u128::from_le_bytes(number)
    }

    /// Each field holds this, and there are no others.
    fn check(&self, bytes: &[u8], expected: &[(&str, u128)]) {
        assert_eq!(self.fields.len(), expected.len(), "fields of {}", self.title);
        for &(field, value) in expected {
            assert_eq!(self.number(bytes, field), value, "{}: {field}", self.title);
        }
    }
}

/// The rows of the tables below a heading, without their heads.
fn rows(title: &str) -> Vec<Vec<&'static str>> {
    let heading = format!("\n### {title}\n");
    let start = PAGE.find(&heading).unwrap_or_else(|| panic!("no heading {title}")) + heading.len();
    let section = PAGE[start..].split("\n#").next().expect("a split has a first part");
    let lines = section.lines().filter(|line| line.starts_with('|'));
    lines
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>())
        .filter(|cells| cells[0].parse::<usize>().is_ok())
        .collect()
}

fn magic(text: &[u8; 8]) -> u128 {
    u128::from(u64::from_le_bytes(*text))
}

fn observation() -> Observation<'static> {
    Observation {
        id: "the id",
        what: "the what",
        embedding: Embedding::F16Bytes(&[7; 18]),
        when: Some((-5, 6)),
        place: "the where",
        who: vec!["the who"],
        why: "the why",
        how: "the how",
        tags: vec!["the tag"],
        metadata: vec![("key", "value")],
        memory_type: 3,
        confidence: Some(0.75),
        decay_rate: 1.5,
        emotional_valence: 2.5,
        importance: 3.5,
    }
}

const HEAD: RecordHead = RecordHead {
    stripe: StripeKey { space: SpaceKey(0x1112_1314_1516_1718), stripe: 0x2122 },
    generation: Generation(0x3132_3334_3536_3738),
    session: SessionId(0x4142_4344_4546_4748_494a_4b4c_4d4e_4f50),
    sequence: 0x5152_5354_5556_5758,
    memory_hash: 0x6162_6364_6566_6768,
    received_at: Time(0x7172_7374_7576_7778),
    kind: RecordKind::Observation,
};

/// A segment's head and its first two batches.
fn written() -> (Vec<u8>, Vec<Vec<u8>>) {
    let end = LogEnd { number: 41, synced: 4096 * 3, live: 4096 * 5 };
    let start = LogStart { next_segment: 42, end, committed_at: Time(1_000_000) };
    let mut log = Log::new(LogId(0x0203), 6, 99, start);
    let mut now = Time(2_000_000);
    let mut segment = Vec::new();
    let mut batches = Vec::new();
    for records in [1, 2] {
        for _ in 0..records {
            log.append(HEAD, encode_body(&observation()), Purpose::Storing, now);
        }
        now = now.after_micros(limits::LOG_COMMIT_WAIT_MICROS);
        while let Some(io) = log.poll(now) {
            match io {
                LogIo::Create { head, .. } => segment = head,
                LogIo::Commit { bytes, .. } => batches.push(bytes),
                LogIo::Keep { .. } | LogIo::Sync { .. } => {}
            }
            assert!(!matches!(log.handle_done(Ok(())), Outcome::Dropped { .. }));
        }
    }
    (segment, batches)
}

#[test]
fn a_segment_head_is_as_told() {
    let table = Table::read("Segment head");
    let (head, _) = written();
    assert_eq!(table.bytes, SEGMENT_HEAD_BYTES);
    assert_eq!(head.len(), limits::LOG_BLOCK_BYTES as usize);
    assert!(head[table.bytes..].iter().all(|&byte| byte == 0));
    let incarnation = table.number(&head, "incarnation");
    assert_ne!(incarnation, 0);
    let (crc_at, _) = table.place("crc");
    table.check(
        &head,
        &[
            ("magic", magic(b"ENGRMSEG")),
            ("version", u128::from(FORMAT_VERSION)),
            ("shards", 6),
            ("log", 0x0203),
            ("number", 42),
            ("bytes_total", 64 << 20),
            ("incarnation", incarnation),
            ("earlier_number", 41),
            ("earlier_synced", 4096 * 3),
            ("earlier_live", 4096 * 5),
            ("crc", u128::from(crc32c(&head[..crc_at]))),
        ],
    );
}

#[test]
fn a_batch_header_is_as_told() {
    let (head, batches) = written();
    let incarnation = Table::read("Segment head").number(&head, "incarnation");
    let table = Table::read("Batch header");
    let record = Table::read("Record head");
    assert_eq!(table.bytes, BATCH_HEADER_BYTES);
    let body_bytes = encode_body(&observation()).bytes.len();
    let mut offset = 4096;
    for (index, bytes) in batches.iter().enumerate() {
        let record_count = index + 1;
        let payload_bytes = record_count * record_bytes(body_bytes);
        let records = bytes[BATCH_HEADER_BYTES..][..payload_bytes].chunks(record_bytes(body_bytes));
        let (crc_at, crc_bytes) = record.place("head_crc");
        let head_crcs: Vec<u8> =
            records.flat_map(|record| record[crc_at..crc_at + crc_bytes].to_vec()).collect();
        let (crc_at, crc_bytes) = table.place("crc");
        let crc = crc32c(&bytes[crc_at + crc_bytes..table.bytes]);
        table.check(
            bytes,
            &[
                ("magic", magic(b"ENGRMBAT")),
                ("crc", u128::from(crc)),
                ("record_count", record_count as u128),
                ("incarnation", incarnation),
                ("log", 0x0203),
                ("zero", 0),
                ("number", 42),
                ("offset", offset),
                ("payload_bytes", payload_bytes as u128),
                (
                    "committed_at",
                    2_000_000 + u128::from(limits::LOG_COMMIT_WAIT_MICROS) * record_count as u128,
                ),
                ("synced", offset),
                ("order_crc", u128::from(crc32c(&head_crcs))),
            ],
        );
        assert!(bytes[BATCH_HEADER_BYTES + payload_bytes..].iter().all(|&byte| byte == 0));
        offset += bytes.len() as u128;
    }
}

#[test]
fn a_record_is_as_told() {
    let (head, batches) = written();
    let (at, length) = Table::read("Segment head").place("incarnation");
    let incarnation_crc = crc32c(&head[at..at + length]);
    let table = Table::read("Record head");
    assert_eq!(table.bytes, RECORD_HEAD_BYTES);
    let record = &batches[0][BATCH_HEADER_BYTES..];
    let body = encode_body(&observation());
    table.check(
        record,
        &[
            ("head_crc", u128::from(crc32c(&record[4..RECORD_HEAD_BYTES]) ^ incarnation_crc)),
            ("body_crc", u128::from(body.crc)),
            ("body_bytes", body.bytes.len() as u128),
            ("kind", 1),
            ("zero", 0),
            ("stripe", u128::from(HEAD.stripe.stripe)),
            ("space", u128::from(HEAD.stripe.space.0)),
            ("generation", u128::from(HEAD.generation.0)),
            ("session", HEAD.session.0),
            ("sequence", u128::from(HEAD.sequence)),
            ("memory_hash", u128::from(HEAD.memory_hash)),
            ("received_at", u128::from(HEAD.received_at.0)),
        ],
    );
    assert_eq!(record[RECORD_HEAD_BYTES..][..body.bytes.len()], body.bytes);
}

#[test]
fn an_observation_is_as_told() {
    let table = Table::read("Observation");
    let body = encode_body(&observation()).bytes;
    let body = encode_copy(&body, Time(7)).expect("it is a body").bytes;
    assert_eq!(table.bytes, OBSERVATION_FIXED_BYTES);
    table.check(
        &body,
        &[
            ("form", 2),
            ("memory_type", 3),
            ("dimension", 9),
            ("decay_rate", u128::from(1.5f32.to_bits())),
            ("emotional_valence", u128::from(2.5f32.to_bits())),
            ("importance", u128::from(3.5f32.to_bits())),
        ],
    );
    assert_eq!(body[table.bytes..table.bytes + 18], [7; 18]);
    let metadata = [&3u32.to_le_bytes()[..], b"keyvalue"].concat();
    let when = [&(-5i64).to_le_bytes()[..], &6u32.to_le_bytes()].concat();
    let confidence = 0.75f32.to_le_bytes();
    let told: Vec<(u8, &str)> = rows("Observation")
        .iter()
        .filter(|cells| cells.len() == 3)
        .map(|cells| (cells[0].parse().expect("a tag"), cells[1]))
        .collect();
    assert_eq!(told.len(), 11);
    let mut rest = &body[table.bytes + 18..];
    for (tag, name) in told {
        let text = format!("the {name}");
        let expected = match name {
            "when" => &when[..],
            "metadata" => &metadata[..],
            "confidence" => &confidence[..],
            "committed_at" => &7u64.to_le_bytes(),
            _ => text.as_bytes(),
        };
        let mut field = vec![tag];
        field.extend_from_slice(&(expected.len() as u32).to_le_bytes());
        assert_eq!(field.len(), FIELD_HEAD_BYTES);
        field.extend_from_slice(expected);
        rest = rest.strip_prefix(&field[..]).unwrap_or_else(|| panic!("{name} in {rest:?}"));
    }
    assert!(rest.is_empty());
}

#[test]
fn a_space_is_as_told() {
    let table = Table::read("Space");
    let settings = SpaceSettings {
        name: "notes".to_owned(),
        dimension: 768,
        metric: Metric::Cosine,
        stripes: 5,
    };
    let body = encode_space(&settings).bytes;
    assert_eq!(table.bytes, SPACE_FIXED_BYTES);
    table.check(&body, &[("dimension", 768), ("stripes", 5), ("metric", 1), ("zero", 0)]);
    assert_eq!(body[table.bytes..], *b"\x01\x05\0\0\0notes");
}

#[test]
fn what_is_no_more_is_as_told() {
    assert_eq!(encode_forgotten("memory").bytes, *b"\x01\x06\0\0\0memory");
    let cancelled = encode_cancelled(&[Generation(5), Generation(0x0102)]).bytes;
    assert_eq!(cancelled, [&5u64.to_le_bytes()[..], &0x0102u64.to_le_bytes()].concat());
    let table = Table::read("Gone");
    let mut gone = Ranges::default();
    gone.insert_run(11, 20);
    gone.insert_run(25, 25);
    let [body] = &encode_gone(&gone)[..] else { panic!("a short list is one record") };
    table.check(&body.bytes, &[("after", 10)]);
    let runs: Vec<u8> = [0u32, 10, 4, 1].iter().flat_map(|number| number.to_le_bytes()).collect();
    assert_eq!(body.bytes[table.bytes..], runs);
}

#[test]
fn sizes_named_in_the_text_are_those_of_the_code() {
    assert!(PAGE.contains("A file of 64 MiB") && limits::LOG_SEGMENT_BYTES == 64 << 20);
    assert!(PAGE.contains("the first 4 KiB") && limits::LOG_BLOCK_BYTES == 4 << 10);
    assert!(PAGE.contains("256 KiB at most") && limits::LOG_GONE_BYTES_MAX == 256 << 10);
    assert!(PAGE.contains("at most 1 MiB") && limits::RECORD_BODY_BYTES_MAX == 1 << 20);
}
