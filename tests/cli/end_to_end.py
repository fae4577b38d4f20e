#!/usr/bin/env python3
"""The program as a user runs it: every command, on a real model, with a store of its own.

usage: end_to_end.py OLLAMAX SOURCE_DIR     exit 77: something it needs is missing (said on standard output)
"""
import json
import os
import pathlib
import pty
import re
import select
import signal
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

OLLAMAX = sys.argv[1]
SOURCE = pathlib.Path(sys.argv[2])
sys.path.insert(0, str(SOURCE / "tests/support"))
from gguf_split import split  # noqa: E402

SHARED = pathlib.Path(os.environ.get("OLLAMAX_SHARED", SOURCE.parent / "shared"))
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
MODELS = pathlib.Path(os.environ.get("OLLAMAX_TEST_MODELS", CACHE / "ollamax/models"))
SMOLLM2 = MODELS / "SmolLM2-135M-Instruct.Q4_1.gguf"
ESCAPE = "\x1b"


class Program(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        root = pathlib.Path(cls.folder.name)
        cls.env = dict(os.environ, HOME=str(root), OLLAMA_MODELS=str(root / "models"), OLLAMA_HOST="127.0.0.1:1", TERM="xterm")
        (root / "Modelfile").write_text(f"FROM {SMOLLM2}\nPARAMETER temperature 0\nPARAMETER num_predict 24\nSYSTEM You are terse.\n")
        cls.modelfile = root / "Modelfile"
        made = cls.run_program("create", "tiny", "-f", str(cls.modelfile))
        assert made.returncode == 0, made.stderr
        cls.create_output = made

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def run_program(cls, *words, stdin="", env=None):
        return subprocess.run([OLLAMAX, *words], input=stdin, capture_output=True, text=True, env=env or cls.env, timeout=900)

    def check_fails(self, *words, says):
        done = self.run_program(*words)
        self.assertEqual(done.returncode, 1, done)
        self.assertTrue(done.stderr.startswith("Error: "), done.stderr)
        self.assertIn(says, done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)

    def test_create_shows_progress_without_escape_codes(self):
        self.assertIn("success", self.create_output.stderr)
        self.assertNotIn(ESCAPE, self.create_output.stderr + self.create_output.stdout)

    def test_a_prompt_that_was_cut_is_told(self):
        done = self.run_program("run", "tiny", "word " * 1200, env=dict(self.env, OLLAMA_CONTEXT_LENGTH="1024"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stderr, r"Warning: \d+ tokens of the prompt did not fit")
        self.assertNotIn("Warning", done.stdout)

    def test_list_show_cp_rm(self):
        lines = self.run_program("list").stdout.splitlines()
        self.assertRegex(lines[0], r"^NAME +ID +SIZE +MODIFIED")
        self.assertTrue(any(re.match(r"tiny:latest +[0-9a-f]{12} +98 MB ", line) for line in lines), lines)
        shown = self.run_program("show", "tiny").stdout
        for part in ("architecture        llama", "parameters          134.52M", "quantization        Q4_1", "You are terse."):
            self.assertIn(part, shown)
        self.assertIn('SYSTEM', self.run_program("show", "tiny", "--modelfile").stdout)
        self.assertEqual(self.run_program("cp", "tiny", "copy").stdout, "copied 'tiny' to 'copy'\n")
        self.assertEqual(self.run_program("rm", "copy").stdout, "deleted 'copy'\n")
        self.assertNotIn("copy", self.run_program("list").stdout)

    def test_run_answers_a_prompt_and_a_pipe(self):
        answer = self.run_program("run", "tiny", "What is the capital of France? Answer in one word.")
        self.assertEqual(answer.returncode, 0, answer.stderr)
        self.assertIn("Paris", answer.stdout)
        self.assertNotIn(ESCAPE, answer.stdout + answer.stderr)
        piped = self.run_program("run", "tiny", stdin="What is the capital of France? Answer in one word.\n")
        self.assertIn("Paris", piped.stdout)
        verbose = self.run_program("run", "tiny", "--verbose", "Hi")
        self.assertRegex(verbose.stderr, r"eval rate: +[0-9.]+ tokens/s")
        # The model was not there before: its loading is a part of the figures.
        load_ms = re.search(r"load duration: +([0-9.]+)(ms|s)\n", verbose.stderr)
        self.assertTrue(load_ms and float(load_ms[1]) * {"ms": 1, "s": 1000}[load_ms[2]] >= 5, verbose.stderr)

    def test_run_holds_the_answer_to_a_format(self):
        wanted = json.dumps({"type": "object", "properties": {"city": {"enum": ["Paris", "Rome"]}, "n": {"type": "integer", "minimum": 3, "maximum": 5}},
                             "required": ["city", "n"]})
        answer = self.run_program("run", "tiny", "--format", wanted, "What is the capital of France? Answer in one word.")
        self.assertEqual(answer.returncode, 0, answer.stderr)
        value = json.loads(answer.stdout)
        self.assertIn(value["city"], ["Paris", "Rome"])
        self.assertIn(value["n"], [3, 4, 5])
        self.assertTrue(self.run_program("run", "tiny", "--format", "json", "Hi").stdout.lstrip().startswith("{"))
        self.check_fails("run", "tiny", "--format", "yaml", "hi", says='invalid format: "yaml"')
        self.check_fails("run", "tiny", "--format", '{"not": {}}', "hi", says="the keyword 'not' is not supported")

    def test_pull_takes_a_file(self):
        done = self.run_program("pull", str(SMOLLM2))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("The model's name is SmolLM2-135M-Instruct.Q4_1\n", done.stderr)
        (pathlib.Path(self.folder.name) / "FromPulled").write_text("FROM SmolLM2-135M-Instruct.Q4_1\nSYSTEM You are terse.\nPARAMETER temperature 0\nPARAMETER num_predict 24\n")
        self.run_program("create", "pulled", "-f", str(pathlib.Path(self.folder.name) / "FromPulled"))
        self.assertIn("Paris", self.run_program("run", "pulled", "What is the capital of France? Answer in one word.").stdout)
        self.run_program("rm", "pulled")
        self.run_program("rm", "SmolLM2-135M-Instruct.Q4_1")

    def test_errors_are_one_line_and_exit_code_1(self):
        fetched = self.run_program("run", "127.0.0.1:1/library/absent", "hi")  # what is not here is pulled
        self.assertEqual(fetched.returncode, 1)
        self.assertIn("Error: pull model manifest: connect: Connection refused", fetched.stderr)
        self.check_fails("show", "absent", says="not found")
        self.check_fails("rm", "absent", says="not found")
        self.check_fails("ps", says="could not connect")
        self.check_fails("frobnicate", says="unknown command")
        self.check_fails("run", "--frobnicate", "m", says="unknown flag")
        self.check_fails("create", "../evil", "-f", str(self.modelfile), says="invalid model name")
        self.check_fails("inspect", "gguf", "/dev/null", says="")
        bad = pathlib.Path(self.folder.name) / "bad.gguf"
        bad.write_bytes(b"GGUF" + b"\xff" * 100)
        self.check_fails("inspect", "gguf", str(bad), says="version")
        modelfile = pathlib.Path(self.folder.name) / "Bad"
        modelfile.write_text(f"FROM {bad}\n")
        refused = self.run_program("create", "bad", "-f", str(modelfile))
        self.assertEqual(refused.returncode, 1)
        self.assertIn("\nError: bad.gguf @ 0x4: expected GGUF version", refused.stderr)
        self.assertNotIn("bad", self.run_program("list").stdout)

    def weights_of(self, name, models=None):
        manifest = json.loads((pathlib.Path(models or self.env["OLLAMA_MODELS"]) / f"manifests/registry.ollama.ai/library/{name}/latest").read_text())
        return [layer["digest"] for layer in manifest["layers"] if layer["mediaType"] == "application/vnd.ollama.image.model"]

    def test_run_takes_a_file(self):
        env = dict(self.env, OLLAMA_MODELS=str(pathlib.Path(self.folder.name) / "of-a-file"))
        for _ in range(2):  # the second time it is there
            # Held to a format: a model this small, free to, sometimes writes until the limit of its answers.
            answered = self.run_program("run", str(SMOLLM2), "--format", '{"enum": ["Hello", "Good day"]}', "Say hello.", env=env)
            self.assertEqual(answered.returncode, 0, answered.stderr)
            self.assertIn(json.loads(answered.stdout), ["Hello", "Good day"])
        self.assertEqual(self.weights_of(SMOLLM2.stem, env["OLLAMA_MODELS"]), self.weights_of("tiny"))
        self.assertEqual(self.run_program("fsck", "--hash", env=env).returncode, 0)
        shutil.rmtree(env["OLLAMA_MODELS"])

    def test_the_parts_of_a_split_model_are_one_model(self):  # proves T-12
        folder = pathlib.Path(self.folder.name) / "parts"
        folder.mkdir()
        first = split(SMOLLM2, folder, 3)
        whole = json.loads(self.run_program("inspect", "gguf", str(SMOLLM2), "--json").stdout)
        parts = json.loads(self.run_program("inspect", "gguf", str(first), "--json").stdout)
        self.assertEqual([tensor["name"] for tensor in parts["tensors"]], [tensor["name"] for tensor in whole["tensors"]])
        self.check_fails("inspect", "gguf", str(first).replace("00001-of", "00002-of"), says="expected to be given the first")
        (folder / "Modelfile").write_text(f"FROM ./{first.name}\nPARAMETER temperature 0\nPARAMETER num_predict 24\nSYSTEM You are terse.\n")
        made = self.run_program("create", "merged", "-f", str(folder / "Modelfile"))
        self.assertEqual(made.returncode, 0, made.stderr)
        self.assertIn("merging 3 parts", made.stderr)
        # The file was laid out as any writer does: what is merged is what was split, to the last byte.
        self.assertEqual(self.weights_of("merged"), self.weights_of("tiny"))
        question = "What is the capital of France? Answer in one word."
        self.assertEqual(self.run_program("run", "merged", question).stdout, self.run_program("run", "tiny", question).stdout)
        first.with_name(first.name.replace("00001-of", "00002-of")).unlink()
        self.check_fails("inspect", "gguf", str(first), says="00002-of-00003.gguf")
        missing = self.run_program("create", "lacking", "-f", str(folder / "Modelfile"))
        self.assertEqual(missing.returncode, 1)
        self.assertIn("00002-of-00003.gguf: no such file; a split model needs all of its parts", missing.stderr)
        shutil.rmtree(folder)

    def test_inspect_tokens_and_template_and_logits(self):
        tokens = self.run_program("inspect", "tokens", str(SMOLLM2), "-0", stdin="Hello\0\0Why is the sky blue?")
        lists = [json.loads(line) for line in tokens.stdout.splitlines()]
        self.assertEqual(len(lists), 3)
        self.assertEqual(lists[1], [])
        template = pathlib.Path(self.folder.name) / "t.jinja"
        template.write_text("{% for m in messages %}[{{ m.role }}]{% endfor %}")
        self.assertEqual(self.run_program("inspect", "template", str(template), stdin='{"messages":[{"role":"a"},{"role":"b"}]}').stdout, "[a][b]")
        logits = self.run_program("inspect", "logits", "tiny", "--top", "3", stdin=json.dumps(lists[2]))
        positions = [json.loads(line) for line in logits.stdout.splitlines()]
        self.assertEqual(len(positions), len(lists[2]))
        self.assertTrue(all(len(position["top"]) == 3 for position in positions))
        metadata = json.loads(self.run_program("inspect", "gguf", str(SMOLLM2), "--json").stdout)
        self.assertEqual(metadata["metadata"]["general.architecture"], "llama")

    def test_killed_create_leaves_the_store_as_it_was(self):  # proves T-73
        before = self.run_program("list").stdout.splitlines()[1:]
        for delay_ms in (5, 20, 40, 80, 120):
            process = subprocess.Popen([OLLAMAX, "create", "killed", "-f", str(self.modelfile)], env=self.env,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(delay_ms / 1000)
            process.kill()
            process.wait()
            checked = self.run_program("fsck", "--hash")
            self.assertEqual(checked.returncode, 0, checked.stdout)
            names = [line.split()[0] for line in self.run_program("list").stdout.splitlines()[1:]]
            self.assertIn("tiny:latest", names)
            self.assertLessEqual(set(names) - {line.split()[0] for line in before}, {"killed:latest"})
        self.assertIn("Paris", self.run_program("run", "tiny", "What is the capital of France? Answer in one word.").stdout)

    def test_fsck_names_damage_and_takes_it_out(self):  # proves T-79
        with tempfile.TemporaryDirectory() as copy:
            models = pathlib.Path(copy) / "models"
            shutil.copytree(self.env["OLLAMA_MODELS"], models)
            env = {**self.env, "OLLAMA_MODELS": str(models)}
            fsck = lambda *flags: subprocess.run([OLLAMAX, "fsck", *flags], env=env, capture_output=True, text=True)
            self.assertIn("nothing is wrong", fsck("--hash").stdout)
            weights = max((models / "blobs").iterdir(), key=lambda path: path.stat().st_size)
            weights.chmod(0o644)
            with open(weights, "r+b") as file:
                file.seek(50_000_000)
                file.write(b"flipped")
            self.assertEqual(fsck().returncode, 0)  # only the bytes are other ones
            found = fsck("--hash")
            self.assertEqual(found.returncode, 2)
            self.assertRegex(found.stdout, r"wrong +blob sha256:[0-9a-f]{64} holds other bytes .*; needed by tiny:latest")
            self.assertIn("`ollamax pull tiny:latest`, or create the model again", found.stdout)
            self.assertEqual(fsck("--hash", "--repair").returncode, 2)
            self.assertFalse(weights.exists())
            self.assertTrue((models / ".ollamax/quarantine" / weights.name).exists())
            env["OLLAMA_MODELS"] = str(models / "absent")
            self.assertEqual(fsck().returncode, 1)

    def test_serve_streams_stops_on_sigterm_and_serves_other_commands(self):
        env = dict(self.env, OLLAMA_HOST="127.0.0.1:0")
        port = free_port()
        env["OLLAMA_HOST"] = f"127.0.0.1:{port}"
        server = subprocess.Popen([OLLAMAX, "serve"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            wait_until_up(port)
            body = json.dumps({"model": "tiny", "messages": [{"role": "user", "content": "What is the capital of France? Answer in one word."}]})
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/chat", body.encode()) as answer:
                self.assertEqual(answer.headers["Content-Type"], "application/x-ndjson")
                records = [json.loads(line) for line in answer]
            self.assertIn("Paris", "".join(record["message"]["content"] for record in records))
            self.assertTrue(records[-1]["done"])
            self.assertEqual(records[-1]["done_reason"] in ("stop", "length"), True)
            self.assertGreater(records[-1]["eval_count"], 0)
            self.assertIn("tiny:latest", self.run_program("ps", env=env).stdout)
            self.assertEqual(self.run_program("stop", "tiny", env=env).returncode, 0)
            self.assertNotIn("tiny:latest", self.run_program("ps", env=env).stdout)
            self.assertIn("Error: ", self.run_program("serve", env=env).stderr)  # the port is taken
        finally:
            server.send_signal(signal.SIGTERM)
            self.assertEqual(server.wait(timeout=30), 0)

    def test_chat_on_a_terminal(self):
        # Each line is typed when the prompt is there: before that, the terminal and not the editor would take it.
        chat = Terminal([OLLAMAX, "run", "tiny"], self.env)
        chat.expect(">>> ")
        chat.send("What is the capital of France? Answer in one word.\r")
        self.assertIn("Paris", chat.expect("\n>>> "))
        chat.send("/set parameter num_predict 4000\r")
        chat.expect("\n>>> ")
        for wait_s in (0.02, 0.05, 0.2, 0.5):  # in the prompt, at the first tokens, later
            chat.send("Write a long story about a dragon.\r")
            chat.expect("\n")
            time.sleep(wait_s)
            chat.interrupt("\n>>> ")
        chat.send('/set system """Answer in\r')
        chat.expect("... ")
        chat.send('one word."""\r')
        self.assertIn("Set system message.", chat.expect("\n>>> "))
        for line, says in (("num_ctx abc", "invalid int value [abc]"), ("bogus 1", "unknown parameter 'bogus'")):
            chat.send(f"/set parameter {line}\r")
            self.assertIn(f"Couldn't set parameter: \"{says}\"", chat.expect("\n>>> "))
        chat.send("/set think\r")
        self.assertIn("warning: model \"tiny\" does not support thinking output", chat.expect("\n>>> "))
        chat.send("/set nothink\r")
        chat.expect("\n>>> ")
        chat.send("/nope\r")
        self.assertIn("Unknown command '/nope'. Type /? for help", chat.expect("\n>>> "))
        chat.send("/bye\r")
        self.assertEqual(chat.wait(), 0)

    def test_history_is_off_where_the_switch_is_on(self):
        history = pathlib.Path(self.env["HOME"]) / ".ollama/history"
        for switch, is_kept in (("1", False), ("0", True)):
            history.unlink(missing_ok=True)
            chat = Terminal([OLLAMAX, "run", "tiny"], dict(self.env, OLLAMA_NOHISTORY=switch))
            chat.expect(">>> ")
            chat.send("/clear\r")
            chat.expect("\n>>> ")
            chat.send("/bye\r")
            self.assertEqual(chat.wait(), 0)
            self.assertEqual(history.exists(), is_kept, switch)


class Terminal:
    """A program on a pseudo terminal; expect() waits for a text and returns what came up to it."""

    def __init__(self, words, env):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(words[0], words, env)
        self.pending = ""

    def send(self, text):
        os.write(self.fd, text.encode())

    def expect(self, text, timeout_s=120):
        end = time.monotonic() + timeout_s
        while text not in self.pending:
            if time.monotonic() > end:
                raise AssertionError(f"no {text!r} in {self.pending!r}")
            if select.select([self.fd], [], [], 0.2)[0]:
                self.pending += os.read(self.fd, 65536).decode("utf-8", "replace")
        seen, self.pending = self.pending.split(text, 1)
        return seen

    def interrupt(self, text):
        # Until the editor has given the terminal back Ctrl-C is one of its keys; a slow machine may need a second press.
        for _ in range(3):
            self.send("\x03")
            try:
                return self.expect(text, timeout_s=5)
            except AssertionError:
                pass
        raise AssertionError(f"Ctrl-C does not stop the answer: {self.pending!r}")

    def wait(self):
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def free_port():
    import socket
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_up(port):
    for _ in range(200):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/")
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("the server does not answer")


if __name__ == "__main__":
    if not SMOLLM2.exists():
        print(f"SKIPPED: {SMOLLM2} is missing (tools/fetch_model smollm2)")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1], verbosity=2)
