"""Engines are told here that an optimizer with their parameters has stepped.

So an engine knows when a loop has left out one of its calls, whichever loop it is: it complains in place of going on
with streams that stand still and a teacher that does not follow.
"""

from itertools import count
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook


class Follower(Protocol):
    """A follower is told of steps."""

    def concerned(self, trained: set[int]) -> bool:
        """Return whether parameters of these ids are of the follower's network."""

    def stepped(self, trained: set[int], newest: bool) -> None:
        """Hear that an optimizer with the parameters of these ids has stepped.

        Args:
            trained: the ids.
            newest: whether no younger follower has the network: an old one may be left over from an earlier training.
        """


_followers: "WeakKeyDictionary[Any, int]" = WeakKeyDictionary()
"""With their ages."""
_ages = count()
_handles: list[Any] = []


def follow(follower: Follower) -> None:
    """Tell `follower` of every optimizer's steps, for as long as it lives."""
    if not _handles:
        _handles.append(register_optimizer_step_post_hook(_tell))
    _followers[follower] = next(_ages)


def _tell(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    trained = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    concerned = [follower for follower in sorted(_followers, key=_followers.__getitem__) if follower.concerned(trained)]
    for follower in concerned:
        follower.stepped(trained, follower is concerned[-1])
