//! A daemon that pretends: it answers what a test prepared and keeps what it was asked.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use caisson_proto::v1::operations_server::{Operations, OperationsServer};
use caisson_proto::v1::runtime_server::{Runtime, RuntimeServer};
use caisson_proto::v1::{self, read_event::Event, write_request::Message};
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tokio_stream::{Stream, StreamExt as _};
use tonic::body::Body;
use tonic::codegen::http;
use tonic::{Code, Request, Response, Status, Streaming};
use tower::util::MapRequestLayer;

type Events<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What a test prepares and looks at afterwards.
#[derive(Default)]
pub(crate) struct Script {
    /// Events of a Read after Started; then the stream stays open if `hang`.
    pub(crate) read: Vec<v1::ReadEvent>,
    pub(crate) hang: bool,
    /// In place of a Read.
    pub(crate) refuse: Option<Status>,
    pub(crate) reads: Vec<v1::ReadRequest>,
    pub(crate) written: Vec<v1::WriteRequest>,
    /// The input of a Write was ended, not dropped.
    pub(crate) input_ended: bool,
    pub(crate) cancelled: Vec<String>,
}

/// A pretending daemon on a Unix socket, until it is dropped.
pub(crate) struct Daemon {
    pub(crate) script: Arc<Mutex<Script>>,
    pub(crate) folder: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

impl Daemon {
    pub(crate) fn start(script: Script) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let script = Arc::new(Mutex::new(script));
        let (cancel, _) = tokio::sync::broadcast::channel(4);
        let service = Service {
            script: script.clone(),
            cancel,
        };
        let path = folder.path().join("caisson.sock");
        let _guard = runtime.enter();
        let listener = tokio::net::UnixListener::bind(path).expect("a socket");
        runtime.spawn(
            tonic::transport::Server::builder()
                .layer(MapRequestLayer::new(input))
                .add_service(RuntimeServer::new(service.clone()))
                .add_service(OperationsServer::new(service))
                .serve_with_incoming(UnixListenerStream::new(listener)),
        );
        drop(_guard);
        std::fs::write(
            folder.path().join("shop.yaml"),
            "connector: shop@1.4.2\nconfig:\n  shop: acme\n",
        )
        .expect("written");
        Self {
            script,
            folder,
            _runtime: runtime,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The binary with this daemon as its server.
    pub(crate) fn client(&self, args: &[&str]) -> std::process::Command {
        let mut command = super::caisson(self.folder.path());
        let socket = self.path("caisson.sock");
        command
            .args(args)
            .args(["--server", &format!("unix:{}", socket.display())]);
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> std::process::Output {
        self.client(args).output().expect("the binary runs")
    }
}

/// An event of the stream `orders`.
pub(crate) fn event(event: Event) -> v1::ReadEvent {
    let header = v1::EventHeader {
        call_id: "call-1".into(),
        stream: "orders".into(),
        ..Default::default()
    };
    v1::ReadEvent {
        header: Some(header),
        event: Some(event),
    }
}

#[derive(Clone)]
struct Service {
    script: Arc<Mutex<Script>>,
    cancel: tokio::sync::broadcast::Sender<()>,
}

fn started() -> v1::Started {
    v1::Started {
        call_id: "call-1".into(),
        ..Default::default()
    }
}

/// As the real daemon does: a call that was cancelled is none that ended.
fn input(request: http::Request<Body>) -> http::Request<Body> {
    request.map(|body| {
        Body::new(body.map_err(|status| match status.code() {
            Code::Cancelled => Status::aborted("cancelled"),
            _ => status,
        }))
    })
}

#[tonic::async_trait]
impl Runtime for Service {
    type TestStream = Events<v1::TestEvent>;
    type ListStream = Events<v1::ListEvent>;
    type ReadStream = Events<v1::ReadEvent>;
    type WriteStream = Events<v1::WriteEvent>;
    type SyncStream = Events<v1::SyncEvent>;

    async fn spec(
        &self,
        _: Request<v1::SpecRequest>,
    ) -> Result<Response<v1::SpecResponse>, Status> {
        Err(Status::unimplemented("spec"))
    }

    async fn test(
        &self,
        _: Request<v1::TestRequest>,
    ) -> Result<Response<Self::TestStream>, Status> {
        Err(Status::unimplemented("test"))
    }

    async fn list(
        &self,
        _: Request<v1::ListRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        Err(Status::unimplemented("list"))
    }

    async fn read(
        &self,
        request: Request<v1::ReadRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let mut cancel = self.cancel.subscribe();
        let mut script = self.script.lock().expect("not poisoned");
        script.reads.push(request.into_inner());
        if let Some(status) = script.refuse.clone() {
            return Err(status);
        }
        let mut events = vec![event(Event::Started(started()))];
        events.append(&mut script.read);
        let hang = script.hang;
        let (sender, receiver) = mpsc::channel(8);
        tokio::spawn(async move {
            for event in events {
                let _ = sender.send(Ok(event)).await;
            }
            if hang && cancel.recv().await.is_ok() {
                let failure = v1::Failure {
                    code: v1::ErrorCode::Cancelled.into(),
                    ..Default::default()
                };
                let _ = sender.send(Ok(event(Event::Failure(failure)))).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn write(
        &self,
        request: Request<Streaming<v1::WriteRequest>>,
    ) -> Result<Response<Self::WriteStream>, Status> {
        let mut requests = request.into_inner();
        let script = self.script.clone();
        let mut cancel = self.cancel.subscribe();
        let (sender, receiver) = mpsc::channel(8);
        tokio::spawn(async move {
            let send = async |event| {
                let _ = sender
                    .send(Ok(v1::WriteEvent {
                        header: Some(Default::default()),
                        event: Some(event),
                    }))
                    .await;
            };
            send(v1::write_event::Event::Started(started())).await;
            let mut records = 0;
            let ended = loop {
                let next = tokio::select! {
                    next = requests.next() => next,
                    _ = cancel.recv() => break false,
                };
                match next {
                    None => break true,
                    Some(Err(_)) => break false,
                    Some(Ok(request)) => {
                        if let Some(Message::Batch(batch)) = &request.message {
                            records += batch.records;
                        }
                        script.lock().expect("not poisoned").written.push(request);
                    }
                }
            };
            script.lock().expect("not poisoned").input_ended = ended;
            if ended {
                let stats = Some(v1::Stats {
                    records,
                    ..Default::default()
                });
                send(v1::write_event::Event::Summary(v1::Summary {
                    stats,
                    checkpoints: vec![],
                }))
                .await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn sync(
        &self,
        _: Request<v1::SyncRequest>,
    ) -> Result<Response<Self::SyncStream>, Status> {
        Err(Status::unimplemented("sync"))
    }

    async fn commit(
        &self,
        _: Request<v1::CommitRequest>,
    ) -> Result<Response<v1::CommitResponse>, Status> {
        Err(Status::unimplemented("commit"))
    }
}

#[tonic::async_trait]
impl Operations for Service {
    type WatchCallStream = Events<v1::Call>;
    type WatchAuditStream = Events<v1::AuditLine>;

    async fn list_calls(
        &self,
        _: Request<v1::ListCallsRequest>,
    ) -> Result<Response<v1::ListCallsResponse>, Status> {
        Err(Status::unimplemented("list_calls"))
    }

    async fn get_call(&self, _: Request<v1::GetCallRequest>) -> Result<Response<v1::Call>, Status> {
        Err(Status::unimplemented("get_call"))
    }

    async fn watch_call(
        &self,
        _: Request<v1::GetCallRequest>,
    ) -> Result<Response<Self::WatchCallStream>, Status> {
        Err(Status::unimplemented("watch_call"))
    }

    async fn cancel(
        &self,
        request: Request<v1::CancelRequest>,
    ) -> Result<Response<v1::CancelResponse>, Status> {
        self.script
            .lock()
            .expect("not poisoned")
            .cancelled
            .push(request.into_inner().call_id);
        let _ = self.cancel.send(());
        Ok(Response::new(v1::CancelResponse { cancelled: true }))
    }

    async fn reload_policies(
        &self,
        _: Request<v1::ReloadPoliciesRequest>,
    ) -> Result<Response<v1::ReloadPoliciesResponse>, Status> {
        Err(Status::unimplemented("reload_policies"))
    }

    async fn explain_egress(
        &self,
        _: Request<v1::ExplainEgressRequest>,
    ) -> Result<Response<v1::ExplainEgressResponse>, Status> {
        Err(Status::unimplemented("explain_egress"))
    }

    async fn check_secrets(
        &self,
        _: Request<v1::CheckSecretsRequest>,
    ) -> Result<Response<v1::CheckSecretsResponse>, Status> {
        Err(Status::unimplemented("check_secrets"))
    }

    async fn watch_audit(
        &self,
        _: Request<v1::WatchAuditRequest>,
    ) -> Result<Response<Self::WatchAuditStream>, Status> {
        Err(Status::unimplemented("watch_audit"))
    }

    async fn drain(
        &self,
        _: Request<v1::DrainRequest>,
    ) -> Result<Response<v1::DrainResponse>, Status> {
        Err(Status::unimplemented("drain"))
    }
}
