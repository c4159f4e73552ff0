"""Reading logs: from their ends, by deployment, failures only, and as they grow."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from azureml_runner import logs
from azureml_runner.logs import last_lines
from twinml.cli import logs as verb
from twinml.cli import main
from twinml_local.platform import LocalPlatform
from twinml_local.server._request_log import RequestLog

TRACE = '  File "x.py", line 1, in predict\nbuiltins.ValueError'


def line(second: int, text: str, level: str = "I") -> str:
    return f"2026-11-23 10:00:{second:02d},000 {level} [7] azmlinfsrv - {text}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "logs"
    made.mkdir()
    return made


@pytest.mark.parametrize("size", [0, 1, 63, 64 * 1024, 200_000])
@pytest.mark.parametrize("asked", [1, 2, 7, 10_000])
def test_the_last_lines_of_a_file_of_any_size(folder: Path, size: int, asked: int) -> None:
    text = "".join(f"{number} Ærø\n" for number in range(size // 8))
    (folder / "blue.log").write_text(text, encoding="utf-8")
    assert last_lines(folder / "blue.log", asked) == text.splitlines()[-asked:]


def test_a_line_that_is_being_written_is_shown(folder: Path) -> None:
    (folder / "blue.log").write_text("one\ntwo\nthr")
    assert last_lines(folder / "blue.log", 2) == ["two", "thr"]


def test_rotated_parts_are_reached(folder: Path) -> None:
    for name, numbers in (("blue.log.2", (1, 2)), ("blue.log.1", (3, 4)), ("blue.log", (5,))):
        (folder / name).write_text("".join(f"{number}\n" for number in numbers))
    assert last_lines(folder / "blue.log", 4) == ["2", "3", "4", "5"]
    assert last_lines(folder / "blue.log", 99) == ["1", "2", "3", "4", "5"]
    (folder / "blue.log").unlink()
    assert last_lines(folder / "blue.log", 1) == ["4"]
    assert last_lines(folder / "green.log", 1) == []


def test_a_long_log_is_not_read_from_its_beginning(folder: Path) -> None:
    with (folder / "blue.log").open("w") as file:
        for number in range(400_000):
            file.write(f"{line(0, 'POST /score 200 1.0ms 6')} {number}\n")
    started = time.process_time()
    for _ in range(20):
        found = last_lines(folder / "blue.log", 100)
    # A tenth of what reading all of it takes here; the difference is 200-fold.
    assert time.process_time() - started < 0.5
    assert found[-1].endswith(" 399999")


def test_logs_are_merged_by_time_and_tracebacks_stay_whole(folder: Path) -> None:
    blue = [line(1, "one"), line(3, "request a failed", "E"), *TRACE.splitlines(), line(5, "five")]
    (folder / "blue.log").write_text("\n".join(blue) + "\n")
    (folder / "server.log").write_text(f"{line(2, 'two')}\n{line(4, 'four')}\n")
    found = logs.merged(folder, ["blue", "server"], 100)
    assert found == [blue[0], line(2, "two"), *blue[1:4], line(4, "four"), blue[4]]
    assert logs.merged(folder, ["blue", "server"], 2) == [line(4, "four"), blue[4]]


@pytest.fixture
def endpoint(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An endpoint's logs behind the local platform, without a model or a process."""

    def read(
        self: LocalPlatform, name: str, *, deployment: str | None = None, lines: int = 100
    ) -> Iterator[str]:
        sources = [deployment] if deployment else ["blue", "green", "server"]
        return iter(logs.merged(folder, sources, lines))

    monkeypatch.setattr(LocalPlatform, "logs", read)
    return folder


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["logs", "--endpoint", "bank", *arguments])


