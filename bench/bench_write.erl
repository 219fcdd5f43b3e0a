%% What does writing a binary cost, against copying its bytes into new memory?
%% The binaries are new, as a file or a socket brings them, and written to buffers that are
%% dropped after a batch.
-module(bench_write).

-export([rows/1]).

rows(Quick) ->
    Rounds = bench:pick(Quick, 5, 21),
    [
        row("py_buffer:write/2 of 64 KiB / memcpy", 65536, 64, Rounds, 50),
        row("py_buffer:write/2 of 1 MiB / memcpy", 1048576, 16, Rounds, 500)
    ].

row(Name, Size, Batch, Rounds, Goal) ->
    {ok, File} = file:open("/dev/zero", [read, raw, binary]),
    Result = bench:compare(
        Rounds,
        fun() -> write_batches(File, Size, Batch) end,
        fun() -> hd(bench:anchor("fresh_memcpy", [Size, 4 * Batch])) / 1000 end
    ),
    bench:row((bench:times_faster(Result))#{
        name => Name,
        unit => "us",
        goal => {at_least, Goal},
        note => "How many times cheaper than a memcpy of it into newly mapped pages; more is better"
    }).

write_batches(File, Size, Batch) ->
    bench:median([write_batch(File, Size, Batch) || _ <- lists:seq(1, 5)]).

write_batch(File, Size, Batch) ->
    true = garbage_collect(),
    Binaries = [element(2, {ok, _} = file:read(File, Size)) || _ <- lists:seq(1, Batch)],
    {ok, Buffer} = py_buffer:new(),
    bench:timed(fun() -> write_all(Buffer, Binaries) end) / Batch / 1000.

write_all(_Buffer, []) ->
    ok;
write_all(Buffer, [Binary | Rest]) ->
    ok = py_buffer:write(Buffer, Binary),
    write_all(Buffer, Rest).
