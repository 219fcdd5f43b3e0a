%% erlang.call: Erlang functions that Python calls, and what becomes of both sides when
%% one of them fails.  (chain_SUITE: functions that call Python again.)
-module(callback_SUITE).

-include_lib("common_test/include/ct.hrl").

-compile([export_all, nowarn_export_all]).

-import(erlpy_ct, [register_waiting/1, running/1, down/1, workers/0]).

suite() ->
    [{timetrap, {seconds, 30}}].

all() ->
    [{group, calls}, {group, failures}, six_calls].

groups() ->
    [
        {calls, [], [
            names_in_every_form,
            values_both_ways,
            registering_again_replaces,
            registrations_end_with_the_application,
            bad_arguments,
            a_process_of_its_own,
            calls_do_not_wait_for_each_other,
            from_a_thread_of_python,
            many_calls_from_many_threads,
            large_arguments_and_results,
            modules_loaded_anew
        ]},
        {failures, [], [
            error_exit_and_throw,
            unknown_name_and_wrong_arity,
            reason_without_counterpart,
            arguments_that_do_not_convert,
            results_that_do_not_convert,
            failure_that_nobody_catches,
            killed_function,
            unlinked_function,
            killed_server,
            stop_in_the_middle,
            not_running
        ]}
    ].

init_per_suite(Config) ->
    Config.

end_per_suite(_Config) ->
    erlpy_ct:stop().

init_per_testcase(_Case, Config) ->
    ok = erlpy_ct:start(Config),
    ok = py:register_function(echo, fun(X) -> X end),
    ok = py:register_function(double, fun(N) -> 2 * N end),
    Config.

%% Whatever has happened: calls go on, no process is left over, no message is stray.
end_per_testcase(_Case, Config) ->
    erlpy_ct:left_clean(Config, fun() -> erlpy_ct:eventually(fun() -> workers() =:= [] end) end).

call(Name, Args) ->
    py:call(ct_callbacks, call, [Name, Args]).

failure(Name, Args) ->
    {ok, Failure} = py:call(ct_callbacks, failure, [Name, Args]),
    Failure.

%% ---- Calls ---------------------------------------------------------------------------

names_in_every_form(_Config) ->
    [begin
         ok = py:register_function(Name, fun() -> Index end),
         {ok, Index} = call(Text, []),
         {ok, Index} = py:call(ct_callbacks, call_atom, [Text, []]),
         ok = py:unregister_function(Name),
         [<<"error">>, {<<"not_registered">>, Text}, _, _] = failure(Text, []),
         ok = py:unregister_function(Name)
     end || {Index, Name, Text} <- [
         {1, a_name, <<"a_name">>},
         {2, <<"grüße"/utf8>>, <<"grüße"/utf8>>},
         {3, "grüße", <<"grüße"/utf8>>},
         {4, 'grüße', <<"grüße"/utf8>>},
         {5, none, <<"none">>},
         {6, "", <<>>}
     ]].

