"""A headless Chromium that reads commands from a pipe, as tests of web pages need it."""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time

import pytest

try:
    import fcntl
except ImportError:  # on Windows the browser cannot be reached through a pipe like this
    fcntl = None

BINARY = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
needs_chromium = pytest.mark.skipif(
    BINARY is None or fcntl is None, reason="no Chromium is installed, or no fcntl"
)
SECONDS = 60  # for one answer
# Chromium reads commands from file 3 and answers on file 4, whatever numbers the pipes have here.
_START = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
KEYS = {
    "Tab": ("Tab", 9, ""),
    "Enter": ("Enter", 13, "\r"),
    "ArrowDown": ("ArrowDown", 40, ""),
    "ArrowRight": ("ArrowRight", 39, ""),
    "Home": ("Home", 36, ""),
    "End": ("End", 35, ""),
    "Escape": ("Escape", 27, ""),
    " ": ("Space", 32, " "),
    "ArrowUp": ("ArrowUp", 38, ""),
    "ArrowLeft": ("ArrowLeft", 37, ""),
}


class Chromium:
    """Speaks the DevTools protocol, and keeps the events it hears."""

    def __init__(self, folder):
        flags = (
            *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            # Frames without access to their page stay in its process, where commands reach them.
            "--disable-features=IsolateSandboxedIframes",
            *("--disable-dev-shm-usage", "--remote-debugging-pipe", f"--user-data-dir={folder}"),
        )
        pipes = [os.pipe(), os.pipe()]
        ends = [pipes[0][0], pipes[1][1], pipes[0][1], pipes[1][0]]
        # Numbers from 10 on, so that none is overwritten by 3 and 4.
        theirs_in, theirs_out, self._out, self._in = (
            fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends
        )
        for end in ends:
            os.close(end)
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, str(theirs_in), str(theirs_out), BINARY, *flags],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._number, self._session, self._buffer, self.events = 0, None, b"", []
        target = self("Target.createTarget", url="about:blank")["targetId"]
        attached = self("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self(f"{domain}.enable")

    def __call__(self, method, **params):
        """Give a command and wait for its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._out, data) :]
        while (answer := self._read()).get("id") != self._number:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def _read(self):
        end = time.monotonic() + SECONDS
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(0, end - time.monotonic()))
            part = os.read(self._in, 2**20) if ready else b""
            if not part:
                raise TimeoutError(f"Chromium did not answer within {SECONDS} s, or has ended")
            self._buffer += part
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

    def open(self, path):
        """Open a file and wait until it has loaded."""
        self.events.clear()
        self("Page.navigate", url=path.resolve().as_uri())
        while not self.heard("Page.loadEventFired"):
            self.events.append(self._read())

    def heard(self, method):
        """Parameters of the events of a kind."""
        return [event["params"] for event in self.events if event.get("method") == method]

    def run(self, script):
        """Value of a JavaScript expression on the page."""
        answer = self("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key, shift=False):
        """Press a key as a user does."""
        code, number, text = KEYS[key]
        same = {"key": key, "code": code, "windowsVirtualKeyCode": number, "modifiers": 8 * shift}
        self("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **same)
        self("Input.dispatchKeyEvent", type="keyUp", **same)

    def click(self, element):
        """Click with the mouse in the middle of what a JavaScript expression gives."""
        self.run(f"({element}).scrollIntoView({{block: 'center'}})")
        x, y = self.run(
            f"(() => {{ const r = ({element}).getBoundingClientRect();"
            " return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        self.click_at(x, y)

    def click_at(self, x, y):
        """Click with the mouse at a place of the window."""
        self("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        for kind in ("mousePressed", "mouseReleased"):
            self("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def show(self, *, width=1200, height=900, dark=False, print_=False):
        """Set the size of the window, the colour scheme and the medium."""
        self(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self("Emulation.setEmulatedMedia", media="print" if print_ else "", features=[scheme])

    def screenshot(self, path, full=True):
        """Write a picture of the page."""
        data = self("Page.captureScreenshot", captureBeyondViewport=full)["data"]
        path.write_bytes(base64.b64decode(data))

    def close(self):
        os.close(self._out)
        os.close(self._in)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
