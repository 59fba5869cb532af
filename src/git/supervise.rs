//! Runs [`mirror::synchronize`] in a child process that can be killed.
//!
//! A transport may block for ever in a read, panic, or take all memory; none of that may take the caller along.
//! Owns limits, retries and the protocol between the two processes: the request as one line of JSON on the child's
//! standard input, `Report`s as lines of JSON on its standard output. Standard input stays open: when the parent dies,
//! however it dies, the child reads the end of it and exits. Refuses to know anything about git.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use std::{fs, thread};

use serde::{Deserialize, Serialize};

use super::mirror::{self, Error, ErrorKind, Outcome, Phase, Progress, Request};

/// How often the parent looks at the clock, at the interrupt flag and at the disk.
const POLL: Duration = Duration::from_millis(50);
/// How much of the child's standard error is kept for the error message.
const STDERR_BYTES_MAX: u64 = 4 << 10;
/// A report is far shorter; a longer line means that the child isn't what we think it is.
const REPORT_BYTES_MAX: u64 = 64 << 10;
/// The first pause before a retry; it doubles with each one, up to a minute.
const BACKOFF: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// What a fetch may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How much a fetch may add to the disk.
    pub bytes_max: Option<u64>,
    /// How many objects it may bring.
    pub objects_max: Option<u64>,
    /// How many bytes may come of them when they are unpacked.
    pub unpacked_bytes_max: Option<u64>,
    /// How long it may take, retries included.
    pub seconds_max: Option<u64>,
    /// The least that has to arrive per second, on average over `low_speed_seconds`.
    pub low_speed_bytes_per_second: u64,
    /// How long a transfer may be slower than that; 0 is for ever.
    pub low_speed_seconds: u64,
    /// How long a connection may take to open; replaces the one of the request.
    pub connect_seconds: u64,
    /// How many further attempts a transient failure gets.
    pub retries: u32,
}

/// What the child says, one a line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Report {
    Phase(Phase),
    Received(u64),
    Objects(u64),
    Unpacked(u64),
    Alive(u64),
    Ok(Outcome),
    Error { kind: ErrorKind, message: String },
}

/// Brings a mirror up to date in a child process, within `limits`.
///
/// `program` is this program: it is run with the argument `mirror-child` and has to call [`child_main`] then.
/// `progress` gets the bytes that were added to the disk so far. An interrupt ends the fetch within 0.3 seconds.
pub fn fetch(
    program: &Path,
    request: &Request,
    limits: &Limits,
    interrupt: &AtomicBool,
    progress: &dyn Fn(u64),
) -> Result<Outcome, Error> {
    let deadline = limits.seconds_max.and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds)));
    let mut pause = BACKOFF;
    for attempt in 0.. {
        let mut watch = Watch::new(request, limits, interrupt, deadline);
        let result = watch.run(program, progress);
        match result {
            Err(err) if err.is_transient() && attempt < limits.retries => {
                let resume = Instant::now() + pause;
                while Instant::now() < resume {
                    watch.check_clock()?;
                    thread::sleep(POLL.min(resume.saturating_duration_since(Instant::now())));
                }
                pause = (pause * 2).min(BACKOFF_MAX);
            }
            result => return result,
        }
    }
    unreachable!("the loop only ends by a return")
}

/// The child with its process group: ssh and git-upload-pack are in it, and end with it.
struct Group(Child);

