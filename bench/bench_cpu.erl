%% How much CPU does a gigabyte take from `write' to `bytes' in Python, all threads of the
%% node counted, against one memcpy of it?  Adopting must not only move the copy.
-module(bench_cpu).

-export([rows/1]).

-define(MIB, 1048576).

rows(Quick) ->
    Rounds = bench:pick(Quick, 3, 9),
    Pieces = [binary:copy(<<N>>, 65536) || N <- lists:seq(0, 255)],
    [
        row("CPU, write to read(64 KiB) / memcpy", consume, [65536], Pieces, 65536, Rounds),
        row("CPU, write to one read() of 64 MiB / memcpy", size_of_all, [], Pieces, 64 * ?MIB, Rounds)
    ].

row(Name, Function, Args, Pieces, Size, Rounds) ->
    Count = 4,
    Result = bench:compare(
        Rounds,
        fun() -> stream(Function, Args, Pieces, Count) end,
        fun() ->
            [_, CpuNs] = bench:anchor("fresh_memcpy", [Size, Count * 64 * ?MIB div Size]),
            CpuNs / Size
        end
    ),
    bench:row(Result#{
        name => Name,
        unit => "s/GB",
        goal => {at_most, 1.5},
        note => "CPU of the whole node, of that of one memcpy into new pages; less is better"
    }).

%% CPU seconds a gigabyte, that is nanoseconds a byte.
stream(Function, Args, Pieces, Count) ->
    Start = bench:cpu_seconds(),
    _ = [stream_one(Function, Args, Pieces) || _ <- lists:seq(1, Count)],
    (bench:cpu_seconds() - Start) * 1.0e9 / (Count * 64 * ?MIB).

stream_one(Function, Args, Pieces) ->
    {ok, Buffer} = py_buffer:new(),
    Ref = py:spawn_call(measure, Function, [Buffer | Args]),
    _ = [[ok = py_buffer:write(Buffer, Piece) || Piece <- Pieces] || _ <- lists:seq(1, 4)],
    ok = py_buffer:close(Buffer),
    {ok, Total} = py:await(Ref),
    Total = 64 * ?MIB.
