"""The evidence of a run: pictures of the real pages, an architecture diagram, a README.

Pictures are taken by a headless Chromium where there is one; else the pages are kept as HTML files
that hold all they show.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from PIL import Image

from twinml.errors import PlatformError
from twinml.platform import busiest
from twinml.settings import home
from twinml_local.jobs import lifecycle as jobs
from twinml_local.studio._parts import WAITING
from twinml_local.studio._sources import Sources

if TYPE_CHECKING:
    import requests

    from twinml.platform import EndpointInfo, Platform
    from twinml.registry.runs import Run

__all__ = ["evidence"]

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDTH, HEIGHT = 1280, 1000
SECONDS = 60
# Seconds until a page is photographed; the next where the one before was too early.
PATIENCES = (5, 15, 45)
FIRST_RUNS = 200
AGAIN_SECONDS = 0.2


@dataclass(frozen=True)
class Scene:
    """One picture: its file's name, its title, where it is taken, and else what to do.

    ``scripted`` is a page that a script fills: the picture is taken when it has.
    """

    name: str
    title: str
    url: str
    todo: str = ""
    scripted: bool = False


def evidence(platform: Platform, address: str, folder: Path) -> Mapping[str, str]:
    """Write the evidence into ``folder``; return what each picture is, by file.

    Parameters
    ----------
    address
        Of the site that runs.

    Raises
    ------
    PlatformError
        The folder cannot be written, or a page does not answer.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PlatformError(
            f"{folder} cannot be written: {error.strerror}", hint="Name another folder."
        ) from error
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    made: dict[str, str] = {}
    lines = ["# TITLE", "", "What was built, in a few sentences.", "", "## Architecture", ""]
    for scene in scenes(Sources(platform)):
        lines += ["" if scene.name.startswith("00") else f"## {scene.title}", ""]
        if not scene.url:
            lines += [f"Not there yet: {scene.todo}", ""]
            continue
        file = f"{scene.name}.png" if browser else f"{scene.name}.html"
        url = urljoin(address, scene.url)
        check_page(url)
        if browser:
            photograph(browser, url, folder / file, scripted=scene.scripted)
            lines += [f"![{scene.title}]({file})", ""]
        else:
            (folder / file).write_text(whole_page(url), encoding="utf-8")
            lines += [f"[{scene.title}]({file})", ""]
        made[file] = scene.title
    (folder / "README.md").write_text("\n".join(lines), encoding="utf-8")
    return made | {"README.md": "a README to begin with"}


def scenes(sources: Sources) -> Iterator[Scene]:
    """Yield what is to be pictured, in the order of the workflow."""
    yield Scene("00-architecture", "Architecture", "/architecture")
    asset = next(iter(sources.assets()), None)
    yield Scene(
        "01-registered-data", "Registered data set",
        f"/data/{asset.name}/{asset.version}" if asset else "", "twinml data --register",
    )  # fmt: skip
    info = next((one for one in sources.endpoints() if one.deployments), None)
    runs = [one for one in sources.runs(FIRST_RUNS) if one.is_search]
    run = _behind(sources, info, runs)
    yield Scene(
        "02-automl-completed", "AutoML run completed", "/jobs" if run else "", "twinml train"
    )
    yield Scene("03-best-model", "Best model", f"/jobs/{run.id}" if run else "", "twinml train")
    name = info.name if info else ""
    up = info is not None and info.state == "running"
    start = f"twinml start --endpoint {name}" if info else "twinml deploy"
    yield Scene(
        "04-application-insights", "Application Insights enabled",
        f"/monitoring/{name}" if info else "", start,
    )  # fmt: skip
    yield Scene("05-logs", "Log output", f"/logs/{name}" if info else "", start)
    yield Scene(
        "06-swagger", "Swagger UI", info.docs_uri if info and up else "", start, scripted=True
    )
    answer = f"/endpoints/{name}/test?example={busiest(info)}" if info and up else ""
    yield Scene("07-answer", "Answer of the endpoint", answer, start)
    measured = sorted((home() / "reports").rglob("benchmark*.html"), key=os.path.getmtime)
    page = measured[-1].relative_to(home() / "reports").as_posix() if measured else ""
    pictured = next(
        (one for one in runs if one.folder and (one.folder / "report/benchmark.png").is_file()),
        None,
    )
    yield Scene(
        "08-benchmark", "Benchmark",
        f"/reports/{page}" if page
        else f"/jobs/{pictured.id}/picture/benchmark" if pictured else "",
        "twinml benchmark --out .twinml/reports/benchmark.html",
    )  # fmt: skip
    published = next(iter(sources.platform.pipelines()), None)
    pipeline = f"/pipelines/{published.name}" if published else ""
    last = next(iter(jobs.recorded(published.name, limit=1)), None) if published else None
    publish = "twinml run, or twinml pipeline publish"
    yield Scene("09-pipelines", "Pipeline", "/pipelines" if published else "", publish)
    yield Scene("10-pipeline-endpoint", "Pipeline endpoint",
                f"{pipeline}?only=rest" if pipeline else "", publish)  # fmt: skip
    yield Scene("11-data-and-automl", "Data set with the AutoML module",
                f"{pipeline}?only=graph" if pipeline else "", publish)  # fmt: skip
    active = published is not None and published.state == "running"
    yield Scene(
        "12-published", "Published pipeline: REST endpoint, ACTIVE", pipeline if active else "",
        f"twinml pipeline run {published.name}" if published else publish,
    )  # fmt: skip
    yield Scene("13-run-details", "Run details", f"{pipeline}/jobs/{last.id}" if last else "",
                "twinml pipeline run NAME")  # fmt: skip
    scheduled = bool(published and sources.platform.schedules(published.name))
    yield Scene(
        "14-scheduled", "Scheduled run", f"{pipeline}?only=schedules" if scheduled else "",
        f"twinml pipeline schedule {published.name if published else 'NAME'} --every 1d",
    )  # fmt: skip


