"""Settings of the trainer: sizes of an iteration, the algorithm, checkpoints, when to stop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from minestudio_nb.config.fields import Section, section, setting

__all__ = ["CloningSection", "ScalingSection", "TrainConfig"]

TRAINERS_ARE_BUILT_WITH_IT = "The trainer's processes are built with it; start a new session to change it."
ITERATION_IS_LAID_OUT_WITH_IT = "Every rank must hold equally many fragments per iteration; start a new session."
LOSS_IS_BUILT_WITH_IT = "It changes what the value function or the loss means; start a new session to change it."
READ_AT_THE_START = "It is read once, when the trainer starts."
FRAGMENTS_COME_BY_REFERENCE = (
    "The trainer reads fragments by reference and prefetches them itself: see prefetch_batches."
)


@dataclass(frozen=True, repr=False)
class ScalingSection(Section):
    """Ray Train's ScalingConfig. Where given, it overrides num_workers and num_gpus_per_worker of train_config."""

    num_workers: int | None = setting(
        None, "Training processes. None: train_config.num_workers.", ge=1, why_not_live=TRAINERS_ARE_BUILT_WITH_IT
    )
    use_gpu: bool | None = setting(
        None,
        "One GPU for each training process, or none. None: train_config.num_gpus_per_worker.",
        why_not_live=TRAINERS_ARE_BUILT_WITH_IT,
    )
    resources_per_worker: dict[str, Any] = setting(
        {},
        "Resources of each training process by name, such as {CPU: 2, GPU: 1}.",
        why_not_live=TRAINERS_ARE_BUILT_WITH_IT,
    )
    placement_strategy: str = setting(
        "PACK",
        "How Ray places the training processes on nodes.",
        choices=("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"),
        why_not_live=TRAINERS_ARE_BUILT_WITH_IT,
    )


@dataclass(frozen=True, repr=False)
class CloningSection(Section):
    """Behaviour cloning beside PPO, with trainer_name PPOBCTrainer."""

    paths: list[str] = setting(
        [],
        "Files of demonstrations, or folders below which they lie, on the machines that train.",
        why_not_live=READ_AT_THE_START,
    )
    coef: float = setting(0.1, "Weight of the mean of -log p(demonstrated action).", ge=0, live=True, scale="log")
    coef_decay: float = setting(1.0, "Factor on coef after each iteration.", gt=0, le=1, live=True)
    batch_size: int = setting(
        64, "Steps of demonstrations beside each microbatch, on each rank.", unit="steps", ge=1, live=True
    )


