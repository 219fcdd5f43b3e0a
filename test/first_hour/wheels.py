"""wheels.py FOLDER PROJECT[=REQUIRED,...]...: wheels of what Debian has installed.

Debian's metadata leaves out what a project requires, which its packages say instead.
A wheel is the files of a project and its metadata in a zip (PEP 427).  Of a project with
a part in C only the Python files are taken: those named here work without it.
"""

import base64
import email
import hashlib
import pathlib
import sys
import zipfile

INSTALLED = pathlib.Path("/usr/lib/python3/dist-packages")
WHEEL = "Wheel-Version: 1.0\nGenerator: erlpy\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def metadata_of(project):
    """The folder or file that describes the project, and its text."""
    for pattern, inside in [("*.dist-info", "METADATA"), ("*.egg-info", "PKG-INFO")]:
        for folder in INSTALLED.glob(pattern):
            if folder.name.lower().startswith(project + "-"):
                return folder, (folder / inside).read_text(encoding="utf-8")
    sys.exit(f"{project} is not in {INSTALLED}")


def with_requirements(text, names):
    head, separator, rest = text.partition("\n\n")
    lines = "".join(f"\nRequires-Dist: {name}" for name in names)
    return head + lines + separator + rest


def packages_of(project, folder):
    listed = folder / "top_level.txt"
    names = listed.read_text(encoding="utf-8").split() if listed.exists() else [project]
    return [name for name in names if (INSTALLED / name).is_dir()]


def files_of(project, required):
    folder, text = metadata_of(project)
    text = with_requirements(text, required)
    message = email.message_from_string(text)
    info = f"{project}-{message['Version']}.dist-info"
    files = {f"{info}/METADATA": text.encode(), f"{info}/WHEEL": WHEEL.encode()}
    for package in packages_of(project, folder):
        for path in sorted((INSTALLED / package).rglob("*")):
            if path.is_file() and path.suffix not in (".pyc", ".so"):
                files[str(path.relative_to(INSTALLED))] = path.read_bytes()
    return info, files


def record_line(name, data):
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(data)}\n"


def write_wheel(folder, project, required):
    info, files = files_of(project, required)
    record = f"{info}/RECORD"
    lines = [record_line(name, data) for name, data in files.items()]
    files[record] = "".join([*lines, f"{record},,\n"]).encode()
    stem = info.removesuffix(".dist-info")
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        for name, data in files.items():
            wheel.writestr(name, data)


def main(folder, *projects):
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    for project in projects:
        name, _, required = project.partition("=")
        write_wheel(pathlib.Path(folder), name, required.split(",") if required else [])


if __name__ == "__main__":
    main(*sys.argv[1:])
