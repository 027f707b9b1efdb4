//! The routes of plain HTTP, the same over HTTP/1.1 and HTTP/2.

use bytes::Bytes;
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use serde::{Deserialize, Serialize};

use engram_shards::limits::{DIMENSION_MAX, DIMENSION_MIN};
use engram_shards::message::{IfExists, Made, ShardStatus, SpaceDescription};
use engram_shards::settings::{AckPolicy, Metric, SpaceSettings};

use crate::chaos;
use crate::config::durability_name;
use crate::core::{Core, Readiness};
use crate::failure::{Code, Failure};
use crate::memory_bound::MemoryBound;
use crate::mesh::{CoreIndex, Unavailable};
use crate::space_name::{check_space_name, default_settings};
use crate::wire::calendar::Moment;
use crate::wire::console::Asset;
use crate::wire::exposition::{self, Format};
use crate::wire::http_memories;

/// What the server calls itself.
const SERVICE: &str = "engram";

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What a path stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Health,
    Live,
    Ready,
    Metrics,
    Spaces,
    System,
    /// There only where the server was started with `--chaos`.
    Chaos,
    Remember,
    Recall,
    /// A file of the console.
    Console(&'static Asset),
}

impl Route {
    fn of(path: &str) -> Option<Route> {
        match path {
            "/health" => Some(Route::Health),
            "/health/live" => Some(Route::Live),
            "/health/ready" => Some(Route::Ready),
            "/metrics" | "/metrics/prometheus" => Some(Route::Metrics),
            "/api/v1/spaces" => Some(Route::Spaces),
            "/api/v1/system/health" => Some(Route::System),
            "/chaos" => Some(Route::Chaos),
            "/api/v1/memories/remember" => Some(Route::Remember),
            "/api/v1/memories/recall" => Some(Route::Recall),
            _ => Asset::at(path).map(Route::Console),
        }
    }

    /// The value of `Allow`.
    fn methods(self) -> &'static str {
        match self {
            Route::Spaces => "GET, HEAD, POST",
            Route::Chaos | Route::Remember => "POST",
            _ => "GET, HEAD",
        }
    }

    fn allows(self, method: &Method) -> bool {
        self.methods().split(", ").any(|allowed| allowed == method.as_str())
    }
}

/// Answers one request.
pub async fn respond(core: &Core, request: Request<Bytes>) -> Response<Bytes> {
    let path = request.uri().path();
    let is_there = |route: &Route| *route != Route::Chaos || core.settings().chaos.is_on;
    let Some(route) = Route::of(path).filter(is_there) else {
        let failure = Failure::new(Code::NotFound, format!("no such path: {path}"));
        return failure_response(StatusCode::NOT_FOUND, &failure);
    };
    if !route.allows(request.method()) {
        return method_not_allowed(route.methods());
    }
    let outcome = match (route, request.method()) {
        (Route::Health, _) => Ok(health(core.readiness(), core.settings().durability, now(core))),
        (Route::Live, _) => {
            Ok(json_response(StatusCode::OK, &serde_json::json!({"status": "alive"})))
        }
        (Route::Ready, _) => Ok(ready(core.readiness(), core.unready_reason())),
        (Route::Metrics, _) => Ok(metrics(core, request.headers()).await),
        (Route::Spaces, &Method::POST) => create_space(core, request.body()).await,
        (Route::Spaces, _) => list_spaces(&core.status().await),
        (Route::System, _) => Ok(system_health(core.readiness(), &core.status().await)),
        (Route::Chaos, _) => inject(core, request.body()),
        (Route::Remember, _) => {
            let stored = http_memories::remember(core, request.headers(), request.body()).await;
            stored.map(|stored| json_response(StatusCode::CREATED, &stored))
        }
        (Route::Recall, _) => {
            let query = request.uri().query();
            let recalled = http_memories::recall(core, request.headers(), query).await;
            recalled.map(|recalled| json_response(StatusCode::OK, &recalled))
        }
        (Route::Console(asset), _) => Ok(asset.response()),
    };
    outcome.unwrap_or_else(|failure| failure_response(status_of(failure.code), &failure))
}

/// The time now, as answers tell it.
pub(crate) fn now(core: &Core) -> Moment {
    Moment::from_micros(core.now().0)
}

