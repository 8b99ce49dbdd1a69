"""When an optimizer steps, the engines whose parameters it has are told.

So an engine knows when a loop has left out one of its calls, whichever loop it is: it complains in place of going on
with streams that stand still and a teacher that does not follow.
"""

from typing import Any, Protocol
from weakref import WeakSet

from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook


class Follower(Protocol):
    """A follower is told of optimizers' steps."""

    def stepped(self, trained: set[int]) -> None:
        """Hear that an optimizer with the parameters of these ids has stepped."""


_followers: "WeakSet[Any]" = WeakSet()


def follow(follower: Follower) -> None:
    """Tell `follower` of every optimizer's steps, for as long as it lives."""
    if not _followers:
        _handles[:] = _handles or [register_optimizer_step_post_hook(_tell)]
    _followers.add(follower)


_handles: list[Any] = []


def _tell(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    trained = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    for follower in [*_followers]:
        follower.stepped(trained)
