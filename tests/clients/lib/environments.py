"""Virtual environments of the client groups: one for each set of requirements, kept in the user's cache, made when absent.

make(requirements) returns the path of the environment's Python. NoNetwork: the package index cannot be reached; BrokenInstall:
it can, and pip fails all the same.
"""
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "ollamax"
READY = "ready"  # written last: an environment without it is half made


class NoNetwork(Exception):
    pass


class BrokenInstall(Exception):
    pass


def packages_of(requirements):
    lines = (line.split("#")[0].strip() for line in pathlib.Path(requirements).read_text().splitlines())
    return [line for line in lines if line]


def pip(python, *words):
    return subprocess.run([python, "-m", "pip", "--disable-pip-version-check", "--no-input", *words], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def is_index_reachable(python):
    with tempfile.TemporaryDirectory() as folder:
        return pip(python, "download", "--quiet", "--retries", "1", "--no-cache-dir", "--no-deps", "-d", folder,
                   "idna==3.10").returncode == 0


def make(requirements, prepare=None):
    """prepare(python): what else belongs into the environment before its packages, made by the caller."""
    packages = packages_of(requirements)
    key = hashlib.sha256("\n".join([sys.version, *packages]).encode()).hexdigest()[:12]
    folder = CACHE / f"venv-{key}"
    python = str(folder / "bin/python")
    if (folder / READY).exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    print(f"==> {folder}: {' '.join(packages)}", flush=True)
    made = subprocess.run([sys.executable, "-m", "venv", str(folder)], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if made.returncode != 0:
        raise BrokenInstall(f"python3 -m venv failed (Debian: apt-get install python3-venv):\n{made.stdout}")
    if prepare:
        prepare(python)
    installed = pip(python, "install", "--quiet", *packages)
    if installed.returncode != 0:
        if not is_index_reachable(python):
            raise NoNetwork(installed.stdout)
        raise BrokenInstall(f"pip install {' '.join(packages)} failed:\n{installed.stdout}")
    (folder / READY).touch()
    return python
