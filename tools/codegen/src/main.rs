//! `cargo run -p engram-codegen` writes `proto/src/generated` anew from the `.proto` files.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = engram_codegen::proto_folder().join(engram_codegen::GENERATED);
    std::fs::create_dir_all(&out)?;
    engram_codegen::generate(&out)
}
