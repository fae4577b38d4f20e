"""A real `ollamax serve` on a free port of loopback, with a home and a store of its own, for tests in Python."""
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
SMOLLM2 = pathlib.Path(os.environ.get("OLLAMAX_TEST_MODELS", CACHE / "ollamax/models")) / "SmolLM2-135M-Instruct.Q4_1.gguf"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def resident_kib(pid):
    try:
        for line in open(f"/proc/{pid}/status"):
            if line.startswith("VmRSS"):
                return int(line.split()[1])
    except OSError:  # it has just ended
        pass
    return 0


class OllamaxServer:
    """Runs from its making until stop(), or as a `with`, at whose end it must end by itself and with exit code 0. `env` is what
    commands and clients of it need."""

    def __init__(self, ollamax, **environment):
        self.ollamax = ollamax
        self.folder = tempfile.TemporaryDirectory(prefix="ollamax-test-")
        self.root = pathlib.Path(self.folder.name)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = dict(os.environ, HOME=str(self.root), OLLAMA_MODELS=str(self.root / "models"), OLLAMA_HOST=f"127.0.0.1:{self.port}", **environment)
        self.log = open(self.root / "server.log", "w+")
        self.process = subprocess.Popen([ollamax, "serve"], env=self.env, stdout=self.log, stderr=self.log)
        self.wait_until_up()

    def wait_until_up(self):
        for _ in range(600):
            try:
                urllib.request.urlopen(self.url + "/").close()
                return
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.05)
        text = self.log_text()
        self.stop()
        raise AssertionError("ollamax serve does not answer:\n" + text)

    def log_text(self, n_bytes=4000):
        return (self.root / "server.log").read_text(errors="replace")[-n_bytes:]

    def create(self, name, modelfile):
        path = self.root / "Modelfile"
        path.write_text(modelfile)
        made = subprocess.run([self.ollamax, "create", name, "-f", str(path)], env=self.env, capture_output=True, text=True)
        assert made.returncode == 0, made.stderr

    def resident_kib(self):
        """Of the server and the processes of its models."""
        total = resident_kib(self.process.pid)
        for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(stat.read_text().rsplit(")", 1)[1].split()[1])
            except OSError:  # it has just ended
                continue
            if parent == self.process.pid:
                total += resident_kib(stat.parent.name)
        return total

    def stop(self, patience_s=60):
        """Its exit code after SIGTERM, or a text when it did not end. The folder is gone afterwards."""
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            code = f"no end within {patience_s} s of SIGTERM"
        self.log.close()
        self.last_words = self.log_text()
        self.folder.cleanup()
        return code

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        code = self.stop()
        if code != 0 and kind is None:
            raise AssertionError(f"ollamax serve ended with {code}:\n{self.last_words}")
