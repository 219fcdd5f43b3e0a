"""The page in headless Chromium."""

import base64
import json
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

HERE = Path(__file__).parent
SCREENSHOTS = HERE.parents[1] / "_build/browser"
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run"
    " --disable-background-networking --disable-component-update --disable-sync"
    " --hide-scrollbars"
)
TIMEOUT_SECONDS = 60
WIDE = (1000, 800)
PHONE = (320, 640)


def start_chromium(profile):
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in [*FLAGS.split(), f"--user-data-dir={profile}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    driver.set_script_timeout(TIMEOUT_SECONDS)
    driver.set_page_load_timeout(TIMEOUT_SECONDS)
    return driver


class Page:
    def __init__(self, driver, server):
        self.driver = driver
        self.server = server
        self.command("Network.enable")
        self.show()
        driver.get(server.url)
        self.run((HERE / "probe.js").read_text())

    def leave(self):
        self.limit(-1)
        self.driver.get("about:blank")

    def run(self, script, *args):
        return self.driver.execute_script(script, *args)

    def command(self, name, **args):
        return self.driver.execute_cdp_cmd(name, args)

    def find(self, element_id):
        return self.driver.find_element(By.ID, element_id)

    def text(self, element_id):
        return self.find(element_id).text.replace("\u00a0", " ")

    def amount(self, element_id):
        return float(self.find(element_id).get_attribute("value"))

    def state(self):
        return self.find("status").get_attribute("data-state")

    def focused(self):
        return self.run("return document.activeElement.id")

    # ---- What a person does ----

    def choose(self, path):
        self.find("file").send_keys(str(path))

    def upload(self, path):
        self.choose(path)
        self.find("upload").click()

    def wait_for(self, condition):
        """Until a condition, an expression in JavaScript, holds: looked at whenever the
        page changes."""
        script = "probe.waitFor(arguments[0], arguments[1])"
        return self.driver.execute_async_script(script, condition)

    def wait_for_state(self, *states):
        state = "document.querySelector('#status').dataset.state"
        self.wait_for(f"{json.dumps(states)}.includes({state})")
        return self.state()

    # ---- Its surroundings ----

    def limit(self, upload_bytes):
        """Bytes a second that the browser may send; -1: any number."""
        limits = {"offline": False, "latency": 0, "downloadThroughput": -1}
        self.command("Network.emulateNetworkConditions", **limits, uploadThroughput=upload_bytes)

    def show(self, size=WIDE, scheme="light", motion="no-preference"):
        """Of that width and height in pixels, as one who prefers so."""
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.command("Emulation.setDeviceMetricsOverride", **metrics)
        features = {"prefers-color-scheme": scheme, "prefers-reduced-motion": motion}
        media = [{"name": name, "value": value} for name, value in features.items()]
        self.command("Emulation.setEmulatedMedia", features=media)

    def screenshot(self, name):
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        shot = self.command("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        (SCREENSHOTS / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))

    def complaints(self):
        """What Chromium has written to its console, of a policy that was broken, say."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def accessible(self):
        """(role, name) of all that assistive technology is told of."""
        nodes = self.command("Accessibility.getFullAXTree")["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in nodes
            if not node["ignored"]
        ]
