"""POST /api/chat through ollama-python."""
import json

import ollama
from both import MODEL, SKY, both


def user(text):
    return {"role": "user", "content": text}


WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "The weather in a city",
    "parameters": {"type": "object", "required": ["city"],
                   "properties": {"city": {"type": "string", "description": "The city"}, "unit": {"type": "string", "enum": ["c", "f"]}}}}}


def call(city):
    return {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "get_weather", "arguments": {"city": city}}}]}


# Earlier rounds, so that a very small model goes on the same way.
ROUNDS = []
for city, weather in (("Rome", "sunny"), ("Oslo", "snow"), ("Cairo", "hot")):
    ROUNDS += [user(f"What is the weather in {city}?"), call(city), {"role": "tool", "tool_name": "get_weather", "content": weather},
               {"role": "assistant", "content": f"The weather in {city} is: {weather}."}]


def add_two_numbers(a: int, b: int) -> int:
    """Add two numbers.

    Args:
      a: The first number
      b: The second number

    Returns:
      int: The sum
    """
    return a + b


@both
class Chat:
    def test_whole_answer(self):
        answer = self.ask("chat", MODEL, [user("What is the capital of France? Answer in one word.")])
        self.assertIsInstance(answer, ollama.ChatResponse)
        self.assertEqual((answer.model, answer.message.role), (MODEL, "assistant"))
        self.assertIn("Paris", answer.message.content)
        self.assertIsNone(answer.message.tool_calls)
        self.check_last(answer, answer.done_reason)

    def test_stream_joins_to_the_whole_answer(self):
        whole = self.ask("chat", MODEL, [user(SKY)], options={"num_predict": 40})
        records = self.stream("chat", MODEL, [user(SKY)], options={"num_predict": 40})
        self.assertGreater(len(records), 10)
        self.assertTrue(all(record.message.role == "assistant" for record in records))
        self.assertEqual("".join(record.message.content for record in records), whole.message.content)
        self.assertEqual(records[-1].message.content, "")
        self.assertTrue(all(record.done is False for record in records[:-1]))
        self.check_last(records[-1], "length")

    def test_history_and_system_are_read(self):
        answer = self.ask("chat", MODEL, [{"role": "system", "content": "You are terse."}, user("My name is Zanzibar. Remember it."),
                                          {"role": "assistant", "content": "Hello Zanzibar."}, user("What is my name?")])
        self.assertIn("Zanzibar", answer.message.content)

    def test_messages_may_be_objects_of_the_client(self):
        answer = self.ask("chat", MODEL, [ollama.Message(role="user", content="What is the capital of France? Answer in one word.")])
        self.assertIn("Paris", answer["message"]["content"])

    def test_tools_are_refused_by_a_model_that_cannot(self):
        self.check_error(400, f"registry.ollama.ai/library/{MODEL} does not support tools", "chat", MODEL, [user(SKY)], tools=[WEATHER])

    def test_tools_stand_in_the_prompt(self):
        without = self.ask("chat", "tools", [user("Hi")], options={"num_predict": 4})
        given = self.ask("chat", "tools", [user("Hi")], tools=[WEATHER], options={"num_predict": 4})
        self.assertGreater(given.prompt_eval_count, without.prompt_eval_count + 40)

    def test_python_functions_are_tools(self):
        answer = self.ask("chat", "tools", [user("Hi")], tools=[add_two_numbers], options={"num_predict": 4})
        self.assertGreater(answer.prompt_eval_count, 60)

    def test_a_tool_is_called(self):
        answer = self.ask("chat", "tools", [*ROUNDS, user("What is the weather in Paris?")], tools=[WEATHER])
        self.assertEqual(len(answer.message.tool_calls), 1, answer)
        self.assertEqual(answer.message.tool_calls[0].function.name, "get_weather")
        self.assertEqual(answer.message.tool_calls[0].function.arguments, {"city": "Paris"})
        self.assertNotIn("<tool_call>", answer.message.content)
        self.check_last(answer)

    def test_a_tool_is_called_in_a_stream(self):
        records = self.stream("chat", "tools", [*ROUNDS, user("What is the weather in Paris?")], tools=[WEATHER])
        calls = [call for record in records for call in record.message.tool_calls or []]
        self.assertEqual([(call.function.name, call.function.arguments) for call in calls], [("get_weather", {"city": "Paris"})])
        self.assertNotIn("tool_call", "".join(record.message.content for record in records))

    def test_an_answer_to_a_tool_is_read(self):
        # The client drops the ids of calls: the answer belongs to the call before it.
        answer = self.ask("chat", "tools", [*ROUNDS, user("What is the weather in Paris?"), call("Paris"),
                                            {"role": "tool", "content": "rainy"}], tools=[WEATHER])
        self.assertIn("rain", answer.message.content)

    def test_thinking_is_refused_by_a_model_that_cannot(self):
        self.check_error(400, f'"{MODEL}" does not support thinking', "chat", MODEL, [user(SKY)], think=True)

    def test_thinking_is_kept_apart(self):
        answer = self.ask("chat", "thinking", [user(SKY)], think=True, options={"num_predict": 20})
        self.assertGreater(len(answer.message.thinking), 10)
        self.assertNotIn("<think>", answer.message.thinking + answer.message.content)
        records = self.stream("chat", "thinking", [user(SKY)], think=True, options={"num_predict": 20})
        self.assertEqual("".join(record.message.thinking or "" for record in records), answer.message.thinking)
        off = self.ask("chat", "thinking", [user(SKY)], think=False, options={"num_predict": 20})
        self.assertIsNone(off.message.thinking)
        self.assertGreater(len(off.message.content), 10)

    def test_images_are_refused_by_a_text_model(self):
        self.check_error(400, f"registry.ollama.ai/library/{MODEL} does not support vision", "chat", MODEL,
                         [{"role": "user", "content": "What is this?", "images": ["aGVsbG8="]}])

    def test_logprobs(self):
        answer = self.ask("chat", MODEL, [user(SKY)], logprobs=True, top_logprobs=5, options={"num_predict": 6})
        self.assertEqual("".join(entry.token for entry in answer.logprobs), answer.message.content)
        self.assertTrue(all(len(entry.top_logprobs) == 5 for entry in answer.logprobs))
        records = self.stream("chat", MODEL, [user(SKY)], logprobs=True, options={"num_predict": 6})
        self.assertEqual(sum(len(record.logprobs or []) for record in records), 6)

    def test_format_json(self):
        answer = self.ask("chat", MODEL, [user('Reply with this JSON: {"animal": "cat", "legs": 4}')], format="json", options={"num_predict": 400})
        self.assertIsInstance(json.loads(answer.message.content), dict)

    def test_format_schema(self):
        schema = {"type": "object", "required": ["colour"], "additionalProperties": False,
                  "properties": {"colour": {"enum": ["red", "green", "blue"]}}}
        for text in (self.ask("chat", MODEL, [user(SKY)], format=schema).message.content,
                     "".join(record.message.content for record in self.stream("chat", MODEL, [user(SKY)], format=schema))):
            self.assertIn(json.loads(text)["colour"], ("red", "green", "blue"))

    def test_empty_messages_load_and_keep_alive_0_unloads(self):
        loaded = self.ask("chat", MODEL, [], keep_alive=60)
        self.assertEqual((loaded.done_reason, loaded.message.content), ("load", ""))
        unloaded = self.ask("chat", MODEL, [], keep_alive=0)
        self.assertEqual((unloaded.done_reason, unloaded.message.content), ("unload", ""))

    def test_unknown_model_is_404(self):
        self.check_error(404, "model 'absent' not found", "chat", "absent", [user(SKY)])
        with self.assertRaises(ollama.ResponseError) as caught:
            self.stream("chat", "absent", [user(SKY)])
        self.assertEqual((caught.exception.status_code, caught.exception.error), (404, "model 'absent' not found"))
