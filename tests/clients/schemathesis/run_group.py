"""schemathesis over the server's own /openapi.yaml: requests made up from it, none of which may end in a server error."""
import os
import pathlib
import subprocess
import sys

URL = f"http://{os.environ['OLLAMA_HOST']}"


def main():
    words = [pathlib.Path(sys.executable).parent / "schemathesis", "run", URL + "/openapi.yaml", "--url", URL, "--checks",
             "not_a_server_error", "--max-examples", "15", "--phases", "examples,coverage,fuzzing", "--seed", "1", "--request-timeout", "60",
             "--generation-deterministic", "--exclude-path", "/api/pull", "--exclude-path", "/api/push"]
    return subprocess.run(words).returncode


if __name__ == "__main__":
    sys.exit(main())
