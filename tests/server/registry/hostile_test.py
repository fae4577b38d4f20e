#!/usr/bin/env python3
"""`pull` against a registry that does wrong: either the model is there, whole, or nothing has changed and the error says why.
The row of the threat table that a test proves is in its name.

usage: hostile_test.py OLLAMAX SOURCE_DIR [unittest arguments]
"""
import concurrent.futures
import hashlib
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request

OLLAMAX = sys.argv.pop(1)
SOURCE = pathlib.Path(sys.argv.pop(1))
sys.path.insert(0, str(SOURCE / "tests/support"))
from hostile_registry import MIB, Registry  # noqa: E402

MODEL = "application/vnd.ollama.image.model"
LAYERS = {MODEL: random.Random(1).randbytes(40 * MIB + 12345), "application/vnd.ollama.image.license": b"free"}
CONFIG = json.dumps({"model_format": "gguf", "model_family": "llama", "file_type": "Q4_0"}).encode()


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = pathlib.Path(self.folder.name)
        self.models = self.root / "store/models"
        self.other = Registry(LAYERS, CONFIG)
        self.registry = Registry(LAYERS, CONFIG, self.other.host)
        self.env = {"PATH": os.environ["PATH"], "HOME": str(self.root / "home"), "OLLAMA_MODELS": str(self.models), "OLLAMA_HOST": "127.0.0.1:1",
                    "OLLAMAX_REGISTRY_STALL_MS": "2000", "OLLAMAX_REGISTRY_RETRY_MS": "20"}

    def tearDown(self):
        self.registry.close()
        self.other.close()
        self.folder.cleanup()

    def name(self, how):
        return f"{self.registry.host}/library/{how}"

    def pull(self, how, **more):
        return subprocess.run([OLLAMAX, "pull", "--insecure", self.name(how)], capture_output=True, text=True, env=self.env, timeout=120, **more)

    def check_pulled(self, how):
        done = self.pull(how)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(done.stderr.endswith("success\n"), done.stderr)
        self.check_store(how)
        return done

    def check_store(self, how):
        for digest, data in self.registry.blobs.items():
            path = self.models / "blobs" / digest.replace(":", "-")
            self.assertEqual(hashlib.sha256(path.read_bytes()).hexdigest(), digest[7:])
            self.assertEqual(path.stat().st_mode & 0o777, 0o444)
        self.assertTrue((self.models / "manifests" / self.registry.host / "library" / how / "latest").is_file())
        self.assertEqual(sorted(os.listdir(self.models / ".ollamax/tmp")), [])

    # keeps_part: what came of the large blob is kept for the next try. is_started: the parts of other blobs may be on the disk.
    def check_refused(self, how, *says, keeps_part=False, is_started=False):
        done = self.pull(how)
        self.assertEqual(done.returncode, 1, done)
        error = done.stderr.splitlines()[-1]
        self.assertTrue(error.startswith("Error: "), done.stderr)
        for part in says:
            self.assertIn(part, error)
        self.assertNotIn(str(self.root), done.stderr)  # T-55
        self.assertEqual([path for path in (self.models / "manifests").rglob("*") if path.is_file()], [])
        large = self.models / "blobs" / self.registry.large.replace(":", "-")
        self.assertFalse(large.exists())
        if not keeps_part:
            kept = [name for name in os.listdir(self.models / ".ollamax/tmp") if not name.endswith(".lock")]
            self.assertEqual([name for name in kept if not is_started or name.startswith(large.name)], [])
        return done


