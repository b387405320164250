//! The registry: versions never change, ranges are refused, installs are whole or not there.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use caisson_state::*;
use chrono::{DateTime, Utc};
use serde_json::json;
use sha2::{Digest as _, Sha256};

struct House {
    dir: tempfile::TempDir,
    registry: Registry,
}

impl House {
    fn new() -> House {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::open(&dir.path().join("data")).unwrap();
        House { dir, registry }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn publication(&self, name: &str, version: &str, bytes: &str) -> Publication {
        let digest = Digest::of(&Sha256::digest(bytes).into());
        let bundle = self.dir.path().join(format!("{}.upload", digest.hex()));
        fs::write(&bundle, bytes).unwrap();
        let manifest = json!({ "name": name, "title": "Shop" });
        Publication {
            workspace: "default".into(),
            name: name.into(),
            version: version.into(),
            bundle,
            digest,
            manifest,
        }
    }

    async fn publish(
        &self,
        name: &str,
        version: &str,
        bytes: &str,
    ) -> Result<Published, RegistryError> {
        self.registry
            .publish(self.publication(name, version, bytes), now())
            .await
    }

    fn unfinished(&self) -> usize {
        fs::read_dir(self.data().join("tmp")).unwrap().count()
    }
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_published_version_is_resolved_by_version_and_by_digest_also_after_a_restart() {
    let house = House::new();
    let published = house.publish("shop", "1.4.2", "bundle").await.unwrap();
    assert!(!published.existed);
    let entry = published.entry;
    assert_eq!(
        (entry.pin().as_str(), entry.bytes, entry.published),
        ("shop@1.4.2", 6, now())
    );
    let registry = Registry::open(&house.data()).unwrap();
    assert_eq!(registry.resolve("default", "shop@1.4.2").unwrap(), entry);
    assert_eq!(
        registry
            .resolve("default", &format!("shop@{}", entry.digest))
            .unwrap(),
        entry
    );
    assert_eq!(
        registry.list("default", None).unwrap(),
        std::slice::from_ref(&entry)
    );
    assert!(
        registry.list("staging", None).unwrap().is_empty(),
        "a workspace has its own connectors"
    );
    assert_eq!(
        fs::read_to_string(registry.archive(&entry.digest)).unwrap(),
        "bundle"
    );
    assert_eq!(house.unfinished(), 0);
}

#[tokio::test]
async fn a_published_version_never_changes() {
    let house = House::new();
    house.publish("shop", "1.4.2", "bundle").await.unwrap();
    let again = house.publish("shop", "1.4.2", "bundle").await.unwrap();
    assert!(again.existed);
    let error = house
        .publish("shop", "1.4.2", "another bundle")
        .await
        .unwrap_err();
    assert!(matches!(error, RegistryError::Published { .. }), "{error}");
    assert!(error.to_string().contains("raise the version"), "{error}");
    assert_eq!(
        house.registry.resolve("default", "shop@1.4.2").unwrap(),
        again.entry
    );
}

#[tokio::test]
async fn publishing_again_mends_a_damaged_archive() {
    let house = House::new();
    let entry = house
        .publish("shop", "1.4.2", "bundle")
        .await
        .unwrap()
        .entry;
    fs::write(house.registry.archive(&entry.digest), "damaged").unwrap();
    assert!(
        house
            .publish("shop", "1.4.2", "bundle")
            .await
            .unwrap()
            .existed
    );
    assert_eq!(
        fs::read_to_string(house.registry.archive(&entry.digest)).unwrap(),
        "bundle"
    );
}

#[tokio::test]
async fn of_two_bundles_published_at_once_under_one_version_one_wins() {
    let house = House::new();
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..8 {
        let (registry, publication) = (
            house.registry.clone(),
            house.publication("shop", "1.0.0", &format!("bundle {index}")),
        );
        tasks.spawn(async move { registry.publish(publication, now()).await });
    }
    let won: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    assert_eq!(won.len(), 1);
    assert_eq!(
        house.registry.resolve("default", "shop@1.0.0").unwrap(),
        won[0].entry
    );
    // What others brought before they lost belongs to nobody, is announced as such, and goes at the next start.
    let archives = || fs::read_dir(house.data().join("archives")).unwrap().count();
    assert_eq!(archives(), 1 + house.unfinished());
    let registry = Registry::open(&house.data()).unwrap();
    assert_eq!(house.unfinished(), 0);
    assert_eq!(archives(), 1);
    assert!(registry.archive(&won[0].entry.digest).exists());
}

#[tokio::test]
async fn bytes_that_are_not_what_was_said_are_not_published() {
    let house = House::new();
    let publication = house.publication("shop", "1.0.0", "bundle");
    fs::write(&publication.bundle, "damaged").unwrap();
    let error = house
        .registry
        .publish(publication, now())
        .await
        .unwrap_err();
    assert!(matches!(error, RegistryError::Digest { .. }), "{error}");
    assert!(house.registry.list("default", None).unwrap().is_empty());
    assert_eq!(house.unfinished(), 0);
}

#[tokio::test]
async fn a_range_is_refused_with_the_versions_that_match_it() {
    let house = House::new();
    for version in ["1.3.0", "1.4.2", "1.10.0", "2.0.0", "2.1.0-rc.1"] {
        house.publish("shop", version, version).await.unwrap();
    }
    let words = |pin: &str| {
        house
            .registry
            .resolve("default", pin)
            .unwrap_err()
            .to_string()
    };
    let table = [
        (
            "shop@^1.4",
            "shop@^1.4 is a range and would change by itself; it matches 1.10.0, 1.4.2: write shop@1.10.0",
        ),
        (
            "shop@1.x",
            "shop@1.x is a range and would change by itself; it matches 1.10.0, 1.4.2, 1.3.0: write shop@1.10.0",
        ),
        (
            "shop@1.4",
            "shop@1.4 is a range and would change by itself; it matches 1.10.0, 1.4.2: write shop@1.10.0",
        ),
        (
            "shop@>=3",
            "shop@>=3 is a range and would change by itself; no version matches it: there is 2.1.0-rc.1, 2.0.0, 1.10.0, 1.4.2, 1.3.0",
        ),
        (
            "shop@latest",
            "shop@latest is a range and would change by itself; it matches 2.1.0-rc.1, 2.0.0, 1.10.0, 1.4.2, 1.3.0: write shop@2.1.0-rc.1",
        ),
        (
            "shop",
            "shop without a version is a range and would change by itself; it matches 2.1.0-rc.1, 2.0.0, 1.10.0, 1.4.2, 1.3.0: write shop@2.1.0-rc.1",
        ),
        (
            "shop@1.4.3",
            "connector shop has no version 1.4.3; there is 2.1.0-rc.1, 2.0.0, 1.10.0, 1.4.2, 1.3.0",
        ),
    ];
    for (pin, expected) in table {
        assert_eq!(words(pin), expected, "{pin}");
    }
    assert!(
        matches!(house.registry.resolve("default", "shop@^1.4"), Err(RegistryError::Range { matching, .. }) if matching.len() == 2)
    );
}

#[tokio::test]
async fn what_is_unknown_or_malformed_says_what_to_write() {
    let house = House::new();
    assert!(
        house
            .registry
            .resolve("default", "shop@1.0.0")
            .unwrap_err()
            .to_string()
            .contains("publish one first")
    );
    for name in ["warehouse", "shop"] {
        house.publish(name, "1.0.0", name).await.unwrap();
    }
    let unknown = house.registry.resolve("default", "shpo@1.0.0").unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "workspace default has no connector \"shpo\"; there is shop, warehouse"
    );
    let missing = format!("shop@sha256:{}", "0".repeat(64));
    assert!(matches!(
        house.registry.resolve("default", &missing),
        Err(RegistryError::UnknownVersion { .. })
    ));
    assert!(matches!(
        house.registry.resolve("default", "shop@sha256:abc"),
        Err(RegistryError::NotADigest(_))
    ));
    assert!(matches!(
        house.registry.resolve("default", "shop@newest please"),
        Err(RegistryError::Pin(_))
    ));
    assert!(matches!(
        house.registry.resolve("default", "../shop@1.0.0"),
        Err(RegistryError::Name { .. })
    ));
    assert!(matches!(
        house.registry.resolve("..", "shop@1.0.0"),
        Err(RegistryError::Name { .. })
    ));
    for version in ["1.4", "v1.4.2", "1.4.2+build", "", "../1.0.0"] {
        assert!(
            matches!(
                house.publish("shop", version, "x").await,
                Err(RegistryError::Version(_))
            ),
            "{version}"
        );
    }
    for name in ["", "../up", ".hidden", "a/b", "a b"] {
        assert!(
            matches!(
                house.publish(name, "1.0.0", "x").await,
                Err(RegistryError::Name { .. })
            ),
            "{name}"
        );
    }
}

#[tokio::test]
async fn an_installed_bundle_is_readable_by_everybody_and_unpacked_once() {
    let house = House::new();
    let entry = house
        .publish("shop", "1.0.0", "bundle")
        .await
        .unwrap()
        .entry;
    assert!(!house.registry.installed(&entry.digest));
    let unpack = |archive: &Path, into: &Path| -> std::io::Result<()> {
        assert_eq!(fs::read_to_string(archive)?, "bundle");
        fs::create_dir_all(into.join("src/caisson_shop"))?;
        fs::write(into.join("src/caisson_shop/__init__.py"), "")?;
        fs::set_permissions(
            into.join("src/caisson_shop/__init__.py"),
            fs::Permissions::from_mode(0o600),
        )?;
        fs::set_permissions(into.join("src"), fs::Permissions::from_mode(0o700))
    };
    let bundle = house.registry.install(&entry, unpack).await.unwrap();
    assert_eq!(
        bundle,
        house.data().join("bundles").join(entry.digest.hex())
    );
    assert!(house.registry.installed(&entry.digest));
    let modes = [
        "",
        "src",
        "src/caisson_shop",
        "src/caisson_shop/__init__.py",
    ]
    .map(|path| mode(&bundle.join(path)));
    assert_eq!(modes, [0o755, 0o755, 0o755, 0o644]);
    let never = |_: &Path, _: &Path| -> std::io::Result<()> { panic!("it is installed already") };
    assert_eq!(house.registry.install(&entry, never).await.unwrap(), bundle);
    assert_eq!(house.unfinished(), 0);
}

#[tokio::test]
async fn installs_at_once_leave_one_whole_bundle() {
    let house = House::new();
    let entry = house
        .publish("shop", "1.0.0", "bundle")
        .await
        .unwrap()
        .entry;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (registry, entry) = (house.registry.clone(), entry.clone());
        tasks.spawn(async move {
            registry
                .install(&entry, |_, into| {
                    fs::write(into.join("connector.yaml"), "name: shop")
                })
                .await
        });
    }
    for bundle in tasks.join_all().await {
        assert_eq!(
            fs::read_to_string(bundle.unwrap().join("connector.yaml")).unwrap(),
            "name: shop"
        );
    }
    assert_eq!(house.unfinished(), 0);
}

