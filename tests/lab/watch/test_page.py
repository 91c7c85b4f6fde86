"""The page in a browser: it reloads and keeps what is open, asks nobody for anything, and fits a phone."""

import shutil

import pytest

from mtl_gym.lab.watch import Watch, _Writer
from tests.lab.conftest import opened
from tests.lab.report.conftest import write_comparison, write_failure, write_run

from .test_folder import write_unfinished

pytestmark = pytest.mark.slow


@pytest.fixture
def writer(tmp_path):
    """Write a page about finished, failed and unfinished runs, which reloads every second."""
    folder = write_comparison(tmp_path / "paths")
    run = write_unfinished(folder, "<b>bold", 0, [0.25, 0.5])
    shutil.copy(folder / "wpl" / "seed-0" / "routing_map.png", run)
    write_failure(folder, "lrn", 7, "The training diverged: " + "a long reason " * 20)
    writer = _Writer(Watch(folder, every=1.0))
    writer.write(writer.folder.look(), live=True)
    return writer


@pytest.fixture
def page(browser, writer):
    with opened(browser, writer.settings.page) as page:
        yield page


def test_the_page_asks_nobody_for_anything(page):
    page.locator("summary").first.click()
    page.wait_for_load_state("networkidle")
    assert all(url.startswith(("file:", "data:")) for url in page.asked) and page.complaints == []
    assert page.locator("b", has_text="bold").count() == 0
    assert page.locator("figure img").evaluate("image => image.naturalWidth") > 100


DRAWN = "[...document.querySelectorAll('details[open] img')].every(image => image.naturalWidth > 100)"


def test_the_first_run_in_training_is_open(page):
    opened = page.locator("details[open] summary")
    assert opened.all_inner_texts() == ["<b>bold, seed 0"]
    page.wait_for_function(DRAWN)


def test_a_reload_shows_what_is_new_and_keeps_what_was_opened_and_closed(page, writer):
    page.locator("details[open] summary").click()
    run = page.locator("details", has_text="wpl, seed 0")
    run.locator("summary").click()
    page.wait_for_function(DRAWN)
    head = page.locator("table").nth(1).locator("th", has_text="validation")
    head.locator("button").click()
    write_run(writer.settings.folder, "new", 0, 0.99)
    writer.write(writer.folder.look(), live=True)
    page.locator("td", has_text="new").first.wait_for()
    assert page.locator("details[open] summary").all_inner_texts() == [run.locator("summary").inner_text()]
    page.wait_for_function(DRAWN)
    assert head.get_attribute("aria-sort") == "descending"


def test_the_last_page_does_not_reload(page, writer):
    writer.write(writer.folder.look(), live=False)
    page.locator("p", has_text="for the last time").wait_for()
    loads = len(page.asked)
    page.wait_for_timeout(2500)
    assert len(page.asked) == loads


def test_times_and_numbers_are_sorted(page):
    head = page.locator("table").nth(1).locator("th", has_text="last wrote")
    page.evaluate(
        "[...document.querySelectorAll('table')[1].tBodies[0].rows].forEach((row, n) => "
        "row.cells[7].textContent = ['0:00:12 ago', '27:00:00 ago', '3:01:00 ago'][n % 3])"
    )
    head.locator("button").click()
    cells = page.locator("table").nth(1).locator("tbody td:nth-child(8)").all_inner_texts()
    assert list(dict.fromkeys(cells)) == ["0:00:12 ago", "3:01:00 ago", "27:00:00 ago"]


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_the_page_fits_the_screen(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
