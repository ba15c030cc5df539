"""What `eval_harness.check` is made of: frames, hypotheses about inputs, corrections of actions."""
