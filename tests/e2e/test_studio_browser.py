"""The Studio site in a real browser: desktop and phone, light and dark, by keyboard."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinml import platform
from twinml.data import load
from twinml.registry import training_run
from twinml.registry.tracking import Tracking
from twinml.training import TrainingOptions

CHROMIUM = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.browser,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="there is no chromium with its chromedriver here"
    ),
]

PAGES = (
    "/", "/architecture", "/data", "/data/people/1", "/jobs", "JOB", "/models", "/models/people/1",
    "/endpoints", "/endpoints/people", "/endpoints/people/test", "/endpoints/people/consume",
    "/monitoring/people", "/logs/people", "/pipelines", "/compare", "/rehearsal",
)  # fmt: skip
# Text whose contrast with what is behind it is below that of WCAG AA, with the ratio.
FAINT = """
const light = (c) => { const [r, g, b] = c.map((v) => { v /= 255;
  return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
const behind = (e) => { for (; e; e = e.parentElement) {
  const c = parse(getComputedStyle(e).backgroundColor);
  if (c.length === 3 || c[3] === 1) return c.slice(0, 3); } return [255, 255, 255]; };
const found = [];
for (const e of document.querySelectorAll("body *")) {
  if (![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
  const style = getComputedStyle(e), box = e.getBoundingClientRect();
  if (e.closest("svg, figure, option") || !box.width || style.visibility === "hidden") continue;
  const [a, b] = [light(parse(style.color).slice(0, 3)), light(behind(e))].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05), size = parseFloat(style.fontSize);
  if (ratio < (size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5))
    found.push([e.tagName, e.className, e.textContent.trim().slice(0, 40), ratio.toFixed(2)]);
}
return found;
"""


@dataclass(frozen=True)
class Site:
    """A site that is served, and what it shows."""

    address: str
    run_id: str
    folder: Path

    def url(self, page: str) -> str:
        return self.address + (f"/jobs/{self.run_id}" if page == "JOB" else page)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("browser")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.integers(18, 90, 300), "job": rng.choice(["a", "b"], 300)})
    frame["y"] = np.where(frame["age"] + rng.normal(0, 12, 300) > 50, "yes", "no")
    frame.to_csv(folder / "people.csv", index=False)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setenv("TWINML_HOME", str(folder / "home"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        warnings.simplefilter("ignore")  # MLflow's own, when it is imported and when it saves
        here, dataset = platform.load("local"), load(folder / "people.csv", "y")
        here.register_data(dataset)
        options = TrainingOptions(trials=1, learners=("LogisticRegression",))
        done = training_run.run(dataset, options, Tracking())
        version = here.register_model(done.directory, name="people", run_id=done.run_id)
        here.deploy(version, endpoint="people", deployment="blue")
        here.deploy(version, endpoint="people", deployment="green")
        yield Site(here.start_studio(), str(done.run_id), folder)  # type: ignore[attr-defined]
        here.stop()


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from selenium import webdriver

    with pytest.MonkeyPatch.context() as patch:
        # So that no proxy of this machine stands between the test and the browser.
        patch.setenv("NO_PROXY", "127.0.0.1,localhost")
        options = webdriver.ChromeOptions()
        options.binary_location = str(CHROMIUM)
        for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
            options.add_argument(argument)
        options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        service = webdriver.ChromeService(executable_path=DRIVER, log_output=os.devnull)
        made = webdriver.Chrome(options=options, service=service)
        yield made
        made.quit()


def look(driver: Any, width: int, scheme: str) -> None:
    driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
    )


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark"), (360, "light"),
                                               (1280, "dark")])  # fmt: skip
def test_every_page_fits_is_legible_and_has_no_errors(
    site: Site, driver: Any, width: int, scheme: str
) -> None:
    look(driver, width, scheme)
    for page in PAGES:
        driver.get(site.url(page))
        assert driver.execute_script("return document.documentElement.scrollWidth") <= width, page
        assert driver.execute_script(FAINT) == [], page
        assert [entry["message"] for entry in driver.get_log("browser")] == [], page


def test_a_row_is_scored_and_the_traffic_split_in_the_browser(site: Site, driver: Any) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    look(driver, 1280, "light")
    wait = WebDriverWait(driver, 60)
    driver.get(site.url("/endpoints/people/test"))
    age = driver.find_element(By.ID, "v-0")
    age.clear()
    age.send_keys("88", Keys.ENTER)
    answer = wait.until(lambda d: d.find_element(By.CSS_SELECTOR, ".answer"))
    assert "y: yes" in answer.text
    assert driver.find_elements(By.CSS_SELECTOR, ".result svg.chart rect")

    driver.get(site.url("/endpoints/people"))
    slider, _ = driver.find_elements(By.CSS_SELECTOR, "input[type=range]")
    slider.send_keys(*[Keys.ARROW_LEFT] * 20)
    fields = driver.find_elements(By.CSS_SELECTOR, "[data-share]")
    assert [field.get_attribute("value") for field in fields] == ["80", "20"]
    driver.find_element(By.CSS_SELECTOR, "form.traffic button").click()
    wait.until(lambda d: d.find_element(By.CSS_SELECTOR, "button.strong")).click()
    wait.until(lambda d: "is changed" in d.page_source)
    assert "80 %" in driver.page_source or 'value="80"' in driver.page_source
    assert [entry["message"] for entry in driver.get_log("browser")] == []


def test_the_evidence_is_pictures_and_a_readme(site: Site) -> None:
    out = site.folder / "evidence"
    done = subprocess.run(
        [sys.executable, "-m", "twinml", "evidence", "--out", str(out), "--json"],
        env={**os.environ, "TWINML_HOME": str(site.folder / "home")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    files = json.loads(done.stdout)["files"]
    pictures = [name for name in files if name.endswith(".png")]
    # There is neither a pipeline nor a benchmark here.
    assert [name[:2] for name in pictures] == ["00", "01", "02", "03", "04", "05", "06", "07"]
    from PIL import Image

    for name in pictures:
        with Image.open(out / name) as picture:
            assert picture.size == (1280, 1000), name
            assert len(picture.convert("RGB").getcolors(1 << 24) or []) > 20, name
    text = (out / "README.md").read_text(encoding="utf-8")
    assert text.count("![") == len(pictures)
    assert text.count("Not there yet") == 7
