#!/usr/bin/env escript
%%! -noinput
%% echo.escript MODULE [PORT [REACTORS]]: an echo server on 127.0.0.1, until SIGTERM.
%%
%% Erlang accepts the connections and hands them to reactors, in turns, where the class
%% `Echo' of the Python module MODULE, of this folder, is their protocol.  PORT 0, the
%% default, takes one that is free; the port is printed.
-mode(compile).

-define(BACKLOG, 1024).
-define(MAX_CONNECTIONS, 2000).

main([Module | Numbers]) ->
    {Port, Reactors} = numbers([list_to_integer(Number) || Number <- Numbers]),
    ok = start_python(),
    Contexts = [reactor(Id, Module) || Id <- lists:seq(1, Reactors)],
    {ok, Listener} = gen_tcp:listen(Port, [
        binary, {ip, {127, 0, 0, 1}}, {active, false}, {nodelay, true}, {reuseaddr, true},
        {backlog, ?BACKLOG}
    ]),
    {ok, Bound} = inet:port(Listener),
    io:format("~w~n", [Bound]),
    accept(Listener, Contexts, []).

numbers([]) -> {0, 1};
numbers([Port]) -> {Port, 1};
numbers([Port, Reactors]) when Reactors > 0 -> {Port, Reactors}.

start_python() ->
    ok = application:load(erlpy),
    Here = filename:dirname(filename:absname(escript:script_name())),
    ok = application:set_env(erlpy, python_path, [Here]),
    {ok, _} = application:ensure_all_started(erlpy),
    ok.

reactor(Id, Module) ->
    {ok, Context} = py_reactor_context:start_link(Id, auto, #{
        max_connections => ?MAX_CONNECTIONS, app_module => list_to_binary(Module), app_callable => 'Echo'
    }),
    Context.

accept(Listener, [], Used) ->
    accept(Listener, lists:reverse(Used), []);
accept(Listener, [Context | Contexts], Used) ->
    {ok, Socket} = gen_tcp:accept(Listener),
    {ok, Fd} = inet:getfd(Socket),
    ok = py_reactor_context:handoff(Context, Fd, #{}),
    ok = gen_tcp:close(Socket),
    accept(Listener, Contexts, [Context | Used]).
