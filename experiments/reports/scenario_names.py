"""Names of the continual-learning scenarios in reports."""

SCENARIO_NAMES = {
    "class": "class-incremental",
    "domain": "domain-incremental",
    "task": "task-incremental",
}
