"""One training run from a configuration to an exported bundle, or several and their mean."""

import dataclasses
import json
import logging
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerStatus
from torch.utils.data import DataLoader, TensorDataset

from CMRSimExtension.errors import InputError
from CMRSimExtension.files.atomic import atomic_file, check_writable
from CMRSimExtension.networks.memory import is_out_of_memory
from CMRSimExtension.training.arithmetic import lightning_precision, repeatable
from CMRSimExtension.training.batches import BatchStream, FolderPool, Pool, SimulatedPool, read_folder, validation_set
from CMRSimExtension.training.configuration import TrainingConfiguration, as_table
from CMRSimExtension.training.fit import check_fit, check_sides
from CMRSimExtension.training.held_out import within_reach
from CMRSimExtension.training.module import SegmentationModule
from CMRSimExtension.training.provenance import note_trained_by, trained_by
from CMRSimExtension.training.result import (
    CONFIGURATION,
    LAST,
    SCORES,
    STARTED_FROM,
    WEIGHTS,
    TrainingResult,
    read_result,
    write_result,
)
from CMRSimExtension.training.rounds import RoundRecord, validation_scores
from CMRSimExtension.training.scores import (
    Scorer,
    SourceScores,
    score_run,
    scores_table,
    write_repeats,
    write_validation,
)
from CMRSimExtension.training.transfer import freeze, load_start_weights, origin_of

log = logging.getLogger(__name__)

_BEST = "best-"
"""What names of checkpoints of the best round begin with."""


