"""`python -m experiments.recipes`."""

from experiments.command import run_command
from experiments.recipes.run import recipes

run_command(recipes, "experiments.recipes")
