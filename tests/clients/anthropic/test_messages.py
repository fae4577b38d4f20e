"""POST /v1/messages and /v1/messages/count_tokens through anthropic's package."""
import asyncio
import json
import unittest

import anthropic
import probe

MODEL = "smollm2:135m"
SKY = "Why is the sky blue?"
WEATHER = {"name": "get_weather", "description": "The weather in a city",
           "input_schema": {"type": "object", "required": ["city"], "additionalProperties": False,
                            "properties": {"city": {"type": "string", "maxLength": 20}}}}
TIME = {"name": "get_time", "input_schema": {"type": "object", "required": ["zone"], "additionalProperties": False,
                                             "properties": {"zone": {"type": "integer", "minimum": -12, "maximum": 12}}}}


def user(text):
    return {"role": "user", "content": text}


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.client = anthropic.Anthropic(base_url=probe.URL, api_key="anything", max_retries=0)
        cls.addClassCleanup(cls.client.close)

    def ask(self, content=SKY, model=MODEL, max_tokens=200, **fields):
        # What this version of the client has no parameter for any more goes into the body as it is.
        extra = {name: fields.pop(name) for name in ("temperature", "top_k", "top_p", "thinking") if name in fields}
        if extra:
            fields["extra_body"] = extra
        messages = content if isinstance(content, list) else [user(content)]
        return self.client.messages.create(model=model, max_tokens=max_tokens, messages=messages, **fields)

    def check_error(self, kind, text, call, **fields):
        with self.assertRaises(kind) as caught:
            call(**fields)
        self.assertIs(type(caught.exception), kind)
        body = caught.exception.body
        self.assertEqual(body["type"], "error")
        self.assertTrue(body["request_id"].startswith("req_"), body)
        self.assertIn(text, body["error"]["message"])
        return body["error"]["type"]


