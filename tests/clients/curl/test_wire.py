"""What clients need of the protocol itself: methods, statuses, headers, bodies of all forms, errors in Ollama's words."""
import contextlib
import http.client
import json
import os
import socket
import unittest

import probe
import serving

MODEL = "smollm2:135m"


class Case(unittest.TestCase):
    def check(self, method, path, body=None, status=200, says=None, headers=None):
        got, head, text = probe.request(method, path, body, headers)
        self.assertEqual(got, status, text)
        if says is not None:
            self.assertEqual(json.loads(text), {"error": says})
        return head, text


class Methods(Case):
    def test_head(self):
        head, text = self.check("HEAD", "/")
        self.assertEqual((head["Content-Type"], head["Content-Length"], text), ("text/plain; charset=utf-8", "17", b""))
        for path in ("/api/tags", "/api/version", "/api/ps"):
            with_body = self.check("GET", path)
            without = self.check("HEAD", path)
            self.assertEqual(without[0]["Content-Type"], "application/json; charset=utf-8")
            self.assertEqual(without[1], b"")
            if path != "/api/ps":  # whose times differ from one request to the next
                self.assertEqual(without[0]["Content-Length"], str(len(with_body[1])))

    def test_root(self):
        self.assertEqual(self.check("GET", "/")[1], b"Ollama is running")
        self.assertEqual(self.check("GET", "/", headers={"Accept": "*/*", "User-Agent": "curl/8"})[1], b"Ollama is running")

    def test_unknown_path_and_method(self):
        head, text = self.check("GET", "/api/absent", status=404)
        self.assertEqual((head["Content-Type"].split(";")[0], text), ("text/plain", b"404 page not found"))
        for method, path in (("GET", "/api/generate"), ("POST", "/api/tags"), ("POST", "/api/delete"), ("DELETE", "/api/chat"), ("PUT", "/api/show")):
            self.assertEqual(self.check(method, path, status=405)[1], b"405 method not allowed")

    def test_a_slash_too_many(self):
        connection = http.client.HTTPConnection(probe.HOST)
        self.addCleanup(connection.close)
        connection.request("GET", "/api/tags/")
        answer = connection.getresponse()
        self.assertEqual((answer.status, answer.headers["Location"]), (301, "/api/tags"))
        answer.read()
        connection.request("POST", "/api/show/", "{}")
        answer = connection.getresponse()
        self.assertEqual((answer.status, answer.headers["Location"]), (307, "/api/show"))

    def test_keep_alive(self):
        connection = http.client.HTTPConnection(probe.HOST)
        self.addCleanup(connection.close)
        connection.connect()
        local = connection.sock.getsockname()
        for path, body in (("/api/version", None), ("/api/generate", {"model": MODEL, "prompt": "Hi", "options": {"num_predict": 2}}),
                           ("/api/show", {"model": "absent"}), ("/api/tags", None)):
            connection.request("POST" if body else "GET", path, json.dumps(body) if body else None)
            connection.getresponse().read()
            self.assertEqual(connection.sock.getsockname(), local, path)


