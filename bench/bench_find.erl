%% find() of 8 and 28 bytes that stand at the very end of 64 MiB, against bytes.find.
-module(bench_find).

-export([rows/1]).

rows(Quick) ->
    Rounds = bench:pick(Quick, 3, 9),
    [
        row(Kind, Size, Layout, Rounds)
     || Layout <- [one_segment, segments], Kind <- [random, text, near_miss], Size <- [8, 28]
    ].

row(Kind, Size, Layout, Rounds) ->
    {Data, Needle} = bench:python(haystack, [Kind, Size]),
    Piece = piece(Layout, Data),
    Result = bench:compare(
        Rounds,
        fun() -> bench:python(find, [bench:filled(Data, Piece), {bytes, Needle}]) * 1000 end,
        fun() -> bench:python(bytes_find, [{bytes, Needle}]) * 1000 end
    ),
    bench:row((bench:times_faster(Result))#{
        name => io_lib:format("find of ~w bytes, ~ts, ~ts / bytes", [Size, kind(Kind), layout(Layout)]),
        unit => "ms",
        goal => {at_least, goal(Kind)},
        note => "How many times faster than bytes.find, 64 MiB; more is better"
    }).

piece(one_segment, Data) -> byte_size(Data);
piece(segments, _Data) -> 65536.

kind(near_miss) -> "near misses";
kind(Kind) -> atom_to_list(Kind).

layout(one_segment) -> "one segment";
layout(segments) -> "64 KiB pieces".

goal(near_miss) -> 1;
goal(_) -> 3.
