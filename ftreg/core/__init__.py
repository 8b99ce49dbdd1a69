"""One optimizer step is the same in any loop: this is what a method is, and the engine that folds methods into it."""
