"""The requests of Ollama's API documentation, made with curl: the documented fields of each answer, their types and their order."""
import hashlib
import json
import re
import subprocess
import tempfile
import unittest

import probe
import serving

METRICS = {"total_duration": int, "load_duration": int, "prompt_eval_count": int, "prompt_eval_duration": int, "eval_count": int,
           "eval_duration": int}
GENERATED = {"model": str, "created_at": str, "response": str, "done": bool, "done_reason": str, "context": list, **METRICS}
CHATTED = {"model": str, "created_at": str, "message": dict, "done": bool, "done_reason": str, **METRICS}


def curl(path, *words, body=None):
    """What curl prints: (status, content type, text)."""
    words = [*words, "-d", body if isinstance(body, str) else json.dumps(body)] if body is not None else list(words)
    done = subprocess.run(["curl", "-sS", "-N", "-w", "\n%{http_code} %{content_type}", probe.URL + path, *words],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    text, _, end = done.stdout.rpartition("\n")
    status, _, kind = end.partition(" ")
    return int(status), kind, text


class Case(unittest.TestCase):
    def one(self, path, body=None, *words, status=200):
        got, kind, text = curl(path, *words, body=body)
        self.assertEqual(got, status, text)
        self.assertEqual(kind.split(";")[0], "application/json")
        return json.loads(text)

    def lines(self, path, body, *words):
        status, kind, text = curl(path, *words, body=body)
        self.assertEqual((status, kind), (200, "application/x-ndjson"), text)
        self.assertTrue(text.endswith("\n"))
        for line in text[:-1].split("\n"):
            self.assertRegex(line, r"^\{.*\}$")  # one compact object a line, no blank lines
        return [json.loads(line) for line in text[:-1].split("\n")]

    def check_fields(self, record, fields):
        self.assertEqual(list(record), list(fields))
        for name, kind in fields.items():
            self.assertIs(type(record[name]), kind, name)
            if name.endswith(("_duration", "_count")):
                self.assertGreater(record[name], 0, name)

    def check_stream(self, records, last):
        head = {name: kind for name, kind in list(last.items())[:4]}
        for record in records[:-1]:
            self.check_fields(record, head)
            self.assertIs(record["done"], False)
        self.check_fields(records[-1], last)
        self.assertIs(records[-1]["done"], True)


class Generate(Case):
    def test_streaming(self):
        records = self.lines("/api/generate", {"model": "llama3.2", "prompt": "Why is the sky blue?"})
        self.check_stream(records, GENERATED)
        self.assertRegex(records[0]["created_at"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,9}Z$")
        self.assertTrue(all(type(token) is int for token in records[-1]["context"]))

    def test_no_streaming(self):
        answer = self.one("/api/generate", {"model": "llama3.2", "prompt": "Why is the sky blue?", "stream": False})
        self.check_fields(answer, GENERATED)
        self.assertEqual(answer["model"], "llama3.2")

    def test_suffix(self):
        answer = self.one("/api/generate", {"model": "codellama:code", "prompt": "def compute_gcd(a, b):", "suffix": "    return result",
                                            "options": {"temperature": 0, "num_predict": 16}, "stream": False})
        self.check_fields(answer, GENERATED)

    def test_structured_output(self):
        answer = self.one("/api/generate", {
            "model": "llama3.2", "stream": False, "prompt": "Ollama is 22 years old and is busy saving the world. Respond using JSON",
            "format": {"type": "object", "properties": {"age": {"type": "integer"}, "available": {"type": "boolean"}},
                       "required": ["age", "available"]}})
        said = json.loads(answer["response"])
        self.assertIs(type(said["age"]), int)
        self.assertIs(type(said["available"]), bool)

    def test_json_mode(self):
        answer = self.one("/api/generate", {"model": "llama3.2", "format": "json", "stream": False,
                                            "prompt": "What color is the sky at different times of the day? Respond using JSON",
                                            "options": {"num_predict": 400}})
        self.assertIs(type(json.loads(answer["response"])), dict)

    def test_images(self):
        answer = self.one("/api/generate", {"model": "llava", "prompt": "What is in this picture?", "stream": False, "images": ["aGVsbG8="]},
                          status=400)
        self.assertEqual(answer, {"error": "registry.ollama.ai/library/llava:latest does not support vision"})

    def test_raw_mode(self):
        answer = self.one("/api/generate", {"model": "mistral", "prompt": "[INST] why is the sky blue? [/INST]", "raw": True, "stream": False})
        self.check_fields(answer, {name: kind for name, kind in GENERATED.items() if name != "context"})

    def test_reproducible(self):
        body = {"model": "mistral", "prompt": "Why is the sky blue?", "stream": False, "options": {"seed": 123, "num_predict": 20}}
        self.assertEqual(self.one("/api/generate", body)["response"], self.one("/api/generate", body)["response"])

    def test_with_options(self):
        options = {"num_keep": 5, "seed": 42, "num_predict": 100, "top_k": 20, "top_p": 0.9, "min_p": 0.0, "typical_p": 0.7,
                   "repeat_last_n": 33, "temperature": 0.8, "repeat_penalty": 1.2, "presence_penalty": 1.5, "frequency_penalty": 1.0,
                   "penalize_newline": True, "stop": ["\n", "user:"], "numa": False, "num_ctx": 1024, "num_batch": 2, "num_gpu": 1,
                   "main_gpu": 0, "use_mmap": True, "num_thread": 8}
        answer = self.one("/api/generate", {"model": "llama3.2", "prompt": "Why is the sky blue?", "stream": False, "options": options})
        self.assertNotIn("\n", answer["response"])

    def test_load_and_unload(self):
        short = {"model": str, "created_at": str, "response": str, "done": bool, "done_reason": str}
        for body, reason in (({"model": "llama3.2"}, "load"), ({"model": "llama3.2", "keep_alive": 0}, "unload")):
            answer = self.one("/api/generate", body)
            self.check_fields(answer, short)
            self.assertEqual((answer["response"], answer["done_reason"]), ("", reason))


class Chat(Case):
    WEATHER = [{"type": "function", "function": {
        "name": "get_weather", "description": "Get the weather in a given city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string", "description": "The city to get the weather for"}},
                       "required": ["city"]}}}]

    def test_streaming(self):
        records = self.lines("/api/chat", {"model": "llama3.2", "messages": [{"role": "user", "content": "why is the sky blue?"}]})
        self.check_stream(records, CHATTED)
        for record in records:
            self.assertEqual(list(record["message"]), ["role", "content"])
            self.assertEqual(record["message"]["role"], "assistant")
        self.assertEqual(records[-1]["message"]["content"], "")

    def test_no_streaming(self):
        answer = self.one("/api/chat", {"model": "llama3.2", "messages": [{"role": "user", "content": "why is the sky blue?"}], "stream": False})
        self.check_fields(answer, CHATTED)

    def test_history(self):
        records = self.lines("/api/chat", {"model": "llama3.2", "messages": [
            {"role": "user", "content": "why is the sky blue?"}, {"role": "assistant", "content": "due to rayleigh scattering."},
            {"role": "user", "content": "how is that different than mie scattering?"}]})
        self.check_stream(records, CHATTED)

    def test_tools(self):
        history = []
        for city, degrees in (("Rome", 30), ("Oslo", -5), ("Cairo", 41)):
            history += [{"role": "user", "content": f"what is the weather in {city}?"},
                        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "get_weather", "arguments": {"city": city}}}]},
                        {"role": "tool", "tool_name": "get_weather", "content": f"{degrees} degrees celsius"},
                        {"role": "assistant", "content": f"It is {degrees} degrees celsius in {city}."}]
        body = {"model": "llama3.2", "messages": [*history, {"role": "user", "content": "what is the weather in Tokyo?"}], "tools": self.WEATHER,
                "options": {"temperature": 0}}
        answer = self.one("/api/chat", {**body, "stream": False})
        self.check_fields(answer, CHATTED)
        self.assertEqual(list(answer["message"]), ["role", "content", "tool_calls"])
        function = answer["message"]["tool_calls"][0]["function"]
        self.assertEqual((function["name"], function["arguments"]), ("get_weather", {"city": "Tokyo"}))
        records = self.lines("/api/chat", body)
        self.check_stream(records, CHATTED)
        self.assertEqual([call["function"]["arguments"] for record in records for call in record["message"].get("tool_calls", [])],
                         [{"city": "Tokyo"}])

    def test_structured_output(self):
        answer = self.one("/api/chat", {
            "model": "llama3.1", "stream": False, "options": {"temperature": 0},
            "messages": [{"role": "user", "content": "Ollama is 22 years old and busy saving the world. Return a JSON object with the age and availability."}],
            "format": {"type": "object", "properties": {"age": {"type": "integer"}, "available": {"type": "boolean"}},
                       "required": ["age", "available"]}})
        self.assertEqual(set(json.loads(answer["message"]["content"])), {"age", "available"})

    def test_thinking(self):
        answer = self.one("/api/chat", {"model": "deepseek-r1", "messages": [{"role": "user", "content": "how many r in strawberry?"}],
                                        "think": True, "stream": False, "options": {"num_predict": 20}})
        self.assertEqual(list(answer["message"]), ["role", "content", "thinking"])

    def test_load_and_unload(self):
        for body, reason in (({"model": "llama3.2", "messages": []}, "load"), ({"model": "llama3.2", "messages": [], "keep_alive": 0}, "unload")):
            answer = self.one("/api/chat", body)
            self.check_fields(answer, {name: CHATTED[name] for name in ("model", "created_at", "message", "done", "done_reason")})
            self.assertEqual((answer["message"], answer["done_reason"]), ({"role": "assistant", "content": ""}, reason))


