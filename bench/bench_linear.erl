%% What must not grow faster than its input: a line that arrives in small pieces before a
%% blocked readline(), and a stream of very small writes.
-module(bench_linear).

-export([rows/1]).

-define(MIB, 1048576).

rows(Quick) ->
    Rounds = bench:pick(Quick, 3, 7),
    [
        line_row(8, 4, Rounds),
        line_row(16, 8, Rounds),
        writes_row(Rounds)
    ].

line_row(Large, Small, Rounds) ->
    Result = bench:compare(Rounds, fun() -> line_cpu(Large) end, fun() -> line_cpu(Small) end),
    bench:row(Result#{
        name => io_lib:format("unterminated line, ~w MiB / ~w MiB", [Large, Small]),
        unit => "ms CPU",
        goal => {at_most, 2.5},
        note => "CPU of readline() that 8 KiB pieces wake, twice the line of the anchor's; linear: 2; less is better"
    }).

line_cpu(MiB) ->
    {ok, Buffer} = py_buffer:new(),
    Ref = py:spawn_call(measure, readline_cpu, [Buffer]),
    Pieces = lists:duplicate(MiB * ?MIB div 8192, binary:copy(<<"x">>, 8192)),
    ok = write_apart(Buffer, Pieces, erlang:monotonic_time(nanosecond)),
    {ok, {Seconds, Size}} = py:await(Ref),
    Size = MiB * ?MIB,
    Seconds * 1000.

%% Far enough apart for the reader to be back in its wait.
write_apart(Buffer, [], _At) ->
    py_buffer:close(Buffer);
write_apart(Buffer, [Piece | Rest] = Pieces, At) ->
    case erlang:monotonic_time(nanosecond) >= At of
        true ->
            ok = py_buffer:write(Buffer, Piece),
            write_apart(Buffer, Rest, At + 60000);
        false ->
            write_apart(Buffer, Pieces, At)
    end.

writes_row(Rounds) ->
    Result = bench:compare(
        Rounds, fun() -> writes_ns(1000000) end, fun() -> writes_ns(250000) end),
    bench:row(Result#{
        name => "1-byte writes, each of 1,000,000 / 250,000",
        unit => "ns",
        goal => {at_most, 1.2},
        note => "Four times the writes of the anchor's; linear: 1; less is better"
    }).

writes_ns(Count) ->
    {ok, Buffer} = py_buffer:new(),
    Ns = bench:timed(fun() -> write_bytes(Buffer, Count) end),
    ok = py_buffer:close(Buffer),
    Count = bench:python(size_of_all, [Buffer]),
    Ns / Count.

write_bytes(_Buffer, 0) ->
    ok;
write_bytes(Buffer, Count) ->
    ok = py_buffer:write(Buffer, <<"x">>),
    write_bytes(Buffer, Count - 1).
