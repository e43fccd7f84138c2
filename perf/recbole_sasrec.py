"""RecBole's SASRec under our protocol, as an outside check. Runs in an environment of its own.

::

    python -m venv recbole-env
    recbole-env/bin/pip install torch==2.13.0 'numpy<2' 'pandas<2.2' 'scipy<1.13' colorlog==4.7.2 \
        colorama pyyaml tqdm tensorboard thop tabulate texttable psutil plotly \
        'scikit-learn<1.6'
    recbole-env/bin/pip install --no-deps recbole==1.2.1
    recbole-env/bin/python -P perf/recbole_sasrec.py ml-100k/ml-100k.inter scores.npz --seed 0
    python -m builder baselines --data ml-100k --min-rating 4 --min-events 8 \
        --scores RecBole=scores.npz

``--no-deps``, since only RecBole's tuning needs the rest of what it asks for; ``-P`` (Python 3.11),
since the modules beside this one would hide those of the standard library. The split is made
here once more, from the log, so that a mistake in ours would show: users with at least 8 ratings of
4 and above, the last is the test, the one before it validation. RecBole trains, stops early and
reports with its own code (``eval_args.mode: full``), and what it scores for each test history is
written for `python -m builder baselines --scores`.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.data.interaction import Interaction
from recbole.model.sequential_recommender import SASRec
from recbole.trainer import Trainer
from recbole.utils import init_seed

MIN_RATING, MIN_EVENTS = 4, 8
HISTORY = 50  # RecBole's own; an epoch of MovieLens-100K takes 88 s on one core, more with 100
FIELDS = ("user_id:token", "item_id:token", "rating:float", "timestamp:float")


def main() -> None:
    """Train, print RecBole's own test figures as JSON, write the scores."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("log", type=Path, help="ml-100k.inter")
    arguments.add_argument("scores", type=Path, help="the .npz to write")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--loss", choices=("CE", "BPR"), default="CE")
    arguments.add_argument("--dropout", type=float, default=0.5)
    arguments.add_argument("--epochs", type=int, default=200, help="at most; it stops early")
    given = arguments.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")  # RecBole tells of each epoch

    log = pd.read_csv(given.log, sep="\t", dtype=str)
    log = log[log[FIELDS[2]].astype(float) >= MIN_RATING]
    log["time"] = log[FIELDS[3]].astype(float)
    log = log.sort_values("time", kind="stable")  # equal times keep the order of the log
    size = log.groupby(FIELDS[0])[FIELDS[1]].transform("size")
    log = log[size >= MIN_EVENTS]

    with tempfile.TemporaryDirectory() as name:
        config = _config(Path(name), log, given)
        init_seed(config["seed"], reproducibility=True)
        dataset = create_dataset(config)
        train, validation, test = data_preparation(config, dataset)
        model = SASRec(config, train.dataset).to(config["device"])
        trainer = Trainer(config, model)
        # RecBole's checkpoints hold more than tensors, which torch refuses since 2.6.
        load = torch.load
        torch.load = lambda *args, **kwargs: load(*args, **{**kwargs, "weights_only": False})
        trainer.fit(train, validation, show_progress=False)
        own = trainer.evaluate(test, show_progress=False)
        np.savez_compressed(given.scores, **_scores(model, dataset, log))
    print(json.dumps({name: float(value) for name, value in own.items()}))  # noqa: T201


def _config(directory: Path, log: pd.DataFrame, given: argparse.Namespace) -> Config:
    (directory / "log").mkdir()
    log[list(FIELDS)].to_csv(directory / "log/log.inter", sep="\t", index=False)
    return Config(
        model="SASRec",
        dataset="log",
        config_dict={
            "data_path": str(directory),
            "checkpoint_dir": str(directory),
            "load_col": {"inter": [field.split(":")[0] for field in FIELDS]},
            "MAX_ITEM_LIST_LENGTH": HISTORY,
            "eval_args": {
                "split": {"LS": "valid_and_test"},
                "order": "TO",
                "group_by": "user",
                "mode": "full",
            },
            "metrics": ["Hit", "NDCG", "MRR"],
            "topk": [5, 10, 20],
            "valid_metric": "NDCG@10",
            "loss_type": given.loss,
            "train_neg_sample_args": None if given.loss == "CE" else {"distribution": "uniform"},
            "hidden_dropout_prob": given.dropout,
            "attn_dropout_prob": given.dropout,
            "epochs": given.epochs,
            "stopping_step": 10,
            "train_batch_size": 2048,
            "seed": given.seed,
            "reproducibility": True,
            "show_progress": False,
        },
    )


@torch.no_grad()
def _scores(model: SASRec, dataset: object, log: pd.DataFrame) -> dict[str, np.ndarray]:
    """Score every item after each user's history up to, not including, the last event."""
    model.eval()
    users, rows = [], []
    for user, items in log.groupby(FIELDS[0], sort=False)[FIELDS[1]]:
        known = dataset.token2id("item_id", items.to_numpy()[:-1])[-HISTORY:]
        padded = np.zeros(HISTORY, np.int64)
        padded[: len(known)] = known
        asked = Interaction(
            {
                "item_id_list": torch.from_numpy(padded)[None],
                "item_length": torch.tensor([len(known)]),
            }
        ).to(model.device)
        users.append(user)
        rows.append(model.full_sort_predict(asked).ravel().cpu().numpy())
    tokens = dataset.id2token("item_id", np.arange(dataset.item_num))
    return {
        "user_ids": np.array(users, str),
        "item_ids": np.array(tokens[1:], str),  # the first is padding
        "scores": np.stack(rows)[:, 1:].astype(np.float32),
    }


if __name__ == "__main__":
    main()
