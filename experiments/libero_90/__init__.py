"""LIBERO-90, all of it: both recipes on every task, what came of it, and what more would cost."""
