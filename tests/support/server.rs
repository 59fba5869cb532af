//! A smart HTTP server in front of `git http-backend`, which can behave badly.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// What a server does with its requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Manner {
    Git,
    Status(u16),
    /// 401 unless the request has a user and a password.
    Locked,
    /// Reads and never answers.
    Silent,
    /// Ends the connection after so many bytes of the pack.
    Cut(usize),
    /// The pack never ends.
    Endless,
    /// One byte of the pack at a time.
    Trickle,
    Page,
    Redirect,
    /// Fails once, then behaves.
    FailOnce,
    /// A status, and a header that goes with it.
    Told(u16, &'static str),
    /// Leads to another port of this machine.
    Elsewhere(u16),
    /// Leads to this name on the same server.
    Renamed(&'static str),
    /// Ends the connection without an answer.
    Reset,
    /// Says that it is git, and is not.
    Garbage,
    /// Begins to list references, one byte at a time.
    Drip,
    /// Lists references without end whose names begin so.
    References(&'static str),
}

pub struct Server {
    pub port: u16,
    pub requests: Arc<AtomicUsize>,
    /// Bytes of references that could be sent by [`Manner::References`].
    pub sent: Arc<AtomicU64>,
    /// How repositories are served that are not served as the others are, by name.
    manners: Arc<Mutex<HashMap<String, Manner>>>,
}

impl Server {
    pub fn http(root: &Path, manner: Manner) -> Self {
        let root = root.to_owned();
        let manners = Arc::new(Mutex::new(HashMap::new()));
        let sent = Arc::<AtomicU64>::default();
        let (of, count) = (Arc::clone(&manners), Arc::clone(&sent));
        let server = Self::listen(move |stream, number| http(stream, &root, manner, &of, number, &count));
        Server { manners, sent, ..server }
    }

    /// Serves the repository `name` in another manner from now on.
    pub fn serve(&self, name: &str, manner: Manner) {
        self.manners.lock().expect("no panic").insert(name.to_owned(), manner);
    }

    /// `git daemon`, one process for a connection.
    pub fn daemon(root: &Path) -> Self {
        let root = root.to_owned();
        Self::listen(move |stream, _| {
            let input: std::os::fd::OwnedFd = stream.try_clone().expect("a socket").into();
            let output: std::os::fd::OwnedFd = stream.into();
            Command::new("git")
                .args(["daemon", "--inetd", "--export-all", "--informative-errors"])
                .arg(format!("--base-path={}", root.display()))
                .stdin(Stdio::from(input))
                .stdout(Stdio::from(output))
                .stderr(Stdio::null())
                .status()
                .expect("git daemon runs");
        })
    }

    fn listen(serve: impl Fn(TcpStream, usize) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (serve, requests) = (Arc::new(serve), Arc::new(AtomicUsize::new(0)));
        let count = requests.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, serve) = (stream.expect("a connection"), serve.clone());
                let number = count.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || serve(stream, number));
            }
        });
        Server { port, requests, sent: Arc::default(), manners: Arc::default() }
    }

    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://127.0.0.1:{}/remote.git", self.port)
    }
}

/// The first line and the headers of a request; none where the connection ends before.
pub fn head(reader: &mut impl BufRead) -> Option<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return None;
        }
        if line.trim().is_empty() {
            return Some(lines);
        }
        lines.push(line.trim().to_owned());
    }
}

