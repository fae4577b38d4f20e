#!/usr/bin/env python3
"""`pull` of GGUF files that lie on a web server, whole and in parts, and of a split model in a repository like Hugging Face's:
resumed, verified, never a mixture of two versions; and what is refused leaves nothing.

usage: files_test.py OLLAMAX SOURCE_DIR [unittest arguments]
"""
import hashlib
import http.server
import json
import os
import pathlib
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

OLLAMAX = sys.argv.pop(1)
SOURCE = pathlib.Path(sys.argv.pop(1))
MIB = 1 << 20


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def gguf(tensors, split=None, seed=1):
    """A GGUF file of F32 tensors {name: number of elements}; split: (number from 0, of how many, tensors in all)."""
    keys = [text("general.architecture") + struct.pack("<I", 8) + text("llama")] if split is None or split[0] == 0 else []
    if split is not None:
        keys += [text(key) + struct.pack("<IH", 2, value) for key, value in (("split.no", split[0]), ("split.count", split[1]))]
        keys += [text("split.tensors.count") + struct.pack("<Ii", 5, split[2])]
    infos, data = b"", b""
    for name, n in tensors.items():
        infos += text(name) + struct.pack("<IQIQ", 1, n, 0, len(data))
        data += random.Random(f"{seed} {name}").randbytes(4 * n)
        data += bytes(-len(data) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)) + b"".join(keys) + infos
    return head + bytes(-len(head) % 32) + data


