"""The real game behind the door of VoxelSim: MineStudio's MinecraftSim, repaired for learning.

``install`` builds the interpreter in which MineStudio lives, and runs in any other. ``sim`` can be imported only there.
"""
