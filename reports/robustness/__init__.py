"""What an evaluation under perturbation found, as a table and a page."""
