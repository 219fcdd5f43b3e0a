%% Requests of cowboy 2, answered by a WSGI or ASGI application: a handler.
%%
%%     cowboy_router:compile([{'_', [{'_', cowboy_python, #{app => App}}]}])
%%
%% Its state is a map: `app', of py_web; perhaps `options', those of py_web:start/3, and
%% `script_name', the path at which it is mounted.
%%
%%     handler ------ reads the body ------> buffer ------> Python
%%        |  linked                                           |
%%     responder <------------- events of py_web <-----------+
%%        sends the response, perhaps before the body has come
%%
%% Compiled and not run: Debian has no cowboy.
-module(cowboy_python).
-behaviour(cowboy_handler).

-include_lib("kernel/include/logger.hrl").

-export([init/2]).

%% So many bytes of a body, or what has come in so many milliseconds, are passed on.
-define(READ, #{length => 65536, period => 100}).
%% So long a write may wait for the application to read.
-define(WRITE_MS, 60000).

init(Req, State) ->
    Handler = self(),
    Responder = spawn_link(fun() -> respond(Handler, Req, State) end),
    receive
        {Responder, body, none} -> ok;
        {Responder, body, Body} ->
            %% When this process ends, the body is over.
            ok = py_buffer:set_owner(Body, self()),
            ok = upload(Req, Body)
    end,
    receive
        {Responder, done} -> {ok, Req, State}
    end.

upload(Req, Body) ->
    case cowboy_req:read_body(Req, ?READ) of
        {more, Data, Req2} ->
            case write(Body, Data) of
                ok -> upload(Req2, Body);
                %% Cowboy skips the rest.
                unwanted -> ok
            end;
        {ok, Data, _Req2} ->
            _ = write(Body, Data),
            py_buffer:close(Body)
    end.

write(Body, Data) ->
    case py_buffer:write(Body, Data, ?WRITE_MS) of
        ok ->
            ok;
        {error, Reason} ->
            ok = py_buffer:abort(Body, Reason),
            unwanted
    end.

%% ---- The responder ------------------------------------------------------------------------

respond(Handler, Req, #{app := App} = State) ->
    case py_web:start(App, request(Req, State), maps:get(options, State, #{})) of
        {ok, Exchange} ->
            Handler ! {self(), body, py_web:body(Exchange)},
            first(Req, Exchange, py_web:next(Exchange));
        {error, Reason} ->
            Handler ! {self(), body, none},
            failed(Req, Reason)
    end,
    Handler ! {self(), done},
    unlink(Handler).

first(Req, Exchange, {reply, #{status := Status, headers := Headers}, Body}) ->
    done = py_web:next(Exchange),
    cowboy_req:reply(Status, fields(Headers), Body, cookies(Headers, Req));
first(Req, Exchange, {start, #{status := Status, headers := Headers}, Data}) ->
    Started = cowboy_req:stream_reply(Status, fields(Headers), cookies(Headers, Req)),
    rest(Started, Exchange, {data, Data});
first(Req, _Exchange, {error, Reason}) ->
    failed(Req, Reason).

rest(Req, Exchange, {data, Data}) ->
    _ = [ok = cowboy_req:stream_body(Data, nofin, Req) || Data =/= <<>>],
    rest(Req, Exchange, py_web:next(Exchange));
rest(Req, _Exchange, done) ->
    cowboy_req:stream_body(<<>>, fin, Req);
rest(Req, _Exchange, {error, Reason}) ->
    log(Req, Reason),
    %% A response that is not whole must not look so.
    _ = [exit(maps:get(pid, Req), kill) || cowboy_req:version(Req) =/= 'HTTP/2'],
    exit({shutdown, failed}).

failed(Req, Reason) ->
    log(Req, Reason),
    Type = #{<<"content-type">> => <<"text/plain">>},
    cowboy_req:reply(500, Type, <<"The application has failed.\n">>, Req).

log(Req, Reason) ->
    ?LOG_ERROR("~ts ~ts: ~tp", [cowboy_req:method(Req), cowboy_req:path(Req), Reason]).

%% Fields of one name are joined by commas (RFC 9110, 5.3), but for cookies.
fields(Headers) ->
    lists:foldl(fun
        ({<<"set-cookie">>, _Value}, Fields) ->
            Fields;
        ({Name, Value}, Fields) ->
            maps:update_with(Name, fun(Before) -> [Before, ", ", Value] end, Value, Fields)
    end, #{}, lower(Headers)).

%% Where cowboy_req:set_resp_cookie/4 puts them, which would take them apart.
cookies(Headers, Req) ->
    Cookies = [Value || {<<"set-cookie">>, Value} <- lower(Headers)],
    Req#{resp_cookies => maps:from_list(lists:zip(lists:seq(1, length(Cookies)), Cookies))}.

lower(Headers) ->
    [{string:lowercase(Name), Value} || {Name, Value} <- Headers].

%% ---- The request --------------------------------------------------------------------------

request(Req, State) ->
    {Ip, Port} = cowboy_req:peer(Req),
    #{
        method => cowboy_req:method(Req),
        raw_path => cowboy_req:path(Req),
        query_string => cowboy_req:qs(Req),
        http_version => version(cowboy_req:version(Req)),
        scheme => cowboy_req:scheme(Req),
        script_name => maps:get(script_name, State, <<>>),
        headers => maps:to_list(cowboy_req:headers(Req)),
        server => {cowboy_req:host(Req), cowboy_req:port(Req)},
        client => {list_to_binary(inet:ntoa(Ip)), Port},
        body_length => body_length(cowboy_req:has_body(Req), Req)
    }.

version('HTTP/1.0') -> <<"1.0">>;
version('HTTP/1.1') -> <<"1.1">>;
version('HTTP/2') -> <<"2">>.

body_length(false, _Req) -> 0;
body_length(true, Req) -> cowboy_req:body_length(Req).
