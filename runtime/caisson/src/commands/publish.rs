//! `caisson publish`: pack a connector's folder and hand it to the registry,
//! which refuses what `validate` refuses.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use caisson_bundle::{
    AllowedDependencies, Bundle, BundleError, FetchError, ProjectDir, ProjectError, Target, Wheel,
    fetch_wheels, pack, wheels_in,
};
use caisson_proto::v1;
use tokio_stream::wrappers::ReceiverStream;

use super::{Job, table::out};
use crate::args::PublishArgs;
use crate::exit::Exit;
use crate::session::Session;
use crate::stop::{Result, Stop};
use crate::voice::Voice;

/// Bytes of the bundle in one message.
const CHUNK: usize = 1 << 20;

struct Publish {
    source: Source,
    wheels: Option<PathBuf>,
    output: Option<PathBuf>,
    python: Option<PathBuf>,
    workspace: String,
    dependencies_toml: String,
    allowed: Option<AllowedDependencies>,
}

enum Source {
    Folder(ProjectDir),
    Bundle(PathBuf),
}

pub(crate) fn build(args: PublishArgs) -> Result<Job> {
    let source = if args.path.is_file() {
        Source::Bundle(args.path.clone())
    } else {
        crate::connection::folder(&args.path)?;
        Source::Folder(ProjectDir::open(&args.path).map_err(project)?)
    };
    // A running daemon has dependencies of its own; an embedded one has these.
    let dependencies_toml = match &args.server.embedded.dependencies {
        None => String::new(),
        Some(path) => std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?,
    };
    let allowed = args.server.embedded.dependencies.as_deref();
    let allowed = allowed.map(AllowedDependencies::read).transpose()?;
    let publish = Publish {
        source,
        wheels: args.wheels,
        output: args.output,
        python: args.server.embedded.or_environment().python,
        workspace: args.server.workspace.clone(),
        dependencies_toml,
        allowed,
    };
    Job::ask(&args.server, |session, voice| {
        Box::pin(run(session, voice, publish))
    })
}

async fn run(session: &Session, voice: &mut Voice, publish: Publish) -> Result<Exit> {
    attempt(session, voice, publish).await.map_err(found)
}

/// What is wrong with the connector is a finding, as it is under `validate`.
fn found(stop: Stop) -> Stop {
    match &stop {
        Stop::Faults(_) => Stop::Findings(Box::new(stop)),
        Stop::Failed(failure) if failure.code() == v1::ErrorCode::ConfigInvalid => {
            Stop::Findings(Box::new(stop))
        }
        _ => stop,
    }
}

async fn attempt(session: &Session, voice: &mut Voice, publish: Publish) -> Result<Exit> {
    let scratch = tempfile::tempdir().map_err(anyhow::Error::from)?;
    let (archive, bundle) = match &publish.source {
        Source::Bundle(path) => (path.clone(), caisson_bundle::read(path).map_err(refused)?),
        Source::Folder(project) => {
            let wheels = wheels(project, &publish, &scratch.path().join("wheels"), voice)?;
            let archive = publish
                .output
                .clone()
                .unwrap_or_else(|| scratch.path().join("bundle.tar.gz"));
            let bundle = pack(project, &wheels, &archive).map_err(refused)?;
            (archive, bundle)
        }
    };
    let response = send(session, &archive, &bundle, &publish).await?;
    let version = response.version.unwrap_or_default();
    let again = if response.existed {
        " (was there already)"
    } else {
        ""
    };
    voice.line(&format!(
        "published {}@{}{again}",
        version.name, version.version
    ));
    out(&format!(
        "{}@{} {}\n",
        version.name, version.version, version.digest
    ))?;
    Ok(Exit::Done)
}

/// The wheels of the lock, in `dir`: from the named folder and the project's own cache first, the
/// rest from the package index. What the operator's list refuses is not fetched.
fn wheels(
    project: &ProjectDir,
    publish: &Publish,
    dir: &Path,
    voice: &mut Voice,
) -> Result<Vec<Wheel>> {
    let lock = project.lock().map_err(self::project)?;
    if lock.entries.is_empty() {
        return Ok(Vec::new());
    }
    if let Some(allowed) = &publish.allowed {
        allowed.check(&lock)?;
    }
    std::fs::create_dir(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    project
        .copy_cached_wheels(&lock, dir)
        .map_err(self::project)?;
    if let Some(given) = &publish.wheels {
        for wheel in wheels_in(given).map_err(anyhow::Error::from)? {
            let to = dir.join(&wheel.file_name);
            std::fs::copy(&wheel.path, &to)
                .with_context(|| format!("cannot write {}", to.display()))?;
        }
    }
    let python = publish.python.clone().or_else(caisson_daemon::find_python);
    let python = python.ok_or_else(|| {
        anyhow::anyhow!("no Python 3.11 with pip was found: name one with --python")
    })?;
    voice.line(&format!("{} locked dependencies", lock.entries.len()));
    let wheels = fetch_wheels(&python, &Target::default(), &lock, dir).map_err(fetched)?;
    // For development; what cannot be kept is fetched again.
    if let Err(error) = project.cache_wheels(&wheels) {
        voice.line(&format!("the wheels are not kept in the folder: {error}"));
    }
    Ok(wheels)
}

async fn send(
    session: &Session,
    archive: &Path,
    bundle: &Bundle,
    publish: &Publish,
) -> Result<v1::PublishResponse> {
    let mut file =
        File::open(archive).with_context(|| format!("cannot read {}", archive.display()))?;
    let mut next = v1::PublishRequest {
        workspace: publish.workspace.clone(),
        sha256: bundle.digest.hex(),
        data: Vec::new(),
        dependencies_toml: publish.dependencies_toml.clone(),
    };
    let (sender, receiver) = tokio::sync::mpsc::channel(2);
    tokio::task::spawn_blocking(move || {
        loop {
            next.data = vec![0; CHUNK];
            // A file that cannot be read to its end does not have its digest,
            // which the daemon then says.
            let read = file.read(&mut next.data).unwrap_or(0);
            next.data.truncate(read);
            if read == 0 || sender.blocking_send(std::mem::take(&mut next)).is_err() {
                return;
            }
        }
    });
    let mut registry = session.registry();
    session
        .wait(registry.publish(ReceiverStream::new(receiver)))
        .await
}

fn project(error: ProjectError) -> Stop {
    match error {
        ProjectError::Faults(faults) => Stop::Faults(faults),
        error => Stop::Other(error.into()),
    }
}

fn refused(error: BundleError) -> Stop {
    match error {
        BundleError::Faults(faults) => Stop::Faults(faults),
        BundleError::Project(error) => project(error),
        error @ BundleError::Io { .. } => Stop::Other(error.into()),
        error => Stop::failed(
            v1::ErrorCode::ConfigInvalid,
            error.to_string(),
            "mend the bundle and publish again",
        ),
    }
}

fn fetched(error: FetchError) -> Stop {
    Stop::Other(error.into())
}
