"""A real Hugging Face Trainer: the data set has the epoch before its workers start on it, also when a run resumes."""

import pickle
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from epoch_variants import STAGES, SeenVariants, open_staged, to_tensor
from PIL import Image
from srcache_plugins.hf_datasets import SRTransform
from srcache_plugins.huggingface import trainer_callback, trainer_collate

from srcache.errors import CatalogError, MissingExtraError

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


def trainer_run(
    tf: Any, data: Any, home: Path, epochs: int, *, follows: Any = None, resume: str | None = None, **given: Any
) -> Any:
    """What a Trainer saw; the epoch is read from its state."""
    seen = SeenVariants()

    class Tiny(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3, 2)
            self.batches = 0

        def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            seen.note(int(trainer.state.epoch), pixel_values)
            scores = self.layer(pixel_values.mean((2, 3)))
            return {"loss": torch.nn.functional.cross_entropy(scores, labels), "logits": scores}

    settings = tf.TrainingArguments(
        output_dir=str(home / "out"),
        num_train_epochs=epochs,
        per_device_train_batch_size=2,
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
        data_collator=trainer_collate(),
        callbacks=[trainer_callback(data if follows is None else follows)],
    )
    trainer.remove_callback(tf.trainer_callback.PrinterCallback)
    trainer.train(resume_from_checkpoint=resume)
    return seen.epochs


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_the_trainer_sets_every_epoch(transformers: Any, folder: Path, workers: int) -> None:
    data = open_staged(folder)
    assert trainer_run(transformers, data, folder.parent, 2, dataloader_num_workers=workers) == {
        0: ({"lr"}, 4),
        1: ({"sr"}, 4),
    }


@pytest.mark.parametrize(
    ("step", "expected"), [(6, {1: {"sr"}, 2: {"hr"}}), pytest.param(8, {2: {"hr"}}, marks=pytest.mark.slow)]
)
def test_the_trainer_resumes_with_the_epoch_it_left(
    transformers: Any, folder: Path, step: int, expected: dict[int, set[str]]
) -> None:
    home = folder.parent
    trainer_run(transformers, open_staged(folder), home, 2)
    given = {"dataloader_num_workers": 2, "resume": str(home / "out" / f"checkpoint-{step}")}
    seen = trainer_run(transformers, open_staged(folder), home, 3, **given)
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


# --- the collator ---


def test_items_and_rows_are_collated_alike() -> None:
    collate = trainer_collate()
    image = torch.rand(3, 4, 5)
    for item in ((image, 1), {"image": image, "label": 1}, {"pixel_values": image, "labels": 1, "name": "x"}):
        batch = collate([item, item])
        assert set(batch) == {"pixel_values", "labels"}
        assert torch.equal(batch["pixel_values"], torch.stack([image, image]))
        assert batch["labels"].tolist() == [1, 1]
    assert set(collate([(image, None)])) == {"pixel_values"}
    assert pickle.loads(pickle.dumps(collate))([(image, 0.5)])["labels"].tolist() == [0.5]


def test_pillow_images_become_numbers_from_0_to_1() -> None:
    batch = trainer_collate()([(Image.new("RGB", (5, 4), (255, 0, 51)), 0)])
    assert batch["pixel_values"].shape == (1, 3, 4, 5)
    assert batch["pixel_values"][0, :, 0, 0].tolist() == pytest.approx([1, 0, 0.2])


def test_a_processor_is_given_the_images(transformers: Any) -> None:
    processor = transformers.ViTImageProcessor(size={"height": 6, "width": 6}, do_normalize=False)
    items = [(Image.new("RGB", (size, size), "white"), 1) for size in (8, 12)]
    batch = trainer_collate(processor)(items)
    assert batch["pixel_values"].shape == (2, 3, 6, 6)
    assert batch["pixel_values"].min() > 0.99


def test_what_cannot_be_collated_is_said_in_words() -> None:
    with pytest.raises(CatalogError, match=r"images of 3×4×4, 3×8×8, which do not stack; give size="):
        trainer_collate()([(torch.zeros(3, 4, 4), 0), (torch.zeros(3, 8, 8), 0)])
    with pytest.raises(CatalogError, match=r"they have label; .*remove_unused_columns=False"):
        trainer_collate()([{"label": 1}])
    with pytest.raises(CatalogError, match="labels that are numbers, but they are dog; number"):
        trainer_collate()([(torch.zeros(3, 4, 4), "dog"), (torch.zeros(3, 4, 4), 1)])


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_the_trainer_sets_every_epoch_of_rows_that_are_served_as_they_are_read(
    transformers: Any, folder: Path, workers: int
) -> None:
    datasets = pytest.importorskip("datasets")
    paths = [str(path) for path in sorted(folder.rglob("*.png"))]
    rows = datasets.Dataset.from_dict({"image": paths, "label": [0, 1] * 4}).cast_column("image", datasets.Image())
    served = SRTransform(folder.parent / "cache", policy=STAGES, transform=to_tensor)
    given = {"dataloader_num_workers": workers, "remove_unused_columns": False, "follows": served}
    seen = trainer_run(transformers, rows.with_transform(served), folder.parent, 3, **given)
    assert seen == {0: ({"lr"}, 4), 1: ({"sr"}, 4), 2: ({"hr"}, 4)}
