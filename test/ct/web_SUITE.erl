%% Requests that WSGI and ASGI applications answer: py_web, without a server.
%%
%% After every case fresh calls succeed and no message is left over.
-module(web_SUITE).

-include_lib("common_test/include/ct.hrl").

-compile([export_all, nowarn_export_all]).

-import(erlpy_ct, [eventually/1, told/1, quiet/0, badarg/4]).

-define(WITHIN, 20000).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [loads, names_of_no_application, app_options,
     one_request, body_that_is_there, body_is_read_once, body_that_trickles,
     length_by_the_headers, no_body, environ_of_a_request, streamed_response, many_pieces, large_pieces,
     application_fails, application_fails_late, end_of_a_response_waits_for_close,
     slow_client, body_that_fails, owner_of_a_body, body_too_large, spooled_body,
     caller_dies, caller_dies_while_it_computes, caller_dies_while_it_streams,
     cancel_at_any_time, timeout_then_more,
     stop_ends_it, many_wait_beside_one, asgi_disconnect,
     lifespan, application_by_name, lifespan_ends_with_its_owner, lifespan_that_fails, lifespan_and_stop, no_lifespan,
     bad_arguments, not_started].

init_per_suite(Config) ->
    [_ | _] = [begun, read, raised, closed, closing, startup, shutdown],
    ok = erlpy_ct:start(Config),
    Config.

end_per_suite(_Config) ->
    erlpy_ct:stop().

init_per_testcase(_Case, Config) ->
    {ok, _} = application:ensure_all_started(erlpy),
    true = register(web_test, self()),
    Config.

end_per_testcase(_Case, Config) ->
    catch unregister(web_test),
    erlpy_ct:left_clean(Config, fun drop/0).

%% ---- Applications ----------------------------------------------------------------------

