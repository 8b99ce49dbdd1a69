"""A report has two tables, for the terminal, in Markdown and in LaTeX; `ftreg.report.table_files` writes them.

Scores and differences are × 100. Of a task, the arm with the highest mean is bold only if its advantage over the
baseline, or the baseline's over every other arm, holds after the correction.
"""

import math
import re
from dataclasses import dataclass, replace

from ftreg.report.model import Arm, Report
from ftreg.report.verdict import bracket, probability, significant, title
from ftreg.run.wording import points

LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"$<$", ">": r"$>$", "|": r"$|$", "±": r"$\pm$",
    "−": r"$-$", "×": r"$\times$", "ε": r"$\varepsilon$", "–": "--", "α": r"$\alpha$", "λ": r"$\lambda$",
    "…": r"\ldots{}", "·": r"$\cdot$", "→": r"$\to$", "≤": r"$\le$", "≥": r"$\ge$",
}  # fmt: skip


@dataclass(frozen=True)
class Table:
    """A table as text.

    Args:
        name: of its files.
        caption: one sentence.
        header: of the columns.
        rows: of as many texts.
        bold: (row, column) of the cells that are bold.
        left: columns from the left that are names, and not numbers.
    """

    name: str
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    bold: frozenset[tuple[int, int]] = frozenset()
    left: int = 2


def summary(report: Report) -> Table:
    """Return a row for each task and method, and one for each method's average."""
    best = {id(arm) for arm in winners(report)}
    rows: list[tuple[str, ...]] = []
    bold: set[tuple[int, int]] = set()
    for arm in report.arms:
        of_runs = arm.summary
        if id(arm) in best:
            bold.add((len(rows), 3))
        rows.append(
            (
                title(arm.task),
                arm.method,
                arm.metric,
                f"{points(of_runs.mean)} ± {points(of_runs.std)}",
                f"[{points(of_runs.low)}, {points(of_runs.high)}]",
                *map(points, (of_runs.median, of_runs.min, of_runs.max)),
                str(of_runs.n),
                str(of_runs.diverged),
                "–" if of_runs.failed is None else str(of_runs.failed),
            )
        )
    for method, average in report.averages.items():
        shown = f"average of {len(report.averaged)}", method, "", points(average.estimate), bracket(average)
        rows.append((*shown, *("",) * 6))
    header = (
        "task",
        "method",
        "metric",
        "mean ± std",
        "95 % interval",
        "median",
        "min",
        "max",
        "n",
        "diverged",
        "failed",
    )
    caption = (
        "Scores × 100 over seeds: mean and standard deviation of the runs that did not diverge, with the bootstrap "
        "interval of the mean; n counts all runs, failed those that ended no better than the majority."
    )
    return Table("summary", caption, header, tuple(rows), frozenset(bold), left=3)


def comparisons(report: Report) -> Table:
    """Return a row for each comparison, the primary family first."""
    rows: list[tuple[str, ...]] = []
    bold: set[tuple[int, int]] = set()
    for one in report.comparisons:
        if significant(one, report.alpha):
            bold.add((len(rows), 3))
        rows.append(
            (
                title(one.task),
                one.method,
                one.baseline,
                points(one.difference.estimate, signed=True),
                bracket(one.difference),
                "–" if one.items is None else bracket(one.items),
                str(one.pairs),
                str(len(one.missing)),
                *map(probability, (one.p, one.adjusted, one.p_wilcoxon, one.p_variance)),
                f"{one.epsilon:.2f}" if math.isfinite(one.epsilon) else "–",
                "–" if one.cost_ratio is None else f"{one.cost_ratio:.1f}×",
                "primary" if one.primary else "exploratory",
            )
        )
    header = (
        "task", "method", "baseline", "difference", "95 % interval", "over items", "pairs", "missing", "p", "p (Holm)",
        "p (Wilcoxon)", "p (variance)", "ε_min", "cost", "family",
    )  # fmt: skip
    caption = (
        "Differences × 100, paired by seed: bootstrap intervals over pairs, and over seeds and test items; p of the "
        "sign-flip test, with Holm's correction in each family, of the signed-rank test, and of Levene's test."
    )
    return Table("comparisons", caption, header, tuple(rows), frozenset(bold), left=3)


