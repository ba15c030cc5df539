"""What must hold of every plan: no two of its items make the same thing at once."""

from __future__ import annotations

from collections import Counter

from generator.recipes import RECIPES
from generator.work.items import Demonstrate, TrainingItem
from generator.work.plan import Plan
from simulation.tasks import get_task


def check_none_in_anothers_way(plan: Plan) -> None:
    """Check that demonstrations are made once, and first, and shared stages one after another."""
    after = plan.after.items
    before: list[set[int]] = []
    for earlier in after:
        before.append(set(earlier).union(*(before[other] for other in earlier)))
    shown = [(item.item.path, i) for i, item in enumerate(plan.items) if type(item) is Demonstrate]
    assert max(Counter(path for path, _ in shown).values()) == 1
    places = dict(shown)
    stages: dict[object, list[int]] = {}
    for index, item in enumerate(plan.items):
        if isinstance(item, TrainingItem):
            assert places[item.run.demonstrations(get_task(item.task))] in before[index]
            chain = [stage.name for stage in RECIPES[item.recipe].stages]
            count = chain.index(item.until) + 1 if item.until else len(chain)
            for depth in range(1, count + 1):
                key = (item.task, item.config.seed, RECIPES[item.recipe].stages[:depth])
                stages.setdefault(key, []).append(index)
    for mine in stages.values():
        assert all(mine[0] in before[other] for other in mine[1:])
