"""What the checks of the openai package share."""
import unittest

import openai
import probe

MODEL = "smollm2:135m"
SKY = "Why is the sky blue?"


def user(text):
    return {"role": "user", "content": text}


WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "The weather in a city",
    "parameters": {"type": "object", "required": ["city"], "additionalProperties": False,
                   "properties": {"city": {"type": "string", "maxLength": 20}}}}}
TIME = {"type": "function", "function": {
    "name": "get_time", "parameters": {"type": "object", "required": ["zone"], "additionalProperties": False,
                                       "properties": {"zone": {"type": "integer", "minimum": -12, "maximum": 12}}}}}
PERSON = {"type": "object", "required": ["name", "age"], "additionalProperties": False,
          "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer", "minimum": 0, "maximum": 150}}}


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.client = openai.OpenAI(base_url=probe.URL + "/v1", api_key="anything", max_retries=0)
        cls.addClassCleanup(cls.client.close)

    def check_error(self, kind, message, call, *args, **kwargs):
        """message: the whole text, or a part of it when it is a list."""
        with self.assertRaises(kind) as caught:
            call(*args, **kwargs)
        error = caught.exception
        self.assertIs(type(error), kind)
        body = error.body
        self.assertIsInstance(body, dict)
        self.assertLessEqual({"message", "type", "param", "code"}, body.keys())
        if isinstance(message, list):
            for part in message:
                self.assertIn(part, body["message"])
        else:
            self.assertEqual(body["message"], message)
        return error
