"""Code in an interpreter of its own."""
import importlib
import importlib.util


def run_in_another(code):
    new = importlib.util.find_spec("_interpreters") is not None
    module = importlib.import_module("_interpreters" if new else "_xxsubinterpreters")
    other = module.create()
    try:
        return module.run_string(other, code)
    finally:
        module.destroy(other)
