"""The same checks through ollama.Client and ollama.AsyncClient.

@both turns a class of checks into TestXSync and TestXAsync. In a check, self.ask calls a method and returns its answer,
self.stream returns the list of a stream's records, self.first(n, …) the first n of them and then closes the stream.
"""
import asyncio
import unittest

import ollama
import probe

MODEL = "smollm2:135m"
SKY = "Why is the sky blue?"


class SyncCalls:
    def setUp(self):
        self.client = ollama.Client(probe.URL)
        self.addCleanup(self.client.close)

    def ask(self, method, *args, **kwargs):
        return getattr(self.client, method)(*args, **kwargs)

    def stream(self, method, *args, **kwargs):
        return list(getattr(self.client, method)(*args, stream=True, **kwargs))

    def first(self, n, method, *args, **kwargs):
        records = getattr(self.client, method)(*args, stream=True, **kwargs)
        taken = [next(records) for _ in range(n)]
        records.close()
        return taken


class AsyncCalls:
    def setUp(self):
        self.loop = asyncio.new_event_loop()
        self.client = ollama.AsyncClient(probe.URL)
        self.addCleanup(self.loop.close)
        self.addCleanup(lambda: self.loop.run_until_complete(self.loop.shutdown_asyncgens()))
        self.addCleanup(lambda: self.loop.run_until_complete(self.client.close()))

    def ask(self, method, *args, **kwargs):
        return self.loop.run_until_complete(getattr(self.client, method)(*args, **kwargs))

    def stream(self, method, *args, **kwargs):
        async def collect():
            return [record async for record in await getattr(self.client, method)(*args, stream=True, **kwargs)]
        return self.loop.run_until_complete(collect())

    def first(self, n, method, *args, **kwargs):
        async def take():
            records = await getattr(self.client, method)(*args, stream=True, **kwargs)
            taken = [await anext(records) for _ in range(n)]
            await records.aclose()
            return taken
        return self.loop.run_until_complete(take())


class Checks:
    def check_error(self, status, text, method, *args, **kwargs):
        with self.assertRaises(ollama.ResponseError) as caught:
            self.ask(method, *args, **kwargs)
        self.assertEqual((caught.exception.status_code, caught.exception.error), (status, text))

    def check_last(self, record, reason="stop"):
        """What the last record of every answer carries, all of it integers greater than zero."""
        self.assertIs(record.done, True)
        self.assertEqual(record.done_reason, reason)
        self.assertRegex(record.created_at, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$")
        for name in ("total_duration", "load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count", "eval_duration"):
            self.assertGreater(getattr(record, name), 0, name)
        self.assertGreaterEqual(record.total_duration, record.eval_duration)


def both(checks):
    module = __import__("sys").modules[checks.__module__]
    for suffix, calls in (("Sync", SyncCalls), ("Async", AsyncCalls)):
        name = checks.__name__ + suffix
        setattr(module, name, type(name, (calls, checks, Checks, unittest.TestCase), {"__module__": checks.__module__}))
    return None  # the class itself holds no checks that unittest should find