class Manifests(Case):
    def test_T63_a_digest_that_is_none_is_refused(self):
        canary = {path: path.stat().st_mtime_ns for path in self.root.iterdir()}
        for how in ("bad-digest-path", "empty-digest", "upper-slash", "null-digest", "negative-size"):
            self.check_refused(how, "manifest: ")
        self.assertEqual(canary, {path: path.stat().st_mtime_ns for path in canary})
        self.assertEqual(self.registry.bytes_sent(), 0)

    def test_T64_a_digest_named_twice_is_fetched_once_and_verified(self):
        self.assertEqual(self.pull("duplicate").returncode, 0)
        self.assertEqual(self.registry.bytes_sent(self.registry.manifest["config"]["digest"]), len(CONFIG))

    def test_T64_two_sizes_of_one_digest_are_refused(self):
        self.check_refused("two-sizes", "has two sizes")

    def test_T65_layers_have_limits(self):
        self.check_refused("long-params", "at most 65536 bytes, got 65537")
        self.check_refused("many-layers", "at most 4096")

    def test_T69_a_manifest_has_at_most_4_mib(self):
        self.check_refused("huge-manifest", "longer than 4194304 bytes")
        self.check_refused("endless-manifest", "longer than 4194304 bytes")
        self.check_pulled("limit-manifest")

    def test_T69_nothing_is_unpacked(self):
        self.check_refused("bomb", "compressed")

    def test_T66_a_page_is_no_manifest(self):
        self.check_refused("html", "manifest: ")

    def test_the_registrys_digest_of_the_manifest_is_held_against_it(self):
        self.check_refused("wrong-manifest-digest", "digest mismatch")

    def test_statuses_are_told_in_ollamas_words(self):
        self.check_refused("status-404", "pull model manifest: file does not exist")
        self.check_refused("status-412", "pull model manifest: 412: a text with lines")
        self.check_refused("status-401", "unauthorized")
        self.check_refused("status-503", "pull model manifest: 503")


class Redirects(Case):
    def test_T60_a_registry_cannot_point_into_other_networks(self):
        for how in ("metadata", "mapped", "private"):
            self.check_refused(f"redirect-manifest-{how}", "must not be reached")

    def test_T60_redirects_are_bounded_and_go_to_http_only(self):
        self.check_refused("redirect-manifest-loop", "maximum redirects exceeded (5)")
        self.assertEqual(len(self.registry.requests), 6)
        self.check_refused("redirect-file", "no http address")

    def test_blobs_may_come_from_another_host(self):
        self.check_pulled("redirect-blob")
        self.assertEqual(self.other.bytes_sent(self.other.large), len(LAYERS[MODEL]))

    def test_T62_a_realm_elsewhere_is_refused_and_not_called(self):
        for how, says in (("realm-host", "realm"), ("realm-https", "realm"), ("realm-user", "realm is no http address"), ("realm-name", "realm host"),
                          ("realm-none", "unauthorized")):
            self.check_refused(how, says)
        self.assertEqual(self.other.requests, [])
        self.assertFalse(any("Authorization" in headers for _, _, headers in self.registry.requests))
        self.assertFalse((self.root / "home/.ollama").exists())


    def test_T62_a_token_stays_with_its_registry(self):
        self.check_pulled("token-redirect")
        self.assertTrue(any(headers.get("Authorization") == "Bearer secret" for _, _, headers in self.registry.requests))
        self.assertEqual([headers["Authorization"] for _, _, headers in self.other.requests if "Authorization" in headers], [])
        self.assertGreater(len(self.other.requests), 0)
        for path in self.root.rglob("*"):  # T-72: nor is it written anywhere
            self.assertFalse(path.is_file() and path.stat().st_size < MIB and b"secret" in path.read_bytes(), path)

    def test_a_token_that_expires_in_the_middle_is_renewed(self):
        self.registry.delay = 0.005
        self.check_pulled("token-expire")
        sent = [headers.get("Authorization") for _, path, headers in self.registry.requests if "/blobs/" in path]
        self.assertIn("Bearer secret", sent)
        self.assertIn("Bearer newer", sent)
        self.assertEqual(sum("/token?" in path for _, path, _ in self.registry.requests), 2)

    def test_a_token_that_is_no_header_is_refused(self):
        self.check_refused("token-split", "holds no token")


