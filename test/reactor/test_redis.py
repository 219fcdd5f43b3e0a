"""examples/reactor_redis: the clients of Redis, and beside the real server."""

import random
import re
import sys
import threading
import time

import pytest
from servers import MIB, REDIS, array, run

sys.path.insert(0, str(REDIS.parent))

import resp  # noqa: E402

COMMANDS = """
PING
PING hello
ECHO "two words"
SET a 1
GET a
SET a 2 NX
SET a 3 XX
SET b 3 XX
SET a 4 EX
SET a 4 EX 0
SET a 4 EX ten
SET a 4 PX 100000 NX XX
SET c 5 PX 100000
TTL c
TTL a
TTL nothing
SET c 6
TTL c
GET nothing
STRLEN a
STRLEN nothing
APPEND a 00
APPEND new x
INCR a
INCRBY a 50
INCRBY a -7
INCRBY a x
DECR a
DECR counter
INCR text
SET text words
INCR text
SET large 9223372036854775807
INCR large
GET large
MSET m 1 n 2
MSET m 1 n
MGET m n nothing list
EXISTS m n m nothing
DEL m m nothing
EXISTS m
RPUSH list a b c
LPUSH list z y
LRANGE list 0 -1
LRANGE list 1 2
LRANGE list -2 100
LRANGE list 5 1
LRANGE nothing 0 -1
LRANGE list x 1
LPOP list
RPOP list
LPOP nothing
GET list
LPUSH a x
INCR list
APPEND list x
SET list now-a-string
TYPE list
SADD set one two one
SADD set two three
SMEMBERS set
SPOP nothing
SADD single x
SPOP single
EXISTS single
HSET hash f 1 g 2
HSET hash f 3 h
HSET hash f 3 h 4
HGET hash f
HGET hash nothing
HGET nothing f
HGETALL hash
HGETALL nothing
HGET set f
TYPE a
TYPE set
TYPE hash
TYPE nothing
ZADD zset 1.5 x
ZADD zset 1 y
ZADD zset 7 y
ZADD zset z x
TYPE zset
ZPOPMIN zset
ZPOPMIN zset
ZPOPMIN zset
EXPIRE a 1000
TTL a
EXPIRE nothing 10
EXPIRE a x
EXPIRE a -1
EXISTS a
KEYS *
KEYS s*
KEYS [hs]?sh
DBSIZE
SELECT 0
SELECT 1000
SELECT x
CLIENT GETNAME
CLIENT SETNAME me
CLIENT GETNAME
CONFIG GET appendonly
CONFIG GET nothing
NOSUCH command "with words"
get
GET a b
SET a
MSET
LPUSH list
FLUSHALL
DBSIZE
KEYS *
""".strip().splitlines()

#: Those whose replies have no order.
UNORDERED = ("SMEMBERS", "KEYS", "HGETALL")


def told_by_cli(commands, *address):
    """The output of each command, as redis-cli writes it for people."""
    lines = [line for each in commands for line in (each, "ECHO --end--")]
    output = run("redis-cli", "--no-raw", *address, input="\n".join(lines).encode()).decode()
    return output.split('"--end--"\n')[:-1]


def test_redis_cli_shows_what_it_shows_of_redis(redis, real_redis):
    ours = told_by_cli(COMMANDS, "-p", redis.port)
    theirs = told_by_cli(COMMANDS, "-s", real_redis.address)
    assert len(ours) == len(theirs) == len(COMMANDS)
    for command, our, their in zip(COMMANDS, ours, theirs, strict=True):
        if command.startswith(UNORDERED):
            our, their = items_of(our), items_of(their)
        assert our == their, command


def items_of(output):
    """What is behind the numbers that redis-cli gives them."""
    return sorted(re.sub(r"^\d+\) ", "", output, flags=re.MULTILINE).splitlines())


