#!/usr/bin/env python3
"""`push` and `pull` with a real registry: Debian's docker-registry on loopback, plain, with TLS, and with token auth.

usage: docker_registry_test.py OLLAMAX SOURCE_DIR     exit 77: something it needs is missing (said on standard output)
"""
import base64
import hashlib
import http.client
import http.server
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.parse

OLLAMAX = sys.argv.pop(1)
SOURCE = pathlib.Path(sys.argv.pop(1))
sys.path.insert(0, str(SOURCE / "tests/support"))
from docker_registry import DockerRegistry  # noqa: E402

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
SMOLLM2 = pathlib.Path(os.environ.get("OLLAMAX_TEST_MODELS", CACHE / "ollamax/models")) / "SmolLM2-135M-Instruct.Q4_1.gguf"


def openssl(*words, stdin=None):
    return subprocess.run(["openssl", *words], input=stdin, capture_output=True, check=True).stdout


def unpadded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class TokenFront:
    """A registry that wants a token: gives them at /token to whoever signs rightly, and hands the rest on to docker-registry."""

    def __init__(self, certificate, key):
        self.certificate, self.key = certificate, key
        self.identities, self.refused = [], []
        self.backend_port = None
        front = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def hand_on(self):
                if self.path.startswith("/token"):
                    return self.give_token()
                connection = http.client.HTTPConnection("127.0.0.1", front.backend_port)
                length = int(self.headers.get("Content-Length", 0))
                connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    connection.putheader(name, value)
                connection.endheaders()
                while length > 0:
                    piece = self.rfile.read(min(length, 1 << 20))
                    length -= len(piece)
                    connection.send(piece)
                answer = connection.getresponse()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    self.send_header(name, value)
                self.end_headers()
                while piece := answer.read(1 << 20):
                    self.wfile.write(piece)
                connection.close()

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = hand_on

            def give_token(self):
                query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
                keys = [part.split("=")[0] for part in urllib.parse.urlsplit(self.path).query.split("&")]
                key, signature = self.headers.get("Authorization", ":").split(":")
                url = f"http://{self.headers['Host']}{self.path}"
                is_right = front.is_signed(key, signature, url) and keys == sorted(keys) and len(query["nonce"][0]) == 22 and \
                    abs(int(query["ts"][0]) - time.time()) < 60
                (front.identities if is_right else front.refused).append(key)
                if not is_right:
                    self.send_response(401)
                    self.send_header("Content-Length", "0")
                    return self.end_headers()
                body = json.dumps({"token": front.token(query)}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.host = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @staticmethod
    def is_signed(key, signature, url):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            blob = base64.b64decode(key)
            if not blob.startswith(b"\0\0\0\x0bssh-ed25519\0\0\0 ") or len(blob) != 51:
                return False
            (root / "key").write_bytes(bytes.fromhex("302a300506032b6570032100") + blob[-32:])
            nothing = base64.b64encode(hashlib.sha256(b"").hexdigest().encode()).decode()
            (root / "text").write_text(f"GET,{url},{nothing}")
            (root / "signature").write_bytes(base64.b64decode(signature))
            return subprocess.run(["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", root / "key", "-rawin", "-in", root / "text",
                                   "-sigfile", root / "signature"], capture_output=True).returncode == 0

    def token(self, query):
        der = openssl("x509", "-in", self.certificate, "-outform", "DER")
        access = []
        for scope in query.get("scope", []):
            kind, name, actions = scope.split(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        now = int(time.time())
        head = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}
        claims = {"iss": "issuer", "sub": "", "aud": "test", "exp": now + 300, "nbf": now - 10, "iat": now, "jti": "1", "access": access}
        text = unpadded(json.dumps(head).encode()) + "." + unpadded(json.dumps(claims).encode())
        return text + "." + unpadded(openssl("dgst", "-sha256", "-sign", str(self.key), stdin=text.encode()))

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Docker(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.root = pathlib.Path(cls.folder.name)
        cls.certificate, cls.key = cls.root / "cert.pem", cls.root / "key.pem"
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(cls.key), "-out", str(cls.certificate), "-days", "2", "-subj", "/CN=127.0.0.1",
                "-addext", "subjectAltName=IP:127.0.0.1")
        (cls.root / "Modelfile").write_text(f"FROM {SMOLLM2}\nSYSTEM You are terse.\nPARAMETER temperature 0\n")
        cls.made = cls.program("store", "create", "tiny", "-f", str(cls.root / "Modelfile"))

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def environment(cls, store, **more):
        return dict({"PATH": os.environ["PATH"], "HOME": str(cls.root / "home"), "OLLAMA_MODELS": str(cls.root / store), "OLLAMA_HOST": "127.0.0.1:1"}, **more)

    @classmethod
    def program(cls, store, *words, fails=False, **env):
        done = subprocess.run([OLLAMAX, *words], capture_output=True, text=True, env=cls.environment(store, **env), timeout=200)
        assert (done.returncode != 0) == fails, (words, done)
        return done

    def row_of(self, store, name):
        lines = [line.split() for line in self.program(store, "list").stdout.splitlines() if line.startswith(name)]
        return lines[0][1] if lines else None

    def check_round_trip(self, registry, name, *flags, requests, **env):
        self.program("store", "cp", "tiny", name)
        pushed = self.program("store", "push", *flags, name, **env)
        self.assertIn("success", pushed.stderr)
        self.assertIn("You can find your model at:", pushed.stderr)
        other = f"other-{time.monotonic_ns()}"
        self.program(other, "pull", *flags, name, **env)
        self.assertEqual(self.row_of(other, name), self.row_of("store", name))
        original = self.root / "store/manifests" / name.replace(":v1", "/v1")
        self.assertEqual((self.root / other / "manifests" / name.replace(":v1", "/v1")).read_bytes(), original.read_bytes())
        answer = self.program(other, "run", name, "What is the capital of France? Answer in one word.")
        self.assertIn("Paris", answer.stdout)

        n_before = len(requests())  # pushed and pulled again: nothing but heads and manifests travels
        self.program("store", "push", *flags, name, **env)
        self.program(other, "pull", *flags, name, **env)
        again = requests()[n_before:]
        self.assertFalse([entry for entry in again if entry[0] in ("POST", "PATCH")], again)
        self.assertFalse([entry for entry in again if entry[0] == "GET" and "/blobs/" in entry[1]], again)

        self.program(other, "rm", name)
        self.assertIsNone(self.row_of(other, name))
        self.assertEqual(list((self.root / other / "blobs").iterdir()), [])
        self.program(other, "pull", *flags, name, **env)  # by another process, from the start
        self.assertEqual(self.row_of(other, name), self.row_of("store", name))
        shutil.rmtree(self.root / other)

    def test_plain(self):
        registry = DockerRegistry(self.root / "plain")
        self.addCleanup(registry.close)
        self.check_round_trip(registry, f"{registry.host}/library/tiny:v1", "--insecure", requests=registry.requests)
        sent = sum(size for method, path, _, size in registry.requests() if method == "GET" and "/blobs/" in path)
        manifest = json.loads((self.root / "store/manifests" / registry.host / "library/tiny/v1").read_text())
        whole = sum(layer["size"] for layer in [manifest["config"], *manifest["layers"]])
        self.assertEqual(sent, 2 * whole)  # pulled twice from the start, and not a byte more
        mounted_from = len(registry.requests())
        self.program("store", "push", "--insecure", f"{registry.host}/library/tiny:v1")
        self.assertFalse([entry for entry in registry.requests()[mounted_from:] if entry[0] == "PATCH"])
        self.assertIn("file does not exist", self.program("store", "pull", "--insecure", f"{registry.host}/library/absent", fails=True).stderr)

    def test_run_pulls_and_what_is_stale_is_listed_and_updated(self):
        registry = DockerRegistry(self.root / "stale")
        self.addCleanup(registry.close)
        name = f"{registry.host}/library/tiny:v1"
        self.program("store", "cp", "tiny", name)
        self.program("store", "push", "--insecure", name)
        self.assertIn("Paris", self.program("stale", "run", "--insecure", name, "What is the capital of France? Answer in one word.").stdout)
        self.program("stale", "cp", name, f"{registry.host}/library/mine")
        stale = self.program("stale", "list", "--stale", "--insecure")
        self.assertEqual(len(stale.stdout.splitlines()), 1, stale)
        self.assertIn("mine:latest: not known: pull model manifest: file does not exist", stale.stderr)
        (self.root / "New").write_text(f"FROM {name}\nSYSTEM You are new.\n")
        self.program("store", "create", name, "-f", str(self.root / "New"))
        self.program("store", "push", "--insecure", name)
        self.assertIn(name, self.program("stale", "list", "--stale", "--insecure").stdout)
        self.program("stale", "pull", "--all", "--insecure")
        self.assertNotIn(name, self.program("stale", "list", "--stale", "--insecure").stdout)
        self.assertIn("You are new.", self.program("stale", "show", name).stdout)

    def test_what_was_made_here_is_not_asked_for_nor_replaced(self):
        asked = []

        class Proxy(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append(self.path)
                self.send_error(404)

            def log_message(self, *_):
                pass

        proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        self.addCleanup(proxy.server_close)
        self.addCleanup(proxy.shutdown)
        env = {"HTTP_PROXY": f"http://127.0.0.1:{proxy.server_address[1]}"}
        self.program("mine", "create", "mistral", "-f", str(self.root / "Modelfile"))
        for name in ("team/mistral", "mistral:pulled"):
            self.program("mine", "cp", "mistral", name)
        pulled = self.root / "mine/manifests/registry.ollama.ai/library/mistral/pulled"
        pulled.write_bytes(pulled.read_bytes().rstrip(b"\n"))  # as the library's registry sends it
        self.program("mine", "cp", "mistral:pulled", "copied")  # the same bytes, under a name that is not the library's
        stale = self.program("mine", "list", "--stale", "--insecure", **env)
        self.assertFalse([line for line in stale.stderr.splitlines() if line.startswith("mistral:latest")], stale)
        updated = self.program("mine", "pull", "--all", "--insecure", **env)
        for name in ("mistral:latest", "copied:latest"):
            self.assertIn(f"{name}: not updated: it was made on this machine", updated.stderr)
        self.assertEqual(sorted(set(asked)), [f"http://registry.ollama.ai/v2/{path}" for path in ("library/mistral/manifests/pulled", "team/mistral/manifests/latest")])
        shutil.rmtree(self.root / "mine")

    def test_blobs_of_the_same_registry_are_mounted(self):
        registry = DockerRegistry(self.root / "mount")
        self.addCleanup(registry.close)
        base, derived = f"{registry.host}/library/base:v1", f"{registry.host}/library/derived:v1"
        self.program("store", "cp", "tiny", base)
        self.program("store", "push", "--insecure", base)
        (self.root / "Derived").write_text(f"FROM {base}\nSYSTEM You are verbose.\n")
        self.program("store", "create", derived, "-f", str(self.root / "Derived"))
        n_before = len(registry.requests())
        self.program("store", "push", "--insecure", derived)
        requests = registry.requests()[n_before:]
        self.assertTrue([entry for entry in requests if entry[0] == "POST" and "mount=" in entry[1] and entry[2] == 201], requests)

    def test_tls(self):
        registry = DockerRegistry(self.root / "tls", tls=(self.certificate, self.key))
        self.addCleanup(registry.close)
        name = f"{registry.host}/library/tiny:v1"
        self.check_round_trip(registry, name, requests=registry.requests, SSL_CERT_FILE=str(self.certificate))
        refused = self.program("store", "pull", name, fails=True).stderr  # a certificate the system does not know
        self.assertIn("certificate", refused)
        (self.root / "FromRegistry").write_text(f"FROM {name}\nSYSTEM You are new.\n")  # what is not here is pulled
        created = self.program("created", "create", "mine", "-f", str(self.root / "FromRegistry"), SSL_CERT_FILE=str(self.certificate))
        self.assertEqual(created.stderr.count("success"), 1, created.stderr)
        self.assertIn("pulling manifest", created.stderr)
        self.assertIsNotNone(self.row_of("created", "mine"))
        wrong_host = f"localhost:{registry.port}/library/tiny:v1"
        self.assertIn("certificate", self.program("store", "pull", wrong_host, fails=True, SSL_CERT_FILE=str(self.certificate)).stderr)
        plain = self.program("store", "pull", "--insecure", name, fails=True, SSL_CERT_FILE=str(self.certificate)).stderr
        self.assertIn("400", plain)  # --insecure means plain HTTP

    def test_tokens(self):
        front = TokenFront(self.certificate, self.key)
        registry = DockerRegistry(self.root / "token", realm=f"http://{front.host}/token", certificate=self.certificate)
        front.backend_port = registry.port
        self.addCleanup(registry.close)
        self.addCleanup(front.close)
        self.check_round_trip(registry, f"{front.host}/library/tiny:v1", "--insecure", requests=registry.requests)
        self.assertEqual(front.refused, [])
        public = (self.root / "home/.ollama/id_ed25519.pub").read_text().split()
        self.assertEqual(set(front.identities), {public[1]})
        private = self.root / "home/.ollama/id_ed25519"
        self.assertEqual(private.stat().st_mode & 0o777, 0o600)  # T-72
        if shutil.which("ssh-keygen"):
            derived = subprocess.run(["ssh-keygen", "-y", "-f", private], capture_output=True, text=True).stdout.split()
            self.assertEqual(derived[:2], public[:2])


if __name__ == "__main__":
    for program in ("docker-registry", "openssl"):
        if not shutil.which(program):
            print(f"not found: {program} (tools/setup test installs it)")
            sys.exit(77)
    if not SMOLLM2.exists():
        print(f"not found: {SMOLLM2} (tools/fetch_model fetches it)")
        sys.exit(77)
    unittest.main(verbosity=2)
