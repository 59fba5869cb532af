#!/usr/bin/env python3
"""A fleet of repositories on loopback, watched by gitlode: what a look, a change and rest cost, and how long news takes.

    scripts/fleet.py PROGRAM [--repositories 2000] [--seconds 120] [--changing 1.0]
    scripts/fleet.py --scale SMALL.json LARGE.json

Serves bare repositories over the smart protocol from this process (git runs for fetches only), lets PROGRAM watch them, and
measures four times: the first mining, rest, changes that are found by looks, and changes that webhooks tell of. `--changing` is
the percentage of repositories that get a commit in a minute. Prints JSON. CPU is that of PROGRAM and the processes that it
started, without this server and git's part of fetches. The second form reckons from two outputs of the first what a million
repositories take, and prints the tables of docs/scale.md.
"""

import argparse
import hashlib
import hmac
import http.client
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SECRET = "fleet"
TICKS = os.sysconf("SC_CLK_TCK")


def packet(text):
    data = text if isinstance(text, bytes) else text.encode()
    return f"{len(data) + 4:04x}".encode() + data


CAPABILITIES = b"".join(
    [packet("# service=git-upload-pack\n"), b"0000"]
    + [packet(line + "\n") for line in ("version 2", "agent=fleet", "ls-refs=unborn", "fetch=shallow", "object-format=sha1")]
    + [b"0000"]
)


class Fleet:
    """The repositories, and where each one's HEAD is."""

    def __init__(self, root, count):
        self.root, self.count = root, count
        self.heads = {}
        self.commits = {}
        template = root / "template.git"
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", "--template=", template], check=True)
        stream = []
        for n in range(20):
            body = "".join(f"value_{line} = {n + 1000 if line == n else line}\n" for line in range(40))
            stream.append(self.commit(n, body, None))
        self.feed(template, "".join(stream))
        head = self.git(template, "rev-parse", "main")
        for n in range(count):
            shutil.copytree(template, root / f"{n}.git")
            self.heads[f"{n}.git"], self.commits[n] = head, 20

    def commit(self, n, body, parent):
        message = f"Set value {n} to what it has to be"
        start = f"from {parent}\n" if parent else ""
        return (
            f"commit refs/heads/main\ncommitter A <a@example.com> {1_700_000_000 + n} +0000\ndata {len(message)}\n{message}\n"
            f"{start}M 100644 inline values.py\ndata {len(body)}\n{body}\n"
        )

    def feed(self, path, stream):
        subprocess.run(["git", "-C", path, "fast-import", "--quiet"], input=stream.encode(), check=True)

    def git(self, path, *args):
        return subprocess.run(["git", "-C", path, *args], check=True, capture_output=True, text=True).stdout.strip()

    def push(self, n):
        name, count = f"{n}.git", self.commits[n]
        body = "".join(f"value_{line} = {count + 1000 if line == count % 40 else line}\n" for line in range(40))
        self.feed(self.root / name, self.commit(count, body, self.heads[name]))
        self.commits[n] += 1
        self.heads[name] = self.git(self.root / name, "rev-parse", "main")


