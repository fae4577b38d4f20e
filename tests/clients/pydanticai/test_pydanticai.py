"""pydantic-ai, which checks the shape of every /v1 answer more strictly than openai's own package."""
import asyncio
import unittest

import probe
import pydantic
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.ollama import OllamaProvider

PARIS = "What is the capital of France? Answer in one word."


class Person(pydantic.BaseModel):
    name: str
    age: int


def agent(model="smollm2", **fields):
    provider = OllamaProvider(base_url=probe.URL + "/v1")
    return Agent(OpenAIChatModel(model, provider=provider), model_settings={"temperature": 0, "max_tokens": 200}, **fields)


class Agents(unittest.TestCase):
    def test_run(self):
        result = agent().run_sync(PARIS)
        self.assertIn("Paris", result.output)

    def test_stream(self):
        async def run():
            async with agent().run_stream(PARIS) as result:
                return "".join([piece async for piece in result.stream_text(delta=True)])
        self.assertIn("Paris", asyncio.run(run()))

    def test_conversation(self):
        first = agent().run_sync("My name is Zanzibar. Remember it.")
        second = agent().run_sync("What is my name?", message_history=first.new_messages())
        self.assertIn("Zanzibar", second.output)

    def test_structured_output(self):
        result = agent(output_type=NativeOutput(Person)).run_sync("Ann is 30 years old.")
        self.assertIsInstance(result.output, Person)

    def test_structured_output_through_a_tool(self):
        result = agent("llama3.1", output_type=Person).run_sync("Ann is 30 years old.")
        self.assertIsInstance(result.output, Person)
