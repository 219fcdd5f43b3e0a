%% Bytes of an idle buffer.
-module(bench_idle).

-export([rows/1]).

-define(COUNT, 10000).

rows(_Quick) ->
    _ = buffers(),
    true = garbage_collect(),
    {Counted, Resident} = used(),
    Buffers = buffers(),
    true = garbage_collect(),
    {CountedThen, ResidentThen} = used(),
    ?COUNT = length(Buffers),
    [
        row("10,000 idle buffers, each, by the allocators", (CountedThen - Counted) / ?COUNT),
        row("10,000 idle buffers, each, by resident pages", (ResidentThen - Resident) / ?COUNT)
    ].

row(Name, Bytes) ->
    bench:row(#{
        name => Name,
        ours => Bytes,
        anchor => 1024,
        unit => "bytes",
        goal => {at_most, 1},
        note => "Of 1 KiB; less is better"
    }).

buffers() ->
    [element(2, {ok, _} = py_buffer:new()) || _ <- lists:seq(1, ?COUNT)].

%% What Erlang's and C's allocators have given out; the resident memory of the node.
used() ->
    {erlang:memory(total) + bench:python(malloced, []), bench:python(resident, [])}.
