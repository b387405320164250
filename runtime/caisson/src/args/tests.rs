//! The help of every command is an interface: it changes in review, not by accident.

use clap::{CommandFactory as _, Parser as _};

use super::{Args, Command};

/// Help at a fixed width, without what the environment adds.
fn help(path: &[&str]) -> String {
    let mut command = Args::command().term_width(100);
    command.build();
    let mut at = &mut command;
    for name in path {
        at = at.find_subcommand_mut(name).expect("the command exists");
    }
    let mut at = at
        .clone()
        .mut_args(|arg| arg.hide_env(true))
        .term_width(100);
    at.render_help().to_string()
}

#[test]
fn the_help_of_every_command_is_reviewed() {
    let mut text = help(&[]);
    let names: Vec<_> = Args::command()
        .get_subcommands()
        .map(|one| one.get_name().to_owned())
        .collect();
    for name in &names {
        text.push_str(&format!("\n==== caisson {name}\n\n{}", help(&[name])));
        let nested: Vec<_> = Args::command()
            .find_subcommand(name)
            .expect("the command exists")
            .get_subcommands()
            .filter(|one| !one.is_hide_set())
            .map(|one| one.get_name().to_owned())
            .collect();
        for inner in nested {
            text.push_str(&format!(
                "\n==== caisson {name} {inner}\n\n{}",
                help(&[name, &inner])
            ));
        }
    }
    insta::assert_snapshot!(text);
}

#[test]
fn the_definitions_do_not_contradict_each_other() {
    Args::command().debug_assert();
}

fn refusal(line: &str) -> String {
    match Args::try_parse_from(line.split_whitespace()) {
        Ok(_) => panic!("`{line}` was taken"),
        Err(error) => {
            assert_eq!(error.exit_code(), 2);
            error.to_string()
        }
    }
}

#[test]
fn a_connection_is_named_in_one_way_only() {
    assert!(refusal("caisson read shop.yaml --connector shop@1.4.2").contains("cannot be used"));
    assert!(refusal("caisson read --path . --connector shop@1.4.2").contains("cannot be used"));
    assert!(refusal("caisson read --connection shop --config c.yaml").contains("cannot be used"));
    assert!(
        refusal("caisson read --state s.json --from stored shop.yaml").contains("cannot be used")
    );
}

#[test]
fn streams_repeat_and_durations_have_units() {
    let line = "caisson read shop.yaml --stream a --stream b --deadline 90s";
    let Ok(Args {
        command: Command::Read(read),
        ..
    }) = Args::try_parse_from(line.split(' '))
    else {
        panic!("not a read");
    };
    assert_eq!(read.select.streams, ["a", "b"]);
    assert_eq!(read.call.deadline, Some(std::time::Duration::from_secs(90)));
    for bad in ["0s", "-1s", "5d", "soon"] {
        refusal(&format!("caisson read shop.yaml --deadline={bad}"));
    }
}
