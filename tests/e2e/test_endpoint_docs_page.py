"""The documents page of a running endpoint in a real browser."""

import json
import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier

from twinml import model
from twinml.contract import infer_contract
from twinml.platform import EndpointInfo
from twinml_local import endpoints

CHROMIUM = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.browser,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="there is no chromium with its chromedriver here"
    ),
]


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[EndpointInfo]:
    rows = pd.DataFrame({"age": np.arange(50), "job": ["admin.", "services"] * 25})
    labels = pd.Series(["no", "no", "yes", "no", "no"] * 10, name="y")
    always_no = DummyClassifier(strategy="most_frequent").fit(rows, labels)
    directory = tmp_path / "model"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own, when it is imported and when it saves
        model.save(always_no, infer_contract(rows, labels, name="docs-test"), directory)
    yield endpoints.deploy(
        "docs-test",
        "blue",
        directory=directory,
        model="docs-test",
        version="1",
        digest=model.digest(directory),
    )
    endpoints.stop()


def test_the_page_shows_the_model_and_scores_with_it(
    endpoint: EndpointInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from selenium import webdriver
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    # So that no proxy of this machine stands between the test and the browser.
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.add_argument(f"--user-data-dir={tmp_path / 'browser'}")
    options.add_argument("--window-size=1400,2000")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path=DRIVER, log_output=os.devnull)
    driver = webdriver.Chrome(options=options, service=service)
    try:
        wait = WebDriverWait(driver, 30)

        def click(selector: str) -> None:
            found = wait.until(lambda d: d.find_element(By.CSS_SELECTOR, selector))
            driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", found)
            driver.execute_script("arguments[0].click()", found)

        def text(selector: str) -> str:
            return wait.until(lambda d: d.find_element(By.CSS_SELECTOR, selector)).text

        driver.get(endpoint.docs_uri)
        assert "docs-test" in text(".info .title")
        paths = wait.until(lambda d: d.find_elements(By.CSS_SELECTOR, ".opblock-summary-path"))
        assert {"/score", "/invocations"} <= {path.text.replace("\u200b", "") for path in paths}

        score = "#operations-scoring-score"
        click(f"{score} .opblock-summary-control")
        click(f"{score} .try-out__btn")
        click(f"{score} .execute")
        answered = f"{score} .live-responses-table tr.response .response-col_status"
        wait.until(lambda d: text(answered).startswith("401"))

        click(".btn.authorize")
        field = wait.until(lambda d: d.find_element(By.CSS_SELECTOR, ".auth-container input"))
        field.send_keys(endpoints.keys("docs-test").primary)
        click(".auth-btn-wrapper .authorize")
        click(".btn-done")
        click(f"{score} .execute")
        wait.until(lambda d: text(answered).startswith("200"))
        assert "no" in text(f"{score} .live-responses-table .highlight-code")

        wire = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
        asked = {
            message["params"]["request"]["url"]
            for message in wire
            if message["method"] == "Network.requestWillBeSent"
        }
        home = endpoint.docs_uri.removesuffix("docs/")
        assert any(url.endswith("swagger-ui-bundle.js") for url in asked)
        assert not [url for url in asked if not url.startswith((home, "data:", "chrome:"))]
        severe = [entry["message"] for entry in driver.get_log("browser")]
        assert not [message for message in severe if "401" not in message]
    finally:
        driver.quit()