values_both_ways(_Config) ->
    ok = py:register_function(args, fun(A, B, C) -> [C, {A, B}] end),
    ok = py:register_function(nothing, fun() -> ok end),
    ok = py:register_function(sqrt, fun math:sqrt/1),
    {ok, [#{<<"k">> := [1, 2]}, {1, <<"two">>}]} = call(args, [1, two, #{k => [1, 2]}]),
    {ok, <<"ok">>} = call(nothing, []),
    {ok, 4.0} = call(sqrt, [16]),
    Pid = self(),
    {ok, Pid} = call(echo, [Pid]),
    {ok, Buf} = py_buffer:new(),
    ok = py:register_function(write, fun(B, Data) -> py_buffer:write(B, Data) end),
    {ok, <<"ok">>} = call(write, [Buf, <<"abc">>]),
    {ok, <<"abc">>} = py:call(erlang, 'PyBuffer.read', [Buf, 3]).

registering_again_replaces(_Config) ->
    {ok, 1} = call(echo, [1]),
    ok = py:register_function("echo", fun(X) -> {again, X} end),
    {ok, {<<"again">>, 1}} = call(echo, [1]).

registrations_end_with_the_application(Config) ->
    {ok, 1} = call(echo, [1]),
    ok = erlpy_ct:start(Config),
    [<<"error">>, {<<"not_registered">>, <<"echo">>}, _, _] = failure(echo, [1]).

bad_arguments(_Config) ->
    [erlpy_ct:badarg(py, register_function, Args, N) || {Args, N} <- [
        {[1, fun() -> 1 end], 1},
        {[<<255>>, fun() -> 1 end], 1},
        {[self(), fun() -> 1 end], 1},
        {[name, name], 2},
        {[name, {erlang, self}], 2}
    ]],
    [erlpy_ct:badarg(py, unregister_function, [Name], 1) || Name <- [1, <<255>>, self()]].

a_process_of_its_own(_Config) ->
    ok = py:register_function(self, fun() -> self() end),
    {ok, One} = call(self, []),
    {ok, Other} = call(self, []),
    true = One =/= Other,
    false = lists:member(self(), [One, Other]),
    [ok = erlpy_ct:eventually(fun() -> not is_process_alive(Pid) end) || Pid <- [One, Other]].

calls_do_not_wait_for_each_other(_Config) ->
    ok = register_waiting(wait),
    {ok, Context} = py_context:new(),
    Ref = py:spawn_call(Context, ct_callbacks, call, [wait, []]),
    Pid = running(wait),
    {ok, 1} = call(echo, [1]),
    Pid ! {value, 2},
    {ok, 2} = py:await(Ref, 5000),
    ok = py_context:destroy(Context).

from_a_thread_of_python(_Config) ->
    {ok, none} = py:call(ct_callbacks, call_in_thread, [echo, [<<"x">>]]),
    ok = erlpy_ct:eventually(fun() ->
        {ok, [[<<"value">>, <<"x">>]]} =:= py:eval("__import__('ct_callbacks').outcome")
    end).

many_calls_from_many_threads(_Config) ->
    {ok, 10000} = py:call(ct_callbacks, call_from_threads, [5, 2000]).

large_arguments_and_results(_Config) ->
    List = lists:seq(1, 200_000),
    Binary = rand:bytes(5_000_000),
    {ok, List} = call(echo, [List]),
    {ok, Binary} = call(echo, [{bytes, Binary}]).

%% A function that runs goes on in the old code, and its answer arrives.
modules_loaded_anew(_Config) ->
    ok = register_waiting(wait),
    Ref = py:spawn_call(ct_callbacks, call, [wait, []]),
    Pid = running(wait),
    [begin
         _ = code:purge(Module),
         {module, Module} = code:load_file(Module)
     end || _ <- [1, 2], Module <- [py, py_nif, erlpy_callbacks, erlpy_sup, erlpy_error]],
    _ = [code:purge(Module) || Module <- [py, py_nif, erlpy_callbacks]],
    {ok, 1} = call(echo, [1]),
    Pid ! {value, 2},
    {ok, 2} = py:await(Ref, 5000).

%% ---- Failures --------------------------------------------------------------------------

error_exit_and_throw(_Config) ->
    ok = py:register_function(fail, fun
        (throw, Reason) -> throw(Reason);
        (exit, Reason) -> exit(Reason);
        (error, Reason) -> error(Reason);
        (<<"match">>, Reason) -> ok = Reason;
        (Kind, Reason) -> apply(erlang, binary_to_existing_atom(Kind), [Reason])
    end),
    [<<"error">>, <<"why">>, Text, <<"error: why">>] = failure(fail, [error, why]),
    true = string:find(Text, "exception error: ") =/= nomatch,
    true = string:find(Text, "callback_SUITE") =/= nomatch,
    nomatch = string:find(Text, "erlpy_callbacks"),
    [<<"exit">>, <<"why">>, _, <<"exit: why">>] = failure(fail, [exit, why]),
    [<<"exit">>, <<"normal">>, _, _] = failure(fail, [exit, normal]),
    [<<"throw">>, {<<"why">>, 7}, _, <<"throw: ('why', 7)">>] = failure(fail, [throw, {why, 7}]),
    [<<"error">>, {<<"badmatch">>, 7}, _, _] = failure(fail, [match, 7]),
    ok = py:register_function(clauses, fun(1) -> 1 end),
    [<<"error">>, <<"function_clause">>, _, _] = failure(clauses, [2]).

unknown_name_and_wrong_arity(_Config) ->
    [<<"error">>, {<<"not_registered">>, <<"nobody">>}, _,
     <<"error: ('not_registered', 'nobody')">>] = failure(nobody, [1]),
    [<<"error">>, {<<"badarity">>, <<"echo">>, 2}, _, _] = failure(echo, [1, 2]),
    [<<"error">>, {<<"badarity">>, <<"echo">>, 300}, _, _] = failure(echo, lists:seq(1, 300)).

%% The reason in print.
reason_without_counterpart(_Config) ->
    ok = py:register_function(fail, fun() -> error({odd, fun erlang:self/0}) end),
    [<<"error">>, <<"{odd,fun erlang:self/0}">>, _, _] = failure(fail, []),
    ok = py:register_function(fail, fun() -> exit([a | b]) end),
    [<<"exit">>, <<"[a|b]">>, _, _] = failure(fail, []).

arguments_that_do_not_convert(_Config) ->
    {error, {<<"NotConvertibleError">>, <<"an object of type 'object'">>, _}} =
        py:call(ct_callbacks, call_with_object, []).

results_that_do_not_convert(_Config) ->
    ok = py:register_function(odd, fun() -> fun() -> 1 end end),
    {error, {<<"NotConvertibleError">>, Text, _}} = call(odd, []),
    true = string:find(Text, "fun") =/= nomatch.

%% The whole story reaches the caller in Erlang.
failure_that_nobody_catches(_Config) ->
    ok = py:register_function(fail, fun() -> error(why) end),
    {error, {<<"ErlangError">>, <<"error: why">>, Traceback}} = call(fail, []),
    true = string:find(Traceback, "ct_callbacks.py") =/= nomatch,
    true = string:find(Traceback, "callback_SUITE") =/= nomatch.

killed_function(_Config) ->
    ok = register_waiting(wait),
    [begin
         Ref = py:spawn_call(ct_callbacks, failure, [wait, []]),
         exit(running(wait), Reason),
         {ok, [<<"exit">>, Seen, _, _]} = py:await(Ref, 5000)
     end || {Reason, Seen} <- [{kill, <<"killed">>}, {why, <<"why">>}]],
    ok = py:register_function(suicide, fun() -> exit(self(), kill), receive never -> ok end end),
    [<<"exit">>, <<"killed">>, _, _] = failure(suicide, []).

%% Nothing that could answer is left: Python learns it all the same.
unlinked_function(_Config) ->
    ok = py:register_function(unlinked, fun() ->
        true = unlink(whereis(erlpy_callbacks)),
        exit(self(), kill),
        receive never -> ok end
    end),
    Ref = py:spawn_call(ct_callbacks, failure, [unlinked, []]),
    {ok, [<<"exit">>, <<"killed">>, _, _]} = py:await(Ref, 5000).

killed_server(_Config) ->
    ok = register_waiting(wait),
    Ref = py:spawn_call(ct_callbacks, failure, [wait, []]),
    Pid = running(wait),
    Monitor = monitor(process, Pid),
    exit(whereis(erlpy_callbacks), kill),
    {ok, [<<"exit">>, <<"killed">>, _, _]} = py:await(Ref, 5000),
    killed = down(Monitor),
    %% Registrations are still there.
    ok = erlpy_ct:eventually(fun() -> is_pid(whereis(erlpy_callbacks)) end),
    {ok, 1} = call(echo, [1]).

stop_in_the_middle(_Config) ->
    ok = register_waiting(wait),
    Ref = py:spawn_call(ct_callbacks, failure, [wait, []]),
    Pid = running(wait),
    Monitor = monitor(process, Pid),
    {Time, ok} = erlpy_ct:timed(fun() -> application:stop(erlpy) end),
    true = Time < 4000,
    {error, stopped} = py:await(Ref, 5000),
    killed = down(Monitor).

%% A thread of Python's own finds the node without the application.
not_running(Config) ->
    ok = py:register_function(tick, fun() -> 1 end),
    File = filename:join(?config(priv_dir, Config), "not_running"),
    {ok, none} = py:call(ct_callbacks, call_until_it_fails, [tick, list_to_binary(File)]),
    ok = application:stop(erlpy),
    {error, not_started} = py:register_function(tick, fun() -> 1 end),
    ok = py:unregister_function(tick),
    ok = erlpy_ct:eventually(fun() -> filelib:is_regular(File) end),
    {ok, <<"RuntimeError: erlpy is not running">>} = file:read_file(File).

six_calls(_Config) ->
    erlpy_ct:still_works().
