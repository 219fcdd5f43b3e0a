%% Chains: Python calls Erlang, which calls Python, on the pool and on contexts, and so on;
%% they complete however few threads there are, and come apart from any place.
%%
%% After every case fresh calls succeed and no process is left over.
-module(chain_SUITE).

-compile([export_all, nowarn_export_all]).

-import(erlpy_ct, [register_waiting/1, running/1, down/1, workers/0]).

suite() ->
    [{timetrap, {seconds, 30}}].

all() ->
    [{group, chains}, {group, chain_failures}].

groups() ->
    [
        {chains, [], [
            chain_on_the_pool,
            chain_on_one_context,
            chain_between_contexts,
            chain_with_every_base_thread_taken,
            chain_at_max_threads,
            chain_overtakes_what_is_queued,
            chain_behind_threads_that_sleep,
            chain_through_a_thread_of_python,
            chains_side_by_side,
            chain_that_is_too_deep,
            nested_on_the_same_thread,
            nested_job_has_its_own_exceptions,
            nested_jobs_keep_their_order,
            jobs_that_come_with_the_answer,
            calls_outside_of_the_chain_queue,
            chain_from_a_sub_interpreter,
            failure_through_a_chain
        ]},
        {chain_failures, [], [
            timeout_of_the_outer_call,
            timeout_of_the_inner_call,
            killed_caller_of_a_chain,
            killed_process_inside_a_chain,
            destroyed_context_inside_a_chain,
            interrupt_inside_a_chain,
            interrupted_wait,
            stop_inside_a_chain,
            answer_and_cancel_at_the_same_time,
            random_faults_in_chains
        ]}
    ].

init_per_suite(Config) ->
    Config.

end_per_suite(_Config) ->
    erlpy_ct:stop().

init_per_testcase(_Case, Config) ->
    ok = erlpy_ct:start(Config),
    ok = py:register_function(echo, fun(X) -> X end),
    Config.

%% Whatever has happened: calls go on, no process is left over, no message is stray.
end_per_testcase(_Case, Config) ->
    erlpy_ct:left_clean(Config, fun() -> erlpy_ct:eventually(fun() -> workers() =:= [] end) end).

%% ---- Chains ----------------------------------------------------------------------------

%% A function that calls Python on one of these targets in turn, which calls it again. On
%% an error it answers what that was, so that it reaches the first caller as it is.
register_bounce(Name, Targets) ->
    ok = py:register_function(Name, fun(N) ->
        case bounce(lists:nth(N rem length(Targets) + 1, Targets), Name, N) of
            {ok, Value} -> Value;
            {error, {Type, _, _}} -> {Type, N};
            {error, Reason} -> {Reason, N}
        end
    end).

bounce(pool, Name, N) -> py:call(ct_callbacks, bounce, [Name, N]);
bounce(Context, Name, N) -> py:call(Context, ct_callbacks, bounce, [Name, N]).

contexts(Count) ->
    [begin {ok, Context} = py_context:new(), Context end || _ <- lists:seq(1, Count)].

destroy(Contexts) ->
    [ok = py_context:destroy(Context) || Context <- Contexts],
    ok.

chain_on_the_pool(Config) ->
    ok = erlpy_ct:start(Config, [{contexts, 1}]),
    ok = register_bounce(bounce, [pool]),
    {ok, 50} = bounce(pool, bounce, 50).

chain_on_one_context(_Config) ->
    [Context] = contexts(1),
    ok = register_bounce(bounce, [Context]),
    {ok, 50} = bounce(Context, bounce, 50),
    ok = destroy([Context]).

chain_between_contexts(_Config) ->
    Contexts = [A, B, _] = contexts(3),
    [begin
         ok = register_bounce(bounce, Targets),
         {ok, 50} = bounce(hd(Targets), bounce, 50)
     end || Targets <- [[A, B], Contexts, [A, pool], [A, A, B, pool]]],
    ok = destroy(Contexts).

