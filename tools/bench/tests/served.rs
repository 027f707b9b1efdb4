//! The commands that measure a running server print one JSON object each, whose counts are sound. They start the server that
//! lies beside them, which `cargo test --workspace` builds.

mod printed;

use printed::{number, report};

#[test]
fn observations_are_looked_for_until_they_are_found() {
    let report = report(&["visible", "--rows", "500", "--load-rows", "1000", "--rounds", "1"]);
    let round = &report["rounds"][0];
    assert!(number(round, "saturation_per_s") > 0.0);
    for load in [&round["half_load"], &round["full_load"]] {
        let found = number(&load["visible"], "count");
        assert!(found > 0.0 && found == number(&load["acked"], "count"), "{load}");
        assert!(number(load, "recalls_each") >= 1.0, "{load}");
        let (p50, p99) = (number(&load["visible"], "p50_ms"), number(&load["visible"], "p99_ms"));
        assert!(0.0 < p50 && p50 <= p99, "{load}");
    }
}

const SHORT_OVERLOAD: [&str; 9] = [
    "overload",
    "--rows=500",
    "--load-rows=1000",
    "--capacity=300",
    "--seconds=1",
    "--sessions=4",
    "--window=512",
    "--times=100",
    "--recalls=20",
];

#[test]
fn an_overload_is_refused_and_taken_when_it_is_sent_again() {
    let report = report(&SHORT_OVERLOAD);
    let round = &report["rounds"][0];
    assert!(number(round, "refused") > 0.0, "nothing was too much: {round}");
    assert!(number(round, "depth_max") <= number(round, "capacity"), "{round}");
    assert!(number(round, "stored") > 500.0, "{round}");
    assert_eq!(number(&round["recalls"], "count"), 20.0);
    assert!(number(round, "resident_bytes_max") > 0.0 && number(round, "bound_bytes") > 0.0);
}

#[test]
fn a_neighbour_of_an_overload_is_served() {
    let report = report(&[&SHORT_OVERLOAD[..], &["--noisy", "--neighbour=50"]].concat());
    let round = &report["rounds"][0];
    for acks in [&round["alone"], &round["beside"]] {
        assert_eq!(number(acks, "count"), 50.0);
    }
    assert!(number(round, "p99_ratio") > 0.0);
}

#[test]
fn a_full_server_that_is_stopped_tells_every_client_and_keeps_what_it_acked() {
    // A tail of rows that wait for nothing comes on top.
    let report = report(&[
        "drain",
        "--queued",
        "2000",
        "--rounds",
        "1",
        "--sessions",
        "2",
        "--websockets",
        "2",
    ]);
    let round = &report["rounds"][0];
    assert!(number(round, "queued") >= 2_000.0, "{round}");
    assert!(number(round, "rows") >= number(round, "acked"), "{round}");
    assert!(number(round, "acked") > 0.0, "{round}");
}

#[test]
fn a_websocket_takes_both_forms() {
    let report = report(&["websocket", "--rows", "500", "--rounds", "1"]);
    let length = |form: &str| number(&report[form][0], "frame_bytes");
    // Four bytes a number; as decimals some ten.
    assert!((3_072.0..4_000.0).contains(&length("binary")) && length("json") > 6_000.0);
}

#[test]
fn recalls_are_told_by_their_first_page_and_as_a_whole() {
    let report = report(&[
        "first-page",
        "--rows=2000",
        "--load-rows=6000",
        "--count=30",
        "--wide=500",
        "--recalls=200",
        "--wide-share=5",
        "--rounds=1",
    ]);
    let round = &report["rounds"][0];
    for answered in [&round["recalls"], &round["wide"]] {
        let (first, whole) = (&answered["first_page"], &answered["whole"]);
        assert_eq!(number(first, "count"), number(whole, "count"));
        assert!(number(first, "p50_ms") <= number(whole, "p50_ms"), "{answered}");
    }
    assert!(number(&round["recalls"]["whole"], "count") > 0.0, "{round}");
}

#[test]
fn all_connections_are_served_beside_some_that_read_nothing() {
    let report = report(&[
        "connections",
        "--rows=1000",
        "--idle=50",
        "--busy=10",
        "--silent=2",
        "--rate=100",
        "--seconds=1",
    ]);
    for acks in [&report["without"], &report["with"]] {
        assert_eq!(number(acks, "count"), 100.0);
    }
    // And the one that asks for the metrics.
    assert_eq!(number(&report, "connections"), 63.0);
}
