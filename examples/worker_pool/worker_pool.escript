#!/usr/bin/env escript
%%! +Bd -noinput
%% Three Python workers, each a context with a thread of its own, take jobs from one
%% channel and put their results back into it.  One job is broken: its worker crashes and
%% is replaced, twice; then the job is given up.  At the end the channel is closed, and
%% each worker returns.
%%
%% Run by examples/worker_pool/run.
-mode(compile).

-define(WORKERS, [<<"one">>, <<"two">>, <<"three">>]).
-define(JOBS, 40).
-define(JOB_SIZE, 100000).
-define(BROKEN, 7).
-define(MOST_ATTEMPTS, 2).
%% Bytes of jobs that wait for a worker; who sends more has to wait.
-define(MOST_QUEUED, 1 bsl 20).
-define(DEADLINE_MS, 30000).

main([]) ->
    ok = start(),
    {ok, Channel} = py_channel:new(#{
        max_size => ?MOST_QUEUED, binaries => view, owner => self()
    }),
    Workers = [spawn_monitor(fun() -> worker(Name, Channel) end) || Name <- ?WORKERS],
    Jobs = maps:from_list([{Number, job(Number)} || Number <- lists:seq(1, ?JOBS)]),
    line("jobs", "~w, for ~w workers", [map_size(Jobs), length(Workers)]),
    send([{Number, Packed} || {Number, {Packed, _}} <- maps:to_list(Jobs)], Channel),
    Results = collect(Jobs, #{}, Channel),
    ok = py_channel:close(Channel),
    ok = lists:foreach(fun ended/1, Workers),
    halt(report(Jobs, Results)).

start() ->
    Here = filename:dirname(filename:absname(escript:script_name())),
    ok = application:load(erlpy),
    ok = application:set_env(erlpy, python_path, [Here]),
    {ok, _} = application:ensure_all_started(erlpy),
    ok.

%% A worker: a process that replaces its Python side whenever that crashes.

worker(Name, Channel) ->
    {ok, Context} = py_context:new(),
    Answer = py_context:call(Context, workers, work, [Channel, Name]),
    ok = py_context:destroy(Context),
    case Answer of
        {ok, _Done} ->
            ok;
        {error, {Type, Message, _Traceback}} ->
            line("worker", "~ts has crashed, and is replaced: ~ts: ~ts", [Name, Type, Message]),
            worker(Name, Channel)
    end.

ended({Pid, Ref}) ->
    receive
        {'DOWN', Ref, process, Pid, normal} -> ok
    after ?DEADLINE_MS ->
        error(worker_does_not_end)
    end.

%% Jobs and their results.

job(?BROKEN) ->
    {binary:copy(<<"not gzip">>, 8192), broken};
job(_Number) ->
    Data = crypto:strong_rand_bytes(?JOB_SIZE),
    {zlib:gzip(Data), {?JOB_SIZE, sha256(Data)}}.

sha256(Data) ->
    <<Digest:256>> = crypto:hash(sha256, Data),
    iolist_to_binary(io_lib:format("~64.16.0b", [Digest])).

%% In a process of its own: this one must go on receiving while there is no room for more
%% jobs, or a worker that waits for room for its result would wait for ever.
send(Jobs, Channel) ->
    spawn_link(fun() ->
        lists:foreach(fun(Job) -> ok = py_channel:send(Channel, Job, infinity) end, Jobs)
    end).

%% Results: #{Number => {done, Name, Result} | {lost, Times}}.

collect(Jobs, Results, Channel) ->
    case maps:size(maps:filter(fun is_final/2, Results)) of
        Final when Final =:= map_size(Jobs) ->
            Results;
        _ ->
            {ok, Message} = py_channel:recv(Channel, ?DEADLINE_MS),
            collect(Jobs, result(Message, Jobs, Results, Channel), Channel)
    end.

is_final(_Number, {done, _, _}) -> true;
is_final(_Number, {lost, Times}) -> Times =:= ?MOST_ATTEMPTS.

result({<<"done">>, Name, Number, Size, Digest}, _Jobs, Results, _Channel) ->
    Results#{Number => {done, Name, {Size, Digest}}};
result({<<"lost">>, _Name, Number}, Jobs, Results, Channel) ->
    {lost, Times} = maps:get(Number, Results, {lost, 0}),
    again(Number, Times + 1, Jobs, Channel),
    Results#{Number => {lost, Times + 1}}.

again(Number, ?MOST_ATTEMPTS, _Jobs, _Channel) ->
    line("job", "~w is given up: ~w workers have crashed with it", [Number, ?MOST_ATTEMPTS]);
again(Number, _Times, Jobs, Channel) ->
    #{Number := {Packed, _}} = Jobs,
    line("job", "~w goes back to the workers", [Number]),
    send([{Number, Packed}], Channel).

%% Is it all there, and right?

report(Jobs, Results) ->
    lists:foreach(fun(Name) -> by_worker(Name, Results) end, ?WORKERS),
    Right = [Number || {Number, {_, Expected}} <- maps:to_list(Jobs),
                       {done, _, Result} <- [maps:get(Number, Results)],
                       Result =:= Expected],
    line("results", "~w of ~w jobs are done, with the size and SHA-256 of what was packed",
        [length(Right), map_size(Jobs)]),
    case lists:seq(1, ?JOBS) -- Right of
        [?BROKEN] -> 0;
        _ -> 1
    end.

by_worker(Name, Results) ->
    Done = length([Number || {Number, {done, By, _}} <- maps:to_list(Results), By =:= Name]),
    line("worker", "~ts has done ~w jobs", [Name, Done]).

line(Title, Format, Arguments) ->
    io:format("  ~-9ts" ++ Format ++ "~n", [Title | Arguments]).
