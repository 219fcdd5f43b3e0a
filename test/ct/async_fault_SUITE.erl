%% Event loops and threads that get no memory, and code on loops that does what nobody
%% expects.
-module(async_fault_SUITE).

-include_lib("common_test/include/ct.hrl").

-compile([export_all, nowarn_export_all]).

-import(erlpy_ct, [told/1, info/1, eventually/1]).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [
        exceptions_with_another_with_traceback,
        stop_with_one_that_cancels_all,
        loop_without_memory,
        thread_without_memory
    ].

init_per_suite(Config) ->
    Config.

end_per_suite(_Config) ->
    erlpy_ct:stop().

init_per_testcase(_Case, Config) ->
    ok = erlpy_ct:start(Config, [{contexts, 2}]),
    Config.

end_per_testcase(_Case, Config) ->
    erlpy_ct:left_clean(Config).

exceptions_with_another_with_traceback(_Config) ->
    {error, {<<"Own">>, <<"told">>, Text}} =
        py:call(ct_async, raise_with_own_traceback, [], #{}, 10000),
    {_, _} = binary:match(Text, <<"raise Own">>).

%% It comes to its end, though it cancels what the loop itself runs as well.
stop_with_one_that_cancels_all(_Config) ->
    Ref = py:async_call(ct_async, cancel_all, [self()]),
    none = told(running),
    ok = application:stop(erlpy),
    {error, stopped} = py:async_await(Ref, 0),
    none = told(ended),
    ok = eventually(fun() -> info(event_loops) =:= 0 end),
    ok = application:start(erlpy),
    ok = eventually(fun() -> info(tasks) =:= 0 end).

%% The calls that were given to it fail, the next one has another loop, and the stop waits
%% for no thread.
loop_without_memory(Config) ->
    Peer = peer_that_refuses_one("erlpy_loop", ?FUNCTION_NAME, Config),
    ok = peer:call(Peer, erlpy_ct, start, [Config, [{event_loops, 1}]]),
    Calls = [{ct_async, answer, [1]} || _ <- lists:seq(1, 50)],
    Answers = peer:call(Peer, ?MODULE, await_all, [Calls]),
    Failed = Answers -- [{ok, 1} || _ <- Calls],
    true = Failed =/= [],
    [{error, {<<"RuntimeError">>, <<"no event loop could be started">>, _}} = Answer
     || Answer <- Failed],
    {ok, 2} = peer:call(Peer, py, call, [ct_async, answer, [2]]),
    1 = peer:call(Peer, erlpy_ct, info, [event_loops]),
    ok = peer:call(Peer, application, stop, [erlpy]),
    ok = peer:stop(Peer).

%% It has one when a call comes to it.
thread_without_memory(Config) ->
    Peer = peer_that_refuses_one("erlpy_pool", ?FUNCTION_NAME, Config),
    ok = peer:call(Peer, erlpy_ct, start, [Config, [{contexts, 1}, {max_threads, 1}]]),
    [{ok, N} = peer:call(Peer, py, call, [operator, pos, [N]]) || N <- lists:seq(1, 5)],
    ok = peer:call(Peer, application, stop, [erlpy]),
    ok = peer:stop(Peer).

peer_that_refuses_one(Thread, Name, Config) ->
    os:getenv("ERLPY_SANITIZER") =:= false orelse
        throw({skip, "a sanitiser wants to be loaded first"}),
    Source = filename:join(?config(data_dir, Config), "no_thread_state.c"),
    Library = filename:join(?config(priv_dir, Config), "no_thread_state.so"),
    "" = os:cmd(lists:join(" ", ["cc -shared -fPIC -o", Library, Source, "2>&1"])),
    Env = [{"LD_PRELOAD", Library}, {"NO_THREAD_STATE", Thread}],
    {Peer, _} = erlpy_ct:peer(Name, #{env => Env}),
    Peer.

await_all(Calls) ->
    [py:async_await(Ref, 10000) || Ref <- [py:async_call(M, F, Args) || {M, F, Args} <- Calls]].