def winners(report: Report) -> list[Arm]:
    """Return the arm of each task that has the highest mean, if that is shown."""
    found = []
    for task in dict.fromkeys(arm.task for arm in report.arms):
        arms = [arm for arm in report.arms if arm.task == task and math.isfinite(arm.summary.mean)]
        if len(arms) < 2:
            continue
        best = max(arms, key=lambda arm: arm.summary.mean)
        against = {one.method: one for one in report.comparisons if (one.task, one.baseline) == (task, report.baseline)}
        if best.method == report.baseline:
            needed = [against.get(arm.method) for arm in arms if arm is not best]
            sign = -1
        else:
            needed, sign = [against.get(best.method)], 1
        if all(one and significant(one, report.alpha) and sign * one.difference.estimate > 0 for one in needed):
            found.append(best)
    return found


def terminal(table: Table) -> str:
    """Return aligned columns; a star after what is bold elsewhere."""
    marked = [
        [f"{text}{'*' * ((r, c) in table.bold)}" for c, text in enumerate(row)] for r, row in enumerate(table.rows)
    ]
    cells = [list(table.header), *marked]
    widths = [max(len(row[c]) for row in cells) for c in range(len(table.header))]
    lines = []
    for row in cells:
        placed = (
            text.ljust(width) if c < table.left else text.rjust(width)
            for c, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(placed).rstrip())
    return "\n".join(lines)


def markdown(table: Table) -> str:
    """Return a table of GitHub's kind."""

    def cell(row: int, column: int, text: str) -> str:
        text = re.sub(r"([\\|*_])", r"\\\1", text).replace("<", "&lt;")
        return f"**{text}**" if (row, column) in table.bold else text

    rule = ["---" if column < table.left else "---:" for column in range(len(table.header))]
    body = [[cell(r, c, text) for c, text in enumerate(row)] for r, row in enumerate(table.rows)]
    lines = [[cell(-1, c, text) for c, text in enumerate(table.header)], rule, *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\n{table.caption}\n"


def latex(table: Table) -> str:
    """Return a `table` for LaTeX with booktabs; graphicx shrinks wide ones to the line, without columns of dashes."""
    table = _filled(table)

    def cell(row: int, column: int, text: str) -> str:
        return rf"\textbf{{{escaped(text)}}}" if (row, column) in table.bold else escaped(text)

    body = [
        " & ".join(cell(r, c, text) for c, text in enumerate(row)) + r" \\"
        for r, row in enumerate(table.rows)
    ]  # fmt: skip
    columns = "l" * table.left + "r" * (len(table.header) - table.left)
    return "\n".join(
        [
            r"% needs \usepackage{booktabs} and \usepackage{graphicx}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escaped(table.caption)}}}",
            rf"\label{{tab:{table.name}}}",
            r"\resizebox{\linewidth}{!}{%",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            " & ".join(map(escaped, table.header)).replace(r"$\varepsilon$\_min", r"$\varepsilon_{\min}$") + r" \\",
            r"\midrule",
            # A line that begins with [ would be the option of the line break above it.
            *(f"{{}}{line}" if line.startswith("[") else line for line in body),
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table}",
            "",
        ]
    )


def _filled(table: Table) -> Table:
    """Return the table without the columns in which nothing is known."""
    kept = [c for c in range(len(table.header)) if c < table.left or any(row[c] not in ("", "–") for row in table.rows)]
    return replace(
        table,
        header=tuple(table.header[c] for c in kept),
        rows=tuple(tuple(row[c] for c in kept) for row in table.rows),
        bold=frozenset((r, kept.index(c)) for r, c in table.bold),
    )


def escaped(text: str) -> str:
    """Return text for LaTeX, its special characters as they are read."""
    return "".join(LATEX.get(letter, letter) for letter in text)
