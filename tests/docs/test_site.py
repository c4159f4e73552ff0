"""The site is built without a network, its links lead somewhere, and its pages ask nobody."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")
# What a browser fetches without being asked by a click.
LOADS = {
    ("script", "src"),
    ("link", "href"),
    ("img", "src"),
    ("img", "srcset"),
    ("source", "src"),
    ("source", "srcset"),
    ("iframe", "src"),
    ("embed", "src"),
    ("object", "data"),
    ("video", "src"),
    ("audio", "src"),
    ("use", "href"),
}


@dataclass
class Page(HTMLParser):
    """What a page links to, loads and can be linked at."""

    text: str
    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    classes: set[str] = field(default_factory=set)
    policy: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given["id"]} if "id" in given else set()
        self.classes |= set(given.get("class", "").split())
        self.links += [given["href"]] if tag == "a" and "href" in given else []
        self.loads += [value for name, value in given.items() if (tag, name) in LOADS]
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"]


def build(folder: Path, configuration: str) -> subprocess.CompletedProcess[str]:
    """Build the site that ``configuration`` describes, in a folder that looks like the project."""
    (folder / "zensical.toml").write_text(configuration, encoding="utf-8")
    for name in ("shared", "local"):
        (folder / name).symlink_to(ROOT / name)
    # A proxy that is not there: who asks for another host fails, and does not wait.
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
    return subprocess.run(
        [str(Path(sys.executable).with_name("zensical")), "build", "--strict"],
        cwd=folder, env=os.environ | nowhere | {"NO_COLOR": "1"}, capture_output=True, text=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "docs", folder / "docs")
    done = build(folder, (ROOT / "zensical.toml").read_text(encoding="utf-8"))
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "build" / "site"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}


def navigation(entry: Any) -> Iterator[str]:
    """Yield the pages of the configuration's navigation."""
    if isinstance(entry, str):
        yield entry
    else:
        for inner in entry.values() if isinstance(entry, dict) else entry:
            yield from navigation(inner)


def test_every_page_is_in_the_navigation() -> None:
    configuration = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))
    there = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert sorted(navigation(configuration["project"]["nav"])) == sorted(there)


def test_links_and_anchors_of_the_built_pages_lead_somewhere(
    site: Path, pages: dict[Path, Page]
) -> None:
    wrong = []
    for path, page in pages.items():
        for link in [*page.links, *page.loads]:
            parts = urlsplit(link)
            if parts.scheme or path.name == "404.html":
                continue
            target = path if not parts.path else (path.parent / unquote(parts.path)).resolve()
            target = target / "index.html" if target.is_dir() else target
            inside = target.is_file() and target.is_relative_to(site)
            known = not parts.fragment or target not in pages or parts.fragment == "__skip"
            if not inside or not (known or unquote(parts.fragment) in pages[target].ids):
                wrong.append(f"{path.relative_to(site)}: {link}")
    assert wrong == []
    assert len(pages) > 40


def test_pages_load_nothing_from_elsewhere(site: Path, pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        assert [load for load in page.loads if urlsplit(load).netloc] == [], path
        # What makes the theme's script fetch from other hosts.
        assert not page.classes & {"mermaid", "glightbox", "pyodide", "md-source"}, path
        # And what keeps it from doing so.
        sources = re.sub(r"[a-z]+-src|form-action|base-uri", "", page.policy).replace(";", " ")
        assert "default-src 'none'" in page.policy, path
        assert set(sources.split()) <= {"'none'", "'self'", "'unsafe-inline'", "data:", "blob:"}
    for path in site.rglob("*.css"):
        text = path.read_text(encoding="utf-8")
        fetched = re.findall(r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^\"')]+)", text)
        assert fetched == [], path
        assert "@font-face" not in text, path


def test_the_docstrings_are_there(site: Path, pages: dict[Path, Page]) -> None:
    assert "twinml.contract.Contract" in pages[site / "api" / "data.html"].ids
    assert "twinml.training.TrainingOptions" in pages[site / "api" / "training.html"].ids


@pytest.mark.parametrize(
    "faults",
    [
        {
            "[gone](gone.md)": "page does not exist",
            "[gone](#gone)": "anchor does not exist",
            "[gone][twinml.errors.Gone]": "unresolved autoref",
        },
        {"::: twinml.gone": "could not be found"},
    ],
    ids=["links", "modules"],
)
def test_broken_references_fail_the_build(tmp_path: Path, faults: dict[str, str]) -> None:
    (tmp_path / "docs").mkdir()
    text = "# Page\n\n" + "\n\n".join([*faults, "::: twinml.errors"]) + "\n"
    (tmp_path / "docs" / "index.md").write_text(text, encoding="utf-8")
    shutil.copytree(ROOT / "docs" / ".theme", tmp_path / "docs" / ".theme")
    whole = (ROOT / "zensical.toml").read_text(encoding="utf-8")
    done = build(tmp_path, re.sub(r"^nav = \[.*?^\]$", "", whole, flags=re.MULTILINE | re.DOTALL))
    assert done.returncode != 0
    for said in faults.values():
        assert said in done.stdout + done.stderr


@pytest.mark.browser
@pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="there is no chromium with its chromedriver here"
)
def test_a_browser_reads_and_searches_it_from_the_disk_and_asks_no_host(
    site: Path, tmp_path: Path
) -> None:
    from selenium import webdriver
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.add_argument(f"--user-data-dir={tmp_path / 'browser'}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path=DRIVER, log_output=os.devnull)
    driver = webdriver.Chrome(options=options, service=service)
    try:
        driver.get((site / "serving.html").as_uri())
        wait = WebDriverWait(driver, 30)
        wait.until(lambda d: "Serving" in d.find_element(By.TAG_NAME, "h1").text)
        driver.get((site / "api" / "data.html").as_uri())
        driver.find_element(By.TAG_NAME, "body").send_keys(Keys.CONTROL, "k")
        driver.switch_to.active_element.send_keys("isolation forest")
        wait.until(lambda d: "drift.html" in d.execute_script(
            "const all = root => [...root.querySelectorAll('*')].flatMap("
            "e => [e, ...(e.shadowRoot ? all(e.shadowRoot) : [])]);"
            "return all(document).map(e => e.href || '').join(' ')"
        ))  # fmt: skip
        wire = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
        asked = {
            message["params"]["request"]["url"]
            for message in wire
            if message["method"] == "Network.requestWillBeSent"
        }
        assert any(url.endswith(".js") for url in asked)
        # The browser's own pages, too: it opens one when it starts.
        ours = ("file:", "data:", "blob:", "chrome:", "chrome-untrusted:")
        elsewhere = [url for url in asked if not url.startswith(ours)]
        assert elsewhere == []
        assert driver.get_log("browser") == []
    finally:
        driver.quit()
