#!/usr/bin/env escript
%%! +Bd -noinput
%% Numbers and tables: binaries that NumPy computes with where they are, numbers that it
%% averages and a CSV file that pandas sums up while they are written.
%%
%% Run by examples/arrays/run.
-mode(compile).

-define(DEADLINE_MS, 30000).
-define(MOST_UNREAD, 1048576).
%% A few that the interpreter may need meanwhile; the numbers are 64 MiB.
-define(GROWN_BYTES, 4 bsl 20).

main([]) ->
    ok = start(),
    Good = [numpy(is_here(numpy)), pandas(is_here(pandas))],
    halt(case lists:member(false, lists:flatten(Good)) of true -> 1; false -> 0 end).

start() ->
    Here = filename:dirname(filename:absname(escript:script_name())),
    ok = application:load(erlpy),
    ok = application:set_env(erlpy, python_path, [Here]),
    {ok, _} = application:ensure_all_started(erlpy),
    ok.

is_here(Module) ->
    case py:call(importlib, import_module, [{str, atom_to_binary(Module)}]) of
        {error, {<<"ModuleNotFoundError">>, _, _}} ->
            line("skipped", "~ts (not found)", [Module]),
            false;
        _ ->
            true
    end.

%% ---- NumPy ----------------------------------------------------------------------------

numpy(false) -> [];
numpy(true) -> [without_a_copy(), while_they_arrive()].

%% Two buffers get one binary.  Each array begins at the same address: it is the binary's.
without_a_copy() ->
    Count = 8 bsl 20,
    Numbers = binary:copy(<<0.5:64/float-little, 1.5:64/float-little>>, Count div 2),
    {ok, One} = py_buffer:new(),
    {ok, Two} = py_buffer:new(),
    ok = py_buffer:write(One, Numbers),
    ok = py_buffer:write(Two, Numbers),
    Sum = float(Count),
    case py:call(columns, compare, [One, Two, Count]) of
        {ok, #{<<"same_address">> := true, <<"shared">> := true, <<"writeable">> := false,
               <<"base">> := <<"memoryview">>, <<"sum">> := Sum, <<"grown">> := Grown}}
          when Grown < ?GROWN_BYTES ->
            line("numpy", "~w numbers of ~w MiB, at the address of the binary",
                 [Count, byte_size(Numbers) bsr 20]),
            line("memory", "under ~w MiB more than before", [?GROWN_BYTES bsr 20]),
            true;
        Other ->
            line("numpy", "DIFFERS: ~tP", [Other, 30]),
            false
    end.

while_they_arrive() ->
    {ok, Buf} = py_buffer:new(#{high_watermark => ?MOST_UNREAD, seekable => false}),
    Call = py:spawn_call(columns, means, [Buf, 1000]),
    {ok, _Pid} = py_buffer:spawn_writer(Buf, fun(_) ->
        %% In pieces that do not end where a number does.
        Bytes = << <<(float(N)):64/float-little>> || N <- lists:seq(1, 2500)>>,
        write_pieces(Buf, Bytes, 4099)
    end),
    case py:await(Call, ?DEADLINE_MS) of
        {ok, [500.5, 1500.5, 2250.5] = Means} ->
            line("means", "~w, of 1000 numbers each, the last of 500", [Means]),
            true;
        Other ->
            line("means", "DIFFERS: ~tP", [Other, 30]),
            false
    end.

write_pieces(Buf, Bytes, Size) when byte_size(Bytes) > Size ->
    <<Piece:Size/binary, Rest/binary>> = Bytes,
    ok = py_buffer:write(Buf, Piece),
    write_pieces(Buf, Rest, Size);
write_pieces(Buf, Bytes, _Size) ->
    ok = py_buffer:write(Buf, Bytes).

%% ---- pandas ----------------------------------------------------------------------------

pandas(false) -> [];
pandas(true) -> [table()].

%% The last rows are written when the first have been summed up, and not before.
table() ->
    {ok, Buf} = py_buffer:new(#{high_watermark => ?MOST_UNREAD, seekable => false}),
    {ok, Writer} = py_buffer:spawn_writer(Buf, fun(_) -> write_table(Buf) end),
    Call = py:spawn_call(tables, totals, [Buf, Writer]),
    case py:await(Call, ?DEADLINE_MS) of
        {ok, #{<<"pears">> := 100000, <<"apples">> := 200003} = Sums} when map_size(Sums) =:= 2 ->
            line("pandas", "200001 rows; the first 1000 were summed up before the last were written",
                 []),
            true;
        Other ->
            line("pandas", "DIFFERS: ~tP", [Other, 30]),
            false
    end.

write_table(Buf) ->
    ok = py_buffer:write(Buf, <<"name,amount\n">>),
    Rows = binary:copy(<<"pears,1\napples,2\n">>, 1000),
    _ = [ok = py_buffer:write(Buf, Rows) || _ <- lists:seq(1, 100)],
    receive
        1000 -> ok
    after ?DEADLINE_MS -> error(nothing_summed_up)
    end,
    ok = py_buffer:write(Buf, <<"apples,3\n">>).

line(Title, Format, Arguments) ->
    io:format("  ~-9ts" ++ Format ++ "~n", [Title | Arguments]).
