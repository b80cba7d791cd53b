"""Tables of rows, and bytes as people read them."""

from helpers.errors import CourseError


def human(count: float) -> str:
    """
    Return bytes as people read them, with decimal units, as docker prints them.

    Example::

        human(1_890_000)  # '1.89 MB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5 or unit == "GB":
            return f"{count:.3g} {unit}" if unit != "B" else f"{count:.0f} B"
        count /= 1000


def table(rows: list[dict], columns: str | list[str] | None = None) -> None:
    """
    Print rows as aligned text; columns whose name ends in ``bytes`` or ``seconds`` get their units.

    Raises:
        CourseError: there are no rows, or no row has that column.

    Example::

        table(compare({"single": single, "multi": multi}), ["name", "bytes"])
    """
    columns = (
        [columns]
        if isinstance(columns, str)
        else columns or list(dict.fromkeys(name for row in checked_rows(rows) for name in row))
    )
    checked_rows(rows, *columns)
    cells = [[cell_text(column, row.get(column)) for column in columns] for row in rows]
    titles = [column.replace("_bytes", "").replace("bytes", "size").replace("_", " ") for column in columns]
    widths = [max(len(line[n]) for line in [titles, *cells]) for n in range(len(columns))]
    right = [all(isinstance(row.get(column), int | float) for row in rows) for column in columns]
    for line in [titles, ["-" * width for width in widths], *cells]:
        aligned = [
            text.rjust(width) if to_the_right else text.ljust(width)
            for text, width, to_the_right in zip(line, widths, right, strict=True)
        ]
        print("  ".join(aligned).rstrip())


def checked_rows(rows, *columns):
    """
    Return the rows.

    Raises:
        CourseError: there are none, they are no rows, or none of them has one of the columns.

    Example::

        checked_rows(rows, "name", "bytes")
    """
    if not rows:
        remedy = "measure first; compare({'name': image}), for one, makes a row an image"
        raise CourseError("showing rows", "there are none", remedy)
    if not isinstance(rows, dict) and not all(isinstance(row, dict) for row in rows):
        said = "rows are a list of dicts, such as [{'name': 'a', 'bytes': 1}]"
        raise CourseError("showing rows", said, "build them so, one dict a row")
    for column in columns:
        if not any(column in row for row in rows):
            has = ", ".join(rows[0])
            remedy = f"there are: {has}" + ("; compare(..., compressed=True) adds it" if "compressed" in column else "")
            raise CourseError(f"showing the column {column!r}", "no row has it", remedy)
    return rows


def cell_text(column, value):
    """
    Return a value as text; the end of its column's name tells the unit.

    Example::

        cell_text("start_seconds", 1.234)  # '1.23 s'
    """
    if value is None:
        return "-"
    if isinstance(value, list | tuple | set):
        return " ".join(map(str, value)) or "none"
    if column.endswith("bytes"):
        return human(value)
    if column.endswith("seconds"):
        return f"{value:.2f} s"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
