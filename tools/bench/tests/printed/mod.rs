//! What commands of `engram-bench` print, over the bundled data.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The JSON of a command that succeeds.
pub(crate) fn report(arguments: &[&str]) -> Value {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data");
    let output = Command::new(env!("CARGO_BIN_EXE_engram-bench"))
        .args(arguments)
        .args(["--json", "--data"])
        .arg(data)
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("stdout is JSON and nothing else")
}

pub(crate) fn number(report: &Value, key: &str) -> f64 {
    report[key].as_f64().unwrap_or_else(|| panic!("{key} is no number: {}", report[key]))
}
