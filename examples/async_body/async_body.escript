#!/usr/bin/env escript
%%! +Bd -noinput
%% Five clients upload at once, each in its own way, to a handler in Python that is an
%% `async def'.  All five calls go on on one event loop; none has a thread of its own.
%% What Python answers is compared with what was sent.
%%
%% Run by examples/async_body/run.
-mode(compile).

-define(DEADLINE_MS, 30000).
%% Unread bytes of one upload, above which its client has to wait.
-define(MOST_UNREAD, 65536).

main([]) ->
    ok = start(),
    Uploads = [begin_upload(Client) || Client <- clients()],
    ok = all_reading(length(Uploads)),
    #{tasks := Tasks} = py:info(),
    line("uploads", "~w, read by ~w tasks on one event loop", [length(Uploads), Tasks]),
    ok = lists:foreach(fun send_body/1, Uploads),
    Same = [end_upload(Upload) || Upload <- Uploads],
    halt(case lists:all(fun(Each) -> Each end, Same) of true -> 0; false -> 1 end).

start() ->
    Here = filename:dirname(filename:absname(escript:script_name())),
    ok = application:load(erlpy),
    ok = application:set_env(erlpy, python_path, [Here]),
    {ok, _} = application:ensure_all_started(erlpy),
    ok.

%% Who uploads what: the pieces of a body and what happens between them, the seconds in
%% which it must be there, and the answer that Python should give.

clients() ->
    Large = rows(20000),
    Small = rows(20),
    [{"fast", pieces(Large, 16384), 30.0, stored(20000, Large)},
     {"slow", lists:join({pause, 5}, pieces(Small, 37)), 30.0, stored(20, Small)},
     {"gone", [rows(100), {abort, client_gone}], 30.0,
      #{<<"status">> => 400, <<"why">> => <<"the stream was aborted: client_gone">>}},
     {"stalled", [rows(3), stall], 0.5,
      #{<<"status">> => 408, <<"why">> => <<"not there after 0.5 s">>}},
     {"garbage", [rows(1), <<"not json\n">> | pieces(Large, 16384)], 30.0,
      #{<<"status">> => 422, <<"why">> => <<"Expecting value: line 1 column 1 (char 0)">>}}].

rows(Count) ->
    << <<"{\"row\": ", (integer_to_binary(N))/binary, ", \"text\": \"some words\"}\n">>
       || N <- lists:seq(1, Count)>>.

pieces(Body, Size) when byte_size(Body) > Size ->
    <<Piece:Size/binary, Rest/binary>> = Body,
    [Piece | pieces(Rest, Size)];
pieces(Body, _Size) ->
    [Body].

stored(Rows, Body) ->
    #{<<"status">> => 201, <<"rows">> => Rows, <<"sha256">> => sha256(Body)}.

sha256(Body) ->
    <<Digest:256>> = crypto:hash(sha256, Body),
    iolist_to_binary(io_lib:format("~64.16.0b", [Digest])).

%% An upload: a buffer, a call that reads it, and a process that writes it.

begin_upload({Name, Steps, Seconds, Expected}) ->
    {ok, Body} = py_buffer:new(#{high_watermark => ?MOST_UNREAD, seekable => false}),
    Call = py:async_call(uploads, upload, [Body, Seconds, self()]),
    #{name => Name, steps => Steps, expected => Expected, body => Body, call => Call}.

all_reading(0) ->
    ok;
all_reading(Count) ->
    receive
        <<"reading">> -> all_reading(Count - 1)
    after ?DEADLINE_MS ->
        error(not_reading)
    end.

send_body(#{body := Body, steps := Steps}) ->
    {ok, _Pid} = py_buffer:spawn_writer(Body, fun(_) -> write(Body, Steps) end),
    ok.

write(Body, [stall | Rest]) ->
    Ref = py_buffer:monitor(Body),
    receive {py_buffer, Ref, _} -> write(Body, Rest) end;
write(Body, [{pause, Ms} | Rest]) ->
    timer:sleep(Ms),
    write(Body, Rest);
write(Body, [{abort, Reason} | Rest]) ->
    ok = py_buffer:abort(Body, Reason),
    write(Body, Rest);
write(Body, [Piece | Rest]) ->
    case py_buffer:write(Body, Piece) of
        ok -> write(Body, Rest);
        {error, _Refused} -> ok
    end;
write(_Body, []) ->
    ok.

end_upload(#{name := Name, call := Call, body := Body, expected := Expected}) ->
    case py:async_await(Call, ?DEADLINE_MS) of
        {ok, Expected} ->
            line(Name, "~ts; ~ts written", [answer(Expected), bytes(Body)]),
            true;
        Other ->
            line(Name, "DIFFERS: ~tp", [Other]),
            false
    end.

answer(#{<<"status">> := 201, <<"rows">> := Rows, <<"sha256">> := Hash}) ->
    io_lib:format("201, ~w rows, sha-256 ~ts...", [Rows, binary:part(Hash, 0, 12)]);
answer(#{<<"status">> := Status, <<"why">> := Why}) ->
    io_lib:format("~w, ~ts", [Status, Why]).

bytes(Body) ->
    #{written := Written} = py_buffer:info(Body),
    io_lib:format("~.1f kB", [Written / 1000]).

line(Title, Format, Arguments) ->
    io:format("  ~-9ts" ++ Format ++ "~n", [Title | Arguments]).
