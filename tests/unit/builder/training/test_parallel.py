"""Training in pieces and in several processes is the training of one process in one piece."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from builder.data import DataConfig
from builder.errors import ConfigError
from builder.training.config import TrainingConfig
from builder.training.gradient_accumulation import accumulated_step
from builder.training.objective import Loss
from builder.training.run import check_precision, train
from builder.unfinished_run import partial_directory
from tests.unit.builder.model.tiny import ITEMS, TEXTS, USERS
from tests.unit.builder.training.test_objective import BATCH, made

REPOSITORY = Path(__file__).parents[4]
# Neither the batch nor the texts of a step divide by the number of parts.
OPTIONS: dict[str, Any] = {
    "width": 8, "max_history": 4, "max_length": 8, "linear_entries": 6,
    "dropout": 0.0, "id_dropout": 0.0, "feature_dropout": 0.0, "contrastive": 0.1,
    "loss": "sampled", "epochs": 3, "learning_rate": 0.002, "batch_size": 13, "warmup_epochs": 1.0,
    "tune_epochs": 2, "tune_learning_rate": 0.005, "tune_texts": 5,
}  # fmt: skip


@pytest.fixture(scope="module")
def config(backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingConfig:
    """Histories of 2 to 8 events, and nothing that a process draws for itself."""
    directory = tmp_path_factory.mktemp("parallel")
    shutil.copytree(backbone, directory / "bert")
    shape = json.loads((directory / "bert/config.json").read_text())
    shape |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (directory / "bert/config.json").write_text(json.dumps(shape))
    items = [f"i{item},{text}" for item, text in enumerate(TEXTS)]
    events = [
        f"u{user},i{(user + step) % (ITEMS - 1)},{step}"
        for user in range(USERS)
        for step in range(2 + user % 7)
    ]
    (directory / "data").mkdir()
    (directory / "data/items.csv").write_text("\n".join(["item_id,title", *items]))
    log = "\n".join(["user_id,item_id,timestamp", *events])
    (directory / "data/interactions.csv").write_text(log)
    return TrainingConfig(
        data=DataConfig(directory / "data"), backbone=str(directory / "bert"), **OPTIONS
    )


@pytest.fixture(scope="module")
def run(config: TrainingConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("runs") / "run"
    train(config, output)
    return output


def curves(run: Path) -> dict[str, list[float]]:
    found = {}
    for stage in ("adapter", "tuning"):
        events = EventAccumulator(str(run / "tensorboard" / stage))
        events.Reload()
        for tag in ("train/loss", "train/grad_norm", "eval/ndcg@10", "eval/ndcg@10_text"):
            found[f"{stage} {tag}"] = [each.value for each in events.Scalars(tag)]
    return found


def assert_same(run: Path, other: Path) -> None:
    expected = curves(run)
    assert {len(values) for name, values in expected.items() if "adapter" in name} == {3}
    for name, values in curves(other).items():
        assert values == pytest.approx(expected[name], rel=1e-3), name
    for file in ("adapter.safetensors", "encoder/model.safetensors"):
        weights = load_file(other / file)
        for name, weight in load_file(run / file).items():
            # Softmax does not see what is added to all keys: its gradient is a rounding, to which
            # AdamW gives a whole step.
            if not name.endswith(("qkv.bias", "key.bias")):
                torch.testing.assert_close(weights[name], weight, rtol=0, atol=2e-3, msg=name)


SCRIPT = """
import sys
from torch import distributed as dist
from builder.__main__ import main
from builder.training.trainer import NextItemTrainer

step = NextItemTrainer.training_step

def failing(self, *arguments, **options):
    if dist.get_rank() == 1 and self.state.global_step == 4:
        raise RuntimeError("a process fails")
    return step(self, *arguments, **options)

if "--fail" in sys.argv:
    sys.argv.remove("--fail")
    NextItemTrainer.training_step = failing
