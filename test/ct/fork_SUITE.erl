%% Python code that forks: a child can neither reach the node nor disturb it.
-module(fork_SUITE).

-include_lib("common_test/include/ct.hrl").

-compile([export_all, nowarn_export_all]).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [
        host_calls_raise,
        what_has_arrived_can_be_read,
        releases_do_nothing,
        ends_of_buffers,
        job_that_returns_in_the_child,
        result_that_forks,
        signals_end_only_the_child,
        hundred_children,
        children_beside_readers_and_writers,
        child_of_a_search,
        subprocess_with_a_function_before,
        multiprocessing_spawn,
        multiprocessing_forkserver,
        six_calls
    ].

init_per_suite(Config) ->
    ok = erlpy_ct:start(Config),
    Config.

end_per_suite(_Config) ->
    erlpy_ct:stop().

init_per_testcase(_Case, Config) ->
    Config.

%% Nothing came from a child.
end_per_testcase(_Case, Config) ->
    erlpy_ct:left_clean(Config).

host_calls_raise(_Config) ->
    {ok, Empty} = py_buffer:new(),
    {ok, [Outcomes, 0]} = py:call(ct_fork, host_calls, [self(), Empty]),
    12 = map_size(Outcomes),
    _ = [{Name, [<<"RuntimeError">>, <<"not in a child process", _/binary>>]} = {Name, Outcome}
         || {Name, Outcome} <- maps:to_list(Outcomes)],
    {'EXIT', {badarg, _}} = (catch binary_to_existing_atom(<<"made_in_a_child">>)),
    #{waiting_readers := 0, read := 0} = py_buffer:info(Empty),
    %% The parent's buffer is as it was.
    ok = py_buffer:write(Empty, <<"abc">>),
    {ok, <<"abc">>} = py:call(ct_buffers, invoke, [Empty, read, 10]).

what_has_arrived_can_be_read(_Config) ->
    {ok, Buf} = py_buffer:new(),
    ok = py_buffer:write(Buf, <<"abcline\nview">>),
    ok = py_buffer:write(Buf, binary:copy(<<"x">>, 5000)),
    {ok, [[true, true, <<"abc">>, <<"line\n">>, <<"view">>, <<"xx">>, 12], 0]} =
        py:call(ct_fork, harmless, [self(), Buf]),
    #{read := 0, available := 5012} = py_buffer:info(Buf).

releases_do_nothing(_Config) ->
    {ok, Buf} = py_buffer:new(),
    [ok = py_buffer:write(Buf, binary:copy(Byte, 100000)) || Byte <- [<<"a">>, <<"b">>, <<"c">>]],
    {ok, none} = py:call(ct_fork, keep, [Buf]),
    {ok, [[<<"released">>, 0], [<<"aaa">>, <<"bbb">>, <<"ccc">>]]} =
        py:call(ct_fork, view_and_let_go, [Buf]).

