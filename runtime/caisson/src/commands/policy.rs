//! `caisson policy`: check files, explain decisions, reload.

use caisson_proto::v1;

use super::{Job, table::out};
use crate::args::{ExplainArgs, PolicyArgs, PolicyCommand};
use crate::connection::Chosen;
use crate::exit::Exit;
use crate::session::Session;
use crate::stop::{Result, Stop};
use crate::voice::Voice;

pub(crate) fn build(args: PolicyArgs) -> Result<Job> {
    match args.command {
        PolicyCommand::Check {
            path,
            audit,
            workspace,
            strict,
        } => Ok(Job::Here(Box::new(move |_| {
            crate::offline::check_policies(&path, &audit, workspace.as_deref(), strict)
        }))),
        PolicyCommand::Explain(args) => explain(args),
        PolicyCommand::Reload { server } => {
            Job::ask(&server, |session, voice| Box::pin(reload(session, voice)))
        }
        PolicyCommand::Learn(args) => {
            Ok(Job::Here(Box::new(move |_| crate::offline::learn(&args))))
        }
        PolicyCommand::Diff(args) => Ok(Job::Here(Box::new(move |_| crate::offline::diff(&args)))),
    }
}

fn explain(args: ExplainArgs) -> Result<Job> {
    // Read by what decides, so that no host is one here and none there.
    let (target, port) = caisson_egress::question(&args.to)
        .map_err(|error| Stop::usage(format!("--to: {error}")))?;
    let connection = args.connection.choose()?;
    let request = v1::ExplainEgressRequest {
        workspace: args.server.workspace.clone(),
        connection: Some(connection.reference.clone()),
        host: target.to_string(),
        port: u32::from(port),
    };
    Job::ask(&args.server, |session, _| {
        Box::pin(ask(session, connection, request))
    })
}

async fn ask(
    session: &Session,
    connection: Chosen,
    request: v1::ExplainEgressRequest,
) -> Result<Exit> {
    let target = format!("{} port {}", request.host, request.port);
    let mut operations = session.operations();
    let answer = session
        .wait(operations.explain_egress(request))
        .await
        .map_err(|stop| connection.explain(stop))?;
    let mut text = format!(
        "{}: {target}\n",
        if answer.allowed { "allowed" } else { "refused" }
    );
    if !answer.reason.is_empty() {
        text.push_str(&format!("reason: {}\n", answer.reason));
    }
    if !answer.rule_at.is_empty() {
        text.push_str(&format!("decided at: {}\n", answer.rule_at));
    }
    if !answer.rule.is_empty() {
        text.push_str("to allow it, add to `egress` of the policy:\n");
        text.push_str(answer.rule.trim_end());
        text.push('\n');
    }
    out(&text)?;
    Ok(if answer.allowed {
        Exit::Done
    } else {
        Exit::Findings
    })
}

async fn reload(session: &Session, voice: &mut Voice) -> Result<Exit> {
    let mut operations = session.operations();
    let response = session
        .wait(operations.reload_policies(v1::ReloadPoliciesRequest {}))
        .await?;
    voice.line(&format!("{} policies are in force", response.policies));
    Ok(Exit::Done)
}
