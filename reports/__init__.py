"""Pages, tables, figures and videos of a run, an evaluation or an experiment."""