class Bodies(Case):
    def test_name_or_model(self):
        for field in ("name", "model"):
            self.assertIn(b"model_info", self.check("POST", "/api/show", {field: MODEL})[1])
            self.check("POST", "/api/copy", {"source": MODEL, "destination": "other"})
            self.assertEqual(self.check("DELETE", "/api/delete", {field: "other"})[1], b"")
            self.check("POST", "/api/create", {field: "other", "from": MODEL, "stream": False})
            self.check("DELETE", "/api/delete", {field: "other"})
        self.check("POST", "/api/show", {"model": "", "name": ""}, 400, "model is required")

    def test_chunked_request(self):
        body = json.dumps({"model": MODEL, "prompt": "Hi", "stream": False, "options": {"num_predict": 2}})
        connection = http.client.HTTPConnection(probe.HOST)
        self.addCleanup(connection.close)
        connection.request("POST", "/api/generate", iter([body[:10].encode(), body[10:].encode()]), {"Transfer-Encoding": "chunked"},
                           encode_chunked=True)
        self.assertEqual(json.loads(connection.getresponse().read())["eval_count"], 2)

    def test_content_type_does_not_matter(self):
        for kind in ("application/x-www-form-urlencoded", "text/plain", "application/json; charset=utf-8", "application/octet-stream"):
            self.check("POST", "/api/show", {"model": MODEL}, headers={"Content-Type": kind})

    def test_explicit_nulls_mean_nothing(self):
        # As langchain-community sends it.
        options = {name: None for name in ("mirostat", "mirostat_eta", "mirostat_tau", "num_ctx", "num_gpu", "num_thread", "repeat_last_n",
                                           "repeat_penalty", "temperature", "stop", "tfs_z", "top_k", "top_p")}
        body = {"model": MODEL, "prompt": "Hi", "format": None, "images": None, "system": None, "template": None, "keep_alive": None,
                "raw": None, "context": None, "suffix": None, "think": None, "options": {**options, "num_predict": 2}, "stream": False}
        self.assertEqual(json.loads(self.check("POST", "/api/generate", body)[1])["eval_count"], 2)
        body = {"model": MODEL, "messages": [{"role": "user", "content": "Hi", "images": None, "tool_calls": None, "thinking": None}],
                "tools": None, "format": None, "keep_alive": None, "options": {"num_predict": 2}, "stream": False}
        self.assertEqual(json.loads(self.check("POST", "/api/chat", body)[1])["eval_count"], 2)
        # ollama-python and litellm send empty ones.
        self.check("POST", "/api/chat", {**body, "tools": [], "format": "", "options": {"num_predict": 1}})

    def test_keys_of_any_case_and_unknown_ones(self):
        body = b'{"MODEL":"smollm2:135m","Prompt":"Hi","Stream":false,"colour":"blue","options":{"num_predict":2,"colour":1}} trailing'
        self.assertEqual(json.loads(self.check("POST", "/api/generate", body)[1])["eval_count"], 2)

    def test_streaming_is_the_default(self):
        for path, body in (("/api/generate", {"prompt": "Hi"}), ("/api/chat", {"messages": [{"role": "user", "content": "Hi"}]})):
            head, text = self.check("POST", path, {"model": MODEL, "options": {"num_predict": 3}, **body})
            self.assertEqual((head["Content-Type"], head["Transfer-Encoding"]), ("application/x-ndjson", "chunked"))
            lines = text.decode().split("\n")
            self.assertEqual(lines.pop(), "")
            self.assertEqual([json.loads(line)["done"] for line in lines], [False] * (len(lines) - 1) + [True])
        for path in ("/v1/chat/completions", "/v1/messages"):
            body = {"model": MODEL, "max_tokens": 2, "messages": [{"role": "user", "content": "Hi"}]}
            self.assertTrue(self.check("POST", path, body)[0]["Content-Type"].startswith("application/json"))

    def test_html_characters_are_escaped_as_go_does(self):
        text = self.check("POST", "/api/show", {"model": MODEL})[1]
        self.assertIn(rb"\u003c|im_start|\u003e", text)
        self.assertNotIn(b"<|im_start|>", text)

    def test_expect_100_continue(self):
        body = json.dumps({"model": MODEL}).encode()
        with socket.create_connection(probe.HOST.split(":")) as wire:
            wire.sendall(b"POST /api/show HTTP/1.1\r\nHost: " + probe.HOST.encode() + b"\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
                         % len(body))
            self.assertTrue(wire.recv(100).startswith(b"HTTP/1.1 100 "))
            wire.sendall(body)
            self.assertTrue(wire.recv(100).startswith(b"HTTP/1.1 200 "))


class ErrorTexts(Case):
    def test_bodies_that_are_none(self):
        for path in ("/api/generate", "/api/chat", "/api/show", "/api/embed", "/api/create", "/api/copy"):
            self.check("POST", path, b"", 400, "missing request body")
            self.check("POST", path, b"{", 400, "unexpected EOF")
            self.check("POST", path, b"x", 400, "invalid character 'x' looking for beginning of value")
        self.check("POST", "/api/generate", {"model": 1}, 400,
                   "json: cannot unmarshal number into Go struct field GenerateRequest.model of type string")

    def test_models(self):
        self.check("POST", "/api/generate", {"model": "absent", "prompt": "x"}, 404, "model 'absent' not found")
        self.check("POST", "/api/generate", {"prompt": "x"}, 404, "model '' not found")
        self.check("POST", "/api/chat", {"messages": []}, 400, "model is required")
        self.check("POST", "/api/chat", {"model": "a b", "messages": []}, 400, "invalid model name")
        self.check("POST", "/api/show", {"model": "absent"}, 404, "model 'absent:latest' not found")
        self.check("POST", "/api/embed", {"input": "x"}, 404, "model '' not found")
        self.check("POST", "/api/embed", {"model": "absent", "input": 1}, 400, "invalid input type")
        self.check("POST", "/api/embeddings", {"prompt": "x"}, 400, "model is required")
        self.check("DELETE", "/api/delete", {"model": "absent"}, 404, "model 'absent' not found")
        self.check("DELETE", "/api/delete", {"model": "a b"}, 400, 'name "a b" is invalid')
        self.check("POST", "/api/copy", {"source": "", "destination": "x"}, 400, 'source "" is invalid')
        self.check("POST", "/api/copy", {"source": MODEL, "destination": "../x"}, 400, 'destination "../x" is invalid')
        self.check("POST", "/api/copy", {"source": "absent", "destination": "x"}, 404, 'model "absent" not found')
        self.check("HEAD", "/api/blobs/sha256:12", None, 400)
        self.check("HEAD", "/api/blobs/sha256:" + "0" * 64, None, 404)
        self.check("POST", "/api/blobs/12", b"x", 400, "invalid digest format")

    def test_options_and_think(self):
        ask = {"model": MODEL, "prompt": "x", "stream": False}
        self.check("POST", "/api/generate", {**ask, "options": {"temperature": "hot"}}, 500, 'option "temperature" must be of type float32')
        self.check("POST", "/api/generate", {**ask, "options": {"stop": "x"}}, 500, 'option "stop" must be of type array')
        self.check("POST", "/api/generate", {**ask, "options": {"use_mmap": 1}}, 500, 'option "use_mmap" must be of type boolean')
        self.check("POST", "/api/generate", {**ask, "think": "hard"}, 400,
                   'invalid think value: "hard" (must be "high", "medium", "low", "max", true, or false)')
        self.check("POST", "/api/generate", {**ask, "keep_alive": "soon"}, 400, 'time: invalid duration "soon"')
        self.check("POST", "/api/generate", {**ask, "format": "xml"}, 500, 'invalid format: "xml"; expected "json" or a valid JSON Schema object')

    def test_openai_and_anthropic_shapes(self):
        body = json.loads(self.check("POST", "/v1/chat/completions", {"model": "absent", "messages": [{"role": "user", "content": "x"}]}, 404)[1])
        self.assertEqual(body, {"error": {"message": "model 'absent' not found", "type": "not_found_error", "param": None, "code": None}})
        body = json.loads(self.check("POST", "/v1/messages", {"max_tokens": 1, "messages": [{"role": "user", "content": "x"}]}, 400)[1])
        self.assertEqual((body["type"], body["error"]), ("error", {"type": "invalid_request_error", "message": "model is required"}))