WHOLE = {"a": 2 * MIB, "b": 100, "c": MIB}
PARTS = [gguf({"a": 2 * MIB}, (0, 3, 3)), gguf({"b": 100}, (1, 3, 3)), gguf({"c": MIB}, (2, 3, 3))]


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Files:
    """A web server: path -> (bytes, headers). Knows ranges and If-Range."""

    def __init__(self, address="127.0.0.1"):
        self.files, self.requests = {}, []
        self.n_sent = 0
        self.cut_after = []   # of the next answers: how many bytes until the connection breaks
        self.delay = 0.0      # between pieces
        self.on_piece = None  # called while a body is sent
        lock = threading.Lock()
        files = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                with lock:
                    files.requests.append((self.path, self.headers.get("Range")))
                    status, body, headers = files.answer(self.path, self.headers)
                    cut = files.cut_after.pop(0) if files.cut_after and len(body) > 1 else None
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                for begin in range(0, len(body), 65536):
                    piece = body[begin:begin + 65536]
                    if cut is not None and begin + len(piece) > cut:
                        self.wfile.write(piece[:max(0, cut - begin)])
                        self.wfile.flush()
                        self.connection.shutdown(socket.SHUT_RDWR)
                        return
                    self.wfile.write(piece)
                    with lock:
                        files.n_sent += len(piece)
                    if files.on_piece:
                        files.on_piece(begin)
                    time.sleep(files.delay)

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            address_family = socket.AF_INET6 if ":" in address else socket.AF_INET

            def handle_error(self, *_):  # clients that are killed
                pass

        self.server = Server((address, 0), Handler)
        self.host = f"{f'[{address}]' if ':' in address else address}:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, path, asked):
        if path not in self.files:
            return 404, b"no such page", {}
        data, headers = self.files[path]
        if "status" in headers:
            return headers["status"], data, {}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", asked.get("Range", ""))
        if not wanted or asked.get("If-Range", headers.get("ETag")) != headers.get("ETag"):
            return 200, data, headers
        first, last = int(wanted[1]), min(int(wanted[2]), len(data) - 1)
        return 206, data[first:last + 1], dict(headers, **{"Content-Range": f"bytes {first}-{last}/{len(data)}"})

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = pathlib.Path(self.folder.name)
        self.models = self.root / "models"
        self.files = Files()
        self.env = {"PATH": os.environ["PATH"], "HOME": str(self.root / "home"), "OLLAMA_MODELS": str(self.models), "OLLAMA_HOST": "127.0.0.1:1",
                    "OLLAMAX_REGISTRY_STALL_MS": "5000", "OLLAMAX_REGISTRY_RETRY_MS": "20", "OLLAMAX_SPARE_DISK_MIB": "1"}

    def tearDown(self):
        self.files.close()
        self.folder.cleanup()

    def url(self, path):
        return f"http://{self.files.host}{path}"

    def run_it(self, *words):
        return subprocess.run([OLLAMAX, *words], capture_output=True, text=True, env=self.env, timeout=120)

    def pull(self, what):
        return self.run_it("pull", "--insecure", what)

    def check_model(self, done, name, data):
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("success", done.stderr)
        manifest = json.loads((self.models / "manifests/registry.ollama.ai/library" / name / "latest").read_text()) if "/" not in name else \
            json.loads((self.models / "manifests" / name).read_text())
        weights = [layer for layer in manifest["layers"] if layer["mediaType"] == "application/vnd.ollama.image.model"]
        self.assertEqual([(layer["digest"], layer["size"]) for layer in weights], [("sha256:" + sha256(data), len(data))])
        self.assertEqual((self.models / "blobs" / ("sha256-" + sha256(data))).read_bytes(), data)
        self.check_clean(2)  # weights and config: no part stays

    def check_clean(self, n_blobs):
        self.assertEqual(len(list((self.models / "blobs").iterdir())), n_blobs)
        self.assertEqual([path.name for path in (self.models / ".ollamax/tmp").iterdir()], [])
        self.assertEqual(self.run_it("fsck", "--hash").returncode, 0)

    def check_refused(self, done, why):
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(why, done.stderr)
        self.assertNotIn(str(self.root), done.stderr)
        self.check_clean(0)

    def test_a_file_becomes_a_model_of_its_name(self):
        data = gguf(WHOLE)
        self.files.files["/a/My%20Model.Q4_0.gguf"] = (data, {"ETag": '"1"'})
        done = self.pull(self.url("/a/My%20Model.Q4_0.gguf"))
        self.check_model(done, "My-20Model.Q4_0", data)
        self.assertIn("The model's name is My-20Model.Q4_0", done.stderr)
        self.assertIn("My-20Model.Q4_0:latest", self.run_it("list").stdout)
        self.assertLess(self.files.n_sent, len(data) + 64)

    def test_without_tls_it_must_be_asked_for(self):
        self.files.files["/m.gguf"] = (gguf(WHOLE), {})
        done = self.run_it("pull", self.url("/m.gguf"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("insecure protocol http", done.stderr)
        self.assertEqual(self.files.requests, [])

    def test_a_broken_connection_goes_on_where_it_was(self):
        data = gguf(WHOLE)
        for headers in ({"ETag": '"1"'}, {}):
            self.files.files["/m.gguf"] = (data, headers)
            self.files.cut_after = [3 * MIB, 2 * MIB, 100]
            self.files.n_sent = 0
            self.check_model(self.pull(self.url("/m.gguf")), "m", data)
            self.assertLess(self.files.n_sent, len(data) + 3 * 2 * MIB)
            self.assertEqual(self.run_it("rm", "m").returncode, 0)

    def kill_in_the_middle(self):
        self.files.delay = 0.01
        process = subprocess.Popen([OLLAMAX, "pull", "--insecure", self.url("/m.gguf")], env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        begun = self.files.n_sent
        while self.files.n_sent < begun + 6 * MIB:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.files.delay = 0.0
        self.files.n_sent = 0

    def test_T73_a_killed_pull_goes_on_where_an_etag_says_it_is_the_same_file(self):
        data = gguf(WHOLE)
        self.files.files["/m.gguf"] = (data, {"ETag": '"1"'})
        self.kill_in_the_middle()
        self.check_model(self.pull(self.url("/m.gguf")), "m", data)
        self.assertLess(self.files.n_sent, len(data) - 3 * MIB)

    def test_a_host_may_be_an_ipv6_address(self):
        try:
            other = Files("::1")
        except OSError as error:
            self.skipTest(f"no IPv6 on loopback: {error}")
        self.addCleanup(other.close)
        data = gguf(WHOLE)
        other.files["/m.gguf"] = (data, {"ETag": '"1"'})
        self.check_model(self.pull(f"http://{other.host}/m.gguf"), "m", data)

    def test_a_model_that_has_the_files_name_is_not_replaced(self):
        data, other = gguf(WHOLE), gguf(WHOLE, seed=3)
        for name, content in (("m.gguf", data), ("n.gguf", other)):
            self.files.files[f"/{name}"] = (content, {"ETag": f'"{name}"'})
        (self.root / "local.gguf").write_bytes(other)
        (self.root / "Modelfile").write_text("FROM ./local.gguf\nSYSTEM You are mine.\n")
        self.assertEqual(self.run_it("create", "m", "-f", str(self.root / "Modelfile")).returncode, 0)
        (self.root / "m.gguf").write_bytes(data)
        for words in (("pull", "--insecure", self.url("/m.gguf")), ("pull", str(self.root / "m.gguf")), ("run", str(self.root / "m.gguf"), "hi")):
            done = self.run_it(*words)
            self.assertEqual(done.returncode, 1, words)
            self.assertIn("a model 'm:latest' is already there", done.stderr)
        self.assertEqual(self.files.n_sent, 0)
        self.assertIn("You are mine.", self.run_it("show", "m").stdout)
        self.assertEqual(len(list((self.models / "blobs").iterdir())), 3)  # weights, system text, config
        self.assertEqual(self.run_it("rm", "m").returncode, 0)
        self.check_model(self.pull(self.url("/m.gguf")), "m", data)

    def test_what_could_not_be_gone_on_with_is_not_kept(self):
        self.files.files["/m.gguf"] = (gguf(WHOLE), {})  # no ETag: the next time it may be another file
        self.files.cut_after = [3 * MIB] + 20 * [100]
        self.check_refused(self.pull(self.url("/m.gguf")), "max retries exceeded")
        self.files.cut_after = []
        self.kill_in_the_middle()
        self.assertEqual(len([path for path in (self.models / ".ollamax/tmp").iterdir() if path.name.endswith(".part")]), 1)
        self.run_it("list")  # a start
        self.check_clean(0)

    def test_another_version_is_fetched_from_its_start(self):
        self.files.files["/m.gguf"] = (gguf(WHOLE), {"ETag": '"1"'})
        self.kill_in_the_middle()
        newer = gguf(WHOLE, seed=2)
        self.files.files["/m.gguf"] = (newer, {"ETag": '"2"'})
        done = self.pull(self.url("/m.gguf"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual((self.models / "blobs" / ("sha256-" + sha256(newer))).read_bytes(), newer)

    def test_a_file_that_changes_while_it_comes_is_no_mixture(self):
        older, newer = gguf(WHOLE), gguf(WHOLE, seed=2)
        self.files.files["/m.gguf"] = (older, {"ETag": '"1"'})
        self.files.cut_after = [3 * MIB]

        def change(begin):
            if begin > 2 * MIB:
                self.files.files["/m.gguf"] = (newer, {"ETag": '"2"'})

        self.files.on_piece = change
        self.check_model(self.pull(self.url("/m.gguf")), "m", newer)

    def test_a_digest_that_the_server_names_is_held_against_the_bytes(self):
        data = gguf(WHOLE)
        self.files.files["/m.gguf"] = (data, {"X-Linked-ETag": f'"{sha256(data)}"', "ETag": '"x"'})
        self.check_model(self.pull(self.url("/m.gguf")), "m", data)
        self.run_it("rm", "m")
        self.files.files["/m.gguf"] = (data, {"X-Linked-ETag": f'"{sha256(b"other")}"'})
        self.check_refused(self.pull(self.url("/m.gguf")), "digest mismatch")

    def test_what_is_no_gguf_leaves_nothing(self):
        self.files.files["/page.gguf"] = (b"<html>sign in</html>" * 1000, {"ETag": '"1"'})
        self.check_refused(self.pull(self.url("/page.gguf")), "not in GGUF format")
        self.check_refused(self.pull(self.url("/absent.gguf")), "file does not exist")
        self.files.files["/empty.gguf"] = (b"", {})
        self.check_refused(self.pull(self.url("/empty.gguf")), "does not say how long the file is")

    def test_T12_parts_are_fetched_and_merged(self):
        for number, part in enumerate(PARTS, 1):
            self.files.files[f"/d/m-0000{number}-of-00003.gguf?download=true"] = (part, {"ETag": f'"{number}"'})
        self.check_model(self.pull(self.url("/d/m-00001-of-00003.gguf?download=true")), "m", gguf(WHOLE))
        self.run_it("rm", "m")
        self.files.files["/d/m-00002-of-00003.gguf?download=true"] = (PARTS[2], {"ETag": '"2"'})
        self.check_refused(self.pull(self.url("/d/m-00001-of-00003.gguf?download=true")), "expected part 2 of 3, got part 3 of 3")
        del self.files.files["/d/m-00002-of-00003.gguf?download=true"]
        self.check_refused(self.pull(self.url("/d/m-00001-of-00003.gguf?download=true")), "file does not exist")

    def repository(self, change=lambda listing: None):
        base = "/api/models/team/repo/tree/main?recursive=true"
        for tag in ("Q4_K_M", "UD-Q8_0", "latest"):
            refusal = {"error": "The specified tag is a sharded GGUF. Ollama does not support this yet."}
            self.files.files[f"/v2/team/repo/manifests/{tag}"] = (json.dumps(refusal).encode(), {"status": 400})
        listing = [{"type": "directory", "path": "UD-Q8_0"}, {"type": "file", "path": "README.md", "size": 5}]
        for folder, stem in (("", "repo-Q4_K_M"), ("UD-Q8_0/", "repo-UD-Q8_0")):
            for number, part in enumerate(PARTS, 1):
                path = f"{folder}{stem}-0000{number}-of-00003.gguf"
                listing.append({"type": "file", "path": path, "size": len(part), "oid": "0" * 40, "lfs": {"oid": sha256(part), "size": len(part), "pointerSize": 134}})
                self.files.files[f"/team/repo/resolve/main/{path}"] = (part, {})
        change(listing)
        self.files.files[base] = (json.dumps(listing).encode(), {})
        return f"{self.files.host}/team/repo"

    def test_T12_a_split_quantization_of_a_repository(self):
        name = self.repository()
        for tag in ("Q4_K_M", "UD-Q8_0", "latest"):
            self.check_model(self.pull(f"{name}:{tag}"), f"{name}/{tag}", gguf(WHOLE))
            self.assertEqual(self.run_it("rm", f"{name}:{tag}").returncode, 0)
        self.assertIn("no split model", self.no_tag(name, "Q4_K"))

    def no_tag(self, name, tag):
        self.files.files[f"/v2/team/repo/manifests/{tag}"] = self.files.files["/v2/team/repo/manifests/Q4_K_M"]
        done = self.pull(f"{name}:{tag}")
        self.assertEqual(done.returncode, 1)
        return done.stderr

    def test_T12_a_repository_whose_parts_do_not_fit(self):
        def swap(listing):
            listing[2]["lfs"], listing[3]["lfs"] = listing[3]["lfs"], listing[2]["lfs"]

        done = self.pull(self.repository(swap) + ":Q4_K_M")  # nothing is known to be wrong with what came so far: it may be gone on with
        self.assertEqual(done.returncode, 1)
        self.assertIn("expected Content-Range", done.stderr)
        self.assertEqual(list((self.models / "blobs").iterdir()), [])
        for left in (self.models / ".ollamax/tmp").iterdir():
            left.unlink()
        name = self.repository(lambda listing: listing.pop(3))
        self.check_refused(self.pull(name + ":Q4_K_M"), "the repository lacks repo-Q4_K_M-00002-of-00003.gguf")
        name = self.repository(lambda listing: listing[2]["lfs"].update(oid="../../../etc/passwd"))
        self.check_refused(self.pull(name + ":Q4_K_M"), "the repository lacks repo-Q4_K_M-00001-of-00003.gguf")


if __name__ == "__main__":
    unittest.main(verbosity=2)
