"""The Ollama classes of today's langchain-community: the same protocol with every option sent as null."""
import json
import unittest

import probe
from langchain_community.embeddings import OllamaEmbeddings
from langchain_community.llms import Ollama

PARIS = "What is the capital of France? Answer in one word."


class Community(unittest.TestCase):
    def test_llm(self):
        llm = Ollama(base_url=probe.URL, model="smollm2")
        self.assertIn("Paris", llm.invoke(PARIS))
        self.assertIn("Paris", "".join(llm.stream(PARIS)))

    def test_embeddings(self):
        self.assertEqual(len(OllamaEmbeddings(base_url=probe.URL, model="all-minilm").embed_query("a cat")), 576)

    def test_format_json(self):
        llm = Ollama(base_url=probe.URL, model="smollm2", format="json", num_predict=400)
        self.assertIsInstance(json.loads(llm.invoke('Reply with this JSON: {"animal": "cat", "legs": 4}')), dict)
