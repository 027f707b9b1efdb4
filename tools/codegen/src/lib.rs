//! Generates the Rust types of the wire contract, by protox and prost-build: no protoc needed.
//!
//! What it writes is committed (`proto/src/generated`), so that building the server runs no generator; a test
//! here compares the committed files with fresh ones.

use std::path::{Path, PathBuf};

use prost::Message;

/// The files that a client compiles, relative to `proto/`. What they import comes along.
pub const FILES: [&str; 7] = [
    "engram/v1/memory.proto",
    "engram/v1/service.proto",
    "grpc/health/v1/health.proto",
    "grpc/reflection/v1/reflection.proto",
    "grpc/reflection/v1alpha/reflection.proto",
    "google/rpc/status.proto",
    "google/rpc/error_details.proto",
];

/// Where the committed output lies, relative to `proto/`.
pub const GENERATED: &str = "src/generated";

/// The folder `proto/` of this checkout.
pub fn proto_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../proto")
        .canonicalize()
        .expect("tools/codegen stands two folders below the root")
}

/// Writes `*.rs` and `descriptor.bin` for [`FILES`] into `out`, which must exist.
pub fn generate(out: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let proto = proto_folder();
    let mut compiler = protox::Compiler::new([&proto])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(FILES)?;
    let described = compiler.file_descriptor_set();

    prost_build::Config::new()
        .out_dir(out)
        .bytes(["."])
        // Maps in key order: the same message always has the same bytes.
        .btree_map(["."])
        .compile_fds(described.clone())?;

    // Reflection serves the descriptors; comments are of no use there and are most of their bytes.
    let mut bare = described;
    for file in &mut bare.file {
        file.source_code_info = None;
    }
    std::fs::write(out.join("descriptor.bin"), bare.encode_to_vec())?;
    Ok(())
}