blocked_readers(Count) ->
    Bufs = [begin {ok, Buf} = py_buffer:new(), Buf end || _ <- lists:seq(1, Count)],
    Refs = [py:spawn_call(ct_callbacks, read, [Buf]) || Buf <- Bufs],
    [ok = erlpy_ct:eventually(fun() ->
         maps:get(waiting_readers, py_buffer:info(Buf)) =:= 1
     end) || Buf <- Bufs],
    {Bufs, Refs}.

release({Bufs, Refs}) ->
    [ok = py_buffer:close(Buf) || Buf <- Bufs],
    [{ok, <<>>} = py:await(Ref, 5000) || Ref <- Refs],
    ok.

chain_with_every_base_thread_taken(Config) ->
    ok = erlpy_ct:start(Config, [{contexts, 2}]),
    ok = register_bounce(bounce, [pool]),
    Readers = blocked_readers(4),
    {ok, 50} = bounce(pool, bounce, 50),
    ok = release(Readers).

%% A call beside the chain has to queue, the chain has not.
chain_at_max_threads(Config) ->
    ok = erlpy_ct:start(Config, [{contexts, 1}, {max_threads, 4}]),
    ok = register_waiting(wait),
    ok = register_bounce(bounce, [pool]),
    Readers = blocked_readers(3),
    ok = py:register_function(start, fun() ->
        {ok, 50} = bounce(pool, bounce, 50),
        {ok, Value} = py:call(ct_callbacks, call, [wait, []]),
        Value
    end),
    Ref = py:spawn_call(ct_callbacks, call, [start, []]),
    Pid = running(wait),
    #{threads := Threads, max_threads := 4} = py:info(),
    true = Threads > 4,
    ok = release(Readers),
    Pid ! {value, 1},
    {ok, 1} = py:await(Ref, 10000),
    %% Those beyond the base go away.
    ok = erlpy_ct:eventually(fun() -> maps:get(threads, py:info()) =< 2 end, 10_000).

%% The threads that a chain has beyond the limit are for the chain alone, and calls that
%% queue at the limit are not in its way.
chain_overtakes_what_is_queued(Config) ->
    ok = erlpy_ct:start(Config, [{contexts, 1}, {max_threads, 2}]),
    ok = register_waiting(wait),
    ok = register_bounce(bounce, [pool]),
    ok = py:register_function(start, fun() ->
        {ok, <<"go">>} = py:call(ct_callbacks, call, [wait, []]),
        {ok, 20} = bounce(pool, bounce, 20),
        {ok, Value} = py:call(ct_callbacks, call, [wait, []]),
        Value
    end),
    First = blocked_readers(1),
    Ref = py:spawn_call(ct_callbacks, call, [start, []]),
    Pid = running(wait),
    Bufs = [begin {ok, Buf} = py_buffer:new(), Buf end || _ <- lists:seq(1, 10)],
    Refs = [py:spawn_call(ct_callbacks, read, [Buf]) || Buf <- Bufs],
    Pid ! {value, go},
    Again = running(wait),
    #{queued := 10} = py:info(),
    0 = lists:sum([maps:get(waiting_readers, py_buffer:info(Buf)) || Buf <- Bufs]),
    Again ! {value, 1},
    {ok, 1} = py:await(Ref, 10000),
    ok = erlpy_ct:eventually(fun() -> maps:get(queued, py:info()) =:= 9 end),
    ok = release(First),
    ok = release({Bufs, Refs}).

%% Every thread there may be sits where nobody sees it.
chain_behind_threads_that_sleep(Config) ->
    ok = erlpy_ct:start(Config, [{contexts, 2}, {max_threads, 3}]),
    ok = register_bounce(bounce, [pool]),
    Sleeping = [py:spawn_call(ct_calls, slow, [2, none]) || _ <- [1, 2]],
    {Time, {ok, 50}} = erlpy_ct:timed(fun() -> bounce(pool, bounce, 50) end),
    ct:log("~p ms", [Time]),
    true = Time < 2000,
    [{ok, none} = py:await(Ref, 5000) || Ref <- Sleeping].

chain_through_a_thread_of_python(Config) ->
    ok = erlpy_ct:start(Config, [{contexts, 1}, {max_threads, 1}]),
    ok = py:register_function(sqrt, fun(X) ->
        {ok, Root} = py:call(math, sqrt, [X]),
        Root
    end),
    {ok, [<<"value">>, 4.0]} = py:call(ct_callbacks, call_in_joined_thread, [sqrt, [16]]).

