%% 64 MiB that arrived in 64 KiB pieces, read at once: writing included, against joining
%% the same pieces in Python and against writing them to a BytesIO.
-module(bench_join).

-export([rows/1]).

rows(Quick) ->
    Rounds = bench:pick(Quick, 5, 15),
    Pieces = [element(1, rand:bytes_s(65536, rand:seed_s(exsss, N))) || N <- lists:seq(1, 1024)],
    true = bench:python(keep, [[{bytes, Piece} || Piece <- Pieces]]),
    [
        row("64 MiB in 64 KiB pieces, read() / b''.join", join, Pieces, Rounds, 2),
        row("64 MiB in 64 KiB pieces, read() / BytesIO", bytesio, Pieces, Rounds, 1)
    ].

row(Name, Anchor, Pieces, Rounds, Goal) ->
    Result = bench:compare(
        Rounds,
        fun() -> write_and_read(Pieces) end,
        fun() -> bench:python(Anchor, []) * 1000 end
    ),
    bench:row((bench:times_faster(Result))#{
        name => Name,
        unit => "ms",
        goal => {at_least, Goal},
        note => ["How many times faster, huge pages: ", bench:huge_pages(), "; more is better"]
    }).

write_and_read(Pieces) ->
    {ok, Buffer} = py_buffer:new(),
    WriteNs = bench:timed(fun() ->
        _ = [ok = py_buffer:write(Buffer, Piece) || Piece <- Pieces],
        ok = py_buffer:close(Buffer)
    end),
    WriteNs / 1.0e6 + bench:python(read_all, [Buffer]) * 1000.
