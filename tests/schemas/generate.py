#!/usr/bin/env python3
"""Constrained output from a real model: each schema of schemas.json, many answers at temperature 1.5, every one valid.

usage: generate.py OLLAMAX VENV_DIR [--runs 20] [--only TEXT]
exit 77: something it needs is missing (said on standard output)

The judge is Python's jsonschema with its format checks, in a virtual environment of this script's own (VENV_DIR), which it
makes at the first run. An entry is [name, schema] or [name, schema, prompt]: a schema
that leaves the length of its answers to the model has a prompt whose answer ends.
"""
import argparse
import concurrent.futures
import json
import pathlib
import sys
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
from ollamax_server import SMOLLM2, OllamaxServer  # noqa: E402
from python_environment import enter_environment, skip  # noqa: E402

PARALLEL = 8
PROMPTS = ["Write an example of: {}.", "Tell me about {}.", "{}?", "Answer in one short line. {}"]


class Server(OllamaxServer):
    def __init__(self, ollamax):
        super().__init__(ollamax, OLLAMA_NUM_PARALLEL=str(PARALLEL), OLLAMA_CONTEXT_LENGTH="1024")
        self.create("m", f"FROM {SMOLLM2}\n")

    def generate(self, prompt, schema, seed):
        body = {"model": "m", "prompt": prompt, "format": schema, "stream": False,
                "options": {"temperature": 1.5, "seed": seed, "num_predict": 2000}}
        request = urllib.request.Request(f"{self.url}/api/generate", json.dumps(body).encode())
        try:
            with urllib.request.urlopen(request, timeout=600) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return {"error": error.read().decode()}


def problem_of(answer, validator):
    """What is wrong with an answer; "" when nothing is."""
    if "error" in answer:
        return answer["error"]
    if answer["done_reason"] != "stop":
        return f"did not end: {answer['done_reason']}"
    try:
        value = json.loads(answer["response"])
    except json.JSONDecodeError as error:
        return f"no JSON: {error}"
    return "; ".join(error.message for error in validator.iter_errors(value))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ollamax")
    parser.add_argument("venv", type=pathlib.Path)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    if not SMOLLM2.exists():
        skip(f"{SMOLLM2} is missing")
    enter_environment(arguments.venv, HERE / "requirements.txt")
    import jsonschema

    schemas = [entry for entry in json.loads((HERE / "schemas.json").read_text()) if arguments.only in entry[0]]
    validators = []
    for _, schema, *_ in schemas:
        jsonschema.Draft202012Validator.check_schema(schema)
        validators.append(jsonschema.Draft202012Validator(schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER))
    # A judge that accepts everything proves nothing: formats must really be checked.
    for name in ["date", "time", "date-time", "duration", "uuid", "email", "hostname", "ipv4", "ipv6", "uri"]:
        assert not jsonschema.Draft202012Validator.FORMAT_CHECKER.conforms("-x 1", name), f"{name} is not checked"

    server = Server(arguments.ollamax)
    begun = time.time()
    n_tokens, n_valid, distinct, problems = 0, 0, {}, []
    try:
        with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
            jobs = {}
            for index, (name, schema, *own) in enumerate(schemas):
                for run in range(arguments.runs):
                    prompt = own[0] if own else PROMPTS[run % len(PROMPTS)].format(name)
                    jobs[pool.submit(server.generate, prompt, schema, 1000 * index + run)] = (index, run)
            for job in concurrent.futures.as_completed(jobs):
                index, run = jobs[job]
                answer = job.result()
                problem = problem_of(answer, validators[index])
                n_tokens += answer.get("eval_count", 0)
                distinct.setdefault(index, set()).add(answer.get("response"))
                if problem:
                    problems.append(f"{schemas[index][0]} (seed {1000 * index + run}): {problem}: {str(answer.get('response'))[:300]}")
                else:
                    n_valid += 1
    finally:
        server.stop()
    seconds = time.time() - begun
    for problem in problems:
        print(problem)
    n_distinct = sum(len(answers) for answers in distinct.values())
    print(f"{n_valid} of {len(schemas) * arguments.runs} answers valid ({n_distinct} distinct), {len(schemas)} schemas, {n_tokens} tokens in {seconds:.0f} s")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
