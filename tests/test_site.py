"""The site: complete, without a broken link, asking nobody outside, and readable on a phone."""

import functools
import http.server
import importlib.util
import os
import re
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import mtl_agents
import pytest

import mtl_gym

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
NEEDED = ("mkdocs", "material", "mkdocstrings", "latex2mathml")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
MAIN = (
    "index",
    "tutorials/route",
    "tutorials/your-own-family",
    "environments/scheduling-skills",
    "environments/routing",
    "agents",
    "glossary",
    "leaderboard",
    "command-line",
    "api/mtl_gym",
)
WIDTHS = (390, 1280)
LOADED = {"img": "src", "script": "src", "iframe": "src", "source": "src", "link": "href"}
OUTSIDE = re.compile(r"(?:https?:)?//")
STYLE_LOADS = re.compile(r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^\"')]*)")


@pytest.mark.parametrize("package", [mtl_gym, mtl_agents], ids=lambda package: package.__name__)
def test_the_reference_has_every_public_name_once(package):
    page = (DOCS / "api" / f"{package.__name__}.md").read_text()
    assert sorted(re.findall(rf"^::: {package.__name__}\.(\w+)$", page, re.MULTILINE)) == sorted(package.__all__)


def test_home_shows_the_first_program_of_the_readme():
    first = re.compile(r"```python\n.*?```\n\n```text\n.*?```\n", re.DOTALL)
    readme, home = (first.search((ROOT / place).read_text())[0] for place in ("README.md", "docs/index.md"))
    assert readme == home


class Page(HTMLParser):
    """Anchors and links of a page, and what it loads."""

    def __init__(self, text):
        super().__init__()
        self.anchors, self.links, self.loads = {""}, [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.anchors |= {found[name] for name in ("id", "name") if found.get(name)}
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        if found.get(LOADED.get(tag, "")) and found.get("rel") not in ("canonical", "prev", "next"):
            self.loads.append(found[LOADED[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the site once for all workers; return its folder."""
    from filelock import FileLock

    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "site"
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
            built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
            assert built.returncode == 0, built.stdout + built.stderr
    return folder


@pytest.fixture(scope="module")
def address(site):
    """Serve the site on this machine; return its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


needs_site = pytest.mark.skipif(
    bool(MISSING), reason=f'the site needs {", ".join(MISSING)}: pip install "mtl-gym[docs]"'
)


@pytest.mark.slow
@needs_site
def test_every_link_inside_leads_somewhere(site):
    pages = {path: Page(path.read_text()) for path in site.rglob("*.html") if path.name != "404.html"}
    broken = []
    for path, page in pages.items():
        for link in (*page.links, *page.loads):
            if re.match(r"\w+:|//", link):
                continue
            target, anchor = urldefrag(link)
            there = (path.parent / unquote(target)).resolve() if target else path
            there = there / "index.html" if there.is_dir() else there
            known = pages[there].anchors if there in pages else {anchor}
            if not there.is_file() or unquote(anchor) not in known:
                broken.append(f"{path.relative_to(site)} -> {link}")
    assert len(pages) > 80 and not broken, "\n".join(broken)


@pytest.mark.slow
@needs_site
def test_pages_and_styles_load_nothing_from_outside(site):
    outside = [
        f"{path.relative_to(site)}: {url}"
        for path in site.rglob("*.html")
        for url in Page(path.read_text()).loads
        if OUTSIDE.match(url)
    ]
    outside += [
        f"{path.relative_to(site)}: {url}"
        for path in site.rglob("*.css")
        for url in STYLE_LOADS.findall(path.read_text())
    ]
    assert not outside, "\n".join(outside)
    assert not any('class="mermaid"' in path.read_text() for path in site.rglob("*.html"))  # its script is outside


def complaints_of(browser, address, width):
    """Return what is wrong with the main pages on a screen of some width."""
    complaints = []
    page = browser.new_page(viewport={"width": width, "height": 844})
    page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
    page.on("console", lambda message: complaints.append(f"{page.url}: {message.text}"))
    page.on("request", lambda request: request.url.startswith((address, "data:")) or complaints.append(request.url))
    for name in MAIN:
        page.goto(f"{address}{name}.html", wait_until="networkidle")
        wide = page.evaluate("document.documentElement.scrollWidth")
        if wide > width:
            complaints.append(f"{name} is {wide} px wide on a screen of {width}")
        empty = page.evaluate("[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)")
        complaints += [f"{name}: {picture} is empty" for picture in empty]
    page.close()
    return complaints


@pytest.mark.slow
@needs_site
def test_the_main_pages_in_a_browser(browser, address):
    complaints = [complaint for width in WIDTHS for complaint in complaints_of(browser, address, width)]
    assert not complaints, "\n".join(complaints)


@pytest.mark.slow
@needs_site
def test_a_click_sorts_the_leaderboard_and_the_search_finds_pages(browser, address):
    page = browser.new_page()
    page.goto(f"{address}leaderboard.html", wait_until="networkidle")
    table = page.locator("table").first
    head = table.locator("th").nth(2)
    head.locator("button").click()
    scores = table.locator("tbody td:nth-child(3)").all_inner_texts()
    numbers = [float(text) for text in scores if text != "-"]
    assert head.get_attribute("aria-sort") == "descending" and numbers == sorted(numbers, reverse=True)
    assert "-" not in scores[: len(numbers)]
    page.locator("input[name=query]").press_sequentially("myopic")
    page.locator(".md-search-result__link").first.wait_for()
    assert "Skills" in page.locator(".md-search-result__list").inner_text()
    page.close()