class Browsers(Case):
    def test_preflight(self):
        head, text = self.check("OPTIONS", "/api/chat", headers={"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST",
                                                                 "Access-Control-Request-Headers": "content-type"}, status=204)
        self.assertEqual(head["Access-Control-Allow-Origin"], "http://localhost:3000")
        allowed = {name.strip().lower() for name in head["Access-Control-Allow-Headers"].split(",")}
        self.assertLessEqual({"authorization", "content-type", "user-agent", "accept", "x-requested-with", "openai-beta", "x-stainless-arch",
                              "x-stainless-async", "x-stainless-custom-poll-interval", "x-stainless-helper-method", "x-stainless-lang",
                              "x-stainless-os", "x-stainless-package-version", "x-stainless-poll-helper", "x-stainless-retry-count",
                              "x-stainless-runtime", "x-stainless-runtime-version", "x-stainless-timeout"}, allowed)
        self.assertLessEqual({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"}, set(head["Access-Control-Allow-Methods"].split(",")))

    def test_origins(self):
        for origin in ("http://localhost", "https://localhost:8080", "http://127.0.0.1:5173", "app://app", "file://x", "tauri://localhost",
                       "vscode-webview://abc"):
            self.check("GET", "/api/tags", headers={"Origin": origin})
        self.check("GET", "/api/tags", headers={"Origin": "https://evil.example"}, status=403)
        self.check("POST", "/api/show", {"model": MODEL}, headers={"Origin": "https://evil.example"}, status=403)

    def test_hosts(self):
        for host in ("localhost", "127.0.0.1:11434", "host.local", "a.internal"):
            self.check("GET", "/api/tags", headers={"Host": host})
        self.check("GET", "/api/tags", headers={"Host": "evil.example"}, status=403)


class Queue(unittest.TestCase):
    def test_503_when_too_many_wait(self):
        with serving.Server(os.environ["OLLAMAX"], OLLAMA_MAX_QUEUE="1", OLLAMA_NUM_PARALLEL="1") as server:
            server.create(MODEL, f"FROM {serving.SMOLLM2}\n")
            body = json.dumps({"model": MODEL, "prompt": "Tell a very long story.", "options": {"num_predict": 4000, "num_ctx": 4096}})
            with contextlib.ExitStack() as stack:
                def begin():
                    connection = http.client.HTTPConnection("127.0.0.1", server.port)
                    stack.callback(connection.close)
                    connection.request("POST", "/api/generate", body)
                    return connection
                first = begin().getresponse()
                first.readline()  # it runs
                begin()  # it waits
                for _ in range(200):
                    if "ollamax_queue_depth 1" in self.metrics(server.port):
                        break
                self.assertIn("ollamax_queue_depth 1", self.metrics(server.port))
                refused = begin().getresponse()
                self.assertEqual(refused.status, 503)
                self.assertEqual(json.loads(refused.read()), {"error": "server busy, please try again.  maximum pending requests exceeded"})
                self.assertIsNotNone(refused.headers["Retry-After"])

    def metrics(self, port):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/metrics")
        with contextlib.closing(connection):
            return connection.getresponse().read().decode()
