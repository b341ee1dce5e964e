"""CartPole-v1 until the greedy policy is good (workload W3): steps and CPU seconds of the whole system in one process.

    python benchmarks/cartpole.py --peers PEERS [--seeds 0,1,2] [--overrides train_config.learning_rate=2e-3 ...]

Good is the peers' goal: a mean return of 475 over 20 episodes of fixed seeds, looked at about every 2,000 steps. The
shipped ``cartpole`` configuration is used. Start and evaluations are left out. Prints one ``RESULT {json}`` per seed.
"""

from __future__ import annotations

import argparse
from typing import Any

import measuring


def measure(peers: str, seed: int, overrides: list[str], profile: bool = False) -> dict[str, Any]:
    """One run: ``reached, env_steps, wall_s, cpu_s, ...``."""
    import torch

    goal_class = measuring.peers_common(peers).CartPoleGoal
    result: dict[str, Any] = {}

    def make_over() -> measuring.Over:
        goal = goal_class()  # its clock starts here

        def over(trainer: Any) -> bool:
            def act(observations: Any) -> Any:
                obs = {trainer.env_spec.obs.keys[0]: torch.as_tensor(observations)}
                first = torch.zeros(len(observations), dtype=torch.bool)
                return trainer.policy.act(obs, first, [], deterministic=True).actions[:, 0].numpy()

            steps = trainer.progress.env_steps
            reached = bool(goal.check(steps, act))
            result.update(goal.result(steps, reached))
            return reached

        return over

    seeds = [f"train_config.seed={seed}", f"rollout_config.worker_config.seed={seed}"]
    measuring.train_inline("cartpole", [*seeds, *overrides], make_over, 600.0, profile)
    return result


def main() -> None:
    """Measures every seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--overrides", nargs="*", default=[])
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    for seed in map(int, arguments.seeds.split(",")):
        result = measure(arguments.peers, seed, arguments.overrides, arguments.profile)
        measuring.emit(peer="ours", workload="w3", seed=seed, **result)


if __name__ == "__main__":
    main()
