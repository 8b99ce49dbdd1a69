"""Which tokens are hidden, and behind what: against a port of the papers' codes, and by counting."""

import pytest
import torch
from torch import Tensor

from ftreg.methods.pretraining.masking import Masking, mask_tokens
from ftreg.methods.pretraining.vocabulary import Vocabulary, word_starts
from ftreg.testing.encoders import TOKENS
from tests.reference import masked_lm as port

MASK = TOKENS.index("[MASK]")
VOCABULARY = Vocabulary("", torch.arange(120) < 5, word_starts(TOKENS, "##"), MASK, TOKENS.index("[UNK]"))
MASKINGS = {unit: Masking(0.3, unit, 0.2, 10, MASK, 0.8, 0.1) for unit in ("token", "word", "span")}


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def text(count: int, length: int, seed: int = 0) -> Tensor:
    """Rows of random tokens, one in twenty of them special, between [CLS] and [SEP]."""
    ids = torch.randint(5, 120, (count, length), generator=generator(seed))
    special = torch.randint(0, 5, ids.shape, generator=generator(seed + 1))
    ids = torch.where(torch.rand(ids.shape, generator=generator(seed + 2)) < 0.05, special, ids)
    ids[:, 0], ids[:, -1] = TOKENS.index("[CLS]"), TOKENS.index("[SEP]")
    return ids


def places(ids: Tensor, masking: Masking, seeds: range, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """What becomes of the rows, and a table of the chosen places."""
    real = torch.ones_like(ids) if mask is None else mask
    found = mask_tokens(ids, real, VOCABULARY, masking, [generator(seed) for seed in seeds])
    chosen = torch.zeros_like(ids, dtype=torch.bool)
    chosen[found.rows, found.columns] = True
    return found.ids, chosen


@pytest.mark.parametrize("unit", MASKINGS)
@pytest.mark.parametrize("length", [4, 9, 40])
def test_masking_is_the_papers(unit: str, length: int):
    """The port is told what was drawn."""
    for seed, row in enumerate(text(50, length)):
        tokens = [TOKENS[token] for token in row.tolist()]
        draw = generator(seed)
        allowed = [place for place, token in enumerate(tokens) if token not in port.SPECIAL]
        if unit == "span":
            anchors = [allowed[k] for k in torch.randperm(len(allowed), generator=draw).tolist()] if allowed else []
            shares = torch.tensor([0.8**k for k in range(10)], dtype=torch.float64)
            sizes = torch.multinomial(shares, len(allowed), True, generator=draw) + 1 if allowed else torch.ones(0)
            groups = port.spans(tokens, anchors, sizes.tolist(), 0.3)
        elif unit == "word":
            count = len({port.word_start(tokens, place) for place in allowed})
            groups = port.whole_words(tokens, torch.randperm(count, generator=draw).tolist() if count else [], 0.3)
        else:
            order = torch.randperm(len(allowed), generator=draw).tolist() if allowed else []
            groups = port.single_tokens(tokens, order, 0.3)
        size = sum(map(len, groups))
        others = [TOKENS[5 + k] for k in torch.randint(115, (size,), generator=draw).tolist()]
        draws = torch.rand(len(groups) if unit == "span" else size, generator=draw, dtype=torch.float64).tolist()
        expected = port.replaced(tokens, groups, draws, others, unit == "span", "[MASK]")
        ids, chosen = places(row[None], MASKINGS[unit], range(seed, seed + 1))
        assert [TOKENS[token] for token in ids[0].tolist()] == expected
        assert chosen[0].nonzero().flatten().tolist() == sorted(place for group in groups for place in group)


@pytest.mark.parametrize("unit", MASKINGS)
def test_what_is_chosen(unit: str):
    ids = text(200, 40)
    mask = (torch.arange(40) < torch.randint(3, 41, (200, 1), generator=generator(9))).long()
    new, chosen = places(ids, MASKINGS[unit], range(200), mask)
    allowed = (ids >= 5) & mask.bool()
    assert not (chosen & ~allowed).any()
    assert torch.equal(new[~chosen], ids[~chosen])
    for row, able, taken in zip(ids, allowed.tolist(), chosen.tolist(), strict=True):
        budget = max(1, round(0.3 * sum(able))) if any(able) else 0
        if unit == "token":
            assert sum(taken) == budget
            continue
        for place in range(1, 40):
            inside = able[place] and able[place - 1] and TOKENS[int(row[place])].startswith("##")
            assert not inside or taken[place] == taken[place - 1], "a word is cut"
        words = sum(
            t and not (TOKENS[int(i)].startswith("##") and b)
            for t, i, b in zip(taken, row, [False, *able[:-1]], strict=True)
        )
        assert sum(taken) <= budget or words == 1
        assert any(taken) == any(able)


@pytest.mark.parametrize("unit", MASKINGS)
def test_shares_of_what_replaces_a_token(unit: str):
    ids = text(2000, 60)
    new, chosen = places(ids, MASKINGS[unit], range(2000))
    count = int(chosen.sum())
    masked, kept = (new[chosen] == MASK).sum() / count, (new[chosen] == ids[chosen]).sum() / count
    # Spans are replaced as a whole: fewer, larger draws. A random token is the same again once in 115.
    for share, expected in ((masked, 0.8), (kept, 0.1 + 0.1 / 115)):
        assert (
            abs(float(share) - expected) < 5 * (expected * (1 - expected) * (8 if unit == "span" else 1) / count) ** 0.5
        )
    assert (new[chosen] >= 4).all()
    drawn = new[chosen][(new[chosen] != MASK) & (new[chosen] != ids[chosen])]
    assert len(drawn.unique()) == 115


def test_spans_are_geometric_and_replaced_as_one():
    """Long rows and few spans: hardly any meet."""
    ids = torch.full((150, 4000), 6)
    new, chosen = places(ids, Masking(0.01, "span", 0.2, 10, MASK, 0.5, 0.0), range(150))
    sizes: list[int] = []
    for row, taken in zip(new, chosen, strict=True):
        edges = torch.diff(taken.int(), prepend=torch.zeros(1, dtype=torch.int), append=torch.zeros(1, dtype=torch.int))
        starts, ends = (edges == 1).nonzero().flatten(), (edges == -1).nonzero().flatten()
        sizes += (ends - starts).tolist()
        assert sum(len(row[a:b].unique()) > 1 for a, b in zip(starts, ends, strict=True)) <= 2
    found = torch.bincount(torch.tensor(sizes), minlength=11)[1:11] / len(sizes)
    expected = 0.2 * 0.8 ** torch.arange(10) / (1 - 0.8**10)
    assert sum(expected * torch.arange(1, 11)) == pytest.approx(3.8, abs=0.01)
    # The budget cuts a tenth of them short, and some touch.
    torch.testing.assert_close(found, expected, rtol=0, atol=0.03)


def test_where_words_start():
    assert word_starts(["a", "##b", "##"], "##").tolist() == [True, False, False]  # type: ignore[union-attr]
    assert word_starts(["Ġa", "b", "##"], None).tolist() == [True, False, False]  # type: ignore[union-attr]
    assert word_starts(["▁a", "b"], "").tolist() == [True, False]  # type: ignore[union-attr]
    assert word_starts(["a", "b"], None) is None
