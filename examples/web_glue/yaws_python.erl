%% Requests of yaws, answered by a WSGI or ASGI application: an appmod.
%%
%% Its options are the server's `opaque': `{python, py_web:app()}', and perhaps
%% `{python_options, py_web:options()}' and `{script_name, Path}' where it is not mounted
%% at "/".
%%
%% Yaws calls out/1 for each piece of the body (of `partial_post_size' bytes, or a chunk),
%% and takes what it returns after the last one for the response.  So the application works
%% while the body arrives, and its response is sent when all of the body has come.
%%
%%     process of yaws ---- out/1: the pieces of the body ----> buffer ----> Python
%%         |  linked                                                           |
%%     responder <--------------------- events of py_web <--------------------+
%%         the head by a message, the body to the socket
-module(yaws_python).

-include_lib("kernel/include/logger.hrl").
-include("yaws_api.hrl").

-export([out/1]).

%% So long a write may wait for the application to read.
-define(WRITE_MS, 60000).

out(#arg{state = undefined} = Arg) ->
    Yaws = self(),
    Responder = spawn_link(fun() -> respond(Yaws, Arg) end),
    receive
        {Responder, body, none} -> response(Responder);
        {Responder, body, Body} -> received(Arg, {Responder, owned(Body)});
        {'EXIT', Responder, _Reason} -> failed()
    end;
out(#arg{state = State} = Arg) ->
    received(Arg, State).

%% When this process ends, the body is over.
owned(Body) ->
    ok = py_buffer:set_owner(Body, self()),
    Body.

received(#arg{clidata = {partial, Data}}, {Responder, Body}) ->
    {get_more, more, {Responder, write(Body, Data)}};
received(#arg{clidata = Last}, {Responder, Body}) ->
    case write(Body, data(Last)) of
        too_large ->
            refused(Responder);
        unwanted ->
            response(Responder);
        Body ->
            ok = py_buffer:close(Body),
            response(Responder)
    end.

data(Data) when is_binary(Data) -> Data;
data(undefined) -> <<>>.

%% What nobody wants any more is read all the same, or it would be the next request.
write(Dropped, _Data) when Dropped =:= unwanted; Dropped =:= too_large ->
    Dropped;
write(Body, Data) ->
    case py_buffer:write(Body, Data, ?WRITE_MS) of
        ok ->
            Body;
        {error, Reason} ->
            ok = py_buffer:abort(Body, Reason),
            dropped(Reason)
    end.

dropped(too_large) -> too_large;
dropped(_Reason) -> unwanted.

%% Whatever the application makes of the body's end.
refused(Responder) ->
    unlink(Responder),
    exit(Responder, kill),
    [{status, 413}, {content, "text/plain", <<"The body is too large.\n">>}].

response(Responder) ->
    receive
        {Responder, whole, Head, Body} ->
            head(Head) ++ [{content, type(Head), Body}];
        {Responder, stream, Head} ->
            head(Head) ++ [{streamcontent_from_pid, type(Head), Responder}];
        {'EXIT', Responder, _Reason} ->
            failed()
    end.

failed() ->
    [{status, 500}, {content, "text/plain", <<"The application has failed.\n">>}].

head(#{status := Status, headers := Headers}) ->
    [{status, Status} | [{header, {name(Name), binary_to_list(Value)}}
                         || {Name, Value} <- Headers, name(Name) =/= "Content-Type"]].

type(#{headers := Headers}) ->
    Types = [Value || {Name, Value} <- Headers, name(Name) =:= "Content-Type"],
    binary_to_list(hd(Types ++ [<<"application/octet-stream">>])).

%% Yaws knows its own headers in one way of writing: content-type is Content-Type.
name(Name) ->
    Words = string:split(binary_to_list(Name), "-", all),
    lists:flatten(lists:join($-, [capital(Word) || Word <- Words])).

capital(Word) ->
    string:titlecase(string:lowercase(Word)).

%% ---- The responder ------------------------------------------------------------------------

respond(Yaws, #arg{opaque = Options} = Arg) ->
    App = proplists:get_value(python, Options),
    Request = request(Arg),
    case py_web:start(App, Request, proplists:get_value(python_options, Options, #{})) of
        {ok, Exchange} ->
            Yaws ! {self(), body, py_web:body(Exchange)},
            first(Yaws, Arg, Exchange, Request);
        {error, Reason} ->
            stop(Request, Reason)
    end.

first(Yaws, #arg{clisock = Socket, req = #http_request{version = Version}}, Exchange, Request) ->
    case py_web:next(Exchange) of
        {reply, Head, Body} ->
            done = py_web:next(Exchange),
            Yaws ! {self(), whole, Head, Body};
        {start, #{status := Status} = Head, _None} when Status =:= 204; Status =:= 304 ->
            done = py_web:next(Exchange),
            Yaws ! {self(), whole, Head, <<>>};
        {start, Head, Data} ->
            Yaws ! {self(), stream, Head},
            Output = {Socket, is_chunked(Version, Head)},
            Ref = monitor(process, Yaws),
            receive
                {ok, Yaws} -> rest(Yaws, Output, Exchange, Request, Data);
                {discard, Yaws} -> rest(Yaws, nowhere, Exchange, Request, Data);
                {'DOWN', Ref, process, Yaws, _Reason} -> ok
            end;
        {error, Reason} ->
            stop(Request, Reason)
    end,
    unlink(Yaws).

is_chunked({1, 1}, #{headers := Headers}) ->
    not lists:any(fun({Name, _}) -> name(Name) =:= "Content-Length" end, Headers);
is_chunked(_Version, _Head) ->
    false.

rest(Yaws, Output, Exchange, Request, Data) ->
    ok = send(Output, Data),
    case py_web:next(Exchange) of
        {data, More} -> rest(Yaws, Output, Exchange, Request, More);
        done -> finish(Yaws, Output);
        {error, Reason} -> stop(Request, Reason)
    end.

send(nowhere, _Data) -> ok;
send(_Output, <<>>) -> ok;
send({Socket, true}, Data) -> sent(yaws_api:stream_process_deliver_chunk(Socket, Data));
send({Socket, false}, Data) -> sent(yaws_api:stream_process_deliver(Socket, Data)).

sent(ok) -> ok;
sent({error, _}) -> exit({shutdown, client_gone}).

finish(Yaws, nowhere) ->
    Yaws ! endofstreamcontent;
finish(Yaws, {Socket, Chunked}) ->
    _ = [ok = sent(yaws_api:stream_process_deliver_final_chunk(Socket, <<>>)) || Chunked],
    yaws_api:stream_process_end(Socket, Yaws).

%% The socket is this process's by now, or yaws sees it end before a head.
-spec stop(py_web:request(), term()) -> no_return().
stop(#{method := Method, raw_path := Path}, Reason) ->
    ?LOG_ERROR("~ts ~ts: ~tp", [Method, Path, Reason]),
    exit({shutdown, failed}).

%% ---- The request --------------------------------------------------------------------------

request(#arg{headers = Headers, client_ip_port = {Ip, Port}, clisock = Socket} = Arg) ->
    #arg{req = #http_request{method = Method, path = {abs_path, Target}, version = Version}} = Arg,
    [Path | Query] = string:split(Target, "?"),
    #{
        method => text(Method),
        raw_path => text(Path),
        query_string => text(lists:append(Query)),
        http_version => version(Version),
        scheme => scheme(Socket),
        script_name => text(proplists:get_value(script_name, Arg#arg.opaque, "")),
        headers => [{text(Name), text(Value)} || {Name, Value} <- pairs(Headers)],
        server => server(Socket),
        client => {text(inet:ntoa(Ip)), Port}
    }.

pairs(Headers) ->
    yaws_api:reformat_header(Headers, fun
        (Name, {multi, Values}) -> {multi, [{Name, Value} || Value <- Values]};
        (Name, Value) -> {Name, Value}
    end).

text(Atom) when is_atom(Atom) -> atom_to_binary(Atom);
text(Latin1) -> list_to_binary(Latin1).

version({Major, Minor}) -> list_to_binary(io_lib:format("~w.~w", [Major, Minor])).

scheme({ssl, _}) -> <<"https">>;
scheme(_) -> <<"http">>.

server({ssl, Socket}) -> address(ssl:sockname(Socket));
server(Socket) -> address(inet:sockname(Socket)).

address({ok, {Ip, Port}}) -> {text(inet:ntoa(Ip)), Port};
address({error, _}) -> exit({shutdown, client_gone}).
