"""llm with llm-ollama, on the command line as people use it."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import probe


class Llm(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.env = dict(os.environ, LLM_USER_PATH=cls.folder.name, OLLAMA_HOST=probe.URL)

    def llm(self, *words, stdin=None):
        program = pathlib.Path(sys.executable).parent / "llm"
        done = subprocess.run([program, *words], env=self.env, capture_output=True, text=True, input=stdin, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_models_are_found(self):
        self.assertIn("Ollama: ollama/smollm2", self.llm("models"))
        listed = self.llm("ollama", "models")
        self.assertIn("smollm2:135m", listed)
        self.assertIn("all-minilm", self.llm("embed-models"))

    def test_prompt(self):
        self.assertIn("Paris", self.llm("-m", "ollama/smollm2:135m", "-o", "temperature", "0", "What is the capital of France? Answer in one word."))
        self.assertIn("Paris", self.llm("-m", "ollama/smollm2:135m", "--no-stream", "-o", "temperature", "0", "What is the capital of France? Answer in one word."))
        self.assertGreater(len(self.llm("-m", "ollama/smollm2:135m", "-s", "You are a pirate.", stdin="Who are you?")), 3)

    def test_conversation_goes_on(self):
        self.llm("-m", "ollama/smollm2:135m", "-o", "temperature", "0", "My name is Zanzibar. Remember it.")
        self.assertIn("Zanzibar", self.llm("-c", "-o", "temperature", "0", "What is my name?"))

    def test_usage_is_reported(self):
        self.llm("-m", "ollama/smollm2:135m", "-o", "num_predict", "5", "Tell a story.")
        logged = json.loads(self.llm("logs", "-n", "1", "--json"))[0]
        self.assertEqual(logged["output_tokens"], 5)
        self.assertGreater(logged["input_tokens"], 5)

    def test_embed(self):
        self.assertEqual(len(json.loads(self.llm("embed", "-m", "ollama/all-minilm", "-c", "a cat"))), 576)

    def test_schema(self):
        person = json.loads(self.llm("-m", "ollama/smollm2:135m", "--schema", "name, age int", "Ann is 30 years old."))
        self.assertIsInstance(person["age"], int)
