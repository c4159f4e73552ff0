"""Workbooks for tests, written by hand: no package that the product needs writes any."""

from __future__ import annotations

import io
import zipfile
from xml.sax.saxutils import escape


def column(place: int) -> str:
    return chr(ord("A") + place)


def workbook(**sheets: list[list[object]]) -> bytes:
    """Return a workbook whose cells are texts, numbers, truths and dates (2024-01-DAY)."""

    def cell(at: str, value: object) -> str:
        if value is None:
            return ""
        if isinstance(value, bool):
            return f'<c r="{at}" t="b"><v>{int(value)}</v></c>'
        if isinstance(value, tuple):
            return f'<c r="{at}" s="1"><v>{45291 + value[0]}</v></c>'
        if isinstance(value, (int, float)):
            return f'<c r="{at}"><v>{value}</v></c>'
        if str(value).startswith("#"):
            return f'<c r="{at}" t="e"><v>{value}</v></c>'
        return f'<c r="{at}" t="inlineStr"><is><t>{escape(str(value))}</t></is></c>'

    space = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    link = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    names = list(sheets)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(
            "[Content_Types].xml",
            f'<Types xmlns="{package}/content-types"><Default Extension="rels" ContentType='
            '"application/vnd.openxmlformats-package.relationships+xml"/>'
            f'<Override PartName="/xl/workbook.xml" ContentType="{kind}.sheet.main+xml"/></Types>',
        )
        archive.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{package}/relationships"><Relationship Id="r" '
            f'Type="{link}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        )
        archive.writestr(
            "xl/workbook.xml",
            f'<workbook {space} xmlns:r="{link}"><sheets>'
            + "".join(
                f'<sheet name="{name}" sheetId="{at}" r:id="r{at}"/>'
                for at, name in enumerate(names, 1)
            )
            + "</sheets></workbook>",
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="{package}/relationships">'
            + "".join(
                f'<Relationship Id="r{at}" Type="{link}/worksheet" '
                f'Target="worksheets/sheet{at}.xml"/>'
                for at in range(1, len(names) + 1)
            )
            + f'<Relationship Id="s" Type="{link}/styles" Target="styles.xml"/></Relationships>',
        )
        archive.writestr(
            "xl/styles.xml",
            f'<styleSheet {space}><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs>'
            "</styleSheet>",
        )
        for at, name in enumerate(names, 1):
            rows = "".join(
                f'<row r="{row}">'
                + "".join(
                    cell(f"{column(place)}{row}", value) for place, value in enumerate(values)
                )
                + "</row>"
                for row, values in enumerate(sheets[name], 1)
            )
            archive.writestr(
                f"xl/worksheets/sheet{at}.xml",
                f"<worksheet {space}><sheetData>{rows}</sheetData></worksheet>",
            )
    return stream.getvalue()
