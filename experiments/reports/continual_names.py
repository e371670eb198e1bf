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
    "owned": "Owned units: axes",
    "owned_gradient": "Owned units: gradient",
    "owned_replay": "Owned units: gradient, Replay",
    "protect": "Protected units",
    "ncm": "Nearest class mean, pixels",
    "slda": "Streaming LDA, pixels",
    "slda_random": "Streaming LDA, random features",
    "slda_random_maps": "Streaming LDA, random maps",
    "slda_maps": "Streaming LDA, learned maps",
}