def train(
    configuration: TrainingConfiguration,
    folder: Path,
    *,
    workers: int = 1,
    device: str = "auto",
    threads: int | None = None,
    resume: bool = True,
    progress: bool = True,
    stop_at_round: int | None = None,
    report: Callable[[str], None] = lambda line: None,
    scorer: Scorer | None = None,
) -> list[TrainingResult]:
    """Train as configured; a run that was stopped goes on from its last round, and one that is finished is not trained.

    Each finished run is scored on the configuration's test sources, with the weights that it exports and after they
    are (``test.json``, a ``test_SOURCE.csv`` for each); what was scored before is not scored again. Of several repeats
    the mean and SD of the test scores are written too (``test_repeats``, as CSV and JSON), and told.

    The same command serves a CPU, a GPU or, started by ``torchrun``, several of either, each with a stream of its own
    and batches of ``batch_size``, whose gradients are averaged. What is exported are the weights of the last round, or
    with early stopping (``stop_after``) those of the round with the lowest validation loss.

    Parameters
    ----------
    folder
        Where checkpoints, logs (``rounds.csv`` and TensorBoard's), exported weights and their scores go.
    workers
        Processes that draw simulated images beside the training.
    device
        ``auto``, ``cpu`` or ``cuda``.
    threads
        CPU threads of the training process; None leaves torch's choice.
    resume
        Go on from ``last.ckpt`` where there is one; False refuses to touch a folder that holds a run.
    progress
        Show a progress bar.
    stop_at_round
        Stop after this many rounds (to be resumed), without changing the schedule.
    report
        Told one line per round, and the test scores.
    scorer
        What scores a run on a test source; `segmentation.held_out.score_source` does it as users segment.

    Returns
    -------
    list of TrainingResult
        One per repeat.

    Raises
    ------
    InputError
        When the folder belongs to another configuration or cannot be written, a GPU is asked for that is not there,
        weights to start from or a labelled folder are missing or do not fit, a patient to test on is one to train on,
        there are test sources and no `scorer`, or the loss diverges. What can be known before the first step is found
        before anything is written.
    KeyboardInterrupt
        On Ctrl-C; the rounds that were finished are kept.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"device is {device!r}; choose auto, cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device cuda was asked for, and torch finds no GPU here; use --device cpu or auto")
    if configuration.test and scorer is None:
        raise InputError(
            f"{configuration.name} has test sources, and train() no scorer to score it on them; give it "
            "segmentation.held_out.score_source"
        )
    # Of several processes that train one network the first writes; its number is what torchrun says.
    writes = int(os.environ.get("RANK", 0)) == 0
    results: list[TrainingResult] = []
    scores: list[list[SourceScores]] = []
    for repeat in range(configuration.repeats):
        one = dataclasses.replace(configuration, seed=configuration.seed + repeat, repeats=1)
        place = Path(folder) if configuration.repeats == 1 else Path(folder) / f"run_{repeat:02d}"
        with repeatable():
            results.append(_train_once(one, place, workers, device, resume, progress, stop_at_round, report))
        if scorer is not None and writes and read_result(place) is not None:
            scores.append(score_run(place, one, scorer, report))
            if scores[-1]:
                report(f"scores of {place}\n{scores_table(scores[-1])}")
    if configuration.repeats > 1 and writes:
        write_validation(Path(folder) / "repeats.csv", [result.scores for result in results])
        if len(scores) == configuration.repeats and (table := write_repeats(Path(folder), scores)):
            report(f"mean and SD over {configuration.repeats} runs\n{table}")
    return results


def _train_once(
    configuration: TrainingConfiguration,
    folder: Path,
    workers: int,
    device: str,
    resume: bool,
    progress: bool,
    stop_at_round: int | None,
    report: Callable[[str], None],
) -> TrainingResult:
    checkpoint, result = _held(folder, configuration, resume)
    if result is not None:
        report(f"{folder} holds this run, finished before")
        return result
    check_writable(folder / CONFIGURATION)
    within_reach(configuration.test, configuration.learnt_from())
    plan = configuration.optimisation
    module = SegmentationModule(configuration)
    check_fit(configuration, module.network)
    origin: dict[str, Any] | None = None
    if configuration.transfer is not None and checkpoint is None:
        origin = origin_of(Path(configuration.transfer.weights))
        if origin.get("finished") is False:
            at = f", round {origin['round']}" if "round" in origin else ""
            report(f"starting from {configuration.transfer.weights}, of a run that is not finished{at}")
        anew = load_start_weights(module.network, configuration.transfer, configuration.network.name)
        report(_taken_over(module.network, configuration.transfer.weights, anew))
        origin["started_anew"] = anew
    elif configuration.transfer is not None:
        freeze(module.network, configuration.transfer)
    rounds = plan.rounds if stop_at_round is None else min(plan.rounds, stop_at_round)
    # What torchrun says of itself; without it one GPU or one CPU process trains, and Lightning starts no others.
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 0))
    stops_early = plan.stop_after is not None
    callbacks: list[Callback] = [
        ModelCheckpoint(
            folder,
            filename=_BEST + "{epoch:03d}",
            monitor="validation_loss" if stops_early else "dice_mean",
            mode="min" if stops_early else "max",
            enable_version_counter=False,
        ),
        # Not `save_last`, which writes only in rounds that are the best so far: a run must go on from its last one.
        # With the counter a folder that was moved would get a second one under another name.
        ModelCheckpoint(folder, filename=Path(LAST).stem, enable_version_counter=False),
        RoundRecord(folder / "rounds.csv", report),
    ]
    if plan.stop_after is not None:
        callbacks.append(EarlyStopping("validation_loss", patience=plan.stop_after))
    with warnings.catch_warnings():
        # Lightning advises worker processes for loaders that hold tensors in memory, where they would only cost.
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        warnings.filterwarnings("ignore", ".*Checkpoint directory.*exists and is not empty.*")
        warnings.filterwarnings("ignore", "The dirpath has changed.*")  # `_settle` and the names above see to it
        trainer = lightning.Trainer(
            default_root_dir=folder,
            accelerator={"auto": "auto", "cpu": "cpu", "cuda": "gpu"}[device],
            devices=processes or 1,
            num_nodes=int(os.environ.get("GROUP_WORLD_SIZE", 1)) if processes else 1,
            precision=lightning_precision(plan.precision, device),
            max_epochs=rounds,
            gradient_clip_val=plan.clip,
            logger=TensorBoardLogger(folder, "logs", version="tensorboard"),
            callbacks=callbacks,
            enable_progress_bar=progress,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=min(50, plan.steps_per_round),
            use_distributed_sampler=False,
        )
        pools: list[Pool] = []
        for source in configuration.train:
            if source.simulated is not None:
                pools.append(
                    SimulatedPool(
                        source.simulated, configuration.seed, trainer.global_rank, source.reuse, source.window, workers
                    )
                )
            elif source.folder is not None:
                pools.append(FolderPool(source.folder))
        weights = [source.weight for source in configuration.train]
        stream = BatchStream(
            pools,
            weights,
            plan.batch_size,
            configuration.seed,
            trainer.global_rank,
            plan.steps_per_round,
            lambda: trainer.current_epoch,
        )
        module.stream = stream
        loader = _validation_loader(configuration, workers)
        sides = loader.dataset[0][0].shape[1:]
        check_sides(
            module.network, configuration.network.name, sides, "images to validate on",
            "set their sizes in the configuration, or the network's settings",
        )  # fmt: skip
        if checkpoint is None:
            _claim(folder, configuration, origin)
        if trainer.is_global_zero:
            where = trainer.strategy.root_device.type
            note_trained_by(folder, trained_by(str(trainer.precision), where, trainer.world_size), report)
        try:
            trainer.fit(module, stream, loader, ckpt_path=checkpoint)
        except SystemExit as error:
            # Lightning turns Ctrl-C into the end of the process; what it means is for the caller to say.
            if trainer.state.status is TrainerStatus.INTERRUPTED:
                raise KeyboardInterrupt from error
            raise
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise InputError(
                f"the memory does not hold a training step of {plan.batch_size} images (optimisation.batch_size); "
                f"{folder} keeps the rounds that were finished: lower it in a copy of the configuration, train in "
                "mixed precision, or take a machine with more memory"
            ) from error
        finished = trainer.current_epoch >= plan.rounds or trainer.should_stop
        scores = _settle(module, trainer, loader, sorted(folder.glob(f"{_BEST}*.ckpt")) if stops_early else [])
    if not trainer.is_global_zero:
        return TrainingResult(folder, folder / WEIGHTS, scores)
    return write_result(folder, module.validated_network, scores, finished)


def _taken_over(network: torch.nn.Module, weights: str, anew: Sequence[str]) -> str:
    """What the user is told of the weights that a run starts from: how many fit, and which start anew."""
    count = len(network.state_dict())
    said = f"{count - len(anew)} of {count} weights taken over from {weights}"
    if not anew:
        return said
    shown = ", ".join(anew[:6]) + (f" and {len(anew) - 6} more, all in {STARTED_FROM}" if len(anew) > 6 else "")
    return f"{said}; {len(anew)} start anew: {shown}"


def _held(
    folder: Path, configuration: TrainingConfiguration, resume: bool
) -> tuple[Path | None, TrainingResult | None]:
    """What a folder holds of this run: the last checkpoint where it goes on, and the result where it is finished.

    Raises
    ------
    InputError
        When it holds a run of another configuration, or a run at all and `resume` is False.
    """
    file, checkpoint = folder / CONFIGURATION, folder / LAST
    if not (checkpoint.is_file() or (folder / SCORES).is_file()):
        return None, None
    if not resume:
        raise InputError(f"{folder} already holds a run; choose another folder, or let it resume")
    known = file.is_file()
    if known and json.loads(file.read_text(encoding="utf-8")) != json.loads(_record_of(configuration)):
        raise InputError(
            f"{folder} holds a run of another configuration, which cannot be resumed with this one; choose another "
            "folder"
        )
    return checkpoint if checkpoint.is_file() else None, read_result(folder) if known else None


def _claim(folder: Path, configuration: TrainingConfiguration, origin: dict[str, Any] | None) -> None:
    """Write down which configuration a folder belongs to: the first that a run writes, once all it needs is there.

    With it goes the record `origin` of the weights that the run starts from.
    """
    if origin is not None:
        with atomic_file(folder / STARTED_FROM) as staged:
            staged.write_text(json.dumps(origin, indent=1, sort_keys=True), encoding="utf-8")
    with atomic_file(folder / CONFIGURATION) as staged:
        staged.write_text(_record_of(configuration), encoding="utf-8")


def _record_of(configuration: TrainingConfiguration) -> str:
    """What makes a run the one it is; what it is tested on does not."""
    table = as_table(configuration)
    del table["test"]
    return json.dumps(table, indent=1, sort_keys=True)


def _settle(
    module: SegmentationModule, trainer: lightning.Trainer, loader: DataLoader, best: list[Path]
) -> dict[str, float]:
    """Leave the weights to export in `module`, those of the best checkpoint where there are any; give their scores.

    There is one best checkpoint, and more only where a folder was moved while its run was stopped: Lightning then
    begins to compare anew.
    """
    # A run that was stopped between its last round and its export has no validation left to speak of.
    scores = validation_scores(trainer) or (_validated(module, trainer, loader) if not best else {})
    lowest: dict[str, Any] | None = None
    for path in best:
        state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        module.load_state_dict(state)
        found = _validated(module, trainer, loader)
        if lowest is None or found["validation_loss"] < scores["validation_loss"]:
            lowest, scores = state, found
    if lowest is not None:
        module.load_state_dict(lowest)
    return scores


def _validated(module: SegmentationModule, trainer: lightning.Trainer, loader: DataLoader) -> dict[str, float]:
    trainer.validate(module, loader, verbose=False)
    return validation_scores(trainer)


def _validation_loader(configuration: TrainingConfiguration, workers: int) -> DataLoader:
    validation = configuration.validation
    if validation.folder is not None:
        images, labels = read_folder(validation.folder)
    elif validation.simulated is not None:
        images, labels = validation_set(validation.simulated, configuration.seed, validation.count, workers)
    else:
        first = configuration.train[0]
        if first.simulated is None:
            raise InputError("validation has neither 'simulated' nor 'folder'; name one of them")
        images, labels = validation_set(first.simulated, configuration.seed, validation.count, workers)
    return DataLoader(TensorDataset(images, labels), batch_size=2 * configuration.optimisation.batch_size)
