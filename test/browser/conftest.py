"""Every test has a deadline, and one Chromium is shared by all that want a page."""

import tempfile

import deadlines
import pytest
from servers import Server

deadline = deadlines.deadline(120)


@pytest.fixture(scope="session")
def chromium():
    from page import start_chromium

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        driver = start_chromium(profile)
        yield driver
        driver.quit()


@pytest.fixture(scope="session")
def server():
    with Server() as server:
        yield server


@pytest.fixture
def page(chromium, server):
    from page import Page

    page = Page(chromium, server)
    yield page
    page.leave()
    assert page.complaints() == []