impl Group {
    fn kill(&mut self) {
        // The child isn't reaped yet, so its id can't belong to anybody else.
        if let Ok(None) = self.0.try_wait() {
            #[cfg(unix)]
            if let Some(group) = rustix::process::Pid::from_raw(self.0.id().cast_signed()) {
                rustix::process::kill_process_group(group, rustix::process::Signal::KILL).ok();
            }
            self.0.kill().ok();
            self.0.wait().ok();
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// One attempt.
struct Watch<'a> {
    request: Request,
    limits: &'a Limits,
    interrupt: &'a AtomicBool,
    deadline: Option<Instant>,
    phase: Phase,
    received: u64,
    /// When the transfer was last fast enough, and how much had arrived then.
    fast: (Instant, u64),
}

impl<'a> Watch<'a> {
    fn new(request: &Request, limits: &'a Limits, interrupt: &'a AtomicBool, deadline: Option<Instant>) -> Self {
        let request = Request { connect_seconds: limits.connect_seconds, ..request.clone() };
        Watch { request, limits, interrupt, deadline, phase: Phase::Lock, received: 0, fast: (Instant::now(), 0) }
    }

    fn error(&self, kind: ErrorKind, reason: impl Into<String>) -> Error {
        Error::new(kind, &self.request.url, reason)
    }

    fn run(&mut self, program: &Path, progress: &dyn Fn(u64)) -> Result<Outcome, Error> {
        self.check_clock()?;
        let packs_before = bytes_in(&self.request.directory.join("objects/pack"));
        let mut group = self.spawn(program)?;
        let partial = mirror::partial(&self.request.directory, group.0.id()).join("objects/pack");
        let reports = follow(group.0.stdout.take());
        let complaints = drain(group.0.stderr.take());

        let result = self.watch(&reports, &partial, packs_before, progress);
        match result {
            Ok(Some(outcome)) => {
                // It has answered and only has to exit; what it still does is of no interest after a while.
                let patience = Instant::now() + Duration::from_millis(500);
                while matches!(group.0.try_wait(), Ok(None)) && Instant::now() < patience {
                    thread::sleep(Duration::from_millis(2));
                }
                group.kill();
                outcome.map_err(|err| self.refine(err, &complaints))
            }
            Ok(None) => {
                // Its output has ended without an answer, so it is about to be gone, if it isn't already.
                let patience = Instant::now() + Duration::from_secs(1);
                let mut status = None;
                while status.is_none() && Instant::now() < patience {
                    status = group.0.try_wait().ok().flatten();
                    thread::sleep(Duration::from_millis(2));
                }
                group.kill();
                mirror::clean_up(&self.request.directory);
                let how = status.map_or("closed its output".to_owned(), |status| format!("ended with {status}"));
                let said = complaints.recv_timeout(Duration::from_millis(300)).unwrap_or_default();
                let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
                Err(self.error(ErrorKind::Protocol, format!("the fetching process {how} without an answer: {said}")))
            }
            Err(err) => {
                group.kill();
                mirror::clean_up(&self.request.directory);
                Err(err)
            }
        }
    }

    fn spawn(&self, program: &Path) -> Result<Group, Error> {
        let mut command = Command::new(program);
        command
            .arg("mirror-child")
            .env("GIT_TERMINAL_PROMPT", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let fail = |err: io::Error| self.error(ErrorKind::Io, format!("can't run {}: {err}", program.display()));
        let mut group = Group(command.spawn().map_err(fail)?);
        let mut line = serde_json::to_vec(&self.request).map_err(|err| fail(err.into()))?;
        line.push(b'\n');
        // The pipe stays in the child handle, and so stays open until the group is dropped. A child that is gone
        // already says why on standard error.
        if let Some(stdin) = group.0.stdin.as_mut() {
            stdin.write_all(&line).and_then(|()| stdin.flush()).ok();
        }
        Ok(group)
    }

    /// Follows the child until it answers (`Some`), until its output ends (`None`), or until a limit is reached.
    fn watch(
        &mut self,
        reports: &Receiver<Report>,
        partial: &Path,
        packs_before: u64,
        progress: &dyn Fn(u64),
    ) -> Result<Option<Result<Outcome, Error>>, Error> {
        let packs = self.request.directory.join("objects/pack");
        let mut looked = Instant::now();
        let mut shown = 0;
        loop {
            match reports.recv_timeout(POLL) {
                Ok(Report::Ok(outcome)) => return Ok(Some(Ok(outcome))),
                Ok(Report::Error { kind, message }) => return Ok(Some(Err(self.error(kind, message)))),
                Ok(Report::Phase(phase)) => {
                    self.phase = phase;
                    self.fast = (Instant::now(), self.received);
                }
                Ok(Report::Received(bytes)) => self.received = bytes,
                Ok(Report::Objects(count)) => self.check(count, self.limits.objects_max, "objects")?,
                Ok(Report::Unpacked(bytes)) => {
                    self.check(bytes, self.limits.unpacked_bytes_max, "bytes when it is unpacked")?;
                }
                Ok(Report::Alive(_)) => self.fast = (Instant::now(), self.received),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
            }
            self.check_clock()?;
            self.check_speed()?;
            if looked.elapsed() >= POLL {
                // A clone grows in its own directory, a fetch in the mirror.
                let on_disk = bytes_in(partial) + bytes_in(&packs).saturating_sub(packs_before);
                self.check(on_disk.max(self.received), self.limits.bytes_max, "bytes")?;
                if on_disk != shown {
                    progress(on_disk);
                    shown = on_disk;
                }
                looked = Instant::now();
            }
        }
    }

    fn check(&self, count: u64, max: Option<u64>, what: &str) -> Result<(), Error> {
        match max {
            Some(max) if count > max => Err(self.error(ErrorKind::Limit, format!("it has more than {max} {what}"))),
            _ => Ok(()),
        }
    }

    fn check_clock(&self) -> Result<(), Error> {
        if self.interrupt.load(Ordering::Relaxed) {
            return Err(self.error(ErrorKind::Interrupted, "on request"));
        }
        match (self.deadline, self.limits.seconds_max) {
            (Some(deadline), Some(seconds)) if Instant::now() >= deadline => {
                Err(self.error(ErrorKind::Limit, format!("it takes more than {seconds} seconds")))
            }
            _ => Ok(()),
        }
    }

    /// Applies to the phases in which bytes should arrive; opening a connection gets its own time on top.
    fn check_speed(&mut self) -> Result<(), Error> {
        let limits = self.limits;
        let patience = match self.phase {
            Phase::Connect => limits.low_speed_seconds + limits.connect_seconds,
            Phase::Receive => limits.low_speed_seconds,
            Phase::Lock | Phase::Resolve | Phase::Update => return Ok(()),
        };
        let wanted = limits.low_speed_bytes_per_second.saturating_mul(limits.low_speed_seconds).max(1);
        if limits.low_speed_seconds == 0 || self.received.saturating_sub(self.fast.1) >= wanted {
            self.fast = (Instant::now(), self.received);
        } else if self.fast.0.elapsed() >= Duration::from_secs(patience) {
            let bytes = self.received - self.fast.1.min(self.received);
            return Err(self.error(ErrorKind::Stalled, format!("{bytes} bytes in the last {patience} seconds")));
        }
        Ok(())
    }

    /// The reason of a failure over ssh is only in what ssh, or the server through it, wrote to standard error.
    fn refine(&self, err: Error, complaints: &Receiver<String>) -> Error {
        if !matches!(err.kind(), ErrorKind::Disconnected | ErrorKind::Protocol | ErrorKind::Authentication) {
            return err;
        }
        let said = complaints.recv_timeout(Duration::from_millis(300)).unwrap_or_default();
        match mirror::classify_text(&said.to_ascii_lowercase()) {
            Some(kind) => self.error(kind, said.split_whitespace().collect::<Vec<_>>().join(" ")),
            None => err,
        }
    }
}

/// Reads reports until the pipe ends or something else comes out of it.
fn follow(stdout: Option<impl Read + Send + 'static>) -> Receiver<Report> {
    let (sender, receiver) = channel();
    if let Some(stdout) = stdout {
        thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            let mut line = Vec::new();
            while let Ok(1..) = stdout.by_ref().take(REPORT_BYTES_MAX).read_until(b'\n', &mut line) {
                let Ok(report) = serde_json::from_slice(&line) else { return };
                if sender.send(report).is_err() {
                    return;
                }
                line.clear();
            }
        });
    }
    receiver
}

/// Reads standard error to its end, so that the child never blocks on it, and gives the first part of it.
fn drain(stderr: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = channel();
    if let Some(mut stderr) = stderr {
        thread::spawn(move || {
            let mut kept = Vec::new();
            stderr.by_ref().take(STDERR_BYTES_MAX).read_to_end(&mut kept).ok();
            io::copy(&mut stderr, &mut io::sink()).ok();
            sender.send(String::from_utf8_lossy(&kept).into_owned()).ok();
        });
    }
    receiver
}

/// The size of the files in a directory, those that are borrowed from another mirror left out; 0 if there is none.
fn bytes_in(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let files = entries.filter_map(|entry| entry.and_then(|entry| entry.metadata()).ok());
    files.filter(|metadata| links(metadata) == 1).map(|metadata| metadata.len()).sum()
}

/// How many names a file has.
#[cfg(unix)]
pub(crate) fn links(metadata: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::nlink(metadata)
}

#[cfg(not(unix))]
pub(crate) fn links(_: &fs::Metadata) -> u64 {
    1
}

/// The child: reads a request from standard input, does it, answers on standard output, and gives the exit code.
pub fn child_main() -> i32 {
    let mut line = String::new();
    let request = match io::stdin().lock().read_line(&mut line) {
        Ok(_) => serde_json::from_str::<Request>(&line),
        Err(err) => Err(serde_json::Error::io(err)),
    };
    let request = match request {
        Ok(request) => request,
        Err(err) => {
            eprintln!("mirror-child: not a request on standard input: {err}");
            return 2;
        }
    };
    // The parent writes nothing more, so whatever ends this read is the end of the parent.
    thread::spawn(|| {
        io::copy(&mut io::stdin(), &mut io::sink()).ok();
        std::process::exit(3);
    });
    let interrupt = AtomicBool::new(false);
    let result = mirror::synchronize(&request, &interrupt, &|progress| {
        say(&match progress {
            Progress::Phase(phase) => Report::Phase(phase),
            Progress::Received(bytes) => Report::Received(bytes),
            Progress::Objects(count) => Report::Objects(count),
            Progress::Unpacked(bytes) => Report::Unpacked(bytes),
            Progress::Alive(count) => Report::Alive(count),
        });
    });
    match result {
        Ok(outcome) => {
            say(&Report::Ok(outcome));
            0
        }
        Err(err) => {
            say(&Report::Error { kind: err.kind(), message: err.reason().to_owned() });
            1
        }
    }
}

/// Nobody is there to hear of a failure to write; the end of standard input follows it.
fn say(report: &Report) {
    if let Ok(mut line) = serde_json::to_vec(report) {
        line.push(b'\n');
        let mut stdout = io::stdout().lock();
        stdout.write_all(&line).and_then(|()| stdout.flush()).ok();
    }
}