#[tokio::test]
async fn an_install_that_fails_leaves_nothing() {
    let house = House::new();
    let entry = house
        .publish("shop", "1.0.0", "bundle")
        .await
        .unwrap()
        .entry;
    let fails = |_: &Path, into: &Path| {
        fs::write(into.join("half"), "").unwrap();
        Err("line 3: garbage")
    };
    let error = house.registry.install(&entry, fails).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "shop@1.0.0 cannot be unpacked: line 3: garbage"
    );
    let links = |_: &Path, into: &Path| symlink("/etc/passwd", into.join("passwd"));
    let error = house.registry.install(&entry, links).await.unwrap_err();
    assert!(matches!(error, RegistryError::Special { .. }), "{error}");
    fs::write(house.registry.archive(&entry.digest), "damaged").unwrap();
    let never =
        |_: &Path, _: &Path| -> std::io::Result<()> { panic!("damaged bytes are not unpacked") };
    assert!(matches!(
        house.registry.install(&entry, never).await,
        Err(RegistryError::Digest { .. })
    ));
    assert!(!house.registry.installed(&entry.digest));
    assert_eq!(house.unfinished(), 0);
}

#[tokio::test]
async fn an_archive_that_a_crash_kept_from_its_version_goes_and_no_other_does() {
    let house = House::new();
    let published = house.publish("shop", "1.0.0", "bundle").await.unwrap();
    let digest = published.entry.digest;
    assert_eq!(house.unfinished(), 0);
    let archive = |hex: &str| house.data().join(format!("archives/{hex}.tar.gz"));
    let announce = |hex: &str| {
        fs::write(house.data().join(format!("tmp/1-7-{hex}.pending")), "").unwrap();
    };
    let (crashed, foreign) = ("a".repeat(64), "b".repeat(64));
    for hex in [&crashed, &foreign] {
        fs::write(archive(hex), "bundle").unwrap();
    }
    // One crashed before its version was there, one after; of the third nothing is known.
    announce(&crashed);
    announce(digest.hex());
    Registry::open(&house.data()).unwrap();
    assert!(!archive(&crashed).exists());
    assert!(archive(digest.hex()).exists() && archive(&foreign).exists());
    assert_eq!(house.unfinished(), 0);
}

