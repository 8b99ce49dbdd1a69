"""`ftreg cite`: what is printed for configurations, runs and folders, and that there is an entry for all of it."""

import itertools
import json
import re
import subprocess
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import bibtexparser
import pytest
import yaml

from ftreg.__main__ import main
from ftreg.cli.citation import SOFTWARE, STATISTICS, TASKS, TOWARDS_ANCHOR, WANDB, cited, entries, statistics_keys
from ftreg.core.method import Regularizer
from ftreg.core.method_registry import subclasses
from ftreg.methods import SMART, FreeLB, LayerPooling, MaskedLM, ReplacedTokens
from ftreg.methods.layer_pooling import Mix
from ftreg.methods.multi_task import MultiTask
from ftreg.methods.pretraining.masking import Unit
from ftreg.run.provenance import from_config
from glue_tasks.documents import TASKS as TEXT_TASKS
from glue_tasks.tasks import GLUE

ROOT = Path(__file__).parent.parent
EXPERIMENTS = ROOT / "experiments"
PRESETS = sorted(path for path in EXPERIMENTS.rglob("*.yaml") if path.parent.name not in ("grids", "sweeps"))
RTE = {"wang2019glue", "dagan2006rte", "barhaim2006rte", "giampiccolo2007rte", "bentivogli2009rte"}
MNLI = {"wang2019glue", "williams2018mnli"}
MASKED = {"devlin2019bert", "gururangan2020dont", "sun2019finetune"}

Cite = Callable[..., dict[str, dict[str, str]]]


def shipped() -> list[type[Regularizer]]:
    """Every method of the package, whatever other tests have declared meanwhile."""
    modules = ("ftreg.methods.", "ftreg.methods.pretraining.")
    return [cls for cls in subclasses() if cls.__module__.startswith(modules)]


class Own(Regularizer):
    """A method without a paper."""


class Published(Regularizer):
    """A method whose paper is in somebody else's file."""

    papers = ("doe2030method", "lee2020mixout")


