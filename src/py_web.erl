%% @doc Runs WSGI and ASGI applications: requests of any HTTP server in Erlang, answered by
%% Flask, Django, Starlette and their kin.
%%
%% The server parses HTTP and this module carries one request: its body as a
%% {@link py_buffer. buffer} that the server writes while Python reads, its response as
%% events that come while Python makes it.  A client that is slow at either end slows the
%% application down; memory stays at the watermarks.
%%
%% ```
%% {ok, App} = py_web:load(<<"module:app">>),
%% {ok, Exchange} = py_web:start(App, #{
%%     method => <<"POST">>, raw_path => <<"/upload">>,
%%     headers => [{<<"content-length">>, <<"5">>}]
%% }),
%% ok = py_buffer:write(py_web:body(Exchange), <<"hello">>, 30000),
%% {reply, #{status := 200, headers := Headers}, Body} = py_web:next(Exchange, 30000),
%% done = py_web:next(Exchange, 30000).
%% '''
%%
%% An exchange belongs to the process that started it: its death cancels the handler, and
%% a body that is not whole is aborted with `owner_down'.  So a server that runs a process
%% for each request, or connection, need only let it end when the client is gone.
-module(py_web).

-export([load/1, load/2, start_link/1, start_link/2, app/1, stop/1]).
-export([start/2, start/3, body/1, next/1, next/2, cancel/2]).

-export_type([app/0, app_options/0, request/0, options/0, exchange/0, event/0, head/0]).
-export_type([address/0]).

-type app() :: #{interface := wsgi | asgi, target := binary()}.
-type app_options() :: #{
    interface => auto | wsgi | asgi, timeout => timeout(), name => atom()
}.
-type address() :: {Host :: binary(), Port :: inet:port_number()}.
-type request() :: #{
    method := binary(),
    raw_path := binary(),
    headers := [{Name :: binary(), Value :: binary()}],
    query_string => binary(),
    http_version => binary(),
    scheme => binary(),
    script_name => binary(),
    server => address(),
    client => address(),
    body => none | iodata(),
    body_length => non_neg_integer() | undefined
}.
-type options() :: #{
    high_watermark => pos_integer() | infinity,
    max_body => non_neg_integer() | infinity,
    response_window => pos_integer() | infinity,
    unknown_length => stream | spool
}.
-type head() :: #{
    status := 100..999, phrase := binary(), headers := [{Name :: binary(), Value :: binary()}]
}.
-type event() ::
    {reply, head(), Body :: binary()}
    | {start, head(), Data :: binary()}
    | {data, binary()}
    | done
    | {error, py:reason()}.
-opaque exchange() :: #{
    channel := py_channel:channel(),
    ref := reference(),
    job := reference(),
    body := none | py_buffer:buffer()
}.

