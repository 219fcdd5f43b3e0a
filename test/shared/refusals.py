"""CPython's own hooks that have it refused memory."""
import sysconfig

try:
    import _testcapi as hooks
except ImportError:
    hooks = None


def why_not():
    """Why tests cannot have memory refused here, or None."""
    if hooks is None:
        return "this Python came without _testcapi"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "CPython 3.13 without a GIL crashes when a list gets no memory"
    return None
