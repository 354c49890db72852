"""How well a finished network segments what was held out: files of each run, and mean and SD over repeated runs."""

import csv
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from CMRSimExtension.errors import FileFormatError
from CMRSimExtension.evaluation.overlap import Comparison, summarise, write_rows
from CMRSimExtension.files.atomic import StagedFiles, atomic_file
from CMRSimExtension.training.configuration import TrainingConfiguration
from CMRSimExtension.training.held_out import HeldOutSource, within_reach
from CMRSimExtension.training.result import WEIGHTS

TEST = "test.json"
"""Name of a run's scores on its test sources; ``test_SOURCE.csv`` beside it holds every case and slice."""
REPEATS = "test_repeats"
"""Name, without its ending, of the tables over several runs."""

METRICS = ("dice", "hd_mm", "hd95_mm")
_STATISTICS = ("mean", "sd", "median", "q1", "q3")


@dataclass(frozen=True)
class Scored:
    """What a network made of one test source.

    Attributes
    ----------
    rows
        Comparison of every case, and of its slices by position; see `evaluation.overlap.compare`.
    inference
        How the network was used, in a sentence.
    notes
        What else is to be known: structures that no reference shows, distances that could not be measured.
    """

    rows: Sequence[Comparison]
    inference: str
    notes: Sequence[str] = ()


Scorer = Callable[[Path, TrainingConfiguration, HeldOutSource, Callable[[str], None]], Scored]
"""Scores the finished run in a folder on one source, telling its progress line by line (`segmentation.held_out`)."""


@dataclass(frozen=True)
class SourceScores:
    """Scores of one run on one test source.

    Attributes
    ----------
    name
        Of the source.
    table
        Statistics over the cases per structure and position, as `evaluation.overlap.summarise` gives them; the
        position ``volume`` is that of whole cases, the others are of single slices.
    inference, notes
        As in `Scored`.
    """

    name: str
    table: Sequence[Mapping[str, float | str]]
    inference: str
    notes: Sequence[str]

    def of_cases(self) -> dict[str, dict[str, dict[str, float]]]:
        """Structure -> metric -> ``n``, ``mean``, ``sd``, ``median``, ``q1``, ``q3`` over whole cases."""
        return {
            str(row["structure"]): {
                metric: {name: float(row[f"{metric}_{name}"]) for name in ("n", *_STATISTICS)} for metric in METRICS
            }
            for row in self.table
            if row["position"] == "volume"
        }


def score_run(
    folder: Path,
    configuration: TrainingConfiguration,
    scorer: Scorer,
    report: Callable[[str], None],
) -> list[SourceScores]:
    """Score a finished run on its test sources; what was scored before with these weights is not scored again.

    Each source is written down once it is done, so that a run that is stopped here goes on with the next one.

    Raises
    ------
    InputError
        As `within_reach`; a case that cannot be segmented.
    FileFormatError
        When the scores of before are damaged.
    """
    done = _done(folder)
    due = [source for source in configuration.test if not _is_scored(done, source)]
    for source in within_reach(due, configuration.learnt_from()):
        scored = scorer(folder, configuration, source, report)
        done["sources"][source.title] = _entry(source, scored)
        with StagedFiles() as staged:
            write_rows(staged.path(folder / f"test_{source.title}.csv"), scored.rows)
            _write_json(staged.path(folder / TEST), done)
    return [_scores(source.title, done) for source in configuration.test if _is_scored(done, source)]


def accuracy_of(folder: Path) -> dict[str, Any]:
    """JSON-able: what a run scored, by test source as `SourceScores.of_cases`; empty where it was not scored.

    Raises
    ------
    FileFormatError
        When the scores are damaged.
    """
    done = _done(Path(folder))
    return {name: _without_nan(_scores(name, done).of_cases()) for name in done["sources"]}


def _is_scored(done: Mapping[str, Any], source: HeldOutSource) -> bool:
    entry = done["sources"].get(source.title)
    return entry is not None and entry["source"] == _described(source)


def _described(source: HeldOutSource) -> Any:
    """The source as JSON gives it back."""
    return json.loads(json.dumps(asdict(source)))


def _entry(source: HeldOutSource, scored: Scored) -> dict[str, Any]:
    cases = [row for row in scored.rows if row.position == "volume"]
    return {
        "source": _described(source),
        "inference": scored.inference,
        "notes": list(scored.notes),
        "scores": summarise(scored.rows, ("structure", "position"), METRICS),
        "cases": [
            {name: getattr(row, name) for name in ("case", "frame", "pathology", "phase", "structure", *METRICS)}
            for row in cases
        ],
    }


def _scores(name: str, done: Mapping[str, Any]) -> SourceScores:
    entry = done["sources"][name]
    table = [{key: math.nan if value is None else value for key, value in row.items()} for row in entry["scores"]]
    return SourceScores(name, table, entry["inference"], tuple(entry["notes"]))


