# SPDX-License-Identifier: BSD-2-Clause
"""A headless Chromium that opens a page and is clicked, dragged and typed at, as a user would.

It is driven by the DevTools protocol over two pipes (``--remote-debugging-pipe``): messages are JSON that
ends with a NUL. No package is needed, and no port.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = ("chromium", "chromium-headless-shell", "chromium-shell", "google-chrome")
INSTALL = "tools/setup.sh browser"
SECONDS = 30.0  # until a call must be answered


def program() -> str:
    """The browser. Without one a test fails in CI, and is skipped elsewhere with the command that gets it."""
    for name in (os.environ.get("CHROMIUM", ""), *PROGRAMS):
        if name and (found := shutil.which(name)):
            return found
    reason = f"there is no Chromium to open the page in: {INSTALL} installs it"
    if os.environ.get("CI", "").lower() in ("1", "true", "yes"):
        pytest.fail(reason)
    pytest.skip(reason)


class Browser:
    """One tab.

    :ivar problems: errors that the page's script raised or logged.
    :ivar requests: addresses that were asked for, the page's own included, pictures inside it excluded.
    """

    def __init__(self, width: int = 1280, height: int = 900) -> None:
        self.problems: list[str] = []
        self.requests: list[str] = []
        self._folder = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        to_browser, self._into = os.pipe()
        self._out, from_browser = os.pipe()
        options = [
            "--headless=new",
            "--no-sandbox",  # root has none
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--hide-scrollbars",
            "--force-device-scale-factor=1",
            f"--user-data-dir={self._folder.name}",
            f"--window-size={width},{height}",
            "--remote-debugging-pipe",
            "about:blank",
        ]
        # The browser reads from descriptor 3 and writes to 4.
        shell = f'exec "$0" "$@" 3<&{to_browser} 4>&{from_browser}'
        self._process = subprocess.Popen(
            ["bash", "-c", shell, program(), *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(to_browser, from_browser),
            start_new_session=True,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._buffer = b""
        self._number = 0
        self._session = ""
        targets = self._call("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        self._session = self._call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self._call(f"{domain}.enable")
        self.resize(width, height)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._into)  # at the end of its pipe the browser ends
        os.close(self._out)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # whatever it started
        self._process.wait()
        self._folder.cleanup()

    def open(self, path: Path, ready: str) -> None:
        """Open a file and wait until the expression ``ready`` is true."""
        self._call("Page.navigate", url=path.resolve().as_uri())
        self.wait(f"document.readyState === 'complete' && ({ready})")

    def resize(self, width: int, height: int, scale: float = 1) -> None:
        """Another size of the window, in CSS pixels."""
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=False,
        )

    def prefer(self, scheme: str) -> None:
        """The reader's colours: light or dark."""
        self._call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def value(self, expression: str) -> Any:
        """What an expression of JavaScript gives; a promise is awaited."""
        found = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, expression: str) -> None:
        """Until an expression is true. A problem of the page's script ends the waiting, and the test."""
        deadline = time.monotonic() + SECONDS
        while not self.value(expression):
            assert not self.problems, self.problems[:3]
            assert time.monotonic() < deadline, f"{expression} did not become true"
            time.sleep(0.02)

    def middle(self, selector: str) -> tuple[float, float]:
        """Where an element's middle is, after it was scrolled into view."""
        x, y = self.value(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'nearest'}); const b = e.getBoundingClientRect();"
            "return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        return x, y

    def click(self, selector: str, dx: float = 0, dy: float = 0, count: int = 1) -> None:
        """Press and release the left button at an element's middle, or beside it."""
        x, y = self.middle(selector)
        for number in range(1, count + 1):
            for kind in ("mousePressed", "mouseReleased"):
                self._mouse(kind, x + dx, y + dy, clickCount=number)

    def drag(self, selector: str, dx: float, dy: float = 0) -> None:
        """Press at an element's middle, move in steps, release."""
        x, y = self.middle(selector)
        self._mouse("mousePressed", x, y, clickCount=1)
        for step in range(1, 5):
            self._mouse("mouseMoved", x + dx * step / 4, y + dy * step / 4, buttons=1)
        self._mouse("mouseReleased", x + dx, y + dy, clickCount=1)

    def hover(self, selector: str, dx: float = 0, dy: float = 0) -> None:
        """Move the pointer there."""
        x, y = self.middle(selector)
        self._mouse("mouseMoved", x + dx, y + dy, button="none")

    def press(self, key: str) -> None:
        """A key, by its name in JavaScript."""
        text = key if len(key) == 1 else ""
        code = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Enter": 13, "Tab": 9}
        number = code.get(key, ord(key.upper()) if text else 0)
        self._call(
            "Input.dispatchKeyEvent",
            type="keyDown" if text else "rawKeyDown",
            key=key,
            text=text,
            windowsVirtualKeyCode=number,
        )
        self._call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=number)

    def screenshot(self, whole: bool = False) -> bytes:
        """What is seen, or the whole page, as PNG."""
        more: dict[str, Any] = {"captureBeyondViewport": True} if whole else {}
        if whole:
            size = self._call("Page.getLayoutMetrics")["cssContentSize"]
            more["clip"] = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        return base64.b64decode(self._call("Page.captureScreenshot", format="png", **more)["data"])

    def _mouse(self, kind: str, x: float, y: float, button: str = "left", **more: Any) -> None:
        self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, **more)

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._into, data) :]
        deadline = time.monotonic() + SECONDS
        while True:
            answer = self._receive(deadline, method)
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result
            self._event(answer)

    def _receive(self, deadline: float, method: str) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._out], [], [], max(deadline - time.monotonic(), 0))
            assert ready, f"Chromium did not answer {method} within {SECONDS:g} s"
            data = os.read(self._out, 1 << 20)
            assert data, f"Chromium ended at {method}"
            self._buffer += data
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message

    def _event(self, event: dict[str, Any]) -> None:
        found = event.get("params", {})
        match event.get("method"):
            case "Runtime.exceptionThrown":
                details = found["exceptionDetails"]
                self.problems.append(details.get("exception", {}).get("description", details["text"]))
            case "Runtime.consoleAPICalled" if found["type"] in ("error", "warning", "assert"):
                self.problems.append(str([argument.get("value") for argument in found["args"]]))
            case "Log.entryAdded" if found["entry"]["level"] in ("error", "warning"):
                self.problems.append(found["entry"]["text"])
            case "Network.requestWillBeSent" if not found["request"]["url"].startswith("data:"):
                self.requests.append(found["request"]["url"])
