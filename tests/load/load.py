#!/usr/bin/env python3
"""Many clients at once against a real `ollamax serve`: what holds, what leaks, what one client does to another.

usage: load.py OLLAMAX [MODEL.gguf] [--clients 64] [--seconds 120] [--part stress|slow|batch|prefill]
       load.py OLLAMAX [MODEL.gguf] --short     20 s: what holds on any machine, however busy (stress and slow); for ctest

  stress   clients ask all the time, a fifth of them goes away in the middle of an answer, one reads slowly. No error but
           503, every stream whole and in order, the same answer to the same question, memory flat after the first 20 s,
           nothing left running, no page of the key/value cache in use at the end but for what each free sequence keeps of its
           last conversation.
  slow     clients that do not read what they asked for, beside others that do: those are as fast as without them.
  batch    tokens per second of 8 clients against those of one.
  prefill  time between tokens of running streams while a long prompt is read: its 99th percentile against its median.

Prints one JSON object a part; exits 1 when a promise is broken, 77 when the model is missing.
"""
# proves T-86, T-95
import argparse
import asyncio
import json
import os
import pathlib
import random
import socket
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from ollamax_server import SMOLLM2, OllamaxServer  # noqa: E402


class Server(OllamaxServer):
    def __init__(self, ollamax, model, parallel, max_queue=512):
        self.parallel = parallel
        super().__init__(ollamax, OLLAMA_NUM_PARALLEL=str(parallel), OLLAMA_MAX_QUEUE=str(max_queue))
        self.create("m", f"FROM {model}\n")


class Failure(Exception):
    pass


