%% An HTTP server whose requests a Python application answers.
%%
%%     upload_server:start(#{app => <<"module:app">>, port => 8000})
-module(upload_server).

-export([start/1, start_link/1, stop/1]).

-export_type([options/0, server/0]).

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

-type server() :: #{app := pid(), listener := pid(), port := inet:port_number()}.

%% @doc Starts the application and the server; the server ends with the calling process.
-spec start(options()) -> {ok, inet:port_number()} | {error, term()}.
start(Options) ->
    case start_link(Options) of
        {ok, #{port := Port}} -> {ok, Port};
        {error, _} = Error -> Error
    end.

%% @doc The same; the result is for {@link stop/1}.
-spec start_link(options()) -> {ok, server()} | {error, term()}.
start_link(#{app := Name} = Options) ->
    case py_web:start_link(Name) of
        {ok, App} ->
            case listen(py_web:app(App), Options) of
                {ok, Listener} ->
                    Port = mochiweb_socket_server:get(Listener, port),
                    {ok, #{app => App, listener => Listener, port => Port}};
                {error, _} = Error ->
                    ok = py_web:stop(App),
                    Error
            end;
        {error, _} = Error ->
            Error
    end.

%% @doc Ends the server with its connections, then the application, after its shutdown.
-spec stop(server()) -> ok.
stop(#{app := App, listener := Listener}) ->
    ok = mochiweb_socket_server:stop(Listener),
    py_web:stop(App).

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
    mochiweb_http:start_link([
        {name, undefined},
        {ip, maps:get(ip, Options, {127, 0, 0, 1})},
        {port, maps:get(port, Options, 8000)},
        {loop, fun(Req) -> upload_http:handle(Req, Handler) end},
        {nodelay, true},
        {recbuf, undefined},
        {buffer, 16384},
        {backlog, 1024},
        {max, 10000}
    ]).
