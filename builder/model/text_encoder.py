"""Text → vector: any Hugging Face encoder with a pooling on top."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from builder.model.pooling import Pooling


class TextEncoder(nn.Module):
    """Token ids → one vector a text.

    The attention mask is derived from ``input_ids != pad_id``, so that one tensor is all that
    travels to the encoder in serving.

    Parameters
    ----------
    backbone
        A Hugging Face encoder (``AutoModel``): BERT, RoBERTa, DistilBERT, ELECTRA, XLM-R …
    pad_id
        The tokenizer's padding id.
    pooling
        ``mean`` over the tokens (Reimers & Gurevych 2019), ``cls`` for the first token, or
        ``attention`` for a learned weighting of the tokens.
    """

    def __init__(self, backbone: nn.Module, pad_id: int, pooling: Pooling = "mean") -> None:
        super().__init__()
        self.backbone = backbone
        self.pad_id = pad_id
        self.pooling = pooling
        self.width: int = backbone.config.hidden_size  # type: ignore[union-attr, assignment]
        self.query = nn.Linear(self.width, 1, bias=False) if pooling == "attention" else None
        if self.query is not None:
            nn.init.zeros_(self.query.weight)  # starts as the mean

    def forward(self, input_ids: Tensor) -> Tensor:
        """INT [R, L] → FP [R, h]."""
        mask = input_ids != self.pad_id
        states: Tensor = self.backbone(input_ids, attention_mask=mask).last_hidden_state
        return self.pool(states, mask)

    def pool(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Token states FP [R, L, h] and mask BOOL [R, L] → FP [R, h]."""
        if self.pooling == "cls":
            return hidden[:, 0]
        return (self._weights(hidden, mask).unsqueeze(1) @ hidden).squeeze(1)

    def pool_packed(self, hidden: Tensor, text: Tensor, first: Tensor) -> Tensor:
        """The same of texts that lie back to back: FP [T, h] → FP [R, h].

        ``text`` INT64 [T] is the number of each token's text, ``first`` INT64 [R] where one begins.
        """
        if self.pooling == "cls":
            return hidden[first]
        own = torch.arange(len(first), device=text.device).unsqueeze(1) == text
        return self._weights(hidden, own) @ hidden

    def _weights(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """What each token counts for, FP [R, L], of states FP [(R,) L, h] and mask BOOL [R, L]."""
        if self.query is None:
            weight = mask.to(hidden.dtype)
            return weight / weight.sum(-1, keepdim=True).clamp(min=1)
        # A finite mask value: -inf has no FP16 softmax that survives a row of padding.
        return torch.where(mask, self.query(hidden).squeeze(-1), -1e4).softmax(-1)


class LowerLayers:
    """The part of a backbone that does not learn, taken off so that it runs once per text.

    Taking it off leaves a backbone of the upper layers alone, whose input is the cached hidden
    state; `rejoin` puts the backbone together again. The surgery goes through the two names that
    BERT-like models share: ``embeddings`` and the ``ModuleList`` of their layers.

    Parameters
    ----------
    encoder
        Changed in place until `rejoin`.
    trainable
        How many of the last layers stay.
    """

    def __init__(self, encoder: TextEncoder, trainable: int) -> None:
        self._encoder = encoder
        self._owner, self._name, layers = layer_list(encoder.backbone)
        if not 1 <= trainable <= len(layers):
            raise ValueError(f"trainable layers must be 1 to {len(layers)}, not {trainable}")
        self._layers = layers
        self._cut = len(layers) - trainable
        self._embeddings: dict[str, nn.Module] = {}

    @torch.no_grad()
    def hidden(self, input_ids: Tensor) -> Tensor:
        """INT [R, L] → the states that the upper layers start from, FP [R, L, h]."""
        found: list[Tensor] = []

        def stop(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            found.append(_first_states(*args, **kwargs))
            raise _FirstLayerReachedError

        hook = self._layers[self._cut].register_forward_pre_hook(stop, with_kwargs=True)
        try:  # what the layers above would make of it is not wanted, and takes as long
            self._encoder.backbone(input_ids, attention_mask=input_ids != self._encoder.pad_id)
        except _FirstLayerReachedError:
            return found[0]
        finally:
            hook.remove()
        raise AssertionError("the layers of a backbone are not run")

    def take_off(self) -> None:
        """Leave the upper layers alone in the backbone."""
        backbone = self._encoder.backbone
        for name in ("embeddings", "embeddings_project"):
            if hasattr(backbone, name):
                self._embeddings[name] = getattr(backbone, name)
                setattr(backbone, name, _Passthrough())
        setattr(self._owner, self._name, nn.ModuleList(self._layers[self._cut :]))

    @property
    def learning(self) -> nn.ModuleList:
        """The layers that stay, lowest first."""
        return self._layers[self._cut :]

    def rejoin(self) -> None:
        """Put the backbone together again."""
        setattr(self._owner, self._name, self._layers)
        for name, module in self._embeddings.items():
            setattr(self._encoder.backbone, name, module)
        self._embeddings.clear()

    def upper(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Cached states FP [R, L, h] and mask BOOL [R, L] → text vectors FP [R, h]."""
        output = self._encoder.backbone(inputs_embeds=hidden, attention_mask=mask)
        return self._encoder.pool(output.last_hidden_state, mask)


class NoLowerLayers:
    """Stands for `LowerLayers` where everything learns, the embeddings too: all starts from ids."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder
        self.learning = layer_list(encoder.backbone)[2]

    def hidden(self, input_ids: Tensor) -> Tensor:
        return input_ids

    def take_off(self) -> None: ...

    def rejoin(self) -> None: ...

    def upper(self, input_ids: Tensor, mask: Tensor) -> Tensor:
        """Ids INT [R, L] and mask BOOL [R, L] → text vectors FP [R, h]."""
        # RoBERTa and its kin count positions by what is padding.
        vectors: Tensor = self._encoder(input_ids.masked_fill(~mask, self._encoder.pad_id))
        return vectors


class _Passthrough(nn.Module):
    """Stands where the embeddings were; hands on the states that it is given."""

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        return _first_states(*args, **kwargs)


def _first_states(*args: Any, **kwargs: Any) -> Tensor:
    """The first tensor of floats among the arguments of a part of a network."""
    return next(
        value
        for value in (*args, *kwargs.values())
        if isinstance(value, Tensor) and value.is_floating_point()
    )


class _FirstLayerReachedError(Exception):
    """Ends the run of a backbone."""


def layer_count(backbone: nn.Module) -> int:
    """Layers that `LowerLayers` can choose from; 0 where they share their weights, as ALBERT's."""
    try:
        return len(layer_list(backbone)[2])
    except ValueError:
        return 0


def layer_list(backbone: nn.Module) -> tuple[nn.Module, str, nn.ModuleList]:
    """Find the layers of a BERT-like network: the module that holds them, their name in it, they.

    Raises
    ------
    ValueError
        No ``ModuleList`` is as long as the configuration says that the network is deep.
    """
    depth = backbone.config.num_hidden_layers  # type: ignore[union-attr]
    for owner in backbone.modules():
        for name, child in owner.named_children():
            if isinstance(child, nn.ModuleList) and len(child) == depth:
                return owner, name, child
    raise ValueError(f"{type(backbone).__name__} has no list of {depth} layers to choose from")
