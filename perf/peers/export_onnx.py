"""``python export_onnx.py MODEL TARGET``: an encoder of Hugging Face for infinity's ONNX engine.

With torch's own exporter: optimum's, at the release that infinity needs, does not run with this
torch.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from transformers import AutoModel, AutoTokenizer


class States(torch.nn.Module):
    """The tokens' last hidden states [R, L, h], from what optimum feeds in."""

    def __init__(self, directory: str) -> None:
        super().__init__()
        self.model = AutoModel.from_pretrained(directory, attn_implementation="eager").eval()

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor
    ) -> torch.Tensor:
        states: torch.Tensor = self.model(
            input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        ).last_hidden_state
        return states


def main(directory: str, target: Path) -> None:
    target.mkdir(parents=True)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = States(directory)
    inputs = tokenizer(["one text", "and a longer text"], padding=True, return_tensors="pt")
    names = ("input_ids", "attention_mask", "token_type_ids")
    axes = {0: "rows", 1: "tokens"}
    torch.onnx.export(
        model,
        tuple(inputs[name] for name in names),
        str(target / "model.onnx"),
        input_names=list(names),
        output_names=["last_hidden_state"],
        dynamic_axes=dict.fromkeys([*names, "last_hidden_state"], axes),
        opset_version=17,
        dynamo=False,
    )
    tokenizer.save_pretrained(target)
    model.model.config.save_pretrained(target)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
