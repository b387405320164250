//! Names become addresses through the host's own resolver, at the moment a worker asks.
//!
//! getaddrinfo runs on blocking threads; a bound on how many keeps a slow DNS server from taking all of the daemon's.

use crate::name::Name;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Names that the host knows without asking anybody: hosts(5).
const HOSTS: &str = "/etc/hosts";
/// Lookups that run at once.
const AT_ONCE: usize = 64;
/// Addresses of one name that are looked at.
const MAX_ADDRESSES: usize = 32;

/// Why a name has no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The resolver's own words.
    #[error("{name} cannot be resolved: {message}")]
    Failed {
        /// The name.
        name: Name,
        /// What the system said.
        message: String,
    },
    /// No answer in time.
    #[error("{name} cannot be resolved: no answer within {seconds} s")]
    Timeout {
        /// The name.
        name: Name,
        /// How long was waited.
        seconds: u64,
    },
}

/// The upstream resolver.
#[derive(Debug)]
pub(crate) struct Resolver {
    hosts: HashMap<Name, Vec<IpAddr>>,
    timeout: Duration,
    permits: Arc<Semaphore>,
}

impl Resolver {
    pub(crate) fn new(hosts: HashMap<Name, Vec<IpAddr>>, timeout: Duration) -> Self {
        Self {
            hosts,
            timeout,
            permits: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// From now on only `hosts` and localhost have addresses, and every other lookup fails: the host is asked no more.
    pub(crate) fn close(&self) {
        self.permits.close();
    }

    /// Every address of `name`, in the order in which the system would try them; never empty. `share` is what one worker
    /// may have under way, so that one that asks for names of a silent server leaves the others theirs.
    pub(crate) async fn resolve(
        &self,
        name: &Name,
        share: &Arc<Semaphore>,
    ) -> Result<Vec<IpAddr>, ResolveError> {
        if let Some(addresses) = self.hosts.get(name) {
            let failed = || ResolveError::Failed {
                name: name.clone(),
                message: "its entry in hosts is empty".into(),
            };
            return if addresses.is_empty() {
                Err(failed())
            } else {
                Ok(canonical(addresses.iter().copied()))
            };
        }
        if name.as_str() == "localhost" {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let timeout = || ResolveError::Timeout {
            name: name.clone(),
            seconds: self.timeout.as_secs(),
        };
        let failed = |message: String| ResolveError::Failed {
            name: name.clone(),
            message,
        };
        let lookup = async {
            let mut permits = Vec::new();
            for of in [share, &self.permits] {
                let permit = Arc::clone(of).acquire_owned().await;
                permits.push(permit.map_err(|error| failed(error.to_string()))?);
            }
            let name = name.clone();
            // The permits go with the lookup, which may outlast our patience.
            let task = tokio::spawn(async move {
                let answer = look_up(&name).await;
                drop(permits);
                answer
            });
            match task.await {
                Ok(Ok(answer)) if !answer.is_empty() => Ok(canonical(answer.into_iter())),
                Ok(Ok(_)) => Err(failed("the answer holds no address".into())),
                Ok(Err(error)) => Err(failed(error.to_string())),
                Err(error) => Err(failed(error.to_string())),
            }
        };
        tokio::time::timeout(self.timeout, lookup)
            .await
            .unwrap_or_else(|_| Err(timeout()))
    }
}

/// The host's own answer. A file of hosts knows names without the trailing dot only, and is asked first; everything else
/// is asked with it, so that no search list of the host turns a name into another.
async fn look_up(name: &Name) -> io::Result<Vec<IpAddr>> {
    let hosts = tokio::fs::read_to_string(HOSTS).await.unwrap_or_default();
    let listed = listed(&hosts, name);
    if !listed.is_empty() {
        return Ok(listed);
    }
    let answer = tokio::net::lookup_host((absolute(name), 0)).await?;
    Ok(answer.map(|address| address.ip()).collect())
}

/// The name with its trailing dot: complete, for every resolver.
fn absolute(name: &Name) -> String {
    format!("{name}.")
}

/// What a file as hosts(5) says of a name.
fn listed(hosts: &str, name: &Name) -> Vec<IpAddr> {
    let lines = hosts
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default());
    let of_line = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let address: IpAddr = words.next()?.parse().ok()?;
        words
            .any(|word| Name::parse(word).is_ok_and(|word| word == *name))
            .then_some(address)
    };
    lines.filter_map(of_line).collect()
}

fn canonical(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut unique = Vec::new();
    for address in addresses.map(|address| address.to_canonical()) {
        if !unique.contains(&address) && unique.len() < MAX_ADDRESSES {
            unique.push(address);
        }
    }
    unique
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_never_exists_is_an_error_with_its_name() {
        let resolver = Resolver::new(HashMap::new(), Duration::from_secs(2));
        let name = Name::parse("caisson.invalid").unwrap();
        let share = Arc::new(Semaphore::new(1));
        let error = resolver
            .resolve(&name, &share)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("caisson.invalid cannot be resolved: "),
            "{error}"
        );
    }

    #[test]
    fn a_name_is_asked_for_in_full_and_a_file_of_hosts_is_asked_without_the_dot() {
        let name = Name::parse("DB.Example").unwrap();
        assert_eq!(absolute(&name), "db.example.");
        let hosts = "# 192.0.2.9 db.example\n192.0.2.1\tother DB.example # here\n::1 localhost\n2001:db8::1 db.example\nx db.example\n192.0.2.2 db.example.corp\n";
        assert_eq!(
            listed(hosts, &name),
            ["192.0.2.1", "2001:db8::1"].map(|text| text.parse::<IpAddr>().unwrap())
        );
        assert!(listed(hosts, &Name::parse("example").unwrap()).is_empty());
    }

    #[tokio::test]
    async fn hosts_are_answered_first_without_doubles_and_without_mapped_forms() {
        let name = Name::parse("db.example").unwrap();
        let addresses =
            ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1"].map(|text| text.parse().unwrap());
        let resolver = Resolver::new(
            HashMap::from([(name.clone(), addresses.to_vec())]),
            Duration::from_secs(2),
        );
        assert_eq!(
            resolver
                .resolve(&name, &Arc::new(Semaphore::new(1)))
                .await
                .unwrap(),
            [addresses[0], addresses[2]]
        );
    }

    #[tokio::test]
    async fn a_worker_that_waits_for_its_own_share_keeps_nobody_else_waiting() {
        let resolver = Arc::new(Resolver::new(HashMap::new(), Duration::from_secs(5)));
        let name = Name::parse("caisson.invalid").unwrap();
        let (taken, free) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(1)));
        let mut greedy = tokio::task::JoinSet::new();
        for _ in 0..2 * AT_ONCE {
            let (resolver, name, taken) = (resolver.clone(), name.clone(), taken.clone());
            greedy.spawn(async move { resolver.resolve(&name, &taken).await });
        }
        tokio::task::yield_now().await;
        let own = resolver.resolve(&name, &free).await;
        assert!(matches!(own, Err(ResolveError::Failed { .. })), "{own:?}");
        greedy.shutdown().await;
    }
}
