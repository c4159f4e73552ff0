"""Clients of others, unchanged: ApacheBench, MLflow's scoring client, the course's script."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import requests

from twinml.platform import EndpointInfo
from twinml_local import endpoints

pytestmark = pytest.mark.e2e

NAME = "bank-test"
OLD = {"age": 70, "balance": 1.5, "job": "admin.", "owner": True}
YOUNG = {"age": 30, "balance": -2.0, "job": "services", "owner": False}
# The course's client but for URI and key: it prints the reply and looks at no status.
COURSE_CLIENT = """
import requests
import json
scoring_uri = "{uri}"
key = "{key}"
data = {{"data": {rows}}}
input_data = json.dumps(data)
with open("data.json", "w") as _f:
    _f.write(input_data)
headers = {{"Content-Type": "application/json"}}
headers["Authorization"] = f"Bearer {{key}}"
resp = requests.post(scoring_uri, input_data, headers=headers)
print(resp.json())
"""


def test_the_courses_client_and_its_benchmark(
    running_endpoint: EndpointInfo, tmp_path: Path
) -> None:
    key = endpoints.keys(NAME).primary
    script = COURSE_CLIENT.format(uri=running_endpoint.scoring_uri, key=key, rows=[OLD, YOUNG])
    client = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert client.stdout == '{"result": ["yes", "no"]}\n'
    ab = shutil.which("ab")
    if ab is None:
        pytest.skip("there is no ab: apt-get install apache2-utils")
    command = [ab, "-n", "10", "-v", "4", "-p", "data.json", "-T", "application/json"]
    command += ["-H", f"Authorization: Bearer {key}", running_endpoint.scoring_uri]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    # Status alone says little: ab counts a 400 as a request that went well.
    assert len(re.findall(r"^HTTP/1\.[01] 200 OK\r?$", said, re.MULTILINE)) == 10
    replies = re.findall(r'^"\{.*\}"', said, re.MULTILINE)
    assert [json.loads(json.loads(reply)) for reply in replies] == [{"result": ["yes", "no"]}] * 10
    assert re.search(r"^Complete requests: +10$", said, re.MULTILINE)
    assert re.search(r"^Failed requests: +0$", said, re.MULTILINE)
    assert "Non-2xx" not in said


def test_mlflows_own_client(
    running_endpoint: EndpointInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient

    host, _, port = (
        running_endpoint.scoring_uri.removeprefix("http://").split("/")[0].partition(":")
    )
    client = ScoringServerClient(host, int(port))
    client.ping()
    client.wait_server_ready(timeout=10)
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", client.get_version())
    # It has no place for a key, as MLflow's server has none: that alone is put in.
    key, post = endpoints.keys(NAME).primary, requests.post

    def with_key(*arguments: Any, headers: dict[str, str], **options: Any) -> requests.Response:
        sent = headers | {"Authorization": f"Bearer {key}"}
        return post(*arguments, headers=sent, timeout=30, **options)

    with pytest.raises(Exception, match="401"):
        client.invoke(pd.DataFrame([OLD, YOUNG]))
    monkeypatch.setattr(requests, "post", with_key)
    found = client.invoke(pd.DataFrame([OLD, YOUNG]))
    assert found.get_predictions()[0].tolist() == ["yes", "no"]
    found = client.invoke(pd.DataFrame([YOUNG]), params={"method": "predict_proba"})
    assert found.get_predictions().shape == (1, 2)


@pytest.mark.parametrize("form", ["split", "records"])
def test_what_mlflow_writes_is_taken(running_endpoint: EndpointInfo, form: str) -> None:
    from mlflow.deployments import PredictionsResponse

    frame = pd.DataFrame([OLD, YOUNG, OLD])
    orient: Any = form
    body = json.dumps({f"dataframe_{form}": json.loads(frame.to_json(orient=orient))})
    reply = requests.post(
        running_endpoint.scoring_uri.replace("/score", "/invocations"),
        data=body,
        headers={
            "Content-Type": "application/json; charset=UTF-8",
            "Authorization": f"Bearer {endpoints.keys(NAME).secondary}",
        },
        timeout=30,
    )
    assert reply.status_code == 200
    predicted = PredictionsResponse.from_json(reply.text).get_predictions()
    assert predicted[0].tolist() == ["yes", "no", "yes"]
