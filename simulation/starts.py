"""Where episodes start: official init states, which of them are held out, and the seeds' ranges."""

FIRST_HELD_OUT_INIT = 35
"""Official init states from this index up to 49 are never trained on."""
OFFICIAL_INITS = 50
"""Number of official init states of every LIBERO task."""
EVALUATION_SEED = 1_000_000
"""Seeds from here on belong to held-out evaluation; training uses smaller ones."""
FINAL_EVALUATION_SEED = 1_500_000
"""Seeds from here on belong to the evaluation that is reported, after model selection."""
COLLECTION_SEED = 2_000_000
"""Seeds from here on belong to the collection of the published trajectories."""
