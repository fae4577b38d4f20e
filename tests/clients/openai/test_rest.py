"""/v1/completions, /v1/embeddings, /v1/models and errors through openai-python."""
import math

import openai
import probe
from common import MODEL, SKY, Case, user


class Completions(Case):
    def test_whole_answer(self):
        answer = self.client.completions.create(model=MODEL, prompt=SKY, max_tokens=10, temperature=0)
        self.assertEqual((answer.object, answer.model), ("text_completion", MODEL))
        self.assertTrue(answer.id.startswith("cmpl-"))
        self.assertEqual((answer.choices[0].index, answer.choices[0].finish_reason), (0, "length"))
        self.assertEqual(answer.usage.completion_tokens, 10)

    def test_stream(self):
        whole = self.client.completions.create(model=MODEL, prompt=SKY, max_tokens=10, temperature=0).choices[0].text
        chunks = list(self.client.completions.create(model=MODEL, prompt=SKY, max_tokens=10, temperature=0, stream=True,
                                                     stream_options={"include_usage": True}))
        self.assertEqual("".join(chunk.choices[0].text for chunk in chunks if chunk.choices), whole)
        self.assertEqual(chunks[-1].usage.completion_tokens, 10)
        self.assertEqual([chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1], "length")

    def test_several_prompts_and_suffix(self):
        answer = self.client.completions.create(model=MODEL, prompt=["One", "Two"], max_tokens=3, temperature=0)
        self.assertEqual([choice.index for choice in answer.choices], [0, 1])
        self.check_error(openai.BadRequestError, [f"{MODEL} does not support insert"], self.client.completions.create, model=MODEL,
                         prompt="def f(", suffix="return")
        filled = self.client.completions.create(model="insert", prompt="def f(", suffix="return", max_tokens=4)
        self.assertLessEqual(filled.usage.completion_tokens, 4)

    def test_logprobs(self):
        choice = self.client.completions.create(model=MODEL, prompt=SKY, max_tokens=5, temperature=0, logprobs=2).choices[0]
        self.assertEqual("".join(choice.logprobs.tokens), choice.text)
        self.assertEqual(len(choice.logprobs.token_logprobs), 5)
        self.assertTrue(all(len(top) == 2 for top in choice.logprobs.top_logprobs))


class Embeddings(Case):
    def test_base64_is_what_the_client_asks_for(self):
        encoded = self.client.embeddings.create(model="all-minilm", input=["a cat", "a dog"])
        plain = self.client.embeddings.create(model="all-minilm", input=["a cat", "a dog"], encoding_format="float")
        self.assertEqual((encoded.object, encoded.model), ("list", "all-minilm"))
        self.assertEqual([entry.index for entry in encoded.data], [0, 1])
        for one, other in zip(encoded.data, plain.data):
            self.assertEqual(len(one.embedding), 576)
            self.assertAlmostEqual(math.sqrt(sum(value * value for value in one.embedding)), 1, places=4)
            self.assertLess(max(abs(a - b) for a, b in zip(one.embedding, other.embedding)), 1e-6)
        self.assertEqual(encoded.usage.prompt_tokens, encoded.usage.total_tokens)
        self.assertGreater(encoded.usage.prompt_tokens, 3)

    def test_dimensions_and_errors(self):
        self.assertEqual(len(self.client.embeddings.create(model="all-minilm", input="a cat", dimensions=32).data[0].embedding), 32)
        self.check_error(openai.NotFoundError, ["absent"], self.client.embeddings.create, model="absent", input="x")
        self.check_error(openai.BadRequestError, "invalid input", self.client.embeddings.create, model="all-minilm", input=[])
        self.check_error(openai.BadRequestError, "Invalid value for 'encoding_format' = hex. Supported values: ['float', 'base64'].",
                         self.client.embeddings.create, model="all-minilm", input="x", encoding_format="hex")


class Models(Case):
    def test_list_and_retrieve(self):
        models = {model.id: model for model in self.client.models.list()}
        self.assertIn(MODEL, models)
        model = self.client.models.retrieve(MODEL)
        self.assertEqual((model.id, model.object, model.owned_by), (MODEL, "model", "library"))
        self.assertEqual(model.created, models[MODEL].created)
        self.check_error(openai.NotFoundError, "model 'absent:latest' not found", self.client.models.retrieve, "absent")


class Errors(Case):
    def test_classes_and_texts(self):
        create = self.client.chat.completions.create
        error = self.check_error(openai.NotFoundError, "model 'absent' not found", create, model="absent", messages=[user(SKY)])
        self.assertEqual((error.status_code, error.type), (404, "not_found_error"))
        error = self.check_error(openai.BadRequestError, "[] is too short - 'messages'", create, model=MODEL, messages=[])
        self.assertEqual((error.status_code, error.type), (400, "invalid_request_error"))
        self.check_error(openai.NotFoundError, "model 'absent' not found", create, model="absent", messages=[user(SKY)], stream=True)
        self.check_error(openai.BadRequestError, ["image URLs are not currently supported"], create, model=MODEL, messages=[
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]}])
        self.check_error(openai.BadRequestError, ["does not support vision"], create, model=MODEL, messages=[
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8="}}]}])
        self.check_error(openai.BadRequestError, ['invalid reasoning value: "vast"'], create, model=MODEL, messages=[user(SKY)],
                         reasoning_effort="vast")

    def test_a_schema_that_is_none_is_refused(self):
        schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "strnig"}}}
        self.check_error(openai.BadRequestError, ["strnig"], self.client.chat.completions.create, model=MODEL, messages=[user(SKY)],
                         response_format=schema)

    def test_routes_that_do_not_exist(self):
        with self.assertRaises(openai.NotFoundError):
            self.client.files.list()
        status, headers, body = probe.request("POST", "/v1/chat/completions", b"{")
        self.assertEqual(status, 400)
        self.assertIn(b'"type":"invalid_request_error"', body)
