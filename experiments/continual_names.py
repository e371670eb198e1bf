"""What scenarios and strategies are called where people read of them."""

SCENARIO_NAMES = {
    "class": "class-incremental",
    "domain": "domain-incremental",
    "task": "task-incremental",
}
STRATEGY_NAMES = {
    "none": "none",
    "ewc": "EWC",
    "si": "SI",
    "mas": "MAS",
    "lwf": "LwF",
    "gem": "GEM",
    "agem": "A-GEM",
    "replay": "Replay",
    "derpp": "DER++",
    "gdumb": "GDumb",
    "joint": "joint (upper bound)",
}
