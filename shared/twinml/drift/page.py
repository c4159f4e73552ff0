"""A drift report as a page: verdict, pictures, and a table of all features."""

from __future__ import annotations

from collections.abc import Sequence

from twinml.drift import _figures as figures
from twinml.drift._compare import DriftReport
from twinml.drift._windows import Window
from twinml.pages.figure import Picture
from twinml.pages.result_page import ResultPage, Section, Tile, rows

__all__ = ["result_page"]


def result_page(title: str, report: DriftReport, windows: Sequence[Window] = ()) -> ResultPage:
    """Return the page of a comparison; ``windows`` adds how it went over time."""
    sections = []
    if report.features:
        sections += [_features(report), _histograms(report)]
    if len(windows) > 1:
        sections.insert(1, _over_time(report, windows))
    largest = max((one.psi for one in report.features), default=0.0)
    return ResultPage(
        title,
        kind="Drift",
        verdict=report.verdict()[0].upper() + report.verdict()[1:] + ".",
        reason=f"Drifted means: adjusted p below {report.alpha:g} and PSI of {report.min_psi:g} "
        "or more.",
        good=report.enough and not report.drifted and not report.missing,
        tiles=(
            Tile("rows now", f"{report.n_current:,}"),
            Tile("reference rows", f"{report.n_reference:,}"),
            Tile("features drifted", f"{len(report.drifted)}", f"of {len(report.features)}"),
            Tile("largest PSI", f"{largest:.3f}"),
        ),
        sections=tuple(sections),
    )


def _features(report: DriftReport) -> Section:
    told = ", ".join(f"{one.feature} {one.psi:.3f}" for one in report.features[:10])
    table = rows(
        f"All features, drifted ones first; p-values adjusted over {len(report.features)} tests",
        (
            *("feature", "PSI", "level", "test", "statistic", "p adjusted"),
            *("outside %", "null %", "null % in training", "drifted"),
        ),
        [
            (
                one.feature,
                one.psi,
                one.level,
                one.test,
                one.statistic,
                one.p_adjusted,
                100 * one.outside,
                100 * one.null_current,
                100 * one.null_reference,
                "drifted" if one.drifted else "",
            )
            for one in report.features
        ],
    )
    picture = Picture(
        figures.stability(report),
        f"Population stability index by feature: {told}.",
        "How far the distribution of each feature is from that of the training rows.",
    )
    return Section("Features", pictures=(picture,), tables=(table,))


def _over_time(report: DriftReport, windows: Sequence[Window]) -> Section:
    order = [one.feature for one in report.features]
    told = "; ".join(
        f"{window.start:%Y-%m-%d %H:%M}: {', '.join(window.report.drifted) or 'none'}"
        for window in windows
    )
    table = rows(
        "Windows of time, UTC",
        ("from", "to", "rows", "drifted"),
        [
            (
                f"{window.start:%Y-%m-%d %H:%M}",
                f"{window.end:%Y-%m-%d %H:%M}",
                window.report.n_current,
                ", ".join(window.report.drifted)
                if window.report.enough
                else "too few rows to judge",
            )
            for window in windows
        ],
    )
    picture = Picture(
        figures.over_time(windows, order),
        f"Drifted features by window: {told}.",
        "PSI of each feature in each window; a dot marks drift, an empty column too few rows.",
    )
    return Section("Over time", pictures=(picture,), tables=(table,))


def _histograms(report: DriftReport) -> Section:
    shown = report.features[: figures.MOST_HISTOGRAMS]
    told = "; ".join(
        f"{one.feature}: "
        + ", ".join(
            f"{label} {before:.0%} to {now:.0%}"
            for label, before, now in zip(one.labels, one.reference, one.current, strict=True)
        )
        for one in shown
    )
    picture = Picture(
        figures.histograms(shown),
        f"Shares in training and now. {told}.",
        "The features that moved most, training beside now; the number is the PSI. Numbers are "
        "cut into parts that held equal shares of the training rows.",
    )
    return Section("What moved", pictures=(picture,))
