"""Virtual environments of test programs in Python: made at the first run, kept in the build folder."""
import os
import pathlib
import subprocess
import sys


def skip(what):
    print(f"SKIPPED: {what}")
    sys.exit(77)


def enter_environment(venv, requirements):
    """Runs this program again with the Python of its environment, which is made where it is missing or was for other packages."""
    wanted = requirements.read_text()
    made, python = venv / "made-for.txt", venv / "bin/python"
    if not made.exists() or made.read_text() != wanted:
        try:
            subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True, capture_output=True, text=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements],
                           check=True, capture_output=True, text=True)
        except subprocess.CalledProcessError as error:
            skip(f"a Python environment with {' '.join(wanted.split())}: {(error.stderr or '').strip().splitlines()[-1:]}")
        made.write_text(wanted)
    if pathlib.Path(sys.prefix).resolve() != venv.resolve():
        os.execv(python, [str(python), *sys.argv])
