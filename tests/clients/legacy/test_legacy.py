"""Programs as they were written in 2024: requests, and the Ollama classes that langchain-community had then."""
import asyncio
import json
import unittest

import probe
import requests
from langchain.chains import LLMChain
from langchain.prompts import PromptTemplate
from langchain_community.chat_models import ChatOllama
from langchain_community.embeddings import OllamaEmbeddings
from langchain_community.llms import Ollama

PARIS = "What is the capital of France? Answer in one word."


class Requests(unittest.TestCase):
    def test_generate(self):
        answer = requests.post(f"{probe.URL}/api/generate", json={"model": "smollm2", "prompt": PARIS, "stream": False})
        answer.raise_for_status()
        self.assertIn("Paris", answer.json()["response"])

    def test_generate_stream(self):
        with requests.post(f"{probe.URL}/api/generate", json={"model": "smollm2", "prompt": PARIS}, stream=True) as answer:
            records = [json.loads(line) for line in answer.iter_lines()]
        self.assertIn("Paris", "".join(record["response"] for record in records))
        self.assertTrue(records[-1]["done"])

    def test_errors(self):
        answer = requests.post(f"{probe.URL}/api/generate", json={"model": "absent", "prompt": "x"})
        self.assertEqual((answer.status_code, answer.json()), (404, {"error": "model 'absent' not found"}))


class Community(unittest.TestCase):
    def test_llm(self):
        llm = Ollama(base_url=probe.URL, model="smollm2")
        self.assertIn("Paris", llm.invoke(PARIS))
        self.assertIn("Paris", "".join(llm.stream(PARIS)))
        self.assertEqual(len(llm.batch(["One", "Two"])), 2)
        self.assertIn("Paris", asyncio.run(llm.ainvoke(PARIS)))
        self.assertNotIn("Paris", llm.invoke(PARIS, stop=["Paris"]))

    def test_chain(self):
        chain = LLMChain(llm=Ollama(base_url=probe.URL, model="smollm2"),
                         prompt=PromptTemplate.from_template("What is the capital of {country}?"))
        self.assertIn("Paris", chain.invoke({"country": "France"})["text"])

    def test_options(self):
        llm = Ollama(base_url=probe.URL, model="smollm2", num_predict=3, temperature=0.5, top_k=10, mirostat=1, num_ctx=1024, system="Be terse.")
        self.assertLess(len(llm.invoke("Tell a long story.")), 60)

    def test_chat(self):
        answer = ChatOllama(base_url=probe.URL, model="smollm2").invoke(PARIS)
        self.assertIn("Paris", answer.content)
        self.assertIn("eval_count", answer.response_metadata)
        self.assertIn("Paris", "".join(piece.content for piece in ChatOllama(base_url=probe.URL, model="smollm2").stream(PARIS)))

    def test_embeddings(self):
        embeddings = OllamaEmbeddings(base_url=probe.URL, model="all-minilm")
        self.assertEqual(len(embeddings.embed_query("a cat")), 576)
        self.assertEqual([len(vector) for vector in embeddings.embed_documents(["a", "b"])], [576, 576])

    def test_missing_model(self):
        with self.assertRaises(Exception) as caught:
            Ollama(base_url=probe.URL, model="absent").invoke("x")
        self.assertIn("absent", str(caught.exception))
