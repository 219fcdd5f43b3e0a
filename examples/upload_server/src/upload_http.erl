%% Requests of mochiweb, answered by a WSGI or ASGI application.
%%
%%     connection ---- reads the body, watches the client ----> buffer ----> Python
%%         |  linked                                                            |
%%     responder <---------------------- events of py_web <--------------------+
%%         writes the response
%%
%% The connection is mochiweb's process.  For each request it starts a responder, to which
%% the exchange with Python belongs.  Either one ends when it cannot go on, which ends the
%% other, and so the handler in Python, by the link.
-module(upload_http).

-include_lib("kernel/include/logger.hrl").

-export([handle/2]).

-type options() :: #{
    app := py_web:app(),
    exchange := py_web:options(),
    max_body := non_neg_integer() | infinity
}.

%% The client may be silent for so long in the middle of a body, or take nothing for so long.
-define(IDLE_MS, 60000).
%% Above so many bytes a body is read in large pieces.
-define(LARGE_BODY, 65536).
-define(RECEIVE_BYTES, 262144).
%% Up to so many bytes of a body are looked for before Python is called.
-define(SMALL_BODY, 16384).
%% So much of a body that nobody wants is read, to keep the connection.
-define(SMALL_REST, 65536).
%% A handler that has answered by then is not watched for the end of its client.
-define(QUICK_MS, 50).
%% How long a handler may go on whose client has gone in the middle of the body.
-define(GRACE_MS, 1000).
%% How long the rest of a body is read that nobody wants, so that the client gets to read
%% its response.
-define(LINGER_MS, 5000).

