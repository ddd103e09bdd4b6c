//! Where a service listens: where it was told to, or at a place of its own.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use anyhow::Context as _;
use tokio::net::{TcpListener, TcpSocket};

use super::Role;
use crate::config::Settings;

/// Where the account service listens for the others, when nothing else is said.
const INNER_PORT: u16 = 8081;
/// The first of the ports that services take when the usual one has another on this machine; and
/// the same for metrics.
const PORT_OF_SEVERAL: u16 = 8082;
const ADMIN_PORT_OF_SEVERAL: u16 = 9092;
/// Connections that the kernel holds until they are taken.
const BACKLOG: u32 = 1_024;

/// Where to listen.
pub(crate) struct Place {
    /// The flag that tells it.
    flag: &'static str,
    /// The variable that tells it.
    variable: &'static str,
    first: SocketAddr,
    /// Where else, when somebody listens at the first.
    other: Option<SocketAddr>,
}

impl Place {
    /// Where participants and organisers connect.
    pub(crate) fn public(role: Role, settings: &Settings) -> Self {
        Self {
            flag: "--listen",
            variable: "HONGBAO_LISTEN",
            first: settings.listen(),
            other: settings
                .listen
                .is_none()
                .then(|| of_several(role, settings.listen(), PORT_OF_SEVERAL))
                .flatten(),
        }
    }

    /// Where metrics are served.
    pub(crate) fn admin(role: Role, settings: &Settings) -> Self {
        Self {
            flag: "--admin-listen",
            variable: "HONGBAO_ADMIN_LISTEN",
            first: settings.admin_listen(),
            other: settings
                .admin_listen
                .is_none()
                .then(|| of_several(role, settings.admin_listen(), ADMIN_PORT_OF_SEVERAL))
                .flatten(),
        }
    }

    /// Where other services connect; the account service alone must be reached by them, from
    /// other machines too. The service key keeps everybody else out.
    pub(crate) fn inner(role: Role, settings: &Settings) -> Option<Self> {
        if !role.is_account() {
            return None;
        }
        let default = SocketAddr::from((Ipv4Addr::UNSPECIFIED, INNER_PORT));
        let default = (role == Role::Account).then_some(default);
        Some(Self {
            flag: "--inner-listen",
            variable: "HONGBAO_INNER_LISTEN",
            first: settings.inner_listen.or(default)?,
            other: None,
        })
    }

    /// Takes the port; nobody can connect yet.
    ///
    /// # Errors
    /// When somebody else has it; the error names the variable.
    pub(crate) async fn bind(&self) -> anyhow::Result<Bound> {
        let bound = match self.other {
            None => held(self.first).map(Bound::Held),
            // Of two that start at the same time only one can listen, and the other must see it.
            Some(other) => match TcpListener::bind(self.first).await {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    TcpListener::bind(other).await.map(Bound::Listening)
                }
                bound => bound.map(Bound::Listening),
            },
        };
        bound.with_context(|| format!("{}: cannot listen on {}", self.variable, self.shown()))
    }

    /// Whether it is free, for `hongbao check`; says where.
    ///
    /// # Errors
    /// When it is not; the error names the flag.
    pub(crate) async fn is_free(&self) -> anyhow::Result<String> {
        match self.bind().await {
            Ok(bound) => Ok(format!("{} {} is free", self.flag, bound.local_addr()?)),
            Err(error) => Err(error.context(self.flag)),
        }
    }

    fn shown(&self) -> String {
        match self.other {
            Some(other) => format!("{} or {other}", self.first),
            None => self.first.to_string(),
        }
    }
}

/// A port that is ours.
#[derive(Debug)]
pub(crate) enum Bound {
    /// Who connects is refused. A balancer that finds this process before it serves thus goes
    /// elsewhere at once; one whose connection waited here would wait with it.
    Held(TcpSocket),
    /// Who connects waits.
    Listening(TcpListener),
}

impl Bound {
    /// Where it is.
    ///
    /// # Errors
    /// When the system does not say.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Held(socket) => socket.local_addr(),
            Self::Listening(listener) => listener.local_addr(),
        }
    }

    /// Lets connections in.
    ///
    /// # Errors
    /// When another process was faster.
    pub(crate) fn listen(self) -> io::Result<TcpListener> {
        match self {
            Self::Held(socket) => socket.listen(BACKLOG),
            Self::Listening(listener) => Ok(listener),
        }
    }
}

fn held(at: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match at {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // What an earlier process's connections leave behind for a minute is in nobody's way.
    socket.set_reuseaddr(true)?;
    socket.bind(at)?;
    Ok(socket)
}

/// Where `role` listens when it is one of several, of which the first on this machine has `first`.
fn of_several(role: Role, first: SocketAddr, from: u16) -> Option<SocketAddr> {
    let number = match role {
        Role::All => return None,
        Role::Account => 0,
        Role::Redpacket => 1,
        Role::Monitor => 2,
        Role::Webpage => 3,
    };
    Some(SocketAddr::new(first.ip(), from + number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_was_told_nothing_finds_a_place_beside_the_others() {
        let taken = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let taken_at = taken.local_addr().expect("an address");
        let place = |other| Place {
            flag: "--listen",
            variable: "HONGBAO_LISTEN",
            first: taken_at,
            other,
        };
        let refused = place(None).bind().await.expect_err("it is taken");
        assert!(refused.to_string().contains("HONGBAO_LISTEN"), "{refused}");
        assert!(place(None).is_free().await.is_err());
        let elsewhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let bound = place(Some(elsewhere)).bind().await.expect("another place");
        assert_ne!(bound.local_addr().expect("an address"), taken_at);
    }

    #[tokio::test]
    async fn who_connects_too_early_is_refused_and_does_not_wait() {
        let place = Place {
            flag: "--listen",
            variable: "HONGBAO_LISTEN",
            first: SocketAddr::from(([127, 0, 0, 1], 0)),
            other: None,
        };
        let bound = place.bind().await.expect("a port");
        let at = bound.local_addr().expect("an address");
        let refused = tokio::net::TcpStream::connect(at).await;
        let refused = refused.expect_err("nobody listens").kind();
        assert_eq!(refused, io::ErrorKind::ConnectionRefused);
        let _listener = bound.listen().expect("nobody else listens");
        let connected = tokio::net::TcpStream::connect(at).await;
        assert!(connected.is_ok());
    }

    #[test]
    fn what_was_told_is_where_it_listens() {
        let told = Settings {
            listen: Some(([127, 0, 0, 1], 1).into()),
            ..Settings::default()
        };
        assert_eq!(Place::public(Role::Account, &told).other, None);
        let default = Settings::default();
        assert_eq!(Place::public(Role::All, &default).other, None);
        let account = Place::public(Role::Account, &default);
        let monitor = Place::public(Role::Monitor, &default);
        assert_eq!(account.first, monitor.first);
        assert_ne!(account.other, monitor.other);
        let inner = Place::inner(Role::Account, &default).expect("others ask it");
        assert_eq!(inner.first.port(), INNER_PORT);
        // Services on one machine may share their settings, and only one of them is asked.
        let shared = Settings {
            inner_listen: Some(([127, 0, 0, 1], 8081).into()),
            ..Settings::default()
        };
        assert!(Place::inner(Role::Redpacket, &shared).is_none());
        assert!(Place::inner(Role::All, &shared).is_some());
    }
}
