"""A Lightning Trainer drives the engine: through `FineTuner` or a module of one's own, with what of a Trainer works."""
