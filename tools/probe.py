"""Asks the interpreter that runs it what a build against it needs.

Run by tools/configure as `python probe.py DIRECTORY ERLANG_INCLUDE`: writes config.mk
and python_config.h into DIRECTORY/<tag>/ and prints that folder, or says what is
missing and which command installs it.  Any Python since 2.7 must be able to run
this file, if only to be told that it is too old.
"""
from __future__ import print_function

import os
import sys
import zlib

OLDEST = (3, 11)


class Missing(Exception):
    pass


def config(name):
    import sysconfig

    return sysconfig.get_config_var(name) or ""


def debian_python():
    """Is this the python3 of Debian or Ubuntu, whose parts come from apt?"""
    return os.path.exists("/etc/debian_version") and sys.base_prefix == "/usr"


def pyenv_python():
    return (os.sep + ".pyenv" + os.sep) in sys.base_prefix or (
        "PYENV_ROOT" in os.environ
        and sys.base_prefix.startswith(os.environ["PYENV_ROOT"] + os.sep)
    )


def debian_package():
    if os.path.realpath("/usr/bin/python3") == os.path.realpath(sys.executable):
        return "python3-dev"
    return "python%d.%d-dev" % sys.version_info[:2]


def advice(what):
    """The command that brings the headers or the shared library of this Python."""
    if debian_python():
        return "Install them with:\n    apt-get install " + debian_package()
    if pyenv_python():
        return (
            "Install this Python again with them:\n"
            '    PYTHON_CONFIGURE_OPTS="--enable-shared" pyenv install --force '
            + os.path.basename(sys.base_prefix)
        )
    if what == "header":
        return (
            "Install the development package of this Python (python3-devel, "
            "python3-dev), or name another with PYTHON=..."
        )
    return (
        "Build it with `./configure --enable-shared`, install its development "
        "package,\nor name another Python with PYTHON=..."
    )


def check_version():
    if sys.version_info < OLDEST:
        raise Missing(
            "erlpy needs Python %d.%d or later; %s is %s.\n"
            "Name a newer one: PYTHON=python3.12 make"
            % (OLDEST + (sys.executable, sys.version.split()[0]))
        )
    if sys.implementation.name != "cpython":
        raise Missing("erlpy needs CPython; %s is %s" % (
            sys.executable, sys.implementation.name))


def include_folders():
    import sysconfig

    folders = []
    for path in ("include", "platinclude"):
        folder = sysconfig.get_path(path)
        # A virtual environment may answer with a folder of its own.
        for candidate in (config("INCLUDEPY"), folder):
            if candidate and os.path.exists(os.path.join(candidate, "Python.h")):
                if candidate not in folders:
                    folders.append(candidate)
                break
    if not folders:
        raise Missing(
            "Python %s (%s) has no headers: %s is not there.\n%s"
            % (
                sys.version.split()[0],
                sys.executable,
                os.path.join(config("INCLUDEPY"), "Python.h"),
                advice("header"),
            )
        )
    return folders


def shared_library():
    """The file of libpython; the linker and the node open it by this path."""
    names = [config("INSTSONAME"), config("LDLIBRARY")]
    names = [name for name in names if name and not name.endswith(".a")]
    prefixes = [config("LIBDIR")]
    if config("MULTIARCH"):
        prefixes.append(os.path.join(config("LIBDIR"), config("MULTIARCH")))
    prefixes += [
        config("PYTHONFRAMEWORKPREFIX"),
        os.path.join(sys.base_prefix, "lib"),
        os.path.join(sys.base_prefix, "lib64"),
        config("LIBPL"),
    ]
    for prefix in prefixes:
        for name in names:
            path = os.path.join(prefix, name)
            if prefix and os.path.isfile(path):
                return path
    raise Missing(
        "Python %s (%s) has no shared library%s.\n%s"
        % (
            sys.version.split()[0],
            sys.executable,
            ": no %s in %s" % (names[0], config("LIBDIR")) if names else
            " (it was built without --enable-shared)",
            advice("library"),
        )
    )


def c_string(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def make_string(text):
    """For use between single quotes in a recipe."""
    return text.replace("$", "$$").replace("#", "\\#").replace("'", "'\\''")


def write_if_changed(path, text):
    try:
        with open(path, encoding="utf-8") as file:
            if file.read() == text:
                return
    except OSError:
        pass
    temporary = "%s.%d" % (path, os.getpid())
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(temporary, path)


def main(directory, erlang_include):
    check_version()
    includes = include_folders()
    library = shared_library()
    version = "%d.%d.%d" % sys.version_info[:3]
    identity = "\n".join([sys.executable, library, version])
    tag = "%s-%08x" % (config("SOABI") or sys.implementation.cache_tag,
                       zlib.crc32(identity.encode()) & 0xFFFFFFFF)
    folder = os.path.join(directory, tag)
    os.makedirs(folder, exist_ok=True)
    write_if_changed(
        os.path.join(folder, "python_config.h"),
        "/* The Python that this library was built for. */\n"
        "#define ERLPY_PYTHON_EXECUTABLE %s\n"
        "#define ERLPY_PYTHON_LIBRARY %s\n"
        "#define ERLPY_PYTHON_VERSION %s\n"
        % (c_string(sys.executable), c_string(library), c_string(version)),
    )
    write_if_changed(
        os.path.join(folder, "config.mk"),
        "".join(
            "%s := %s\n" % (name, make_string(value))
            for name, value in [
                ("PYTHON_EXECUTABLE", sys.executable),
                ("PYTHON_VERSION", version),
                ("PYTHON_LIBRARY", library),
                ("PYTHON_LIBDIR", os.path.dirname(library)),
                ("EXT_SUFFIX", config("EXT_SUFFIX")),
                ("ERLANG_INCLUDE", erlang_include),
            ]
        )
        + "PYTHON_CFLAGS := %s\n"
        % " ".join("-isystem '%s'" % make_string(folder) for folder in includes),
    )
    print(folder)


def missing_package():
    """Prints the Debian package that a build against this Python lacks, if any."""
    if sys.version_info >= OLDEST and debian_python():
        try:
            include_folders()
            shared_library()
        except Missing:
            print(debian_package())


if __name__ == "__main__":
    try:
        if sys.argv[1:] == ["--missing-package"]:
            missing_package()
        else:
            main(sys.argv[1], sys.argv[2])
    except Missing as missing:
        print("error: %s" % missing, file=sys.stderr)
        sys.exit(1)