%% The last reader of the child is not that of the buffer; an abort says in the child what
%% its reason looks like.
ends_of_buffers(_Config) ->
    {ok, Buf} = py_buffer:new(#{high_watermark => 4}),
    ok = py_buffer:write(Buf, <<"full">>),
    {Writer, Monitor} = spawn_monitor(fun() -> exit(py_buffer:write(Buf, <<"more">>)) end),
    Parked = fun() -> maps:get(waiting_writers, py_buffer:info(Buf)) =:= 1 end,
    ok = erlpy_ct:eventually(Parked),
    {ok, none} = py:call(ct_fork, keep, [Buf]),
    {ok, [<<"released">>, 0]} = py:call(ct_fork, let_go, [[]]),
    {ok, [[<<"value">>, <<"b'full'">>], 0]} = py:call(ct_fork, read_in_child, [Buf]),
    true = Parked(),
    ok = py_buffer:abort(Buf, {went, "away"}),
    receive {'DOWN', Monitor, process, Writer, Reason} -> {error, {aborted, _}} = Reason end,
    {ok, [[<<"BufferAborted">>, Text], 0]} = py:call(ct_fork, read_all_in_child, [Buf]),
    true = string:find(Text, "went") =/= nomatch,
    {ok, none} = py:call(ct_fork, forget, []).

%% The caller has one answer, that of the parent.
job_that_returns_in_the_child(_Config) ->
    {ok, Context} = py_context:new(),
    [{ok, Status} = py:call(On, ct_fork, fork_and_return, [How])
     || {How, Status} <- [{<<"return">>, 0}, {<<"raise">>, 1}, {<<"exit">>, 3}],
        On <- [Context, py:context()]],
    [{ok, 0} = py:call(ct_fork, fork_and_return, [<<"return">>]) || _ <- [1, 2, 3]],
    ok = py:exec(Context, "import ct_fork; status = ct_fork.fork_and_return('exit')"),
    {ok, 3} = py:eval(Context, "status"),
    {ok, 3} = py:eval(Context, "ct_fork.fork_and_return('exit')"),
    ok = py_context:destroy(Context).

result_that_forks(_Config) ->
    {ok, 0} = py:call(ct_fork, forks_when_converted, []).

%% The handlers of the node write into a pipe that a child shares.
signals_end_only_the_child(_Config) ->
    {Peer, _} = erlpy_ct:peer(?FUNCTION_NAME, #{}),
    ok = peer:call(Peer, application, load, [erlpy]),
    {ok, Path} = application:get_env(erlpy, python_path),
    ok = peer:call(Peer, application, set_env, [erlpy, python_path, Path]),
    {ok, _} = peer:call(Peer, application, ensure_all_started, [erlpy]),
    Numbers = [{sigterm, 15}, {sigusr2, 12}, {sighup, 1}, {sigquit, 3}],
    Collector = peer:call(Peer, ?MODULE, collect_signals, [[Name || {Name, _} <- Numbers]]),
    [{Name, {ok, Status}} =
         {Name, peer:call(Peer, py, call, [ct_fork, terminate_child, [Number]])}
     || {Name, Number} <- Numbers, Status <- [-Number]],
    %% One of its own is the last that it would have seen.
    _ = peer:call(Peer, py, eval, ["__import__('os').kill(__import__('os').getpid(), 12)"]),
    [sigusr2] = peer:call(Peer, ?MODULE, collected, [Collector]),
    {ok, 4.0} = peer:call(Peer, py, call, [math, sqrt, [16]]),
    ok = peer:stop(Peer).

%% Runs in the peer: a process that has each signal that the node is sent.
collect_signals(Names) ->
    Collector = spawn(fun() -> collecting([]) end),
    ok = gen_event:delete_handler(erl_signal_server, erl_signal_handler, []),
    ok = gen_event:add_handler(erl_signal_server, ?MODULE, Collector),
    [ok = os:set_signal(Name, handle) || Name <- Names],
    Collector.

collecting(Names) ->
    receive
        {signal, Name} -> collecting([Name | Names]);
        {get, From} when Names =/= [] -> From ! {self(), lists:reverse(Names)}
    end.

collected(Collector) ->
    Collector ! {get, self()},
    receive {Collector, Names} -> Names after 5000 -> none end.

init(Collector) -> {ok, Collector}.

handle_event(Name, Collector) ->
    Collector ! {signal, Name},
    {ok, Collector}.

handle_call(_Request, State) -> {ok, ok, State}.

hundred_children(_Config) ->
    {ok, Descriptors} = py:call(ct_fork, descriptors, []),
    {ok, Empty} = py_buffer:new(),
    lists:foreach(
        fun(_) ->
            {ok, [#{}, 0]} = py:call(ct_fork, host_calls, [self(), Empty]),
            {ok, 0} = py:call(ct_fork, fork_and_return, [<<"return">>])
        end,
        lists:seq(1, 100)
    ),
    {ok, []} = py:call(ct_fork, zombies, []),
    {ok, Descriptors} = py:call(ct_fork, descriptors, []).

%% Locks of the node and of streams are taken by other threads when the child is made.
children_beside_readers_and_writers(_Config) ->
    {ok, Buf} = py_buffer:new(),
    ok = py_buffer:write(Buf, binary:copy(<<"w">>, 5000)),
    Busy = [spawn_link(fun() -> keep_busy(Buf) end) || _ <- [1, 2, 3]],
    [{N, {ok, [[<<"value">>, _], 0]}} = {N, py:call(ct_fork, read_beside_others, [Buf])}
     || N <- lists:seq(1, 50)],
    true = lists:all(fun is_process_alive/1, Busy),
    [begin unlink(Pid), exit(Pid, kill) end || Pid <- Busy],
    ok = py_buffer:close(Buf),
    {ok, []} = py:call(ct_fork, zombies, []).

keep_busy(Buf) ->
    ok = py_buffer:write(Buf, [binary:copy(<<"x">>, 100), binary:copy(<<"y">>, 3000)]),
    {ok, _} = py:call(ct_buffers, invoke, [Buf, read, 3000]),
    keep_busy(Buf).

%% The lock of the reader may be one of those: then the child ends, and does not hang.
child_of_a_search(_Config) ->
    Statuses = [child_of_search() || _ <- lists:seq(1, 10)],
    ct:pal("~p", [Statuses]),
    [] = [Status || Status <- Statuses, Status =/= 0, Status =/= 1].

child_of_search() ->
    Buf = erlpy_ct:reader([binary:copy(<<"x">>, 50000) || _ <- lists:seq(1, 400)]),
    case py:call(ct_fork, read_during_search, [Buf]) of
        {ok, [<<"x">>, 0]} -> 0;
        {ok, [_, Status]} -> Status
    end.

subprocess_with_a_function_before(_Config) ->
    {ok, 5} = py:call(ct_fork, preexec, []).

multiprocessing_spawn(_Config) ->
    multiprocessing(<<"spawn">>).

multiprocessing_forkserver(_Config) ->
    multiprocessing(<<"forkserver">>).

multiprocessing(Method) ->
    {ok, [0, 1, 4, 9, 16]} = py:call(ct_fork, squares, [Method, 5]),
    {ok, none} = py:call(ct_fork, stop_helpers, []),
    {ok, []} = py:call(ct_fork, zombies, []).

six_calls(_Config) ->
    erlpy_ct:still_works().
