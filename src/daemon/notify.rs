//! What systemd wants to hear of a service: that it is ready, alive, stopping. The protocol is sd_notify(3)'s: lines in
//! a datagram to the socket that NOTIFY_SOCKET names.

#[cfg(unix)]
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// How the service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// It does what it is for.
    Ready,
    /// It still moves.
    Alive,
    /// It is about to end.
    Stopping,
}

/// Tells systemd, where it listens.
#[derive(Debug)]
pub struct Notifier {
    #[cfg(unix)]
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// How often it wants to hear that the service is alive; none where it does not.
    pub watchdog: Option<Duration>,
}

impl Notifier {
    /// One for the variables NOTIFY_SOCKET and WATCHDOG_USEC.
    pub fn new(notify_socket: Option<&str>, watchdog_usec: Option<&str>) -> Self {
        #[cfg(not(unix))]
        let _there_is_no_systemd = notify_socket;
        Notifier {
            #[cfg(unix)]
            socket: notify_socket.and_then(address).and_then(|address| Some((UnixDatagram::unbound().ok()?, address))),
            watchdog: watchdog_usec.and_then(|text| text.parse().ok()).map(Duration::from_micros),
        }
    }

    /// Says how it is. Nobody can be told that this failed.
    pub fn say(&self, beat: Beat) {
        let text = match beat {
            Beat::Ready => "READY=1",
            Beat::Alive => "WATCHDOG=1",
            Beat::Stopping => "STOPPING=1",
        };
        #[cfg(unix)]
        if let Some((socket, address)) = &self.socket {
            _ = socket.send_to_addr(text.as_bytes(), address);
        }
        #[cfg(not(unix))]
        let _nobody_listens = text;
    }
}

#[cfg(unix)]
/// A path, or with an `@` a name in Linux' abstract namespace.
fn address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix('@') {
        #[cfg(target_os = "linux")]
        Some(name) => <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name.as_bytes()).ok(),
        #[cfg(not(target_os = "linux"))]
        Some(_) => None,
        None => SocketAddr::from_pathname(text).ok(),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn systemd_hears_of_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        let notifier = Notifier::new(path.to_str(), Some("30000000"));
        assert_eq!(notifier.watchdog, Some(Duration::from_secs(30)));
        for (beat, text) in [(Beat::Ready, "READY=1"), (Beat::Alive, "WATCHDOG=1"), (Beat::Stopping, "STOPPING=1")] {
            notifier.say(beat);
            let mut buffer = [0; 64];
            let length = socket.recv(&mut buffer).expect("a datagram");
            assert_eq!(&buffer[..length], text.as_bytes());
        }
        for (socket, watchdog) in [(None, None), (Some("/nowhere/at/all"), Some("soon"))] {
            let deaf = Notifier::new(socket, watchdog);
            deaf.say(Beat::Ready);
            assert_eq!(deaf.watchdog, None);
        }
    }
}
