#!/usr/bin/env escript
%%! +Bd -noinput
%% Forms with files (multipart/form-data), uploaded in awkward pieces and parsed while they
%% arrive, by three parsers: one that uses the buffer's methods alone, Werkzeug's, and
%% python-multipart's.  Each must find what was sent, and refuse what is not whole.
%%
%% Run by examples/multipart/run.
-mode(compile).

-define(DEADLINE_MS, 30000).
%% Unread bytes above which the upload waits.
-define(MOST_UNREAD, 65536).
-define(BOUNDARY, "----x7Gk").

main([]) ->
    ok = start(),
    Parsers = lists:filter(fun is_here/1, [<<"by hand">>, <<"Werkzeug">>, <<"python-multipart">>]),
    Good = [check(Case, Parser) || Case <- cases(), Parser <- Parsers],
    line("forms", "~w, each parsed by ~w parsers", [length(cases()), length(Parsers)]),
    halt(case lists:all(fun(Each) -> Each end, Good) of true -> 0; false -> 1 end).

start() ->
    Here = filename:dirname(filename:absname(escript:script_name())),
    ok = application:load(erlpy),
    ok = application:set_env(erlpy, python_path, [Here]),
    {ok, _} = application:ensure_all_started(erlpy),
    ok.

is_here(Parser) ->
    case py:call(uploads, version, [Parser]) of
        {ok, none} ->
            line("skipped", "~ts (not found)", [Parser]),
            false;
        {ok, Version} ->
            line("parser", "~ts", [lists:join($\s, [Parser | Version])]),
            true
    end.

%% ---- The forms: pieces, and what a parser must say of them -------------------------------

cases() ->
    Parts = parts(),
    Small = lists:sublist(Parts, 2),
    Form = form(Parts),
    Half = byte_size(form(Small)),
    <<Beginning:Half/binary, Rest/binary>> = Form,
    [{"in pieces", pieces(Form, [1, 4096, 2, 7, 30000, 3, 65536]), stored(Parts)},
     {"by bytes", pieces(form(Small), [1]), stored(Small)},
     {"waiting", [Beginning, {wait_for, <<"note">>}, Rest], stored(Parts)},
     {"cut off", pieces(binary:part(Form, 0, byte_size(Form) - 6), [50000]), refused},
     {"no form", [<<"{\"title\": \"", (binary:copy(<<"x">>, 100000))/binary, "\"}">>], refused},
     {"gone", [Beginning, {wait_for, <<"title">>}, {abort, client_gone}], aborted}].

%% The last file is full of what may be taken for a boundary.
parts() ->
    Near = <<"\r\n\r\r\n-\n--\r\n------x7Gj\r\r\n------x7G\r\n">>,
    [{<<"title">>, none, <<"first">>},
     {<<"note">>, none, <<>>},
     {<<"picture">>, <<"p.bin">>, noise(3 bsl 20)},
     {<<"line">>, none, <<"\r\n">>},
     {<<"text">>, <<"fast \x{e4}hnlich.txt"/utf8>>, binary:copy(Near, 20000)}].

noise(Size) ->
    {Bytes, _} = rand:bytes_s(Size, rand:seed_s(exsss, 7)),
    Bytes.

form(Parts) ->
    iolist_to_binary([[part(Part) || Part <- Parts], "--" ?BOUNDARY "--\r\n"]).

part({Name, Filename, Content}) ->
    [<<"--" ?BOUNDARY "\r\nContent-Disposition: form-data; name=\"">>, Name, $",
     [[<<"; filename=\"">>, Filename, <<"\"\r\nContent-Type: application/octet-stream">>]
      || Filename =/= none],
     <<"\r\n\r\n">>, Content, <<"\r\n">>].

%% In pieces of these sizes, over and over.
pieces(Body, [Size | Sizes]) when byte_size(Body) > Size ->
    <<Piece:Size/binary, Rest/binary>> = Body,
    [Piece | pieces(Rest, Sizes ++ [Size])];
pieces(Body, _Sizes) ->
    [Body].

stored(Parts) ->
    [#{<<"name">> => Name, <<"filename">> => Filename, <<"size">> => byte_size(Content),
       <<"sha256">> => binary:encode_hex(crypto:hash(sha256, Content))}
     || {Name, Filename, Content} <- Parts].

%% ---- One upload ---------------------------------------------------------------------------

check({Name, Steps, Expected}, Parser) ->
    {ok, Body} = py_buffer:new(#{high_watermark => ?MOST_UNREAD, seekable => false}),
    {ok, Client} = py_buffer:spawn_writer(Body, fun(_) -> write(Body, Steps) end),
    Call = py:spawn_call(uploads, parse, [Parser, Body, <<?BOUNDARY>>, Client]),
    Answer = answer(py:await(Call, ?DEADLINE_MS)),
    line(Name, "~ts: ~ts", [Parser, verdict(Answer, Expected)]),
    Answer =:= Expected.

write(Body, [{wait_for, Part} | Rest]) ->
    receive
        Part -> write(Body, Rest)
    after ?DEADLINE_MS -> error({not_parsed_yet, Part})
    end;
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

answer({ok, #{<<"refused">> := _}}) -> refused;
answer({error, {<<"BufferAborted">>, _, _}}) -> aborted;
answer({ok, Parts}) -> Parts;
answer(Other) -> Other.

verdict(Parts, Parts) when is_list(Parts) ->
    Bytes = lists:sum([Size || #{<<"size">> := Size} <- Parts]),
    io_lib:format("~w parts, ~w bytes, as they were sent", [length(Parts), Bytes]);
verdict(Same, Same) ->
    atom_to_list(Same);
verdict(Other, _Expected) ->
    io_lib:format("DIFFERS: ~tP", [Other, 30]).

line(Title, Format, Arguments) ->
    io:format("  ~-11ts" ++ Format ++ "~n", [Title | Arguments]).
