"""POST /v1/chat/completions through openai-python."""
import asyncio
import json
import math
import time

import openai
import probe
from common import MODEL, PERSON, SKY, TIME, WEATHER, Case, user


class Chat(Case):
    def ask(self, content=SKY, model=MODEL, **fields):
        messages = content if isinstance(content, list) else [user(content)]
        return self.client.chat.completions.create(model=model, messages=messages, **fields)

    def test_whole_answer(self):
        answer = self.ask("What is the capital of France? Answer in one word.", temperature=0)
        self.assertEqual((answer.object, answer.model), ("chat.completion", MODEL))
        self.assertTrue(answer.id.startswith("chatcmpl-"))
        self.assertIsInstance(answer.created, int)
        self.assertLess(abs(answer.created - time.time()), 60)
        self.assertEqual(len(answer.choices), 1)
        choice = answer.choices[0]
        self.assertEqual((choice.index, choice.message.role, choice.finish_reason), (0, "assistant", "stop"))
        self.assertIn("Paris", choice.message.content)
        self.assertIsNone(choice.message.tool_calls)
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)
        self.assertGreater(answer.usage.prompt_tokens, 10)

    def test_stream_with_usage(self):
        whole = self.ask(temperature=0, max_tokens=30)
        chunks = list(self.ask(temperature=0, max_tokens=30, stream=True, stream_options={"include_usage": True}))
        self.assertEqual(len({(chunk.id, chunk.created, chunk.object) for chunk in chunks}), 1)
        self.assertEqual(chunks[0].object, "chat.completion.chunk")
        self.assertEqual(chunks[0].choices[0].delta.role, "assistant")
        self.assertTrue(all(chunk.choices[0].delta.role is None for chunk in chunks[1:-1]))
        self.assertEqual([chunk.choices for chunk in chunks[-1:]], [[]])
        self.assertEqual(chunks[-1].usage.completion_tokens, 30)
        self.assertEqual(chunks[-1].usage.prompt_tokens, whole.usage.prompt_tokens)
        self.assertTrue(all(chunk.usage is None for chunk in chunks[:-1]))
        self.assertEqual(chunks[-2].choices[0].finish_reason, "length")
        self.assertTrue(all(chunk.choices[0].finish_reason is None for chunk in chunks[:-2]))
        self.assertEqual("".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]), whole.choices[0].message.content)
        self.assertTrue(all(chunk.usage is None for chunk in self.ask(max_tokens=3, stream=True)))

    def test_stream_helper(self):
        with self.client.chat.completions.stream(model=MODEL, messages=[user("What is the capital of France? Answer in one word.")], temperature=0) as stream:
            kinds = {event.type for event in stream}
            answer = stream.get_final_completion()
        self.assertLessEqual({"chunk", "content.delta", "content.done"}, kinds)
        self.assertIn("Paris", answer.choices[0].message.content)

    def test_async_stream(self):
        async def run():
            async with openai.AsyncOpenAI(base_url=probe.URL + "/v1", api_key="x", max_retries=0) as client:
                stream = await client.chat.completions.create(model=MODEL, messages=[user("What is the capital of France? Answer in one word.")],
                                                              temperature=0, stream=True)
                return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        self.assertIn("Paris", asyncio.run(run()))

    def test_content_may_be_parts_and_roles_new_names(self):
        answer = self.ask([{"role": "developer", "content": "You are terse."},
                           {"role": "user", "content": [{"type": "text", "text": "What is the capital of"}, {"type": "text", "text": "France?"}]}],
                          temperature=0)
        self.assertIn("Paris", answer.choices[0].message.content)

    def test_seed_makes_answers_repeat(self):
        answers = [self.ask(seed=seed, temperature=1.5, max_tokens=20).choices[0].message.content for seed in (7, 7, 8)]
        self.assertEqual(answers[0], answers[1])
        self.assertNotEqual(answers[0], answers[2])

    def test_stop(self):
        whole = self.ask(temperature=0, max_tokens=40).choices[0].message.content
        word = whole.split()[8]
        for stop in (word, [word, "zzzz"]):
            choice = self.ask(temperature=0, max_tokens=40, stop=stop).choices[0]
            self.assertEqual(choice.message.content, whole[:whole.index(word)])
            self.assertEqual(choice.finish_reason, "stop")

    def test_max_tokens(self):
        for name in ("max_tokens", "max_completion_tokens"):
            answer = self.ask(temperature=0, **{name: 4})
            self.assertEqual((answer.usage.completion_tokens, answer.choices[0].finish_reason), (4, "length"))

    def test_n_choices(self):
        def runs_on(n, max_tokens, **fields):
            """The answer of the first seed with which every choice runs into the limit."""
            for seed in range(1, 20):
                answer = self.ask(n=n, seed=seed, temperature=1.5, max_tokens=max_tokens, **fields)
                chunks = list(answer) if fields else [answer]
                if [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason] == ["length"] * n:
                    return chunks
            self.fail("no seed lets every choice run on")

        answer, = runs_on(3, 12)
        self.assertEqual([choice.index for choice in answer.choices], [0, 1, 2])
        self.assertEqual(len({choice.message.content for choice in answer.choices}), 3)
        self.assertEqual(answer.usage.completion_tokens, 36)
        chunks = runs_on(2, 6, stream=True)
        self.assertEqual({choice.index for chunk in chunks for choice in chunk.choices}, {0, 1})

    def test_logprobs(self):
        choice = self.ask(logprobs=True, top_logprobs=4, max_tokens=6, temperature=0).choices[0]
        self.assertEqual("".join(entry.token for entry in choice.logprobs.content), choice.message.content)
        for entry in choice.logprobs.content:
            self.assertEqual(bytes(entry.bytes).decode(), entry.token)
            self.assertEqual(len(entry.top_logprobs), 4)
            self.assertLessEqual(sum(math.exp(top.logprob) for top in entry.top_logprobs), 1.0001)
            self.assertEqual(entry.logprob, entry.top_logprobs[0].logprob)
        chunks = list(self.ask(logprobs=True, max_tokens=6, temperature=0, stream=True))
        streamed = [entry for chunk in chunks if chunk.choices[0].logprobs for entry in chunk.choices[0].logprobs.content]
        self.assertEqual([entry.token for entry in streamed], [entry.token for entry in choice.logprobs.content])

    def test_response_format_json_object(self):
        answer = self.ask('Reply with this JSON: {"animal": "cat", "legs": 4}', response_format={"type": "json_object"}, temperature=0, max_tokens=400)
        self.assertIsInstance(json.loads(answer.choices[0].message.content), dict)

    def test_response_format_schema(self):
        schema = {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": PERSON}}
        for seed in range(3):
            answer = self.ask("Ann is 30 years old.", response_format=schema, temperature=1.5, seed=seed)
            person = json.loads(answer.choices[0].message.content)
            self.assertEqual(set(person), {"name", "age"})
            self.assertTrue(0 <= person["age"] <= 150)

    def test_parse_helper(self):
        import pydantic

        class Person(pydantic.BaseModel):
            name: str
            age: int
        answer = self.client.chat.completions.parse(model=MODEL, messages=[user("Ann is 30 years old.")], response_format=Person,
                                                    temperature=0, max_tokens=300)
        self.assertIsInstance(answer.choices[0].message.parsed, Person)

    def test_reasoning_effort(self):
        answer = self.ask(model="thinking", reasoning_effort="high", max_tokens=20, temperature=0)
        self.assertGreater(len(answer.choices[0].message.reasoning), 10)
        off = self.ask(model="thinking", reasoning_effort="none", max_tokens=20, temperature=0)
        self.assertNotIn("reasoning", off.choices[0].message.model_extra)
        chunks = list(self.ask(model="thinking", reasoning_effort="high", max_tokens=20, temperature=0, stream=True))
        self.assertEqual("".join(chunk.choices[0].delta.model_extra.get("reasoning") or "" for chunk in chunks),
                         answer.choices[0].message.reasoning)

    def test_num_ctx_and_keep_alive_work_here_too(self):
        self.ask(max_tokens=2, extra_body={"options": {"num_ctx": 1024}, "keep_alive": "20m"})
        running = json.loads(probe.request("GET", "/api/ps")[2])["models"]
        self.assertEqual({model["name"]: model["context_length"] for model in running}[MODEL], 1024)

    def test_raw_response(self):
        raw = self.client.chat.completions.with_raw_response.create(model=MODEL, messages=[user("Hi")], max_tokens=2, temperature=0)
        self.assertEqual(raw.headers["content-type"], "application/json; charset=utf-8")
        self.assertTrue(raw.headers["x-request-id"])
        self.assertEqual(raw.parse().usage.completion_tokens, 2)

    def test_leaving_a_stream_ends_the_generation(self):
        stream = self.ask("Tell a very long story.", model=MODEL, max_tokens=3000, stream=True)
        next(iter(stream))
        stream.close()
        self.assertLess(probe.wait_until_idle(), 3)


class Tools(Case):
    def ask(self, tool_choice, tools=(WEATHER, TIME), text="What is the weather in Paris?", **fields):
        return self.client.chat.completions.create(model="tools", messages=[user(text)], tools=list(tools), tool_choice=tool_choice,
                                                   temperature=1.2, **fields)

    def check_call(self, call, names):
        self.assertEqual(call.type, "function")
        self.assertTrue(call.id)
        self.assertIn(call.function.name, names)
        arguments = json.loads(call.function.arguments)
        if call.function.name == "get_weather":
            self.assertEqual(list(arguments), ["city"])
            self.assertIsInstance(arguments["city"], str)
        else:
            self.assertEqual(list(arguments), ["zone"])
            self.assertTrue(-12 <= arguments["zone"] <= 12)

    def test_required_always_calls(self):
        for seed in range(4):
            choice = self.ask("required", seed=seed).choices[0]
            self.assertEqual(choice.finish_reason, "tool_calls")
            self.assertGreaterEqual(len(choice.message.tool_calls), 1)
            for call in choice.message.tool_calls:
                self.check_call(call, ("get_weather", "get_time"))

    def test_a_named_tool_is_the_one_called(self):
        for name in ("get_weather", "get_time"):
            choice = self.ask({"type": "function", "function": {"name": name}}, seed=3).choices[0]
            for call in choice.message.tool_calls:
                self.check_call(call, (name,))
            self.assertIn(choice.finish_reason, ("tool_calls", "stop"))

    def test_none_never_calls(self):
        rounds = [message for city, weather in (("Rome", "sunny"), ("Oslo", "snow"), ("Cairo", "hot")) for message in (
            user(f"What is the weather in {city}?"),
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "c" + city, "type": "function", "function": {"name": "get_weather", "arguments": json.dumps({"city": city})}}]},
            {"role": "tool", "tool_call_id": "c" + city, "content": weather},
            {"role": "assistant", "content": f"The weather in {city} is: {weather}."})]
        for choice_of_tools, calls in (("none", False), ("auto", True)):
            choice = self.client.chat.completions.create(model="tools", messages=[*rounds, user("What is the weather in Paris?")],
                                                         tools=[WEATHER], tool_choice=choice_of_tools, temperature=0).choices[0]
            self.assertEqual(bool(choice.message.tool_calls), calls, choice)
            self.assertEqual(choice.finish_reason, "tool_calls" if calls else "stop")

    def test_parallel_tool_calls_may_be_forbidden(self):
        choice = self.ask("required", seed=1, parallel_tool_calls=False).choices[0]
        self.assertEqual(len(choice.message.tool_calls), 1)

    def test_stream(self):
        with self.client.chat.completions.stream(model="tools", messages=[user("What is the weather in Paris?")], tools=[WEATHER],
                                                 tool_choice="required", temperature=0) as stream:
            for event in stream:
                if event.type == "chunk":
                    for choice in event.chunk.choices:
                        for call in choice.delta.tool_calls or []:
                            self.assertIsInstance(call.index, int)
            answer = stream.get_final_completion()
        self.assertEqual(answer.choices[0].finish_reason, "tool_calls")
        self.check_call(answer.choices[0].message.tool_calls[0], ("get_weather",))

    def test_answers_to_calls_are_read(self):
        messages = [user("What is the weather in Rome?"),
                    {"role": "assistant", "tool_calls": [{"id": "a1", "type": "function", "function": {
                        "name": "get_weather", "arguments": '{"city":"Rome"}'}}]},
                    {"role": "tool", "tool_call_id": "a1", "content": "The weather in Rome: heavy rain."}]
        answer = self.client.chat.completions.create(model="tools", messages=messages, tools=[WEATHER], temperature=0, tool_choice="none")
        self.assertIn("rain", answer.choices[0].message.content)

    def test_what_is_wrong_with_tools_is_said(self):
        self.check_error(openai.BadRequestError, [f"{MODEL} does not support tools"], self.client.chat.completions.create, model=MODEL,
                         messages=[user(SKY)], tools=[WEATHER])
        self.check_error(openai.BadRequestError, ["absent"], self.ask, {"type": "function", "function": {"name": "absent"}})
        self.check_error(openai.BadRequestError, ["sometimes"], self.ask, "sometimes")
        broken = [user("x"), {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{"}}]}]
        self.check_error(openai.BadRequestError, "invalid tool call arguments", self.client.chat.completions.create, model="tools",
                         messages=broken)