def fill(folder: Path) -> None:
    failed = line(2, "request a failed", "E")
    (folder / "blue.log").write_text(
        "\n".join(
            [
                line(1, "POST /score 200 1.0ms 6"),
                failed,
                *TRACE.splitlines(),
                line(2, "POST /score 500 1.0ms 90", "E"),
                line(4, "POST /score 400 1.0ms 90"),
                line(5, "POST /score 200 1.0ms 400"),
            ]
        )
        + "\n"
    )
    (folder / "green.log").write_text(f"{line(3, 'POST /score 413 0.4ms 90')}\n")
    (folder / "server.log").write_text(f"{line(6, 'GET /nothing 404 0.1ms 90')}\n")


def test_only_failures(endpoint: Path) -> None:
    fill(endpoint)
    found = run("--errors")
    assert found.exit_code == 0, found.output
    assert [text[-25:] for text in found.stdout.splitlines()] == [
        text[-25:]
        for text in [
            line(2, "request a failed", "E"),
            *TRACE.splitlines(),
            line(2, "POST /score 500 1.0ms 90", "E"),
            line(3, "POST /score 413 0.4ms 90"),
            line(4, "POST /score 400 1.0ms 90"),
            line(6, "GET /nothing 404 0.1ms 90"),
        ]
    ]
    last = run("--errors", "--lines", "1", "--deployment", "blue", "--json")
    assert json.loads(last.stdout) == {
        "endpoint": "bank",
        "lines": [line(4, "POST /score 400 1.0ms 90")],
    }


def test_everything_of_one_deployment(endpoint: Path) -> None:
    fill(endpoint)
    assert run("--deployment", "green").stdout == f"{line(3, 'POST /score 413 0.4ms 90')}\n"
    assert len(run().stdout.splitlines()) == 9
    assert run("--lines", "2").stdout.splitlines()[-1] == line(6, "GET /nothing 404 0.1ms 90")


class Following:
    """Runs ``twinml logs --follow`` in a thread until enough was printed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.printed: list[str] = []
        self._stop = threading.Event()
        monkeypatch.setattr(verb, "POLL_SECONDS", 0.02)
        monkeypatch.setattr(click, "echo", self._echo)

    def _echo(self, text: str, **given: Any) -> None:
        self.printed.append(text)
        if self._stop.is_set():
            raise KeyboardInterrupt

    def run(self, *arguments: str) -> threading.Thread:
        thread = threading.Thread(target=run, args=("--follow", *arguments), daemon=True)
        thread.start()
        return thread

    def wait(self, enough: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not enough():
            assert time.monotonic() < deadline, self.printed
            time.sleep(0.01)

    def finish(self, thread: threading.Thread, log: RequestLog) -> None:
        self._stop.set()
        log.request("blue", "GET", "/end", 500, 0.1, 0)
        thread.join(timeout=20)
        assert not thread.is_alive()


def test_new_lines_are_followed(endpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(endpoint)
    following = Following(monkeypatch)
    thread = following.run("--lines", "2")
    following.wait(lambda: len(following.printed) == 2)
    with RequestLog(endpoint) as log:
        for number in range(200):
            log.request("blue" if number % 2 else "green", "POST", f"/score/{number}", 200, 1.0, 6)
        following.wait(lambda: len(following.printed) == 202)
        following.finish(thread, log)
    new = [text.split()[-4] for text in following.printed[2:202]]
    assert sorted(new) == sorted(f"/score/{number}" for number in range(200))


def test_new_failures_are_followed_as_json(endpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    following = Following(monkeypatch)
    thread = following.run("--errors", "--json")
    with RequestLog(endpoint) as log:
        log.request("blue", "POST", "/score", 200, 1.0, 6)
        for number in range(2):
            log.failure("blue", f"request-{number}", ValueError("4111-1111"))
        following.wait(lambda: len(following.printed) == 2)
        following.finish(thread, log)
    entries = [json.loads(text)["entry"] for text in following.printed[:2]]
    assert ["request-0 failed\nbuiltins.ValueError" in entries[0], "4111" in str(entries)] == [
        True,
        False,
    ]
