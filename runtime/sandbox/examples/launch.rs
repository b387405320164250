//! A daemon small enough for tests: `launch launcher` is the launcher, anything else runs one program in a worker.
//!
//! `launch DIR PYTHON SOURCE`: instance directory, interpreter, source. Exit code 0 when the worker's was.

use std::io::Read;
use std::path::PathBuf;

use caisson_sandbox::{HostConfig, Interpreter, Launcher, Layer, Program, WorkerSpec};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    if args.get(1).is_some_and(|word| word == "launcher") {
        return Ok(caisson_sandbox::launcher::main()?);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(run(&args))
}

async fn run(args: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let [_, dir, python, source] = args else {
        return Err("launch DIR PYTHON SOURCE".into());
    };
    let dir = PathBuf::from(dir);
    let bundle = dir.join("bundle");
    std::fs::create_dir_all(&bundle)?;
    let mut host = HostConfig::new(
        dir.join("instance"),
        Interpreter::discover(python.as_ref())?,
        bundle.clone(),
    );
    if !nix::unistd::geteuid().is_root() {
        host.allow_missing.insert(Layer::Cgroup);
    }
    let launcher = Launcher::start(host).await?;
    let begun = std::time::Instant::now();
    let mut worker = launcher
        .launch_program(WorkerSpec::new(1, bundle), Program::Python(source.clone()))
        .await?;
    eprintln!("launched in {:?}", begun.elapsed());
    let exit = worker.wait().await?;
    eprintln!("ended after {:?}: {exit:?}", begun.elapsed());
    let mut said = String::new();
    std::fs::File::from(worker.stdout).read_to_string(&mut said)?;
    print!("{said}");
    let mut said = String::new();
    std::fs::File::from(worker.stderr).read_to_string(&mut said)?;
    eprint!("{said}");
    if exit.status == Some(0) {
        Ok(())
    } else {
        Err("the worker failed".into())
    }
}
