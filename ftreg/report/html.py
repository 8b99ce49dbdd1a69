"""HTML is escaped unless it was made here, and closed because it was opened."""

from html import escape


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(tag: str, *content: str, **attributes: str | int | float | bool | None) -> Html:
    """Return an element: its content escaped where it is not `Html`, its attributes always.

    Args:
        attributes: `class_` is class, `data_task` is data-task; True stands alone, False and None are left out.
    """
    given = ""
    for name, value in attributes.items():
        if value is not None and value is not False:
            text = "" if value is True else f'="{escape(str(value))}"'
            given += f" {name.rstrip('_').replace('_', '-')}{text}"
    if tag in ("img", "input"):
        return Html(f"<{tag}{given}>")
    return Html(f"<{tag}{given}>{join(*content)}</{tag}>")


def join(*content: str) -> Html:
    """Put parts one after the other, escaped where they are not `Html`."""
    return Html("".join(one if isinstance(one, Html) else escape(one) for one in content))


def table(caption: str, heads: tuple[tuple[str, bool], ...], rows: list[Html]) -> Html:
    """Return a table in a region that scrolls sideways; buttons in its head sort it.

    Args:
        heads: (name, whether its cells are numbers).
    """
    cells = [
        element("th", element("button", name, type="button"), scope="col", class_="n" * right or None)
        for name, right in heads
    ]
    body = element("table", element("thead", element("tr", *cells)), element("tbody", *rows), aria_label=caption)
    region = element("div", body, class_="scroll", role="region", aria_label=caption, tabindex=0)
    return join(element("p", caption, class_="caption"), region)


def cell(text: str, sort: float | str | None = None) -> Html:
    """Return a cell; a number, or what sorts like one, is set to the right."""
    return element("td", text, data_sort="" if sort is None else sort, class_="n" if isinstance(sort, float) else None)
