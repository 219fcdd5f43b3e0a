"""An interpreter with a GIL of its own, from one use to the next.

The end of a use is that of a program: threads come to theirs, and what atexit knows is run.
Then the interpreter is as it was when it was made: modules that were imported since are let
go, those from before have what they had.
"""

import atexit
import gc
import os
import posix
import sys
import threading
import types
import warnings


def _register_at_fork(**_functions):
    """Nothing forks here, and what is registered with CPython stays for good."""


class Origin:
    """What an interpreter has when it is made."""

    def __init__(self):
        os.register_at_fork = posix.register_at_fork = _register_at_fork
        self.table = sys.modules
        self.modules = dict(sys.modules)
        spaces = {
            id(module): vars(module)
            for module in self.modules.values()
            if isinstance(module, types.ModuleType)
        }
        self.spaces = [(space, dict(space)) for space in spaces.values()]
        self.lists = [
            (value, list(value))
            for _, names in self.spaces
            for value in names.values()
            if type(value) is list
        ]

    def restore(self):
        """End what goes on here, and go back.

        Waits for threads that are not daemons.
        """
        _end_threads()
        atexit._run_exitfuncs()
        # The names first: destructors of what goes may need them.
        for space, names in self.spaces:
            space.update(names)
        for space, names in self.spaces:
            for name in space.keys() - names.keys():
                del space[name]
        warnings.resetwarnings()  # or it would not look at the list again
        for value, items in self.lists:
            value[:] = items
        for name in self.table.keys() - self.modules.keys():
            del self.table[name]
        self.table.update(self.modules)
        sys.path_importer_cache.clear()
        gc.collect()


def _end_threads():
    # Executors tell their threads to end.
    for call in reversed(threading._threading_atexits):
        call()
    threading._threading_atexits.clear()
    apart = (threading.main_thread(), threading.current_thread())
    for thread in threading.enumerate():
        if thread not in apart and not thread.daemon:
            thread.join()
