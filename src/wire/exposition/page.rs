//! The two text formats: OpenMetrics 1.0.0, and the older 0.0.4 of Prometheus.
//!
//! They differ in what a counter's family is called (OpenMetrics leaves `_total` to its samples), in how a bucket's
//! bound is written (`1.0` and `1`) and in the last line (`# EOF`).

use std::fmt::Write as _;

use http::HeaderMap;
use http::header::ACCEPT;

/// What every name begins with.
const PREFIX: &str = "engram_streaming_";

/// A text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// Prometheus text 0.0.4.
    Text,
}

impl Format {
    /// What a request accepts: OpenMetrics where it asks for it at least as strongly as for plain text.
    pub fn accepted(headers: &HeaderMap) -> Format {
        let strongest = |kind: &str| {
            let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
            values
                .flat_map(|list| list.split(','))
                .filter_map(|item| quality(item, kind))
                .fold(0.0, f32::max)
        };
        let open_metrics = strongest("application/openmetrics-text");
        if open_metrics > 0.0 && open_metrics >= strongest("text/plain") {
            Format::OpenMetrics
        } else {
            Format::Text
        }
    }

    /// The value of `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// How strongly an item of `Accept` asks for `kind`; `None` where it is about another.
fn quality(item: &str, kind: &str) -> Option<f32> {
    let mut parts = item.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case(kind) {
        return None;
    }
    let quality = parts.find_map(|part| part.strip_prefix("q="));
    Some(quality.map_or(1.0, |quality| quality.parse().unwrap_or(0.0)))
}

/// What a family's samples are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only rises; the name of its samples ends in `_total`.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts by bucket.
    Histogram,
}

/// Labels of one sample.
pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

/// Counts by bucket, as they are told.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Buckets {
    /// Upper bound of each bucket, rising, and how many values do not exceed it.
    pub(super) cumulative: Vec<(f64, u64)>,
    /// How many values there are.
    pub(super) count: u64,
    /// Their sum.
    pub(super) sum: f64,
}

/// A text in the making.
#[derive(Debug)]
pub(super) struct Page {
    text: String,
    format: Format,
}

impl Page {
    pub(super) fn new(format: Format) -> Page {
        Page { text: String::new(), format }
    }

    /// Begins a family; its samples follow before another begins. `name` is the samples', without the prefix.
    pub(super) fn family(
        &mut self,
        name: &'static str,
        kind: Kind,
        help: &'static str,
    ) -> Family<'_> {
        let (shown, kind_shown) = match (kind, self.format) {
            (Kind::Counter, Format::OpenMetrics) => {
                (name.strip_suffix("_total").expect("a counter's samples end in _total"), "counter")
            }
            (Kind::Counter, Format::Text) => (name, "counter"),
            (Kind::Gauge, _) => (name, "gauge"),
            (Kind::Histogram, _) => (name, "histogram"),
        };
        self.line(format_args!("# HELP {PREFIX}{shown} {help}"));
        self.line(format_args!("# TYPE {PREFIX}{shown} {kind_shown}"));
        Family { page: self, name, kind }
    }

    /// The whole text.
    pub(super) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.line(format_args!("# EOF"));
        }
        self.text
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("a string takes every character");
    }

    fn sample(&mut self, name: &str, suffix: &str, labels: Labels<'_>, value: f64) {
        write!(self.text, "{PREFIX}{name}{suffix}").expect("a string takes every character");
        for (at, (label, shown)) in labels.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            write!(self.text, "{before}{label}=\"{}\"", Escaped(shown))
                .expect("a string takes every character");
        }
        let close = if labels.is_empty() { "" } else { "}" };
        self.line(format_args!("{close} {value}"));
    }

    fn bound(&self, bound: f64) -> String {
        match self.format {
            Format::OpenMetrics if bound.fract() == 0.0 => format!("{bound:.1}"),
            _ => bound.to_string(),
        }
    }
}

