%% No scheduler waits and no dirty scheduler is held while Python runs.
%%
%% A process that wants to run every millisecond says whether a scheduler stood still.
%% A busy machine stops whole processes for longer than that: one good run of eight is
%% enough.  What holds a scheduler does so in each of them.
-module(scheduler_SUITE).

-include_lib("common_test/include/ct.hrl").

-compile([export_all, nowarn_export_all]).

-define(LONGEST_GAP_MS, 20).
-define(RUNS, 8).
-define(LARGE, 256 * 1024 * 1024).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [
        everything_blocked_in_read,
        everything_in_a_python_loop,
        write_one_large_binary,
        write_a_list_of_binaries,
        write_many_small_pieces,
        write_copied,
        write_copied_list,
        read_while_writing,
        large_arguments,
        large_results,
        deep_arguments,
        many_contexts_come_and_go,
        six_calls
    ].

init_per_suite(Config) ->
    Config.

end_per_suite(_Config) ->
    erlpy_ct:stop().

init_per_testcase(_Case, Config) ->
    ok = erlpy_ct:start(Config, [{contexts, 4}]),
    Config.

%% In one run of Fun the ticker never waits longer than it may.
no_gap(Fun) ->
    no_gap(0, Fun).

no_gap(AllowedMs, Fun) ->
    no_gap(?LONGEST_GAP_MS + AllowedMs, Fun, ?RUNS, []).

no_gap(_Limit, _Fun, 0, Gaps) ->
    ct:fail({gaps_ms, Gaps});
no_gap(Limit, Fun, Left, Gaps) ->
    erlpy_ct:collect(),
    Started = erlang:monotonic_time(millisecond),
    {Gap, _} = erlpy_ct:ticker(Fun),
    Took = erlang:monotonic_time(millisecond) - Started,
    ct:pal("longest gap ~.2f ms in ~b ms", [Gap, Took]),
    case Gap < Limit of
        true -> ok;
        false ->
            timer:sleep(200),
            no_gap(Limit, Fun, Left - 1, [Gap | Gaps])
    end.

%% ---- Blocked -----------------------------------------------------------------------------

%% More readers than schedulers of any kind, on every context and every thread of the pool.
everything_blocked_in_read(Config) ->
    {ok, Buf} = py_buffer:new(),
    {ok, Common} = py:start_contexts(),
    Contexts = [element(2, py_context:new()) || _ <- lists:seq(1, 40)] ++ Common,
    Refs = [py:spawn_call(Context, ct_buffers, invoke, [Buf, read]) || Context <- Contexts]
        ++ [py:spawn_call(ct_buffers, invoke, [Buf, read]) || _ <- lists:seq(1, 40)],
    timer:sleep(300),
    [{error, timeout} = py:await(Ref, 0) || Ref <- Refs],
    no_gap(fun() -> file_work(Config, 1500) end),
    ok = py_buffer:close(Buf),
    [{ok, <<>>} = py:await(Ref) || Ref <- Refs],
    [ok = py_context:destroy(Context) || Context <- Contexts].

%% Each of them goes through a dirty scheduler.
file_work(Config, Count) ->
    Name = filename:join(?config(priv_dir, Config), "file"),
    Data = binary:copy(<<"x">>, 1000),
    [begin
         ok = file:write_file(Name, Data),
         {ok, Data} = file:read_file(Name)
     end || _ <- lists:seq(1, Count)].

everything_in_a_python_loop(Config) ->
    {ok, Contexts} = py:start_contexts(),
    Loop = "end = __import__('time').monotonic() + 1.5\n"
           "while __import__('time').monotonic() < end: pass\n",
    Parent = self(),
    Callers = [spawn_link(fun() -> Parent ! {self(), py:exec(Context, Loop)} end)
               || Context <- Contexts],
    no_gap(fun() -> file_work(Config, 200) end),
    [receive {Caller, ok} -> ok end || Caller <- Callers],
    ok.

%% ---- Large writes ---------------------------------------------------------------------------

write_one_large_binary(_Config) ->
    Data = binary:copy(<<"0123456789abcdef">>, ?LARGE div 16),
    large_write(#{}, fun() -> Data end).

write_a_list_of_binaries(_Config) ->
    Piece = binary:copy(<<"x">>, 65536),
    Pieces = [Piece || _ <- lists:seq(1, ?LARGE div 65536)],
    large_write(#{}, fun() -> Pieces end).

%% iolist_to_iovec/1 of the runtime makes larger pieces of these first, without a pause:
%% the write may stand still for as long as that does, and not longer.
write_many_small_pieces(_Config) ->
    Piece = binary:copy(<<"x">>, 128),
    Sixteen = lists:foldl(fun(_, In) -> [In, Piece] end, [], lists:seq(1, 16)),
    Deep = lists:foldl(fun(_, In) -> [Sixteen | In] end, [], lists:seq(1, ?LARGE div 2048)),
    Runtime = fun() -> {Gap, _} = erlpy_ct:ticker(fun() -> erlang:iolist_to_iovec(Deep) end), Gap end,
    Allowed = lists:max([Runtime() || _ <- [1, 2, 3]]),
    ct:pal("iolist_to_iovec alone: ~.2f ms", [Allowed]),
    large_write(#{}, fun() -> Deep end, Allowed).

write_copied(_Config) ->
    Data = binary:copy(<<"0123456789abcdef">>, ?LARGE div 16),
    large_write(#{copy => always}, fun() -> Data end).

write_copied_list(_Config) ->
    Piece = binary:copy(<<"x">>, 65536),
    Pieces = [Piece || _ <- lists:seq(1, ?LARGE div 65536)],
    large_write(#{copy => always}, fun() -> Pieces end).

large_write(Options, Make) ->
    large_write(Options, Make, 0).

large_write(Options, Make, AllowedMs) ->
    Data = Make(),
    no_gap(AllowedMs, fun() ->
        {ok, Buf} = py_buffer:new(Options),
        ok = py_buffer:write(Buf, Data),
        {ok, ?LARGE} = py:call(builtins, len, [Buf]),
        Buf
    end).

read_while_writing(_Config) ->
    Piece = binary:copy(<<"x">>, 1024 * 1024),
    no_gap(fun() ->
        {ok, Buf} = py_buffer:new(),
        Ref = py:spawn_call(ct_buffers, read_digest, [Buf]),
        [ok = py_buffer:write(Buf, Piece) || _ <- lists:seq(1, 128)],
        ok = py_buffer:close(Buf),
        {ok, <<_:64/binary>>} = py:await(Ref)
    end).

%% ---- Large terms --------------------------------------------------------------------------------

large_arguments(_Config) ->
    List = lists:seq(1, 1_000_000),
    {ok, 1_000_000} = py:call(builtins, len, [List]),
    no_gap(fun() -> {ok, 1_000_000} = py:call(builtins, len, [List]) end).

large_results(_Config) ->
    no_gap(fun() ->
        {ok, List} = py:eval("list(range(1_000_000))"),
        1_000_000 = length(List)
    end).

deep_arguments(_Config) ->
    Deep = lists:foldl(fun(_, In) -> [In] end, [], lists:seq(1, 1_000_000)),
    no_gap(fun() -> {error, {not_convertible, _}} = py:call(builtins, len, [Deep]) end).

many_contexts_come_and_go(_Config) ->
    no_gap(fun() ->
        [begin
             {ok, Context} = py_context:new(),
             {ok, 1} = py:eval(Context, "1"),
             ok = py_context:destroy(Context)
         end || _ <- lists:seq(1, 100)]
    end).

six_calls(_Config) ->
    erlpy_ct:still_works().
