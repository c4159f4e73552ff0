"""The documents page of a running endpoint in a real browser."""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier

from twinml import model
from twinml.contract import infer_contract
from twinml.platform import EndpointInfo
from twinml_local import endpoints

pytestmark = [pytest.mark.e2e, pytest.mark.browser]


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


def test_the_page_shows_the_model_and_scores_with_it(endpoint: EndpointInfo, browser: Any) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.set_window_size(1400, 2000)
    for kind in ("browser", "performance"):
        browser.get_log(kind)  # What was noted before is not this page's.
    wait = WebDriverWait(browser, 30)

    def click(selector: str) -> None:
        found = wait.until(lambda d: d.find_element(By.CSS_SELECTOR, selector))
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", found)
        browser.execute_script("arguments[0].click()", found)

    def text(selector: str) -> str:
        return wait.until(lambda d: d.find_element(By.CSS_SELECTOR, selector)).text

    browser.get(endpoint.docs_uri)
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

    wire = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = {
        message["params"]["request"]["url"]
        for message in wire
        if message["method"] == "Network.requestWillBeSent"
    }
    home = endpoint.docs_uri.removesuffix("docs/")
    assert any(url.endswith("swagger-ui-bundle.js") for url in asked)
    assert not [url for url in asked if not url.startswith((home, "data:", "chrome:"))]
    severe = [entry["message"] for entry in browser.get_log("browser")]
    assert not [message for message in severe if "401" not in message]
