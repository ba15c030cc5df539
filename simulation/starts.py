"""Where episodes start: official init states, which of them are held out, and the seeds' ranges."""

FIRST_HELD_OUT_INIT = 35
"""Official init states from this index up to 49 are never trained on."""
OFFICIAL_INITS = 50
"""Number of official init states of every LIBERO task."""
EVALUATION_SEED = 1_000_000
"""Seeds from here on belong to held-out evaluation; training uses smaller ones."""
SEEDS = 2**32
"""Seeds of resets are below it: NumPy's global generator, from which upstream draws, takes no
larger ones."""
TRAINING_SEEDS = 100
"""Number of seeds that a training may have."""
STARTS_PER_TRAINING_SEED = EVALUATION_SEED // TRAINING_SEEDS
"""Seeds of initial states that a training of one seed has to itself."""
FINAL_EVALUATION_SEED = 1_500_000
"""Seeds from here on belong to the evaluation that is reported, after model selection. Official
states are no seeds: the held-out ones are those of the selection, too."""
COLLECTION_SEED = 2_000_000
"""Seeds from here on belong to the collection of the published trajectories."""
NOT_OFFICIAL = -1
"""What files and messages hold where an episode starts from no official init state."""


def stored_index(init_index: int | None) -> int:
    """Return the index of an official init state, or None for another start, as files hold it."""
    return NOT_OFFICIAL if init_index is None else int(init_index)


def official_index(stored: int) -> int | None:
    """Return the index of an official init state that files hold, or None for another start."""
    return None if stored < 0 else stored