@dataclass(frozen=True, repr=False)
class TrainConfig(Section):
    """The trainer. Batch sizes count fragments; ``OnlineConfig`` has the arithmetic."""

    # Where it runs.
    num_workers: int = setting(1, "Training processes (ranks).", ge=1, why_not_live=TRAINERS_ARE_BUILT_WITH_IT)
    num_gpus_per_worker: float = setting(
        0.0, "GPUs of each training process.", unit="GPUs", ge=0, why_not_live=TRAINERS_ARE_BUILT_WITH_IT
    )
    device: str = setting(
        "auto",
        "Where the policy trains: auto is cuda when num_gpus_per_worker > 0, else cpu; or cpu, cuda, cuda:1, mps.",
        why_not_live=TRAINERS_ARE_BUILT_WITH_IT,
    )
    num_threads: int = setting(
        1, "CPU threads of each training process.", unit="threads", ge=1, why_not_live=TRAINERS_ARE_BUILT_WITH_IT
    )
    node_labels: dict[str, Any] = setting(
        {},
        "Labels of the nodes that training processes may run on: {kind: gpu}; also !gpu, in(a, b), !in(a, b).",
        why_not_live=TRAINERS_ARE_BUILT_WITH_IT,
    )
    use_amp: bool = setting(
        False,
        "Train in bfloat16 where that is safe (autocast).",
        why_not_live=TRAINERS_ARE_BUILT_WITH_IT,
    )
    gradient_checkpointing: bool = setting(
        False, "Compute the policy's large parts again in the backward pass: less memory, a third more time.", live=True
    )
    compile_policy: bool = setting(
        False,
        "Train with the policy compiled by torch.compile: faster steps after a start of a minute or more.",
        why_not_live=TRAINERS_ARE_BUILT_WITH_IT,
    )
    seed: int = setting(
        0, "Seed of weights, shuffling and everything else random in training.", ge=0, why_not_live=READ_AT_THE_START
    )
    scaling_config: ScalingSection = section(ScalingSection)

    # How much one iteration takes.
    num_iterations: int = setting(1000, "Iterations after which training ends.", unit="iterations", ge=1, live=True)
    batch_size_per_gpu: int = setting(
        4,
        "Fragments of one microbatch, on each rank.",
        unit="fragments",
        ge=1,
        why_not_live=ITERATION_IS_LAID_OUT_WITH_IT,
    )
    batches_per_iteration: int = setting(
        4,
        "Microbatches of one pass over an iteration's data, on each rank.",
        ge=1,
        why_not_live=ITERATION_IS_LAID_OUT_WITH_IT,
    )
    gradient_accumulation: int = setting(
        1, "Microbatches of one optimizer step.", ge=1, why_not_live=ITERATION_IS_LAID_OUT_WITH_IT
    )
    epochs_per_iteration: int = setting(1, "Passes over an iteration's data.", unit="passes", ge=1, live=True)
    context_length: int = setting(
        1,
        "Consecutive steps that are trained on as one sequence; 1 shuffles single steps (stateless policies only).",
        unit="steps",
        ge=1,
        why_not_live=ITERATION_IS_LAID_OUT_WITH_IT,
    )

    # Optimizer.
    learning_rate: float = setting(3e-4, "Step size of AdamW.", ge=0, le=1, live=True, scale="log")
    anneal_lr_linearly: bool = setting(
        False, "Lower the learning rate linearly to 0 at num_iterations.", why_not_live=READ_AT_THE_START
    )
    weight_decay: float = setting(0.0, "Decoupled weight decay of AdamW.", ge=0, le=1, live=True, scale="log")
    adam_eps: float = setting(1e-5, "Epsilon of AdamW.", gt=0, le=1, why_not_live=READ_AT_THE_START, scale="log")
    freeze: list[str] = setting(
        [],
        "Parts of the policy that are not trained: names of parameters, or what they begin with (trunk, net.tower); "
        "* is any text.",
        live=True,
    )
    parameter_groups: list[dict[str, Any]] = setting(
        [],
        "Parts with settings of their own, each {match, learning_rate_factor, weight_decay}; match as in freeze.",
        why_not_live=TRAINERS_ARE_BUILT_WITH_IT,
    )
    max_grad_norm: float = setting(0.5, "Gradients are scaled down to this global norm.", gt=0, live=True, scale="log")

    # Returns and losses.
    discount: float = setting(0.99, "Weight of a reward one step later (gamma).", ge=0, le=1, live=True)
    gae_lambda: float = setting(
        0.95, "Bias against variance of advantages: 0 one step, 1 whole return.", ge=0, le=1, live=True
    )
    objective: str = setting(
        "decoupled",
        "decoupled: ratio and clipping refer to the weights at the iteration's start, stale samples are weighted; "
        "plain: they refer to the policy that acted, as in PPO without care for stale data.",
        choices=("decoupled", "plain"),
        why_not_live=LOSS_IS_BUILT_WITH_IT,
    )
    ppo_clip: float = setting(
        0.2, "How far the probability ratio may leave 1 before its gradient stops.", gt=0, le=10, live=True
    )
    anneal_clip_linearly: bool = setting(
        False, "Lower ppo_clip linearly to 0 at num_iterations.", why_not_live=READ_AT_THE_START
    )
    clip_vloss: bool = setting(
        False, "Clip the value's change per iteration as the policy's.", why_not_live=LOSS_IS_BUILT_WITH_IT
    )
    ppo_policy_coef: float = setting(1.0, "Weight of the policy loss.", ge=0, live=True)
    ppo_vf_coef: float = setting(0.5, "Weight of the value loss.", ge=0, live=True)
    entropy_bonus_coef: float = setting(
        0.0, "Weight of the entropy bonus: higher explores more.", ge=0, live=True, scale="log"
    )
    kl_divergence_coef_rho: float = setting(
        0.0, "Weight of KL(policy || reference policy); 0 needs no reference policy.", ge=0, live=True
    )
    coef_rho_decay: float = setting(
        1.0, "Factor on kl_divergence_coef_rho after each iteration.", gt=0, le=1, live=True
    )
    enable_ref_update: bool = setting(
        False, "Take the current policy as the new reference after each iteration.", why_not_live=READ_AT_THE_START
    )
    log_ratio_range: float = setting(
        50.0,
        "Log probability ratios are clamped to this, both ways, against overflow.",
        gt=0,
        le=80,
        why_not_live=LOSS_IS_BUILT_WITH_IT,
    )
    normalize_advantage_full_batch: bool = setting(
        True,
        "Normalise advantages over the whole iteration and all ranks; false: over each optimizer step.",
        why_not_live=LOSS_IS_BUILT_WITH_IT,
    )
    use_normalized_vf: bool = setting(
        False,
        "The value head predicts returns normalised by a running mean and deviation.",
        why_not_live=LOSS_IS_BUILT_WITH_IT,
    )
    zero_initial_vf: bool = setting(
        False, "Set the value head's last layer to zero at the start.", why_not_live=READ_AT_THE_START
    )
    fix_decoder: bool = setting(
        False, "Keep the policy's decoder as it is.", inert="Name the parts that shall stay in train_config.freeze."
    )
    vf_warmup: int = setting(
        0,
        "Iterations at the start that train the value function only.",
        unit="iterations",
        ge=0,
        why_not_live=READ_AT_THE_START,
    )
    importance_weight_clamp: float = setting(
        2.0,
        "Upper bound of the weight p_proximal / p_behaviour on samples of an older policy version.",
        ge=1,
        why_not_live=LOSS_IS_BUILT_WITH_IT,
    )
    target_kl: float | None = setting(
        None,
        "End an iteration's passes when its KL from the iteration's start exceeds this; the steps made so far stay. "
        "None: make all passes.",
        unit="nats",
        gt=0,
        live=True,
    )
    kl_skip: float | None = setting(
        None,
        "Undo an iteration's update, on all ranks, when its KL from the iteration's start exceeds this. None: never.",
        gt=0,
        why_not_live=READ_AT_THE_START,
    )

    # Learning from demonstrations.
    bc_config: CloningSection = section(CloningSection)

    # Reading data.
    prefetch_batches: int = setting(
        2,
        "Microbatches moved to the GPU ahead of the optimizer; on a CPU there is nothing to gain.",
        ge=0,
        why_not_live=TRAINERS_ARE_BUILT_WITH_IT,
    )
    num_readers: int = setting(4, "Reader processes of fragments.", ge=1, inert=FRAGMENTS_COME_BY_REFERENCE)
    num_cpus_per_reader: float = setting(
        0.1, "CPUs of each reader.", unit="CPUs", ge=0, inert=FRAGMENTS_COME_BY_REFERENCE
    )

    # What is kept.
    save_interval: int = setting(10, "Iterations between checkpoints.", unit="iterations", ge=1, live=True)
    keep_interval: int = setting(
        40,
        "Checkpoints of iterations that are multiples of this stay; of the others only the newest.",
        unit="iterations",
        ge=1,
        live=True,
    )
    record_video_interval: int = setting(
        0, "Iterations between requests to film the next episodes; 0: never.", unit="iterations", ge=0, live=True
    )
    resume: str | None = setting(
        None,
        "Checkpoint folder, or name of a run whose newest checkpoint to go on from.",
        why_not_live=READ_AT_THE_START,
    )
    resume_optimizer: bool = setting(
        True, "Take over the optimizer's state, not only the weights, when resuming.", why_not_live=READ_AT_THE_START
    )
    save_path: str | None = setting(
        None,
        "Folder of checkpoints.",
        inert="Checkpoints go to checkpoints/ in the run directory, where resume and attach find them.",
    )

    # When to stop before num_iterations.
    target_return: float | None = setting(
        None,
        "Stop when the mean return over a full window of episodes reaches this (episode_statistics_config.window).",
        live=True,
    )
    max_env_steps: int | None = setting(
        None, "Stop after this many environment steps (policy decisions).", unit="steps", ge=1, live=True
    )
    max_minutes: float | None = setting(None, "Stop after this much training time.", unit="min", gt=0, live=True)
