"""The page in a browser: sorting, pictures on a click, and no network requests."""

import pytest

from mtl_gym.lab.report import aggregate, report
from tests.lab.conftest import opened

from .conftest import PATHS, write_comparison, write_run


@pytest.fixture(scope="module")
def written(browser, tmp_path_factory):
    """Write a page about four agents; the name of the best looks like HTML."""
    folder = write_comparison(tmp_path_factory.mktemp("page") / "paths")
    write_run(folder, "<b>bold", 0, 0.95, env_id=PATHS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aggregate, "REPETITIONS", 20)
        report(folder)
    return folder / "report.html"


@pytest.fixture
def page(browser, written):
    with opened(browser, written) as page:
        yield page


def column(page, number=0):
    """Return a column of the table of figures."""
    return page.locator("table").nth(1).locator(f"tbody td:nth-child({number + 1})").all_inner_texts()


def test_a_click_on_a_column_header_sorts_the_table(page):
    best_first = ["<b>bold", "oracle", "wpl", "random-fixed"]
    assert column(page) == best_first
    head = page.locator("table").nth(1).locator("th", has_text="accuracy")
    head.locator("button").click()
    assert (head.get_attribute("aria-sort"), column(page)) == ("descending", best_first)
    head.locator("button").click()
    assert (head.get_attribute("aria-sort"), column(page)) == ("ascending", best_first[::-1])
    minus = page.locator("table").nth(1).locator("th", has_text="minus random-fixed")
    minus.locator("button").click()
    cells = [float(cell.split()[0]) for cell in column(page, 2)[:-1]]
    assert cells == sorted(cells, reverse=True) and column(page, 2)[-1] == "-"
    assert head.get_attribute("aria-sort") is None


def test_the_keyboard_sorts_as_well(page):
    head = page.locator("table").nth(1).locator("th", has_text="agent")
    head.locator("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert column(page) == sorted(column(page), key=lambda name: name.strip("<>").lower())
    page.keyboard.press("Space")
    assert head.get_attribute("aria-sort") == "descending"


def test_pictures_of_a_run_are_one_click_away(page):
    run = page.locator("details", has_text="wpl, seed 0")
    picture = run.locator("img")
    assert not picture.is_visible()
    run.locator("summary").click()
    assert picture.is_visible() and picture.evaluate("image => image.naturalWidth") > 100


def test_the_page_makes_no_requests_and_logs_no_errors(page):
    page.locator("summary").first.click()
    page.wait_for_load_state("networkidle")
    assert page.url in page.asked and all(url.startswith(("file:", "data:")) for url in page.asked)
    assert page.complaints == []
    assert page.locator("b", has_text="bold").count() == 0
    figures = page.locator("figure img")
    assert figures.count() == 5
    assert all(figures.nth(number).evaluate("image => image.naturalWidth") > 100 for number in range(5))


@pytest.mark.parametrize("width", [320, 400, 1280])
def test_the_page_fits_the_screen(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
