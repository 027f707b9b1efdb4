//! The committed types are what the `.proto` files say now. If this fails, run `cargo run -p engram-codegen`.

use std::collections::BTreeMap;
use std::path::Path;

fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).expect("the folder of generated files is readable");
    entries
        .map(|entry| {
            let path = entry.expect("its entries are readable").path();
            let name =
                path.file_name().expect("an entry has a name").to_string_lossy().into_owned();
            (name, std::fs::read(&path).expect("a generated file is readable"))
        })
        .collect()
}

#[test]
fn committed_code_is_what_the_proto_files_generate() {
    let fresh = tempfile::tempdir().expect("a temporary folder can be made");
    engram_codegen::generate(fresh.path()).expect("the proto files compile");
    let fresh = contents(fresh.path());
    let committed = contents(&engram_codegen::proto_folder().join(engram_codegen::GENERATED));

    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&committed), names(&fresh), "run `cargo run -p engram-codegen`");
    for (name, bytes) in &fresh {
        assert!(committed[name] == *bytes, "{name} is stale: run `cargo run -p engram-codegen`");
    }
}
