%% Lines of 80 bytes, by iteration and by readline(), against the same on a BytesIO.
-module(bench_lines).

-export([rows/1]).

-define(SIZE, (16 * 1048576)).

rows(Quick) ->
    Rounds = bench:pick(Quick, 5, 21),
    Line = <<(binary:copy(<<"x">>, 79))/binary, "\n">>,
    Data = binary:copy(Line, ?SIZE div 80),
    true = bench:python(keep, [{bytes, Data}]),
    [
        row(Loop, Layout, Data, Rounds)
     || Loop <- [iterate, readline], Layout <- [one_segment, segments, live_writer]
    ].

row(Loop, Layout, Data, Rounds) ->
    Anchor = fun() -> bench:python(bytesio_lines, [Loop]) * 1000 end,
    Result = bench:compare(Rounds, ours(Layout, Loop, Data, Anchor()), Anchor),
    bench:row(Result#{
        name => [loop(Loop), ", ", layout(Layout), " / BytesIO"],
        unit => "ms",
        goal => {at_most, goal(Layout)},
        note => "Lines of 80 bytes, time of BytesIO for 16 MiB; less is better"
    }).

loop(iterate) -> "for line in buf";
loop(readline) -> "readline()".

layout(one_segment) -> "one segment";
layout(segments) -> "1,024 segments";
layout(live_writer) -> "live writer".

goal(one_segment) -> 1.05;
goal(_) -> 1.15.

ours(one_segment, Loop, Data, _) ->
    fun() -> bench:python(lines, [bench:filled(Data, byte_size(Data)), Loop]) * 1000 end;
ours(segments, Loop, Data, _) ->
    fun() -> bench:python(lines, [bench:filled(Data, byte_size(Data) div 1024), Loop]) * 1000 end;
ours(live_writer, Loop, Data, AnchorMs) ->
    fun() -> read_while_written(Loop, Data, AnchorMs) end.

%% The writer starts a fifth ahead and goes on for most of the time that reading takes:
%% the reader meets it all the way, and need not wait for data.
read_while_written(Loop, Data, AnchorMs) ->
    {Ahead, Rest} = split_binary(Data, byte_size(Data) div 5),
    Pieces = bench:pieces(Rest, 8192),
    {ok, Buffer} = py_buffer:new(),
    ok = py_buffer:write(Buffer, Ahead),
    IntervalNs = AnchorMs * 0.7e6 / length(Pieces),
    Ref = py:spawn_call(measure, lines, [Buffer, Loop]),
    ok = write_paced(Buffer, Pieces, erlang:monotonic_time(nanosecond), IntervalNs, 0),
    {ok, Seconds} = py:await(Ref),
    Seconds * 1000.

write_paced(Buffer, [], _Start, _IntervalNs, _Count) ->
    py_buffer:close(Buffer);
write_paced(Buffer, [Piece | Rest] = Pieces, Start, IntervalNs, Count) ->
    case erlang:monotonic_time(nanosecond) - Start >= Count * IntervalNs of
        true ->
            ok = py_buffer:write(Buffer, Piece),
            write_paced(Buffer, Rest, Start, IntervalNs, Count + 1);
        false ->
            write_paced(Buffer, Pieces, Start, IntervalNs, Count)
    end.
