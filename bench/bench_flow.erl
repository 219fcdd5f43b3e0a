%% Many gigabytes through a buffer with a watermark, while Python reads: how fast, how much
%% memory, how long the longest write.  The writer hands over the same binary again and
%% again, so that only the way through the buffer is measured.
-module(bench_flow).

-export([rows/1]).

-define(CHUNK, 65536).
-define(MIB, 1048576).
-define(GIB, (1024 * ?MIB)).

rows(Quick) ->
    Total = bench:pick(Quick, ?GIB, 4 * ?GIB),
    Rounds = bench:pick(Quick, 3, 5),
    Memcpy = hd(bench:anchor("fresh_memcpy", [?CHUNK, 4000])),
    [large(How, Total, Memcpy) || How <- [read, views]] ++
        [memory(Total), longest(Total) | marks(Quick, Rounds)].

%% Gigabytes a second, of what a memcpy into new pages does.
large(How, Total, MemcpyNs) ->
    _ = stream(How, ?MIB, 64 * ?MIB),
    {Ns, _} = stream(How, ?MIB, Total),
    bench:row(#{
        name => io_lib:format("~w GiB, 1 MiB watermark, ~s / memcpy", [Total div ?GIB, how(How)]),
        ours => Total / Ns,
        anchor => ?CHUNK / MemcpyNs,
        unit => "GB/s",
        note => "Rate with a concurrent reader, of a memcpy of 64 KiB into new pages; more is better"
    }).

how(read) -> "read(64 KiB)";
how(views) -> "views()".

%% From a warmed-up start: the peak is forgotten, then 4 GiB pass.
memory(Total) ->
    _ = stream(mixed, ?MIB, 256 * ?MIB),
    true = garbage_collect(),
    Before = bench:python(forget_peak, []),
    _ = stream(mixed, ?MIB, Total),
    Grown = max(0, bench:python(peak, []) - Before),
    bench:row(#{
        name => io_lib:format("~w GiB, 1 MiB watermark, peak memory", [Total div ?GIB]),
        ours => Grown / ?MIB,
        anchor => 1,
        unit => "MiB",
        goal => {at_most, 8},
        note => "Growth of the node's peak, by read, readline, views, readview, memoryview in turn, of the watermark; less is better"
    }).

longest(Total) ->
    {Ns, Longest} = stream(read, ?MIB, Total),
    bench:row(#{
        name => io_lib:format("~w GiB, 1 MiB watermark, longest write/2", [Total div ?GIB]),
        ours => Longest / 1.0e6,
        anchor => Ns / (Total div (?MIB div 2)) / 1.0e6,
        unit => "ms",
        note => "Its wait for room included, of the mean time in which the reader makes room; less is better"
    }).

marks(Quick, Rounds) ->
    Total = bench:pick(Quick, 128 * ?MIB, 512 * ?MIB),
    Free = fun() -> rate(infinity, Total) end,
    [
        bench:row((bench:compare(Rounds, fun() -> rate(Mark, Total) end, Free))#{
            name => io_lib:format("~s watermark / none", [amount(Mark)]),
            unit => "GB/s",
            note => "Rate of 64 KiB writes and read(64 KiB), of a buffer without a watermark; more is better"
        })
     || Mark <- [?CHUNK, 4 * ?CHUNK, ?MIB, 16 * ?MIB]
    ].

amount(Bytes) when Bytes >= ?MIB -> io_lib:format("~w MiB", [Bytes div ?MIB]);
amount(Bytes) -> io_lib:format("~w KiB", [Bytes div 1024]).

rate(Mark, Total) ->
    {Ns, _} = stream(read, Mark, Total),
    Total / Ns.

%% {Nanoseconds in all, of the longest write}.
stream(How, Mark, Total) ->
    {ok, Buffer} = py_buffer:new(#{high_watermark => Mark, seekable => false}),
    Ref = py:spawn_call(measure, drain, [Buffer, How]),
    Chunk = binary:copy(<<"0123456789abcde\n">>, ?CHUNK div 16),
    Start = erlang:monotonic_time(),
    Longest = write(Buffer, Chunk, Total div ?CHUNK, 0),
    ok = py_buffer:close(Buffer),
    {ok, Total} = py:await(Ref),
    Taken = erlang:monotonic_time() - Start,
    {erlang:convert_time_unit(Taken, native, nanosecond),
        erlang:convert_time_unit(Longest, native, nanosecond)}.

write(_Buffer, _Chunk, 0, Longest) ->
    Longest;
write(Buffer, Chunk, Left, Longest) ->
    Start = erlang:monotonic_time(),
    ok = py_buffer:write(Buffer, Chunk),
    write(Buffer, Chunk, Left - 1, max(Longest, erlang:monotonic_time() - Start)).
