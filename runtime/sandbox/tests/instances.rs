//! Several daemons on one host.

mod support;

use std::os::unix::fs::PermissionsExt;

use caisson_sandbox::cgroup::{Cgroup, Hierarchy};
use caisson_sandbox::{Instance, InstanceError, LaunchError, Launcher, Layer, Limits};
use support::{as_each_user, is_root};

#[test]
fn a_second_daemon_on_one_data_directory_is_refused_and_the_first_is_named() {
    let name = "a_second_daemon_on_one_data_directory_is_refused_and_the_first_is_named";
    as_each_user(name, |bench| async move {
        let bench = bench; // whole: its launcher holds the lock
        let again = Launcher::start(support::config(bench.dir.path(), &bench.bundle)).await;
        let error = again.map(drop).expect_err("it is in use");
        assert!(
            matches!(&error, LaunchError::Instance(InstanceError::Busy { .. })),
            "{error}"
        );
        assert!(
            error.to_string().contains(&std::process::id().to_string()),
            "{error}"
        );
    });
}

#[test]
fn an_instance_keeps_its_id_and_its_directory_is_private() {
    as_each_user(
        "an_instance_keeps_its_id_and_its_directory_is_private",
        |bench| async move {
            let dir = bench.dir.path().join("another");
            let id = Instance::open(&dir).expect("an instance").id().to_owned();
            let again = Instance::open(&dir).expect("free again");
            assert_eq!(again.id(), id);
            assert_ne!(again.id(), bench.launcher.instance().id());
            let mode = std::fs::metadata(&dir)
                .expect("the directory")
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o700);
        },
    );
}

#[test]
fn a_start_sweeps_the_groups_of_dead_instances_and_no_others() {
    as_each_user(
        "a_start_sweeps_the_groups_of_dead_instances_and_no_others",
        |bench| async move {
            if !is_root() {
                // An ordinary user's daemon has no groups here; that it says so is another test.
                assert_eq!(bench.launcher.missing(), [Layer::Cgroup]);
                return;
            }
            let hierarchy = Hierarchy::find().expect("cgroups");
            let limits = Limits::default();
            let dead = Instance::open(&bench.dir.path().join("dead")).expect("an instance");
            let living = Instance::open(&bench.dir.path().join("living")).expect("an instance");
            let left = hierarchy.plan(&dead.group_name(7), &limits);
            let used = hierarchy.plan(&living.group_name(8), &limits);
            Cgroup::create(&left).expect("a group");
            let used_group = Cgroup::create(&used).expect("a group");
            let name = dead.group_name(7);
            drop(dead);
            let swept = bench
                .launcher
                .instance()
                .sweep(&hierarchy)
                .expect("a sweep");
            assert!(swept.contains(&name), "{swept:?}");
            assert!(left.dirs.iter().all(|dir| !dir.exists()));
            assert!(used.dirs.iter().all(|dir| dir.exists()));
            assert!(used_group.remove());
        },
    );
}

#[test]
fn a_start_leaves_the_lock_of_a_living_instance_alone() {
    as_each_user(
        "a_start_leaves_the_lock_of_a_living_instance_alone",
        |bench| async move {
            let living = Instance::open(&bench.dir.path().join("living")).expect("an instance");
            let other = support::config(&bench.dir.path().join("other"), &bench.bundle);
            let other = Launcher::start(other).await.expect("another daemon");
            let copy = bench.dir.path().join("copy");
            std::fs::create_dir(&copy).expect("a directory");
            let id = living.dir().join("instance-id");
            std::fs::copy(id, copy.join("instance-id")).expect("a copied id");
            let error = Instance::open(&copy).expect_err("the id is in use");
            assert!(matches!(error, InstanceError::Busy { .. }), "{error}");
            drop(other);
        },
    );
}

#[test]
fn no_layer_but_cgroup_may_be_missing() {
    as_each_user("no_layer_but_cgroup_may_be_missing", |bench| async move {
        let mut config = support::config(&bench.dir.path().join("third"), &bench.bundle);
        config.allow_missing.insert(Layer::Landlock);
        let error = Launcher::start(config)
            .await
            .map(drop)
            .expect_err("refused");
        assert!(
            matches!(error, LaunchError::NotOptional(Layer::Landlock)),
            "{error}"
        );
    });
}

#[test]
fn without_cgroups_a_daemon_starts_only_when_that_is_allowed() {
    as_each_user(
        "without_cgroups_a_daemon_starts_only_when_that_is_allowed",
        |bench| async move {
            let mut config = support::config(&bench.dir.path().join("fourth"), &bench.bundle);
            config.allow_missing.clear();
            match Launcher::start(config).await.map(drop) {
                Ok(()) => assert!(Hierarchy::find().is_ok()),
                Err(LaunchError::MissingLayer { layer, mend, .. }) => {
                    assert_eq!(layer, Layer::Cgroup);
                    assert!(mend.contains("--allow-missing=cgroup"), "{mend}");
                }
                Err(other) => panic!("{other}"),
            }
        },
    );
}
