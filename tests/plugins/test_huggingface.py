"""A real Hugging Face Trainer: the data set has the epoch before its workers start on it, also when a run resumes."""

import pickle
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from epoch_variants import SeenVariants, open_staged
from srcache_plugins.huggingface import trainer_callback

from srcache.errors import MissingExtraError

pytestmark = pytest.mark.medium


@pytest.fixture
def transformers() -> Iterator[Any]:
    """transformers, whose deprecations are not what is tested here."""
    pytest.importorskip("accelerate", reason="transformers' Trainer needs accelerate")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="transformers|accelerate|torch|huggingface_hub")
        found = pytest.importorskip("transformers")
        found.utils.logging.set_verbosity_error()
        found.utils.logging.disable_progress_bar()
        yield found


def collated(items: list[Any]) -> dict[str, torch.Tensor]:
    return {"images": torch.stack([image for image, _ in items]), "labels": torch.tensor([label for _, label in items])}


def trainer_run(
    tf: Any, folder: Path, epochs: int, *, workers: int = 0, resume: str | None = None, **given: Any
) -> Any:
    """What a Trainer saw; the epoch is read from its state."""
    data, seen = open_staged(folder), SeenVariants()

    class Tiny(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3, 2)
            self.batches = 0

        def forward(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            seen.note(int(trainer.state.epoch), images)
            scores = self.layer(images.mean((2, 3)))
            return {"loss": torch.nn.functional.cross_entropy(scores, labels), "logits": scores}

    settings = tf.TrainingArguments(
        output_dir=str(folder.parent / "out"),
        num_train_epochs=epochs,
        per_device_train_batch_size=2,
        dataloader_num_workers=workers,
        dataloader_persistent_workers=False,
        use_cpu=True,
        report_to=[],
        save_strategy="steps",
        save_steps=1,
        disable_tqdm=True,
        logging_strategy="no",
        **given,
    )
    trainer = tf.Trainer(
        model=Tiny(),
        args=settings,
        train_dataset=data,
        data_collator=collated,
        callbacks=[trainer_callback(data)],
    )
    trainer.remove_callback(tf.trainer_callback.PrinterCallback)
    trainer.train(resume_from_checkpoint=resume)
    return seen.epochs


@pytest.mark.parametrize("workers", [0, 2])
def test_the_trainer_sets_every_epoch(transformers: Any, folder: Path, workers: int) -> None:
    assert trainer_run(transformers, folder, 2, workers=workers) == {0: ({"lr"}, 4), 1: ({"sr"}, 4)}


@pytest.mark.parametrize(("step", "expected"), [(6, {1: {"sr"}, 2: {"hr"}}), (8, {2: {"hr"}})])
def test_the_trainer_resumes_with_the_epoch_it_left(
    transformers: Any, folder: Path, step: int, expected: dict[int, set[str]]
) -> None:
    trainer_run(transformers, folder, 2)
    seen = trainer_run(transformers, folder, 3, workers=2, resume=str(folder.parent / "out" / f"checkpoint-{step}"))
    assert {epoch: kinds for epoch, (kinds, _) in seen.items()} == expected


def test_epochs_are_counted_where_the_trainers_fraction_does_not_reach_one(transformers: Any, folder: Path) -> None:
    data = open_staged(folder)
    callback = trainer_callback(data)
    state = transformers.TrainerState(epoch=1.75)
    callback.on_train_begin(None, state, None)
    epochs = []
    for fraction in (1.75, 1.8, 2.8):
        state.epoch = fraction
        callback.on_epoch_begin(None, state, None)
        epochs.append(data.epoch)
    assert epochs == [1, 2, 3]


def test_a_callback_can_be_sent_to_other_processes(transformers: Any, folder: Path) -> None:
    twin = pickle.loads(pickle.dumps(trainer_callback(open_staged(folder))))
    assert isinstance(twin, transformers.TrainerCallback)
    twin.on_train_begin(None, transformers.TrainerState(epoch=2), None)
    twin.on_epoch_begin(None, transformers.TrainerState(epoch=2), None)
    assert twin.epoch == 3


def test_without_transformers_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    words = "needs transformers, which is not installed; run: pip install transformers"
    with pytest.raises(MissingExtraError, match=f"^a callback for the Hugging Face Trainer {words}$"):
        trainer_callback(None)
