"""Next sentence prediction (Devlin et al., 2019, section 3.1, task 2) asks: does the second text follow the first?"""

from collections.abc import Sequence

from glue_tasks.errors import DataError
from glue_tasks.stratification import draws
from glue_tasks.tasks import Task

TASK = Task("nsp", ("first", "second"), ("next", "random"), title="NSP", dev=(), test=())


def pairs(documents: Sequence[Sequence[str]], seed: int) -> dict[str, list[str] | list[int]]:
    """Make columns first, second and label, a row for each two neighbouring sentences of a document.

    Half of the rows get as second a sentence of another document: any document is as likely, and any sentence of
    it. Documents of fewer than two sentences are left out.

    Raises `DataError`: fewer than two documents of two or more sentences.
    """
    documents = [document for document in documents if len(document) > 1]
    if len(documents) < 2:
        raise DataError(
            f"task 'nsp' needs two or more documents of two or more sentences, and there is {len(documents)}; "
            "put an empty line between documents, or choose data.task=sop"
        )
    rows = [(number, at) for number, document in enumerate(documents) for at in range(len(document) - 1)]
    chance = draws(len(rows), seed, "nsp/random")
    middle = sorted(chance)[len(rows) // 2]
    first, second, label = [], [], []
    for (number, at), drawn, which in zip(rows, chance, draws(len(rows), seed, "nsp/second"), strict=True):
        following = documents[number][at + 1]
        place, shift = divmod(which, len(documents) - 1)
        other = documents[(number + 1 + shift) % len(documents)]
        chosen = other[place % len(other)] if drawn < middle else following
        first.append(documents[number][at])
        second.append(chosen)
        label.append(int(chosen != following))  # a sentence that occurs all over may be drawn and yet be the next
    return {"first": first, "second": second, "label": label}
