%% Accepts connections and gives each to the reactor whose turn it is.
-module(reactor_echo_acceptor).

-export([start_link/3]).

%% Without descriptors there is nothing to do but wait for some.
-define(EXHAUSTED_MS, 100).

-spec start_link(gen_tcp:socket(), [atom()], atomics:atomics_ref()) -> {ok, pid()}.
start_link(Listening, Reactors, Turn) ->
    {ok, proc_lib:spawn_link(fun() -> accept(Listening, Reactors, Turn) end)}.

accept(Listening, Reactors, Turn) ->
    case gen_tcp:accept(Listening) of
        {ok, Socket} ->
            Next = atomics:add_get(Turn, 1, 1) rem length(Reactors),
            hand_over(Socket, lists:nth(Next + 1, Reactors)),
            accept(Listening, Reactors, Turn);
        {error, Reason} when Reason =:= emfile; Reason =:= enfile; Reason =:= enobufs ->
            timer:sleep(?EXHAUSTED_MS),
            accept(Listening, Reactors, Turn);
        {error, closed} ->
            ok;
        {error, _GoneAlready} ->
            accept(Listening, Reactors, Turn)
    end.

%% The reactor has a descriptor of its own; ours is closed, and the connection with it
%% when the reactor has not taken it.
hand_over(Socket, Reactor) ->
    try
        {ok, Fd} = inet:getfd(Socket),
        py_reactor_context:handoff(Reactor, Fd, client(Socket))
    of
        ok -> ok;
        {error, Reason} -> logger:warning("~ts takes no connection: ~tp", [Reactor, Reason])
    catch
        exit:{noproc, _} -> logger:warning("~ts is being replaced", [Reactor])
    after
        gen_tcp:close(Socket)
    end.

%% What Python is told of it: client_info.
client(Socket) ->
    case inet:peername(Socket) of
        {ok, {Ip, Port}} -> #{host => list_to_binary(inet:ntoa(Ip)), port => Port};
        {error, _} -> #{}
    end.
