"""Collecting experience: environment pools, the rollout worker, fragments, the replay buffer, episodes, evaluation.

No Ray here: the runtimes hand in whatever crosses a process border through the protocols of ``contracts``.
"""