#[tokio::test]
async fn what_a_crash_left_unfinished_is_swept_and_published_again() {
    let house = House::new();
    let publication = house.publication("shop", "1.0.0", "bundle");
    // Died while copying, while unpacking, and between the archive and its entry.
    fs::write(house.data().join("tmp/1-0"), "bun").unwrap();
    fs::create_dir_all(house.data().join("tmp/1-1/src")).unwrap();
    fs::write(house.registry.archive(&publication.digest), "bun").unwrap();
    let registry = Registry::open(&house.data()).unwrap();
    assert_eq!(house.unfinished(), 0);
    assert!(registry.list("default", None).unwrap().is_empty());
    let entry = registry.publish(publication, now()).await.unwrap().entry;
    assert_eq!(
        fs::read_to_string(registry.archive(&entry.digest)).unwrap(),
        "bundle"
    );
}

#[tokio::test]
async fn a_damaged_entry_is_named_and_does_not_harm_its_neighbours() {
    let house = House::new();
    for version in ["1.0.0", "1.1.0"] {
        house.publish("shop", version, version).await.unwrap();
    }
    let path = house.data().join("index/default/shop/1.1.0.json");
    let neighbour = fs::read(house.data().join("index/default/shop/1.0.0.json")).unwrap();
    for damage in [b"{".to_vec(), neighbour] {
        fs::write(&path, damage).unwrap();
        let error = house.registry.resolve("default", "shop@1.1.0").unwrap_err();
        assert!(matches!(error, RegistryError::Damaged { .. }), "{error}");
        assert!(
            error.to_string().contains("1.1.0.json")
                && error.to_string().contains("publish the version again")
        );
        assert!(house.registry.resolve("default", "shop@1.0.0").is_ok());
    }
}