@pytest.fixture
def cite(capsys: pytest.CaptureFixture[str]) -> Cite:
    """Runs the command; the entries that it prints, by key."""

    def run(*arguments: str | Path) -> dict[str, dict[str, str]]:
        assert main(["cite", *map(str, arguments)]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        return parsed(out)

    return run


@pytest.fixture
def complaint(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The one line that it prints for wrong arguments, without its prefix."""

    def run(*arguments: str | Path) -> str:
        assert main(["cite", *map(str, arguments)]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        return err.removeprefix("ftreg: error: ").rstrip("\n")

    return run


def parsed(text: str) -> dict[str, dict[str, str]]:
    """The entries; every entry that the text has must be read."""
    found = bibtexparser.loads(text).entries_dict
    assert len(found) == text.count("\n@") + text.startswith("@")
    return dict(found)


def write(path: Path, content: Mapping[str, Any] | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def methods(*callbacks: Any, **groups: Any) -> set[str]:
    """Keys that a configuration with these callbacks cites for its methods."""
    return cited([from_config({"trainer": {"callbacks": list(callbacks)}, **groups}, "here")]).methods


def result(task: str, *used: tuple[str, dict[str, Any]], start: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """As much of a run's record as is read."""
    return {"task": task, "methods": [{"name": name, "options": o} for name, o in used], "start": start}


class TestReferences:
    FILE = (ROOT / "ftreg" / "cli" / "references.bib").read_text(encoding="utf-8")

    def test_each_entry_is_whole(self):
        found = parsed(self.FILE)
        assert found.keys() == entries().keys()
        venues = {"inproceedings": "booktitle", "incollection": "booktitle", "article": "journal", "book": "publisher"}
        for key, entry in found.items():
            assert {"author", "title", "year"} <= entry.keys(), key
            assert re.fullmatch(r"(19|20)\d\d", entry["year"]), key
            assert entry["ENTRYTYPE"] == "misc" or venues[entry["ENTRYTYPE"]] in entry, key
            assert "eprint" not in entry or re.fullmatch(r"\d{4}\.\d{5}", entry["eprint"]), key
            assert ("eprint" in entry) == ("archiveprefix" in entry), key
            assert "doi" not in entry or entry["doi"].startswith("10."), key

    def test_keys_are_unique_and_sorted(self):
        keys = re.findall(r"^ *@\w+\{([^,]+),", self.FILE, re.MULTILINE)
        assert keys == sorted(set(keys))
        assert len({entry["title"] for entry in parsed(self.FILE).values()}) == len(keys)

    def test_plain_bibtex_reads_it(self):
        assert self.FILE.isascii()
        assert all(text.count("{") == text.count("}") for text in entries().values())
        outside = re.sub(r"^@.*?^\}$", "", self.FILE, flags=re.MULTILINE | re.DOTALL)
        assert "@" not in outside

    def test_nothing_lacks_and_nothing_is_left_over(self):
        ours = shipped()
        assert {MultiTask, MaskedLM, LayerPooling} <= {*ours}
        assert all(cls.papers for cls in ours)
        papers = {key for cls in ours for key in cls.papers}
        tasks = {key for keys in TASKS.values() for key in keys}
        assert papers | tasks | {*statistics_keys(), *SOFTWARE, WANDB, TOWARDS_ANCHOR} == entries().keys()

    def test_every_task_has_a_row(self):
        assert TASKS.keys() == GLUE.keys() | TEXT_TASKS.keys()
        assert all("wang2019glue" in TASKS[name] for name in GLUE)

    def test_statistics_are_listed_once(self):
        assert len({*statistics_keys()}) == sum(map(len, STATISTICS.values()))

    def test_own_entry_is_that_of_the_citation_file(self):
        fields = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
        entry = parsed(entries()["ftreg"])["ftreg"]
        plain = {name: value.replace("{", "").replace("}", "") for name, value in entry.items()}
        assert plain["title"] == fields["title"]
        assert plain["author"].split(" and ") == [author["name"] for author in fields["authors"]]
        assert plain["note"] == f"Version {fields['version']}"
        released = str(fields.get("date-released", entry["year"]))
        assert released.startswith(entry["year"])


class TestMethods:
    """Which papers a method's options are from."""

    @pytest.mark.parametrize(
        ("method", "papers"),
        [
            (LayerPooling(), {"peters2018elmo"}),
            (LayerPooling(layer_dropout=0.1), {"peters2018elmo", "kondratyuk2019udify"}),
            (LayerPooling("attention"), {"song2020intermediate"}),
            (LayerPooling("lstm"), {"song2020intermediate"}),
            (LayerPooling("squeeze"), {"su2019sesamebert"}),
            (LayerPooling("squeeze_last"), {"su2019sesamebert"}),
            (LayerPooling("hire"), {"yang2019hire"}),
            (LayerPooling("concat"), {"devlin2019bert"}),
            (FreeLB(), {"zhu2020freelb"}),
            (FreeLB(steps=4, epsilon=0.0), {"zhu2020freelb"}),
            (FreeLB(steps=5), {"zhu2020freelb"}),
            (FreeLB(steps=5, epsilon=0.0), {"zhu2020freelb", "li2021freelbpp"}),
            (SMART(), {"jiang2020smart"}),
            (SMART(mu=0.0), {"jiang2020smart"}),
            (SMART(perturb="embedding_output"), {"jiang2020smart"}),
            (SMART(mu=0.0, perturb="embedding_output"), {"jiang2020smart", "liu2020alum"}),
            (MaskedLM(), MASKED),
            (MaskedLM(unit="span"), {*MASKED, "joshi2020spanbert"}),
            (ReplacedTokens(), {"clark2020electra", "gururangan2020dont"}),
            (ReplacedTokens(unit="span"), {"clark2020electra", "gururangan2020dont", "joshi2020spanbert"}),
        ],
        ids=lambda value: f"{value.name}" if isinstance(value, Regularizer) else "",
    )
    def test_options_choose(self, method: Regularizer, papers: set[str]):
        assert {*method.cites} == papers

    def test_all_that_is_declared_is_cited_by_some_options(self):
        """And no options cite what is not declared."""
        units = typing.get_args(Unit)
        pooled = itertools.product(typing.get_args(Mix), (0.0, 0.1))
        assert {k for mix, drop in pooled for k in LayerPooling(mix, layer_dropout=drop).cites} == {
            *LayerPooling.papers
        }
        for cls in (MaskedLM, ReplacedTokens):
            assert {key for unit in units for key in cls(unit=unit).cites} == {*cls.papers}


class TestConfigurations:
    @pytest.mark.parametrize("preset", PRESETS, ids=lambda path: str(path.relative_to(EXPERIMENTS)))
    def test_every_preset(self, cite: Cite, preset: Path):
        assert {*SOFTWARE} <= cite(preset).keys() <= entries().keys()

    @pytest.mark.parametrize(
        ("preset", "keys"),
        [
            ("base.yaml", {WANDB}),
            ("quickstart.yaml", {"wang2019glue", "socher2013sst"}),
            ("tasks/rte.yaml", RTE),
            ("tasks/qnli.yaml", {"wang2019glue", "rajpurkar2016squad"}),
            ("tasks/snli.yaml", set()),
            ("mixout/paper.yaml", {"lee2020mixout"}),
            ("smart/smart.yaml", {"jiang2020smart"}),
            ("smart/published_code.yaml", {"jiang2020smart"}),
            ("smart/alum.yaml", {"jiang2020smart", "liu2020alum"}),
            ("smart/vat.yaml", {"miyato2018vat"}),
            ("freelb/freelb.yaml", {"zhu2020freelb"}),
            ("freelb/paper/stsb.yaml", {"zhu2020freelb"}),
            ("freelb/freelb_plus_plus.yaml", {"zhu2020freelb", "li2021freelbpp"}),
            ("freelb/pgd.yaml", {"madry2018pgd", "zhu2020freelb"}),
            ("freelb/fgm.yaml", {"miyato2017adversarial"}),
            ("layer_pooling/elmo.yaml", {"peters2018elmo"}),
            ("layer_pooling/udify.yaml", {"peters2018elmo", "kondratyuk2019udify"}),
            ("layer_pooling/hire.yaml", {"yang2019hire"}),
            ("layer_pooling/last_four_sum.yaml", {"devlin2019bert"}),
            ("two_stage/head_first.yaml", {"kumar2022lpft"}),
            ("two_stage/gradual_unfreezing.yaml", {"howard2018ulmfit"}),
            ("two_stage/mnli.yaml", {"phang2018stilts", *MNLI}),
            ("two_stage/tanda.yaml", {"garg2020tanda", "wang2019glue", "rajpurkar2016squad"}),
            ("two_stage/task_adaptive.yaml", MASKED),
            ("two_stage/text.yaml", MASKED),
            ("two_stage/sequence.yaml", {*MASKED, "phang2018stilts", *MNLI}),
            (
                "two_stage/several.yaml",
                {"phang2018stilts", "liu2019mtdnn", *MNLI, "rajpurkar2016squad", "socher2013sst"},
            ),
        ],
    )
    def test_exactly(self, cite: Cite, preset: str, keys: set[str]):
        assert cite(EXPERIMENTS / preset).keys() - {*SOFTWARE} == keys

    def test_several_are_cited_together(self, cite: Cite):
        files = [EXPERIMENTS / name for name in ("base.yaml", "tasks/rte.yaml", "mixout/mixout.yaml")]
        assert cite(*files).keys() == {*SOFTWARE, WANDB, *RTE, "lee2020mixout"}

    def test_numbers_are_those_that_a_fit_reads(self):
        """1e-3 is a number there, though not by YAML's own rules."""
        text = (
            "trainer:\n  callbacks:\n    class_path: ftreg.LayerPooling\n    init_args: {lr: 1e-3, layer_dropout: 1e-1}"
        )
        assert cited([read_text(text)]).methods == {"peters2018elmo", "kondratyuk2019udify"}

    def test_short_and_long_forms(self):
        assert methods("Mixout", {"class_path": "ftreg.methods.PGD"}) == {
            "lee2020mixout",
            "madry2018pgd",
            "zhu2020freelb",
        }
        both = {"callbacks": "Mixout", "callbacks+": [{"class_path": "VAT"}]}
        assert cited([from_config({"trainer": both}, "here")]).methods == {"lee2020mixout", "miyato2018vat"}

    def test_other_callbacks_and_loggers_are_none(self):
        trainer = {
            "callbacks": [
                {"class_path": "pytorch_lightning.callbacks.EarlyStopping", "init_args": {"monitor": "loss"}}
            ],
            "logger": [True, {"class_path": "ftreg.loggers.CSVLogger"}],
        }
        found = cited([from_config({"trainer": trainer}, "here")])
        assert not found.methods
        assert found.software == {*SOFTWARE}

    def test_decay_towards_the_start(self):
        assert methods(model={"decay_towards": "anchor"}) == {TOWARDS_ANCHOR}
        assert methods(model={"decay_towards": "anchor", "weight_decay": 0.0}) == set()
        assert methods(model={"decay_towards": "zero"}) == set()

    def test_text_made_into_tasks(self):
        found = cited([from_config({"data": {"task": "nsp", "source": "text"}}, "here")])
        assert (found.tasks, found.own["tasks"]) == ({"devlin2019bert"}, {"nsp"})
        assert methods({"class_path": "TwoStage", "init_args": {"stages": [{"data": {"task": "sop"}}]}}) == {
            "gururangan2020dont"
        }

    def test_stages_in_files(self, tmp_path: Path, cite: Cite):
        stage = write(tmp_path / "stage.yaml", {"data": {"task": "mnli"}, "trainer": {"callbacks": "Mixout"}})
        two_stage = {"class_path": "TwoStage", "init_args": {"stages": [str(stage)], "head": "keep"}}
        file = write(tmp_path / "whole.yaml", {"data": {"task": "rte"}, "trainer": {"callbacks+": [two_stage]}})
        assert cite(file).keys() - {*SOFTWARE} == {"garg2020tanda", "lee2020mixout", *MNLI, *RTE}

    def test_a_stage_that_is_its_own(self, tmp_path: Path, complaint: Callable[..., str]):
        file = tmp_path / "stage.yaml"
        two_stage = {"class_path": "TwoStage", "init_args": {"stages": [str(file)]}}
        write(file, {"trainer": {"callbacks": [two_stage]}})
        assert complaint(file) == f"{file}: stage {file} has itself as a stage; leave it out"

    def test_a_start_without_a_record_had_labels(self):
        assert methods("TwoStage") == set()
        start = {"class_path": "TwoStage", "init_args": {"checkpoint": "/nowhere/checkpoints/best.ckpt"}}
        assert methods(start) == {"phang2018stilts"}


def read_text(text: str) -> Any:
    from jsonargparse import get_loader

    return from_config(get_loader("yaml")(text), "here")


class TestRuns:
    def test_by_configuration(self, tmp_path: Path, cite: Cite):
        write(tmp_path / "config.yaml", (EXPERIMENTS / "base.yaml").read_text())
        write(tmp_path / "result.json", result("rte", ("Mixout", {"p": 0.7})))
        assert cite(tmp_path).keys() == {*SOFTWARE, WANDB}

    def test_by_record(self, tmp_path: Path, cite: Cite):
        stage = result("qnli", ("MultiTask", {"heads": {"sst2": ["a", "b"], "mine": []}}))
        record = result("rte", ("Mixout", {"p": 0.7}), ("TwoStage", {"stages": ["gone.yaml"]}), start=stage)
        write(tmp_path / "result.json", record)
        keys = {"lee2020mixout", "phang2018stilts", "liu2019mtdnn", "rajpurkar2016squad", "socher2013sst", *RTE}
        assert cite(tmp_path).keys() - {*SOFTWARE} == keys
        assert cite(tmp_path / "result.json").keys() - {*SOFTWARE} == keys

    def test_methods_of_ones_own(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
        """A record has bare names, which only its configuration tells where to find."""
        write(tmp_path / "result.json", result("rte", ("Mixout", {}), ("Gone", {"a": 1})))
        assert main(["cite", str(tmp_path)]) == 0
        assert capsys.readouterr().out.startswith("% methods; to be added, of your own: Gone\n\n@inproceedings{lee2020")
        write(tmp_path / "config.yaml", {"trainer": {"callbacks": [{"class_path": "tests.test_citation.Own"}]}})
        assert main(["cite", str(tmp_path)]) == 0
        assert capsys.readouterr().out.startswith("% methods; to be added, of your own: Own\n\n% software")

    def test_by_record_in_a_process_of_its_own(self, tmp_path: Path):
        """Where no other test has imported the methods."""
        names = {cls.__name__ for cls in shipped()}
        used = [(name, {"heads": {}} if name == "MultiTask" else {}) for name in sorted(names)]
        write(tmp_path / "result.json", result("rte", *used))
        command = [sys.executable, "-m", "ftreg", "cite", str(tmp_path)]
        out = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True).stdout
        assert out.startswith("% methods\n")
        assert {"liu2019mtdnn", "clark2020electra", "lee2020mixout", "madry2018pgd"} <= parsed(out).keys()

    def test_the_start_is_the_records(self, tmp_path: Path, cite: Cite):
        """The stage's file may have gone since."""
        two_stage = {"class_path": "ftreg.TwoStage", "init_args": {"stages": ["gone.yaml"], "head": "keep"}}
        write(tmp_path / "config.yaml", {"data": {"task": "rte"}, "trainer": {"callbacks": [two_stage]}})
        write(tmp_path / "result.json", result("rte", start=result("mnli")))
        assert cite(tmp_path).keys() - {*SOFTWARE} == {"garg2020tanda", *MNLI, *RTE}

    @pytest.mark.parametrize("stages", [["mlm", "mnli"], ["mnli"], ["mlm"]], ids="+".join)
    def test_configuration_and_record_agree(self, stages: list[str]):
        """Stages in a row are a list in the one, and each in the next one's record in the other."""
        from ftreg.run.provenance import from_result
        from ftreg.run.records import built
        from ftreg.run.result import Fitted

        configs = {"mlm": {"trainer": {"callbacks": "MaskedLM"}}, "mnli": {"data": {"task": "mnli"}}}
        two_stage = {"stages": [configs[name] for name in stages]}
        callbacks = [{"class_path": "TwoStage", "init_args": two_stage}]
        config = {"data": {"task": "rte"}, "trainer": {"callbacks": callbacks}}
        start = None
        for name in stages:
            used: list[tuple[str, dict[str, Any]]] = [("MaskedLM", {})] if name == "mlm" else []
            used += [("TwoStage", {"stages": ["before"]})] if start else []
            start = result("rte" if name == "mlm" else name, *used, start=start)
        fitted = built(result("rte", ("TwoStage", two_stage), start=start), Fitted)
        found, told = cited([from_config(config, "here")]), cited([from_result(fitted, "here")])
        assert (found.methods, found.tasks) == (told.methods, told.tasks)

    def test_a_checkpoint_is_of_a_run(self, tmp_path: Path):
        write(tmp_path / "one" / "result.json", result("rte", ("MaskedLM", {})))
        start = {
            "class_path": "TwoStage",
            "init_args": {"checkpoint": str(tmp_path / "one" / "checkpoints" / "x.ckpt")},
        }
        assert methods(start) == MASKED

    def test_a_folder_of_runs(self, tmp_path: Path, cite: Cite):
        write(tmp_path / "rte" / "mixout" / "result.json", result("rte", ("Mixout", {})))
        write(tmp_path / "stsb" / "result.json", result("stsb"))
        keys = {*SOFTWARE, *RTE, "lee2020mixout", "cer2017stsb"}
        assert cite(tmp_path).keys() == keys
        assert cite(tmp_path, "--statistics").keys() == {*keys, *statistics_keys()}

    def test_a_report(self, tmp_path: Path, cite: Cite):
        write(tmp_path / "report.json", {})
        assert cite(tmp_path).keys() == {*SOFTWARE, *statistics_keys()}
        write(tmp_path / "runs" / "result.json", result("stsb"))
        assert cite(tmp_path).keys() == {*SOFTWARE, *statistics_keys(), "wang2019glue", "cer2017stsb"}


class TestOutput:
    def text(self, capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
        assert main(["cite", *map(str, arguments)]) == 0
        return capsys.readouterr().out

    def test_groups_of_sorted_entries(self, capsys: pytest.CaptureFixture[str]):
        text = self.text(capsys, EXPERIMENTS / "mixout/mixout.yaml", EXPERIMENTS / "tasks/rte.yaml", "--statistics")
        groups = re.split(r"^% ", text, flags=re.MULTILINE)[1:]
        assert [group.splitlines()[0] for group in groups] == ["methods", "tasks", "statistics", "software"]
        for group in groups:
            keys = re.findall(r"^@\w+\{([^,]+),", group, re.MULTILINE)
            assert keys
            assert keys == sorted(keys)
        assert text.startswith("% methods\n\n@inproceedings{lee2020mixout,\n")
        assert "\n\n\n" not in text
        assert text.count("\n\n") == text.count("\n@") + text.count("\n%")
        assert text.endswith("\n}\n")

    def test_without_a_group(self, capsys: pytest.CaptureFixture[str]):
        assert re.findall(r"^%.*", self.text(capsys, EXPERIMENTS / "tasks/rte.yaml"), re.MULTILINE) == [
            "% tasks",
            "% software",
        ]

    def test_an_entry_of_two_groups_is_printed_once(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
        file = write(tmp_path / "nsp.yaml", {"data": {"task": "nsp"}, "trainer": {"callbacks": "MaskedLM"}})
        text = self.text(capsys, file)
        assert text.count("{devlin2019bert,") == 1
        assert text.index("{devlin2019bert,") < text.index("% tasks")

    def test_what_has_no_entry_is_named(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
        names = [f"tests.test_citation.{cls.__name__}" for cls in (Own, Published)]
        groups = {"data": {"task": {"name": "a@b\n@{"}}, "trainer": {"callbacks": names}}
        text = self.text(capsys, write(tmp_path / "own.yaml", groups))
        assert text.startswith(
            "% methods; to be added, of your own: Own, doe2030method\n\n@inproceedings{lee2020mixout"
        )
        assert "\n\n% tasks; to be added, of your own: a_b_\n\n% software\n\n@" in text
        assert parsed(text).keys() == {*SOFTWARE, "lee2020mixout"}

    def test_help(self, capsys: pytest.CaptureFixture[str]):
        with pytest.raises(SystemExit) as end:
            main(["cite", "--help"])
        assert end.value.code == 0
        assert "--statistics" in capsys.readouterr().out

    def test_a_configuration_without_methods_needs_no_torch(self):
        check = (
            "import sys; from ftreg.__main__ import main; "
            "sys.exit(main(['cite', 'experiments/tasks/rte.yaml']) or 'torch' in sys.modules)"
        )
        subprocess.run([sys.executable, "-c", check], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


class TestComplaints:
    @pytest.mark.parametrize(
        ("content", "line"),
        [
            ("trainer: [", "not YAML ("),
            ("- a", "holds no options; give a configuration"),
            ("", "holds no options; give a configuration"),
            ("trainer: 3", "trainer: found 3; write it as indented"),
            ("data: {task: rtee}", "unknown task 'rtee'; did you mean 'rte'?"),
            ("data: {task: {columns: [a]}}", "data.task has no name"),
            ("data: {also: [{task: rtee}]}", "unknown task 'rtee'; did you mean 'rte'?"),
            ("trainer: {callbacks: Mixuot}", "no method 'Mixuot'; did you mean 'Mixout'? Valid: "),
            ("trainer: {callbacks: [3]}", "trainer.callbacks: found 3; write"),
            ("trainer: {callbacks: [{init_args: {}}]}", "trainer.callbacks: found {'init_args': {}}; write a name"),
            ("trainer: {callbacks: ftreg.Mixuot}", "module 'ftreg' has no class 'Mixuot'"),
            ("trainer: {callbacks: nowhere.Mixout}", "cannot import 'nowhere.Mixout'"),
            (
                "trainer: {callbacks: [{class_path: Mixout, init_args: {pp: 1}}]}",
                "Mixout got an unexpected keyword argument 'pp'",
            ),
            ("trainer: {callbacks: [{class_path: Mixout, init_args: {p: 2}}]}", "Mixout.p is 2"),
            (
                "trainer: {callbacks: [{class_path: TwoStage, init_args: {stages: [/nowhere.yaml]}}]}",
                "/nowhere.yaml: cannot be read (No such file or directory)",
            ),
        ],
    )
    def test_of_a_file(self, tmp_path: Path, complaint: Callable[..., str], content: str, line: str):
        found = complaint(write(tmp_path / "some.yaml", content))
        assert line in found
        assert str(tmp_path) in found or "/nowhere.yaml" in found

    def test_of_paths(self, tmp_path: Path, complaint: Callable[..., str]):
        assert complaint(tmp_path / "a") == (
            f"{tmp_path}/a: no such file or folder; give a configuration, or a folder with runs"
        )
        assert complaint(tmp_path).startswith(f"{tmp_path}: no result.json in or below it")
        (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
        assert complaint(tmp_path / "binary.yaml") == f"{tmp_path}/binary.yaml:1: not UTF-8 text; give a YAML file"

    @pytest.mark.parametrize(
        "content", ["{}", '{"task": "rte", "methods": [3]}', '{"task": "rte", "methods": [], "start": 3}']
    )
    def test_of_records(self, tmp_path: Path, complaint: Callable[..., str], content: str):
        write(tmp_path / "result.json", content)
        assert complaint(tmp_path).startswith(f"{tmp_path}/result.json: not the record of a run")

    @pytest.mark.parametrize("arguments", [[], ["--statistic", "."], ["--all", "x"]])
    def test_of_options(self, complaint: Callable[..., str], arguments: Sequence[str]):
        assert complaint(*arguments).startswith("cite: ")