class Blobs(Case):
    def test_T65_the_declared_size_is_all_that_is_taken(self):
        self.check_refused("size-lie-large", "not enough space")
        for how in ("size-lie-small", "endless"):
            self.check_refused(how, keeps_part=True)
            taken = sum(path.stat().st_size for path in self.models.rglob("*") if path.is_file())
            self.assertLessEqual(taken, len(LAYERS[MODEL]) + 2 * MIB)

    def test_T66_only_the_range_that_was_asked_for_is_taken(self):
        self.check_refused("wrong-range", "max retries exceeded: expected Content-Range: bytes ", keeps_part=True)
        self.check_refused("no-content-range", "expected Content-Range", keeps_part=True)
        self.check_refused("404-for-range", "file does not exist", keeps_part=True)
        self.check_refused("always-500", "max retries exceeded: 503: no", keeps_part=True)

    def test_T66_a_blob_that_has_become_shorter(self):
        done = self.check_refused("416", "is shorter there than the", keeps_part=True)
        self.assertIn("is outside of it", done.stderr)

    def test_T66_a_server_without_ranges_is_read_in_one_go(self):
        self.check_pulled("range-ignored")

    def test_T66_a_proxys_page_in_place_of_a_range_does_no_harm(self):
        self.check_pulled("page-for-range")

    def test_T67_lengths_that_are_missing_or_wrong(self):
        self.check_pulled("no-length")

    def test_T67_a_length_of_zero(self):
        self.check_refused("length-zero", "the registry announces 0", keeps_part=True)

    def test_T67_an_empty_body(self):
        self.check_refused("empty-body", keeps_part=True)

    def test_T63_wrong_bytes_are_found_and_dropped(self):
        self.check_refused("wrong-bytes", "digest mismatch, file must be downloaded again", is_started=True)

    def test_T68_failures_that_pass_are_lived_through(self):
        self.check_pulled("500-then-ok")

    def test_T68_a_short_body_goes_on_where_it_ended(self):
        self.check_pulled("short")
        self.assertLess(self.registry.bytes_sent(self.registry.large), len(LAYERS[MODEL]) * 1.3)

    def test_T68_a_body_that_is_always_short_ends_the_pull(self):
        self.check_refused("always-short", "max retries exceeded", keeps_part=True)

    def test_T68_random_faults_all_converge(self):
        for script in range(int(os.environ.get("OLLAMAX_TEST_SCRIPTS", "8"))):
            seed = int(os.environ.get("OLLAMAX_TEST_SEED", time.time_ns() % 1_000_000)) + script
            with self.subTest(seed=seed):
                self.registry.random.seed(seed)
                self.check_pulled("random")
                shutil.rmtree(self.models)

    def test_T68_a_stall_is_noticed(self):
        start = time.monotonic()
        self.check_pulled("stall")
        self.assertLess(time.monotonic() - start, 30)

    def test_T68_a_long_way_is_filled_by_many_connections(self):
        # What may be under way on one of them is bounded, so that a kill costs little: then it takes many.
        self.registry.delay = 0.05
        self.check_pulled("good")
        self.assertGreaterEqual(self.registry.most_sending, 8)

    def test_T68_a_trickle_is_a_stall(self):
        self.check_pulled("trickle")