async def post(port, path, body):
    """Opens a request; returns (status, headers, reader, writer)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    data = json.dumps(body).encode()
    writer.write(f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
                 f"Content-Length: {len(data)}\r\nConnection: close\r\n\r\n".encode() + data)
    await writer.drain()
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    return int(head.split()[1]), head, reader, writer


async def lines(reader):
    """The lines of a chunked body; Failure when the body is not whole."""
    rest = b""
    while True:
        size = await reader.readline()
        if not size:
            raise Failure("the stream was cut")
        n = int(size, 16)
        rest += (await reader.readexactly(n + 2))[:-2]
        while b"\n" in rest:
            line, rest = rest.split(b"\n", 1)
            yield line
        if n == 0:
            if rest:
                raise Failure("bytes after the last line")
            return


async def get(port, path):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
    text = (await reader.read(-1)).decode()
    writer.close()
    return text.split("\r\n\r\n", 1)[1]


def request_of(prompt, n_predict, **options):
    return {"model": "m", "prompt": prompt, "options": {"num_predict": n_predict, "num_ctx": 2048, **options}}


# The answer of one request as (times of its pieces, last record). `leave_after`: go away after so many pieces.
async def ask(port, body, leave_after=None, pause=0.0):
    status, head, reader, writer = await post(port, "/api/generate", body)
    try:
        if status != 200:
            return status, [], None
        times, text, last = [], "", None
        async for line in lines(reader):
            record = json.loads(line)
            if "error" in record:
                raise Failure(record["error"])
            if last is not None:
                raise Failure("a record after the last one")
            times.append(time.perf_counter())
            text += record["response"]
            if record["done"]:
                last = record
            if leave_after is not None and len(times) >= leave_after:
                return 0, times, None
            if pause:
                await asyncio.sleep(pause)
        if last is None:
            raise Failure("no last record")
        return 200, times, dict(last, text=text)
    finally:
        writer.close()


async def stress(server, clients, seconds):
    end = time.perf_counter() + seconds
    counts = {"whole": 0, "left": 0, "busy": 0, "failed": 0}
    errors, expected, resident = [], {}, []
    tasks = [f"Name {n} things that are blue." for n in range(2, 8)]

    async def client(number):
        dice = random.Random(number)
        while time.perf_counter() < end:
            leaves = dice.random() < 0.2
            prompt = dice.choice(tasks)
            body = request_of(prompt, 24, temperature=0, seed=1)
            try:
                status, _, last = await ask(server.port, body, dice.randrange(1, 12) if leaves else None,
                                            0.3 if number == 0 else 0.0)
            except (Failure, OSError, asyncio.IncompleteReadError, ValueError) as error:
                counts["failed"] += 1
                errors.append(repr(error))
                continue
            if status == 503:
                counts["busy"] += 1
                await asyncio.sleep(0.2)
            elif status == 0:
                counts["left"] += 1
            elif status == 200:
                counts["whole"] += 1
                if expected.setdefault(prompt, last["text"]) != last["text"]:
                    counts["differs"] = counts.get("differs", 0) + 1
            else:
                counts["failed"] += 1
                errors.append(f"status {status}")

    async def watch():
        while time.perf_counter() < end:
            resident.append((seconds - (end - time.perf_counter()), server.resident_kib()))
            await asyncio.sleep(1)

    await asyncio.gather(watch(), *[client(n) for n in range(clients)])
    await asyncio.sleep(0.5)
    metrics = await get(server.port, "/metrics")
    gauges = ("ollamax_kv_pages_used", "ollamax_kv_pages_total", "ollamax_requests_running", "ollamax_queue_depth", "ollamax_model_requests_running",
              "ollamax_model_requests_waiting")
    left = {name.split("{")[0]: float(value) for name, value in (line.rsplit(" ", 1) for line in metrics.splitlines()
                                                                 if line and not line.startswith("#")) if name.startswith(gauges)}
    early = [kib for at, kib in resident if at <= min(20, seconds / 2)]
    late = [kib for at, kib in resident if at > min(20, seconds / 2)]
    growth = (max(late) - max(early)) / 1024 if early and late else 0.0
    # Nobody is being answered: no sequence holds a page. Remembered prefixes may fill as many as there are.
    n_used = left["ollamax_kv_pages_used"]
    del left["ollamax_kv_pages_total"]
    is_idle = not any(left.values())
    print(json.dumps({"part": "stress", **counts, "errors": errors[:5], "resident_mib": max(late or early) // 1024,
                      "growth_mib": round(growth, 1), "kv_pages_after": n_used, "gauges_after": left}))
    return counts["failed"] == 0 and counts["whole"] > 0 and counts["left"] > 0 and "differs" not in counts and growth < 16 and is_idle


async def running(port):
    return sum(float(line.rsplit(" ", 1)[1]) for line in (await get(port, "/metrics")).splitlines()
               if line.startswith("ollamax_model_requests_running{"))


async def slow(server, is_short):
    """Tokens per second of two clients, alone and beside two that asked for large answers and read nothing of them."""
    async def rate():
        begin = time.perf_counter()
        answers = await asyncio.gather(*[ask(server.port, request_of(f"Tell a story of {i}.", 64, temperature=1.0, seed=i)) for i in range(2)])
        return sum(last["eval_count"] for _, _, last in answers) / (time.perf_counter() - begin)

    await rate()
    alone = statistics.median([await rate() for _ in range(3)])
    stalled = []
    for i in range(2):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", server.port))
        body = request_of(f"Tell a long story of {i}.", 400 if is_short else 1500, temperature=1.0, seed=i)
        data = json.dumps({**body, "logprobs": True, "top_logprobs": 20}).encode()  # two kilobytes a token
        sock.sendall(f"POST /api/generate HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)
        stalled.append(sock)
    # Generation does not wait for them: it begins, and ends. From then on nothing but their reading is missing.
    for n_running in (2, 0):
        for _ in range(1200):
            if await running(server.port) == n_running:
                break
            await asyncio.sleep(0.05)
        else:
            print(json.dumps({"part": "slow", "error": f"{await running(server.port)} answers are generated, {n_running} should be"}))
            return False
    beside = statistics.median([await rate() for _ in range(3)])
    for sock in stalled:
        sock.close()
    print(json.dumps({"part": "slow", "tokens_per_second_alone": round(alone, 1), "tokens_per_second_beside": round(beside, 1)}))
    return is_short or beside >= 0.8 * alone  # a ratio of speeds is for a machine that does nothing else


async def batch(server):
    async def rate(n):
        begin = time.perf_counter()
        answers = await asyncio.gather(*[ask(server.port, request_of(f"Tell a story of {i}.", 96, temperature=1.0, seed=i))
                                         for i in range(n)])
        return sum(last["eval_count"] for _, _, last in answers) / (time.perf_counter() - begin)

    await rate(1)
    ones, eights = [], []
    for _ in range(5):
        ones.append(await rate(1))
        eights.append(await rate(8))
    one, eight = statistics.median(ones), statistics.median(eights)
    print(json.dumps({"part": "batch", "tokens_per_second_1": round(one, 1), "tokens_per_second_8": round(eight, 1),
                      "ratio": round(eight / one, 2)}))
    return eight >= 2.5 * one


async def prefill(server):
    long_prompt = "The quick brown fox jumps over the lazy dog. " * 800
    gaps = []

    async def stream(i):
        _, times, _ = await ask(server.port, {**request_of(f"Tell a long story of {i}.", 400, temperature=1.0, seed=i),
                                              "options": {"num_predict": 400, "num_ctx": 8192, "seed": i}})
        gaps.append((times, [b - a for a, b in zip(times, times[1:])]))

    await ask(server.port, {**request_of("Hi", 4), "options": {"num_ctx": 8192, "num_predict": 4}})
    streams = [asyncio.create_task(stream(i)) for i in range(3)]
    await asyncio.sleep(1)
    begin = time.perf_counter()
    _, _, last = await ask(server.port, {"model": "m", "prompt": long_prompt, "raw": True,
                                         "options": {"num_predict": 1, "num_ctx": 8192}})
    end = time.perf_counter()
    await asyncio.gather(*streams)
    during = sorted(gap for times, pauses in gaps for at, gap in zip(times, pauses) if begin <= at <= end)
    if len(during) < 20:
        print(json.dumps({"part": "prefill", "error": "the streams ended before the prompt was read"}))
        return False
    p50, p99 = statistics.median(during), during[int(len(during) * 0.99)]
    print(json.dumps({"part": "prefill", "prompt_tokens": last["prompt_eval_count"], "prompt_s": round(end - begin, 2),
                      "gaps": len(during), "p50_ms": round(p50 * 1e3, 1), "p99_ms": round(p99 * 1e3, 1),
                      "ratio": round(p99 / p50, 2)}))
    return p99 <= 3 * p50


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("ollamax")
    arguments.add_argument("model", nargs="?", default=SMOLLM2)
    arguments.add_argument("--clients", type=int, default=64)
    arguments.add_argument("--seconds", type=float, default=120)
    arguments.add_argument("--part", choices=["stress", "slow", "batch", "prefill"], action="append")
    arguments.add_argument("--short", action="store_true")
    options = arguments.parse_args()
    if not os.path.exists(options.model):
        print(f"SKIPPED: {options.model} is missing (tools/fetch_model smollm2)")
        return 77
    if options.short:
        options.clients, options.seconds, options.part = 16, 8, ["stress", "slow"]
    parts = {"stress": (4, lambda s: stress(s, options.clients, options.seconds)), "slow": (4, lambda s: slow(s, options.short)),
             "batch": (8, batch), "prefill": (4, prefill)}
    is_good = True
    for name in options.part or parts:
        parallel, run = parts[name]
        server = Server(options.ollamax, options.model, parallel)
        try:
            is_good &= asyncio.run(run(server))
        finally:
            code = server.stop()
        if code != 0:
            print(json.dumps({"part": name, "error": f"the server ended with {code}"}))
            is_good = False
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
