"""The Ollama classes of today's langchain-community: the same protocol with every option sent as null."""
import unittest

import probe
from langchain_community.chat_models import ChatOllama
from langchain_community.embeddings import OllamaEmbeddings
from langchain_community.llms import Ollama

PARIS = "What is the capital of France?"


class Community(unittest.TestCase):
    def test_llm(self):
        llm = Ollama(base_url=probe.URL, model="smollm2")
        self.assertIn("Paris", llm.invoke(PARIS))
        self.assertIn("Paris", "".join(llm.stream(PARIS)))

    def test_chat(self):
        answer = ChatOllama(base_url=probe.URL, model="smollm2").invoke(PARIS)
        self.assertIn("Paris", answer.content)
        self.assertGreater(answer.response_metadata["eval_count"], 0)

    def test_embeddings(self):
        self.assertEqual(len(OllamaEmbeddings(base_url=probe.URL, model="all-minilm").embed_query("a cat")), 576)

    def test_format_json(self):
        import json
        self.assertIsInstance(json.loads(Ollama(base_url=probe.URL, model="smollm2", format="json").invoke("A cat as JSON.")), dict)
