"""The command `dlr`: one subcommand per stage of the pipeline."""