/// An error: `{error: {code, message}}`, and `Retry-After` where that is known.
pub(crate) fn failure_response(status: StatusCode, failure: &Failure) -> Response<Bytes> {
    let error = serde_json::json!({"code": failure.code.label(), "message": failure.message});
    let mut response = json_response(status, &serde_json::json!({"error": error}));
    if let Some(after) = failure.retry_after {
        let seconds = after.as_millis().div_ceil(1_000) as u64;
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// The answer to a method that a path does not have.
pub(crate) fn method_not_allowed(methods: &'static str) -> Response<Bytes> {
    let failure = Failure::new(Code::Unimplemented, format!("this path has only {methods}"));
    let mut response = failure_response(StatusCode::METHOD_NOT_ALLOWED, &failure);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    response
}

/// Whether a header's comma-separated list has `word`.
pub(crate) fn names(headers: &HeaderMap, header: HeaderName, word: &str) -> bool {
    let values = headers.get_all(header).into_iter();
    values
        .filter_map(|value| value.to_str().ok())
        .any(|list| list.split(',').any(|item| item.trim().eq_ignore_ascii_case(word)))
}

fn json_response(status: StatusCode, body: &impl Serialize) -> Response<Bytes> {
    let body = serde_json::to_vec(body).expect("these values are all JSON");
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// HTTP's nearest status, as google.rpc maps them.
fn status_of(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Cancelled | Code::Unknown | Code::Internal | Code::DataLoss => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

fn state_of(readiness: Readiness) -> (StatusCode, &'static str) {
    match readiness {
        Readiness::Ready => (StatusCode::OK, "healthy"),
        Readiness::Recovering => (StatusCode::SERVICE_UNAVAILABLE, "recovering"),
        Readiness::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        Readiness::Failed => (StatusCode::SERVICE_UNAVAILABLE, "failed"),
    }
}

fn health(readiness: Readiness, durability: AckPolicy, now: Moment) -> Response<Bytes> {
    let (code, state) = state_of(readiness);
    let body = serde_json::json!({
        "status": state,
        "service": SERVICE,
        "version": env!("CARGO_PKG_VERSION"),
        "timestamp": now.to_string(),
        "durability": durability_name(durability),
    });
    json_response(code, &body)
}

fn ready(readiness: Readiness, reason: Option<String>) -> Response<Bytes> {
    let (code, state) = state_of(readiness);
    let body = match reason {
        None => serde_json::json!({"status": "ready"}),
        Some(reason) => serde_json::json!({"status": state, "reason": reason}),
    };
    json_response(code, &body)
}

fn inject(core: &Core, wish: &[u8]) -> Result<Response<Bytes>, Failure> {
    let (on, injection) = chaos::read(wish, core.mesh().cores())?;
    core.mesh().inject(on, injection);
    Ok(json_response(StatusCode::ACCEPTED, &serde_json::json!({"status": "accepted"})))
}

async fn metrics(core: &Core, headers: &HeaderMap) -> Response<Bytes> {
    let format = Format::accepted(headers);
    let bound = MemoryBound::of(core.settings(), core.mesh().cores());
    let text = exposition::render(&core.reports().await, &core.status().await, &bound, format);
    let mut response = Response::new(Bytes::from(text));
    let kind = HeaderValue::from_static(format.content_type());
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

#[derive(Deserialize)]
struct SpaceRequest {
    id: String,
    dimension: Option<u64>,
    metric: Option<String>,
    cores: Option<u64>,
    limits: Option<serde_json::Value>,
}

#[derive(Debug, PartialEq, Serialize)]
struct SpaceBody<'a> {
    id: &'a str,
    dimension: u16,
    metric: &'static str,
    cores: u16,
}

impl<'a> SpaceBody<'a> {
    fn new(settings: &'a SpaceSettings) -> SpaceBody<'a> {
        SpaceBody {
            id: &settings.name,
            dimension: settings.dimension,
            metric: name_of(settings.metric),
            cores: settings.stripes,
        }
    }
}

fn name_of(metric: Metric) -> &'static str {
    match metric {
        Metric::Cosine => "cosine",
        Metric::Dot => "dot",
        Metric::Euclidean => "euclidean",
    }
}

/// A metric by its name, or by what others call it.
fn metric_of(name: &str) -> Option<Metric> {
    let is = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
    let names: [(Metric, &[&str]); 3] = [
        (Metric::Cosine, &["cosine"]),
        (Metric::Dot, &["dot"]),
        (Metric::Euclidean, &["euclidean", "euclid", "l2"]),
    ];
    names.into_iter().find(|(_, names)| is(names)).map(|(metric, _)| metric)
}

async fn create_space(core: &Core, body: &[u8]) -> Result<Response<Bytes>, Failure> {
    let settings = read_space(body)?;
    let (space, made) = core.make_space(settings, IfExists::MustBeSame).await?;
    let status = match made {
        Made::Now => StatusCode::CREATED,
        Made::Before => StatusCode::OK,
    };
    Ok(json_response(status, &SpaceBody::new(&space.settings)))
}

fn read_space(body: &[u8]) -> Result<SpaceSettings, Failure> {
    let invalid = |message: String| Failure::new(Code::InvalidArgument, message);
    let request: SpaceRequest =
        serde_json::from_slice(body).map_err(|error| invalid(format!("Invalid JSON: {error}")))?;
    check_space_name(&request.id)?;
    let mut settings = default_settings(&request.id);
    if let Some(dimension) = request.dimension {
        settings.dimension = u16::try_from(dimension)
            .ok()
            .filter(|dimension| (DIMENSION_MIN..=DIMENSION_MAX).contains(dimension))
            .ok_or_else(|| {
                invalid(format!("dimension is {DIMENSION_MIN} to {DIMENSION_MAX}, not {dimension}"))
            })?;
    }
    if let Some(name) = request.metric {
        settings.metric = metric_of(&name)
            .ok_or_else(|| invalid(format!("metric is cosine, dot or euclidean, not {name}")))?;
    }
    match request.cores {
        None | Some(1) => {}
        Some(other) => {
            return Err(invalid(format!("a space lies on one core; cores {other} is not served")));
        }
    }
    match request.limits {
        None => Ok(settings),
        Some(_) => Err(invalid(String::from("limits of a space are not served"))),
    }
}

#[derive(Debug, PartialEq, Serialize)]
struct SpaceEntry<'a> {
    #[serde(flatten)]
    space: SpaceBody<'a>,
    rows: u64,
    /// Rows that wait for nothing: they are in the graph, or compared one by one.
    indexed: u64,
    /// Rows in the graph.
    linked: u64,
    observations: u64,
    /// The least of any stripe, to four places; null until one has sampled.
    recall_estimate: Option<f64>,
    /// The widest of any stripe.
    search_width: u32,
    refined: u64,
    /// Whether upkeep has nothing left to do on any of them.
    settled: bool,
}

/// What every core was asked, or did not answer.
type Statuses = [(CoreIndex, Result<ShardStatus, Unavailable>)];

/// A list without the spaces of a core that does not answer would look as if they were gone, so there is none.
fn list_spaces(statuses: &Statuses) -> Result<Response<Bytes>, Failure> {
    let mut entries: Vec<(&SpaceDescription, SpaceEntry<'_>)> = Vec::new();
    for (_, status) in statuses {
        let status = status.as_ref().map_err(|_| Failure::unavailable())?;
        for stripe in &status.stripes {
            let known = entries.iter().position(|(space, _)| space.key == stripe.space.key);
            let at = known.unwrap_or_else(|| {
                let space = SpaceBody::new(&stripe.space.settings);
                let entry = SpaceEntry {
                    space,
                    rows: 0,
                    indexed: 0,
                    linked: 0,
                    observations: 0,
                    recall_estimate: None,
                    search_width: 0,
                    refined: 0,
                    settled: true,
                };
                entries.push((&stripe.space, entry));
                entries.len() - 1
            });
            let entry = &mut entries[at].1;
            entry.rows += stripe.rows;
            entry.indexed += stripe.indexed;
            entry.linked += stripe.linked;
            entry.observations += stripe.generation.0;
            let estimate = stripe.upkeep.recall_estimate;
            let estimate = estimate.map(|recall| (f64::from(recall) * 1e4).round() / 1e4);
            let estimates = entry.recall_estimate.into_iter().chain(estimate);
            entry.recall_estimate = estimates.min_by(f64::total_cmp);
            entry.search_width = entry.search_width.max(stripe.upkeep.width);
            entry.refined += u64::from(stripe.upkeep.refined);
            entry.settled &= stripe.upkeep.settled;
        }
    }
    let mut spaces: Vec<SpaceEntry<'_>> = entries.into_iter().map(|(_, entry)| entry).collect();
    spaces.sort_by_key(|entry| entry.space.id);
    Ok(json_response(StatusCode::OK, &serde_json::json!({"spaces": spaces})))
}

fn system_health(readiness: Readiness, statuses: &Statuses) -> Response<Bytes> {
    let (code, state) = state_of(readiness);
    let core = |(core, status): &(CoreIndex, Result<ShardStatus, Unavailable>)| match status {
        Ok(status) => serde_json::json!({
            "core": core.0,
            "status": "healthy",
            "queue_depth": status.depth,
            "queue_capacity": status.capacity,
            "sessions": status.sessions_attached,
            "spaces": status.stripes.len(),
        }),
        Err(Unavailable) => serde_json::json!({"core": core.0, "status": "unavailable"}),
    };
    let cores: Vec<serde_json::Value> = statuses.iter().map(core).collect();
    json_response(code, &serde_json::json!({"status": state, "cores": cores}))
}

#[cfg(test)]
mod tests {
    use engram_shards::ids::{Generation, SpaceKey};
    use engram_shards::message::StripeStatus;
    use engram_shards::quality::UpkeepStatus;
    use serde_json::{Value, json};

    use super::*;

    fn body(response: &Response<Bytes>) -> Value {
        serde_json::from_slice(response.body()).expect("JSON")
    }

    fn stripe(name: &str, number: u16, rows: u64) -> StripeStatus {
        let settings = SpaceSettings { stripes: 2, ..default_settings(name) };
        StripeStatus {
            space: SpaceDescription { key: SpaceKey(name.len() as u64), settings },
            stripe: number,
            generation: Generation(rows + 1),
            rows,
            indexed: rows / 2,
            linked: rows / 4,
            durable_observations: [0; 3],
            durable_micros: Default::default(),
            held: 0,
            recalls: 0,
            upkeep: UpkeepStatus {
                width: 32 * rows as u32,
                recall_estimate: (rows > 4).then(|| 1.0 - rows as f32 / 300.0),
                refined: rows as u32,
                distances: 0,
                settled: number == 0,
            },
        }
    }

    fn answering(stripes: Vec<StripeStatus>) -> Result<ShardStatus, Unavailable> {
        Ok(ShardStatus { stripes, ..ShardStatus::default() })
    }

    #[test]
    fn health_tells_what_serves_and_how_well() {
        let response = health(Readiness::Ready, AckPolicy::Write, Moment { seconds: 0, nanos: 0 });
        assert_eq!(response.status(), StatusCode::OK);
        let body = body(&response);
        assert_eq!((&body["status"], &body["service"]), (&json!("healthy"), &json!("engram")));
        assert_eq!(body["durability"], "none");
        assert_eq!(body["timestamp"], "1970-01-01T00:00:00Z");
        assert_eq!(body["version"], env!("CARGO_PKG_VERSION"));
        for readiness in [Readiness::Recovering, Readiness::Draining, Readiness::Failed] {
            let now = Moment { seconds: 0, nanos: 0 };
            assert_eq!(
                health(readiness, AckPolicy::Sync, now).status(),
                StatusCode::SERVICE_UNAVAILABLE
            );
            let unready = ready(readiness, Some("why".to_owned()));
            assert_eq!(unready.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(self::body(&unready)["reason"], "why");
        }
        assert_eq!(ready(Readiness::Ready, None).status(), StatusCode::OK);
    }

    #[test]
    fn paths_have_their_methods() {
        assert_eq!(Route::of("/metrics/prometheus"), Some(Route::Metrics));
        assert_eq!(Route::of("/health/"), None);
        assert!(Route::Health.allows(&Method::HEAD) && !Route::Health.allows(&Method::POST));
        assert!(Route::Spaces.allows(&Method::POST) && !Route::Spaces.allows(&Method::DELETE));
        let response = method_not_allowed(Route::Health.methods());
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()[header::ALLOW], "GET, HEAD");
    }

    #[test]
    fn a_space_is_read_with_its_defaults() {
        let settings = read_space(br#"{"id":"robots","later":1}"#).expect("sound");
        assert_eq!(settings, default_settings("robots"));
        let settings = read_space(br#"{"id":"robots","dimension":8,"metric":"cosine","cores":1}"#);
        assert_eq!(settings.expect("sound").dimension, 8);
    }

    #[test]
    fn a_metric_is_read_by_its_names_and_told_by_one() {
        let told = |name: &str| {
            let body = json!({"id": "robots", "metric": name}).to_string();
            let settings = read_space(body.as_bytes()).expect("sound");
            (settings.metric, SpaceBody::new(&settings).metric)
        };
        assert_eq!(told("cosine"), (Metric::Cosine, "cosine"));
        assert_eq!(told("dot"), (Metric::Dot, "dot"));
        for name in ["euclidean", "Euclid", "l2", "L2"] {
            assert_eq!(told(name), (Metric::Euclidean, "euclidean"));
        }
    }

    #[test]
    fn what_a_space_cannot_have_is_named() {
        let refused = |body: &str| {
            let failure = read_space(body.as_bytes()).expect_err("bad");
            assert_eq!(failure.code, Code::InvalidArgument);
            failure.message
        };
        assert!(refused("{").starts_with("Invalid JSON: "));
        assert!(refused("{}").contains("id"));
        assert!(refused(r#"{"id":"No"}"#).starts_with("Invalid memory_space_id: "));
        assert!(refused(r#"{"id":"abc","dimension":7}"#).contains("8 to 4096"));
        assert!(refused(r#"{"id":"abc","dimension":65544}"#).contains("65544"));
        let metric = refused(r#"{"id":"abc","metric":"manhattan"}"#);
        assert_eq!(metric, "metric is cosine, dot or euclidean, not manhattan");
        assert!(refused(r#"{"id":"abc","cores":2}"#).contains("one core"));
        assert!(refused(r#"{"id":"abc","limits":{}}"#).contains("limits"));
    }

    #[test]
    fn spaces_are_listed_whole_and_by_name() {
        let statuses = [
            (CoreIndex(0), answering(vec![stripe("zebra", 0, 10), stripe("ant", 0, 4)])),
            (CoreIndex(1), answering(vec![stripe("zebra", 1, 20)])),
        ];
        let body = body(&list_spaces(&statuses).expect("all answer"));
        let expected = json!({"spaces": [
            {"id": "ant", "dimension": 768, "metric": "cosine", "cores": 2,
             "rows": 4, "indexed": 2, "linked": 1, "observations": 5,
             "recall_estimate": null, "search_width": 128, "refined": 4, "settled": true},
            {"id": "zebra", "dimension": 768, "metric": "cosine", "cores": 2,
             "rows": 30, "indexed": 15, "linked": 7, "observations": 32,
             "recall_estimate": 0.9333, "search_width": 640, "refined": 30, "settled": false},
        ]});
        assert_eq!(body, expected);
    }

    #[test]
    fn a_core_that_does_not_answer_leaves_no_gap_in_the_list() {
        let statuses = [(CoreIndex(0), answering(vec![])), (CoreIndex(1), Err(Unavailable))];
        assert_eq!(list_spaces(&statuses).expect_err("a gap").code, Code::Unavailable);
        let health = body(&system_health(Readiness::Failed, &statuses));
        assert_eq!(health["status"], "failed");
        assert_eq!(health["cores"][1], json!({"core": 1, "status": "unavailable"}));
    }

    #[test]
    fn a_failure_says_when_to_come_back() {
        let failure = Failure {
            retry_after: Some(std::time::Duration::from_millis(1_001)),
            ..Failure::new(Code::ResourceExhausted, "full")
        };
        let response = failure_response(status_of(failure.code), &failure);
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
        assert_eq!(
            body(&response),
            json!({"error": {"code": "resource_exhausted", "message": "full"}})
        );
    }
}
