"""What is told and written after each round of a training run."""

import csv
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback


class RoundRecord(Callback):
    """Writes one row per round: losses (that of the training as a moving average over the steps), Dice, learning rate,
    images per second, and the share of time spent waiting."""

    def __init__(self, path: Path, report: Callable[[str], None]) -> None:
        self.path, self.report, self._began, self._waited = path, report, 0.0, 0.0
        self._speed = {"images_per_second": 0.0, "waiting_share": 0.0}

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        self._began, self._waited = time.perf_counter(), pl_module.stream.waited_s

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        stream = pl_module.stream
        seconds = max(time.perf_counter() - self._began, 1e-9)
        self._speed = {
            "images_per_second": trainer.world_size * stream.steps * stream.batch_size / seconds,
            "waiting_share": (stream.waited_s - self._waited) / seconds,
        }

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        if not trainer.is_global_zero:
            return
        rate = float(trainer.optimizers[0].param_groups[0]["lr"])
        shown = {"learning_rate": rate, **self._speed}
        if trainer.logger is not None:
            # Not the average of the loss, which the module logs under this name itself.
            trainer.logger.log_metrics(shown, step=trainer.global_step)
        values = {"training_loss_average": pl_module.average_training_loss, **shown}
        scores = validation_scores(trainer)
        self.report(
            f"round {trainer.current_epoch + 1} of {trainer.max_epochs}: "
            + ", ".join(f"{name} {value:.3f}" for name, value in (scores | self._speed).items())
        )
        fresh = not self.path.is_file()
        with self.path.open("a", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            if fresh:
                table.writerow(["round", "step", *scores, *values])
            numbers = [f"{value:.6g}" for value in (*scores.values(), *values.values())]
            table.writerow([trainer.current_epoch, trainer.global_step, *numbers])


def validation_scores(trainer: lightning.Trainer) -> dict[str, float]:
    """Dice and loss of the last validation; empty before the first."""
    metrics = sorted(trainer.callback_metrics.items())
    return {name: float(value) for name, value in metrics if name.startswith("dice_") or name == "validation_loss"}
