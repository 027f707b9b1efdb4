//! `engram-bench index` prints one JSON object whose figures other tools read, and they are sound.

mod printed;

use printed::number;
use serde_json::Value;

/// What `index` prints of 50 queries.
fn report(arguments: &[&str]) -> Value {
    printed::report(&[&["index", "--queries", "50"], arguments].concat())
}

#[test]
fn the_json_holds_sound_figures() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let truth = folder.path().join("truth.json");
    let report = report(&["--rows", "11000", "--truth", truth.to_str().expect("UTF-8")]);
    assert_eq!(report["rows"], 11_000);
    // More than a space scans: all of them are linked on the clock.
    assert_eq!((&report["rows_linked"], &report["rows_scanned"]), (&11_000.into(), &0.into()));
    for key in ["recall_at_10", "recall_at_100", "harder_recall_at_10"] {
        let recall = number(&report, key);
        assert!((0.9..=1.0).contains(&recall), "{key} {recall}");
    }
    for key in [
        "inserts_per_s",
        "inserts_per_s_first_10000",
        "queries_per_s",
        "queries_per_s_at_95",
        "distances_per_insert",
        "scan_ns_per_row",
    ] {
        assert!(number(&report, key) > 1.0, "{key} {}", report[key]);
    }
    // An int8 code a number is the least. A process holds more than few rows take.
    for (key, most) in [("bytes_per_row", 3_000.0), ("resident_bytes_per_row", 10_000.0)] {
        let bytes = number(&report, key);
        assert!((768.0..most).contains(&bytes), "{key} {bytes}");
    }
    let split = number(&report, "encode_us") + number(&report, "insert_us");
    assert!((split * number(&report, "inserts_per_s") / 1e6 - 1.0).abs() < 0.01);
    let recalls: Vec<f64> = report["widths"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|width| number(width, "recall_at_10"))
        .collect();
    assert!(recalls.len() > 4 && recalls[0] < recalls[recalls.len() - 1], "{recalls:?}");

    let truth = std::fs::read(truth).expect("the exact answers were asked for");
    let truth: Value = serde_json::from_slice(&truth).expect("JSON");
    for set in ["plain", "harder"] {
        let answers = truth[set]["answers"].as_array().expect("a list");
        assert_eq!(answers.len(), 50);
        for answer in answers {
            let rows = answer.as_array().expect("a list");
            assert!(rows.len() == 100 && rows.iter().all(|row| row.as_u64() < Some(11_000)));
        }
    }
}

#[test]
fn a_settled_space_finds_what_it_promises() {
    let report = report(&["--rows", "11000", "--settle"]);
    let settled = &report["settled"];
    assert!(number(settled, "seconds") > 0.0);
    assert!(number(settled, "inserts_per_s") < number(&report, "inserts_per_s"));
    assert!(number(settled, "recall_estimate") >= 0.9);
    assert!(number(&settled["by_default"], "recall_at_10") >= 0.9);
    // Refined rows are found at less width.
    let harder = |answers: &Value| number(&answers["widths"][1], "harder_recall_at_10");
    assert!(harder(settled) > harder(&report), "{} {}", harder(settled), harder(&report));
}

#[test]
fn batches_are_loaded_one_by_one_and_runs_told_apart() {
    let report = report(&["--rows", "300", "--batches", "--runs", "2"]);
    let batches = report["batches"].as_array().expect("a list");
    let sizes: Vec<u64> = batches.iter().filter_map(|batch| batch["batch"].as_u64()).collect();
    assert_eq!(sizes, [1, 10, 100, 500, 1_000]);
    for batch in batches {
        assert_eq!(batch["rows"], 300);
        assert!(number(batch, "recall_at_10") > 0.9);
    }
    let runs = report["runs"].as_array().expect("a list");
    assert_eq!(runs.len(), 2);
    assert_eq!(runs[0]["distances_per_insert"], runs[1]["distances_per_insert"]);
    let (least, most) =
        (number(&report, "inserts_per_s_min"), number(&report, "inserts_per_s_max"));
    assert!(least <= number(&report, "inserts_per_s") && number(&report, "inserts_per_s") <= most);
}
