#!/usr/bin/env python3
"""ollamax-bench as a user runs it, on a real model; peers are a program that prints what llama-bench prints.

usage: bench_test.py OLLAMAX_BENCH     exit 77: something it needs is missing (said on standard output)
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

BENCH = sys.argv[1]
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
MODELS = pathlib.Path(os.environ.get("OLLAMAX_TEST_MODELS", CACHE / "ollamax/models"))
MODEL = MODELS / "SmolLM2-135M-Instruct.Q4_1.gguf"
SIZES = ["--prompt", "32", "--generate", "4", "--threads", "1"]


def run(*words):
    return subprocess.run([BENCH, *map(str, words)], capture_output=True, text=True, timeout=300)


class Bench(unittest.TestCase):
    def folder(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return folder.name

    def peer(self, text):
        path = pathlib.Path(self.folder()) / "llama-bench"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    def test_model_reports_rates_and_equal_logits(self):
        page = pathlib.Path(self.folder()) / "model.html"
        done = run("model", MODEL, *SIZES, "--repeat", "2", "--json", "--html", page)
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(done.stdout)
        self.assertGreater(report["prompt_gops"], 0)
        self.assertEqual(page.read_text().count("<circle"), 2)
        self.assertNotIn("http", page.read_text())
        self.assertTrue(report["is_correct"])
        self.assertGreater(report["prompt_tokens_per_second"], 0)
        self.assertGreater(report["generate_tokens_per_second"], 0)
        self.assertRegex(report["logits_hash"], "^[0-9a-f]{16}$")

    def test_model_that_is_not_there_is_an_error(self):
        done = run("model", "/nonexistent.gguf")
        self.assertEqual(done.returncode, 1)
        self.assertIn("/nonexistent.gguf", done.stderr)

    def test_peers_are_compared_by_medians_of_rounds_in_turn(self):
        records = [{"n_prompt": 32, "n_gen": 0, "avg_ts": 8.0}, {"n_prompt": 0, "n_gen": 4, "avg_ts": 2.0}]
        peer = self.peer(f"echo '{json.dumps(records)}'")
        page = pathlib.Path(self.folder()) / "peers.html"
        done = run("peers", MODEL, *SIZES, "--rounds", "3", "--python", "/nonexistent", "--llama-bench", f"{peer} --flag", "--json", "--html", page)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(page.read_text().count("<rect"), 4)
        self.assertIn(f"{peer} --flag", page.read_text())
        own, other = json.loads(done.stdout)["contenders"]
        self.assertEqual((own["name"], other["name"]), ("ollamax", f"{peer} --flag"))
        self.assertEqual(other["prompt_tokens_per_second"], 8.0)
        self.assertAlmostEqual(other["prompt_ratio"], own["prompt_tokens_per_second"] / 8.0)
        self.assertAlmostEqual(other["generate_ratio"], own["generate_tokens_per_second"] / 2.0)
        turns = [line for line in done.stderr.splitlines() if line.startswith("round")]
        self.assertEqual([line.split(": ")[1] for line in turns], ["ollamax", f"{peer} --flag"] * 3)

    def test_a_peer_that_fails_is_left_out_and_named(self):
        done = run("peers", MODEL, *SIZES, "--rounds", "1", "--python", "/nonexistent", "--llama-bench", self.peer("exit 3"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("is left out", done.stderr)
        self.assertIn("every peer failed", done.stderr)

    def test_peers_beside_narrower_kernels_of_ours_say_so(self):
        peer = self.peer("""echo '[{"n_prompt": 32, "n_gen": 0, "avg_ts": 8.0}, {"n_prompt": 0, "n_gen": 4, "avg_ts": 2.0}]'""")
        options = ("peers", MODEL, *SIZES, "--rounds", "1", "--python", "/nonexistent", "--llama-bench", peer, "--json", "--cpu")
        done = run(*options, "portable")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)["contenders"][0]["name"], "ollamax portable")
        self.assertNotEqual(run(*options, "vax").returncode, 0)

    def test_without_a_peer_it_says_what_to_install(self):
        done = run("peers", MODEL, *SIZES, "--python", "/nonexistent")
        self.assertEqual(done.returncode, 1)
        self.assertIn("--llama-bench", done.stderr)


if __name__ == "__main__":
    if not MODEL.exists():
        print(f"SKIPPED: {MODEL} is not there (tools/fetch_model smollm2)")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1])