def serve(fleet):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_):
            pass

        def answer(self, kind, body):
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            self.answer("application/x-git-upload-pack-advertisement", CAPABILITIES)

        def do_POST(self):
            if self.headers.get("Transfer-Encoding") == "chunked":
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            else:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            name = self.path.split("/")[1]
            kind = "application/x-git-upload-pack-result"
            if b"command=ls-refs" in body and b"ref-prefix refs/" not in body:
                return self.answer(kind, packet(f"{fleet.heads[name]} HEAD symref-target:refs/heads/main\n") + b"0000")
            done = subprocess.run(
                ["git", "upload-pack", "--stateless-rpc", fleet.root / name],
                input=body,
                capture_output=True,
                env={**os.environ, "GIT_PROTOCOL": self.headers.get("Git-Protocol", "")},
            )
            self.answer(kind, done.stdout)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    # A client that is killed breaks its connection off.
    server.handle_error = lambda *_: None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class Watch:
    """The program, with what it says and what it takes."""

    def __init__(self, program, directory, url, interval):
        (directory / "secret").write_text(SECRET)
        (directory / "gitlode.toml").write_text(
            f'[watch]\nstore = "store"\nsources = ["{url}/@names"]\ninterval-min = {interval[0]}\ninterval-max = {interval[1]}\n'
            'allow-private = true\nconnections = 32\nconnections-per-host = 16\nwebhook-secret-file = "secret"\nlisten = "127.0.0.1:0"\n'
            'reread-seconds = 3600\n[mine]\nfilter = "none"\n'
        )
        self.process = subprocess.Popen(
            [program, "watch", "--config", "gitlode.toml"], cwd=directory, stderr=subprocess.PIPE, text=True
        )
        self.rows, self.address, self.lock = [], None, threading.Lock()
        threading.Thread(target=self.read, daemon=True).start()
        while self.address is None:
            time.sleep(0.01)

    def read(self):
        for line in self.process.stderr:
            now = time.time()
            if line.startswith("listening on "):
                self.address = line.split()[-1]
            found = re.match(r"(?:\S+Z )?\S*/(\d+): [\d,]+ rows? from", line)
            if found:
                with self.lock:
                    self.rows.append((int(found[1]), now))

    def cpu(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return sum(int(fields[at]) for at in (11, 12, 13, 14)) / TICKS

    def memory(self, name):
        return int(re.search(rf"{name}:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())[1]) / 1024

    def metrics(self):
        connection = http.client.HTTPConnection(self.address)
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
        return {line.rsplit(" ", 1)[0]: int(line.rsplit(" ", 1)[1]) for line in lines if not line.startswith("#")}

    def hook(self, url, n):
        body = json.dumps({"repository": {"full_name": f"o/{n}", "clone_url": f"{url}/{n}.git"}}).encode()
        signature = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        headers = {"X-GitHub-Event": "push", "X-Hub-Signature-256": signature, "Content-Type": "application/json"}
        connection = http.client.HTTPConnection(self.address)
        connection.request("POST", "/webhook/github", body, headers)
        status = connection.getresponse().status
        assert status == 200, status


def measure(watch, seconds, act):
    """What `act`, called until `seconds` are over, costs PROGRAM."""
    before, cpu, begun = watch.metrics(), watch.cpu(), time.time()
    with watch.lock:
        watch.rows.clear()
    pushed = act(begun + seconds)
    after, took = watch.metrics(), time.time() - begun
    looks = after["gitlode_looks_total"] - before["gitlode_looks_total"]
    figures = {
        "seconds": round(took, 1),
        "cpu_percent": round(100 * (watch.cpu() - cpu) / took, 2),
        "rss_mb": round(watch.memory("VmRSS"), 1),
        "looks": looks,
        "look_bytes": round((after["gitlode_look_bytes_total"] - before["gitlode_look_bytes_total"]) / max(looks, 1)),
        "cpu_seconds": round(watch.cpu() - cpu, 2),
    }
    if pushed:
        with watch.lock:
            seen = dict(reversed(watch.rows))
        lags = sorted(seen[n] - at for n, at in pushed.items() if n in seen)
        figures |= {
            "pushed": len(pushed),
            "seen": len(lags),
            "lag_p50": round(lags[len(lags) // 2], 2),
            "lag_p99": round(lags[min(len(lags) - 1, len(lags) * 99 // 100)], 2),
        }
    return figures


def scale(small, large):
    """The tables of docs/scale.md."""
    more = large["repositories"] - small["repositories"]
    look_ms = 1000 * large["rest"]["cpu_seconds"] / large["rest"]["looks"]
    changes = large["hooked"]
    change_ms = max(0, 1000 * changes["cpu_seconds"] - changes["looks"] * look_ms) / changes["pushed"]
    first_ms = 1000 * large["first"]["cpu_seconds"] / large["repositories"]
    memory_kb = 1000 * (large["rest"]["rss_mb"] - small["rest"]["rss_mb"]) / more
    index_kb = 1000 * (large["first"]["index_mb"] - small["first"]["index_mb"]) / more
    print("| what | cost |\n|---|---|")
    print(f"| a look at an unchanged repository | {look_ms:.2f} ms of CPU, {large['rest']['look_bytes']} bytes of answers |")
    print(f"| a change: webhook, look, fetch, mining, checkpoint | {change_ms:.0f} ms of CPU |")
    print(f"| the first mining of a repository of 20 commits, clone included | {first_ms:.0f} ms of CPU |")
    print(f"| a repository at rest | {memory_kb:.1f} kB of memory, {index_kb:.1f} kB of index |")
    print("\n| mean time between looks | looks a second | requests an hour | cores | Mbit/s |\n|---|---|---|---|---|")
    for name, seconds in (("1 hour", 3600), ("6 hours", 21_600), ("1 day", 86_400), ("1 week", 604_800)):
        looks = 1e6 / seconds
        cores, megabits = looks * look_ms / 1000, looks * 1500 * 8 / 1e6
        print(f"| {name} | {looks:.1f} | {2 * 3600 * looks:,.0f} | {cores:.2f} | {megabits:.2f} |")
    print("\n| repositories that change in a day | changes a second | cores |\n|---|---|---|")
    for share in (0.01, 0.05, 0.2):
        changes = 1e6 * share / 86_400
        print(f"| {share:.0%} | {changes:.2f} | {changes * change_ms / 1000:.2f} |")
    print(f"\nmemory {memory_kb:.1f} GB, index {index_kb:.1f} GB, first mining {first_ms / 3.6:.0f} core hours for such repositories")


def main():
    if len(sys.argv) == 4 and sys.argv[1] == "--scale":
        return scale(*(json.loads(Path(name).read_text().split("\n}")[0] + "}") for name in sys.argv[2:]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--repositories", type=int, default=2000)
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--changing", type=float, default=1.0, help="percent a minute")
    parser.add_argument("--interval", type=int, nargs=2, default=(30, 60), metavar=("MIN", "MAX"))
    args = parser.parse_args()
    program = Path(args.program).resolve()
    draw = random.Random(1)
    with tempfile.TemporaryDirectory() as directory:
        directory = Path(directory)
        (directory / "served").mkdir()
        fleet = Fleet(directory / "served", args.repositories)
        server = serve(fleet)
        url = f"http://127.0.0.1:{server.server_port}"
        (directory / "names").write_text("".join(f"{n}.git\n" for n in range(args.repositories)))
        begun = time.time()
        watch = Watch(program, directory, url, args.interval)
        try:
            while watch.metrics()['gitlode_repositories{condition="current"}'] < args.repositories:
                time.sleep(0.5)
            figures = {
                "repositories": args.repositories,
                "interval": args.interval,
                "first": {
                    "seconds": round(time.time() - begun, 1),
                    "cpu_seconds": round(watch.cpu(), 1),
                    "rss_max_mb": round(watch.memory("VmHWM"), 1),
                    "index_mb": round((directory / "store/index.sqlite").stat().st_size / 1e6, 2),
                },
            }

            def rest(until):
                time.sleep(max(0, until - time.time()))
                return {}

            def change(hooked):
                def act(until):
                    pushed = {}
                    pause = 60 / (args.repositories * args.changing / 100)
                    fresh = draw.sample(range(args.repositories), args.repositories)
                    while time.time() < until and fresh:
                        n = fresh.pop()
                        fleet.push(n)
                        pushed[n] = time.time()
                        if hooked:
                            watch.hook(url, n)
                        time.sleep(pause)
                    # What was pushed last gets the time that its interval takes.
                    deadline = time.time() + 2 * args.interval[1]
                    while time.time() < deadline:
                        with watch.lock:
                            if pushed.keys() <= {n for n, _ in watch.rows}:
                                break
                        time.sleep(0.1)
                    return pushed

                return act

            figures["rest"] = measure(watch, args.seconds, rest)
            figures["polled"] = measure(watch, args.seconds, change(False))
            figures["hooked"] = measure(watch, args.seconds, change(True))
            print(json.dumps(figures, indent=1))
            bad = [kind for kind, count in watch.metrics().items() if kind.startswith("gitlode_errors") and count]
            if bad:
                sys.exit(f"failures: {bad}")
        finally:
            watch.process.terminate()
            watch.process.wait()
            server.shutdown()


if __name__ == "__main__":
    main()
