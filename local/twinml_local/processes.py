"""The processes that twinml leaves running on this machine, and the files that describe them.

A pid alone does not name a process: the kernel gives it to another one later. So a pid
file holds the pid *and* the start time, and nothing is signalled unless both fit::

    {"pid": 4711, "started": "8a0f…:1203394"}

Files are replaced whole (``write_atomic``), changed under a lock (``locked``), and secrets
are readable by their owner only (``generate_keys``, ``read_keys``).
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from twinml.errors import NotFound, PlatformError

if TYPE_CHECKING:
    from twinml.platform import Keys

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = [
    "free_port",
    "generate_keys",
    "locked",
    "process_identity",
    "read_key_values",
    "read_keys",
    "record_process",
    "running",
    "start_detached",
    "terminate",
    "write_atomic",
]

POLL_SECONDS = 0.02

# Detached processes that this process started: when they end, it must take their exit
# status. Other children belong to whoever started them.
_children: set[int] = set()


def write_atomic(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace ``path`` by ``text`` so that a reader, or a crash, sees the old or the new whole.

    Parameters
    ----------
    path
        The file; its folder is made if it is missing.
    text
        The new content, written as UTF-8.
    mode
        The permissions, set before the first byte is written.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def locked(path: Path, *, timeout: float | None = None) -> Iterator[None]:
    """Hold the lock file ``path``; the kernel frees it when its holder dies.

    Parameters
    ----------
    path
        The lock file; made if it is missing, never removed.
    timeout
        Seconds to wait for another holder; ``None`` waits for as long as it takes.

    Raises
    ------
    PlatformError
        Another process still held the lock after ``timeout``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = None if timeout is None else time.monotonic() + timeout
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "a+b") as file:
        while not _try_lock(file.fileno()):
            if deadline is not None and time.monotonic() >= deadline:
                raise PlatformError(
                    f"'{path.name}' is held by another process",
                    hint="Let the other twinml command end, or stop it: twinml stop.",
                )
            time.sleep(POLL_SECONDS)
        try:
            yield
        finally:
            _unlock(file.fileno())


if sys.platform == "win32":

    def _try_lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def process_identity(pid: int) -> str | None:
    """Return what tells this process from a later one with the same pid; ``None`` if it ended.

    A zombie has ended. Where there is ``/proc`` it is the boot's id and the start time in
    clock ticks, elsewhere the start time that ``ps`` prints.

    Examples
    --------
    >>> process_identity(os.getpid()) == process_identity(os.getpid())
    True
    """
    _reap(pid)
    if Path("/proc/self/stat").exists():
        try:
            stat = Path(f"/proc/{pid}/stat").read_bytes()
        except OSError:
            return None
        # The program's name, in parentheses, may hold spaces: count from the last one.
        fields = stat[stat.rindex(b")") + 2 :].split()
        if fields[0] in (b"Z", b"X"):
            return None
        boot = Path("/proc/sys/kernel/random/boot_id")
        return f"{boot.read_text().strip()[:8] if boot.exists() else ''}:{fields[19].decode()}"
    return _identity_from_ps(pid)


def _identity_from_ps(pid: int) -> str | None:
    listing = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    state, _, started = listing.stdout.strip().partition(" ")
    return started.strip() if started and not state.startswith("Z") else None


def record_process(pid_file: Path, pid: int) -> None:
    """Write the pid and start time of a live process to ``pid_file``.

    Raises
    ------
    PlatformError
        The process has ended already.
    """
    started = process_identity(pid)
    if started is None:
        raise PlatformError(f"process {pid} ended as soon as it was started")
    write_atomic(pid_file, json.dumps({"pid": pid, "started": started}))