main()
"""


def torchrun(config: TrainingConfig, output: Path, *options: str) -> Any:
    """`train` in two processes on this machine; with ``--fail`` one of them does after 4 steps."""
    script, file = output.with_suffix(".py"), output.with_suffix(".yaml")
    script.write_text(SCRIPT)
    values = {**config.to_dict(), "data": str(config.data.directory), "output": str(output)}
    file.write_text(json.dumps(values))
    return subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", "2", str(script), "train", "--config", str(file), *options),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )


@pytest.mark.sweep
def test_two_processes_of_two_pieces_learn_what_one_learns_whole(
    run: Path, config: TrainingConfig, tmp_path: Path
) -> None:
    """One that fails ends both; they go on from the last state as if nothing had been."""
    output = tmp_path / "run"
    divided = replace(config, accumulate=2)
    failed = torchrun(divided, output, "--fail")
    assert failed.returncode != 0
    assert "a process fails" in failed.stderr
    assert not output.exists()
    states = list((partial_directory(output) / "adapter").glob("checkpoint-*"))
    assert [state.name for state in states] == ["checkpoint-3"]
    with pytest.raises(ConfigError, match="other options for processes"):
        train(divided, output, resume=True)
    resumed = torchrun(divided, output, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert_same(run, output)
    # One speaks for both.
    assert resumed.stdout.count("frozen BERT: full model") == 1
    assert resumed.stderr.count("stage 2") == 1
    assert "epoch 1:" not in resumed.stderr.split("stage 2")[0]
    assert sorted(path.name for path in output.iterdir()) == sorted(
        path.name for path in run.iterdir()
    )


def test_a_run_in_pieces_is_the_run_in_one(
    run: Path, config: TrainingConfig, tmp_path: Path
) -> None:
    train(replace(config, accumulate=4), tmp_path / "run")
    assert_same(run, tmp_path / "run")


@pytest.mark.parametrize("loss", [Loss(), Loss("sampled", 0.1, contrastive=0.2)])
@pytest.mark.parametrize("pieces", [2, 3])
def test_pieces_count_by_their_targets(loss: Loss, pieces: int) -> None:
    """Of two histories one has 4 targets and the other 2; the third piece is empty."""
    objective = made().train()
    objective.loss = loss
    torch.manual_seed(0)
    whole = objective(**BATCH)["loss"]
    whole.backward()
    expected = {name: each.grad for name, each in objective.named_parameters()}
    objective.zero_grad()
    torch.manual_seed(0)
    torch.testing.assert_close(accumulated_step(objective, BATCH, pieces), whole.detach())
    for name, parameter in objective.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], msg=name)


def test_more_parts_than_histories(config: TrainingConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a step of 13 histories cannot be divided among 1 proc"):
        train(replace(config, accumulate=14), tmp_path / "run")


def test_bf16_trains_and_what_is_saved_is_fp32(
    run: Path, config: TrainingConfig, tmp_path: Path
) -> None:
    train(replace(config, precision="bf16"), tmp_path / "run")
    exact, found = curves(run), curves(tmp_path / "run")
    for name, values in found.items():
        if name.endswith("train/loss"):
            # BF16 has 8 bits: what it does shows, and is small.
            assert values != pytest.approx(exact[name], rel=1e-6), name
            assert values == pytest.approx(exact[name], rel=3e-2), name
    for file in ("adapter.safetensors", "encoder/model.safetensors"):
        for name, weight in load_file(tmp_path / "run" / file).items():
            if name == "trend.level":  # times in seconds, and -inf for no event
                continue
            assert weight.dtype in (torch.float32, torch.int64, torch.int32, torch.bool), name
            assert not weight.is_floating_point() or weight.isfinite().all(), name


def test_logits_are_fp32_with_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    objective = made().train()
    objective.bf16 = True
    dtypes = []

    def seen(logits: torch.Tensor, *_: torch.Tensor, **__: float) -> torch.Tensor:
        dtypes.append(logits.dtype)
        return logits.sum()

    monkeypatch.setattr("builder.training.objective.softmax", seen)
    loss = objective(**BATCH)["loss"]
    assert dtypes == [loss.dtype] == [torch.float32]


def test_a_gpu_without_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    with pytest.raises(ConfigError, match=r"Tesla T4 has no BF16.*give fp32"):
        check_precision("bf16")
    check_precision("fp32")