/// Answers one HTTP request and closes the connection; `git http-backend` does the work.
fn http(
    stream: TcpStream,
    root: &Path,
    manner: Manner,
    manners: &Mutex<HashMap<String, Manner>>,
    number: usize,
    sent: &AtomicU64,
) {
    let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
    let mut out = stream;
    let Some(lines) = head(&mut reader) else { return };
    let header = |name: &str| {
        let (_, value) =
            lines.iter().filter_map(|line| line.split_once(':')).find(|(n, _)| n.eq_ignore_ascii_case(name))?;
        Some(value.trim().to_owned())
    };
    let mut words = lines[0].split(' ');
    let (method, target) = (words.next().expect("a method"), words.next().expect("a target"));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let name = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    let manner = manners.lock().expect("no panic").get(name).copied().unwrap_or(manner);
    let body = if header("transfer-encoding").is_some() {
        let mut body = Vec::new();
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).expect("a size");
            let size = usize::from_str_radix(size.trim(), 16).expect("hexadecimal");
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).expect("a chunk");
            if size == 0 {
                break body;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    } else {
        let mut body = vec![0; header("content-length").map_or(0, |length| length.parse().expect("a number"))];
        reader.read_exact(&mut body).expect("a body");
        body
    };
    let is_fetch = body.windows(13).any(|part| part == b"command=fetch");
    let mut say = |text: &str| out.write_all(text.as_bytes()).is_ok();
    let refuse = |status: u16| {
        format!(
            "HTTP/1.1 {status} No\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
    };
    match manner {
        Manner::Status(status) => {
            say(&refuse(status));
            return;
        }
        Manner::Locked if header("authorization").is_none() => {
            say(&refuse(401));
            return;
        }
        Manner::FailOnce if number == 0 => {
            say(&refuse(503));
            return;
        }
        Manner::Told(status, header) => {
            say(&format!("HTTP/1.1 {status} No\r\n{header}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"));
            return;
        }
        Manner::Elsewhere(port) => {
            say(&format!(
                "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{port}{target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            ));
            return;
        }
        Manner::Renamed(to) if method == "GET" => {
            let target = target.replacen(name, to, 1);
            say(&format!("HTTP/1.1 301 Moved\r\nLocation: {target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"));
            return;
        }
        Manner::Reset => return,
        Manner::Garbage => {
            say(
                "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\nContent-Length: 9\r\nConnection: close\r\n\r\nzzzz\0!!!!",
            );
            return;
        }
        Manner::Drip => {
            say(
                "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\nContent-Length: 100000\r\nConnection: close\r\n\r\n",
            );
            while out.write_all(b"0").is_ok() {
                std::thread::sleep(Duration::from_millis(50));
            }
            return;
        }
        Manner::References(prefix) => {
            say(
                "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\nConnection: close\r\n\r\n",
            );
            // Little is under way at a time, and so the kernel of who reads keeps little that it did not ask for yet.
            let socket = tokio::net::TcpSocket::from_std_stream(out.try_clone().expect("a socket"));
            socket.set_send_buffer_size(16 << 10).expect("a buffer");
            for first in (0_u64..).step_by(1000) {
                let line = |number| format!("{number:040x} {prefix}{number}\n");
                let lines = (first + 1..=first + 1000).map(line);
                let lines: String = lines.map(|line| format!("{:04x}{line}", line.len() + 4)).collect();
                if out.write_all(lines.as_bytes()).is_err() {
                    return;
                }
                sent.fetch_add(lines.len() as u64, Ordering::SeqCst);
            }
            return;
        }
        Manner::Silent => return std::thread::sleep(Duration::from_secs(20)),
        Manner::Page => {
            say("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\nConnection: close\r\n\r\n<p/>");
            return;
        }
        Manner::Redirect if path.starts_with("/remote.git") && !is_fetch && method == "GET" => {
            say(&format!(
                "HTTP/1.1 301 Moved\r\nLocation: /moved{path}?{query}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            ));
            return;
        }
        Manner::Endless | Manner::Trickle if is_fetch => {
            say("HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-result\r\nConnection: close\r\n\r\n");
            out.write_all(b"000dpackfile\n").ok();
            endless(&mut out, matches!(manner, Manner::Trickle));
            return;
        }
        _ => {}
    }
    let mut backend = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", path.trim_start_matches("/moved"))
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", method)
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("CONTENT_TYPE", header("content-type").unwrap_or_default())
        .env("GIT_PROTOCOL", header("git-protocol").unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("git http-backend runs");
    backend.stdin.take().expect("piped").write_all(&body).expect("a body");
    let mut answer = Vec::new();
    backend.stdout.take().expect("piped").read_to_end(&mut answer).expect("an answer");
    backend.wait().expect("an end");
    let split = answer.windows(4).position(|part| part == b"\r\n\r\n").expect("headers");
    let head = String::from_utf8_lossy(&answer[..split]).into_owned();
    let status = head.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK").to_owned();
    let body = &answer[split + 4..];
    say(&format!("HTTP/1.1 {status}\r\n{head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len()));
    match manner {
        Manner::Cut(bytes) if is_fetch => out.write_all(&body[..bytes.min(body.len())]).ok(),
        _ => out.write_all(body).ok(),
    };
}

/// A pack that claims a million objects, and keeps sending them: blobs in stored deflate blocks.
fn endless(out: &mut TcpStream, trickle: bool) {
    let blob = [b'x'; 1 << 15];
    let mut entry = vec![0xb0, 0x80, 0x10, 0x78, 0x01, 0x01];
    entry.extend_from_slice(&(blob.len() as u16).to_le_bytes());
    entry.extend_from_slice(&(!(blob.len() as u16)).to_le_bytes());
    entry.extend_from_slice(&blob);
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in blob {
        a = (a + u32::from(byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    entry.extend_from_slice(&(b << 16 | a).to_be_bytes());
    let mut packet = |bytes: &[u8]| {
        out.write_all(format!("{:04x}\x01", bytes.len() + 5).as_bytes()).and_then(|()| out.write_all(bytes)).is_ok()
    };
    packet(b"PACK\0\0\0\x02\0\x0f\xff\xff");
    loop {
        if trickle {
            for byte in &entry {
                if !packet(&[*byte]) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        } else if !packet(&entry) {
            return;
        }
    }
}
