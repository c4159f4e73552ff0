"""The sizes of virtual machines that Azure has, by series, as of the middle of 2026. Pure."""

from __future__ import annotations

import re

__all__ = ["is_size"]

_CORES = "(2|4|8|16|20|24|32|48|64|72|80|96|104|112|128|192)"
# Series by series, without "Standard_"; a number after a dash is of constrained cores.
_SERIES = (
    r"a(\d|1[01])", r"a([1248]|[248]m)_v2",
    r"b(1ls|1s|1ms|2s|2ms|4ms|8ms|12ms|16ms|20ms)", r"b(2|4|8|16|32)(a|p)?[lt]?s_v2",
    r"ds?([1-4]|1[1-4])(_promo)?", r"ds?([1-5]|1[1-5])(-\d+)?i?_v2(_promo)?",
    rf"d{_CORES}s?_v3", rf"d{_CORES}[apb]?l?d?s?_v[4-7]",
    r"dc(1|2|4|8|16|24|32|48)d?s(_v[23])?", rf"ec?{_CORES}(-\d+)?i?[ape]?i?b?d?s?_v[3-7]",
    rf"dc{_CORES}[ae]d?s_(cc_)?v[56]", r"f(1|2|4|8|16)s?(_promo)?", r"f(2|4|8|16|32|48|64|72)s_v2",
    r"f(2|4|8|16|32|48|64|80)a[lm]?d?s_v[67]", r"fx(2|4|8|12|16|24|32|36|48|64|96)m?d?s(_v2)?",
    r"gs?[1-5](-\d+)?", r"h(8|16)(m|r|mr)?(_promo)?", r"hb(60|120|176|368)(-\d+)?rs(_v[2-5])?",
    r"hc44(-\d+)?rs", r"hx176(-\d+)?rs", r"l(4|8|16|32)s", r"l(8|16|32|48|64|80)s_v2",
    r"l(2|4|8|12|16|32|48|64|80|96)(a|ao)?s_v[34]",
    r"m(8|16|32|64|128|192|208|416)(-\d+)?i?d?(l|t|m|dm)?s(_v2)?",
    r"m\d+i?b?d?s(_\d)?_v3", r"nc(6|12|24|24r)(_promo)?", r"nc(6|12|24)s_v[23]", r"nc24rs_v[23]",
    r"nc(4|8|16|64)as_t4_v3", r"nc(24|48|96)ads_a100_v4", r"nc40ads_h100_v5", r"nc80adis_h100_v5",
    r"ncc40ads_h100_v5", r"nd(6|12|24)r?s", r"nd40rs_v2", r"nd96asr_v4", r"nd96amsr_(a100_)?v4",
    r"nd96isr?_(h100|h200|mi300x)_v5", r"nd128isr_(ndr_)?gb[23]00_v6", r"nv(6|12|24)(_promo)?",
    r"nv(12|24|48)s_v3", r"nv(4|8|16|32)as_v4", r"nv(6|12|18|36|72)adm?s_a10_v5",
    r"ng(8|16|32)ad(m|rm)?s_v620_v1", r"np(10|20|40)s",
)  # fmt: skip
_SIZE = re.compile(rf"basic_a[0-4]|standard_({'|'.join(_SERIES)})", re.IGNORECASE)


def is_size(name: str) -> bool:
    """Return whether there is a virtual machine of a size.

    >>> is_size("STANDARD_DS3_v2"), is_size("Standard_DS99_v2"), is_size("DS3_v2")
    (True, False, False)
    """
    return _SIZE.fullmatch(name) is not None
