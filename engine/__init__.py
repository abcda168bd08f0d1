"""Training step and epoch, evaluation, inference protocols, checkpoints."""