chains_side_by_side(_Config) ->
    Contexts = contexts(4),
    ok = register_bounce(bounce, [pool]),
    Names = [list_to_binary("bounce" ++ integer_to_list(N)) || N <- lists:seq(1, 4)],
    [ok = register_bounce(Name, [C, pool]) || {Name, C} <- lists:zip(Names, Contexts)],
    Pids = [begin
        {_, Monitor} = spawn_monitor(fun() -> {ok, 40} = bounce(pool, Name, 40) end),
        Monitor
    end || Name <- [<<"bounce">> | Names]],
    [receive {'DOWN', Monitor, _, _, normal} -> ok end || Monitor <- Pids],
    ok = destroy(Contexts).

%% It ends in an error, not in a crash, and all of it unwinds.
chain_that_is_too_deep(_Config) ->
    [A, B] = contexts(2),
    [begin
         ok = register_bounce(bounce, Targets),
         {Time, {ok, {Error, _}}} =
             erlpy_ct:timed(fun() -> bounce(hd(Targets), bounce, 300) end),
         ct:log("~p contexts: ~p after ~p ms", [length(Targets), Error, Time]),
         true = lists:member(Error, [<<"too_deep">>, <<"RecursionError">>])
     end || Targets <- [[A], [A, B], [pool]]],
    ok = register_bounce(bounce, [pool]),
    {ok, {<<"too_deep">>, 44}} = bounce(pool, bounce, 300),
    ok = destroy([A, B]).

nested_on_the_same_thread(_Config) ->
    [Context] = contexts(1),
    ok = py_context:exec(Context, "secret = 7"),
    ok = py:register_function(thread, fun() ->
        {ok, 7} = py_context:eval(Context, "secret"),
        ok = py_context:exec(Context, "secret = 8"),
        {ok, Thread} = py:call(Context, ct_callbacks, thread, []),
        Thread
    end),
    {ok, [Thread, Thread, Thread]} = py:call(Context, ct_callbacks, threads_around, [thread]),
    {ok, 8} = py_context:eval(Context, "secret"),
    ok = destroy([Context]).

nested_job_has_its_own_exceptions(_Config) ->
    [Context] = contexts(1),
    ok = py:register_function(handling, fun() ->
        {error, {<<"ValueError">>, _, Traceback}} =
            py:call(Context, ct_calls, fail, [<<"inner">>]),
        nomatch = string:find(Traceback, "KeyError"),
        {ok, Value} = py:call(Context, ct_callbacks, handling, []),
        Value
    end),
    {ok, [true, <<"KeyError">>]} =
        py:call(Context, ct_callbacks, call_while_handling, [handling]),
    {ok, [true, true]} =
        py:call(Context, ct_callbacks, call_in_generator_while_handling, [handling]),
    ok = destroy([Context]).

nested_jobs_keep_their_order(_Config) ->
    [Context] = contexts(1),
    ok = py:register_function(many, fun() ->
        Refs = [py:spawn_call(Context, ct_callbacks, note, [N]) || N <- lists:seq(1, 20)],
        [{ok, N} = py:await(Ref) || {N, Ref} <- lists:zip(lists:seq(1, 20), Refs)],
        done
    end),
    {ok, <<"done">>} = py:call(Context, ct_callbacks, call_noting, [many, []]),
    {ok, Order} = py:call(Context, ct_callbacks, noted, []),
    true = Order =:= [<<"begin">>] ++ lists:seq(1, 20) ++ [<<"end">>],
    ok = destroy([Context]).

%% Whether they still run nested or after the call: each once, in order, before what
%% comes later.
jobs_that_come_with_the_answer(_Config) ->
    [Context] = contexts(1),
    ok = py:register_function(casts, fun() ->
        [ok = py:cast(Context, ct_callbacks, note, [N]) || N <- lists:seq(1, 20)],
        done
    end),
    [begin
         {ok, <<"done">>} = py:call(Context, ct_callbacks, call_noting, [casts, []]),
         {ok, [<<"begin">> | Order]} = py:call(Context, ct_callbacks, noted, []),
         true = lists:seq(1, 20) =:= lists:delete(<<"end">>, Order)
     end || _ <- lists:seq(1, 50)],
    ok = destroy([Context]).

