%% An HTTP server whose requests a Python application answers.
%%
%%     upload_server:start(#{app => <<"module:app">>, port => 8000})
-module(upload_server).

-export([start/1, main/0]).

-export_type([options/0]).

-type options() :: #{
    %% "module:attribute" of a WSGI or ASGI application
    app := unicode:chardata(),
    %% default loopback, 8000; port 0 takes one that is free
    ip => inet:ip_address(),
    port => inet:port_number(),
    %% bytes of a request's body, default infinity
    max_body => non_neg_integer() | infinity,
    %% see py_web:start/3
    unknown_length => stream | spool
}.

%% @doc Starts the application and the server; the server ends with the calling process.
-spec start(options()) -> {ok, inet:port_number()} | {error, term()}.
start(#{app := Name} = Options) ->
    case py_web:start_link(Name) of
        {ok, Pid} -> listen(py_web:app(Pid), Options);
        {error, _} = Error -> Error
    end.

listen(App, Options) ->
    Max = maps:get(max_body, Options, infinity),
    Handler = #{
        app => App,
        max_body => Max,
        exchange => #{
            max_body => Max,
            unknown_length => maps:get(unknown_length, Options, stream)
        }
    },
    Started = mochiweb_http:start_link([
        {name, undefined},
        {ip, maps:get(ip, Options, {127, 0, 0, 1})},
        {port, maps:get(port, Options, 8000)},
        {loop, fun(Req) -> upload_http:handle(Req, Handler) end},
        {nodelay, true},
        {recbuf, undefined},
        {buffer, 16384},
        {backlog, 1024},
        {max, 10000}
    ]),
    case Started of
        {ok, Server} -> {ok, mochiweb_socket_server:get(Server, port)};
        {error, _} = Error -> Error
    end.

%% ---- From the command line ----------------------------------------------------------------

%% @doc What `run' calls.  The options are environment variables; it prints the address, and
%% serves until the node is stopped.
-spec main() -> no_return().
main() ->
    ok = application:load(erlpy),
    ok = application:set_env(erlpy, python_path, string:lexemes(env("UPLOAD_PATH", ""), ":")),
    _ = [ok = application:set_env(erlpy, venv, Venv) || Venv <- [env("VIRTUAL_ENV", "")], Venv =/= ""],
    {ok, _} = application:ensure_all_started(erlpy),
    Options = #{
        app => env("APP", "upload_app"),
        port => list_to_integer(env("PORT", "8000")),
        max_body => max_body(env("MAX_BODY", "infinity")),
        unknown_length => unknown_length(env("UNKNOWN_LENGTH", "stream"))
    },
    case start(Options) of
        {ok, Port} ->
            io:format("~ts on http://127.0.0.1:~w/~n", [maps:get(app, Options), Port]),
            receive stop -> ok end;
        {error, Reason} ->
            io:format(standard_error, "error: ~ts~n", [explain(Reason)]),
            halt(1)
    end.

env(Name, Default) ->
    os:getenv(Name, Default).

max_body("infinity") -> infinity;
max_body(Bytes) -> list_to_integer(Bytes).

unknown_length("stream") -> stream;
unknown_length("spool") -> spool.

explain({_Type, _Message, Traceback}) -> Traceback;
explain(Reason) -> io_lib:format("~tp", [Reason]).
