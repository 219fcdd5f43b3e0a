%% Compiles the glue, and asks a yaws on loopback.  What is not here is said, and skipped.
%%
%% Run by examples/web_glue/run.
-module(check_glue).

-export([main/1]).

-define(DEADLINE_MS, 20000).
-define(MAX_BODY, 2 bsl 20).

main(Folder) ->
    ok = application:load(erlpy),
    ok = application:set_env(erlpy, python_path, [Folder]),
    {ok, _} = application:ensure_all_started(erlpy),
    {ok, _} = application:ensure_all_started(inets),
    try
        ok = cowboy(Folder),
        ok = plug(Folder),
        ok = yaws(Folder, code:which(yaws)),
        halt(0)
    catch
        Class:Reason:Stack ->
            io:format("~ts~n", [erl_error:format_exception(Class, Reason, Stack)]),
            halt(1)
    end.

line(Title, Format, Arguments) ->
    io:format("  ~-9ts" ++ Format ++ "~n", [Title | Arguments]).

%% ---- Compiled ---------------------------------------------------------------------------

compiled(Folder, Module, Options) ->
    {ok, Module, Warnings} = compile:file(filename:join(Folder, Module), [return | Options]),
    [Text || {_File, Found} <- Warnings, {_Place, _By, Text} <- Found].

%% Without cowboy the compiler cannot know its behaviour.
cowboy(Folder) ->
    case compiled(Folder, cowboy_python, []) of
        [] -> ok;
        [{undefined_behaviour, cowboy_handler}] -> ok
    end,
    line("cowboy", "compiled", []).

plug(Folder) ->
    case os:find_executable("elixirc") of
        false ->
            line("skipped", "Plug: elixir (not found)", []);
        Elixirc ->
            0 = status(Elixirc, [filename:join(Folder, "plug_python.ex")]),
            line("Plug", "compiled", [])
    end.

status(Program, Arguments) ->
    Port = open_port({spawn_executable, Program},
                     [{args, Arguments}, exit_status, binary, stderr_to_stdout]),
    status_of(Port, []).

status_of(Port, Output) ->
    receive
        {Port, {data, Data}} -> status_of(Port, [Output, Data]);
        {Port, {exit_status, 0}} -> 0;
        {Port, {exit_status, _}} -> error({not_compiled, iolist_to_binary(Output)})
    after ?DEADLINE_MS -> error({not_compiled_in_time, iolist_to_binary(Output)})
    end.

%% ---- yaws ---------------------------------------------------------------------------------

yaws(_Folder, non_existing) ->
    line("skipped", "yaws (not found)", []);
yaws(Folder, Beam) ->
    Include = filename:join(filename:dirname(filename:dirname(Beam)), "include"),
    [] = compiled(Folder, yaws_python, [{i, Include}]),
    ok = application:load(yaws),
    {ok, Version} = application:get_key(yaws, vsn),
    line("yaws", "~ts", [Version]),
    %% Its errors of requests that are to fail are no news.
    ok = logger:set_primary_config(level, none),
    Ports = [{Target, free_port()} || Target <- [<<"apps:wsgi">>, <<"apps:asgi">>]],
    ok = start_yaws([server(Target, Port) || {Target, Port} <- Ports]),
    _ = [ask(Target, "http://127.0.0.1:" ++ integer_to_list(Port), Check)
         || {Target, Port} <- Ports, Check <- checks()],
    ok.

free_port() ->
    {ok, Socket} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Socket),
    ok = gen_tcp:close(Socket),
    Port.