/// One family's samples.
#[derive(Debug)]
pub(super) struct Family<'a> {
    page: &'a mut Page,
    name: &'static str,
    kind: Kind,
}

impl Family<'_> {
    /// One sample of a counter or a gauge.
    pub(super) fn value(&mut self, labels: Labels<'_>, value: f64) {
        assert_ne!(self.kind, Kind::Histogram, "{} has buckets", self.name);
        self.page.sample(self.name, "", labels, value);
    }

    /// All samples of one histogram.
    pub(super) fn buckets(&mut self, labels: Labels<'_>, buckets: &Buckets) {
        assert_eq!(self.kind, Kind::Histogram, "{} has no buckets", self.name);
        for &(bound, count) in &buckets.cumulative {
            let bound = self.page.bound(bound);
            let labels = [labels, &[("le", bound.as_str())]].concat();
            self.page.sample(self.name, "_bucket", &labels, count as f64);
        }
        let all = [labels, &[("le", "+Inf")]].concat();
        self.page.sample(self.name, "_bucket", &all, buckets.count as f64);
        self.page.sample(self.name, "_sum", labels, buckets.sum);
        self.page.sample(self.name, "_count", labels, buckets.count as f64);
    }
}

/// A label's value, which may hold anything.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for character in self.0.chars() {
            match character {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(format: Format) -> String {
        let mut page = Page::new(format);
        let mut counter = page.family("seen_total", Kind::Counter, "What was seen.");
        counter.value(&[("space", "a\"b\\c\nd"), ("lane", "high")], 3.0);
        page.family("depth", Kind::Gauge, "How deep.").value(&[], 0.5);
        let buckets = Buckets { cumulative: vec![(0.001, 1), (1.0, 3)], count: 4, sum: 7.25 };
        page.family("wait_seconds", Kind::Histogram, "How long.")
            .buckets(&[("lane", "low")], &buckets);
        page.finish()
    }

    #[test]
    fn open_metrics_is_written_to_the_letter() {
        let expected = r##"# HELP engram_streaming_seen What was seen.
# TYPE engram_streaming_seen counter
engram_streaming_seen_total{space="a\"b\\c\nd",lane="high"} 3
# HELP engram_streaming_depth How deep.
# TYPE engram_streaming_depth gauge
engram_streaming_depth 0.5
# HELP engram_streaming_wait_seconds How long.
# TYPE engram_streaming_wait_seconds histogram
engram_streaming_wait_seconds_bucket{lane="low",le="0.001"} 1
engram_streaming_wait_seconds_bucket{lane="low",le="1.0"} 3
engram_streaming_wait_seconds_bucket{lane="low",le="+Inf"} 4
engram_streaming_wait_seconds_sum{lane="low"} 7.25
engram_streaming_wait_seconds_count{lane="low"} 4
# EOF
"##;
        assert_eq!(page(Format::OpenMetrics), expected);
    }

    #[test]
    fn the_older_text_differs_where_it_must() {
        let text = page(Format::Text);
        assert!(text.contains("# TYPE engram_streaming_seen_total counter\n"));
        assert!(text.contains("le=\"1\"} 3\n"));
        assert!(!text.contains("# EOF"));
    }

    #[test]
    fn the_format_is_the_one_asked_for() {
        let accepted = |accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().expect("a header"));
            Format::accepted(&headers)
        };
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,\
                          application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(accepted(prometheus), Format::OpenMetrics);
        assert_eq!(accepted("application/openmetrics-text"), Format::OpenMetrics);
        assert_eq!(accepted("application/openmetrics-text; q=0"), Format::Text);
        assert_eq!(accepted("application/openmetrics-text;q=0.1, text/plain"), Format::Text);
        assert_eq!(accepted("*/*"), Format::Text);
        assert_eq!(Format::accepted(&HeaderMap::new()), Format::Text);
    }
}