def _behind(sources: Sources, info: EndpointInfo | None, runs: Sequence[Run]) -> Run | None:
    """Return the search whose model has most of an endpoint's traffic, else the newest one."""
    if info is not None:
        served = info.deployments[busiest(info)]
        for one in sources.models():
            if one.version.reference.deployed == served:
                found = next((run for run in runs if run.id == one.version.run_id), None)
                if found is not None:
                    return found
    return next(iter(runs), None)


def check_page(url: str) -> None:
    """Ask for a page until all its parts are there.

    Raises
    ------
    PlatformError
        It does not answer.
    """
    import requests

    until = time.monotonic() + SECONDS
    with requests.Session() as asking:
        asking.trust_env = False
        while True:
            try:
                reply = asking.get(url, timeout=SECONDS)
            except requests.RequestException as error:
                raise PlatformError(f"{url} does not answer ({type(error).__name__})") from error
            if WAITING not in reply.text or time.monotonic() > until:
                break
            time.sleep(AGAIN_SECONDS)
    if not reply.ok:
        raise PlatformError(f"{url} answered {reply.status_code}", hint="Look at it: twinml open.")


def photograph(browser: str, url: str, file: Path, *, scripted: bool = False) -> None:
    """Take a picture of a page with a headless Chromium.

    On a busy machine a page may not be there in time: a blank picture is taken again, later.

    Raises
    ------
    PlatformError
        The browser took none, or blank ones alone.
    """
    for patience in PATIENCES:
        _photograph(browser, url, file, patience, scripted=scripted)
        if not is_blank(file):
            return
    raise PlatformError(
        f"{Path(browser).name} took blank pictures of {url}", hint="Try again in a quieter moment."
    )


def is_blank(file: Path) -> bool:
    """Tell whether all of a picture has one colour."""
    with Image.open(file) as picture:
        return len(picture.convert("RGB").getcolors(1) or []) == 1


def _photograph(browser: str, url: str, file: Path, patience: int, *, scripted: bool) -> None:
    file.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        arguments = [
            "--headless=new", "--hide-scrollbars", "--disable-gpu", "--no-first-run",
            f"--window-size={WIDTH},{HEIGHT}", f"--user-data-dir={profile}",
            f"--screenshot={file.resolve()}",
            # What follows something never ends: such a page is not waited for.
            f"--virtual-time-budget={2_000 * patience}" if scripted
            else f"--timeout={1_000 * patience}",
        ]  # fmt: skip
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            arguments.append("--no-sandbox")  # Chromium has no sandbox for root.
        try:
            done = subprocess.run(
                [browser, *arguments, url],
                capture_output=True, timeout=SECONDS + patience, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            done = None
    if not file.is_file():
        said = "" if done is None else done.stderr.decode(errors="replace").strip()[-300:]
        raise PlatformError(f"{Path(browser).name} took no picture of {url}: {said or 'no answer'}")


def whole_page(url: str) -> str:
    """Return a page as one HTML file, with its style and its pictures in it."""
    import requests

    with requests.Session() as asking:
        asking.trust_env = False
        page = asking.get(url, timeout=SECONDS)
        if not page.headers.get("Content-Type", "").startswith("text/html"):
            return f'<img alt="" src="{_data(page)}">'
        text = re.sub(r"<script[^>]*>.*?</script>", "", page.text, flags=re.DOTALL)
        for link in re.findall(r'<link rel="stylesheet" href="([^"]+)">', text):
            style = asking.get(urljoin(url, link), timeout=SECONDS).text
            text = text.replace(
                f'<link rel="stylesheet" href="{link}">', f"<style>\n{style}\n</style>"
            )
        for source in set(re.findall(r'<img src="(/[^"]+)"', text)):
            picture = asking.get(urljoin(url, source), timeout=SECONDS)
            text = text.replace(f'<img src="{source}"', f'<img src="{_data(picture)}"')
    return text


def _data(reply: requests.Response) -> str:
    kind = reply.headers.get("Content-Type", "image/png")
    return f"data:{kind};base64,{base64.b64encode(reply.content).decode('ascii')}"