def random_command(choose):
    """One that has but one right answer."""
    key = choose(b"key%d" % number for number in range(6))
    item = choose([b"", b"a", b"b", b"\r\n", b"12", b"-3", bytes(range(256))])
    number = choose([b"0", b"1", b"-1", b"2", b"-3", b"100", b"x", b"", b"9223372036854775807"])
    # None of a time that may pass until the next command.
    seconds = choose([b"0", b"-1", b"100", b"1000", b"x", b"", b"9223372036854775807"])
    return choose(
        [
            [b"SET", key, item],
            [b"SET", key, item, choose([b"NX", b"xx", b"EX", b"bad"])],
            [b"SET", key, item, b"EX", seconds],
            [b"EXPIRE", key, seconds],
            [choose([b"GET", b"STRLEN", b"TYPE", b"INCR", b"DECR", b"LPOP", b"RPOP"]), key],
            [choose([b"INCRBY", b"DECRBY"]), key, number],
            [choose([b"DEL", b"EXISTS", b"MGET"]), key, choose([b"key0", b"key1", key])],
            [choose([b"APPEND", b"LPUSH", b"RPUSH", b"SADD", b"HGET"]), key, item],
            [choose([b"LPUSH", b"RPUSH", b"SADD", b"MSET", b"HSET"]), key, item, item],
            [b"MSET", key, item, b"key0", item],
            [b"LRANGE", key, number, choose([b"0", b"1", b"-1", b"3"])],
            [choose([b"SMEMBERS", b"HGETALL"]), key],
            [b"ZADD", key, number, item],
            [b"ZPOPMIN", key],
            [b"KEYS", choose([b"*", b"key?", b"*[0-2]"])],
            [b"DBSIZE"],
            [choose([b"", b"12", b"\r\n", b"nosuch"]), key],
        ]
    )


def comparable(command, reply):
    if command[0] in (b"SMEMBERS", b"KEYS") and isinstance(reply, list):
        return sorted(reply)
    if command[0] == b"HGETALL" and isinstance(reply, list):
        return sorted(zip(reply[::2], reply[1::2], strict=True))
    return reply


@pytest.mark.parametrize("seed", range(5))
def test_random_commands_are_answered_as_redis_answers_them(redis, real_redis, seed):
    source = random.Random(seed)
    commands = [[b"FLUSHALL"]]
    commands += [random_command(lambda of: source.choice(list(of))) for _ in range(2000)]
    requests = b"".join(array(*command) for command in commands)
    with redis.connect() as ours, real_redis.connect() as theirs:
        for client in (ours, theirs):
            threading.Thread(target=client.send, args=[requests], daemon=True).start()
        for number, command in enumerate(commands):
            our, their = (comparable(command, client.reply()) for client in (ours, theirs))
            assert our == their, (number, command)


@pytest.mark.parametrize(
    "options",
    [
        ["-n", 5000, "-P", 1, "-t", "ping,set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,spop"],
        ["-n", 20000, "-P", 16, "-t", "ping,set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,spop"],
        ["-n", 2000, "-P", 16],
    ],
    ids=["single", "pipelines", "all"],
)
def test_redis_benchmark(redis, options):
    output = run("redis-benchmark", "-p", redis.port, "--csv", "-c", 50, *options).decode()
    title, *rows = output.splitlines()
    assert title.startswith('"test","rps"') and "error" not in output.lower()
    assert len(rows) == (20 if "-t" not in options else 12), output
    with redis.connect() as client:
        assert client.ask("FLUSHALL") == b"+OK"


# ---- The protocol ----

PIPELINE = (
    array("SET", "k", b"a\r\n*1\r\n$4\r\nPING\r\n")
    + b"PING\r\n"
    + array("ECHO", b"")
    + b"  echo 'in  line'\n"
    + b"\r\n*0\r\n*-1\r\n"
    + array("GET", "k")
    + b"echo \"a b\" c\r\n"
)
REPLIES = (
    [b"+OK", b"+PONG", b"", b"in  line", b"a\r\n*1\r\n$4\r\nPING\r\n"]
    + [b"-ERR wrong number of arguments for 'echo' command"]
)


def test_requests_cut_at_every_byte(redis):
    """Between the parts another connection is answered, which is served after this one."""
    with redis.connect() as client, redis.connect() as other:
        for cut in range(len(PIPELINE) + 1):
            client.send(PIPELINE[:cut])
            assert other.ask("PING") == b"+PONG"
            client.send(PIPELINE[cut:])
            assert [client.reply() for _ in REPLIES] == REPLIES, PIPELINE[:cut]


def test_the_parser_takes_bytes_one_by_one():
    parser, requests = resp.Parser(), []
    for byte in PIPELINE:
        parser.feed(bytes([byte]))
        while (request := parser.next()) is not None:
            requests.append(request)
    assert len(requests) == len(REPLIES)
    assert requests[-1] == [b"echo", b"a b", b"c"]
    assert parser.next() is None


