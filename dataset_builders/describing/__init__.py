"""What travels with a dataset for its readers: statistics in their trainers' forms, and a card."""
