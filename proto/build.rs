//! Compiles the protocol with protox, so that no `protoc` is needed.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const FILES: [&str; 6] = [
    "caisson/v1/common.proto",
    "caisson/v1/runtime.proto",
    "caisson/v1/connections.proto",
    "caisson/v1/registry.proto",
    "caisson/v1/operations.proto",
    "caisson/worker/v1/worker.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=caisson");
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    let grpc = env::var_os("CARGO_FEATURE_GRPC").is_some();
    tonic_prost_build::configure()
        .build_client(grpc)
        .build_server(grpc)
        // Encoded in one order always: a repeated request is known by its bytes.
        .btree_map(".caisson")
        .bytes(".caisson.v1.Batch")
        .bytes(".caisson.v1.Schema.ipc")
        .bytes(".caisson.v1.WriteBatch")
        .compile_fds(descriptors)?;
    Ok(())
}