%% Unread bytes of a body above which its writer waits.
-define(HIGH_WATERMARK, 1048576).
%% Bytes of a response that may wait for the client.
-define(RESPONSE_WINDOW, 262144).
-define(LOAD_TIMEOUT, 60000).
-define(IS_TIMEOUT(T),
    (T =:= infinity orelse (is_integer(T) andalso T >= 0 andalso T =< 16#FFFFFFFF))
).

%% ---- Applications -----------------------------------------------------------------------

%% @equiv load(Target, #{})
-spec load(unicode:chardata()) -> {ok, app()} | {error, py:reason()}.
load(Target) ->
    load(Target, #{}).

%% @doc Imports an application and finds out what it is.
%%
%% `Target': `<<"module:attribute">>', where the attribute may be dotted; a module alone
%% means its `application' or `app'.  The module is looked for on Python's path: the
%% settings `python_path' and `venv'.
%%
%% Options: `interface' (default `auto': `asgi' when the application is a coroutine
%% function or an object whose `__call__' is one, else `wsgi'), `timeout' (milliseconds for
%% the import, default 60000), `name' (of the process of {@link start_link/2}, default none).
%%
%% `{error, {Type, Message, Traceback}}': the import failed.  An ASGI application that is
%% only loaded has no lifespan: {@link start_link/2} gives it one.
-spec load(unicode:chardata(), app_options()) -> {ok, app()} | {error, py:reason()}.
load(Target, Options) ->
    Who = {load, [Target, Options]},
    Name = target(Target, Who),
    ok = erlpy_options:check({?MODULE, Who, 2}, Options, fun is_app_option/2),
    Timeout = maps:get(timeout, Options, ?LOAD_TIMEOUT),
    case py:call('erlang._web', interface, [{str, Name}], #{}, Timeout) of
        {ok, Found} ->
            {ok, #{interface => chosen(maps:get(interface, Options, auto), Found), target => Name}};
        {error, _} = Error ->
            Error
    end.

chosen(auto, <<"asgi">>) -> asgi;
chosen(auto, <<"wsgi">>) -> wsgi;
chosen(Interface, _Found) -> Interface.

%% @equiv start_link(Target, #{})
-spec start_link(unicode:chardata()) -> {ok, pid()} | {error, term()}.
start_link(Target) ->
    start_link(Target, #{}).

%% @doc A process, for a supervisor, that stands for a loaded application: with the startup
%% of an ASGI application done, and its shutdown done when the process ends.  The
%% arguments and errors are those of {@link load/2}; the `timeout' bounds the startup and
%% the shutdown as well, and `name' is registered for {@link app/1}.  It restarts nothing by
%% itself: it ends when the lifespan of the application does, or erlpy stops.
-spec start_link(unicode:chardata(), app_options()) -> {ok, pid()} | {error, term()}.
start_link(Target, Options) ->
    Who = {start_link, [Target, Options]},
    Name = target(Target, Who),
    ok = erlpy_options:check({?MODULE, Who, 2}, Options, fun is_app_option/2),
    erlpy_web_app:start_link(Name, Options, maps:get(timeout, Options, ?LOAD_TIMEOUT)).

%% @doc The application that a process of {@link start_link/2} stands for.
-spec app(pid() | atom()) -> app().
app(Process) ->
    erlpy_web_app:app(Process).

%% @doc Ends the process of {@link start_link/2}, after the shutdown of its application.
-spec stop(pid() | atom()) -> ok.
stop(Process) ->
    gen_server:stop(Process).

target(Target, Who) ->
    try unicode:characters_to_binary(Target) of
        Name when is_binary(Name), Name =/= <<>> -> Name;
        _ -> bad_target(Target, Who)
    catch
        error:badarg -> bad_target(Target, Who)
    end.

-spec bad_target(term(), erlpy_error:call()) -> no_return().
bad_target(Target, Who) ->
    erlpy_error:badarg(?MODULE, Who, Target, "not a name like <<\"module:attribute\">>").

is_app_option(interface, Value) -> lists:member(Value, [auto, wsgi, asgi]);
is_app_option(timeout, Value) -> ?IS_TIMEOUT(Value);
is_app_option(name, Value) -> is_atom(Value) andalso Value =/= undefined;
is_app_option(_Name, _Value) -> unknown.

%% ---- Exchanges --------------------------------------------------------------------------

%% @equiv start(App, Request, #{})
-spec start(app(), request()) -> {ok, exchange()} | {error, py:reason()}.
start(App, Request) ->
    start(App, Request, #{}).

%% @doc Begins to answer a request.
%%
%% Keys of the request, all text in binaries:
%% <dl>
%% <dt>`method', `raw_path', `headers'</dt><dd>as the client sent them: the path still
%% encoded and without the query, the headers in their order</dd>
%% <dt>`query_string' (default empty), `http_version' (default `<<"1.1">>'), `scheme' (default
%% `<<"http">>')</dt><dd></dd>
%% <dt>`script_name' (default empty)</dt><dd>the path, decoded, at which the application is
%% mounted; `root_path' in ASGI</dd>
%% <dt>`server', `client'</dt><dd>`{Host, Port}', default `{<<"localhost">>, 80}' and not
%% known</dd>
%% <dt>`body_length'</dt><dd>bytes of the body, `undefined' for one whose length is not
%% known (chunked, or HTTP/2), 0 for none.  Default: what `headers' say of it by
%% Content-Length and Transfer-Encoding</dd>
%% <dt>`body'</dt><dd>the whole body, when it is there; then {@link body/1} is not to be
%% written.  Default `none': it is written</dd>
%% </dl>
%%
%% Options:
%% <dl>
%% <dt>`high_watermark' (default 1 MiB)</dt><dd>unread bytes of the body above which its
%% writer waits</dd>
%% <dt>`max_body' (bytes, default `infinity')</dt><dd>a write past it is refused:
%% `{error, too_large}'</dd>
%% <dt>`response_window' (bytes, default 256 KiB)</dt><dd>of the response, that may wait to
%% be taken by {@link next/2}; above it the application waits</dd>
%% <dt>`unknown_length' (default `stream')</dt><dd>`spool': a WSGI application gets a body of
%% unknown length when all of it is there, in a temporary file, and with a
%% `CONTENT_LENGTH'.  Django needs that: it reads no body without one</dd>
%% </dl>
%%
%% Wrong keys and values raise `badarg'.  A failure of the application is an event.
-spec start(app(), request(), options()) -> {ok, exchange()} | {error, py:reason()}.
start(#{interface := Interface, target := Target} = App, Request, Options) ->
    Who = {start, [App, Request, Options]},
    ok = erlpy_options:check({?MODULE, Who, 3}, Options, fun is_option/2),
    ok = check_request(Who, Request),
    Made =
        try
            new_body(Request, Options)
        catch
            error:badarg -> bad_request(Who, "its body, or the Content-Length, is none", [])
        end,
    maybe_begin(Made, Interface, Target, Request, Options);
start(App, Request, Options) ->
    erlpy_error:badarg_at(?MODULE, {start, [App, Request, Options]}, 1,
                          "not an application: py_web:load/1 makes one").

maybe_begin({ok, Body}, Interface, Target, Request, Options) ->
    Window = maps:get(response_window, Options, ?RESPONSE_WINDOW),
    case py_channel:new(#{max_size => Window}) of
        {ok, Channel} -> begin_call(Interface, Target, Body, Channel, Request, Options);
        {error, _} = Error -> Error
    end;
maybe_begin({error, _} = Error, _Interface, _Target, _Request, _Options) ->
    Error.

begin_call(Interface, Target, Body, Channel, Request, Options) ->
    Argument = Request#{
        body => Body,
        response => Channel,
        spool => maps:get(unknown_length, Options, stream) =:= spool
    },
    Ref = make_ref(),
    Call = {call, module(Interface), run, [{str, Target}, Argument], #{}},
    case py_wait:submit(pool, Ref, Call, true) of
        {error, _} = Error ->
            Error;
        Job ->
            {ok, #{channel => Channel, ref => Ref, job => Job, body => Body}}
    end.

module(wsgi) -> 'erlang.wsgi';
module(asgi) -> 'erlang.asgi'.

new_body(#{body := Whole}, _Options) when Whole =/= none ->
    case py_buffer:new(#{content_length => iolist_size(Whole), seekable => false}) of
        {ok, Buffer} ->
            ok = py_buffer:write(Buffer, Whole),
            ok = py_buffer:close(Buffer),
            {ok, Buffer};
        {error, _} = Error ->
            Error
    end;
new_body(Request, Options) ->
    case body_length(Request) of
        0 ->
            {ok, none};
        Length ->
            py_buffer:new(#{
                content_length => Length,
                high_watermark => maps:get(high_watermark, Options, ?HIGH_WATERMARK),
                max_size => maps:get(max_body, Options, infinity),
                seekable => false,
                owner => self()
            })
    end.

%% RFC 9112, 6.3: a Transfer-Encoding counts more than a Content-Length.
body_length(#{body_length := Length}) -> Length;
body_length(#{headers := Headers}) -> body_length(Headers, 0).

body_length([{Name, Value} | Headers], Length) when
    byte_size(Name) =:= 14; byte_size(Name) =:= 17
->
    case string:lowercase(Name) of
        <<"transfer-encoding">> -> undefined;
        <<"content-length">> -> body_length(Headers, binary_to_integer(string:trim(Value)));
        _ -> body_length(Headers, Length)
    end;
body_length([_ | Headers], Length) ->
    body_length(Headers, Length);
body_length([], Length) ->
    Length.

%% @doc The buffer to which the body is to be written, `none' for a request without one.
%%
%% Write to it with a timeout, and {@link py_buffer:close/1. close} it at the end of a body
%% of unknown length.  A client that goes away in the middle, or sends something that is
%% no body, is told to the application by {@link py_buffer:abort/2}: then it never takes
%% half a body for a whole one.  `{error, closed}' from a write says that the application
%% wants no more of it.
-spec body(exchange()) -> none | py_buffer:buffer().
body(#{body := Body}) ->
    Body.

%% @equiv next(Exchange, infinity)
-spec next(exchange()) -> event() | {error, timeout}.
next(Exchange) ->
    next(Exchange, infinity).

%% @doc The next event of the response, waiting at most so many milliseconds.
%%
%% <dl>
%% <dt>`{reply, Head, Body}'</dt><dd>all of the response; `done' follows</dd>
%% <dt>`{start, Head, Data}'</dt><dd>its beginning: `Data', which may be empty, and what
%% comes as `{data, Data}' until `done' are the body</dd>
%% <dt>`done'</dt><dd>the end.  Nothing comes after it</dd>
%% <dt>`{error, timeout}'</dt><dd>nothing yet; ask again, or {@link cancel/2}</dd>
%% <dt>`{error, Reason}'</dt><dd>the end of a response that is not whole, as of {@link
%% py:call/3}: the application raised, say.  Before a head a server answers with status
%% 500, after it it closes the connection in the middle of the body</dd>
%% </dl>
%%
%% `Head' is a map of `status', `phrase' (perhaps empty) and `headers'.  The body obeys the
%% Content-Length, if there is one among them, and is empty where a response has none (to
%% HEAD, with status 204 or 304).  Each event is to be taken until `done' or `{error,
%% Reason}', by the process that started the exchange; else {@link cancel/2} it.
-spec next(exchange(), timeout()) -> event() | {error, timeout}.
next(#{channel := Channel, ref := Ref}, Timeout) when ?IS_TIMEOUT(Timeout) ->
    case py_wait:next(Channel, Ref, Timeout) of
        {message, Data} when is_binary(Data) ->
            {data, Data};
        {message, {_, _, _, Data} = Message} ->
            {start, head(Message), Data};
        {answer, {ok, {_, _, _, Body} = Message}} ->
            %% The end comes as an event of its own.
            self() ! {py_response, Ref, {ok, none}},
            {reply, head(Message), Body};
        {answer, Result} ->
            %% It says that no answer is to come: see cancel/2.
            ok = py_channel:close(Channel),
            ended(Result);
        {error, _} = Error ->
            Error
    end;
next(Exchange, Timeout) ->
    erlpy_error:badarg_at(?MODULE, {next, [Exchange, Timeout]}, 2,
                          "not a timeout: infinity, or milliseconds below 2^32").

ended({ok, none}) -> done;
ended({error, _} = Error) -> Error.

head({Status, Phrase, Headers, _Data}) ->
    #{status => Status, phrase => Phrase, headers => Headers}.

%% @doc Ends an exchange before its time: the client has gone.  The body is aborted with
%% the reason, unless all of it is there, and the handler cancelled: in WSGI
%% `erlang.Cancelled' is raised; in ASGI `receive()' gives `http.disconnect' and `send()'
%% raises an `OSError', and after 5 s the task is cancelled.  No event and no message comes
%% afterwards.  It may be called at any time, also after `done', and by the process that
%% started the exchange alone.
-spec cancel(exchange(), Reason :: term()) -> ok.
cancel(#{channel := Channel, ref := Ref, job := Job, body := Body}, Reason) ->
    _ = [ok = py_buffer:abort(Body, Reason) || Body =/= none],
    case py_channel:info(Channel) of
        #{closed := true} ->
            ok;
        #{closed := false} ->
            ok = py_channel:close(Channel),
            py_wait:give_up(Job, Ref)
    end.

%% ---- Arguments --------------------------------------------------------------------------

is_option(high_watermark, Value) -> Value =:= infinity orelse is_size(Value, 1);
is_option(max_body, Value) -> Value =:= infinity orelse is_size(Value, 0);
is_option(response_window, Value) -> Value =:= infinity orelse is_size(Value, 1);
is_option(unknown_length, Value) -> Value =:= stream orelse Value =:= spool;
is_option(_Name, _Value) -> unknown.

is_size(Value, Least) ->
    is_integer(Value) andalso Value >= Least andalso Value =< 16#7FFFFFFFFFFFFFFF.

check_request(Who, Request) when is_map(Request) ->
    _ = [maps:is_key(Key, Request) orelse bad_request(Who, "no ~tp in the request", [Key])
         || Key <- [method, raw_path, headers]],
    _ = [is_key(Key, Value) orelse bad_request(Who, "~tp of a request cannot be ~tP", [Key, Value, 20])
         || {Key, Value} <- maps:to_list(Request)],
    ok;
check_request(Who, _Request) ->
    bad_request(Who, "not a map", []).

is_key(headers, Headers) ->
    is_list(Headers) andalso lists:all(fun is_header/1, Headers);
is_key(Key, Address) when Key =:= server; Key =:= client ->
    is_address(Address);
is_key(body_length, Length) ->
    Length =:= undefined orelse is_size(Length, 0);
is_key(body, _) ->
    true;
is_key(Key, Value) ->
    Texts = [method, raw_path, query_string, http_version, scheme, script_name],
    is_binary(Value) andalso lists:member(Key, Texts).

is_header({Name, Value}) -> is_binary(Name) andalso is_binary(Value);
is_header(_) -> false.

is_address({Host, Port}) -> is_binary(Host) andalso is_size(Port, 0);
is_address(_) -> false.

-spec bad_request(erlpy_error:call(), string(), [term()]) -> no_return().
bad_request({start, [_App, Request, _Options]} = Who, Format, Values) ->
    erlpy_options:refuse({?MODULE, Who, 2}, Request, Format, Values).
