//! Many calls, one after another or some at once, and when each had its parts.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use caisson_proto::v1::read_event::Event;
use caisson_proto::v1::runtime_client::RuntimeClient;
use caisson_proto::v1::test_event;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::Fault;
use crate::request::Request;

/// When the parts of one call came, milliseconds after it was sent.
#[derive(Default)]
struct Times {
    /// The time that connector code wrote into its first log.
    code: Option<f64>,
    log: Option<f64>,
    batch: Option<f64>,
    end: f64,
    /// What the daemon says: from acceptance to connector code running.
    start_ms: f64,
    records: u64,
    fault: Option<String>,
}

pub(crate) async fn time(
    runtime: RuntimeClient<Channel>,
    request: &Request,
) -> Result<Value, Fault> {
    let began = Instant::now();
    let mut running = JoinSet::new();
    let mut all = Vec::with_capacity(request.count);
    for _ in 0..request.count {
        if running.len() >= request.at_once
            && let Some(times) = running.join_next().await
        {
            all.push(times?);
        }
        tokio::time::sleep(request.pause).await;
        running.spawn(one(runtime.clone(), request.clone()));
    }
    while let Some(times) = running.join_next().await {
        all.push(times?);
    }
    let faults: Vec<&String> = all
        .iter()
        .filter_map(|times| times.fault.as_ref())
        .collect();
    Ok(json!({
        "seconds": began.elapsed().as_secs_f64(),
        "code_ms": all.iter().filter_map(|times| times.code).collect::<Vec<_>>(),
        "log_ms": all.iter().filter_map(|times| times.log).collect::<Vec<_>>(),
        "batch_ms": all.iter().filter_map(|times| times.batch).collect::<Vec<_>>(),
        "end_ms": all.iter().map(|times| times.end).collect::<Vec<_>>(),
        "start_ms": all.iter().map(|times| times.start_ms).collect::<Vec<_>>(),
        "records": all.iter().map(|times| times.records).sum::<u64>(),
        "errors": faults.len(),
        "fault": faults.first(),
    }))
}

async fn one(runtime: RuntimeClient<Channel>, request: Request) -> Times {
    let began = Instant::now();
    let mut times = Times::default();
    let ended = if request.test {
        test(runtime, &request, began, &mut times).await
    } else {
        read(runtime, &request, began, &mut times).await
    };
    times.fault = ended.err();
    times.end = since(began);
    times
}

async fn read(
    mut runtime: RuntimeClient<Channel>,
    request: &Request,
    began: Instant,
    times: &mut Times,
) -> Result<(), String> {
    let told = |status: tonic::Status| status.to_string();
    let mut events = runtime
        .read(request.read())
        .await
        .map_err(told)?
        .into_inner();
    while let Some(message) = events.message().await.map_err(told)? {
        match message.event {
            Some(Event::Log(log)) => times.logged(&log.message, began),
            Some(Event::Batch(batch)) => {
                times.batch.get_or_insert_with(|| since(began));
                times.records += batch.records;
            }
            Some(Event::Failure(failure)) => return Err(failure.message),
            Some(Event::Summary(summary)) => {
                times.start_ms = summary.stats.unwrap_or_default().start_ms;
                return Ok(());
            }
            _ => {}
        }
    }
    Err("the stream ended without a summary".to_owned())
}

async fn test(
    mut runtime: RuntimeClient<Channel>,
    request: &Request,
    began: Instant,
    times: &mut Times,
) -> Result<(), String> {
    let told = |status: tonic::Status| status.to_string();
    let mut events = runtime
        .test(request.test())
        .await
        .map_err(told)?
        .into_inner();
    while let Some(message) = events.message().await.map_err(told)? {
        match message.event {
            Some(test_event::Event::Log(log)) => times.logged(&log.message, began),
            Some(test_event::Event::Failure(failure)) => return Err(failure.message),
            Some(test_event::Event::Summary(summary)) => {
                times.start_ms = summary.stats.unwrap_or_default().start_ms;
                return Ok(());
            }
            _ => {}
        }
    }
    Err("the stream ended without a summary".to_owned())
}

impl Times {
    /// The first log: a connector of the benchmark writes nanoseconds since 1970 into it.
    fn logged(&mut self, message: &str, began: Instant) {
        if self.log.is_some() {
            return;
        }
        let now = since(began);
        self.log = Some(now);
        let here = SystemTime::now().duration_since(UNIX_EPOCH);
        if let (Ok(here), Ok(there)) = (here, message.parse::<u64>()) {
            self.code = Some(now - (here.as_nanos() as f64 - there as f64) / 1e6);
        }
    }
}

fn since(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e3
}
