#!/usr/bin/env python3
"""A pull of a real model from a real registry, killed at random moments; after each kill `fsck --hash` finds nothing wrong, and
a model that was there before still answers; in the end the pulled one does. What a kill costs is counted on the way.

usage: kill_test.py OLLAMAX SOURCE_DIR [--kills 20] [--seed N]     exit 77: something it needs is missing

The network between them takes 150 MB/s. A model that came whole before its kill is removed again: so that every part of a pull, from its first request to the
manifest's name, is struck. 20 kills take about half a minute; --kills 200 is the long form.
"""
# proves T-73
import argparse
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
SMOLLM2 = pathlib.Path(os.environ.get("OLLAMAX_TEST_MODELS", CACHE / "ollamax/models")) / "SmolLM2-135M-Instruct.Q4_1.gguf"


MIB = 1 << 20


class Machine:
    """One store and the commands on it."""

    def __init__(self, ollamax, root, store):
        self.ollamax, self.store = ollamax, root / store
        self.env = {"PATH": os.environ["PATH"], "HOME": str(root / "home"), "OLLAMA_MODELS": str(self.store), "OLLAMA_HOST": "127.0.0.1:1"}

    def run(self, *words):
        return subprocess.run([self.ollamax, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, env=self.env, timeout=300)

    def must(self, *words):
        done = self.run(*words)
        assert done.returncode == 0, (words, done)
        return done.stdout

    def listed(self):
        return sorted(tuple(line.split()[:2]) for line in self.must("list").splitlines()[1:])


def killed(machine, words, after_s):
    """Whether the command was still at work when its time was over. SIGKILL to it and whatever it started."""
    process = subprocess.Popen([machine.ollamax, *words], env=machine.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        code = process.wait(after_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    assert code == 0, (words, code)
    return False


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ollamax")
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("--kills", type=int, default=int(os.environ.get("OLLAMAX_KILLS", 20)))
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    options = parser.parse_args()
    sys.path.insert(0, str(options.source / "tests/support"))
    from docker_registry import DockerRegistry
    from slow_relay import BUFFER, SlowRelay

    for needed, is_there in (("docker-registry (tools/setup test)", shutil.which("docker-registry")), (f"{SMOLLM2} (tools/fetch_model)", SMOLLM2.exists())):
        if not is_there:
            print(f"not found: {needed}")
            return 77
    dice = random.Random(options.seed)
    print(f"--seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        registry = DockerRegistry(root / "registry")
        try:
            # A network slower than this disk: otherwise most of what comes again had only filled the system's buffers.
            relay = SlowRelay(registry.port, 150e6)
            name = f"{relay.host}/library/tiny:v1"
            pull = ("pull", "--insecure", name)
            (root / "Modelfile").write_text(f"FROM {SMOLLM2}\nSYSTEM You are terse.\nPARAMETER temperature 0\nPARAMETER num_predict 16\n")
            source = Machine(options.ollamax, root, "source")
            source.must("create", name, "-f", str(root / "Modelfile"))
            source.must("push", "--insecure", name)
            whole = dict(source.listed())[name]

            machine = Machine(options.ollamax, root, "store")
            weights = SMOLLM2.read_bytes()
            (root / "other.gguf").write_bytes(weights.replace(b"Smollm2", b"Another", 1))  # a name inside: another blob
            (root / "Modelfile").write_text("FROM ./other.gguf\nPARAMETER temperature 0\nPARAMETER num_predict 4\n")
            machine.must("create", "kept", "-f", str(root / "Modelfile"))
            kept, said = machine.listed(), machine.must("run", "kept", "Hello")
            assert kept[0][1] != whole
            began = time.monotonic()
            machine.must(*pull)
            took = time.monotonic() - began
            machine.must("rm", name)
            # The model's own bytes: what a pull that nobody disturbed asks for beyond them counts as having come again.
            size, beyond = len(weights), relay.n_passed - len(weights)
            assert beyond > 0
            n_kills = n_whole = n_struck = 0
            began_at, again = relay.n_passed, []
            while n_kills < options.kills:
                # Most of a pull is the transfer of one blob; a third of the kills goes to its last part, where names are given.
                moment = dice.uniform(0, took) if dice.random() < 0.67 else dice.uniform(0.7 * took, 1.2 * took)
                was_killed = killed(machine, pull, moment)
                checked = machine.run("fsck", "--hash")
                assert checked.returncode == 0, (options.seed, n_kills, checked)
                now = machine.listed()
                is_there = now == sorted(kept + [(name, whole)])
                assert is_there or now == kept, (options.seed, n_kills, now)
                assert was_killed or is_there, (options.seed, n_kills)
                n_kills += was_killed
                n_struck += was_killed
                n_whole += not was_killed
                if n_kills % 5 == 0:
                    assert machine.must("run", "kept", "Hello") == said
                # Some go on where the killed one was, some begin anew.
                if is_there or dice.random() < 0.3:
                    sent = relay.n_passed
                    if is_there and n_struck > 0:
                        again += [(sent - began_at - size) / n_struck / MIB] * n_struck
                    began_at, n_struck = sent, 0
                    machine.run("rm", name)
                    shutil.rmtree(machine.store / ".ollamax/tmp")
            machine.must(*pull)
            assert machine.listed() == sorted(kept + [(name, whole)])
            assert machine.run("fsck", "--hash").returncode == 0
            question = "What is the capital of France? Answer in one word."
            assert machine.must("run", name, question) == source.must("run", name, question)
            left = [path.name for path in (machine.store / ".ollamax/tmp").iterdir()]
            assert left == [], left
            mean = sum(again) / len(again)
            print(f"{n_kills} kills, {n_whole} pulls came to their end before theirs; a whole pull takes {took:.2f} s and {beyond / MIB:.2f} MiB "
                  f"more than the model has; {mean:.2f} MiB came again for a kill, {max(again):.2f} MiB at most")
            # Sixteen records of 64 KiB and receive buffers of 380 KiB are what a pull itself can lose; beside that is what the relay
            # holds for its connections.
            assert max(again) <= 8 + 4 * 2 * BUFFER / MIB, again
        finally:
            registry.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