server(Target, Port) ->
    {ok, App} = py_web:load(Target),
    [{port, Port}, {listen, {127, 0, 0, 1}}, {servername, "localhost"},
     {appmods, [{"/", yaws_python}]}, {partial_post_size, 65536},
     {opaque, [{python, App}, {python_options, #{max_body => ?MAX_BODY}}]}].

start_yaws(Servers) ->
    Folder = filename:absname("yaws"),
    ok = filelib:ensure_dir(filename:join(Folder, "logs")),
    ok = yaws:start_embedded(Folder, Servers, [{logdir, Folder}], "glue").

%% ---- What is asked ------------------------------------------------------------------------

checks() ->
    Body = binary:copy(<<"0123456789abcdef">>, 1 bsl 16),
    [{"small", fun(Url) -> digest(Url, <<"hello">>, length) end},
     {"length", fun(Url) -> digest(Url, Body, length) end},
     {"chunked", fun(Url) -> digest(Url, Body, chunked) end},
     {"large", fun(Url) -> too_large(Url, <<Body/binary, Body/binary, 0>>) end},
     {"lines", fun lines/1},
     {"error", fun error_500/1},
     {"half", fun half/1},
     {"keep", fun keep_alive/1},
     {"gone", fun client_gone/1}].

ask(Target, Url, {Name, Check}) ->
    line(Name, "~ts: ~ts", [Target, Check(Url)]).

digest(Url, Body, Framing) ->
    Hash = string:lowercase(binary:encode_hex(crypto:hash(sha256, Body))),
    Expected = list_to_binary([integer_to_list(byte_size(Body)), " ", Hash]),
    {200, _, Expected} = request(post, {Url ++ "/digest", [], "text/plain", sent(Body, Framing)}),
    io_lib:format("~w bytes", [byte_size(Body)]).

too_large(Url, Body) ->
    {413, _, _} = request(post, {Url ++ "/digest", [], "text/plain", sent(Body, chunked)}),
    {ok, _} = py:call(apps, next_broken, [?DEADLINE_MS / 1000]),
    "413".

sent(Body, length) -> Body;
sent(Body, chunked) -> {chunkify, fun chunk/1, Body}.

chunk(<<>>) -> eof;
chunk(<<Chunk:10007/binary, Rest/binary>>) -> {ok, Chunk, Rest};
chunk(Last) -> {ok, Last, <<>>}.

lines(Url) ->
    Expected = << <<(integer_to_binary(N))/binary, "\n">> || N <- lists:seq(0, 999)>>,
    {200, Headers, Expected} = request(get, {Url ++ "/lines", []}),
    ["text/plain"] = proplists:get_all_values("content-type", Headers),
    ["a=1", "b=2"] = proplists:get_all_values("set-cookie", Headers),
    {200, _, <<>>} = request(head, {Url ++ "/lines", []}),
    "1000 lines".

error_500(Url) ->
    {500, _, _} = request(get, {Url ++ "/error", []}),
    "500".

%% The connection ends before the last chunk.
half(Url) ->
    {error, _} = httpc:request(get, {Url ++ "/half", []}, [{timeout, ?DEADLINE_MS}], []),
    "cut off".

%% Two requests on one connection; the body of the first is not read by the application.
keep_alive(Url) ->
    Socket = connect(Url),
    ok = gen_tcp:send(Socket, [post("/error", 200000), binary:copy(<<"x">>, 200000)]),
    <<"HTTP/1.1 500", _/binary>> = until(Socket, <<"has failed.\n">>, <<>>),
    ok = gen_tcp:send(Socket, [post("/digest", 2), <<"ab">>]),
    <<"HTTP/1.1 200", _/binary>> = until(Socket, <<"\r\n\r\n2 fb8e20fc">>, <<>>),
    ok = gen_tcp:close(Socket),
    "a second request".

%% The application learns of it, whether it is told by an exception or by an event.
client_gone(Url) ->
    Socket = connect(Url),
    ok = gen_tcp:send(Socket, [post("/digest", 1000000), binary:copy(<<"x">>, 500000)]),
    ok = gen_tcp:close(Socket),
    case py:call(apps, next_broken, [?DEADLINE_MS / 1000]) of
        {ok, <<"the stream was aborted: owner_down", _/binary>>} -> "the stream was aborted";
        {ok, <<"http.disconnect">> = Why} -> Why
    end.

connect("http://127.0.0.1:" ++ Port) ->
    Options = [binary, {active, false}],
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, list_to_integer(Port), Options),
    Socket.

post(Path, Length) ->
    [<<"POST ">>, Path, <<" HTTP/1.1\r\nHost: localhost\r\nContent-Length: ">>,
     integer_to_binary(Length), <<"\r\n\r\n">>].

until(Socket, End, Got) ->
    case binary:match(Got, End) of
        nomatch ->
            {ok, Data} = gen_tcp:recv(Socket, 0, ?DEADLINE_MS),
            until(Socket, End, <<Got/binary, Data/binary>>);
        _ ->
            Got
    end.

request(Method, Request) ->
    {ok, {{_, Status, _}, Headers, Body}} =
        httpc:request(Method, Request, [{timeout, ?DEADLINE_MS}], [{body_format, binary}]),
    {Status, Headers, Body}.
