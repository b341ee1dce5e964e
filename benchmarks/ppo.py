"""Full PPO of the whole system in one process (workload W2), to be held against the peers' scripts.

    python benchmarks/ppo.py --peers PEERS [--net tiny|impala] [--seconds 15] [--profile]

8 environments of 128x128x3 pixels x 64 steps, one pass in 4 optimizer steps; same network and settings as the peers'.
Prints ``RESULT {json}`` with steps per second and CPU seconds per 1,000 steps after the first iteration.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import measuring


def main() -> None:
    """Measures once and prints the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True)
    parser.add_argument("--net", default="tiny", choices=("tiny", "impala"))
    parser.add_argument("--cost", default="none", choices=("none", "cpu2", "sleep5"))
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bfloat16", action="store_true", help="act and train in bfloat16; the peers do not")
    parser.add_argument("--checkpoints", action="store_true", help="one after every iteration, as is the default")
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()

    window_class = measuring.peers_common(arguments.peers).Window
    result: dict[str, Any] = {}

    def make_over() -> measuring.Over:
        window: list[Any] = []

        def over(trainer: Any) -> bool:
            steps = trainer.progress.env_steps
            if trainer.progress.iteration < 1:
                return False
            if not window:
                window.extend([window_class(), steps])
            elif time.perf_counter() - window[0].t0 > arguments.seconds:
                result.update(window[0].done(steps - window[1]))
                return True
            return False

        return over

    overrides = [f"train_config.seed={arguments.seed}"]
    if arguments.bfloat16:
        overrides += ["train_config.use_amp=true", "rollout_config.worker_config.inference_dtype=bfloat16"]
    if arguments.checkpoints:
        overrides.append("recovery_interval=1")
    config = measuring.pixel_config(arguments.peers, arguments.net, arguments.cost)
    measuring.train_inline(config, overrides, make_over, arguments.seconds + 120.0, arguments.profile)
    measuring.emit(peer="ours", workload="w2", net=arguments.net, cost=arguments.cost, **result)


if __name__ == "__main__":
    main()
