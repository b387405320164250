//! The gRPC services: requests in, events out. What a call does is decided
//! elsewhere; here it takes the shape of the API.

mod audit;
mod bulk;
mod connections;
mod events;
mod input;
mod opened;
mod operations;
mod pages;
mod registry;
mod runtime;
mod timeout;

pub(crate) use bulk::body;
pub(crate) use connections::{
    ConnectionService, checkpoint_error, connection_error, connection_of,
};
pub(crate) use input::input;
pub(crate) use operations::OperationService;
pub(crate) use registry::RegistryService;
pub(crate) use runtime::RuntimeService;
