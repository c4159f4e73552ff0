"""Which percentages traffic and mirror traffic may have; Azure ML's rules."""

from __future__ import annotations

from collections.abc import Mapping

from twinml.errors import UsageError

__all__ = ["check_shares"]

MOST_MIRRORED = 50  # per cent


def check_shares(traffic: Mapping[str, int], mirror: Mapping[str, int]) -> None:
    """Refuse percentages that an endpoint cannot have.

    Parameters
    ----------
    traffic
        Per cent of the requests by deployment: together 100 or 0.
    mirror
        Per cent copied to a deployment without traffic: at most one, at most 50.

    Raises
    ------
    UsageError
        They are not so; the message says which.

    Examples
    --------
    >>> check_shares({"blue": 90, "green": 10}, {})
    >>> check_shares({"blue": 90}, {})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    twinml.errors.UsageError: the traffic adds up to 90 % (blue=90), expected 100 or 0. Name ...
    """
    for deployment, share in (*traffic.items(), *mirror.items()):
        if not 0 <= share <= 100:
            raise UsageError(
                f"the share of '{deployment}' is {share} %, expected 0 to 100",
                hint="Give whole per cent: blue=90 green=10.",
            )
    total = sum(traffic.values())
    if total not in (0, 100):
        shares = " ".join(f"{deployment}={share}" for deployment, share in traffic.items())
        raise UsageError(
            f"the traffic adds up to {total} % ({shares}), expected 100 or 0",
            hint="Name every deployment that is to have traffic: blue=90 green=10.",
        )
    if len(mirror) > 1:
        raise UsageError(
            f"{len(mirror)} deployments are to be mirrored to, expected one",
            hint="Mirror to one deployment at a time.",
        )
    for deployment, share in mirror.items():
        if share > MOST_MIRRORED:
            raise UsageError(
                f"{share} % is to be mirrored to '{deployment}', expected at most {MOST_MIRRORED}",
                hint=f"--mirror {deployment}={MOST_MIRRORED}",
            )
        if traffic.get(deployment, 0):
            raise UsageError(
                f"'{deployment}' has {traffic[deployment]} % of the traffic, so nothing can be "
                "mirrored to it",
                hint=f"Give it no traffic, or end the mirroring: --mirror {deployment}=0.",
            )
