"""One optimizer step in any loop: what a method is, the step that it sees, the engine that folds methods into it."""
