//! A TCP proxy that loses an answer at the worst moment: the connection is cut when a marked
//! request, such as a COMMIT, has been sent but not answered.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

/// COMMIT as MySQL's clients send it. (`READ COMMITTED` holds the word too.)
pub const COMMIT_TO_MYSQL: &str = "\u{3}COMMIT";
/// COMMIT of a batch of claims, which goes with the booking, on any server.
pub const COMMIT_OF_CLAIMS: &str = "; COMMIT";
/// COMMIT as PostgreSQL's clients send it.
pub const COMMIT_TO_POSTGRES: &str = "COMMIT\0";

/// What becomes of the marked request. The client sees the same each time: no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It reaches the server, which answers it; the answer is lost.
    Answered,
    /// It never reaches the server.
    NeverSent,
    /// The client is cut off at once; the request reaches the server only after this time.
    SentAfter(Duration),
}

/// A request to watch for.
struct Watch {
    marker: Vec<u8>,
    cut: Cut,
}

#[derive(Default)]
struct Shared {
    watch: Mutex<Option<Watch>>,
    cuts: AtomicU32,
    ended: AtomicBool,
    /// Both ends of each connection, to break them.
    open: Mutex<Vec<TcpStream>>,
}

/// A running proxy. Dropping it ends it and breaks its connections.
pub struct CutProxy {
    port: u16,
    shared: Arc<Shared>,
}

impl CutProxy {
    /// Starts a proxy on a free port of 127.0.0.1 in front of port `target` there.
    ///
    /// # Panics
    /// When there is no free port.
    #[must_use]
    pub fn start(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let shared = Arc::new(Shared::default());
        let for_thread = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                if for_thread.ended.load(Ordering::SeqCst) {
                    return;
                }
                // A connection that fails is the client's to notice, as any broken one.
                if let Ok(client) = client
                    && let Err(error) = join(client, target, &for_thread)
                {
                    eprintln!("the proxy has no way to its server: {error}");
                }
            }
        });
        Self { port, shared }
    }

    /// The port to connect to.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Cuts the connection on which `marker` is sent next, once.
    ///
    /// # Panics
    /// Never.
    pub fn cut_next(&self, marker: &str, cut: Cut) {
        let marker = marker.as_bytes().to_vec();
        let mut watch = self.shared.watch.lock().expect("nothing panics under it");
        *watch = Some(Watch { marker, cut });
    }

    /// How many connections were cut at a marker so far.
    #[must_use]
    pub fn cuts(&self) -> u32 {
        self.shared.cuts.load(Ordering::SeqCst)
    }

    /// Breaks every connection that is open now.
    ///
    /// # Panics
    /// Never.
    pub fn break_all(&self) {
        let mut open = self.shared.open.lock().expect("nothing panics under it");
        for stream in open.drain(..) {
            end(&stream, Shutdown::Both);
        }
    }
}

impl Drop for CutProxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.break_all();
        // Wakes the thread that accepts, which then ends; when it has ended, nobody listens.
        let _woken = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok();
    }
}

fn join(client: TcpStream, target: u16, shared: &Arc<Shared>) -> io::Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, target))?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let mut open = shared.open.lock().expect("nothing panics under it");
    open.push(client.try_clone()?);
    open.push(server.try_clone()?);
    drop(open);
    let (back_from, back_to) = (server.try_clone()?, client.try_clone()?);
    // A cut that waits for the server's answer must not have it passed on.
    let muted = Arc::new(AtomicBool::new(false));
    let muted_back = muted.clone();
    thread::spawn(move || carry_back(back_from, back_to, &muted_back));
    let shared = shared.clone();
    thread::spawn(move || carry_forth(client, server, &shared, &muted));
    Ok(())
}

/// From the client to the server, until the end or a marker.
fn carry_forth(mut client: TcpStream, mut server: TcpStream, shared: &Shared, muted: &AtomicBool) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = client.read(&mut buffer) {
        let request = &buffer[..length];
        if let Some(cut) = shared.due(request) {
            muted.store(true, Ordering::SeqCst);
            shared.cuts.fetch_add(1, Ordering::SeqCst);
            match cut {
                Cut::NeverSent => {}
                Cut::Answered => {
                    let _sent = server.write_all(request).is_ok();
                    // The other direction mutes, and ends the client, when the answer comes.
                    return;
                }
                Cut::SentAfter(delay) => {
                    end(&client, Shutdown::Both);
                    thread::sleep(delay);
                    let _sent = server.write_all(request).is_ok();
                    // Half: the server may still answer, which nobody reads any more.
                    end(&server, Shutdown::Write);
                    return;
                }
            }
            break;
        }
        if server.write_all(request).is_err() {
            break;
        }
    }
    end(&client, Shutdown::Both);
    end(&server, Shutdown::Both);
}

/// From the server to the client, until the end; nothing once the connection is cut.
fn carry_back(mut server: TcpStream, mut client: TcpStream, muted: &AtomicBool) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = server.read(&mut buffer) {
        if muted.load(Ordering::SeqCst) || client.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    end(&client, Shutdown::Both);
    end(&server, Shutdown::Both);
}

impl Shared {
    /// What is to become of `request`, if it is the one that is watched for.
    fn due(&self, request: &[u8]) -> Option<Cut> {
        let mut watch = self.watch.lock().expect("nothing panics under it");
        let marker = &watch.as_ref()?.marker;
        let found = request.windows(marker.len()).any(|part| part == marker);
        if found {
            watch.take().map(|w| w.cut)
        } else {
            None
        }
    }
}

fn end(stream: &TcpStream, how: Shutdown) {
    // An error means that it has ended already.
    let _ended = stream.shutdown(how).is_err();
}
