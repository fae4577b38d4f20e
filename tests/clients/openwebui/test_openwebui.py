"""Open WebUI without the internet: its HTTP API, and its page in headless Chromium, all of it answered by this server."""
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request

import probe

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "web"))
START_S = 300  # the first start builds its database
PARIS = "What is the capital of France? Answer in one word."


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class OpenWebUi(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="ollamax-openwebui-")
        cls.addClassCleanup(cls.folder.cleanup)
        cls.port = free_port()
        env = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        env.update(HOME=cls.folder.name, OLLAMA_BASE_URL=probe.URL, DATA_DIR=cls.folder.name + "/data", OFFLINE_MODE="true", HF_HUB_OFFLINE="1",
                   WEBUI_AUTH="False", WEBUI_SECRET_KEY="x", ENABLE_OPENAI_API="False", ENABLE_VERSION_UPDATE_CHECK="False",
                   ENABLE_PERSISTENT_CONFIG="False", RAG_EMBEDDING_ENGINE="ollama", RAG_OLLAMA_BASE_URL=probe.URL,
                   RAG_EMBEDDING_MODEL="all-minilm:latest", ANONYMIZED_TELEMETRY="False", DO_NOT_TRACK="true", CORS_ALLOW_ORIGIN="*",
                   ENABLE_TITLE_GENERATION="False", ENABLE_TAGS_GENERATION="False", ENABLE_FOLLOW_UP_GENERATION="False")
        cls.log = open(cls.folder.name + "/log", "w+")
        program = pathlib.Path(sys.executable).parent / "open-webui"
        cls.process = subprocess.Popen([program, "serve", "--host", "127.0.0.1", "--port", str(cls.port)], env=env, cwd=cls.folder.name,
                                       stdout=cls.log, stderr=subprocess.STDOUT, start_new_session=True)
        cls.addClassCleanup(cls.stop)
        end = time.monotonic() + START_S
        while True:
            try:
                if cls.request("GET", "/health")[0] == 200:
                    break
            except OSError:
                pass
            if time.monotonic() > end or cls.process.poll() is not None:
                raise AssertionError("open-webui does not answer:\n" + pathlib.Path(cls.folder.name, "log").read_text()[-3000:])
            time.sleep(0.5)
        cls.token = cls.answer("POST", "/api/v1/auths/signin", {"email": "", "password": ""})["token"]

    @classmethod
    def stop(cls):
        os.killpg(cls.process.pid, signal.SIGTERM)
        try:
            cls.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(cls.process.pid, signal.SIGKILL)
            cls.process.wait()

    @classmethod
    def request(cls, method, path, body=None):
        headers = {"Content-Type": "application/json"}
        if hasattr(cls, "token"):
            headers["Authorization"] = "Bearer " + cls.token
        asked = urllib.request.Request(f"http://127.0.0.1:{cls.port}{path}", None if body is None else json.dumps(body).encode(), headers,
                                       method=method)
        try:
            with urllib.request.urlopen(asked, timeout=120) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    @classmethod
    def answer(cls, method, path, body=None):
        status, text = cls.request(method, path, body)
        assert status == 200, (method, path, status, text[:1000])
        return json.loads(text)

    def test_models(self):
        names = [model["id"] for model in self.answer("GET", "/api/models")["data"]]
        self.assertIn("smollm2:135m", names)
        self.assertIn("llama3.2:1b", names)

    def test_chat(self):
        ask = {"model": "smollm2:135m", "messages": [{"role": "user", "content": PARIS}]}
        self.assertIn("Paris", self.answer("POST", "/api/chat/completions", {**ask, "stream": False})["choices"][0]["message"]["content"])
        status, text = self.request("POST", "/api/chat/completions", {**ask, "stream": True})
        self.assertEqual(status, 200)
        events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
        said = "".join(choice["delta"].get("content") or "" for event in events for choice in event.get("choices", []))
        self.assertIn("Paris", said)
        self.assertIn("[DONE]", text)

    def test_ollama_routes(self):
        self.assertIn("smollm2:135m", [model["name"] for model in self.answer("GET", "/ollama/api/tags")["models"]])
        self.assertEqual(self.answer("GET", "/ollama/api/version")["version"], json.loads(probe.request("GET", "/api/version")[2])["version"])
        self.assertEqual(self.answer("POST", "/ollama/api/show", {"model": "smollm2:135m"})["details"]["family"], "llama")
        self.assertEqual(len(self.answer("POST", "/ollama/api/embed", {"model": "all-minilm:latest", "input": ["a cat"]})["embeddings"][0]), 576)
        self.answer("GET", "/ollama/api/ps")

    def test_create_copy_delete(self):
        self.assertEqual(self.request("POST", "/ollama/api/create", {"model": "webui-made:latest", "from": "smollm2:135m", "stream": False})[0], 200)
        self.answer("GET", "/ollama/api/tags")
        self.assertIn("webui-made:latest", [model["id"] for model in self.answer("GET", "/api/models?refresh=true")["data"]])
        self.assertEqual(self.request("DELETE", "/ollama/api/delete", {"model": "webui-made:latest"})[0], 200)

    def test_errors_are_shown(self):
        status, text = self.request("POST", "/ollama/api/show", {"model": "absent"})
        self.assertGreaterEqual(status, 400)
        self.assertIn("absent", text)

    def test_the_page_in_a_browser(self):
        import browser
        program = browser.find_browser()
        self.assertIsNotNone(program, "chromium is missing (tools/setup test installs it)")
        window = browser.Browser(program)
        self.addCleanup(window.close)
        window.open(f"http://127.0.0.1:{self.port}/?models=llama3.2:1b")
        window.wait_for("document.querySelector('#chat-input')", "an input for the chat", timeout_s=90)
        # What is new in this version lies over the page at first.
        okay = """[...document.querySelectorAll('button')].find(button => button.innerText.includes("Let's Go"))"""
        window.wait_for(okay, "the list of what is new", timeout_s=60)
        window.evaluate(okay + ".click()")
        window.wait_for("!" + okay)
        window.wait_for("document.body.innerText.includes('llama3.2:1b')", "the model's name", timeout_s=60)
        window.click("#chat-input")
        window.type(PARIS)
        window.press("Enter")
        window.wait_for("document.body.innerText.split('Paris').length > 1", "the answer", timeout_s=60)
        picture = os.environ.get("OPENWEBUI_PICTURE")
        if picture:
            window.screenshot(picture)


if __name__ == "__main__":
    unittest.main()
