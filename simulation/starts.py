"""Where episodes start: official init states, which of them are held out, and the seeds' ranges."""

FIRST_HELD_OUT_INIT = 35
"""Official init states from this index up to 49 are never trained on."""
OFFICIAL_INITS = 50
"""Number of official init states of every LIBERO task."""
EVALUATION_SEED = 1_000_000
"""Seeds from here on belong to held-out evaluation; training uses smaller ones."""
TRAINING_SEEDS = 100
"""Number of seeds that a training may have."""
STARTS_PER_TRAINING_SEED = EVALUATION_SEED // TRAINING_SEEDS
"""Seeds of initial states that a training of one seed has to itself."""
FINAL_EVALUATION_SEED = 1_500_000
"""Seeds from here on belong to the evaluation that is reported, after model selection."""
COLLECTION_SEED = 2_000_000
"""Seeds from here on belong to the collection of the published trajectories."""
