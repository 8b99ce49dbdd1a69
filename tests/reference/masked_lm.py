"""Masking as BERT and SpanBERT do it (Devlin et al. 2019; Joshi et al., TACL 2020), one token at a time.

`whole_words` follows google-research/bert, `create_pretraining_data.py::create_masked_lm_predictions`; `spans` follows
facebookresearch/SpanBERT, `fairseq/data/masking.py::PairWithSpanMaskingScheme`. Written from a description of that
code, on strings; shares nothing with `ftreg`. All randomness is given. Of the two codes' own: the budget counts the
tokens that may be chosen, no word is ever cut, and where no word fits into the budget the first one is taken.
"""

import torch
from torch import Tensor

SPECIAL = ("[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]")


def budget(tokens: list[str], rate: float) -> int:
    """How many tokens to choose."""
    allowed = 0
    for token in tokens:
        if token not in SPECIAL:
            allowed += 1
    return max(1, round(allowed * rate)) if allowed else 0


def word_start(tokens: list[str], position: int) -> int:
    """Where the word that a token is in begins."""
    while position > 0 and tokens[position].startswith("##") and tokens[position - 1] not in SPECIAL:
        position -= 1
    return position


def word_end(tokens: list[str], position: int) -> int:
    """One past where the word that a token is in ends."""
    position += 1
    while position < len(tokens) and tokens[position].startswith("##"):
        position += 1
    return position


def single_tokens(tokens: list[str], order: list[int], rate: float) -> list[list[int]]:
    """The first so many of the tokens that may be chosen, in an order of those."""
    allowed = [position for position, token in enumerate(tokens) if token not in SPECIAL]
    return [[allowed[number]] for number in order[: budget(tokens, rate)]]


def whole_words(tokens: list[str], order: list[int], rate: float) -> list[list[int]]:
    """Positions of the chosen words, in the order of `order`, a permutation of the words."""
    candidates: list[list[int]] = []
    open_word = False
    for position, token in enumerate(tokens):
        if token in SPECIAL:
            open_word = False
            continue
        if open_word and token.startswith("##"):
            candidates[-1].append(position)
        else:
            candidates.append([position])
        open_word = True
    limit = budget(tokens, rate)
    chosen: list[list[int]] = []
    covered = 0
    for number in order:
        if covered >= limit:
            break
        if covered + len(candidates[number]) > limit:
            continue
        chosen.append(candidates[number])
        covered += len(candidates[number])
    return chosen if chosen or not order else [candidates[order[0]]]


def spans(tokens: list[str], anchors: list[int], lengths: list[int], rate: float) -> list[list[int]]:
    """What each anchor adds; anchors are positions of tokens, each with a length in words."""
    limit = budget(tokens, rate)
    mask: set[int] = set()
    found: list[list[int]] = []
    for anchor, length in zip(anchors, lengths, strict=True):
        if len(mask) >= limit:
            break
        if anchor in mask:
            continue
        span: list[int] = []
        left = word_start(tokens, anchor)
        for _ in range(length):
            if left >= len(tokens) or tokens[left] in SPECIAL:
                break
            right = word_end(tokens, left)
            new = [position for position in range(left, right) if position not in mask]
            if len(mask) + len(new) > limit:
                break
            mask.update(new)
            span.extend(new)
            left = right
        if span:
            found.append(span)
    if not found and anchors:
        left = word_start(tokens, anchors[0])
        found.append([*range(left, word_end(tokens, left))])
    return found


def replaced(
    tokens: list[str], chosen: list[list[int]], draws: list[float], others: list[str], jointly: bool, mask: str
) -> list[str]:
    """80 % `mask`, 10 % another token, 10 % as it was: a draw a token, or one a span; `others` in order of choice."""
    out = list(tokens)
    count = 0
    for number, span in enumerate(chosen):
        for position in span:
            draw = draws[number] if jointly else draws[count]
            if draw < 0.8:
                out[position] = mask
            elif draw < 0.9:
                out[position] = others[count]
            count += 1
    return out


def loss(logits: Tensor, ids: Tensor, chosen: list[list[int]]) -> Tensor:
    """From logits of every place [batch, tokens, vocabulary]: mean over a row's chosen places, then over rows."""
    rows = []
    for row, places in enumerate(chosen):
        total = torch.zeros((), dtype=logits.dtype)
        for place in places:
            total = total - torch.log_softmax(logits[row, place], dim=0)[ids[row, place]]
        rows.append(total / max(1, len(places)))
    return torch.stack(rows).mean()
