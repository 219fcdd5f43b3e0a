%% Runs one benchmark program and prints its rows; `bench/run' calls it.
%%
%% A program is a module `bench_NAME' with `rows/1', which gets `true' for a quick look and
%% answers rows made by row/1.  What the programs share is here: measuring in turns,
%% medians, and running an anchor in C or Python.
-module(bench).

-export([header/0, main/1]).
-export([pick/3, compare/3, compared/1, times_faster/1, row/1]).
-export([median/1, percentile/2, timed/1, cpu_seconds/0, os_cpu/0, huge_pages/0]).
-export([anchor/2, python/2, python/3, filled/2, pieces/2, await_reader/1]).

-define(COLUMNS, "~-56ts ~11ts ~11ts  ~-8ts ~9ts  ~-9ts ~ts~n").

header() ->
    {ok, <<Python/binary>>} = start(),
    io:format("OTP ~s, Python ~s, ~w cores, huge pages: ~s, load ~s~n~n", [
        erlang:system_info(otp_release), Python,
        erlang:system_info(logical_processors), huge_pages(), load()
    ]),
    io:format(?COLUMNS, ["", "ours", "anchor", "unit", "ratio", "goal", ""]),
    halt(0).

main([Name, Quick, Out]) ->
    {ok, _} = start(),
    Program = list_to_existing_module("bench_" ++ Name),
    Rows = Program:rows(list_to_existing_atom(Quick)),
    _ = lists:foldl(fun show/2, "", Rows),
    ok = file:write_file(filename:join([Out, "rows", Name]), [json(Row) || Row <- Rows]),
    halt(0).

list_to_existing_module(Name) ->
    {module, Module} = code:ensure_loaded(list_to_atom(Name)),
    Module.

start() ->
    _ = application:load(erlpy),
    Here = filename:absname("bench/python"),
    ok = application:set_env(erlpy, python_path, [Here]),
    {ok, _} = application:ensure_all_started(erlpy),
    py:version().

huge_pages() ->
    case file:read_file("/sys/kernel/mm/transparent_hugepage/enabled") of
        {ok, Modes} ->
            {match, [Mode]} = re:run(Modes, "\\[(.*)\\]", [{capture, [1], list}]),
            Mode;
        {error, _} ->
            "none"
    end.

load() ->
    case file:read_file("/proc/loadavg") of
        {ok, Load} -> hd(binary:split(Load, <<" ">>));
        {error, _} -> "unknown"
    end.

%% ---- Measuring -----------------------------------------------------------------------

pick(true, Quick, _Full) -> Quick;
pick(false, _Quick, Full) -> Full.

%% Medians of both and of the ratios Ours / Anchor, after a round that does not count.
compare(Rounds, Ours, Anchor) ->
    _ = {Ours(), Anchor()},
    compared([{Ours(), Anchor()} || _ <- lists:seq(1, Rounds)]).

compared(Pairs) ->
    #{
        ours => median([O || {O, _} <- Pairs]),
        anchor => median([A || {_, A} <- Pairs]),
        ratio => median([O / A || {O, A} <- Pairs])
    }.

%% With the ratio the other way round.
times_faster(#{ratio := Ratio} = Result) ->
    Result#{ratio := 1 / Ratio}.

median(Values) ->
    percentile(50, Values).

percentile(P, Values) ->
    Sorted = lists:sort(Values),
    lists:nth(min(length(Sorted), 1 + length(Sorted) * P div 100), Sorted).

%% Nanoseconds.
timed(Fun) ->
    Start = erlang:monotonic_time(),
    _ = Fun(),
    erlang:convert_time_unit(erlang:monotonic_time() - Start, native, nanosecond).

%% Of the whole node so far.
cpu_seconds() ->
    {ok, Seconds} = py:call(time, process_time, []),
    Seconds.

%% Milliseconds of CPU of the node so far, user and system, as the system counts them, and
%% without asking Python.
os_cpu() ->
    {ok, Stat} = file:read_file("/proc/self/stat"),
    [_, Rest] = binary:split(Stat, <<") ">>),
    Fields = binary:split(Rest, <<" ">>, [global]),
    [User, System] = [binary_to_integer(lists:nth(N, Fields)) || N <- [12, 13]],
    (User + System) * 10.

%% The numbers that a program in C prints.
anchor(Program, Args) ->
    Command = ["./_build/bench/", Program, [[" ", integer_to_list(A)] || A <- Args]],
    [list_to_integer(N) || N <- string:lexemes(os:cmd(lists:flatten(Command)), " \n")].

%% What a function of bench/python/measure.py answers.
python(Function, Args) ->
    python(measure, Function, Args).

%% Of another module there.
python(Module, Function, Args) ->
    case py:call(Module, Function, Args) of
        {ok, Result} ->
            Result;
        {error, {_Type, _Message, Traceback}} ->
            io:put_chars(standard_error, Traceback),
            halt(1)
    end.

%% A buffer that holds the data, written in pieces of that size, and has ended.
filled(Data, Size) ->
    {ok, Buffer} = py_buffer:new(),
    _ = [ok = py_buffer:write(Buffer, Piece) || Piece <- pieces(Data, Size)],
    ok = py_buffer:close(Buffer),
    Buffer.

pieces(Data, Size) when byte_size(Data) > Size ->
    {Piece, Rest} = split_binary(Data, Size),
    [Piece | pieces(Rest, Size)];
pieces(Data, _Size) ->
    [Data].

%% Returns when somebody waits for the buffer.
await_reader(Buffer) ->
    case py_buffer:info(Buffer) of
        #{waiting_readers := 1} ->
            ok;
        _ ->
            timer:sleep(1),
            await_reader(Buffer)
    end.

%% ---- Rows ----------------------------------------------------------------------------

%% `ratio' is Ours / Anchor unless given; `goal' is {at_least, N} or {at_most, N} for the
%% ratio, or none, and `reached' follows from it unless given.  The note says what the
%% ratio is of, and whether less or more is better.
row(#{name := _, ours := Ours, anchor := Anchor, unit := _, note := _} = Row) ->
    maps:merge(#{ratio => Ours / Anchor, goal => none}, Row).

%% The note that rows share stands above them.
show(Row, NoteBefore) ->
    #{name := Name, ours := Ours, anchor := Anchor, unit := Unit, note := Note} = Row,
    Ratio = [number(maps:get(ratio, Row)), "x"],
    _ = [io:format("~n~ts~n", [Note]) || Note =/= NoteBefore],
    io:format(?COLUMNS, [
        ["  ", Name], number(Ours), number(Anchor), Unit, Ratio, goal(Row), verdict(Row)
    ]),
    Note.

goal(#{goal := none}) -> "";
goal(#{goal := {at_least, Goal}}) -> [">= ", number(Goal)];
goal(#{goal := {at_most, Goal}}) -> ["<= ", number(Goal)].

reached(#{reached := Reached}) -> Reached;
reached(#{goal := none}) -> null;
reached(#{goal := {at_least, Goal}, ratio := Ratio}) -> Ratio >= Goal;
reached(#{goal := {at_most, Goal}, ratio := Ratio}) -> Ratio =< Goal.

verdict(Row) ->
    case reached(Row) of
        true -> "reached";
        false -> "NOT reached";
        null -> ""
    end.

number(N) when is_integer(N) -> integer_to_list(N);
number(N) when N >= 1000 -> float_to_list(N, [{decimals, 0}]);
number(N) when N >= 100 -> float_to_list(N, [{decimals, 1}]);
number(N) when N >= 1 -> float_to_list(N, [{decimals, 2}]);
number(N) -> float_to_list(N, [{decimals, 3}]).

%% One object and a comma.
json(Row) ->
    #{name := Name, ours := Ours, anchor := Anchor, ratio := Ratio, unit := Unit, note := Note} = Row,
    Strings = fun(Pairs) -> [io_lib:format(", \"~s\": \"~ts\"", [K, V]) || {K, V} <- Pairs] end,
    [
        io_lib:format("  {\"name\": \"~ts\", \"ours\": ~ts, \"anchor\": ~ts, \"ratio\": ~ts",
            [Name, number(Ours), number(Anchor), number(Ratio)]),
        Strings([{unit, Unit}, {goal, goal(Row)}]),
        io_lib:format(", \"reached\": ~w", [reached(Row)]),
        Strings([{note, Note}]),
        "},\n"
    ].
