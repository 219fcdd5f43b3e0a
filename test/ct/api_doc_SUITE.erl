%% What users of the buffer write, from the first page of its guide on: handlers in
%% Python, bodies from Erlang.
-module(api_doc_SUITE).

-compile([export_all, nowarn_export_all]).

suite() ->
    [{timetrap, {seconds, 15}}].

all() ->
    [
        first_steps,
        known_length,
        http_body_in_a_map,
        json_body,
        line_by_line,
        by_some_amount,
        chunks_with_delays,
        chunks_are_read_as_they_arrive,
        polling_without_blocking,
        marker_that_is_still_to_come,
        view_and_find,
        views_cannot_be_written,
        seek_and_tell,
        seeks_that_are_refused,
        find_in_what_is_there,
        readlines_with_a_hint,
        multipart_form,
        flags,
        python_closes,
        writes_after_the_end,
        six_calls
    ].

init_per_suite(Config) ->
    Config.

end_per_suite(_Config) ->
    erlpy_ct:stop().

init_per_testcase(_Case, Config) ->
    ok = erlpy_ct:start(Config),
    Config.

call(Function, Args) ->
    {ok, Value} = py:call(ct_http, Function, Args),
    Value.

first_steps(_Config) ->
    {ok, Buf} = py_buffer:new(),
    ok = py_buffer:write(Buf, <<"first, ">>),
    ok = py_buffer:write(Buf, <<"second">>),
    ok = py_buffer:close(Buf),
    {ok, Context} = py_context:new(),
    {ok, [<<"PUT">>, <<"first, second">>]} =
        py:call(Context, ct_http, handle_request, [#{<<"input">> => Buf, <<"method">> => <<"PUT">>}]),
    ok = py_context:destroy(Context).

known_length(_Config) ->
    {ok, Buf} = py_buffer:new(4096),
    Ref = py:spawn_call(ct_http, handle_request, [#{input => Buf, method => get}]),
    [ok = py_buffer:write(Buf, binary:copy(<<"x">>, 1024)) || _ <- lists:seq(1, 4)],
    %% Nobody closed it: all that was promised is there.
    Body = binary:copy(<<"x">>, 4096),
    {ok, [<<"get">>, Body]} = py:await(Ref, 5000).

http_body_in_a_map(_Config) ->
    Body = <<"name=value&other=1">>,
    {ok, Buf} = py_buffer:new(byte_size(Body)),
    ok = py_buffer:write(Buf, Body),
    ok = py_buffer:close(Buf),
    [<<"POST">>, Body] = call(handle_request, [#{<<"method">> => <<"POST">>, <<"input">> => Buf}]).

json_body(_Config) ->
    Body = <<"{\"values\": [1, 2, 39]}">>,
    Environ = #{
        <<"method">> => <<"POST">>,
        <<"path">> => <<"/api/sum">>,
        <<"content_type">> => <<"application/json">>,
        <<"content_length">> => byte_size(Body),
        <<"body">> => erlpy_ct:reader(Body)
    },
    #{<<"status">> := 200, <<"sum">> := 42, <<"path">> := <<"/api/sum">>} =
        call(echo_json, [Environ]).

line_by_line(_Config) ->
    Lines = [[integer_to_list(N), "\n"] || N <- lists:seq(1, 1000)],
    1001 = call(count_lines, [#{input => erlpy_ct:trickle_by([Lines, "unterminated"], 77)}]).

by_some_amount(_Config) ->
    Chunks = call(in_chunks, [erlpy_ct:reader(binary:copy(<<"0123456789">>, 250)), 1024]),
    [1024, 1024, 452] = [byte_size(Chunk) || Chunk <- Chunks].

chunks_with_delays(_Config) ->
    {ok, Buf} = py_buffer:new(),
    Chunks = [<<"chunk ", (integer_to_binary(N))/binary, ";">> || N <- lists:seq(1, 20)],
    spawn_link(fun() ->
        lists:foreach(
            fun(Chunk) ->
                ok = py_buffer:write(Buf, Chunk),
                timer:sleep(10)
            end,
            Chunks
        ),
        ok = py_buffer:close(Buf)
    end),
    Read = call(in_chunks, [Buf, 1024]),
    true = iolist_to_binary(Read) =:= iolist_to_binary(Chunks).

%% A chunk is in Python's hands before the next one is written.
chunks_are_read_as_they_arrive(_Config) ->
    {ok, Buf} = py_buffer:new(),
    Ref = py:spawn_call(ct_http, arrival_times, [Buf]),
    [begin
         ok = py_buffer:write(Buf, <<N>>),
         ok = erlpy_ct:eventually(fun() -> {ok, 0} =:= py:call(builtins, len, [Buf]) end)
     end || N <- lists:seq(1, 10)],
    ok = py_buffer:close(Buf),
    {ok, Seen} = py:await(Ref),
    true = [Chunk || {Chunk, _} <- Seen] =:= [<<N>> || N <- lists:seq(1, 10)].

polling_without_blocking(_Config) ->
    Data = binary:copy(<<"some data ">>, 3000),
    true = call(poll, [erlpy_ct:trickle(Data, 1)]) =:= Data.

marker_that_is_still_to_come(_Config) ->
    Before = binary:copy(<<"--boundar">>, 500),
    {ok, Buf} = py_buffer:new(),
    ok = py_buffer:write(Buf, Before),
    Ref = py:spawn_call(ct_http, find_marker, [Buf, {bytes, <<"--boundary">>}]),
    timer:sleep(300),
    ok = py_buffer:write(Buf, [<<"--boundary">>, Before]),
    ok = py_buffer:close(Buf),
    Expected = byte_size(Before),
    {ok, [Expected, Looks]} = py:await(Ref, 10000),
    true = Looks > 0.

view_and_find(_Config) ->
    Part = binary:copy(<<"0123456789abcdef">>, 1000),
    {ok, Buf} = py_buffer:new(),
    [ok = py_buffer:write(Buf, Piece)
     || Piece <- erlpy_ct:pieces(<<Part/binary, "--boundary rest">>, 1000)],
    ok = py_buffer:close(Buf),
    Size = byte_size(Part) + 15,
    [Part, <<"abcdef0123">>, [true, 1, 1, true, Size, $0], 0, Size] =
        call(part_by_view, [Buf, {bytes, <<"--boundary">>}]).

views_cannot_be_written(_Config) ->
    true = call(assign_through_view, [erlpy_ct:reader(<<"abc">>)]).

seek_and_tell(_Config) ->
    [0, <<"01234">>, 5, 0, <<"012">>, 5, <<"567">>, 15, <<"fghij">>, 20, 0, 20] =
        call(positions, [erlpy_ct:reader(<<"0123456789abcdefghij">>)]).

seeks_that_are_refused(_Config) ->
    {ok, Open} = py_buffer:new(),
    ok = py_buffer:write(Open, <<"0123456789">>),
    [true, true, true, true] =
        call(refused_seeks, [Open, [{11, 0}, {11, 1}, {0, 2}, {-5, 2}]]),
    ok = py_buffer:close(Open),
    [true] = call(refused_seeks, [Open, [{1, 2}, {-5, 2}, {0, 2}]]).

find_in_what_is_there(_Config) ->
    Text = <<"first line\nline two\n">>,
    [10, 6, -1, 6, -1, 10, 0, 16] = call(search_cases, [erlpy_ct:reader(Text)]).

readlines_with_a_hint(_Config) ->
    Buf = erlpy_ct:reader(binary:copy(<<"123456789\n">>, 10)),
    3 = length(call(lines_until, [Buf, 25])),
    7 = length(call(lines_until, [Buf, -1])),
    [] = call(lines_until, [Buf, -1]).

%% A form of three fields, the boundary's beginning inside one of them, in small pieces.
multipart_form(_Config) ->
    Boundary = <<"----formboundary7MA4">>,
    File = <<(binary:copy(<<"\r\n------formbound">>, 300))/binary, 0, 255, (rand:bytes(20_000))/binary>>,
    Fields = [
        {<<"text">>, <<"text/plain">>, <<"hello">>},
        {<<"empty">>, <<"text/plain">>, <<>>},
        {<<"file">>, <<"application/octet-stream">>, File}
    ],
    Form = [
        [["--", Boundary, "\r\n",
          "Content-Disposition: form-data; name=\"", Name, "\"\r\n",
          "Content-Type: ", Type, "\r\n\r\n", Data, "\r\n"]
         || {Name, Type, Data} <- Fields],
        "--", Boundary, "--\r\n"
    ],
    [begin
         Parts = call(parse_multipart, [Buf, Boundary]),
         3 = length(Parts),
         [begin
              #{<<"headers">> := Headers, <<"data">> := Data} = Part,
              #{<<"content-type">> := Type, <<"content-disposition">> := Disposition} = Headers,
              true = string:find(Disposition, Name) =/= nomatch
          end || {Part, {Name, Type, Data}} <- lists:zip(Parts, Fields)]
     end || Buf <- [erlpy_ct:reader(Form), erlpy_ct:trickle_by(Form, 100), erlpy_ct:trickle_by(Form, 7)]].

flags(_Config) ->
    {ok, Buf} = py_buffer:new(),
    [true, false, true, false] = call(flags, [Buf]),
    ok = py_buffer:close(Buf),
    [true, false, true, false] = call(flags, [Buf]).

python_closes(_Config) ->
    {ok, Buf} = py_buffer:new(),
    true = call(close_it, [Buf]),
    {error, closed} = py_buffer:write(Buf, <<"too late">>),
    [_, _, _, true] = call(flags, [Buf]).

writes_after_the_end(_Config) ->
    Buf = erlpy_ct:reader(<<"all">>),
    {error, closed} = py_buffer:write(Buf, <<"more">>),
    [<<"get">>, <<"all">>] = call(handle_request, [#{input => Buf, method => get}]),
    [<<"get">>, <<>>] = call(handle_request, [#{input => Buf, method => get}]).

six_calls(_Config) ->
    erlpy_ct:still_works().
