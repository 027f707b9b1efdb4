//! `engram-bench restart` prints one JSON object whose figures are sound. It starts the server that lies beside it, which
//! `cargo test --workspace` builds.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn number(report: &Value, key: &str) -> f64 {
    report[key].as_f64().unwrap_or_else(|| panic!("{key} is no number: {}", report[key]))
}

#[test]
fn the_json_holds_sound_figures() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data");
    let output = Command::new(env!("CARGO_BIN_EXE_engram-bench"))
        .args(["restart", "--json", "--rows", "5000", "--rounds", "1", "--data"])
        .arg(data)
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value =
        serde_json::from_slice(&output.stdout).expect("stdout is JSON and nothing else");
    // A record holds 768 floats and some text.
    let records = number(&report, "record_bytes");
    assert!((5_000.0 * 3_072.0..5_000.0 * 4_000.0).contains(&records), "{records}");
    // A log is written once, and checkpoints beside it.
    let amplification = number(&report, "write_amplification");
    assert!((1.0..3.0).contains(&amplification), "{amplification}");
    assert!(number(&report, "disk_over_live") > 1.0);
    let checkpoints = number(&report, "checkpoint_bytes");
    assert!((5_000.0 * 1_000.0..5_000.0 * 1_500.0).contains(&checkpoints), "{checkpoints}");
    for start in [&report["page_cache"], &report["cold"], &report["killed"][0]] {
        for (key, least) in
            [("ready_s", 0.001), ("first_recall_ms", 0.01), ("later_recall_ms", 0.01)]
        {
            assert!(number(start, key) > least, "{key} {}", start[key]);
        }
    }
    let cold = &report["cold"];
    assert!(number(cold, "cold_read_bytes") > checkpoints, "{cold}");
    let ratio = number(cold, "ready_s") / number(cold, "cold_read_s");
    assert!((number(cold, "cold_over_read") / ratio - 1.0).abs() < 1e-6, "{cold}");
    let killed = &report["killed"][0];
    assert!(number(killed, "rows") >= 5_500.0 && number(killed, "rows_replayed") >= 500.0);
}
