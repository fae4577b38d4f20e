"""schemathesis over the server's own /openapi.yaml: requests made up from it, none of which may end in a server error.

schemathesis_hooks.py says which errors count, and has most requests ask for a model that exists.
"""
import os
import pathlib
import subprocess
import sys

URL = f"http://{os.environ['OLLAMA_HOST']}"


def main():
    words = [pathlib.Path(sys.executable).parent / "schemathesis", "run", URL + "/openapi.yaml", "--url", URL, "--checks",
             "no_unknown_server_error", "--max-examples", "15", "--phases", "examples,coverage,fuzzing", "--seed", "1", "--request-timeout", "60",
             "--generation-deterministic", "--exclude-path", "/api/pull", "--exclude-path", "/api/push"]
    here = pathlib.Path(__file__).resolve().parent
    env = dict(os.environ, SCHEMATHESIS_HOOKS="schemathesis_hooks", PYTHONPATH=f"{here}:{os.environ['PYTHONPATH']}")
    return subprocess.run(words, env=env, cwd=os.environ["HOME"]).returncode  # it leaves files where it runs


if __name__ == "__main__":
    sys.exit(main())
