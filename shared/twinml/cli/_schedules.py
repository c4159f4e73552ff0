"""How the verbs show a schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twinml.platform import Schedule

__all__ = ["schedule_line"]


def schedule_line(one: Schedule) -> str:
    """Return a schedule as people read it, with what it last saw below."""
    when = f'cron "{one.cron}" {one.timezone}' if one.cron else f"every {one.every}"
    state = f"next {one.next}" if one.enabled else "disabled"
    if one.on_drift:
        when += f", if {one.on_drift} drifted"
    seen = f"\n  {one.checked}  {one.finding}" if one.finding else ""
    problem = f"\n  {one.error}" if one.error else ""
    return f"{one.name}  {one.pipeline}  {when}  {state}{seen}{problem}"
