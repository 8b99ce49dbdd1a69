"""The engine under a Lightning Trainer: `FineTuner`, a module of one's own, and what of a Trainer goes with it."""
