"""What a check needs beside its client: the server's counters and the bytes on the wire. Standard library only."""
import json
import os
import time
import urllib.error
import urllib.request

HOST = os.environ["OLLAMA_HOST"]
URL = f"http://{HOST}"


def request(method, path, body=None, headers=None):
    """(status, headers, bytes). A body that is no bytes is sent as JSON."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    asked = urllib.request.Request(URL + path, data=data, method=method, headers=headers or {})
    try:
        with urllib.request.urlopen(asked, timeout=120) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def metrics():
    values = {}
    for line in request("GET", "/metrics")[2].decode().splitlines():
        if line and not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            values[name] = float(value)
    return values


def metric_sum(name):
    return sum(value for key, value in metrics().items() if key.split("{")[0] == name)


def wait_until_idle(seconds=10):
    """Waits until nothing is generated any more; returns how long that took."""
    begin = time.monotonic()
    while metric_sum("ollamax_requests_running") + metric_sum("ollamax_model_requests_running") > 0:
        if time.monotonic() - begin > seconds:
            raise AssertionError(f"still generating {seconds} s after the client went away")
        time.sleep(0.02)
    return time.monotonic() - begin
