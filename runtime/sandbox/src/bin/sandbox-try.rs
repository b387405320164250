//! A daemon small enough for tests and for a first look at a host.
//!
//! `sandbox-try launcher` is the launcher, as `caisson launcher` is. `sandbox-try DIR PYTHON SOURCE` runs one
//! source in a worker (instance directory, interpreter, source) and says what became of it; exit code 0 when the
//! worker's was. `sandbox-try without CALL …` does the same on a host that withholds one system call.
//! `sandbox-try hardened …` does the same as an undumpable daemon whose first launcher has died.
//! With the source `doctor` it prints what `caisson doctor` finds there. `sandbox-try filters PROFILE` prints the lock of a profile as BPF instructions.

use std::io::Read;
use std::path::PathBuf;

use caisson_sandbox::profile::Profile;
use caisson_sandbox::{HostConfig, Interpreter, Launcher, Layer, Program, WorkerSpec};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args: Vec<String> = std::env::args().collect();
    if args.get(1).is_some_and(|word| word == "launcher") {
        return Ok(caisson_sandbox::launcher::main()?);
    }
    if let [_, word, profile] = &args[..]
        && word == "filters"
    {
        let filters = Profile::named(profile)?.compile()?.lock;
        let numbers = |i: &seccompiler::sock_filter| (i.code, i.jt, i.jf, i.k);
        let all: Vec<Vec<_>> = filters
            .iter()
            .map(|filter| filter.iter().map(numbers).collect())
            .collect();
        println!("{}", serde_json::to_string(&all)?);
        return Ok(());
    }
    if args.get(1).is_some_and(|word| word == "without") && args.len() > 3 {
        withhold(&args[2])?;
        args.drain(1..3);
    }
    let hardened = args.get(1).is_some_and(|word| word == "hardened");
    if hardened {
        args.remove(1);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(run(&args, hardened))
}

async fn run(args: &[String], hardened: bool) -> Result<(), Box<dyn std::error::Error>> {
    let [_, dir, python, source] = args else {
        return Err("sandbox-try DIR PYTHON SOURCE".into());
    };
    let dir = PathBuf::from(dir);
    let bundle = dir.join("bundle");
    std::fs::create_dir_all(&bundle)?;
    let interpreter = Interpreter::discover(python.as_ref())?;
    let mut host = HostConfig::new(dir.join("instance"), interpreter, bundle.clone());
    if !nix::unistd::geteuid().is_root() {
        host.allow_missing.insert(Layer::Cgroup);
    }
    if source == "doctor" {
        let reports = caisson_sandbox::doctor::examine(&host).await;
        println!("{}", serde_json::to_string(&reports)?);
        return Ok(());
    }
    let launcher = Launcher::start(host).await?;
    if hardened {
        caisson_sandbox::harden_process()?;
        kill_launcher()?;
    }
    let begun = std::time::Instant::now();
    let spec = WorkerSpec::new(1, bundle);
    let mut worker = launcher
        .launch_program(spec, Program::Python(source.clone()))
        .await?;
    println!("worker {}", worker.pid());
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

/// Ends every child of this process and waits until it is dead; reaping is left to its owner.
fn kill_launcher() -> Result<(), Box<dyn std::error::Error>> {
    use nix::sys::signal::{Signal, kill};
    use nix::sys::wait::{Id, WaitPidFlag, waitid};
    for task in std::fs::read_dir("/proc/self/task")? {
        let children = std::fs::read_to_string(task?.path().join("children"))?;
        for child in children.split_whitespace() {
            let pid = nix::unistd::Pid::from_raw(child.parse()?);
            kill(pid, Signal::SIGKILL)?;
            waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)?;
        }
    }
    Ok(())
}

/// Refuses one call with EPERM from here on, as a container's profile would.
fn withhold(call: &str) -> Result<(), Box<dyn std::error::Error>> {
    let filter = serde_json::json!({ "withheld": {
        "mismatch_action": "allow",
        "match_action": { "errno": libc::EPERM },
        "filter": [{ "syscall": call }],
    }});
    let arch = std::env::consts::ARCH.try_into()?;
    let compiled = seccompiler::compile_from_json(filter.to_string().as_bytes(), arch)?;
    Ok(seccompiler::apply_filter(&compiled["withheld"])?)
}
