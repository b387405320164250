//! Where the API listens.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use caisson_proto::DESCRIPTORS;
use caisson_proto::v1::connections_server::ConnectionsServer;
use caisson_proto::v1::operations_server::OperationsServer;
use caisson_proto::v1::registry_server::RegistryServer;
use caisson_proto::v1::runtime_server::RuntimeServer;
use tokio::net::{TcpListener, UnixListener};
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::service::InterceptorLayer;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tower::util::{MapRequestLayer, MapResponseLayer};

use crate::config::{Listen, Tls};
use crate::core::Core;
use crate::identity::Authenticator;
use crate::serve::{
    ConnectionService, OperationService, RegistryService, RuntimeService, body, input,
};

/// Largest request message: a batch of 3.5 MiB and its names.
const MESSAGE: usize = 4 << 20;

/// A bound socket, before anything is served.
pub(crate) enum Bound {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// Binds the socket and says where it is: `unix:/path`, `http://…` or
/// `https://…`.
pub(crate) async fn bind(listen: &Listen) -> io::Result<(Bound, String, Option<SocketAddr>)> {
    match listen {
        Listen::Unix { path, users } => Ok((
            Bound::Unix(bind_unix(path, !users.is_empty())?),
            format!("unix:{}", path.display()),
            None,
        )),
        Listen::Tcp { address, tls, .. } => {
            let listener = TcpListener::bind(address).await?;
            let address = listener.local_addr()?;
            let scheme = if tls.is_some() { "https" } else { "http" };
            Ok((
                Bound::Tcp(listener),
                format!("{scheme}://{address}"),
                Some(address),
            ))
        }
    }
}

fn bind_unix(path: &Path, others: bool) -> io::Result<UnixListener> {
    // What a daemon that is gone left there; never a living one's, and nothing
    // that is no socket.
    if let Ok(found) = std::fs::symlink_metadata(path) {
        let alive = std::os::unix::net::UnixStream::connect(path).is_ok();
        if alive || !found.file_type().is_socket() {
            let what = if alive {
                "somebody listens there"
            } else {
                "it is no socket"
            };
            return Err(io::Error::new(io::ErrorKind::AddrInUse, what));
        }
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    // Who may connect is decided by peer credentials; the mode keeps others
    // from even trying where nobody else is named.
    let mode = if others { 0o666 } else { 0o600 };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(listener)
}

/// Serves until `stop`.
pub(crate) async fn serve(
    bound: Bound,
    core: Arc<Core>,
    stop: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let authenticator = match &core.config.listen {
        Listen::Unix { users, .. } => Authenticator::peers(users),
        Listen::Tcp { tls, keys, .. } => {
            let asked = tls.as_ref().filter(|tls| tls.client_ca.is_some());
            Authenticator::Tcp {
                keys: keys.clone(),
                clients: asked.map(|tls| tls.clients.clone()),
            }
        }
    };
    let mut server = Server::builder()
        // Writes that wait for their destinations must not fill the connection, or nothing else gets through it.
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(64 << 20)
        .max_frame_size(Some(1 << 20))
        .http2_keepalive_interval(Some(std::time::Duration::from_secs(30)));
    if let Listen::Tcp { tls: Some(tls), .. } = &core.config.listen {
        server = server.tls_config(tls_config(tls))?;
    }
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<RuntimeServer<RuntimeService>>().await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let reflection_v1 = reflection()
        .build_v1()
        .expect("the descriptors in this program are valid");
    // What grpcio-reflection and older grpcurl speak.
    let reflection_v1alpha = reflection()
        .build_v1alpha()
        .expect("the descriptors in this program are valid");
    let router = server
        .layer(InterceptorLayer::new(move |request| {
            authenticator.authenticate(request)
        }))
        .layer(MapRequestLayer::new(input))
        .layer(MapResponseLayer::new(body))
        .add_service(health_service)
        .add_service(reflection_v1)
        .add_service(reflection_v1alpha)
        .add_service(
            RuntimeServer::new(RuntimeService(core.clone())).max_decoding_message_size(MESSAGE),
        )
        .add_service(
            ConnectionsServer::new(ConnectionService(core.clone()))
                .max_decoding_message_size(MESSAGE),
        )
        .add_service(
            RegistryServer::new(RegistryService(core.clone())).max_decoding_message_size(MESSAGE),
        )
        .add_service(OperationsServer::new(OperationService(core)));
    match bound {
        Bound::Unix(listener) => {
            router
                .serve_with_incoming_shutdown(UnixListenerStream::new(listener), stop.cancelled())
                .await
        }
        Bound::Tcp(listener) => {
            router
                .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop.cancelled())
                .await
        }
    }
}

fn tls_config(tls: &Tls) -> ServerTlsConfig {
    let config = ServerTlsConfig::new().identity(Identity::from_pem(&tls.certificate, &tls.key));
    match &tls.client_ca {
        Some(ca) => config.client_ca_root(Certificate::from_pem(ca)),
        None => config,
    }
}