class Resume(Case):
    def test_T73_a_pull_killed_again_and_again_ends_whole(self):
        self.registry.delay = 0.01
        seed = int(os.environ.get("OLLAMAX_TEST_SEED", time.time_ns() % 1_000_000))
        rng, n_kills = random.Random(seed), int(os.environ.get("OLLAMAX_TEST_KILLS", "4"))
        for n_kill in range(n_kills):
            process = subprocess.Popen([OLLAMAX, "pull", "--insecure", self.name("good")], env=self.env, stderr=subprocess.DEVNULL)
            time.sleep(rng.uniform(0.02, 0.9))
            process.send_signal(signal.SIGKILL)
            is_done = process.wait() == 0
            manifests = self.models / "manifests" / self.registry.host
            self.assertEqual(manifests.exists(), is_done, f"seed {seed}, kill {n_kill}")
            if is_done:
                shutil.rmtree(self.models)
                self.registry.forget()
        self.registry.delay = 0
        self.check_pulled("good")
        extra = self.registry.bytes_sent() - sum(len(data) for data in self.registry.blobs.values())
        print(f"seed {seed}: {n_kills} kills, {extra / MIB:.2f} MiB fetched again", file=sys.stderr)
        self.assertLessEqual(extra, 8 * MIB * n_kills)

    def test_T73_what_one_kill_costs_is_counted_by_the_registry(self):
        self.registry.delay = 0.01
        process = subprocess.Popen([OLLAMAX, "pull", "--insecure", self.name("good")], env=self.env, stderr=subprocess.DEVNULL)
        while self.registry.bytes_sent() < 15 * MIB:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        time.sleep(0.3)
        self.registry.delay = 0
        self.check_pulled("good")
        extra = self.registry.bytes_sent() - sum(len(data) for data in self.registry.blobs.values())
        print(f"fetched again after kill -9: {extra / MIB:.2f} MiB", file=sys.stderr)
        # What lay in the buffers of four sockets is not what was fetched, but it counts here.
        self.assertLessEqual(extra, 8 * MIB)

    def test_a_damaged_journal_and_a_damaged_part_cost_only_what_they_hold(self):
        self.registry.delay = 0.01
        process = subprocess.Popen([OLLAMAX, "pull", "--insecure", self.name("good")], env=self.env, stderr=subprocess.DEVNULL)
        while self.registry.bytes_sent() < 20 * MIB:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        temporary = self.models / ".ollamax/tmp"
        journal, part = next(temporary.glob("*.journal")), next(temporary.glob("*.part"))
        records = pieces(journal.read_bytes(), 32)
        with open(part, "r+b") as file:  # the bytes of the first record are lost
            offset = int.from_bytes(records[0][8:16], "little")
            file.seek(offset + 1000)
            byte = file.read(1)[0]
            file.seek(offset + 1000)
            file.write(bytes([byte ^ 1]))
        with open(journal, "ab") as file:  # and the last record is torn
            file.write(records[-1][:17])
        self.registry.forget()
        self.registry.delay = 0
        self.check_pulled("good")

    def test_pulling_again_transfers_no_blob(self):
        self.check_pulled("good")
        self.registry.forget()
        self.check_pulled("good")
        self.assertEqual(self.registry.bytes_sent(), 0)

    def test_T79_a_blob_of_another_program_is_hashed_before_it_is_trusted(self):
        self.check_pulled("good")
        path = self.models / "blobs" / self.registry.large.replace(":", "-")
        path.chmod(0o644)
        data = bytearray(path.read_bytes())
        data[12345] ^= 1
        path.write_bytes(data)
        self.check_pulled("good")


