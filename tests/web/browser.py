"""Headless Chromium, driven over a pair of pipes (--remote-debugging-pipe): no port, no package.

Used by page.py. Everything the browser says is kept: requests, console, errors of the page, issues.
"""
import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

KEYS = {"Enter": (13, "\r"), "Tab": (9, ""), "Escape": (27, ""), "Space": (32, " "), "ArrowDown": (40, ""), "Backspace": (8, "")}
SHIFT = 8


def find_browser():
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if shutil.which(name):
            return shutil.which(name)
    return None


class BrowserError(AssertionError):
    pass


class Browser:
    def __init__(self, program, width=1280, height=860):
        self.folder = tempfile.TemporaryDirectory(prefix="ollamax-browser-", ignore_cleanup_errors=True)
        self.log = tempfile.TemporaryFile()
        to_browser, self.out = os.pipe()
        self.inp, from_browser = os.pipe()

        def wire():  # the browser reads commands from 3 and writes to 4
            reading, writing = os.dup(to_browser), os.dup(from_browser)
            os.dup2(reading, 3)
            os.dup2(writing, 4)

        words = [program, "--headless", "--remote-debugging-pipe", f"--user-data-dir={self.folder.name}", f"--window-size={width},{height}",
                 "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-gpu",
                 "--disable-dev-shm-usage", "--hide-scrollbars", "--force-prefers-reduced-motion",
                 # Names lead nowhere: what tried to leave the machine would fail, and be seen.
                 "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"]
        if os.geteuid() == 0:
            words.append("--no-sandbox")
        self.process = subprocess.Popen([*words, "about:blank"], preexec_fn=wire, close_fds=False, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=self.log, env=dict(os.environ, HOME=self.folder.name))
        os.close(to_browser)
        os.close(from_browser)
        self.buffer = b""
        self.next_id = 0
        self.answers = {}
        self.events = []
        self.handlers = {}
        self.held = []  # requests that wait
        target = next(t for t in self.call("Target.getTargets", session=None)["targetInfos"] if t["type"] == "page")
        self.session = self.call("Target.attachToTarget", {"targetId": target["targetId"], "flatten": True}, session=None)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "Audits"):
            self.call(domain + ".enable")

    def close(self):
        try:
            self.call("Browser.close", session=None)
            self.process.wait(timeout=10)
        except Exception:
            self.process.kill()
            self.process.wait()
        os.close(self.out)
        os.close(self.inp)
        self.log.close()
        self.folder.cleanup()

    # ---- the protocol

    def _read(self, timeout_s):
        if b"\0" not in self.buffer:
            if not select.select([self.inp], [], [], timeout_s)[0]:
                return False
            piece = os.read(self.inp, 1 << 20)
            if not piece:
                self.log.seek(0)
                raise BrowserError("the browser has gone away: " + self.log.read().decode("utf-8", "replace")[-2000:])
            self.buffer += piece
        while b"\0" in self.buffer:
            text, self.buffer = self.buffer.split(b"\0", 1)
            message = json.loads(text)
            if "id" in message:
                self.answers[message["id"]] = message
            else:
                self.events.append(message)
        return True

    def _handle(self):
        for event in list(self.events):
            if event["method"] in self.handlers and not event.get("handled"):
                event["handled"] = True
                self.handlers[event["method"]](event["params"])

    def call(self, method, params=None, session="page", timeout_s=30):
        self.next_id += 1
        number = self.next_id
        message = {"id": number, "method": method, "params": params or {}}
        if session == "page":
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.out, data):]
        end = time.monotonic() + timeout_s
        while number not in self.answers:
            if time.monotonic() > end:
                raise BrowserError(f"{method}: no answer in {timeout_s} s")
            self._read(0.1)
        answer = self.answers.pop(number)
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error']}")
        return answer["result"]

    def pump(self, seconds=0.0):
        """Takes in what the browser says."""
        end = time.monotonic() + seconds
        while self._read(max(0.0, end - time.monotonic())) or time.monotonic() < end:
            pass
        self._handle()

    # ---- the page

    def evaluate(self, expression):
        done = self.call("Runtime.evaluate", {"expression": expression, "returnByValue": True, "awaitPromise": True, "userGesture": True})
        if "exceptionDetails" in done:
            raise BrowserError(f"{expression}: {done['exceptionDetails']}")
        return done["result"].get("value")

    def wait_for(self, expression, what=None, timeout_s=30):
        end = time.monotonic() + timeout_s
        while True:
            self.pump()
            try:
                value = self.evaluate(f"(value => value instanceof Node || value)({expression})")
            except BrowserError as error:  # the page is being loaded
                value = None
                if time.monotonic() > end:
                    raise error
            if value:
                return value
            if time.monotonic() > end:
                raise BrowserError(f"{what or expression}: not so within {timeout_s} s; the page says: " +
                                   self.evaluate("document.body.innerText")[:2000])
            time.sleep(0.02)

    def open(self, url):
        self.call("Page.navigate", {"url": url})
        self.wait_for(f"location.href.startsWith({json.dumps(url)}) && document.readyState === 'complete'")

    def press(self, key, modifiers=0):
        code, text = KEYS[key]
        name = " " if key == "Space" else key
        params = {"key": name, "code": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}
        if text:
            params["text"] = text
        self.call("Input.dispatchKeyEvent", {"type": "keyDown" if text else "rawKeyDown", **params})
        self.call("Input.dispatchKeyEvent", {"type": "keyUp", **params})

    def type(self, text):
        self.call("Input.insertText", {"text": text})

    def click(self, selector):
        box = self.evaluate(f"(() => {{ const node = document.querySelector({json.dumps(selector)}); node.scrollIntoView({{block: 'nearest'}});"
                            " const r = node.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2, r.width]; })()")
        if not box or box[2] == 0:
            raise BrowserError(f"{selector} is not to be seen")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", {"type": kind, "x": box[0], "y": box[1], "button": "left", "clickCount": 1})

    def screenshot(self, path):
        data = self.call("Page.captureScreenshot", {"format": "png"})["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))

    def set_size(self, width, height, is_phone=False, scale=1):
        self.call("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": is_phone})

    def prefer(self, scheme):
        self.call("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})

    def answer_with(self, replies):
        """From now on requests whose path is a key of `replies` get (type, text) or (status, type, text) from here, and
        those with None wait for let_go()."""
        def paused(params):
            path = "/" + params["request"]["url"].split("/", 3)[3]
            if path not in replies or params["request"]["method"] == "OPTIONS":
                return self.call("Fetch.continueRequest", {"requestId": params["requestId"]})
            if replies[path] is None:
                return self.held.append(params["requestId"])
            status, kind, text = (200, *replies[path])[-3:]
            self.call("Fetch.fulfillRequest", {"requestId": params["requestId"], "responseCode": status,
                                               "responseHeaders": [{"name": "Content-Type", "value": kind}],
                                               "body": base64.b64encode(text.encode()).decode()})
        self.handlers["Fetch.requestPaused"] = paused
        self.call("Fetch.enable", {"patterns": [{"urlPattern": "*" + path} for path in replies]})

    def let_go(self):
        self.pump()
        while self.held:
            self.call("Fetch.continueRequest", {"requestId": self.held.pop()})

    def answer_no_more(self):
        self.call("Fetch.disable")

    # ---- what it said

    def requests(self):
        self.pump()
        return [event["params"]["request"] for event in self.events if event["method"] == "Network.requestWillBeSent"]

    def complaints(self):
        """Errors and warnings of the console, exceptions, and issues (violations of the policy among them)."""
        self.pump()
        found = []
        for event in self.events:
            method, params = event["method"], event["params"]
            if method == "Runtime.exceptionThrown":
                found.append(json.dumps(params["exceptionDetails"])[:600])
            elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
                found.append(json.dumps(params["args"])[:600])
            elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                found.append(f"{params['entry']['source']}: {params['entry']['text']} {params['entry'].get('url', '')}")
            elif method == "Audits.issueAdded" and params["issue"]["code"] == "ContentSecurityPolicyIssue":
                found.append(json.dumps(params["issue"])[:600])
        return found
