"""The training step: a network, its loss, its optimiser and the moving average of its weights, for Lightning."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from CMRSimExtension.errors import InputError
from CMRSimExtension.networks.catalogue import build_network, fixed_input_shape
from CMRSimExtension.networks.classes import strongest_class
from CMRSimExtension.networks.initialisation import initialise
from CMRSimExtension.networks.normalisation import normalise
from CMRSimExtension.training.batches import BatchStream
from CMRSimExtension.training.configuration import TrainingConfiguration
from CMRSimExtension.training.fit import check_sides
from CMRSimExtension.training.losses import build_loss
from CMRSimExtension.training.optimisation import Optimisation
from CMRSimExtension.training.transfer import hold_frozen

_AUGMENT = 4
"""First element of the spawn keys of the augmentation's random numbers."""

_FORWARD = 5
"""First element of the spawn keys of the network's own random numbers (dropout, the noise of a variational part)."""

_AVERAGE_LOSS = "average_training_loss"
"""Where a checkpoint holds the moving average of the training loss."""


class SegmentationModule(lightning.LightningModule):
    """Learns to segment; see `TrainingConfiguration` for what can be set."""

    def __init__(self, configuration: TrainingConfiguration, learning_rate_factor: float = 1.0) -> None:
        super().__init__()
        self.configuration = configuration
        network = configuration.network
        torch.manual_seed(configuration.seed)
        self.network = build_network(network.name, 1, len(configuration.classes) + 1, **network.settings)
        initialise(self.network, network.initialisation)
        self.loss = build_loss(configuration.loss.name, **configuration.loss.settings)
        self.averaged: AveragedModel | None = None
        self._channels_last = False
        self.learning_rate_factor = learning_rate_factor
        self.stream: BatchStream | None = None
        self.average_training_loss = float("nan")
        self._overlap = torch.zeros(3, len(configuration.classes))
        self._validation_losses: list[Tensor] = []

    def setup(self, stage: str) -> None:
        """Make the moving average once the start weights are known; put images next to each other in memory."""
        decay = self.configuration.optimisation.average
        # MONAI's SegResNetVAE flattens with `view`, which wants the usual order of channels.
        flat = any(isinstance(part, nn.Conv2d) for part in self.network.modules())
        self._channels_last = flat and fixed_input_shape(self.network) is None
        if self._channels_last:
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if decay is not None and self.averaged is None:
            self.averaged = AveragedModel(
                self.network, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True
            ).requires_grad_(False)

    @property
    def validated_network(self) -> nn.Module:
        """The network that is validated and exported: the average where there is one."""
        return self.network if self.averaged is None else self.averaged.module

    def forward(self, images: Tensor) -> Tensor:
        """Logits of normalised images, by the network as it stands."""
        return _logits(self.network(images))[0]

    def on_train_epoch_start(self) -> None:
        """Keep frozen parts as they were learnt, their running statistics too."""
        hold_frozen(self.network, self.configuration.transfer)

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> Tensor:
        images, labels = batch["image"], class_numbers(batch["label"], self.configuration)
        augmentation = self.configuration.augmentation
        if augmentation is not None:
            generator = torch.Generator().manual_seed(self._number(_AUGMENT, int(batch["step"])))
            images, labels = augmentation(images, labels, generator)
        if batch_idx == 0:
            # What a drawing function makes of its settings is not known before.
            check_sides(
                self.network, self.configuration.network.name, images.shape[2:], "images to learn from",
                "set their sizes in the configuration, or the network's settings",
            )  # fmt: skip
        # Dropout draws from torch's global generator, which no checkpoint holds: a resumed run must draw the same.
        torch.manual_seed(self._number(_FORWARD, int(batch["step"])))
        images = self._arranged(normalise(images, self.configuration.network.normalisation))
        logits, regulariser = _logits(self.network(images))
        with torch.autocast(self.device.type, enabled=False):
            loss = self.loss(logits.float(), labels)
        if regulariser is not None:
            # Myronenko 2018 weighs the autoencoder's reconstruction and KL terms by 0.1 each.
            loss = loss + 0.1 * regulariser.float()
        if not torch.isfinite(loss):
            raise InputError(
                f"the training loss became {float(loss.detach())} at step {int(batch['step'])}; lower learning_rate "
                "or use precision '32'"
            )
        value = float(loss.detach())
        # P2 watches the exponential moving average of the training loss, as nnU-Net does, with its weight of 0.93.
        self.average_training_loss = (
            value if math.isnan(self.average_training_loss) else 0.93 * self.average_training_loss + 0.07 * value
        )
        self.log("training_loss", loss.detach(), on_step=True, on_epoch=False, prog_bar=True)
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Follow the weights after each optimiser step."""
        if self.averaged is not None:
            decay = self.configuration.optimisation.average
            steps = int(self.averaged.n_averaged)
            # A young average must forget its start faster than an old one, or it is mostly the first, random weights.
            self.averaged.multi_avg_fn = get_ema_multi_avg_fn(min(float(decay or 0.0), (1 + steps) / (10 + steps)))
            self.averaged.update_parameters(self.network)

    def on_validation_epoch_start(self) -> None:
        self._overlap = torch.zeros(3, len(self.configuration.classes), device=self.device)
        self._validation_losses = []

    def validation_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        images, labels = batch[0], class_numbers(batch[1], self.configuration)
        images = self._arranged(normalise(images, self.configuration.network.normalisation))
        network = self.validated_network.eval()
        logits, _ = _logits(network(images))
        with torch.autocast(self.device.type, enabled=False):
            self._validation_losses.append(self.loss(logits.float(), labels).detach())
        predicted = strongest_class(logits)
        for index in range(len(self.configuration.classes)):
            found, truth = predicted == index + 1, labels == index + 1
            self._overlap[0, index] += (found & truth).sum()
            self._overlap[1, index] += found.sum()
            self._overlap[2, index] += truth.sum()

    def on_validation_epoch_end(self) -> None:
        """Log the loss and, per class, the Dice of all validation voxels taken together."""
        gathered = self.all_gather(self._overlap)
        assert isinstance(gathered, Tensor)
        # One process gives (3, classes), several give (processes, 3, classes).
        overlap = gathered.reshape(-1, *self._overlap.shape).sum(0)
        dice = 2.0 * overlap[0] / (overlap[1] + overlap[2]).clamp_min(1.0)
        loss = torch.stack(self._validation_losses).mean()
        values = {f"dice_{name}": dice[index] for index, name in enumerate(self.configuration.classes)}
        values |= {"dice_mean": dice.mean(), "validation_loss": loss}
        self.log_dict(values, prog_bar=True, sync_dist=True)

    def on_train_epoch_end(self) -> None:
        """Log what `watch` may ask for."""
        # Processes share their mean, so that the checkpoint, which the first one writes, holds what all go on from.
        mean = self.all_gather(torch.tensor(self.average_training_loss, device=self.device))
        assert isinstance(mean, Tensor)
        self.average_training_loss = float(mean.mean())
        self.log("training_loss_average", self.average_training_loss, sync_dist=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[_AVERAGE_LOSS] = self.average_training_loss

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.average_training_loss = float(checkpoint.get(_AVERAGE_LOSS, self.average_training_loss))

    def configure_optimizers(self) -> Any:
        plan = self.configuration.optimisation
        weights = [weight for weight in self.network.parameters() if weight.requires_grad]
        if not weights:
            raise InputError("no part of the network is left to train; name an existing part in transfer: train_only")
        rate = plan.learning_rate * self.learning_rate_factor
        if plan.optimiser == "sgd":
            optimiser: torch.optim.Optimizer = torch.optim.SGD(
                weights, rate, momentum=0.99, nesterov=True, weight_decay=plan.weight_decay
            )
        else:
            kind = torch.optim.AdamW if plan.optimiser == "adamw" else torch.optim.Adam
            optimiser = kind(weights, rate, betas=(0.9, 0.999), eps=1e-8, weight_decay=plan.weight_decay)
        if plan.schedule == "plateau":
            watch = "validation_loss" if plan.watch == "validation_loss" else "training_loss_average"
            plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=plan.factor, patience=plan.patience)
            return {
                "optimizer": optimiser,
                "lr_scheduler": {"scheduler": plateau, "monitor": watch, "interval": "epoch", "frequency": 1},
            }
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: rate_factor(plan, step))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _arranged(self, images: Tensor) -> Tensor:
        return images.contiguous(memory_format=torch.channels_last) if self._channels_last else images

    def _number(self, purpose: int, step: int) -> int:
        """A seed for torch, of this process and step alone."""
        key = (purpose, self.global_rank, step)
        state = np.random.SeedSequence(self.configuration.seed, spawn_key=key).generate_state(1, np.uint64)
        return int(state[0] >> np.uint64(1))


def class_numbers(labels: Tensor, configuration: TrainingConfiguration) -> Tensor:
    """Labels of a source as class numbers (int64): merged as configured, or as they are.

    Raises
    ------
    InputError
        When nothing is merged and a label is above the number of classes.
    """
    if configuration.merge:
        table = torch.zeros(256, dtype=torch.long, device=labels.device)
        for label, number in configuration.merge.items():
            table[int(label)] = int(number)
        return table[labels.long()]
    highest = len(configuration.classes)
    if int(labels.max()) > highest:
        raise InputError(
            f"the labels reach {int(labels.max())}, but only {highest} classes are named; "
            "name more classes or give a merge table"
        )
    return labels.long()


def rate_factor(plan: Optimisation, step: int) -> float:
    """What the learning rate is multiplied with at `step`."""
    total = plan.rounds * plan.steps_per_round
    if step < plan.warmup_steps:
        return (step + 1) / plan.warmup_steps
    done = min(1.0, (step - plan.warmup_steps) / max(1, total - plan.warmup_steps))
    if plan.schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * done))
    if plan.schedule == "polynomial":
        return (1.0 - done) ** 0.9
    return 1.0


def _logits(output: Tensor | Sequence[Any]) -> tuple[Tensor, Tensor | None]:
    """Logits, and the variational loss where the network (SegResNetVAE) returns one."""
    if isinstance(output, Tensor):
        return output, None
    return output[0], output[1]