ERRORS = {
    b"*x\r\n": b"invalid multibulk length",
    b"*99999999999\r\n": b"invalid multibulk length",
    b"*1\r\n:1\r\n": b"expected '$', got ':'",
    b"*1\r\n$-1\r\n": b"invalid bulk length",
    b"*1\r\n$x\r\n": b"invalid bulk length",
    b"*1\r\n$536870913\r\n": b"invalid bulk length",
    b'GET "a\r\n': b"unbalanced quotes in request",
}


@pytest.mark.parametrize("which", ["redis", "real_redis"])
@pytest.mark.parametrize("wrong", ERRORS)
def test_what_is_no_request(request, which, wrong):
    """It is told, and the end; what came before it is answered."""
    with request.getfixturevalue(which).connect() as client:
        client.send(array("PING") + wrong + array("PING"))
        assert client.rest() == b"+PONG\r\n-ERR Protocol error: %b\r\n" % ERRORS[wrong]


@pytest.mark.parametrize("start", [b"x", b"*1", b"*1\r\n$1"])
def test_a_line_that_does_not_end(redis, start):
    with redis.connect() as client:
        client.send(start + b"1" * 66000)
        assert client.rest().startswith(b"-ERR Protocol error: ")


def test_large_values(redis):
    value = random.randbytes(24 * MIB)
    with redis.connect() as client:
        assert client.ask("SET", "large", value) == b"+OK"
        assert client.ask("GET", "large") == value
        assert client.ask("DEL", "large") == 1


def test_a_client_that_ends_its_side_is_answered(redis):
    value = b"v" * 10_000
    with redis.connect() as client:
        client.ask("SET", "v", value)
        client.send(array("GET", "v") * 1000)
        client.end()
        assert client.rest() == b"$10000\r\n%b\r\n" % value * 1000


def test_who_reads_nothing_is_not_answered_for_ever(redis):
    """What is unread stays as requests; others are served."""
    with redis.connect() as client, redis.connect() as other:
        client.ask("SET", "v", bytes(100_000))
        before = redis.memory("VmRSS")
        client.send(array("GET", "v") * 3000)
        assert other.ask("PING") == b"+PONG"
        assert redis.memory("VmRSS") - before < 32 * MIB
        for _ in range(3000):
            assert len(client.reply()) == 100_000


def test_quit(redis):
    with redis.connect() as client:
        client.send(array("PING") + array("QUIT") + array("PING"))
        assert client.rest() == b"+PONG\r\n+OK\r\n"


def test_hello(redis):
    with redis.connect() as client:
        reply = client.ask("HELLO", 2)
        assert dict(zip(reply[::2], reply[1::2], strict=True))[b"proto"] == 2
        assert client.ask("HELLO", 3).startswith(b"-NOPROTO ")


def test_what_clients_ask_of_a_server(redis):
    with redis.connect() as client:
        assert client.ask("COMMAND") == []
        assert client.ask("COMMAND", "COUNT") >= 40
        assert client.ask("CLIENT", "SETINFO", "LIB-NAME", "test") == b"+OK"
        assert isinstance(client.ask("CLIENT", "ID"), int)
        assert client.ask("CONFIG", "GET", "*")[:2] == [b"save", b""]
        assert client.ask("CONFIG", "SET", "save", "").startswith(b"-ERR ")
        assert b"redis_version:" in client.ask("INFO")


def test_keys_expire(redis):
    with redis.connect() as client:
        client.ask("FLUSHALL")
        assert client.ask("SET", "short", "v", "PX", "20") == b"+OK"
        assert client.ask("SET", "long", "v", "EX", "100") == b"+OK"
        time.sleep(0.05)
        assert client.ask("GET", "short") is None
        assert client.ask("DBSIZE") == 1
        assert client.ask("SET", "short", "v", "NX") == b"+OK"
        assert client.ask("TTL", "short") == -1
        assert client.ask("TTL", "long") == 100


def test_commands_of_many_clients_are_atomic(redis):
    """One thread executes them all."""
    with redis.connect() as client:
        client.ask("FLUSHALL")
        others = [redis.connect() for _ in range(20)]
        for other in others:
            other.send(array("INCR", "n") * 500)
        seen = [other.reply() for other in others for _ in range(500)]
        assert sorted(seen) == list(range(1, 10_001))
        for other in others:
            other.close()
