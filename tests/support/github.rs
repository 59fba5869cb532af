//! A server on loopback that plays GitHub: it answers what it was told to, and remembers what it was asked.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard},
};

use serde_json::{Value, json};

use crate::support::server::head;

/// One answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Sends no more so many bytes before the end of the body.
    pub cut: usize,
    /// Says nothing more then, instead of ending the connection.
    pub stalls: bool,
}

impl Answer {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Answer { status, headers: Vec::new(), body: body.into(), cut: 0, stalls: false }
    }

    pub fn json(value: &Value) -> Self {
        Answer::new(200, value.to_string())
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn cut(self, cut: usize) -> Self {
        Answer { cut, ..self }
    }

    pub fn stall(self, cut: usize) -> Self {
        Answer { cut, stalls: true, ..self }
    }
}

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    pub target: String,
    pub headers: HashMap<String, String>,
}

type Respond = dyn Fn(&Request) -> Option<Answer> + Send + Sync;

#[derive(Default)]
struct Told {
    /// Answers to come first, in order, by path without its query.
    first: BTreeMap<String, VecDeque<Answer>>,
    /// Answers by path with its query, for good.
    always: BTreeMap<String, Answer>,
    asked: Vec<Request>,
}

/// The server; its threads end with the process.
pub struct Github {
    port: u16,
    told: Arc<Mutex<Told>>,
}

impl Github {
    pub fn new() -> Self {
        Self::with(|_| None)
    }

    /// `respond` answers what nothing else was told for.
    pub fn with(respond: impl Fn(&Request) -> Option<Answer> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let told: Arc<Mutex<Told>> = Arc::default();
        let (shared, respond): (_, Arc<Respond>) = (Arc::clone(&told), Arc::new(respond));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, told, respond) = (stream.expect("a connection"), Arc::clone(&shared), respond.clone());
                std::thread::spawn(move || serve(stream, &told, &*respond));
            }
        });
        Github { port, told }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().expect("no panic")
    }

    /// Answers `target`, path and query, from now on.
    pub fn always(&self, target: &str, answer: Answer) {
        self.told().always.insert(target.to_owned(), answer);
    }

    /// Answers the next request for `path` that has none of these yet.
    pub fn once(&self, path: &str, answer: Answer) {
        self.told().first.entry(path.to_owned()).or_default().push_back(answer);
    }

    /// What was asked since the last time.
    pub fn asked(&self) -> Vec<Request> {
        std::mem::take(&mut self.told().asked)
    }

    /// [`Github::asked`], without headers.
    pub fn targets(&self) -> Vec<String> {
        self.asked().into_iter().map(|request| request.target).collect()
    }
}

fn serve(stream: TcpStream, told: &Mutex<Told>, respond: &Respond) {
    let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
    let Some(lines) = head(&mut reader) else { return };
    let target = lines[0].split(' ').nth(1).expect("a target").to_owned();
    let pairs = lines[1..].iter().filter_map(|line| line.split_once(':'));
    let headers = pairs.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    let request = Request { target, headers };
    let answer = {
        let mut told = told.lock().expect("no panic");
        told.asked.push(request.clone());
        let path = request.target.split('?').next().unwrap_or_default();
        let first = told.first.get_mut(path).and_then(VecDeque::pop_front);
        first.or_else(|| told.always.get(&request.target).cloned())
    };
    let answer = answer.or_else(|| respond(&request));
    let answer = answer.unwrap_or_else(|| Answer::new(404, r#"{"message": "Not Found"}"#));
    let same = |(name, value): &(String, String)| {
        name.eq_ignore_ascii_case("etag") && request.headers.get("if-none-match") == Some(value)
    };
    let (status, body) = match answer.headers.iter().any(same) {
        true if answer.status == 200 => (304, &[][..]),
        _ => (answer.status, &answer.body[..]),
    };
    let mut head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n", body.len());
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    let sent = &body[..body.len().saturating_sub(answer.cut)];
    let mut stream = stream;
    let _a_client_may_go = stream.write_all(&[head.as_bytes(), b"\r\n", sent].concat());
    if answer.stalls {
        // Until the client goes.
        let _a_client_may_go = reader.read_line(&mut String::new());
    }
}

/// What GitHub says of a repository, as short as its description allows.
pub fn repository(id: u64, name: &str) -> Value {
    json!({
        "id": id, "full_name": name, "private": false, "fork": false, "archived": false, "disabled": false,
        "license": {"key": "mit", "name": "MIT License", "spdx_id": "MIT", "url": null, "node_id": "x"},
        "language": "Rust", "stargazers_count": 10, "pushed_at": "2026-11-01T00:00:00Z", "size": 100,
        "clone_url": "ssh://elsewhere/--upload-pack=x", "default_branch": "main",
    })
}
