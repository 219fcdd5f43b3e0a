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
        write_one_nested_list,
        write_copied,
        write_copied_list,
        read_while_writing,
        large_arguments,
        large_results,
        deep_arguments,
        large_messages,
        large_messages_from_python,
        large_message_that_waits,
        many_messages,
        large_callbacks,
        large_reason,
        large_handoff,
        many_interrupted,
        many_contexts_come_and_go,
        six_calls
    ].

init_per_suite(Config) ->
    Config.

end_per_suite(_Config) ->
    erlpy_ct:stop().

%% Idle schedulers that wait by sched_yield() lose their turn to a busy thread for tens of
%% milliseconds on Linux 6.6 and later, when there are fewer cores than both together.
%% That is not what is measured here: the node's schedulers sleep at once.
init_per_testcase(six_calls, Config) ->
    ok = erlpy_ct:start(Config),
    Config;
init_per_testcase(_Case, Config) ->
    {Peer, _} = erlpy_ct:peer(?MODULE, #{
        args => ["+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none"]
    }),
    ok = peer:call(Peer, erlpy_ct, start, [Config, [{contexts, 4}]]),
    [{peer, Peer} | Config].

end_per_testcase(six_calls, _Config) ->
    ok;
end_per_testcase(_Case, Config) ->
    ok = peer:stop(?config(peer, Config)).

there(Function, Config) ->
    Result = peer:call(?config(peer, Config), ?MODULE, report, [Function, Config], infinity),
    ct:pal("~p", [Result]),
    {ok, _Gaps} = Result.

%% The gaps in milliseconds and how long each run took.
report(Function, Config) ->
    try ?MODULE:Function(Config) of
        _ -> {ok, get(gaps)}
    catch
        _:Why:Stack -> {Why, get(gaps), Stack}
    end.

everything_blocked_in_read(Config) -> there(run_everything_blocked_in_read, Config).
everything_in_a_python_loop(Config) -> there(run_everything_in_a_python_loop, Config).
write_one_large_binary(Config) -> there(run_write_one_large_binary, Config).
write_a_list_of_binaries(Config) -> there(run_write_a_list_of_binaries, Config).
write_many_small_pieces(Config) -> there(run_write_many_small_pieces, Config).
write_one_nested_list(Config) -> there(run_write_one_nested_list, Config).
write_copied(Config) -> there(run_write_copied, Config).
write_copied_list(Config) -> there(run_write_copied_list, Config).
read_while_writing(Config) -> there(run_read_while_writing, Config).
large_arguments(Config) -> there(run_large_arguments, Config).
large_results(Config) -> there(run_large_results, Config).
deep_arguments(Config) -> there(run_deep_arguments, Config).
large_messages(Config) -> there(run_large_messages, Config).
large_messages_from_python(Config) -> there(run_large_messages_from_python, Config).
large_message_that_waits(Config) -> there(run_large_message_that_waits, Config).
many_messages(Config) -> there(run_many_messages, Config).
large_callbacks(Config) -> there(run_large_callbacks, Config).
large_reason(Config) -> there(run_large_reason, Config).
large_handoff(Config) -> there(run_large_handoff, Config).
many_interrupted(Config) -> there(run_many_interrupted, Config).
many_contexts_come_and_go(Config) -> there(run_many_contexts_come_and_go, Config).

%% In one run of Fun the ticker never waits longer than it may.
no_gap(Fun) ->
    no_gap(Fun, ?RUNS, []).

no_gap(_Fun, 0, Gaps) ->
    error({gaps_ms, Gaps});
no_gap(Fun, Left, Gaps) ->
    erlpy_ct:collect(),
    Started = erlang:monotonic_time(millisecond),
    {Gap, _} = erlpy_ct:ticker(Fun),
    Took = erlang:monotonic_time(millisecond) - Started,
    put(gaps, [{Gap, Took} | case get(gaps) of undefined -> []; Before -> Before end]),
    case Gap < ?LONGEST_GAP_MS of
        true -> ok;
        false ->
            timer:sleep(200),
            no_gap(Fun, Left - 1, [Gap | Gaps])
    end.