def _done(folder: Path) -> dict[str, Any]:
    """What was scored with the weights that the run exports now."""
    path, weights = folder / TEST, hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    nothing: dict[str, Any] = {"weights_sha256": weights, "sources": {}}
    if not path.is_file():
        return nothing
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        parts = {"source", "scores", "inference", "notes"}
        complete = all(parts <= entry.keys() for entry in content["sources"].values())
        if not complete or not isinstance(content["weights_sha256"], str):
            raise ValueError("an entry is incomplete")
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise FileFormatError(f"{path} is damaged ({error!r}); delete it, and the run is scored anew") from error
    return dict(content) if content["weights_sha256"] == weights else nothing


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(_without_nan(content), indent=1) + "\n", encoding="utf-8")


def _without_nan(value: Any) -> Any:
    """JSON knows no NaN."""
    if isinstance(value, Mapping):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def scores_table(scores: Sequence[SourceScores]) -> str:
    """Dice and HD95 of whole cases per source and structure: mean, SD, median and quartiles, as text."""
    width = max(12, *(len(entry.name) + 2 for entry in scores))
    lines = [
        f"{'test source':{width}}{'structure':16}{'n':>5}{'Dice mean':>11}{'SD':>7}{'median':>8}{'Q1':>7}{'Q3':>7}"
        f"{'HD95 mean':>11}{'SD':>7}{'median':>8}{'Q1':>7}{'Q3':>7}"
    ]
    for entry in scores:
        for structure, metrics in entry.of_cases().items():
            line = f"{entry.name:{width}}{structure:16}{metrics['dice']['n']:5.0f}"
            for metric, digits in (("dice", 3), ("hd95_mm", 2)):
                for name, wide in zip(_STATISTICS, (11, 7, 8, 7, 7), strict=True):
                    line += f"{metrics[metric][name]:{wide}.{digits}f}"
            lines.append(line)
        lines += [f"{entry.name}: {note}" for note in (entry.inference, *entry.notes)]
    return "\n".join(lines)


def over_repeats(runs: Sequence[Sequence[SourceScores]]) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
    """Mean and SD (of a sample) over runs of each run's mean over cases.

    Parameters
    ----------
    runs
        Scores of each run; a source that one of them was not scored on is left out.

    Returns
    -------
    dict
        Source -> structure -> metric -> ``runs`` (each run's mean), ``mean`` and ``sd``; NaN where a run has no value.
    """
    tables = [{entry.name: entry.of_cases() for entry in run} for run in runs]
    result: dict[str, dict[str, dict[str, dict[str, Any]]]] = {}
    for source, first in (tables[0] if tables else {}).items():
        if not all(source in table for table in tables):
            continue
        for structure in (name for name in first if all(name in table[source] for table in tables)):
            for metric in METRICS:
                means = [table[source][structure][metric]["mean"] for table in tables]
                value = {"runs": means, "mean": _mean(means), "sd": _sd(means)}
                result.setdefault(source, {}).setdefault(structure, {})[metric] = value
    return result


def write_repeats(folder: Path, runs: Sequence[Sequence[SourceScores]]) -> str:
    """Write every run's scores and their mean and SD over the runs as CSV and JSON; give them as text.

    Nothing is written, and the text is empty, where no source was scored in all runs.
    """
    found = over_repeats(runs)
    if not found:
        return ""
    width = max(12, *(len(source) + 2 for source in found))
    lines = [f"{'test source':{width}}{'structure':16}{'runs':>5}{'Dice mean':>11}{'SD':>7}{'HD95 mean':>11}{'SD':>7}"]
    with StagedFiles() as staged:
        _write_json(staged.path(folder / f"{REPEATS}.json"), found)
        with staged.path(folder / f"{REPEATS}.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["source", "structure", "metric", *(f"run_{index:02d}" for index in range(len(runs))),
                            "mean", "sd"])  # fmt: skip
            for source, structures in found.items():
                for structure, metrics in structures.items():
                    for metric, value in metrics.items():
                        numbers = [f"{number:.5f}" for number in (*value["runs"], value["mean"], value["sd"])]
                        table.writerow([source, structure, metric, *numbers])
                    dice, distance = metrics["dice"], metrics["hd95_mm"]
                    lines.append(
                        f"{source:{width}}{structure:16}{len(runs):5d}{dice['mean']:11.3f}{dice['sd']:7.3f}"
                        f"{distance['mean']:11.2f}{distance['sd']:7.2f}"
                    )
    return "\n".join(lines)


def write_validation(path: Path, scores: Sequence[Mapping[str, float]]) -> None:
    """Every repeat's validation scores, then their mean and standard deviation (of a sample), as CSV."""
    names = sorted(scores[0])
    with atomic_file(path) as staged, staged.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["run", *names])
        for index, entry in enumerate(scores):
            table.writerow([index, *(f"{entry[name]:.5f}" for name in names)])
        for label, reduce in (("mean", _mean), ("sd", _sd)):
            table.writerow([label, *(f"{reduce([entry[name] for entry in scores]):.5f}" for name in names)])


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _sd(values: Sequence[float]) -> float:
    """Of a sample; NaN for a single value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
