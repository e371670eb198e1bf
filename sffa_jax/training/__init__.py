"""Learners and training.

Reading order: `learner` (the interface), `update_order` and `local` (layer-local learning),
`backprop` (the baseline), `adversarial` and `augment` (changed images), `samples`, `fit`,
`evaluate` (accuracy and predictions), `descriptions` and `saved` (networks on disk), `sharding` (a
batch on several devices).
"""
