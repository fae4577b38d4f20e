#!/usr/bin/env python3
"""The page at / as a person uses it: headless Chromium, a real server, a real model.

usage: page.py OLLAMAX SOURCE_DIR     exit 77: something it needs is missing (said on standard output)
"""
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

from browser import SHIFT, Browser, find_browser

OLLAMAX = sys.argv[1]
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
MODELS = pathlib.Path(os.environ.get("OLLAMAX_TEST_MODELS", CACHE / "ollamax/models"))
SMOLLM2 = MODELS / "SmolLM2-135M-Instruct.Q4_1.gguf"
LAST = "[...document.querySelectorAll('.assistant')].at(-1)"
LAST_TEXT = f"({LAST}?.querySelector('.answer').textContent ?? '')"
IS_OVER = f"({LAST}?.getAttribute('aria-busy') === 'false')"
FOCUS = "(document.activeElement.id || document.activeElement.getAttribute('aria-label') || document.activeElement.textContent)"

# What a hostile model writes: each line once made some page run a script, load an image or leave.
HOSTILE = """# <img src=x onerror=alert(1)> heading
<script>window.hacked = 1</script> <b>bold?</b> <svg/onload="window.hacked=1">

[one](javascript:window.hacked=1) [two](data:text/html,<script>1</script>) [three](//evil.example/x) ![four](http://evil.example/i.png)
[five]( jAvAsCrIpT:window.hacked=1) [six](vbscript:x) <http://evil.example/?a="onmouseover=alert(1)> https://good.example/a_b_(c).

| <img src=x> | b |
| :-: | --: |
| **x** | `y` |

```"><script>
<script>window.hacked = 1</script>
```
"""
MARKDOWN = """Intro with **bold**, *italic*, `code` and 2*3*4, snake_case_name.

1. first
2. second
   - inner
     more

> quoted

```cpp
int main() {}
```
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    def __init__(self, root, **variables):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.env = dict(os.environ, HOME=str(root), OLLAMA_MODELS=str(root / "models"), OLLAMA_HOST=f"127.0.0.1:{self.port}", **variables)
        self.process = subprocess.Popen([OLLAMAX, "serve"], env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(400):
            try:
                urllib.request.urlopen(self.url)
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("the server does not answer")

    def create(self, name, folder, system):
        modelfile = pathlib.Path(folder) / "Modelfile"
        modelfile.write_text(f"FROM {SMOLLM2}\nPARAMETER temperature 0\nPARAMETER num_predict 16\nSYSTEM {system}\n")
        subprocess.run([OLLAMAX, "create", name, "-f", str(modelfile)], env=self.env, check=True, capture_output=True, timeout=120)

    def metric(self, name):
        text = urllib.request.urlopen(self.url + "metrics").read().decode()
        return sum(float(line.split()[-1]) for line in text.splitlines() if re.match(name + r"[ {]", line))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


class Page(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        root = pathlib.Path(cls.folder.name)
        cls.server = Server(root)
        cls.server.create("second", root, "You are kind.")
        cls.server.create("first", root, "You are terse.")  # the newest is the one chosen
        cls.browser = Browser(find_browser())

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()
        code = cls.server.stop()
        cls.folder.cleanup()
        assert code == 0, f"the server ended with {code}"

    def setUp(self):
        self.complaints_expected = False
        self.browser.open(self.server.url)
        self.browser.evaluate("localStorage.clear()")
        self.open_page()

    def tearDown(self):
        if not self.complaints_expected:
            self.assertEqual(self.browser.complaints(), [])
        self.browser.events.clear()

    def open_page(self):
        self.browser.open("about:blank")
        self.browser.open(self.server.url)
        self.browser.wait_for("document.querySelector('#model').value && document.querySelector('#model-facts').textContent", "the models")

    def ask(self, text, waits=True):
        count = self.browser.evaluate("document.querySelectorAll('.assistant').length")
        self.browser.evaluate("document.querySelector('#prompt').focus()")
        self.browser.type(text)
        self.browser.press("Enter")
        self.browser.wait_for(f"document.querySelectorAll('.assistant').length > {count}", "an answer begun")
        if waits:
            self.browser.wait_for(IS_OVER, "an answer's end")
        return self.browser.evaluate(LAST_TEXT)

    def chat_requests(self):
        return [json.loads(request["postData"]) for request in self.browser.requests() if request["url"].endswith("/api/chat")]

    def set_field(self, selector, text):
        """As a person does: open the panel, write, close it."""
        self.browser.click("#open-settings")
        self.browser.wait_for("document.querySelector('#settings').open")
        self.browser.evaluate(f"document.querySelector({json.dumps(selector)}).select()")
        self.browser.type(text) if text else self.browser.press("Backspace")
        self.browser.press("Escape")
        self.browser.wait_for("!document.querySelector('#settings').open")

    def test_an_answer_streams_and_everything_stays_on_this_machine(self):
        lengths = set()
        self.set_field("#option-num_predict", "40")
        self.ask("What is the capital of France? Answer in one word.", waits=False)
        self.browser.wait_for("!document.querySelector('#stop').hidden")
        self.assertTrue(self.browser.evaluate("document.querySelector('#send').hidden"))
        while not self.browser.evaluate(IS_OVER):
            lengths.add(self.browser.evaluate(LAST_TEXT + ".length"))
        text = self.browser.evaluate(LAST_TEXT)
        self.assertIn("Paris", text)
        self.assertGreaterEqual(len(lengths - {0}), 2, "the answer was not seen growing")
        self.assertRegex(self.browser.evaluate(f"{LAST}.querySelector('.stats').textContent"), r"^\d+ tokens · [\d.]+ tokens/s · prompt \d+")
        self.browser.wait_for("document.querySelector('#announcer').textContent.includes('Paris')", "the answer said to screen readers")
        requests = self.browser.requests()
        self.assertGreater(len(requests), 10)
        for request in requests:
            self.assertTrue(request["url"].startswith((self.server.url, "about:", "data:")), request["url"])
        self.assertEqual(self.chat_requests()[0]["messages"], [{"role": "user", "content": "What is the capital of France? Answer in one word."}])

    def test_stop_ends_the_generation_in_the_server(self):
        self.set_field("#option-num_predict", "4000")
        for how in ("button", "escape"):
            before = len(self.chat_requests())
            self.ask("Write a very long story about a dragon and a village.", waits=False)
            self.browser.wait_for(LAST_TEXT + ".length > 20", "some text")
            self.assertEqual(self.server.metric("ollamax_requests_running"), 1)
            if how == "button":
                self.browser.click("#stop")
            else:
                self.browser.press("Escape")
            self.browser.wait_for(IS_OVER)
            self.assertEqual(self.browser.evaluate(f"{LAST}.querySelector('.stats').textContent"), "stopped")
            end = time.monotonic() + 10
            while self.server.metric("ollamax_requests_running") + self.server.metric("ollamax_model_requests_running") > 0:
                self.assertLess(time.monotonic(), end, "the server still generates")
                time.sleep(0.02)
            self.assertEqual(len(self.chat_requests()), before + 1)
            self.assertGreater(self.browser.evaluate(LAST_TEXT + ".length"), 20)

    def test_another_model_a_system_prompt_and_options_reach_the_request(self):
        self.assertEqual(self.browser.evaluate("[...document.querySelector('#model').options].map(o => o.text).sort().join()"), "first,second")
        plain = self.ask("Say something about rain.")
        self.browser.evaluate("(m => { m.value = 'second:latest'; m.dispatchEvent(new Event('change')); })(document.querySelector('#model'))")
        self.set_field("#system", "Answer in capital letters only.")
        self.set_field("#option-temperature", "0.1")
        self.set_field("#option-seed", "7")
        self.set_field("#keep-alive", "2m")
        self.ask("And about snow?")
        first, second = self.chat_requests()
        self.assertEqual(first["model"], "first:latest")
        self.assertEqual(first["options"], {})
        self.assertEqual(second["model"], "second:latest")
        self.assertEqual(second["options"], {"temperature": 0.1, "seed": 7})
        self.assertEqual(second["keep_alive"], "2m")
        self.assertEqual([m["role"] for m in second["messages"]], ["system", "user", "assistant", "user"])
        self.assertEqual(second["messages"][0]["content"], "Answer in capital letters only.")
        self.assertEqual(second["messages"][2]["content"], plain)
        # A value that is none is told and not sent.
        self.set_field("#option-temperature", "warm")
        self.assertEqual(self.browser.evaluate("document.querySelector('#option-temperature').getAttribute('aria-invalid')"), "true")
        self.assertIn("number", self.browser.evaluate("document.querySelector('#option-temperature-problem').textContent"))
        self.set_field("#option-temperature", "")
        self.ask("And hail?")
        self.assertEqual(self.chat_requests()[2]["options"], {"seed": 7})

    def test_conversations_outlive_a_reload_and_can_be_changed_and_deleted(self):
        first = self.ask("What is the capital of France?")
        self.browser.click("#new-chat")
        self.assertEqual(self.browser.evaluate("document.querySelectorAll('.message').length"), 0)
        self.ask("What is the capital of Italy?")
        self.open_page()
        titles = "[...document.querySelectorAll('#conversations .open')].map(b => b.textContent).join('|')"
        self.assertEqual(self.browser.evaluate(titles), "What is the capital of Italy?|What is the capital of France?")
        self.browser.click("#conversations li:nth-child(2) .open")
        self.assertEqual(self.browser.evaluate(LAST_TEXT), first)
        # Answer again: the old answer is not sent back. Edit: the message is replaced.
        self.browser.evaluate(LAST + ".id = 'old'")
        self.browser.click(".assistant .again")
        self.browser.wait_for(f"!document.querySelector('#old') && {IS_OVER} && document.querySelector('#stop').hidden")
        self.assertEqual([m["role"] for m in self.chat_requests()[-1]["messages"]], ["user"])
        self.browser.click(".user .edit")
        self.assertEqual(self.browser.evaluate("document.querySelector('#prompt').value"), "What is the capital of France?")
        self.browser.evaluate("document.querySelector('#prompt').select()")
        self.browser.type("What is the capital of Spain?")
        self.browser.evaluate(LAST + ".id = 'old'")
        self.browser.press("Enter")
        self.browser.wait_for(f"!document.querySelector('#old') && document.querySelectorAll('.message').length === 2 && {IS_OVER} && document.querySelector('#stop').hidden")
        self.assertEqual([m["content"] for m in self.chat_requests()[-1]["messages"]], ["What is the capital of Spain?"])
        stored = self.browser.evaluate("JSON.stringify(Object.keys(localStorage).filter(k => k.startsWith('ollamax.chat.')).length)")
        self.assertEqual(stored, "2")
        self.browser.click("#conversations li:nth-child(1) .delete")
        self.assertEqual(self.browser.evaluate(titles), "What is the capital of Italy?")
        self.browser.click("#toast .link")  # undo
        self.browser.wait_for(titles + ".includes('Spain')")
        self.browser.click("#conversations li:nth-child(1) .delete")
        self.open_page()
        self.assertEqual(self.browser.evaluate(titles), "What is the capital of Italy?")
        exported = self.browser.evaluate("""new Promise(resolve => { URL.createObjectURL = blob => { blob.text().then(resolve); return "#"; };
            HTMLAnchorElement.prototype.click = () => {}; document.querySelector('#export').click(); })""")
        self.assertEqual([m["role"] for m in json.loads(exported)["messages"]], ["user", "assistant"])

    def test_a_keyboard_is_enough(self):
        browser = self.browser
        self.assertEqual(browser.evaluate(FOCUS), "prompt")
        browser.type("One line")
        browser.press("Enter", SHIFT)
        browser.type("another")
        self.assertEqual(browser.evaluate("document.querySelector('#prompt').value"), "One line\nanother")
        browser.press("Enter")
        browser.wait_for(IS_OVER)
        seen = []
        for _ in range(40):
            browser.press("Tab")
            name = browser.evaluate(FOCUS)
            if name in seen:
                break
            seen.append(name)
            if browser.evaluate("document.activeElement !== document.body"):
                style = browser.evaluate("(s => s.outlineStyle + s.outlineWidth)(getComputedStyle(document.activeElement))")
                self.assertTrue(style.startswith(("solid", "auto")) or name == "prompt", (name, style))
        for name in ("new-chat", "model", "export", "theme", "open-settings", "prompt", "send", "Copy this answer", "Answer again",
                     "Change this message", "One line another", "Delete “One line another”"):
            self.assertTrue(any(part.startswith(name) for part in seen + ["prompt"]), (name, seen))
        browser.evaluate("document.querySelector('#open-settings').focus()")
        browser.press("Enter")
        browser.wait_for("document.querySelector('#settings').open")
        browser.press("Escape")
        browser.wait_for("!document.querySelector('#settings').open")
        self.assertEqual(browser.evaluate(FOCUS), "open-settings")
        browser.evaluate("document.querySelector('#model').focus()")
        before = browser.evaluate("document.querySelector('#model').value")
        browser.press("ArrowDown")
        browser.press("ArrowDown")
        browser.press("Enter")
        browser.wait_for(f"document.querySelector('#model').value !== '{before}'")
        self.assertNotEqual(browser.evaluate("localStorage.getItem('ollamax.model')"), before)
        browser.evaluate("document.querySelector('#theme').focus()")
        browser.press("Space")
        self.assertEqual(browser.evaluate("document.documentElement.dataset.theme"), "light")
        browser.press("Space")
        self.assertEqual(browser.evaluate("document.documentElement.dataset.theme"), "dark")
        self.assertEqual(browser.evaluate("getComputedStyle(document.body).colorScheme"), "dark")
        self.assertEqual(browser.evaluate("""[...document.querySelectorAll('button, input:not([hidden]), select, textarea')].filter(node =>
            !(node.getAttribute('aria-label') || node.labels?.length || node.textContent.trim())).map(node => node.outerHTML).join()"""), "")

    def test_what_a_model_writes_stays_text(self):
        self.answer_from_here([{"content": piece} for piece in (HOSTILE[:99], HOSTILE[99:])])
        self.ask("Show me.")
        browser = self.browser
        browser.pump(0.2)
        self.assertIsNone(browser.evaluate("window.hacked ?? null"))
        self.assertEqual(browser.evaluate(f"{LAST}.querySelectorAll('script, img, .answer svg:not(.icon), iframe, b').length"), 0)
        links = json.loads(browser.evaluate(f"JSON.stringify([...{LAST}.querySelectorAll('a')].map(a => [a.getAttribute('href'), a.rel, a.target]))"))
        self.assertEqual([link[0] for link in links], ["http://evil.example/i.png", "http://evil.example/?a=", "https://good.example/a_b_(c"])
        for link in links:
            self.assertEqual(link[1:], ["noopener noreferrer", "_blank"])
        self.assertEqual(browser.evaluate(f"{LAST}.querySelector('th').textContent"), "<img src=x>")
        self.assertEqual(browser.evaluate(f"{LAST}.querySelector('pre').textContent"), "<script>window.hacked = 1</script>")
        self.assertFalse([r["url"] for r in browser.requests() if "evil" in r["url"]])
        # Text that would take a careless reader for ever: deep, long and unclosed.
        for text in ("> " * 3000 + "x", "*a " * 6000, "[" * 20000, "`" * 999 + "a`" * 9000, "- " * 3000, "**a **" * 4000, "|" * 9000 + "\n" + "|-" * 4500 + "|",
                     "~~~\n" * 3000, "_" * 20000, "[a](b" * 5000, "  " * 3000 + "- x\n" * 2000):
            took = browser.evaluate(f"""import('/web/markdown.js').then(m => {{ const begun = performance.now();
                m.renderMarkdown(document.createElement('div'), {json.dumps(text)}); return performance.now() - begun; }})""")
            self.assertLess(took, 2000, text[:20])

    def test_markdown_thinking_and_tool_calls_are_shown(self):
        call = {"function": {"name": "weather", "arguments": {"city": "Lisbon <b>"}}}
        self.answer_from_here([{"thinking": "Let me **see**."}, {"content": MARKDOWN}, {"tool_calls": [call]}])
        self.ask("Show me.")
        browser = self.browser
        of = lambda selector: browser.evaluate(f"[...{LAST}.querySelectorAll({json.dumps(selector)})].map(n => n.textContent).join('|')")
        self.assertEqual(of(".answer strong"), "bold")
        self.assertEqual(of(".answer em"), "italic")
        self.assertEqual(of(".answer p code"), "code")
        self.assertIn("2*3*4, snake_case_name.", of(".answer p"))
        self.assertEqual(of(".answer > ol > li > ul > li"), "innermore")
        self.assertEqual(of("blockquote"), "quoted")
        self.assertEqual(of(".code-head span"), "cpp")
        self.assertEqual(of(".code pre"), "int main() {}")
        self.assertEqual(of(".thinking strong"), "see")
        self.assertFalse(browser.evaluate(f"{LAST}.querySelector('.thinking').open"))
        self.assertIn("Calls weather", of(".tool"))
        self.assertIn('"city": "Lisbon <b>"', of(".tool"))
        browser.call("Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}, session=None)
        browser.click(".code-head button")
        self.assertEqual(browser.evaluate("navigator.clipboard.readText()"), "int main() {}")
        # Without TLS a page from another machine has no such object.
        browser.evaluate("window.clipboard = navigator.clipboard; Object.defineProperty(navigator, 'clipboard', {value: undefined}); 0")
        browser.click(".assistant .foot button")
        self.assertEqual(browser.evaluate("window.clipboard.readText()"), MARKDOWN)

    def test_images_are_offered_where_a_model_sees(self):
        self.assertTrue(self.browser.evaluate("document.querySelector('#attach').hidden"))
        self.browser.answer_with({"/api/show": ("application/json", json.dumps({"capabilities": ["completion", "vision"], "details": {}}))})
        self.browser.open("about:blank")
        self.browser.open(self.server.url)
        self.browser.wait_for("!document.querySelector('#attach').hidden")
        self.browser.answer_no_more()
        picture = pathlib.Path(self.folder.name) / "p.png"
        picture.write_bytes(bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c6360000000020001e221bc330000000049454e44ae426082"))
        node = self.browser.call("Runtime.evaluate", {"expression": "document.querySelector('#images')"})["result"]["objectId"]
        self.browser.call("DOM.setFileInputFiles", {"files": [str(picture)], "objectId": node})
        self.browser.wait_for("document.querySelector('#attached img')?.naturalWidth === 1", "the image's preview")
        self.complaints_expected = True  # the model cannot see: the server says so
        self.ask("What is this?")
        self.assertTrue(self.chat_requests()[0]["messages"][0]["images"][0].startswith("iVBOR"))
        self.assertIn("does not support vision", self.browser.evaluate(f"{LAST}.querySelector('.failure').textContent"))

    def test_the_wait_is_explained(self):
        names = lambda *models: ("application/json", json.dumps({"models": [{"model": model} for model in models]}))
        replies = {"/api/chat": None, "/api/ps": names("second:latest")}
        self.browser.answer_with(replies)
        self.addCleanup(self.browser.answer_no_more)
        self.ask("What is the capital of France? Answer in one word.", waits=False)
        self.browser.wait_for(f"{LAST}.querySelector('.waiting').innerText === 'Loading first:latest…'")
        replies["/api/ps"] = names("second:latest", "first:latest")
        self.browser.wait_for(f"{LAST}.querySelector('.waiting').innerText === 'Reading the conversation…'")
        self.browser.let_go()
        self.browser.wait_for(IS_OVER)
        self.assertTrue(self.browser.evaluate(f"{LAST}.querySelector('.waiting').hidden"))
        self.assertIn("Paris", self.browser.evaluate(LAST_TEXT))

    def test_the_policy_would_hold_even_a_fooled_script(self):
        # Also shows that complaints(), which every other test wants empty, sees what it should.
        self.complaints_expected = True
        for attempt in ("document.createElement('div').innerHTML = '<b>x</b>'", "document.body.append(Object.assign(document.createElement('script'), {src: 'x.js'}))"):
            self.assertEqual(self.browser.evaluate(f"(() => {{ try {{ {attempt}; return 'open'; }} catch {{ return 'shut'; }} }})()"), "shut", attempt)
        for attempt in ("new Image().src = 'http://127.0.0.1:9/x.png'", "fetch('http://127.0.0.1:9/').catch(() => {})",
                        "document.body.append(Object.assign(document.createElement('style'), {textContent: 'body{color:red}'}))"):
            self.browser.events.clear()
            self.browser.evaluate(f"(() => {{ {attempt}; }})()")
            self.browser.pump(0.2)
            self.assertTrue(any("Content Security Policy" in text or "ContentSecurityPolicy" in text for text in self.browser.complaints()), attempt)

    def test_thinking_and_tools_are_offered_where_a_model_can(self):
        tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
        show = {"capabilities": ["completion", "tools", "thinking"], "details": {}, "parameters": "temperature 0.25\nstop \"x\""}
        self.browser.answer_with({"/api/show": ("application/json", json.dumps(show)),
                                  "/api/chat": ("application/x-ndjson", '{"message":{"content":"Yes."},"done":true}\n')})
        self.addCleanup(self.browser.answer_no_more)
        self.open_page()
        self.set_field("#tools", '[{"type": ')
        self.assertIn("no JSON yet", self.browser.evaluate("document.querySelector('#tools-problem').textContent"))
        self.set_field("#tools", json.dumps(tools))
        self.assertEqual(self.browser.evaluate("document.querySelector('#option-temperature').placeholder"), "0.25")
        self.browser.evaluate("(s => { s.value = 'off'; s.dispatchEvent(new Event('change')); })(document.querySelector('#think'))")
        self.ask("Can you?")
        request = self.chat_requests()[0]
        self.assertEqual((request["tools"], request["think"]), (tools, False))

    def test_a_long_answer_grows_smoothly(self):
        took = json.loads(self.browser.evaluate("""import('/web/markdown.js').then(({renderMarkdown}) => {
            const block = "Some **bold** text with `code` and a [link](https://a.example/).\\n\\n- one\\n- two\\n\\n```\\nint x;\\n```\\n\\n";
            const place = document.createElement("div");
            let text = "", first = null;
            const times = [];
            for (let i = 0; i < 1200; ++i) {
              text += block;
              const begun = performance.now();
              renderMarkdown(place, text);
              times.push(performance.now() - begun);
              first ??= place.firstChild;
            }
            return JSON.stringify([times.sort((a, b) => a - b)[600], text.length, first === place.firstChild, place.childNodes.length]);
        })"""))
        self.assertEqual(took[2:], [True, 3600], "blocks that have not changed keep their nodes")
        self.assertGreater(took[1], 100_000)
        self.assertLess(took[0], 50, "milliseconds for one piece more, in the middle")

    def test_an_error_is_told_in_words_and_can_be_tried_again(self):
        self.complaints_expected = True
        self.browser.answer_with({"/api/chat": (503, "application/json", '{"error":"server busy, please try again"}')})
        self.ask("What is the capital of France? Answer in one word.")
        failure = f"{LAST}.querySelector('.failure')"
        self.assertIn("The server is busy", self.browser.evaluate(failure + ".innerText"))
        self.browser.answer_with({"/api/chat": ("application/x-ndjson", '{"message":{"role":"assistant","content":"Par"},"done":false}\n')})
        self.browser.click(".retry")
        self.browser.wait_for(f"{IS_OVER} && {failure}.innerText.includes('connection was lost')")
        self.assertEqual(self.browser.evaluate(LAST_TEXT), "Par")
        self.browser.answer_no_more()
        self.browser.click(".retry")
        self.browser.wait_for(f"{IS_OVER} && {LAST_TEXT}.includes('Paris')")
        self.assertTrue(self.browser.evaluate(failure + ".hidden"))

    def test_a_narrow_window_has_everything(self):
        self.ask("Hi")
        self.browser.set_size(390, 844, is_phone=True)
        self.assertTrue(self.browser.evaluate("document.documentElement.scrollWidth <= 390 && document.querySelector('#scroller').scrollWidth <= 390"))
        self.browser.click("#open-sidebar")
        self.browser.wait_for("document.querySelector('#sidebar').getBoundingClientRect().x >= 0")
        self.browser.click("#new-chat")
        self.assertEqual(self.browser.evaluate("document.querySelectorAll('.message').length"), 0)
        self.browser.call("Emulation.clearDeviceMetricsOverride")

    def test_a_key_is_asked_for_and_sent(self):
        self.complaints_expected = True  # 401, before the key is there
        root = pathlib.Path(self.folder.name)
        server = Server(root, OLLAMAX_API_KEYS="open-sesame")
        try:
            self.browser.open(server.url)
            self.browser.wait_for("document.querySelector('#key-dialog').open")
            self.browser.type("wrong")
            self.browser.press("Enter")
            self.browser.wait_for("document.querySelector('#key-dialog').open && document.querySelector('#key').value === ''")
            self.browser.type("open-sesame")
            self.browser.press("Enter")
            self.browser.wait_for("document.querySelector('#model').value")
            self.assertIn("Paris", self.ask("What is the capital of France? Answer in one word."))
            self.assertIsNone(self.browser.evaluate("localStorage.getItem('ollamax.key')"))
        finally:
            self.assertEqual(server.stop(), 0)

    def answer_from_here(self, pieces):
        records = [{"message": {"role": "assistant", "content": "", **piece}, "done": False} for piece in pieces]
        records.append({"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"})
        self.browser.answer_with({"/api/chat": ("application/x-ndjson", "".join(json.dumps(record) + "\n" for record in records))})
        self.addCleanup(self.browser.answer_no_more)


if __name__ == "__main__":
    if not SMOLLM2.exists():
        print(f"SKIPPED: {SMOLLM2} is missing (tools/fetch_model smollm2)")
        sys.exit(77)
    if not find_browser():
        print("SKIPPED: chromium is missing (tools/setup test installs it)")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1], verbosity=2)
