"""The figures of a report: files, what their axes say, and that no run is hidden."""

import builtins
from dataclasses import replace
from math import inf, nan
from pathlib import Path

import matplotlib
import pytest
from matplotlib.figure import Figure

from ftreg._base.errors import UsageError
from ftreg.report import style
from ftreg.report.analysis import analyse
from ftreg.report.beeswarm import offsets
from ftreg.report.figures import cost, curves, draw, expected, seeds, wins
from ftreg.report.loaded_runs import LoadedRuns
from ftreg.report.model import Arm, Report, Run
from tests.report.example import example

MODULES = {module.__name__.rpartition(".")[2]: module for module in (seeds, curves, expected, cost, wins)}


def figure(name: str, report: Report) -> Figure:
    drawn = MODULES[name].figure(report)
    assert isinstance(drawn, Figure)
    return drawn


def texts(drawn: Figure) -> str:
    return "\n".join(text.get_text() for axes in drawn.axes for text in axes.texts)


def test_files(tmp_path: Path) -> None:
    found = draw(example(), tmp_path / "new")
    assert [*found] == ["seeds", "curves", "expected", "cost", "wins"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(
        f"{name}.{kind}" for name in found for kind in ("pdf", "png")
    )
    for name, path in found.items():
        assert path == tmp_path / "new" / f"{name}.png"
        assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        assert path.with_suffix(".pdf").read_bytes().startswith(b"%PDF-")


def test_only_what_there_is_data_of(tmp_path: Path) -> None:
    assert {*draw(example(curves=False, costs=False, compared=False), tmp_path)} == {"seeds", "expected"}
    empty = replace(example(), runs=(), arms=(), comparisons=())
    assert draw(empty, tmp_path) == {}


def test_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def lacking(name, *rest):
        if name == "matplotlib":
            raise ImportError
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", lacking)
    with pytest.raises(UsageError, match=r"pip install 'ftreg\[plots\]'"):
        draw(example(), tmp_path)


@pytest.mark.parametrize("name", MODULES)
def test_every_axis_says_what_it_is(name: str) -> None:
    for axes in figure(name, example()).axes:
        if axes.get_label() != "<colorbar>":
            said = [axes.get_xlabel(), axes.get_ylabel(), *(label.get_text() for label in axes.get_xticklabels())]
            assert axes.get_xlabel()
            assert axes.get_ylabel()
            assert "n = " in "\n".join([*said, *(text.get_text() for text in axes.texts)])
            assert name == "wins" or "accuracy × 100" in axes.get_ylabel()


def test_every_run_is_a_dot_or_counted() -> None:
    report = example()
    for axes, task in zip(figure("seeds", report).axes, style.tasks(report), strict=True):
        drawn = [round(y, 9) for dots in axes.collections for _, y in dots.get_offsets()]
        scores = [round(100 * run.score, 9) for run in report.runs if run.task == task and run.score == run.score]
        assert sorted(drawn) == sorted(scores)
        said = [text.get_text() for text in axes.texts]
        assert ("× 1 diverged" in said) == (task == "rte")
        assert ("majority" in said) == (task == "rte")
        low, high = axes.get_ylim()
        assert low < min(drawn)
        assert max(drawn) < high


def test_a_majority_far_below_is_named_and_does_not_press_the_dots_flat() -> None:
    report = example()
    arms = tuple(replace(arm, runs=tuple(replace(run, majority=-3.0) for run in arm.runs)) for arm in report.arms)
    axes = figure("seeds", replace(report, arms=arms)).axes[1]
    assert axes.get_ylim()[0] > 50
    assert [text.get_text().strip() for text in axes.texts] == ["majority -300.0 ↓"]


def test_a_diverged_evaluation_lowers_the_quantiles() -> None:
    runs = example().arms[0].runs[:5]
    scores = ((0.1, 0.2), (0.2, 0.3), (0.3, inf), (0.4, nan), (0.5, nan))
    made = [replace(run, curve=((1, a), (2, b))) for run, (a, b) in zip(runs, scores, strict=True)]
    arm = replace(example().arms[0], runs=tuple(made))
    steps, bands = curves.quantiles(arm)
    assert steps == [1, 2]
    assert [band[0] for band in bands] == pytest.approx([10, 20, 30, 40, 50])
    # Three of five are gone: the median lies among them, drawn at the lowest score there is.
    assert [band[1] for band in bands] == pytest.approx([10, 10, 10, 20, 30])


def test_expected_maximum_is_the_arm_s() -> None:
    arm = style.arms(example(), "rte")[0]
    assert [100 * score for score in arm.expected] == list(figure("expected", example()).axes[0].lines[0].get_ydata())


def test_cost_is_relative_to_the_baseline() -> None:
    arms = style.arms(example(), "rte")
    seconds = {"plain": 1.0, "Mixout": 2.0, "other": 1.0, "plain@Mixout": 2.0}
    assert cost.relative(arms, "plain") == ("seconds", seconds)
    # Where few arms know their seconds, steps say more.
    some = tuple(_without_seconds(arm) if arm.method == "Mixout" else arm for arm in arms)
    assert cost.relative(some, "plain") == ("steps", dict.fromkeys(seconds, 1.0))
    assert cost.relative(arms, "nothing") is None
    labels = [text.get_text() for text in figure("cost", example()).legends[0].get_texts()]
    assert labels == ["plain", "Mixout", "plain@Mixout", "other"]


def test_a_task_on_which_all_diverged_has_no_cost_panel(tmp_path: Path) -> None:
    runs = [
        Run(task, method, str(seed), "accuracy", "last", nan if task == "mrpc" else 0.7, cost={"seconds": 1.0})
        for task in ("rte", "mrpc")
        for method in ("plain", "a")
        for seed in (0, 1)
    ]
    report = analyse(LoadedRuns(runs))
    assert [axes.get_title() for axes in figure("cost", report).axes] == ["RTE"]
    assert "cost" in draw(report, tmp_path)


def test_wins_has_epsilon_p_and_n_of_each_comparison() -> None:
    drawn = figure("wins", example())
    said = texts(drawn)
    assert said.count("0.10") == 2
    assert "p = 0.010\nn = 5" in said
    assert "–" in said
    framed = [patch for patch in drawn.axes[0].patches if patch.get_linewidth() == 1.2]
    assert len(framed) == 1
    assert [label.get_text() for label in drawn.axes[0].get_xticklabels()] == ["RTE", "own-task"]


def test_names_are_not_markup(tmp_path: Path) -> None:
    assert draw(example(method=r"$\nonsense{$ <b> & %"), tmp_path)


def test_the_style_of_others_is_left_alone(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    draw(example(), tmp_path)
    assert dict(matplotlib.rcParams) == before


def test_methods_keep_their_colour_and_the_matched_baseline_takes_it() -> None:
    looks = style.looks(example())
    assert [*looks] == ["plain", "Mixout", "plain@Mixout", "other"]
    assert looks["plain@Mixout"] == replace(looks["Mixout"], hollow=True)
    assert len({(look.colour, look.marker, look.hollow) for look in looks.values()}) == 4


def test_dots_of_a_swarm_do_not_touch() -> None:
    positions = [5.0] * 7 + [5.5, 20.0]
    shifts = offsets(positions, 2.0, 100.0)
    places = [*zip(positions, shifts, strict=True)]
    apart = [(a - c) ** 2 + (b - d) ** 2 for i, (a, b) in enumerate(places) for c, d in places[:i]]
    assert min(apart) >= 4 * 0.998
    assert shifts[-1] == 0
    assert max(map(abs, offsets(positions, 2.0, 1.5))) == pytest.approx(1.5)


def _without_seconds(arm: Arm) -> Arm:
    return replace(arm, runs=tuple(replace(run, cost={"steps": 100.0}) for run in arm.runs))