loads(_Config) ->
    {ok, #{interface := wsgi}} = py_web:load(<<"ct_web:digest">>),
    {ok, #{interface := wsgi}} = py_web:load("ct_web:valid_digest"),
    {ok, #{interface := asgi}} = py_web:load(["ct_web", $:, <<"async_digest">>]),
    {ok, #{interface := asgi}} = py_web:load("ct_web:life"),
    {ok, #{interface := asgi}} = py_web:load("ct_web:digest", #{interface => asgi}),
    {ok, #{interface := wsgi}} = py_web:load("wsgiref.simple_server:demo_app", #{interface => auto}),
    ok.

names_of_no_application(_Config) ->
    {error, {<<"ModuleNotFoundError">>, _, _}} = py_web:load("ct_absent:app"),
    {error, {<<"AttributeError">>, Text, _}} = py_web:load("ct_web"),
    {_, _} = binary:match(Text, <<"module:attribute">>),
    {error, {<<"AttributeError">>, _, _}} = py_web:load("ct_web:absent"),
    {error, {<<"TypeError">>, _, _}} = py_web:load("ct_web:PLAIN"),
    ok.

app_options(_Config) ->
    {ok, _} = py_web:load("ct_web:digest", #{timeout => 20000}),
    {ok, _} = py_web:load("ct_web:digest", #{timeout => infinity}),
    badarg(py_web, load, ["ct_web", #{interface => fcgi}], 2),
    badarg(py_web, load, ["ct_web", #{time => 1}], 2),
    badarg(py_web, load, ["ct_web", []], 2),
    badarg(py_web, load, ["", #{}], 1),
    badarg(py_web, load, [<<255>>, #{}], 1),
    badarg(py_web, load, [ct_web, #{}], 1),
    badarg(py_web, start_link, [ct_web, #{}], 1).

%% ---- One request -----------------------------------------------------------------------

one_request(_Config) ->
    Both = ["ct_web:digest", "ct_web:valid_digest", "ct_web:async_digest"],
    [begin
         Exchange = start(Target, post(5)),
         ok = py_buffer:write(py_web:body(Exchange), <<"hello">>),
         {200, _Headers, Answer} = response(Exchange),
         Answer = digest(<<"hello">>)
     end || Target <- Both].

body_that_is_there(_Config) ->
    [begin
         Request = (post(0))#{body => ["hel", <<"lo">>]},
         Answer = digest(<<"hello">>),
         {200, _, Answer} = response(start(Target, Request)),
         Empty = digest(<<>>),
         {200, _, Empty} = response(start(Target, Request#{body => <<>>}))
     end || Target <- ["ct_web:digest", "ct_web:async_digest"]].

%% An application finds the same input, whether the body was there or came.
body_is_read_once(_Config) ->
    There = (post(0))#{body => <<"hello">>},
    [{200, _, <<"False">>} = response(start("ct_web:seekable", Request))
     || Request <- [There, post(5)]],
    ok.

body_that_trickles(_Config) ->
    Data = binary:copy(<<"0123456789">>, 100000),
    [begin
         Exchange = start(Target, (post(0))#{body_length => Length}),
         Body = py_web:body(Exchange),
         erlpy_ct:write_pieces(Body, erlpy_ct:pieces(Data, 50000), 1),
         {200, _, Answer} = response(Exchange),
         Answer = digest(Data)
     end || Target <- ["ct_web:digest", "ct_web:async_digest"],
            Length <- [byte_size(Data), undefined]].

length_by_the_headers(_Config) ->
    Lengths = [
        {0, []},
        {5, [{<<"Content-Length">>, <<" 5 ">>}]},
        {undefined, [{<<"transfer-encoding">>, <<"chunked">>}]},
        {undefined, [{<<"Content-Length">>, <<"5">>}, {<<"Transfer-Encoding">>, <<"chunked">>}]},
        {0, [{<<"x-content-leng">>, <<"5">>}]}
    ],
    [begin
         Exchange = start("ct_web:digest", #{method => <<"POST">>, raw_path => <<"/">>, headers => Headers}),
         Body = py_web:body(Exchange),
         written = write(Body, Expected),
         {200, _, _} = response(Exchange)
     end || {Expected, Headers} <- Lengths].

write(none, 0) ->
    written;
write(Body, 5) ->
    ok = py_buffer:write(Body, <<"hello">>),
    %% It is whole: an abort changes nothing.
    ok = py_buffer:abort(Body, late),
    written;
write(Body, undefined) ->
    ok = py_buffer:write(Body, <<"hello">>),
    ok = py_buffer:close(Body),
    written.

no_body(_Config) ->
    Exchange = start("ct_web:digest", get_request(<<>>)),
    none = py_web:body(Exchange),
    Answer = digest(<<>>),
    {200, _, Answer} = response(Exchange).

environ_of_a_request(_Config) ->
    Request = (get_request(<<>>))#{
        method => <<"PATCH">>, raw_path => <<"/mount/%C3%A9/", 16#E9>>, script_name => <<"/mount">>,
        http_version => <<"1.0">>, scheme => <<"https">>,
        server => {<<"example.org">>, 8443}, client => {<<"10.0.0.1">>, 4711},
        headers => [{<<"X-One">>, <<"1">>}, {<<"X-Two">>, <<16#E9>>}, {<<"x-one">>, <<"2">>}]
    },
    Expected = #{
        <<"REQUEST_METHOD">> => <<"PATCH">>, <<"PATH_INFO">> => <<"/", 16#C3, 16#A9, "/", 16#E9>>,
        <<"SCRIPT_NAME">> => <<"/mount">>, <<"SERVER_PROTOCOL">> => <<"HTTP/1.0">>,
        <<"wsgi.url_scheme">> => <<"https">>, <<"SERVER_NAME">> => <<"example.org">>,
        <<"SERVER_PORT">> => <<"8443">>, <<"REMOTE_ADDR">> => <<"10.0.0.1">>,
        <<"HTTP_X_ONE">> => <<"1, 2">>, <<"HTTP_X_TWO">> => <<16#E9>>
    },
    [{200, _, Value} = response(start("ct_web:environ", Request#{query_string => Key}))
     || {Key, Value} <- maps:to_list(Expected)].

%% ---- The response ----------------------------------------------------------------------

streamed_response(_Config) ->
    [begin
         Exchange = start(Target, get_request(<<"2">>)),
         {start, Head, <<"piece 0\n">>} = py_web:next(Exchange, ?WITHIN),
         #{status := 200, phrase := <<"OK">>, headers := [{Name, <<"text/plain">>}]} = Head,
         <<"content-type">> = string:lowercase(Name),
         {data, <<"piece 1\n">>} = py_web:next(Exchange, ?WITHIN),
         done = py_web:next(Exchange, ?WITHIN)
     end || Target <- ["ct_web:pieces", "ct_web:async_pieces"]].

many_pieces(_Config) ->
    Expected = << <<"piece ", (integer_to_binary(N))/binary, "\n">> || N <- lists:seq(0, 9999)>>,
    [{200, _, Expected} = response(start(Target, get_request(<<"10000">>)))
     || Target <- ["ct_web:pieces", "ct_web:async_pieces"]],
    ok.

%% Each is larger than what may wait, and handed over without a copy.
large_pieces(_Config) ->
    Expected = binary:copy(<<"x">>, 5 * 1000000),
    [{200, _, Expected} = response(start(Target, get_request(<<"5">>)))
     || Target <- ["ct_web:large_pieces", "ct_web:async_large_pieces"]],
    ok.

application_fails(_Config) ->
    [{error, {<<"ValueError">>, <<"mine">>, _}} =
         py_web:next(start(Target, get_request(<<>>)), ?WITHIN)
     || Target <- ["ct_web:raises", "ct_web:async_raises"]].

application_fails_late(_Config) ->
    Exchange = start("ct_web:raises_late", get_request(<<>>)),
    {start, _, <<"begun">>} = py_web:next(Exchange, ?WITHIN),
    {error, {<<"ValueError">>, <<"late">>, _}} = py_web:next(Exchange, ?WITHIN).

end_of_a_response_waits_for_close(_Config) ->
    Exchange = start("ct_web:slow_to_close", get_request(<<>>)),
    {start, _, <<"body">>} = py_web:next(Exchange, ?WITHIN),
    {error, timeout} = py_web:next(Exchange, 1),
    _ = told(closing),
    done = py_web:next(Exchange, ?WITHIN).

%% The application makes no more than there is room for.
slow_client(_Config) ->
    [begin
         Exchange = start(Target, get_request(<<>>), #{response_window => 10000}),
         {start, _, _} = py_web:next(Exchange, ?WITHIN),
         eventually(fun waits_for_room/0),
         {ok, Made} = py:eval("__import__('ct_web').Endless.latest"),
         true = Made > 1 andalso Made < 30,
         ok = py_web:cancel(Exchange, slow),
         ok = quiet()
     end || Target <- ["ct_web:endless", "ct_web:async_endless"]].

waits_for_room() ->
    #{parked := Parked, tasks := Tasks} = py:info(),
    Parked + Tasks =:= 1.

%% ---- Bodies that fail -------------------------------------------------------------------

body_that_fails(_Config) ->
    Exchange = start("ct_web:reading", post(100)),
    ok = py_buffer:write(py_web:body(Exchange), <<"half">>),
    ok = py_buffer:abort(py_web:body(Exchange), client_gone),
    {error, {<<"BufferAborted">>, Text, _}} = py_web:next(Exchange, ?WITHIN),
    {_, _} = binary:match(Text, <<"client_gone">>),
    none = told(begun),
    <<"BufferAborted">> = told(raised),
    Async = start("ct_web:async_reading", post(100)),
    ok = py_buffer:write(py_web:body(Async), <<"half">>),
    ok = py_buffer:abort(py_web:body(Async), client_gone),
    none = told(begun),
    none = told(read),
    %% The application answers all the same.
    {200, _, <<"x">>} = response(Async).

%% A body belongs to who began the exchange, or to who takes it over.
owner_of_a_body(_Config) ->
    Exchange = start("ct_web:reading", post(100)),
    none = told(begun),
    Writer = spawn(fun() -> receive stop -> ok end end),
    ok = py_buffer:set_owner(py_web:body(Exchange), Writer),
    Writer ! stop,
    {error, {<<"BufferAborted">>, Text, _}} = py_web:next(Exchange, ?WITHIN),
    {_, _} = binary:match(Text, <<"owner_down">>),
    <<"BufferAborted">> = told(raised).

body_too_large(_Config) ->
    Exchange = start("ct_web:digest", (post(0))#{body_length => undefined}, #{max_body => 10}),
    Body = py_web:body(Exchange),
    ok = py_buffer:write(Body, <<"123456">>),
    {error, too_large} = py_buffer:write(Body, <<"123456">>),
    ok = py_buffer:abort(Body, too_large),
    {error, {<<"BufferAborted">>, _, _}} = py_web:next(Exchange, ?WITHIN).

spooled_body(_Config) ->
    Request = (get_request(<<"CONTENT_LENGTH">>))#{body_length => undefined},
    Exchange = start("ct_web:environ", Request, #{unknown_length => spool}),
    Body = py_web:body(Exchange),
    ok = py_buffer:write(Body, binary:copy(<<"x">>, 3000000)),
    {error, timeout} = py_web:next(Exchange, 50),
    ok = py_buffer:close(Body),
    {200, _, <<"3000000">>} = response(Exchange).

%% ---- Ends before the time ------------------------------------------------------------------

caller_dies(_Config) ->
    Body = dying("ct_web:reading", post(100)),
    <<"Cancelled">> = raised_by_death(),
    %% Nobody takes what is there for a body.
    #{state := {aborted, owner_down}} = py_buffer:info(Body),
    ok = quiet().

caller_dies_while_it_computes(_Config) ->
    _ = dying("ct_web:computing", get_request(<<>>)),
    <<"Cancelled">> = raised_by_death(),
    ok = quiet().

%% A body that is aborted and a call that is cancelled: either may come first.
raised_by_death() ->
    case told(raised) of
        <<"BufferAborted">> -> <<"Cancelled">>;
        Raised -> Raised
    end.

caller_dies_while_it_streams(_Config) ->
    [begin
         Caller = spawn(fun() ->
             Exchange = start(Target, get_request(<<>>), #{response_window => 10000}),
             {start, _, _} = py_web:next(Exchange, ?WITHIN),
             receive never -> ok end
         end),
         eventually(fun waits_for_room/0),
         exit(Caller, kill),
         true = is_integer(told(closed))
     end || Target <- ["ct_web:endless"]],
    ok = quiet().

%% Starts an exchange in a process that dies when its handler has begun.
dying(Target, Request) ->
    Self = self(),
    Caller = spawn(fun() ->
        Exchange = start(Target, Request),
        Self ! {body, py_web:body(Exchange)},
        receive never -> ok end
    end),
    Body = told(body),
    none = told(begun),
    exit(Caller, kill),
    Body.

cancel_at_any_time(_Config) ->
    Waiting = start("ct_web:reading", post(100)),
    none = told(begun),
    ok = py_web:cancel(Waiting, client_gone),
    _ = told(raised),
    #{state := {aborted, client_gone}} = py_buffer:info(py_web:body(Waiting)),
    ok = py_web:cancel(Waiting, again),
    Replied = start("ct_web:pieces", get_request(<<"1">>)),
    {start, _, _} = py_web:next(Replied, ?WITHIN),
    ok = py_web:cancel(Replied, late),
    Reply = start("ct_web:digest", get_request(<<>>)),
    {reply, _, _} = py_web:next(Reply, ?WITHIN),
    ok = py_web:cancel(Reply, late),
    Done = start("ct_web:digest", get_request(<<>>)),
    {200, _, _} = response(Done),
    ok = py_web:cancel(Done, late),
    Failed = start("ct_web:raises", get_request(<<>>)),
    {error, _} = py_web:next(Failed, ?WITHIN),
    ok = py_web:cancel(Failed, late),
    [ok = py_web:cancel(start("ct_web:digest", get_request(<<>>)), at_once) || _ <- lists:seq(1, 200)],
    ok = quiet().

timeout_then_more(_Config) ->
    Exchange = start("ct_web:digest", post(5)),
    {error, timeout} = py_web:next(Exchange, 0),
    {error, timeout} = py_web:next(Exchange, 10),
    ok = py_buffer:write(py_web:body(Exchange), <<"hello">>),
    {200, _, _} = response(Exchange).

stop_ends_it(_Config) ->
    Exchanges = [start(Target, post(100)) || Target <- ["ct_web:reading", "ct_web:async_reading"]],
    [none = told(begun) || _ <- Exchanges],
    ok = application:stop(erlpy),
    [{error, stopped} = py_web:next(Exchange, ?WITHIN) || Exchange <- Exchanges],
    {error, not_started} = py_web:start(#{interface => wsgi, target => <<"x">>}, get_request(<<>>)),
    {ok, _} = application:ensure_all_started(erlpy),
    drop().

%% What the applications have still told.
drop() ->
    receive {Word, _} when is_atom(Word) -> drop() after 50 -> ok end.

many_wait_beside_one(_Config) ->
    Waiting = [start("ct_web:digest", post(5)) || _ <- lists:seq(1, 200)],
    eventually(fun() -> maps:get(parked, py:info()) =:= 200 end, 20000),
    {200, _, _} = response(start("ct_web:digest", (post(0))#{body => <<"quick">>})),
    [ok = py_buffer:write(py_web:body(Exchange), <<"hello">>) || Exchange <- Waiting],
    Answer = digest(<<"hello">>),
    [{200, _, Answer} = response(Exchange) || Exchange <- Waiting],
    ok.

eventually(Condition, Ms) ->
    erlpy_ct:eventually(Condition, Ms).

asgi_disconnect(_Config) ->
    Exchange = start("ct_web:async_reading", post(100)),
    none = told(begun),
    ok = py_buffer:write(py_web:body(Exchange), <<"half">>),
    ok = py_web:cancel(Exchange, client_gone),
    none = told(read),
    <<"ClientDisconnected">> = told(raised).

%% ---- Lifespan --------------------------------------------------------------------------------

lifespan(_Config) ->
    {ok, Pid} = py_web:start_link("ct_web:life"),
    none = told(startup),
    App = #{interface := asgi} = py_web:app(Pid),
    {ok, Exchange} = py_web:start(App, get_request(<<>>)),
    {200, _, <<"from the startup">>} = response(Exchange),
    ok = py_web:stop(Pid),
    none = told(shutdown).

application_by_name(_Config) ->
    {ok, Pid} = py_web:start_link("ct_web:digest", #{name => web_test_app}),
    {error, {already_started, Pid}} = py_web:start_link("ct_web:digest", #{name => web_test_app}),
    #{interface := wsgi} = py_web:app(web_test_app),
    ok = py_web:stop(web_test_app),
    badarg(py_web, start_link, ["ct_web:digest", #{name => undefined}], 2).

lifespan_ends_with_its_owner(_Config) ->
    {ok, Pid} = py_web:start_link("ct_web:life"),
    none = told(startup),
    unlink(Pid),
    exit(Pid, kill),
    none = told(shutdown).

lifespan_that_fails(_Config) ->
    {error, {<<"RuntimeError">>, Text, _}} =
        erlpy_ct:failed_start(fun() -> py_web:start_link("ct_web:failing_life") end),
    {_, _} = binary:match(Text, <<"on purpose">>),
    none = told(startup).

lifespan_and_stop(_Config) ->
    process_flag(trap_exit, true),
    {ok, Pid} = py_web:start_link("ct_web:life"),
    none = told(startup),
    ok = application:stop(erlpy),
    receive {'EXIT', Pid, {lifespan_ended, {error, stopped}}} -> ok after ?WITHIN -> ct:fail(alive) end,
    drop().

no_lifespan(_Config) ->
    [begin
         {ok, Pid} = py_web:start_link(Target),
         {ok, Exchange} = py_web:start(py_web:app(Pid), get_request(<<>>)),
         {200, _, _} = response(Exchange),
         ok = py_web:stop(Pid)
     end || Target <- ["ct_web:digest", "ct_web:async_digest"]].

%% ---- Arguments -------------------------------------------------------------------------------

bad_arguments(_Config) ->
    {ok, App} = py_web:load("ct_web:digest"),
    Good = get_request(<<>>),
    Bad = fun(Request) -> badarg(py_web, start, [App, Request, #{}], 2) end,
    [Bad(maps:remove(Key, Good)) || Key <- [method, raw_path, headers]],
    [Bad(Good#{Key => "text"}) || Key <- [method, raw_path, query_string, http_version, scheme, script_name]],
    [Bad(Good#{headers => Headers}) || Headers <- [#{}, [<<"a">>], [{"a", <<"b">>}], [{<<"a">>, b}]]],
    [Bad(Good#{Key => Address}) || Key <- [server, client], Address <- [<<"a">>, {"a", 1}, {<<"a">>, -1}]],
    [Bad(Good#{body_length => Length}) || Length <- [-1, <<"5">>, 1.0]],
    [Bad(Good#{body => Body}) || Body <- [5, [256], [a]]],
    Bad(Good#{headers => [{<<"Content-Length">>, <<"five">>}]}),
    Bad(Good#{headers => [{<<"Content-Length">>, <<"-5">>}]}),
    Bad(Good#{other => 1}),
    Bad([]),
    badarg(py_web, start, [ct_web, Good, #{}], 1),
    badarg(py_web, start, [App, Good, []], 3),
    [badarg(py_web, start, [App, Good, #{Option => Value}], 3)
     || {Option, Value} <- [{high_watermark, 0}, {max_body, -1}, {response_window, 0},
                            {unknown_length, wait}, {other, 1}]],
    Exchange = start("ct_web:digest", Good),
    badarg(py_web, next, [Exchange, -1], 2),
    badarg(py_web, next, [Exchange, soon], 2),
    {200, _, _} = response(Exchange).

not_started(_Config) ->
    ok = application:stop(erlpy),
    {error, not_started} = py_web:load("ct_web:digest"),
    {error, not_started} =
        erlpy_ct:failed_start(fun() -> py_web:start_link("ct_web:digest") end).

%% ---- Helpers -----------------------------------------------------------------------------------

start(Target, Request) ->
    start(Target, Request, #{}).

start(Target, Request, Options) ->
    {ok, App} = py_web:load(Target),
    {ok, Exchange} = py_web:start(App, Request, Options),
    Exchange.

get_request(Query) ->
    #{method => <<"GET">>, raw_path => <<"/">>, query_string => Query, headers => []}.

post(Length) ->
    #{method => <<"POST">>, raw_path => <<"/">>,
      headers => [{<<"Content-Length">>, integer_to_binary(Length)}]}.

response(Exchange) ->
    case py_web:next(Exchange, ?WITHIN) of
        {reply, #{status := Status, headers := Headers}, Body} ->
            done = py_web:next(Exchange, ?WITHIN),
            {Status, Headers, Body};
        {start, #{status := Status, headers := Headers}, Data} ->
            {Status, Headers, iolist_to_binary([Data | rest(Exchange)])};
        Other ->
            Other
    end.

rest(Exchange) ->
    case py_web:next(Exchange, ?WITHIN) of
        {data, Data} -> [Data | rest(Exchange)];
        done -> []
    end.

digest(Data) ->
    <<Number:256>> = crypto:hash(sha256, Data),
    iolist_to_binary(io_lib:format("~w ~64.16.0b", [byte_size(Data), Number])).
