//! `caisson new`: the start of a connector, whose tests pass at once.

use std::path::PathBuf;

use super::{Job, table::out};
use crate::args::{NewArgs, Template};
use crate::exit::Exit;
use crate::stop::{Result, Stop};

pub(crate) fn build(args: NewArgs) -> Result<Job> {
    if !caisson_bundle::is_name(&args.name) {
        return Err(Stop::usage(format!(
            "`{}` is no connector's name: write 2 to 64 lower-case letters, digits and dashes, a letter first",
            args.name
        )));
    }
    Ok(Job::Here(Box::new(move |_| {
        let dir = args.dir.unwrap_or_else(|| PathBuf::from(&args.name));
        let kind = match args.template {
            Template::Source => caisson_bundle::Kind::Source,
            Template::Destination => caisson_bundle::Kind::Destination,
        };
        let files = caisson_bundle::scaffold(&args.name, kind, &dir)
            .map_err(|error| Stop::Other(error.into()))?;
        for file in files {
            out(&format!("{}\n", dir.join(file).display()))?;
        }
        Ok(Exit::Done)
    })))
}
