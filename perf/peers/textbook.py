"""The textbook service: FastAPI and transformers, one forward pass a request.

``python textbook.py MODEL PORT`` in an environment with fastapi, uvicorn, torch and transformers.
POST /embed ``{"texts": [...]}`` answers ``{"vectors": [[...], ...]}``: the mean over each text's
tokens.
"""

from __future__ import annotations

import sys

import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import AutoModel, AutoTokenizer


class Texts(BaseModel):
    texts: list[str]


def make_app(directory: str) -> FastAPI:
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModel.from_pretrained(directory, dtype=torch.float32).eval()
    app = FastAPI()

    @app.post("/embed")
    def embed(request: Texts) -> dict[str, list[list[float]]]:
        inputs = tokenizer(request.texts, padding=True, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            states = model(**inputs).last_hidden_state
        mask = inputs["attention_mask"].unsqueeze(-1)
        return {"vectors": ((states * mask).sum(1) / mask.sum(1)).tolist()}

    @app.get("/health")
    def health() -> dict[str, bool]:
        return {"ready": True}

    return app


if __name__ == "__main__":
    uvicorn.run(make_app(sys.argv[1]), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
