"""The upload page, in Chromium, before the real server."""

import hashlib
import os

import pytest

pytest.importorskip("selenium")

from page import PHONE, WIDE, Page  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from servers import Server  # noqa: E402

MEGABYTE = 10**6
LARGE_BYTES = 200 * MEGABYTE
#: More memory than that for a large upload would say that it is kept.
MOST_GROWTH = 64 * 2**20


class Sample:
    """A file of random lines, and what is known of it."""

    def __init__(self, path, size):
        self.path, self.size = path, size
        digest = hashlib.sha256()
        self.lines = 0
        text = os.urandom(MEGABYTE // 2).hex("\n", 20).encode()
        with path.open("wb") as file:
            for number in range(size // MEGABYTE):
                block = (b"%d\n" % number + text)[:MEGABYTE]
                digest.update(block)
                self.lines += block.count(b"\n")
                file.write(block)
        self.sha256 = digest.hexdigest()


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    sample = Sample(tmp_path_factory.mktemp("large") / "measurements & more é.txt", LARGE_BYTES)
    yield sample
    sample.path.unlink()


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.txt"
    path.write_bytes(b"one\ntwo\n")
    return path


def numbers(page, element_id):
    return [float(value) for value in page.run(f"return probe.seen['{element_id}']")]


def check_looks(page, name):
    """In light and dark, wide and narrow."""
    for size, width in [(WIDE, "wide"), (PHONE, "phone")]:
        for scheme in ["light", "dark"]:
            page.show(size, scheme, motion="reduce")
            assert page.run("return probe.overflowing()") == [], (width, scheme)
            assert page.run("return probe.faintTexts()") == [], (width, scheme)
            page.screenshot(f"{name}-{width}-{scheme}")
    page.show()


def test_a_large_file(page, large):
    """It can be watched while it goes on, and the server does not keep it."""
    before = page.server.memory("VmRSS")
    page.run("probe.record('sent', 'received', 'status')")
    page.limit(50 * MEGABYTE)
    page.upload(large.path)
    page.wait_for("document.querySelector('#received').value >= 0.5")
    assert page.state() == "receiving"
    assert page.text("rate").endswith("B/s")
    page.screenshot("progress-wide-light")
    assert page.wait_for_state("done", "failed") == "done"

    for bar in ["sent", "received"]:
        values = numbers(page, bar)
        assert values == sorted(values)
        assert len({value for value in values if 0 < value < 1}) >= 3
        assert page.text(f"{bar}-text") == "200 MB, 100 %"
    assert page.text("lines") == f"{large.lines:,}"

    assert page.text("result-name") == large.path.name
    assert page.text("result-bytes") == "200,000,000 bytes (200 MB)"
    assert page.text("result-sha256") == large.sha256
    assert page.text("result-lines") == f"{large.lines:,}"
    assert page.text("result-type") == "text/plain"

    assert page.amount("memory-growth") < MOST_GROWTH
    assert page.server.memory("VmHWM") - before < MOST_GROWTH
    # Read aloud are the beginning, the quarters and the end.
    assert len(page.run("return [...new Set(probe.seen.status)]")) <= 6
    check_looks(page, "done")


def test_a_cancelled_upload(page, large):
    page.limit(4 * MEGABYTE)
    page.upload(large.path)
    page.wait_for("document.querySelector('#received').value > 0")
    upload_id = page.run("return probe.uploadId")
    with page.server.listen(upload_id) as events:
        assert next(events)["state"] == "receiving"
        page.find("cancel").click()
        assert page.wait_for_state("done", "failed") == "failed"
        *_, last = events
    assert (last["state"], last["result"]) == ("failed", None)
    assert last["received"] < large.size
    assert "client_gone" in last["reason"]
    page.server.wait_until_unknown(upload_id)

    assert page.text("status").startswith("Failed: cancelled after ")
    assert not page.find("result").is_displayed()
    check_looks(page, "cancelled")


def test_the_server_ends_in_the_middle(chromium, large):
    with Server() as server:
        page = Page(chromium, server)
        page.limit(4 * MEGABYTE)
        page.upload(large.path)
        page.wait_for("document.querySelector('#received').value > 0")
        server.stop()
        assert page.wait_for_state("done", "failed") == "failed"
        assert not page.find("result").is_displayed()
        assert page.find("upload").is_enabled()
        page.upload(large.path)
        assert page.wait_for_state("done", "failed") == "failed"
        assert "cannot be reached" in page.text("status")
        page.leave()
        page.complaints()  # of the connections that were lost


def test_a_file_that_is_too_large(chromium, large):
    with Server(MAX_BODY=str(MEGABYTE)) as server:
        page = Page(chromium, server)
        page.upload(large.path)
        assert page.wait_for_state("done", "failed") == "failed"
        assert page.text("status") == "Failed after 0 bytes (The body is too large)."
        assert not page.find("result").is_displayed()
        page.leave()
        page.complaints()  # of the status 413


def test_by_keyboard(page, small):
    """Each control is reached by Tab, shows that it has the focus, and works."""

    def press(*keys):
        ActionChains(page.driver).send_keys(*keys).perform()

    def outline(selector):
        script = "return getComputedStyle(document.querySelector(arguments[0])).outlineStyle"
        return page.run(script, selector)

    page.choose(small)  # the dialog is the system's
    page.run("document.activeElement.blur()")
    press(Keys.TAB)
    assert (page.focused(), outline("label[for=file]")) == ("file", "solid")
    press(Keys.TAB)
    assert (page.focused(), outline("#upload")) == ("upload", "solid")
    press(Keys.ENTER)
    assert page.wait_for_state("done", "failed") == "done"
    assert page.text("result-sha256") == hashlib.sha256(small.read_bytes()).hexdigest()
    assert page.focused() == "upload"


def test_cancel_by_keyboard(page, large):
    page.limit(4 * MEGABYTE)
    page.choose(large.path)
    page.find("upload").send_keys(Keys.ENTER)
    page.wait_for("document.querySelector('#received').value > 0")
    assert page.focused() == "cancel"
    ActionChains(page.driver).send_keys(Keys.SPACE).perform()
    assert page.wait_for_state("done", "failed") == "failed"
    assert page.focused() == "upload"


def test_all_has_a_name(page, small):
    page.upload(small)
    page.wait_for_state("done", "failed")
    named = page.accessible()
    for role, name in [
        ("main", ""),
        ("heading", "Upload a file"),
        ("button", "Choose a file"),
        ("button", "Upload"),
        ("button", "Cancel"),
        ("progressbar", "Sent by the browser"),
        ("progressbar", "Received by the server"),
        ("region", "Progress"),
        ("region", "Result"),
        ("region", "Memory of the server"),
        ("rowheader", "SHA-256"),
    ]:
        assert (role, name) in named
    for role, name in named:
        if role in ("button", "textbox", "link", "image", "progressbar", "region"):
            assert name, role
    (status,) = [node for node in named if node[0] == "status"]
    assert page.find("status").get_attribute("aria-live") in (None, "polite")


def test_a_file_is_dropped(page):
    page.run("probe.drop('dropped.txt', 'a\\nb\\nc\\n')")
    assert page.text("status") == "dropped.txt, 6 bytes."
    page.find("upload").click()
    assert page.wait_for_state("done", "failed") == "done"
    assert (page.text("result-name"), page.text("result-lines")) == ("dropped.txt", "3")


def test_an_empty_file(page, tmp_path):
    path = tmp_path / "empty"
    path.touch()
    page.upload(path)
    assert page.wait_for_state("done", "failed") == "done"
    assert page.text("result-bytes") == "0 bytes"
    assert page.text("result-sha256") == hashlib.sha256().hexdigest()


def test_before_a_file_is_chosen(page):
    assert not page.find("upload").is_enabled()
    assert not page.find("cancel").is_enabled()
    check_looks(page, "empty")


def test_one_who_prefers_less_motion(page, small):
    duration = "getComputedStyle(document.querySelector('#sent'), '::-webkit-progress-value')"
    page.upload(small)
    page.wait_for_state("done", "failed")
    page.show(motion="reduce")
    assert page.run(f"return {duration}.transitionDuration") == "0s"
