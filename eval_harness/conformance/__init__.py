"""The check of a checkpoint: frames, hypotheses about inputs, corrections of actions."""