def running(pid_file: Path) -> int | None:
    """Return the pid that ``pid_file`` describes if that same process is alive, else ``None``."""
    try:
        record = json.loads(pid_file.read_text(encoding="utf-8"))
        pid, started = int(record["pid"]), str(record["started"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pid if process_identity(pid) == started else None


def start_detached(
    args: Sequence[str], *, log: Path, pid_file: Path, env: Mapping[str, str]
) -> int:
    """Start a process that outlives this one, in a session of its own.

    Parameters
    ----------
    args
        The program, by its full path, and its arguments.
    log
        Takes its output, appended; readable by the owner only.
    pid_file
        Is written once the process has started.
    env
        Its whole environment. Secrets belong here or in a file, never in ``args``.

    Returns
    -------
    int
        The pid, which is also its process group and session.

    Raises
    ------
    PlatformError
        The program cannot be started, or ended at once; the message names the log.
    """
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    try:
        pid = os.posix_spawn(
            args[0],
            list(args),
            dict(env),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log), append, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
    except OSError as error:
        raise PlatformError(f"cannot start '{Path(args[0]).name}': {error.strerror}") from error
    _children.add(pid)
    try:
        record_process(pid_file, pid)
    except PlatformError as error:
        raise PlatformError(error.message, hint=f"Its log says why: {log}") from error
    return pid


def terminate(pid_file: Path, timeout: float = 10.0) -> bool:
    """End the process that ``pid_file`` describes, and remove the file.

    It is asked first (SIGTERM); what is left of its process group after ``timeout`` seconds
    is killed.

    Returns
    -------
    bool
        Whether there was a process to end.
    """
    pid = running(pid_file)
    if pid is None:
        pid_file.unlink(missing_ok=True)
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout
    while running(pid_file) is not None and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    if running(pid_file) is not None:
        with contextlib.suppress(ProcessLookupError):
            if os.getpgid(pid) == pid:
                os.killpg(pid, signal.SIGKILL)
            else:
                os.kill(pid, signal.SIGKILL)
        while running(pid_file) is not None:
            time.sleep(POLL_SECONDS)
    pid_file.unlink(missing_ok=True)
    return True


def free_port(preferred: int | None = None) -> int:
    """Return ``preferred`` if nothing listens there on 127.0.0.1, else another free port.

    Others are drawn from below the range that systems give to outgoing connections: a port
    from there could be taken by any client by the time that its service starts again.
    """
    drawn = [20_000 + secrets.randbelow(12_000) for _ in range(50)]
    for port in [*([preferred] if preferred else []), *drawn, 0]:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise PlatformError("there is no free port on 127.0.0.1")


def generate_keys(path: Path, *, replace: bool = False) -> Keys:
    """Return the two keys in ``path``, made (mode 0600) if there are none or ``replace``."""
    from twinml.platform import Keys

    with locked(path.with_name(f".{path.name}.lock")):
        if path.exists() and not replace:
            return read_keys(path)
        keys = Keys(primary=secrets.token_urlsafe(32), secondary=secrets.token_urlsafe(32))
        content = {"primary": keys.primary, "secondary": keys.secondary}
        write_atomic(path, json.dumps(content), mode=0o600)
        return keys


def read_keys(path: Path) -> Keys:
    """Return the two keys in ``path``.

    Raises
    ------
    NotFound
        There is no such file.
    PlatformError
        It does not hold two keys.
    """
    from twinml.platform import Keys

    primary, secondary = read_key_values(path)
    return Keys(primary=primary, secondary=secondary)


def read_key_values(path: Path) -> tuple[str, str]:
    """Return what ``read_keys`` does as bare text, for a server that has to stay light."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return str(content["primary"]), str(content["secondary"])
    except FileNotFoundError as error:
        raise NotFound(f"there are no keys at '{path.parent.name}/{path.name}'") from error
    except (ValueError, KeyError, TypeError) as error:
        raise PlatformError(
            f"'{path.parent.name}/{path.name}' does not hold two keys",
            hint="Remove it; it is made anew when the endpoint is next started.",
        ) from error


def _reap(pid: int) -> None:
    """Take the exit status of an ended detached child, so that no zombie stays."""
    if pid in _children:
        try:
            ended, _ = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            ended = pid
        if ended == pid:
            _children.discard(pid)
