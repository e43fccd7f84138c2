from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from model_repository.engines.token_packs import _TOKENS, token_packs

LENGTHS = st.lists(st.integers(1, 200), min_size=1, max_size=80)


@given(LENGTHS, st.integers(1, 5))
def test_every_row_is_in_one_pack_and_packs_are_alike(lengths: list[int], cores: int) -> None:
    packs = token_packs(lengths, cores)
    assert [place for pack in packs for place in range(*pack.indices(len(lengths)))] == list(
        range(len(lengths))
    )
    tokens = [sum(lengths[pack]) for pack in packs]
    assert min(tokens) > 0
    # Rows stay whole, so a pack may be off by half of one at either end.
    assert max(tokens) <= min(_TOKENS, sum(lengths) / min(cores, len(lengths))) + max(lengths)


def test_a_batch_keeps_all_cores_at_work() -> None:
    assert token_packs([10] * 8, 2) == [slice(0, 4), slice(4, 8)]
    assert token_packs([10], 2) == [slice(0, 1)]
    assert token_packs([10, 10], 4) == [slice(0, 1), slice(1, 2)]
    # 270 tokens are more than two packs should hold, and three would leave a core idle.
    assert len(token_packs([10] * 27, 2)) == 4
