"""Single episodes of an evaluation: as rows of a table, and as films."""
