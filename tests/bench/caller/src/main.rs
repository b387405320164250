//! Calls a daemon and verifies what it gets; prints one line of JSON.
//!
//! `caller read SOCKET REQUEST` drains one Read and counts: every Arrow batch is decoded and its
//! first column summed, every JSON line is counted and the last one kept. `caller calls SOCKET
//! REQUEST` makes many calls, some at once, and times their parts. REQUEST is a JSON object:
//! `path`, `connector`, `config`, `stream`, `encoding` (`arrow` or `jsonl`), `test` (a Test in
//! place of a Read), `count`, `at_once`, `pause_ms` (before each call). All times are milliseconds from the moment before the
//! request is sent.
#![forbid(unsafe_code)]

mod calls;
mod read;
mod request;

use std::error::Error;

use caisson_proto::v1::runtime_client::RuntimeClient;
use tonic::transport::{Channel, Endpoint};

use crate::request::Request;

/// Messages of the benchmark are as large as the daemon makes them.
const LARGEST: usize = 16 << 20;

type Fault = Box<dyn Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fault> {
    let words: Vec<String> = std::env::args().collect();
    let [_, what, socket, request] = words.as_slice() else {
        return Err("caller read|calls SOCKET REQUEST".into());
    };
    let request = Request::parse(request)?;
    let runtime = connect(socket).await?;
    let told = match what.as_str() {
        "read" => read::drain(runtime, &request).await?,
        "calls" => calls::time(runtime, &request).await?,
        other => return Err(format!("`{other}` is neither read nor calls").into()),
    };
    println!("{told}");
    Ok(())
}

async fn connect(socket: &str) -> Result<RuntimeClient<Channel>, Fault> {
    // Windows for bulk, as docs/guides tell callers to set them.
    let endpoint = Endpoint::from_shared(format!("unix:{socket}"))?
        .initial_stream_window_size(16 << 20)
        .initial_connection_window_size(64 << 20)
        .max_frame_size(1 << 20);
    Ok(RuntimeClient::new(endpoint.connect().await?).max_decoding_message_size(LARGEST))
}
