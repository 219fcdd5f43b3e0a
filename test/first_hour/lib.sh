# For the *.test scripts of the first hour.

# prepare HEADING: the files and commands that the README has below it, and report.py.
prepare() {
    "$PYTHON" "$TESTS/readme.py"
    mv typed typed.top
    rm -f commands.*
    "$PYTHON" "$TESTS/readme.py" "$1"
}

# begin: does the commands but the last.
begin() {
    here=$PWD
    set -x
    . ./commands.head
    { set +x; } 2>/dev/null
}

# finish [COMMAND...]: types into the shell that the last one starts, by way of COMMAND if
# there is one, and after the text $after.  What was shown is in $shown.
finish() {
    if ! shown=$("$PYTHON" "$TESTS/type.py" "$here/typed" "${after:-}" \
        "$@" sh -c "$(cat "$here/commands.last")"); then
        fail "$shown"
    fi
    printf '%s\n' "$shown"
}

# Leaves the script, with why it cannot run here.
skip() {
    echo "$*"
    exit 77
}

# The answer of my_app, in Erlang's shell.
totals='{ok,#{<<"apples">> => 4,<<"pears">> => 8}}'
