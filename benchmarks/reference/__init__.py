"""Whole evaluations beside the usual script, lerobot-eval and vla-eval."""
