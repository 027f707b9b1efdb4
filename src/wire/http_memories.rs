//! Memories over plain HTTP: one is stored, or some are recalled, by a request.

use std::borrow::Cow;

use engram_shards::attributes::Criteria;
use engram_shards::log::record::{Embedding, Observation};
use engram_shards::message::Isolation;
use http::HeaderMap;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::core::Core;
use crate::failure::{Code, Failure};
use crate::limits::RECALL_RESULTS_DEFAULT;
use crate::recall::{self, Query};
use crate::store;
use crate::wire::calendar::Moment;
use crate::wire::memory_json::MemoryJson;

/// `MemoryType` of the wire for what was observed.
const MEMORY_TYPE_EPISODIC: u8 = 1;
/// The space of a request that names none otherwise.
const SPACE_HEADER: &str = "x-memory-space";

#[derive(Deserialize)]
struct RememberBody {
    content: String,
    embedding: Vec<f32>,
    #[serde(default)]
    id: String,
    confidence: Option<f32>,
    memory_space_id: Option<String>,
}

/// What was stored.
#[derive(Debug, Serialize)]
pub(super) struct RememberedJson {
    memory_id: String,
    /// None where that it was written is all that is promised.
    committed_at: Option<Moment>,
}

/// Stores what the body says, durably.
pub(super) async fn remember(
    core: &Core,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<RememberedJson, Failure> {
    let body: RememberBody = read_json(body, "")?;
    let observation = Observation {
        memory_type: MEMORY_TYPE_EPISODIC,
        confidence: body.confidence,
        ..Observation::new(&body.id, &body.content, Embedding::F32(&body.embedding))
    };
    let space = space_of(body.memory_space_id.as_deref(), headers)?;
    let stored = store::remember(core, space, &observation).await?;
    let committed_at = stored.committed_at.map(|time| Moment::from_micros(time.0));
    Ok(RememberedJson { memory_id: stored.memory_id, committed_at })
}

/// Recalls what the query asks for, as JSON.
pub(super) async fn recall(
    core: &Core,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<serde_json::Value, Failure> {
    let mut embedding: Option<Vec<f32>> = None;
    let mut count = RECALL_RESULTS_DEFAULT;
    let mut named = None;
    for (key, value) in pairs(query.unwrap_or_default()) {
        match &*key {
            "embedding" => embedding = Some(read_json(value.as_bytes(), "embedding: ")?),
            "max_results" => count = read_json(value.as_bytes(), "max_results: ")?,
            "space" => named = Some(value.into_owned()),
            _ => {}
        }
    }
    let missing = || Failure::new(Code::InvalidArgument, "missing parameter embedding");
    let query = Query {
        embedding: Some(Embedding::F32(&embedding.ok_or_else(missing)?)),
        count,
        width: 0,
        isolation: Isolation::InFlight,
        as_of: None,
        similarity_min: -1.0,
        criteria: Criteria::default(),
    };
    let space = space_of(named.as_deref(), headers)?;
    let recollection = recall::recall(core, space, &query).await?.to_be_told_whole()?;
    let memories: Vec<MemoryJson<'_>> = recollection.found.iter().map(MemoryJson::new).collect();
    let snapshot_sequence = recollection.summary.snapshot_sequence;
    Ok(serde_json::json!({"memories": memories, "snapshot_sequence": snapshot_sequence}))
}

/// The space that a request names itself, or by its header, or by no word.
fn space_of<'a>(named: Option<&'a str>, headers: &'a HeaderMap) -> Result<&'a str, Failure> {
    match (named, headers.get(SPACE_HEADER)) {
        (Some(named), _) => Ok(named),
        (None, None) => Ok(""),
        (None, Some(header)) => header.to_str().map_err(|_| {
            Failure::new(Code::InvalidArgument, "Invalid memory_space_id: the header is not text")
        }),
    }
}

fn read_json<T: DeserializeOwned>(text: &[u8], of: &str) -> Result<T, Failure> {
    serde_json::from_slice(text)
        .map_err(|error| Failure::new(Code::InvalidArgument, format!("Invalid JSON: {of}{error}")))
}

/// The pairs of a query, decoded as forms are.
fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(key), decoded(value))
    })
}

/// `+` is a space, `%XX` a byte; a `%` that is followed by something else stands for itself.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains(['+', '%']) {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = text.get(at + 1..at + 3).filter(|_| byte == b'%');
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(decoded) => {
                out.push(decoded);
                at += 3;
            }
            None => {
                out.push(if byte == b'+' { b' ' } else { byte });
                at += 1;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded_as_forms_are() {
        let read = |query| -> Vec<(String, String)> {
            pairs(query).map(|(key, value)| (key.into_owned(), value.into_owned())).collect()
        };
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(read("a=1&b=%5B1%2C+2%5D"), [pair("a", "1"), pair("b", "[1, 2]")]);
        assert_eq!(read("&a&b=="), [pair("a", ""), pair("b", "=")]);
        assert_eq!(
            read("a=%c3%a9&b=5%&c=%zz&d=%é"),
            [pair("a", "é"), pair("b", "5%"), pair("c", "%zz"), pair("d", "%é")]
        );
        assert_eq!(read(""), []);
    }

    #[test]
    fn a_requests_own_space_goes_before_the_headers() {
        let mut headers = HeaderMap::new();
        assert_eq!(space_of(None, &headers), Ok(""));
        headers.insert(SPACE_HEADER, http::HeaderValue::from_static("headed"));
        assert_eq!(space_of(None, &headers), Ok("headed"));
        assert_eq!(space_of(Some("own"), &headers), Ok("own"));
    }
}
