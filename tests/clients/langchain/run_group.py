"""langchain-ollama's own integration tests, unchanged, out of its source package.

known.txt lists the tests that cannot pass here, one a line with the reason; waiting.txt of the folder above those that wait for a
feature. Both are run. One of known.txt that passes is told, one of waiting.txt that passes is a failure.
"""
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


def main():
    sources = next((pathlib.Path(sys.executable).parent.parent / "sources").glob("langchain_ollama-*"))
    env = dict(os.environ, OLLAMA_HOST=f"http://{os.environ['OLLAMA_HOST']}", OLLAMA_TEST_MODEL="llama3.2:1b",
               PYTHONPATH=f"{HERE}:{os.environ['PYTHONPATH']}", KNOWN=str(HERE / "known.txt"), LANGSMITH_TRACING="false")
    return subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "known_failures", "-rsxXf", "--tb=short",
                           "tests/integration_tests"], cwd=sources, env=env).returncode


if __name__ == "__main__":
    sys.exit(main())
