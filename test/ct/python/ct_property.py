"""Random Python values, by Hypothesis, to Erlang and back."""
import queue
import sys

# Debian's packages that are pure Python serve any version; on the path only while they
# are needed.
DEBIAN = "/usr/lib/python3/dist-packages"

borrowed = False
try:
    import hypothesis
except ModuleNotFoundError:
    sys.path.append(DEBIAN)
    borrowed = True
    import hypothesis

from hypothesis import strategies as st

import erlang

WAIT_SECONDS = 20

texts = st.text(alphabet=st.characters(blacklist_categories=["Cs"]))
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(1 << 700), max_value=1 << 700)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
    | st.binary()
)
keys = scalars | st.tuples(scalars, scalars)
byte_objects = st.binary().map(bytearray) | st.binary().map(memoryview)
values = st.recursive(
    scalars | byte_objects | st.frozensets(scalars) | st.sets(scalars),
    lambda inner: st.lists(inner)
    | st.lists(inner).map(tuple)
    | st.dictionaries(keys, inner),
    max_leaves=30,
)

answers = queue.SimpleQueue()


def image(value):
    """What is to come back, in a form in which == tells types and signs apart."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        value = bytes(value)
        try:
            value = value.decode()
        except UnicodeDecodeError:
            pass
    if isinstance(value, dict):
        pairs = [(image(key), image(item)) for key, item in value.items()]
        return "dict", sorted(pairs, key=repr)
    if isinstance(value, (list, set, frozenset)):
        return "list", [image(item) for item in value]
    if isinstance(value, tuple):
        return "tuple", [image(item) for item in value]
    return type(value).__name__, repr(value)


def has_twins(value):
    """Two keys of one dict become the same term: that is an error of its own."""
    if isinstance(value, dict):
        images = [repr(image(key)) for key in value]
        return len(set(images)) < len(images) or any(map(has_twins, value.values()))
    return isinstance(value, (list, tuple)) and any(map(has_twins, value))


def deliver(answer):
    answers.put(answer)


def check(echo, count):
    """`echo` is a process that calls deliver() with whatever it is sent."""
    seen = 0

    @hypothesis.settings(
        max_examples=count,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(values)
    def comes_back(value):
        nonlocal seen
        hypothesis.assume(not has_twins(value))
        expected = image(value)
        erlang.send(echo, value)
        answer = answers.get(timeout=WAIT_SECONDS)
        assert image(answer) == expected, (value, answer)
        seen += 1

    try:
        comes_back()
    finally:
        if borrowed and DEBIAN in sys.path:
            sys.path.remove(DEBIAN)
    return seen
