"""Where environments come from: builders, gymnasium spaces as specs, and the process that holds one environment.

Nothing here imports torch or Ray, so that an environment's process can run in another interpreter.
"""
