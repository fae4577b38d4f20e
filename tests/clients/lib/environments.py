"""What the client groups run in: a virtual environment for each set of requirements, kept in the user's cache, made when absent.

make(group_folder) returns the path of the environment's Python. A group's sources.txt names source packages that are unpacked
beside it, as `sources/NAME-VERSION`, for the tests that only they carry. A group's prepare.py puts into the new environment what
must be there before its packages. NoNetwork: the package index cannot be reached;
BrokenInstall: it can, and pip fails all the same.
"""
import hashlib
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "ollamax"
READY = "ready"  # written last: an environment without it is half made


class NoNetwork(Exception):
    pass


class BrokenInstall(Exception):
    pass


def packages_of(path):
    if not path.exists():
        return []
    lines = (line.split("#")[0].strip() for line in path.read_text().splitlines())
    return [line for line in lines if line]


def pip(python, *words):
    return subprocess.run([python, "-m", "pip", "--disable-pip-version-check", "--no-input", *words], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def is_index_reachable(python):
    with tempfile.TemporaryDirectory() as folder:
        return pip(python, "download", "--quiet", "--retries", "1", "--no-cache-dir", "--no-deps", "-d", folder,
                   "idna==3.10").returncode == 0


def fetch(python, *words):
    done = pip(python, *words)
    if done.returncode != 0:
        raise (BrokenInstall if is_index_reachable(python) else NoNetwork)(f"pip {' '.join(words)} failed:\n{done.stdout}")


def make(group):
    group = pathlib.Path(group)
    packages, sources = packages_of(group / "requirements.txt"), packages_of(group / "sources.txt")
    key = hashlib.sha256("\n".join([sys.version, *packages, "sources", *sources]).encode()).hexdigest()[:12]
    folder = CACHE / f"venv-{key}"
    python = str(folder / "bin/python")
    if (folder / READY).exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    print(f"==> {folder}: {' '.join(packages + sources)}", flush=True)
    made = subprocess.run([sys.executable, "-m", "venv", str(folder)], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if made.returncode != 0:
        raise BrokenInstall(f"python3 -m venv failed (Debian: apt-get install python3-venv):\n{made.stdout}")
    if (group / "prepare.py").exists():
        spec = importlib.util.spec_from_file_location("prepare", group / "prepare.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.prepare(python)
    if packages:
        fetch(python, "install", "--quiet", *packages)
    for source in sources:
        with tempfile.TemporaryDirectory() as temp:
            fetch(python, "download", "--quiet", "--no-deps", "--no-binary", ":all:", "-d", temp, source)
            for archive in pathlib.Path(temp).glob("*.tar.gz"):
                with tarfile.open(archive) as files:
                    if hasattr(tarfile, "data_filter"):  # Python 3.11.4, and those that took it over
                        files.extraction_filter = tarfile.data_filter
                    files.extractall(folder / "sources")
    (folder / READY).touch()
    return python