class Messages(Case):
    def test_whole_answer(self):
        answer = self.ask("What is the capital of France? Answer in one word.")
        self.assertEqual((answer.type, answer.role, answer.model, answer.stop_reason), ("message", "assistant", MODEL, "end_turn"))
        self.assertTrue(answer.id.startswith("msg_"))
        self.assertEqual([block.type for block in answer.content], ["text"])
        self.assertIn("Paris", answer.content[0].text)
        self.assertGreater(answer.usage.input_tokens, 10)
        self.assertGreater(answer.usage.output_tokens, 1)

    def test_stream(self):
        whole = self.ask(max_tokens=30)
        with self.client.messages.stream(model=MODEL, max_tokens=30, messages=[user(SKY)]) as stream:
            text = "".join(stream.text_stream)
            answer = stream.get_final_message()
        self.assertEqual(text, whole.content[0].text)
        self.assertEqual(answer.content[0].text, text)
        self.assertEqual((answer.stop_reason, answer.usage.output_tokens), ("max_tokens", 30))
        self.assertEqual(answer.usage.input_tokens, whole.usage.input_tokens)

    def test_events_come_in_order(self):
        kinds = [event.type for event in self.ask(max_tokens=8, stream=True)]
        self.assertEqual(kinds[:2], ["message_start", "content_block_start"])
        self.assertEqual(kinds[-3:], ["content_block_stop", "message_delta", "message_stop"])
        self.assertLessEqual(set(kinds[2:-3]), {"content_block_delta", "ping"})

    def test_async_stream(self):
        async def run():
            async with anthropic.AsyncAnthropic(base_url=probe.URL, api_key="x", max_retries=0) as client:
                async with client.messages.stream(model=MODEL, max_tokens=60, messages=[user("What is the capital of France? Answer in one word.")]) as stream:
                    return "".join([piece async for piece in stream.text_stream])
        self.assertIn("Paris", asyncio.run(run()))

    def test_system_as_text_and_as_blocks(self):
        as_text = self.ask("Hi", system="You are a pirate.", max_tokens=4)
        as_blocks = self.ask("Hi", system=[{"type": "text", "text": "You are "},
                                           {"type": "text", "text": "a pirate.", "cache_control": {"type": "ephemeral"}}], max_tokens=4)
        self.assertEqual(as_text.usage.input_tokens, as_blocks.usage.input_tokens)
        self.assertEqual(as_text.content[0].text, as_blocks.content[0].text)

    def test_conversation_of_blocks(self):
        answer = self.ask([user("My name is Zanzibar. Remember it."), {"role": "assistant", "content": [{"type": "text", "text": "Hello Zanzibar."}]},
                           {"role": "user", "content": [{"type": "text", "text": "What is my name?"}]}])
        self.assertIn("Zanzibar", answer.content[0].text)

    def test_sampling_and_stop_sequences(self):
        whole = self.ask(temperature=0, max_tokens=40).content[0].text
        word = whole.split()[8]
        answer = self.ask(temperature=0, max_tokens=40, stop_sequences=[word], top_k=10, top_p=0.9)
        self.assertEqual(answer.content[0].text, whole[:whole.index(word)])
        self.assertIn(answer.stop_reason, ("end_turn", "stop_sequence"))
        self.assertEqual(self.ask(max_tokens=3).stop_reason, "max_tokens")

    def test_count_tokens(self):
        counted = self.client.messages.count_tokens(model=MODEL, messages=[user(SKY)], system="You are terse.")
        answer = self.ask(system="You are terse.", max_tokens=1)
        self.assertEqual(counted.input_tokens, answer.usage.input_tokens)
        with_tools = self.client.messages.count_tokens(model="tools", messages=[user(SKY)], tools=[WEATHER])
        self.assertGreater(with_tools.input_tokens, counted.input_tokens)

    def test_models(self):
        self.assertIn(MODEL, [model.id for model in self.client.models.list()])

    def test_thinking(self):
        answer = self.ask(model="thinking", max_tokens=20, thinking={"type": "enabled", "budget_tokens": 1024})
        self.assertEqual(answer.content[0].type, "thinking")
        self.assertGreater(len(answer.content[0].thinking), 10)
        off = self.ask(model="thinking", max_tokens=20, thinking={"type": "disabled"})
        self.assertEqual([block.type for block in off.content], ["text"])
        # A model that cannot think is not asked to.
        self.assertEqual(self.ask(max_tokens=4, thinking={"type": "enabled", "budget_tokens": 1024}).content[0].type, "text")

    def test_errors(self):
        self.assertEqual(self.check_error(anthropic.NotFoundError, "model 'absent' not found", self.ask, model="absent"), "not_found_error")
        self.assertEqual(self.check_error(anthropic.BadRequestError, "messages is required", self.ask, content=[]), "invalid_request_error")
        self.check_error(anthropic.BadRequestError, "max_tokens is required and must be positive", self.ask, max_tokens=0)
        self.check_error(anthropic.BadRequestError, "does not support tools", self.ask, tools=[WEATHER])
        self.check_error(anthropic.BadRequestError, "does not support vision", self.ask, content=[{"role": "user", "content": [
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGVsbG8="}}]}])

    def test_leaving_a_stream_ends_the_generation(self):
        with self.client.messages.stream(model=MODEL, max_tokens=3000, messages=[user("Tell a very long story.")]) as stream:
            next(iter(stream.text_stream))
        self.assertLess(probe.wait_until_idle(), 3)


class Tools(Case):
    def check_call(self, answer, names):
        self.assertEqual(answer.stop_reason, "tool_use")
        calls = [block for block in answer.content if block.type == "tool_use"]
        self.assertGreaterEqual(len(calls), 1)
        for call in calls:
            self.assertIn(call.name, names)
            self.assertTrue(call.id)
            self.assertEqual(list(call.input), ["city"] if call.name == "get_weather" else ["zone"])
        return calls

    def test_any_always_calls(self):
        for temperature in (0, 0.7, 1.0):
            any_one = {"type": "any", "disable_parallel_tool_use": True}
            self.check_call(self.ask(model="tools", tools=[WEATHER, TIME], tool_choice=any_one, temperature=temperature),
                            ("get_weather", "get_time"))

    def test_a_named_tool_is_the_one_called(self):
        for name in ("get_weather", "get_time"):
            # One call: a model so small goes on calling as long as it may.
            only = {"type": "tool", "name": name, "disable_parallel_tool_use": True}
            self.check_call(self.ask(model="tools", tools=[WEATHER, TIME], tool_choice=only), (name,))

    def test_none_never_calls(self):
        answer = self.ask(model="tools", tools=[WEATHER], tool_choice={"type": "none"}, max_tokens=40)
        self.assertEqual([block.type for block in answer.content], ["text"])

    def test_one_call_at_most_when_asked_so(self):
        answer = self.ask(model="tools", tools=[WEATHER], tool_choice={"type": "any", "disable_parallel_tool_use": True})
        self.assertEqual(len(self.check_call(answer, ("get_weather",))), 1)

    def test_stream(self):
        with self.client.messages.stream(model="tools", max_tokens=200, messages=[user("What is the weather in Paris?")], tools=[WEATHER],
                                         tool_choice={"type": "any"}) as stream:
            deltas = [event.partial_json for event in stream if event.type == "input_json"]
            answer = stream.get_final_message()
        self.assertEqual(list(json.loads("".join(deltas[:1] if len(answer.content) > 1 else deltas))), ["city"])
        self.check_call(answer, ("get_weather",))

    def test_results_are_read(self):
        answer = self.ask([user("What is the weather in Rome?"),
                           {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "get_weather", "input": {"city": "Rome"}}]},
                           {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1",
                                                         "content": "The weather in Rome: heavy rain."}]}],
                          model="tools", tools=[WEATHER], tool_choice={"type": "none"})
        self.assertIn("rain", answer.content[0].text)
