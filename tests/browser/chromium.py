"""A headless Chromium, driven by its debugging protocol: a page, what it says, what it looks like."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
)
WAIT_S = 60.0  # a bound, not a wait: a busy machine starts a browser slowly


def find() -> str | None:
    """A Chromium on this machine."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Chromium:
    """A browser of its own, with a profile that nobody else uses."""

    def __init__(self, program: str, profile: Path) -> None:
        with (profile / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [program, *OPTIONS, f"--user-data-dir={profile}", "about:blank"],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        said = profile / "DevToolsActivePort"
        self._port = int(eventually(lambda: said.exists() and said.read_text().split("\n")[0]))

    def page(self, *, login: str | None = None) -> Page:
        request = urllib.request.Request(f"http://127.0.0.1:{self._port}/json/new?about:blank", method="PUT")
        with urllib.request.urlopen(request, timeout=WAIT_S) as response:
            target = json.load(response)
        return Page(connect(target["webSocketDebuggerUrl"], max_size=None, open_timeout=WAIT_S), login)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


class Page:
    """One tab. `trouble` collects what a visitor would see in the console, and dialogs that scripts opened."""

    def __init__(self, socket: ClientConnection, login: str | None) -> None:
        self._socket, self._number = socket, 0
        self.trouble: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        if login:
            words = base64.b64encode(login.encode()).decode()
            self.call("Network.setExtraHTTPHeaders", headers={"Authorization": f"Basic {words}"})

    def call(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=WAIT_S))
            if message.get("id") == self._number:
                assert "error" not in message, message["error"]
                return message["result"]
            self._note(message)

    def _note(self, event: dict[str, Any]) -> None:
        told = event.get("params", {})
        match event.get("method"):
            case "Runtime.exceptionThrown":
                self.trouble.append(json.dumps(told["exceptionDetails"]))
            case "Log.entryAdded" if told["entry"]["level"] == "error":
                self.trouble.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
            case "Page.javascriptDialogOpening":
                self.trouble.append(f"dialog: {told['message']}")

    def open(self, url: str, *, width: int = 1440, height: int = 900, dark: bool = False) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=url)
        self.until(f"location.href === {json.dumps(url)} && document.readyState === 'complete'")

    def js(self, expression: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, expression: str) -> Any:
        """Poll until the expression is true; its value."""
        return eventually(lambda: self.js(expression), expression)

    def texts(self, selector: str) -> list[str]:
        found: list[str] = self.js(
            f"[...document.querySelectorAll({json.dumps(selector)})].map((one) => one.textContent)"
        )
        return found

    def click(self, selector: str) -> None:
        """As a mouse would, in the middle of what is there."""
        at = self.js(
            f"(() => {{ const one = document.querySelector({json.dumps(selector)});"
            " one.scrollIntoView({block: 'center', behavior: 'instant'}); const box = one.getBoundingClientRect();"
            " return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=at[0], y=at[1], button="left", clickCount=1)

    def picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def close(self) -> None:
        self.call("Page.close")
        self._socket.close()


def eventually(what: Callable[[], Any], name: str = "it") -> Any:
    deadline = time.monotonic() + WAIT_S
    while not (found := what()):
        assert time.monotonic() < deadline, f"did not come true within {WAIT_S:g} s: {name}"
        time.sleep(0.05)
    return found