class Models(Case):
    DETAILS = {"parent_model": str, "format": str, "family": str, "families": list, "parameter_size": str, "quantization_level": str}

    def test_create_from_a_model(self):
        statuses = [record["status"] for record in self.lines("/api/create", {
            "model": "mario", "from": "llama3.2", "system": "You are Mario from Super Mario Bros."})]
        self.assertIn("writing manifest", statuses)
        self.assertEqual(statuses[-1], "success")
        self.assertEqual(curl("/api/delete", "-X", "DELETE", body={"model": "mario"})[0], 200)

    def test_create_from_a_file(self):
        with open(serving.SMOLLM2, "rb") as file:
            digest = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
        status, _, _ = curl(f"/api/blobs/{digest}", "-I")
        self.assertEqual(status, 200)  # the models of this server were made of it
        self.assertEqual(curl(f"/api/blobs/{digest}", "-X", "POST", "-T", str(serving.SMOLLM2))[0], 200)
        answer = self.one("/api/create", {"model": "my-gguf-model", "files": {"test.gguf": digest}, "stream": False})
        self.assertEqual(answer, {"status": "success"})
        self.assertEqual(curl("/api/delete", "-X", "DELETE", body={"model": "my-gguf-model"})[0], 200)

    def test_blobs(self):
        data = b"a blob of curl's"
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            self.assertEqual(curl(f"/api/blobs/{digest}", "-I")[0], 404)
            self.assertEqual(curl(f"/api/blobs/{digest}", "-X", "POST", "-T", file.name)[0], 201)
            self.assertEqual(curl(f"/api/blobs/{digest}", "-X", "POST", "-T", file.name)[0], 200)
            self.assertEqual(curl(f"/api/blobs/{digest}", "-I")[0], 200)
            other = "sha256:" + "0" * 64
            answer = self.one(f"/api/blobs/{other}", None, "-X", "POST", "-T", file.name, status=400)
            self.assertEqual(answer["error"], f'digest mismatch, expected "{other}", got "{digest}"')

    def test_quantize_is_refused_in_clear_words(self):
        answer = self.one("/api/create", {"model": "llama3.2:quantized", "from": "llama3.2", "quantize": "q4_K_M"}, status=400)
        self.assertIn("quantize is not supported", answer["error"])

    def test_tags(self):
        models = self.one("/api/tags")["models"]
        self.assertGreater(len(models), 8)
        for model in models:
            self.assertLessEqual({"name": str, "model": str, "modified_at": str, "size": int, "digest": str, "details": dict}.items(),
                                 {name: type(value) for name, value in model.items()}.items())
            self.assertEqual(list(model)[:6], ["name", "model", "modified_at", "size", "digest", "details"])
            self.assertRegex(model["digest"], "^[0-9a-f]{64}$")
            self.assertRegex(model["modified_at"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$")
            self.assertEqual({name: type(model["details"][name]) for name in self.DETAILS}, self.DETAILS)
        times = [model["modified_at"] for model in models]
        self.assertEqual(times, sorted(times, reverse=True))

    def test_show(self):
        answer = self.one("/api/show", {"model": "llama3.2"})
        for name, kind in {"modelfile": str, "parameters": str, "template": str, "details": dict, "model_info": dict, "capabilities": list,
                           "license": str, "modified_at": str}.items():
            self.assertIs(type(answer[name]), kind, name)
        self.assertIsNone(answer["model_info"]["tokenizer.ggml.tokens"])
        verbose = self.one("/api/show", {"model": "llama3.2", "verbose": True})
        self.assertEqual(len(verbose["model_info"]["tokenizer.ggml.tokens"]), 49152)

    def test_copy_and_delete(self):
        self.assertEqual(curl("/api/copy", body={"source": "llama3.2", "destination": "llama3-backup"})[::2], (200, ""))
        self.assertEqual(curl("/api/delete", "-X", "DELETE", body={"model": "llama3-backup"})[::2], (200, ""))
        self.assertEqual(self.one("/api/delete", {"model": "llama3-backup"}, "-X", "DELETE", status=404),
                         {"error": "model 'llama3-backup' not found"})

    def test_ps(self):
        self.one("/api/generate", {"model": "mistral", "keep_alive": 0})
        self.one("/api/generate", {"model": "mistral"})
        running = [model for model in self.one("/api/ps")["models"] if model["name"] == "mistral:latest"]
        self.assertEqual(len(running), 1)
        for name, kind in {"name": str, "model": str, "size": int, "digest": str, "details": dict, "expires_at": str, "size_vram": int,
                           "context_length": int}.items():
            self.assertIs(type(running[0][name]), kind, name)
        self.assertEqual({name: type(running[0]["details"][name]) for name in self.DETAILS}, self.DETAILS)

    def test_version(self):
        answer = self.one("/api/version")
        self.assertEqual(list(answer), ["version", "ollamax"])
        self.assertRegex(answer["version"], r"^\d+\.\d+\.\d+$")  # clients call int() on its parts
        self.assertGreaterEqual([int(part) for part in answer["version"].split(".")], [0, 6, 4])

    def test_pull_says_what_is_wrong(self):
        status, _, text = curl("/api/pull", body={"model": "127.0.0.1:1/library/absent"})
        self.assertTrue(status >= 400 or "error" in json.loads(text.strip().split("\n")[-1]), text)
        self.assertNotIn("not implemented", text)


class Embed(Case):
    def test_one_and_several(self):
        fields = {"model": str, "embeddings": list, "total_duration": int, "load_duration": int, "prompt_eval_count": int}
        one = self.one("/api/embed", {"model": "all-minilm", "input": "Why is the sky blue?"})
        self.check_fields(one, fields)
        several = self.one("/api/embed", {"model": "all-minilm", "input": ["Why is the sky blue?", "Why is the grass green?"]})
        self.check_fields(several, fields)
        self.assertEqual([len(vector) for vector in several["embeddings"]], [576, 576])

    def test_legacy(self):
        answer = self.one("/api/embeddings", {"model": "all-minilm", "prompt": "Here is an article about llamas..."})
        self.check_fields(answer, {"embedding": list})
        self.assertTrue(all(type(value) is float for value in answer["embedding"]))


class OpenAi(Case):
    def test_chat_completions(self):
        answer = self.one("/v1/chat/completions", {"model": "llama3.2", "messages": [
            {"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": "Hello!"}]},
            "-H", "Content-Type: application/json")
        self.assertEqual(list(answer), ["id", "object", "created", "model", "system_fingerprint", "choices", "usage"])
        self.assertEqual(list(answer["choices"][0]), ["index", "message", "finish_reason"])

    def test_chat_completions_stream(self):
        status, kind, text = curl("/v1/chat/completions", body={"model": "llama3.2", "stream": True, "max_tokens": 5, "messages": [
            {"role": "user", "content": "Hello!"}]})
        self.assertEqual((status, kind), (200, "text/event-stream"))
        events = text.split("\n\n")
        self.assertEqual(events[-2:], ["data: [DONE]", ""])
        for event in events[:-2]:
            self.assertTrue(re.fullmatch(r"data: \{.*\}", event), event)
