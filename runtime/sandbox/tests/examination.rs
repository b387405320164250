//! `caisson doctor`, on this host.

mod support;

use caisson_sandbox::{Layer, doctor};
use support::{as_each_user, is_root};

#[test]
fn every_layer_is_reported_once_and_what_is_missing_comes_with_its_mend() {
    as_each_user(
        "every_layer_is_reported_once_and_what_is_missing_comes_with_its_mend",
        |bench| async move {
            let reports = doctor::examine(&support::config(bench.dir.path(), &bench.bundle)).await;
            assert_eq!(
                reports.iter().map(|r| r.layer).collect::<Vec<_>>(),
                Layer::ALL
            );
            for report in &reports {
                // A missing kernel feature fails the suite; only an ordinary user may be without cgroups.
                let may_miss = report.layer == Layer::Cgroup && !is_root();
                assert!(report.present || may_miss, "{report:?}");
                assert_eq!(report.present, report.mend.is_none(), "{report:?}");
                assert!(!report.detail.is_empty(), "{report:?}");
            }
        },
    );
}
