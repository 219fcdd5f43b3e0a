%% Loops of read(n) until the end, over data that arrived in 64 KiB pieces, against BytesIO.
-module(bench_read).

-export([rows/1]).

rows(Quick) ->
    Rounds = bench:pick(Quick, 5, 15),
    [
        row("read(1 KiB) until the end / BytesIO", 1024, 16, Rounds),
        row("read(64 KiB) until the end / BytesIO", 65536, 64, Rounds),
        row("read(1 MiB) until the end / BytesIO", 1048576, 64, Rounds)
    ].

row(Name, Size, MiB, Rounds) ->
    Data = binary:copy(<<"0123456789abcdef">>, MiB * 65536),
    true = bench:python(keep, [{bytes, Data}]),
    Result = bench:compare(
        Rounds,
        fun() -> bench:python(read_loop, [bench:filled(Data, 65536), Size]) * 1000 end,
        fun() -> bench:python(bytesio_read_loop, [Size]) * 1000 end
    ),
    bench:row(Result#{
        name => Name,
        unit => "ms",
        note => "Time of BytesIO over the same data, which came in 64 KiB pieces; less is better"
    }).