%% Neither another process's call nor that of a process which the function has spawned.
calls_outside_of_the_chain_queue(_Config) ->
    [Context] = contexts(1),
    Test = self(),
    ok = py:register_function(spawner, fun() ->
        _ = spawn(fun() ->
            Ref = py:spawn_call(Context, ct_callbacks, note, [child]),
            Test ! {queued, self()},
            Test ! {child, py:await(Ref)}
        end),
        receive {value, Value} -> Value end
    end),
    Ref = py:spawn_call(Context, ct_callbacks, call_noting, [spawner, []]),
    receive {queued, _} -> ok end,
    Other = py:spawn_call(Context, ct_callbacks, note, [other]),
    {ok, 3} = py:call(builtins, len, [[1, 2, 3]]),
    {ok, [<<"begin">>]} = py:call(ct_callbacks, noted, []),
    [Pid] = workers(),
    Pid ! {value, 1},
    {ok, 1} = py:await(Ref, 5000),
    {ok, <<"other">>} = py:await(Other, 5000),
    receive {child, {ok, <<"child">>}} -> ok end,
    {ok, [<<"begin">>, <<"end">>, <<"child">>, <<"other">>]} =
        py:call(ct_callbacks, noted, []),
    ok = destroy([Context]).

%% It has an interpreter of its own; jobs are the main one's, so none is nested in it.
chain_from_a_sub_interpreter(_Config) ->
    [Context] = contexts(1),
    ok = py:register_function(inner, fun() ->
        {error, timeout} = py:call(Context, math, sqrt, [16], #{}, 100),
        {ok, 4.0} = py:call(math, sqrt, [16]),
        5
    end),
    Code = <<"import erlang; assert erlang.call('inner') == 5">>,
    {ok, none} = py:call(Context, ct_interpreters, run_in_another, [Code]),
    {ok, 4.0} = py:call(Context, math, sqrt, [16]),
    ok = destroy([Context]).

%% Each level wraps the error of the one below: the texts stay of a size.
failure_through_a_chain(_Config) ->
    ok = py:register_function(bounce_failing, fun(N) ->
        {ok, Value} = py:call(ct_callbacks, bounce_failing, [N]),
        Value
    end),
    {error, {<<"ErlangError">>, Message, Traceback}} =
        py:call(ct_callbacks, bounce_failing, [30]),
    true = byte_size(Message) < 10_000,
    true = byte_size(Traceback) < 50_000.

%% ---- Faults inside a chain --------------------------------------------------------------

%% A chain that ends in a read which nobody serves: Erlang -> Context -> Erlang -> Inner.
%% {Buf, process that runs the function}
blocked_chain(Inner) ->
    {ok, Buf} = py_buffer:new(),
    Test = self(),
    ok = py:register_function(block, fun(Timeout) ->
        Test ! {inside, self()},
        call_on(Inner, read_noting_end, [Buf], Timeout)
    end),
    Buf.

call_on(pool, Function, Args, Timeout) ->
    py:call(ct_callbacks, Function, Args, #{}, Timeout);
call_on(Context, Function, Args, Timeout) ->
    py:call(Context, ct_callbacks, Function, Args, #{}, Timeout).

is_blocked(Buf) ->
    erlpy_ct:eventually(fun() -> maps:get(waiting_readers, py_buffer:info(Buf)) =:= 1 end).

inside() ->
    receive {inside, Pid} -> Pid after 5000 -> ct:fail(nobody_inside) end.

%% Every wait of the chain has ended, by a cancel.
all_cancelled(Count) ->
    Expected = lists:duplicate(Count, <<"Cancelled">>),
    erlpy_ct:eventually(fun() ->
        {ok, Expected} =:= py:call(ct_callbacks, how_ended, [])
    end).

with_targets(Fun) ->
    Contexts = [A, B] = contexts(2),
    [Fun(Outer, Inner) || {Outer, Inner} <- [{pool, pool}, {A, B}, {A, pool}, {A, A}]],
    destroy(Contexts).

timeout_of_the_outer_call(_Config) ->
    with_targets(fun(Outer, Inner) ->
        Buf = blocked_chain(Inner),
        {Time, {error, timeout}} = erlpy_ct:timed(fun() ->
            call_on(Outer, call_noting_end, [block, [60_000]], 1000)
        end),
        true = Time < 5000,
        Monitor = monitor(process, inside()),
        _ = down(Monitor),
        ok = all_cancelled(2),
        0 = maps:get(waiting_readers, py_buffer:info(Buf)),
        {ok, 1} = call_on(Outer, call, [echo, [1]], 5000)
    end).

timeout_of_the_inner_call(_Config) ->
    with_targets(fun(Outer, Inner) ->
        _Buf = blocked_chain(Inner),
        {ok, {<<"error">>, <<"timeout">>}} =
            call_on(Outer, call_noting_end, [block, [1000]], 5000),
        _ = inside(),
        ok = all_cancelled(1)
    end).

killed_caller_of_a_chain(_Config) ->
    with_targets(fun(Outer, Inner) ->
        Buf = blocked_chain(Inner),
        Caller = spawn(fun() ->
            call_on(Outer, call_noting_end, [block, [60_000]], infinity)
        end),
        Monitor = monitor(process, inside()),
        ok = is_blocked(Buf),
        exit(Caller, kill),
        _ = down(Monitor),
        ok = all_cancelled(2),
        {ok, 1} = call_on(Outer, call, [echo, [1]], 5000)
    end).

%% What it has called is cancelled, what has called it sees an error.
killed_process_inside_a_chain(_Config) ->
    with_targets(fun(Outer, Inner) ->
        Buf = blocked_chain(Inner),
        Test = self(),
        _ = spawn_link(fun() ->
            Test ! {answer, call_on(Outer, failure, [block, [60_000]], infinity)}
        end),
        Pid = inside(),
        ok = is_blocked(Buf),
        exit(Pid, kill),
        {ok, [<<"exit">>, <<"killed">>, _, _]} = receive {answer, Answer} -> Answer end,
        ok = erlpy_ct:eventually(fun() ->
            maps:get(waiting_readers, py_buffer:info(Buf)) =:= 0
        end)
    end).

destroyed_context_inside_a_chain(_Config) ->
    [begin
         [A, B] = contexts(2),
         Inner = case Where of same -> A; other -> B end,
         Buf = blocked_chain(Inner),
         Ref = py:spawn_call(A, ct_callbacks, call_noting_end, [block, [60_000]]),
         Monitor = monitor(process, inside()),
         ok = is_blocked(Buf),
         ok = py_context:destroy(A),
         {error, destroyed} = py:await(Ref, 5000),
         _ = down(Monitor),
         ok = all_cancelled(2),
         ok = py_context:destroy(B)
     end || Where <- [same, other]].

%% Both jobs of the context are answered, and end.
interrupt_inside_a_chain(_Config) ->
    [Context] = contexts(1),
    Buf = blocked_chain(Context),
    Ref = py:spawn_call(Context, ct_callbacks, call_noting_end, [block, [60_000]]),
    Monitor = monitor(process, inside()),
    ok = is_blocked(Buf),
    ok = py:interrupt(Context),
    {error, interrupted} = py:await(Ref, 5000),
    _ = down(Monitor),
    ok = all_cancelled(2),
    {ok, 1} = py:call(Context, ct_callbacks, call, [echo, [1]]),
    ok = destroy([Context]).

%% The process that works for a call which nobody waits for any more is killed.
interrupted_wait(_Config) ->
    [Context] = contexts(1),
    ok = register_waiting(wait),
    Ref = py:spawn_call(Context, ct_callbacks, call_noting_end, [wait, []]),
    Monitor = monitor(process, running(wait)),
    {Time, ok} = erlpy_ct:timed(fun() ->
        ok = py:interrupt(Context),
        {error, interrupted} = py:await(Ref, 5000),
        killed = down(Monitor),
        ok
    end),
    true = Time < 1000,
    ok = all_cancelled(1),
    ok = destroy([Context]).

stop_inside_a_chain(Config) ->
    [begin
         ok = erlpy_ct:start(Config),
         Inner = case Where of pool -> pool; context -> hd(contexts(1)) end,
         Buf = blocked_chain(Inner),
         Ref = py:spawn_call(ct_callbacks, call_noting_end, [block, [60_000]]),
         Monitor = monitor(process, inside()),
         ok = is_blocked(Buf),
         {Time, ok} = erlpy_ct:timed(fun() -> application:stop(erlpy) end),
         true = Time < 4000,
         {error, stopped} = py:await(Ref, 5000),
         _ = down(Monitor)
     end || Where <- [pool, context]].

%% Either the value or the timeout, and nothing of the loser shows.
answer_and_cancel_at_the_same_time(_Config) ->
    Contexts = [A, B] = contexts(2),
    ok = py:register_function(soon, fun(Ms) -> timer:sleep(Ms), Ms end),
    ok = py:register_function(chained, fun(Ms) ->
        {ok, Ms} = py:call(A, ct_callbacks, call, [soon, [Ms]]),
        Ms
    end),
    Results = [
        call_on(Target, call, [Name, [rand:uniform(5) - 1]], rand:uniform(6) - 1)
     || _ <- lists:seq(1, 200), Target <- [pool, A, B], Name <- [soon, chained]
    ],
    [] = [Other || Other <- Results, not is_expected(Other)],
    true = lists:member({error, timeout}, Results),
    ok = destroy(Contexts).

%% Chains of random targets, with random times, callers and inner processes that are killed
%% and contexts that are interrupted; everything ends and nothing is left.
random_faults_in_chains(_Config) ->
    Seed = {erlang:system_time(), erlang:unique_integer(), 7},
    ct:log("seed ~p", [Seed]),
    Contexts = [A, B] = contexts(2),
    Targets = {pool, A, B},
    ok = py:register_function(hop, fun(N) ->
        _ = rand:seed(exsss),
        rand:uniform(20) =:= 1 andalso exit(self(), kill),
        call_on(element(rand:uniform(3), Targets), bounce, [hop, N], rand:uniform(200))
    end),
    Callers = [begin
        {Pid, Monitor} = spawn_monitor(fun() ->
            _ = rand:seed(exsss, Seed),
            _ = [rand:uniform() || _ <- lists:seq(1, K)],
            Answers = [call_on(element(rand:uniform(3), Targets), bounce, [hop, rand:uniform(20)],
                               rand:uniform(300))
                       || _ <- lists:seq(1, 40)],
            [] = [Answer || Answer <- Answers, not is_of_chain(Answer)]
        end),
        {Pid, Monitor}
    end || K <- lists:seq(1, 6)],
    _ = rand:seed(exsss, Seed),
    [begin
         timer:sleep(rand:uniform(20)),
         ok = py:interrupt(lists:nth(rand:uniform(2), Contexts))
     end || _ <- lists:seq(1, 40)],
    {Last, _} = lists:last(Callers),
    exit(Last, kill),
    Ends = [receive {'DOWN', Monitor, _, _, Why} -> Why end || {_, Monitor} <- Callers],
    [normal] = lists:usort(lists:droplast(Ends)),
    true = lists:member(lists:last(Ends), [normal, killed]),
    ok = erlpy_ct:quiet(),
    [{ok, 1} = py:call(Context, ct_callbacks, call, [echo, [1]]) || Context <- Contexts],
    ok = destroy(Contexts).

%% It has come to its bottom, or says what has stopped it, on each level.
is_of_chain({ok, 0}) -> true;
is_of_chain({ok, {Word, Inner}}) -> is_of_chain({binary_to_atom(Word), Inner});
is_of_chain({error, Reason}) when Reason =:= timeout; Reason =:= interrupted -> true;
is_of_chain({error, Text}) when Text =:= <<"timeout">>; Text =:= <<"interrupted">> -> true;
is_of_chain({error, {<<"ErlangError">>, Text, _}}) -> string:find(Text, "killed") =/= nomatch;
is_of_chain(_Other) -> false.

is_expected({ok, Ms}) -> is_integer(Ms);
is_expected(Other) -> Other =:= {error, timeout}.
