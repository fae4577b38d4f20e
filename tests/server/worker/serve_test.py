#!/usr/bin/env python3
"""`ollamax serve` and its workers as processes: who ends with whom. proves T-93, T-94

usage: serve_test.py OLLAMAX     exit 77: the model is missing (said on standard output)
"""
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request

OLLAMAX = sys.argv[1]
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
SMOLLM2 = pathlib.Path(os.environ.get("OLLAMAX_TEST_MODELS", CACHE / "ollamax/models")) / "SmolLM2-135M-Instruct.Q4_1.gguf"


def children(pid):
    """Processes whose parent is pid."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(entry.name))
    return found


def is_running(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def comes_true(condition, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


class Workers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="ollamax-workers-")
        root = pathlib.Path(cls.folder.name)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            cls.port = probe.getsockname()[1]
        cls.env = dict(os.environ, HOME=str(root), OLLAMA_MODELS=str(root / "models"), OLLAMA_HOST=f"127.0.0.1:{cls.port}",
                       OLLAMAX_API_KEYS="key-of-the-server")
        cls.env.pop("OLLAMAX_ISOLATE", None)
        for name, more in (("m", ""), ("brief", "PARAMETER num_predict 64\n")):
            (root / "Modelfile").write_text(f"FROM {SMOLLM2}\nPARAMETER temperature 0\n{more}")
            made = subprocess.run([OLLAMAX, "create", name, "-f", str(root / "Modelfile")], env=cls.env, capture_output=True, text=True)
            assert made.returncode == 0, made.stderr

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def start(self, **environment):
        self.log = open(pathlib.Path(self.folder.name) / "log", "w+")
        self.server = subprocess.Popen([OLLAMAX, "serve"], env=dict(self.env, **environment), stdout=self.log, stderr=self.log, start_new_session=True)
        self.addCleanup(self.end)

        def answers():
            try:
                return self.get("/api/version")
            except OSError:
                return False
        self.assertTrue(comes_true(answers))

    def end(self):
        self.server.kill()
        self.server.wait()
        self.log.close()

    def request(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        return urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, {"Authorization": "Bearer key-of-the-server"})

    def get(self, path):
        with urllib.request.urlopen(self.request(path), timeout=60) as answer:
            return json.load(answer)

    def generate(self, n_predict, prompt="Why is the sky blue?"):
        body = {"model": "m", "prompt": prompt, "options": {"num_predict": n_predict, "num_ctx": 1024}}
        with urllib.request.urlopen(self.request("/api/generate", body), timeout=120) as answer:
            yield from (json.loads(line) for line in answer)

    def worker(self):
        found = children(self.server.pid)
        self.assertEqual(len(found), 1, found)
        return found[0]

    def test_a_worker_ends_with_a_server_that_is_killed(self):
        self.start()
        self.assertTrue(list(self.generate(4))[-1]["done"])
        worker = self.worker()
        name = pathlib.Path(f"/proc/{worker}/cmdline").read_bytes()
        self.assertEqual(name, b"ollamax\0worker\0")
        self.server.kill()
        self.server.wait()
        self.assertTrue(comes_true(lambda: not is_running(worker)))

    def test_a_worker_ends_with_a_server_that_is_killed_while_it_computes(self):
        self.start()
        stream = self.generate(5000)
        next(stream)
        worker = self.worker()
        self.server.kill()
        self.server.wait()
        self.assertTrue(comes_true(lambda: not is_running(worker)))

    def test_the_kernel_ends_a_worker_that_cannot_notice(self):
        self.start()
        list(self.generate(1))
        worker = self.worker()
        os.kill(worker, signal.SIGSTOP)
        self.server.kill()
        self.server.wait()
        self.assertTrue(comes_true(lambda: not is_running(worker)))

    def test_ctrl_c_lets_the_answer_end(self):
        self.start()
        stream = self.generate(60)
        first = next(stream)
        worker = self.worker()
        self.assertNotEqual(os.getpgid(worker), os.getpgid(self.server.pid))
        os.killpg(self.server.pid, signal.SIGINT)  # as a terminal does
        os.kill(worker, signal.SIGTERM)            # as a service manager does
        records = [first, *stream]
        self.assertTrue(records[-1]["done"])
        self.assertEqual(self.server.wait(60), 0)
        self.assertTrue(comes_true(lambda: not is_running(worker)))

    def test_a_killed_worker_is_an_error_line_and_is_replaced(self):
        self.start()
        stream = self.generate(5000)
        next(stream)
        worker = self.worker()
        os.kill(worker, signal.SIGKILL)
        records = list(stream)
        self.assertIn("model runner has unexpectedly stopped", records[-1]["error"])
        self.assertIn("signal 9 (Killed)", records[-1]["error"])
        self.assertEqual(self.get("/api/ps")["models"], [])
        self.assertTrue(list(self.generate(4))[-1]["done"])
        self.assertNotEqual(self.worker(), worker)
        self.log.flush()
        log = pathlib.Path(self.log.name).read_text()
        self.assertIn("requests lost: 1", log)
        self.assertNotIn("sky", log)

    def test_a_worker_killed_while_it_loads_is_an_error_of_the_request(self):
        self.start()
        errors = []

        def ask():
            try:
                list(self.generate(1))
            except urllib.error.HTTPError as error:
                errors.append((error.code, error.read().decode()))
        for _ in range(20):  # until one is met while it loads
            asking = threading.Thread(target=ask)
            asking.start()
            if comes_true(lambda: children(self.server.pid), 5):
                os.kill(children(self.server.pid)[0], signal.SIGKILL)
            asking.join()
            if errors:
                break
        self.assertTrue(errors)
        self.assertEqual(errors[0][0], 500)
        self.assertIn("model runner has unexpectedly stopped", errors[0][1])
        self.assertTrue(list(self.generate(1))[-1]["done"])

    def test_isolation_can_be_turned_off(self):
        for word in ("0", "off"):
            with self.subTest(word):
                self.start(OLLAMAX_ISOLATE=word)
                self.assertTrue(list(self.generate(4))[-1]["done"])
                self.assertEqual(children(self.server.pid), [])
                self.doCleanups()

    def test_run_without_a_server_is_one_process(self):
        run = subprocess.Popen([OLLAMAX, "run", "brief", "Count to twenty."], env=dict(self.env, OLLAMA_HOST="127.0.0.1:1"), stdout=subprocess.PIPE)
        seen = []
        while run.poll() is None:
            seen += children(run.pid)
            time.sleep(0.01)
        self.assertTrue(run.stdout.read().strip())
        run.stdout.close()
        self.assertEqual(run.returncode, 0)
        self.assertEqual(seen, [])

    def test_the_command_is_for_the_server_only(self):
        done = subprocess.run([OLLAMAX, "worker"], capture_output=True, text=True, close_fds=True)
        self.assertEqual(done.returncode, 2)
        self.assertIn("started by 'ollamax serve'", done.stderr)
        self.assertNotIn("worker", subprocess.run([OLLAMAX, "--help"], capture_output=True, text=True).stdout)


if __name__ == "__main__":
    if not SMOLLM2.exists():
        print(f"SKIPPED: {SMOLLM2} is missing")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1], verbosity=2)
