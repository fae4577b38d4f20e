"""litellm: `ollama/` (over /api/generate), `ollama_chat/` (over /api/chat) and `openai/` (over /v1)."""
import asyncio
import json
import os
import unittest

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it would fetch a file otherwise
import litellm  # noqa: E402
import probe  # noqa: E402

PARIS = [{"role": "user", "content": "What is the capital of France? Answer in one word."}]
WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "The weather in a city",
    "parameters": {"type": "object", "required": ["city"], "additionalProperties": False, "properties": {"city": {"type": "string", "maxLength": 20}}}}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "colour", "schema": {
    "type": "object", "required": ["colour"], "additionalProperties": False, "properties": {"colour": {"enum": ["red", "green", "blue"]}}}}}


def ask(provider, messages=None, model="smollm2", **fields):
    base = probe.URL + "/v1" if provider == "openai" else probe.URL
    return litellm.completion(model=f"{provider}/{model}", api_base=base, api_key="anything", messages=messages or PARIS, **fields)


class Completion(unittest.TestCase):
    def test_whole_answer(self):
        for provider in ("ollama", "ollama_chat", "openai"):
            with self.subTest(provider):
                answer = ask(provider, temperature=0)
                self.assertIn("Paris", answer.choices[0].message.content)
                self.assertEqual(answer.choices[0].finish_reason, "stop")
                self.assertGreater(answer.usage.prompt_tokens, 10)
                self.assertGreater(answer.usage.completion_tokens, 1)

    def test_stream(self):
        for provider in ("ollama", "ollama_chat", "openai"):
            with self.subTest(provider):
                text = "".join(chunk.choices[0].delta.content or "" for chunk in ask(provider, temperature=0, stream=True))
                self.assertIn("Paris", text)

    def test_async(self):
        async def run():
            answer = await litellm.acompletion(model="ollama_chat/smollm2", api_base=probe.URL, messages=PARIS, temperature=0)
            stream = await litellm.acompletion(model="ollama_chat/smollm2", api_base=probe.URL, messages=PARIS, temperature=0, stream=True)
            return answer.choices[0].message.content, "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        self.assertTrue(all("Paris" in text for text in asyncio.run(run())))

    def test_limits(self):
        answer = ask("ollama_chat", max_tokens=4)
        self.assertEqual((answer.usage.completion_tokens, answer.choices[0].finish_reason), (4, "length"))
        self.assertNotIn("\n", ask("ollama_chat", stop=["\n"]).choices[0].message.content)

    def test_tools_are_taken(self):
        self.assertIsNotNone(ask("ollama_chat", model="llama3.1", tools=[WEATHER]).choices[0].message)

    def test_forced_tool(self):
        answer = ask("openai", model="llama3.1", tools=[WEATHER], tool_choice="required")
        call = answer.choices[0].message.tool_calls[0]
        self.assertEqual((call.function.name, list(json.loads(call.function.arguments))), ("get_weather", ["city"]))

    def test_schema(self):
        for provider in ("ollama", "ollama_chat", "openai"):
            with self.subTest(provider):
                answer = ask(provider, response_format=SCHEMA)
                self.assertIn(json.loads(answer.choices[0].message.content)["colour"], ("red", "green", "blue"))

    def test_embedding(self):
        answer = litellm.embedding(model="ollama/all-minilm", api_base=probe.URL, input=["a cat", "a dog"])
        self.assertEqual([len(entry["embedding"]) for entry in answer.data], [576, 576])

    def test_errors(self):
        with self.assertRaises(Exception) as caught:
            ask("ollama_chat", model="absent")
        self.assertIn("model 'absent' not found", str(caught.exception))
        with self.assertRaises(litellm.NotFoundError):
            ask("openai", model="absent")
