"""PPO's parts: batches, critic, updates, the budget, starts, replay, and what the theorem asks."""
