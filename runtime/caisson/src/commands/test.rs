//! `caisson test`: tries a connection, step by step.

use caisson_proto::v1::{self, test_event::Event, test_step::Status};

use super::{Job, table::out};
use crate::args::TestArgs;
use crate::call::{Call, follow};
use crate::connection::Chosen;
use crate::exit::Exit;
use crate::session::Session;
use crate::stop::{Result, Stop};
use crate::voice::Voice;

pub(crate) fn build(args: TestArgs) -> Result<Job> {
    let connection = args.connection.choose()?;
    let call = Call::new(&args.call, &args.server.workspace);
    Job::ask(&args.server, |session, voice| {
        Box::pin(run(session, voice, connection, call))
    })
}

async fn run(session: &Session, voice: &mut Voice, chosen: Chosen, call: Call) -> Result<Exit> {
    let request = v1::TestRequest {
        options: Some(call.options.clone()),
        connection: Some(chosen.reference.clone()),
    };
    let mut runtime = session.runtime();
    let events = session
        .wait(runtime.test(request))
        .await
        .map_err(|stop| chosen.explain(stop))?;
    let ended = follow(
        session,
        voice,
        events,
        std::future::pending(),
        async |_, _, event| match event {
            Event::Step(step) => print(&step),
            _ => Ok(()),
        },
    );
    let ended = ended.await.map_err(|stop: Stop| chosen.explain(stop));
    call.ended(ended)?;
    Ok(Exit::Done)
}

fn print(step: &v1::TestStep) -> Result<()> {
    let status = match step.status() {
        Status::Passed => "passed ",
        Status::Failed => "failed ",
        Status::Skipped => "skipped",
        Status::Unspecified => "?      ",
    };
    let message = if step.message.is_empty() {
        String::new()
    } else {
        format!(": {}", step.message)
    };
    out(&format!("{status} {}{message}\n", step.name))
}
