"""An interpreter with a GIL of its own, from one use to the next.

The end of a use is that of a program: threads come to theirs, and what atexit knows is run.
Then the interpreter is as it was when it was made: modules that were imported since are let
go, those from before have what they had.

The code of the use may have replaced anything: what is needed here is kept from the start.
"""

import _codecs
import _imp
import atexit
import codecs
import gc
import importlib
import os
import posix
import sys
import threading
import types
import warnings

_HEAP_TYPE, _IMMUTABLE_TYPE = 1 << 9, 1 << 8  # Py_TPFLAGS_...

_run_exit_functions = atexit._run_exitfuncs
_all_threads = threading.enumerate
_join = threading.Thread.join
_monitoring = getattr(sys, "monitoring", None)  # from 3.12 on, as all this
_unregister_codec = codecs.unregister

_SETTINGS = (
    (sys.getrecursionlimit, sys.setrecursionlimit),
    (sys.getswitchinterval, sys.setswitchinterval),
    (sys.get_int_max_str_digits, sys.set_int_max_str_digits),
    (sys.getdlopenflags, sys.setdlopenflags),
    (gc.get_debug, gc.set_debug),
    (gc.get_threshold, lambda threshold, change=gc.set_threshold: change(*threshold)),
)

_searches = []  # functions that look for codecs
_hooks = []


def _register_at_fork(**_functions):
    """Nothing forks here, and what is registered with CPython stays for good."""


def _register_codec(search_function, /, _register=codecs.register):
    """Register a function that looks for codecs."""
    _register(search_function)
    _searches.append(search_function)


def _add_audit_hook(hook, /, _add=sys.addaudithook):
    """Add a hook, which stays for good: so the interpreter is not used again."""
    _hooks.append(hook)
    _add(hook)


def load_extension(name, file):
    """Create an extension module, which is known to CPython then; in the main interpreter."""
    if name not in sys.modules:
        if file == "built-in":
            spec = importlib._bootstrap.BuiltinImporter.find_spec(name)
        else:
            spec = importlib._bootstrap_external.spec_from_file_location(name, file)
        importlib._bootstrap.module_from_spec(spec)


def _after_main(load_in_main, create):
    """CPython 3.12 learns that a module does not support this by running its code.

    That spoils what the C code has for other interpreters, unless the main one has loaded
    it before; later versions see to that.
    """

    def create_module(spec, *file):
        if spec.origin is not None:
            load_in_main(spec.name, spec.origin)
        return create(spec, *file)

    return create_module


class Origin:
    """What an interpreter has when it is made.

    load_in_main: load_extension() in the main interpreter.
    """

    def __init__(self, load_in_main):
        if sys.version_info < (3, 13):
            _imp.create_dynamic = _after_main(load_in_main, _imp.create_dynamic)
            _imp.create_builtin = _after_main(load_in_main, _imp.create_builtin)
        os.register_at_fork = posix.register_at_fork = _register_at_fork
        codecs.register = _codecs.register = _register_codec
        sys.addaudithook = _add_audit_hook
        # What a thread of the node starts is no daemon, as what a program starts is none.
        threading._DummyThread.daemon = property(lambda _thread: False)
        self.settings = [(change, ask()) for ask, change in _SETTINGS]
        self.streams = [_Stream("stdin", "r"), _Stream("stdout", "w"), _Stream("stderr", "w")]
        self.table = sys.modules
        self.modules = dict(sys.modules)
        spaces = {
            id(module): vars(module)
            for module in self.modules.values()
            if isinstance(module, types.ModuleType)
        }
        self.spaces = [(space, dict(space)) for space in spaces.values()]
        values = {id(value): value for _, names in self.spaces for value in names.values()}
        for space in (self.table, *spaces.values()):
            values.pop(id(space), None)
        values = values.values()
        self.lists = [(value, list(value)) for value in values if type(value) is list]
        self.dicts = [(value, dict(value)) for value in values if type(value) is dict]
        self.classes = [(value, dict(vars(value))) for value in values if _may_change(value)]

    def end(self):
        """End what goes on here.

        Waits for threads that are not daemons.
        """
        # Executors tell their threads to end.
        for call in reversed(threading._threading_atexits):
            _attempt(call)
        threading._threading_atexits.clear()
        apart = (threading._MainThread, threading._DummyThread)
        for thread in _all_threads():
            if not isinstance(thread, apart) and not thread.daemon:
                _attempt(_join, thread)
        _attempt(_run_exit_functions)

    def restore(self):
        """Go back; to be called by a thread that has run nothing else.

        False: there is no way back.
        """
        if _hooks:
            return False
        for change, value in self.settings:
            change(value)
        _end_tools()
        while _searches:
            _unregister_codec(_searches.pop())
        # The names first: destructors of what goes may need them.
        for space, names in self.spaces:
            space.update(names)
        for space, names in self.spaces:
            for name in space.keys() - names.keys():
                del space[name]
        warnings.resetwarnings()  # or it would not look at the list again
        for value, items in self.lists:
            value[:] = items
        for value, items in self.dicts:
            value.clear()
            value.update(items)
        for changed, names in self.classes:
            _restore_class(changed, names)
        for name in self.table.keys() - self.modules.keys():
            del self.table[name]
        self.table.update(self.modules)
        sys.path_importer_cache.clear()
        gc.unfreeze()
        gc.enable()
        gc.collect()
        for stream in self.streams:
            stream.restore()
        return True


def _attempt(function, *arguments):
    """What the code of a use has left fails in any way, also by SystemExit."""
    try:
        function(*arguments)
    except BaseException:
        sys.__excepthook__(*sys.exc_info())


def _end_tools():
    sys._settraceallthreads(None)
    sys._setprofileallthreads(None)
    for tool in range(6):
        if _monitoring.get_tool(tool) is not None:
            _monitoring.set_events(tool, 0)
            for event in vars(_monitoring.events).values():
                if event.bit_count() == 1:
                    _monitoring.register_callback(tool, event, None)
            _monitoring.free_tool_id(tool)


def _may_change(value):
    return isinstance(value, type) and (
        value.__flags__ & (_HEAP_TYPE | _IMMUTABLE_TYPE) == _HEAP_TYPE
    )


def _restore_class(changed, names):
    present = vars(changed)
    for name in present.keys() - names.keys():
        type.__delattr__(changed, name)
    for name, value in names.items():
        if present.get(name, present) is not value:
            type.__setattr__(changed, name, value)


class _Stream:
    """A standard stream, to be opened anew once it was closed."""

    def __init__(self, name, mode):
        self.name = name
        self.mode = mode
        self.stream = getattr(sys, name)
        if self.stream is not None:
            self.descriptor = self.stream.fileno()
            self.encoding, self.errors = self.stream.encoding, self.stream.errors

    def restore(self):
        if self.stream is not None:
            if self.is_closed():
                self.stream = open(
                    self.descriptor, self.mode, 1, self.encoding, self.errors, closefd=False
                )
            setattr(sys, self.name, self.stream)
            setattr(sys, f"__{self.name}__", self.stream)

    def is_closed(self):
        try:
            return self.stream.closed
        except ValueError:  # it is detached
            return True