%% ---- Blocked -----------------------------------------------------------------------------

%% More readers than schedulers of any kind, on every context and every thread of the pool.
run_everything_blocked_in_read(Config) ->
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

run_everything_in_a_python_loop(Config) ->
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

run_write_one_large_binary(_Config) ->
    Data = binary:copy(<<"0123456789abcdef">>, ?LARGE div 16),
    large_write(#{}, fun() -> Data end).

run_write_a_list_of_binaries(_Config) ->
    Piece = binary:copy(<<"x">>, 65536),
    Pieces = [Piece || _ <- lists:seq(1, ?LARGE div 65536)],
    large_write(#{}, fun() -> Pieces end).

run_write_many_small_pieces(_Config) ->
    Piece = binary:copy(<<"x">>, 128),
    Sixteen = lists:foldl(fun(_, In) -> [In, Piece] end, [], lists:seq(1, 16)),
    Deep = lists:foldl(fun(_, In) -> [Sixteen | In] end, [], lists:seq(1, ?LARGE div 2048)),
    large_write(#{}, fun() -> Deep end).

%% Of one element; with improper ends, bytes and empty lists the same bytes arrive.
run_write_one_nested_list(_Config) ->
    Piece = binary:copy(<<"x">>, 128),
    Nested = fun(Count) -> [[lists:duplicate(Count, [[Piece], [] | Piece])]] end,
    Mixed = [$a, [[] | <<"b">>], Nested(4096), <<>>, [[[$c]] | <<"end">>]],
    {ok, Small} = py_buffer:new(),
    ok = py_buffer:write(Small, Mixed),
    ok = py_buffer:close(Small),
    Bytes = iolist_to_binary(Mixed),
    {ok, Bytes} = py:eval("b.read()", #{b => Small}),
    Large = Nested(?LARGE div 256),
    large_write(#{}, fun() -> Large end).

run_write_copied(_Config) ->
    Data = binary:copy(<<"0123456789abcdef">>, ?LARGE div 16),
    large_write(#{copy => always}, fun() -> Data end).

run_write_copied_list(_Config) ->
    Piece = binary:copy(<<"x">>, 65536),
    Pieces = [Piece || _ <- lists:seq(1, ?LARGE div 65536)],
    large_write(#{copy => always}, fun() -> Pieces end).

large_write(Options, Make) ->
    Data = Make(),
    no_gap(fun() ->
        {ok, Buf} = py_buffer:new(Options),
        ok = py_buffer:write(Buf, Data),
        {ok, ?LARGE} = py:call(builtins, len, [Buf]),
        Buf
    end).

run_read_while_writing(_Config) ->
    Piece = binary:copy(<<"x">>, 1024 * 1024),
    no_gap(fun() ->
        {ok, Buf} = py_buffer:new(),
        Ref = py:spawn_call(ct_buffers, read_digest, [Buf]),
        [ok = py_buffer:write(Buf, Piece) || _ <- lists:seq(1, 128)],
        ok = py_buffer:close(Buf),
        {ok, <<_:64/binary>>} = py:await(Ref)
    end).

%% ---- Large terms --------------------------------------------------------------------------------

run_large_arguments(_Config) ->
    List = lists:seq(1, 1_000_000),
    {ok, 1_000_000} = py:call(builtins, len, [List]),
    no_gap(fun() -> {ok, 1_000_000} = py:call(builtins, len, [List]) end).

run_large_results(_Config) ->
    no_gap(fun() ->
        {ok, List} = py:eval("list(range(1_000_000))"),
        1_000_000 = length(List)
    end).

run_deep_arguments(_Config) ->
    Deep = lists:foldl(fun(_, In) -> [In] end, [], lists:seq(1, 1_000_000)),
    no_gap(fun() -> {error, {not_convertible, _}} = py:call(builtins, len, [Deep]) end).

run_large_messages(_Config) ->
    List = lists:seq(1, 1_000_000),
    Deep = lists:foldl(fun(_, In) -> [In] end, [], lists:seq(1, 300_000)),
    no_gap(fun() ->
        {ok, Channel} = py_channel:new(),
        ok = py_channel:send(Channel, List),
        ok = py_channel:send(Channel, Deep),
        ok = py_channel:send(Channel, fun() -> {List, Deep} end),
        {ok, 1_000_000} = py:eval("len(c.receive())", #{c => Channel})
    end).

%% They are handed over, not copied.
run_large_messages_from_python(_Config) ->
    {ok, Channel} = py_channel:new(),
    no_gap(fun() ->
        {ok, none} = py:eval("c.put(list(range(1_000_000)))", #{c => Channel}),
        {ok, List} = py_channel:recv(Channel),
        1_000_000 = length(List)
    end).

run_large_message_that_waits(_Config) ->
    List = lists:seq(1, 1_000_000),
    {ok, Channel} = py_channel:new(#{max_size => 10}),
    ok = py_channel:send(Channel, <<"first">>),
    no_gap(fun() -> {error, timeout} = py_channel:send(Channel, List, 10) end).

%% None of them is large, one after the other: on the scheduler of the one who would wait.
run_many_messages(_Config) ->
    List = lists:seq(1000, 10_000),
    {ok, Channel} = py_channel:new(),
    no_gap_beside(fun() ->
        [ok = py_channel:send(Channel, List) || _ <- lists:seq(1, 1000)],
        {ok, none} = py:call(ct_channel, pass_on, [Channel, 1000]),
        [{ok, [1000 | _]} = py_channel:recv(Channel) || _ <- lists:seq(1, 1000)]
    end).

%% Both on one scheduler.
no_gap_beside(Fun) ->
    Online = erlang:system_flag(schedulers_online, 1),
    try no_gap(Fun) after erlang:system_flag(schedulers_online, Online) end.

run_large_callbacks(_Config) ->
    List = lists:seq(1, 1_000_000),
    ok = py:register_function(echo, fun(Value) -> Value end),
    no_gap(fun() -> {ok, [1 | _]} = py:call(ct_callbacks, call, [echo, [List]]) end).

%% Without the conversions at both ends, which are the runtime's own.
run_large_reason(_Config) ->
    Kept = term_to_binary(binary:copy(<<"crashed">>, 10_000_000)),
    no_gap(fun() ->
        {ok, Buf} = py_buffer:new(),
        ok = py_nif:buffer_abort(Buf, Kept, <<"crashed">>),
        Kept = py_nif:buffer_reason(Buf)
    end).

run_large_handoff(_Config) ->
    Info = #{list => lists:seq(1, 6_000_000)},
    {ok, Reactor} = py_reactor_context:start_link(large, auto,
        #{app_module => ct_reactor, app_callable => 'Echo'}),
    {ok, [In, _]} = py:eval("list(__import__('os').pipe())"),
    no_gap_beside(fun() -> ok = py_reactor_context:handoff(Reactor, In, Info) end),
    ok = py_reactor_context:stop(Reactor).

run_many_interrupted(_Config) ->
    {ok, Context} = py_context:new(),
    no_gap(fun() ->
        Refs = [py:async_call(Context, ct_async, answer, [1, 3600]) || _ <- lists:seq(1, 2000)],
        ok = erlpy_ct:eventually(fun() -> erlpy_ct:info(tasks) =:= 2000 end),
        ok = py:interrupt(Context),
        [{error, interrupted} = py:async_await(Ref, 5000) || Ref <- Refs]
    end).

run_many_contexts_come_and_go(_Config) ->
    no_gap(fun() ->
        [begin
             {ok, Context} = py_context:new(),
             {ok, 1} = py:eval(Context, "1"),
             ok = py_context:destroy(Context)
         end || _ <- lists:seq(1, 100)]
    end).

six_calls(_Config) ->
    erlpy_ct:still_works().
