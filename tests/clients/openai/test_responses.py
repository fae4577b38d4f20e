"""POST /v1/responses through openai-python."""
import json

import openai
from common import MODEL, PERSON, SKY, Case, user

WEATHER = {"type": "function", "name": "get_weather", "description": "The weather in a city", "strict": True,
           "parameters": {"type": "object", "required": ["city"], "additionalProperties": False,
                          "properties": {"city": {"type": "string", "maxLength": 20}}}}


class Responses(Case):
    def test_whole_answer(self):
        answer = self.client.responses.create(model=MODEL, input="What is the capital of France? Answer in one word.", temperature=0)
        self.assertEqual((answer.object, answer.status, answer.model), ("response", "completed", MODEL))
        self.assertTrue(answer.id.startswith("resp_"))
        self.assertIn("Paris", answer.output_text)
        self.assertEqual([(item.type, item.role, item.status) for item in answer.output], [("message", "assistant", "completed")])
        self.assertEqual(answer.usage.total_tokens, answer.usage.input_tokens + answer.usage.output_tokens)
        self.assertEqual(answer.usage.output_tokens_details.reasoning_tokens, 0)
        self.assertIsNone(answer.error)

    def test_items_and_instructions(self):
        answer = self.client.responses.create(model=MODEL, instructions="You are terse.", temperature=0, input=[
            user("My name is Zanzibar. Remember it."), {"role": "assistant", "content": [{"type": "output_text", "text": "Hello Zanzibar."}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "What is my name?"}]}])
        self.assertIn("Zanzibar", answer.output_text)

    def test_stream(self):
        with self.client.responses.stream(model=MODEL, input="What is the capital of France? Answer in one word.", temperature=0) as stream:
            events = list(stream)
            answer = stream.get_final_response()
        kinds = [event.type for event in events]
        self.assertEqual(kinds[:4], ["response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"])
        self.assertEqual(kinds[-4:], ["response.output_text.done", "response.content_part.done", "response.output_item.done",
                                      "response.completed"])
        numbers = [event.sequence_number for event in events]
        self.assertEqual(numbers, sorted(set(numbers)))
        text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        self.assertEqual(text, answer.output_text)
        self.assertIn("Paris", text)

    def test_tools(self):
        answer = self.client.responses.create(model="tools", input="What is the weather in Paris?", tools=[WEATHER], tool_choice="required", temperature=0)
        calls = [item for item in answer.output if item.type == "function_call"]
        self.assertGreaterEqual(len(calls), 1)
        self.assertEqual(calls[0].name, "get_weather")
        self.assertEqual(list(json.loads(calls[0].arguments)), ["city"])
        self.assertTrue(calls[0].call_id)
        # The call and its result go back as items.
        after = self.client.responses.create(model="tools", tools=[WEATHER], tool_choice="none", temperature=0, input=[
            user("What is the weather in Rome?"),
            {"type": "function_call", "call_id": "a1", "name": "get_weather", "arguments": '{"city":"Rome"}'},
            {"type": "function_call_output", "call_id": "a1", "output": "The weather in Rome: heavy rain."}])
        self.assertIn("rain", after.output_text)

    def test_tools_in_a_stream(self):
        with self.client.responses.stream(model="tools", input="What is the weather in Paris?", tools=[WEATHER], temperature=0, max_output_tokens=400,
                                          tool_choice={"type": "function", "name": "get_weather"}) as stream:
            kinds = [event.type for event in stream]
            answer = stream.get_final_response()
        for kind in ("response.function_call_arguments.delta", "response.function_call_arguments.done", "response.completed"):
            self.assertIn(kind, kinds)
        self.assertEqual({item.name for item in answer.output}, {"get_weather"})

    def test_schema(self):
        answer = self.client.responses.create(model=MODEL, input="Ann is 30 years old.", temperature=0,
                                              text={"format": {"type": "json_schema", "name": "person", "strict": True, "schema": PERSON}})
        self.assertEqual(set(json.loads(answer.output_text)), {"name", "age"})

    def test_reasoning(self):
        answer = self.client.responses.create(model="thinking", input=SKY, reasoning={"effort": "high"}, max_output_tokens=20, temperature=0)
        reasoning = [item for item in answer.output if item.type == "reasoning"]
        self.assertEqual(len(reasoning), 1)
        self.assertGreater(len(reasoning[0].summary[0].text), 10)

    def test_errors(self):
        self.check_error(openai.NotFoundError, "model 'absent' not found", self.client.responses.create, model="absent", input=SKY)
        self.check_error(openai.BadRequestError, ["unknown"], self.client.responses.create, model=MODEL, input=[{"type": "strange"}])
