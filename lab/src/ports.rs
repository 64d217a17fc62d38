//! Choice of a TCP port: a preferred one, or the next free one.
//!
//! The port is tested by listening on it, then released for the process that will use it. Another process may take it
//! in between, so callers retry when the bind fails.

use std::io::{Error, ErrorKind, Result};
use std::net::{IpAddr, SocketAddr, TcpListener};

/// How many ports above the preferred one are tried.
const ATTEMPTS: u16 = 100;

/// `preferred` if it is free, else the next free port above it.
///
/// # Errors
/// If the address is not local, or the preferred port and the 99 ports above it are all in use.
pub fn first_free_port(ip: IpAddr, preferred: u16) -> Result<u16> {
    for port in (preferred..=u16::MAX).take(usize::from(ATTEMPTS)) {
        match TcpListener::bind(SocketAddr::new(ip, port)) {
            Ok(listener) => return Ok(listener.local_addr()?.port()),
            // A privileged port is as unavailable as one in use.
            Err(error)
                if matches!(error.kind(), ErrorKind::AddrInUse | ErrorKind::PermissionDenied) => {}
            Err(error) => return Err(error),
        }
    }
    let message = format!("no free port on {ip}: {ATTEMPTS} ports from {preferred} on are in use");
    Err(Error::new(ErrorKind::AddrInUse, message))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn the_preferred_port_is_taken_when_free_and_skipped_when_busy() {
        let busy = TcpListener::bind((LOCAL, 0)).unwrap();
        let port = busy.local_addr().unwrap().port();
        let next = first_free_port(LOCAL, port).unwrap();
        assert!(next > port && next < port.saturating_add(ATTEMPTS), "{port} {next}");
        drop(busy);
        assert_eq!(first_free_port(LOCAL, port).unwrap(), port);
    }

    #[test]
    fn an_address_of_another_machine_is_an_error() {
        let foreign = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        assert!(first_free_port(foreign, 10_000).is_err());
    }
}
