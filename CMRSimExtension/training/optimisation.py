"""How a training run goes down: its optimiser, the schedule of the learning rate, and its length."""

from collections.abc import Sequence
from dataclasses import dataclass

from CMRSimExtension.errors import InputError


def _one_of(name: str, value: object, choices: Sequence[str]) -> None:
    if value not in choices:
        raise InputError(f"{name} is {value!r}; choose one of {', '.join(choices)}")


@dataclass(frozen=True)
class Optimisation:
    """Optimiser, schedule and length.

    Attributes
    ----------
    optimiser
        ``adamw``, ``adam`` or ``sgd`` (Nesterov, momentum 0.99 as nnU-Net).
    learning_rate, weight_decay
        Of the optimiser.
    schedule
        ``cosine`` (warm-up, then to zero at the last step), ``polynomial`` (nnU-Net: power 0.9), ``plateau`` (times
        `factor` when what is watched has not improved for `patience` rounds) or ``constant``.
    watch
        What ``plateau`` watches: ``validation_loss`` or ``training_loss`` (its moving average).
    warmup_steps
        Linear rise at the start.
    factor, patience
        Of ``plateau``.
    stop_after
        Early stopping: rounds without improvement of the validation loss; None never stops early.
    rounds, steps_per_round
        Length of the run; validation and checkpoints come after each round.
    batch_size
        Images per step and process.
    precision
        ``auto`` (bfloat16 where the processor is faster with it, else float32), ``32``, ``bf16`` or ``16`` (float16
        with gradient scaling).
    clip
        Largest gradient norm; None does not clip.
    average
        Decay of the exponential moving average of the weights; that average is what is validated and exported. None
        keeps the last weights.
    """

    optimiser: str = "adamw"
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    schedule: str = "cosine"
    watch: str = "validation_loss"
    warmup_steps: int = 200
    factor: float = 0.1
    patience: int = 50
    stop_after: int | None = None
    rounds: int = 40
    steps_per_round: int = 500
    batch_size: int = 16
    precision: str = "auto"
    clip: float | None = 5.0
    average: float | None = 0.999

    def __post_init__(self) -> None:
        _one_of("optimiser", self.optimiser, ("adamw", "adam", "sgd"))
        _one_of("schedule", self.schedule, ("cosine", "polynomial", "plateau", "constant"))
        _one_of("watch", self.watch, ("validation_loss", "training_loss"))
        _one_of("precision", self.precision, ("auto", "32", "bf16", "16"))
        if not self.learning_rate > 0:
            raise InputError(f"learning_rate is {self.learning_rate}; it must be above 0")
        for name in ("rounds", "steps_per_round", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("weight_decay", "warmup_steps", "patience"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name)}; it cannot be below 0")
        if not 0.0 < self.factor < 1.0:
            raise InputError(
                f"factor is {self.factor}; the learning rate is multiplied with it to become lower, so it lies between "
                "0 and 1"
            )
        if self.stop_after is not None and self.stop_after < 1:
            raise InputError(f"stop_after is {self.stop_after}; it must be at least 1 round, or null for the whole run")
        if self.clip is not None and not self.clip > 0:
            raise InputError(f"clip is {self.clip}; the largest gradient norm is above 0, or null to clip nothing")
        if self.average is not None and not 0.0 < self.average < 1.0:
            raise InputError(f"average is {self.average}; a decay lies between 0 and 1")
