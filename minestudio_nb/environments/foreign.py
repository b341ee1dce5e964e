"""Run a module of this package in an interpreter that has other packages: ``python foreign.py MODULE ARGUMENTS``.

The module's ``main(arguments)`` is called. Only this package is lent to the interpreter, found beside this file, so
that both sides of a conversation are always of the same version; everything else comes from the interpreter's own
packages. An environment's process needs numpy and gymnasium there.
"""

import importlib
import importlib.util
import os
import sys

LEAST = (3, 11)


def lend_package():
    # type: () -> None
    """Makes ``minestudio_nb`` importable without its neighbours in the folder that it is installed in."""
    here = os.path.dirname(os.path.abspath(__file__))
    root = os.path.dirname(here)
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != here]  # or our modules hide others'
    spec = importlib.util.spec_from_file_location(
        "minestudio_nb", os.path.join(root, "__init__.py"), submodule_search_locations=[root]
    )
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["minestudio_nb"] = package
    spec.loader.exec_module(package)


def main(arguments):
    # type: (list[str]) -> None
    if sys.version_info < LEAST:  # a syntax that old Pythons read, up to here
        raise SystemExit(f"minestudio_nb needs Python 3.11 or newer; {sys.executable} is {sys.version}")
    lend_package()
    importlib.import_module(arguments[0]).main(arguments[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
