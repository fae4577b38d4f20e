#!/usr/bin/env python3
"""ollamax-bench server against `ollamax serve` with a real model, and against servers whose answers are not whole.

usage: server_test.py OLLAMAX_BENCH OLLAMAX     exit 77: the model is missing (said on standard output)
"""
import http.server
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.request

BENCH, OLLAMAX = sys.argv[1:3]
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
MODELS = pathlib.Path(os.environ.get("OLLAMAX_TEST_MODELS", CACHE / "ollamax/models"))
MODEL = MODELS / "SmolLM2-135M-Instruct.Q4_1.gguf"


def bench(url, *words):
    return subprocess.run([BENCH, "server", url, "--model", "m", "--requests", "2", *words], capture_output=True, text=True, timeout=300)


def answering(lines, status=200):
    """A server that gives every POST the same lines; its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.end_headers()
            self.wfile.write("".join(line + "\n" for line in lines).encode())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_address[1]}"


class Refusals(unittest.TestCase):
    def refusal(self, lines, *words, status=200):
        server, url = answering(lines, status)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        done = bench(url, "--clients", "1", *words)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertEqual(done.stdout, "")
        return done.stderr

    piece = json.dumps({"response": "a", "done": False})

    def last(self, **fields):
        return json.dumps({"response": "", "done": True, "prompt_eval_count": 3, "eval_count": 4, **fields})

    def test_answers_that_are_not_whole(self):
        self.assertIn("the last record is missing", self.refusal([self.piece]))
        self.assertIn("after the last record", self.refusal([self.piece, self.last(), self.piece]))
        self.assertIn("no token was counted", self.refusal([self.piece, self.last(eval_count=0)]))
        self.assertIn("at most 64 were asked for", self.refusal([self.piece, self.last(eval_count=65)]))
        self.assertIn("no text came", self.refusal([self.last()]))
        self.assertIn("out of memory", self.refusal([self.piece, '{"error": "out of memory"}']))
        self.assertIn("expected JSON", self.refusal(["<html>"]))
        self.assertIn("answered 404: no such model", self.refusal(["no such model"], status=404))

    def test_events_that_are_not_whole(self):
        text = 'data: {"choices": [{"text": "a", "finish_reason": null}]}'
        end = 'data: {"choices": [{"text": "", "finish_reason": "length"}], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}'
        self.assertIn("[DONE] is missing", self.refusal([text, "", end, ""], "--openai"))
        self.assertIn("no finish_reason", self.refusal([text, "", "data: [DONE]", ""], "--openai"))

    def test_what_is_no_server(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            done = bench(f"http://127.0.0.1:{free.getsockname()[1]}")
        self.assertEqual(done.returncode, 1)
        self.assertIn("127.0.0.1", done.stderr)
        for url in ("127.0.0.1:11434", "https://127.0.0.1", "http://", "http://:1", "http://a:b"):
            done = bench(url)
            self.assertEqual(done.returncode, 1)
            self.assertIn("expected a URL", done.stderr)
        self.assertIn("--clients", bench("http://127.0.0.1:1", "--clients", "0").stderr)
        self.assertNotEqual(subprocess.run([BENCH, "server", "http://127.0.0.1:1"], capture_output=True).returncode, 0)


@unittest.skipUnless(MODEL.exists(), f"{MODEL} is not there (tools/fetch_model smollm2)")
class Figures(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.home = tempfile.TemporaryDirectory()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            cls.address = f"127.0.0.1:{free.getsockname()[1]}"
        cls.environment = {**os.environ, "OLLAMA_HOST": cls.address, "OLLAMA_MODELS": cls.home.name, "OLLAMA_NUM_PARALLEL": "2"}
        cls.server = subprocess.Popen([OLLAMAX, "serve"], env=cls.environment, stderr=subprocess.DEVNULL)
        for _ in range(200):
            try:
                urllib.request.urlopen(f"http://{cls.address}/api/version", timeout=5)
                break
            except OSError:
                time.sleep(0.05)
        modelfile = pathlib.Path(cls.home.name) / "Modelfile"
        modelfile.write_text(f"FROM {MODEL}\n")
        subprocess.run([OLLAMAX, "create", "m", "-f", str(modelfile)], env=cls.environment, check=True, capture_output=True)

    @classmethod
    def tearDownClass(cls):
        cls.server.terminate()
        cls.server.wait(60)
        cls.home.cleanup()

    def figures(self, *words):
        done = bench(f"http://{self.address}", "--clients", "1,2", "--prompt", "8", "--generate", "6", "--json", *words)
        self.assertEqual(done.returncode, 0, done.stderr)
        one, two = json.loads(done.stdout)["rows"]
        for row, n_clients in ((one, 1), (two, 2)):
            self.assertEqual((row["n_clients"], row["n_answers"]), (n_clients, 2 * n_clients))
            self.assertEqual(len(row["client_tokens_per_second"]), n_clients)
            self.assertGreater(row["prompt_tokens"], 8 * row["n_answers"])
            self.assertLessEqual(row["generated_tokens"], 6 * row["n_answers"])
            self.assertAlmostEqual(row["tokens_per_second"], row["generated_tokens"] / row["seconds"])
            self.assertLessEqual(row["first_token_p50_ms"], row["first_token_p95_ms"])
            self.assertGreater(row["first_token_p50_ms"], 0)

    def test_of_ollamas_api(self):
        self.figures()

    def test_of_openais_api(self):
        self.figures("--openai")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
