"""llama-index-llms-ollama and llama-index-embeddings-ollama."""
import asyncio
import unittest

import probe
import pydantic
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.prompts import PromptTemplate
from llama_index.embeddings.ollama import OllamaEmbedding
from llama_index.llms.ollama import Ollama

PARIS = "What is the capital of France? Answer in one word."


def model(name="smollm2", **fields):
    return Ollama(model=name, base_url=probe.URL, request_timeout=120, temperature=0, context_window=2048, **fields)


class Llm(unittest.TestCase):
    def test_complete(self):
        self.assertIn("Paris", model().complete(PARIS).text)
        self.assertIn("Paris", list(model().stream_complete(PARIS))[-1].text)

    def test_chat(self):
        answer = model().chat([ChatMessage(role="system", content="You are terse."), ChatMessage(role="user", content=PARIS)])
        self.assertIn("Paris", answer.message.content)
        self.assertGreater(answer.raw["usage"]["completion_tokens"], 1)
        self.assertIn("Paris", list(model().stream_chat([ChatMessage(role="user", content=PARIS)]))[-1].message.content)

    def test_async(self):
        async def run():
            llm = model()
            whole = await llm.achat([ChatMessage(role="user", content=PARIS)])
            stream = await llm.astream_complete(PARIS)
            return whole.message.content, [piece async for piece in stream][-1].text
        self.assertTrue(all("Paris" in text for text in asyncio.run(run())))

    def test_thinking(self):
        answer = model("deepseek-r1", thinking=True).chat([ChatMessage(role="user", content="What is 3^3?")])
        kinds = [block.block_type for block in answer.message.blocks]
        self.assertEqual(sorted(kinds), ["text", "thinking"])

    def test_structured_prediction(self):
        class Person(pydantic.BaseModel):
            name: str
            age: int
        person = model(json_mode=False).structured_predict(Person, PromptTemplate("Ann is 30 years old."))
        self.assertIsInstance(person, Person)

    def test_embeddings(self):
        embedding = OllamaEmbedding(model_name="all-minilm", base_url=probe.URL)
        self.assertEqual(len(embedding.get_text_embedding("a cat")), 576)
        self.assertEqual([len(vector) for vector in embedding.get_text_embedding_batch(["a", "b", "c"])], [576] * 3)
