//! Runtime: Spec, Test, List, Read, Write, Sync, Commit. Each has a file; here
//! they take the shape of the API.

mod begin;
mod commit;
mod inquire;
mod launch;
mod read;
mod spec;
mod sync;
mod write;

use std::pin::Pin;
use std::sync::Arc;

use caisson_proto::v1;
use caisson_proto::v1::runtime_server::Runtime;
use caisson_wire::message::Operation;
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use super::{bulk, events};
use crate::call::{Emitted, Listening};
use crate::core::Core;

pub(crate) struct RuntimeService(pub(crate) Arc<Core>);

/// Events between a call and its gRPC stream; each at most 3.5 MiB.
const QUEUE: usize = 4;

type Events<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Runtime for RuntimeService {
    type TestStream = Events<v1::TestEvent>;
    type ListStream = Events<v1::ListEvent>;
    type ReadStream = Events<v1::ReadEvent>;
    type WriteStream = Events<v1::WriteEvent>;
    type SyncStream = Events<v1::SyncEvent>;

    async fn spec(
        &self,
        request: Request<v1::SpecRequest>,
    ) -> Result<Response<v1::SpecResponse>, Status> {
        spec::spec(&self.0, request).await.map(Response::new)
    }

    async fn test(
        &self,
        request: Request<v1::TestRequest>,
    ) -> Result<Response<Self::TestStream>, Status> {
        let asked = inquire::Asked::of(&request, request.get_ref().options.clone())?;
        let connection = request.into_inner().connection;
        let events = inquire::inquire(&self.0, "test", Operation::Test, asked, connection).await?;
        Ok(answer(events, events::test))
    }

    async fn list(
        &self,
        request: Request<v1::ListRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        let asked = inquire::Asked::of(&request, request.get_ref().options.clone())?;
        let connection = request.into_inner().connection;
        let events = inquire::inquire(&self.0, "list", Operation::List, asked, connection).await?;
        Ok(answer(events, events::list))
    }

    async fn read(
        &self,
        request: Request<v1::ReadRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let events = read::read(&self.0, request).await?;
        Ok(bulk::answer(Box::pin(events::stream(events, events::read))))
    }

    async fn write(
        &self,
        request: Request<Streaming<v1::WriteRequest>>,
    ) -> Result<Response<Self::WriteStream>, Status> {
        let events = write::write(&self.0, request).await?;
        Ok(answer(events, events::write))
    }

    async fn sync(
        &self,
        request: Request<v1::SyncRequest>,
    ) -> Result<Response<Self::SyncStream>, Status> {
        sync::sync(&self.0, request).await.map(Response::new)
    }

    async fn commit(
        &self,
        request: Request<v1::CommitRequest>,
    ) -> Result<Response<v1::CommitResponse>, Status> {
        commit::commit(&self.0, request).await.map(Response::new)
    }
}

/// A call's events in the shape of one RPC.
fn answer<T: Send + 'static>(
    events: Listening,
    shape: fn(Emitted) -> Option<T>,
) -> Response<Events<T>> {
    Response::new(Box::pin(events::stream(events, shape)))
}