class Server(Case):
    def setUp(self):
        super().setUp()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.env["OLLAMA_HOST"] = f"127.0.0.1:{self.port}"
        self.process = None

    def start(self, **env):
        self.process = subprocess.Popen([OLLAMAX, "serve"], env=dict(self.env, **env), stderr=subprocess.DEVNULL)
        for _ in range(100):
            try:
                return urllib.request.urlopen(f"http://127.0.0.1:{self.port}/").read()
            except OSError:
                time.sleep(0.05)

    def tearDown(self):
        if self.process:
            self.process.kill()
            self.process.wait()
        super().tearDown()

    def post(self, how, stream=True, timeout=100, host=None, path="/api/pull"):
        body = json.dumps({"model": f"{host or self.registry.host}/library/{how}", "insecure": True, "stream": stream}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return answer.status, [json.loads(line) for line in answer]
        except urllib.error.HTTPError as error:
            return error.code, [json.loads(error.read())]

    def test_records_are_ollamas(self):
        self.start()
        self.registry.delay = 0.02
        status, records = self.post("good")
        self.assertEqual(status, 200)
        statuses = [record["status"] for record in records]
        seen = [text for at, text in enumerate(statuses) if at == 0 or statuses[at - 1] != text]
        layers = self.registry.manifest["layers"] + [self.registry.manifest["config"]]
        self.assertEqual(seen, ["pulling manifest", *(f"pulling {layer['digest'][7:19]}" for layer in layers), "verifying sha256 digest",
                                "writing manifest", "success"])
        large = [record for record in records if record.get("digest") == self.registry.large]
        self.assertGreater(len(large), 5)
        self.assertEqual({record["total"] for record in large}, {len(LAYERS[MODEL])})
        self.assertEqual(large[-1]["completed"], len(LAYERS[MODEL]))
        done = [record.get("completed", 0) for record in large]
        self.assertEqual(done, sorted(done))
        self.assertEqual(self.post("good", stream=False), (200, [{"status": "success"}]))
        self.assertEqual(self.post("status-404", stream=False), (500, [{"error": "pull model manifest: file does not exist"}]))
        self.assertEqual(self.post("status-404"), (200, [{"status": "pulling manifest"}, {"error": "pull model manifest: file does not exist"}]))

    def test_T77_64_callers_share_one_download(self):
        self.start()
        self.registry.delay = 0.005
        size = sum(len(data) for data in self.registry.blobs.values())
        with concurrent.futures.ThreadPoolExecutor(64) as pool:
            answers = list(pool.map(lambda _: self.post("good"), range(64)))
        self.assertTrue(all(status == 200 and records[-1] == {"status": "success"} for status, records in answers))
        self.assertLessEqual(self.registry.bytes_sent(), size * 1.01)

    def test_T77_the_last_who_leaves_stops_it(self):
        self.start()
        self.registry.delay = 0.05
        leavers = []
        for _ in range(3):
            connection = socket.create_connection(("127.0.0.1", self.port))
            body = json.dumps({"model": self.name("good"), "insecure": True}).encode()
            connection.sendall(b"POST /api/pull HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            leavers.append(connection)
        while self.registry.bytes_sent() < MIB:
            time.sleep(0.02)
        for connection in leavers[:2]:
            connection.close()
        time.sleep(1)
        before = self.registry.bytes_sent()
        time.sleep(0.5)
        self.assertGreater(self.registry.bytes_sent(), before)
        leavers[2].close()
        time.sleep(1)
        before = self.registry.bytes_sent()
        time.sleep(0.7)
        self.assertEqual(self.registry.bytes_sent(), before)
        self.registry.delay = 0
        self.assertEqual(self.post("good")[1][-1], {"status": "success"})

    def test_T93_a_stop_in_the_middle_of_a_pull_keeps_what_has_come(self):
        self.start()
        self.registry.delay = 0.02
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            answer = pool.submit(self.post, "good")
            while self.registry.bytes_sent() < 15 * MIB:
                time.sleep(0.02)
            self.process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
            self.process.send_signal(signal.SIGTERM)  # and now, please
            self.assertEqual(self.process.wait(20), 0)
            try:
                answer.result()
            except OSError:  # cut off
                pass
        self.assertFalse((self.models / "manifests" / self.registry.host).exists())
        time.sleep(0.3)
        self.registry.delay = 0
        self.check_pulled("good")
        extra = self.registry.bytes_sent() - sum(len(data) for data in self.registry.blobs.values())
        self.assertLessEqual(extra, 8 * MIB)

    def test_T76_two_servers_on_one_store_fetch_once(self):
        self.start()
        self.registry.delay = 0.005
        size = sum(len(data) for data in self.registry.blobs.values())
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            by_server = pool.submit(self.post, "good")
            alone = dict(self.env, OLLAMA_HOST="127.0.0.1:1")
            done = subprocess.run([OLLAMAX, "pull", "--insecure", self.name("good")], env=alone, capture_output=True, text=True, timeout=100)
            self.assertEqual(by_server.result()[1][-1], {"status": "success"})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertLessEqual(self.registry.bytes_sent(), size * 1.01)
        self.check_store("good")

    def test_T61_callers_over_http_reach_only_registries_that_are_allowed(self):
        self.start(OLLAMAX_REGISTRIES="registry.example, hf.co")
        for path in ("/api/pull", "/api/push"):
            for host in (self.registry.host, "10.0.0.5:22", "hf.co.evil.example", "hf.co:8443"):
                status, answer = self.post("good", host=host, path=path)
                self.assertEqual(status, 403, (host, answer))
        self.assertEqual(self.registry.requests, [])


def pieces(data, size):
    return [data[at:at + size] for at in range(0, len(data) - size + 1, size)]


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    unittest.main(verbosity=2)
