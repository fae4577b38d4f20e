"""A registry that does wrong on purpose, for the tests of the registry client. Serves one model under any name; the tag says
what goes wrong ("tag": behaviour in the table below). Counts what it sends and what it is sent; knows every Authorization header."""
import gzip
import hashlib
import http.server
import json
import random
import re
import socket
import threading
import time

MIB = 1 << 20


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Listener(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # a pull comes with many connections at once


class Registry:
    """`layers`: media type -> bytes; the first is the large one that behaviours are about."""

    def __init__(self, layers, config, other=None):
        self.blobs = {sha256(data): data for data in [config, *layers.values()]}
        self.manifest = {"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
                         "config": self.describe("application/vnd.docker.container.image.v1+json", config),
                         "layers": [self.describe(kind, data) for kind, data in layers.items()]}
        self.large = self.manifest["layers"][0]["digest"]
        self.other = other          # an origin that is not this one
        self.lock = threading.Lock()
        self.requests = []          # (method, path, headers)
        self.sent = {}              # digest -> body bytes
        self.tries = {}             # path and range -> count
        self.n_sending = self.most_sending = 0  # pieces of the large blob on their way at once
        self.random = random.Random()
        self.delay = 0.0            # between pieces of 64 KiB, for those who want to be killed in the middle
        self.server = Listener(("127.0.0.1", 0), self.handler())
        self.port = self.server.server_address[1]
        self.host = f"127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @staticmethod
    def describe(kind, data):
        return {"mediaType": kind, "digest": sha256(data), "size": len(data)}

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def bytes_sent(self, digest=None):
        with self.lock:
            return self.sent.get(digest, 0) if digest else sum(self.sent.values())

    def token(self):
        # Those of tokens-expire hold until a third of the blob has been sent.
        return "secret" if self.bytes_sent(self.large) * 3 < len(self.blobs[self.large]) else "newer"

    def forget(self):
        with self.lock:
            self.requests.clear()
            self.sent.clear()
            self.tries.clear()

    def manifest_for(self, tag):
        manifest = json.loads(json.dumps(self.manifest))
        first = manifest["layers"][0]
        if tag == "bad-digest-path":
            first["digest"] = "sha256:../../../../../../tmp/evil"
        elif tag == "empty-digest":
            first["digest"] = ""
        elif tag == "upper-slash":
            first["digest"] = "sha256:" + "/" * 64
        elif tag == "null-digest":
            first["digest"] = None
        elif tag == "negative-size":
            first["size"] = -1
        elif tag == "size-lie-small":
            first["size"] = 1024
        elif tag == "size-lie-large":
            first["size"] = 1 << 50
        elif tag == "two-sizes":
            manifest["layers"].append(dict(first, size=first["size"] + 1))
        elif tag == "duplicate":
            manifest["layers"].append(dict(manifest["config"], mediaType="application/vnd.ollama.image.license"))
        elif tag == "long-params":
            manifest["layers"].append({"mediaType": "application/vnd.ollama.image.params", "digest": "sha256:" + "1" * 64, "size": (64 << 10) + 1})
        elif tag == "many-layers":
            manifest["layers"] = [first] * 4097
        return manifest

    def handler(registry):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self, status, body=b"", **headers):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                if "Content_Length" not in headers:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def do_HEAD(self):
                self.do_GET()

            def do_GET(self):
                with registry.lock:
                    registry.requests.append((self.command, self.path, dict(self.headers)))
                try:
                    self.serve()
                except (BrokenPipeError, ConnectionResetError, socket.timeout):
                    self.close_connection = True

            def serve(self):
                if self.path.startswith("/token?"):
                    given = "a\r\nX: y" if "split" in self.path else registry.token() if "expire" in self.path else "secret"
                    return self.answer(200, json.dumps({"token": given}).encode())
                if found := re.match(r"/v2/library/token-(\w+)/", self.path):
                    if self.headers.get("Authorization") != "Bearer " + (registry.token() if found[1] == "expire" else "secret"):
                        realm = f"http://{registry.host}/token"
                        return self.answer(401, b"{}", WWW_Authenticate=f'Bearer realm="{realm}",service="x",scope="repository:{found[1]}:pull"')
                if found := re.fullmatch(r"/v2/library/([^/]+)/manifests/([^/?]+)", self.path):
                    return self.serve_manifest(found[1], found[2])
                if found := re.fullmatch(r"/v2/library/([^/]+)/blobs/(sha256:[0-9a-f]{64})", self.path):
                    return self.serve_blob(found[1], found[2])
                return self.answer(404, b'{"errors":[{"code":"NAME_UNKNOWN","message":"no such thing"}]}')

            def serve_manifest(self, how, tag):
                body = json.dumps(registry.manifest_for(how)).encode()
                if how == "huge-manifest":
                    body = b" " * (4 * MIB) + body
                elif how == "limit-manifest":
                    body = b" " * (4 * MIB - len(body)) + body
                elif how == "bomb":
                    return self.answer(200, gzip.compress(b" " * (64 * MIB)), Content_Encoding="gzip")
                elif how == "endless-manifest":
                    self.send_response(200)
                    self.end_headers()
                    self.close_connection = True
                    while True:
                        self.wfile.write(b" " * 65536)
                elif how == "html":
                    body = b"<html><body>a page</body></html>"
                elif how == "wrong-manifest-digest":
                    return self.answer(200, body, Docker_Content_Digest="sha256:" + "0" * 64)
                elif how.startswith("status-"):
                    return self.answer(int(how[7:]), b"a text\nwith lines")
                elif how == "redirect-manifest-metadata":
                    return self.answer(307, Location="http://169.254.169.254/latest/meta-data/")
                elif how == "redirect-manifest-mapped":
                    return self.answer(307, Location="http://[::ffff:169.254.169.254]/latest/meta-data/")
                elif how == "redirect-manifest-private":
                    return self.answer(307, Location="http://10.0.0.5:22/")
                elif how == "redirect-manifest-loop":
                    return self.answer(307, Location=self.path)
                elif how == "redirect-file":
                    return self.answer(307, Location="file:///etc/passwd")
                elif how.startswith("realm-"):
                    realms = {"realm-host": f"http://{registry.other}/token", "realm-https": f"https://{registry.host}/token",
                              "realm-user": f"http://{registry.host}@{registry.other}/token", "realm-none": "", "realm-name": f"http://localhost:{registry.port}/token"}
                    return self.answer(401, b"{}", WWW_Authenticate=f'Bearer realm="{realms[how]}",service="x",scope="repository:library/x:pull"')
                self.answer(200, body)

            def serve_blob(self, how, digest):
                data = registry.blobs.get(digest)
                if data is None:
                    return self.answer(404)
                if digest != registry.large:
                    how = ""
                if how in ("redirect-blob", "token-redirect"):
                    return self.answer(307, Location=f"http://{registry.other}/v2/library/other/blobs/{digest}")
                first, last = 0, len(data) - 1
                asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
                if asked:
                    first, last = int(asked[1]), min(int(asked[2]), last)
                with registry.lock:
                    key = (self.path, last)  # the same part, however much of it was taken before
                    n_tried = registry.tries[key] = registry.tries.get(key, 0) + 1
                # Never more in a row than a pull tries again for: it gives up after six without a byte.
                if how == "random" and n_tried % 5 != 0 and registry.random.random() < 0.3:
                    how = registry.random.choice(["always-500", "page", "wrong-range", "cut", "reset", "length-zero", "no-content-range"])
                if how == "page":
                    return self.answer(206, b"<html>proxy</html>")
                if how == "reset":
                    self.close_connection = True
                    return self.connection.shutdown(socket.SHUT_RDWR)
                if how == "500-then-ok" and n_tried <= 2:
                    return self.answer(500, b"try later")
                if how == "always-500":
                    return self.answer(503, b"no")
                if how == "page-for-range" and n_tried <= 2:
                    return self.answer(200, b"<html>proxy</html>")
                if how == "416" and first > 0:
                    return self.answer(416, b"", Content_Range="bytes */1000")
                if how == "404-for-range":
                    return self.answer(404, b"<html>gone</html>")
                if how == "range-ignored":
                    asked, first, last = None, 0, len(data) - 1
                part = data[first:last + 1]
                status, headers = (206, {"Content_Range": f"bytes {first}-{last}/{len(data)}"}) if asked else (200, {})
                if how == "wrong-range":
                    headers["Content_Range"] = f"bytes {first + 1}-{last + 1}/{len(data) + 1}"
                elif how == "no-content-range":
                    headers.pop("Content_Range", None)
                elif how == "wrong-bytes":
                    part = bytes([part[0] ^ 1]) + part[1:]
                elif how == "empty-body":
                    part = b""
                headers["Content_Length"] = str(len(part))
                if how == "length-zero":
                    headers["Content_Length"] = "0"
                elif how in ("endless", "no-length"):
                    del headers["Content_Length"]
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                with registry.lock:
                    registry.n_sending += digest == registry.large
                    registry.most_sending = max(registry.most_sending, registry.n_sending)
                try:
                    self.send_part(how, digest, part, n_tried)
                finally:
                    with registry.lock:
                        registry.n_sending -= digest == registry.large

            def send_part(self, how, digest, part, n_tried):
                if how in ("endless", "no-length"):
                    self.close_connection = True
                if how in ("short", "token-expire") and n_tried <= 2:
                    part, self.close_connection = part[:len(part) // 2], True
                if how == "cut":
                    part, self.close_connection = part[:registry.random.randrange(len(part))], True
                if how == "always-short":
                    part, self.close_connection = part[:1000], True
                if how == "stall" and n_tried <= 1:
                    self.write(digest, part[:100000])
                    time.sleep(8)
                    self.close_connection = True
                    return
                if how == "trickle" and n_tried <= 1:
                    for byte in part[:20]:
                        self.write(digest, bytes([byte]))
                        time.sleep(0.5)
                    self.close_connection = True
                    return
                self.write(digest, part)
                while how == "endless":
                    self.write(digest, b"x" * 65536)

            def write(self, digest, data):
                for at in range(0, len(data), 65536):
                    piece = data[at:at + 65536]
                    self.wfile.write(piece)
                    with registry.lock:
                        registry.sent[digest] = registry.sent.get(digest, 0) + len(piece)
                    if registry.delay:
                        time.sleep(registry.delay)

        return Handler
