"""Learning benchmarks: known environments, several seeds, published numbers beside ours, one page from raw results.

    make bench-learning                            # installs what the environments need, runs what is missing
    python -m benchmarks.learning --list           # what is done, what is missing, and its CPU time
    python -m benchmarks.learning --only acrobot --seeds 0,1 --jobs 2
    python -m benchmarks.learning --publish        # no training: docs/learning.md and its pictures from the results

:mod:`.registry` says what an experiment is; the modules named in its ``FAMILIES`` hold them. A finished run is one line
of ``results/<experiment>.jsonl``; one that was cut short leaves nothing and runs again.
"""
