"""A small Hugging Face Hub on loopback: what uploads of datasets ask of it, for the real clients.

usage: fake_hub.py DIRECTORY [MODE]

Prints its port and serves until its standard input ends. Contents of large files go to DIRECTORY/cas, by the real Xet
client. GET /state tells what it holds. MODE: `basic` offers no Xet, `unauthorized` knows no token, `moving` gets a
commit of somebody else after each look at the tree.
"""

import base64
import hashlib
import http.server
import json
import pathlib
import re
import sys
import threading
import time

directory, mode = pathlib.Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""
cas = directory / "cas"
cas.mkdir(parents=True, exist_ok=True)
# Of each repository its files, and its commits.
repositories: dict[str, dict] = {}


def blob(contents: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(contents) + contents).hexdigest()


class Hub(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status: int, value, headers: dict[str, str] = {}) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def repository(self) -> dict | None:
        found = re.match(r"/(?:api/)?datasets/([^/]+/[^/.]+)", self.path)
        return repositories.get(found[1]) if found else None

    def refused(self) -> bool:
        if mode != "unauthorized" and self.headers.get("Authorization") == "Bearer secret":
            return False
        self.answer(401, {"error": "Invalid credentials"})
        return True

    def do_GET(self) -> None:
        if self.path == "/state":
            return self.answer(200, repositories)
        if self.refused():
            return None
        repository = self.repository()
        if repository is None:
            return self.answer(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        if "/tree/" in self.path:
            files = repository["files"].items()
            entries = [{"type": "file", "path": path, **file} for path, file in sorted(files)]
            if mode == "moving":
                repository["commits"].append({"summary": "Change it by hand", "files": []})
            return self.answer(200, entries)
        if "/xet-write-token/" in self.path:
            url, until = f"local://{cas}", int(time.time()) + 3600
            headers = {"X-Xet-Cas-Url": url, "X-Xet-Access-Token": "t", "X-Xet-Token-Expiration": str(until)}
            return self.answer(200, {"accessToken": "t", "exp": until, "casUrl": url}, headers)
        name = self.path.split("/")[3:5]
        return self.answer(200, {"_id": "1", "id": "/".join(name), "sha": self.sha(repository), "siblings": []})

    def sha(self, repository: dict) -> str:
        return hashlib.sha1(str(len(repository["commits"])).encode()).hexdigest()

    def do_POST(self) -> None:
        body = self.body()
        if self.refused():
            return None
        if self.path == "/api/repos/create":
            wanted = json.loads(body)
            name = f"{wanted.get('organization') or 'me'}/{wanted['name']}"
            known = name in repositories
            repositories.setdefault(name, {"files": {}, "commits": [], "private": wanted.get("private")})
            return self.answer(409 if known else 200, {"url": f"http://{self.headers['Host']}/datasets/{name}"})
        if self.path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        repository = self.repository()
        if repository is None:
            return self.answer(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        if "/preupload/" in self.path:
            files = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(".parquet") else "regular",
                    "shouldIgnore": False,
                }
                for file in json.loads(body)["files"]
            ]
            return self.answer(200, {"files": files})
        if self.path.endswith("/info/lfs/objects/batch"):
            transfer = "basic" if mode == "basic" else "xet"
            objects = [{**one, "authenticated": True} for one in json.loads(body)["objects"]]
            return self.answer(200, {"transfer": transfer, "objects": objects})
        if "/commit/" in self.path:
            return self.commit(repository, [json.loads(line) for line in body.splitlines() if line.strip()])
        return self.answer(404, {"error": f"there is no {self.path}"})

    def commit(self, repository: dict, lines: list[dict]) -> None:
        header, *operations = lines
        parent = header["value"].get("parentCommit")
        if parent and parent != self.sha(repository):
            return self.answer(412, {"error": "A commit has happened since. Please refresh and try again."})
        for line in operations:
            value = line["value"]
            if line["key"] == "deletedFile":
                del repository["files"][value["path"]]
            elif line["key"] == "file":
                contents = base64.b64decode(value["content"])
                repository["files"][value["path"]] = {"oid": blob(contents), "size": len(contents)}
            else:
                oid, size = value["oid"], value["size"]
                pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n"
                lfs = {"oid": oid, "size": size, "pointerSize": len(pointer)}
                repository["files"][value["path"]] = {"oid": blob(pointer.encode()), "size": size, "lfs": lfs}
        paths = [[line["key"], line["value"]["path"]] for line in operations]
        repository["commits"].append({"summary": header["value"]["summary"], "files": paths})
        name = "/".join(self.path.split("/")[3:5])
        url = f"http://{self.headers['Host']}/datasets/{name}/commit/{self.sha(repository)}"
        return self.answer(200, {"success": True, "commitOid": self.sha(repository), "commitUrl": url, "hookOutput": ""})


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
sys.stdin.read()