-spec handle(tuple(), options()) -> ok.
handle(Req, #{max_body := Max} = Options) ->
    case framing(Req) of
        {error, Status, Text} -> refuse(Req, Status, Text);
        Length when is_integer(Length), Length > Max -> refuse(Req, 413, <<"The body is too large.\n">>);
        Length -> exchange(Req, Length, Options)
    end.

%% How the body ends (RFC 9112, 6.3).  What two servers could understand in two ways is
%% refused.
framing(Req) ->
    case {header("transfer-encoding", Req), header("content-length", Req)} of
        {undefined, undefined} -> 0;
        {undefined, Length} -> length_of(Length);
        {Coding, undefined} -> coding(string:lowercase(string:trim(Coding)));
        {_, _} -> {error, 400, <<"Both Content-Length and Transfer-Encoding.\n">>}
    end.

length_of(Text) ->
    Trimmed = string:trim(Text),
    case Trimmed =/= [] andalso lists:all(fun(C) -> C >= $0 andalso C =< $9 end, Trimmed) of
        true -> list_to_integer(Trimmed);
        false -> {error, 400, <<"The Content-Length is no number.\n">>}
    end.

coding("chunked") -> undefined;
coding(_) -> {error, 501, <<"The only Transfer-Encoding is chunked.\n">>}.

header(Name, Req) ->
    mochiweb_request:get_header_value(Name, Req).

refuse(Req, Status, Text) ->
    Socket = mochiweb_request:get(socket, Req),
    plain(Socket, Status, Text),
    linger(Socket, deadline(?LINGER_MS)).

%% ---- One exchange -----------------------------------------------------------------------

exchange(Req, Length, #{app := App, exchange := ExchangeOptions}) ->
    Socket = mochiweb_request:get(socket, Req),
    ok = inet:setopts(Socket, [{send_timeout, ?IDLE_MS}, {send_timeout_close, true}]),
    ok = continue(Req, Socket),
    Whole = whole(Req, Socket, Length),
    Request = (request(Req, Length))#{body => Whole},
    Connection = self(),
    Responder = spawn_link(fun() ->
        respond(Connection, Socket, App, Request, ExchangeOptions, persistence(Req))
    end),
    receive
        {Responder, body, Body} when Body =:= none; Whole =/= none ->
            watch(Socket, Responder, ?QUICK_MS);
        {Responder, body, Body} ->
            upload(Req, Socket, Responder, Body, Length)
    end.

%% A small body that has come goes with the request: Python need not wait for it.
whole(Req, Socket, Length) when is_integer(Length), Length > 0, Length =< ?SMALL_BODY ->
    case gen_tcp:recv(Socket, 0, 0) of
        {ok, Data} ->
            %% MochiWeb is to know that it was read.
            ok = gen_tcp:unrecv(Socket, Data),
            case byte_size(Data) >= Length of
                true -> receive_whole(Req, Socket, Length);
                false -> none
            end;
        {error, timeout} ->
            none;
        {error, _} ->
            exit({shutdown, client_gone})
    end;
whole(_Req, _Socket, _Length) ->
    none.

receive_whole(Req, Socket, Length) ->
    {Data, Next} = split(mochiweb_request:recv(0, ?IDLE_MS, Req), Length),
    ok = push_back(Socket, Next),
    Data.

%% At once, which is the simplest of what PEP 3333 allows.
continue(Req, Socket) ->
    case string:lowercase(string:trim(header_or("expect", "", Req))) of
        "100-continue" -> send(Socket, <<"HTTP/1.1 100 Continue\r\n\r\n">>);
        _ -> ok
    end.

header_or(Name, Default, Req) ->
    case header(Name, Req) of
        undefined -> Default;
        Value -> Value
    end.

request(Req, Length) ->
    Socket = mochiweb_request:get(socket, Req),
    [Path | Query] = string:split(mochiweb_request:get(raw_path, Req), "?"),
    #{
        method => text(mochiweb_request:get(method, Req)),
        raw_path => text(Path),
        query_string => text(lists:append(Query)),
        http_version => version(mochiweb_request:get(version, Req)),
        headers => [{text(Name), text(Value)}
                    || {Name, Value} <- mochiweb_headers:to_list(mochiweb_request:get(headers, Req))],
        server => address(inet:sockname(Socket)),
        client => address(inet:peername(Socket)),
        body_length => Length
    }.

text(Atom) when is_atom(Atom) -> atom_to_binary(Atom);
text(Latin1) -> list_to_binary(Latin1).

version({Major, Minor}) -> <<(integer_to_binary(Major))/binary, $., (integer_to_binary(Minor))/binary>>.

address({ok, {Ip, Port}}) -> {list_to_binary(inet:ntoa(Ip)), Port};
address({error, _}) -> exit({shutdown, client_gone}).

%% `chunked' and `keep': HTTP/1.1.  `close': the end of the connection ends the response.
persistence(Req) ->
    Connection = string:lowercase(header_or("connection", "", Req)),
    case mochiweb_request:get(version, Req) of
        {1, 1} when Connection =/= "close" -> keep;
        {1, 1} -> close;
        _ -> close_1_0
    end.

%% ---- The connection: the body, and the end of the client -----------------------------------

upload(Req, Socket, Responder, Body, Length) ->
    ok = py_buffer:set_owner(Body, self()),
    ok = receive_pieces(Socket, Length),
    try receive_body(Req, Socket, Body, Length) of
        ok ->
            ok = py_buffer:close(Body),
            watch(Socket, Responder, ?QUICK_MS);
        unwanted ->
            finish(Responder, Socket);
        {failed, Reason} ->
            fail(Responder, Body, Reason),
            finish(Responder, Socket)
    catch
        exit:Reason ->
            fail(Responder, Body, client_gone),
            ended(Responder),
            exit(Reason)
    end.

%% The responder knows before the application does, which may answer at once.
fail(Responder, Body, Reason) ->
    Responder ! {self(), failed, Reason},
    ok = py_buffer:abort(Body, Reason).

%% A handler that reads has its exception, and is not to be cancelled while it cleans up.
ended(Responder) ->
    receive
        {Responder, done, _} -> ok
    after ?GRACE_MS -> ok
    end.

receive_pieces(Socket, Length) when Length > ?LARGE_BODY ->
    inet:setopts(Socket, [{recbuf, ?RECEIVE_BYTES}, {buffer, ?RECEIVE_BYTES}]);
receive_pieces(_Socket, _Length) ->
    ok.

receive_body(Req, Socket, Body, undefined) ->
    receive_chunks(Req, Socket, Body, upload_chunks:new());
receive_body(Req, Socket, Body, Length) ->
    receive_bytes(Req, Socket, Body, Length).

%% What has come is passed on at once, however little it is.
receive_bytes(_Req, _Socket, _Body, 0) ->
    ok;
receive_bytes(Req, Socket, Body, Left) ->
    {Data, Next} = split(mochiweb_request:recv(0, ?IDLE_MS, Req), Left),
    ok = push_back(Socket, Next),
    Rest = Left - byte_size(Data),
    case write(Body, Data) of
        ok -> receive_bytes(Req, Socket, Body, Rest);
        unwanted when Rest =< ?SMALL_REST -> receive_bytes(Req, Socket, unwanted, Rest);
        Refused -> Refused
    end.

split(Data, Left) when byte_size(Data) =< Left -> {Data, <<>>};
split(Data, Left) -> split_binary(Data, Left).

write(unwanted, _Data) ->
    ok;
write(Body, Data) ->
    case py_buffer:write(Body, Data) of
        ok -> ok;
        {error, too_large} -> {failed, too_large};
        {error, _} -> unwanted
    end.

receive_chunks(Req, Socket, Body, Chunks) ->
    case upload_chunks:decode(mochiweb_request:recv(0, ?IDLE_MS, Req), Chunks) of
        {error, Reason} -> {failed, Reason};
        {Pieces, Next} -> receive_chunks(Req, Socket, Body, Next, write(Body, Pieces))
    end.

receive_chunks(Req, Socket, Body, {more, Chunks}, ok) ->
    receive_chunks(Req, Socket, Body, Chunks);
receive_chunks(_Req, Socket, _Body, {done, Next}, ok) ->
    push_back(Socket, Next);
receive_chunks(_Req, _Socket, _Body, _Next, Refused) ->
    Refused.

%% The next request may have begun.
push_back(_Socket, <<>>) -> ok;
push_back(Socket, Next) -> gen_tcp:unrecv(Socket, Next).

%% Waits for the end of the response.  A client that closes its end meanwhile has gone.
watch(Socket, Responder, Timeout) ->
    receive
        {Responder, done, keep} ->
            unwatch(Socket, Timeout);
        {Responder, done, close} ->
            _ = inet:setopts(Socket, [{active, false}]),
            linger(Socket, deadline(?LINGER_MS));
        {tcp, Socket, Next} ->
            ok = gen_tcp:unrecv(Socket, Next),
            watch(Socket, Responder, infinity);
        {tcp_closed, Socket} ->
            exit({shutdown, client_gone});
        {tcp_error, Socket, _Reason} ->
            exit({shutdown, client_gone})
    after Timeout ->
        ok = inet:setopts(Socket, [{active, once}]),
        watch(Socket, Responder, infinity)
    end.

unwatch(_Socket, ?QUICK_MS) ->
    ok;
unwatch(Socket, infinity) ->
    ok = inet:setopts(Socket, [{active, false}]),
    receive
        {tcp, Socket, Next} -> gen_tcp:unrecv(Socket, Next);
        {tcp_closed, Socket} -> exit({shutdown, client_gone});
        {tcp_error, Socket, _Reason} -> exit({shutdown, client_gone})
    after 0 -> ok
    end.

%% The rest of the body is not wanted, or no body: it is dropped until the response is out.
finish(Responder, Socket) ->
    ok = inet:setopts(Socket, [{active, once}]),
    receive
        {Responder, done, _} ->
            _ = inet:setopts(Socket, [{active, false}]),
            linger(Socket, deadline(?LINGER_MS));
        {tcp, Socket, _Data} ->
            finish(Responder, Socket);
        {tcp_closed, Socket} ->
            exit({shutdown, client_gone});
        {tcp_error, Socket, _Reason} ->
            exit({shutdown, client_gone})
    end.

%% Closing what is unread would reset the connection, and the client lose the response.
linger(Socket, Deadline) ->
    _ = gen_tcp:shutdown(Socket, write),
    discard(Socket, Deadline),
    close(Socket).

discard(Socket, Deadline) ->
    case gen_tcp:recv(Socket, 0, max(0, Deadline - erlang:monotonic_time(millisecond))) of
        {ok, _} -> discard(Socket, Deadline);
        {error, _} -> ok
    end.

deadline(Ms) ->
    erlang:monotonic_time(millisecond) + Ms.

-spec close(gen_tcp:socket()) -> no_return().
close(Socket) ->
    _ = gen_tcp:close(Socket),
    exit({shutdown, closed}).

%% ---- The responder ------------------------------------------------------------------------

respond(Connection, Socket, App, Request, Options, Persistence) ->
    case py_web:start(App, Request, Options) of
        {ok, Exchange} ->
            Connection ! {self(), body, py_web:body(Exchange)},
            Done = first(Connection, Socket, Exchange, Request, Persistence),
            Connection ! {self(), done, Done};
        {error, Reason} ->
            Connection ! {self(), body, none},
            Connection ! {self(), done, failed(Socket, Request, Reason)}
    end.

first(Connection, Socket, Exchange, Request, Persistence) ->
    Event = py_web:next(Exchange),
    case failure(Connection) of
        none -> answer(Event, Socket, Exchange, Request, kept_after(Exchange, Request, Persistence));
        Reason -> answer_failure(Reason, Socket, Exchange)
    end.

%% Much of a body that is still to come will not be wanted: it ends the connection.
kept_after(Exchange, #{body_length := Length}, keep) ->
    Body = py_web:body(Exchange),
    case Body =/= none andalso py_buffer:info(Body) of
        #{state := open, written := Written}
            when Length - Written > ?SMALL_REST; Length =:= undefined -> close;
        _ -> keep
    end;
kept_after(_Exchange, _Request, Persistence) ->
    Persistence.

%% Why the body is not whole, if it has failed before the application answered.
failure(Connection) ->
    receive
        {Connection, failed, Reason} -> Reason
    after 0 -> none
    end.

%% The application has been told; what it makes of that is not for the client.
answer_failure(client_gone, _Socket, _Exchange) ->
    close;
answer_failure(Reason, Socket, Exchange) ->
    ok = py_web:cancel(Exchange, Reason),
    {Status, Text} = status_of(Reason),
    plain(Socket, Status, Text),
    close.

answer({reply, Head, Body}, Socket, Exchange, #{method := Method}, Persistence) ->
    ok = send(Socket, upload_response:whole(Method, Head, Body, Persistence)),
    done = py_web:next(Exchange),
    kept(Persistence);
answer({start, Head, Data}, Socket, Exchange, Request, Persistence) ->
    {Begin, Coding} = upload_response:head(maps:get(method, Request), Head, Persistence),
    ok = send(Socket, [Begin | upload_response:data(Coding, Data)]),
    rest(Socket, Exchange, Coding, Persistence, Request);
answer({error, Reason}, Socket, _Exchange, Request, _Persistence) ->
    failed(Socket, Request, Reason).

rest(Socket, Exchange, Coding, Persistence, Request) ->
    case py_web:next(Exchange) of
        {data, Data} ->
            ok = send(Socket, upload_response:data(Coding, Data)),
            rest(Socket, Exchange, Coding, Persistence, Request);
        done ->
            ok = send(Socket, upload_response:last(Coding)),
            kept(upload_response:persistence(Coding, Persistence));
        {error, Reason} ->
            log(Request, Reason),
            exit({shutdown, failed})
    end.

kept(keep) -> keep;
kept(_) -> close.

send(_Socket, []) ->
    ok;
send(Socket, Data) ->
    case gen_tcp:send(Socket, Data) of
        ok -> ok;
        {error, _} -> exit({shutdown, client_gone})
    end.

failed(Socket, Request, Reason) ->
    log(Request, Reason),
    plain(Socket, 500, <<"The application has failed.\n">>),
    close.

status_of(too_large) -> {413, <<"The body is too large.\n">>};
status_of(bad_chunk) -> {400, <<"The body is not whole.\n">>}.

plain(Socket, Status, Text) ->
    Head = #{status => Status, phrase => <<>>, headers => [{<<"Content-Type">>, <<"text/plain">>}]},
    send(Socket, upload_response:whole(<<"GET">>, Head, Text, close)).

log(#{method := Method, raw_path := Path}, {Type, Text, Traceback}) ->
    ?LOG_ERROR("~ts ~ts: ~ts: ~ts~n~ts", [Method, Path, Type, Text, Traceback]);
log(#{method := Method, raw_path := Path}, Reason) ->
    ?LOG_ERROR("~ts ~ts: ~tp", [Method, Path, Reason]).
