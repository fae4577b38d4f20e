"""A real `ollamax serve` on a free port, with a store of its own and the models that the client checks ask for.

Every name is made the way a user would: `ollamax create` of a Modelfile and POST /api/copy. The weights are always
SmolLM2-135M; what differs is the template, and for all-minilm the key that makes a GGUF an embedding model.
"""
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent.parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
SMOLLM2 = pathlib.Path(os.environ.get("OLLAMAX_TEST_MODELS", CACHE / "ollamax/models")) / "SmolLM2-135M-Instruct.Q4_1.gguf"

# Names that clients' own tests have written into them.
COPIES = {"tools": ["llama3.1", "llama3.2", "llama3.2:1b", "gpt-oss:20b", "mistral"], "thinking": ["deepseek-r1:1.5b", "deepseek-r1"],
          "insert": ["codellama:code"], "smollm2:135m": ["smollm2", "llava"]}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def write_embedding_model(source, target):
    """The same file with llama.pooling_type = 1 (mean), which is what tells an embedding model from others."""
    def text(value):
        return struct.pack("<Q", len(value)) + value
    data = source.read_bytes()
    n_keys = struct.unpack_from("<Q", data, 16)[0]
    pooling = text(b"llama.pooling_type") + struct.pack("<II", 4, 1)
    padding = text(b"general.source.note") + struct.pack("<I", 8)
    # Tensor data begins at a multiple of 32: what comes before it grows by such a multiple.
    filler = b"x" * (-(len(pooling) + len(padding) + 8) % 32)
    target.write_bytes(data[:16] + struct.pack("<Q", n_keys + 2) + pooling + padding + text(filler) + data[24:])


class Server:
    """Started by `with`; env is what the clients' processes need."""

    def __init__(self, ollamax, **environment):
        self.ollamax = ollamax
        self.environment = environment

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="ollamax-clients-")
        self.root = pathlib.Path(self.folder.name)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = dict(os.environ, HOME=str(self.root), OLLAMA_MODELS=str(self.root / "models"),
                        OLLAMA_HOST=f"127.0.0.1:{self.port}", OLLAMAX_TEST_MODELS=str(SMOLLM2.parent),
                        OLLAMAX_REGISTRIES="127.0.0.1:1", OLLAMAX_REGISTRY_RETRY_MS="20", **self.environment)
        self.log = open(self.root / "server.log", "w+")
        self.process = subprocess.Popen([self.ollamax, "serve"], env=self.env, stdout=self.log, stderr=self.log)
        self.wait_until_up()
        return self

    def wait_until_up(self):
        for _ in range(600):
            try:
                urllib.request.urlopen(self.url + "/").close()
                return
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.05)
        raise AssertionError("ollamax serve does not answer:\n" + self.log_text())

    def log_text(self, n_bytes=4000):
        return (self.root / "server.log").read_text(errors="replace")[-n_bytes:]

    def create(self, name, modelfile):
        path = self.root / "Modelfile"
        path.write_text(modelfile)
        made = subprocess.run([self.ollamax, "create", name, "-f", str(path)], env=self.env, capture_output=True, text=True)
        assert made.returncode == 0, made.stderr

    def copy(self, source, destination):
        body = json.dumps({"source": source, "destination": destination}).encode()
        urllib.request.urlopen(self.url + "/api/copy", body).close()

    def add_models(self):
        self.create("smollm2:135m", f"FROM {SMOLLM2}\n" + (HERE / "models/base.Modelfile").read_text())
        for name in ("tools", "thinking", "insert"):
            self.create(name, "FROM smollm2:135m\n" + (HERE / f"models/{name}.Modelfile").read_text())
        embedding = self.root / "embedding.gguf"
        write_embedding_model(SMOLLM2, embedding)
        self.create("all-minilm", f"FROM {embedding}\n")
        embedding.unlink()
        for source, names in COPIES.items():
            for name in names:
                self.copy(source, name)

    def __exit__(self, kind, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = "no end within 60 s of SIGTERM"
        if code != 0 and kind is None:
            text = self.log_text()
            self.folder.cleanup()
            raise AssertionError(f"ollamax serve ended with {code}:\n{text}")
        self.folder.cleanup()
