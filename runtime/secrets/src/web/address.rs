//! Where a server is. This file performs no IO.

use std::fmt;
use std::net::IpAddr;

use http::Uri;
use http::uri::Scheme;

/// Why a text is no address that secrets may be asked of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AddressFault {
    /// Not scheme, host and port, or more than these.
    NoAddress,
    /// Tokens and secrets would cross a network in the clear.
    InTheClear,
}

/// Scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) secure: bool,
    /// Without the brackets of an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Address {
    /// Of a text without path and query.
    pub(crate) fn of_text(text: &str) -> Result<Address, AddressFault> {
        let uri: Uri = text.parse().map_err(|_| AddressFault::NoAddress)?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(AddressFault::NoAddress);
        }
        Address::of_uri(&uri)
    }

    /// Of what may be asked for secrets; of `uri` whatever its path.
    pub(crate) fn of_uri(uri: &Uri) -> Result<Address, AddressFault> {
        let address = Address::of(uri).ok_or(AddressFault::NoAddress)?;
        if !address.secure && !address.is_loopback() {
            return Err(AddressFault::InTheClear);
        }
        Ok(address)
    }

    /// Scheme and authority of `uri`, whatever its path.
    pub(crate) fn of(uri: &Uri) -> Option<Address> {
        let authority = uri.authority()?;
        let secure = *uri.scheme()? == Scheme::HTTPS;
        if authority.as_str().contains('@') || !(secure || *uri.scheme()? == Scheme::HTTP) {
            return None;
        }
        let host = authority.host();
        let host = host
            .strip_prefix('[')
            .map_or(host, |host| host.trim_end_matches(']'));
        let port = authority
            .port_u16()
            .unwrap_or(if secure { 443 } else { 80 });
        Some(Address {
            secure,
            host: host.to_owned(),
            port,
        })
    }

    /// Names other than localhost are none: what they resolve to can change.
    pub(crate) fn is_loopback(&self) -> bool {
        let address = self.host.parse::<IpAddr>();
        self.host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

impl Address {
    /// `HOST:PORT`, as the Host header has it.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_cross_no_network_in_the_clear() {
        for (text, expected) in [
            (
                "https://vault.example.com:8200",
                Ok("https://vault.example.com:8200"),
            ),
            (
                "https://vault.example.com/",
                Ok("https://vault.example.com:443"),
            ),
            ("http://127.0.0.1:8200", Ok("http://127.0.0.1:8200")),
            ("http://[::1]:8200", Ok("http://[::1]:8200")),
            ("http://localhost:8200", Ok("http://localhost:8200")),
            ("http://10.0.0.1:8200", Err(AddressFault::InTheClear)),
            (
                "http://localhost.example.com",
                Err(AddressFault::InTheClear),
            ),
            ("https://me@vault:8200", Err(AddressFault::NoAddress)),
            ("https://vault/v1", Err(AddressFault::NoAddress)),
            ("https://vault?x=1", Err(AddressFault::NoAddress)),
            ("ftp://vault", Err(AddressFault::NoAddress)),
            ("vault:8200", Err(AddressFault::NoAddress)),
            ("", Err(AddressFault::NoAddress)),
        ] {
            let parsed = Address::of_text(text).map(|address| address.to_string());
            assert_eq!(parsed, expected.map(str::to_owned), "{text}");
        }
    }
}
