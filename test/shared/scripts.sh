# For the *.test scripts: what they share.

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

equal() {
    [ "$1" = "$2" ] || fail "expected: $2
     got: $1"
}

contains() {
    case $1 in *"$2"*) ;; *) fail "expected to find: $2
in: $1" ;; esac
}

lacks() {
    case $1 in *"$2"*) fail "did not expect: $2
in: $1" ;; esac
}

clone() {
    git clone -q "file://$SOURCE" "$1"
}

# evaluate EBIN EXPRESSIONS: prints their value, from a node that was given one folder.
evaluate() {
    ebin=$1
    timeout 60 erl -noinput -pa "$ebin" -eval "
        {ok, _} = application:ensure_all_started(erlpy),
        io:format(\"~0tp~n\", [begin $2 end]),
        halt()."
}
