"""`python -m experiments.recipes`."""

import sys

import tyro

from common.errors import DlrError
from experiments.recipes.run import recipes

try:
    tyro.cli(recipes, prog="python -m experiments.recipes")
except DlrError as error:
    sys.exit(f"experiments: {error}")
