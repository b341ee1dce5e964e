"""The run directory: where every file of a session lies, and which runs there are."""

from minestudio_nb.runs.directory import RunDirectory, check_run_name, fresh_name, list_runs, write_atomically

__all__ = ["RunDirectory", "check_run_name", "fresh_name", "list_runs", "write_atomically"]
