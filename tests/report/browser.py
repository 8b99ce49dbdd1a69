"""A page in a real Chromium, driven over its debugging pipe: what it complains of, fetches and shows.

`python -m tests.report.browser PAGE FOLDER` leaves screenshots, wide and narrow, light and dark, and prints complaints.
"""

import base64
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

NAMES = "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"
PATIENCE = 60
"""Seconds for an answer, on a machine that is busy."""


def find() -> str | None:
    """The browser's path, if there is one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One tab.

    Attributes:
        complaints: errors and warnings of the console, exceptions, what a policy refused.
        fetched: addresses asked for, but for the page itself and what lies inside it.
    """

    def __init__(self) -> None:
        self.complaints: list[str] = []
        self.fetched: list[str] = []
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        # Clear of 3 and 4, where the browser looks for them.
        high = [fcntl.fcntl(one, fcntl.F_DUPFD, 20) for one in (theirs_in, theirs_out)]
        options = "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --hide-scrollbars"
        self._process = subprocess.Popen(
            [str(find()), *options.split(), "--remote-debugging-pipe", f"--user-data-dir={self._folder.name}"],
            preexec_fn=lambda: [os.dup2(one, at) for one, at in zip(high, (3, 4), strict=True)] and None,
            pass_fds=(3, 4),
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        for one in (theirs_in, theirs_out, *high):
            os.close(one)
        os.set_blocking(self._in, False)
        self._rest, self._count, self._session = b"", 0, None
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)
        self._folder.cleanup()

    def send(self, method: str, **params: Any) -> Any:
        """Ask, and wait for the answer."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            heard = self._hear(method)
            if heard.get("id") == self._count:
                if "error" in heard:
                    raise RuntimeError(f"{method}: {heard['error']}")
                return heard["result"]

    def open(self, page: Path, width: int = 1400, height: int = 900, dark: bool = False) -> None:
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", media="", features=[scheme])
        went = self.send("Page.navigate", url=page.resolve().as_uri())
        if "errorText" in went:
            raise FileNotFoundError(f"{page}: {went['errorText']}")
        while self.run("document.readyState") != "complete" or self.run("location.protocol") != "file:":
            time.sleep(0.05)

    def run(self, script: str) -> Any:
        """The value of an expression."""
        result = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{script}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def key(self, name: str) -> None:
        """Press a key, as `ArrowRight`."""
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=name, code=name, text="\r" if name == "Enter" else "")

    def point(self, x: float, y: float) -> None:
        """Move the mouse, in pixels of the window."""
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def shoot(self, path: Path, whole: bool = True) -> None:
        """A picture of the window, or of the whole page."""
        size = self.send("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"clip": {**size, "scale": 1}, "captureBeyondViewport": True} if whole else {}
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png", **clip)["data"]))

    def _hear(self, method: str) -> dict[str, Any]:
        until = time.monotonic() + PATIENCE
        while b"\0" not in self._rest:
            try:
                self._rest += os.read(self._in, 1 << 20)
            except BlockingIOError:
                if time.monotonic() > until or self._process.poll() is not None:
                    raise TimeoutError(f"{method}: the browser does not answer") from None
                time.sleep(0.005)
        line, _, self._rest = self._rest.partition(b"\0")
        heard: dict[str, Any] = json.loads(line)
        params = heard.get("params", {})
        match heard.get("method"):
            case "Runtime.exceptionThrown":
                self.complaints.append(str(params["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
                self.complaints.append(str(params["args"]))
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                self.complaints.append(params["entry"]["text"])
            case "Network.requestWillBeSent" if params["type"] != "Document" or params["frameId"] is None:
                address = params["request"]["url"]
                if not address.startswith("data:"):
                    self.fetched.append(address)
        return heard


if __name__ == "__main__":
    page, folder = Path(sys.argv[1]), Path(sys.argv[2])
    with Browser() as browser:
        for width in (1400, 380):
            for dark in (False, True):
                browser.open(page, width, dark=dark)
                browser.shoot(folder / f"{page.parent.name}-{width}-{'dark' if dark else 'light'}.png")
        pdf = browser.send("Page.printToPDF", printBackground=False)
        (folder / f"{page.parent.name}.pdf").write_bytes(base64.b64decode(pdf["data"]))
        print(*browser.complaints, *browser.fetched, sep="\n")
        sys.exit(bool(browser.complaints or browser.fetched))
